/* Local attention: preparing keys and values for a level of instructions, and the definition for rare cases. */
#include "attention.h"

#include <math.h>

typedef struct {
    void (*attend)(const void *plan, void *scratch, int64_t task);
    int64_t lanes, queries;
    int paired;
} Level;

static const Level LEVELS[] = {
    [LEVEL_GENERIC] = {attend_generic, 4, FEW_QUERIES, 0},
#ifdef HAVE_X86
    [LEVEL_AVX2] = {attend_avx2, 8, FEW_QUERIES, 0},
    [LEVEL_AVX512] = {attend_avx512, 16, MORE_QUERIES, 0},
    [LEVEL_AVX512_BF16] = {attend_avx512_bf16, 16, MORE_QUERIES, 1},
#endif
};

enum { MOST_LANES = 16 };

int64_t widest_span(const Plan *plan, int64_t lanes)
{
    return round_up(least(plan->call->width, plan->call->window + plan->queries), lanes);
}

size_t attention_scratch(const Plan *plan, int64_t lanes)
{
    int64_t span = widest_span(plan, lanes);
    int64_t queries = plan->queries * plan->rows_per_task, rows = plan->call->frames * plan->call->window;
    int64_t floats = queries * (rows * span + plan->depth + plan->words) + plan->depth + plan->queries * span;
    return sizeof(float) * (size_t)floats;
}

int64_t attention_tasks(const Plan *plan)
{
    const Attention *call = plan->call;
    int64_t segments = (call->height + plan->rows_per_task - 1) / plan->rows_per_task;
    return call->batch * segments * ((call->width + plan->queries - 1) / plan->queries);
}

/* Copies `count` cells between strides in bytes: bfloat16 bits, or anything to float32. */
static void copy_cells(char *to, int64_t to_stride, const char *from, int64_t from_stride, int64_t count, int half,
                       int bits)
{
    if (bits)
        for (int64_t i = 0; i < count; i++) memcpy(to + i * to_stride, from + i * from_stride, sizeof(uint16_t));
    else if (!half)
        for (int64_t i = 0; i < count; i++) memcpy(to + i * to_stride, from + i * from_stride, sizeof(float));
    else
        for (int64_t i = 0; i < count; i++) {
            float value = read_cell(from + i * from_stride, 1);
            memcpy(to + i * to_stride, &value, sizeof value);
        }
}

static const char *row_of(const char *from, const int64_t *strides, const Attention *call, int64_t row)
{
    int64_t y = row % call->height, t = row / call->height % call->frames, b = row / call->height / call->frames;
    return from + b * strides[0] + t * strides[1] + y * strides[3];
}

static void pack_key_row(const void *context, void *scratch, int64_t row)
{
    const Plan *plan = context;
    const Attention *call = plan->call;
    const char *from = row_of(call->keys, call->keys_strides, call, row);
    int64_t run = plan->key_width * 4, size = plan->words * run, cell = 4, channel = run;
    char *to = (char *)plan->keys + row * size;
    (void)scratch;
    if (plan->paired && call->keys_strides[2] == 2 && call->channels % 2 == 0) { /* pairs lie together already */
        for (int64_t c = 0; c < plan->words; c++, from += cell, to += run) {
            copy_cells(to, cell, from, call->keys_strides[4], call->width, 0, 0);
            memset(to + call->width * cell, 0, (size_t)((plan->key_width - call->width) * cell));
        }
        return;
    }
    memset(to, 0, (size_t)size);
    for (int64_t c = 0; c < call->channels; c++) {
        char *start = plan->paired ? to + c / 2 * run + c % 2 * 2 : to + c * channel;
        copy_cells(start, cell, from + c * call->keys_strides[2], call->keys_strides[4], call->width, (int)call->half,
                   plan->paired);
    }
}

static void pack_value_row(const void *context, void *scratch, int64_t row)
{
    const Plan *plan = context;
    const Attention *call = plan->call;
    const char *from = row_of(call->values, call->values_strides, call, row);
    int64_t size = plan->paired ? 2 : 4;
    char *to = (char *)plan->values + row * plan->value_strides[2];
    (void)scratch;
    memset(to, 0, (size_t)plan->value_strides[2]);
    for (int64_t d = 0; d < call->depth; d++)
        copy_cells(to + d * size, plan->value_strides[3], from + d * call->values_strides[2], call->values_strides[4],
                   call->width, (int)call->half, plan->paired);
}

/* Values already channels last in the right type are read where they lie. */
static int readable_in_place(const Plan *plan, int64_t lanes)
{
    const Attention *call = plan->call;
    if (plan->paired) return call->values_strides[2] == 2 && call->depth % lanes == 0 && call->width % 2 == 0;
    return !call->half && call->values_strides[2] == 4 && call->depth % lanes == 0;
}

/* Lays out the packed rows; returns the bytes the values take, 0 to read them in place. */
static size_t lay_out_rows(Plan *plan, const Level *level)
{
    const Attention *call = plan->call;
    int64_t rows = call->batch * call->frames * call->height, size = plan->paired ? 2 : 4;
    const int64_t *strides = call->values_strides;
    plan->words = plan->paired ? (call->channels + 1) / 2 : call->channels;
    plan->key_width = call->width + MOST_LANES;
    plan->depth = round_up(call->depth, level->lanes);
    if (readable_in_place(plan, level->lanes)) {
        int64_t in_place[4] = {strides[0], strides[1], strides[3], strides[4]};
        memcpy(plan->value_strides, in_place, sizeof in_place);
        return 0;
    }
    plan->value_strides[3] = plan->depth * size;
    /* One line more than a power of two, so that rows do not fall on each other in the caches. */
    plan->value_strides[2] = round_up(call->width, 2) * plan->value_strides[3] + 64;
    plan->value_strides[1] = call->height * plan->value_strides[2];
    plan->value_strides[0] = call->frames * plan->value_strides[1];
    return (size_t)(rows * plan->value_strides[2]);
}

static int attend(Plan *plan, const Level *level, char *keys, char *values, int threads)
{
    const Attention *call = plan->call;
    int64_t rows = call->batch * call->frames * call->height;
    Tasks key_rows = {pack_key_row, plan, rows, 1}, value_rows = {pack_value_row, plan, rows, 1};
    Tasks blocks = {level->attend, plan, attention_tasks(plan), attention_scratch(plan, MOST_LANES)};
    plan->keys = keys;
    plan->values = values ? values : call->values;
    return run_tasks(&key_rows, threads) && (!values || run_tasks(&value_rows, threads)) &&
           run_tasks(&blocks, threads);
}

/* 0 when done, 1 for want of memory. Shapes are taken as checked, no side of them empty. */
EXPORT int lmaseg_attend(const Attention *call, int level_index, int threads)
{
    const Level *level = &LEVELS[level_index];
    Plan plan = {.call = call, .paired = level->paired && call->half};
    if (level->paired && !call->half) level = &LEVELS[LEVEL_AVX512];
    plan.queries = level->queries;
    int64_t row_weights = call->frames * call->window * plan.queries * widest_span(&plan, level->lanes);
    plan.rows_per_task = most(1, least(MOST_ROWS, MOST_WEIGHTS / row_weights));
    size_t value_bytes = lay_out_rows(&plan, level);
    int64_t rows = call->batch * call->frames * call->height;
    char *keys = acquire((size_t)(rows * plan.words * plan.key_width) * 4);
    char *values = value_bytes ? acquire(value_bytes) : NULL;
    int done = keys && (values || !value_bytes) && attend(&plan, level, keys, values, threads);
    release(keys);
    release(values);
    return !done;
}

/* One query and the neighbours it has inside the frame, numbered over frames, rows and columns. */
typedef struct {
    const Attention *call;
    const char *query;
    int64_t b, top, rows, left, columns;
} View;

static View view_from(const Attention *call, int64_t b, int64_t y, int64_t x)
{
    int64_t radius = call->window / 2, top = most(0, y - radius), left = most(0, x - radius);
    const int64_t *strides = call->query_strides;
    View view = {.call = call, .b = b, .top = top, .left = left};
    view.query = call->query + b * strides[0] + y * strides[2] + x * strides[3];
    view.rows = least(call->height, y + radius + 1) - top;
    view.columns = least(call->width, x + radius + 1) - left;
    return view;
}

static const char *neighbour(const View *view, const char *maps, const int64_t *strides, int64_t index)
{
    int64_t t = index / (view->rows * view->columns), y = index / view->columns % view->rows, x = index % view->columns;
    return maps + view->b * strides[0] + t * strides[1] + (view->top + y) * strides[3] + (view->left + x) * strides[4];
}

static float logit_of(const View *view, int64_t index)
{
    const Attention *call = view->call;
    const char *key = neighbour(view, call->keys, call->keys_strides, index);
    float sum = 0.0f;
    for (int64_t c = 0; c < call->channels; c++)
        sum += read_cell(view->query + c * call->query_strides[1], call->half) *
               read_cell(key + c * call->keys_strides[2], call->half);
    return sum;
}

/* The logit of every neighbour outside the frame: 0, or NaN for a query that is not finite. */
static float logit_outside(const View *view)
{
    float sum = 0.0f;
    for (int64_t c = 0; c < view->call->channels; c++)
        sum += read_cell(view->query + c * view->call->query_strides[1], view->call->half) * 0.0f;
    return sum;
}

/* The largest logit and the sum of the exponentials relative to it; that sum is NaN if any logit is. */
static void normalise(const View *view, int64_t count, float *peak, float *total)
{
    const Attention *call = view->call;
    double all = (double)call->window * (double)call->window * (double)call->frames, outside = all - (double)count;
    *peak = outside > 0 ? logit_outside(view) : -INFINITY;
    for (int64_t i = 0; i < count; i++) *peak = fmaxf(*peak, logit_of(view, i));
    *total = outside > 0 ? (float)outside * expf(logit_outside(view) - *peak) : 0.0f;
    for (int64_t i = 0; i < count; i++) *total += expf(logit_of(view, i) - *peak);
}

void attend_by_definition(const Attention *call, float *attended, int64_t b, int64_t y, int64_t x)
{
    View view = view_from(call, b, y, x);
    int64_t count = call->frames * view.rows * view.columns, size = call->half ? 2 : 4;
    char *out = call->out + ((b * call->height + y) * call->width + x) * call->depth * size;
    float peak, total;
    normalise(&view, count, &peak, &total);
    for (int64_t d = 0; d < call->depth; d++) attended[d] = isnan(total) ? total : 0.0f;
    for (int64_t i = 0; i < count && !isnan(total); i++) {
        const char *value = neighbour(&view, call->values, call->values_strides, i);
        float weight = expf(logit_of(&view, i) - peak) / total;
        for (int64_t d = 0; d < call->depth; d++)
            attended[d] += weight * read_cell(value + d * call->values_strides[2], call->half);
    }
    for (int64_t d = 0; d < call->depth; d++) {
        uint16_t rounded = to_half(attended[d]);
        memcpy(out + d * size, call->half ? (const void *)&rounded : (const void *)&attended[d], (size_t)size);
    }
}

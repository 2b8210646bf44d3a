/* Local attention of one task, written once for all levels.

   A level includes this after its vectors and after defining:
     QUERIES                     neighbouring queries of a row worked on together: one of the numbers in attention.h
     STEP                        cells per word of weights: 2 where dot products take pairs of bfloat16
     dot(sum, a, b)              sum + a * b, over both halves of a word if paired
     weigh(to, x)                stores e^x as weights, returns what was stored
     load_values(into, cell, stride, count)   `count` vectors of the values of STEP neighbouring cells
     settle(to, sums, count)     stores sums in the order of the channels

   A task is a block of queries, a few columns wide and some rows high. Each row of neighbours is read once for all
   queries that see it: first its keys, into logits; these become weights; then its values, into weighted sums.
   Neighbours outside the frame are never touched: they only count, with logit 0, in the total. */
#include "attention.h"

#include <math.h>

/* Rows of queries, and vectors of channels, worked on together at most. */
enum { TOGETHER = 4, DEEP = 6 };

typedef struct {
    float *query;   /* (words, most rows, QUERIES) */
    float *bias;    /* (QUERIES, span): 0 in the query's window, -infinity outside */
    float *weights; /* (rows, neighbours' rows, QUERIES, span): logits, then weights in their place */
    float *sums;    /* (rows, QUERIES, depth) */
    float *settled; /* (depth) */
    float outside[QUERIES]; /* columns of a query's window outside the frame */
    int64_t b, y, x, rows;
    int64_t left, cells; /* the cells that any of the queries sees in a row; left is a multiple of STEP */
    int64_t span;        /* cells, padded to whole vectors */
} Block;

/* Rows of neighbours inside the frame that a row of queries sees in each memory frame. */
typedef struct {
    int64_t top, end;
} Seen;

static inline Seen seen_from(const Block *block, const Attention *call, int64_t row)
{
    int64_t y = block->y + row, radius = call->window / 2;
    return (Seen){most(0, y - radius), least(call->height, y + radius + 1)};
}

/* Logits or weights of a row of queries with row `y` of memory frame `t`. */
static inline float *weights_at(const Block *block, const Attention *call, int64_t row, int64_t t, int64_t y)
{
    int64_t below = y - (block->y + row) + call->window / 2;
    return block->weights + ((row * call->frames + t) * call->window + below) * QUERIES * block->span;
}

static void lay_out(Block *block, const Plan *plan, float *scratch)
{
    const int64_t queries = plan->rows_per_task * QUERIES, span = widest_span(plan, LANES);
    block->weights = scratch;
    block->sums = block->weights + queries * plan->call->frames * plan->call->window * span;
    block->settled = block->sums + queries * plan->depth;
    block->bias = block->settled + plan->depth;
    block->query = block->bias + QUERIES * span;
}

static void load_query(const Plan *plan, const Block *block, int64_t row, int q)
{
    const Attention *call = plan->call;
    const int64_t *strides = call->query_strides, queries = plan->rows_per_task * QUERIES;
    int64_t x = least(block->x + q, call->width - 1); /* past the edge: anything, it is not written */
    const char *from = call->query + block->b * strides[0] + (block->y + row) * strides[2] + x * strides[3];
    float *to = block->query + row * QUERIES + q;
    const int64_t words = plan->words, step = strides[1] * (plan->paired ? 2 : 1);
    if (plan->paired ? strides[1] == 2 && call->channels % 2 == 0 : !call->half) { /* whole words lie there already */
        for (int64_t c = 0; c < words; c++) memcpy(to + c * queries, from + c * step, sizeof *to);
        return;
    }
    for (int64_t c = 0; c < words; c++, to += queries, from += step) {
        if (!plan->paired) {
            *to = read_cell(from, 1);
            continue;
        }
        uint16_t pair[2] = {0, 0};
        for (int64_t i = 0; i < 2 && 2 * c + i < call->channels; i++)
            memcpy(&pair[i], from + i * strides[1], sizeof pair[i]);
        memcpy(to, pair, sizeof *to);
    }
}

static void place(Block *block, const Plan *plan, int64_t b, int64_t y, int64_t x, int64_t rows)
{
    const Attention *call = plan->call;
    int64_t radius = call->window / 2;
    block->b = b, block->y = y, block->x = x, block->rows = rows;
    block->left = most(0, x - radius) / STEP * STEP;
    block->cells = least(call->width, x + QUERIES + radius) - block->left;
    block->span = round_up(block->cells, LANES);
    memset(block->sums, 0, sizeof(float) * (size_t)(rows * QUERIES * plan->depth));
    for (int q = 0; q < QUERIES; q++) {
        int64_t own = least(x + q, call->width - 1);
        int64_t first = most(0, own - radius), end = least(call->width, own + radius + 1);
        for (int64_t i = 0; i < block->span; i++) {
            int64_t cell = block->left + i;
            block->bias[q * block->span + i] = cell >= first && cell < end ? 0.0f : -INFINITY;
        }
        block->outside[q] = (float)(call->window - (end - first));
        for (int64_t row = 0; row < rows; row++) load_query(plan, block, row, q);
    }
}

/* A vector of logits of `count` rows of queries, from `row` on, with one row of neighbours. */
TARGET INLINE void compare(
    const Block *block, const Plan *plan, int64_t row, int64_t t, int64_t y, int64_t cell, const int count)
{
    const Attention *call = plan->call;
    const int64_t span = block->span, queries = plan->rows_per_task * QUERIES, line = (block->b * call->frames + t) * call->height + y;
    const float *keys = (const float *)plan->keys + line * plan->words * plan->key_width + block->left + cell;
    const float *query = block->query + row * QUERIES;
    vec sums[TOGETHER][QUERIES];
    UNROLLED for (int i = 0; i < count; i++)
        UNROLLED for (int q = 0; q < QUERIES; q++) sums[i][q] = load(block->bias + q * span + cell);
    for (int64_t c = 0; c < plan->words; c++, keys += plan->key_width, query += queries) {
        vec key = load(keys);
        UNROLLED for (int i = 0; i < count; i++)
            UNROLLED for (int q = 0; q < QUERIES; q++)
                sums[i][q] = dot(sums[i][q], broadcast(query[i * QUERIES + q]), key);
    }
    UNROLLED for (int i = 0; i < count; i++)
        UNROLLED for (int q = 0; q < QUERIES; q++)
            store(weights_at(block, call, row + i, t, y) + q * span + cell, sums[i][q]);
}

TARGET static void compare_row(const Block *block, const Plan *plan, int64_t t, int64_t y, int64_t row, int64_t end)
{
    for (; row < end; row += TOGETHER)
        for (int64_t cell = 0; cell < block->span; cell += LANES)
            switch (least(end - row, TOGETHER)) { /* as below */
            case 1: compare(block, plan, row, t, y, cell, 1); break;
            case 2: compare(block, plan, row, t, y, cell, 2); break;
            case 3: compare(block, plan, row, t, y, cell, 3); break;
            default: compare(block, plan, row, t, y, cell, TOGETHER);
            }
}

/* Logits of a row of queries become weights relative to the maximum of each query; `totals` are their sums. */
TARGET static void weigh_row(const Block *block, const Plan *plan, int64_t row, float *totals)
{
    const Attention *call = plan->call;
    const Seen seen = seen_from(block, call, row);
    const int64_t span = block->span, rows = seen.end - seen.top;
    vec peaks[QUERIES], sums[QUERIES];
    for (int q = 0; q < QUERIES; q++) peaks[q] = broadcast(-INFINITY), sums[q] = broadcast(0.0f);
    for (int64_t t = 0; t < call->frames; t++) {
        const float *logits = weights_at(block, call, row, t, seen.top);
        for (int64_t i = 0; i < rows; i++, logits += QUERIES * span)
            for (int64_t v = 0; v < span; v += LANES)
                UNROLLED for (int q = 0; q < QUERIES; q++) peaks[q] = greater(peaks[q], load(logits + q * span + v));
    }
    for (int q = 0; q < QUERIES; q++) { /* neighbours outside the frame have logit 0 */
        float lost = (float)(call->window - rows) * (float)call->window + (float)rows * block->outside[q];
        float peak = highest(peaks[q]);
        if (lost > 0 && !(peak > 0)) peak = 0.0f;
        totals[q] = lost > 0 ? lost * (float)call->frames * expf(-peak) : 0.0f;
        peaks[q] = broadcast(peak);
    }
    for (int64_t t = 0; t < call->frames; t++) {
        float *weights = weights_at(block, call, row, t, seen.top);
        for (int64_t i = 0; i < rows; i++, weights += QUERIES * span)
            for (int64_t v = 0; v < span; v += LANES)
                UNROLLED for (int q = 0; q < QUERIES; q++) {
                    float *at = weights + q * span + v, *to = weights + q * span + v / STEP;
                    sums[q] = add(sums[q], weigh(to, sub(load(at), peaks[q])));
                }
    }
    for (int q = 0; q < QUERIES; q++) totals[q] += total_of(sums[q]);
}

/* Adds the weighted values of a row of neighbours to `vectors` vectors of channels of a row of queries. */
TARGET INLINE void gather(
    const Block *block, const Plan *plan, const char *cell, const float *weights, float *to, const int vectors)
{
    vec sums[QUERIES][DEEP];
    const int64_t span = block->span, words = (block->cells + STEP - 1) / STEP, stride = plan->value_strides[3];
    UNROLLED for (int q = 0; q < QUERIES; q++)
        UNROLLED for (int v = 0; v < vectors; v++) sums[q][v] = load(to + q * plan->depth + v * LANES);
    for (int64_t j = 0; j < words; j++, cell += STEP * stride) {
        vec values[DEEP];
        load_values(values, cell, stride, vectors);
        UNROLLED for (int q = 0; q < QUERIES; q++) {
            vec weight = broadcast(weights[q * span + j]);
            UNROLLED for (int v = 0; v < vectors; v++) sums[q][v] = dot(sums[q][v], weight, values[v]);
        }
    }
    UNROLLED for (int q = 0; q < QUERIES; q++)
        UNROLLED for (int v = 0; v < vectors; v++) store(to + q * plan->depth + v * LANES, sums[q][v]);
}

/* As many as a switch names: a number known to the compiler keeps sums in registers. */
TARGET static void gather_vectors(
    const Block *block, const Plan *plan, const char *cell, const float *weights, float *to, int64_t vectors)
{
    switch (vectors) {
    case 1: gather(block, plan, cell, weights, to, 1); break;
    case 2: gather(block, plan, cell, weights, to, 2); break;
    case 3: gather(block, plan, cell, weights, to, 3); break;
    case 4: gather(block, plan, cell, weights, to, 4); break;
    case 5: gather(block, plan, cell, weights, to, 5); break;
    default: gather(block, plan, cell, weights, to, DEEP);
    }
}

TARGET static void gather_row(const Block *block, const Plan *plan, int64_t t, int64_t y, int64_t row, int64_t end)
{
    const int64_t *strides = plan->value_strides, depth = plan->depth;
    const char *cell = plan->values + block->b * strides[0] + t * strides[1] + y * strides[2] + block->left * strides[3];
    for (; row < end; row++) {
        const float *weights = weights_at(block, plan->call, row, t, y);
        float *sums = block->sums + row * QUERIES * depth;
        for (int64_t d = 0, vectors; d < depth; d += vectors * LANES) {
            int64_t left = (depth - d) / LANES, passes = (left + DEEP - 1) / DEEP;
            vectors = least(left, round_up((left + passes - 1) / passes, STEP));
            gather_vectors(block, plan, cell + d * (4 / STEP), weights, sums + d, vectors);
        }
    }
}

/* False where sums are not finite. The block then falls back to the definition: a cell that one query sees and its
   neighbour does not had weight 0 for the latter, and 0 * NaN or 0 * infinity got into its sums. */
TARGET static int write_query(const Plan *plan, const float *sums, float total, int64_t b, int64_t y, int64_t x)
{
    const Attention *call = plan->call;
    int64_t start = ((b * call->height + y) * call->width + x) * call->depth;
    float scale = 1.0f / total;
    vec check = broadcast(0.0f);
    for (int64_t d = 0; d < plan->depth; d += LANES)
        check = fma_(mul(load(sums + d), broadcast(scale)), broadcast(0.0f), check);
    if (total_of(check) != 0.0f) return 0;
    if (call->half) {
        uint16_t *to = (uint16_t *)call->out + start;
        for (int64_t d = 0; d < call->depth; d++) to[d] = to_half(sums[d] * scale);
    } else {
        float *to = (float *)call->out + start;
        for (int64_t d = 0; d < call->depth; d++) to[d] = sums[d] * scale;
    }
    return 1;
}

/* Calls `visit` for each row of neighbours in each memory frame, with the rows of queries that see it. */
TARGET INLINE void for_each_row(
    const Block *block, const Plan *plan,
    void (*visit)(const Block *, const Plan *, int64_t t, int64_t y, int64_t row, int64_t end))
{
    const Attention *call = plan->call;
    const int64_t radius = call->window / 2, bottom = seen_from(block, call, block->rows - 1).end;
    for (int64_t t = 0; t < call->frames; t++)
        for (int64_t y = seen_from(block, call, 0).top; y < bottom; y++)
            visit(block, plan, t, y, most(0, y - radius - block->y), least(block->rows, y + radius + 1 - block->y));
}

TARGET static void attend_task(const Plan *plan, float *scratch, int64_t task)
{
    const Attention *call = plan->call;
    int64_t segments = (call->height + plan->rows_per_task - 1) / plan->rows_per_task;
    int64_t strips = (call->width + QUERIES - 1) / QUERIES;
    int64_t b = task / (strips * segments), x = task % strips * QUERIES;
    int64_t y = task / strips % segments * plan->rows_per_task;
    Block block;
    lay_out(&block, plan, scratch);
    place(&block, plan, b, y, x, least(plan->rows_per_task, call->height - y));
    for_each_row(&block, plan, compare_row);
    float totals[MOST_ROWS][QUERIES];
    for (int64_t row = 0; row < block.rows; row++) weigh_row(&block, plan, row, totals[row]);
    for_each_row(&block, plan, gather_row);
    for (int64_t row = 0; row < block.rows; row++)
        for (int q = 0; q < QUERIES && x + q < call->width; q++) {
            settle(block.settled, block.sums + (row * QUERIES + q) * plan->depth, plan->depth);
            if (!write_query(plan, block.settled, totals[row][q], b, y + row, x + q))
                attend_by_definition(call, block.settled, b, y + row, x + q);
        }
}

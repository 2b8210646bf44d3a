/* Local attention of one task, written once for all levels.

   A level includes this after its vectors and after defining:
     DEEP                        vectors of value channels accumulated together
     STEP                        cells per word of weights: 2 where dot products take pairs of bfloat16
     dot(sum, a, b)              sum + a * b, over both halves of a word if paired
     weigh(to, x)                stores e^x as weights, returns what was stored
     load_values(into, cell, stride, count)   `count` vectors of the values of STEP neighbouring cells
     settle(to, sums, count)     stores sums in the order of the channels

   For QUERIES neighbouring queries and CHUNK rows of neighbours at a time: logits, their maximum, weights, weighted
   values; sums so far are rescaled when the maximum grows (online softmax). Neighbours outside the frame are never
   touched: they only count, with logit 0, in the total. */
#include "attention.h"

#include <math.h>

typedef struct {
    float *query;   /* (QUERIES, words) */
    float *bias;    /* (QUERIES, span): 0 in the query's window, -infinity outside */
    float *weights; /* (CHUNK, QUERIES, span): logits, then weights in their place */
    float *sums;    /* (QUERIES, depth) */
    float *settled; /* (depth) */
    const char *key_rows[CHUNK], *value_rows[CHUNK];
    float peak[QUERIES], total[QUERIES];
    int64_t b, y, x;
    int64_t top, rows;    /* neighbours' rows inside the frame: rows from top in each memory frame */
    int64_t left, cells;  /* the cells that any of the queries sees in them; left is a multiple of STEP */
    int64_t span;         /* cells, padded to whole vectors */
} Block;

static void lay_out(Block *block, const Plan *plan, float *scratch)
{
    int64_t widest = widest_span(plan, LANES);
    block->weights = scratch;
    block->sums = block->weights + CHUNK * QUERIES * widest;
    block->settled = block->sums + QUERIES * plan->depth;
    block->bias = block->settled + plan->depth;
    block->query = block->bias + QUERIES * widest;
}

static void load_query(float *to, const Plan *plan, const Block *block, int q)
{
    const Attention *call = plan->call;
    int64_t x = least(block->x + q, call->width - 1); /* past the edge: anything, it is not written */
    const int64_t *strides = call->query_strides;
    const char *from = call->query + block->b * strides[0] + block->y * strides[2] + x * strides[3];
    if (!plan->paired) {
        for (int64_t c = 0; c < call->channels; c++) to[c] = read_cell(from + c * strides[1], call->half);
        return;
    }
    uint16_t *halves = (uint16_t *)to;
    halves[2 * plan->words - 1] = 0;
    for (int64_t c = 0; c < call->channels; c++) memcpy(halves + c, from + c * strides[1], sizeof *halves);
}

/* Neighbours outside the frame, all with logit 0 (NaN for a query that is not finite), open the running softmax. */
static void open_softmax(Block *block, const Attention *call, int q, int64_t inside)
{
    double all = (double)call->window * (double)call->window * (double)call->frames;
    double outside = all - (double)(inside * block->rows * call->frames);
    block->total[q] = (float)outside;
    block->peak[q] = outside > 0 ? 0.0f : -INFINITY;
}

static void place(Block *block, const Plan *plan, int64_t b, int64_t y, int64_t x)
{
    const Attention *call = plan->call;
    int64_t radius = call->window / 2;
    block->b = b, block->y = y, block->x = x;
    block->top = most(0, y - radius);
    block->rows = least(call->height, y + radius + 1) - block->top;
    block->left = most(0, x - radius) / STEP * STEP;
    block->cells = least(call->width, x + QUERIES + radius) - block->left;
    block->span = round_up(block->cells, LANES);
    memset(block->sums, 0, sizeof(float) * (size_t)(QUERIES * plan->depth));
    for (int q = 0; q < QUERIES; q++) {
        int64_t own = least(x + q, call->width - 1);
        int64_t first = most(0, own - radius), end = least(call->width, own + radius + 1);
        for (int64_t i = 0; i < block->span; i++) {
            int64_t cell = block->left + i;
            block->bias[q * block->span + i] = cell >= first && cell < end ? 0.0f : -INFINITY;
        }
        open_softmax(block, call, q, end - first);
        load_query(block->query + q * plan->words, plan, block, q);
    }
}

/* Points at rows first .. first + count of all memory frames' neighbours, frame after frame. */
static void point(Block *block, const Plan *plan, int64_t first, int64_t count)
{
    const Attention *call = plan->call;
    const int64_t *strides = plan->value_strides;
    for (int64_t i = 0; i < count; i++) {
        int64_t t = (first + i) / block->rows, y = block->top + (first + i) % block->rows;
        int64_t row = (block->b * call->frames + t) * call->height + y;
        block->key_rows[i] = plan->keys + (row * plan->words * plan->key_width + block->left) * 4;
        block->value_rows[i] =
            plan->values + block->b * strides[0] + t * strides[1] + y * strides[2] + block->left * strides[3];
    }
}

/* `count` vectors of logits of all queries, and their maxima so far. */
TARGET INLINE void compare(
    const Block *block, const Plan *plan, const float *keys, float *logits, const float *bias, vec *peaks,
    const int count)
{
    vec sums[QUERIES][2];
    const int64_t words = plan->words, key_width = plan->key_width, span = block->span;
    UNROLLED for (int q = 0; q < QUERIES; q++)
        UNROLLED for (int v = 0; v < count; v++) sums[q][v] = load(bias + q * span + v * LANES);
    for (int64_t c = 0; c < words; c++, keys += key_width) {
        vec key[2];
        UNROLLED for (int v = 0; v < count; v++) key[v] = load(keys + v * LANES);
        UNROLLED for (int q = 0; q < QUERIES; q++) {
            vec query = broadcast(block->query[q * words + c]);
            UNROLLED for (int v = 0; v < count; v++) sums[q][v] = dot(sums[q][v], query, key[v]);
        }
    }
    UNROLLED for (int q = 0; q < QUERIES; q++)
        UNROLLED for (int v = 0; v < count; v++) {
            store(logits + q * span + v * LANES, sums[q][v]);
            peaks[q] = greater(peaks[q], sums[q][v]);
        }
}

TARGET static void compare_rows(Block *block, const Plan *plan, int64_t count, vec *peaks)
{
    const int64_t span = block->span;
    for (int64_t i = 0; i < count; i++) {
        const float *keys = (const float *)block->key_rows[i];
        float *logits = block->weights + i * QUERIES * span;
        int64_t v = 0;
        for (; v + 2 * LANES <= span; v += 2 * LANES)
            compare(block, plan, keys + v, logits + v, block->bias + v, peaks, 2);
        if (v < span) compare(block, plan, keys + v, logits + v, block->bias + v, peaks, 1);
    }
}

/* Logits become weights relative to the new maximum; sums and totals so far are brought down to it. */
TARGET static void weigh_rows(Block *block, const Plan *plan, int64_t count, const vec *peaks)
{
    const int64_t span = block->span;
    for (int q = 0; q < QUERIES; q++) {
        float last = block->peak[q], peak = highest(peaks[q]);
        block->peak[q] = peak = peak > last ? peak : last;
        float scale = last < peak ? expf(last - peak) : 1.0f;
        float *sums = block->sums + q * plan->depth;
        if (scale != 1.0f)
            for (int64_t d = 0; d < plan->depth; d += LANES) store(sums + d, mul(load(sums + d), broadcast(scale)));
        vec total = broadcast(0.0f);
        for (int64_t i = 0; i < count; i++) {
            float *weights = block->weights + (i * QUERIES + q) * span;
            for (int64_t v = 0; v < span; v += LANES)
                total = add(total, weigh(weights + v / STEP, sub(load(weights + v), broadcast(peak))));
        }
        block->total[q] = block->total[q] * scale + total_of(total);
    }
}

/* Adds the weighted values of all rows to `vectors` vectors of channels of all queries. */
TARGET INLINE void gather(
    const Block *block, const Plan *plan, int64_t count, int64_t channel, const int vectors)
{
    vec sums[QUERIES][DEEP];
    const int64_t span = block->span, words = (block->cells + STEP - 1) / STEP, stride = plan->value_strides[3];
    UNROLLED for (int q = 0; q < QUERIES; q++)
        UNROLLED for (int v = 0; v < vectors; v++)
            sums[q][v] = load(block->sums + q * plan->depth + channel + v * LANES);
    for (int64_t i = 0; i < count; i++) {
        const char *cell = block->value_rows[i] + channel * (4 / STEP);
        const float *weights = block->weights + i * QUERIES * span;
        for (int64_t j = 0; j < words; j++, cell += STEP * stride) {
            vec values[DEEP];
            load_values(values, cell, stride, vectors);
            UNROLLED for (int q = 0; q < QUERIES; q++) {
                vec weight = broadcast(weights[q * span + j]);
                UNROLLED for (int v = 0; v < vectors; v++) sums[q][v] = dot(sums[q][v], weight, values[v]);
            }
        }
    }
    UNROLLED for (int q = 0; q < QUERIES; q++)
        UNROLLED for (int v = 0; v < vectors; v++)
            store(block->sums + q * plan->depth + channel + v * LANES, sums[q][v]);
}

TARGET static void gather_rows(Block *block, const Plan *plan, int64_t count)
{
    int64_t channel = 0;
    for (; channel + DEEP * LANES <= plan->depth; channel += DEEP * LANES) gather(block, plan, count, channel, DEEP);
    for (; channel < plan->depth; channel += STEP * LANES) gather(block, plan, count, channel, STEP);
}

/* False where sums are not finite. The block then falls back to the definition: a cell that one query sees and its
   neighbour does not had weight 0 for the latter, and 0 * NaN or 0 * infinity got into its sums. */
static int write_query(const Plan *plan, const float *sums, float total, int64_t b, int64_t y, int64_t x)
{
    const Attention *call = plan->call;
    int64_t start = ((b * call->height + y) * call->width + x) * call->depth;
    float scale = 1.0f / total, check = 0.0f;
    for (int64_t d = 0; d < call->depth; d++) check += sums[d] * scale * 0.0f;
    if (check != 0.0f) return 0;
    if (call->half) {
        uint16_t *to = (uint16_t *)call->out + start;
        for (int64_t d = 0; d < call->depth; d++) to[d] = to_half(sums[d] * scale);
    } else {
        float *to = (float *)call->out + start;
        for (int64_t d = 0; d < call->depth; d++) to[d] = sums[d] * scale;
    }
    return 1;
}

TARGET static void attend_block(Block *block, const Plan *plan)
{
    int64_t all = block->rows * plan->call->frames;
    for (int64_t first = 0; first < all; first += CHUNK) {
        int64_t count = least(CHUNK, all - first);
        vec peaks[QUERIES];
        for (int q = 0; q < QUERIES; q++) peaks[q] = broadcast(-INFINITY);
        point(block, plan, first, count);
        compare_rows(block, plan, count, peaks);
        weigh_rows(block, plan, count, peaks);
        gather_rows(block, plan, count);
    }
}

TARGET static void attend_task(const Plan *plan, float *scratch, int64_t task)
{
    const Attention *call = plan->call;
    int64_t segments = (call->height + plan->rows_per_task - 1) / plan->rows_per_task;
    int64_t strips = (call->width + QUERIES - 1) / QUERIES;
    int64_t b = task / (strips * segments), x = task / segments % strips * QUERIES;
    int64_t first = task % segments * plan->rows_per_task;
    int64_t end = least(first + plan->rows_per_task, call->height);
    Block block;
    lay_out(&block, plan, scratch);
    for (int64_t y = first; y < end; y++) { /* down a strip: most of the values seen are still in the cache */
        place(&block, plan, b, y, x);
        attend_block(&block, plan);
        for (int q = 0; q < QUERIES && x + q < call->width; q++) {
            settle(block.settled, block.sums + q * plan->depth, plan->depth);
            if (!write_query(plan, block.settled, block.total[q], b, y, x + q))
                attend_by_definition(call, block.settled, b, y, x + q);
        }
    }
}

/* Bilinear interpolation and argmax of one tile of labels, written once for all levels.

   A level includes this after its vectors and after defining
     pick(source, index, reach)   source[index] per lane, for indices 0 .. reach
     store_labels(to, labels)     LANES bytes

   A source row is interpolated across once and kept for the rows of labels it takes part in, two rows at a time. */
#include "upsample.h"

typedef struct {
    float *source;  /* (classes, pitch): a stretch of a source row, planar */
    float *rows[2]; /* (classes, TILE_COLUMNS): source rows interpolated across, even and odd */
    int64_t held[2]; /* which rows those are */
    const char *logits; /* of the image */
    int64_t left, columns; /* the stretch */
    const Sample *across;
} Tile;

static void read_stretch(const Tile *tile, const LabelPlan *plan, int64_t row)
{
    const Upsample *call = plan->call;
    const char *from = tile->logits + row * call->strides[2] + tile->left * call->strides[3];
    const int64_t step = call->strides[3], pitch = plan->pitch;
    for (int64_t k = 0; k < call->classes; k++, from += call->strides[1]) {
        float *to = tile->source + k * pitch;
        if (call->half)
            for (int64_t x = 0; x < tile->columns; x++) to[x] = read_cell(from + x * step, 1);
        else
            for (int64_t x = 0; x < tile->columns; x++) to[x] = read_cell(from + x * step, 0);
    }
}

TARGET static void interpolate_across(const Tile *tile, const LabelPlan *plan, float *row)
{
    for (int64_t x = 0; x < TILE_COLUMNS; x += LANES) {
        const Sample *samples = tile->across + x;
        int32_t first[LANES], second[LANES], base = samples[0].first;
        float shares[LANES];
        for (int i = 0; i < LANES; i++) {
            first[i] = samples[i].first - base;
            second[i] = samples[i].second - base;
            shares[i] = samples[i].share;
        }
        ivec left, right;
        vec share = load(shares);
        memcpy(&left, first, sizeof left);
        memcpy(&right, second, sizeof right);
        const float *source = tile->source + base - tile->left;
        for (int64_t k = 0; k < plan->call->classes; k++, source += plan->pitch) {
            vec a = pick(source, left, second[LANES - 1]), b = pick(source, right, second[LANES - 1]);
            store(row + k * TILE_COLUMNS + x, fma_(share, sub(b, a), a));
        }
    }
}

TARGET static const float *interpolated(Tile *tile, const LabelPlan *plan, int64_t row)
{
    int slot = (int)(row % 2);
    if (tile->held[slot] != row) {
        read_stretch(tile, plan, row);
        interpolate_across(tile, plan, tile->rows[slot]);
        tile->held[slot] = row;
    }
    return tile->rows[slot];
}

TARGET static void decide(const float *above_row, const float *below_row, float share, int64_t classes, uint8_t *labels)
{
    vec weight = broadcast(share);
    for (int64_t x = 0; x < TILE_COLUMNS; x += LANES) {
        const float *upper = above_row + x, *lower = below_row + x;
        vec a = load(upper), best = fma_(weight, sub(load(lower), a), a);
        ivec label = ibroadcast(0);
        for (int64_t k = 1; k < classes; k++) {
            a = load(upper += TILE_COLUMNS);
            vec logit = fma_(weight, sub(load(lower += TILE_COLUMNS), a), a);
            label = choose(above(logit, best), ibroadcast((int32_t)k), label);
            best = greater(logit, best);
        }
        store_labels(labels + x, label);
    }
}

TARGET static void label_task(const LabelPlan *plan, float *scratch, int64_t task)
{
    const Upsample *call = plan->call;
    int64_t tiles = (call->width + TILE_COLUMNS - 1) / TILE_COLUMNS, bands = (call->height + TILE_ROWS - 1) / TILE_ROWS;
    int64_t x = task % tiles * TILE_COLUMNS, b = task / tiles / bands, y = task / tiles % bands * TILE_ROWS;
    int64_t count = least(TILE_COLUMNS, call->width - x), end = least(y + TILE_ROWS, call->height);
    int64_t row_size = call->classes * TILE_COLUMNS;
    Tile tile = {.rows = {scratch, scratch + row_size}, .source = scratch + 2 * row_size, .held = {-1, -1}};
    tile.logits = call->logits + b * call->strides[0];
    tile.across = plan->across + x;
    tile.left = tile.across[0].first;
    tile.columns = tile.across[TILE_COLUMNS - 1].second + 1 - tile.left;
    for (; y < end; y++) {
        Sample down = plan->down[y];
        uint8_t labels[TILE_COLUMNS];
        const float *upper = interpolated(&tile, plan, down.first), *lower = interpolated(&tile, plan, down.second);
        decide(upper, lower, down.share, call->classes, labels);
        memcpy(call->labels + (b * call->height + y) * call->width + x, labels, (size_t)count);
    }
}

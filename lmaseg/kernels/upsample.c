/* Bilinear interpolation and argmax in one pass: where each label samples the logits, and the call. */
#include "upsample.h"

static void (*const LEVELS[])(const void *plan, void *scratch, int64_t task) = {
    [LEVEL_GENERIC] = label_generic,
#ifdef HAVE_X86
    [LEVEL_AVX2] = label_avx2,
    [LEVEL_AVX512] = label_avx512,
    [LEVEL_AVX512_BF16] = label_avx512,
#endif
};

Sample sample(int64_t source, int64_t size, int64_t index, int64_t align_corners)
{
    float place;
    if (align_corners)
        place = size > 1 ? (float)(source - 1) / (float)(size - 1) * (float)index : 0.0f;
    else
        place = (float)source / (float)size * ((float)index + 0.5f) - 0.5f;
    if (place < 0.0f) place = 0.0f;
    int64_t first = least((int64_t)place, source - 1);
    float share = place - (float)first;
    Sample found = {(int32_t)first, (int32_t)least(first + 1, source - 1), share < 1.0f ? share : 1.0f};
    return found;
}

/* Samples along one axis; those past its end repeat the last one. Returns the widest stretch a tile reads. */
static int64_t sample_axis(Sample *samples, int64_t source, int64_t size, int64_t padded, int64_t align_corners)
{
    int64_t widest = 1;
    for (int64_t i = 0; i < padded; i++) samples[i] = sample(source, size, least(i, size - 1), align_corners);
    for (int64_t i = 0; i + TILE_COLUMNS <= padded; i += TILE_COLUMNS)
        widest = most(widest, samples[i + TILE_COLUMNS - 1].second + 1 - samples[i].first);
    return widest;
}

/* 0 when done, 1 for want of memory. Shapes are taken as checked, no side of them empty, at most 256 classes. */
EXPORT int lmaseg_label(const Upsample *call, int level, int threads)
{
    int64_t padded = round_up(call->width, TILE_COLUMNS);
    Sample *samples = acquire(sizeof(Sample) * (size_t)(padded + call->height));
    if (!samples) return 1;
    LabelPlan plan = {.call = call, .across = samples, .down = samples + padded};
    plan.pitch = READ_AHEAD + sample_axis(samples, call->columns, call->width, padded, call->align_corners);
    sample_axis(samples + padded, call->rows, call->height, call->height, call->align_corners);
    int64_t bands = (call->height + TILE_ROWS - 1) / TILE_ROWS;
    int64_t floats = call->classes * (2 * TILE_COLUMNS + plan.pitch);
    Tasks tasks = {LEVELS[level], &plan, call->batch * bands * (padded / TILE_COLUMNS), sizeof(float) * (size_t)floats};
    int done = run_tasks(&tasks, threads);
    release(samples);
    return !done;
}

/* The bytes of quantized networks: of floating point numbers, and interpolated bilinearly.

   Plain loops that compilers turn into vectors, once for each level. */
#include "upsample.h"

enum { CELLS = 1 << 15 }; /* of a task that makes bytes */
enum { ONE = 256 };       /* a source cell's whole share */

typedef struct {
    const Resize *call;
    const Sample *down, *across;
} ResizePlan;

INLINE void quantize(const Quantize *call, int64_t task)
{
    int64_t start = task * CELLS, end = least(call->count, start + CELLS);
    const float factor = call->factor, shift = call->shift;
    const uint16_t *halves = (const uint16_t *)call->from;
    const float *floats = (const float *)call->from;
    uint8_t *to = call->to;
    if (call->half)
        for (int64_t i = start; i < end; i++) {
            float level = from_half(halves[i]) * factor + shift;
            level = level > 0.0f ? level : 0.0f;
            to[i] = (uint8_t)(int32_t)(level < 255.0f ? level : 255.0f);
        }
    else
        for (int64_t i = start; i < end; i++) {
            float level = floats[i] * factor + shift;
            level = level > 0.0f ? level : 0.0f;
            to[i] = (uint8_t)(int32_t)(level < 255.0f ? level : 255.0f);
        }
}

static inline uint16_t parts_of(float share) { return (uint16_t)(share * ONE + 0.5f); }

/* One row of the result: its two source rows are mixed first, then each of its cells from two of theirs. */
INLINE void resize_row(const ResizePlan *plan, uint16_t *mixed, int64_t task)
{
    const Resize *call = plan->call;
    const Sample *down = &plan->down[task % call->height];
    const int64_t channels = call->channels, run = call->columns * channels;
    const uint8_t *image = call->from + task / call->height * call->rows * run;
    const uint8_t *upper = image + down->first * run, *lower = image + down->second * run;
    const uint16_t below = parts_of(down->share), above = (uint16_t)(ONE - below);
    for (int64_t i = 0; i < run; i++) mixed[i] = (uint16_t)(upper[i] * above + lower[i] * below);
    uint8_t *to = call->to + task * call->width * channels;
    for (int64_t x = 0; x < call->width; x++, to += channels) {
        const Sample *across = &plan->across[x];
        const uint16_t *left = mixed + across->first * channels, *right = mixed + across->second * channels;
        const uint32_t after = parts_of(across->share), before = ONE - after;
        for (int64_t c = 0; c < channels; c++)
            to[c] = (uint8_t)((left[c] * before + right[c] * after + ONE * ONE / 2) / (ONE * ONE));
    }
}

#define LEVEL(name, target)                                                           \
    target static void quantize_##name(const void *call, void *scratch, int64_t task) \
    {                                                                                 \
        (void)scratch;                                                                \
        quantize(call, task);                                                         \
    }                                                                                 \
    target static void resize_##name(const void *plan, void *scratch, int64_t task)   \
    {                                                                                 \
        resize_row(plan, scratch, task);                                              \
    }

LEVEL(generic, )
#ifdef HAVE_X86
LEVEL(avx2, __attribute__((target("avx2"))))
#endif

typedef void Run(const void *context, void *scratch, int64_t task);

static const struct {
    Run *quantize, *resize;
} LEVELS[] = {
    [LEVEL_GENERIC] = {quantize_generic, resize_generic},
#ifdef HAVE_X86
    [LEVEL_AVX2] = {quantize_avx2, resize_avx2},
    [LEVEL_AVX512] = {quantize_avx2, resize_avx2}, /* wider vectors take longer in the one, no less in the other */
    [LEVEL_AVX512_BF16] = {quantize_avx2, resize_avx2},
#endif
};

EXPORT int lmaseg_quantize(const Quantize *call, int level, int threads)
{
    Tasks tasks = {LEVELS[level].quantize, call, (call->count + CELLS - 1) / CELLS, 1};
    return !run_tasks(&tasks, threads);
}

/* 0 when done, 1 for want of memory. Shapes are taken as checked, no side of them empty. */
EXPORT int lmaseg_resize(const Resize *call, int level, int threads)
{
    Sample *samples = acquire(sizeof(Sample) * (size_t)(call->height + call->width));
    if (!samples) return 1;
    ResizePlan plan = {call, samples, samples + call->height};
    for (int64_t y = 0; y < call->height; y++) samples[y] = sample(call->rows, call->height, y, call->align_corners);
    for (int64_t x = 0; x < call->width; x++)
        samples[call->height + x] = sample(call->columns, call->width, x, call->align_corners);
    size_t scratch = sizeof(uint16_t) * (size_t)(call->columns * call->channels);
    Tasks tasks = {LEVELS[level].resize, &plan, call->batch * call->height, scratch};
    int done = run_tasks(&tasks, threads);
    release(samples);
    return !done;
}

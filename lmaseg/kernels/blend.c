/* The `blend` fusion: the features moved towards those read from the memory by the share that a gate lets through. */
#include "blend.h"

typedef void Run(const void *context, void *scratch, int64_t task);

static const struct {
    Run *measure, *mix;
} LEVELS[] = {
    [LEVEL_GENERIC] = {measure_generic, mix_generic},
#ifdef HAVE_X86
    [LEVEL_AVX2] = {measure_avx2, mix_avx2},
    [LEVEL_AVX512] = {measure_avx512, mix_avx512},
    [LEVEL_AVX512_BF16] = {measure_avx512, mix_avx512},
#endif
};

/* 0 when done, 1 for want of memory. Shapes are taken as checked, no side of them empty. */
EXPORT int lmaseg_blend(const Blend *call, int level, int threads)
{
    int64_t tasks = (call->cells + CELLS_PER_TASK - 1) / CELLS_PER_TASK, cells = call->batch * call->cells;
    size_t sums = sizeof(double) * (size_t)(call->batch * tasks);
    char *room = acquire(sums + 2 * sizeof(float) * (size_t)cells);
    if (!room) return 1;
    float *distance = (float *)(room + sums);
    BlendPlan plan = {call, distance, distance + cells, (double *)room, tasks};
    Tasks measure = {LEVELS[level].measure, &plan, call->batch * tasks, 1};
    Tasks mix = {LEVELS[level].mix, &plan, call->batch * tasks, 1};
    int done = run_tasks(&measure, threads) && run_tasks(&mix, threads);
    release(room);
    return !done;
}

/* The `blend` fusion between its files. */
#ifndef LMASEG_BLEND_H
#define LMASEG_BLEND_H

#include "native.h"

enum { CELLS_PER_TASK = 256 };

typedef struct {
    const Blend *call;
    float *distance, *gate; /* of each cell: the squared move relative to the squared features; the logit without it */
    double *sums;           /* of each task: its distances */
    int64_t tasks;          /* of an image */
} BlendPlan;

void measure_generic(const void *plan, void *scratch, int64_t task);
void mix_generic(const void *plan, void *scratch, int64_t task);
#ifdef HAVE_X86
void measure_avx2(const void *plan, void *scratch, int64_t task);
void mix_avx2(const void *plan, void *scratch, int64_t task);
void measure_avx512(const void *plan, void *scratch, int64_t task);
void mix_avx512(const void *plan, void *scratch, int64_t task);
#endif

#endif

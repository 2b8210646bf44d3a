/* Upsampling between its files. */
#ifndef LMASEG_UPSAMPLE_H
#define LMASEG_UPSAMPLE_H

#include "native.h"

/* Columns and rows of labels in a task: both interpolated rows of some 20 classes stay in the first-level cache. */
enum { TILE_COLUMNS = 128, TILE_ROWS = 64, READ_AHEAD = 32 };

typedef struct {
    int32_t first, second; /* the two source cells */
    float share;           /* of the second */
} Sample;

/* Torch's own sampling positions and precision (area_pixel_compute_source_index in ATen's UpSample.h). */
Sample sample(int64_t source, int64_t size, int64_t index, int64_t align_corners);

typedef struct {
    const Upsample *call;
    const Sample *down, *across; /* (height), (width, padded to whole tiles) */
    int64_t pitch;               /* floats per class of a source row: the widest tile's, and READ_AHEAD more */
} LabelPlan;

void label_generic(const void *plan, void *scratch, int64_t task);
#ifdef HAVE_X86
void label_avx2(const void *plan, void *scratch, int64_t task);
void label_avx512(const void *plan, void *scratch, int64_t task);
#endif

#endif

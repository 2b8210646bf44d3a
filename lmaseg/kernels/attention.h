/* Local attention between its files: what is prepared once per call, and one function per level of instructions. */
#ifndef LMASEG_ATTENTION_H
#define LMASEG_ATTENTION_H

#include "native.h"

/* Neighbouring queries of a row worked on together: fewer where vectors are short, as what two of them see in a window
   of 7 is 8 cells, and what four see is 10. */
enum { FEW_QUERIES = 2, MORE_QUERIES = 4 };
/* Rows of queries of a task, at most, and floats of all their weights, at most where there is more than one row. */
enum { MOST_ROWS = 16, MOST_WEIGHTS = 16384 };

typedef struct {
    const Attention *call;
    int64_t queries, rows_per_task; /* columns and rows of a task's block */
    int paired; /* 1: keys hold two bfloat16 channels per word and values are bfloat16; 0: float32 */

    const char *keys;  /* a row of cells (b, t, y): `words` runs of `key_width` words of 4 bytes, zeros after the row */
    int64_t words;     /* channels, or pairs of them */
    int64_t key_width; /* a vector may be loaded from any cell of a row */

    const char *values;       /* a cell's channels lie together */
    int64_t value_strides[4]; /* bytes between (b, t, y, x) */
    int64_t depth;            /* channels of a cell, padded to whole vectors */
} Plan;

/* Floats of one query's logits in a row of neighbours, at most. */
int64_t widest_span(const Plan *plan, int64_t lanes);

/* Bytes of scratch a thread needs; and how many tasks there are, each a block of queries. */
size_t attention_scratch(const Plan *plan, int64_t lanes);
int64_t attention_tasks(const Plan *plan);

void attend_generic(const void *plan, void *scratch, int64_t task);
#ifdef HAVE_X86
void attend_avx2(const void *plan, void *scratch, int64_t task);
void attend_avx512(const void *plan, void *scratch, int64_t task);
void attend_avx512_bf16(const void *plan, void *scratch, int64_t task);
#endif

/* One query straight from the definition: any numbers, infinities and NaN where the definition has them. */
void attend_by_definition(const Attention *call, float *attended, int64_t b, int64_t y, int64_t x);

#endif

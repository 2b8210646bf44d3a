/* Local attention on bfloat16 by the processor's own dot products of pairs, summed in float32. */
#include "native.h"

#ifdef HAVE_X86
#define TARGET __attribute__((target("avx512bf16,avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")))
#include "lanes_avx512.h"

#define QUERIES MORE_QUERIES
#define STEP 2

TARGET static inline vec dot(vec sum, vec a, vec b) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }

/* The total counts the rounded weights, so that equal values come out unchanged. */
TARGET static inline vec weigh(float *to, vec x)
{
    vec t = mul(x, broadcast(1.44269504f));
    __m256i halves = (__m256i)_mm512_cvtneps_pbh(_mm512_scalef_ps(two_to_roughly(fraction(t)), t));
    _mm256_storeu_si256((__m256i *)to, halves);
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
}

/* Interleaves the channels of two cells, within blocks of 128 bits for pairs of vectors; settle() undoes the order that
   leaves. */
TARGET INLINE void load_values(vec *into, const char *cell, int64_t stride, int count)
{
    if (count % 2) {
        const char *last = cell + (count - 1) * 32;
        __m512i even = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)last));
        __m512i odd = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(last + stride)));
        into[count - 1] = (vec)_mm512_or_si512(even, _mm512_slli_epi32(odd, 16));
    }
    for (int v = 0; v + 1 < count; v += 2) {
        __m512i even = _mm512_loadu_si512(cell + v * 32), odd = _mm512_loadu_si512(cell + stride + v * 32);
        into[v] = (vec)_mm512_unpacklo_epi16(even, odd);
        into[v + 1] = (vec)_mm512_unpackhi_epi16(even, odd);
    }
}

TARGET static inline void settle(float *to, const float *sums, int64_t depth)
{
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i second = _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    if (depth % (2 * LANES)) store(to + depth - LANES, load(sums + depth - LANES));
    for (int64_t d = 0; d + LANES < depth; d += 2 * LANES) {
        vec low = load(sums + d), high = load(sums + d + LANES);
        store(to + d, _mm512_permutex2var_ps(low, first, high));
        store(to + d + LANES, _mm512_permutex2var_ps(low, second, high));
    }
}

#include "attention_body.h"

void attend_avx512_bf16(const void *plan, void *scratch, int64_t task) { attend_task(plan, scratch, task); }
#endif

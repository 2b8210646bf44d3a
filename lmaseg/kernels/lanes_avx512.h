/* Vectors of sixteen floats: AVX-512 as of Skylake servers and Zen 4. */
#include "native.h"

#include <immintrin.h>

#ifndef TARGET
#define TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")))
#endif
#define LANES 16
typedef __m512 vec;
typedef __m512i ivec;
typedef __mmask16 vmask;

TARGET static inline vec load(const float *from) { return _mm512_loadu_ps(from); }
TARGET static inline void store(float *to, vec v) { _mm512_storeu_ps(to, v); }
TARGET static inline vec broadcast(float value) { return _mm512_set1_ps(value); }
TARGET static inline vec add(vec a, vec b) { return _mm512_add_ps(a, b); }
TARGET static inline vec sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
TARGET static inline vec mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
TARGET static inline vec fma_(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }

/* b where either is not a number */
TARGET static inline vec greater(vec a, vec b) { return _mm512_max_ps(a, b); }

TARGET static inline vmask above(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
TARGET static inline ivec ibroadcast(int32_t value) { return _mm512_set1_epi32(value); }
TARGET static inline ivec choose(vmask where, ivec a, ivec b) { return _mm512_mask_mov_epi32(b, where, a); }

TARGET static inline float highest(vec v) { return _mm512_reduce_max_ps(v); }
TARGET static inline float total_of(vec v) { return _mm512_reduce_add_ps(v); }

#include "exponential.h"

/* The part of t above the whole number under it, in 0 .. 1; 0 for infinities. */
TARGET static inline vec fraction(vec t) { return _mm512_reduce_ps(t, _MM_FROUND_TO_NEG_INF); }

/* e^x for x <= 0, 0 for -infinity */
TARGET static inline vec exponential(vec x)
{
    vec t = mul(x, broadcast(1.44269504f));
    return _mm512_scalef_ps(two_to(fraction(t)), t);
}

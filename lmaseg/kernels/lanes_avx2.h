/* Vectors of eight floats: AVX2 with FMA. */
#include "native.h"

#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
typedef __m256 vec;
typedef __m256i ivec;
typedef __m256i vmask;

TARGET static inline vec load(const float *from) { return _mm256_loadu_ps(from); }
TARGET static inline void store(float *to, vec v) { _mm256_storeu_ps(to, v); }
TARGET static inline vec broadcast(float value) { return _mm256_set1_ps(value); }
TARGET static inline vec add(vec a, vec b) { return _mm256_add_ps(a, b); }
TARGET static inline vec sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
TARGET static inline vec mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
TARGET static inline vec fma_(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }

/* b where either is not a number */
TARGET static inline vec greater(vec a, vec b) { return _mm256_max_ps(a, b); }

TARGET static inline vmask above(vec a, vec b) { return _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_GT_OQ)); }
TARGET static inline ivec ibroadcast(int32_t value) { return _mm256_set1_epi32(value); }
TARGET static inline ivec choose(vmask where, ivec a, ivec b) { return _mm256_blendv_epi8(b, a, where); }

TARGET static inline float highest(vec v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

TARGET static inline float total_of(vec v)
{
    __m128 m = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_add_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_add_ss(m, _mm_movehdup_ps(m)));
}

#include "exponential.h"

/* e^x for x <= 0, exactly 0 under 2^-126 */
TARGET static inline vec exponential(vec x)
{
    vec t = mul(x, broadcast(1.44269504f));
    vec sane = _mm256_cmp_ps(t, broadcast(-126.0f), _CMP_NLT_UQ); /* true for NaN, which must come out as NaN */
    t = greater(broadcast(-126.0f), t);
    vec n = _mm256_floor_ps(t);
    vec p = two_to(sub(t, n));
    ivec power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_and_ps(sane, mul(p, _mm256_castsi256_ps(power)));
}

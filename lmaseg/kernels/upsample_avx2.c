#include "native.h"

#ifdef HAVE_X86
#include "lanes_avx2.h"

TARGET static inline vec pick(const float *source, ivec index, int64_t reach)
{
    if (reach < LANES) return _mm256_permutevar8x32_ps(load(source), index);
    return _mm256_i32gather_ps(source, index, 4);
}

TARGET static inline void store_labels(uint8_t *to, ivec labels)
{
    __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(labels), _mm256_extracti128_si256(labels, 1));
    _mm_storel_epi64((__m128i *)to, _mm_packus_epi16(words, words));
}

#include "upsample_body.h"

void label_avx2(const void *plan, void *scratch, int64_t task) { label_task(plan, scratch, task); }
#endif

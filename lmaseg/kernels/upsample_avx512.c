#include "native.h"

#ifdef HAVE_X86
#include "lanes_avx512.h"

TARGET static inline vec pick(const float *source, ivec index, int64_t reach)
{
    if (reach < LANES) return _mm512_permutexvar_ps(index, load(source));
    if (reach < 2 * LANES) return _mm512_permutex2var_ps(load(source), index, load(source + LANES));
    return _mm512_i32gather_ps(index, source, 4);
}

TARGET static inline void store_labels(uint8_t *to, ivec labels)
{
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8(labels));
}

#include "upsample_body.h"

void label_avx512(const void *plan, void *scratch, int64_t task) { label_task(plan, scratch, task); }
#endif

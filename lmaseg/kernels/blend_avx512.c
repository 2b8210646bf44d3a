#include "native.h"

#ifdef HAVE_X86
#include "lanes_avx512.h"

#include "blend_body.h"

void measure_avx512(const void *plan, void *scratch, int64_t task)
{
    (void)scratch;
    measure_task(plan, task);
}

void mix_avx512(const void *plan, void *scratch, int64_t task)
{
    (void)scratch;
    mix_task(plan, task);
}
#endif

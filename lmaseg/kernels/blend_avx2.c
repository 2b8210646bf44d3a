#include "native.h"

#ifdef HAVE_X86
#include "lanes_avx2.h"

#include "blend_body.h"

void measure_avx2(const void *plan, void *scratch, int64_t task)
{
    (void)scratch;
    measure_task(plan, task);
}

void mix_avx2(const void *plan, void *scratch, int64_t task)
{
    (void)scratch;
    mix_task(plan, task);
}
#endif

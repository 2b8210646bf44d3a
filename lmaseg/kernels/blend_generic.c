#include "lanes_generic.h"

#include "blend_body.h"

void measure_generic(const void *plan, void *scratch, int64_t task)
{
    (void)scratch;
    measure_task(plan, task);
}

void mix_generic(const void *plan, void *scratch, int64_t task)
{
    (void)scratch;
    mix_task(plan, task);
}

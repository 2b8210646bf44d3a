/* Local attention on float32, for the vectors included before: what attention_body.h asks of a level. */
#define STEP 1

TARGET static inline vec dot(vec sum, vec a, vec b) { return fma_(a, b, sum); }

TARGET static inline vec weigh(float *to, vec x)
{
    vec weight = exponential(x);
    store(to, weight);
    return weight;
}

TARGET INLINE void load_values(vec *into, const char *cell, int64_t stride, int count)
{
    (void)stride;
    for (int v = 0; v < count; v++) into[v] = load((const float *)cell + v * LANES);
}

static inline void settle(float *to, const float *sums, int64_t depth)
{
    memcpy(to, sums, sizeof(float) * (size_t)depth);
}

#include "attention_body.h"

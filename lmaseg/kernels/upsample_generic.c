#include "lanes_generic.h"

static inline vec pick(const float *source, ivec index, int64_t reach)
{
    int32_t at[LANES];
    float picked[LANES];
    (void)reach;
    memcpy(at, &index, sizeof at);
    for (int i = 0; i < LANES; i++) picked[i] = source[at[i]];
    return load(picked);
}

static inline void store_labels(uint8_t *to, ivec labels)
{
    int32_t words[LANES];
    memcpy(words, &labels, sizeof words);
    for (int i = 0; i < LANES; i++) to[i] = (uint8_t)words[i];
}

#include "upsample_body.h"

void label_generic(const void *plan, void *scratch, int64_t task) { label_task(plan, scratch, task); }

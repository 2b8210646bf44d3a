#include "native.h"

#ifdef HAVE_X86
#include "lanes_avx512.h"

#define QUERIES MORE_QUERIES
#include "attention_float.h"

void attend_avx512(const void *plan, void *scratch, int64_t task) { attend_task(plan, scratch, task); }
#endif

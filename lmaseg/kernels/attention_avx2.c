#include "native.h"

#ifdef HAVE_X86
#include "lanes_avx2.h"

#define QUERIES FEW_QUERIES
#include "attention_float.h"

void attend_avx2(const void *plan, void *scratch, int64_t task) { attend_task(plan, scratch, task); }
#endif

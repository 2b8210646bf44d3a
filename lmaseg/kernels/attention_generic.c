#include "lanes_generic.h"

#define QUERIES FEW_QUERIES
#include "attention_float.h"

void attend_generic(const void *plan, void *scratch, int64_t task) { attend_task(plan, scratch, task); }

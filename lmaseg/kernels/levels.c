/* What this processor can do, and whether the library is the one Python expects. */
#include "native.h"

EXPORT int lmaseg_abi(void) { return ABI_VERSION; }

EXPORT int lmaseg_best_level(void)
{
#ifdef HAVE_X86
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return LEVEL_GENERIC;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl"))
        return LEVEL_AVX2;
    return __builtin_cpu_supports("avx512bf16") ? LEVEL_AVX512_BF16 : LEVEL_AVX512;
#else
    return LEVEL_GENERIC;
#endif
}

/* The kernels of this build, and which of them this machine can run. */
#include "sparse.h"

enum { LEVEL_PLAIN, LEVEL_AVX2, LEVEL_AVX512 };

extern const Kernels kernels_plain;
#ifdef SPARSE_X86
extern const Kernels kernels_avx2, kernels_avx512, kernels_avx512_half;
#endif

static int has(int32_t level)
{
#ifdef SPARSE_X86
    __builtin_cpu_init();
    if (level == LEVEL_AVX2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (level == LEVEL_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")
            && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
#endif
    return level == LEVEL_PLAIN;
}

const Kernels *sparse_kernels(int32_t level, int64_t width)
{
    if (!has(level)) return 0;
    if (level == LEVEL_PLAIN && width == 4) return &kernels_plain;
#ifdef SPARSE_X86
    if (level == LEVEL_AVX2 && width == 8) return &kernels_avx2;
    if (level == LEVEL_AVX512 && width == 8) return &kernels_avx512_half;
    if (level == LEVEL_AVX512 && width == 16) return &kernels_avx512;
#endif
    return 0;
}

int32_t sparse_best_level(void)
{
    for (int32_t level = LEVEL_AVX512; level > LEVEL_PLAIN; level--)
        if (has(level)) return level;
    return LEVEL_PLAIN;
}

#ifndef SPARSE_SOURCE
#define SPARSE_SOURCE "unknown"
#endif

const char *sparse_source(void) { return SPARSE_SOURCE; }

int64_t sparse_abi(void) { return (int64_t)(sizeof(Op) * 1000000 + sizeof(Network) * 1000 + sizeof(Run)); }

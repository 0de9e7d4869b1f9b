/* A thin layer over GCC's and Clang's vector extensions: one source for every instruction set. */
#ifndef SPARSE_VECTOR_H
#define SPARSE_VECTOR_H

#include "sparse.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

#ifndef WIDTH
#error "WIDTH, the floats in a vector, comes from the command line: 16 (AVX-512), 8 (AVX2), 4 (NEON, SSE)"
#endif

typedef float vec __attribute__((vector_size(WIDTH * 4)));
typedef int32_t ivec __attribute__((vector_size(WIDTH * 4)));
typedef float vec_anywhere __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")
#define UNROLL16 _Pragma("GCC unroll 16")

/* Fetches a cache line that is going to be written. */
INLINE void fetch_to_write(const float *at)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*at));
#else
    __builtin_prefetch(at, 1);
#endif
}

INLINE vec load(const float *at) { return *(const vec *)at; }
INLINE vec load_anywhere(const float *at) { return *(const vec_anywhere *)at; }
INLINE void store(float *at, vec value) { *(vec *)at = value; }
INLINE vec spread(float value) { return value - (vec){0}; }
INLINE vec keep(vec value, const int32_t *lanes) { return (vec)((ivec)value & *(const ivec *)lanes); }

/* Keeps the compiler from loading a vector's lanes from memory one by one where they shall come out of the register. */
#if defined(__x86_64__)
#define IN_REGISTER(x) __asm__("" : "+v"(x))
#elif defined(__aarch64__)
#define IN_REGISTER(x) __asm__("" : "+w"(x))
#else
#define IN_REGISTER(x) (void)(x)
#endif

/* Four floats in the first lanes; the others hold anything. */
#if WIDTH == 16
INLINE vec load_four(const float *at) { return (vec)_mm512_castps128_ps512(_mm_loadu_ps(at)); }
#elif WIDTH == 8
INLINE vec load_four(const float *at) { return (vec)_mm256_castps128_ps256(_mm_loadu_ps(at)); }
#else
INLINE vec load_four(const float *at) { return load_anywhere(at); }
#endif

/* One lane everywhere. */
#if WIDTH == 16
#define EVERYWHERE(i) i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i
#elif WIDTH == 8
#define EVERYWHERE(i) i, i, i, i, i, i, i, i
#else
#define EVERYWHERE(i) i, i, i, i
#endif
#ifdef __clang__
#define lane(x, i) __builtin_shufflevector(x, x, EVERYWHERE(i))
#else
#define lane(x, i) __builtin_shuffle(x, (ivec){EVERYWHERE(i)})
#endif

INLINE ivec lane_numbers(void)
{
    ivec numbers;
    for (int i = 0; i < WIDTH; i++) numbers[i] = i;
    return numbers;
}

/* The lanes one to the left of `here` (its first is the last of `before`), and one to the right. */
#if WIDTH == 16
#define TO_RIGHT 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
#define TO_LEFT 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
#elif WIDTH == 8
#define TO_RIGHT 7, 8, 9, 10, 11, 12, 13, 14
#define TO_LEFT 1, 2, 3, 4, 5, 6, 7, 8
#else
#define TO_RIGHT 3, 4, 5, 6
#define TO_LEFT 1, 2, 3, 4
#endif
#if defined(__AVX512VL__) && WIDTH == 16 /* keeps its operands, other than what compilers make of the shuffle */
INLINE vec moved_right(vec before, vec here) { return (vec)_mm512_alignr_epi32((__m512i)here, (__m512i)before, 15); }
INLINE vec moved_left(vec here, vec after) { return (vec)_mm512_alignr_epi32((__m512i)after, (__m512i)here, 1); }
#elif defined(__AVX512VL__) && WIDTH == 8
INLINE vec moved_right(vec before, vec here) { return (vec)_mm256_alignr_epi32((__m256i)here, (__m256i)before, 7); }
INLINE vec moved_left(vec here, vec after) { return (vec)_mm256_alignr_epi32((__m256i)after, (__m256i)here, 1); }
#elif defined(__clang__)
INLINE vec moved_right(vec before, vec here) { return __builtin_shufflevector(before, here, TO_RIGHT); }
INLINE vec moved_left(vec here, vec after) { return __builtin_shufflevector(here, after, TO_LEFT); }
#else
INLINE vec moved_right(vec before, vec here) { return __builtin_shuffle(before, here, (ivec){TO_RIGHT}); }
INLINE vec moved_left(vec here, vec after) { return __builtin_shuffle(here, after, (ivec){TO_LEFT}); }
#endif

/* The lanes of even and of odd number of two vectors. */
#if WIDTH == 16
#define EVENS 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODDS 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif WIDTH == 8
#define EVENS 0, 2, 4, 6, 8, 10, 12, 14
#define ODDS 1, 3, 5, 7, 9, 11, 13, 15
#else
#define EVENS 0, 2, 4, 6
#define ODDS 1, 3, 5, 7
#endif
#ifdef __clang__
INLINE vec evens(vec a, vec b) { return __builtin_shufflevector(a, b, EVENS); }
INLINE vec odds(vec a, vec b) { return __builtin_shufflevector(a, b, ODDS); }
#else
INLINE vec evens(vec a, vec b) { return __builtin_shuffle(a, b, (ivec){EVENS}); }
INLINE vec odds(vec a, vec b) { return __builtin_shuffle(a, b, (ivec){ODDS}); }
#endif

/* The second quarter of the lanes and the third swapped. */
#if WIDTH == 16
#define MIDDLE_SWAPPED 0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15
#elif WIDTH == 8
#define MIDDLE_SWAPPED 0, 1, 4, 5, 2, 3, 6, 7
#else
#define MIDDLE_SWAPPED 0, 2, 1, 3
#endif
#ifdef __clang__
INLINE vec middle_swapped(vec x) { return __builtin_shufflevector(x, x, MIDDLE_SWAPPED); }
#else
INLINE vec middle_swapped(vec x) { return __builtin_shuffle(x, (ivec){MIDDLE_SWAPPED}); }
#endif

/* The lanes that `from` names, of one vector; from memory where the processor has no instruction for it. */
INLINE vec lanes_of(vec x, ivec from)
{
#if WIDTH == 16
    return (vec)_mm512_permutexvar_ps((__m512i)from, (__m512)x);
#elif WIDTH == 8
    return (vec)_mm256_permutevar8x32_ps((__m256)x, (__m256i)from);
#else
    vec found;
    for (int i = 0; i < WIDTH; i++) found[i] = x[from[i] & (WIDTH - 1)];
    return found;
#endif
}

/* 0 of NaN too. */
#if WIDTH == 16
INLINE vec relu(vec x) { return (vec)_mm512_max_ps((__m512)x, _mm512_setzero_ps()); }
#elif WIDTH == 8
INLINE vec relu(vec x) { return (vec)_mm256_max_ps((__m256)x, _mm256_setzero_ps()); }
#else
INLINE vec relu(vec x) { return (vec)((ivec)x & (ivec)(x > (vec){0})); }
#endif

/* e^x to 2 units in the last place: x = n ln 2 + r, a polynomial in r, n into the exponent. */
INLINE vec exponential(vec x)
{
    const vec low = spread(-87.0f), high = spread(88.0f);
    ivec below = x < low, above = x > high;
    x = (vec)(((ivec)x & ~below) | ((ivec)low & below));
    x = (vec)(((ivec)x & ~above) | ((ivec)high & above));
    vec shifted = x * 1.44269504f + 12582912.0f; /* rounds: the number n is in the low bits */
    vec n = shifted - 12582912.0f;
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec p = 1.9875691500e-4f * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    ivec power = ((ivec)shifted << 23) + (127 << 23);
    return p * (vec)power;
}

INLINE vec activate(vec x, int32_t kind)
{
    if (kind == ACT_RELU) return relu(x);
    if (kind == ACT_SILU) {
        ivec vanishes = x < spread(-88.0f); /* beyond what `exponential` knows */
        return (vec)((ivec)(x / (1.0f + exponential(-x))) & ~vanishes);
    }
    return x;
}

#endif

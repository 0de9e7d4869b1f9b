/* A thin layer over GCC's and Clang's vector extensions: one source for every instruction set. */
#ifndef SPARSE_VECTOR_H
#define SPARSE_VECTOR_H

#include <stdint.h>

#ifndef WIDTH
#error "WIDTH, the floats in a vector, comes from the command line: 16 (AVX-512), 8 (AVX2), 4 (NEON, SSE)"
#endif

typedef float vec __attribute__((vector_size(WIDTH * 4)));
typedef int32_t ivec __attribute__((vector_size(WIDTH * 4)));
typedef float vec_anywhere __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")

INLINE vec load(const float *at) { return *(const vec *)at; }
INLINE vec load_anywhere(const float *at) { return *(const vec_anywhere *)at; }
INLINE void store(float *at, vec value) { *(vec *)at = value; }
INLINE vec spread(float value) { return value - (vec){0}; }
INLINE vec keep(vec value, const int32_t *lanes) { return (vec)((ivec)value & *(const ivec *)lanes); }

INLINE vec relu(vec x) { return (vec)((ivec)x & (ivec)(x > (vec){0})); }

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
    if (kind == 1) return relu(x);
    if (kind == 2) return x / (1.0f + exponential(-x));
    return x;
}

#endif

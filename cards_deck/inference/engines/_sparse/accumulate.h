/* The heart: sums of weights times shifted planes, kept in registers.
 *
 * GROUP output channels x VECTORS neighbouring vectors of the plane are summed at a time. Every weight costs one load
 * of its offset, one of its value, and VECTORS multiply-adds that take their other operand straight from memory. The
 * offsets are whole vectors, so no load crosses a cache line: horizontal taps are shifted after the sum, not before.
 * Channels of a group only share the loop (independent sums hide the latency where VECTORS is small).
 * Included once per type of offset, with OFFSET and NAME(name) defined.
 */

INLINE void NAME(sums)(const float *in, const OFFSET *offsets, const float *values, const Run *run,
                       float *const *slots, const int GROUP, const int VECTORS)
{
    vec sum[8];
    UNROLL for (int i = 0; i < GROUP * VECTORS; i++) sum[i] = (vec){0};
    for (int k = 0; k < run->count; k++) {
        UNROLL for (int g = 0; g < GROUP; g++) {
            const float *from = in + (int64_t)offsets[k * GROUP + g] * WIDTH;
            vec weight = spread(values[k * GROUP + g]);
            UNROLL for (int v = 0; v < VECTORS; v++) sum[g * VECTORS + v] += weight * load(from + v * WIDTH);
        }
    }
    UNROLL for (int i = 0; i < GROUP * VECTORS; i++) store(slots[i / VECTORS] + i % VECTORS * WIDTH, sum[i]);
}

/* The same for signs: no values, no multiplications. */
INLINE void NAME(signs)(const float *in, const OFFSET *offsets, const Run *run, float *const *slots, const int GROUP,
                        const int VECTORS)
{
    vec sum[8];
    UNROLL for (int i = 0; i < GROUP * VECTORS; i++) sum[i] = (vec){0};
    for (int k = 0; k < run->plus; k++) {
        UNROLL for (int g = 0; g < GROUP; g++) {
            const float *from = in + (int64_t)offsets[k * GROUP + g] * WIDTH;
            UNROLL for (int v = 0; v < VECTORS; v++) sum[g * VECTORS + v] += load(from + v * WIDTH);
        }
    }
    for (int k = run->plus; k < run->count; k++) {
        UNROLL for (int g = 0; g < GROUP; g++) {
            const float *from = in + (int64_t)offsets[k * GROUP + g] * WIDTH;
            UNROLL for (int v = 0; v < VECTORS; v++) sum[g * VECTORS + v] -= load(from + v * WIDTH);
        }
    }
    UNROLL for (int i = 0; i < GROUP * VECTORS; i++) store(slots[i / VECTORS] + i % VECTORS * WIDTH, sum[i]);
}

#define CASE(GROUP, VECTORS)                                                          \
    case (GROUP) * 16 + (VECTORS):                                                    \
        if (values)                                                                   \
            NAME(sums)(in, offsets, values, run, slots, GROUP, VECTORS);              \
        else                                                                          \
            NAME(signs)(in, offsets, run, slots, GROUP, VECTORS);                     \
        break;

/* One run over `vectors` vectors from `in` on, in the widest pieces that the registers hold. */
static void NAME(accumulate)(const float *in, const OFFSET *offsets, const float *values, const Run *run,
                             float **slots, int group, int64_t vectors)
{
    int widest = 8 / group;
    while (vectors) {
        int piece = widest;
        while (piece > vectors) piece /= 2;
        switch (group * 16 + piece) {
            CASE(1, 8) CASE(1, 4) CASE(1, 2) CASE(1, 1)
            CASE(2, 4) CASE(2, 2) CASE(2, 1)
            CASE(4, 2) CASE(4, 1)
            CASE(8, 1)
        }
        in += piece * WIDTH;
        for (int g = 0; g < group; g++) slots[g] += piece * WIDTH;
        vectors -= piece;
    }
}

#undef CASE
#undef OFFSET
#undef NAME

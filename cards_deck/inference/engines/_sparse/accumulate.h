/* Sums of weights times planes, kept in registers.
 *
 * Loads are what bounds it: a multiply-add takes its other operand straight from memory. So offsets are whole vectors (no
 * load crosses a cache line: taps are shifted after the sum, not before), and offsets and weights are loaded FOUR at a
 * time and taken apart in registers. Where VECTORS is small, neighbouring weights go to different sums (CHAINS of them),
 * or four output channels are summed side by side, since a multiply-add takes several cycles to finish.
 *
 * The bound, measured on Zen 5 (AVX-512, 4.1 GHz) in 10^9 multiply-adds per second, vectors drawn at random: 127 from
 * registers, but 98 from 32 KB, since a core loads 1.5 vectors a cycle, not 2; 91 from 48 KB, 82 from 64 KB, 71 from 96
 * KB, 54 to 60 from the second cache. Had vectors to cross cache lines, 58 from 32 KB.
 * ResNet-18 at 5 %, one image: 64 to 70 on 32 x 32 planes (read: 48 KB), 68 to 73 on 16 x 16 (48 KB), 70 to 74 on 8 x 8
 * (two passes of 48 KB), 44 on 4 x 4 (96 KB, one vector for each weight), 57 there with sixteen images: sixteen.h. That
 * is 40 % of the peak over the network. Beside the loads of the sums, it is what every output channel costs however few
 * its weights: 35 to 50 cycles for a block's shifts, stores and fields, a fifth of the time of 64 channels at 5 %.
 * Runs of equal lengths, which mispredict nothing, are no quicker; nor are more independent sums, pages of 2 MB, or 4
 * vectors at a time instead of 8. With random masks few output channels use the same input vector (4 of them at 5 %:
 * 1.08 times), so that nothing is won by holding it in a register.
 * Included once per type of offset, with OFFSET and NAME(name) defined.
 */

/* Four offsets, in floats, from one or two loads. */
INLINE void NAME(four_offsets)(const OFFSET *offsets, int64_t *found)
{
    uint64_t packed;
    if (sizeof(OFFSET) == 2) {
        memcpy(&packed, offsets, sizeof packed);
        UNROLL for (int i = 0; i < 4; i++) found[i] = (int64_t)(packed >> (16 * i) & 0xffff) * WIDTH;
    } else {
        UNROLL for (int i = 0; i < 4; i++) found[i] = (int64_t)offsets[i] * WIDTH;
    }
}

INLINE void NAME(add)(const float *from, vec weight, vec *sum, const int VECTORS, int64_t step)
{
    UNROLL for (int v = 0; v < VECTORS; v++) sum[v] += weight * load(from + v * step);
}

INLINE void NAME(add_sign)(const float *from, const int PLUS, vec *sum, const int VECTORS)
{
    UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = PLUS ? sum[v] + load(from + v * WIDTH) : sum[v] - load(from + v * WIDTH);
}

INLINE void NAME(add_signs)(const float *in, const OFFSET *offsets, int64_t k, int64_t end, const int PLUS, vec *sum,
                            const int CHAINS, const int VECTORS)
{
    int64_t at[4];
    for (; k + 4 <= end; k += 4) {
        NAME(four_offsets)(offsets + k, at);
        UNROLL for (int i = 0; i < 4; i++) NAME(add_sign)(in + at[i], PLUS, sum + i % CHAINS * VECTORS, VECTORS);
    }
    for (; k < end; k++) NAME(add_sign)(in + (int64_t)offsets[k] * WIDTH, PLUS, sum, VECTORS);
}

/* Adds a run to `sum`, which holds CHAINS x VECTORS sums. `values` NULL: the weights are signs, nothing is multiplied. */
INLINE void NAME(add_run)(const float *in, const OFFSET *offsets, const float *values, const Run *run, vec *sum,
                          const int CHAINS, const int VECTORS)
{
    const int64_t count = run->count;
    if (!values) {
        NAME(add_signs)(in, offsets, 0, run->plus, 1, sum, CHAINS, VECTORS);
        NAME(add_signs)(in, offsets, run->plus, count, 0, sum, CHAINS, VECTORS);
        return;
    }
    int64_t k = 0, at[4];
    for (; k + 4 <= count; k += 4) {
        vec four = load_four(values + k);
        IN_REGISTER(four);
        NAME(four_offsets)(offsets + k, at);
        NAME(add)(in + at[0], lane(four, 0), sum, VECTORS, WIDTH);
        NAME(add)(in + at[1], lane(four, 1), sum + 1 % CHAINS * VECTORS, VECTORS, WIDTH);
        NAME(add)(in + at[2], lane(four, 2), sum + 2 % CHAINS * VECTORS, VECTORS, WIDTH);
        NAME(add)(in + at[3], lane(four, 3), sum + 3 % CHAINS * VECTORS, VECTORS, WIDTH);
    }
    for (; k < count; k++) NAME(add)(in + (int64_t)offsets[k] * WIDTH, spread(values[k]), sum, VECTORS, WIDTH);
}

/* Adds the runs of four output channels, whose weights are listed in turns, to the sums of each; the vectors that a
 * weight is for lie `step` floats apart. */
INLINE void NAME(add_four)(const float *in, const OFFSET *offsets, const float *values, int64_t count, vec *sum,
                           const int VECTORS, int64_t step)
{
    int64_t at[4];
    for (int64_t k = 0; k < count; k++) {
        vec four = load_four(values + 4 * k);
        IN_REGISTER(four);
        NAME(four_offsets)(offsets + 4 * k, at);
        NAME(add)(in + at[0], lane(four, 0), sum, VECTORS, step);
        NAME(add)(in + at[1], lane(four, 1), sum + VECTORS, VECTORS, step);
        NAME(add)(in + at[2], lane(four, 2), sum + 2 * VECTORS, VECTORS, step);
        NAME(add)(in + at[3], lane(four, 3), sum + 3 * VECTORS, VECTORS, step);
    }
}

INLINE void NAME(sum_run)(const float *in, const OFFSET *offsets, const float *values, const Run *run, float *out,
                          const int CHAINS, const int VECTORS)
{
    vec sum[8];
    UNROLL for (int i = 0; i < CHAINS * VECTORS; i++) sum[i] = (vec){0};
    NAME(add_run)(in, offsets, values, run, sum, CHAINS, VECTORS);
    UNROLL for (int v = 0; v < VECTORS; v++) {
        UNROLL for (int c = 1; c < CHAINS; c++) sum[v] += sum[c * VECTORS + v];
        store(out + v * WIDTH, sum[v]);
    }
}

/* A run over `vectors` vectors from `in` on, into `out`. */
static void NAME(accumulate)(const float *in, const OFFSET *offsets, const float *values, const Run *run, float *out,
                             int64_t vectors)
{
    while (vectors) {
        int64_t piece = vectors >= 8 ? 8 : vectors >= 4 ? 4 : vectors >= 2 ? 2 : 1;
        switch (piece) {
        case 8: NAME(sum_run)(in, offsets, values, run, out, 1, 8); break;
        case 4: NAME(sum_run)(in, offsets, values, run, out, 2, 4); break;
        case 2: NAME(sum_run)(in, offsets, values, run, out, 4, 2); break;
        default: NAME(sum_run)(in, offsets, values, run, out, 4, 1);
        }
        in += piece * WIDTH;
        out += piece * WIDTH;
        vectors -= piece;
    }
}

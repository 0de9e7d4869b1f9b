/* Convolutions up to 3 columns wide, a few whole lines at a time.
 *
 * The sums of the left, middle and right taps differ by one lane. What the left taps sum is moved one lane to the right
 * in the registers, the middle taps are added to it, and what the right taps sum is moved to the left and added: no sum
 * goes through memory, and every load is aligned. Zeros come in at a line's ends, which is the padding; where a line
 * holds all rows of a plane, masks blank what comes from the neighbouring row.
 * For offsets of 16 bits, with OFFSET and NAME(name) defined.
 */

/* Adds a run to `sum`, over CHAINS sums where VECTORS is small. */
INLINE void NAME(add_to)(const float *in, const OFFSET *offsets, const float *values, const Run *run, vec *sum,
                         const int VECTORS)
{
    const int CHAINS = VECTORS >= 8 ? 1 : VECTORS == 4 ? 2 : 4;
    vec parts[8];
    UNROLL for (int i = 0; i < CHAINS * VECTORS; i++) parts[i] = i < VECTORS ? sum[i] : (vec){0};
    NAME(add_run)(in, offsets, values, run, parts, CHAINS, VECTORS);
    UNROLL for (int v = 0; v < VECTORS; v++) {
        sum[v] = parts[v];
        UNROLL for (int c = 1; c < CHAINS; c++) sum[v] += parts[c * VECTORS + v];
    }
}

INLINE void NAME(move_right)(vec *sum, const int32_t *mask, const int VECTORS, const int LINE)
{
    UNROLL for (int v = VECTORS - 1; v >= 0; v--) {
        sum[v] = moved_right(v % LINE ? sum[v ? v - 1 : 0] : (vec){0}, sum[v]);
        if (mask) sum[v] = keep(sum[v], mask + v % LINE * WIDTH);
    }
}

INLINE void NAME(add_moved_left)(vec *sum, const vec *right, const int32_t *mask, const int VECTORS, const int LINE)
{
    UNROLL for (int v = 0; v < VECTORS; v++) {
        vec moved = moved_left(right[v], (v + 1) % LINE ? right[v + 1 < VECTORS ? v + 1 : v] : (vec){0});
        sum[v] += mask ? keep(moved, mask + v % LINE * WIDTH) : moved;
    }
}

/* Weights of one set, of one output channel or four. */
INLINE void NAME(add_weights)(const float *in, const OFFSET *offsets, const float *values, const Run *run, vec *sum,
                              const int GROUP, const int VECTORS)
{
    if (GROUP == 4) NAME(add_four)(in, offsets, values, run->count, sum, VECTORS);
    else NAME(add_to)(in, offsets, values, run, sum, VECTORS);
}

/* Scale, shift, activations and the other summand. */
INLINE void finish(const Op *op, int64_t channel, const float *other, vec *sum, const int VECTORS)
{
    const vec shift = spread(op->shift[channel]);
    if (op->scale) {
        const vec scale = spread(op->scale[channel]);
        UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = sum[v] * scale + shift;
    } else {
        UNROLL for (int v = 0; v < VECTORS; v++) sum[v] += shift;
    }
    if (op->pre == ACT_RELU) {
        UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = relu(sum[v]);
    } else if (op->pre == ACT_SILU) {
        UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = activate(sum[v], ACT_SILU);
    }
    if (!other) return;
    UNROLL for (int v = 0; v < VECTORS; v++) sum[v] += load(other + v * WIDTH);
    if (op->post == ACT_RELU) {
        UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = relu(sum[v]);
    } else if (op->post == ACT_SILU) {
        UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = activate(sum[v], ACT_SILU);
    }
}

/* GROUP output channels over VECTORS vectors, LINE of which make a line. */
INLINE void NAME(rows)(const Op *op, int64_t channel, const float *in, const float *other, float *out,
                       const int GROUP, const int VECTORS, const int LINE)
{
    const int SUMS = GROUP * VECTORS;
    const int64_t entry = op->first_entry[channel];
    const OFFSET *offsets = (const OFFSET *)op->offsets + entry;
    const float *values = op->binary ? 0 : op->values + entry;
    const Run *run = op->runs + channel * op->sets;
    const int32_t *mask = op->masks;
    vec sum[8];
    UNROLL for (int v = 0; v < SUMS; v++) sum[v] = (vec){0};
    for (int s = 0; s < op->sets; s++, run++) {
        if (op->shifts[s] <= 0) {
            NAME(add_weights)(in, offsets, values, run, sum, GROUP, VECTORS);
            if (op->shifts[s] < 0) NAME(move_right)(sum, mask, SUMS, LINE);
        } else {
            vec right[8];
            UNROLL for (int v = 0; v < SUMS; v++) right[v] = (vec){0};
            NAME(add_weights)(in, offsets, values, run, right, GROUP, VECTORS);
            NAME(add_moved_left)(sum, right, mask, SUMS, LINE);
        }
        offsets += (int64_t)run->count * GROUP;
        if (values) values += (int64_t)run->count * GROUP;
        if (mask) mask += op->out.line;
    }
    const int64_t channels = GROUP == 1 || channel + GROUP <= op->outputs ? GROUP : op->outputs - channel;
    UNROLL for (int g = 0; g < GROUP; g++) {
        if (g >= channels) break;
        finish(op, channel + g, other ? other + g * op->other.plane : 0, sum + g * VECTORS, VECTORS);
        if (op->lanes) {
            UNROLL for (int v = 0; v < VECTORS; v++)
                sum[g * VECTORS + v] = keep(sum[g * VECTORS + v], op->lanes + v % LINE * WIDTH);
        }
        UNROLL for (int v = 0; v < VECTORS; v++) store(out + g * op->out.plane + v * WIDTH, sum[g * VECTORS + v]);
    }
}

/* The output channels from `first` to `end` over VECTORS vectors. */
INLINE void NAME(channels)(const Op *op, int64_t first, int64_t end, const float *in, const float *other, float *out,
                           const int GROUP, const int VECTORS, const int LINE)
{
    for (int64_t o = first; o < end; o += GROUP) {
        NAME(rows)(op, o, in, other ? other + o * op->other.plane : 0, out + o * op->out.plane, GROUP, VECTORS, LINE);
        for (int64_t done = o; op->out.packed && done < least(o + GROUP, end); done++)
            guard(op, out + done * op->out.plane - op->out.origin, 0, 1);
    }
}

static void NAME(some_rows)(const Op *op, int64_t first, int64_t end, const float *in, const float *other, float *out,
                            int64_t lines)
{
    const int64_t line = op->out.line / WIDTH;
    int64_t vectors = lines * line;
#define ROWS(GROUP, VECTORS, LINE) NAME(channels)(op, first, end, in, other, out, GROUP, VECTORS, LINE)
    while (vectors) {
        int64_t piece = vectors >= 8 ? 8 : vectors >= 4 ? 4 : vectors >= 2 ? 2 : 1;
        switch (op->group * 100 + piece * 10 + line) {
        case 181: ROWS(1, 8, 1); break;
        case 182: ROWS(1, 8, 2); break;
        case 184: ROWS(1, 8, 4); break;
        case 188: ROWS(1, 8, 8); break;
        case 141: ROWS(1, 4, 1); break;
        case 142: ROWS(1, 4, 2); break;
        case 144: ROWS(1, 4, 4); break;
        case 121: ROWS(1, 2, 1); break;
        case 122: ROWS(1, 2, 2); break;
        case 111: ROWS(1, 1, 1); break;
        case 421: ROWS(4, 2, 1); break;
        case 422: ROWS(4, 2, 2); break;
        case 411: ROWS(4, 1, 1); break;
        }
        in += piece * WIDTH;
        out += piece * WIDTH;
        if (other) other += piece * WIDTH;
        vectors -= piece;
    }
#undef ROWS
}

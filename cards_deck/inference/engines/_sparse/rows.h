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

/* One output channel over VECTORS vectors, `line` of which make a line. */
INLINE void NAME(rows)(const Op *op, int64_t channel, const float *in, const float *other, float *out,
                       const int VECTORS, const int line)
{
    int64_t entry = op->first_entry[channel];
    const Run *run = op->runs + channel * op->sets;
    const int32_t *mask = op->masks;
    vec sum[8];
    UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = (vec){0};
    for (int s = 0; s < op->sets; s++, run++) {
        const OFFSET *offsets = (const OFFSET *)op->offsets + entry;
        const float *values = op->binary ? 0 : op->values + entry;
        entry += run->count;
        if (op->shifts[s] <= 0) {
            NAME(add_to)(in, offsets, values, run, sum, VECTORS);
            if (op->shifts[s] < 0) {
                if (line == 1) NAME(move_right)(sum, mask, VECTORS, 1);
                else if (line == 2) NAME(move_right)(sum, mask, VECTORS, 2);
                else if (line == 4) NAME(move_right)(sum, mask, VECTORS, 4);
                else NAME(move_right)(sum, mask, VECTORS, 8);
            }
        } else {
            vec right[8];
            UNROLL for (int v = 0; v < VECTORS; v++) right[v] = (vec){0};
            NAME(add_to)(in, offsets, values, run, right, VECTORS);
            if (line == 1) NAME(add_moved_left)(sum, right, mask, VECTORS, 1);
            else if (line == 2) NAME(add_moved_left)(sum, right, mask, VECTORS, 2);
            else if (line == 4) NAME(add_moved_left)(sum, right, mask, VECTORS, 4);
            else NAME(add_moved_left)(sum, right, mask, VECTORS, 8);
        }
        if (mask) mask += op->out.line;
    }
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
    if (other) {
        UNROLL for (int v = 0; v < VECTORS; v++) sum[v] += load(other + v * WIDTH);
        if (op->post == ACT_RELU) {
            UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = relu(sum[v]);
        } else if (op->post == ACT_SILU) {
            UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = activate(sum[v], ACT_SILU);
        }
    }
    if (op->lanes) {
        UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = keep(sum[v], op->lanes + v % line * WIDTH);
    }
    UNROLL for (int v = 0; v < VECTORS; v++) store(out + v * WIDTH, sum[v]);
}

static void NAME(some_rows)(const Op *op, int64_t channel, const float *in, const float *other, float *out, int64_t lines)
{
    int line = (int)(op->out.line / WIDTH);
    int64_t vectors = lines * line;
    while (vectors) {
        int64_t piece = vectors >= 8 ? 8 : vectors >= 4 ? 4 : vectors >= 2 ? 2 : 1;
        switch (piece) {
        case 8: NAME(rows)(op, channel, in, other, out, 8, line); break;
        case 4: NAME(rows)(op, channel, in, other, out, 4, line); break;
        case 2: NAME(rows)(op, channel, in, other, out, 2, line); break;
        default: NAME(rows)(op, channel, in, other, out, 1, line);
        }
        in += piece * WIDTH;
        out += piece * WIDTH;
        if (other) other += piece * WIDTH;
        vectors -= piece;
    }
}

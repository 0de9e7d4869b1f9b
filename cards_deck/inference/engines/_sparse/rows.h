/* Convolutions up to 3 columns wide, a few whole lines at a time.
 *
 * The sums of the left, middle and right taps differ by one lane. What the left taps sum is moved one lane to the right
 * in the registers, the middle taps are added to it, and what the right taps sum is moved to the left and added: no sum
 * goes through memory, and every load is aligned. Zeros come in at a line's ends, which is the padding; where a line
 * holds several rows, masks blank what comes from the neighbouring row.
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

INLINE void NAME(move_right)(vec *sum, const int32_t *mask, const int VECTORS, const int LINE, const int MASKED)
{
    UNROLL for (int v = VECTORS - 1; v >= 0; v--) {
        sum[v] = moved_right(v % LINE ? sum[v ? v - 1 : 0] : (vec){0}, sum[v]);
        if (MASKED) sum[v] = keep(sum[v], mask + v % LINE * WIDTH);
    }
}

INLINE void NAME(add_moved_left)(vec *sum, const vec *right, const int32_t *mask, const int VECTORS, const int LINE,
                                 const int MASKED)
{
    UNROLL for (int v = 0; v < VECTORS; v++) {
        vec moved = moved_left(right[v], (v + 1) % LINE ? right[v + 1 < VECTORS ? v + 1 : v] : (vec){0});
        sum[v] += MASKED ? keep(moved, mask + v % LINE * WIDTH) : moved;
    }
}

/* Scale (of signs), shift, activations and the other summand. */
INLINE void finish(const Op *op, int64_t channel, const float *other, vec *sum, const int VECTORS, const int BINARY,
                   int64_t step)
{
    const vec shift = spread(op->shift[channel]);
    if (BINARY) {
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
    UNROLL for (int v = 0; v < VECTORS; v++) sum[v] += load(other + v * step);
    if (op->post == ACT_RELU) {
        UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = relu(sum[v]);
    } else if (op->post == ACT_SILU) {
        UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = activate(sum[v], ACT_SILU);
    }
}

enum { MOST_SUMS = 16 };

/* Where a kernel is in the lists: at a set of an output channel, or of a group of them. */
typedef struct {
    const OFFSET *offsets;
    const float *values;
    const Run *run;
} NAME(Lists);

/* Adds the weights of the set, of one output channel or four, and goes on to the next. */
INLINE void NAME(add_set)(NAME(Lists) *at, const float *in, vec *sum, const int GROUP, const int VECTORS,
                          const int BINARY, int64_t step)
{
    if (GROUP == 4) NAME(add_four)(in, at->offsets, at->values, at->run->count, sum, VECTORS, step);
    else NAME(add_to)(in, at->offsets, BINARY ? 0 : at->values, at->run, sum, VECTORS);
    at->offsets += (int64_t)at->run->count * GROUP;
    if (!BINARY) at->values += (int64_t)at->run->count * GROUP;
    at->run++;
}

/* GROUP output channels over VECTORS vectors that lie `step` floats apart: neighbours in a plane, LINE of which make a
 * line, or those of several images. */
INLINE void NAME(rows)(const Op *op, int64_t place, const float *in, const float *other, float *out,
                       const int GROUP, const int VECTORS, const int LINE, const int MASKED, const int BINARY, int64_t step)
{
    const int SUMS = GROUP * VECTORS;
    const int64_t entry = op->first_entry[place];
    NAME(Lists) at = {(const OFFSET *)op->offsets + entry, op->values + (BINARY ? 0 : entry), op->runs + place * op->sets};
    const int32_t *shift = op->shifts, *last = shift + op->sets, *mask = op->masks;
    vec sum[MOST_SUMS];
    UNROLL for (int g = 0; g < GROUP; g++) { /* while the sums are made: another thread may have read the lines last */
        if (GROUP > 1 && place + g >= op->outputs) break;
        const float *to = out + (GROUP == 1 ? place : op->order[place + g]) * op->out.plane;
        UNROLL for (int v = 0; v < VECTORS; v++) fetch_to_write(to + v * step);
    }
    UNROLL for (int v = 0; v < SUMS; v++) sum[v] = (vec){0};
    if (*shift < 0) {
        NAME(add_set)(&at, in, sum, GROUP, VECTORS, BINARY, step);
        NAME(move_right)(sum, mask, SUMS, LINE, MASKED);
        shift++;
        if (MASKED) mask += op->out.line;
    }
    if (shift < last && *shift == 0) {
        NAME(add_set)(&at, in, sum, GROUP, VECTORS, BINARY, step);
        shift++;
        if (MASKED) mask += op->out.line;
    }
    if (shift < last) {
        vec right[MOST_SUMS];
        UNROLL for (int v = 0; v < SUMS; v++) right[v] = (vec){0};
        NAME(add_set)(&at, in, right, GROUP, VECTORS, BINARY, step);
        NAME(add_moved_left)(sum, right, mask, SUMS, LINE, MASKED);
    }
    UNROLL for (int g = 0; g < GROUP; g++) {
        if (GROUP > 1 && place + g >= op->outputs) break;
        const int64_t channel = GROUP == 1 ? place : op->order[place + g];
        float *to = out + channel * op->out.plane;
        vec *found = sum + g * VECTORS;
        if (op->adds) UNROLL for (int v = 0; v < VECTORS; v++) found[v] += load(to + v * step);
        finish(op, channel, other ? other + channel * op->other.plane : 0, found, VECTORS, BINARY, step);
        if (op->lanes)
            UNROLL for (int v = 0; v < VECTORS; v++) found[v] = keep(found[v], op->lanes + v % LINE * WIDTH);
        UNROLL for (int v = 0; v < VECTORS; v++) store(to + v * step, found[v]);
        if (!MASKED) continue;
        if (step == WIDTH) guard(op, to - op->out.origin, 0, op->out.lines);
        else UNROLL for (int v = 0; v < VECTORS; v++) guard(op, to + v * step - op->out.origin, 0, op->out.lines);
    }
}

/* The output channels from `first` to `end` over VECTORS vectors. Lines that hold several rows are those with masks. */
INLINE void NAME(channels)(const Op *op, int64_t first, int64_t end, const float *in, const float *other, float *out,
                           const int GROUP, const int VECTORS, const int LINE, int64_t step)
{
#define CHANNELS(MASKED, BINARY) \
    for (int64_t o = first; o < end; o += GROUP) NAME(rows)(op, o, in, other, out, GROUP, VECTORS, LINE, MASKED, BINARY, step)
    if (GROUP == 1 && op->binary) CHANNELS(op->masks != 0, 1);
    else if (op->masks) CHANNELS(1, 0);
    else CHANNELS(0, 0);
#undef CHANNELS
}

/* A function for each shape: in one large one the compiler runs out of registers. */
#define SHAPES(SHAPE)                                                                                                  \
    SHAPE(1, 8, 1) SHAPE(1, 8, 2) SHAPE(1, 8, 4) SHAPE(1, 8, 8) SHAPE(1, 4, 1) SHAPE(1, 4, 2) SHAPE(1, 4, 4)           \
    SHAPE(1, 2, 1) SHAPE(1, 2, 2) SHAPE(1, 1, 1) SHAPE(4, 2, 1) SHAPE(4, 2, 2) SHAPE(4, 1, 1)
#define DEFINED(GROUP, VECTORS, LINE)                                                                                  \
    static __attribute__((noinline)) void rows_##GROUP##_##VECTORS##_##LINE(                                           \
        const Op *op, int64_t first, int64_t end, const float *in, const float *other, float *out)                     \
    {                                                                                                                  \
        NAME(channels)(op, first, end, in, other, out, GROUP, VECTORS, LINE, WIDTH);                                   \
    }
#define CASE(GROUP, VECTORS, LINE) \
    case GROUP * 100 + VECTORS * 10 + LINE: rows_##GROUP##_##VECTORS##_##LINE(op, first, end, in, other, out); break;
SHAPES(DEFINED)

/* Planes of one vector, of several images. */
#define IMAGES(COUNT)                                                                                                  \
    static __attribute__((noinline)) void images_##COUNT(const Op *op, int64_t first, int64_t end, const float *in,    \
                                                         const float *other, float *out, int64_t step)                 \
    {                                                                                                                  \
        NAME(channels)(op, first, end, in, other, out, 4, COUNT, 1, step);                                             \
    }
IMAGES(2)
IMAGES(4)
#undef IMAGES

static void NAME(some_images)(const Op *op, int64_t first, int64_t end, const float *in, const float *other, float *out,
                              int64_t images, int64_t step)
{
    while (images) {
        int64_t piece = images >= 4 ? 4 : images >= 2 ? 2 : 1;
        if (piece == 4) images_4(op, first, end, in, other, out, step);
        else if (piece == 2) images_2(op, first, end, in, other, out, step);
        else rows_4_1_1(op, first, end, in, other, out);
        in += piece * step;
        out += piece * step;
        if (other) other += piece * step;
        images -= piece;
    }
}

static void NAME(some_rows)(const Op *op, int64_t first, int64_t end, const float *in, const float *other, float *out,
                            int64_t lines)
{
    const int64_t line = op->out.line / WIDTH;
    int64_t vectors = lines * line;
    while (vectors) {
        int64_t piece = vectors >= 8 ? 8 : vectors >= 4 ? 4 : vectors >= 2 ? 2 : 1;
        switch (op->group * 100 + piece * 10 + line) {
        SHAPES(CASE)
        }
        in += piece * WIDTH;
        out += piece * WIDTH;
        if (other) other += piece * WIDTH;
        vectors -= piece;
    }
}
#undef SHAPES
#undef DEFINED
#undef CASE

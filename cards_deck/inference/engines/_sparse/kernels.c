/* Every operation of a network for one instruction set. Compiled once per set, with WIDTH and TABLE on the command line.
 *
 * An operation is cut into tasks that write different memory, so that threads can share it; what a task computes does
 * not depend on who runs it or, while all values are finite, on what else is in the batch.
 */
#include "sparse.h"
#include "vector.h"

#include <string.h>

INLINE float *plane_of(const Value *value, const Frame *frame, int64_t plane)
{
    return frame->arenas[value->arena] + value->offset + plane * value->plane;
}

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Floats from a plane's first line to a row. (Subtracting is quicker than dividing.) */
INLINE int64_t row_at(const Value *value, int64_t y)
{
    int64_t at = 0;
    for (; y >= value->lines; y -= value->lines) at += value->pitch;
    return at + y * value->line;
}

/* A line whose lanes are those of `from`, shifted. */
INLINE void shifted_line(float *to, const float *from, int64_t line, int64_t shift)
{
    for (int64_t x = 0; x < line; x += WIDTH) {
        const ivec lanes = lane_numbers() + (int32_t)(x + shift);
        const ivec inside = (lanes >= 0) & (lanes < (int32_t)line);
        if (line == WIDTH) store(to, (vec)((ivec)lanes_of(load(from), lanes) & inside));
        else store(to + x, (vec)((ivec)load_anywhere(from + x + shift) & inside));
    }
}

/* Writes the guard lines beside `lines` finished lines of a plane; beside all of them where lines hold several rows. */
static void guard(const Op *op, float *plane, int64_t first, int64_t lines)
{
    const Value *out = &op->out;
    const int64_t line = out->line;
    float *at = plane + out->origin, *below = at + out->lines * line, *end = plane + out->plane;
    if (!out->packed) {
        if (first == 0)
            for (float *to = plane; to < at; to += WIDTH) store(to, (vec){0});
        if (first + lines == out->lines)
            for (float *to = below; to < end; to += WIDTH) store(to, (vec){0});
        return;
    }
    int64_t from = 0, shift = 0;
    for (float *to = at - line; to >= plane; to -= line) {
        if (from == 0) from = out->lines, shift -= out->pitch;
        shifted_line(to, at + --from * line, line, shift);
    }
    from = 0, shift = out->pitch;
    for (float *to = below; to < end; to += line) {
        shifted_line(to, at + from * line, line, shift);
        if (++from == out->lines) from = 0, shift += out->pitch;
    }
}

#define OFFSET uint16_t
#define NAME(name) name##_16
#include "accumulate.h"
#include "rows.h"
#if WIDTH == 16
#include "sixteen.h"
#else
#define some_sixteen(...) (void)0
#endif
#undef OFFSET
#undef NAME
#define OFFSET uint32_t
#define NAME(name) name##_32
#include "accumulate.h"

/* -- convolution ------------------------------------------------------------------------------------------------- */

INLINE int64_t blocks(const Op *op) { return (op->out.lines + op->block - 1) / op->block; }

/* Floats of one set in the scratch memory. What a shift reads beyond them is masked, so only the ends of the whole need a
 * guard. */
INLINE int64_t slot_floats(const Op *op) { return op->block * op->out.line; }

static void sum_sets(const Op *op, const Frame *frame, int64_t channel, const float *in, int64_t vectors)
{
    int64_t entry = op->first_entry[channel];
    for (int64_t s = 0; s < op->sets; s++) {
        const Run *run = op->runs + channel * op->sets + s;
        const float *values = op->binary ? 0 : op->values + entry;
        float *out = frame->scratch + op->guard + s * slot_floats(op);
        if (op->wide)
            accumulate_32(in, (const uint32_t *)op->offsets + entry, values, run, out, vectors);
        else
            accumulate_16(in, (const uint16_t *)op->offsets + entry, values, run, out, vectors);
        entry += run->count;
    }
}

/* Adds up the sets, each shifted and with the lanes that come from outside the image blanked, and finishes: scale, shift,
 * activation, the other summand. */
static void add_sets(const Op *op, const float *sums, const float *other, float *out, int64_t lines, int64_t channel)
{
    const int64_t line = op->out.line, length = slot_floats(op);
    for (int64_t at = 0; at < lines * line; at += WIDTH) {
        vec sum = {0};
        for (int s = 0; s < op->sets; s++)
            sum += keep(load_anywhere(sums + s * length + op->shifts[s] + at), op->masks + s * line + at % line);
        if (op->adds) sum += load(out + at);
        sum = op->scale ? sum * spread(op->scale[channel]) : sum;
        sum = activate(sum + spread(op->shift[channel]), op->pre);
        if (other) sum = activate(sum + load(other + at), op->post);
        store(out + at, op->lanes ? keep(sum, op->lanes + at % line) : sum);
    }
}

/* Output channels from `first` to `end` of one block. */
static void convolve(const Op *op, const Frame *frame, int64_t block, int64_t first, int64_t end)
{
    const int64_t line = block * op->block, lines = least(op->block, op->out.lines - line), at = line * op->out.line;
    const float *in = plane_of(&op->in, frame, 0) + op->in.origin + op->before + at;
    const float *other = op->has_other ? plane_of(&op->other, frame, 0) + op->other.origin + at : 0;
    float *planes = plane_of(&op->out, frame, 0), *out = planes + op->out.origin + at;
    if (op->taps && frame->images == SPARSE_TOGETHER) {
        some_sixteen(op, first, end, in, other, out, frame->scratch, frame->step);
    } else if (op->rows && frame->images > 1) {
        some_images_16(op, first, end, in, other, out, frame->images, frame->step);
    } else if (op->rows) {
        some_rows_16(op, first, end, in, other, out, lines);
    } else {
        for (int64_t o = first; o < end; o++) {
            sum_sets(op, frame, o, in, lines * op->out.line / WIDTH);
            add_sets(op, frame->scratch + op->guard, other ? other + o * op->other.plane : 0, out + o * op->out.plane,
                     lines, o);
        }
    }
    if (!op->rows || !op->out.packed) /* else as soon as a plane is done */
        for (int64_t o = first; o < end; o++) guard(op, planes + o * op->out.plane, line, lines);
}

/* Tasks are blocks, and groups of output channels in a block. */
static void convolve_some(const Op *op, const Frame *frame, int64_t first, int64_t end)
{
    const int64_t groups = (op->outputs + op->group - 1) / op->group;
    while (first < end) {
        int64_t block = first / groups, group = first % groups, some = least(groups - group, end - first);
        convolve(op, frame, block, group * op->group, least((group + some) * op->group, op->outputs));
        first += some;
    }
}

#include "arrange.h"

/* -- everything else, a plane at a time ---------------------------------------------------------------------------- */

static void read_image(const Op *op, const Frame *frame, int64_t channel)
{
    const Value *out = &op->out;
    float *plane = plane_of(out, frame, channel), scale = op->scale[channel], shift = op->shift[channel];
    memset(plane, 0, out->plane * sizeof(float));
    for (int64_t y = 0; y < out->height; y++) {
        const uint8_t *from = frame->image + y * out->width * 3 + channel;
        float *to = plane + out->origin + row_at(out, y);
        for (int64_t x = 0; x < out->width; x++) to[x] = (float)from[x * 3] * scale + shift;
    }
    guard(op, plane, 0, out->lines);
}

/* Scale, shift, activation and sum of two values of one geometry. */
static void pointwise(const Op *op, const Frame *frame, int64_t plane)
{
    const Value *in = &op->in, *out = &op->out;
    const float *from = plane_of(in, frame, plane) + in->origin;
    const float *other = op->has_other ? plane_of(&op->other, frame, plane) + op->other.origin : 0;
    float *to = plane_of(out, frame, plane) + out->origin;
    vec scale = spread(op->scale ? op->scale[plane] : 1.0f), shift = spread(op->shift[plane]);
    for (int64_t l = 0; l < out->lines; l++)
        for (int64_t x = 0; x < out->line; x += WIDTH) {
            int64_t at = l * out->line + x;
            vec value = activate(load(from + at) * scale + shift, op->pre);
            if (other) value = activate(value + load(other + at), op->post);
            if (op->lanes) value = keep(value, op->lanes + x);
            store(to + at, value);
        }
    guard(op, plane_of(out, frame, plane), 0, out->lines);
}

static void pool(const Op *op, const Frame *frame, int64_t plane)
{
    const Value *in = &op->in, *out = &op->out;
    const float *from = plane_of(in, frame, plane) + in->origin;
    float *to = plane_of(out, frame, plane);
    memset(to, 0, out->plane * sizeof(float));
    to += out->origin;
    for (int64_t y = 0; y < out->height; y++)
        for (int64_t x = 0; x < out->width; x++) {
            int64_t top = y * op->stride - op->padding, left = x * op->stride - op->padding;
            int64_t bottom = least(top + op->kernel, in->height), right = least(left + op->kernel, in->width);
            float largest = -__builtin_inff(), sum = 0;
            for (int64_t i = top < 0 ? 0 : top; i < bottom; i++)
                for (int64_t j = left < 0 ? 0 : left; j < right; j++) {
                    float value = from[row_at(in, i) + j];
                    sum += value;
                    if (value > largest) largest = value;
                }
            to[row_at(out, y) + x] = op->kind == OP_MAX_POOL ? largest : sum / (float)(op->kernel * op->kernel);
        }
    guard(op, plane_of(out, frame, plane), 0, out->lines);
}

/* Lanes that are no pixel are zero, so whole lines can be added. */
static void global_average(const Op *op, const Frame *frame, int64_t task)
{
    const Value *in = &op->in;
    float *out = plane_of(&op->out, frame, 0);
    float pixels = (float)(in->height * in->width);
    for (int64_t plane = 0; plane < in->planes; plane++) {
        const float *from = plane_of(in, frame, plane) + in->origin;
        vec sums = {0};
        for (int64_t at = 0; at < in->lines * in->line; at += WIDTH) sums += load(from + at);
        float sum = 0;
        for (int i = 0; i < WIDTH; i++) sum += sums[i];
        out[plane] = sum / pixels;
    }
    (void)task;
}

static void flatten(const Op *op, const Frame *frame, int64_t task)
{
    const Value *in = &op->in;
    float *out = plane_of(&op->out, frame, 0);
    for (int64_t plane = 0; plane < in->planes; plane++)
        for (int64_t y = 0; y < in->height; y++, out += in->width)
            memcpy(out, plane_of(in, frame, plane) + in->origin + row_at(in, y), in->width * sizeof(float));
    (void)task;
}

static void linear(const Op *op, const Frame *frame, int64_t task)
{
    const float *in = plane_of(&op->in, frame, 0);
    float *out = plane_of(&op->out, frame, 0);
    const uint32_t *offsets = op->offsets;
    for (int64_t o = 0; o < op->outputs; o++) {
        float sums[4] = {0};
        int64_t k = op->first_entry[o], end = op->first_entry[o + 1];
        for (; k + 4 <= end; k += 4)
            UNROLL for (int i = 0; i < 4; i++) sums[i] += op->values[k + i] * in[offsets[k + i]];
        for (; k < end; k++) sums[0] += op->values[k] * in[offsets[k]];
        out[o] = (sums[0] + sums[1]) + (sums[2] + sums[3]) + op->shift[o];
    }
    (void)task;
}

static void write_logits(const Op *op, const Frame *frame, int64_t task)
{
    memcpy(frame->logits, plane_of(&op->in, frame, 0), op->in.width * sizeof(float));
    (void)task;
}

/* -- dispatch -------------------------------------------------------------------------------------------------------- */

static int64_t tasks(const Op *op)
{
    switch (op->kind) {
    case OP_CONV: return (op->outputs + op->group - 1) / op->group * blocks(op);
    case OP_GLOBAL_AVG: case OP_FLATTEN: case OP_LINEAR: case OP_OUTPUT: return 1;
    case OP_ARRANGE: return in_pairs(op) ? pair_tasks(op) : op->out.planes;
    default: return op->out.planes;
    }
}

static void run_plane(const Op *op, const Frame *frame, int64_t task)
{
    switch (op->kind) {
    case OP_INPUT: read_image(op, frame, task); break;
    case OP_ARRANGE: in_pairs(op) ? arrange_pairs(op, frame, task) : arrange(op, frame, task); break;
    case OP_POINTWISE: pointwise(op, frame, task); break;
    case OP_MAX_POOL: case OP_AVG_POOL: pool(op, frame, task); break;
    case OP_GLOBAL_AVG: global_average(op, frame, task); break;
    case OP_FLATTEN: flatten(op, frame, task); break;
    case OP_LINEAR: linear(op, frame, task); break;
    case OP_OUTPUT: write_logits(op, frame, task); break;
    }
}

static void run(const Op *op, const Frame *frame, int64_t first, int64_t end)
{
    if (op->kind == OP_CONV) convolve_some(op, frame, first, end);
    else
        for (int64_t task = first; task < end; task++) run_plane(op, frame, task);
}

const Kernels TABLE = {tasks, run};

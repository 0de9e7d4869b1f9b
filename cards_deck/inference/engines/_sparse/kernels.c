/* Every operation of a network for one instruction set. Compiled once per set, with WIDTH and TABLE on the command line.
 *
 * An operation is cut into tasks that write different memory, so that threads can share it; what a task computes does
 * not depend on who runs it or on what else is in the batch.
 */
#include "sparse.h"
#include "vector.h"

#include <string.h>

#define OFFSET uint16_t
#define NAME(name) name##_16
#include "accumulate.h"
#include "rows.h"
#undef OFFSET
#undef NAME
#define OFFSET uint32_t
#define NAME(name) name##_32
#include "accumulate.h"
#include "rows.h"

INLINE float *plane_of(const Value *value, const Frame *frame, int64_t plane)
{
    return frame->arenas[value->arena] + value->offset + plane * value->plane;
}

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* -- convolution ------------------------------------------------------------------------------------------------- */

INLINE int64_t windows(const Op *op) { return (op->outputs + op->window - 1) / op->window; }
INLINE int64_t blocks(const Op *op) { return (op->out.lines + op->block - 1) / op->block; }

/* Floats of one set in the scratch memory. What a shift reads beyond them is masked, so only the ends of the whole scratch
 * need a guard. */
INLINE int64_t slot_floats(const Op *op) { return op->block * op->out.line; }

/* The runs of a window come sorted by length, so that the processor foresees where each one ends. */
static void sum_sets(const Op *op, const Frame *frame, int64_t window, const float *in, int64_t vectors)
{
    int64_t entry = op->first_entry[window], length = slot_floats(op);
    int64_t start = window * op->window, end = least(start + op->window, op->outputs);
    for (const Run *run = op->runs + start * op->sets; run < op->runs + end * op->sets; run++) {
        const float *values = op->binary ? 0 : op->values + entry;
        float *out = frame->scratch + op->guard + run->slot * length;
        if (op->wide)
            accumulate_32(in, (const uint32_t *)op->offsets + entry, values, run, out, vectors);
        else
            accumulate_16(in, (const uint16_t *)op->offsets + entry, values, run, out, vectors);
        entry += run->count;
    }
}

/* Adds up one output channel's sets, each shifted and with the lanes that come from outside the image blanked, and
 * finishes: scale, shift, activation, the other summand. */
INLINE void add_sets(const Op *op, const float *scratch, const float *other, float *restrict out, int64_t lines,
                     int64_t channel, const int SETS, const int PRE)
{
    const int64_t line = op->out.line, length = slot_floats(op);
    const int32_t *masks[9], *lanes = op->lanes;
    const float *parts[9];
    const int scaled = op->scale != 0, post = op->post;
    const vec scale = spread(scaled ? op->scale[channel] : 1.0f), shift = spread(op->shift[channel]);
    UNROLL for (int s = 0; s < SETS; s++) {
        parts[s] = scratch + s * length + op->shifts[s];
        masks[s] = op->masked[s] ? op->masks + s * line : 0;
    }
    for (int64_t at = 0; at < lines * line;)
        for (int64_t x = 0; x < line; x += WIDTH, at += WIDTH) {
            vec sum = load_anywhere(parts[0] + at);
            if (masks[0]) sum = keep(sum, masks[0] + x);
            UNROLL for (int s = 1; s < SETS; s++) {
                vec part = load_anywhere(parts[s] + at);
                sum += masks[s] ? keep(part, masks[s] + x) : part;
            }
            sum = activate(scaled ? sum * scale + shift : sum + shift, PRE);
            if (other) sum = activate(sum + load(other + at), post);
            if (lanes) sum = keep(sum, lanes + x);
            store(out + at, sum);
        }
}

/* The same for kernels of unusual size. */
static void add_any_sets(const Op *op, const float *scratch, const float *other, float *out, int64_t lines, int64_t channel)
{
    const int64_t line = op->out.line, length = slot_floats(op);
    for (int64_t at = 0; at < lines * line; at += WIDTH) {
        vec sum = {0};
        for (int s = 0; s < op->sets; s++)
            sum += keep(load_anywhere(scratch + s * length + op->shifts[s] + at), op->masks + s * line + at % line);
        sum = op->scale ? sum * spread(op->scale[channel]) : sum;
        sum = activate(sum + spread(op->shift[channel]), op->pre);
        if (other) sum = activate(sum + load(other + at), op->post);
        store(out + at, op->lanes ? keep(sum, op->lanes + at % line) : sum);
    }
}

#define ADD_SETS(SETS)                                                                                      \
    case SETS:                                                                                              \
        if (op->pre == ACT_SILU) add_sets(op, scratch, other, out, lines, o, SETS, ACT_SILU);               \
        else if (op->pre == ACT_RELU) add_sets(op, scratch, other, out, lines, o, SETS, ACT_RELU);          \
        else add_sets(op, scratch, other, out, lines, o, SETS, ACT_NONE);                                   \
        break;

static void clear_guards(const Op *op, float *plane, int64_t first, int64_t lines)
{
    const Value *out = &op->out;
    int64_t end = out->origin + out->lines * out->line;
    if (first == 0) memset(plane, 0, out->origin * sizeof(float));
    if (first + lines == out->lines) memset(plane + end, 0, (out->plane - end) * sizeof(float));
}

static void convolve(const Op *op, const Frame *frame, int64_t task)
{
    int64_t window = task % windows(op), first = task / windows(op) * op->block, start = window * op->window;
    int64_t lines = least(op->block, op->out.lines - first), at = first * op->out.line;
    const float *in = plane_of(&op->in, frame, 0) + op->in.origin + op->before + at;
    if (!op->rows) sum_sets(op, frame, window, in, lines * op->out.line / WIDTH);
    for (int64_t o = start; o < least(start + op->window, op->outputs); o++) {
        const float *other = op->has_other ? plane_of(&op->other, frame, o) + op->other.origin + at : 0;
        const float *scratch = frame->scratch + op->guard + (o - start) * op->sets * slot_floats(op);
        float *plane = plane_of(&op->out, frame, o), *out = plane + op->out.origin + at;
        if (op->rows)
            (op->wide ? some_rows_32 : some_rows_16)(op, o, in, other, out, lines);
        else switch (op->sets) {
            ADD_SETS(1) ADD_SETS(2) ADD_SETS(3) ADD_SETS(4) ADD_SETS(9)
        default: add_any_sets(op, scratch, other, out, lines, o);
        }
        clear_guards(op, plane, first, lines);
    }
}

/* -- everything else, a plane at a time ---------------------------------------------------------------------------- */

static void read_image(const Op *op, const Frame *frame, int64_t channel)
{
    const Value *out = &op->out;
    float *plane = plane_of(out, frame, channel), scale = op->scale[channel], shift = op->shift[channel];
    memset(plane, 0, out->plane * sizeof(float));
    for (int64_t y = 0; y < out->height; y++) {
        const uint8_t *from = frame->image + y * out->width * 3 + channel;
        float *to = plane + out->origin + y * out->pitch;
        for (int64_t x = 0; x < out->width; x++) to[x] = (float)from[x * 3] * scale + shift;
    }
}

/* Copies a plane into another geometry; with a stride, into stride^2 planes, one per phase of rows and columns. */
static void arrange(const Op *op, const Frame *frame, int64_t plane)
{
    const Value *in = &op->in, *out = &op->out;
    int64_t stride = op->stride, phases = stride * stride, phase = plane % phases;
    int64_t top = phase / stride, left = phase % stride;
    const float *from = plane_of(in, frame, plane / phases) + in->origin;
    float *to = plane_of(out, frame, plane);
    memset(to, 0, out->plane * sizeof(float));
    to += out->origin;
    int64_t columns = left < in->width ? least(out->width, (in->width - left + stride - 1) / stride) : 0;
    for (int64_t y = 0; y < out->height && y * stride + top < in->height; y++) {
        const float *row = from + (y * stride + top) * in->pitch + left;
        float *target = to + y * out->pitch;
        if (stride == 1)
            memcpy(target, row, columns * sizeof(float));
        else if (stride == 2)
            for (int64_t x = 0; x < columns; x++) target[x] = row[2 * x];
        else
            for (int64_t x = 0; x < columns; x++) target[x] = row[stride * x];
    }
}

/* Scale, shift, activation and sum of two values of one geometry. */
static void pointwise(const Op *op, const Frame *frame, int64_t plane)
{
    const Value *in = &op->in, *out = &op->out;
    const float *from = plane_of(in, frame, plane) + in->origin;
    const float *other = op->has_other ? plane_of(&op->other, frame, plane) + op->other.origin : 0;
    float *to = plane_of(out, frame, plane) + out->origin;
    vec scale = spread(op->scale ? op->scale[plane] : 1.0f), shift = spread(op->shift ? op->shift[plane] : 0.0f);
    for (int64_t l = 0; l < out->lines; l++)
        for (int64_t x = 0; x < out->line; x += WIDTH) {
            int64_t at = l * out->line + x;
            vec value = activate(load(from + at) * scale + shift, op->pre);
            if (other) value = activate(value + load(other + at), op->post);
            if (op->lanes) value = keep(value, op->lanes + x);
            store(to + at, value);
        }
    clear_guards(op, plane_of(out, frame, plane), 0, out->lines);
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
                    float value = from[i * in->pitch + j];
                    sum += value;
                    if (value > largest) largest = value;
                }
            to[y * out->pitch + x] = op->kind == OP_MAX_POOL ? largest : sum / (float)(op->kernel * op->kernel);
        }
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
            memcpy(out, plane_of(in, frame, plane) + in->origin + y * in->pitch, in->width * sizeof(float));
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
    case OP_CONV: return windows(op) * blocks(op);
    case OP_GLOBAL_AVG: case OP_FLATTEN: case OP_LINEAR: case OP_OUTPUT: return 1;
    default: return op->out.planes;
    }
}

static void run(const Op *op, const Frame *frame, int64_t task)
{
    switch (op->kind) {
    case OP_INPUT: read_image(op, frame, task); break;
    case OP_CONV: convolve(op, frame, task); break;
    case OP_ARRANGE: arrange(op, frame, task); break;
    case OP_POINTWISE: pointwise(op, frame, task); break;
    case OP_MAX_POOL: case OP_AVG_POOL: pool(op, frame, task); break;
    case OP_GLOBAL_AVG: global_average(op, frame, task); break;
    case OP_FLATTEN: flatten(op, frame, task); break;
    case OP_LINEAR: linear(op, frame, task); break;
    case OP_OUTPUT: write_logits(op, frame, task); break;
    }
}

const Kernels TABLE = {tasks, run};

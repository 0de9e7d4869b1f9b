/* Values in another layout, for convolutions that need one: with a stride, its phases as planes. */

INLINE void copy_every(float *restrict to, const float *restrict from, int64_t count, const int64_t STRIDE)
{
    switch (count) { /* the usual widths as constants: short loops over vectors */
    case 4: for (int x = 0; x < 4; x++) to[x] = from[STRIDE * x]; break;
    case 8: for (int x = 0; x < 8; x++) to[x] = from[STRIDE * x]; break;
    case 16: for (int x = 0; x < 16; x++) to[x] = from[STRIDE * x]; break;
    default: for (int64_t x = 0; x < count; x++) to[x] = from[STRIDE * x];
    }
}

/* Copies a plane into another layout; with a stride, into stride^2 planes: that of (i, j) holds input pixel
 * (stride * y + i, stride * x + j) at (y, x). */
static void arrange(const Op *op, const Frame *frame, int64_t plane)
{
    const Value *in = &op->in, *out = &op->out;
    int64_t stride = op->stride, left = plane % stride, top = plane / stride % stride;
    const float *from = plane_of(in, frame, plane / stride / stride) + in->origin + left;
    float *start = plane_of(out, frame, plane), *lines = start + out->origin;
    int64_t columns = left < in->width ? least(out->width, (in->width - left + stride - 1) / stride) : 0;
    int64_t rows = top < in->height ? least(out->height, (in->height - top + stride - 1) / stride) : 0;
    memset(lines, 0, out->lines * out->line * sizeof(float));
    for (int64_t y = 0; y < rows; y++) {
        const float *row = from + row_at(in, y * stride + top);
        float *to = lines + row_at(out, y);
        if (stride == 1) copy_every(to, row, columns, 1);
        else if (stride == 2) copy_every(to, row, columns, 2);
        else for (int64_t x = 0; x < columns; x++) to[x] = row[stride * x];
    }
    guard(op, start, 0, out->lines);
}

/* Whether `arrange` with stride 2 can take rows apart by vectors: every lane that it writes is a pixel, and a vector
 * holds part of a row, two whole rows or, of an input with two of its rows in a vector, four. */
INLINE int in_pairs(const Op *op)
{
    const Value *in = &op->in, *out = &op->out;
    if (op->stride != 2 || in->height != 2 * out->height || in->width != 2 * out->width || out->pitch != out->width) return 0;
    if (!out->packed) return !in->packed && out->pitch % WIDTH == 0;
    if (out->line != WIDTH || out->height * out->pitch != out->lines * WIDTH) return 0;
    return in->packed ? 4 * out->pitch == WIDTH && in->line == WIDTH && in->lines == 4 * out->lines : 2 * out->pitch == WIDTH;
}

enum { HALVES = 2 }; /* of the rows, for threads */

/* A task is half of the rows that two of the four planes of an input plane get, or all of them where planes are packed. */
INLINE int64_t pair_tasks(const Op *op) { return op->in.planes * 2 * (op->out.packed ? 1 : HALVES); }

static void arrange_pairs(const Op *op, const Frame *frame, int64_t task)
{
    const Value *in = &op->in, *out = &op->out;
    const int64_t half = task / (in->planes * 2), plane = task % (in->planes * 2), pitch = out->pitch, lines = out->lines;
    const int64_t first = half * out->height / HALVES, end = out->packed ? lines : (half + 1) * out->height / HALVES;
    if (first == end) return; /* of a plane one line high the other half is all, guards included */
    const float *from = plane_of(in, frame, plane / 2) + in->origin;
    float *left = plane_of(out, frame, plane * 2), *right = plane_of(out, frame, plane * 2 + 1);
    float *to = left + out->origin, *beside = right + out->origin;
    for (int64_t y = first; y < end; y++) {
        const float *row = from + row_at(in, 2 * y + plane % 2);
        if (out->packed) { /* rows y and y + lines, or of both also those two rows of the output further */
            const float *next = from + row_at(in, 2 * (y + lines) + plane % 2);
            vec a = load_anywhere(row), b = load_anywhere(next);
            store(to + y * WIDTH, in->packed ? middle_swapped(evens(a, b)) : evens(a, b));
            store(beside + y * WIDTH, in->packed ? middle_swapped(odds(a, b)) : odds(a, b));
        } else {
            for (int64_t x = 0; x < pitch; x += WIDTH) {
                vec a = load_anywhere(row + 2 * x), b = load_anywhere(row + 2 * x + WIDTH);
                store(to + y * pitch + x, evens(a, b));
                store(beside + y * pitch + x, odds(a, b));
            }
        }
    }
    guard(op, left, out->packed ? 0 : first, end - first);
    guard(op, right, out->packed ? 0 : first, end - first);
}

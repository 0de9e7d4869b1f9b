/* What the Python side and the C side share: values, operations and the entry points. See sparse_plan.py.
 *
 * A value (an activation) is a number of planes. A plane is `lines` lines of `line` floats, a whole number of vectors;
 * a line holds one row of pixels, or, where rows are much narrower than a vector, several: row y lies in line y mod
 * `lines`, after the rows before it that do too. (Of 8 x 8 pixels in vectors of 16: rows 0 and 4, 1 and 5, 2 and 6, 3
 * and 7.) So the rows n below those of a line are those of the n-th line below it, as where a line is a row. Lanes that
 * are no pixel hold zero. Above and below its lines a plane has guard lines for the convolutions that read it: zeros
 * where lines are rows; else what the above makes of them: before rows 0 and 4 come none and row 3.
 */
#ifndef SPARSE_H
#define SPARSE_H

#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "offsets are taken out of longer words in little-endian order (accumulate.h)"
#endif

enum { OP_INPUT, OP_CONV, OP_ARRANGE, OP_POINTWISE, OP_MAX_POOL, OP_AVG_POOL, OP_GLOBAL_AVG, OP_FLATTEN, OP_LINEAR, OP_OUTPUT };
enum { ACT_NONE, ACT_RELU, ACT_SILU };

typedef struct {
    int64_t arena;  /* 0: of the image at work, 1: of every image of the batch */
    int64_t offset; /* floats from the arena's start to the first plane */
    int64_t planes;
    int64_t plane;  /* floats from one plane to the next, guard lines included */
    int64_t origin; /* floats from a plane's start to its first line: the guard above */
    int64_t packed; /* lines hold several rows */
    int64_t lines;
    int64_t line;  /* floats */
    int64_t pitch; /* floats from one row of pixels to the next */
    int64_t height, width;
} Value;

/* Weights of one output channel and set; where weights are signs, the first `plus` are added and the others subtracted. */
typedef struct {
    int32_t count, plus;
} Run;

typedef struct {
    int32_t kind;
    int32_t pre, post; /* activations before and after `other` is added */
    int32_t has_other;
    const struct Kernels *kernels; /* for the vectors of these values */
    Value in, other, out;
    const float *scale; /* per output channel, or NULL */
    const float *shift;
    const int32_t *lanes; /* of one line: -1 where a lane is a pixel, 0 elsewhere; NULL: all are */

    /* Convolution. A set is a column of taps: their sums are shifted alike when they are added up. */
    int32_t sets;
    int32_t block;        /* lines that are worked on at a time */
    int32_t wide, binary; /* offsets have 32 bits; weights are signs */
    int32_t rows;         /* rows.h fits, and the offsets have 16 bits */
    int32_t group;        /* output channels whose weights are listed in turns, in runs of one length: rows.h, 1 or 4 */
    int32_t bare;         /* what reads the output does not read its guard lines, where sixteen images go through */
    int32_t adds;         /* to sums that the output holds already: those of other inputs */
    int32_t together;     /* images that go through side by side, where there are as many; 1 but for planes of one vector */
    int64_t outputs;
    int64_t guard;  /* floats that shifts read before and after the sums */
    int64_t before; /* floats from a line to where offsets count from */
    const void *offsets; /* of weights into the input, in vectors; by output channel and set, as are the next two */
    const float *values; /* NULL where binary */
    const Run *runs;
    const int64_t *first_entry; /* of each output channel, and one more */
    const int32_t *order;       /* output channels as the lists have them; NULL: ascending */
    const int32_t *taps;        /* of each set, weights of the taps -1, 0 and 1 rows away; NULL: sixteen.h does not fit */
    const int32_t *shifts;      /* of each set, floats */
    const int32_t *masks;       /* of each set, a line of lanes as above; NULL: zeros beyond a line's ends are all */

    /* Pools: the window; arrange has a stride too. Linear: offsets are floats. */
    int64_t kernel, stride, padding;
} Op;

/* Images that a thread takes through a network at a time: their activations stay in the cache. */
#define SPARSE_TOGETHER 16

/* One image at work on one thread; or `images`, for an operation that takes them together: arenas 1 lie `step` floats
 * apart. */
typedef struct {
    const uint8_t *image;
    float *logits;
    float *arenas[2];
    float *scratch;
    int64_t images, step;
} Frame;

typedef struct Kernels {
    int64_t (*tasks)(const Op *op);
    void (*run)(const Op *op, const Frame *frame, int64_t first, int64_t end);
} Kernels;

typedef struct {
    const Op *ops;
    int64_t count, per_image; /* the first `per_image` operations use arena 0 */
    int64_t image_bytes, classes;
    int64_t sizes[2]; /* floats of each arena per image */
    int64_t scratch;  /* floats per thread */
} Network;

typedef struct Pool Pool;

const char *sparse_source(void); /* hash of the sources: see build.py */
int64_t sparse_abi(void);        /* sizes of the structures above */
int32_t sparse_best_level(void);
const Kernels *sparse_kernels(int32_t level, int64_t width); /* NULL: not on this machine, or not in this build */
Pool *sparse_pool_new(int32_t threads);
void sparse_pool_free(Pool *pool);
void sparse_run(const Network *network, Pool *pool, const uint8_t *images, int64_t count, float *logits,
                float *arena_image, float *arena_batch, float *scratch, int32_t threads);

#endif

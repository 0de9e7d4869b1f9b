/* Runs a network that tests/test_sparse_native.py wrote to a file, without Python: under sanitizers, or on another machine's
 * instruction set. Every array and arena is allocated by itself and exactly as large as said, so that any step beyond it
 * is caught, and holds NaN until it is written. Usage: check LEVEL THREADS FILE...; the exit status says whether the
 * logits are those in the files. */
#define _GNU_SOURCE
#include "sparse.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLERS = 3 };

static FILE *file;
static int32_t level;

static void *room(int64_t bytes)
{
    void *memory = 0;
    if (posix_memalign(&memory, 64, (size_t)(bytes ? bytes : 1))) exit(2);
    memset(memory, 0xff, (size_t)bytes); /* NaN: nothing may be used before it is written, but for masked lanes */
    return memory;
}

static void *take(int64_t bytes)
{
    void *memory = room(bytes);
    if ((int64_t)fread(memory, 1, (size_t)bytes, file) != bytes) exit(2);
    return memory;
}

static int64_t number(void)
{
    int64_t *read = take(sizeof *read), value = *read;
    free(read);
    return value;
}

static const Kernels *kernels(int64_t width)
{
    const Kernels *found = sparse_kernels(level, width);
    if (found) return found;
    puts("no kernels");
    exit(3);
}

typedef struct {
    const Network *network;
    Pool *pool;
    int32_t threads;
    int64_t count;
    const uint8_t *images;
    const float *expected;
    int wrong;
} Call;

static void *call(void *argument)
{
    Call *c = argument;
    const Network *n = c->network;
    float *logits = room(4 * c->count * n->classes), *image = room(4 * c->threads * n->sizes[0]);
    float *batch = room(4 * c->count * n->sizes[1]), *scratch = room(4 * c->threads * n->scratch);
    for (int turn = 0; turn < 2; turn++) { /* the second finds the first's leftovers */
        sparse_run(n, c->pool, c->images, c->count, logits, image, batch, scratch, c->threads);
        for (int64_t i = 0; i < c->count * n->classes; i++)
            if (!(fabsf(logits[i] - c->expected[i]) <= 1e-4f * (1 + fabsf(c->expected[i])))) c->wrong = 1;
    }
    free(logits);
    free(image);
    free(batch);
    free(scratch);
    return 0;
}

/* Several calls at once, one of them from this thread, each with another number of images. */
static int wrong_answers(const Network *network, int32_t threads, int64_t images, const uint8_t *pixels, const float *expected)
{
    Pool *pool = threads > 1 ? sparse_pool_new(threads) : 0;
    pthread_t thread[CALLERS];
    Call calls[CALLERS];
    int wrong = 0;
    for (int i = 0; i < CALLERS; i++) calls[i] = (Call){network, pool, threads, images - i % images, pixels, expected, 0};
    for (int i = 1; i < CALLERS; i++)
        if (pthread_create(&thread[i], 0, call, &calls[i])) exit(2);
    call(&calls[0]);
    for (int i = 1; i < CALLERS; i++) pthread_join(thread[i], 0);
    for (int i = 0; i < CALLERS; i++) wrong |= calls[i].wrong;
    sparse_pool_free(pool);
    return wrong;
}

/* Puts the address of the array with the number that a pointer holds (0: NULL) in its place. */
static void point(void *pointer, void *const *arrays)
{
    intptr_t index;
    memcpy(&index, pointer, sizeof index);
    memcpy(pointer, &arrays[index], sizeof index);
}

static int check(int32_t threads)
{
    int64_t count = number();
    void **arrays = calloc((size_t)count + 1, sizeof *arrays);
    for (int64_t i = 1; i <= count; i++) arrays[i] = take(number());
    Network network = {.count = number()};
    network.per_image = number();
    network.image_bytes = number();
    network.classes = number();
    network.sizes[0] = number();
    network.sizes[1] = number();
    network.scratch = number();
    Op *ops = take(network.count * (int64_t)sizeof(Op));
    int64_t pointers = number();
    int64_t *offsets = take(8 * pointers); /* of the pointers in an operation */
    for (Op *op = ops; op < ops + network.count; op++) {
        for (int64_t i = 0; i < pointers; i++) point((char *)op + offsets[i], arrays);
        op->kernels = kernels((int64_t)(intptr_t)op->kernels);
    }
    network.ops = ops;
    int64_t images = number();
    uint8_t *pixels = take(images * network.image_bytes);
    float *expected = take(images * network.classes * 4);
    int wrong = wrong_answers(&network, threads, images, pixels, expected);
    for (int64_t i = 1; i <= count; i++) free(arrays[i]);
    free(arrays);
    free(offsets);
    free(ops);
    free(pixels);
    free(expected);
    return wrong;
}

int main(int count, char **arguments)
{
    if (count < 4) return 2;
    level = atoi(arguments[1]);
    int wrong = 0;
    for (int i = 3; i < count; i++) {
        if (!(file = fopen(arguments[i], "rb"))) return 2;
        if (check(atoi(arguments[2]))) {
            printf("wrong: %s\n", arguments[i]);
            wrong = 1;
        }
        fclose(file);
    }
    return wrong;
}

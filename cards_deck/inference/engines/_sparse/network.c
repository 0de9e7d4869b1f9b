/* Runs a network on a batch, on one thread or several, with the kernels of the best instruction set of this machine. */
#define _GNU_SOURCE
#include "sparse.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "cpus.h"

/* -- threads --------------------------------------------------------------------------------------------------------- */

/* A wait of up to 0.05 to 0.2 ms, by how long the processor's pause is, is spent spinning, since the next operation of a
 * network comes sooner than a sleeping thread wakes; after that a thread sleeps and costs nothing. */
enum { SPINS = 4000 };

enum { PARTS = 8 }; /* that a thread takes its share of an operation in, so that others can help */

enum { PART_BYTES = 384 << 10 }; /* of weights, with their offsets: that much stays in the cache beside an image */

enum { LINE = 64 }; /* bytes of a cache line: what two threads write shall not share one */

/* What is taken and what is finished, of images or of tasks. Nobody waits for a thread that has taken nothing: on a busy
 * machine helpers may come late, or not at all. */
typedef struct {
    _Alignas(LINE) atomic_llong taken;
    _Alignas(LINE) atomic_llong finished;
} Progress;

/* A thread's part of the tasks of the operation that threads share: the operation's number in the upper half, the next
 * task in the lower. Each thread begins with its own part, of the same lines or output channels in every operation, which
 * are in its cache; then it helps with what is left of the others'. */
typedef struct { _Alignas(LINE) atomic_llong next; } Part;

typedef struct {
    const Network *network;
    Pool *pool;
    const uint8_t *images;
    float *logits, *arena_image, *arena_batch, *scratch;
    int64_t count;
    int32_t threads;
    int cpu;         /* that the caller runs on */
    Cpus allowed;    /* where it may run */
    Progress whole;  /* images that one thread computes */
    Progress shared; /* tasks of the images that threads share: all operations' together */
} Job;

struct Pool {
    int32_t threads; /* the caller's included */
    pid_t owner;
    pthread_mutex_t busy, mutex;
    pthread_cond_t wake, progress;
    pthread_t *workers;
    Part *parts;       /* of each thread */
    Job *job;          /* open for helpers; NULL: none */
    atomic_int posted; /* jobs so far */
    atomic_int inside; /* helpers in the job */
    atomic_int asleep; /* threads that wait for progress */
    int stop;
};

typedef struct { Pool *pool; int32_t index; } Start;

static void finish(Job *job, Progress *progress, int64_t some, int64_t all)
{
    if (atomic_fetch_add(&progress->finished, some) + some < all || !job->pool || !atomic_load(&job->pool->asleep)) return;
    pthread_mutex_lock(&job->pool->mutex);
    pthread_cond_broadcast(&job->pool->progress);
    pthread_mutex_unlock(&job->pool->mutex);
}

static void await(Job *job, Progress *progress, int64_t all)
{
    for (int spins = 0; spins < SPINS; spins++) {
        if (atomic_load_explicit(&progress->finished, memory_order_acquire) >= all) return;
        relax();
    }
    atomic_fetch_add(&job->pool->asleep, 1);
    pthread_mutex_lock(&job->pool->mutex);
    while (atomic_load(&progress->finished) < all) pthread_cond_wait(&job->pool->progress, &job->pool->mutex);
    pthread_mutex_unlock(&job->pool->mutex);
    atomic_fetch_sub(&job->pool->asleep, 1);
}

/* `slot` of the images whose values are kept at a time, in memory that is used again for the next ones. */
static Frame frame_of(const Job *job, int32_t thread, int64_t image, int64_t slot, int shared)
{
    const Network *n = job->network;
    return (Frame){job->images + image * n->image_bytes, job->logits + image * n->classes,
                   {job->arena_image + (shared ? 0 : thread) * n->sizes[0], job->arena_batch + slot * n->sizes[1]},
                   job->scratch + thread * n->scratch, 1, n->sizes[1]};
}

static void run_tasks(const Op *op, const Frame *frame, int64_t first, int64_t end)
{
    if (first < end) op->kernels->run(op, frame, first, end);
}

/* Parts of an operation, whose weights stay in the cache while one image after the other goes through them. */
static int64_t parts_of(const Op *op)
{
    int64_t bytes = op->kind == OP_CONV ? op->first_entry[op->outputs] * (op->binary ? 2 : 6) : 0;
    return bytes / PART_BYTES + 1;
}

/* A thread's own images. Planes are large in the first operations, so that an image goes through them alone and stays
 * in the cache; in the others the weights are larger, and the images go through a part of an operation together. */
static void run_own(Job *job, int32_t thread, int64_t first, int64_t end, int64_t slot)
{
    const Network *n = job->network;
    for (int64_t image = first; image < end; image++) {
        Frame frame = frame_of(job, thread, image, slot + image - first, 0);
        for (const Op *op = n->ops; op < n->ops + n->per_image; op++) run_tasks(op, &frame, 0, op->kernels->tasks(op));
    }
    for (const Op *op = n->ops + n->per_image; op < n->ops + n->count; op++) {
        int64_t all = op->kernels->tasks(op);
        int64_t part = op->taps && end - first == op->together ? all : all / parts_of(op) + 1;
        for (int64_t task = 0; task < all; task += part)
            for (int64_t image = first; image < end; image += op->together) {
                Frame frame = frame_of(job, thread, image, slot + image - first, 0);
                frame.images = image + op->together < end ? op->together : end - image;
                run_tasks(op, &frame, task, task + part < all ? task + part : all);
            }
    }
}

/* Some tasks of a thread's part of operation `number`, which ends before `end`; 0: none are left. */
static int64_t take(Part *part, int64_t number, int64_t start, int64_t end, int64_t some, int64_t *first)
{
    long long seen = atomic_load(&part->next), left;
    for (;;) {
        left = seen >> 32 < number ? start : seen >> 32 == number ? seen & 0xffffffff : end;
        if (left >= end) return 0;
        some = left + some < end ? some : end - left;
        if (atomic_compare_exchange_weak(&part->next, &seen, number << 32 | (left + some))) break;
    }
    *first = left;
    return some;
}

/* An image that all threads work on, operation by operation; `done` tasks come before, of `turn` images.
 *
 * What bounds it is what the threads exchange. Measured between two cores of a Zen 4: reading a line that the other core
 * wrote costs 3 to 5 ns, writing one that it has read 7 to 28, a word there and back 0.1 us in one core complex and 0.4
 * in two. With the former, ResNet-18 at 5 % takes 0.6 of the time on two threads, with the latter as long as on one; a
 * virtual machine may be moved from one to the other while it runs (on Zen 5: 0.32 ms and 0.60, 0.52 on one thread). */
static int64_t run_shared(Job *job, int32_t thread, int64_t image, int64_t turn, int64_t done)
{
    const Network *n = job->network;
    Frame frame = frame_of(job, thread, image, 0, 1);
    for (int64_t i = 0; i < n->count; i++) {
        const Op *op = n->ops + i;
        int64_t all = op->kernels->tasks(op), some = all / (PARTS * job->threads) + 1, first, taken;
        for (int32_t k = 0; k < job->threads; k++) {
            int64_t whose = (thread + k) % job->threads, own = 0;
            int64_t start = all * whose / job->threads, end = all * (whose + 1) / job->threads;
            while ((taken = take(job->pool->parts + whose, turn * n->count + i + 1, start, end, some, &first))) {
                run_tasks(op, &frame, first, first + taken);
                own += taken;
            }
            if (own) finish(job, &job->shared, own, done + all);
        }
        done += all;
        await(job, &job->shared, done);
    }
    return done;
}

/* As many images as threads can do equal numbers of are done by one thread each, the others by all together. */
static void work(Job *job, int32_t thread)
{
    int64_t each = job->count / job->threads, all = each * job->threads, image;
    int64_t rounds = (each + SPARSE_TOGETHER - 1) / SPARSE_TOGETHER, some = rounds ? (each + rounds - 1) / rounds : 0;
    while (some && (image = atomic_fetch_add(&job->whole.taken, some)) < all) {
        int64_t end = image + some < all ? image + some : all;
        run_own(job, thread, image, end, thread * some);
        finish(job, &job->whole, end - image, all);
    }
    if (all == job->count) return;
    await(job, &job->whole, all); /* then the first thread's arena is free to be shared */
    int64_t done = 0;
    for (image = all; image < job->count; image++) done = run_shared(job, thread, image, image - all, done);
}

static void *worker(void *argument)
{
    Start start = *(Start *)argument;
    free(argument);
    Pool *pool = start.pool;
    int seen = 0;
    for (;;) {
        for (int spins = 0; spins < SPINS && atomic_load_explicit(&pool->posted, memory_order_acquire) == seen; spins++) relax();
        pthread_mutex_lock(&pool->mutex);
        while (atomic_load(&pool->posted) == seen && !pool->stop) pthread_cond_wait(&pool->wake, &pool->mutex);
        int stop = pool->stop;
        seen = atomic_load(&pool->posted);
        Job *job = stop ? 0 : pool->job;
        if (job) atomic_fetch_add(&pool->inside, 1);
        pthread_mutex_unlock(&pool->mutex);
        if (stop) return 0;
        if (!job) continue;
        leave_cpu(&job->allowed, job->cpu);
        work(job, start.index);
        pthread_mutex_lock(&pool->mutex);
        atomic_fetch_sub(&pool->inside, 1);
        pthread_cond_broadcast(&pool->progress);
        pthread_mutex_unlock(&pool->mutex);
    }
}

/* Has the pool's helpers join the caller in a job, and returns when it is done and they have left it. */
static void share(Pool *pool, Job *job)
{
    pthread_mutex_lock(&pool->mutex);
    pool->job = job;
    atomic_fetch_add(&pool->posted, 1);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    work(job, 0);
    pthread_mutex_lock(&pool->mutex);
    pool->job = 0; /* who comes now comes too late */
    pthread_mutex_unlock(&pool->mutex);
    for (int spins = 0; spins < SPINS && atomic_load_explicit(&pool->inside, memory_order_acquire); spins++) relax();
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->inside)) pthread_cond_wait(&pool->progress, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

Pool *sparse_pool_new(int32_t threads)
{
    Pool *pool = calloc(1, sizeof *pool);
    if (!pool) return 0;
    pthread_mutex_init(&pool->busy, 0);
    pthread_mutex_init(&pool->mutex, 0);
    pthread_cond_init(&pool->wake, 0);
    pthread_cond_init(&pool->progress, 0);
    pool->owner = getpid();
    pool->workers = calloc((size_t)threads, sizeof *pool->workers);
    pool->parts = aligned_alloc(LINE, (size_t)threads * sizeof *pool->parts);
    pool->threads = 1;
    for (int32_t i = 1; pool->workers && pool->parts && i < threads; i++) {
        Start *start = malloc(sizeof *start);
        if (!start) break;
        *start = (Start){pool, i};
        if (pthread_create(&pool->workers[i], 0, worker, start)) {
            free(start);
            break;
        }
        pool->threads = i + 1;
    }
    return pool;
}

void sparse_pool_free(Pool *pool)
{
    if (!pool || pool->owner != getpid()) return; /* threads do not survive a fork: there is nothing to end */
    pthread_mutex_lock(&pool->mutex);
    pool->stop = 1;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (int32_t i = 1; i < pool->threads; i++) pthread_join(pool->workers[i], 0);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->progress);
    pthread_mutex_destroy(&pool->mutex);
    pthread_mutex_destroy(&pool->busy);
    free(pool->workers);
    free(pool->parts);
    free(pool);
}

/* -- entry ----------------------------------------------------------------------------------------------------------- */

/* `pool` may be NULL, busy with another call or from before a fork: then the caller's thread does it all. The memory is
 * the caller's: arena_image and scratch for `threads` threads, arena_batch for `count` images, but for no more than
 * SPARSE_TOGETHER per thread. */
void sparse_run(const Network *network, Pool *pool, const uint8_t *images, int64_t count, float *logits,
                float *arena_image, float *arena_batch, float *scratch, int32_t threads)
{
    Job job = {.network = network, .images = images, .logits = logits, .arena_image = arena_image,
               .arena_batch = arena_batch, .scratch = scratch, .count = count, .threads = 1};
    if (pool && pool->threads > 1 && pool->owner == getpid() && threads >= pool->threads
        && pthread_mutex_trylock(&pool->busy) == 0) {
        for (int32_t i = 0; i < pool->threads; i++) atomic_store(&pool->parts[i].next, 0);
        job.pool = pool;
        job.threads = pool->threads;
        job.cpu = cpu_here();
        job.allowed = cpus_allowed();
        share(pool, &job);
        pthread_mutex_unlock(&pool->busy);
        return;
    }
    work(&job, 0);
}

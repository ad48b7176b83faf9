/* Threads, and jobs for them; see pool.h.
 *
 * One word says how a run stands: its number, whether workers may still join it, and how many are
 * in it. A worker joins by raising the count while the run is open, so that the fields of a run are
 * never read after its end; the caller closes the run when no job is left and waits for those
 * inside alone. Mutex and conditions serve for sleep only. */
#include "pool.h"

#include "os.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define OPEN      ((uint64_t)1 << 31)
#define INSIDE    (OPEN - 1)
#define ONE_RUN   ((uint64_t)1 << 32)
#define LINE      64
#define RUN_OF(x) ((x) >> 32)

/* Awake for so long: most steps of a network follow each other within microseconds, and waking up
 * takes some fifty. */
static const uint64_t AWAKE_NS = 40000;
static const size_t STACK_BYTES = (size_t)1 << 20; /* kernels want 200 KB; musl's default is 128 */

struct worker {
  struct vn_pool *pool;
  size_t slot;
  pthread_t thread;
};

struct vn_pool {
  alignas(LINE) _Atomic uint64_t word; /* run << 32 | open << 31 | workers inside */
  alignas(LINE) atomic_size_t next;    /* job */
  alignas(LINE) vn_pool_fn *fn;        /* this and the next three: of the present run */
  void *context;
  size_t jobs;
  struct vn_watch *watch;

  atomic_bool ending;
  atomic_size_t asleep; /* workers */
  atomic_bool caller_asleep;
  pthread_mutex_t lock;
  pthread_cond_t work, idle; /* a run has begun; nobody is inside */

  uint64_t process; /* whose threads these are */
  size_t map_bytes; /* of this struct's own pages */
  uint64_t awake_ns;
  size_t threads;
  void *guest;
  void (*guest_close)(void *guest);
  struct worker workers[]; /* threads - 1 */
};

static void pause_briefly(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Is it worth while to stay awake for another turn? `until` comes as 0. */
static bool awake_still(const struct vn_pool *pool, unsigned turn, uint64_t *until) {
  pause_briefly();
  if (turn % 64) return true;
  uint64_t now = vn_os_now_ns();
  if (*until == 0) *until = now + pool->awake_ns;
  return now < *until;
}

/* ---- jobs ---- */

static void jobs_pull(struct vn_pool *pool, size_t slot) {
  struct vn_watch *watch = pool->watch;
  const size_t jobs = pool->jobs;
  while (!vn_watch_stopped(watch)) {
    size_t job = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
    if (job >= jobs) return;
    pool->fn(pool->context, job, slot);
    if (slot == 0) vn_watch_tell(watch, (double)(job + 1) / (double)jobs);
  }
}

/* ---- workers ---- */

/* Returns when there is a run after `seen`, or the pool ends. */
static uint64_t run_await(struct vn_pool *pool, uint64_t seen) {
  uint64_t word, until = 0;
  for (unsigned turn = 0; turn == 0 || awake_still(pool, turn - 1, &until); turn++) {
    word = atomic_load_explicit(&pool->word, memory_order_acquire);
    if (RUN_OF(word) != seen || atomic_load(&pool->ending)) return word;
  }
  pthread_mutex_lock(&pool->lock);
  atomic_fetch_add(&pool->asleep, 1);
  while (word = atomic_load(&pool->word), RUN_OF(word) == seen && !atomic_load(&pool->ending))
    pthread_cond_wait(&pool->work, &pool->lock);
  atomic_fetch_sub(&pool->asleep, 1);
  pthread_mutex_unlock(&pool->lock);
  return word;
}

static bool run_join(struct vn_pool *pool, uint64_t word) {
  while (word & OPEN)
    if (atomic_compare_exchange_weak(&pool->word, &word, word + 1)) return true;
  return false;
}

static void run_leave(struct vn_pool *pool) {
  uint64_t word = atomic_fetch_sub(&pool->word, 1) - 1;
  if (word & (OPEN | INSIDE) || !atomic_load(&pool->caller_asleep)) return;
  pthread_mutex_lock(&pool->lock);
  pthread_cond_signal(&pool->idle);
  pthread_mutex_unlock(&pool->lock);
}

static void *worker_main(void *argument) {
  const struct worker *worker = argument;
  struct vn_pool *pool = worker->pool;
  vn_float_mode_enter();
  for (uint64_t seen = 0;;) {
    uint64_t word = run_await(pool, seen);
    if (atomic_load(&pool->ending)) return NULL;
    seen = RUN_OF(word);
    if (!run_join(pool, word)) continue;
    jobs_pull(pool, worker->slot);
    run_leave(pool);
  }
}

/* ---- threads ---- */

static void sleep_init(struct vn_pool *pool) {
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->work, NULL);
  pthread_cond_init(&pool->idle, NULL);
}

/* Returns 0, or why a thread did not start; those that did are the pool's. */
static int threads_start(struct vn_pool *pool, size_t threads) {
  int reason = 0;
  pool->threads = 1;
  pool->process = vn_os_process();
  for (; pool->threads < threads && !reason; pool->threads += !reason) {
    struct worker *worker = &pool->workers[pool->threads - 1];
    *worker = (struct worker){.pool = pool, .slot = pool->threads};
    reason = vn_os_thread_start(&worker->thread, STACK_BYTES, worker_main, worker);
  }
  return reason;
}

/* Nothing of the parent's is left but memory: locks and counts begin anew. Threads that cannot be
 * started are done without. */
static void child_begin(struct vn_pool *pool) {
  atomic_store(&pool->word, 0);
  atomic_store(&pool->asleep, 0);
  atomic_store(&pool->caller_asleep, false);
  sleep_init(pool);
  pool->guest = NULL; /* lost with its threads */
  threads_start(pool, pool->threads);
}

enum vn_status vn_pool_open(size_t threads, struct vn_pool **pool, struct vn_diag *diag) {
  size_t cores = vn_os_cores(), most = cores * VN_POOL_THREADS_PER_CORE;
  size_t wanted = threads ? threads : cores;
  *pool = NULL;
  if (most < VN_POOL_THREADS_MOST) most = VN_POOL_THREADS_MOST;
  if (wanted > most)
    return vn_fail(diag, VN_E_ARGUMENT,
                   "%zu threads asked for, at most %zu make sense on %zu cores", wanted, most,
                   cores);
  size_t map_bytes;
  struct vn_pool *p = vn_os_pages(sizeof **pool + (wanted - 1) * sizeof(struct worker), &map_bytes);
  if (!p) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  p->map_bytes = map_bytes;
  p->awake_ns = wanted > cores ? 0 : AWAKE_NS; /* or they would keep each other from working */
  sleep_init(p);
  int reason = threads_start(p, wanted);
  if (reason && threads) {
    size_t started = p->threads;
    vn_pool_close(&p);
    return vn_fail(diag, VN_E_MEMORY, "thread %zu of %zu cannot be started: %s", started + 1,
                   wanted, strerror(reason));
  }
  *pool = p;
  return VN_OK;
}

void vn_pool_close(struct vn_pool **pool) {
  struct vn_pool *p = pool ? *pool : NULL;
  if (!p) return;
  if (p->process == vn_os_process()) {
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->ending, true);
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i + 1 < p->threads; i++) pthread_join(p->workers[i].thread, NULL);
    if (p->guest) p->guest_close(p->guest);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->idle);
    pthread_mutex_destroy(&p->lock);
  }
  vn_os_pages_free(p, p->map_bytes);
  *pool = NULL;
}

size_t vn_pool_threads(const struct vn_pool *pool) {
  return pool ? pool->threads : 1;
}

void *vn_pool_guest(struct vn_pool *pool) {
  if (pool->process != vn_os_process()) child_begin(pool);
  return pool->guest;
}

void vn_pool_guest_keep(struct vn_pool *pool, void *guest, void (*close)(void *guest)) {
  pool->guest = guest;
  pool->guest_close = close;
}

/* ---- a run ---- */

static void sleepers_wake(struct vn_pool *pool, size_t jobs) {
  size_t asleep = atomic_load(&pool->asleep);
  if (!asleep) return;
  pthread_mutex_lock(&pool->lock);
  if (jobs > asleep)
    pthread_cond_broadcast(&pool->work);
  else
    for (size_t i = 1; i < jobs; i++) pthread_cond_signal(&pool->work);
  pthread_mutex_unlock(&pool->lock);
}

/* No worker joins any more; those inside finish the job that they are at. */
static void run_close(struct vn_pool *pool) {
  uint64_t word = atomic_fetch_and(&pool->word, ~OPEN), until = 0;
  for (unsigned turn = 0; word & INSIDE && awake_still(pool, turn, &until); turn++)
    word = atomic_load_explicit(&pool->word, memory_order_acquire);
  if (!(word & INSIDE)) return;
  pthread_mutex_lock(&pool->lock);
  atomic_store(&pool->caller_asleep, true);
  while (atomic_load(&pool->word) & INSIDE) pthread_cond_wait(&pool->idle, &pool->lock);
  atomic_store(&pool->caller_asleep, false);
  pthread_mutex_unlock(&pool->lock);
}

static bool run_alone(size_t jobs, vn_pool_fn *fn, void *context, struct vn_watch *watch) {
  for (size_t job = 0; job < jobs; job++) {
    if (vn_watch_stopped(watch)) return false;
    fn(context, job, 0);
    vn_watch_tell(watch, (double)(job + 1) / (double)jobs);
  }
  return !vn_watch_stopped(watch);
}

bool vn_pool_run_watched(struct vn_pool *pool, size_t jobs, vn_pool_fn *fn, void *context,
                         struct vn_watch *watch) {
  vn_float_mode host = vn_float_mode_enter();
  bool done;
  if (pool && pool->process != vn_os_process()) child_begin(pool);
  if (!pool || pool->threads == 1 || jobs < 2) {
    done = run_alone(jobs, fn, context, watch);
  } else {
    pool->fn = fn;
    pool->context = context;
    pool->jobs = jobs;
    pool->watch = watch;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    uint64_t last = atomic_load_explicit(&pool->word, memory_order_relaxed);
    atomic_store(&pool->word, (last & ~(ONE_RUN - 1)) + ONE_RUN + OPEN);
    sleepers_wake(pool, jobs);
    jobs_pull(pool, 0);
    run_close(pool);
    done = !vn_watch_stopped(watch);
  }
  vn_float_mode_restore(host);
  return done;
}

void vn_pool_run(struct vn_pool *pool, size_t jobs, vn_pool_fn *fn, void *context) {
  vn_pool_run_watched(pool, jobs, fn, context, NULL);
}

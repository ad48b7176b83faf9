/* The pool: every job once, slots to themselves, stopped and watched as promised, floats in one
 * mode, alive in a forked child, and refusals in sentences. Built with -fsanitize=thread it is the
 * pool's race test, but for forked children, whose threads that tool cannot follow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fenv.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "os.h"
#include "pool.h"

enum { JOBS_MOST = 5000 };

static struct vn_pool *pool_open(size_t threads) {
  struct vn_pool *pool;
  struct vn_diag diag;
  if (vn_pool_open(threads, &pool, &diag)) fail_msg("%s", diag.text);
  return pool;
}

static void pause_ns(long ns) {
  nanosleep(&(struct timespec){0, ns}, NULL);
}

static uint32_t noise(uint32_t below) {
  static uint32_t state = 1;
  state = state * 1664525u + 1013904223u;
  return (state >> 8) % below;
}

/* ---- jobs ---- */

struct tally {
  size_t threads;
  atomic_uint count[JOBS_MOST], inside[VN_POOL_THREADS_MOST];
  atomic_uint shared, strange; /* slots that two jobs were in; slots that there are not */
};

static void tally_job(void *context, size_t job, size_t slot) {
  struct tally *t = context;
  if (slot >= t->threads) {
    atomic_fetch_add(&t->strange, 1);
    return;
  }
  if (atomic_fetch_add(&t->inside[slot], 1)) atomic_fetch_add(&t->shared, 1);
  atomic_fetch_add(&t->count[job], 1);
  atomic_fetch_sub(&t->inside[slot], 1);
}

/* Usable in a child, where no assertion is. */
static bool tally_right(struct vn_pool *pool, size_t jobs) {
  static struct tally t;
  memset(&t, 0, sizeof t);
  t.threads = vn_pool_threads(pool);
  vn_pool_run(pool, jobs, tally_job, &t);
  for (size_t i = 0; i < JOBS_MOST; i++)
    if (atomic_load(&t.count[i]) != (i < jobs)) return false;
  return !atomic_load(&t.shared) && !atomic_load(&t.strange);
}

static void every_job_runs_once(void **state) {
  (void)state;
  assert_int_equal(vn_pool_threads(NULL), 1);
  assert_true(tally_right(NULL, 0) && tally_right(NULL, JOBS_MOST));
  for (size_t threads = 1; threads <= VN_POOL_THREADS_MOST; threads++) {
    const size_t jobs[] = {0, 1, 2, 3, threads - 1, threads, threads + 1, 500, JOBS_MOST};
    struct vn_pool *pool = pool_open(threads);
    assert_int_equal(vn_pool_threads(pool), threads);
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++)
      if (!tally_right(pool, jobs[i])) fail_msg("%zu threads, %zu jobs", threads, jobs[i]);
    vn_pool_close(&pool);
    assert_null(pool);
  }
  vn_pool_close(&(struct vn_pool *){NULL});
  vn_pool_close(NULL);
}

/* Jobs of a few nanoseconds and of a millisecond in one run, and runs without a pool inside. */
static void inner_job(void *context, size_t job, size_t slot) {
  (void)slot;
  *(size_t *)context += job;
}

static void uneven_job(void *context, size_t job, size_t slot) {
  size_t *sums = context;
  (void)slot;
  if (job % 50 == 0) pause_ns(1000000);
  vn_pool_run(NULL, job, inner_job, &sums[job]);
}

static void uneven_jobs_are_waited_for(void **state) {
  (void)state;
  struct vn_pool *pool = pool_open(4);
  for (int round = 0; round < 5; round++) {
    size_t sums[300] = {0};
    vn_pool_run(pool, 300, uneven_job, sums);
    for (size_t i = 1; i < 300; i++) assert_int_equal(sums[i], i * (i - 1) / 2);
  }
  vn_pool_close(&pool);
}

/* ---- runs in a row ---- */

struct tiny {
  uint64_t run;
  size_t jobs;
  atomic_size_t done, wrong;
};

static void tiny_job(void *context, size_t job, size_t slot) {
  struct tiny *t = context;
  (void)slot;
  if (t->run == 0 || job >= t->jobs) atomic_fetch_add(&t->wrong, 1);
  atomic_fetch_add(&t->done, 1);
}

/* Pauses from none to longer than workers stay awake, so that a run finds them in every state. What
 * a run was given is cleared behind it: a worker that came late would see that. */
static void runs_follow_runs(void **state) {
  (void)state;
  static const size_t threads[] = {2, 3, 8};
  for (size_t i = 0; i < 3; i++) {
    struct vn_pool *pool = pool_open(threads[i]);
    for (uint64_t run = 1; run <= 4000; run++) {
      struct tiny *t = calloc(1, sizeof *t);
      assert_non_null(t);
      t->run = run;
      t->jobs = noise(12);
      vn_pool_run(pool, t->jobs, tiny_job, t);
      assert_int_equal(atomic_load(&t->done), t->jobs);
      assert_int_equal(atomic_load(&t->wrong), 0);
      memset(t, 0, sizeof *t);
      const uint32_t pause = noise(40);
      for (volatile uint32_t k = 0; pause < 20 && k < pause * 200; k++) {
      }
      if (pause > 36) pause_ns(1000 + (long)noise(120000));
      free(t);
    }
    vn_pool_close(&pool);
  }
}

static void *other_host(void *context) {
  struct vn_pool *pool = context;
  for (uint64_t run = 1; run <= 1000; run++) {
    struct tiny t = {.run = run, .jobs = 7};
    vn_pool_run(pool, 7, tiny_job, &t);
    if (atomic_load(&t.done) != 7 || atomic_load(&t.wrong)) return context;
  }
  return NULL;
}

static void pools_do_not_meet(void **state) {
  (void)state;
  struct vn_pool *pools[3];
  pthread_t hosts[3];
  for (int i = 0; i < 3; i++) {
    pools[i] = pool_open(3);
    assert_int_equal(pthread_create(&hosts[i], NULL, other_host, pools[i]), 0);
  }
  for (int i = 0; i < 3; i++) {
    void *wrong;
    pthread_join(hosts[i], &wrong);
    assert_null(wrong);
    vn_pool_close(&pools[i]);
  }
}

/* ---- all hands ---- */

struct meeting {
  size_t wanted;
  atomic_size_t here;
};

/* Ends when all are here, or after ten seconds. */
static void meeting_job(void *context, size_t job, size_t slot) {
  struct meeting *m = context;
  (void)job, (void)slot;
  atomic_fetch_add(&m->here, 1);
  for (int i = 0; i < 100000 && atomic_load(&m->here) < m->wanted; i++) pause_ns(100000);
}

/* As many jobs as threads, each of which ends only once all have begun. */
static bool all_come(struct vn_pool *pool) {
  struct meeting m = {.wanted = vn_pool_threads(pool)};
  const uint64_t begin = vn_os_now_ns();
  vn_pool_run(pool, m.wanted, meeting_job, &m);
  return vn_os_now_ns() - begin < 5000000000u;
}

static void sleepers_wake_up(void **state) {
  (void)state;
  for (size_t threads = 2; threads <= 16; threads *= 2) {
    struct vn_pool *pool = pool_open(threads);
    for (int round = 0; round < 10; round++) {
      pause_ns((long)noise(3000000));
      assert_true(all_come(pool));
    }
    vn_pool_close(&pool);
  }
}

/* ---- watched ---- */

struct slow {
  struct vn_cancel *cancel;
  size_t press_at;
  atomic_size_t done;
};

static void slow_job(void *context, size_t job, size_t slot) {
  struct slow *s = context;
  (void)slot;
  pause_ns(500000);
  atomic_fetch_add(&s->done, 1);
  if (s->cancel && job == s->press_at) vn_cancel_press(s->cancel);
}

static void a_pressed_button_stops(void **state) {
  (void)state;
  for (size_t threads = 1; threads <= 4; threads += 3) {
    struct vn_pool *pool = pool_open(threads);
    struct vn_cancel *cancel;
    struct vn_watch watch;
    assert_int_equal(vn_cancel_create(&cancel, NULL), VN_OK);
    const struct vn_run_options run = {.size = sizeof run, .cancel = cancel};
    assert_int_equal(vn_watch_open(&watch, &run, NULL), VN_OK);
    struct slow s = {.cancel = cancel, .press_at = 40};
    assert_false(vn_pool_run_watched(pool, JOBS_MOST, slow_job, &s, &watch));
    assert_in_range(atomic_load(&s.done), 41 - threads, 41 + 8 * threads);
    struct vn_diag diag;
    assert_int_equal(vn_watch_close(&watch, &diag), VN_E_CANCELLED);
    assert_string_equal(diag.text, "cancelled");
    s = (struct slow){.cancel = cancel}; /* already pressed */
    assert_int_equal(vn_watch_open(&watch, &run, NULL), VN_OK);
    assert_false(vn_pool_run_watched(pool, 100, slow_job, &s, &watch));
    assert_int_equal(atomic_load(&s.done), 0);
    assert_true(tally_right(pool, JOBS_MOST));
    vn_cancel_close(&cancel);
    vn_pool_close(&pool);
  }
}

struct listener {
  pthread_t caller;
  size_t calls, elsewhere, backwards, refuse_at;
  double last;
  int rounding;
};

static int listen(void *context, double fraction) {
  struct listener *l = context;
  l->elsewhere += !pthread_equal(pthread_self(), l->caller);
  l->backwards += !(fraction >= l->last && fraction <= 1);
  l->last = fraction;
  l->rounding = fegetround();
  return ++l->calls == l->refuse_at;
}

static void progress_goes_forward(void **state) {
  (void)state;
  for (size_t threads = 1; threads <= 4; threads++) {
    struct vn_pool *pool = pool_open(threads);
    struct listener l = {.caller = pthread_self()};
    const struct vn_run_options run = {
        .size = sizeof run, .progress = listen, .progress_context = &l};
    struct vn_watch watch;
    fesetround(FE_UPWARD); /* the listener is the host's code, in the host's mode */
    assert_int_equal(vn_watch_open(&watch, &run, NULL), VN_OK);
    for (int part = 0; part < 2; part++) { /* two runs, half of the call each */
      struct slow s = {0};
      watch.base = 0.5 * part;
      watch.share = 0.5;
      assert_true(vn_pool_run_watched(pool, 150 * threads, slow_job, &s, &watch));
      assert_int_equal(atomic_load(&s.done), 150 * threads);
      assert_true(l.calls > 0 && l.last <= 0.5 * (part + 1));
    }
    assert_int_equal(vn_watch_close(&watch, NULL), VN_OK);
    fesetround(FE_TONEAREST);
    assert_true(l.last == 1 && l.rounding == FE_UPWARD);
    assert_true(l.calls > 2 && !l.elsewhere && !l.backwards);
    vn_pool_close(&pool);
  }
}

static void a_listener_may_refuse(void **state) {
  (void)state;
  struct vn_pool *pool = pool_open(3);
  struct listener l = {.caller = pthread_self(), .refuse_at = 2};
  const struct vn_run_options run = {
      .size = sizeof run, .progress = listen, .progress_context = &l};
  struct vn_watch watch;
  struct slow s = {0};
  assert_int_equal(vn_watch_open(&watch, &run, NULL), VN_OK);
  assert_false(vn_pool_run_watched(pool, JOBS_MOST, slow_job, &s, &watch));
  assert_true(atomic_load(&s.done) < JOBS_MOST);
  assert_int_equal(l.calls, 2);
  assert_int_equal(vn_watch_close(&watch, NULL), VN_E_CANCELLED);
  assert_int_equal(l.calls, 2);
  assert_true(tally_right(pool, 100));
  vn_pool_close(&pool);
}

/* ---- floats ---- */

struct floats {
  float sum[64], tiny[64];
};

static void floats_job(void *context, size_t job, size_t slot) {
  struct floats *f = context;
  volatile float sum = 1, tiny = 1e-30f;
  (void)slot;
  for (int k = 0; k < 100; k++) sum += 1e-10f * (float)(job + 1); /* upward: 100 steps */
  tiny *= 1e-10f;
  f->sum[job] = sum;
  f->tiny[job] = tiny;
}

/* What a thread computes depends neither on the host's mode nor on the thread. */
static void floats_have_one_mode(void **state) {
  (void)state;
  static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
  if (!VN_FLOAT_MODE_OURS) skip();
  struct floats first, now;
  for (size_t i = 0; i < 4; i++)
    for (size_t threads = 0; threads <= 4; threads++) {
      struct vn_pool *pool = threads ? pool_open(threads) : NULL;
      memset(&now, 0xff, sizeof now);
      fesetround(modes[i]);
      const vn_float_mode before = vn_float_mode_get();
      vn_pool_run(pool, 64, floats_job, &now);
      const vn_float_mode after = vn_float_mode_get();
      const int rounding = fegetround();
      fesetround(FE_TONEAREST);
      vn_pool_close(&pool);
      assert_int_equal(after, before);
      assert_int_equal(rounding, modes[i]);
      if (i + threads == 0) first = now;
      assert_memory_equal(&now, &first, sizeof now);
    }
  for (int i = 0; i < 64; i++) assert_true(first.sum[i] == 1 && first.tiny[i] == 0);
  volatile float tiny = 1e-30f; /* the host's denormals are what they were */
  tiny *= 1e-10f;
  assert_true(tiny > 0);
}

/* ---- processes ---- */

static void guest_close(void *guest) {
  ++*(int *)guest;
}

#if defined(VN_SANITIZE_THREAD) || defined(VN_EMULATED)
enum { CHILDREN = 0 };
#else
enum { CHILDREN = 1 };
#endif

/* The exit status of a child that does `fn`. */
static int child_run(int (*fn)(struct vn_pool *pool), struct vn_pool *pool) {
  int status;
  fflush(NULL);
  const pid_t child = fork();
  if (child == 0) _exit(fn(pool));
  assert_true(child > 0);
  assert_int_equal(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int child_close(struct vn_pool *pool) {
  vn_pool_close(&pool);
  return pool != NULL;
}

static int child_works(struct vn_pool *pool) {
  const size_t threads = vn_pool_threads(pool);
  if (vn_pool_guest(pool)) return 1; /* lost with its threads */
  for (size_t jobs = 0; jobs < 300; jobs++)
    if (!tally_right(pool, jobs)) return 2;
  if (vn_pool_threads(pool) != threads) return 3;
  const pid_t grandchild = fork();
  if (grandchild == 0) _exit(tally_right(pool, JOBS_MOST) ? child_close(pool) : 4);
  int status;
  if (grandchild < 0 || waitpid(grandchild, &status, 0) != grandchild || status) return 5;
  return tally_right(pool, JOBS_MOST) ? child_close(pool) : 6;
}

static int child_stops(struct vn_pool *pool) {
  struct vn_cancel cancel = {false};
  struct vn_watch watch = {.cancel = &cancel, .share = 1};
  struct slow s = {.cancel = &cancel, .press_at = 5};
  if (vn_pool_run_watched(pool, JOBS_MOST, slow_job, &s, &watch)) return 1;
  if (!all_come(pool)) return 2;
  return tally_right(pool, JOBS_MOST) ? child_close(pool) : 3;
}

static void children_have_a_pool(void **state) {
  (void)state;
  if (!CHILDREN) skip();
  for (size_t threads = 1; threads <= 4; threads++)
    for (int asleep = 0; asleep < 2; asleep++) {
      struct vn_pool *pool = pool_open(threads);
      int guest = 0;
      assert_null(vn_pool_guest(pool));
      vn_pool_guest_keep(pool, &guest, guest_close);
      assert_true(tally_right(pool, JOBS_MOST));
      if (asleep) pause_ns(2000000);
      assert_int_equal(child_run(child_works, pool), 0);
      assert_int_equal(child_run(child_stops, pool), 0);
      assert_int_equal(child_run(child_close, pool), 0);
      assert_true(tally_right(pool, JOBS_MOST));
      assert_ptr_equal(vn_pool_guest(pool), &guest);
      vn_pool_close(&pool);
      assert_int_equal(guest, 1);
    }
}

/* ---- refusals ---- */

static void too_many_threads_are_refused(void **state) {
  (void)state;
  const size_t by_cores = vn_os_cores() * VN_POOL_THREADS_PER_CORE;
  const size_t most = by_cores > VN_POOL_THREADS_MOST ? by_cores : VN_POOL_THREADS_MOST;
  const size_t wanted[] = {most + 1, 100000, SIZE_MAX};
  for (size_t i = 0; i < 3; i++) {
    struct vn_pool *pool = (struct vn_pool *)state;
    struct vn_diag diag = {""};
    char sentence[64];
    snprintf(sentence, sizeof sentence, "%zu threads asked for, at most %zu", wanted[i], most);
    assert_int_equal(vn_pool_open(wanted[i], &pool, &diag), VN_E_ARGUMENT);
    assert_null(pool);
    assert_memory_equal(diag.text, sentence, strlen(sentence));
    assert_int_equal(vn_pool_open(wanted[i], &pool, NULL), VN_E_ARGUMENT);
  }
  struct vn_pool *pool = pool_open(0);
  assert_int_equal(vn_pool_threads(pool), vn_os_cores());
  assert_true(tally_right(pool, JOBS_MOST));
  vn_pool_close(&pool);
}

enum { CANNOT_TRY = 77 };

/* A user of its own, who may have `tasks` threads in all: root's are not counted. */
static int limited(rlim_t tasks) {
  const bool root = geteuid() == 0;
  const uid_t user = 500000 + (uid_t)getpid();
  if (root && (setgid(user) || setuid(user))) return CANNOT_TRY;
  if (!root && tasks > 1) return CANNOT_TRY; /* who knows what else there is of this user's */
  if (setrlimit(RLIMIT_NPROC, &(struct rlimit){tasks, tasks})) return CANNOT_TRY;
  struct vn_pool *pool;
  struct vn_diag diag = {""};
  char sentence[64];
  snprintf(sentence, sizeof sentence, "thread %zu of 8 cannot be started: ", (size_t)tasks + 1);
  if (vn_pool_open(8, &pool, &diag) != VN_E_MEMORY || pool) return 1;
  if (strncmp(diag.text, sentence, strlen(sentence)) || !diag.text[strlen(sentence)]) return 2;
  if (vn_pool_open(0, &pool, &diag)) return 3; /* the ones before were joined, or this has none */
  const size_t cores = vn_os_cores(), most = cores < tasks ? cores : tasks;
  if (vn_pool_threads(pool) != most) return 4;
  if (!tally_right(pool, JOBS_MOST)) return 5;
  return child_close(pool);
}

static int limited_to_one(struct vn_pool *pool) {
  (void)pool;
  return limited(1);
}

static int limited_to_three(struct vn_pool *pool) {
  (void)pool;
  return limited(3);
}

static void threads_may_be_denied(void **state) {
  (void)state;
  if (!CHILDREN) skip();
  const int one = child_run(limited_to_one, NULL), three = child_run(limited_to_three, NULL);
  if (one == CANNOT_TRY) skip();
  assert_int_equal(one, 0);
  assert_true(three == 0 || three == CANNOT_TRY);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_job_runs_once),   cmocka_unit_test(uneven_jobs_are_waited_for),
      cmocka_unit_test(sleepers_wake_up),      cmocka_unit_test(runs_follow_runs),
      cmocka_unit_test(pools_do_not_meet),     cmocka_unit_test(a_pressed_button_stops),
      cmocka_unit_test(progress_goes_forward), cmocka_unit_test(a_listener_may_refuse),
      cmocka_unit_test(floats_have_one_mode),  cmocka_unit_test(children_have_a_pool),
      cmocka_unit_test(threads_may_be_denied), cmocka_unit_test(too_many_threads_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

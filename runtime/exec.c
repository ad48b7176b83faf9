/* Opens and runs execs: one arena, one scratch per thread, one pool, one prepared kernel per step.
 * choose.c picks kernels, exec_io.c copies ports. Nothing is allocated while a plan runs.
 *
 * Denormals are flushed to zero in every thread while a step runs: XNNPACK does so anyway, and so
 * the numbers do not depend on what mode the caller's thread is in. Idle workers sleep rather than
 * spin: a step is long beside waking up, and the host program has a use for its cores. */
#include "exec.h"

#include "cpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum {
  MAX_THREADS = 1024,
  SLACK_BYTES = 64, /* XNNPACK may read a few bytes past its input */
  HUGE_BYTES = 2 << 20,
};

static const struct vn_exec_options defaults = {0};

/* ---- memory ---- */

static size_t round_up(size_t n, size_t to) {
  return (n + to - 1) / to * to;
}

/* Zero-filled pages, in huge ones where the system has them. NULL: not to be had. */
static uint8_t *pages_map(size_t bytes, size_t *map_bytes) {
  *map_bytes = round_up(bytes + SLACK_BYTES, bytes < HUGE_BYTES ? 4096 : HUGE_BYTES);
  void *p = mmap(NULL, *map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return NULL;
  if (bytes >= HUGE_BYTES) madvise(p, *map_bytes, MADV_HUGEPAGE);
  return p;
}

static enum vn_status limit_check(const struct vn_exec *e, uint64_t bytes, uint64_t limit,
                                  struct vn_diag *diag) {
  if (limit && bytes > limit)
    return vn_fail(diag, VN_E_MEMORY,
                   "the plan needs %.1f MiB to run and the limit is %.1f MiB: raise the limit to "
                   "%llu bytes",
                   (double)bytes / 0x1p20, (double)limit / 0x1p20, (unsigned long long)bytes);
  if (bytes > e->machine_bytes)
    return vn_fail(diag, VN_E_MEMORY,
                   "the plan needs %.1f MiB to run and there are %.1f MiB on this machine",
                   (double)bytes / 0x1p20, (double)e->machine_bytes / 0x1p20);
  return VN_OK;
}

static uint64_t exec_bytes(const struct vn_exec *e) {
  return e->plan->header->arena_bytes + e->scratch_bytes * e->threads + e->packed_bytes;
}

/* ---- open ---- */

/* Once the caller's limit is broken, kernels are still asked what they need but not kept, so that
 * the sentence names the whole figure while no more than one step's weights are held beyond it. */
static enum vn_status steps_prepare(struct vn_exec *e, uint64_t limit, struct vn_diag *diag) {
  size_t n = e->plan->header->steps.count;
  e->prepared = calloc(n + 1, sizeof *e->prepared);
  e->last_ns = calloc(n + 1, sizeof *e->last_ns);
  if (!e->prepared || !e->last_ns) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  for (size_t i = 0; i < n; i++) {
    struct vn_prepared *p = &e->prepared[i];
    enum vn_status status = vn_exec_choose(e, i, p, diag);
    if (status) return status;
    e->n_prepared = i + 1;
    e->packed_bytes += p->packed_bytes;
    if (p->scratch_bytes > e->scratch_bytes) e->scratch_bytes = round_up(p->scratch_bytes, 64);
    vn_plan_release_pages(e->plan);
    if (limit && exec_bytes(e) > limit) {
      p->close(p->state);
      memset(p, 0, sizeof *p);
    }
    status = limit_check(e, exec_bytes(e), 0, diag);
    if (status) return status;
  }
  return limit_check(e, exec_bytes(e), limit, diag);
}

static enum vn_status exec_fill(struct vn_exec *e, const struct vn_exec_options *options,
                                struct vn_diag *diag) {
  enum vn_status status = vn_cpu_simd(options->isa, &e->simd, diag);
  if (status) return status;
  e->threads = options->threads ? options->threads : vn_cpu_cores();
  if (e->threads > MAX_THREADS)
    return vn_fail(diag, VN_E_ARGUMENT, "%zu threads asked for, at most %d are possible",
                   e->threads, MAX_THREADS);
  uint64_t arena_bytes = e->plan->header->arena_bytes;
  e->machine_bytes = vn_cpu_memory_bytes();
  status = limit_check(e, arena_bytes, 0, diag);
  if (status) return status;
  e->arena = pages_map((size_t)arena_bytes, &e->arena_map_bytes);
  if (!e->arena)
    return vn_fail(diag, VN_E_MEMORY, "no memory for the arena of %llu bytes",
                   (unsigned long long)arena_bytes);
  e->pool = pthreadpool_create(e->threads);
  if (!e->pool) return vn_fail(diag, VN_E_MEMORY, "cannot start %zu threads", e->threads);
  status = steps_prepare(e, options->memory_limit_bytes, diag);
  if (status) return status;
  e->scratch = pages_map(e->scratch_bytes * e->threads, &e->scratch_map_bytes);
  if (!e->scratch)
    return vn_fail(diag, VN_E_MEMORY, "no memory for scratch of %zu bytes",
                   e->scratch_bytes * e->threads);
  return VN_OK;
}

enum vn_status vn_exec_open(const struct vn_plan *plan, const struct vn_exec_options *options,
                            struct vn_exec **exec, struct vn_diag *diag) {
  *exec = NULL;
  struct vn_exec *e = calloc(1, sizeof *e);
  if (!e) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  e->plan = plan;
  atomic_init(&e->cancel, false);
  enum vn_status status = exec_fill(e, options ? options : &defaults, diag);
  if (status) vn_exec_close(&e);
  *exec = e;
  return status;
}

void vn_exec_close(struct vn_exec **exec) {
  struct vn_exec *e = exec ? *exec : NULL;
  if (!e) return;
  for (size_t i = 0; i < e->n_prepared; i++)
    if (e->prepared[i].close) e->prepared[i].close(e->prepared[i].state);
  if (e->pool) pthreadpool_destroy(e->pool);
  if (e->arena) munmap(e->arena, e->arena_map_bytes);
  if (e->scratch) munmap(e->scratch, e->scratch_map_bytes);
  free(e->prepared);
  free(e->last_ns);
  free(e);
  *exec = NULL;
}

/* ---- run ---- */

struct crew { /* what the threads pull jobs from */
  struct vn_exec *exec;
  const struct vn_prepared *step;
  atomic_size_t next;
};

/* One per thread at most: `slot` owns its scratch. Which slot gets which job does not matter. */
static void jobs_pull(void *context, size_t slot) {
  struct crew *c = context;
  void *scratch = c->exec->scratch + slot * c->exec->scratch_bytes;
  while (!atomic_load_explicit(&c->exec->cancel, memory_order_relaxed)) {
    size_t job = atomic_fetch_add_explicit(&c->next, 1, memory_order_relaxed);
    if (job >= c->step->jobs) return;
    c->step->run(c->step->state, job, scratch);
  }
}

static enum vn_status step_run(struct vn_exec *e, const struct vn_prepared *p) {
  if (p->run_pool) return p->run_pool(p->state, e->pool);
  struct crew crew = {.exec = e, .step = p};
  atomic_init(&crew.next, 0);
  size_t slots = p->jobs < e->threads ? p->jobs : e->threads;
  pthreadpool_parallelize_1d(e->pool, jobs_pull, &crew, slots, PTHREADPOOL_FLAG_DISABLE_DENORMALS);
  return VN_OK;
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void buffers_poison(struct vn_exec *e, size_t step, bool before) {
  for (size_t i = 0; e->poison && i < e->plan->header->buffers.count; i++) {
    const struct plan_buffer *b = &e->plan->buffers[i];
    bool born = before && b->first_step == step && step > 0;
    bool dead = !before && b->last_step == step && step + 1 < e->plan->header->steps.count;
    if (!born && !dead) continue;
    float *p = (float *)(e->arena + b->offset);
    for (size_t k = 0; k < b->bytes / 4; k++) p[k] = NAN;
  }
}

enum vn_status vn_exec_run_in_place(struct vn_exec *exec, struct vn_diag *diag) {
  for (size_t i = 0; i < exec->n_prepared; i++) {
    uint64_t start = now_ns();
    buffers_poison(exec, i, true);
    enum vn_status status = step_run(exec, &exec->prepared[i]);
    buffers_poison(exec, i, false);
    exec->last_ns[i] = now_ns() - start;
    if (status) return vn_fail(diag, status, "step %zu (%s) failed", i, exec->prepared[i].name);
    if (atomic_load_explicit(&exec->cancel, memory_order_relaxed)) break;
  }
  if (atomic_exchange(&exec->cancel, false)) return vn_fail(diag, VN_E_CANCELLED, "cancelled");
  return VN_OK;
}

enum vn_status vn_exec_run(struct vn_exec *exec, const void *const inputs[], void *const outputs[],
                           struct vn_diag *diag) {
  for (size_t i = 0; i < vn_plan_inputs(exec->plan); i++)
    vn_exec_copy_port(exec, vn_plan_port(exec->plan, false, i), inputs[i], NULL);
  enum vn_status status = vn_exec_run_in_place(exec, diag);
  for (size_t i = 0; !status && i < vn_plan_outputs(exec->plan); i++)
    vn_exec_copy_port(exec, vn_plan_port(exec->plan, true, i), NULL, outputs[i]);
  return status;
}

void vn_exec_cancel(struct vn_exec *exec) {
  atomic_store(&exec->cancel, true);
}

void vn_exec_parallel(struct vn_exec *exec, size_t jobs, void (*fn)(void *context, size_t job),
                      void *context) {
  pthreadpool_parallelize_1d(exec->pool, fn, context, jobs, PTHREADPOOL_FLAG_YIELD_WORKERS);
}

void vn_exec_poison(struct vn_exec *exec, bool on) {
  exec->poison = on;
}

/* ---- questions ---- */

struct vn_tensor vn_exec_tensor(const struct vn_exec *exec, uint32_t id) {
  const struct plan_tensor *t = &exec->plan->tensors[id];
  struct vn_tensor view = {.data = exec->arena + t->offset, .stride = (size_t)t->pixel_stride};
  for (int a = 0; a < VN_AXES; a++) view.dim[a] = (size_t)t->dim[a];
  return view;
}

static struct vn_buffer port_buffer(const struct vn_exec *exec, bool is_output, size_t index) {
  const struct plan_port *port = vn_plan_port(exec->plan, is_output, index);
  struct vn_buffer buffer = {.data = NULL};
  if (!port) return buffer;
  struct vn_tensor t = vn_exec_tensor(exec, port->tensor);
  buffer = (struct vn_buffer){.data = t.data, .pixel_stride = t.stride};
  memcpy(buffer.dim, t.dim, sizeof buffer.dim);
  return buffer;
}

struct vn_buffer vn_exec_input(struct vn_exec *exec, size_t index) {
  return port_buffer(exec, false, index);
}

struct vn_buffer vn_exec_output(struct vn_exec *exec, size_t index) {
  return port_buffer(exec, true, index);
}

struct vn_exec_info vn_exec_info(const struct vn_exec *exec) {
  return (struct vn_exec_info){
      .isa = exec->simd ? exec->simd->name : "ref",
      .threads = exec->threads,
      .arena_bytes = exec->plan->header->arena_bytes,
      .scratch_bytes = exec->scratch_bytes * exec->threads,
      .packed_bytes = exec->packed_bytes,
  };
}

size_t vn_exec_steps(const struct vn_exec *exec) {
  return exec->n_prepared;
}

struct vn_step_info vn_exec_step(const struct vn_exec *exec, size_t index) {
  const struct plan_step *s = &exec->plan->steps[index];
  return (struct vn_step_info){
      .name = exec->plan->strings + s->name,
      .op = vn_op_text(s->op),
      .kernel = exec->prepared[index].name,
      .macs = s->macs,
      .last_ns = exec->last_ns[index],
      .predicted_ns = s->predicted_ns,
  };
}

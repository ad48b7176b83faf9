/* Opens and runs execs: one arena, one scratch per thread, one pool, one prepared kernel per step.
 * choose.c picks kernels, packed.c keeps their weights, exec_io.c knows where ports lie, and copies
 * them. Nothing is allocated while a plan runs. Jobs are handed out, and watched, by pool.c
 * alone. */
#include "exec.h"

#include "cpu.h"
#include "options.h"
#include "os.h"
#include "packed.h"
#include "size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SLACK_BYTES = 64 /* XNNPACK may read a few bytes past its input */ };

/* ---- open ---- */

static enum vn_status limit_check(const struct vn_exec *e, uint64_t bytes, struct vn_diag *diag) {
  const double mib = (double)bytes / 0x1p20, limit = (double)e->limit_bytes / 0x1p20;
  if (bytes <= e->limit_bytes) return VN_OK;
  if (e->limited)
    return vn_fail(diag, VN_E_MEMORY,
                   "the plan needs %.1f MiB to run and the limit is %.1f MiB: raise the limit to "
                   "%llu bytes, or compile the model for less (vnetc --memory-limit)",
                   mib, limit, (unsigned long long)bytes);
  return vn_fail(diag, VN_E_MEMORY,
                 "the plan needs %.1f MiB to run and %.1f MiB are free (--memory-limit none tries "
                 "all the same)",
                 mib, limit);
}

/* Of all threads, and behind it what jobs share. */
static uint64_t scratch_bytes(const struct vn_exec *e) {
  return vn_plus(vn_times(e->scratch_bytes, e->threads), e->shared_bytes);
}

static uint64_t exec_bytes(const struct vn_exec *e) {
  return vn_plus(vn_plus(e->plan->header->arena_bytes, scratch_bytes(e)),
                 vn_plus(e->packed_bytes, e->state_bytes));
}

/* Asks every step's kernel what it needs. Nothing large is allocated yet but the kernels' tables,
 * which are held against the limit as they grow. */
static enum vn_status steps_prepare(struct vn_exec *e, const struct vn_watch *watch,
                                    struct vn_diag *diag) {
  size_t n = e->plan->header->steps.count;
  e->prepared = calloc(n + 1, sizeof *e->prepared);
  e->last_ns = calloc(n + 1, sizeof *e->last_ns);
  if (!e->prepared || !e->last_ns) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  for (size_t i = 0; i < n; i++) {
    struct vn_prepared *p = &e->prepared[i];
    enum vn_status status = vn_exec_choose(e, i, p, diag);
    if (status) return status;
    e->n_prepared = i + 1;
    e->packed_bytes = vn_plus(e->packed_bytes, p->packed_bytes);
    e->state_bytes = vn_plus(e->state_bytes, p->state_bytes);
    if (p->scratch_bytes > e->scratch_bytes) e->scratch_bytes = p->scratch_bytes;
    if (p->shared_bytes > e->shared_bytes) e->shared_bytes = p->shared_bytes;
    if (e->state_bytes > e->limit_bytes) return limit_check(e, exec_bytes(e), diag);
    if (vn_watch_stopped(watch)) return vn_fail(diag, VN_E_CANCELLED, "cancelled");
  }
  return VN_OK;
}

static void limit_set(struct vn_exec *e, uint64_t asked) {
  e->limited = asked != 0;
  e->limit_bytes = asked ? asked : vn_os_memory_free("");
}

static enum vn_status exec_open(struct vn_exec *e, const struct vn_exec_options *options,
                                struct vn_watch *watch, struct vn_diag *diag) {
  const uint64_t arena_bytes = e->plan->header->arena_bytes;
  enum vn_status status = vn_cpu_simd(options->isa, &e->simd, diag);
  limit_set(e, options->memory_limit_bytes);
  if (!status && !e->limited) status = limit_check(e, arena_bytes, diag);
  if (status) return status;
  e->arena = vn_os_pages((size_t)arena_bytes + SLACK_BYTES, &e->arena_map_bytes);
  if (!e->arena)
    return vn_fail(diag, VN_E_MEMORY, "no memory for the arena of %llu bytes",
                   (unsigned long long)arena_bytes);
  status = vn_pool_open(options->threads, &e->pool, diag);
  e->threads = vn_pool_threads(e->pool);
  if (!status) status = steps_prepare(e, watch, diag);
  if (!status) status = limit_check(e, exec_bytes(e), diag);
  if (status) return status;
  const uint64_t scratch = scratch_bytes(e);
  e->scratch = scratch < SIZE_MAX ? vn_os_pages((size_t)scratch, &e->scratch_map_bytes) : NULL;
  if (!e->scratch)
    return vn_fail(diag, VN_E_MEMORY, "no memory for scratch of %llu bytes",
                   (unsigned long long)scratch);
  for (size_t i = 0; i < e->n_prepared; i++)
    if (e->prepared[i].share)
      e->prepared[i].share(e->prepared[i].state, e->scratch + e->scratch_bytes * e->threads);
  return vn_packed_use(e->plan, e->simd, e->prepared, e->pool, watch, diag);
}

/* Options of any age, and who watches the opening. */
static enum vn_status options_read(const struct vn_exec_options *theirs,
                                   struct vn_exec_options *mine, struct vn_watch *watch,
                                   struct vn_diag *diag) {
  enum vn_status status = vn_options_take(mine, sizeof *mine, theirs, "vn_exec_options", diag);
  const struct vn_run_options run = {.size = sizeof run,
                                     .cancel = mine->cancel,
                                     .progress = mine->progress,
                                     .progress_context = mine->progress_context};
  return status ? status : vn_watch_open(watch, &run, diag);
}

enum vn_status vn_exec_open(const struct vn_plan *plan, const struct vn_exec_options *options,
                            struct vn_exec **exec, struct vn_diag *diag) {
  struct vn_exec_options mine;
  struct vn_watch watch;
  *exec = NULL;
  enum vn_status status = options_read(options, &mine, &watch, diag);
  if (status) return status;
  struct vn_exec *e = calloc(1, sizeof *e);
  if (!e) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  e->plan = plan;
  const vn_float_mode host = vn_float_mode_enter();
  status = exec_open(e, &mine, &watch, diag);
  vn_float_mode_restore(host);
  if (!status) status = vn_watch_close(&watch, diag);
  if (status) vn_exec_close(&e);
  *exec = e;
  return status;
}

void vn_exec_close(struct vn_exec **exec) {
  struct vn_exec *e = exec ? *exec : NULL;
  if (!e) return;
  for (size_t i = 0; i < e->n_prepared; i++)
    if (e->prepared[i].close) e->prepared[i].close(e->prepared[i].state);
  vn_pool_close(&e->pool);
  vn_os_pages_free(e->arena, e->arena_map_bytes);
  vn_os_pages_free(e->scratch, e->scratch_map_bytes);
  free(e->prepared);
  free(e->last_ns);
  free(e);
  *exec = NULL;
}

/* The arena is address space until somebody writes to it, so that kernels can be asked over it. */
static enum vn_status exec_measure(struct vn_exec *e, const struct vn_exec_options *options,
                                   const struct vn_watch *watch, struct vn_diag *diag) {
  e->threads = options->threads ? options->threads : vn_os_cores();
  limit_set(e, 0); /* of what kernels allocate to be asked */
  enum vn_status status = vn_cpu_simd(options->isa, &e->simd, diag);
  if (status) return status;
  e->arena = vn_os_pages((size_t)e->plan->header->arena_bytes, &e->arena_map_bytes);
  return e->arena ? steps_prepare(e, watch, diag)
                  : vn_fail(diag, VN_E_MEMORY, "no room for the arena");
}

enum vn_status vn_exec_measure(const struct vn_plan *plan, const struct vn_exec_options *options,
                               struct vn_exec_info *info, struct vn_diag *diag) {
  struct vn_exec_options mine;
  struct vn_watch watch;
  enum vn_status status = options_read(options, &mine, &watch, diag);
  if (status) return status;
  struct vn_exec *e = calloc(1, sizeof *e);
  if (!e) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  e->plan = plan;
  const vn_float_mode host = vn_float_mode_enter();
  status = exec_measure(e, &mine, &watch, diag);
  vn_float_mode_restore(host);
  if (!status) *info = vn_exec_info(e);
  vn_exec_close(&e);
  return status;
}

uint64_t vn_memory_free(void) {
  return vn_os_memory_free("");
}

/* ---- run ---- */

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

/* What a step is of the whole, for progress: its multiply-adds, and its outputs for those that have
 * none. */
static double step_weight(const struct vn_exec *e, size_t i) {
  const struct plan_step *s = &e->plan->steps[i];
  const struct plan_tensor *out = &e->plan->tensors[s->out];
  double elems = 1;
  for (int a = 0; a < VN_AXES; a++) elems *= (double)out->dim[a];
  return (double)s->macs + 64 * elems;
}

static enum vn_status steps_run(struct vn_exec *e, struct vn_watch *watch, struct vn_diag *diag) {
  double all = 0, done = 0;
  for (size_t i = 0; i < e->n_prepared; i++) all += step_weight(e, i);
  for (size_t i = 0; i < e->n_prepared && !vn_watch_stopped(watch); i++) {
    double weight = step_weight(e, i);
    uint64_t start = vn_os_now_ns();
    watch->base = done / all;
    watch->share = weight / all;
    buffers_poison(e, i, true);
    enum vn_status status =
        vn_prepared_run(&e->prepared[i], e->pool, e->scratch, e->scratch_bytes, watch);
    buffers_poison(e, i, false);
    e->last_ns[i] = vn_os_now_ns() - start;
    if (status) return vn_fail(diag, status, "step %zu (%s) failed", i, e->prepared[i].name);
    done += weight;
  }
  return VN_OK;
}

enum vn_status vn_exec_run_with(struct vn_exec *exec, const void *const inputs[],
                                void *const outputs[], const struct vn_run_options *run,
                                struct vn_diag *diag) {
  struct vn_watch watch;
  enum vn_status status = vn_watch_open(&watch, run, diag);
  if (status) return status;
  for (size_t i = 0; inputs && i < vn_plan_inputs(exec->plan); i++)
    vn_exec_copy_port(exec, vn_plan_port(exec->plan, false, i), inputs[i], NULL);
  status = steps_run(exec, &watch, diag);
  if (!status) status = vn_watch_close(&watch, diag);
  for (size_t i = 0; outputs && !status && i < vn_plan_outputs(exec->plan); i++)
    vn_exec_copy_port(exec, vn_plan_port(exec->plan, true, i), NULL, outputs[i]);
  return status;
}

enum vn_status vn_exec_run(struct vn_exec *exec, const void *const inputs[], void *const outputs[],
                           struct vn_diag *diag) {
  return vn_exec_run_with(exec, inputs, outputs, NULL, diag);
}

struct guest_job { /* a caller's own work */
  void (*fn)(void *context, size_t job);
  void *context;
};

static void guest_run(void *context, size_t job, size_t slot) {
  const struct guest_job *g = context;
  (void)slot;
  g->fn(g->context, job);
}

enum vn_status vn_exec_parallel(struct vn_exec *exec, size_t jobs,
                                void (*fn)(void *context, size_t job), void *context,
                                const struct vn_run_options *run, struct vn_diag *diag) {
  struct guest_job guest = {fn, context};
  struct vn_watch watch;
  enum vn_status status = vn_watch_open(&watch, run, diag);
  if (status) return status;
  vn_pool_run_watched(exec->pool, jobs, guest_run, &guest, &watch);
  return vn_watch_close(&watch, diag);
}

void vn_exec_poison(struct vn_exec *exec, bool on) {
  exec->poison = on;
}

/* ---- questions ---- */

struct vn_exec_info vn_exec_info(const struct vn_exec *exec) {
  return (struct vn_exec_info){
      .isa = exec->simd ? exec->simd->name : "ref",
      .threads = exec->threads,
      .arena_bytes = exec->plan->header->arena_bytes,
      .scratch_bytes = scratch_bytes(exec),
      .packed_bytes = vn_plus(exec->packed_bytes, exec->state_bytes),
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

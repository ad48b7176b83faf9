/* Packs and runs a prepared kernel as exec would, in different orders and on threads. */
#include "check.h"

#include "float_mode.h"

#include <stdlib.h>
#include <string.h>

enum { LINE = 64, THREADS = 3 };

/* ---- packing ---- */

/* packed_bytes that begin on a line, in memory that ends with one; what is left of that line must
 * stay as it was. */
static const char *pack_into(struct fence *f, const struct vn_prepared *p, struct vn_pool *pool,
                             const struct fence *weight, int pattern, bool at_end) {
  const size_t bytes = (p->packed_bytes + LINE - 1) / LINE * LINE;
  fence_open(f, bytes, at_end);
  memset(f->data, pattern, bytes);
  if (!p->pack(p->state, pool, (const float *)weight->data, f->data, NULL)) return "pack stopped";
  for (size_t i = p->packed_bytes; i < bytes; i++)
    if (f->data[i] != pattern) return "pack wrote behind packed_bytes";
  fence_lock(f);
  return NULL;
}

enum { PATTERN_0 = 0x7f, PATTERN_1 = 0xff };

/* Equal, but for what pack leaves unused: there each shows its own pattern, so that a run which
 * reads it gives another result with each. */
static bool packed_equal(const struct fence packed[2], size_t bytes) {
  for (size_t i = 0; i < bytes; i++) {
    const unsigned char a = packed[0].data[i], b = packed[1].data[i];
    if (a != b && !(a == PATTERN_0 && b == PATTERN_1)) return false;
  }
  return true;
}

/* Alone and on threads, over different bytes. */
static const char *pack_twice(const struct vn_prepared *p, struct vn_pool *pool,
                              const struct fence *weight, struct fence packed[2],
                              struct random *r) {
  struct vn_cancel pressed = {true};
  struct vn_watch watch = {.cancel = &pressed};
  const bool at_end = random_below(r, 2);
  const char *fault = pack_into(&packed[0], p, NULL, weight, PATTERN_0, at_end);
  if (!fault) fault = pack_into(&packed[1], p, pool, weight, PATTERN_1, at_end);
  if (!fault && !packed_equal(packed, p->packed_bytes)) fault = "packed bytes depend on threads";
  if (!fault && p->pack(p->state, pool, NULL, NULL, &watch)) fault = "pack cannot be stopped";
  return fault;
}

/* ---- running ---- */

/* A packed step, and the memory that it runs in. */
struct stage {
  struct vn_prepared *p;
  struct fenced_tensor *out;
  size_t *order; /* of jobs */
  struct fence scratch, shared, packed[2];
  unsigned char *before, *first; /* what `out` held at first, and after the first run */
};

/* Before a run: the output as it was, and in shared memory nothing that a run before has left. */
static void stage_reset(const struct stage *s) {
  memcpy(s->out->memory.data, s->before, s->out->memory.bytes);
  if (s->p->share) memset(s->shared.data, 0xff, s->shared.bytes); /* NaN */
}

static bool as_first(const struct stage *s) {
  return memcmp(s->first, s->out->memory.data, s->out->memory.bytes) == 0;
}

/* Job by job on this thread, whose scratch ends at the fence; floats as an exec has them. */
static enum vn_status run_jobs(const struct stage *s) {
  const struct vn_prepared *p = s->p;
  const vn_float_mode host = vn_float_mode_enter();
  uint32_t *scratch = (uint32_t *)(s->scratch.data + (THREADS - 1) * p->scratch_bytes);
  stage_reset(s);
  enum vn_status status = p->run_pool ? p->run_pool(p->state, NULL, NULL) : VN_OK;
  for (size_t i = 0; p->run && i < p->jobs; i++) {
    for (size_t k = 0; k < p->scratch_bytes / sizeof *scratch && k < 4096; k++)
      scratch[k] = 0x7fc0dead; /* NaN */
    p->run(p->state, s->order[i], scratch);
  }
  vn_float_mode_restore(host);
  return status;
}

/* Within each phase. */
static void shuffle(size_t *order, size_t n, struct random *r) {
  for (size_t i = n; i-- > 1;) {
    const size_t j = random_below(r, i + 1), swap = order[i];
    order[i] = order[j];
    order[j] = swap;
  }
}

/* In order; in another order, from other packed memory; on threads. */
static const char *run_ways(struct stage *s, struct vn_pool *pool, struct random *r) {
  const struct vn_prepared *p = s->p;
  for (size_t i = 0; i < p->jobs; i++) s->order[i] = i;
  if (p->use) p->use(p->state, s->packed[0].data);
  if (run_jobs(s)) return "run failed";
  memcpy(s->first, s->out->memory.data, s->out->memory.bytes);
  for (size_t at = 0, end; at < p->jobs; at = end)
    shuffle(s->order + at, (end = vn_prepared_phase(p, at)) - at, r);
  if (p->use) {
    fence_hide(&s->packed[0]);
    p->use(p->state, s->packed[1].data);
  }
  if (run_jobs(s)) return "second run failed";
  if (!as_first(s)) return "results depend on jobs' order";
  stage_reset(s);
  if (vn_prepared_run(p, pool, s->scratch.data, p->scratch_bytes, NULL)) return "third run failed";
  if (!as_first(s)) return "results depend on threads";
  return tensor_gaps_equal(s->out, s->before) ? NULL : "wrote between the pixels";
}

static bool described(const struct vn_prepared *p, const struct fence *weight) {
  const bool pooled = p->run_pool != NULL;
  return p->name[0] && pooled != (p->run != NULL) && (pooled || p->jobs) &&
         p->scratch_bytes % LINE == 0 && (p->pack != NULL) == (p->use != NULL) &&
         p->shared_bytes % LINE == 0 && (p->share != NULL) == (p->shared_bytes > 0) &&
         (!p->pack || (weight && p->packed_bytes));
}

static void stage_open(struct stage *s, struct vn_prepared *p, struct fenced_tensor *out) {
  const size_t bytes = out->memory.bytes;
  *s = (struct stage){.p = p, .out = out, .before = malloc(bytes), .first = malloc(bytes)};
  s->order = malloc((p->jobs + 1) * sizeof *s->order);
  memcpy(s->before, out->memory.data, bytes);
  fence_open(&s->scratch, p->scratch_bytes ? THREADS * p->scratch_bytes : LINE, true);
  if (!p->share) return;
  fence_open(&s->shared, p->shared_bytes, true);
  p->share(p->state, s->shared.data);
}

static void stage_close(struct stage *s) {
  for (int i = 0; i < 2; i++) fence_close(&s->packed[i]);
  fence_close(&s->scratch);
  fence_close(&s->shared);
  free(s->order);
  free(s->before);
  free(s->first);
}

const char *run_prepared(struct vn_prepared *p, struct fence *weight, struct fenced_tensor *out,
                         struct random *r) {
  struct stage s;
  struct vn_pool *pool = NULL;
  const char *fault = NULL;
  if (!described(p, weight)) fault = "unsound description of the prepared step";
  if (!fault && vn_pool_open(THREADS, &pool, NULL)) fault = "no pool";
  stage_open(&s, p, out);
  if (!fault && p->pack) fault = pack_twice(p, pool, weight, s.packed, r);
  if (p->pack && weight) fence_hide(weight);
  if (!fault) fault = run_ways(&s, pool, r);
  if (p->pack && weight) fence_lock(weight); /* for the oracle */
  vn_pool_close(&pool);
  stage_close(&s);
  if (p->close) p->close(p->state);
  return fault;
}

/* Packs and runs a prepared kernel as exec would, twice and in different orders. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

enum { LINE = 64 };

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

/* Alone and on two threads, over different bytes. */
static const char *pack_twice(const struct vn_prepared *p, const struct fence *weight,
                              struct fence packed[2], struct random *r) {
  struct vn_cancel pressed = {true};
  struct vn_watch watch = {.cancel = &pressed};
  struct vn_pool *pool;
  if (vn_pool_open(2, &pool, NULL)) return "no pool";
  const bool at_end = random_below(r, 2);
  const char *fault = pack_into(&packed[0], p, NULL, weight, PATTERN_0, at_end);
  if (!fault) fault = pack_into(&packed[1], p, pool, weight, PATTERN_1, at_end);
  if (!fault && !packed_equal(packed, p->packed_bytes)) fault = "packed bytes depend on threads";
  if (!fault && p->pack(p->state, pool, NULL, NULL, &watch)) fault = "pack cannot be stopped";
  vn_pool_close(&pool);
  return fault;
}

/* ---- running ---- */

static enum vn_status run_jobs(const struct vn_prepared *p, const size_t *order, float *scratch,
                               struct vn_pool *pool) {
  if (p->run_pool) return p->run_pool(p->state, pool, NULL);
  for (size_t i = 0; i < p->jobs; i++) {
    for (size_t k = 0; k < p->scratch_bytes / sizeof *scratch && k < 4096; k++)
      ((uint32_t *)scratch)[k] = 0x7fc0dead; /* NaN */
    p->run(p->state, order[i], scratch);
  }
  return VN_OK;
}

/* Within each phase. */
static void shuffle(size_t *order, size_t n, struct random *r) {
  for (size_t i = n; i-- > 1;) {
    const size_t j = random_below(r, i + 1), swap = order[i];
    order[i] = order[j];
    order[j] = swap;
  }
}

static const char *run_twice(struct vn_prepared *p, struct fence packed[2],
                             struct fenced_tensor *out, struct random *r, size_t *order,
                             float *scratch) {
  const size_t bytes = out->memory.bytes;
  unsigned char *before = malloc(bytes), *first = malloc(bytes);
  const char *fault = NULL;
  struct vn_pool *pool = NULL;
  if (p->run_pool && vn_pool_open(2, &pool, NULL)) fault = "no pool";
  memcpy(before, out->memory.data, bytes);
  for (size_t i = 0; i < p->jobs; i++) order[i] = i;
  if (p->use) p->use(p->state, packed[0].data);
  if (!fault && run_jobs(p, order, scratch, NULL)) fault = "run failed";
  memcpy(first, out->memory.data, bytes);
  memcpy(out->memory.data, before, bytes);
  for (size_t first = 0, end; first < p->jobs; first = end)
    shuffle(order + first, (end = vn_prepared_phase(p, first)) - first, r);
  if (p->use) {
    fence_hide(&packed[0]);
    p->use(p->state, packed[1].data);
  }
  if (!fault && run_jobs(p, order, scratch, pool)) fault = "second run failed";
  if (!fault && memcmp(first, out->memory.data, bytes)) fault = "results depend on jobs' order";
  if (!fault && !tensor_gaps_equal(out, before)) fault = "wrote between the pixels";
  vn_pool_close(&pool);
  free(before);
  free(first);
  return fault;
}

static bool described(const struct vn_prepared *p, const struct fence *weight) {
  const bool pooled = p->run_pool != NULL;
  return p->name[0] && pooled != (p->run != NULL) && (pooled || p->jobs) &&
         p->scratch_bytes % LINE == 0 && (p->pack != NULL) == (p->use != NULL) &&
         p->shared_bytes % LINE == 0 && (p->share != NULL) == (p->shared_bytes > 0) &&
         (!p->pack || (weight && p->packed_bytes));
}

const char *run_prepared(struct vn_prepared *p, struct fence *weight, struct fenced_tensor *out,
                         struct random *r) {
  const char *fault = NULL;
  struct fence scratch = {0}, shared = {0}, packed[2] = {0};
  size_t *order = malloc((p->jobs + 1) * sizeof *order);
  if (!described(p, weight)) fault = "unsound description of the prepared step";
  fence_open(&scratch, p->scratch_bytes ? p->scratch_bytes : LINE, true);
  if (p->share) {
    fence_open(&shared, p->shared_bytes, true);
    memset(shared.data, 0xff, shared.bytes); /* NaN */
    p->share(p->state, shared.data);
  }
  if (!fault && p->pack) fault = pack_twice(p, weight, packed, r);
  if (p->pack && weight) fence_hide(weight);
  if (!fault) fault = run_twice(p, packed, out, r, order, (float *)scratch.data);
  if (p->pack && weight) fence_lock(weight); /* for the oracle */
  for (int i = 0; i < 2; i++) fence_close(&packed[i]);
  fence_close(&scratch);
  fence_close(&shared);
  free(order);
  if (p->close) p->close(p->state);
  return fault;
}

/* Runs a prepared kernel as exec would, twice and in different orders. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

static enum vn_status run_jobs(const struct vn_prepared *p, const size_t *order, float *scratch,
                               pthreadpool_t pool) {
  if (p->run_pool) return p->run_pool(p->state, pool);
  for (size_t i = 0; i < p->jobs; i++) {
    for (size_t k = 0; k < p->scratch_bytes / sizeof *scratch && k < 4096; k++)
      ((uint32_t *)scratch)[k] = 0x7fc0dead; /* NaN */
    p->run(p->state, order[i], scratch);
  }
  return VN_OK;
}

static const char *run_twice(struct vn_prepared *p, struct fenced_tensor *out, struct random *r,
                             size_t *order, float *scratch) {
  const size_t bytes = out->memory.bytes;
  unsigned char *before = malloc(bytes), *first = malloc(bytes);
  const char *fault = NULL;
  pthreadpool_t pool = p->run_pool ? pthreadpool_create(2) : NULL;
  memcpy(before, out->memory.data, bytes);
  for (size_t i = 0; i < p->jobs; i++) order[i] = i;
  if (run_jobs(p, order, scratch, NULL)) fault = "run failed";
  memcpy(first, out->memory.data, bytes);
  memcpy(out->memory.data, before, bytes);
  for (size_t i = p->jobs; i-- > 1;) {
    const size_t j = random_below(r, i + 1), swap = order[i];
    order[i] = order[j];
    order[j] = swap;
  }
  if (!fault && run_jobs(p, order, scratch, pool)) fault = "second run failed";
  if (!fault && memcmp(first, out->memory.data, bytes)) fault = "results depend on jobs' order";
  if (!fault && !tensor_gaps_equal(out, before)) fault = "wrote between the pixels";
  pthreadpool_destroy(pool);
  free(before);
  free(first);
  return fault;
}

const char *run_prepared(struct vn_prepared *p, struct fenced_tensor *out, struct random *r) {
  const char *fault = "unsound description of the prepared step";
  const bool pooled = p->run_pool != NULL;
  if (p->name[0] && pooled != (p->run != NULL) && (pooled || p->jobs) &&
      p->scratch_bytes % 64 == 0) {
    struct fence scratch;
    size_t *order = malloc((p->jobs + 1) * sizeof *order);
    fence_open(&scratch, p->scratch_bytes ? p->scratch_bytes : 64, true);
    fault = run_twice(p, out, r, order, (float *)scratch.data);
    fence_close(&scratch);
    free(order);
  }
  if (p->close) p->close(p->state);
  return fault;
}

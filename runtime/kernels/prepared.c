/* Runs a prepared step: its phases one after the other, each cut into jobs. For whoever has a step
 * in hand: exec.c, the trainer, the checker. */
#include "kernels.h"

struct crew { /* what a phase's jobs need */
  const struct vn_prepared *step;
  unsigned char *scratch;
  size_t first, each_bytes;
};

static void crew_job(void *context, size_t job, size_t slot) {
  const struct crew *c = context;
  c->step->run(c->step->state, c->first + job, c->scratch + slot * c->each_bytes);
}

size_t vn_prepared_phase(const struct vn_prepared *p, size_t first) {
  return p->phase ? p->phase(p->state, first) : p->jobs;
}

enum vn_status vn_prepared_run(const struct vn_prepared *p, struct vn_pool *pool, void *scratch,
                               size_t each_bytes, struct vn_watch *watch) {
  if (p->run_pool) return p->run_pool(p->state, pool, watch);
  const double base = watch ? watch->base : 0, share = watch ? watch->share : 0;
  for (size_t end, first = 0; first < p->jobs; first = end) {
    struct crew crew = {p, scratch, first, each_bytes};
    end = vn_prepared_phase(p, first);
    if (watch) {
      watch->base = base + share * (double)first / (double)p->jobs;
      watch->share = share * (double)(end - first) / (double)p->jobs;
    }
    if (!vn_pool_run_watched(pool, end - first, crew_job, &crew, watch)) break;
  }
  return VN_OK;
}

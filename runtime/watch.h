/* Who looks on while a call works: its cancel button and its progress. Made on the stack of each
 * public call that can be stopped; the pool looks at it between jobs, and on the calling thread
 * tells how far the call is. Private. */
#ifndef VNET_WATCH_H
#define VNET_WATCH_H

#include "fail.h"
#include "float_mode.h"
#include "vnet.h"

#include <stdatomic.h>

struct vn_cancel {
  atomic_bool pressed;
};

struct vn_watch {
  const struct vn_cancel *cancel;
  vn_progress_fn *progress;
  void *context;
  double base, share;  /* the work in hand goes from base to base + share of the call's */
  double told;         /* the fraction last told */
  uint64_t next_ns;    /* not to be told before */
  atomic_bool refused; /* progress said no */
  vn_float_mode host_mode;
  uint64_t memory_limit; /* as in struct vn_run_options */
};

/* Fills *watch from options of any age, or none. VN_E_ARGUMENT: they have no size. */
enum vn_status vn_watch_open(struct vn_watch *watch, const struct vn_run_options *run,
                             struct vn_diag *diag);

/* Shall the call end? From any thread; `watch` may be NULL. */
static inline bool vn_watch_stopped(const struct vn_watch *watch) {
  if (!watch) return false;
  return (watch->cancel && atomic_load_explicit(&watch->cancel->pressed, memory_order_relaxed)) ||
         atomic_load_explicit(&watch->refused, memory_order_relaxed);
}

/* On the calling thread, in any float mode: so much of the work in hand is done, in [0, 1]. Cheap;
 * most calls tell nobody. `watch` may be NULL. */
void vn_watch_tell(struct vn_watch *watch, double part);

/* VN_OK, or VN_E_CANCELLED with its sentence. Tells that all is done. */
enum vn_status vn_watch_close(struct vn_watch *watch, struct vn_diag *diag);

#endif

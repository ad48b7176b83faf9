/* How far a segmentation is, and whether it shall end: its cancel button and progress over all its
 * parts, each of which is weighed beforehand. Private. */
#ifndef VNET_STAGE_H
#define VNET_STAGE_H

#include "fail.h"
#include "float_mode.h"
#include "vnet.h"

struct vn_stage {
  struct vn_exec *exec; /* lends its threads; NULL: the calling one alone */
  struct vn_cancel *cancel;
  vn_progress_fn *progress;
  void *context;
  double all, done, weight; /* of the work; of the part in hand */
  double told;
  uint64_t next_ns;
  bool refused; /* progress said no */
  vn_float_mode host_mode;
};

/* The next part weighs so much; the one before is done. */
void vn_stage_begin(struct vn_stage *stage, double weight);

/* So much of the part in hand is done, in [0, 1]; on the calling thread. False: stop. `stage` may
 * be NULL. */
bool vn_stage_tell(struct vn_stage *stage, double part);

/* fn for every job, over the exec's threads; the part in hand goes from 0 to 1. VN_E_CANCELLED. */
enum vn_status vn_stage_jobs(struct vn_stage *stage, size_t jobs,
                             void (*fn)(void *context, size_t job), void *context,
                             struct vn_diag *diag);

/* A run of the network as the part in hand, on what lies in the arena. */
enum vn_status vn_stage_network(struct vn_stage *stage, struct vn_diag *diag);

/* Of a clock that never goes back. */
uint64_t vn_stage_now_ns(void);

/* VN_E_CANCELLED and its sentence. */
enum vn_status vn_stage_cancelled(struct vn_diag *diag);

#endif

/* Progress and cancelling over the parts of a segmentation; see stage.h. */
#include "stage.h"

#include "os.h"

static const uint64_t TELL_NS = 30000000;

uint64_t vn_stage_now_ns(void) {
  return vn_os_now_ns();
}

void vn_stage_begin(struct vn_stage *stage, double weight) {
  if (!stage) return;
  stage->done += stage->weight;
  stage->weight = weight;
}

bool vn_stage_tell(struct vn_stage *stage, double part) {
  if (!stage) return true;
  if (stage->refused || (stage->cancel && vn_cancel_pressed(stage->cancel))) return false;
  double fraction = (stage->done + stage->weight * part) / (stage->all > 0 ? stage->all : 1);
  if (fraction > 1) fraction = 1; /* by rounding */
  if (!stage->progress || fraction <= stage->told) return true;
  uint64_t now = vn_stage_now_ns();
  if (now < stage->next_ns && fraction < 1) return true;
  stage->next_ns = now + TELL_NS;
  stage->told = fraction;
  vn_float_mode ours = vn_float_mode_get();
  vn_float_mode_restore(stage->host_mode);
  stage->refused = stage->progress(stage->context, stage->told) != 0;
  vn_float_mode_restore(ours);
  return !stage->refused;
}

static int forward(void *context, double fraction) {
  return !vn_stage_tell(context, fraction);
}

static struct vn_run_options run_options(struct vn_stage *stage) {
  return (struct vn_run_options){.size = sizeof(struct vn_run_options),
                                 .cancel = stage->cancel,
                                 .progress = forward,
                                 .progress_context = stage};
}

enum vn_status vn_stage_cancelled(struct vn_diag *diag) {
  return vn_fail(diag, VN_E_CANCELLED, "cancelled");
}

enum vn_status vn_stage_jobs(struct vn_stage *stage, size_t jobs,
                             void (*fn)(void *context, size_t job), void *context,
                             struct vn_diag *diag) {
  if (stage && stage->exec) {
    const struct vn_run_options run = run_options(stage);
    return vn_exec_parallel(stage->exec, jobs, fn, context, &run, diag);
  }
  for (size_t job = 0; job < jobs; job++) {
    fn(context, job);
    if (!vn_stage_tell(stage, (double)(job + 1) / (double)jobs)) return vn_stage_cancelled(diag);
  }
  return VN_OK;
}

enum vn_status vn_stage_network(struct vn_stage *stage, struct vn_diag *diag) {
  const struct vn_run_options run = run_options(stage);
  return vn_exec_run_with(stage->exec, NULL, NULL, &run, diag);
}

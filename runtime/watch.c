/* Cancel buttons and progress; see watch.h. */
#include "watch.h"

#include "options.h"
#include "os.h"

#include <stdlib.h>

static const uint64_t TELL_NS = 30000000;

enum vn_status vn_cancel_create(struct vn_cancel **cancel, struct vn_diag *diag) {
  *cancel = malloc(sizeof **cancel);
  if (!*cancel) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  atomic_init(&(*cancel)->pressed, false);
  return VN_OK;
}

void vn_cancel_press(struct vn_cancel *cancel) {
  atomic_store(&cancel->pressed, true);
}

bool vn_cancel_pressed(const struct vn_cancel *cancel) {
  return atomic_load(&cancel->pressed);
}

void vn_cancel_close(struct vn_cancel **cancel) {
  if (!cancel) return;
  free(*cancel);
  *cancel = NULL;
}

enum vn_status vn_watch_open(struct vn_watch *watch, const struct vn_run_options *run,
                             struct vn_diag *diag) {
  struct vn_run_options mine;
  *watch = (struct vn_watch){.share = 1, .host_mode = vn_float_mode_get()};
  atomic_init(&watch->refused, false);
  enum vn_status status = vn_options_take(&mine, sizeof mine, run, "vn_run_options", diag);
  watch->cancel = mine.cancel;
  watch->progress = mine.progress;
  watch->context = mine.progress_context;
  watch->memory_limit = mine.memory_limit_bytes;
  return status;
}

/* In the host's own float mode, for it is the host's code. */
static void tell(struct vn_watch *watch, double fraction) {
  vn_float_mode now = vn_float_mode_get();
  vn_float_mode_restore(watch->host_mode);
  if (watch->progress(watch->context, fraction)) atomic_store(&watch->refused, true);
  vn_float_mode_restore(now);
  watch->told = fraction;
}

void vn_watch_tell(struct vn_watch *watch, double part) {
  if (!watch || !watch->progress || vn_watch_stopped(watch)) return;
  uint64_t now = vn_os_now_ns();
  double fraction = watch->base + watch->share * part;
  if (now < watch->next_ns || fraction < watch->told) return;
  watch->next_ns = now + TELL_NS;
  tell(watch, fraction < 1 ? fraction : 1);
}

enum vn_status vn_watch_close(struct vn_watch *watch, struct vn_diag *diag) {
  if (!vn_watch_stopped(watch) && watch->progress) tell(watch, 1);
  if (vn_watch_stopped(watch)) return vn_fail(diag, VN_E_CANCELLED, "cancelled");
  return VN_OK;
}

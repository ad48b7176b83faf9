/* A plan in memory, private to the runtime. plan_load.c opens it, plan_check.c proves its steps,
 * packed.c keeps the kernels' weights, exec.c runs it and relies on all that schemas/plan.md
 * promises. */
#ifndef VNET_PLAN_LOAD_H
#define VNET_PLAN_LOAD_H

#include "fail.h"
#include "plan.h"
#include "vnet.h"

struct vn_packed;

struct vn_plan {
  const uint8_t *bytes;
  size_t size;
  void *own; /* bytes are our own pages; NULL: borrowed */
  size_t own_map_bytes;
  struct vn_packed *packed; /* the only part that changes while a plan is open */
  const struct plan_header *header;
  const struct plan_buffer *buffers;
  const struct plan_tensor *tensors;
  const struct plan_step *steps;
  const struct plan_weight *weights;
  const struct plan_port *ports;
  const struct plan_meta *metas;
  const struct plan_end *ends;
  const struct plan_threshold *thresholds;
  const char *strings;
  uint64_t tables_end; /* of all of these, in the file: weights lie behind it */
};

/* plan_check.c: steps, against tables that plan_load.c has checked already. */
enum vn_status vn_plan_check_steps(const struct vn_plan *plan, struct vn_diag *diag);

/* Reserved words must be 0 unless a later minor version gave them a meaning. */
static inline bool plan_reserved_ok(const struct vn_plan *plan, const void *words, size_t bytes) {
  const uint8_t *p = words;
  if (plan->header->minor > PLAN_MINOR) return true;
  for (size_t i = 0; i < bytes; i++)
    if (p[i]) return false;
  return true;
}

/* The port's record. index < vn_plan_inputs / vn_plan_outputs. */
const struct plan_port *vn_plan_port(const struct vn_plan *plan, bool is_output, size_t index);

#endif

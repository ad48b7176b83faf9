/* Private to the runtime: what an exec holds, how its steps get their kernels, and a hook for
 * tests. */
#ifndef VNET_EXEC_H
#define VNET_EXEC_H

#include "kernels/kernels.h"
#include "plan_load.h"

struct vn_exec {
  const struct vn_plan *plan;
  const struct vn_simd *simd; /* NULL: plain C only */
  struct vn_pool *pool;
  size_t threads;
  uint8_t *arena, *scratch; /* scratch: scratch_bytes for each thread, then shared_bytes */
  size_t arena_map_bytes, scratch_map_bytes, scratch_bytes, shared_bytes;
  uint64_t packed_bytes, state_bytes; /* of all steps' kernels */
  uint64_t limit_bytes;
  bool limited; /* by the caller; else by what was free */
  size_t n_prepared;
  struct vn_prepared *prepared; /* one per step of the plan */
  uint64_t *last_ns;
  bool poison;
};

/* choose.c: the kernel of step `index`, over an arena that begins at `arena`. */
enum vn_status vn_exec_choose(const struct vn_exec *exec, size_t index,
                              struct vn_prepared *prepared, struct vn_diag *diag);

/* exec_io.c: the plan's tensor as a view of the arena; a port's dense array into it, or out of
 * it. */
struct vn_tensor vn_exec_tensor(const struct vn_exec *exec, uint32_t id);
void vn_exec_copy_port(const struct vn_exec *exec, const struct plan_port *port, const void *source,
                       void *target);

/* For tests: before each run and around each step, whatever holds no live tensor is filled with
 * NaN, so that a kernel that reads it shows in the output. */
void vn_exec_poison(struct vn_exec *exec, bool on);

#endif

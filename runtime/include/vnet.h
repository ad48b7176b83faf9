/* V-Net runtime: opens a plan written by vnetc and runs it.
 *
 * This is the whole public interface. A plan is immutable and may be shared by threads; an exec
 * owns its memory and runs one call at a time. Nothing here prints, exits, reads the environment or
 * keeps a global. Every function that can fail returns an enum vn_status and leaves one sentence in
 * `diag`, which may be NULL. Results are bit-identical for any number of threads and from run to
 * run; between instruction sets they differ within rounding.
 *
 *   struct vn_plan *plan = NULL; struct vn_exec *exec = NULL; struct vn_diag diag;
 *   if (vn_plan_open("plan.bin", &plan, &diag) || vn_exec_open(plan, NULL, &exec, &diag)) …
 *   const void *in[] = {scan}; void *out[] = {scores};
 *   if (vn_exec_run(exec, in, out, &diag)) …
 *   vn_exec_close(&exec); vn_plan_close(&plan); */
#ifndef VNET_H
#define VNET_H

#include "status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VN_API __attribute__((visibility("default")))

#define VN_VERSION_MAJOR 0
#define VN_VERSION_MINOR 1
#define VN_VERSION_PATCH 0

/* "0.1.0": the version of the library that is linked, not of this header. Static. */
VN_API const char *vn_version(void);

/* "unsupported" and so on; static, never NULL. */
VN_API const char *vn_status_text(enum vn_status status);

/* ---- plan ---- */

struct vn_plan;

/* Maps the file and validates all of it once. Sets *plan, which the caller owns, or leaves it NULL.
 * VN_E_IO: cannot be read; VN_E_FORMAT: not a plan, truncated, or damaged; VN_E_UNSUPPORTED: made
 * for another version of the format. A plan may come from a stranger. */
VN_API enum vn_status vn_plan_open(const char *path, struct vn_plan **plan, struct vn_diag *diag);

/* As vn_plan_open, for a plan already in memory: borrows `bytes` (64-byte aligned) until the plan
 * is closed. */
VN_API enum vn_status vn_plan_open_memory(const void *bytes, size_t size, struct vn_plan **plan,
                                          struct vn_diag *diag);

/* Frees the plan and sets *plan to NULL. Accepts NULL and half-built objects. Execs that were
 * opened on the plan must be closed first. */
VN_API void vn_plan_close(struct vn_plan **plan);

enum vn_type { VN_TYPE_F32, VN_TYPE_I64 };

/* An input or output of the network, as the ONNX model declares it. Strings belong to the plan. */
struct vn_port {
  const char *name;
  enum vn_type type;
  size_t rank;   /* 1 to 6 */
  size_t dim[6]; /* a scan network: n c d h w */
  size_t elems;  /* product of dim */
};

VN_API size_t vn_plan_inputs(const struct vn_plan *plan);
VN_API size_t vn_plan_outputs(const struct vn_plan *plan);
VN_API struct vn_port vn_plan_input(const struct vn_plan *plan, size_t index);
VN_API struct vn_port vn_plan_output(const struct vn_plan *plan, size_t index);

/* The metadata that travelled with the model ("vnet.spacing_mm" …); NULL when absent. */
VN_API const char *vn_plan_meta(const struct vn_plan *plan, const char *key);

/* What the compiler recognised ("vnet width=16 stages=5 …" or "any"), and the file's checksum. */
VN_API const char *vn_plan_topology(const struct vn_plan *plan);
VN_API uint64_t vn_plan_checksum(const struct vn_plan *plan);

/* The validated file itself, for tools that print it: records as in schemas/plan.h. */
VN_API const void *vn_plan_bytes(const struct vn_plan *plan, size_t *size);

/* ---- exec ---- */

struct vn_exec;

struct vn_exec_options {
  size_t threads;  /* 0: one for each core that the process may use */
  const char *isa; /* NULL: the best here; "avx512", "avx2", "neon", "portable", "ref" */
  uint64_t
      memory_limit_bytes; /* 0: none; else VN_E_MEMORY, with the figure needed, when exceeded */
};

/* Allocates everything that running takes: arena, scratch, packed weights, threads. Borrows the
 * plan until closed. `options` may be NULL for the defaults. */
VN_API enum vn_status vn_exec_open(const struct vn_plan *plan,
                                   const struct vn_exec_options *options, struct vn_exec **exec,
                                   struct vn_diag *diag);
VN_API void vn_exec_close(struct vn_exec **exec);

/* Runs the network once. inputs[i] and outputs[i] are dense C-order arrays of the i-th port's type
 * and shape, not overlapping; the call neither allocates nor keeps a pointer. Not to be called from
 * two threads at once on one exec. VN_E_CANCELLED after vn_exec_cancel. */
VN_API enum vn_status vn_exec_run(struct vn_exec *exec, const void *const inputs[],
                                  void *const outputs[], struct vn_diag *diag);

/* The network's first input or output inside the arena, for callers that read or fill it in place:
 * element (n, c, d, h, w) is data[(((n*D + d)*H + h)*W + w) * pixel_stride + c]. */
struct vn_buffer {
  void *data;    /* float; for type VN_TYPE_I64: int32_t */
  size_t dim[5]; /* n c d h w */
  size_t pixel_stride;
};
VN_API struct vn_buffer vn_exec_input(struct vn_exec *exec, size_t index);
VN_API struct vn_buffer vn_exec_output(struct vn_exec *exec, size_t index);

/* Runs on what lies in the arena: fill every vn_exec_input first (a run may overwrite it), read
 * vn_exec_output before the next run. Otherwise as vn_exec_run. */
VN_API enum vn_status vn_exec_run_in_place(struct vn_exec *exec, struct vn_diag *diag);

/* Makes the run that is under way, or the next one, stop soon with VN_E_CANCELLED. May be called
 * from any thread and from a signal handler. */
VN_API void vn_exec_cancel(struct vn_exec *exec);

/* fn(context, job) for every job in [0, jobs), spread over the exec's threads; returns when all are
 * done. For a caller's own work between runs, so that one pool serves everything. */
VN_API void vn_exec_parallel(struct vn_exec *exec, size_t jobs,
                             void (*fn)(void *context, size_t job), void *context);

struct vn_exec_info {
  const char *isa; /* the one chosen; static */
  size_t threads;
  uint64_t arena_bytes, scratch_bytes, packed_bytes; /* scratch: all threads together */
};
VN_API struct vn_exec_info vn_exec_info(const struct vn_exec *exec);

struct vn_step_info {
  const char *name;   /* the layer's name in the model; belongs to the plan */
  const char *op;     /* "conv3d" …; static */
  const char *kernel; /* "winograd 4x4x4 avx512" …; belongs to the exec */
  uint64_t macs;      /* multiply-adds of the direct algorithm */
  uint64_t last_ns;   /* wall time in the latest run */
  uint64_t predicted_ns;
};
VN_API size_t vn_exec_steps(const struct vn_exec *exec);
VN_API struct vn_step_info vn_exec_step(const struct vn_exec *exec, size_t index);

#ifdef __cplusplus
}
#endif

#endif

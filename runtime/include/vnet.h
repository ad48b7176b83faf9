/* V-Net runtime: opens a plan written by vnetc and runs it on tensors.
 *
 * Whole scans, in a host's own voxels, are vnet_segment.h's; files vnet_scan.h's. Both stand on
 * this header. Nothing here prints, exits, reads the environment or keeps a global. Every function
 * that can fail returns an enum vn_status and leaves one sentence in `diag`, which may be NULL.
 *
 * - Threads. A plan may be shared by any number of threads. An exec owns its memory and runs one
 *   call at a time. A vn_cancel may be pressed from any thread at any time until it is closed.
 * - Bits. Results are the same for any number of threads, from run to run, and on every platform;
 *   instruction sets with fused multiply-add (avx512, avx2, neon) and those without (portable)
 *   differ within rounding. The rounding mode and the flush of denormals that the host has set do
 *   not matter, and are as they were when a call returns.
 * - Fork. Plans and execs work on in a forked child: threads are started again by the first run
 *   there. Fork while no call on them is under way in another thread.
 * - Growth. Structs that begin with `size` may grow: set it to the struct's sizeof, and everything
 *   that is not used to 0, which is the default. The others stay as they are.
 *
 *   struct vn_plan *plan = NULL; struct vn_exec *exec = NULL; struct vn_diag diag;
 *   if (vn_plan_open("plan.bin", &plan, &diag) || vn_exec_open(plan, NULL, &exec, &diag)) …
 *   const void *in[] = {scan}; void *out[] = {scores};
 *   if (vn_exec_run(exec, in, out, &diag)) …
 *   vn_exec_close(&exec); vn_plan_close(&plan); */
#ifndef VNET_H
#define VNET_H

#include "vnet_status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(VN_BUILDING)
#define VN_API __declspec(dllexport)
#elif defined(_WIN32) && !defined(VN_STATIC) /* VN_STATIC: the host links the static library */
#define VN_API __declspec(dllimport)
#elif defined(__GNUC__)
#define VN_API __attribute__((visibility("default")))
#else
#define VN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define VN_VERSION_MAJOR 0
#define VN_VERSION_MINOR 2
#define VN_VERSION_PATCH 0

/* "0.2.0": the version of the library that is linked, not of this header. Static. */
VN_API const char *vn_version(void);

/* "unsupported" and so on; static, never NULL. */
VN_API const char *vn_status_text(enum vn_status status);

/* ---- cancelling, progress ---- */

/* A button for one call: give a new one to each run or opening that shall be stoppable, and press
 * it from any thread or a signal handler. It stays pressed, and touches no other call. The call
 * ends with VN_E_CANCELLED, within milliseconds at any size; a press after the call is without
 * effect. */
struct vn_cancel;

/* Sets *cancel, which the caller owns and closes after the call has returned. VN_E_MEMORY. */
VN_API enum vn_status vn_cancel_create(struct vn_cancel **cancel, struct vn_diag *diag);
VN_API void vn_cancel_press(struct vn_cancel *cancel);
VN_API bool vn_cancel_pressed(const struct vn_cancel *cancel);
/* Accepts NULL; sets *cancel to NULL. */
VN_API void vn_cancel_close(struct vn_cancel **cancel);

/* Called on the thread that made the call, a few times a second, with the share of the work that is
 * done: it grows from 0 to 1. Any value but 0 ends the call with VN_E_CANCELLED. */
typedef int vn_progress_fn(void *context, double fraction);

struct vn_run_options {
  size_t size;              /* sizeof(struct vn_run_options) */
  struct vn_cancel *cancel; /* NULL: cannot be stopped; borrowed during the call */
  vn_progress_fn *progress; /* NULL: nobody asks */
  void *progress_context;
  /* Of a call that reads a file into memory, vn_plan_open_with and vn_scan_load: what it may take.
   * 0: what is free at that moment (vn_memory_free); UINT64_MAX: no limit. */
  uint64_t memory_limit_bytes;
};

/* ---- memory ---- */

/* Bytes that the process may still take: what the machine has available, or what the process's
 * control groups or its limit of address space leave, if that is less. Limits of 0 stand for it, so
 * that nothing which a stranger sends (a plan, a scan) takes more than there is: it is refused
 * beforehand, with the figure. */
VN_API uint64_t vn_memory_free(void);

/* ---- plan ---- */

struct vn_plan;

/* Reads the file into memory and validates all of it once: afterwards the file may be overwritten,
 * cut short or deleted. Sets *plan, which the caller owns, or leaves it NULL. VN_E_IO: cannot be
 * read; VN_E_FORMAT: not a plan, truncated, or damaged; VN_E_UNSUPPORTED: made for another version
 * of the format; VN_E_MEMORY. A plan may come from a stranger. */
VN_API enum vn_status vn_plan_open(const char *path, struct vn_plan **plan, struct vn_diag *diag);

/* The same, stoppable: VN_E_CANCELLED. `run` may be NULL. */
VN_API enum vn_status vn_plan_open_with(const char *path, const struct vn_run_options *run,
                                        struct vn_plan **plan, struct vn_diag *diag);

/* For a plan that is in memory already, part of a program perhaps: borrows `bytes` until the plan
 * is closed. Where they are not aligned to 64 bytes it makes a copy. */
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

/* What an output says of a voxel, as the compiler read it off the network's end. */
enum vn_meaning {
  VN_MEANS_UNSAID,     /* a plan of an older compiler */
  VN_MEANS_SCORES,     /* labels that exclude each other: the highest channel */
  VN_MEANS_SOFTMAX,    /* the same, as probabilities */
  VN_MEANS_LOGSOFTMAX, /* the same, as their logarithms */
  VN_MEANS_REGIONS,    /* each channel on its own: inside, from its threshold on */
  VN_MEANS_FOREGROUND, /* probabilities of all labels but the background, which has the rest of 1 */
  VN_MEANS_LABELS      /* label values */
};
VN_API enum vn_meaning vn_plan_meaning(const struct vn_plan *plan, size_t output);
/* Of an output that is VN_MEANS_REGIONS; else 0.5. */
VN_API float vn_plan_threshold(const struct vn_plan *plan, size_t output, size_t channel);

/* The metadata that travelled with the model ("vnet.spacing_mm" …); NULL when absent. */
VN_API const char *vn_plan_meta(const struct vn_plan *plan, const char *key);

/* What the compiler recognised ("vnet width=16 stages=5 …" or "any"), and the file's checksum. */
VN_API const char *vn_plan_topology(const struct vn_plan *plan);
VN_API uint64_t vn_plan_checksum(const struct vn_plan *plan);

/* The validated file itself, for tools that print it: records as in schemas/plan.h. To be asked
 * before an exec is opened, which takes the weights of a file's plan out of it. */
VN_API const void *vn_plan_bytes(const struct vn_plan *plan, size_t *size);

/* ---- exec ---- */

struct vn_exec;

struct vn_exec_options {
  size_t size;     /* sizeof(struct vn_exec_options) */
  size_t threads;  /* 0: one for each core that the process may use */
  const char *isa; /* NULL: the best here; "avx512", "avx2", "neon", "portable", "ref" */
  /* VN_E_MEMORY, with the figure needed, when exceeded. 0: what is free when the exec is opened
   * (vn_memory_free); UINT64_MAX: no limit. */
  uint64_t memory_limit_bytes;
  struct vn_cancel *cancel; /* of opening, as are the next two; see struct vn_run_options */
  vn_progress_fn *progress;
  void *progress_context;
};

/* Allocates everything that running takes: arena, scratch, threads, and the weights as kernels want
 * them, which stay with the plan until it is closed and serve every exec on it with that
 * instruction set. Borrows the plan until closed. `options` may be NULL for the defaults.
 *
 * VN_E_ARGUMENT: no such instruction set, or more threads than 64 or 8 for each core;
 * VN_E_UNSUPPORTED: this machine lacks the instruction set, or the plan, opened from a file, has
 * given its weights to another one: open the file again; VN_E_MEMORY: also a thread that cannot be
 * started, unless `threads` is 0, where the exec takes those that start; VN_E_CANCELLED. */
VN_API enum vn_status vn_exec_open(const struct vn_plan *plan,
                                   const struct vn_exec_options *options, struct vn_exec **exec,
                                   struct vn_diag *diag);
VN_API void vn_exec_close(struct vn_exec **exec);

struct vn_exec_info {
  const char *isa; /* the one chosen; static */
  size_t threads;
  /* scratch: all threads together; packed: weights as kernels want them, which execs on one plan
   * share. */
  uint64_t arena_bytes, scratch_bytes, packed_bytes;
};
VN_API struct vn_exec_info vn_exec_info(const struct vn_exec *exec);

/* What vn_exec_open with these options would take, without taking it. */
VN_API enum vn_status vn_exec_measure(const struct vn_plan *plan,
                                      const struct vn_exec_options *options,
                                      struct vn_exec_info *info, struct vn_diag *diag);

/* Runs the network once. inputs[i] and outputs[i] are dense C-order arrays of the i-th port's type
 * and shape, not overlapping; the call neither allocates nor keeps a pointer. Not to be called from
 * two threads at once on one exec. */
VN_API enum vn_status vn_exec_run(struct vn_exec *exec, const void *const inputs[],
                                  void *const outputs[], struct vn_diag *diag);

/* The same, stoppable and with progress. `inputs` NULL: runs on what lies in every vn_exec_input (a
 * run may overwrite it); `outputs` NULL: leaves the result in vn_exec_output until the next run.
 * `run` may be NULL. VN_E_CANCELLED: outputs hold nothing of use; the next run is not touched. */
VN_API enum vn_status vn_exec_run_with(struct vn_exec *exec, const void *const inputs[],
                                       void *const outputs[], const struct vn_run_options *run,
                                       struct vn_diag *diag);

/* The network's input or output inside the arena, for callers that read or fill it in place:
 * element (n, c, d, h, w) is data[(((n*D + d)*H + h)*W + w) * pixel_stride + c]. */
struct vn_buffer {
  void *data;    /* float; for type VN_TYPE_I64: int32_t */
  size_t dim[5]; /* n c d h w */
  size_t pixel_stride;
};
VN_API struct vn_buffer vn_exec_input(struct vn_exec *exec, size_t index);
VN_API struct vn_buffer vn_exec_output(struct vn_exec *exec, size_t index);

/* fn(context, job) for every job in [0, jobs), in any order, spread over the exec's threads;
 * returns when all are done. For a caller's own work between runs, so that one pool serves
 * everything. `run` may be NULL; VN_E_CANCELLED: not every job was done. */
VN_API enum vn_status vn_exec_parallel(struct vn_exec *exec, size_t jobs,
                                       void (*fn)(void *context, size_t job), void *context,
                                       const struct vn_run_options *run, struct vn_diag *diag);

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

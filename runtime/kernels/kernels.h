/* The kernel contract: what exec hands to a kernel, and what a kernel hands back.
 *
 * A kernel is prepared once per step when an exec is opened (weights packed, scratch sized, work
 * cut into jobs) and then run any number of times without allocating. README.md explains how to add
 * one. */
#ifndef VNET_KERNELS_H
#define VNET_KERNELS_H

#include "fail.h"
#include "pool.h"
#include "types.h"

#include <stdbool.h>
#include <stddef.h>

/* An activation in the arena: element (n, c, d, h, w) is
 * data[(((n*dim[D] + d)*dim[H] + h)*dim[W] + w) * stride + c]. Nothing is read or written between
 * dim[VN_C] and stride: those channels belong to another tensor of the same concat. */
struct vn_tensor {
  void *data; /* float, or int32_t for labels */
  size_t dim[VN_AXES];
  size_t stride; /* elements from one pixel to the next */
};

/* y = act1(act0(x + bias) + residual). `bias` and PReLU's `slope` hold one float per output
 * channel. The residual has the output's d, h, w and n, and its channel c is channel
 * c % residual.dim[VN_C]; data NULL: none. The residual never overlaps the output, unless it is the
 * very same tensor (in place: each element is read before it is written). */
struct vn_epilogue {
  const float *bias; /* NULL: none */
  struct {
    uint32_t kind; /* enum vn_act without LEAKY */
    const float *slope;
    float alpha;
  } act[2];
  struct vn_tensor residual;
};

/* Conv and transposed conv. weight: [out c][kd][kh][kw][in c / groups], dense, for both. `pad` is
 * the padding before each axis; what lies outside the input counts as zero, so that the padding
 * after an axis follows from the output's size. Axes of the arrays: d, h, w. A kernel that packs
 * does not look at `weight`, which may be NULL. */
struct vn_conv {
  struct vn_tensor in, out;
  const float *weight;
  size_t kernel[3], stride[3], pad[3], dilation[3], groups;
  size_t tile[3]; /* of winograd, which declines what has none: outputs along each axis */
  struct vn_epilogue epilogue;
};

/* SAMPLE's table of one axis: for each index of the output, `taps` pairs of index and weight. */
struct vn_table {
  const float *pairs; /* NULL: the axis stays as it is */
  size_t taps;
};

/* Every other op. AFFINE, INSTNORM: scale and shift. CONST: scale holds the values. SOFTMAX,
 * LOGSOFTMAX, ARGMAX: axis; the first two also go along each axis a with bit a in more_axes. COPY:
 * copy. The pointers that an op does not use are NULL. For ACT, AFFINE, INSTNORM, ADD, MAP, BINARY
 * and PRELU the output may be the very same tensor as in[0] (ADD: or in[1]); else it never overlaps
 * an input. ADD, BINARY, PRELU: in[1] broadcasts along axes of size 1, and channel c reads c %
 * in[1].dim[VN_C]. */
struct vn_simple {
  uint32_t op;
  struct vn_tensor in[2], out;
  const float *scale, *shift;
  float epsilon;
  uint32_t axis, select_last, more_axes;
  bool to_i32;   /* CAST: float to int32_t; else the other way */
  size_t span;   /* INSTNORM: channels of a group, at least 1 */
  uint32_t kind; /* MAP: enum vn_map; BINARY: enum vn_binary */
  float a, b;    /* MAP: the function's numbers; SAMPLE: a is what index -1 stands for */
  bool largest;  /* SAMPLE: the largest, not the sum */
  struct vn_table table[VN_AXES]; /* SAMPLE */
  struct {
    size_t extent[VN_AXES], out_start[VN_AXES], in_start[VN_AXES], in_axis[VN_AXES];
  } copy;
  /* ACT: act[0]; ADD: act[1] after the sum of in[0] and in[1]; INSTNORM: all but the bias */
  struct vn_epilogue epilogue;
};

/* A prepared step. Either `run` for each job on any threads, in any order within a phase, or
 * `run_pool` once. The cut into jobs depends on the problem alone, never on the number of threads,
 * and no reduction crosses a job, so that results are bit-identical for any thread count.
 *
 * Most steps are one phase. Where jobs would do the same work again, an earlier phase does it once
 * and leaves the result in memory that all jobs of a run share. */
struct vn_prepared {
  char name[48]; /* for people: "winograd 4x4x4 avx512" */
  size_t jobs;   /* independent pieces of about equal cost, cut finely enough for 8 threads */
  size_t scratch_bytes; /* for each thread; a multiple of 64 */
  size_t shared_bytes; /* for all of a run's jobs, at 64-byte alignment; garbage at its beginning */
  size_t packed_bytes; /* what `pack` fills, at most; without it 0 */
  size_t state_bytes;  /* what `state` holds, where that is not a trifle: tables, copies */
  /* NULL: all jobs are one phase. Else the job behind the phase that begins with job `first`; those
   * below it are done before any of the others begins. */
  size_t (*phase)(const void *state, size_t first);
  void (*run)(const void *state, size_t job, void *scratch);
  enum vn_status (*run_pool)(void *state, struct vn_pool *pool, struct vn_watch *watch);
  void (*close)(void *state);
  /* Of kernels that want weights in an order of their own, NULL for others. pack: from the dense
   * ones to `memory`, packed_bytes at 64-byte alignment; the bytes depend on shape and instruction
   * set alone, so that states of one step may share them. False: `watch` (may be NULL) stopped it.
   * use: runs take them from there until the next call. */
  bool (*pack)(const void *state, struct vn_pool *pool, const float *weight, void *memory,
               struct vn_watch *watch);
  void (*use)(void *state, const void *memory);
  /* With shared_bytes: runs share that memory until the next call. */
  void (*share)(void *state, void *memory);
  void *state;
};

/* prepared.c: all of a step's jobs; scratch: each_bytes for each thread of the pool, which may be
 * NULL. Packed weights and shared memory have been handed over. What `watch` stopped, it shows. */
enum vn_status vn_prepared_run(const struct vn_prepared *prepared, struct vn_pool *pool,
                               void *scratch, size_t each_bytes, struct vn_watch *watch);
/* Of the phase that begins with job `first`: the job behind its last. */
size_t vn_prepared_phase(const struct vn_prepared *prepared, size_t first);

/* prepare functions return VN_E_UNSUPPORTED, with the reason, for a shape that the kernel does not
 * cover; they never write to the tensors. */
typedef enum vn_status vn_conv_prepare_fn(const struct vn_conv *conv, struct vn_prepared *prepared,
                                          struct vn_diag *diag);
typedef enum vn_status vn_simple_prepare_fn(const struct vn_simple *simple,
                                            struct vn_prepared *prepared, struct vn_diag *diag);

/* What one instruction set offers: simd/ compiled once per ISA with that ISA's flags. */
struct vn_simd {
  const char *name;              /* "avx512", "avx2", "neon", "wasm", "portable" */
  size_t lanes;                  /* floats per vector */
  vn_conv_prepare_fn *winograd;  /* stride 1, no groups, 5x5x5 or 3x3x3 */
  vn_conv_prepare_fn *lean;      /* no dilation, 5x5x5 on few tiles, weights as small as they are */
  vn_conv_prepare_fn *fft;       /* stride 1, no dilation, no groups, 5x5x5 */
  vn_conv_prepare_fn *depthwise; /* one channel in and out per group */
  vn_conv_prepare_fn *direct;    /* any convolution that fits its scratch */
  vn_conv_prepare_fn *pointwise; /* 1x1x1 */
  vn_conv_prepare_fn *down;      /* kernel = stride, no padding, no dilation, no groups */
  vn_conv_prepare_fn *up;        /* transposed, kernel = stride, no padding, no groups */
  vn_conv_prepare_fn *spread;    /* transposed, no dilation */
  vn_simple_prepare_fn *norm;    /* INSTNORM */
  vn_simple_prepare_fn *map;     /* MAP, BINARY */
  vn_simple_prepare_fn *sample;  /* SAMPLE */
  vn_simple_prepare_fn *elementwise; /* ACT, AFFINE, ADD */
  vn_simple_prepare_fn *softmax;     /* SOFTMAX, LOGSOFTMAX, ARGMAX over c */
};

/* F(isa) for each instruction set of this machine's family, best first. */
#if defined(__x86_64__)
#define VN_EACH_ISA(F) F(avx512) F(avx2) F(portable)
#elif defined(__aarch64__)
#define VN_EACH_ISA(F) F(neon) F(portable)
#elif defined(__wasm_simd128__) /* with the bits of the portable kernels, so in their place */
#define VN_EACH_ISA(F) F(wasm)
#else
#define VN_EACH_ISA(F) F(portable)
#endif

#define VN_SIMD_DECLARE(isa) extern const struct vn_simd vn_simd_##isa;
VN_EACH_ISA(VN_SIMD_DECLARE)

vn_conv_prepare_fn vn_conv_ref;   /* any convolution, plain C */
vn_conv_prepare_fn vn_deconv_ref; /* any transposed convolution */
vn_simple_prepare_fn vn_simple_ref;
#ifdef VN_XNNPACK
vn_conv_prepare_fn vn_conv_xnnpack; /* up to 16 groups, windows of 128 along w */
#endif

#endif

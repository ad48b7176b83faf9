/* Forward and backward of every operator of the family, on dense channels-last float tensors
 * (struct vn_tensor of the runtime's kernels, whose stride lets a tensor be a slice of a concat).
 * Called by net_run.c; conv.c has the convolutions, norm.c BatchNorm, pointwise.c the rest. Results
 * are bit-identical for any number of threads: work is cut by the size of a sample, sums are taken
 * in fixed parts of it and added in order, over samples in double. */
#ifndef VNET_TRAIN_OPS_H
#define VNET_TRAIN_OPS_H

#include "kernels/backward/backward.h"
#include "kernels/kernels.h"

/* Who computes. */
struct vnt_machine {
  const struct vn_simd *runtime;      /* its kernels, for convolutions in either direction */
  const struct vn_backward *training; /* what training needs beside them */
  struct vn_pool *pool;
  size_t threads;
  /* A batch is spread over so many processes, 1: alone. With more, `sum` makes values[count] their
   * sums over all of them, for BatchNorm's statistics. */
  size_t processes;
  void (*sum)(void *context, double *values, size_t count);
  void *sum_context;
};

/* isa NULL: the best here; threads as for vn_pool_open. VN_E_UNSUPPORTED, VN_E_ARGUMENT,
 * VN_E_MEMORY. To be closed in any case. */
enum vn_status vnt_machine_open(const char *isa, size_t threads, struct vnt_machine *machine,
                                struct vn_diag *diag);
void vnt_machine_close(struct vnt_machine *machine);

/* Memory for something large, in large pages where the system has them; to be freed with free().
 * NULL: not to be had. */
void *vnt_memory(size_t bytes);

/* ---- activations ---- */

/* kind: VN_ACT_PRELU (slope [channels], which VNT_SLOPE_LEAST keeps away from 0) or VN_ACT_ELU. */
struct vnt_act {
  uint32_t kind;
  const float *slope;
  float alpha;
};

/* What PReLU got is known from what it gave, so that only that is kept: the sign tells the side,
 * and for a slope below 0 the last bit of the mantissa does. A slope must not be 0 for that. */
#define VNT_SLOPE_LEAST 1e-20f

/* y may be x. */
void vnt_act_forward(const struct vnt_machine *m, const struct vnt_act *act,
                     const struct vn_tensor *x, const struct vn_tensor *y);
/* dx (+)= dy * f', from the output y. Fills sum_dx[channels] with the sums of f' * dy (a bias
 * gradient) and, for PReLU, grad_slope[channels]; either may be NULL. dx may be dy. */
void vnt_act_backward(const struct vnt_machine *m, const struct vnt_act *act,
                      const struct vn_tensor *y, const struct vn_tensor *dy,
                      const struct vn_tensor *dx, bool add, double *scratch, double *sum_dx,
                      double *grad_slope);

/* ---- convolution, transposed convolution ---- */

/* Weights [out c][kd][kh][kw][in c], for both. The gradient of `in` is overwritten, or added to. */
struct vnt_conv_spec {
  bool transposed;
  struct vn_tensor in, out, grad_in, grad_out; /* grad_in.data NULL: not needed */
  size_t kernel[3], stride[3], pad[3];
  const float *weight, *bias; /* bias NULL: none */
  struct vnt_act act;         /* of the output; kind 0: none; not for slopes below 0 */
  float *grad_weight;         /* overwritten; NULL: */
  double *sum_weight;         /* is, instead: not rounded */
  bool add_grad_in;
};

struct vnt_conv;

/* VN_E_UNSUPPORTED: neither 3x3x3 or 5x5x5 of stride 1 nor kernel = stride. */
enum vn_status vnt_conv_open(const struct vnt_machine *machine, const struct vnt_conv_spec *spec,
                             struct vnt_conv **conv, struct vn_diag *diag);
void vnt_conv_close(struct vnt_conv **conv);

/* Either pass takes the weights and slopes as they are, and that many bytes of workspace, aligned
 * to 64, which convolutions may use in turn. Forward adds the activation; backward wants the
 * gradient before it. */
size_t vnt_conv_bytes(const struct vnt_conv *conv);
void vnt_conv_forward(struct vnt_conv *conv, void *workspace);
void vnt_conv_backward(struct vnt_conv *conv, void *workspace);
const char *vnt_conv_name(const struct vnt_conv *conv); /* "winograd 4x4x4 avx512 | …" */

/* ---- element by element ---- */

/* Scratch that sums over such a tensor take. */
size_t vnt_sums_bytes(const struct vn_tensor *x);

/* y (+)= x, channel c of y from channel c % x's channels. */
void vnt_add_forward(const struct vnt_machine *m, const struct vn_tensor *x,
                     const struct vn_tensor *y, bool add);
/* z = x + y of equal channels, and its activation if there is one; z may be either. */
void vnt_sum_forward(const struct vnt_machine *m, const struct vn_tensor *x,
                     const struct vn_tensor *y, const struct vn_tensor *z,
                     const struct vnt_act *act);
/* y (+)= scale[sample][channel] * x. y may be x. */
void vnt_scale(const struct vnt_machine *m, const struct vn_tensor *x, const float *scale,
               const struct vn_tensor *y, bool add);
/* dx (+)= dy, summed over the channels that x was repeated to. */
void vnt_add_backward(const struct vnt_machine *m, const struct vn_tensor *dy,
                      const struct vn_tensor *dx, bool add);

/* sums[channels] = sum over pixels. */
void vnt_channel_sums(const struct vnt_machine *m, const struct vn_tensor *x, double *scratch,
                      double *sums);

/* BatchNorm in training mode over n d h w, as PyTorch's: batch statistics with the population
 * variance; the running ones move by `momentum` towards the batch's, variance unbiased.
 *
 * `settled` is the share of the running statistics in those that normalise: mean = batch's +
 * settled (running - batch's), and 1 / sd likewise. 0: the batch's alone. 1: the running ones
 * alone, which then stay as they are (PyTorch's eval mode, scale and shift still trained). Between
 * the two it is one function that turns into the other; its gradient takes the running statistics
 * as given. */
struct vnt_norm {
  const float *scale, *shift; /* [channels] */
  float *running_mean, *running_var;
  float *batch_mean, *batch_inv_sd; /* [channels], kept for the backward pass, as are … */
  float *mean, *inv_sd;             /* … those that normalised */
  double epsilon, momentum, settled;
};
/* y may be x; act, if there is one, is done to it. */
void vnt_norm_forward(const struct vnt_machine *m, const struct vnt_norm *norm,
                      const struct vn_tensor *x, const struct vn_tensor *y,
                      const struct vnt_act *act, double *scratch);

/* An ELU behind a norm: its result and that one's gradient. */
struct vnt_norm_elu {
  const struct vnt_act *act;
  const struct vn_tensor *y, *dy;
};
/* With an ELU behind the norm (NULL: none) dy is written first: what that passes on. */
void vnt_norm_backward(const struct vnt_machine *m, const struct vnt_norm *norm,
                       const struct vn_tensor *x, const struct vn_tensor *dy,
                       const struct vn_tensor *dx, bool add, const struct vnt_norm_elu *elu,
                       double *scratch, double *grad_scale, double *grad_shift);

#endif

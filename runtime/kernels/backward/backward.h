/* What training adds to the runtime's kernels, one table per instruction set. Never part of the
 * runtime library: tools/train/net and tests/check use it. */
#ifndef VNET_BACKWARD_H
#define VNET_BACKWARD_H

#include "kernels/kernels.h"

/* A weight gradient, [out c][kd][kh][kw][in c], from what went into a convolution and the gradient
 * of what came out. Work is cut by one sample's size alone, and sums are added in one order: each
 * sample's in float, those of the samples in double, where their order hardly matters any more. */
struct vn_wgrad_spec {
  struct vn_tensor in, grad_out;
  size_t kernel[3], stride[3], pad[3];
  bool transposed;
  float *grad;    /* overwritten; NULL: */
  double *sum;    /* is, instead: not rounded, for other processes' samples to be added */
  size_t threads; /* which the work's memory is for */
};

static inline void vn_wgrad_put(const struct vn_wgrad_spec *spec, size_t at, double value) {
  if (spec->grad)
    spec->grad[at] = (float)value;
  else
    spec->sum[at] = value;
}

struct vn_wgrad {
  size_t bytes; /* of memory, aligned to 64, for a run */
  void (*run)(void *state, struct vn_pool *pool, void *memory);
  void (*close)(void *state);
  void *state;
  char name[48];
};

typedef enum vn_status vn_wgrad_fn(const struct vn_wgrad_spec *spec, struct vn_wgrad *wgrad,
                                   struct vn_diag *diag);

/* Element by element over pixels [begin, end); channel sums go to `sums`, doubles, which the caller
 * has cleared. All tensors have x's pixels and channels. */
struct vn_pixels {
  size_t begin, end, channels;
};

/* A step of AdamW: gradients are multiplied by `scale`, moments and weights by `keep`s, and the
 * second moment's root by `root`. */
struct vn_adamw {
  float scale, keep_first, keep_second, keep, step, root, epsilon;
  float *first, *second, *param;
  const float *grad;
};

struct vn_backward {
  const char *name;
  vn_wgrad_fn *winograd; /* stride 1, 3x3x3 and 5x5x5 */
  vn_wgrad_fn *product;  /* 1x1x1; kernel = stride, either direction */
  /* y = x > 0 ? x : slope[c] * x; ELU: alpha * (e^x - 1) for x <= 0. y may be x. `marked`: where
   * the slope is below 0, the last bit of y says whether x was. */
  void (*prelu)(const struct vn_pixels *p, const struct vn_tensor *x, const float *slope,
                bool marked, const struct vn_tensor *y);
  void (*elu)(const struct vn_pixels *p, const struct vn_tensor *x, float alpha,
              const struct vn_tensor *y);
  /* From the output y: dx (+)= dy * f'; sums[c] += dy * f', sums[channels + c] += the slope's
   * gradient times the slope. dx may be dy. ELU: sums may be NULL. */
  void (*prelu_back)(const struct vn_pixels *p, const struct vn_tensor *y, const float *slope,
                     bool marked, const struct vn_tensor *dy, const struct vn_tensor *dx, bool add,
                     double *sums);
  void (*elu_back)(const struct vn_pixels *p, const struct vn_tensor *y, float alpha,
                   const struct vn_tensor *dy, const struct vn_tensor *dx, bool add, double *sums);
  /* y (+)= scale[c] * x + shift[c]; scale NULL: 1, shift NULL: 0. */
  void (*affine)(const struct vn_pixels *p, const struct vn_tensor *x, const float *scale,
                 const float *shift, const struct vn_tensor *y, bool add);
  /* z = x + y. */
  void (*sum)(const struct vn_pixels *p, const struct vn_tensor *x, const struct vn_tensor *y,
              const struct vn_tensor *z);
  /* dx (+)= a[c] * dy + b[c] * x + d[c]: BatchNorm's backward pass. */
  void (*affine2)(const struct vn_pixels *p, const struct vn_tensor *dy, const float *a,
                  const struct vn_tensor *x, const float *b, const float *d,
                  const struct vn_tensor *dx, bool add);
  /* sums[c] += x; sums[channels + c] += x * (y - centre[c]), y NULL: x * x. */
  void (*moments)(const struct vn_pixels *p, const struct vn_tensor *x, const struct vn_tensor *y,
                  const float *centre, double *sums);
  /* Elements [begin, end). */
  void (*adamw)(const struct vn_adamw *a, size_t begin, size_t end);
};

/* Of the same instruction set; NULL: it has none. */
const struct vn_backward *vn_backward_of(const struct vn_simd *forward);

#define VN_BACKWARD_DECLARE(isa) extern const struct vn_backward vn_backward_##isa;
VN_EACH_ISA(VN_BACKWARD_DECLARE)

#endif

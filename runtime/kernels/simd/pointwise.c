/* Convolution 1x1x1: every pixel by one matrix. The product is product.c's. */
#include "product.h"

enum { LINE = 192 }; /* pixels; one tensor is one long line, cut for jobs */

static size_t in_at(const struct product *p, size_t line) {
  return line * LINE * p->in_step;
}
static size_t out_at(const struct product *p, size_t line) {
  (void)p;
  return line * LINE;
}

enum vn_status VN_ISA_NAME(pointwise)(const struct vn_conv *conv, struct vn_prepared *prepared,
                                      struct vn_diag *diag) {
  bool one = product_covers(conv);
  for (int i = 0; i < 3; i++)
    one = one && conv->kernel[i] == 1 && conv->in.dim[VN_D + i] == conv->out.dim[VN_D + i];
  if (!one) return vn_fail(diag, VN_E_UNSUPPORTED, "pointwise: 1x1x1, no groups");
  const enum vn_status few = VN_ISA_NAME(pointwise_few)(conv, prepared, diag);
  if (few != VN_E_UNSUPPORTED) return few;
#if VEC_LANES == 16
  if (conv->out.dim[VN_C] <= 8) return vn_pointwise_avx2(conv, prepared, diag);
#endif
  struct product *p = VN_ISA_NAME(product_new)(conv, 1, 1);
  if (!p) return vn_fail(diag, VN_E_MEMORY, "pointwise: out of memory");
  const size_t *dim = conv->out.dim;
  p->pixels = dim[VN_N] * dim[VN_D] * dim[VN_H] * dim[VN_W];
  p->line = LINE;
  p->in_step = conv->in.stride;
  p->out_step = 1;
  p->depth = conv->in.dim[VN_C];
  p->in_at = in_at;
  p->out_at = out_at;
  VN_ISA_NAME(product_prepare)(p, "pointwise", prepared);
  return VN_OK;
}

/* Transposed convolution whose kernel is its stride, without padding: every input pixel yields a
 * block of outputs, one product per tap. The product is product.c's. */
#include "product.h"

static size_t in_at(const struct product *p, size_t line) {
  return line * p->line * p->in_step;
}
static size_t out_at(const struct product *p, size_t line) {
  const struct vn_conv *c = &p->conv;
  const size_t *in = &c->in.dim[VN_D], *out = &c->out.dim[VN_D];
  const size_t h = line % in[1], nd = line / in[1], d = nd % in[0], n = nd / in[0];
  return ((n * out[0] + d * c->kernel[0]) * out[1] + h * c->kernel[1]) * out[2];
}

static void place_taps(struct product *p) {
  const struct vn_conv *c = &p->conv;
  for (size_t i = 0; i < p->taps; i++) {
    const size_t x = i % c->kernel[2], zy = i / c->kernel[2];
    const size_t y = zy % c->kernel[1], z = zy / c->kernel[1];
    p->tap_at[i] = (z * c->out.dim[VN_H] + y) * c->out.dim[VN_W] + x;
  }
}

enum vn_status VN_ISA_NAME(up)(const struct vn_conv *conv, struct vn_prepared *prepared,
                               struct vn_diag *diag) {
#if VEC_LANES == 16
  if (conv->out.dim[VN_C] <= 8) return vn_up_avx2(conv, prepared, diag);
#endif
  const size_t *k = conv->kernel, *dim = conv->in.dim;
  bool covers = product_covers(conv);
  for (int i = 0; i < 3; i++) covers = covers && dim[VN_D + i] * k[i] == conv->out.dim[VN_D + i];
  if (!covers) return vn_fail(diag, VN_E_UNSUPPORTED, "up: kernel = stride, no padding, no groups");
  struct product *p = VN_ISA_NAME(product_new)(conv, k[0] * k[1] * k[2], 1);
  if (!p) return vn_fail(diag, VN_E_MEMORY, "up: out of memory");
  p->line = dim[VN_W];
  p->pixels = dim[VN_N] * dim[VN_D] * dim[VN_H] * p->line;
  p->in_step = conv->in.stride;
  p->out_step = k[2];
  p->depth = dim[VN_C];
  p->in_at = in_at;
  p->out_at = out_at;
  place_taps(p);
  VN_ISA_NAME(product_prepare)(p, "up", prepared);
  return VN_OK;
}

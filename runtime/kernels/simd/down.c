/* Convolution whose kernel is its stride, without padding: blocks of pixels that do not overlap,
 * each read once, where it lies. The product is product.c's. */
#include "product.h"

static size_t in_at(const struct product *p, size_t line) {
  const struct vn_conv *c = &p->conv;
  const size_t *in = &c->in.dim[VN_D], *out = &c->out.dim[VN_D];
  const size_t h = line % out[1], nd = line / out[1], d = nd % out[0], n = nd / out[0];
  return ((n * in[0] + d * c->kernel[0]) * in[1] + h * c->kernel[1]) * in[2] * c->in.stride;
}
static size_t out_at(const struct product *p, size_t line) {
  return line * p->line;
}

static void place_segments(struct product *p, size_t runs) {
  const struct vn_conv *c = &p->conv;
  for (size_t i = 0; i < p->segments; i++) {
    const size_t x = i % runs, zy = i / runs, y = zy % c->kernel[1], z = zy / c->kernel[1];
    p->segment_at[i] = ((z * c->in.dim[VN_H] + y) * c->in.dim[VN_W] + x) * c->in.stride;
  }
}

enum vn_status VN_ISA_NAME(down)(const struct vn_conv *conv, struct vn_prepared *prepared,
                                 struct vn_diag *diag) {
#if VEC_LANES == 16
  if (conv->out.dim[VN_C] <= 8) return vn_down_avx2(conv, prepared, diag);
#endif
  const size_t *k = conv->kernel, *dim = conv->out.dim;
  bool covers = product_covers(conv);
  for (int i = 0; i < 3; i++) covers = covers && dim[VN_D + i] <= conv->in.dim[VN_D + i] / k[i];
  if (!covers)
    return vn_fail(diag, VN_E_UNSUPPORTED, "down: kernel = stride, no padding, no groups");
  /* Neighbours along w are one run of floats, unless another tensor's channels lie between. */
  const size_t runs = conv->in.stride == conv->in.dim[VN_C] ? 1 : k[2];
  struct product *p = VN_ISA_NAME(product_new)(conv, 1, k[0] * k[1] * runs);
  if (!p) return vn_fail(diag, VN_E_MEMORY, "down: out of memory");
  p->line = dim[VN_W];
  p->pixels = dim[VN_N] * dim[VN_D] * dim[VN_H] * p->line;
  p->in_step = k[2] * conv->in.stride;
  p->out_step = 1;
  p->depth = k[2] / runs * conv->in.dim[VN_C];
  p->in_at = in_at;
  p->out_at = out_at;
  place_segments(p, runs);
  VN_ISA_NAME(product_prepare)(p, "down", prepared);
  return VN_OK;
}

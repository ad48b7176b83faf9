/* The end of a convolution: activations and residual of many pixels, a few of them side by side,
 * and the store. A function of its own, for inlined it takes the kernels' registers. */
#include "epilogue.h"

VEC_INLINE void put(const struct vn_epi *b, const vec *x, const size_t n, float *to, size_t step,
                    bool stream) {
  VEC_EACH {
    if (stream)
      vec_stream(to + i * step, x[i]);
    else
      vec_store_k(to + i * step, x[i], b->count);
  }
}

/* n pixels, a constant. */
VEC_INLINE void some(const struct vn_epi *b, const struct vn_epi_pixels *p, const size_t n,
                     const float *sum, size_t pixel, float *to, size_t to_step, bool stream) {
  vec x[VEC_CHAINS];
  VEC_EACH x[i] = vec_load(sum + i * p->column_sum_step);
  vn_epi_apply_each(b, x, n, pixel, p->column_step);
  put(b, x, n, to, to_step, stream);
}

void vn_epi_finish(const struct vn_epi *restrict b, const struct vn_tensor *restrict out,
                   bool stream, const struct vn_epi_pixels *restrict p) {
  const size_t to_step = p->column_step * out->stride;
  stream = stream && b->count == VEC_LANES;
  for (size_t row = 0; row < p->rows; row++) {
    const float *sum = p->sum + row * p->row_sum_step;
    size_t k = 0, pixel = p->pixel + row * p->row_step;
    float *to = (float *)out->data + pixel * out->stride + b->channel;
    for (; k + VEC_CHAINS <= p->columns; k += VEC_CHAINS) {
      some(b, p, VEC_CHAINS, sum, pixel, to, to_step, stream);
      sum += VEC_CHAINS * p->column_sum_step;
      pixel += VEC_CHAINS * p->column_step;
      to += VEC_CHAINS * to_step;
    }
    for (; k < p->columns; k++, pixel += p->column_step, to += to_step) {
      some(b, p, 1, sum, pixel, to, 0, stream);
      sum += p->column_sum_step;
    }
  }
}

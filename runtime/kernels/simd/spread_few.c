/* Transposed convolution to a few outputs, with pixels in the lanes: three classes would leave most
 * of a vector of channels idle. Sums are in the order of spread.c's, and so are the bits. */
#include "spread.h"

enum { BLOCK = 4 }; /* vectors of pixels side by side */

/* Rows begin with a vector, and a block may look at more than there is. */
void spread_few_widen(struct spread *k) {
  k->lead = (k->lead + VEC_LANES - 1) / VEC_LANES * VEC_LANES;
  k->width = k->lead + k->conv.in.dim[VN_W] + k->zeros + BLOCK * VEC_LANES;
  k->width = (k->width / VEC_LANES | 1) * VEC_LANES;
}

/* ---- the input ---- */

void spread_turn(const struct spread *k, const float *from, float *row) {
  const size_t pixels = k->conv.in.dim[VN_W], stride = k->conv.in.stride;
  const size_t whole_pixels = pixels / VEC_LANES * VEC_LANES;
  const size_t whole = k->in_unit / VEC_LANES * VEC_LANES;
  for (size_t c = 0; c < k->in_unit; c++) {
    float *to = row + c * k->width;
    for (size_t x = 0; x < k->lead; x += VEC_LANES) vec_store(to + x, vec_zero());
    for (size_t x = 0; x < k->zeros; x++) to[k->lead + pixels + x] = 0;
    for (size_t x = c < whole ? whole_pixels : 0; x < pixels; x++)
      to[k->lead + x] = from[x * stride + c];
  }
  for (size_t c = 0; c < whole; c += VEC_LANES)
    for (size_t x = 0; x < whole_pixels; x += VEC_LANES) {
      float square[VEC_LANES * VEC_LANES];
      turn_in_square(from + x * stride + c, stride, square);
      for (size_t i = 0; i < VEC_LANES; i++)
        vec_store(row + (c + i) * k->width + k->lead + x, vec_load(square + i * VEC_LANES));
    }
}

/* ---- products ---- */

struct block {
  const struct spread *k;
  const struct spread_row *row;
  const float *u;  /* of the class */
  size_t at, taps; /* of the first pixel, and along w */
};

/* `vecs` vectors of pixels by `outputs` outputs, both constants. */
VEC_INLINE void sums(const struct block *b, const size_t outputs, const size_t vecs,
                     vec sum[BLOCK][FEW_OUTPUTS]) {
  const size_t channels = b->k->in_unit, width = b->k->width;
  VEC_UNROLL for (size_t v = 0; v < vecs; v++) VEC_UNROLL for (size_t o = 0; o < outputs; o++)
      sum[v][o] = vec_zero();
  for (size_t t = 0; t < b->row->count; t++) {
    const float *u = b->u + b->row->tap[t] * b->taps * channels * outputs;
    for (size_t x = 0; x < b->taps; x++) {
      const float *in = b->row->from[t] + b->at + x;
      for (size_t c = 0; c < channels; c++, in += width, u += outputs) {
        vec w[FEW_OUTPUTS];
        VEC_UNROLL for (size_t o = 0; o < outputs; o++) w[o] = vec_set1(u[o]);
        VEC_UNROLL for (size_t v = 0; v < vecs; v++) {
          const vec pixels = vec_load(in + v * VEC_LANES);
          VEC_UNROLL for (size_t o = 0; o < outputs; o++) sum[v][o] =
              vec_fma(pixels, w[o], sum[v][o]);
        }
      }
    }
  }
}

/* The outputs of one class as a tensor of their own, pixels in a line. */
static struct vn_conv line_of(const struct spread *k, const struct class *class, size_t pixel) {
  struct vn_conv line = k->conv;
  struct vn_tensor *out = &line.out, *more = &line.epilogue.residual;
  const size_t first = pixel + class->first, step = k->conv.stride[2];
  out->data = (float *)out->data + first * out->stride;
  out->stride *= step;
  if (!more->data) return line;
  more->data = (float *)more->data + first * more->stride;
  more->stride *= step;
  return line;
}

VEC_INLINE void class_run(struct block *b, const struct vn_conv *line, const size_t outputs,
                          size_t count) {
  const size_t first = b->at;
  for (size_t x = 0; x < count;) {
    const size_t left = count - x;
    vec y[BLOCK][FEW_OUTPUTS];
    size_t vecs = BLOCK;
    b->at = first + x;
    if (left > 2 * VEC_LANES)
      sums(b, outputs, BLOCK, y);
    else
      sums(b, outputs, vecs = 2, y);
    for (size_t v = 0; v < vecs && x < count; v++, x += VEC_LANES)
      turned_finish(line, outputs, x, smaller(count - x, VEC_LANES), y[v]);
  }
}

void spread_few_row(const struct spread *k, const struct spread_row *row, const struct class *class,
                    size_t pixel) {
  const struct vn_conv line = line_of(k, class, pixel);
  struct block b = {.k = k,
                    .row = row,
                    .u = k->packed + class->weight_at * k->out_unit,
                    .at = (size_t)((ptrdiff_t)k->lead + class->begin),
                    .taps = class->taps};
  switch (k->out_unit) {
#define CASE(O)                                                                                    \
  case O:                                                                                          \
    class_run(&b, &line, O, class->count);                                                         \
    break;
    EACH_FEW(CASE)
#undef CASE
  default:
    break;
  }
}

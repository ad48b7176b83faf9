/* The output side of the FFT convolution: back along h and d, epilogue and store. Called by
 * fft.c and, in its two halves, by fft_head.c. */
#include "fft.h"

/* Real frequencies along d, 0 or 10: from half of those along h. */
VEC_INLINE void back_h_real(const float *in, size_t row, size_t im, float *out) {
  vec x[FFT_POINTS], y[FFT_POINTS];
  VEC_UNROLL for (size_t k = 0; k < 2; k++) y[k] = vec_load(in + k * row);
  VEC_UNROLL for (size_t k = 2; k < FFT_PLANES; k++) {
    y[2 * k - 2] = vec_load(in + k * row);
    y[2 * k - 1] = vec_load(in + k * row + im);
  }
  fft_real_inverse(y, x);
  VEC_UNROLL for (size_t k = 0; k < FFT_TILE; k++) vec_store(out + k * VEC_LANES, x[k]);
}

void fft_output_h(const float *in, size_t row, size_t im, float *planes) {
  enum { STEP = FFT_TILE * VEC_LANES };
  for (size_t k = 0; k < 2; k++)
    back_h_real(in + fft_plane_row(k) * row, row, im, planes + k * STEP);
  for (size_t k = 2; k < FFT_PLANES; k++) {
    const float *from = in + fft_plane_row(k) * row;
    float *to = planes + (2 * k - 2) * STEP;
    fft_complex(from + im, from, row, to + STEP, to, VEC_LANES, FFT_TILE, 0);
  }
}

void fft_output_depth(const float *planes, float *out) {
  vec x[FFT_POINTS], y[FFT_POINTS];
  VEC_UNROLL for (size_t k = 0; k < FFT_POINTS; k++) y[k] =
      vec_load(planes + k * FFT_TILE * VEC_LANES);
  fft_real_inverse(y, x);
  VEC_UNROLL for (size_t k = 0; k < FFT_TILE; k++) vec_store(out + k * VEC_LANES, x[k]);
}

/* Where a strip's outputs lie that exist. */
struct target {
  size_t pixel, depth, height, plane; /* plane: pixels from one d to the next */
};

/* Beside one h of this column its share of the rows of the column after the next, and the next
 * one's residual, of which no prefetcher sees a pattern. */
VEC_INLINE void look_ahead(const struct fft *f, const struct vn_epi *e, const struct target *t,
                           size_t pixel, size_t h, const float *rows) {
  const size_t end = (h + 1) * FFT_ROWS / t->height;
  for (size_t k = h * FFT_ROWS / t->height; rows && k < end; k++)
    for (size_t i = 0; i < FFT_PAIR; i += FFT_LINE) vec_prefetch_l2(rows + k * f->row + i);
  if (!e->residual) return;
  const float *residual = e->residual + (pixel + 1) * e->residual_stride;
  for (size_t k = 0; k < t->depth; k++)
    vec_prefetch_l2(residual + k * t->plane * e->residual_stride);
}

/* One vector of `count` columns, one or FFT_BESIDE: with these the lines of a row are written, and
 * the residual's are read, one after the other. */
static void columns(const struct fft *f, const struct vn_epi *e, const struct target *t, size_t w,
                    size_t count, const float *in, const float *later, float *planes) {
  enum { SUMS = FFT_TILE * VEC_LANES };
  float out[FFT_BESIDE * SUMS];
  struct vn_epi_pixels p = {.sum = out,
                            .columns = t->depth,
                            .column_step = t->plane,
                            .column_sum_step = VEC_LANES,
                            .rows = 1};
  if (count > 1)
    p = (struct vn_epi_pixels){.sum = out,
                               .columns = count,
                               .column_step = 1,
                               .column_sum_step = SUMS,
                               .rows = t->depth,
                               .row_step = t->plane,
                               .row_sum_step = VEC_LANES};
  for (size_t k = 0; k < count; k++)
    fft_output_h(in + k * f->column, f->row, VEC_LANES, planes + k * FFT_HALVES);
  for (size_t h = 0; h < t->height; h++) {
    p.pixel = t->pixel + h * f->conv.out.dim[VN_W] + w;
    if (count == 1) look_ahead(f, e, t, p.pixel, h, later);
    for (size_t k = 0; k < count; k++)
      fft_output_depth(planes + k * FFT_HALVES + h * VEC_LANES, out + k * SUMS);
    vn_epi_finish(e, &f->conv.out, f->stream, &p);
  }
}

void fft_output(const struct fft *f, const struct fft_strip *at, float *scratch,
                const float *strip) {
  const struct vn_tensor *out = &f->conv.out;
  const size_t *size = &out->dim[VN_D];
  const size_t end = smaller(smaller(at->end, at->tiles * FFT_TILE), size[2] - at->w);
  const struct target t = {.pixel = ((at->n * size[0] + at->d) * size[1] + at->h) * size[2] + at->w,
                           .depth = smaller(FFT_TILE, size[0] - at->d),
                           .height = smaller(FFT_TILE, size[1] - at->h),
                           .plane = size[1] * size[2]};
  for (size_t x = at->begin, n; x < end; x += n) {
    n = f->vecs_out == 1 && end - x >= FFT_BESIDE ? FFT_BESIDE : 1;
    for (size_t c = 0; c < f->vecs_out; c++) {
      const float *in = strip + x * f->column + c * FFT_PAIR;
      const struct vn_epi e = vn_epi_open(&f->conv.epilogue, c * VEC_LANES,
                                          smaller(f->channels_out - c * VEC_LANES, VEC_LANES));
      columns(f, &e, &t, x, n, in, x + 2 < end ? in + 2 * f->column : NULL, scratch + f->planes_at);
    }
  }
}

/* The input side of the FFT convolution: along d and h. Called by fft.c and,
 * in its two halves, by fft_head.c.
 *
 * A few columns at a time: along d from 20 rows of the input into a stage that fits the second
 * cache, from there along h. Reads the input with zeros around it; writes scratch only. */
#include "fft.h"

#include <string.h>

/* `part`: of the vector only `lanes` channels exist. What is `ahead` of it is fetched: the rows of
 * the next h, too many short pieces for a prefetcher of the machine's. */
VEC_INLINE void depth_vec(const float *const *in, size_t at, size_t lanes, size_t ahead,
                          size_t step, float *out, const int part) {
  vec x[FFT_POINTS], y[FFT_POINTS];
  VEC_UNROLL for (size_t k = 0; k < FFT_POINTS; k++) vec_prefetch_l2(in[k] + at + ahead);
  VEC_UNROLL for (size_t k = 0; k < FFT_POINTS; k++) x[k] =
      part ? vec_load_n(in[k] + at, lanes) : vec_load(in[k] + at);
  fft_real(x, y);
  VEC_UNROLL for (size_t k = 0; k < FFT_POINTS; k++) vec_store(out + k * step, y[k]);
}

/* Columns of one h; in: where each of the 20 rows along d begins. */
static void along_depth(const struct fft *f, const float *const *in, size_t columns, float *out) {
  const size_t whole = f->channels_in / VEC_LANES, rest = f->channels_in % VEC_LANES;
  const size_t ahead = f->conv.in.dim[VN_W] * f->conv.in.stride;
  for (size_t x = 0; x < columns; x++) {
    const size_t at = x * f->conv.in.stride;
    for (size_t c = 0; c < whole; c++, out += VEC_LANES)
      depth_vec(in, at + c * VEC_LANES, VEC_LANES, ahead, f->stage_d, out, 0);
    if (rest) {
      depth_vec(in, at + whole * VEC_LANES, rest, ahead, f->stage_d, out, 1);
      out += VEC_LANES;
    }
  }
}

/* One vector's frequencies along d that are real, 0 or 10: half of those along h. */
VEC_INLINE void along_h_real(const float *in, size_t in_step, float *out, size_t row) {
  vec x[FFT_POINTS], y[FFT_POINTS];
  VEC_UNROLL for (size_t k = 0; k < FFT_POINTS; k++) x[k] = vec_load(in + k * in_step);
  fft_real(x, y);
  VEC_UNROLL for (size_t k = 0; k < 2; k++) {
    vec_store(out + k * row, y[k]);
    vec_store(out + k * row + VEC_LANES, vec_zero());
  }
  VEC_UNROLL for (size_t k = 2; k < FFT_PLANES; k++) {
    vec_store(out + k * row, y[2 * k - 2]);
    vec_store(out + k * row + VEC_LANES, y[2 * k - 1]);
  }
}

/* What the next vector's results will be written to. */
VEC_INLINE void expect(const float *out, size_t row) {
  VEC_UNROLL for (size_t k = 0; k < FFT_POINTS; k++)
      VEC_UNROLL for (size_t i = 0; i < FFT_PAIR; i += FFT_LINE)
          vec_prefetch_write(out + k * row + i);
}

/* Of a frequency along d its 11 or 20 along h: out[column][row][vector][re, im]. */
void fft_input_h(const struct fft *f, size_t plane, size_t columns, const float *stage, float *out,
                 size_t column, size_t row) {
  const float *in = stage + (plane < 2 ? plane : 2 * plane - 2) * f->stage_d;
  for (size_t x = 0; x < columns; x++, out += column) {
    float *to = out;
    for (size_t c = 0; c < f->vecs_in; c++, in += VEC_LANES, to += FFT_PAIR) {
      if (plane < 2) {
        along_h_real(in, f->stage_h, to, row);
        continue;
      }
      expect(c + 1 < f->vecs_in ? to + FFT_PAIR : out + column, row);
      fft_complex(in, in + f->stage_d, f->stage_h, to, to + VEC_LANES, row, FFT_POINTS, 0);
    }
  }
}

void fft_input_depth(const struct fft *f, const struct fft_strip *at, size_t w, size_t columns,
                     const float *zeros, float *stage) {
  const struct vn_conv *c = &f->conv;
  const size_t *size = &c->in.dim[VN_D];
  const float *data = c->in.data;
  for (size_t j = 0; j < FFT_POINTS; j++) {
    const float *in[FFT_POINTS];
    const size_t h = at->h + j - c->pad[1]; /* before the input: beyond any size */
    for (size_t k = 0; k < FFT_POINTS; k++) {
      const size_t d = at->d + k - c->pad[0];
      const size_t pixel = ((at->n * size[0] + d) * size[1] + h) * size[2] + w;
      in[k] = h < size[1] && d < size[0] ? data + pixel * c->in.stride : zeros;
    }
    along_depth(f, in, columns, stage + j * f->stage_h);
  }
}

void fft_input(const struct fft *f, const struct fft_strip *at, float *scratch, float *strip) {
  const size_t size = f->conv.in.dim[VN_W];
  float *zeros = scratch + f->zeros_at, *stage = scratch + f->stage_at;
  memset(zeros, 0, f->stage_columns * f->conv.in.stride * sizeof(float));
  for (size_t x = at->begin, n; x < at->end; x += n) {
    const size_t w = at->w + x - f->conv.pad[2];
    float *to = strip + x * f->column;
    n = 1;
    if (w >= size) {
      memset(to, 0, FFT_ROWS * f->row * sizeof(float));
      continue;
    }
    while (n < f->stage_columns && x + n < at->end && w + n < size) n++;
    fft_input_depth(f, at, w, n, zeros, stage);
    for (size_t plane = 0; plane < FFT_PLANES; plane++)
      fft_input_h(f, plane, n, stage, to + fft_plane_row(plane) * f->row, f->column, f->row);
  }
}

/* Weights of the FFT convolution: transformed along d in double, for heads and jobs that work alone
 * along h, too, divided by what the inverse transforms multiply with, and packed for fft_products.c
 * or fft_head.c. Called by fft.c and fft_head.c when weights are packed. */
#include "fft.h"

#include <string.h>

enum {
  HALF = VEC_LANES / 2,
  GROUP = 4,
  PLANE = FFT_TAPS * FFT_TAPS
}; /* HALF: doubles of a vector */
typedef double vec_double __attribute__((vector_size(VEC_LANES * sizeof(float))));
typedef float vec_half __attribute__((vector_size(HALF * sizeof(float))));

/* cos(18 degrees * k). */
static double cosine(size_t k) {
  static const double table[6] = {1,
                                  0.95105651629515357212,
                                  0.80901699437494742410,
                                  0.58778525229247312917,
                                  0.30901699437494742410,
                                  0};
  k %= FFT_POINTS;
  if (k > 10) k = FFT_POINTS - k;
  return k > 5 ? -table[10 - k] : table[k];
}

static double sine(size_t k) {
  return cosine(k + 15);
}

/* Frequency k of 5 taps, `step` vectors apart: sum of x * exp(-2 pi i k tap / 20). */
static void real_taps(const vec_double *x, size_t step, size_t k, vec_double *re, vec_double *im) {
  vec_double a = x[0], b = x[0] * 0;
  for (size_t t = 1; t < FFT_TAPS; t++) {
    a += x[t * step] * cosine(k * t);
    b -= x[t * step] * sine(k * t);
  }
  *re = a;
  *im = b;
}

static void complex_taps(const vec_double *re, const vec_double *im, size_t k, vec_double *to_re,
                         vec_double *to_im) {
  vec_double a = re[0], b = im[0];
  for (size_t t = 1; t < FFT_TAPS; t++) {
    const double c = cosine(k * t), s = sine(k * t);
    const vec_double x = re[t * FFT_TAPS], y = im[t * FFT_TAPS];
    a += x * c + y * s;
    b += y * c - x * s;
  }
  *to_re = a;
  *to_im = b;
}

static void store(float *to, vec_double x, double scale) {
  const vec_half y = __builtin_convertvector(x * scale, vec_half);
  memcpy(to, &y, sizeof y);
}

/* taps[d][h][w], half a vector each, along d: to planes[h][w][re, im], `plane` floats apart. */
static void transform_depth(const vec_double *taps, double scale, float *to, size_t plane) {
  for (size_t p = 0; p < FFT_PLANES; p++, to += plane)
    for (size_t i = 0; i < PLANE; i++) {
      vec_double re, im;
      real_taps(taps + i, PLANE, fft_real_frequency(p), &re, &im);
      store(to + i * FFT_PAIR, re, scale);
      store(to + i * FFT_PAIR + VEC_LANES, im, scale);
    }
}

/* The same along d and h: to rows[w][re, im], `row` floats apart. */
static void transform(const vec_double *taps, double scale, float *to, size_t row) {
  vec_double re[PLANE], im[PLANE], x, y;
  for (size_t r = 0; r < FFT_ROWS; r++, to += row) {
    const struct fft_row at = fft_row_at(r);
    for (size_t i = 0; i < PLANE && r == fft_plane_row(at.plane); i++)
      real_taps(taps + i, PLANE, fft_real_frequency(at.plane), &re[i], &im[i]);
    for (size_t w = 0; w < FFT_TAPS; w++) {
      complex_taps(re + w, im + w, at.frequency, &x, &y);
      store(to + w * FFT_PAIR, x, scale);
      store(to + w * FFT_PAIR + VEC_LANES, y, scale);
    }
  }
}

/* to[input channel from `first` on][tap][output channel from `out` on]; the weights are read in
 * their own order. Lanes beyond the last output channel are zero. */
static void gather(const struct fft *f, const float *weight, size_t out, size_t first, size_t count,
                   double *to) {
  enum { TAPS = PLANE * FFT_TAPS };
  for (size_t l = 0; l < HALF; l++)
    for (size_t k = 0; k < TAPS; k++) {
      const float *from = weight + ((out + l) * TAPS + k) * f->channels_in + first;
      for (size_t i = 0; i < count; i++)
        to[(i * TAPS + k) * HALF + l] = out + l < f->channels_out ? (double)from[i] : 0;
    }
}

struct packing {
  const struct fft *f;
  const float *weight;
  float *packed;
};

/* One output vector for a few input channels. */
static void pack_task(void *context, size_t job, size_t slot) {
  const struct packing *p = context;
  const struct fft *f = p->f;
  const size_t o = job % f->vecs_out, first = job / f->vecs_out * GROUP;
  const size_t count = f->channels_in - first < GROUP ? f->channels_in - first : GROUP;
  const size_t channel = (f->shares ? PLANE : FFT_TAPS) * FFT_PAIR;
  const size_t step =
      f->vecs_out * f->channels_in * channel; /* from plane to plane, or row to row */
  const double scale = 1. / (FFT_POINTS * FFT_POINTS * FFT_POINTS);
  (void)slot;
  for (size_t half = 0; half < VEC_LANES; half += HALF) {
    vec_double taps[GROUP][PLANE * FFT_TAPS];
    gather(f, p->weight, o * VEC_LANES + half, first, count, (double *)taps);
    for (size_t i = 0; i < count; i++) {
      float *to = p->packed + (o * f->channels_in + first + i) * channel + half;
      if (f->shares)
        transform_depth(taps[i], scale, to, step);
      else
        transform(taps[i], scale, to, step);
    }
  }
}

bool fft_pack(const struct fft *f, struct vn_pool *pool, const float *weight, float *packed,
              struct vn_watch *watch) {
  struct packing packing = {f, weight, packed};
  const size_t groups = (f->channels_in + GROUP - 1) / GROUP;
  return vn_pool_run_watched(pool, groups * f->vecs_out, pack_task, &packing, watch);
}

/* ---- heads: channels of the input in the lanes ---- */

/* One vector of input channels for one output. */
static void pack_head_task(void *context, size_t job, size_t slot) {
  enum { TAPS = PLANE * FFT_TAPS };
  const struct packing *p = context;
  const struct fft *f = p->f;
  const size_t o = job / f->vecs_in, c = job % f->vecs_in;
  (void)slot;
  for (size_t half = 0; half < VEC_LANES; half += HALF) {
    vec_double taps[TAPS];
    for (size_t k = 0; k < TAPS; k++)
      for (size_t l = 0; l < HALF; l++) {
        const size_t i = c * VEC_LANES + half + l;
        taps[k][l] =
            i < f->channels_in ? (double)p->weight[(o * TAPS + k) * f->channels_in + i] : 0;
      }
    transform(taps, 1. / (FFT_POINTS * FFT_POINTS),
              p->packed + ((o * f->vecs_in) + c) * FFT_TAPS * FFT_PAIR + half,
              f->channels_out * f->vecs_in * FFT_TAPS * FFT_PAIR);
  }
}

bool fft_pack_head(const struct fft *f, struct vn_pool *pool, const float *weight, float *packed,
                   struct vn_watch *watch) {
  struct packing packing = {f, weight, packed};
  return vn_pool_run_watched(pool, f->channels_out * f->vecs_in, pack_head_task, &packing, watch);
}

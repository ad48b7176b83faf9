/* Fourier transforms of 20 points on vectors, for the FFT convolution.
 *
 * 20 = 4 * 5 by the prime factor map, which needs no twiddles: point n = 5 a + 4 b, frequency
 * k = 5 c + 16 d (mod 20), and the transform is one of 4 along a and one of 5 along b. A complex
 * one takes 224 vector operations, a real one 94. See Burrus and Eschenbacher, "An in-place,
 * in-order prime factor FFT algorithm", for the map. Nothing here divides: an inverse yields 20
 * times its input, which the weights make good. */
#ifndef VNET_SIMD_FFT_1D_H
#define VNET_SIMD_FFT_1D_H

#include "../vec/vec.h"

enum { FFT_POINTS = 20, FFT_HALF = 9 }; /* HALF: frequencies that stand for their conjugates, too */

/* Cosines and sines of 72 and 144 degrees. */
#define FFT_C1 vec_set1(0.30901699437494742f)
#define FFT_C2 vec_set1(-0.80901699437494742f)
#define FFT_S1 vec_set1(0.95105651629515357f)
#define FFT_S2 vec_set1(0.58778525229247313f)

/* What transforms of 5 have in common: of the points 1 to 4 sums and differences that belong
 * together. even[0] is frequency 0, even[1] and odd[1] frequencies 1 and 4, even[2] and odd[2] 2
 * and 3. */
VEC_INLINE void fft_fold5(const vec *x, vec *even, vec *odd) {
  const vec t1 = x[1] + x[4], t2 = x[2] + x[3], d1 = x[1] - x[4], d2 = x[2] - x[3];
  even[0] = x[0] + (t1 + t2);
  even[1] = vec_fma(FFT_C1, t1, vec_fma(FFT_C2, t2, x[0]));
  even[2] = vec_fma(FFT_C2, t1, vec_fma(FFT_C1, t2, x[0]));
  odd[1] = vec_fma(FFT_S1, d1, FFT_S2 * d2);
  odd[2] = vec_fnma(FFT_S1, d2, FFT_S2 * d1);
}

VEC_INLINE void fft_complex5(const vec *re, const vec *im, vec *to_re, vec *to_im) {
  vec a[3], b[3], c[3], d[3];
  fft_fold5(re, a, b);
  fft_fold5(im, c, d);
  to_re[0] = a[0];
  to_im[0] = c[0];
  VEC_UNROLL for (size_t k = 1; k < 3; k++) {
    to_re[k] = a[k] + d[k];
    to_im[k] = c[k] - b[k];
    to_re[5 - k] = a[k] - d[k];
    to_im[5 - k] = c[k] + b[k];
  }
}

/* 5 reals from frequencies 0, 1 and 2, times 5. */
VEC_INLINE void fft_inverse5(vec zero, const vec *re, const vec *im, vec *x) {
  const vec r1 = re[0] + re[0], r2 = re[1] + re[1], i1 = im[0] + im[0], i2 = im[1] + im[1];
  const vec a1 = vec_fma(FFT_C1, r1, vec_fma(FFT_C2, r2, zero));
  const vec a2 = vec_fma(FFT_C2, r1, vec_fma(FFT_C1, r2, zero));
  const vec b1 = vec_fma(FFT_S1, i1, FFT_S2 * i2), b2 = vec_fnma(FFT_S1, i2, FFT_S2 * i1);
  x[0] = zero + (r1 + r2);
  x[1] = a1 - b1;
  x[4] = a1 + b1;
  x[2] = a2 - b2;
  x[3] = a2 + b2;
}

/* A real transform's 20 numbers: frequencies 0 and 10, which are real, then re and im of these. */
static const unsigned char fft_frequency[FFT_HALF] = {16, 12, 6, 2, 5, 1, 17, 13, 9};

VEC_INLINE void fft_real(const vec *x, vec *y) {
  vec sum[5], difference[5], re[5], im[5], even[3], odd[3];
  VEC_UNROLL for (size_t b = 0; b < 5; b++) {
    const vec x0 = x[4 * b % 20], x1 = x[(5 + 4 * b) % 20], x2 = x[(10 + 4 * b) % 20];
    const vec x3 = x[(15 + 4 * b) % 20], s = x0 + x2, t = x1 + x3;
    sum[b] = s + t;
    difference[b] = s - t;
    re[b] = x0 - x2;
    im[b] = x3 - x1;
  }
  VEC_UNROLL for (size_t half = 0; half < 2; half++) {
    fft_fold5(half ? difference : sum, even, odd);
    y[half] = even[0];
    VEC_UNROLL for (size_t k = 1; k < 3; k++) {
      y[4 * half + 2 * k] = even[k];
      y[4 * half + 2 * k + 1] = vec_zero() - odd[k];
    }
  }
  vec to_re[5], to_im[5];
  fft_complex5(re, im, to_re, to_im);
  VEC_UNROLL for (size_t k = 0; k < 5; k++) {
    y[10 + 2 * k] = to_re[k];
    y[11 + 2 * k] = to_im[k];
  }
}

/* 20 reals from what fft_real yields, times 20. */
VEC_INLINE void fft_real_inverse(const vec *y, vec *x) {
  vec even[5], odd[5], re[5], im[5], s[5], t[5];
  const vec r0[2] = {y[2], y[4]}, i0[2] = {y[3], y[5]}, r1[2] = {y[6], y[8]}, i1[2] = {y[7], y[9]};
  fft_inverse5(y[0], r0, i0, even);
  fft_inverse5(y[1], r1, i1, odd);
  VEC_UNROLL for (size_t k = 0; k < 5; k++) {
    re[k] = y[10 + 2 * k];
    im[k] = y[11 + 2 * k];
  }
  fft_complex5(im, re, t, s); /* re and im in turn on both sides: the inverse */
  VEC_UNROLL for (size_t b = 0; b < 5; b++) {
    const vec sum = even[b] + odd[b], difference = even[b] - odd[b];
    const vec a = s[b] + s[b], c = t[b] + t[b];
    x[4 * b % 20] = sum + a;
    x[(10 + 4 * b) % 20] = sum - a;
    x[(5 + 4 * b) % 20] = difference - c;
    x[(15 + 4 * b) % 20] = difference + c;
  }
}

/* Complex, points and frequencies in their order, `in_step` and `out_step` floats apart; the first
 * `keep` are stored, with `sum` re + im, too, two vectors behind re. With re and im exchanged on
 * both sides: the inverse. */
VEC_INLINE void fft_complex(const float *re, const float *im, size_t in_step, float *to_re,
                            float *to_im, size_t out_step, const size_t keep, const int sum) {
  vec r[4][5], i[4][5];
  VEC_UNROLL for (size_t b = 0; b < 5; b++) {
    const size_t n0 = 4 * b % 20, n1 = (5 + 4 * b) % 20, n2 = (10 + 4 * b) % 20;
    const size_t n3 = (15 + 4 * b) % 20;
    const vec x0 = vec_load(re + n0 * in_step), x2 = vec_load(re + n2 * in_step);
    const vec x1 = vec_load(re + n1 * in_step), x3 = vec_load(re + n3 * in_step);
    const vec z0 = vec_load(im + n0 * in_step), z2 = vec_load(im + n2 * in_step);
    const vec z1 = vec_load(im + n1 * in_step), z3 = vec_load(im + n3 * in_step);
    const vec s = x0 + x2, t = x1 + x3, u = z0 + z2, v = z1 + z3;
    const vec ds = x0 - x2, dt = x1 - x3, du = z0 - z2, dv = z1 - z3;
    r[0][b] = s + t;
    i[0][b] = u + v;
    r[2][b] = s - t;
    i[2][b] = u - v;
    r[1][b] = ds + dv;
    i[1][b] = du - dt;
    r[3][b] = ds - dv;
    i[3][b] = du + dt;
  }
  VEC_UNROLL for (size_t c = 0; c < 4; c++) {
    vec y[5], z[5];
    fft_complex5(r[c], i[c], y, z);
    VEC_UNROLL for (size_t d = 0; d < 5; d++) {
      const size_t k = (5 * c + 16 * d) % 20;
      if (k >= keep) continue;
      vec_store(to_re + k * out_step, y[d]);
      vec_store(to_im + k * out_step, z[d]);
      if (sum) vec_store(to_re + k * out_step + 2 * VEC_LANES, y[d] + z[d]);
    }
  }
}

#endif

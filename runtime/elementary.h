/* Elementary functions whose bits are this project's own. A C library is free in their last bits,
 * and libraries differ; here are only sums, products and quotients of doubles, which IEEE 754 fixes
 * (and -ffp-contract=off keeps), so that results do not depend on whose libm is linked. Exact to a
 * few units in the last place of a double, which leaves a float's rounding alone. Private. Of what
 * IEEE 754 does fix (sqrt, fabs, floor, ldexp …) the C library's is as good. */
#ifndef VNET_ELEMENTARY_H
#define VNET_ELEMENTARY_H

#include <math.h> /* INFINITY, NAN */
#include <stdint.h>
#include <string.h>

/* To nearest even, |x| < 2^51: a sum with 1.5 * 2^52 has no room for a fraction. */
static inline double vn_nearest(double x) {
  return (x + 0x1.8p52) - 0x1.8p52;
}

/* 2^n, n in [-1022, 1023]. */
static inline double vn_pow2(int n) {
  const uint64_t bits = (uint64_t)(n + 1023) << 52;
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* x = n ln 2 + r, |r| <= ln 2 / 2; yields e^r - 1. |x| < 1000. */
static inline double vn_exp_part(double x, int *n) {
  const double k = vn_nearest(x * 0x1.71547652b82fep+0);
  const double r = (x - k * 0x1.62e42feep-1) - k * 0x1.a39ef35793c76p-33;
  double p = 1 / 6227020800.; /* 1 / 13! */
  p = p * r + 1 / 479001600.;
  p = p * r + 1 / 39916800.;
  p = p * r + 1 / 3628800.;
  p = p * r + 1 / 362880.;
  p = p * r + 1 / 40320.;
  p = p * r + 1 / 5040.;
  p = p * r + 1 / 720.;
  p = p * r + 1 / 120.;
  p = p * r + 1 / 24.;
  p = p * r + 1 / 6.;
  p = p * r + 0.5;
  *n = (int)k;
  return r + r * r * p;
}

static inline double vn_exp(double x) {
  if (x != x) return x;
  if (x > 710) return (double)INFINITY;
  if (x < -746) return 0;
  int n;
  const double p = vn_exp_part(x, &n);
  return (p + 1) * vn_pow2(n / 2) * vn_pow2(n - n / 2);
}

/* e^x - 1, exact near 0, too. */
static inline double vn_expm1(double x) {
  if (!(x > -40 && x < 40)) return vn_exp(x) - 1;
  int n;
  const double p = vn_exp_part(x, &n), power = vn_pow2(n);
  return p * power + (power - 1);
}

/* log((1 + f) / (1 - f)), |f| < 0.18. */
static inline double vn_tanh(double x) {
  if (x > 20) return 1;
  const double e = vn_expm1(2 * x);
  return e / (e + 2);
}

/* The error function: 2 / sqrt pi * e^(-x^2) * sum of 2^n x^(2n+1) / (1 * 3 * ... * (2n+1)), all of
 * one sign. */
static inline double vn_erf(double x) {
  if (x != x) return x;
  if (x > 6 || x < -6) return x > 0 ? 1 : -1;
  double sum = 0, term = x;
  for (int n = 1; sum + term != sum; n++) {
    sum += term;
    term *= 2 * x * x / (2 * n + 1);
  }
  return 0x1.20dd750429b6dp+0 * vn_exp(-x * x) * sum;
}

static inline double vn_log_part(double f) {
  const double s = f * f;
  double p = 2 / 23.;
  p = p * s + 2 / 21.;
  p = p * s + 2 / 19.;
  p = p * s + 2 / 17.;
  p = p * s + 2 / 15.;
  p = p * s + 2 / 13.;
  p = p * s + 2 / 11.;
  p = p * s + 2 / 9.;
  p = p * s + 2 / 7.;
  p = p * s + 2 / 5.;
  p = p * s + 2 / 3.;
  return 2 * f + f * s * p;
}

static inline double vn_log(double x) {
  if (!(x > 0)) return x == 0 ? -(double)INFINITY : (double)NAN;
  if (x > 0x1.fffffffffffffp1023) return x;
  int n = -1023;
  if (x < 0x1p-1022) x *= 0x1p54, n -= 54;
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  n += (int)(bits >> 52);
  bits = (bits & 0xFFFFFFFFFFFFFu) | (uint64_t)1023 << 52;
  double m;
  memcpy(&m, &bits, sizeof m); /* in [1, 2), then around 1 */
  if (m > 0x1.6a09e667f3bcdp+0) m *= 0.5, n++;
  return n * 0x1.62e42feep-1 + (vn_log_part((m - 1) / (m + 1)) + n * 0x1.a39ef35793c76p-33);
}

/* log(1 + x), exact near 0, too. */
static inline double vn_log1p(double x) {
  return x > -0.29 && x < 0.41 ? vn_log_part(x / (2 + x)) : vn_log(1 + x);
}

/* x^y for x >= 0 and y > 0; relative error grows with |y log x|. */
static inline double vn_pow(double x, double y) {
  return x > 0 ? vn_exp(y * vn_log(x)) : x == 0 ? 0 : (double)NAN;
}

/* x = k pi/2 + r, |r| <= pi/4; yields sine and cosine of r. |x| < 2^20. */
static inline int vn_turn_part(double x, double *sine, double *cosine) {
  const double k = vn_nearest(x * 0x1.45f306dc9c883p-1);
  const double r = (x - k * 0x1.921fb544p+0) - k * 0x1.0b4611a626331p-34, s = r * r;
  double a = 1 / 355687428096000., b = 1 / 20922789888000.; /* 1 / 17!, 1 / 16! */
  a = a * s - 1 / 1307674368000.;
  b = b * s - 1 / 87178291200.;
  a = a * s + 1 / 6227020800.;
  b = b * s + 1 / 479001600.;
  a = a * s - 1 / 39916800.;
  b = b * s - 1 / 3628800.;
  a = a * s + 1 / 362880.;
  b = b * s + 1 / 40320.;
  a = a * s - 1 / 5040.;
  b = b * s - 1 / 720.;
  a = a * s + 1 / 120.;
  b = b * s + 1 / 24.;
  a = a * s - 1 / 6.;
  b = b * s - 0.5;
  *sine = r + r * s * a;
  *cosine = 1 + s * b;
  return (int)k & 3;
}

static inline double vn_sin(double x) {
  double s, c;
  const int quarter = vn_turn_part(x, &s, &c);
  const double y = quarter & 1 ? c : s;
  return quarter & 2 ? -y : y;
}

static inline double vn_cos(double x) {
  double s, c;
  const int quarter = vn_turn_part(x, &s, &c);
  const double y = quarter & 1 ? s : c;
  return (quarter + 1) & 2 ? -y : y;
}

#endif

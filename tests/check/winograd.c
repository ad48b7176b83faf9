/* How exact a Winograd convolution can be, from the points of its polynomials alone: conv.c holds
 * the kernels to it. Shares no code with them.
 *
 * Along an axis, output i of a tile is the sum over the points f of
 * A[f][i] * (sum over k of G[f][k] w[k]) * (sum over l of B[f][l] x[l]), whose terms are larger
 * than the sum. Where weights and inputs are random, their squares add up to sum over f of
 * A[f][i]^2 * sum of G[f][k]^2 * sum of B[f][l]^2, for each channel and times the mean squares of
 * weights and inputs; over several axes such sums multiply. Each rounding on the way leaves its
 * part of that, and parts that are independent of each other add up as squares, too. See Barabasz
 * et al., "Error analysis and improving the accuracy of Winograd convolution", and Higham and Mary,
 * "A new approach to probabilistic rounding error analysis". */
#include "check.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_T = 8 };

/* A rounding's root mean square, relative: at most half of the last of 24 bits, any part of that as
 * likely as any other, of numbers whose logarithms are as likely as any other. */
#define ROUNDING (0.425 * 0x1p-24)

static double square(double x) {
  return x * x;
}

/* Coefficients of the polynomial that is 0 at these points but for one; the others are 0. */
static void polynomial(const double *point, size_t n, size_t but, double of[MOST_T]) {
  of[0] = 1;
  for (size_t k = 1; k < MOST_T; k++) of[k] = 0;
  for (size_t i = 0; i < n; i++)
    for (size_t k = MOST_T; i != but && k-- > 0;) of[k] = (k ? of[k - 1] : 0) - point[i] * of[k];
}

/* The squares of what is added up for output i of a tile, for each of the inputs it is made from:
 * of[i][l]. One output to a tile is a plain sum. */
static void parts_of(size_t m, size_t r, double of[MOST_T][MOST_T]) {
  static const double point[MOST_T - 1] = {0, 1, -1, 2, -2, .5, -.5}; /* and infinity, the last */
  const size_t last = m + r - 2;
  for (size_t i = 0; i < m; i++)
    for (size_t l = 0; l <= last; l++) of[i][l] = m == 1;
  for (size_t f = 0; f <= last && m > 1; f++) {
    double b[MOST_T], differences = 1, g = 0;
    polynomial(point, last, f, b);
    for (size_t q = 0; q < last && f < last; q++)
      if (q != f) differences *= point[f] - point[q];
    for (size_t k = 0; k < r && f < last; k++) g += square(pow(point[f], (double)k) / differences);
    for (size_t i = 0; i < m; i++) {
      const double a = f < last ? square(pow(point[f], (double)i)) : i == m - 1;
      for (size_t l = 0; l <= last; l++) of[i][l] += a * (f < last ? g : 1) * square(b[l]);
    }
  }
}

/* For each output of an axis; only inputs that are there have a part. A dilated axis is as many
 * axes that lie between each other. */
static void axis_parts(const struct vn_conv *c, int axis, double *parts) {
  const size_t m = c->tile[axis], r = c->kernel[axis], d = c->dilation[axis];
  double of[MOST_T][MOST_T];
  parts_of(m, r, of);
  for (size_t at = 0; at < c->out.dim[VN_D + axis]; at++) {
    const size_t i = at / d % m, first = at - i * d; /* of the tile */
    parts[at] = 0;
    for (size_t l = 0; l < m + r - 1; l++)
      if (first + l * d - c->pad[axis] < c->in.dim[VN_D + axis]) /* may wrap */
        parts[at] += of[i][l];
  }
}

/* How many roundings of a sum's own size there are. The sum of n numbers, one after another, has n
 * / 2. Channels are added up 64 at a time, and then those sums; a transform, there and back, half
 * of its points; and there are a weight and a product. */
static double roundings(const struct vn_conv *c, bool lean) {
  enum { TOGETHER = 64 };
  const size_t in = c->in.dim[VN_C], chain = in < TOGETHER ? in : TOGETHER;
  double n = 2 + (double)chain / 2 + (double)(in / TOGETHER) / 2;
  for (int i = 0; i < 3; i++) n += (double)(c->tile[i] + c->kernel[i] - 1);
  if (lean) n += MOST_T; /* half of two axes' points */
  return n;
}

static double mean_square_in(const struct vn_tensor *t) {
  double sum = 0;
  const size_t n = tensor_elems(t);
  for (size_t i = 0; i < n; i++) sum += square((double)((float *)t->data)[tensor_at(t, i)]);
  return sum / (double)n;
}

static double mean_square_weight(const struct vn_conv *c) {
  const size_t taps = c->kernel[0] * c->kernel[1] * c->kernel[2];
  const size_t n = c->out.dim[VN_C] * taps * c->in.dim[VN_C];
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += square((double)c->weight[i]);
  return sum / (double)n;
}

void winograd_error(const struct vn_conv *c, bool lean, double *error) {
  const size_t *dim = &c->out.dim[VN_D];
  const double size = mean_square_in(&c->in) * mean_square_weight(c) * (double)c->in.dim[VN_C];
  const double all = square(ROUNDING) * roundings(c, lean) * size;
  double *parts[3];
  for (int a = 0; a < 3; a++) axis_parts(c, a, parts[a] = malloc(dim[a] * sizeof **parts));
  for (size_t z = 0; z < dim[0]; z++)
    for (size_t y = 0; y < dim[1]; y++)
      for (size_t x = 0; x < dim[2]; x++)
        *error++ = sqrt(all * parts[0][z] * parts[1][y] * parts[2][x]);
  for (int a = 0; a < 3; a++) free(parts[a]);
}

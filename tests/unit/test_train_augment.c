/* Augmentation by what defines each kind: scans that hold their own coordinates show where they
 * were sampled, splines follow their recursion, filters keep what they have to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "augment_private.h"
#include "field.h"

static struct vnt_augment augment;

enum { N = 40, CUBE = N * N * N };
static float ramp[3][CUBE], image[3][CUBE];
static uint8_t halves[3][CUBE], target[3][CUBE];

/* Scans that hold their own coordinate along an axis, label 1 from 20 on: what is sampled from them
 * is where it was sampled. */
static struct vnt_channel ramp_channel[3];

static struct vnt_source ramp_source(int axis) {
  struct vnt_channel *channel = &ramp_channel[axis];
  struct vnt_source source = {.channel = channel,
                              .channels = 1,
                              .target = halves[axis],
                              .dim = {N, N, N},
                              .spacing_mm = {1, 1, 1}};
  *channel =
      (struct vnt_channel){.image = ramp[axis], .intensity = {0, 1, -INFINITY, INFINITY, false}};
  for (size_t i = 0; i < CUBE; i++) {
    const size_t at = axis == 0 ? i / N / N : axis == 1 ? i / N % N : i % N;
    ramp[axis][i] = (float)at;
    halves[axis][i] = at >= N / 2;
  }
  assert_int_equal(vnt_landmarks_find(ramp[axis], CUBE, &channel->landmarks, NULL), VN_OK);
  return source;
}

static void ramps_sample(const struct vnt_augment *a, const struct vnt_patch *patch,
                         const double *spacing_mm, uint64_t index) {
  for (int axis = 0; axis < 3; axis++) {
    struct vnt_source source = ramp_source(axis);
    if (spacing_mm) memcpy(source.spacing_mm, spacing_mm, sizeof source.spacing_mm);
    assert_int_equal(vnt_augment_apply(a, &source, NULL, patch, 11, index, NULL, image[axis],
                                       target[axis], NULL),
                     VN_OK);
  }
}

/* Lengths and angles in mm are what a rotation leaves and a scale multiplies; flips mirror; labels
 * go where the image goes. */
static void affines_are_in_mm(void **state) {
  (void)state;
  static const double spacing_mm[3] = {2, 1, 0.5};
  const struct vnt_patch patch = {{8, 8, 8}, {16, 16, 16}};
  double least = 2, most = 0;
  size_t mirrored = 0;
  for (uint64_t index = 0; index < 60; index++)
    for (int scaled = 0; scaled < 2; scaled++) {
      struct vnt_augment a = {
          .affine_p = 1, .rotate_deg = 30, .scale = scaled ? 0.3 : 0, .flip = {0, 0, 0.5}};
      ramps_sample(&a, &patch, spacing_mm, index);
      static const size_t step[3] = {64, 8, 1};
      double column[3][3], length = 0, m;
      for (int j = 0; j < 3; j++)
        for (int i = 0; i < 3; i++)
          column[j][i] =
              (double)(image[i][step[j] * 7] - image[i][0]) / 7 * spacing_mm[i] / spacing_mm[j];
      for (int j = 0; j < 3; j++)
        for (int k = 0; k <= j; k++) {
          double dot = 0;
          for (int i = 0; i < 3; i++) dot += column[j][i] * column[k][i];
          if (j == 0) length = sqrt(dot);
          assert_true(fabs(dot / length / length - (j == k)) < 2e-5);
        }
      m = column[0][0] * (column[1][1] * column[2][2] - column[1][2] * column[2][1]) -
          column[0][1] * (column[1][0] * column[2][2] - column[1][2] * column[2][0]) +
          column[0][2] * (column[1][0] * column[2][1] - column[1][1] * column[2][0]);
      mirrored += m < 0;
      if (!scaled) assert_true(fabs(length - 1) < 1e-5);
      least = fmin(least, length);
      most = fmax(most, length);
      for (int i = 0; i < 3; i++)
        for (size_t v = 0; v < 512; v++) {
          const float x = image[i][v] - 19.5f;
          if (fabsf(x) > 1e-4f) assert_int_equal(target[i][v], x > 0);
        }
      /* The middle stays. */
      for (int i = 0; i < 3; i++)
        assert_true(fabsf((image[i][0] + image[i][511]) / 2 - 19.5f) < 1e-4f);
    }
  assert_true(least > 1 / 1.301 && least < 0.85 && most < 1.301 && most > 1.15);
  assert_in_range(mirrored, 30, 90);
}

static void flips_are_exact(void **state) {
  (void)state;
  const struct vnt_patch patch = {{6, 7, 8}, {3, 5, 32}};
  struct vnt_augment a = {.flip = {1, 0, 1}};
  ramps_sample(&a, &patch, NULL, 1);
  for (size_t d = 0, i = 0; d < 6; d++)
    for (size_t h = 0; h < 7; h++)
      for (size_t w = 0; w < 8; w++, i++)
        assert_true(image[0][i] == (float)(8 - d) && image[1][i] == (float)(5 + h) &&
                    image[2][i] == (float)(39 - w));
}

/* The recursion that defines B-splines, on knots one apart. */
static double basis(int k, int degree, double x) {
  if (degree == 0) return x >= k && x < k + 1;
  return (x - k) / degree * basis(k, degree - 1, x) +
         (k + degree + 1 - x) / degree * basis(k + 1, degree - 1, x);
}

static void fields_are_splines(void **state) {
  (void)state;
  const size_t patch[3] = {9, 14, 30};
  const double step[3] = {4.5, 7, 4.3};
  struct vnt_random r = vnt_random_open(1, 2, 3);
  struct vnt_field f;
  float row[30];
  assert_true(vnt_field_make(&f, patch, step, 2, &r));
  for (size_t d = 0; d < 9; d++)
    for (size_t h = 0; h < 14; h++) {
      vnt_field_row(&f, d, h, 30, row);
      for (size_t w = 0; w < 30; w++) {
        double sum = 0;
        for (size_t i = 0; i < f.dim[0]; i++)
          for (size_t j = 0; j < f.dim[1]; j++)
            for (size_t k = 0; k < f.dim[2]; k++)
              sum += (double)f.value[(i * f.dim[1] + j) * f.dim[2] + k] *
                     basis((int)i - 3, 3, (double)d / step[0]) *
                     basis((int)j - 3, 3, (double)h / step[1]) *
                     basis((int)k - 3, 3, (double)w / step[2]);
        assert_true(fabs(sum - (double)row[w]) < 1e-5);
      }
    }
  vnt_field_close(&f);
  /* Too many control points for a row are refused. */
  assert_false(vnt_field_make(&f, patch, (const double[]){4, 4, 0.1}, 2, &r));
  vnt_field_close(&f);
}

/* The paper's: at a control point the displacement is normal with sd 15 / sqrt(8). */
static void bends_are_the_papers(void **state) {
  (void)state;
  const struct vnt_patch patch = {{16, 16, 16}, {12, 12, 12}};
  const size_t middle = (8 * 16 + 8) * 16 + 8;
  vnt_augment_paper(&augment);
  assert_true(augment.bend_vox == 15 && augment.bend_p == 1 && augment.match_p == 1);
  augment.bend_vox = 4; /* so that it stays within the ramps */
  double sum = 0;
  for (uint64_t index = 0; index < 300; index++) {
    ramps_sample(&augment, &patch, NULL, index);
    for (int i = 0; i < 3; i++) {
      sum += pow((double)image[i][middle] - 20, 2);
      for (size_t v = 0; v < 4096; v += 7) {
        const float x = image[i][v] - 19.5f;
        if (fabsf(x) > 1e-4f && image[0][v] > 0 && image[1][v] > 0 && image[2][v] > 0)
          assert_int_equal(target[i][v], x > 0);
      }
    }
  }
  assert_true(fabs(sqrt(sum / 900) / (4 / sqrt(8)) - 1) < 0.1);
}

/* What lies beyond the scan is 0 with label 0, whatever is done to intensities. */
static void outside_is_padding(void **state) {
  (void)state;
  struct vnt_source source = ramp_source(2);
  for (size_t i = 0; i < CUBE; i++) {
    ramp[2][i] = 5 + (float)(i % 7);
    halves[2][i] = 1;
  }
  assert_int_equal(vnt_landmarks_find(ramp[2], CUBE, &ramp_channel[2].landmarks, NULL), VN_OK);
  const struct vnt_patch patch = {{44, 24, 20}, {-2, 20, 30}};
  vnt_augment_defaults(&augment, patch.size);
  augment.affine_p = augment.bend_p = 0;
  for (int i = 0; i < 3; i++) augment.flip[i] = 0;
  augment.gamma_p = augment.bias_p = augment.blur_p = augment.slices_p = augment.noise_p = 1;
  float *to = malloc(44 * 24 * 20 * sizeof *to);
  uint8_t labels[44 * 24 * 20];
  assert_int_equal(vnt_augment_apply(&augment, &source, NULL, &patch, 1, 1, NULL, to, labels, NULL),
                   VN_OK);
  for (size_t d = 0, i = 0; d < 44; d++)
    for (size_t h = 0; h < 24; h++)
      for (size_t w = 0; w < 20; w++, i++) {
        const bool in = d >= 2 && d < 42 && h < 20 && w < 10;
        assert_int_equal(labels[i], in);
        assert_true(in ? to[i] > 2 : to[i] == 0);
      }
  free(to);
}

/* Gamma keeps the percentiles and the order; noise has its sd; one kind does not change another. */
static void intensities_are_as_asked(void **state) {
  (void)state;
  struct vnt_source source = ramp_source(2);
  const struct vnt_patch patch = {{N, N, N}, {0, 0, 0}};
  double darker = 0;
  for (uint64_t index = 0; index < 40; index++) {
    struct vnt_augment a = {.gamma_p = 1, .gamma = 0.3};
    vnt_augment_apply(&a, &source, NULL, &patch, 5, index, NULL, image[0], target[0], NULL);
    const float *v = image[0];
    for (size_t w = 1; w < N; w++) assert_true(v[w] > v[w - 1]);
    assert_true(fabsf(v[0]) < 1e-6f);
    /* The ramp's 1st percentile is 0.4 of the way to 1, its 99th 38.6: y = x^g between them. */
    const double low = (double)source.channel->landmarks.low,
                 high = (double)source.channel->landmarks.high;
    const double g = log(((double)v[20] - low) / (high - low)) / log((20 - low) / (high - low));
    for (size_t w = 1; w < N; w++)
      assert_true(fabs(low + (high - low) * pow(((double)w - low) / (high - low), g) -
                       (double)v[w]) < 5e-3);
    darker += g > 1;
  }
  assert_true(darker > 8 && darker < 32);
  vnt_augment_defaults(&augment, patch.size);
  struct vnt_augment noisy = {.noise_p = 1, .noise = 0.1, .normals = augment.normals};
  double square = 0, sum = 0;
  for (uint64_t index = 0; index < 60; index++) {
    double now = 0;
    vnt_augment_apply(&noisy, &source, NULL, &patch, 5, index, NULL, image[0], target[0], NULL);
    for (size_t i = 0; i < CUBE; i++) {
      const double off = (double)image[0][i] - (double)ramp[2][i];
      now += off * off / CUBE;
      sum += off / CUBE / 60;
    }
    assert_true(sqrt(now) < 0.1 * 39);
    square += now / 60; /* sd uniform up to 0.1 of the range of 38.2: mean square a third */
  }
  assert_true(fabs(sum) < 0.01 && fabs(sqrt(square * 3) / 3.9 - 1) < 0.2);
  /* With noise on top, the shape of sample 3 is the same. */
  noisy.affine_p = 1, noisy.rotate_deg = 20, noisy.flip[0] = 0.5;
  vnt_augment_apply(&noisy, &source, NULL, &patch, 5, 3, NULL, image[0], target[0], NULL);
  noisy.noise_p = 0;
  vnt_augment_apply(&noisy, &source, NULL, &patch, 5, 3, NULL, image[1], target[1], NULL);
  assert_memory_equal(target[0], target[1], sizeof target[0]);
  assert_memory_not_equal(image[0], image[1], sizeof image[0]);
}

/* Filters against what defines them: a constant stays, an impulse becomes a Gaussian of this sd,
 * slices hold means. */
static void filters_are_as_defined(void **state) {
  (void)state;
  for (int axis = 0; axis < 3; axis++) {
    const size_t dim[3] = {axis == 0 ? 24 : 3, axis == 1 ? 24 : 3, axis == 2 ? 24 : 3};
    const size_t step = axis == 0 ? 9 : axis == 1 ? 3 : 1;
    for (int kind = 0; kind < 2; kind++) {
      static float from[24 * 9], to[24 * 9];
      struct vn_taps taps;
      assert_true(kind ? vnt_taps_slices(&taps, 24, 3) : vnt_taps_blur(&taps, 24, 1.3));
      for (size_t i = 0; i < 24 * 9; i++) from[i] = 2;
      vnt_taps_run(&taps, axis, dim, from, to, NULL);
      for (size_t i = 0; i < 24 * 9; i++) assert_true(fabsf(to[i] - 2) < 1e-6f);
      memset(from, 0, sizeof from);
      from[10 * step] = 1; /* the line at 0 0 along the axis */
      vnt_taps_run(&taps, axis, dim, from, to, NULL);
      double sum = 0, square = 0;
      for (size_t k = 0; k < 24; k++) {
        sum += (double)to[k * step];
        square += (double)to[k * step] * pow((double)k - 10, 2);
        from[10 * step] = 0;
      }
      assert_true(fabs(sum - 1) < 1e-6);
      if (kind == 0) assert_true(fabs(square - 1.69) < 0.06);
      /* Slice 3 is voxels 9 to 11: 1/3 at its middle, and straight down to the next ones'. */
      static const float tent[] = {0, 1, 2, 3, 2, 1, 0};
      for (size_t k = 0; k < 7 && kind; k++)
        assert_true(fabsf(to[(7 + k) * step] - tent[k] / 9) < 1e-6f);
      double other = 0; /* other lines see none of it */
      for (size_t i = 0; i < 24 * 9; i++) other += (double)to[i];
      assert_true(fabs(other - sum) < 1e-6);
      vnt_taps_close(&taps);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(affines_are_in_mm),      cmocka_unit_test(flips_are_exact),
      cmocka_unit_test(fields_are_splines),     cmocka_unit_test(bends_are_the_papers),
      cmocka_unit_test(outside_is_padding),     cmocka_unit_test(intensities_are_as_asked),
      cmocka_unit_test(filters_are_as_defined),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

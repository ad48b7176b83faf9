/* The network's grid over a scan, against PyTorch's resampling (goldens: tests/peers/torch_grid.py)
 * and against what must hold of any two grids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "grid.h"
#include "npy.h"

#ifndef GOLDEN_DIR
#error "GOLDEN_DIR names tests/golden"
#endif

static struct vn_view view_of(const size_t dim[3]) {
  return (struct vn_view){
      .dim = {dim[0], dim[1], dim[2]}, .axis = {2, 1, 0}, .spacing_mm = {1, 1, 1}};
}

static float *volume_make(const size_t dim[3]) {
  size_t elems = dim[0] * dim[1] * dim[2];
  float *voxels = malloc(elems * sizeof *voxels);
  for (uint32_t i = 0; i < elems; i++) voxels[i] = (float)((i * 2654435761u) >> 20) / 4096;
  return voxels;
}

/* The whole grid, sampled in parts of `part` rows and columns. */
static float *grid_fill(const struct vn_grid *grid, const float *voxels, size_t part) {
  const size_t *n = grid->dim, *in = grid->view.dim;
  const struct vn_voxels source = {.data = (const unsigned char *)voxels, .type = VN_VOXEL_F32};
  const struct vn_walk walk = vn_view_walk(
      &grid->view, (const ptrdiff_t[]){4, (ptrdiff_t)in[2] * 4, (ptrdiff_t)(in[1] * in[2]) * 4});
  float *all = malloc(n[0] * n[1] * n[2] * sizeof *all);
  size_t most[3] = {1, part < n[1] ? part : n[1], part < n[2] ? part : n[2]};
  float *scratch = malloc(vn_grid_scratch(grid, most) * sizeof *scratch);
  float *plane = malloc(most[1] * most[2] * sizeof *plane);
  for (size_t d = 0; d < n[0]; d++)
    for (size_t h = 0; h < n[1]; h += most[1])
      for (size_t w = 0; w < n[2]; w += most[2]) {
        size_t start[2] = {h, w};
        size_t extent[2] = {h + most[1] < n[1] ? most[1] : n[1] - h,
                            w + most[2] < n[2] ? most[2] : n[2] - w};
        vn_grid_sample(grid, &source, &walk, d, start, extent, scratch, plane);
        for (size_t y = 0; y < extent[0]; y++)
          for (size_t x = 0; x < extent[1]; x++)
            all[(d * n[1] + h + y) * n[2] + w + x] = plane[y * extent[1] + x];
      }
  free(scratch);
  free(plane);
  return all;
}

static void samples_are_torch(void **state) {
  (void)state;
  static const size_t cases[][2][3] = {
      {{12, 9, 10}, {6, 3, 5}}, {{4, 6, 5}, {12, 12, 5}}, {{8, 12, 6}, {16, 4, 12}}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char path[1024];
    struct npy want;
    struct vn_diag diag;
    struct vn_grid grid;
    snprintf(path, sizeof path, "%s/grid/grid%zu.npy", GOLDEN_DIR, i);
    if (npy_read(path, &want, &diag)) fail_msg("%s", diag.text);
    struct vn_view view = view_of(cases[i][0]);
    double spacing[3];
    for (int a = 0; a < 3; a++) spacing[a] = (double)cases[i][0][a] / (double)cases[i][1][a];
    assert_int_equal(vn_grid_make(&view, spacing, &grid, &diag), VN_OK);
    assert_memory_equal(grid.dim, cases[i][1], sizeof grid.dim);
    float *voxels = volume_make(cases[i][0]);
    for (size_t part = 1; part < 14; part += 4) {
      float *have = grid_fill(&grid, voxels, part);
      for (size_t e = 0; e < want.elems; e++)
        if (!(fabsf(have[e] - ((float *)want.data)[e]) < 2e-6f))
          fail_msg("case %zu, element %zu: %g, torch has %g", i, e, (double)have[e],
                   (double)((float *)want.data)[e]);
      free(have);
    }
    free(voxels);
    npy_close(&want);
    vn_grid_close(&grid);
  }
}

/* The scan's own spacing, or one within 1 %: values come back bit for bit. */
static void same_spacing_is_exact(void **state) {
  (void)state;
  const size_t dim[3] = {5, 7, 6};
  struct vn_view view = view_of(dim);
  struct vn_grid grid;
  assert_int_equal(vn_grid_make(&view, (const double[]){1.009, 1, 0.991}, &grid, NULL), VN_OK);
  assert_memory_equal(grid.dim, dim, sizeof dim);
  float *voxels = volume_make(dim), *have = grid_fill(&grid, voxels, 3);
  assert_memory_equal(have, voxels, 5 * 7 * 6 * sizeof *have);
  free(have);
  free(voxels);
  vn_grid_close(&grid);
  /* Twice as far off is another spacing, and said to be. */
  assert_int_equal(vn_grid_make(&view, (const double[]){1.02, 0.98, 1}, &grid, NULL), VN_OK);
  assert_true(grid.spacing_mm[0] == 1.02 && grid.spacing_mm[1] == 0.98 && grid.dim[1] == 8);
  assert_true(grid.in[0].weight[0] < 1 && grid.in[2].weight[0] == 1);
  vn_grid_close(&grid);
}

/* The taps of every pair of extents: weights sum to 1, lie inside, are centred; the way back is
 * where the way in was. */
static void taps_are_sound(void **state) {
  (void)state;
  static const double ratios[] = {0.04, 0.3, 0.5, 0.77, 1.3, 2, 3.4, 7, 31};
  for (size_t r = 0; r < sizeof ratios / sizeof *ratios; r++)
    for (size_t size = 1; size < 40; size++) {
      struct vn_view view = view_of((const size_t[]){size, 1, 1});
      struct vn_grid grid;
      assert_int_equal(vn_grid_make(&view, (const double[]){ratios[r], 1, 1}, &grid, NULL), VN_OK);
      /* All of the field of view, and less than one grid point more at each end. */
      double over = (double)grid.dim[0] * ratios[r] - (double)size;
      assert_true(over > -1e-2 && (grid.dim[0] == 1 || over < ratios[r]));
      const struct vn_taps *sides[2] = {&grid.in[0], &grid.out[0]};
      size_t ins[2] = {size, grid.dim[0]}, outs[2] = {grid.dim[0], size};
      for (int s = 0; s < 2; s++)
        for (size_t i = 0; i < outs[s]; i++) {
          const struct vn_taps *t = sides[s];
          double sum = 0, at = 0, step = s == 0 ? ratios[r] : 1 / ratios[r];
          assert_true(t->first[i] + t->count <= ins[s]);
          assert_true(i == 0 || t->first[i] >= t->first[i - 1]);
          for (size_t k = 0; k < t->count; k++) {
            sum += (double)t->weight[i * t->count + k];
            at += (double)t->weight[i * t->count + k] * (double)(t->first[i] + k);
          }
          assert_true(fabs(sum - 1) < 1e-5);
          double x = 0.5 * (double)(ins[s] - 1) + ((double)i - 0.5 * (double)(outs[s] - 1)) * step;
          /* A wide triangle is cut at the ends, and its samples balance only nearly. */
          double reach = step > 1 && s == 0 ? step : 1, slack = reach > 1 ? 0.1 * reach : 1e-4;
          bool whole = x >= reach && x <= (double)(ins[s] - 1) - reach;
          assert_true(!whole || fabs(at - x) < slack);
        }
      vn_grid_close(&grid);
    }
}

static void strange_spacings_are_refused(void **state) {
  (void)state;
  const size_t dim[3] = {5, 7, 6};
  struct vn_view view = view_of(dim);
  static const double strange[] = {33, 0.03, 0, -1, NAN, INFINITY};
  for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
    struct vn_grid grid;
    struct vn_diag diag;
    assert_int_equal(vn_grid_make(&view, (const double[]){1, strange[i], 1}, &grid, &diag),
                     VN_E_UNSUPPORTED);
    vn_grid_close(&grid);
  }
}

static void orientation_is_nearest(void **state) {
  (void)state;
  /* i runs to posterior and a little down, j to superior, k to left */
  struct vn_image image = {
      .world = VN_WORLD_RAS,
      .dim = {4, 3, 2},
      .affine = {{0, 0, -3, 0}, {-0.9, 0.2, 0, 0}, {-0.4, 2, 0, 0}},
  };
  static const ptrdiff_t stride[3] = {1, 4, 12};
  struct vn_view view;
  struct vn_diag diag;
  assert_int_equal(vn_view_orient(&image, "RAS", &view, &diag), VN_OK);
  struct vn_walk walk = vn_view_walk(&view, stride);
  /* w = R = -k, h = A = -i, d = S = j */
  assert_memory_equal(view.dim, ((const size_t[]){3, 4, 2}), sizeof view.dim);
  assert_memory_equal(walk.step, ((const ptrdiff_t[]){4, -1, -12}), sizeof walk.step);
  assert_int_equal(walk.origin, 3 + 12);
  assert_true(fabs(view.spacing_mm[0] - hypot(0.2, 2)) < 1e-12 && view.spacing_mm[2] == 3);
  size_t ijk[3];
  vn_view_voxel(&view, (const size_t[]){2, 1, 0}, ijk);
  assert_memory_equal(ijk, ((const size_t[]){2, 2, 1}), sizeof ijk);
  assert_int_equal(vn_view_orient(&image, "PSL", &view, &diag), VN_OK);
  walk = vn_view_walk(&view, stride);
  assert_memory_equal(walk.step, ((const ptrdiff_t[]){12, 4, 1}), sizeof walk.step);
  static const char *const bad[] = {"", "RA", "RAP", "RAX", "ras", "RASR"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(vn_view_orient(&image, bad[i], &view, &diag), VN_E_FORMAT);
  image.world = VN_WORLD_UNKNOWN;
  assert_int_equal(vn_view_orient(&image, "RAS", &view, &diag), VN_E_UNSUPPORTED);
}

/* In every orientation that a model may ask for, of images that lie in every way: a step along w, h
 * and d of the view is one towards the side that its letter names, from the view's first voxel. */
static void orientation_is_as_named(void **state) {
  (void)state;
  static const char names[3][3] = {"RL", "AP", "SI"};
  static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                   {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (int lies = 0; lies < 48; lies++)
    for (int wanted = 0; wanted < 48; wanted++) {
      struct vn_image image = {.world = VN_WORLD_RAS, .dim = {3, 4, 5}};
      char letters[4] = "";
      for (int i = 0; i < 3; i++) {
        image.affine[orders[lies / 8][i]][i] = lies >> i & 1 ? -1 : 1;
        letters[i] = names[orders[wanted / 8][i]][wanted >> i & 1];
      }
      struct vn_view view;
      struct vn_diag diag;
      assert_int_equal(vn_view_orient(&image, letters, &view, &diag), VN_OK);
      for (int axis = 0; axis < 3; axis++) { /* d h w */
        size_t at[3] = {0, 0, 0}, from[3], to[3];
        vn_view_voxel(&view, at, from);
        at[axis] = 1;
        vn_view_voxel(&view, at, to);
        const int world = orders[wanted / 8][2 - axis];
        double moved = 0;
        for (int i = 0; i < 3; i++)
          moved += image.affine[world][i] * ((double)to[i] - (double)from[i]);
        assert_true(moved == (wanted >> (2 - axis) & 1 ? -1 : 1));
        assert_true((vn_view_side(&image, &view) == axis) == (world == 0));
      }
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(samples_are_torch),      cmocka_unit_test(same_spacing_is_exact),
      cmocka_unit_test(taps_are_sound),         cmocka_unit_test(strange_spacings_are_refused),
      cmocka_unit_test(orientation_is_nearest), cmocka_unit_test(orientation_is_as_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Shape, intensities, and what a scanner does to them; see generate.h. */
#include "generate.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "elementary.h"
#include "fail.h"
#include "field.h"
#include "scan.h"

enum { STREAM_SHAPE = 1, STREAM_LOOK, STREAM_TEXTURE, STREAM_NOISE };

/* The normal distribution between 0 and x >= 0, by its series (Marsaglia, "Evaluating the normal
 * distribution", 2004). */
static double normal_from_0(double x) {
  double sum = x, term = x, before = 0;
  for (double odd = 3; sum != before; odd += 2) {
    before = sum;
    term *= x * x / odd;
    sum += term;
  }
  return sum * vn_exp(-0.5 * x * x) * 0.3989422804014327;
}

void vnt_normals_fill(struct vnt_normals *normals) {
  /* Quantiles by bisection: exact to float, once. */
  for (int i = 0; i < 2048; i++) {
    const double want = (i + 0.5) / 4096;
    double low = 0, high = 6;
    for (int k = 0; k < 55; k++) {
      const double middle = 0.5 * (low + high);
      if (normal_from_0(middle) < want)
        low = middle;
      else
        high = middle;
    }
    normals->table[2048 + i] = (float)low;
    normals->table[2047 - i] = -(float)low;
  }
}

void vnt_generator_defaults(struct vnt_generator *g, const size_t patch[3], double spacing_mm) {
  *g = (struct vnt_generator){.spacing_mm = spacing_mm,
                              .rotate_deg = 20,
                              .scale = 0.18,
                              .shear = 0.08,
                              .shift_mm = 20,
                              .far = 0.2,
                              .far_mm = 70,
                              .bend_mm = 6,
                              .bend_every_mm = 36,
                              .flat = 0.12,
                              .dark = 0.12,
                              .bias = 0.6,
                              .bias_every_mm = 40,
                              .blur_vox = 0.9,
                              .slice_mm = 7,
                              .gamma = 0.25,
                              .noise = 0.08,
                              .negative = 0.15};
  memcpy(g->patch, patch, sizeof g->patch);
  vnt_normals_fill(&g->normals);
}

void vnt_generator_contrast(struct vnt_generator *g, enum vnt_contrast contrast) {
  static const double tissues[] = {0, 0.75, 1}, t1[] = {0, 0.5, 1};
  g->tissues = tissues[contrast];
  g->t1 = t1[contrast];
  if (contrast != VNT_CONTRAST_ANY) g->negative = 0; /* which is another order */
}

/* ---- the shape ---- */

struct sample {
  const struct vnt_generator *g;
  const struct vnt_labelmap *map;
  struct vnt_random texture, noise;
  double affine[3][4]; /* patch voxel (d h w 1) to map voxel */
  struct vnt_field bend[3], bias;
  float mean[VNT_STRUCTURES_MOST], sd[VNT_STRUCTURES_MOST];
  float *image, *other;
  uint8_t *target;
  int axis; /* of the blur under way */
  size_t reach;
  const float *kernel;    /* [2 reach + 1] */
  size_t low[3], high[3]; /* the field of view */
  float noise_sd, gamma;
  bool mirrored, rician, negative, dark; /* dark: a negative outside whose field of view is black */
  struct vn_intensity window;
};

/* Rotation, scale, shear and mirroring about the centre of the brain. */
static void affine_draw(struct sample *s, struct vnt_random *r) {
  const struct vnt_generator *g = s->g;
  double m[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
  for (int axis = 0; axis < 3; axis++) {
    const double a = vnt_random_real(r, -g->rotate_deg, g->rotate_deg) * 3.14159265358979 / 180;
    const int p = (axis + 1) % 3, q = (axis + 2) % 3;
    for (int row = 0; row < 3; row++) {
      const double x = m[row][p], y = m[row][q];
      m[row][p] = x * vn_cos(a) + y * vn_sin(a);
      m[row][q] = y * vn_cos(a) - x * vn_sin(a);
    }
  }
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++)
      if (i != j) m[i][j] += vnt_random_real(r, -g->shear, g->shear);
  const double whole = vnt_random_real(r, 1 - g->scale, 1 + g->scale);
  for (int j = 0; j < 3; j++) {
    double scale = whole * vnt_random_real(r, 1 - g->scale / 2, 1 + g->scale / 2);
    if (j == 2) s->mirrored = vnt_random_below(r, 2);
    if (j == 2 && s->mirrored) scale = -scale;
    for (int i = 0; i < 3; i++) m[i][j] *= scale;
  }
  const double shift_mm = vnt_random_real(r, 0, 1) < g->far ? g->far_mm : g->shift_mm;
  for (int i = 0; i < 3; i++) {
    s->affine[i][3] =
        s->map->centre[i] + vnt_random_real(r, -shift_mm, shift_mm) / s->map->spacing_mm[i];
    for (int j = 0; j < 3; j++) {
      s->affine[i][j] = m[i][j] * g->spacing_mm / s->map->spacing_mm[i];
      s->affine[i][3] -= s->affine[i][j] * 0.5 * (double)(g->patch[j] - 1);
    }
  }
}

/* Every structure its own mean and texture; both sides of the head are alike. */
static void look_draw(struct sample *s, struct vnt_random *r) {
  for (size_t i = 0; i < s->map->structures; i++) {
    s->mean[i] = (float)vnt_random_real(r, 0.02, 1);
    s->sd[i] = (float)vnt_random_real(r, 0, 0.1);
    for (size_t k = 0; k < i; k++)
      if (s->map->value[k] == vnt_other_side(s->map->value[i])) {
        s->mean[i] = s->mean[k];
        s->sd[i] = s->sd[k];
      }
    if (s->map->value[i] != 0) continue;
    const bool black = vnt_random_below(r, 2);
    s->mean[i] = black ? 0 : (float)vnt_random_real(r, 0, 0.2);
    s->sd[i] = black ? 0 : (float)vnt_random_real(r, 0, 0.05);
  }
}

/* Greys as MRI has them: of three tissues, and of what lies between. Structures keep some of their
 * own. */
static void tissues_draw(struct sample *s, struct vnt_random *r) {
  static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                   {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  const bool t1 = vnt_random_real(r, 0, 1) < s->g->t1;
  const int *order = orders[t1 ? 0 : vnt_random_below(r, 6)];
  double grey[3] = {vnt_random_real(r, 0.02, 0.35)};
  for (int i = 1; i < 3; i++) grey[i] = grey[i - 1] + vnt_random_real(r, 0.12, 0.4);
  const double fluid = grey[order[0]], cortex = grey[order[1]], white = grey[order[2]];
  for (size_t i = 0; i < s->map->structures; i++) {
    const double tissue = vnt_tissue(s->map->value[i]);
    if (isnan(tissue)) continue;
    const double of_it = tissue < 0 ? fluid : cortex + tissue * (white - cortex);
    s->mean[i] = (float)of_it + 0.1f * (s->mean[i] - 0.5f);
    s->sd[i] *= 0.5f;
  }
}

/* What a kind of scan does to many structures at once. */
static void kind_draw(struct sample *s, struct vnt_random *r) {
  const bool flat = vnt_random_real(r, 0, 1) < s->g->flat;
  const bool dark = vnt_random_real(r, 0, 1) < s->g->dark;
  const float contrast = (float)vnt_random_real(r, 0.02, 0.3);
  const float grey = (float)vnt_random_real(r, 0.1, 0.9), dim = (float)vnt_random_real(r, 0, 0.4);
  for (size_t i = 0; i < s->map->structures; i++) {
    const int value = s->map->value[i];
    if (flat && vnt_is_inside(value)) {
      s->mean[i] = grey + contrast * (s->mean[i] - grey);
      s->sd[i] *= contrast;
    }
    if (dark && value && !vnt_is_inside(value)) {
      s->mean[i] *= dim;
      s->sd[i] *= dim;
    }
  }
}

static void render_row(void *context, size_t job, size_t slot) {
  struct sample *s = context;
  const size_t *n = s->g->patch, *dim = s->map->dim;
  const uint8_t *sides = s->mirrored ? s->g->other_side : NULL;
  float bend[3][VNT_GENERATE_WIDEST], eight[8];
  const size_t d = job / n[1], h = job % n[1], row = job * n[2];
  (void)slot;
  for (int i = 0; i < 3; i++) vnt_field_row(&s->bend[i], d, h, n[2], bend[i]);
  for (size_t w = 0; w < n[2]; w++) {
    if (w % 8 == 0) vnt_normals_at(&s->g->normals, &s->texture, (uint32_t)(row + w), eight);
    size_t at[3];
    bool inside = true;
    for (int i = 0; i < 3; i++) {
      const double x = s->affine[i][0] * (double)d + s->affine[i][1] * (double)h +
                       s->affine[i][2] * (double)w + s->affine[i][3] + (double)bend[i][w] + 0.5;
      inside = inside && x >= 0 && x < (double)dim[i];
      at[i] = inside ? (size_t)x : 0;
    }
    const size_t from = (at[0] * dim[1] + at[1]) * dim[2] + at[2];
    const uint8_t structure = inside ? s->map->structure[from] : 0;
    const float v = s->mean[structure] + s->sd[structure] * eight[w % 8];
    s->image[row + w] = inside ? v : 0;
    const uint8_t target = inside ? s->map->target[from] : 0;
    s->target[row + w] = sides ? sides[target] : target;
  }
}

/* ---- what the scanner does ---- */

static void blur_row(void *context, size_t job, size_t slot) {
  struct sample *s = context;
  const size_t *n = s->g->patch, d = job / n[1], h = job % n[1];
  const size_t step = s->axis == 2 ? 1 : s->axis == 1 ? n[2] : n[1] * n[2];
  (void)slot;
  for (size_t w = 0; w < n[2]; w++) {
    const size_t i = job * n[2] + w, at = s->axis == 2 ? w : s->axis == 1 ? h : d;
    float sum = 0, total = 0;
    for (size_t k = 0; k <= 2 * s->reach; k++) {
      if (at + k < s->reach || at + k - s->reach >= n[s->axis]) continue;
      sum += s->kernel[k] * s->image[i + k * step - s->reach * step];
      total += s->kernel[k];
    }
    s->other[i] = sum / total;
  }
}

static void blur(struct sample *s, int axis, double sd, struct vn_pool *pool) {
  float kernel[2 * 12 + 1];
  if (sd < 0.15) return;
  s->axis = axis;
  s->reach = (size_t)fmin(ceil(2.5 * sd), 12);
  for (size_t k = 0; k <= 2 * s->reach; k++) {
    const double x = ((double)k - (double)s->reach) / sd;
    kernel[k] = (float)vn_exp(-0.5 * x * x);
  }
  s->kernel = kernel;
  vn_pool_run(pool, s->g->patch[0] * s->g->patch[1], blur_row, s);
  float *image = s->image;
  s->image = s->other;
  s->other = image;
}

static void bias_row(void *context, size_t job, size_t slot) {
  struct sample *s = context;
  const size_t *n = s->g->patch;
  float row[VNT_GENERATE_WIDEST], *to = s->image + job * n[2];
  (void)slot;
  vnt_field_row(&s->bias, job / n[1], job % n[1], n[2], row);
  for (size_t w = 0; w < n[2]; w++) to[w] *= (float)vn_exp((double)row[w]);
}

static bool in_view(const struct sample *s, size_t d, size_t h, size_t w) {
  return d >= s->low[0] && d < s->high[0] && h >= s->low[1] && h < s->high[1] && w >= s->low[2] &&
         w < s->high[2];
}

/* Noise, gamma, field of view, in the order of a scanner and of what is then done to its image. */
static void finish_row(void *context, size_t job, size_t slot) {
  struct sample *s = context;
  const size_t *n = s->g->patch, d = job / n[1], h = job % n[1], row = job * n[2];
  float eight[8];
  (void)slot;
  for (size_t w = 0; w < n[2]; w++) {
    if (w % 4 == 0) vnt_normals_at(&s->g->normals, &s->noise, (uint32_t)(row + w), eight);
    const float a = s->noise_sd * eight[2 * (w % 4)], b = s->noise_sd * eight[2 * (w % 4) + 1];
    float v = s->image[row + w];
    v = s->rician ? sqrtf((v + a) * (v + a) + b * b) : v + a;
    v = v > 0 ? (float)vn_pow((double)v, (double)s->gamma) : 0;
    const bool seen = in_view(s, d, h, w);
    s->image[row + w] = seen ? v : 0;
    if (!seen) s->target[row + w] = 0;
  }
}

static void window_row(void *context, size_t job, size_t slot) {
  struct sample *s = context;
  const size_t *n = s->g->patch, d = job / n[1], h = job % n[1];
  float *row = s->image + job * n[2];
  (void)slot;
  for (size_t w = 0; w < n[2]; w++) {
    const float v = vn_intensity_apply(&s->window, row[w]);
    row[w] = s->negative ? 1 - v : v;
    if (s->dark && !in_view(s, d, h, w)) row[w] = 0;
  }
}

/* Half of the samples lose some of their borders, mostly below. */
static void view_draw(struct sample *s, struct vnt_random *r) {
  for (int i = 0; i < 3; i++) {
    const double n = (double)s->g->patch[i];
    s->low[i] = 0;
    s->high[i] = s->g->patch[i];
    if (vnt_random_below(r, 2)) s->low[i] = (size_t)vnt_random_real(r, 0, (i ? 0.12 : 0.3) * n);
    if (vnt_random_below(r, 4) == 0) s->high[i] -= (size_t)vnt_random_real(r, 0, 0.12 * n);
  }
}

static bool sample_draw(struct sample *s, uint64_t seed, uint64_t index) {
  const struct vnt_generator *g = s->g;
  struct vnt_random r = vnt_random_open(seed, index, STREAM_SHAPE);
  affine_draw(s, &r);
  const double bend = vnt_random_real(&r, 0, g->bend_mm), apart = g->bend_every_mm / g->spacing_mm;
  const double step[3] = {apart, apart, apart};
  bool made = true;
  for (int i = 0; i < 3; i++)
    made = vnt_field_make(&s->bend[i], g->patch, step, bend / s->map->spacing_mm[i], &r) && made;
  struct vnt_random look = vnt_random_open(seed, index, STREAM_LOOK);
  look_draw(s, &look);
  if (g->tissues > 0 && vnt_random_real(&look, 0, 1) < g->tissues) tissues_draw(s, &look);
  kind_draw(s, &look);
  s->noise_sd = (float)vnt_random_real(&look, 0, g->noise);
  s->rician = vnt_random_below(&look, 2);
  /* A scanner's negative is padded with black by whoever cuts windows from it; a picture turned
   * into its negative after padding has a white rim. */
  const double turn = vnt_random_real(&look, 0, 1);
  s->negative = turn < g->negative;
  s->dark = turn < g->negative / 2;
  s->gamma = (float)vn_exp(g->gamma * vnt_random_normal(&look));
  view_draw(s, &look);
  const double bias = vnt_random_real(&look, 0, g->bias);
  const double wide = vnt_random_real(&look, 1, 2) * g->bias_every_mm / g->spacing_mm;
  made =
      vnt_field_make(&s->bias, g->patch, (const double[]){wide, wide, wide}, bias, &look) && made;
  s->texture = vnt_random_open(seed, index, STREAM_TEXTURE);
  s->noise = vnt_random_open(seed, index, STREAM_NOISE);
  return made;
}

enum vn_status vnt_generate(const struct vnt_generator *g, const struct vnt_labelmap *maps,
                            size_t n_maps, uint64_t seed, uint64_t index, struct vn_pool *pool,
                            float *image, uint8_t *target, struct vn_diag *diag) {
  const size_t elems = g->patch[0] * g->patch[1] * g->patch[2];
  struct vnt_random r = vnt_random_open(seed, index, 0);
  struct sample s = {
      .g = g, .map = &maps[vnt_random_below(&r, n_maps)], .image = image, .target = target};
  float *buffer = s.other = malloc(elems * sizeof *s.other);
  enum vn_status status = VN_OK;
  if (g->patch[2] > VNT_GENERATE_WIDEST)
    status = vn_fail(diag, VN_E_UNSUPPORTED, "patches of at most %d along w", VNT_GENERATE_WIDEST);
  if (!status && (!buffer || !sample_draw(&s, seed, index)))
    status = vn_fail(diag, VN_E_MEMORY, "out of memory for a sample");
  if (status == VN_OK) {
    const size_t rows = g->patch[0] * g->patch[1];
    vn_pool_run(pool, rows, render_row, &s);
    const double sd = vnt_random_real(&r, 0.2, g->blur_vox);
    const int thick = (int)vnt_random_below(&r, 6); /* half of the samples have thick slices */
    const double slice_mm = vnt_random_real(&r, g->spacing_mm, g->slice_mm);
    for (int axis = 0; axis < 3; axis++)
      blur(&s, axis, axis == thick ? 0.42 * slice_mm / g->spacing_mm : sd, pool);
    vn_pool_run(pool, rows, bias_row, &s);
    vn_pool_run(pool, rows, finish_row, &s);
    const struct vn_intensity_rule rule = {VN_INTENSITY_PERCENTILE, 0.5, 99.5, 0, 0};
    const struct vn_image seen = vnt_array_image(s.image, g->patch);
    status = vnt_intensity_fit(&rule, &seen, &s.window, diag);
    if (status != VN_OK && status != VN_E_MEMORY) { /* nothing in view */
      s.window = (struct vn_intensity){0, 1, 0, 1, false};
      status = VN_OK;
    }
    vn_pool_run(pool, rows, window_row, &s);
    if (s.image != image) memcpy(image, s.image, elems * sizeof *image);
  }
  for (int i = 0; i < 3; i++) vnt_field_close(&s.bend[i]);
  vnt_field_close(&s.bias);
  free(buffer);
  return status;
}

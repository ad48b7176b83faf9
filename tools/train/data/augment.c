/* Drawing an augmentation and carrying it out; see augment.h. Every kind draws from a stream of its
 * own, so that switching one off leaves the others as they were. Rows are jobs; no sum crosses
 * them. */
#include "augment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "augment_private.h"
#include "elementary.h"
#include "fail.h"
#include "field.h"

enum stream {
  STREAM_FLIP = 40,
  STREAM_AFFINE,
  STREAM_BEND,
  STREAM_CONTRAST,
  STREAM_BIAS,
  STREAM_BLUR,
  STREAM_SLICES,
  STREAM_NOISE,
  STREAM_GRAIN,
};

void vnt_augment_defaults(struct vnt_augment *augment, const size_t patch[3]) {
  size_t shortest = patch[0] < patch[1] ? patch[0] : patch[1];
  if (patch[2] < shortest) shortest = patch[2];
  *augment = (struct vnt_augment){
      .foreground = 0.5,
      .flip = {0.5, 0.5, 0.5},
      .affine_p = 0.5,
      .rotate_deg = 20,
      .scale = 0.25,
      .shear = 0.05,
      .bend_p = 0.3,
      .bend_vox = fmin(15, 0.2 * 0.5 * (double)shortest),
      .match_p = 0.2,
      .gamma_p = 0.3,
      .gamma = 0.25,
      .bias_p = 0.3,
      .bias = 0.4,
      .blur_p = 0.2,
      .blur_vox = 1,
      .slices_p = 0.2,
      .slices = 3,
      .noise_p = 0.2,
      .noise = 0.08,
  };
  vnt_normals_fill(&augment->normals);
}

void vnt_augment_paper(struct vnt_augment *augment) {
  *augment = (struct vnt_augment){.bend_p = 1, .bend_vox = 15, .match_p = 1};
  vnt_normals_fill(&augment->normals);
}

/* A sample under way. */
struct sample {
  const struct vnt_augment *augment;
  const struct vnt_source *source;
  const struct vnt_patch *patch;
  uint64_t seed, index;
  double affine[3][4];               /* patch voxel (d h w 1) to the scan's */
  bool swapped;                      /* left and right, by a flip */
  size_t at;                         /* the channel under way … */
  const struct vnt_channel *channel; /* … which is this */
  bool bent, curved, biased;
  struct vnt_field bend[3], bias;
  struct vnt_curve *curve;
  float noise_sd;
  struct vnt_random grain;
  float *image, *other; /* the sample, and where the next filter puts it */
  uint8_t *target;
  uint8_t *outside; /* 1: not in the scan */
};

/* Of the first channel and of all together the stream itself, of the others one that nobody has. */
static struct vnt_random draws(const struct sample *s, enum stream stream) {
  return vnt_random_open(s->seed, s->index, (uint32_t)stream + ((uint32_t)s->at << 8));
}

static struct vnt_random chance(const struct sample *s, enum stream stream, double probability,
                                bool *happens) {
  struct vnt_random r = draws(s, stream);
  *happens = vnt_random_real(&r, 0, 1) < probability;
  return r;
}

/* ---- shape ---- */

/* m = rotation about d, h, w, times shear, times scale: mm to mm. */
static void turn_draw(const struct vnt_augment *a, struct vnt_random *r, double m[3][3]) {
  for (int axis = 0; axis < 3; axis++) {
    const double angle = vnt_random_real(r, -a->rotate_deg, a->rotate_deg) * 3.14159265358979 / 180;
    const int p = (axis + 1) % 3, q = (axis + 2) % 3;
    for (int row = 0; row < 3; row++) {
      const double x = m[row][p], y = m[row][q];
      m[row][p] = x * vn_cos(angle) + y * vn_sin(angle);
      m[row][q] = y * vn_cos(angle) - x * vn_sin(angle);
    }
  }
  double shear[3][3], turned[3][3];
  const double most = vn_log(1 + a->scale), scale = vn_exp(vnt_random_real(r, -most, most));
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++)
      shear[i][j] = i == j ? 1 : j > i ? vnt_random_real(r, -a->shear, a->shear) : 0;
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++)
      turned[i][j] =
          scale * (m[i][0] * shear[0][j] + m[i][1] * shear[1][j] + m[i][2] * shear[2][j]);
  memcpy(m, turned, sizeof turned);
}

static void affine_draw(struct sample *s) {
  const struct vnt_augment *a = s->augment;
  double m[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
  bool happens = false;
  if (a) {
    struct vnt_random r = chance(s, STREAM_AFFINE, a->affine_p, &happens);
    if (happens) turn_draw(a, &r, m);
    r = draws(s, STREAM_FLIP);
    for (int j = 0; j < 3; j++) {
      if (vnt_random_real(&r, 0, 1) >= a->flip[j]) continue;
      for (int i = 0; i < 3; i++) m[i][j] = -m[i][j];
      s->swapped = s->swapped || (a->other_side && j == a->side_axis);
    }
  }
  for (int i = 0; i < 3; i++) {
    s->affine[i][3] = (double)s->patch->start[i] + 0.5 * (double)(s->patch->size[i] - 1);
    for (int j = 0; j < 3; j++) {
      s->affine[i][j] = m[i][j] * (s->source->spacing_mm[j] / s->source->spacing_mm[i]);
      s->affine[i][3] -= s->affine[i][j] * 0.5 * (double)(s->patch->size[j] - 1);
    }
  }
}

/* Two cells along each axis. A patch of one voxel has nothing to bend over. */
static void cells_of(const struct sample *s, double step[3]) {
  for (int i = 0; i < 3; i++) step[i] = fmax(0.5, 0.5 * (double)s->patch->size[i]);
}

static bool bend_draw(struct sample *s) {
  const struct vnt_augment *a = s->augment;
  double step[3];
  if (!a) return true;
  cells_of(s, step);
  struct vnt_random r = chance(s, STREAM_BEND, a->bend_p, &s->bent);
  for (int i = 0; i < 3 && s->bent; i++)
    if (!vnt_field_make(&s->bend[i], s->patch->size, step, a->bend_vox, &r)) return false;
  return true;
}

static bool bias_draw(struct sample *s) {
  const struct vnt_augment *a = s->augment;
  double step[3];
  if (!a) return true;
  cells_of(s, step);
  struct vnt_random r = chance(s, STREAM_BIAS, a->bias_p, &s->biased);
  const double sd = vnt_random_real(&r, 0, a->bias);
  return !s->biased || vnt_field_make(&s->bias, s->patch->size, step, sd, &r);
}

/* The scan's coordinates of row (d, h), d h w. */
static void row_place(const struct sample *s, size_t d, size_t h, float at[3][VNT_AUGMENT_WIDEST]) {
  const size_t n = s->patch->size[2];
  for (int i = 0; i < 3; i++) {
    const double *m = s->affine[i];
    const float from = (float)(m[0] * (double)d + m[1] * (double)h + m[3]), step = (float)m[2];
    float *to = at[i];
    if (s->bent) {
      vnt_field_row(&s->bend[i], d, h, n, to);
      for (size_t w = 0; w < n; w++) to[w] += from + step * (float)(int)w;
    } else {
      for (size_t w = 0; w < n; w++) to[w] = from + step * (float)(int)w;
    }
  }
}

/* Samples row (d, h). Beyond the scan's edge the nearest voxel stands in until row_finish, so that
 * filters do not smear the padding into the scan. */
static void row_sample(const struct sample *s, float at[3][VNT_AUGMENT_WIDEST], float *image,
                       uint8_t *target, uint8_t *outside) {
  const struct vnt_source *source = s->source;
  const size_t *dim = source->dim, step[3] = {dim[1] * dim[2], dim[2], 1};
  const float last[3] = {(float)(dim[0] - 1), (float)(dim[1] - 1), (float)(dim[2] - 1)};
  for (size_t w = 0; w < s->patch->size[2]; w++) {
    size_t corner = 0, nearest = 0, next[3];
    float part[3];
    bool in = true;
    for (int i = 0; i < 3; i++) {
      float x = at[i][w];
      in = in && x >= -0.5f && x < last[i] + 0.5f;
      x = x > 0 ? x : 0;
      x = x < last[i] ? x : last[i];
      const int floor = (int)x;
      part[i] = x - (float)floor;
      corner += (size_t)floor * step[i];
      nearest += (size_t)(int)(x + 0.5f) * step[i];
      next[i] = part[i] > 0 ? step[i] : 0; /* at the last voxel there is none */
    }
    const float *v = s->channel->image + corner, *low = v + next[1], *deep = v + next[0];
    const float *both = deep + next[1];
    const size_t e = next[2];
    const float a = v[0] + part[2] * (v[e] - v[0]), b = low[0] + part[2] * (low[e] - low[0]);
    const float c = deep[0] + part[2] * (deep[e] - deep[0]);
    const float f = both[0] + part[2] * (both[e] - both[0]);
    const float ab = a + part[1] * (b - a), cf = c + part[1] * (f - c);
    image[w] = ab + part[0] * (cf - ab);
    const uint8_t label = in ? source->target[nearest] : 0;
    target[w] = s->swapped ? s->augment->other_side[label] : label;
    outside[w] = !in;
  }
}

/* exp by its series to the fourth power, which stays positive: what matters of a bias field is that
 * it is smooth. */
static float exp_about(float x) {
  return 1 + x * (1 + x * (0.5f + x * (1.0f / 6 + x * (1.0f / 24))));
}

static void row_render(void *context, size_t job, size_t slot) {
  const struct sample *s = context;
  const size_t d = job / s->patch->size[1], h = job % s->patch->size[1];
  const size_t n = s->patch->size[2], row = job * n;
  float at[3][VNT_AUGMENT_WIDEST], *image = s->image + row;
  (void)slot;
  row_place(s, d, h, at);
  row_sample(s, at, image, s->target + row, s->outside + row);
  if (s->curved)
    for (size_t w = 0; w < n; w++) image[w] = vnt_curve_at(s->curve, image[w]);
  if (!s->biased) return;
  const float least = s->channel->landmarks.value[0];
  vnt_field_row(&s->bias, d, h, n, at[0]);
  for (size_t w = 0; w < n; w++) image[w] = least + (image[w] - least) * exp_about(at[0][w]);
}

/* ---- intensities ---- */

static bool curve_draw(struct sample *s, const struct vnt_source *other) {
  const struct vnt_augment *a = s->augment;
  if (!a) return true;
  bool match, gamma;
  struct vnt_random r = chance(s, STREAM_CONTRAST, a->match_p, &match);
  gamma = vnt_random_real(&r, 0, 1) < a->gamma_p;
  const double exponent = gamma ? vn_exp(a->gamma * vnt_random_normal(&r)) : 1;
  match = match && other;
  if (!match && !gamma) return true;
  s->curve = malloc(sizeof *s->curve);
  if (!s->curve) return false;
  vnt_curve_make(s->curve, &s->channel->landmarks, match ? &other->channel[s->at].landmarks : NULL,
                 exponent);
  s->curved = true;
  return true;
}

/* Runs the taps along one axis from image to other, and swaps them. */
static bool filter_run(struct sample *s, struct vn_taps *taps, bool made, int axis,
                       struct vn_pool *pool) {
  if (made) {
    vnt_taps_run(taps, axis, s->patch->size, s->image, s->other, pool);
    float *image = s->image;
    s->image = s->other;
    s->other = image;
  }
  vnt_taps_close(taps);
  return made;
}

static bool filters_run(struct sample *s, struct vn_pool *pool) {
  const struct vnt_augment *a = s->augment;
  if (!a) return true;
  const size_t *size = s->patch->size;
  bool happens, good = true;
  struct vn_taps taps = {0};
  struct vnt_random r = chance(s, STREAM_BLUR, a->blur_p, &happens);
  const double sd = vnt_random_real(&r, 0, a->blur_vox);
  /* Less than this changes a neighbour's weight by 4e-6. */
  for (int i = 0; i < 3 && happens && sd > 0.2; i++)
    good = good && filter_run(s, &taps, vnt_taps_blur(&taps, size[i], sd), i, pool);
  r = chance(s, STREAM_SLICES, a->slices_p, &happens);
  const double thick = vnt_random_real(&r, 1, fmax(1, a->slices));
  const size_t only = vnt_random_below(&r, 6); /* 0 to 2: along this axis; others: along all */
  for (int i = 0; i < 3 && happens && thick > 1; i++)
    if (only > 2 || only == (size_t)i)
      good = good && filter_run(s, &taps, vnt_taps_slices(&taps, size[i], thick), i, pool);
  return good;
}

/* Noise, limits, padding. */
static void row_finish(void *context, size_t row, size_t slot) {
  const struct sample *s = context;
  const size_t n = s->patch->size[2], eights = (n + 7) / 8;
  const struct vn_intensity *limit = &s->channel->intensity;
  float *image = s->image + row * n, eight[8];
  const uint8_t *outside = s->outside + row * n;
  (void)slot;
  for (size_t w = 0; w < n && s->noise_sd > 0; w++) {
    if (w % 8 == 0)
      vnt_normals_at(&s->augment->normals, &s->grain, (uint32_t)(row * eights + w / 8), eight);
    image[w] += s->noise_sd * eight[w % 8];
  }
  for (size_t w = 0; w < n; w++) {
    float v = image[w];
    v = v < limit->low ? limit->low : v;
    v = v > limit->high ? limit->high : v;
    image[w] = outside[w] ? 0 : v;
  }
}

static void noise_draw(struct sample *s) {
  const struct vnt_augment *a = s->augment;
  if (!a) return;
  bool happens;
  struct vnt_random r = chance(s, STREAM_NOISE, a->noise_p, &happens);
  const double range = (double)s->channel->landmarks.high - (double)s->channel->landmarks.low;
  if (happens) s->noise_sd = (float)(vnt_random_real(&r, 0, a->noise) * range);
  s->grain = draws(s, STREAM_GRAIN);
}

/* One channel of it: s->image and s->other are a plane's, and may have changed places after it. */
static bool channel_make(struct sample *s, size_t c, const struct vnt_source *other,
                         struct vn_pool *pool) {
  const size_t rows = s->patch->size[0] * s->patch->size[1];
  s->at = c;
  s->channel = &s->source->channel[c];
  s->noise_sd = 0;
  s->curved = false;
  noise_draw(s);
  bool good = bias_draw(s) && curve_draw(s, other);
  if (good) {
    vn_pool_run(pool, rows, row_render, s);
    good = filters_run(s, pool);
    vn_pool_run(pool, rows, row_finish, s);
  }
  vnt_field_close(&s->bias);
  free(s->curve);
  s->curve = NULL;
  return good;
}

enum vn_status vnt_augment_apply(const struct vnt_augment *augment, const struct vnt_source *source,
                                 const struct vnt_source *other, const struct vnt_patch *patch,
                                 uint64_t seed, uint64_t index, struct vn_pool *pool, float *image,
                                 uint8_t *target, struct vn_diag *diag) {
  const size_t *size = patch->size, elems = size[0] * size[1] * size[2], n = source->channels;
  if (size[2] > VNT_AUGMENT_WIDEST)
    return vn_fail(diag, VN_E_UNSUPPORTED, "patches of %zu along w: at most %d", size[2],
                   VNT_AUGMENT_WIDEST);
  struct sample s = {.augment = augment,
                     .source = source,
                     .patch = patch,
                     .seed = seed,
                     .index = index,
                     .target = target};
  float *buffer = malloc((n > 1 ? 2 : 1) * elems * sizeof *buffer);
  s.image = n > 1 && buffer ? buffer + elems : image;
  s.other = buffer;
  s.outside = malloc(elems);
  affine_draw(&s);
  bool good = buffer && s.outside && bend_draw(&s);
  for (size_t c = 0; c < n && good; c++) {
    good = channel_make(&s, c, other, pool);
    if (s.image == image) continue;
    for (size_t i = 0; i < elems; i++) image[i * n + c] = s.image[i];
  }
  for (int i = 0; i < 3; i++) vnt_field_close(&s.bend[i]);
  free(s.outside);
  free(buffer);
  return good ? VN_OK : vn_fail(diag, VN_E_MEMORY, "out of memory for a sample");
}

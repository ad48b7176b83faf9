/* From vnet.intensity and a scan's voxels to the four numbers that normalise it; see intensity.h.
 */
#include "intensity.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t vn_numbers_parse(const char *text, double *numbers, size_t most) {
  locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
  if (!plain) return SIZE_MAX;
  size_t count = 0;
  for (text += strspn(text, " \t"); *text; text += strspn(text, " \t")) {
    char *end;
    double number = strtod_l(text, &end, plain);
    if (end == text || !isfinite(number) || count == most || (*end && !strchr(" \t", *end))) {
      count = SIZE_MAX;
      break;
    }
    numbers[count++] = number;
    text = end;
  }
  freelocale(plain);
  return count;
}

enum vn_status vn_intensity_parse(const char *text, struct vn_intensity_rule *rule,
                                  struct vn_diag *diag) {
  static const struct {
    const char *name;
    size_t numbers;
  } kinds[] = {{"none", 0}, {"zscore", 0}, {"percentile", 2}, {"window", 2}};
  if (!text) text = "none";
  size_t word = strcspn(text, " \t");
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    if (strlen(kinds[k].name) != word || strncmp(text, kinds[k].name, word)) continue;
    double number[2] = {0};
    bool good = vn_numbers_parse(text + word, number, 2) == kinds[k].numbers;
    *rule = (struct vn_intensity_rule){(enum vn_intensity_kind)k, number[0], number[1]};
    if (kinds[k].numbers) good = good && rule->a < rule->b;
    if (rule->kind == VN_INTENSITY_PERCENTILE) good = good && rule->a >= 0 && rule->b <= 100;
    if (good) return VN_OK;
  }
  return vn_fail(diag, VN_E_FORMAT,
                 "the model's vnet.intensity is '%.60s', not none, zscore, percentile A B or "
                 "window A B",
                 text);
}

/* ---- sums: one for each few rows, then those in order ---- */

enum { PART_VOXELS = 1 << 16 };

struct part {
  double sum;
  size_t bad, first_bad;
  float least;
};

struct sums {
  const struct vn_image *image;
  const struct vn_voxels *voxels;
  double mean;
  bool squares; /* sum (x - mean)^2 instead of x */
  size_t rows, rows_part;
  struct part *parts;
  float *row; /* [parts][dim i] */
};

static void row_add(const struct sums *s, const float *row, size_t first, struct part *p) {
  for (size_t i = 0; i < s->image->dim[0]; i++) {
    const float x = row[i];
    if (!isfinite(x)) {
      if (p->bad++ == 0) p->first_bad = first + i;
      continue;
    }
    const double off = (double)x - s->mean;
    p->sum += s->squares ? off * off : off;
    p->least = x < p->least ? x : p->least;
  }
}

static void part_sum(void *context, size_t job) {
  struct sums *s = context;
  const struct vn_image *image = s->image;
  float *row = s->row + job * image->dim[0];
  struct part part = {.least = INFINITY};
  for (size_t r = job * s->rows_part; r < s->rows && r < (job + 1) * s->rows_part; r++) {
    vn_image_row(image, s->voxels, r % image->dim[1], r / image->dim[1], row);
    row_add(s, row, r * image->dim[0], &part);
  }
  s->parts[job] = part;
}

/* Fills *total from all parts in order. */
static enum vn_status sums_take(struct sums *s, struct vn_stage *stage, struct part *total,
                                struct vn_diag *diag) {
  const size_t *dim = s->image->dim;
  s->rows = dim[1] * dim[2];
  s->rows_part = dim[0] < PART_VOXELS ? PART_VOXELS / dim[0] : 1;
  const size_t parts = (s->rows + s->rows_part - 1) / s->rows_part;
  s->parts = malloc(parts * sizeof *s->parts);
  s->row = calloc(parts, dim[0] * sizeof *s->row);
  enum vn_status status = VN_OK;
  if (!s->parts || !s->row) status = vn_fail(diag, VN_E_MEMORY, "out of memory");
  if (status == VN_OK) status = vn_stage_jobs(stage, parts, part_sum, s, diag);
  *total = (struct part){.least = INFINITY};
  for (size_t i = 0; status == VN_OK && i < parts; i++) {
    const struct part *p = &s->parts[i];
    if (p->bad && !total->bad) total->first_bad = p->first_bad;
    total->bad += p->bad;
    total->sum += p->sum;
    total->least = p->least < total->least ? p->least : total->least;
  }
  free(s->parts);
  free(s->row);
  return status;
}

enum vn_status vn_survey_take(const struct vn_image *image, const struct vn_voxels *voxels,
                              struct vn_stage *stage, struct vn_survey *survey,
                              struct vn_diag *diag) {
  struct sums sums = {.image = image, .voxels = voxels};
  struct part total;
  enum vn_status status = sums_take(&sums, stage, &total, diag);
  const size_t elems = vn_image_elems(image);
  *survey = (struct vn_survey){.elems = elems,
                               .bad = total.bad,
                               .first_bad = total.first_bad,
                               .least = total.least,
                               .mean = total.sum / (double)elems};
  return status;
}

enum vn_status vn_survey_finite(const struct vn_image *image, const struct vn_survey *survey,
                                struct vn_diag *diag) {
  if (survey->bad == 0) return VN_OK;
  const size_t *dim = image->dim, at = survey->first_bad;
  return vn_fail(diag, VN_E_FORMAT,
                 "%zu of %zu voxels are NaN, infinite or beyond float32, the first at %zu %zu %zu",
                 survey->bad, survey->elems, at % dim[0], at / dim[0] % dim[1],
                 at / dim[0] / dim[1]);
}

static enum vn_status zscore_fit(const struct vn_image *image, const struct vn_voxels *voxels,
                                 const struct vn_survey *survey, struct vn_stage *stage,
                                 struct vn_intensity *intensity, struct vn_diag *diag) {
  struct sums sums = {.image = image, .voxels = voxels, .mean = survey->mean, .squares = true};
  struct part total;
  enum vn_status status = sums_take(&sums, stage, &total, diag);
  if (status) return status;
  const double sd = sqrt(total.sum / (double)survey->elems);
  if (sd <= 1e-12 * fabs(survey->mean)) /* the mean of equal voxels is rounded, too */
    return vn_fail(diag, VN_E_UNSUPPORTED, "every voxel of the scan is %g: nothing to segment",
                   survey->mean);
  intensity->shift = (float)survey->mean;
  intensity->scale = (float)(1 / fmax(sd, 1e-8));
  return VN_OK;
}

/* ---- percentiles: exact, by a two-level histogram over the bits of the floats ---- */

enum { BINS = 1 << 16 };

/* Floats in their order as unsigned integers. */
static uint32_t key_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static float float_of(uint32_t key) {
  uint32_t bits = key & 0x80000000u ? key & 0x7FFFFFFFu : ~key;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* The bin that holds the rank-th smallest; *rank becomes its rank within the bin. */
static uint32_t bin_of(const uint64_t *bins, uint64_t *rank) {
  uint32_t bin = 0;
  while (*rank >= bins[bin]) *rank -= bins[bin++];
  return bin;
}

/* The voxels of an image, counted into bins. */
struct histogram {
  const struct vn_image *image;
  const struct vn_voxels *voxels;
  struct vn_stage *stage;
  uint64_t *upper, *lower; /* by the upper half of the key; by the lower, for one upper half */
  float *row;
};

/* Counts into `upper`, or, with `high`, the keys of that upper half into `lower`. */
static bool bins_count(struct histogram *h, const uint32_t *high, double from, double to) {
  const size_t *dim = h->image->dim;
  memset(high ? h->lower : h->upper, 0, BINS * sizeof *h->upper);
  for (size_t r = 0; r < dim[1] * dim[2]; r++) {
    vn_image_row(h->image, h->voxels, r % dim[1], r / dim[1], h->row);
    for (size_t i = 0; i < dim[0]; i++) {
      const uint32_t key = key_of(h->row[i]);
      if (!high)
        h->upper[key >> 16]++;
      else if (key >> 16 == *high)
        h->lower[key & 0xFFFF]++;
    }
    if (r % 64 == 0 &&
        !vn_stage_tell(h->stage, from + (to - from) * (double)r / (double)(dim[1] * dim[2])))
      return false;
  }
  return true;
}

/* value[i] is the rank[i]-th smallest voxel. Two passes, and one more for each far rank. */
static bool ranks_select(struct histogram *h, size_t count, const uint64_t *rank, float *value) {
  if (!bins_count(h, NULL, 0, 0.2)) return false;
  uint32_t counted = UINT32_MAX; /* the upper half whose lower halves are in `lower` */
  for (size_t r = 0; r < count; r++) {
    uint64_t within = rank[r];
    uint32_t high = bin_of(h->upper, &within);
    const double part = 0.8 / (double)count, from = 0.2 + part * (double)r;
    if (high != counted && !bins_count(h, &high, from, from + part)) return false;
    counted = high;
    value[r] = float_of(high << 16 | bin_of(h->lower, &within));
  }
  return true;
}

static enum vn_status ranks_find(const struct vn_image *image, const struct vn_voxels *voxels,
                                 struct vn_stage *stage, size_t count, const uint64_t *rank,
                                 float *value, struct vn_diag *diag) {
  struct histogram h = {image,
                        voxels,
                        stage,
                        malloc(BINS * sizeof(uint64_t)),
                        malloc(BINS * sizeof(uint64_t)),
                        malloc(image->dim[0] * sizeof(float))};
  enum vn_status status = VN_OK;
  if (!h.upper || !h.lower || !h.row)
    status = vn_fail(diag, VN_E_MEMORY, "out of memory");
  else if (!ranks_select(&h, count, rank, value))
    status = vn_stage_cancelled(diag);
  free(h.upper);
  free(h.lower);
  free(h.row);
  return status;
}

static enum vn_status percentile_fit(const struct vn_intensity_rule *rule,
                                     const struct vn_image *image, const struct vn_voxels *voxels,
                                     struct vn_stage *stage, struct vn_intensity *intensity,
                                     struct vn_diag *diag) {
  double percent[2] = {rule->a, rule->b}, part[2], edge[2];
  const size_t elems = vn_image_elems(image);
  uint64_t rank[4];
  float value[4];
  for (int i = 0; i < 2; i++) {
    double at = percent[i] / 100 * (double)(elems - 1);
    rank[2 * i] = (uint64_t)at;
    rank[2 * i + 1] = rank[2 * i] + 1 < elems ? rank[2 * i] + 1 : elems - 1;
    part[i] = at - (double)rank[2 * i];
  }
  enum vn_status status = ranks_find(image, voxels, stage, 4, rank, value, diag);
  if (status) return status;
  for (int i = 0; i < 2; i++)
    edge[i] = value[2 * i] + part[i] * ((double)value[2 * i + 1] - (double)value[2 * i]);
  if (!(edge[0] < edge[1]))
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "percentiles %g and %g of the scan are both %g: nothing to segment", rule->a,
                   rule->b, edge[0]);
  *intensity = (struct vn_intensity){(float)edge[0], (float)(1 / (edge[1] - edge[0])), 0, 1};
  return VN_OK;
}

enum vn_status vn_intensity_fit(const struct vn_intensity_rule *rule, const struct vn_image *image,
                                const struct vn_voxels *voxels, const struct vn_survey *survey,
                                struct vn_stage *stage, struct vn_intensity *intensity,
                                struct vn_diag *diag) {
  *intensity = (struct vn_intensity){0, 1, -INFINITY, INFINITY};
  enum vn_status status = VN_OK;
  if (rule->kind == VN_INTENSITY_ZSCORE)
    status = zscore_fit(image, voxels, survey, stage, intensity, diag);
  else if (rule->kind == VN_INTENSITY_PERCENTILE)
    status = percentile_fit(rule, image, voxels, stage, intensity, diag);
  else if (rule->kind == VN_INTENSITY_WINDOW)
    *intensity = (struct vn_intensity){(float)rule->a, (float)(1 / (rule->b - rule->a)), 0, 1};
  if (status == VN_OK && !(isfinite(intensity->shift) && isnormal(intensity->scale)))
    status = vn_fail(diag, VN_E_UNSUPPORTED, "the scan's range of intensities is beyond float32");
  return status;
}

/* From vnet.intensity and a scan's voxels to the four numbers that normalise it; see
 * intensity.h. */
#include "intensity.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "histogram.h"
#include "os.h"

static size_t numbers_parse(const char *text, size_t length, double *numbers, size_t most) {
  struct vn_os_numbers host;
  if (!vn_os_numbers_plain(&host)) return SIZE_MAX;
  const char *const end = text + length;
  size_t count = 0;
  for (;;) {
    while (text < end && strchr(" \t", *text)) text++;
    if (text == end) break;
    char *rest;
    const double number = strtod(text, &rest);
    if (rest == text || !isfinite(number) || count == most ||
        (rest < end && !strchr(" \t", *rest))) {
      count = SIZE_MAX;
      break;
    }
    numbers[count++] = number;
    text = rest;
  }
  vn_os_numbers_restore(&host);
  return count;
}

size_t vn_numbers_parse(const char *text, double *numbers, size_t most) {
  return numbers_parse(text, strlen(text), numbers, most);
}

/* Can it be a window's, in float32? */
static bool is_range(double a, double b) {
  return a < b && isfinite((float)a) && isnormal((float)(1 / (b - a)));
}

static bool kind_parse(const char *text, size_t length, struct vn_intensity_rule *rule) {
  static const struct {
    const char *name;
    size_t numbers;
  } kinds[] = {{"none", 0}, {"zscore", 0}, {"percentile", 2}, {"window", 2}};
  size_t word = 0;
  while (word < length && !strchr(" \t", text[word])) word++;
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    if (strlen(kinds[k].name) != word || strncmp(text, kinds[k].name, word)) continue;
    double number[2] = {0};
    bool good = numbers_parse(text + word, length - word, number, 2) == kinds[k].numbers;
    *rule = (struct vn_intensity_rule){(enum vn_intensity_kind)k, number[0], number[1], 0, 0};
    if (kinds[k].numbers) good = good && is_range(rule->a, rule->b);
    if (rule->kind == VN_INTENSITY_PERCENTILE) good = good && rule->a >= 0 && rule->b <= 100;
    return good;
  }
  return false;
}

/* What follows the comma. */
static bool ct_parse(const char *text, struct vn_intensity_rule *rule) {
  double number[2];
  text += strspn(text, " \t");
  if (strncmp(text, "ct", 2) || !text[2] || !strchr(" \t", text[2])) return false;
  if (vn_numbers_parse(text + 2, number, 2) != 2 || !is_range(number[0], number[1])) return false;
  rule->ct_a = number[0];
  rule->ct_b = number[1];
  return true;
}

enum vn_status vn_intensity_parse(const char *text, struct vn_intensity_rule *rule,
                                  struct vn_diag *diag) {
  if (!text) text = "none";
  const size_t first = strcspn(text, ",");
  if (kind_parse(text, first, rule) && (!text[first] || ct_parse(text + first + 1, rule)))
    return VN_OK;
  return vn_fail(diag, VN_E_FORMAT,
                 "the model's vnet.intensity is '%.60s', not none, zscore, percentile A B or "
                 "window A B, which ', ct A B' may follow",
                 text);
}

/* ---- sums: one for each few rows, then those in order ---- */

enum { PART_VOXELS = 1 << 16 };
static const float AIR_LEAST = -1536, AIR_MOST = -500; /* Hounsfield units */

struct part {
  double sum;
  size_t own, bad, first_bad, air;
  float least, most;
};

struct sums {
  const struct vn_image *image;
  const struct vn_voxels *voxels;
  float low, high; /* what lies outside is passed over */
  double mean;
  bool squares; /* sum (x - mean)^2 instead of x */
  size_t rows, rows_part;
  struct part *parts;
  float *row; /* [parts][dim i] */
};

static void row_add(const struct sums *s, const float *row, size_t first, struct part *p) {
  for (size_t i = 0; i < s->image->dim[0]; i++) {
    const float x = row[i];
    if (!(x >= s->low && x <= s->high)) {
      if (!isfinite(x) && p->bad++ == 0) p->first_bad = first + i;
      continue;
    }
    const double off = (double)x - s->mean;
    p->sum += s->squares ? off * off : off;
    p->own++;
    p->air += x >= AIR_LEAST && x <= AIR_MOST;
    p->least = x < p->least ? x : p->least;
    p->most = x > p->most ? x : p->most;
  }
}

static void part_sum(void *context, size_t job) {
  struct sums *s = context;
  const struct vn_image *image = s->image;
  float *row = s->row + job * image->dim[0];
  struct part part = {.least = INFINITY, .most = -INFINITY};
  for (size_t r = job * s->rows_part; r < s->rows && r < (job + 1) * s->rows_part; r++) {
    vn_image_row(image, s->voxels, r % image->dim[1], r / image->dim[1], row);
    row_add(s, row, r * image->dim[0], &part);
  }
  s->parts[job] = part;
}

static size_t part_rows(const size_t dim[3]) {
  return dim[0] < PART_VOXELS ? PART_VOXELS / dim[0] : 1;
}

/* Fills *total from all parts in order. */
static enum vn_status sums_take(struct sums *s, struct vn_stage *stage, struct part *total,
                                struct vn_diag *diag) {
  const size_t *dim = s->image->dim;
  s->rows = dim[1] * dim[2];
  s->rows_part = part_rows(dim);
  const size_t parts = (s->rows + s->rows_part - 1) / s->rows_part;
  s->parts = malloc(parts * sizeof *s->parts);
  s->row = calloc(parts, dim[0] * sizeof *s->row);
  enum vn_status status = VN_OK;
  if (!s->parts || !s->row) status = vn_fail(diag, VN_E_MEMORY, "out of memory");
  if (status == VN_OK) status = vn_stage_jobs(stage, parts, part_sum, s, diag);
  *total = (struct part){.least = INFINITY, .most = -INFINITY};
  for (size_t i = 0; status == VN_OK && i < parts; i++) {
    const struct part *p = &s->parts[i];
    if (p->bad && !total->bad) total->first_bad = p->first_bad;
    total->bad += p->bad;
    total->own += p->own;
    total->air += p->air;
    total->sum += p->sum;
    total->least = p->least < total->least ? p->least : total->least;
    total->most = p->most > total->most ? p->most : total->most;
  }
  free(s->parts);
  free(s->row);
  return status;
}

enum vn_status vn_survey_range(const struct vn_image *image, const struct vn_voxels *voxels,
                               float low, float high, struct vn_stage *stage,
                               struct vn_survey *survey, struct vn_diag *diag) {
  struct sums sums = {.image = image, .voxels = voxels, .low = low, .high = high};
  struct part total;
  enum vn_status status = sums_take(&sums, stage, &total, diag);
  survey->voxels = *voxels;
  survey->elems = vn_image_elems(image);
  survey->own = total.own;
  survey->bad = total.bad;
  survey->first_bad = total.first_bad;
  survey->air = total.air;
  survey->low = low;
  survey->high = high;
  survey->least = total.least;
  survey->most = total.most;
  survey->mean = total.sum / (double)(total.own ? total.own : 1);
  return status;
}

enum vn_status vn_survey_take(const struct vn_image *image, const struct vn_voxels *voxels,
                              struct vn_stage *stage, struct vn_survey *survey,
                              struct vn_diag *diag) {
  *survey = (struct vn_survey){0};
  return vn_survey_range(image, voxels, -FLT_MAX, FLT_MAX, stage, survey, diag);
}

void vn_survey_close(struct vn_survey *survey) {
  free(survey->bins);
  survey->bins = NULL;
}

uint64_t vn_survey_bytes(const struct vn_image *image) {
  const size_t *dim = image->dim, rows = part_rows(dim);
  const uint64_t parts = ((uint64_t)dim[1] * dim[2] + rows - 1) / rows;
  return 2 * VN_BINS * sizeof(uint64_t) + (uint64_t)dim[0] * sizeof(float) +
         parts * (sizeof(struct part) + dim[0] * sizeof(float));
}

enum vn_status vn_survey_finite(const struct vn_image *image, const struct vn_survey *survey,
                                struct vn_diag *diag) {
  if (survey->bad == 0) return VN_OK;
  const size_t *dim = image->dim, at = survey->first_bad;
  return vn_fail(diag, VN_E_FORMAT,
                 "%zu of %zu voxels are NaN, infinite or beyond float32, the first at %zu %zu %zu: "
                 "replace_nan (--replace-nan) takes the smallest value for them",
                 survey->bad, survey->elems, at % dim[0], at / dim[0] % dim[1],
                 at / dim[0] / dim[1]);
}

static enum vn_status zscore_fit(const struct vn_image *image, const struct vn_survey *survey,
                                 struct vn_stage *stage, struct vn_intensity *intensity,
                                 struct vn_diag *diag) {
  struct sums sums = {.image = image,
                      .voxels = &survey->voxels,
                      .low = survey->low,
                      .high = survey->high,
                      .mean = survey->mean,
                      .squares = true};
  struct part total;
  enum vn_status status = sums_take(&sums, stage, &total, diag);
  if (status) return status;
  const double sd = sqrt(total.sum / (double)survey->own);
  if (sd <= 1e-12 * fabs(survey->mean)) /* the mean of equal voxels is rounded, too */
    return vn_fail(diag, VN_E_UNSUPPORTED, "every voxel of the scan is %g: nothing to segment",
                   survey->mean);
  intensity->shift = (float)survey->mean;
  intensity->scale = (float)(1 / fmax(sd, 1e-8));
  return VN_OK;
}

/* ---- percentiles: exact, by a two-level histogram over the bits of the floats ---- */

/* The bin that holds the rank-th smallest; *rank becomes its rank within the bin. */
static uint32_t bin_of(const uint64_t *bins, uint64_t *rank) {
  uint32_t bin = 0;
  while (bin + 1 < VN_BINS && *rank >= bins[bin]) *rank -= bins[bin++];
  return bin;
}

/* The voxels of an image, counted into bins. */
struct histogram {
  const struct vn_image *image;
  const struct vn_voxels *voxels;
  struct vn_stage *stage;
  const uint64_t *upper; /* by the upper half of the key */
  uint64_t *lower;       /* by the lower, for one upper half */
  float *row;
};

/* value[i] is the rank[i]-th smallest voxel. One pass for each rank that is far from the others. */
static bool ranks_select(struct histogram *h, size_t count, const uint64_t *rank, float *value) {
  uint32_t counted = UINT32_MAX; /* the upper half whose lower halves are in `lower` */
  for (size_t r = 0; r < count; r++) {
    uint64_t within = rank[r];
    uint32_t high = bin_of(h->upper, &within);
    const double part = 0.8 / (double)count, from = 0.2 + part * (double)r;
    if (high != counted &&
        !vn_bins_count(h->image, h->voxels, &high, h->stage, from, from + part, h->row, h->lower))
      return false;
    counted = high;
    value[r] = vn_float_of(high << 16 | bin_of(h->lower, &within));
  }
  return true;
}

static enum vn_status ranks_find(const struct vn_image *image, const struct vn_survey *survey,
                                 struct vn_stage *stage, size_t count, const uint64_t *rank,
                                 float *value, struct vn_diag *diag) {
  const struct vn_voxels *voxels = &survey->voxels;
  uint64_t *mine = survey->bins ? NULL : malloc(VN_BINS * sizeof *mine);
  uint64_t *lower = malloc(VN_BINS * sizeof *lower);
  float *row = malloc(image->dim[0] * sizeof *row);
  struct histogram h = {image, voxels, stage, mine ? mine : survey->bins, lower, row};
  enum vn_status status = VN_OK;
  if (!h.upper || !lower || !row)
    status = vn_fail(diag, VN_E_MEMORY, "out of memory");
  else if ((mine && !vn_bins_count(image, voxels, NULL, stage, 0, 0.2, row, mine)) ||
           !ranks_select(&h, count, rank, value))
    status = vn_stage_cancelled(diag);
  free(mine);
  free(lower);
  free(row);
  return status;
}

static struct vn_intensity window_of(double a, double b) {
  return (struct vn_intensity){(float)a, (float)(1 / (b - a)), 0, 1, false};
}

static enum vn_status percentile_fit(const struct vn_intensity_rule *rule,
                                     const struct vn_image *image, const struct vn_survey *survey,
                                     struct vn_stage *stage, struct vn_intensity *intensity,
                                     struct vn_diag *diag) {
  double percent[2] = {rule->a, rule->b}, part[2], edge[2];
  const size_t elems = survey->own;
  uint64_t rank[4];
  float value[4];
  for (int i = 0; i < 2; i++) {
    double at = percent[i] / 100 * (double)(elems - 1);
    rank[2 * i] = (uint64_t)at;
    rank[2 * i + 1] = rank[2 * i] + 1 < elems ? rank[2 * i] + 1 : elems - 1;
    part[i] = at - (double)rank[2 * i];
  }
  enum vn_status status = ranks_find(image, survey, stage, 4, rank, value, diag);
  if (status) return status;
  for (int i = 0; i < 2; i++)
    edge[i] = value[2 * i] + part[i] * ((double)value[2 * i + 1] - (double)value[2 * i]);
  if (!(edge[0] < edge[1]))
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "percentiles %g and %g of the scan are both %g: nothing to segment", rule->a,
                   rule->b, edge[0]);
  *intensity = window_of(edge[0], edge[1]);
  return VN_OK;
}

void vn_intensity_tell(const struct vn_intensity *intensity, char *text, size_t size) {
  if (intensity->ct)
    vn_say(text, size, "its values are a CT's: the network sees %g to %g of them",
           (double)intensity->shift, (double)intensity->shift + 1 / (double)intensity->scale);
}

enum vn_status vn_intensity_fit(const struct vn_intensity_rule *rule, const struct vn_image *image,
                                const struct vn_survey *survey, struct vn_stage *stage,
                                struct vn_intensity *intensity, struct vn_diag *diag) {
  *intensity = (struct vn_intensity){0, 1, -INFINITY, INFINITY, false};
  if (!survey->own)
    return vn_fail(diag, VN_E_UNSUPPORTED, "no voxel of the scan is a finite number");
  enum vn_status status = VN_OK;
  const bool ct = rule->ct_a < rule->ct_b && vn_survey_ct(survey);
  if (ct)
    *intensity = window_of(rule->ct_a, rule->ct_b);
  else if (rule->kind == VN_INTENSITY_ZSCORE)
    status = zscore_fit(image, survey, stage, intensity, diag);
  else if (rule->kind == VN_INTENSITY_PERCENTILE)
    status = percentile_fit(rule, image, survey, stage, intensity, diag);
  else if (rule->kind == VN_INTENSITY_WINDOW)
    *intensity = window_of(rule->a, rule->b);
  intensity->ct = ct;
  if (status == VN_OK && !(isfinite(intensity->shift) && isnormal(intensity->scale)))
    status = vn_fail(diag, VN_E_UNSUPPORTED, "the scan's range of intensities is beyond float32");
  return status;
}

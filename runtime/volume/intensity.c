/* From vnet.intensity and a scan's voxels to the four numbers that normalise it; see intensity.h.
 */
#include "intensity.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "parallel.h"

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

/* ---- mean and standard deviation: a sum per chunk, then the chunks in order ---- */

enum { CHUNK = 1 << 16 };

struct moments {
  const float *voxels;
  size_t elems;
  double mean;
  bool squares; /* sum (x - mean)^2 instead of x */
  double *part; /* one per chunk */
};

static void chunk_sum(void *context, size_t job) {
  struct moments *m = context;
  size_t from = job * CHUNK, to = m->elems - from < CHUNK ? m->elems : from + CHUNK;
  double sum = 0;
  for (size_t i = from; i < to; i++) {
    double x = (double)m->voxels[i] - m->mean;
    sum += m->squares ? x * x : x;
  }
  m->part[job] = sum;
}

static double total(struct moments *m, struct vn_exec *exec) {
  size_t chunks = (m->elems + CHUNK - 1) / CHUNK;
  vn_parallel(exec, chunks, chunk_sum, m);
  double sum = 0;
  for (size_t i = 0; i < chunks; i++) sum += m->part[i];
  return sum;
}

static enum vn_status zscore_fit(const float *voxels, size_t elems, struct vn_exec *exec,
                                 struct vn_intensity *intensity, struct vn_diag *diag) {
  struct moments m = {.voxels = voxels, .elems = elems};
  m.part = malloc((elems + CHUNK - 1) / CHUNK * sizeof *m.part);
  if (!m.part) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  m.mean = total(&m, exec) / (double)elems;
  m.squares = true;
  double sd = sqrt(total(&m, exec) / (double)elems);
  free(m.part);
  if (sd <= 1e-12 * fabs(m.mean)) /* the mean of equal voxels is rounded, too */
    return vn_fail(diag, VN_E_UNSUPPORTED, "every voxel of the scan is %g: nothing to segment",
                   m.mean);
  intensity->shift = (float)m.mean;
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

/* value[i] is the rank[i]-th smallest voxel. Two passes, and one more for each far rank. */
static void select_ranks(const float *voxels, size_t elems, uint64_t *upper, uint64_t *lower,
                         size_t count, const uint64_t *rank, float *value) {
  memset(upper, 0, BINS * sizeof *upper);
  for (size_t i = 0; i < elems; i++) upper[key_of(voxels[i]) >> 16]++;
  uint32_t counted = UINT32_MAX; /* the upper half whose lower halves are in `lower` */
  for (size_t r = 0; r < count; r++) {
    uint64_t within = rank[r];
    uint32_t high = bin_of(upper, &within);
    if (high != counted) {
      memset(lower, 0, BINS * sizeof *lower);
      for (size_t i = 0; i < elems; i++) {
        uint32_t key = key_of(voxels[i]);
        if (key >> 16 == high) lower[key & 0xFFFF]++;
      }
      counted = high;
    }
    value[r] = float_of(high << 16 | bin_of(lower, &within));
  }
}

static enum vn_status percentile_fit(const struct vn_intensity_rule *rule, const float *voxels,
                                     size_t elems, struct vn_intensity *intensity,
                                     struct vn_diag *diag) {
  uint64_t *bins = malloc(2 * BINS * sizeof *bins);
  if (!bins) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  double percent[2] = {rule->a, rule->b}, part[2], edge[2];
  uint64_t rank[4];
  float value[4];
  for (int i = 0; i < 2; i++) {
    double at = percent[i] / 100 * (double)(elems - 1);
    rank[2 * i] = (uint64_t)at;
    rank[2 * i + 1] = rank[2 * i] + 1 < elems ? rank[2 * i] + 1 : elems - 1;
    part[i] = at - (double)rank[2 * i];
  }
  select_ranks(voxels, elems, bins, bins + BINS, 4, rank, value);
  free(bins);
  for (int i = 0; i < 2; i++)
    edge[i] = value[2 * i] + part[i] * ((double)value[2 * i + 1] - (double)value[2 * i]);
  if (!(edge[0] < edge[1]))
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "percentiles %g and %g of the scan are both %g: nothing to segment", rule->a,
                   rule->b, edge[0]);
  *intensity = (struct vn_intensity){(float)edge[0], (float)(1 / (edge[1] - edge[0])), 0, 1};
  return VN_OK;
}

enum vn_status vn_intensity_fit(const struct vn_intensity_rule *rule, const float *voxels,
                                size_t elems, struct vn_exec *exec, struct vn_intensity *intensity,
                                struct vn_diag *diag) {
  *intensity = (struct vn_intensity){0, 1, -INFINITY, INFINITY};
  enum vn_status status = VN_OK;
  if (rule->kind == VN_INTENSITY_ZSCORE)
    status = zscore_fit(voxels, elems, exec, intensity, diag);
  else if (rule->kind == VN_INTENSITY_PERCENTILE)
    status = percentile_fit(rule, voxels, elems, intensity, diag);
  else if (rule->kind == VN_INTENSITY_WINDOW)
    *intensity = (struct vn_intensity){(float)rule->a, (float)(1 / (rule->b - rule->a)), 0, 1};
  if (status == VN_OK && !(isfinite(intensity->shift) && isnormal(intensity->scale)))
    status = vn_fail(diag, VN_E_UNSUPPORTED, "the scan's range of intensities is beyond float32");
  return status;
}

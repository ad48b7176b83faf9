/* Gaps in a scan's range, and a flood from its border; see filling.h. */
#include "filling.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "histogram.h"

static const float DEEP = -1536; /* no CT has it, nor MR; its bin ends with it */

enum { SCAN_PART = 64, SWEEPS_MOST = 64 };

struct search {
  const struct vn_image *image;
  const struct vn_voxels *voxels;
  struct vn_stage *stage;
  uint64_t *bins;
  uint64_t count;       /* in all bins */
  uint32_t first, last; /* bins that hold something and are the scan's own */
  float *row;           /* [longest axis] */
};

/* ---- the histogram ---- */

static uint64_t count_in(const struct search *s, uint32_t begin, uint32_t end) {
  uint64_t count = 0;
  for (uint32_t b = begin; b < end; b++) count += s->bins[b];
  return count;
}

/* The bin of a value that may lie beyond float32. */
static uint32_t bin_at(double value) {
  return vn_key_of((float)fmin(fmax(value, -FLT_MAX), FLT_MAX)) >> 16;
}

/* The bin in [begin, end) that holds the part-th of the voxels there; they are `count`. */
static uint32_t bin_of_part(const struct search *s, uint32_t begin, uint32_t end, uint64_t count,
                            double part) {
  double left = part * (double)count;
  uint32_t b = begin;
  while (b + 1 < end && left > (double)s->bins[b]) left -= (double)s->bins[b++];
  return b;
}

static uint32_t commonest(const struct search *s, uint32_t begin, uint32_t end) {
  uint32_t best = begin;
  for (uint32_t b = begin; b < end; b++)
    if (s->bins[b] > s->bins[best]) best = b;
  return best;
}

/* What is not finite is no part of it. */
static void bins_trim(struct search *s) {
  const uint32_t low = vn_key_of(-FLT_MAX) >> 16, high = vn_key_of(FLT_MAX) >> 16;
  memset(s->bins, 0, low * sizeof *s->bins);
  memset(s->bins + high + 1, 0, (VN_BINS - high - 1) * sizeof *s->bins);
  s->count = count_in(s, 0, VN_BINS);
  for (s->first = low; s->first < high && !s->bins[s->first];) s->first++;
  for (s->last = high; s->last > s->first && !s->bins[s->last];) s->last--;
}

/* ---- the border ---- */

/* Two opposite faces. */
struct border {
  size_t voxels, outside; /* those outside of [low, high] */
  float low, high;
  uint32_t wanted; /* a bin of which one value is taken down */
  float value;
};

static void border_row(const struct search *s, ptrdiff_t at, int along, struct border *b) {
  const size_t count = s->image->dim[along];
  vn_voxels_row(s->voxels, at, s->image->stride[along], count, s->row);
  for (size_t n = 0; n < count; n++) {
    const float x = s->row[n];
    b->voxels++;
    if (!(x < b->low || x > b->high)) continue;
    b->outside++;
    if (vn_key_of(x) >> 16 == b->wanted) b->value = x;
  }
}

static void faces_count(const struct search *s, int axis, struct border *b) {
  const struct vn_image *image = s->image;
  const int along = axis == 0 ? 1 : 0, down = axis == 2 ? 1 : 2;
  const ptrdiff_t far = (ptrdiff_t)(image->dim[axis] - 1) * image->stride[axis];
  b->voxels = b->outside = 0;
  for (int side = 0; side < 2; side++)
    for (size_t n = 0; n < image->dim[down]; n++)
      border_row(s, (ptrdiff_t)n * image->stride[down] + side * far, along, b);
}

/* Do bins [begin, end) lie at the border rather than anywhere? *value becomes the commonest one. */
static bool reaches_border(const struct search *s, uint32_t begin, uint32_t end, float *value) {
  struct border b = {.low = end > s->last ? -FLT_MAX : (float)vn_bin_low(end),
                     .high = end > s->last ? (float)vn_bin_high(begin - 1) : FLT_MAX,
                     .wanted = commonest(s, begin, end)};
  const double share = (double)count_in(s, begin, end) / (double)s->count;
  const double least = fmin(fmax(2 * share, 0.001), 0.5);
  bool reaches = false;
  b.value = (float)vn_bin_high(b.wanted);
  for (int axis = 0; axis < 3; axis++) {
    faces_count(s, axis, &b);
    reaches = reaches || (double)b.outside >= least * (double)b.voxels;
  }
  *value = b.value;
  return reaches;
}

/* ---- below ---- */

/* The lowest bin from `begin` on whose next 64th of the range is not almost empty. */
static uint32_t low_end(const struct search *s, uint32_t begin, uint64_t rest, double range) {
  uint64_t within = 0;
  uint32_t end = begin;
  for (uint32_t b = begin; b <= s->last; b++) {
    for (; end <= s->last && vn_bin_low(end) < vn_bin_low(b) + range / SCAN_PART; end++)
      within += s->bins[end];
    if (s->bins[b] && within * 4 * SCAN_PART >= rest) return b;
    within -= s->bins[b];
  }
  return VN_BINS;
}

/* The scan's first bin where there is filling far below air, or 0. */
static uint32_t deep_find(const struct search *s) {
  const uint32_t begin = bin_at((double)DEEP) + 1, end = s->last + 1;
  if (s->first >= begin || end <= begin) return 0;
  uint64_t rest = count_in(s, begin, end);
  if (rest < s->count / SCAN_PART) return 0;
  const double high = vn_bin_high(bin_of_part(s, begin, end, rest, 0.995));
  const uint32_t low = low_end(s, begin, rest, high - vn_bin_high(begin - 1));
  if (low >= end) return 0;
  rest = count_in(s, low, end);
  const double edge = vn_bin_low(low);
  const uint32_t gap = bin_at(edge - (high - edge) / 8);
  return count_in(s, gap, low) * 4 * 8 <= rest ? low : 0;
}

/* The scan's first bin above the widest gap that begins below 0, when it is wider than the scan; or
 * 0. */
static uint32_t negative_find(const struct search *s) {
  uint32_t low = 0, before = s->first;
  double widest = 0;
  for (uint32_t b = s->first + 1; b <= s->last && vn_bin_high(before) < 0; b++) {
    if (!s->bins[b]) continue;
    const double gap = vn_bin_low(b) - vn_bin_high(before);
    if (gap > widest) widest = gap, low = b;
    before = b;
  }
  if (!low) return 0;
  const uint64_t rest = count_in(s, low, s->last + 1);
  const double edge = vn_bin_low(low);
  const double range = vn_bin_high(bin_of_part(s, low, s->last + 1, rest, 0.995)) - edge;
  return rest >= s->count / SCAN_PART && low < s->last && widest > range ? low : 0;
}

static void below_find(struct search *s, struct vn_survey *survey, struct vn_filling *f) {
  uint32_t low = deep_find(s);
  if (!low) low = negative_find(s);
  if (!low || !reaches_border(s, s->first, low, &f->below_value)) return;
  f->below_vox = count_in(s, s->first, low);
  survey->low = (float)vn_bin_low(low);
  s->first = low;
}

/* ---- above ---- */

/* A scan's range as what lies above it is measured by. */
struct span {
  double low, range; /* of all but the lowest and the highest bin, up to its 95th percentile */
};

/* The bin of so many ranges above the low end. */
static uint32_t bin_up(const struct span *span, double ranges) {
  return bin_at(span->low + ranges * span->range);
}

/* The last bin below filling that lies above, or s->last. */
static uint32_t padding_cut(const struct search *s, const struct span *span, float *value) {
  if (s->last <= bin_up(span, 2)) return s->last;
  const uint64_t spike = s->bins[s->last];
  const double top = vn_bin_high(s->last);
  const uint32_t half = bin_at((span->low + 2 * span->range + top) / 2), three = bin_up(span, 3);
  const uint32_t cut = half < three ? half : three;
  const bool found = 2 * spike >= count_in(s, cut + 1, s->last + 1) &&
                     8 * count_in(s, bin_up(span, 1.5), s->last) <= spike &&
                     reaches_border(s, cut + 1, s->last + 1, value);
  return found ? cut : s->last;
}

/* The last bin below what is absurdly bright, or s->last. */
static uint32_t bright_cut(const struct search *s, const struct span *span) {
  for (double up = 3; bin_up(span, up) < s->last; up *= 1.5) {
    const uint32_t cut = bin_up(span, up);
    const uint64_t above = count_in(s, cut + 1, s->last + 1);
    if (50 * above > s->count || count_in(s, bin_up(span, up / 1.5) + 1, cut + 1) > above) continue;
    if (100 * (double)above * up * up >= (double)s->count) return cut;
  }
  return s->last;
}

static uint32_t above_cut(const struct search *s, struct vn_filling *f) {
  const uint32_t begin = s->first + 1, end = s->last;
  const uint64_t count = begin < end ? count_in(s, begin, end) : 0;
  if (!count || count < s->count / SCAN_PART) return s->last;
  struct span span = {.low = vn_bin_low(s->first)};
  span.range = vn_bin_high(bin_of_part(s, begin, end, count, 0.95)) - span.low;
  if (!(span.range > 0)) return s->last; /* of denormals, which count as 0 */
  const uint32_t cut = padding_cut(s, &span, &f->above_value);
  f->above = cut < s->last;
  if (f->above) return cut;
  f->above_value = (float)vn_bin_high(s->last);
  return bright_cut(s, &span);
}

/* Voxels are compared as floats, to which both zeros and what is denormal are one value: it stays
 * below the cut as a whole, or what the bins hold is not what is left in. */
static void above_find(struct search *s, struct vn_survey *survey, struct vn_filling *f) {
  enum { DENORMAL_FIRST = 0x7F80, DENORMAL_LAST = 0x807F }; /* bins */
  uint32_t cut = above_cut(s, f);
  if (cut >= DENORMAL_FIRST && cut < DENORMAL_LAST) cut = DENORMAL_LAST;
  if (cut >= s->last) {
    f->above = false;
    return;
  }
  f->above_vox = count_in(s, cut + 1, s->last + 1);
  survey->high = (float)vn_bin_high(cut);
  s->last = cut;
}

/* ---- not finite ---- */

struct flood {
  const struct vn_image *image;
  struct vn_label_map map; /* 1: not finite; 2: connected with the border, too */
};

/* The rows beside a row and itself; false: it lies on the border. */
static bool flood_rows(const struct flood *f, size_t j, size_t k, size_t rows[9][2]) {
  size_t n = 0;
  for (size_t z = k ? k - 1 : 0; z <= k + 1 && z < f->image->dim[2]; z++)
    for (size_t y = j ? j - 1 : 0; y <= j + 1 && y < f->image->dim[1]; y++, n++)
      rows[n][0] = y, rows[n][1] = z;
  return n == 9;
}

static bool touches(const struct flood *f, size_t i, size_t rows[9][2]) {
  for (size_t n = 0; n < 9; n++)
    for (size_t x = i - 1; x <= i + 1; x++)
      if (vn_label_get(&f->map, vn_label_at(&f->map, x, rows[n][0], rows[n][1])) == 2) return true;
  return false;
}

/* One row, forwards or backwards; how many voxels were reached. */
static size_t flood_row(const struct flood *f, size_t j, size_t k, bool back) {
  const size_t wide = f->image->dim[0];
  size_t reached = 0, rows[9][2];
  const bool border = !flood_rows(f, j, k, rows);
  for (size_t n = 0; n < wide; n++) {
    const size_t i = back ? wide - 1 - n : n;
    void *at = vn_label_at(&f->map, i, j, k);
    if (vn_label_get(&f->map, at) != 1) continue;
    if (!border && i && i + 1 < wide && !touches(f, i, rows)) continue;
    vn_label_put(&f->map, at, 2);
    reached++;
  }
  return reached;
}

/* Marks what is not finite, then sweeps to and fro until nothing more is reached; *left: how much
 * is not. False: stop. */
static bool flood_run(const struct flood *f, const struct search *s, size_t *left) {
  const size_t *dim = f->image->dim, rows = dim[1] * dim[2];
  *left = 0;
  for (size_t r = 0; r < rows; r++) {
    vn_image_row(f->image, s->voxels, r % dim[1], r / dim[1], s->row);
    for (size_t i = 0; i < dim[0]; i++) {
      const bool bad = !isfinite(s->row[i]);
      vn_label_put(&f->map, vn_label_at(&f->map, i, r % dim[1], r / dim[1]), bad);
      *left += bad;
    }
    if (r % 64 == 0 && !vn_stage_tell(s->stage, 0.5)) return false;
  }
  for (int sweep = 0; *left && sweep < SWEEPS_MOST; sweep++) {
    size_t reached = 0;
    for (size_t n = 0; n < rows; n++) {
      const size_t r = sweep & 1 ? rows - 1 - n : n;
      reached += flood_row(f, r % dim[1], r / dim[1], sweep & 1);
      if (r % 64 == 0 && !vn_stage_tell(s->stage, 0.5)) return false;
    }
    *left -= reached;
    if (!reached && sweep) break;
  }
  return true;
}

/* Is all that is not finite connected with the border? */
static enum vn_status frame_find(const struct search *s, const struct vn_label_map *scratch,
                                 bool *frame, struct vn_diag *diag) {
  const size_t *dim = s->image->dim;
  struct flood flood = {.image = s->image};
  void *mine = NULL;
  if (scratch && scratch->data) {
    flood.map = *scratch;
  } else {
    mine = malloc(vn_image_elems(s->image));
    if (!mine) return vn_fail(diag, VN_E_MEMORY, "out of memory");
    flood.map =
        (struct vn_label_map){.data = mine,
                              .elem_bytes = 1,
                              .stride = {1, (ptrdiff_t)dim[0], (ptrdiff_t)(dim[0] * dim[1])}};
  }
  size_t left;
  const bool whole = flood_run(&flood, s, &left);
  *frame = left == 0;
  free(mine);
  return whole ? VN_OK : vn_stage_cancelled(diag);
}

/* ---- all of it ---- */

static void voxels_mend(const struct vn_survey *survey, const struct vn_filling *f,
                        struct vn_voxels *voxels) {
  voxels->mended = true;
  voxels->low = survey->low;
  voxels->high = survey->high;
  voxels->fill = survey->least;
  voxels->over = f->above ? survey->least : survey->most;
}

/* Bad voxels become the smallest value, and with that the scan's own. */
static void bad_replace(struct search *s, struct vn_survey *survey, struct vn_voxels *voxels,
                        struct vn_filling *f) {
  f->replaced_vox = survey->bad;
  voxels->mended = true;
  voxels->low = -FLT_MAX;
  voxels->high = FLT_MAX;
  voxels->fill = voxels->over = survey->least;
  s->bins[vn_key_of(survey->least) >> 16] += survey->bad;
}

static enum vn_status own_find(struct search *s, const struct vn_label_map *scratch,
                               bool replace_nan, struct vn_voxels *voxels, struct vn_survey *survey,
                               struct vn_filling *f, struct vn_diag *diag) {
  if (!vn_bins_count(s->image, voxels, NULL, s->stage, 0, 0.5, s->row, s->bins))
    return vn_stage_cancelled(diag);
  bins_trim(s);
  if (!s->count) return VN_OK; /* nothing is finite */
  if (survey->bad) {
    enum vn_status status = frame_find(s, scratch, &f->not_finite, diag);
    if (status) return status;
  }
  below_find(s, survey, f);
  above_find(s, survey, f);
  memset(s->bins, 0, s->first * sizeof *s->bins);
  memset(s->bins + s->last + 1, 0, (VN_BINS - s->last - 1) * sizeof *s->bins);
  const bool cut = f->below_vox || f->above_vox, replace = survey->bad && !f->not_finite;
  enum vn_status status = VN_OK;
  const float low = survey->low, high = survey->high;
  if (cut) status = vn_survey_range(s->image, voxels, low, high, s->stage, survey, diag);
  if (!status && replace && replace_nan) {
    const size_t air = survey->air; /* what is replaced is none, whatever the smallest value */
    bad_replace(s, survey, voxels, f);
    status = vn_survey_range(s->image, voxels, low, high, s->stage, survey, diag);
    survey->air = air;
  }
  if (f->not_finite) f->not_finite_vox = survey->bad, survey->bad = 0;
  if (!status && (cut || survey->elems != survey->own || voxels->mended))
    voxels_mend(survey, f, voxels);
  return status;
}

enum vn_status vn_survey_own(const struct vn_image *image, const struct vn_label_map *scratch,
                             bool replace_nan, struct vn_stage *stage, struct vn_voxels *voxels,
                             struct vn_survey *survey, struct vn_filling *filling,
                             struct vn_diag *diag) {
  *filling = (struct vn_filling){0};
  const struct vn_voxels stored = *voxels;
  enum vn_status status = vn_survey_take(image, voxels, stage, survey, diag);
  if (status) return status;
  size_t longest = 0;
  for (int i = 0; i < 3; i++) longest = image->dim[i] > longest ? image->dim[i] : longest;
  survey->bins = malloc(VN_BINS * sizeof *survey->bins);
  struct search s = {.image = image,
                     .voxels = &stored,
                     .stage = stage,
                     .bins = survey->bins,
                     .row = malloc(longest * sizeof(float))};
  if (!s.bins || !s.row)
    status = vn_fail(diag, VN_E_MEMORY, "out of memory");
  else
    status = own_find(&s, scratch, replace_nan, voxels, survey, filling, diag);
  free(s.row);
  return status;
}

void vn_filling_tell(const struct vn_filling *f, const struct vn_survey *survey, char *text,
                     size_t size) {
  const double percent = 100 / (double)survey->elems;
  if (f->below_vox)
    vn_say(text, size, "%.2g %% of the voxels are filling (%.7g) and count as background",
           percent * (double)f->below_vox, (double)f->below_value);
  if (f->not_finite)
    vn_say(text, size,
           "%.2g %% of the voxels, at the border, are not finite and count as background",
           percent * (double)f->not_finite_vox);
  if (f->above_vox && f->above)
    vn_say(text, size, "%.2g %% of the voxels are filling (%.7g) and count as background",
           percent * (double)f->above_vox, (double)f->above_value);
  else if (f->above_vox)
    vn_say(text, size,
           "%.2g %% of the voxels are absurdly bright (up to %.7g) and do not count in its "
           "statistics",
           percent * (double)f->above_vox, (double)f->above_value);
}

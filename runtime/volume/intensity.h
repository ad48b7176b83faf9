/* Intensity normalisation as a model's `vnet.intensity` asks for it: the statistics of a scan
 * become four numbers, applied voxel by voxel where a window is filled, so that the scan itself
 * stays as it was read. The trainer uses the same functions.
 *
 *   y = min(max((x - shift) * scale, low), high)
 *
 * none               x as it is
 * zscore             (x - mean) / max(sd, 1e-8), over all voxels, population sd
 *                    (nnU-Net ZScoreNormalization without mask; MONAI NormalizeIntensity)
 * percentile A B     (x - a) / (b - a) clipped to [0, 1], a and b the A-th and B-th percentile of
 *                    all voxels, exact, interpolated linearly between ranks (numpy.percentile;
 *                    MONAI ScaleIntensityRangePercentiles(A, B, 0, 1, clip=True))
 * window A B         (x - A) / (B - A) clipped to [0, 1] (MONAI ScaleIntensityRange with clip)
 * RULE, ct A B       of a CT, whose values are Hounsfield units, "window A B"; of others RULE. For
 *                    models of many contrasts: from air to bone a brain is one grey. More than a
 *                    hundredth of a CT's voxels are air, from -1536 to -500; filling of so much
 *                    around another scan does not count.
 * "All voxels" are the scan's own ones: filling and absurdly bright voxels are no part of a scan
 * and are found first (filling.h). A scan without them has the numbers above, bit for bit.
 *
 * Sums run in double in an order fixed by the voxels alone: the same for any number of threads. */
#ifndef VNET_INTENSITY_H
#define VNET_INTENSITY_H

#include "image.h"
#include "stage.h"

enum vn_intensity_kind {
  VN_INTENSITY_NONE,
  VN_INTENSITY_ZSCORE,
  VN_INTENSITY_PERCENTILE,
  VN_INTENSITY_WINDOW,
};

struct vn_intensity_rule {
  enum vn_intensity_kind kind;
  double a, b;
  double ct_a, ct_b; /* of "ct A B"; equal: a CT is as any other scan */
};

struct vn_intensity {
  float shift, scale, low, high;
  bool ct; /* the rule's "ct A B" was taken */
};

/* `text` as in the metadata; NULL (absent) is "none". VN_E_FORMAT. */
enum vn_status vn_intensity_parse(const char *text, struct vn_intensity_rule *rule,
                                  struct vn_diag *diag);

/* What the voxels of an image are like. */
struct vn_survey {
  struct vn_voxels voxels;      /* as they were read for it */
  size_t elems, bad, first_bad; /* bad: NaN, infinite or beyond float32; in the order of k, j, i */
  size_t own;                   /* those that are not bad and lie in [low, high] */
  float low, high;
  float least, most; /* of the scan's own; infinite: there is none */
  double mean;
  size_t air;     /* of the own ones, those that would be in Hounsfield units */
  uint64_t *bins; /* of the scan's own (histogram.h), or NULL; owned */
};

/* Of all voxels that are not bad. VN_E_MEMORY, VN_E_CANCELLED. `stage` lends threads and may be
 * NULL. */
enum vn_status vn_survey_take(const struct vn_image *image, const struct vn_voxels *voxels,
                              struct vn_stage *stage, struct vn_survey *survey,
                              struct vn_diag *diag);
/* The same of those in [low, high]; leaves `bins` as they are. */
enum vn_status vn_survey_range(const struct vn_image *image, const struct vn_voxels *voxels,
                               float low, float high, struct vn_stage *stage,
                               struct vn_survey *survey, struct vn_diag *diag);
void vn_survey_close(struct vn_survey *survey);

/* The most that surveys, filling.h and fits hold at a time. */
uint64_t vn_survey_bytes(const struct vn_image *image);

/* VN_E_FORMAT with a sentence unless every voxel is finite. */
enum vn_status vn_survey_finite(const struct vn_image *image, const struct vn_survey *survey,
                                struct vn_diag *diag);

/* Is it a CT? */
static inline bool vn_survey_ct(const struct vn_survey *survey) {
  return survey->air > survey->own / 100;
}

/* Over the scan's own voxels, where none is bad or they are mended. VN_E_UNSUPPORTED for a scan
 * with nothing to tell apart: all voxels equal, or both percentiles; VN_E_MEMORY,
 * VN_E_CANCELLED. */
enum vn_status vn_intensity_fit(const struct vn_intensity_rule *rule, const struct vn_image *image,
                                const struct vn_survey *survey, struct vn_stage *stage,
                                struct vn_intensity *intensity, struct vn_diag *diag);

/* Adds to `text` what there is to say of it (vn_say). */
void vn_intensity_tell(const struct vn_intensity *intensity, char *text, size_t size);

static inline float vn_intensity_apply(const struct vn_intensity *i, float x) {
  float y = (x - i->shift) * i->scale;
  y = y < i->low ? i->low : y;
  return y > i->high ? i->high : y;
}

/* Decimal numbers separated by blanks, whatever the process's locale: how many of them, up to
 * `most`, were read into `numbers`; SIZE_MAX when anything else is in `text`. */
size_t vn_numbers_parse(const char *text, double *numbers, size_t most);

#endif

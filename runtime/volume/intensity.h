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
};

struct vn_intensity {
  float shift, scale, low, high;
};

/* `text` as in the metadata; NULL (absent) is "none". VN_E_FORMAT. */
enum vn_status vn_intensity_parse(const char *text, struct vn_intensity_rule *rule,
                                  struct vn_diag *diag);

/* What all voxels of an image are like. */
struct vn_survey {
  size_t elems, bad, first_bad; /* bad: NaN, infinite or beyond float32; in the order of k, j, i */
  float least;                  /* of those that are not bad; infinite: there is none */
  double mean;
};

/* VN_E_MEMORY, VN_E_CANCELLED. `stage` lends threads and may be NULL. */
enum vn_status vn_survey_take(const struct vn_image *image, const struct vn_voxels *voxels,
                              struct vn_stage *stage, struct vn_survey *survey,
                              struct vn_diag *diag);

/* VN_E_FORMAT with a sentence unless every voxel is finite. */
enum vn_status vn_survey_finite(const struct vn_image *image, const struct vn_survey *survey,
                                struct vn_diag *diag);

/* Over an image without bad voxels, or mended ones. VN_E_UNSUPPORTED for a scan with nothing to
 * tell apart: all voxels equal, or both percentiles; VN_E_MEMORY, VN_E_CANCELLED. */
enum vn_status vn_intensity_fit(const struct vn_intensity_rule *rule, const struct vn_image *image,
                                const struct vn_voxels *voxels, const struct vn_survey *survey,
                                struct vn_stage *stage, struct vn_intensity *intensity,
                                struct vn_diag *diag);

static inline float vn_intensity_apply(const struct vn_intensity *i, float x) {
  float y = (x - i->shift) * i->scale;
  y = y < i->low ? i->low : y;
  return y > i->high ? i->high : y;
}

/* Decimal numbers separated by blanks, whatever the process's locale: how many of them, up to
 * `most`, were read into `numbers`; SIZE_MAX when anything else is in `text`. */
size_t vn_numbers_parse(const char *text, double *numbers, size_t most);

#endif

/* What in a scan is not the scan: filling around it and voxels of absurd brightness. Both would
 * decide the statistics of intensity.h, which are about the scan. Private to this library and the
 * trainer.
 *
 * Filling is a value that a scanner or a program put where there was nothing to see, at the border:
 * of two opposite faces of the volume it covers half, or twice as much (and a thousandth) as of the
 * volume. It is one of
 *
 *   below air   Values of -1536 and less, which neither CT nor MR has, when hardly anything lies
 *               between them and the scan: in the eighth of the scan's range below its low end at
 *               most a quarter of what an even spread would put there. The low end is the lowest
 *               value whose next 64th of the range holds a quarter of an even share, so that edges
 *               which interpolation has smeared are filling, too. (-2000, -3024, -32768; several)
 *   below 0     Values below 0, when nothing at all lies between them and the scan over more than
 *               the scan's whole range. 0 itself is air that was masked, and belongs to the scan.
 *   above       One value (half of what is so high) that lies further above the scan's low end than
 *               twice its range, and hardly anything (an eighth of it) between it and one and a
 *               half times the range: 32767, or 4095 beside a CT. What lies above three times the
 *               range, or above the middle of twice the range and the value, is filling.
 *   not finite  NaN and infinities, when each of them is connected with the border through others
 *               (26 neighbours).
 *
 * Absurdly bright is what lies further above the low end than `up` times the range, at most 2 % of
 * the voxels, with no more in the third below than above: burnt-in text, metal, smeared perhaps by
 * interpolation (0.6 times as much; a scan's own tail has four times as much and more). The first
 * of up = 3, 4.5, 6.75 … counts, and only when it would weigh: up squared times its share of the
 * voxels is a hundredth at least.
 *
 * A range ends at the 99.5th percentile for filling below; for what is above it ends at the 95th of
 * the voxels outside the lowest and the highest bin of the histogram.
 *
 * Both are left out of the statistics. Filling reads as the scan's smallest value, and absurdly
 * bright voxels as the largest of the others, so that interpolation does not smear them either. A
 * scan with none of this is not touched: its numbers are those of all its voxels. */
#ifndef VNET_FILLING_H
#define VNET_FILLING_H

#include "intensity.h"

struct vn_filling {
  bool not_finite;                /* NaN and infinities are filling */
  bool above;                     /* what lies above the survey's `high` is filling, else bright */
  float below_value, above_value; /* the commonest of each */
  size_t below_vox, above_vox, not_finite_vox, replaced_vox;
};

/* Surveys a scan as its users want it: finds what is not its own, takes the statistics of what is,
 * and mends `voxels`. Voxels that are not finite and no filling stay in survey->bad, for
 * vn_survey_finite to refuse, or take the smallest value with `replace_nan`. `scratch`, a label map
 * on the image's grid, is written to where there are such voxels; without (data NULL) memory is
 * taken. The caller closes the survey in any case. VN_E_MEMORY, VN_E_CANCELLED. */
enum vn_status vn_survey_own(const struct vn_image *image, const struct vn_label_map *scratch,
                             bool replace_nan, struct vn_stage *stage, struct vn_voxels *voxels,
                             struct vn_survey *survey, struct vn_filling *filling,
                             struct vn_diag *diag);

/* Is a voxel of the image, as it was stored, filling? */
static inline bool vn_filling_is(const struct vn_filling *f, const struct vn_survey *s, float x) {
  if (!(x - x == 0)) return f->not_finite;
  return x < s->low || (f->above && x > s->high);
}

/* Is anything filling? */
static inline bool vn_filling_any(const struct vn_filling *f) {
  return f->below_vox || f->not_finite || (f->above && f->above_vox);
}

/* Adds what there is to say of it (vn_say). */
void vn_filling_tell(const struct vn_filling *filling, const struct vn_survey *survey, char *text,
                     size_t size);

#endif

/* Training scans rendered from label maps, as SynthSeg (Billot et al., Medical Image Analysis 2023)
 * and SynthStrip (Hoopes et al., NeuroImage 2022) do: every structure its own random intensity, a
 * random shape, bias field, resolution, noise and field of view. A network that has seen nothing
 * but these works on scans of any contrast. */
#ifndef VNET_TRAIN_GENERATE_H
#define VNET_TRAIN_GENERATE_H

#include "labelmap.h"
#include "random.h"

#include "pool.h"

/* The greys of the brain's structures. ANY: each has its own. T1: those of fluid, grey and white
 * matter, in this order, or between them. MRI: three in four samples have such three, half of them
 * in the order of T1, the others in any; the rest is as ANY. */
enum vnt_contrast { VNT_CONTRAST_ANY, VNT_CONTRAST_MRI, VNT_CONTRAST_T1, VNT_CONTRASTS };

enum { VNT_GENERATE_WIDEST = 512 }; /* voxels of a patch along w */

/* Strengths; vnt_generator_defaults gives those that the shipped brain was trained with. */
struct vnt_generator {
  size_t patch[3];      /* d h w */
  double spacing_mm;    /* of the patch, along each axis */
  double rotate_deg;    /* largest, about each axis */
  double scale, shear;  /* largest departure from 1 and from 0 */
  double shift_mm;      /* of the patch's centre from the brain's, largest */
  double far, far_mm;   /* a share of samples is shifted as much as this: windows of a large scan */
  double bend_mm;       /* largest sd of the control points' displacements */
  double bend_every_mm; /* between control points */
  double tissues, t1;   /* a share of samples that have three tissues' greys, and of those a share
                           that has them in the order of T1 */
  double flat;          /* a share of samples whose brain is almost one grey, as in CT */
  double dark;          /* a share of samples that are dark around the brain, as where fat is
                           suppressed, and in EPI */
  double bias;          /* largest sd of the logarithm of the bias field */
  double bias_every_mm; /* between its control points, at least; at most twice that */
  double blur_vox;      /* largest sd of the isotropic blur */
  double slice_mm;      /* thickest slices */
  double gamma;         /* sd of its logarithm */
  double noise;         /* largest sd, of the range */
  double negative;      /* a share of samples is shown as a photographic negative, half of them with
                           black, not white, outside the field of view */
  struct vnt_normals normals;
  /* The class that a class is in a mirrored sample; NULL: itself. Borrowed. */
  const uint8_t *other_side;
};

/* Of any contrast. */
void vnt_generator_defaults(struct vnt_generator *g, const size_t patch[3], double spacing_mm);
void vnt_generator_contrast(struct vnt_generator *g, enum vnt_contrast contrast);

/* Sample `index` under `seed`: fills image[d][h][w], intensities from the 0.5th to the 99.5th
 * percentile as 0 to 1 (as intensity.h does for "percentile 0.5 99.5"), and target[d][h][w].
 * Depends on its arguments alone. VN_E_MEMORY. */
enum vn_status vnt_generate(const struct vnt_generator *g, const struct vnt_labelmap *maps,
                            size_t n_maps, uint64_t seed, uint64_t index, struct vn_pool *pool,
                            float *image, uint8_t *target, struct vn_diag *diag);

#endif

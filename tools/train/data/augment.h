/* What is done to a patch of a training scan before the network sees it: shape, then contrast, then
 * what a scanner adds. Called by cases_sample.c; a struct of strengths and probabilities that a
 * program may change. Everything is off in a zeroed one.
 *
 * In this order, each drawn by itself with its probability:
 *   flip      along d, h, w: turn off (0) along an axis whose labels have sides
 *   affine    rotation about each axis, scale common to all, shear, about the patch's centre, in mm
 *   bend      displacements of cubic B-splines over the patch, two cells along each axis
 *   match     intensities to those of another training scan (struct vnt_landmarks)
 *   gamma     y = x^g from the scan's 1st percentile (0) to its 99th (1) and on, g log-normal
 *   bias      times exp(smooth field), above the scan's smallest value
 *   blur      Gaussian, the same along each axis
 *   slices    low resolution: averaged over and interpolated between thicker slices, along one axis
 *             or (half of them) all
 *   noise     normal
 * Geometry is one resampling of the stored scan: linear, nearest for labels. It is common to the
 * channels of a scan; all that follows is drawn for each by itself. What lies outside the
 * scan is 0 with label 0 after everything else, as window.c pads; and intensities end within the
 * limits that the intensity rule clips to. */
#ifndef VNET_TRAIN_AUGMENT_H
#define VNET_TRAIN_AUGMENT_H

#include "intensity.h"
#include "random.h"

#include "pool.h"

enum { VNT_AUGMENT_WIDEST = 512 }; /* voxels of a patch along w */

struct vnt_augment {
  double foreground; /* share of the patches that are centred on a voxel of a random label */
  double flip[3];    /* probability along d h w */
  double affine_p, rotate_deg, scale, shear; /* largest angles; departures from 1 and from 0 */
  double bend_p, bend_vox;                   /* sd of the control points' displacements */
  double match_p;
  double gamma_p, gamma;   /* sd of its logarithm */
  double bias_p, bias;     /* sd of the control points of the logarithm, largest */
  double blur_p, blur_vox; /* sd, largest */
  double slices_p, slices; /* voxels in a slice, largest */
  double noise_p, noise;   /* sd, largest, of the scan's 1st to 99th percentile */
  struct vnt_normals normals;
  /* The class that a class is when a sample is flipped along this axis (d h w: 0 1 2), where labels
   * tell left from right; NULL: they do not. Borrowed. */
  const uint8_t *other_side;
  int side_axis;
};

/* For patches of d h w: about nnU-Net's probabilities, and bends that do not fold (Choi and Lee's
 * bound is 0.48 of the distance between control points; this is 0.2 as sd). */
void vnt_augment_defaults(struct vnt_augment *augment, const size_t patch[3]);

/* The paper's two and nothing else, foreground 0 among it: every patch bent with N(0, 15 voxels)
 * and matched to another scan. Two cells are 5 x 5 x 5 control points, as in the authors' code. */
void vnt_augment_paper(struct vnt_augment *augment);

/* The landmarks that match intensities (Nyul and Udupa 1999, as in ITK's
 * HistogramMatchingImageFilter with ThresholdAtMeanIntensity): the smallest value, the mean, 127
 * quantiles of what is above the mean, the largest. Below the mean is mostly air, whose share
 * depends on the field of view and says nothing of contrast; so it is not counted. Quantiles to
 * 1/65536 of the range. */
enum { VNT_LANDMARKS = 130 };
struct vnt_landmarks {
  float value[VNT_LANDMARKS]; /* not decreasing */
  float low, high;            /* 1st and 99th percentile of all voxels */
};

/* `elems` at least 1, finite. VN_E_MEMORY. */
enum vn_status vnt_landmarks_find(const float *voxels, size_t elems,
                                  struct vnt_landmarks *landmarks, struct vn_diag *diag);

/* A training scan on the model's grid, normalised; all borrowed. */
struct vnt_channel {
  const float *image;            /* [d][h][w] */
  struct vn_intensity intensity; /* its limits hold for what comes out */
  struct vnt_landmarks landmarks;
};
struct vnt_source {
  const struct vnt_channel *channel; /* [channels] */
  size_t channels;
  const uint8_t *target; /* [d][h][w] */
  size_t dim[3];
  double spacing_mm[3];
};

struct vnt_patch {
  size_t size[3];     /* d h w */
  ptrdiff_t start[3]; /* on the scan's grid; negative where it is padded */
};

/* Fills image [d][h][w][channel] and target [d][h][w] with the patch as sample `index` under `seed`
 * is augmented;
 * `augment` may be NULL (a plain copy), `other` is the scan to match (NULL: none). The result
 * depends on everything but the pool, which may be NULL. VN_E_MEMORY, VN_E_UNSUPPORTED: a patch of
 * more than VNT_AUGMENT_WIDEST along w. */
enum vn_status vnt_augment_apply(const struct vnt_augment *augment, const struct vnt_source *source,
                                 const struct vnt_source *other, const struct vnt_patch *patch,
                                 uint64_t seed, uint64_t index, struct vn_pool *pool, float *image,
                                 uint8_t *target, struct vn_diag *diag);

#endif

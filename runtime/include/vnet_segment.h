/* Segments an image that lies in a host's memory: voxels in, labels out, on the image's own grid.
 *
 * The host says where its voxels lie and how they lie in the world; orientation, resampling,
 * intensities, sliding windows, blending and clean-up are done here, as the model's metadata ask
 * for it. Nothing is copied but what a window needs. What vnet.h says of threads, bits, fork,
 * growth and errors holds here, too. A segmenter runs one call at a time; several may share a plan.
 *
 *   struct vn_segmenter *segmenter = NULL;
 *   if (vn_segmenter_open(plan, NULL, &segmenter, &diag)) …
 *   struct vn_image image = {.size = sizeof image, .voxels = pixels, .type = VN_VOXEL_I16,
 *                            .dim = {512, 512, 300}, .world = VN_WORLD_LPS, .affine = {…}};
 *   struct vn_label_map labels = {.size = sizeof labels, .data = mine, .elem_bytes = 1};
 *   const struct vn_image *images[] = {&image};
 *   if (vn_segment(segmenter, images, 1, NULL, &labels, NULL, &diag)) …
 *   vn_segmenter_close(&segmenter); */
#ifndef VNET_SEGMENT_H
#define VNET_SEGMENT_H

#include "vnet.h"

#if defined(_WIN32) && defined(VN_SEGMENT_BUILDING)
#define VN_SEGMENT_API __declspec(dllexport)
#else
#define VN_SEGMENT_API VN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- image in ---- */

enum vn_voxel {
  VN_VOXEL_U8,
  VN_VOXEL_I8,
  VN_VOXEL_U16,
  VN_VOXEL_I16,
  VN_VOXEL_U32,
  VN_VOXEL_I32,
  VN_VOXEL_U64,
  VN_VOXEL_I64,
  VN_VOXEL_F32,
  VN_VOXEL_F64
};

/* Which way the world's axes x, y, z point: right, anterior, superior (NIfTI), or left, posterior,
 * superior (DICOM, ITK). UNKNOWN: a model that was trained in an orientation refuses the image. */
enum vn_world { VN_WORLD_UNKNOWN, VN_WORLD_RAS, VN_WORLD_LPS };

/* A borrowed view of a host's voxels. Voxel (i, j, k) lies `i*stride[0] + j*stride[1] +
 * k*stride[2]` bytes from `voxels`, at any alignment, in the machine's byte order, and is slope *
 * stored + inter. */
struct vn_image {
  size_t size;        /* sizeof(struct vn_image) */
  const void *voxels; /* of (0, 0, 0); NULL is enough for vn_segmenter_memory */
  enum vn_voxel type;
  enum vn_world world;
  size_t dim[3];       /* of i, j, k; each at least 1 */
  ptrdiff_t stride[3]; /* bytes, of any sign; all 0: dense, i fastest */
  double affine[3][4]; /* (i, j, k, 1) to world x, y, z in mm: of the voxels' centres */
  double slope, inter; /* slope 0: voxels are as stored */
};

/* ---- segmenter ---- */

/* A plan made ready for images: threads, memory and the model's metadata, for any number of
 * runs. */
struct vn_segmenter;

/* Opens an exec (vn_exec_open says what may be asked of it) and reads the metadata. `options` may
 * be NULL; its memory limit holds for opening and for every run, for which 0 stands for what is
 * free when it begins. Borrows the plan. Sets *segmenter, which the caller owns, or leaves it NULL.
 * As vn_exec_open; VN_E_UNSUPPORTED: the network does not take images; VN_E_FORMAT: metadata that
 * cannot be read. */
VN_SEGMENT_API enum vn_status vn_segmenter_open(const struct vn_plan *plan,
                                                const struct vn_exec_options *options,
                                                struct vn_segmenter **segmenter,
                                                struct vn_diag *diag);
/* Accepts NULL; sets *segmenter to NULL. No run may be under way. */
VN_SEGMENT_API void vn_segmenter_close(struct vn_segmenter **segmenter);

/* From now on a run of `segmenter` is one of `other`, too, and voxels are labelled by the mean of
 * their probabilities on the image's grid, as the folds of a training are put to use; any number
 * may be added. Both take the same channels in the same order and tell the same labels; grid,
 * window and intensities are each model's own. Names, colours, the order of regions and what is
 * plausible are the first one's; which labels are each other's mirror one of them may say for all.
 * The memory of all of them is held at once, and while a run takes
 * place four bytes for each voxel and label, which vn_segmenter_memory counts. Its limit is that of
 * `segmenter`. Takes *other over and sets it to NULL; on failure it is left. No run may be under
 * way. VN_E_ARGUMENT: they do not go together, and what of `other` differs; VN_E_MEMORY. */
VN_SEGMENT_API enum vn_status vn_segmenter_add(struct vn_segmenter *segmenter,
                                               struct vn_segmenter **other, struct vn_diag *diag);

/* What a model asks for and what it gives. */
struct vn_segmenter_info {
  size_t size;             /* sizeof(struct vn_segmenter_info), set by the caller */
  size_t channels;         /* images that a run takes */
  size_t labels;           /* values 0 … labels - 1; 0 is background */
  size_t patch[3];         /* voxels of a window along the model's d, h, w */
  double spacing_mm[3];    /* of the model's d, h, w; 0: the image's own */
  const char *orientation; /* "RAS": where w, h, d grow; NULL: the image's own axes */
  const char *intensity;   /* "percentile 0.5 99.5, ct 0 80" …; "none" */
  bool named;              /* the model names its labels */
  uint64_t memory_bytes;   /* that the open segmenter takes, all models of it; a run adds to it */
  size_t regions;          /* 0: labels exclude each other; else labels 1 … regions may overlap */
  /* [labels]: the mean Dice score of each label over cases that the model was not trained on, as
   * its author says (vnet.validation_dice), and no statement on any image: NaN where that is not
   * known. NULL: the model does not say, or several are averaged. Belongs to the segmenter. */
  const double *validation_dice;
};
/* Fills *info; strings belong to the segmenter or its plan. VN_E_ARGUMENT: size. */
VN_SEGMENT_API enum vn_status vn_segmenter_info(const struct vn_segmenter *segmenter,
                                                struct vn_segmenter_info *info,
                                                struct vn_diag *diag);

struct vn_label_info {
  size_t value;     /* in the label map */
  const char *name; /* UTF-8; belongs to the segmenter */
  unsigned char rgb[3];
};
/* index < labels. */
VN_SEGMENT_API struct vn_label_info vn_segmenter_label(const struct vn_segmenter *segmenter,
                                                       size_t index);

struct vn_channel_info {
  const char *name;      /* UTF-8; NULL: the model does not say; belongs to the segmenter */
  const char *intensity; /* "zscore" …; "none" */
};
/* An image that a run takes; index < channels. */
VN_SEGMENT_API struct vn_channel_info vn_segmenter_channel(const struct vn_segmenter *segmenter,
                                                           size_t index);

/* The exec inside, for its steps and threads; belongs to the segmenter. Of several models the
 * first one's. */
VN_SEGMENT_API struct vn_exec *vn_segmenter_exec(const struct vn_segmenter *segmenter);

/* ---- run ---- */

enum vn_weighting { VN_WEIGHTING_GAUSSIAN, VN_WEIGHTING_CONSTANT };

/* All 0 but `size` is what vnet-run does without options. */
struct vn_segment_options {
  size_t size;    /* sizeof(struct vn_segment_options) */
  double overlap; /* of windows, below 1; 0: the default of 0.5; negative: none */
  enum vn_weighting weighting;
  /* Along the model's d, h, w: averages over flipped windows, too. Where left is right in these,
   * labels that vnet.labels has as each other's mirror change places. */
  bool mirror[3];
  bool every_window;        /* those with nothing but background are run, too, and on the whole
                               scan whatever the model's vnet.foreground */
  bool replace_nan;         /* voxels that are not finite and no frame (below) become the smallest
                             * value, not an error */
  bool largest_component;   /* keeps the largest piece of each label, 26 neighbours */
  double min_volume_ml;     /* removes smaller pieces; 0: none */
  struct vn_cancel *cancel; /* see struct vn_run_options */
  vn_progress_fn *progress;
  void *progress_context;
  /* More windows are refused with VN_E_UNSUPPORTED. 0: 10000, or what has the voxels of 10000
   * windows of 64 x 64 x 64, if that is more; SIZE_MAX: no limit. */
  size_t windows_most;
  /* Images that do not lie on the first one's grid are brought onto it, by their affines and linear
   * interpolation; without it they are refused. */
  bool match_grids;
};

enum vn_probability { VN_PROBABILITY_U16 /* 65535 is 1 */, VN_PROBABILITY_F32 };

/* The caller's buffers, in the order of the image: its first one where there are several. */
struct vn_label_map {
  size_t size;         /* sizeof(struct vn_label_map) */
  void *data;          /* of voxel (0, 0, 0) */
  size_t elem_bytes;   /* 1: uint8_t; 2: uint16_t, aligned to 2 bytes; must hold every label */
  ptrdiff_t stride[3]; /* bytes between neighbours along i, j, k; all 0: dense, i fastest */
  void *probabilities; /* NULL: not wanted; else [labels][k][j][i], dense */
  enum vn_probability probability;
  void *regions;   /* NULL: not wanted; else uint8_t [info.regions][k][j][i], dense: 1 inside */
  double *soft_ml; /* NULL: not wanted; else [labels]: what each label's probabilities add up to */
};

struct vn_segment_report {
  size_t size;    /* sizeof(struct vn_segment_report), set by the caller */
  size_t grid[3]; /* voxels along the (first) model's d, h, w that the image became */
  double grid_spacing_mm[3];
  size_t windows, skipped; /* of all models; skipped ones, with background alone, are among them */
  size_t replaced_vox;     /* that were not finite */
  uint64_t removed_vox;    /* by clean-up */
  double shift, scale;     /* of the first channel the network saw (value - shift) * scale, */
  double low, high;        /* clipped to these */
  uint64_t intensity_ns, network_ns, outside_ns, clean_ns; /* outside: windows and resampling */
  char note[256];    /* what was found in the image's values, and how the first model sees them */
  char warning[512]; /* why the result may be of no use; both "" where there is nothing to say */
};

/* The most memory that this segmenter and this run would hold together, without the caller's own
 * buffers: what vn_segmenter_open took, and window, resampling and scores. `options` may be NULL.
 * Clean-up is not counted, nor the pieces that vnet.expect may ask for: they take up to 24 bytes
 * for each run of equal labels along i. Refuses as vn_segment does whatever can be refused without
 * looking at voxels. */
VN_SEGMENT_API enum vn_status vn_segmenter_memory(const struct vn_segmenter *segmenter,
                                                  const struct vn_image *const images[],
                                                  size_t count,
                                                  const struct vn_segment_options *options,
                                                  uint64_t *bytes, struct vn_diag *diag);

/* Labels every voxel. `count` images of one grid, one for each of the network's channels, in the
 * model's order; each is normalised by itself. `options` and `report` may be NULL.
 *
 * Filling around a scan (a circle or columns far below air, padding far above it, a frame of voxels
 * that are not finite) is left out of the intensities' statistics and gets label 0; the report's
 * note says so. It also says when the model has a window for CT ("ct A B" in vnet.intensity) and
 * the image is taken for one. The report's warning says that nothing was found, or that the model's
 * vnet.expect is not met: a field of view, volumes or pieces that the model was not made for.
 * Labels are filled all the same.
 *
 * What the network's scores mean is the plan's to say (vn_plan_meaning). Labels that exclude each
 * other: the one with the highest blended score, the lowest of equals. Regions, each with a score
 * of its own, as a sigmoid over several channels has them: region c is label c + 1, a voxel is in
 * those whose blended score is at least the threshold, and where regions overlap the label is the
 * one that vnet.labels lists last, those it does not list being below; the later channel without
 * vnet.labels. Probabilities are the network's own where it ends in them, else the softmax of its
 * blended scores; of regions they need not sum to 1, and label 0 has what the most probable one
 * leaves.
 *
 * Soft volumes are sums of these probabilities over the image, made where the model has its scores,
 * on its own grid; label 0 of regions has what the most probable one leaves there. Filling and
 * clean-up do not change them, and of several models they are the mean. Where a border is in doubt
 * a voxel counts for each of its labels in part, so that a label which is the more probable one by
 * little gains nothing. NaN: the network's regions are no probabilities.
 *
 * VN_E_ARGUMENT: an image or a buffer that makes no sense; VN_E_FORMAT: voxels that are not finite,
 * scores that are not; VN_E_UNSUPPORTED: image and model do not go together; VN_E_MEMORY: also when
 * the segmenter's limit would be broken; VN_E_CANCELLED. On failure the label map holds nothing of
 * use, and the segmenter is as before. */
VN_SEGMENT_API enum vn_status vn_segment(struct vn_segmenter *segmenter,
                                         const struct vn_image *const images[], size_t count,
                                         const struct vn_segment_options *options,
                                         const struct vn_label_map *labels,
                                         struct vn_segment_report *report, struct vn_diag *diag);

/* ---- what a label map measures ---- */

struct vn_measure {
  uint64_t voxels;
  double ml;
  double mean, sd;       /* of the image's values under the label; population sd */
  double centroid_mm[3]; /* in the image's world */
};

/* Fills measures[count]; labels of `count` and above are refused. Values that are not finite are
 * left out of mean and sd; what a label has no mean of is NaN. Sums run in double in the order of
 * the voxels. VN_E_ARGUMENT. */
VN_SEGMENT_API enum vn_status vn_measure_labels(const struct vn_image *image,
                                                const struct vn_label_map *labels, size_t count,
                                                struct vn_measure *measures, struct vn_diag *diag);

#ifdef __cplusplus
}
#endif

#endif

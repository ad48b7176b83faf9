/* A scan through a network to a label map, in memory: the story of what vnet-run does between
 * reading and writing, for embedders as much as for the tool. Built on vnet.h alone.
 *
 *   struct vn_segment segment;
 *   vn_scan_open → vn_segment_plan (fits? how much memory?) → vn_scan_load → vn_segment_run
 *
 * What the model's metadata asks for is done or refused, never passed over:
 *   vnet.orientation  the scan is looked at along these axes; absent: along its own
 *   vnet.spacing_mm   along the letters of vnet.orientation (or x y z): the scan is brought to it,
 *                     and the scores back (grid.h); absent: the scan's own
 *   vnet.intensity    see intensity.h; fitted to the scan's own voxels; absent: as they are
 *
 * The network has one input of shape 1 1 D H W, which is the window; scores are its first float
 * output with that grid. Several channels: a voxel's label is the class with the highest blended
 * score, the lowest of equals. One channel: label 1 where the blended score is at least 0.5, and
 * scores outside [0, 1] are refused, for the network then does not end in a sigmoid. Networks that
 * end in ArgMax are refused: windows of labels cannot be blended.
 *
 * Label 0 is what the model calls background. Windows with nothing in them get it unseen: no voxel
 * is further above the scan's smallest value than 5 % of the way from there to the scan's mean
 * (padding, masked-out and empty air; less than any tissue in MR or CT). A scan whose voxels
 * are all equal has no such windows. */
#ifndef VNET_SEGMENT_H
#define VNET_SEGMENT_H

#include "intensity.h"
#include "nifti.h"
#include "orient.h"
#include "vnet.h"
#include "window.h"

struct vn_segment_options {
  double overlap; /* of windows, in [0, 1) */
  enum vn_weighting weighting;
  bool mirror[3];    /* d h w */
  bool every_window; /* empty ones, too */
};

struct vn_segment {
  const struct vn_plan *plan; /* borrowed, as are the next two */
  struct vn_exec *exec;
  const struct vn_scan *scan;
  struct vn_segment_options options;
  size_t output, channels, classes; /* one channel means two classes */
  bool probabilities;               /* the network's scores are */
  struct vn_grid grid;
  struct vn_intensity_rule rule;
  uint64_t memory_bytes; /* all of it: exec, voxels, scores on their way, labels */
  /* The network's own probabilities where it ends in Softmax or (one channel) a sigmoid, else the
   * softmax of its blended scores. */
  struct vn_scores scores;
  void (*progress)(void *context, size_t done, size_t total);
  void *progress_context;
};

struct vn_segment_report {
  struct vn_intensity intensity;
  struct vn_window_report window;
  uint64_t normalize_ns;
};

/* Fills *segment for an open, not yet loaded, scan; `options` may be NULL for an overlap of 0.5,
 * Gaussian weights, no mirroring. Scores and progress are nobody's until the caller sets them.
 * VN_E_UNSUPPORTED: plan and scan do not go together; VN_E_FORMAT: metadata that cannot be read. To
 * be closed in any case. */
enum vn_status vn_segment_plan(const struct vn_plan *plan, struct vn_exec *exec,
                               const struct vn_scan *scan, const struct vn_segment_options *options,
                               struct vn_segment *segment, struct vn_diag *diag);
void vn_segment_close(struct vn_segment *segment);

/* How many labels the network tells apart; 1 when vn_segment_plan would refuse it. */
size_t vn_segment_classes(const struct vn_plan *plan, struct vn_exec *exec);

/* Labels a loaded scan, and fills its scores. Sets labels->data, which the caller frees; NULL on
 * failure. */
enum vn_status vn_segment_run(const struct vn_segment *segment, struct vn_labels *labels,
                              struct vn_segment_report *report, struct vn_diag *diag);

/* Fills voxels[label] for the labels->classes labels. */
void vn_labels_count(const struct vn_labels *labels, uint64_t *voxels);

#endif

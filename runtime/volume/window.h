/* Sliding-window inference: windows of the network's size over the grid that grid.h lays over a
 * scan, scores blended and handed on in the scan's own voxels, row by row in the order of planes,
 * as soon as no later window touches them; the grid's own planes go to whoever wants them.
 * Placement, padding and weights are those of MONAI's sliding_window_inference (modes "gaussian"
 * with sigma_scale 0.125, and "constant"; cval 0), and so are the scores up to rounding. Called by
 * segment.c; it knows nothing of labels or files.
 *
 * - An axis shorter than the patch is padded with 0 after normalisation, half of it (rounded down)
 *   before.
 * - Windows start every int((1 - overlap) * patch) voxels; the last one ends with the grid.
 * - Where a box is given they begin and end with it instead, or, where it is shorter than the
 *   patch, one lies around its middle, as far as the padded grid allows.
 * - weight = exp(-x^2 / (2 (patch/8)^2)) per axis, x from the patch's centre, the product at least
 *   max(its smallest value, 1e-3); or 1 everywhere.
 * - Windows run with w fastest, as many at a time as the network's batch, and sums are taken in
 * that order whatever the threads. */
#ifndef VNET_WINDOW_H
#define VNET_WINDOW_H

#include "grid.h"
#include "intensity.h"
#include "stage.h"
#include "vnet_segment.h"

/* Where windows lie along one axis. */
struct vn_window_axis {
  size_t size, patch;   /* of the grid; of the network */
  size_t before, total; /* padding before the grid; size and padding together */
  size_t step, count;   /* windows start at first, first + step …, the last at `last` */
  size_t first, last;
};
/* Over the grid's points from `from` up to `to`; `to` 0: all of them. */
struct vn_window_axis vn_window_axis_make(size_t size, size_t patch, double overlap, size_t from,
                                          size_t to);
size_t vn_window_start(const struct vn_window_axis *axis, size_t index);

/* Fills weights[d][h][w] for a patch. */
void vn_window_weights(enum vn_weighting weighting, const size_t patch[3], float *weights);

/* Takes the scores of row (d, h) of the scan as the grid's view has it: class c of voxel w is
 * scores[w*classes + c]. Where `sure` is given and sure[w] is not 0, class sure[w] - 1 is the
 * highest, and there are no scores of voxel w. Called from several threads at once, for different
 * planes d. Returns NULL, or a static sentence that ends the run with VN_E_UNSUPPORTED. */
typedef const char *vn_window_sink(void *context, size_t d, size_t h, const float *scores,
                                   const uint16_t *sure);

/* Takes the final scores of plane d of the grid: class c of point (h, w) is
 * scores[(h*columns + w)*classes + c]. Called from several threads at once, for different d. */
typedef void vn_window_plane(void *context, size_t d, const float *scores, size_t columns);

/* What one of the network's channels sees: an image on the grid's voxels. */
struct vn_window_channel {
  const struct vn_voxels *voxels;
  struct vn_walk walk; /* of the grid's view over the voxels */
  struct vn_intensity intensity;
  float background; /* what exceeds it is something; -INFINITY: all is */
};

struct vn_box { /* of the grid's points, d h w; along an axis whose `to` is 0: all of them */
  size_t from[3], to[3];
};

struct vn_window_job {
  struct vn_stage *stage; /* whose exec runs */
  double network_work;    /* of one run, in the stage's unit: about a thread's nanoseconds */
  size_t output;          /* which output of the network holds the scores */
  const struct vn_window_channel *channels; /* [count]: through all inputs, in their order */
  size_t count;
  const struct vn_grid *grid;
  struct vn_box box; /* where windows lie */
  double overlap;    /* in [0, 1) */
  enum vn_weighting weighting;
  bool mirror[3]; /* d h w: the network sees each window flipped, too, in all combinations */
  /* [class]: which one a class is where the window is flipped along side_axis; NULL: itself. */
  const size_t *other_side;
  int side_axis;
  /* A window in which no channel shows anything is not run; where none was run, the scores are
   * idle[class]. */
  const float *idle;
  bool highest_alone; /* the sink wants no more than each voxel's highest class */
  vn_window_sink *sink;
  void *sink_context;
  vn_window_plane *plane; /* NULL: nobody wants them */
  void *plane_context;
};

struct vn_window_report {
  size_t windows, skipped;         /* skipped ones are among the windows */
  uint64_t network_ns, outside_ns; /* outside: filling windows, blending, resampling, the sink */
};

/* Bytes that vn_window_run allocates; SIZE_MAX when uncountable. */
size_t vn_window_bytes(const struct vn_grid *grid, const size_t patch[3], size_t channels,
                       size_t classes);

/* How many windows lie on all of the grid; UINT64_MAX when uncountable. */
uint64_t vn_window_count(const struct vn_grid *grid, const size_t patch[3], double overlap);

/* What vn_window_run will tell the stage that it does, whatever the box. */
double vn_window_work(const struct vn_window_job *job);

/* Inputs of one batch and one grid, output of that batch on that grid. VN_E_MEMORY,
 * VN_E_CANCELLED, VN_E_UNSUPPORTED (the sink's sentence), VN_E_FORMAT: the network yields scores
 * that are not finite. */
enum vn_status vn_window_run(const struct vn_window_job *job, struct vn_window_report *report,
                             struct vn_diag *diag);

#endif

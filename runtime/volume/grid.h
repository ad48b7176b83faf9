/* The grid on which a network works, laid over a scan: the scan's axes permuted and flipped to the
 * network's (orient.h) and, axis by axis, brought to the network's spacing. Nothing is resampled as
 * a whole: window.c asks for the planes of a window and hands scores back plane by plane.
 *
 * Both grids share the centre of the field of view, and the network's covers all of it. An axis
 * whose spacing is within 1 % of the network's is taken as it is.
 *
 * - Into the grid: linear interpolation; where the grid is coarser than the scan, the triangle is
 *   as much wider (an anti-aliasing filter, as torch.nn.functional.interpolate with
 *   mode="trilinear", antialias=True). Beyond the scan's edge the weights inside count.
 * - Out of it, scores to the scan's voxels: linear interpolation at the voxel's centre. */
#ifndef VNET_GRID_H
#define VNET_GRID_H

#include "orient.h"

/* Output i is the sum over k < count of weight[i * count + k] * input[first[i] + k]. */
struct vn_taps {
  size_t count;
  size_t *first; /* increasing */
  float *weight;
};

struct vn_grid {
  struct vn_view view;   /* the scan's voxels along the network's axes */
  size_t dim[3];         /* d h w of the grid */
  double spacing_mm[3];  /* d h w of the grid */
  struct vn_taps in[3];  /* dim[i] outputs of view.dim[i] voxels */
  struct vn_taps out[3]; /* view.dim[i] outputs of dim[i] grid points */
};

/* Lays a grid of this spacing (d h w; NULL: the scan's own) over the view. Fills *grid, which
 * the caller gives to vn_grid_close, also after a failure. VN_E_UNSUPPORTED: a spacing more than 32
 * times as fine or coarse as the scan's; VN_E_MEMORY. */
enum vn_status vn_grid_make(const struct vn_view *view, const double *spacing_mm,
                            struct vn_grid *grid, struct vn_diag *diag);

/* Accepts NULL and zeroed grids. */
void vn_grid_close(struct vn_grid *grid);

/* Floats that vn_grid_sample wants as scratch for a part of `extent` grid points. */
size_t vn_grid_scratch(const struct vn_grid *grid, const size_t extent[3]);

/* Fills plane[h][w] with the extent[0] x extent[1] grid points from (d, start[0], start[1]) on,
 * all inside the grid. `voxels` and `walk` (orient.h) say where the image lies. */
void vn_grid_sample(const struct vn_grid *grid, const struct vn_voxels *voxels,
                    const struct vn_walk *walk, size_t d, const size_t start[2],
                    const size_t extent[2], float *scratch, float *plane);

#endif

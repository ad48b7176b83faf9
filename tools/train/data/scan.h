/* Scan files and arrays as images of the runtime, for all that the trainer reads: cases, label
 * maps, whole scans to validate on, samples to draw. */
#ifndef VNET_TRAIN_SCAN_H
#define VNET_TRAIN_SCAN_H

#include "filling.h"
#include "orient.h"
#include "vnet_scan.h"

/* A volume of a file. */
struct vnt_scan {
  struct vn_scan *file;
  size_t volume;
  struct vn_image image; /* taken (image.h); voxels NULL until they are loaded, then floats */
};

/* Opens a file of one volume, as label maps are, and takes its image. To be closed in any case;
 * sentences begin with the path. As vn_scan_open. */
enum vn_status vnt_scan_open(const char *path, struct vnt_scan *scan, struct vn_diag *diag);
/* Takes the volume's image from an open file. As vn_image_take. */
enum vn_status vnt_scan_take(struct vnt_scan *scan, struct vn_diag *diag);
/* Loads the file, unless it is loaded. As vn_scan_load; `cancel` may be NULL. */
enum vn_status vnt_scan_load(struct vnt_scan *scan, struct vn_cancel *cancel, struct vn_diag *diag);
void vnt_scan_close(struct vnt_scan *scan);

/* Of a loaded scan from a file of one volume: dense, i fastest. */
static inline const float *vnt_scan_voxels(const struct vnt_scan *scan) {
  return scan->image.voxels;
}

/* Where a view's element lies among them: in elements, not bytes. */
struct vn_walk vnt_scan_walk(const struct vnt_scan *scan, const struct vn_view *view);

/* As vn_view_orient, with the file's reason where it does not say how it lies. */
enum vn_status vnt_scan_orient(const struct vnt_scan *scan, const char *letters,
                               struct vn_view *view, struct vn_diag *diag);

/* A dense array [d][h][w] as a taken image of unknown world. */
struct vn_image vnt_array_image(const float *voxels, const size_t dim[3]);

/* How a taken image of the trainer's own is normalised, by all of its voxels, on the calling
 * thread. VN_E_FORMAT: voxels that are not finite; else as vn_intensity_fit. */
enum vn_status vnt_intensity_fit(const struct vn_intensity_rule *rule, const struct vn_image *image,
                                 struct vn_intensity *intensity, struct vn_diag *diag);

/* The same for a loaded scan, which may have filling (filling.h): *voxels becomes how it is read,
 * and what there is to say of it is added to `note`. */
enum vn_status vnt_scan_fit(const struct vn_intensity_rule *rule, const struct vnt_scan *scan,
                            struct vn_voxels *voxels, struct vn_intensity *intensity, char *note,
                            size_t size, struct vn_diag *diag);

#endif

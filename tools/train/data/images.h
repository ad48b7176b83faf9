/* The files of a case as the channels of a scan: a channel for each volume of each file, in the
 * network's order. Called by whoever reads cases: cases.c, validate.c, plan.c. */
#ifndef VNET_TRAIN_IMAGES_H
#define VNET_TRAIN_IMAGES_H

#include "cases_list.h"
#include "scan.h"

struct vnt_images {
  struct vn_scan *file[VNT_CHANNELS_MOST];
  size_t files, channels;
  struct vnt_scan channel[VNT_CHANNELS_MOST]; /* [channels]; their files are those above … */
  const char *path[VNT_CHANNELS_MOST];        /* … and the row's */
};

/* Opens the files of a case of the list and looks at their headers: they have as many volumes as
 * the list has channels, and lie on one grid, within a twentieth of a voxel. To be closed in any
 * case. As vn_scan_open_series. */
enum vn_status vnt_images_open(const struct vnt_list *list, const struct vnt_list_row *row,
                               struct vnt_images *images, struct vn_diag *diag);
void vnt_images_close(struct vnt_images *images);
/* Closes the file of this channel, unless a later one is in it, too. */
void vnt_images_drop(struct vnt_images *images, size_t channel);

/* A list that does not say how many channels there are gets as many as the files of its first case
 * have; the sentence names the list and the line. Nothing where there is no case. */
enum vn_status vnt_images_count(struct vnt_list *list, const char *path, struct vn_diag *diag);

/* Do two images lie on one grid? `path` is b's. VN_E_FORMAT. */
enum vn_status vnt_grids_compare(const struct vn_image *a, const struct vn_image *b,
                                 const char *path, struct vn_diag *diag);

#endif

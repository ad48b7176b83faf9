/* Files to channels; see images.h. */
#include "images.h"

#include <math.h>
#include <string.h>

#include "fail.h"

/* Of a voxel, at the farthest corner. A quaternion near half a turn, in float32, errs by 0.03 of
 * one at the edge of a head; a label that is off by this much is off by nothing. */
static const double APART_MOST_VOX = 0.05;

enum vn_status vnt_grids_compare(const struct vn_image *a, const struct vn_image *b,
                                 const char *path, struct vn_diag *diag) {
  if (memcmp(a->dim, b->dim, sizeof a->dim))
    return vn_fail(diag, VN_E_FORMAT, "%s has %zu x %zu x %zu voxels, its image %zu x %zu x %zu",
                   vnt_path_end(path), b->dim[0], b->dim[1], b->dim[2], a->dim[0], a->dim[1],
                   a->dim[2]);
  double most = 0, spacing_mm[3];
  vn_image_spacing(a, spacing_mm);
  const double smallest = fmin(fmin(spacing_mm[0], spacing_mm[1]), spacing_mm[2]);
  double at[2][3] = {{0}};
  size_t voxel[3] = {0};
  for (int corner = 0; corner < 8; corner++) {
    size_t v[3];
    double world[2][3], apart = 0;
    for (int i = 0; i < 3; i++) v[i] = corner >> i & 1 ? a->dim[i] - 1 : 0;
    for (int i = 0; i < 3; i++) {
      for (int s = 0; s < 2; s++) {
        const double *row = s ? b->affine[i] : a->affine[i];
        world[s][i] =
            row[0] * (double)v[0] + row[1] * (double)v[1] + row[2] * (double)v[2] + row[3];
      }
      apart += (world[1][i] - world[0][i]) * (world[1][i] - world[0][i]);
    }
    if (sqrt(apart) / smallest <= most + 1e-6) continue; /* of equals the first */
    most = sqrt(apart) / smallest;
    memcpy(at, world, sizeof at);
    memcpy(voxel, v, sizeof voxel);
  }
  if (most <= APART_MOST_VOX) return VN_OK;
  return vn_fail(diag, VN_E_FORMAT,
                 "%s lies elsewhere than its image: voxel %zu %zu %zu is at %.6g %.6g %.6g mm, "
                 "the image's at %.6g %.6g %.6g mm, %.3g voxels apart",
                 vnt_path_end(path), voxel[0], voxel[1], voxel[2], at[1][0], at[1][1], at[1][2],
                 at[0][0], at[0][1], at[0][2], most);
}

/* ---- a case ---- */

/* The file to blame: the first of several volumes, or else the first. */
static const char *odd_one(const struct vnt_list_row *row, const struct vnt_images *images) {
  for (size_t f = 0; f < images->files; f++)
    if (vn_scan_volumes(images->file[f]) > 1) return vnt_path_end(row->image[f]);
  return vnt_path_end(row->image[0]);
}

static enum vn_status count_check(const struct vnt_list *list, const struct vnt_list_row *row,
                                  const struct vnt_images *images, struct vn_diag *diag) {
  const size_t volumes = images->channels, most = VNT_CHANNELS_MOST;
  const char *path = odd_one(row, images);
  if (volumes > most)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "%s: the image has %zu volumes, which are channels, and these are at most %zu: "
                   "split a series in time first",
                   path, volumes, most);
  if (!list->channels || volumes == list->channels) return VN_OK;
  return vn_fail(diag, VN_E_FORMAT, "%s: the image has %zu volume%s in %zu file%s, and %s %zu",
                 path, volumes, volumes == 1 ? "" : "s", images->files,
                 images->files == 1 ? "" : "s",
                 list->channel[0] ? "the channels that the list names are" : "the first case has",
                 list->channels);
}

/* Each channel its file and volume. */
static enum vn_status channels_take(const struct vnt_list *list, const struct vnt_list_row *row,
                                    struct vnt_images *images, struct vn_diag *diag) {
  struct vn_diag inner;
  for (size_t c = 0; c < images->channels; c++) {
    struct vnt_scan *channel = &images->channel[c];
    size_t f = 0, volume = list->channels ? list->given[c] : c;
    while (volume >= vn_scan_volumes(images->file[f])) volume -= vn_scan_volumes(images->file[f++]);
    *channel = (struct vnt_scan){.file = images->file[f], .volume = volume};
    images->path[c] = row->image[f];
    enum vn_status status = vnt_scan_take(channel, &inner);
    if (status) return vn_fail(diag, status, "%.200s: %.300s", row->image[f], inner.text);
    status = vnt_grids_compare(&images->channel[0].image, &channel->image, row->image[f], diag);
    if (status) return status;
  }
  return VN_OK;
}

enum vn_status vnt_images_open(const struct vnt_list *list, const struct vnt_list_row *row,
                               struct vnt_images *images, struct vn_diag *diag) {
  *images = (struct vnt_images){0};
  for (size_t f = 0; f < row->files; f++) {
    const enum vn_status status = vn_scan_open_series(row->image[f], &images->file[f], diag);
    if (status) return status;
    images->files++;
    images->channels += vn_scan_volumes(images->file[f]);
  }
  const enum vn_status status = count_check(list, row, images, diag);
  return status ? status : channels_take(list, row, images, diag);
}

void vnt_images_close(struct vnt_images *images) {
  for (size_t f = 0; f < images->files; f++) vn_scan_close(&images->file[f]);
  *images = (struct vnt_images){0};
}

void vnt_images_drop(struct vnt_images *images, size_t channel) {
  const struct vn_scan *file = images->channel[channel].file;
  for (size_t c = channel + 1; c < images->channels; c++)
    if (images->channel[c].file == file) return;
  for (size_t f = 0; f < images->files; f++)
    if (images->file[f] == file) vn_scan_close(&images->file[f]);
}

enum vn_status vnt_images_count(struct vnt_list *list, const char *path, struct vn_diag *diag) {
  struct vnt_images images;
  struct vn_diag inner;
  if (list->channels || !list->count) return VN_OK;
  const enum vn_status status = vnt_images_open(list, &list->row[0], &images, &inner);
  if (!status) list->channels = images.channels;
  vnt_images_close(&images);
  for (size_t c = 0; c < list->channels; c++) list->given[c] = c;
  return status ? vn_fail(diag, status, "%s, line %zu: %.380s", vnt_path_end(path),
                          list->row[0].line, inner.text)
                : VN_OK;
}

/* Files and arrays as images; see scan.h. */
#include "scan.h"

#include "fail.h"

static struct vn_image image_of(const struct vnt_scan *scan) {
  struct vn_image image = {.size = sizeof image};
  vn_scan_volume(scan->file, scan->volume, &image);
  return image;
}

enum vn_status vnt_scan_take(struct vnt_scan *scan, struct vn_diag *diag) {
  const struct vn_image image = image_of(scan);
  return vn_image_take(&image, &scan->image, diag);
}

enum vn_status vnt_scan_open(const char *path, struct vnt_scan *scan, struct vn_diag *diag) {
  struct vn_diag inner;
  *scan = (struct vnt_scan){0};
  enum vn_status status = vn_scan_open_series(path, &scan->file, diag);
  if (status) return status;
  if (vn_scan_volumes(scan->file) > 1)
    return vn_fail(
        diag, VN_E_UNSUPPORTED,
        "%.200s: it has %zu volumes, and a label map has one, with a label at each voxel", path,
        vn_scan_volumes(scan->file));
  status = vnt_scan_take(scan, &inner);
  return status ? vn_fail(diag, status, "%.200s: %.300s", path, inner.text) : VN_OK;
}

enum vn_status vnt_scan_load(struct vnt_scan *scan, struct vn_cancel *cancel,
                             struct vn_diag *diag) {
  const struct vn_run_options run = {.size = sizeof run, .cancel = cancel};
  const enum vn_status status = vn_scan_load(scan->file, &run, diag);
  if (!status) scan->image.voxels = image_of(scan).voxels;
  return status;
}

void vnt_scan_close(struct vnt_scan *scan) {
  vn_scan_close(&scan->file);
  scan->image.voxels = NULL;
}

enum vn_status vnt_scan_orient(const struct vnt_scan *scan, const char *letters,
                               struct vn_view *view, struct vn_diag *diag) {
  const char *reason = vn_scan_unoriented(scan->file);
  if (reason)
    return vn_fail(diag, VN_E_UNSUPPORTED, "the model wants %.20s, but the scan %s", letters,
                   reason);
  return vn_view_orient(&scan->image, letters, view, diag);
}

struct vn_walk vnt_scan_walk(const struct vnt_scan *scan, const struct vn_view *view) {
  const size_t *dim = scan->image.dim;
  const ptrdiff_t stride[3] = {1, (ptrdiff_t)dim[0], (ptrdiff_t)(dim[0] * dim[1])};
  return vn_view_walk(view, stride);
}

struct vn_image vnt_array_image(const float *voxels, const size_t dim[3]) {
  const struct vn_image array = {
      .size = sizeof array,
      .voxels = voxels,
      .type = VN_VOXEL_F32,
      .dim = {dim[2], dim[1], dim[0]},
      .affine = {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}},
  };
  struct vn_image image;
  vn_image_take(&array, &image, NULL); /* nothing about it can be refused: it lies in memory */
  return image;
}

static enum vn_status survey_fit(const struct vn_intensity_rule *rule, const struct vn_image *image,
                                 const struct vn_survey *survey, struct vn_intensity *intensity,
                                 struct vn_diag *diag) {
  const enum vn_status status = vn_survey_finite(image, survey, diag);
  return status ? status : vn_intensity_fit(rule, image, survey, NULL, intensity, diag);
}

enum vn_status vnt_intensity_fit(const struct vn_intensity_rule *rule, const struct vn_image *image,
                                 struct vn_intensity *intensity, struct vn_diag *diag) {
  const struct vn_voxels voxels = vn_voxels_of(image);
  struct vn_survey survey;
  const enum vn_status status = vn_survey_take(image, &voxels, NULL, &survey, diag);
  return status ? status : survey_fit(rule, image, &survey, intensity, diag);
}

enum vn_status vnt_scan_fit(const struct vn_intensity_rule *rule, const struct vnt_scan *scan,
                            struct vn_voxels *voxels, struct vn_intensity *intensity, char *note,
                            size_t size, struct vn_diag *diag) {
  struct vn_survey survey;
  struct vn_filling filling;
  *voxels = vn_voxels_of(&scan->image);
  enum vn_status status =
      vn_survey_own(&scan->image, NULL, false, NULL, voxels, &survey, &filling, diag);
  if (!status) vn_filling_tell(&filling, &survey, note, size);
  if (!status) status = survey_fit(rule, &scan->image, &survey, intensity, diag);
  if (!status) vn_intensity_tell(intensity, note, size);
  vn_survey_close(&survey);
  return status;
}

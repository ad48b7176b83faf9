/* One image of a run as the network's channel sees it: its filling, its statistics and, where it
 * lies on another grid than the first one, its values on that. Called by segment.c. */
#ifndef VNET_SOURCE_H
#define VNET_SOURCE_H

#include "filling.h"
#include "window.h"

struct vn_source {
  struct vn_image image;           /* taken; once matched, on the first image's grid */
  struct vn_voxels stored, voxels; /* voxels: without filling */
  struct vn_survey survey;
  struct vn_filling filling;
  struct vn_intensity intensity;
  bool apart;     /* on another grid than the first image */
  float *matched; /* its voxels there; owned */
};

/* Takes an image; `onto` is the first one, NULL: this is it. `match`: other grids are allowed. The
 * caller closes it in any case. VN_E_ARGUMENT, VN_E_UNSUPPORTED. */
enum vn_status vn_source_take(struct vn_source *source, const struct vn_image *theirs,
                              const struct vn_image *onto, bool match, struct vn_diag *diag);
void vn_source_close(struct vn_source *source);

/* What it does to the image takes so many nanoseconds of a thread, roughly. */
double vn_source_ns(const struct vn_source *source, const struct vn_image *onto);

/* The most that vn_source_fit holds for as long as it runs, and what it leaves. */
uint64_t vn_source_bytes(const struct vn_source *source);
uint64_t vn_source_matched_bytes(const struct vn_source *source, const struct vn_image *onto);

/* Surveys the image, fits its intensities and brings it onto the grid of `onto`. `scratch`: a label
 * map there (vn_survey_own). What there is to say is added to `note`. VN_E_FORMAT,
 * VN_E_UNSUPPORTED, VN_E_MEMORY, VN_E_CANCELLED. */
enum vn_status vn_source_fit(struct vn_source *source, const struct vn_intensity_rule *rule,
                             const struct vn_image *onto, const struct vn_label_map *scratch,
                             bool replace_nan, struct vn_stage *stage, char *note, size_t size,
                             struct vn_diag *diag);

/* As the window job wants it, on the grid's view of the first image. */
struct vn_window_channel vn_source_channel(const struct vn_source *source,
                                           const struct vn_view *view, bool every_window);

/* What is not above it is background. */
float vn_source_level(const struct vn_source *source);

#endif

/* See source.h.
 *
 * Background: what is no further above the image's smallest value than 5 % of the way from there to
 * its mean (padding, masked-out and empty air; less than any tissue in MR or CT). An image whose
 * voxels are all equal has none. */
#include "source.h"

#include <math.h>
#include <stdlib.h>

#include "match.h"
#include "os.h"
#include "size.h"

/* Rough, for progress alone: nanoseconds of a thread for a voxel. */
static const double SURVEY_NS = 3, FIT_NS = 4, MATCH_NS = 40;

enum vn_status vn_source_take(struct vn_source *source, const struct vn_image *theirs,
                              const struct vn_image *onto, bool match, struct vn_diag *diag) {
  char text[160];
  *source = (struct vn_source){0};
  enum vn_status status = vn_image_take(theirs, &source->image, diag);
  if (status || !onto) return status;
  source->apart = !vn_grids_match(&source->image, onto);
  if (!source->apart) return VN_OK;
  if (match) return vn_match_check(&source->image, onto, diag);
  vn_grids_tell(&source->image, onto, text, sizeof text);
  return vn_fail(diag, VN_E_UNSUPPORTED,
                 "%s: match_grids (--match-grids) brings it onto the first one's", text);
}

void vn_source_close(struct vn_source *source) {
  vn_survey_close(&source->survey);
  free(source->matched);
  source->matched = NULL;
}

double vn_source_ns(const struct vn_source *source, const struct vn_image *onto) {
  return (SURVEY_NS + FIT_NS) * (double)vn_image_elems(&source->image) +
         (source->apart ? MATCH_NS * (double)vn_image_elems(onto) : 0);
}

uint64_t vn_source_matched_bytes(const struct vn_source *source, const struct vn_image *onto) {
  return source->apart ? vn_times(vn_image_elems(onto), sizeof(float)) : 0;
}

/* An image on another grid finds its frame in memory of its own. */
uint64_t vn_source_bytes(const struct vn_source *source) {
  return vn_plus(vn_survey_bytes(&source->image),
                 source->apart ? vn_image_elems(&source->image) : 0);
}

/* From here on the image is one on the first one's grid. */
static enum vn_status match(struct vn_source *s, const struct vn_image *onto,
                            struct vn_stage *stage, struct vn_diag *diag) {
  size_t bytes;
  if (__builtin_mul_overflow(vn_image_elems(onto), sizeof(float), &bytes) ||
      !(s->matched = vn_os_room(bytes)))
    return vn_fail(diag, VN_E_MEMORY, "out of memory for an image on another one's grid");
  vn_stage_begin(stage, MATCH_NS * (double)vn_image_elems(onto));
  enum vn_status status =
      vn_match_sample(&s->image, &s->voxels, onto, s->survey.least, stage, s->matched, diag);
  s->image = *onto;
  s->image.voxels = s->matched;
  s->image.type = VN_VOXEL_F32;
  s->image.slope = 1, s->image.inter = 0;
  ptrdiff_t step = sizeof(float);
  for (int i = 0; i < 3; step *= (ptrdiff_t)onto->dim[i++]) s->image.stride[i] = step;
  s->stored = s->voxels = vn_voxels_of(&s->image);
  return status;
}

enum vn_status vn_source_fit(struct vn_source *s, const struct vn_intensity_rule *rule,
                             const struct vn_image *onto, const struct vn_label_map *scratch,
                             bool replace_nan, struct vn_stage *stage, char *note, size_t size,
                             struct vn_diag *diag) {
  const double elems = (double)vn_image_elems(&s->image);
  s->stored = s->voxels = vn_voxels_of(&s->image);
  vn_stage_begin(stage, SURVEY_NS * elems);
  enum vn_status status = vn_survey_own(&s->image, s->apart ? NULL : scratch, replace_nan, stage,
                                        &s->voxels, &s->survey, &s->filling, diag);
  if (!status) status = vn_survey_finite(&s->image, &s->survey, diag);
  if (status) return status;
  vn_filling_tell(&s->filling, &s->survey, note, size);
  vn_stage_begin(stage, FIT_NS * elems);
  status = vn_intensity_fit(rule, &s->image, &s->survey, stage, &s->intensity, diag);
  vn_survey_close(&s->survey);
  if (!status) vn_intensity_tell(&s->intensity, note, size);
  return !status && s->apart ? match(s, onto, stage, diag) : status;
}

float vn_source_level(const struct vn_source *s) {
  const double above = s->survey.mean - (double)s->survey.least;
  return above > 0 ? (float)((double)s->survey.least + 0.05 * above) : -INFINITY;
}

struct vn_window_channel vn_source_channel(const struct vn_source *s, const struct vn_view *view,
                                           bool every_window) {
  return (struct vn_window_channel){.voxels = &s->voxels,
                                    .walk = vn_view_walk(view, s->image.stride),
                                    .intensity = s->intensity,
                                    .background = every_window ? -INFINITY : vn_source_level(s)};
}

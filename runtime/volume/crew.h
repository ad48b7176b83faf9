/* A run before its work: what was asked for, checked and measured. Private: crew.c plans it,
 * segment_run.c runs it. */
#ifndef VNET_CREW_H
#define VNET_CREW_H

#include "judge.h"
#include "segmenter.h"
#include "source.h"

struct vn_model_run { /* of one model */
  struct vn_segmenter *segmenter;
  const struct vn_segment_options *options;
  struct vn_stage *stage;
  struct vn_source *sources; /* [count], owned */
  size_t count;
  struct vn_label_map map;
  struct vn_judge judge;
  struct vn_grid grid;
  bool swapped; /* labels change sides in windows that are mirrored along `side_axis` */
  int side_axis;
  struct vn_verdict verdict;
  struct vn_window_channel *channels; /* [count], owned */
  struct vn_window_job window;
  struct vn_segment_report report;
};

struct vn_crew {            /* of all models that are averaged */
  struct vn_model_run *run; /* [count], owned; the first one has the results and runs last */
  size_t count;
  struct vn_segment_options options;
  struct vn_stage stage;
  struct vn_average average;
  struct vn_decision mean;
};

/* Whose grid and geometry the results have. */
static inline const struct vn_image *vn_first_image(const struct vn_model_run *run) {
  return &run->sources[0].image;
}

/* From what the caller gave, images without voxels among it, to grids over the images. To be closed
 * in any case. VN_E_ARGUMENT, VN_E_UNSUPPORTED, VN_E_MEMORY. */
enum vn_status vn_crew_plan(const struct vn_segmenter *segmenter,
                            const struct vn_image *const images[], size_t count,
                            const struct vn_segment_options *options, struct vn_crew *crew,
                            struct vn_diag *diag);
void vn_crew_close(struct vn_crew *crew);
void vn_model_run_close(struct vn_model_run *run); /* one of them, once it is done */

/* VN_E_MEMORY: it takes more than the limit, or than is free. */
enum vn_status vn_crew_limit_check(const struct vn_crew *crew, struct vn_diag *diag);
/* Of the sum of probabilities; 0 for one model. */
uint64_t vn_crew_average_bytes(const struct vn_crew *crew);

/* A sentence that says which of several channels it is about, and which model where it is not the
 * first. */
enum vn_status vn_channel_told(const struct vn_model_run *run, size_t channel,
                               enum vn_status status, const struct vn_diag *inner,
                               struct vn_diag *diag);
enum vn_status vn_model_told(size_t model, enum vn_status status, const struct vn_diag *inner,
                             struct vn_diag *diag);

#endif

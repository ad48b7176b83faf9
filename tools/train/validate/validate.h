/* A network in training on whole scans, by the runtime's own sliding window, in this process: what
 * vnet-run would say of the model if it were exported now. Called by vnet-train between steps. */
#ifndef VNET_TRAIN_VALIDATE_H
#define VNET_TRAIN_VALIDATE_H

#include "distance.h"
#include "graph.h"
#include "images.h"
#include "labels.h"
#include "vnet_segment.h"

/* A scan that has just been scored, for whoever draws or counts; it is all gone after the call. */
struct vnt_validated {
  size_t index;                      /* of the case */
  const struct vn_image *image;      /* with its voxels; of several channels the first */
  const uint8_t *target, *predicted; /* in the image's order: i fastest */
  const struct vnt_score *scores;    /* [classes - 1] */
};

struct vnt_validation {
  const struct vnt_list *list;
  const struct vnt_list_row *const *cases; /* [count], of the list */
  size_t count;
  const struct vnt_labels *labels;
  double tolerance_mm;     /* distance.h */
  const char *maps_folder; /* where predicted maps are saved; NULL: nowhere */
  const char *isa;         /* NULL: the best here */
  size_t threads;          /* 0: one for each core */
  /* Both may be NULL. `seen` hears of each scan once it is scored; `cancel` ends it all with
   * VN_E_CANCELLED. */
  void (*seen)(void *context, const struct vnt_validated *one);
  void *context;
  struct vn_cancel *cancel;
};

/* The path of a case's predicted map: in the scan's format LINE-NAME.seg.nii.gz, by its first
 * file's name. To be freed; NULL: memory is short. */
char *vnt_validation_map(const char *folder, const struct vnt_list_row *row);

/* Segments every scan as vnet-run does without options (overlap 0.5, Gaussian weights, no clean-up)
 * and scores it on its own grid: scores[i * (classes - 1) + label - 1], see distance.h.
 * What the label map ignores is background in both maps.
 *
 * `model` is a graph of the patch that windows are to have, with the metadata that the exported
 * model will have; it is compiled here and good for nothing but vnc_graph_free afterwards. A label
 * map must lie on the scan's grid (images.h) and hold values that `labels` knows.
 *
 * The same scores for any number of threads. Whatever is wrong with a scan or a label map is told
 * by a sentence that begins with its path: VN_E_IO, VN_E_FORMAT, VN_E_UNSUPPORTED, VN_E_MEMORY;
 * VN_E_ARGUMENT: the model has not their classes. */
enum vn_status vnt_validate(struct vnc_graph *model, const struct vnt_validation *validation,
                            struct vnt_score *scores, struct vn_diag *diag);

#endif

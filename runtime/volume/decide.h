/* From a voxel's blended scores to its label, its probabilities and the regions that it belongs to.
 * Called by segment.c, by soft_volume.c and, row by row, by window.c.
 *
 * What scores mean is the plan's to say (vn_plan_meaning). Of labels that exclude each other the
 * highest is a voxel's, the lowest of equals. Where each channel is a region of its own, region c
 * is label c + 1; a voxel is in those whose score is at least their threshold, and in the map it
 * has the one that is painted last, or 0. They are painted in the order in which `vnet.labels`
 * lists them, those that it does not list before the others and in the network's order.
 *
 * Several models are averaged by their probabilities: all but the last add theirs to a sum of the
 * whole image, and the last one's rows are decided by what that has become. */
#ifndef VNET_DECIDE_H
#define VNET_DECIDE_H

#include "orient.h"
#include "palette.h"
#include "vnet_segment.h"

struct vn_decision {
  enum vn_meaning meaning; /* SCORES, SOFTMAX, LOGSOFTMAX, REGIONS or FOREGROUND */
  size_t channels;         /* of the scores */
  bool guessed;            /* one channel, taken for a probability: one that is none is refused */
  float *threshold;        /* [channels], owned: of REGIONS */
  size_t *painted;         /* [channels], owned: channels, the first one painted first */
  size_t *other_side;      /* [channels], owned: the channel that a mirrored image has it in */
};

/* How many labels are told apart, and how many regions may overlap (0: none may). */
size_t vn_decision_labels(const struct vn_decision *decision);
size_t vn_decision_regions(const struct vn_decision *decision);

/* Reads off the plan what its output means; `probable`: an exec that ends in a softmax, for plans
 * that do not say. To be closed in any case. VN_E_UNSUPPORTED, VN_E_MEMORY. */
enum vn_status vn_decision_open(const struct vn_plan *plan, size_t output, size_t channels,
                                bool probable, struct vn_decision *decision, struct vn_diag *diag);
void vn_decision_close(struct vn_decision *decision);

/* Takes the order of painting, and which labels are each other's mirror. */
void vn_decision_take(struct vn_decision *decision, const struct vn_palette *palette);

/* One point's scores as probabilities of its labels, p[labels]; NaN where they cannot be such. Not
 * of SOFTMAX, whose scores are such, but for their sum. */
void vn_decision_probabilities(const struct vn_decision *decision, const float *scores, double *p);

/* Scores of certain background: idle[channels]. */
void vn_decision_idle(const struct vn_decision *decision, float *idle);

/* What the mean of probabilities means, which `of` and others like it yield. Borrows what is of's.
 */
struct vn_decision vn_decision_of_mean(const struct vn_decision *of);

/* What several models yield. */
struct vn_average {
  float *sum; /* [voxel, densely as the image has them][channel]: of probabilities */
  size_t models;
};

/* Where the results of a run go. */
struct vn_verdict {
  const struct vn_decision *decision, *own; /* own: what the scores are; the same of one model */
  struct vn_average *average;               /* NULL: of one model */
  bool last;                                /* of those that are averaged: it decides */
  const struct vn_label_map *map;
  struct vn_walk label_walk, index_walk; /* of the grid's view: over the map, over dense voxels */
  size_t width, elems;                   /* of a row; of an image */
  /* Voxels that it says are background whatever their scores, which then are `idle`; NULL: none. */
  bool (*filled)(const void *context, size_t d, size_t h, size_t w);
  const void *context;
  const float *idle;
};

/* Does a voxel's highest class say all? */
bool vn_verdict_highest_alone(const struct vn_verdict *verdict);

/* Scores of row (d, h) of the view: channel c of voxel w is scores[w*channels + c]. Where the
 * highest class says all, `sure` may be given: 0, or that class + 1, and no scores then. Returns
 * NULL, or why the scores cannot be what they are taken for. */
const char *vn_verdict_row(const struct vn_verdict *verdict, size_t d, size_t h,
                           const float *scores, const uint16_t *sure);

#endif

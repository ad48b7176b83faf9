/* Losses on a network's scores and their gradients: means over the samples of a batch, which may be
 * spread over the machine's processes. Sums run in double, in fixed parts added in order. */
#ifndef VNET_TRAIN_LOSS_H
#define VNET_TRAIN_LOSS_H

#include "ops.h"

enum { VNT_LOSS_CLASSES_MOST = 256, VNT_LOSS_IGNORED = 255 };

enum vnt_loss_kind {
  /* Milletari et al.: 1 - 2 sum(p g) / (sum p^2 + sum g^2), p the softmax probability of class
   * 1. */
  VNT_LOSS_DICE,
  /* 1 - (2 sum(p g) + 1) / (sum p^2 + sum g^2 + 1), p the sigmoid of the one channel, or of the
   * difference of two. */
  VNT_LOSS_SIGMOID_DICE,
  /* The mean over the classes from 1 on of the first, each smoothed by 1e-5 against absent ones. */
  VNT_LOSS_MULTI_DICE,
};

struct vnt_loss_spec {
  enum vnt_loss_kind kind;
  double cross_entropy; /* weight of the mean cross-entropy that is added; 0: none */
  /* [classes] of a class's voxels in the cross-entropy, whose mean is weighted by them, and of its
   * Dice loss among those of the others; NULL: all 1. */
  const double *class_weight;
};

struct vnt_loss {
  double loss; /* the mean over the samples of the batch: this process's part of the sum */
  double dice; /* the same, of the hard labels, class 1 and up together, for people */
  /* Of each class from 1 on, over this process's samples that have it, or where it is said to be:
   * the sum of its Dice, and how many there are. */
  struct {
    double dice, samples;
  } class[VNT_LOSS_CLASSES_MOST];
};

/* Fills grad with d loss / d scores. Labels [n][d][h][w], each below the number of classes, which
 * is the channels' (2 for one channel), or VNT_LOSS_IGNORED: such a voxel counts for nothing.
 * `scores` and `grad` have the same dimensions. VN_E_ARGUMENT: the loss and the number of channels
 * do not go together; VN_E_MEMORY. */
enum vn_status vnt_loss_run(const struct vnt_machine *machine, const struct vnt_loss_spec *spec,
                            const struct vn_tensor *scores, const uint8_t *labels,
                            const struct vn_tensor *grad, struct vnt_loss *loss,
                            struct vn_diag *diag);

#endif

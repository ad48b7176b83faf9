/* Everything that a training run needs to go on as if it had never stopped: parameters, the
 * optimiser's state, running statistics, running means, the step, how the run has gone, and what
 * the run is. The caller writes the file beside its name and then renames it; what is read is
 * checked. */
#ifndef VNET_TRAIN_CHECKPOINT_H
#define VNET_TRAIN_CHECKPOINT_H

#include "net.h"
#include "optim.h"

/* How a run has gone; zeroed at its start. Smoothed: means that forget. */
struct vnt_progress {
  double loss, dice; /* smoothed */
  double seen;       /* steps in them */
  double best_loss;  /* the least smoothed one */
  double worse;      /* steps in a row that were far above it */
  double best_score; /* mean Dice of the best validation, and its step; 0: none yet */
  double best_step;
  double validated;  /* the last step that was */
  double validation; /* the checksum of the cases for it and of what else decides scores; 0: none */
};

struct vnt_checkpoint {
  struct vnt_net *net;
  struct vnt_optim *optim;
  float *average; /* [net->elems + net->n_running]: their running means; NULL: there are none */
  struct vnt_progress *progress;
  const char *identity; /* lines that say what decides the run's result */
};

/* Of the parameters' values. */
uint64_t vnt_net_checksum(const struct vnt_net *net);

/* Writes to an open file. VN_E_IO. */
enum vn_status vnt_checkpoint_write(int fd, const struct vnt_checkpoint *checkpoint,
                                    struct vn_diag *diag);

/* Into a net and an optimiser of the same kind and size. VN_E_IO; VN_E_FORMAT: damaged, or of
 * another run: the sentence has the first line of the identity that differs. Nothing is changed on
 * failure. To be followed by vnt_net_changed. */
enum vn_status vnt_checkpoint_read(const char *path, const struct vnt_checkpoint *checkpoint,
                                   struct vn_diag *diag);

#endif

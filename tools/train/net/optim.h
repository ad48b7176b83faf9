/* SGD and AdamW, as PyTorch's torch.optim of the same names, over flat arrays of parameters; and
 * the schedules of their learning rates. Element by element: the same for any number of threads. */
#ifndef VNET_TRAIN_OPTIM_H
#define VNET_TRAIN_OPTIM_H

#include "ops.h"

enum vnt_optim_kind { VNT_SGD, VNT_ADAMW };

struct vnt_optim {
  enum vnt_optim_kind kind;
  double momentum;                     /* SGD */
  double beta1, beta2, epsilon, decay; /* AdamW; decay: of weights, for SGD as well */
  double clip;                         /* gradients are scaled to at most this norm; 0: never */
  float *first, *second;               /* [elems]: momentum buffer; second moments (AdamW) */
  double *squares;                     /* of the gradients, by parts: a step allocates nothing */
  size_t elems;
  uint64_t steps; /* done */
};

/* Allocates the state, zeroed. VN_E_MEMORY. To be closed in any case. */
enum vn_status vnt_optim_open(struct vnt_optim *optim, size_t elems, struct vn_diag *diag);
void vnt_optim_close(struct vnt_optim *optim);

/* One step with learning rate `rate`. Returns the gradients' norm before clipping; when it is not
 * finite, nothing is changed. */
double vnt_optim_step(const struct vnt_machine *machine, struct vnt_optim *optim, double rate,
                      float *param, const float *grad);

/* average[elems] moves by `share` towards the values. */
void vnt_average_step(const struct vnt_machine *machine, float *average, const float *values,
                      size_t elems, double share);

/* The paper's: rate divided by 10 every `every` steps. */
double vnt_rate_steps(double rate, uint64_t step, uint64_t every);
/* Linear from 0 over `warm` steps, then a half cosine to 0 at `total`. */
double vnt_rate_cosine(double rate, uint64_t step, uint64_t warm, uint64_t total);

#endif

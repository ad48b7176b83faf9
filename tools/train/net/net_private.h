/* What the files of the net share: net.c opens it, net_place.c decides where everything lies,
 * net_run.c runs it, net_dropout.c draws masks. */
#ifndef VNET_TRAIN_NET_PRIVATE_H
#define VNET_TRAIN_NET_PRIVATE_H

#include "net.h"

#include <stdlib.h>

enum step_kind { STEP_CONV, STEP_ACT, STEP_ADD, STEP_NORM, STEP_REPEAT, STEP_DROP };

struct step {
  enum step_kind kind;
  uint32_t node, arg[2];
  bool add[2];                      /* into the argument's gradient; else it is written */
  bool shared;                      /* the first argument's gradient is the result's own */
  const struct vnt_act *act_behind; /* NORM, ADD: done with it, in one pass over memory; or NULL */
  const struct step *elu_behind;    /* NORM: taken along by its backward pass, too; or NULL */
  struct vnt_conv *conv;
  struct vnt_act act; /* ACT */
  float *slope;       /* ACT: [channels], spread from the parameter and kept from 0 */
  float *fused_slope; /* ACT that the convolution before it does: its slopes, or 1 when it cannot */
  bool by_conv;       /* ACT: the convolution before it does it, with the slopes of this step */
  bool joined;        /* ACT: the step before it does it … */
  bool joined_back;   /* … and so does its backward pass */
  size_t bias_before; /* ACT: of the convolution before it, whose gradient it sums; or SIZE_MAX */
  struct vnt_norm norm;
  float *mask;         /* DROP: [samples][channels] */
  size_t weight, bias; /* parameters; SIZE_MAX: none. ACT: weight is the slope */
  bool bias_summed;    /* CONV: the activation behind it sums the bias' gradient */
};

struct place {
  struct vn_tensor value, grad;
  bool needs_grad, written;
  uint32_t uses, concat;   /* concat: the node whose part this is, or VN_NONE */
  uint32_t grad_of;        /* the node whose gradient's memory is this one's, too, or VN_NONE */
  uint32_t overwritten_by; /* the node whose result takes this one's place, or VN_NONE */
  size_t channel;          /* of the concat's first */
};

struct vnt_net_private {
  struct step *steps;
  size_t n_steps;
  struct place *places; /* [n_nodes] */
  float **values;       /* [n_nodes]: what is to be freed */
  float *gradients;
  void *workspace;    /* of convolutions, one after the other */
  double *sums;       /* scratch of channel sums */
  double *sum_out[2]; /* [channels most] */
  uint32_t end;       /* the last node that is computed */
  bool measured;      /* only: what lies somewhere has a size and no place */
};

static inline struct vn_tensor tensor_of(const struct vnc_node *node, size_t batch) {
  struct vn_tensor t = {.stride = (size_t)node->dim[VN_C]};
  for (int a = 0; a < VN_AXES; a++) t.dim[a] = (size_t)node->dim[a];
  t.dim[VN_N] = batch;
  return t;
}

static inline size_t pixels_of(const struct vn_tensor *t) {
  return t->dim[VN_N] * t->dim[VN_D] * t->dim[VN_H] * t->dim[VN_W];
}

static inline float *floats(size_t elems) {
  return vnt_memory(elems * sizeof(float));
}

static inline float *param_of(const struct vnt_net *net, size_t param) {
  return param == SIZE_MAX ? NULL : net->param + net->params[param].offset;
}

/* net_dropout.c: is the node a place of dropout? */
bool vnt_dropout_is(const struct vnc_graph *graph, const struct vnc_node *node);

/* VN_E_UNSUPPORTED, with the node's name. */
enum vn_status vnt_net_refuse(const struct vnt_net *net, uint32_t node, const char *what,
                              struct vn_diag *diag);

/* net_place.c, in this order: which tensors are parts of a concat; which results take the place of
 * what they are made from; memory of activations; which nodes share their gradient's memory with
 * their argument; which contribution to a gradient is the first; which steps do the next one's
 * activation along with their own; memory of gradients. */
enum vn_status vnt_place_concats(struct vnt_net *net, struct vn_diag *diag);
void vnt_place_overwrites(struct vnt_net *net);
enum vn_status vnt_place_values(struct vnt_net *net, size_t batch, struct vn_diag *diag);
void vnt_place_shared_grads(struct vnt_net *net);
enum vn_status vnt_place_order(struct vnt_net *net, struct vn_diag *diag);
void vnt_place_joins(struct vnt_net *net);
enum vn_status vnt_place_gradients(struct vnt_net *net, struct vn_diag *diag);

#endif

/* A graph as something that can be trained: every activation kept, a gradient for each, parameters
 * and their gradients in one array each. Built from the graph that models/build.c makes or the
 * importer yields (no passes run on it); the trained weights go back into it for the exporter.
 *
 * AFFINE nodes are BatchNorm: scale and shift are trained, batch statistics normalise, running ones
 * are kept for inference and folded into the AFFINE when weights are stored. A Softmax, LogSoftmax
 * or sigmoid at the end is the loss's business: the net ends before it. */
#ifndef VNET_TRAIN_NET_H
#define VNET_TRAIN_NET_H

#include "graph.h"
#include "ops.h"

/* A parameter, in the order of the graph's nodes: elements [offset, offset + elems) of the
 * arrays. */
struct vnt_param {
  size_t offset, elems;
  uint32_t constant; /* in the graph */
};

struct vnt_net {
  struct vnt_machine machine; /* borrowed threads */
  struct vnc_graph *graph;    /* borrowed */
  float *param, *grad;        /* [elems] */
  double *grad_sum;           /* [elems]: this process's part of grad, where there are several */
  size_t elems;
  struct vnt_param *params;
  size_t n_params;
  float *running; /* BatchNorm's running means and variances, in the order of the nodes */
  size_t n_running;
  struct vn_tensor input;               /* n c d h w: to be filled before vnt_net_forward */
  struct vn_tensor output, grad_output; /* scores; to be filled before vnt_net_backward */
  bool sigmoid;                         /* the graph goes on with one (one channel) */
  size_t activation_bytes, gradient_bytes;
  struct vnt_net_private *private;
};

/* The graph's, and only until that gets more text, which may move it all. */
static inline const char *vnt_param_name(const struct vnt_net *net, size_t param) {
  return vnc_graph_text(net->graph, net->graph->consts[net->params[param].constant].name);
}

/* The graph must outlive the net. Parameters start as the graph's constants. VN_E_UNSUPPORTED: a
 * node that the family does not have; the sentence names it. To be closed in any case. */
enum vn_status vnt_net_open(const struct vnt_machine *machine, struct vnc_graph *graph,
                            size_t batch, struct vnt_net *net, struct vn_diag *diag);
void vnt_net_close(struct vnt_net *net);

/* About what a net of the graph takes: activations, gradients, parameters with an
 * optimiser's state, and work space. Allocates none of it. */
enum vn_status vnt_net_measure(struct vnc_graph *graph, size_t batch, uint64_t *bytes,
                               struct vn_diag *diag);

/* After every change of `param`. */
void vnt_net_changed(struct vnt_net *net);

/* For the forward passes to come: how far BatchNorm's running statistics move towards a batch's (at
 * first 0.1), and how far it is them that normalise (at first 0; struct vnt_norm). */
void vnt_net_norms(struct vnt_net *net, double momentum, double settled);

/* Dropout of whole channels (Dropout3d) where MONAI's VNet and vnet.pytorch have it: behind the
 * strided convolutions and before the transposed ones from the third stage on, and on every skip.
 * Puts such places into a graph that is to be opened, identities that no export should see; the
 * constants and their order stay. VN_E_MEMORY. */
enum vn_status vnt_dropout_insert(struct vnc_graph *graph, struct vn_diag *diag);
/* Draws the masks for what follows: a channel is 0 with `probability` (below 1), else divided by 1
 * - probability. They depend on the seed, the step, the place, the channel and the number of the
 * sample alone, of which the net's first has `first_sample`. Without it, and where a graph has no
 * places, nothing is dropped. */
void vnt_net_dropout(struct vnt_net *net, double probability, uint64_t seed, uint64_t step,
                     size_t first_sample);

void vnt_net_forward(struct vnt_net *net);
/* Fills `grad`, or `grad_sum` where there is one. `done` (may be NULL) hears of each parameter
 * whose gradient is complete, last layers first, so that it can be sent while the rest is
 * computed. */
void vnt_net_backward(struct vnt_net *net, void (*done)(void *context, size_t param),
                      void *context);

/* Parameters, with BatchNorm's running statistics folded in, into the graph's constants. */
void vnt_net_store(const struct vnt_net *net);

#endif

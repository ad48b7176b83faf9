/* A graph as a ladder of stages, before anybody says what it should be. Filled by topology_read.c,
 * compared with the family by topology.c, used by nobody else. */
#ifndef VNC_TOPOLOGY_H
#define VNC_TOPOLOGY_H

#include "family.h"
#include "graph.h"

enum { VNC_UNITS_MOST = 32 };

/* A convolution or up-convolution with the BatchNorm and the activation behind it. */
struct vnc_unit {
  uint32_t conv; /* node id */
  uint32_t act;  /* enum vn_act */
  bool norm;     /* AFFINE behind it: BatchNorm, or a bias that stands alone; or INSTNORM */
  bool own;      /* INSTNORM: by the image's own statistics */
  uint32_t from; /* the node that it reads */
};

struct vnc_stage {
  struct vnc_unit convs[VNC_UNITS_MOST]; /* stride 1, in order of execution */
  size_t n_convs;
  uint32_t in, out;       /* node ids: what the first convolution reads, what the stage yields */
  uint32_t sum, residual; /* the ADD or VN_NONE; what it adds to the convolutions' result */
  uint32_t sum_act;
  struct vnc_unit move; /* left: down, behind the stage; right: up, in front of it */
  uint32_t skip;        /* right: what the concat takes besides the up-convolution */
};

struct vnc_found {
  struct vnc_stage left[VNC_STAGES_MOST], right[VNC_STAGES_MOST]; /* [0]: the full grid */
  size_t n_left, n_right;
  struct vnc_unit head[VNC_UNITS_MOST]; /* behind right 1, in order; the last is the output's */
  size_t n_head;
  bool softmax;   /* a (log-)softmax at the end */
  uint32_t input; /* node id */
};

/* Node `id`, or what it copies unchanged. */
uint32_t vnc_topology_peel(const struct vnc_graph *g, uint32_t id);

/* Walks from the outputs to the input. Fails, VN_E_UNSUPPORTED, where no stage of any size can be
 * seen; the sentence says where and what was found there. */
enum vn_status vnc_topology_read(const struct vnc_graph *g, struct vnc_found *found,
                                 struct vn_diag *diag);

/* A node's name and nothing else that could spoil a message. Fills `text`, returns it. */
const char *vnc_topology_name(const struct vnc_graph *g, uint32_t id, char text[64]);

#endif

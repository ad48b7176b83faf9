/* A Reshape that splits the channels, for which our views have no axis. Two patterns of it mean
 * something: groups that an InstanceNormalization sees (onnx_norm.c), and factors that a Transpose
 * puts behind d, h and w: PixelShuffle. Until the Reshape that ends it the value is only marked. */
#include "onnx_import.h"

#include <stdlib.h>
#include <string.h>

bool vnc_import_split(const struct vnc_op *op, const uint64_t *dim, size_t rank,
                      struct vnc_value *result) {
  const struct vnc_graph *g = op->im->g;
  const struct vnc_value *x = op->in[0];
  if (x->groups || rank < 3 || !vnc_view_leads_with_channels(g, x)) return false;
  const uint64_t channels = g->nodes[x->node].dim[VN_C];
  if (dim[0] != g->nodes[x->node].dim[VN_N] || !dim[1] || channels % dim[1]) return false;
  uint32_t last = VN_N; /* axes in memory's order: then a group is neighbouring channels */
  for (size_t k = 0; k < VN_AXES; k++) {
    const uint32_t a = x->view.order[k];
    if (g->nodes[x->node].dim[a] == 1) continue;
    if (a < last) return false;
    last = a;
  }
  uint64_t all = 1;
  for (size_t i = 0; i < rank; i++) all *= dim[i]; /* no more than x has: reshape_dims */
  if (all != vnc_node_elems(&g->nodes[x->node])) return false;
  *result = *x;
  result->groups = (uint32_t)dim[1];
  result->shuffled = false;
  memset(result->factor, 0, sizeof result->factor);
  bool factors = rank == 8 && x->view.rank == 5;
  for (size_t i = 0; factors && i < 3; i++)
    factors = dim[5 + i] == vnc_view_dim(g, x, 2 + i) && dim[2 + i] <= UINT16_MAX;
  for (size_t i = 0; factors && i < 3; i++) result->factor[i] = (uint32_t)dim[2 + i];
  return true;
}

/* Of the factors f: channel c * f + k goes to tap k of output channel c. */
static float *shuffle_weights(const uint64_t dim[5]) {
  const uint64_t taps = dim[1] * dim[2] * dim[3];
  float *data = calloc(dim[0] * taps * dim[4] + 1, sizeof *data);
  for (uint64_t o = 0; data && o < dim[0]; o++)
    for (uint64_t k = 0; k < taps; k++) data[(o * taps + k) * dim[4] + o * taps + k] = 1;
  return data;
}

/* Sub-pixel upsampling is a transposed convolution whose kernel is its stride. */
static enum vn_status shuffle_append(const struct vnc_op *op, struct vnc_value *x) {
  struct vnc_graph *g = op->im->g;
  const uint32_t *f = x->factor;
  const uint64_t dim[5] = {x->groups, f[0], f[1], f[2], g->nodes[x->node].dim[VN_C]};
  uint32_t node;
  enum vn_status status = vnc_view_canonical(op, x, &node);
  if (!status) status = vnc_import_touch(op->im, dim[4] * dim[4]);
  float *data = status ? NULL : shuffle_weights(dim);
  if (status || !data) return status ? status : vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  const uint32_t weight = vnc_graph_const(g, op->name, 5, dim, data);
  x->node = vnc_graph_node(g, VN_OP_DECONV3D, op->name, &node, 1);
  if (g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  g->nodes[x->node].weight = weight;
  for (size_t i = 0; i < 3; i++) g->nodes[x->node].kernel[i] = g->nodes[x->node].stride[i] = f[i];
  vnc_view_of_rank(&x->view, 5);
  return vnc_op_infer(op, x->node);
}

enum vn_status vnc_import_unsplit(const struct vnc_op *op, const uint64_t *dim, size_t rank) {
  struct vnc_value x = *op->in[0];
  enum vn_status status = x.shuffled ? shuffle_append(op, &x) : VN_OK;
  bool same = rank == x.view.rank;
  for (size_t i = 0; !status && same && i < rank; i++)
    same = dim[i] == vnc_view_dim(op->im->g, &x, i);
  if (status) return status;
  if (!same) return vnc_op_fail(op, VN_E_UNSUPPORTED, "it would split an axis of '%.60s'", x.name);
  x.groups = 0;
  return vnc_op_yield_same(op, &x);
}

enum vn_status vnc_import_shuffle(const struct vnc_op *op) {
  static const int64_t to[8] = {0, 1, 5, 2, 6, 3, 7, 4};
  struct vnc_value x = *op->in[0];
  const Onnx__AttributeProto *perm = vnc_op_attribute(op, "perm");
  if (!x.factor[0] || x.shuffled || !perm || perm->n_ints != 8 || memcmp(perm->ints, to, sizeof to))
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "it moves parts of the channels of '%.60s'", x.name);
  x.shuffled = true;
  return vnc_op_yield_same(op, &x);
}

/* Which algorithm each convolution asks for. The runtime has the last word on what the machine
 * offers (runtime/kernels/README.md); this pass writes down the wish, so that a person can read and
 * override it. */
#include "compile.h"

static bool unit_stride(const struct vnc_node *node) {
  return node->stride[0] == 1 && node->stride[1] == 1 && node->stride[2] == 1;
}

enum vn_status vnc_pass_choose(struct vnc_graph *g, const struct vnc_options *options,
                               struct vn_diag *diag) {
  (void)diag;
  for (size_t i = 0; i < g->n_nodes; i++)
    if (g->nodes[i].op == VN_OP_CONV3D && unit_stride(&g->nodes[i]))
      g->nodes[i].algo = (uint32_t)options->conv;
  return VN_OK;
}

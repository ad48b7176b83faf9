/* Activations and residual sums go into the convolution or norm before them, in the one form that
 * every kernel computes at its end: y = act1(act0(conv + bias) + residual). A fused node takes the
 * place of the last operation that went into it, so that the order of the graph holds. */
#include "passes.h"

#include <stdlib.h>

struct fuse {
  struct vnc_graph *g;
  const uint32_t *uses;
};

static bool has_epilogue(const struct vnc_node *node) {
  return node->op == VN_OP_CONV3D || node->op == VN_OP_DECONV3D || node->op == VN_OP_INSTNORM;
}

/* The tensor that `id` repeats along c, if it is such a copy; else `id`. */
static uint32_t unrepeated(const struct vnc_graph *g, uint32_t id) {
  const struct vnc_node *node = &g->nodes[id];
  if (node->op != VN_OP_COPY) return id;
  const struct vnc_node *in = &g->nodes[vnc_graph_arg(g, node, 0)];
  for (uint32_t a = 0; a < VN_AXES; a++) {
    bool fits = a == VN_C ? node->dim[a] % in->dim[a] == 0 : node->dim[a] == in->dim[a];
    if (node->in_axis[a] != a || node->in_start[a] || !fits) return id;
  }
  return vnc_graph_arg(g, node, 0);
}

/* May `residual` be added by the convolution's epilogue: same n d h w, channels that divide? */
static bool addable(const struct vnc_graph *g, uint32_t residual, const struct vnc_node *sum) {
  const struct vnc_node *r = &g->nodes[residual];
  for (uint32_t a = 0; a < VN_AXES; a++)
    if (a == VN_C ? sum->dim[a] % r->dim[a] != 0 : sum->dim[a] != r->dim[a]) return false;
  return r->dtype == VN_F32;
}

static bool fuse_act(const struct fuse *f, uint32_t id) {
  struct vnc_node *act = &f->g->nodes[id];
  uint32_t from = vnc_graph_arg(f->g, act, 0);
  struct vnc_node fused = f->g->nodes[from];
  if (f->uses[from] != 1) return false;
  bool sums = fused.op == VN_OP_ADD || (has_epilogue(&fused) && fused.n_args == 2);
  if (!sums && !has_epilogue(&fused)) return false;
  struct vnc_act *slot = &fused.act[sums ? 1 : 0];
  if (slot->kind) return false;
  *slot = act->act[0];
  *act = fused;
  return true;
}

static bool fuse_sum(const struct fuse *f, uint32_t id, uint32_t conv_id, uint32_t residual) {
  struct vnc_graph *g = f->g;
  struct vnc_node sum = g->nodes[id], fused = g->nodes[conv_id];
  if (!has_epilogue(&fused) || f->uses[conv_id] != 1 || fused.n_args != 1) return false;
  for (uint32_t a = 0; a < VN_AXES; a++)
    if (fused.dim[a] != sum.dim[a]) return false;
  if (fused.op != VN_OP_INSTNORM) residual = unrepeated(g, residual);
  if (!addable(g, residual, &sum)) return false;
  if (fused.op == VN_OP_INSTNORM && g->nodes[residual].dim[VN_C] != sum.dim[VN_C]) return false;
  uint32_t args[2] = {vnc_graph_arg(g, &fused, 0), residual};
  fused.act[1] = sum.act[1];
  fused.n_args = 2;
  fused.first_arg = vnc_graph_args(g, args, 2);
  g->nodes[id] = fused;
  return true;
}

static void fuse_add(const struct fuse *f, uint32_t id) {
  uint32_t a = vnc_graph_arg(f->g, &f->g->nodes[id], 0);
  uint32_t b = vnc_graph_arg(f->g, &f->g->nodes[id], 1);
  /* The later of two convolutions: the earlier one's result is then the residual, and alive. */
  uint32_t later = a > b ? a : b, earlier = a > b ? b : a;
  if (!fuse_sum(f, id, later, earlier)) fuse_sum(f, id, earlier, later);
}

enum vn_status vnc_pass_fuse(struct vnc_graph *g, struct vn_diag *diag) {
  uint32_t *uses = malloc((g->n_nodes + 1) * sizeof *uses);
  uint32_t *map = malloc((g->n_nodes + 1) * sizeof *map);
  enum vn_status status = VN_OK;
  if (!uses || !map) {
    status = vn_fail(diag, VN_E_MEMORY, "out of memory for the graph");
    goto done;
  }
  vnc_graph_uses(g, uses);
  struct fuse f = {g, uses};
  for (uint32_t i = 0; i < g->n_nodes; i++) {
    map[i] = i;
    if (g->nodes[i].op == VN_OP_ACT)
      fuse_act(&f, i);
    else if (g->nodes[i].op == VN_OP_ADD)
      fuse_add(&f, i);
  }
  status = vnc_graph_rewrite(g, map, diag);
done:
  free(uses);
  free(map);
  return status;
}

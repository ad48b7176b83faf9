/* BatchNorm at inference, and a bias that stands alone, go into the convolution, transposed
 * convolution or norm before them: y = (w*x + b) * s + t becomes w' = s*w, b' = s*b + t, computed
 * in double. Only where nothing else reads the convolution. */
#include "passes.h"

#include <stdlib.h>
#include <string.h>

/* How often each constant is referred to: one that is shared must not be scaled in place. Constants
 * that the pass adds have one user. */
static uint32_t *const_uses(const struct vnc_graph *g) {
  uint32_t *uses = calloc(g->n_consts + 1, sizeof *uses);
  for (size_t i = 0; uses && i < g->n_nodes; i++) {
    if (g->nodes[i].weight != VN_NONE) uses[g->nodes[i].weight]++;
    if (g->nodes[i].bias != VN_NONE) uses[g->nodes[i].bias]++;
  }
  return uses;
}

/* A const of c's shape whose data is a copy of c's, or none where c has none. */
static uint32_t duplicate(struct vnc_graph *g, uint32_t id) {
  struct vnc_const c = g->consts[id];
  size_t bytes = vnc_const_elems(&c) * sizeof *c.data;
  float *data = c.data ? malloc(bytes) : NULL;
  if (c.data && !data) g->failed = true;
  if (data) memcpy(data, c.data, bytes);
  return vnc_graph_const(g, vnc_graph_text(g, c.name), c.rank, c.dim, data);
}

/* `bias` and `shift` are folded; the result is a new constant named after the weights. */
static uint32_t fold_bias(struct vnc_graph *g, const struct vnc_node *conv,
                          const struct vnc_node *affine) {
  const float *b = conv->bias == VN_NONE ? NULL : g->consts[conv->bias].data;
  const float *scale = g->consts[affine->weight].data, *shift = g->consts[affine->bias].data;
  const uint64_t channels = affine->dim[VN_C];
  bool known = scale && shift && (conv->bias == VN_NONE || b);
  float *data = known ? malloc(channels * sizeof *data) : NULL;
  if (known && !data) g->failed = true;
  for (uint64_t c = 0; data && c < channels; c++)
    data[c] = (float)((b ? (double)b[c] : 0.0) * (double)scale[c] + (double)shift[c]);
  const char *name = vnc_graph_text(g, g->consts[affine->bias].name);
  return vnc_graph_const(g, name, 1, &channels, data);
}

static void fold_weights(struct vnc_graph *g, uint32_t weight, uint32_t scale_id) {
  struct vnc_const *w = &g->consts[weight];
  const float *scale = g->consts[scale_id].data;
  if (!w->data || !scale) return;
  uint64_t per_channel = vnc_const_elems(w) / w->dim[0];
  for (uint64_t c = 0; c < w->dim[0]; c++)
    for (uint64_t i = 0; i < per_channel; i++)
      w->data[c * per_channel + i] =
          (float)((double)w->data[c * per_channel + i] * (double)scale[c]);
}

/* A norm's scale, which is a vector as the affine's is. */
static uint32_t fold_scale(struct vnc_graph *g, uint32_t own, uint32_t scale_id) {
  const float *a = g->consts[own].data, *b = g->consts[scale_id].data;
  const uint64_t channels = g->consts[own].dim[0];
  float *data = a && b ? malloc(channels * sizeof *data) : NULL;
  if (a && b && !data) g->failed = true;
  for (uint64_t c = 0; data && c < channels; c++) data[c] = (float)((double)a[c] * (double)b[c]);
  return vnc_graph_const(g, vnc_graph_text(g, g->consts[scale_id].name), 1, &channels, data);
}

static bool foldable(const struct vnc_graph *g, const struct vnc_node *affine,
                     const uint32_t *uses) {
  if (affine->op != VN_OP_AFFINE) return false;
  uint32_t id = vnc_graph_arg(g, affine, 0);
  const struct vnc_node *conv = &g->nodes[id];
  const bool norm = conv->op == VN_OP_INSTNORM;
  return (conv->op == VN_OP_CONV3D || conv->op == VN_OP_DECONV3D || norm) && uses[id] == 1 &&
         conv->n_args == 1 && !conv->act[0].kind && !conv->act[1].kind;
}

enum vn_status vnc_pass_batchnorm(struct vnc_graph *g, struct vn_diag *diag) {
  uint32_t *uses = malloc((g->n_nodes + 1) * sizeof *uses), *shared = const_uses(g);
  uint32_t *map = malloc((g->n_nodes + 1) * sizeof *map);
  const size_t known = g->n_consts;
  enum vn_status status = VN_OK;
  if (!uses || !shared || !map) {
    status = vn_fail(diag, VN_E_MEMORY, "out of memory for the graph");
    goto done;
  }
  vnc_graph_uses(g, uses);
  for (uint32_t i = 0; i < g->n_nodes; i++) {
    map[i] = i;
    if (!foldable(g, &g->nodes[i], uses)) continue;
    struct vnc_node affine = g->nodes[i], conv = g->nodes[vnc_graph_arg(g, &affine, 0)];
    conv.bias = fold_bias(g, &conv, &affine);
    if (conv.op == VN_OP_INSTNORM) {
      conv.weight = fold_scale(g, conv.weight, affine.weight);
      if (g->failed) break;
      g->nodes[i] = conv;
      continue;
    }
    if (conv.weight < known && shared[conv.weight] > 1) {
      shared[conv.weight]--;
      conv.weight = duplicate(g, conv.weight);
    }
    if (g->failed) break;
    fold_weights(g, conv.weight, affine.weight);
    g->nodes[i] = conv; /* in the affine's place, so that order holds; the old one is dead */
  }
  status = vnc_graph_rewrite(g, map, diag);
done:
  free(uses);
  free(shared);
  free(map);
  return status;
}

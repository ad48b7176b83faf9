/* Functions that exporters write as arithmetic get their names back: GELU as Div, Erf, Add and two
 * Mul, MISH as Softplus, Tanh and Mul, SWISH as Sigmoid and Mul. One step takes the place of up to
 * five, each of which goes through memory. What led there is dropped, unless others read it. */
#include "passes.h"

#include <math.h>
#include <stdlib.h>

static uint32_t arg(const struct vnc_graph *g, uint32_t id, size_t i) {
  return vnc_graph_arg(g, &g->nodes[id], i);
}

/* Has the constant but this value, up to what an exporter rounds away? */
static bool constant_is(const struct vnc_graph *g, uint32_t id, double value) {
  const struct vnc_const *c = &g->consts[id];
  if (!c->data) return false;
  for (uint64_t i = 0; i < vnc_const_elems(c); i++)
    if (!(fabs((double)c->data[i] - value) <= 1e-6 * fabs(value))) return false;
  return true;
}

/* Is `id` scale * x + shift? */
static bool is_line(const struct vnc_graph *g, uint32_t id, double scale, double shift,
                    uint32_t *x) {
  const struct vnc_node *node = &g->nodes[id];
  if (node->op != VN_OP_AFFINE || !constant_is(g, node->weight, scale) ||
      !constant_is(g, node->bias, shift))
    return false;
  *x = arg(g, id, 0);
  return true;
}

static bool is_map(const struct vnc_graph *g, uint32_t id, enum vn_map kind, uint32_t *x) {
  const struct vnc_node *node = &g->nodes[id];
  if (node->op != VN_OP_MAP || node->kind != (uint32_t)kind) return false;
  *x = arg(g, id, 0);
  return true;
}

static bool is_sigmoid(const struct vnc_graph *g, uint32_t id, uint32_t *x) {
  const struct vnc_node *node = &g->nodes[id];
  if (node->op != VN_OP_ACT || node->act[0].kind != VN_ACT_SIGMOID) return false;
  *x = arg(g, id, 0);
  return true;
}

/* 1 + erf(x / sqrt 2) */
static bool is_bell(const struct vnc_graph *g, uint32_t id, uint32_t *x) {
  uint32_t sum, erf;
  return is_line(g, id, 1, 1, &sum) && is_map(g, sum, VN_MAP_ERF, &erf) &&
         is_line(g, erf, sqrt(0.5), 0, x);
}

/* The function of x that x * `factor` is; VN_MAP_COUNT: none. */
static enum vn_map of_itself(const struct vnc_graph *g, uint32_t x, uint32_t factor) {
  uint32_t under, from;
  if (is_sigmoid(g, factor, &from) && from == x) return VN_MAP_SWISH;
  if (is_map(g, factor, VN_MAP_TANH, &under) && is_map(g, under, VN_MAP_SOFTPLUS, &from) &&
      from == x)
    return VN_MAP_MISH;
  return VN_MAP_COUNT;
}

static bool is_product(const struct vnc_graph *g, uint32_t id) {
  return g->nodes[id].op == VN_OP_BINARY && g->nodes[id].kind == VN_BINARY_MUL;
}

/* The half of GELU goes with x, or comes last. */
static bool is_gelu(const struct vnc_graph *g, uint32_t id, uint32_t *x) {
  uint32_t from, product;
  const bool last = is_line(g, id, 0.5, 0, &product);
  if (!last) product = id;
  if (!is_product(g, product)) return false;
  for (size_t i = 0; i < 2; i++) {
    const uint32_t other = arg(g, product, i), bell = arg(g, product, 1 - i);
    if (!is_bell(g, bell, x)) continue;
    if (last ? other == *x : is_line(g, other, 0.5, 0, &from) && from == *x) return true;
  }
  return false;
}

static enum vn_map function_of(const struct vnc_graph *g, uint32_t id, uint32_t *x) {
  if (is_gelu(g, id, x)) return VN_MAP_GELU;
  for (size_t i = 0; i < 2 && is_product(g, id); i++) {
    *x = arg(g, id, i);
    const enum vn_map kind = of_itself(g, *x, arg(g, id, 1 - i));
    if (kind != VN_MAP_COUNT) return kind;
  }
  return VN_MAP_COUNT;
}

/* x and what is made of it have one shape, or x * y would be wider than either. */
static void name(struct vnc_graph *g, uint32_t id) {
  uint32_t x;
  const enum vn_map kind = function_of(g, id, &x);
  if (kind == VN_MAP_COUNT) return;
  const uint32_t first = vnc_graph_args(g, &x, 1);
  if (g->failed) return;
  struct vnc_node *node = &g->nodes[id];
  node->op = VN_OP_MAP;
  node->kind = (uint32_t)kind;
  node->a = kind == VN_MAP_SWISH;
  node->first_arg = first;
  node->n_args = 1;
  node->weight = node->bias = VN_NONE;
}

enum vn_status vnc_pass_name(struct vnc_graph *g, struct vn_diag *diag) {
  for (uint32_t i = 0; i < g->n_nodes; i++) name(g, i);
  return g->failed ? vn_fail(diag, VN_E_MEMORY, "out of memory for the graph")
                   : vnc_graph_prune(g, diag);
}

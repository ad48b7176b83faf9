/* The passes change nothing but time: random graphs are planned twice, as they are and after all
 * passes, and both plans are run by the plain kernels. They must yield the same numbers, and the
 * passes may not add arithmetic. The graphs are full of what a pass must notice: weights that two
 * convolutions share, values that several nodes read, residuals that repeat along any axis, shifts
 * without scale, inputs and values that are parts of more than one concat. */
#include "compile.h"
#include "memplan.h"
#include "passes.h"
#include "vnet.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GRAPHS = 3000, NODES = 14, ELEMS_MOST = 4000, OUTPUTS = 2 };

static uint32_t pick(uint32_t *state, uint32_t bound) {
  *state = *state * 1664525u + 1013904223u;
  return (*state >> 8) % bound;
}

/* ---- graphs ---- */

/* Of this shape: one that the graph has, as often as not. */
static uint32_t constant(struct vnc_graph *g, uint32_t *state, size_t rank, const uint64_t *dim,
                         float about) {
  for (uint32_t i = 0; i < g->n_consts && pick(state, 2); i++)
    if (g->consts[i].rank == rank && !memcmp(g->consts[i].dim, dim, rank * sizeof *dim)) return i;
  uint64_t elems = 1;
  for (size_t i = 0; i < rank; i++) elems *= dim[i];
  float *data = malloc(elems * sizeof *data);
  assert_non_null(data);
  bool plain = pick(state, 4) == 0; /* ones, or no shift at all */
  for (uint64_t i = 0; i < elems; i++)
    data[i] = plain ? about : about + (float)pick(state, 1000) / 500 - 1;
  return vnc_graph_const(g, "", rank, dim, data);
}

static void act_draw(struct vnc_graph *g, uint32_t id, uint32_t *state) {
  struct vnc_act *act = &g->nodes[id].act[0];
  const uint64_t channels = g->nodes[vnc_graph_arg(g, &g->nodes[id], 0)].dim[VN_C];
  act->kind = pick(state, 2) ? VN_ACT_RELU : VN_ACT_PRELU;
  if (act->kind == VN_ACT_PRELU) {
    const uint32_t slope = constant(g, state, 1, &channels, 1);
    g->nodes[id].act[0].slope = slope;
  }
}

static void affine_draw(struct vnc_graph *g, uint32_t id, uint32_t *state) {
  const uint64_t channels = g->nodes[vnc_graph_arg(g, &g->nodes[id], 0)].dim[VN_C];
  const uint32_t scale = constant(g, state, 1, &channels, 1);
  const uint32_t shift = constant(g, state, 1, &channels, 0);
  g->nodes[id].weight = scale;
  g->nodes[id].bias = shift;
}

static void conv_draw(struct vnc_graph *g, uint32_t id, uint32_t *state) {
  const uint64_t in = g->nodes[vnc_graph_arg(g, &g->nodes[id], 0)].dim[VN_C];
  const uint64_t out = 1 + pick(state, 4);
  const uint32_t kernel = pick(state, 2) ? 1 : 2;
  const uint64_t dim[5] = {out, kernel, kernel, kernel, in};
  const uint32_t weight = constant(g, state, 5, dim, 0);
  const uint32_t bias = pick(state, 2) ? constant(g, state, 1, &out, 0) : VN_NONE;
  struct vnc_node *node = &g->nodes[id];
  const bool transposed = node->op == VN_OP_DECONV3D;
  node->weight = weight;
  node->bias = bias;
  node->groups = 1;
  for (int a = 0; a < 3; a++) {
    node->kernel[a] = kernel;
    node->stride[a] = transposed ? kernel : 1;
    node->dilation[a] = 1;
    node->pad_end[a] = transposed ? 0 : kernel - 1;
  }
}

static uint32_t node_draw(struct vnc_graph *g, uint32_t *state) {
  static const enum vn_op ops[] = {VN_OP_CONV3D, VN_OP_CONV3D, VN_OP_CONV3D, VN_OP_DECONV3D,
                                   VN_OP_AFFINE, VN_OP_AFFINE, VN_OP_ACT,    VN_OP_ACT,
                                   VN_OP_ADD,    VN_OP_ADD,    VN_OP_ADD,    VN_OP_CONCAT,
                                   VN_OP_COPY};
  const enum vn_op op = ops[pick(state, sizeof ops / sizeof *ops)];
  const uint32_t n = (uint32_t)g->n_nodes, near = n < 3 ? n : 3;
  uint32_t args[3]; /* what was made last is read most */
  for (int i = 0; i < 3; i++) args[i] = pick(state, 3) ? n - 1 - pick(state, near) : pick(state, n);
  const size_t count = op == VN_OP_ADD ? 2 : op == VN_OP_CONCAT ? 1 + pick(state, 3) : 1;
  const uint32_t id = vnc_graph_node(g, op, "", args, count);
  struct vnc_node *node = &g->nodes[id];
  if (op == VN_OP_CONV3D || op == VN_OP_DECONV3D) conv_draw(g, id, state);
  if (op == VN_OP_ACT) act_draw(g, id, state);
  if (op == VN_OP_AFFINE) affine_draw(g, id, state);
  if (op == VN_OP_CONCAT) node->axis = pick(state, 3) ? VN_C : VN_D;
  for (uint32_t a = 0; op == VN_OP_COPY && a < VN_AXES; a++) { /* whole, a part, or repeated */
    const uint64_t have = g->nodes[args[0]].dim[a];
    node->in_axis[a] = a;
    node->dim[a] = a && pick(state, 3) == 0 ? 1 + pick(state, 2 * (uint32_t)have) : have;
  }
  return id;
}

static struct vnc_port port_of(const struct vnc_graph *g, uint32_t node) {
  struct vnc_port port = {.node = node, .rank = 5, .order = {0, 1, 2, 3, 4}};
  memcpy(port.dim, g->nodes[node].dim, sizeof g->nodes[node].dim);
  return port;
}

/* The same for the same seed; what does not fit is taken back. */
static void graph_draw(struct vnc_graph *g, uint32_t seed) {
  uint32_t state = seed * 2654435761u + 1;
  struct vn_diag diag = {""};
  vnc_graph_init(g);
  const uint32_t input = vnc_graph_node(g, VN_OP_INPUT, "in", NULL, 0);
  memcpy(g->nodes[input].dim, (uint64_t[]){1, 1 + pick(&state, 3), 2, 3, 2},
         sizeof g->nodes[input].dim);
  const struct vnc_port port = port_of(g, input);
  vnc_graph_input(g, &port);
  for (int i = 0; i < NODES; i++) {
    const size_t n_nodes = g->n_nodes, n_args = g->n_args;
    const uint32_t id = node_draw(g, &state);
    if (!vnc_shape_infer_node(g, id, &diag) && vnc_node_elems(&g->nodes[id]) <= ELEMS_MOST)
      continue;
    g->n_nodes = n_nodes;
    g->n_args = n_args;
  }
  for (uint32_t i = 0; i < OUTPUTS; i++) {
    const struct vnc_port out = port_of(g, (uint32_t)g->n_nodes - 1 - i % (uint32_t)g->n_nodes);
    vnc_graph_output(g, &out);
  }
  if (vnc_graph_prune(g, &diag) || vnc_graph_check(g, &diag))
    fail_msg("seed %u: %s", seed, diag.text);
}

/* ---- twice ---- */

static uint64_t macs(const struct vnc_graph *g) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < g->n_nodes; i++) sum += vnc_node_macs(g, i);
  return sum;
}

/* Runs the graph, which is a plan's from here on; fills out[i], to be freed. */
static void graph_run(struct vnc_graph *g, uint32_t seed, float *out[OUTPUTS]) {
  struct vnc_memplan m;
  struct vn_diag diag = {""};
  struct vn_plan *plan = NULL;
  struct vn_exec *exec = NULL;
  void *bytes;
  size_t size;
  if (vnc_memplan(g, &m, &diag) || vnc_memplan_check(g, &m, &diag) ||
      vnc_plan_write(g, &m, "any", &bytes, &size, &diag) ||
      vn_plan_open_memory(bytes, size, &plan, &diag) ||
      vn_exec_open(plan,
                   &(struct vn_exec_options){
                       .size = sizeof(struct vn_exec_options), .threads = 1, .isa = "ref"},
                   &exec, &diag))
    fail_msg("seed %u: %s", seed, diag.text);
  float in[3 * 2 * 3 * 2];
  void *results[OUTPUTS];
  uint32_t state = seed;
  for (size_t i = 0; i < sizeof in / sizeof *in; i++) in[i] = (float)pick(&state, 1000) / 500 - 1;
  for (size_t i = 0; i < OUTPUTS; i++) {
    results[i] = out[i] = malloc(ELEMS_MOST * sizeof **out);
    assert_non_null(out[i]);
  }
  const void *inputs[] = {in};
  assert_int_equal(vn_exec_run(exec, inputs, results, &diag), VN_OK);
  vn_exec_close(&exec);
  vn_plan_close(&plan);
  vnc_memplan_free(&m);
  free(bytes);
}

static void compare(const float *a, const float *b, size_t n, uint32_t seed) {
  float most = 1;
  for (size_t i = 0; i < n; i++) most = fmaxf(most, fabsf(a[i]));
  for (size_t i = 0; i < n; i++)
    if (!(fabsf(a[i] - b[i]) <= 1e-4f * most))
      fail_msg("seed %u: %g became %g", seed, (double)a[i], (double)b[i]);
}

static void nothing_changes(void **unused) {
  size_t smaller = 0;
  (void)unused;
  for (uint32_t seed = 0; seed < GRAPHS; seed++) {
    struct vnc_graph plain, passed;
    struct vn_diag diag = {""};
    const struct vnc_options options = {.topology = "any"};
    float *want[OUTPUTS], *have[OUTPUTS];
    size_t elems[OUTPUTS];
    graph_draw(&plain, seed);
    graph_draw(&passed, seed);
    for (size_t i = 0; i < OUTPUTS; i++)
      elems[i] = (size_t)vnc_node_elems(&plain.nodes[plain.outputs[i].node]);
    if (vnc_pass_concat(&plain, &diag) || vnc_pass_choose(&plain, &options, &diag) ||
        vnc_run_passes(&passed, &options, &diag))
      fail_msg("seed %u: %s", seed, diag.text);
    if (macs(&passed) > macs(&plain))
      fail_msg("seed %u: %llu multiply-adds became %llu", seed, (unsigned long long)macs(&plain),
               (unsigned long long)macs(&passed));
    smaller += passed.n_nodes < plain.n_nodes;
    graph_run(&plain, seed, want);
    graph_run(&passed, seed, have);
    for (size_t i = 0; i < OUTPUTS; i++) {
      compare(want[i], have[i], elems[i], seed);
      free(want[i]);
      free(have[i]);
    }
    vnc_graph_free(&plain);
    vnc_graph_free(&passed);
  }
  print_message("%zu of %d graphs became smaller\n", smaller, GRAPHS);
  assert_true(smaller > GRAPHS / 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_changes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

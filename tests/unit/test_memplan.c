/* The memory plan: random graphs are planned soundly, the check catches plans that are not, and the
 * whole family at full size fits in 1.05 times the lower bound. */
#include "compile.h"
#include "memplan.h"
#include "passes.h"
#include "models/build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GRAPHS = 3000, NODES = 24 };

static uint32_t pick(uint32_t *state, uint32_t bound) {
  *state = *state * 1664525u + 1013904223u;
  return (*state >> 8) % bound;
}

static struct vnc_port port_of(const struct vnc_graph *g, uint32_t node) {
  struct vnc_port port = {.node = node, .rank = 5, .order = {0, 1, 2, 3, 4}};
  memcpy(port.dim, g->nodes[node].dim, sizeof g->nodes[node].dim);
  return port;
}

static uint32_t random_node(struct vnc_graph *g, uint32_t *state) {
  uint32_t a = pick(state, (uint32_t)g->n_nodes), b = pick(state, (uint32_t)g->n_nodes), id;
  const uint32_t args[3] = {a, b, pick(state, (uint32_t)g->n_nodes)};
  switch (pick(state, 5)) {
  case 0:
    id = vnc_graph_node(g, VN_OP_CONCAT, "concat", args, 1 + pick(state, 3));
    g->nodes[id].axis = pick(state, 4) ? VN_C : VN_D;
    return id;
  case 1:
    id = vnc_graph_node(g, VN_OP_COPY, "copy", args, 1);
    memcpy(g->nodes[id].dim, g->nodes[a].dim, sizeof g->nodes[a].dim);
    return id;
  case 2:
    return vnc_graph_node(g, VN_OP_ADD, "add", args, 2);
  case 3:
    return vnc_graph_node(g, VN_OP_SOFTMAX, "softmax", args, 1);
  default:
    id = vnc_graph_node(g, VN_OP_ACT, "act", args, 1);
    g->nodes[id].act[0].kind = VN_ACT_RELU;
    return id;
  }
}

/* A valid graph; what does not fit is taken back. */
static struct vnc_graph random_graph(uint32_t seed) {
  struct vnc_graph g;
  uint32_t state = seed * 2654435761u + 1, inputs = 1 + pick(&state, 2);
  struct vn_diag diag;
  vnc_graph_init(&g);
  for (uint32_t i = 0; i < inputs; i++) {
    uint32_t id = vnc_graph_node(&g, VN_OP_INPUT, "in", NULL, 0);
    memcpy(g.nodes[id].dim, (uint64_t[]){1, 1 + pick(&state, 3), 2, 3, 4}, sizeof g.nodes[id].dim);
    struct vnc_port port = port_of(&g, id);
    vnc_graph_input(&g, &port);
  }
  for (int i = 0; i < NODES; i++) {
    size_t n_nodes = g.n_nodes, n_args = g.n_args;
    uint32_t id = random_node(&g, &state);
    if (!vnc_shape_infer_node(&g, id, &diag) && vnc_node_elems(&g.nodes[id]) < 5000) continue;
    g.n_nodes = n_nodes;
    g.n_args = n_args;
  }
  for (uint32_t i = 0; i < 1 + pick(&state, 3); i++) {
    struct vnc_port port = port_of(&g, (uint32_t)g.n_nodes - 1 - i % (uint32_t)g.n_nodes);
    vnc_graph_output(&g, &port);
  }
  assert_int_equal(vnc_graph_prune(&g, &diag), VN_OK);
  assert_int_equal(vnc_pass_concat(&g, &diag), VN_OK);
  if (vnc_graph_check(&g, &diag)) fail_msg("seed %u: %s", seed, diag.text);
  return g;
}

static void random_graphs(void **state) {
  size_t caught = 0, moved = 0;
  (void)state;
  for (uint32_t seed = 0; seed < GRAPHS; seed++) {
    struct vnc_graph g = random_graph(seed);
    struct vnc_memplan m;
    struct vn_diag diag = {""};
    assert_int_equal(vnc_memplan(&g, &m, &diag), VN_OK);
    if (vnc_memplan_check(&g, &m, &diag)) fail_msg("seed %u: %s", seed, diag.text);
    assert_true(m.arena_bytes >= m.bound_bytes);
    uint32_t node = seed % (uint32_t)g.n_nodes; /* put something where something else is */
    if (m.places[node].offset >= 64) {
      m.places[node].offset = 0;
      moved++;
      caught += vnc_memplan_check(&g, &m, &diag) != VN_OK;
    }
    vnc_memplan_free(&m);
    vnc_graph_free(&g);
  }
  print_message("%zu of %zu moved tensors do harm and are caught\n", caught, moved);
  assert_true(caught > moved / 3); /* the rest land where nobody lives at that time */
}

/* Element by element, each result takes its dying argument's place: a chain needs one buffer beside
 * what it begins with, and its first argument's where nothing else reads that. */
static void in_place(void **state) {
  struct vnc_graph g;
  struct vnc_memplan m;
  struct vn_diag diag = {""};
  (void)state;
  vnc_graph_init(&g);
  uint32_t id = vnc_graph_node(&g, VN_OP_INPUT, "in", NULL, 0);
  memcpy(g.nodes[id].dim, (uint64_t[]){1, 4, 4, 4, 4}, sizeof g.nodes[id].dim);
  struct vnc_port port = port_of(&g, id);
  vnc_graph_input(&g, &port);
  id = vnc_graph_node(&g, VN_OP_SOFTMAX, "softmax", &id, 1);
  for (int i = 0; i < 6; i++) {
    const uint32_t args[2] = {id, 0};
    id = vnc_graph_node(&g, i % 2 ? VN_OP_ADD : VN_OP_ACT, "", args, i % 2 ? 2 : 1);
    g.nodes[id].act[i % 2].kind = VN_ACT_RELU;
  }
  assert_int_equal(vnc_shape_infer(&g, &diag), VN_OK);
  port = port_of(&g, id);
  vnc_graph_output(&g, &port);
  assert_int_equal(vnc_memplan(&g, &m, &diag), VN_OK);
  assert_int_equal(vnc_memplan_check(&g, &m, &diag), VN_OK);
  assert_int_equal(m.arena_bytes, 2 * 4 * 4 * 4 * 4 * 4);
  vnc_memplan_free(&m);
  vnc_graph_free(&g);
}

/* Before any work, which grows with the square of them. */
static void too_many_tensors(void **state) {
  const struct vnc_graph g = {.n_nodes = 65537};
  struct vnc_memplan m;
  struct vn_diag diag;
  (void)state;
  assert_int_equal(vnc_memplan(&g, &m, &diag), VN_E_UNSUPPORTED);
  assert_string_equal(diag.text, "the plan would have 65537 tensors, and holds at most 65536");
}

static void family(void **state) {
  const char *member;
  (void)state;
  for (size_t i = 0; (member = vnc_family_member(i)); i++) {
    struct vnc_spec spec;
    struct vnc_graph g;
    struct vnc_memplan m;
    struct vn_diag diag = {""};
    const struct vnc_options options = {.topology = NULL};
    assert_int_equal(vnc_spec_init(&spec, member, 0, &diag), VN_OK);
    if (vnc_model_build(&spec, (uint64_t[]){64, 128, 128}, 1, &g, &diag)) fail_msg("%s", diag.text);
    if (vnc_run_passes(&g, &options, &diag)) fail_msg("%s", diag.text);
    assert_int_equal(vnc_memplan(&g, &m, &diag), VN_OK);
    assert_int_equal(vnc_memplan_check(&g, &m, &diag), VN_OK);
    print_message("%-10s 1x1x64x128x128: arena %llu bytes, lower bound %llu\n", member,
                  (unsigned long long)m.arena_bytes, (unsigned long long)m.bound_bytes);
    assert_true((double)m.arena_bytes <= 1.05 * (double)m.bound_bytes);
    vnc_memplan_free(&m);
    vnc_graph_free(&g);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_graphs), cmocka_unit_test(in_place),
                                     cmocka_unit_test(too_many_tensors), cmocka_unit_test(family)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

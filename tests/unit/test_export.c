/* The exporter against its mirror: what is written comes back the same, text and numbers. That
 * other programs read it the same way is tests/peers/check_export.py's business. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compile.h"
#include "passes.h"
#include "models/build.h"

static char folder[64], path[96];

static int folder_make(void **state) {
  (void)state;
  strcpy(folder, "/tmp/vnet-export-XXXXXX");
  if (!mkdtemp(folder)) return -1;
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  return 0;
}

/* Nothing but the model may be there. */
static int folder_remove(void **state) {
  (void)state;
  unlink(path);
  return rmdir(folder);
}

static void must(enum vn_status status, const struct vn_diag *diag) {
  if (status) fail_msg("%s", diag->text);
}

static struct vnc_graph build(const char *member, uint32_t in_channels, uint32_t act) {
  struct vnc_spec spec;
  struct vnc_graph g;
  struct vn_diag diag = {""};
  must(vnc_spec_init(&spec, member, 3, &diag), &diag);
  spec.width = 4;
  spec.classes = 3;
  spec.in_channels = in_channels;
  spec.act = act;
  must(vnc_model_build(&spec, (uint64_t[]){8, 12, 4}, 1, &g, &diag), &diag);
  return g;
}

static struct vnc_graph reload(const struct vnc_graph *g, bool float16) {
  struct vnc_graph back;
  struct vn_diag diag = {""};
  struct vnc_export_options options = {.float16_weights = float16, .producer_version = "test"};
  void *model;
  size_t bytes;
  must(vnc_onnx_export(g, &options, &model, &bytes, &diag), &diag);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(model, 1, bytes, file), bytes);
  assert_int_equal(fclose(file), 0);
  free(model);
  must(vnc_onnx_import(path, &(struct vnc_import_options){0}, &back, &diag), &diag);
  return back;
}

static char *text_of(const struct vnc_graph *g) {
  char *text;
  size_t size;
  FILE *out = open_memstream(&text, &size);
  assert_non_null(out);
  assert_int_equal(vnc_graph_print(g, out), VN_OK);
  fclose(out);
  return text;
}

static const struct vnc_const *const_named(const struct vnc_graph *g, const char *name) {
  for (size_t i = 0; i < g->n_consts; i++) {
    if (!strcmp(vnc_graph_text(g, g->consts[i].name), name)) return &g->consts[i];
  }
  fail_msg("no constant %s", name);
  return NULL;
}

static void assert_same(const struct vnc_graph *a, const struct vnc_graph *b, double tolerance) {
  char *one = text_of(a), *two = text_of(b);
  assert_string_equal(one, two);
  free(one);
  free(two);
  assert_int_equal(a->n_consts, b->n_consts);
  for (size_t i = 0; i < a->n_consts; i++) {
    const struct vnc_const *x = &a->consts[i];
    const struct vnc_const *y = const_named(b, vnc_graph_text(a, x->name));
    assert_int_equal(vnc_const_elems(x), vnc_const_elems(y));
    for (uint64_t k = 0; k < vnc_const_elems(x); k++) {
      double error = fabs((double)x->data[k] - (double)y->data[k]);
      if (error > tolerance * fabs((double)x->data[k]) + tolerance * 1e-4) {
        fail_msg("%s[%llu]: %g became %g", vnc_graph_text(a, x->name), (unsigned long long)k,
                 (double)x->data[k], (double)y->data[k]);
      }
    }
  }
}

static void test_members(void **state) {
  (void)state;
  const char *member;
  for (size_t i = 0; (member = vnc_family_member(i)); i++) {
    for (uint32_t in_channels = 1; in_channels <= 4; in_channels *= 2) {
      bool norm = i > 2;
      struct vnc_graph g = build(member, in_channels, norm ? VN_ACT_ELU : VN_ACT_PRELU);
      vnc_graph_meta(&g, "vnet.spacing_mm", "1 1 2.5");
      vnc_graph_meta(&g, "vnet.labels", "[{\"name\": \"Gef\xc3\xa4\xc3\x9f\"}]");
      struct vnc_graph back = reload(&g, false);
      assert_same(&g, &back, 0);
      assert_string_equal(vnc_graph_meta_value(&back, "vnet.labels"),
                          vnc_graph_meta_value(&g, "vnet.labels"));
      vnc_graph_free(&back);
      back = reload(&g, true);
      assert_same(&g, &back, 0x1p-11);
      vnc_graph_free(&back);
      vnc_graph_free(&g);
    }
  }
}

/* After the passes nodes do several things at once; written and read again they are the family's
 * member again, with BatchNorm gone into the weights. */
static void test_fused(void **state) {
  (void)state;
  const char *member;
  for (size_t i = 0; (member = vnc_family_member(i)); i++) {
    char before[256], after[256];
    struct vn_diag diag = {""};
    struct vnc_graph g = build(member, 2, VN_ACT_PRELU);
    must(vnc_topology(&g, member, before, sizeof before, &diag), &diag);
    must(vnc_pass_simplify(&g, &diag), &diag);
    must(vnc_pass_batchnorm(&g, &diag), &diag);
    must(vnc_pass_fuse(&g, &diag), &diag);
    struct vnc_graph back = reload(&g, false);
    must(vnc_topology(&back, member, after, sizeof after, &diag), &diag);
    assert_string_equal(before, after);
    vnc_graph_free(&back);
    vnc_graph_free(&g);
  }
}

static uint32_t input(struct vnc_graph *g, const uint64_t dim[VN_AXES]) {
  uint32_t id = vnc_graph_node(g, VN_OP_INPUT, "x", NULL, 0);
  struct vnc_port port = {.name = vnc_graph_string(g, "x"), .node = id, .rank = VN_AXES};
  for (uint32_t a = 0; a < VN_AXES; a++) {
    g->nodes[id].dim[a] = port.dim[a] = dim[a];
    port.order[a] = a;
  }
  vnc_graph_input(g, &port);
  return id;
}

static void output(struct vnc_graph *g, uint32_t node) {
  struct vnc_port port = {.name = vnc_graph_string(g, "y"), .node = node, .rank = VN_AXES};
  for (uint32_t a = 0; a < VN_AXES; a++) {
    port.dim[a] = g->nodes[node].dim[a];
    port.order[a] = a;
  }
  vnc_graph_output(g, &port);
}

/* The flat index of the input element that element `at` of node `id` shows, through COPYs alone. */
static uint64_t copied_from(const struct vnc_graph *g, uint32_t id, const uint64_t at[VN_AXES]) {
  const struct vnc_node *node = &g->nodes[id];
  if (node->op == VN_OP_INPUT) {
    uint64_t flat = 0;
    for (uint32_t a = 0; a < VN_AXES; a++) flat = flat * node->dim[a] + at[a];
    return flat;
  }
  assert_int_equal(node->op, VN_OP_COPY);
  uint32_t from = vnc_graph_arg(g, node, 0);
  uint64_t in[VN_AXES];
  for (uint32_t a = 0; a < VN_AXES; a++) {
    uint32_t axis = node->in_axis[a];
    in[axis] = (node->in_start[a] + at[a]) % g->nodes[from].dim[axis];
  }
  return copied_from(g, from, in);
}

/* The same for element k of the output, as its port flattens it. */
static uint64_t shown_from(const struct vnc_graph *g, uint64_t k) {
  const struct vnc_port *port = &g->outputs[0];
  uint64_t at[VN_AXES];
  for (uint32_t i = VN_AXES; i-- > 0;) {
    uint64_t size = g->nodes[port->node].dim[port->order[i]];
    at[port->order[i]] = k % size;
    k /= size;
  }
  return copied_from(g, port->node, at);
}

static void test_copies(void **state) {
  (void)state;
  static const uint32_t cases[][3][VN_AXES] = {
      /* dim, in_start, in_axis on 1x2x3x4x5 */
      {{1, 2, 3, 4, 5}, {0}, {0, 1, 2, 3, 4}},             /* nothing */
      {{1, 6, 3, 4, 5}, {0}, {0, 1, 2, 3, 4}},             /* repeat */
      {{1, 2, 2, 3, 5}, {0, 0, 1, 1, 0}, {0, 1, 2, 3, 4}}, /* slice */
      {{1, 3, 4, 5, 2}, {0}, {0, 2, 3, 4, 1}},             /* permute */
      {{2, 3, 7, 2, 2}, {0, 1, 3, 0, 2}, {0, 2, 3, 1, 4}}, /* everything, and around the end */
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct vnc_graph g;
    struct vn_diag diag = {""};
    vnc_graph_init(&g);
    uint32_t x = input(&g, (uint64_t[]){1, 2, 3, 4, 5});
    uint32_t copy = vnc_graph_node(&g, VN_OP_COPY, "copy", &x, 1);
    for (uint32_t a = 0; a < VN_AXES; a++) {
      g.nodes[copy].dim[a] = cases[i][0][a];
      g.nodes[copy].in_start[a] = cases[i][1][a];
      g.nodes[copy].in_axis[a] = cases[i][2][a];
    }
    output(&g, copy);
    must(vnc_graph_check(&g, &diag), &diag);
    struct vnc_graph back = reload(&g, false);
    assert_memory_equal(back.outputs[0].dim, g.outputs[0].dim, VN_AXES * sizeof(uint64_t));
    for (uint64_t k = 0; k < vnc_node_elems(&g.nodes[copy]); k++) {
      assert_int_equal(shown_from(&back, k), shown_from(&g, k));
    }
    vnc_graph_free(&back);
    vnc_graph_free(&g);
  }
}

/* Ports that do not look as the tensors behind them do: voxels by classes, as vnet.pytorch has it,
 * and a scan without batch and channel. */
static void test_ports(void **state) {
  (void)state;
  struct vnc_graph g = build("vnet-2016", 1, VN_ACT_PRELU);
  struct vnc_port *out = &g.outputs[0], *in = &g.inputs[0];
  memcpy(out->order, (uint32_t[]){VN_N, VN_D, VN_H, VN_W, VN_C}, sizeof out->order);
  out->rank = 2;
  out->dim[0] = 8 * 12 * 4;
  out->dim[1] = 3;
  struct vnc_graph back = reload(&g, false);
  assert_same(&g, &back, 0);
  vnc_graph_free(&back);
  in->rank = 3;
  memcpy(in->dim, (uint64_t[]){8, 12, 4}, 3 * sizeof *in->dim);
  back = reload(&g, false);
  assert_int_equal(back.inputs[0].rank, 3);
  assert_memory_equal(back.inputs[0].dim, in->dim, 3 * sizeof *in->dim);
  vnc_graph_free(&back);
  vnc_graph_free(&g);
}

/* A constant that is added voxel by voxel: its numbers keep their places. */
static void test_field(void **state) {
  (void)state;
  struct vnc_graph g;
  struct vn_diag diag = {""};
  vnc_graph_init(&g);
  uint32_t x = input(&g, (uint64_t[]){1, 2, 3, 4, 5});
  float *data = malloc(2 * 3 * 4 * 5 * sizeof *data);
  for (int i = 0; i < 2 * 3 * 4 * 5; i++) data[i] = (float)i;
  uint32_t field = vnc_graph_const(&g, "field", 5, (uint64_t[]){1, 3, 4, 5, 2}, data);
  uint32_t node = vnc_graph_node(&g, VN_OP_CONST, "place", NULL, 0);
  g.nodes[node].weight = field;
  uint32_t sum = vnc_graph_node(&g, VN_OP_ADD, "sum", (uint32_t[]){x, node}, 2);
  must(vnc_shape_infer(&g, &diag), &diag);
  output(&g, sum);
  must(vnc_graph_check(&g, &diag), &diag);
  struct vnc_graph back = reload(&g, false);
  assert_int_equal(back.n_consts, 1);
  assert_memory_equal(back.consts[0].dim, g.consts[field].dim, 5 * sizeof(uint64_t));
  assert_memory_equal(back.consts[0].data, data, 2 * 3 * 4 * 5 * sizeof *data);
  vnc_graph_free(&back);
  vnc_graph_free(&g);
}

/* A 1x1x1 convolution over n channels with these weights. */
static struct vnc_graph pointwise(const float *weights, size_t n) {
  struct vnc_graph g;
  struct vn_diag diag = {""};
  vnc_graph_init(&g);
  uint32_t x = input(&g, (uint64_t[]){1, n, 2, 2, 2});
  float *data = malloc(n * sizeof *data);
  memcpy(data, weights, n * sizeof *data);
  uint32_t w = vnc_graph_const(&g, "w", 5, (uint64_t[]){1, 1, 1, 1, n}, data);
  uint32_t conv = vnc_graph_node(&g, VN_OP_CONV3D, "conv", &x, 1);
  g.nodes[conv].weight = w;
  must(vnc_shape_infer(&g, &diag), &diag);
  output(&g, conv);
  return g;
}

/* Takes the graph. */
static void refuse(struct vnc_graph g, bool float16, enum vn_status status, const char *words) {
  struct vnc_export_options options = {.float16_weights = float16};
  struct vn_diag diag = {""};
  void *model = &g;
  size_t bytes;
  assert_int_equal(vnc_onnx_export(&g, &options, &model, &bytes, &diag), status);
  assert_null(model);
  if (!strstr(diag.text, words)) fail_msg("'%s' does not say '%s'", diag.text, words);
  vnc_graph_free(&g);
}

static void test_float16(void **state) {
  (void)state;
  /* What numpy.float32(x).astype(numpy.float16) gives. */
  static const float full[] = {
      1.0f,     -2.5f,    0.1f,       65504.0f, 65519.99f,      6e-8f,          2.98e-8f,
      2.99e-8f, 1e-5f,    6.1035e-5f, -0.0f,    1.00048828125f, 1.00146484375f, 3.0517578125e-5f,
      2047.5f,  6.097e-5f};
  static const float half[] = {1.0f,
                               -2.5f,
                               0.0999755859375f,
                               65504.0f,
                               65504.0f,
                               5.9604644775390625e-08f,
                               0.0f,
                               5.9604644775390625e-08f,
                               1.0013580322265625e-05f,
                               6.103515625e-05f,
                               -0.0f,
                               1.0f,
                               1.001953125f,
                               3.0517578125e-05f,
                               2048.0f,
                               6.097555160522461e-05f};
  size_t n = sizeof full / sizeof full[0];
  struct vnc_graph g = pointwise(full, n);
  struct vnc_graph back = reload(&g, true);
  for (size_t i = 0; i < n; i++) {
    if (back.consts[0].data[i] != half[i])
      fail_msg("%.10g became %.10g, not %.10g", (double)full[i], (double)back.consts[0].data[i],
               (double)half[i]);
  }
  vnc_graph_free(&back);
  vnc_graph_free(&g);

  refuse(pointwise((float[]){1, 65520}, 2), true, VN_E_UNSUPPORTED, "weight w: 65520");
}

static void test_refusals(void **state) {
  (void)state;
  struct vnc_graph g = pointwise((float[]){1, 2}, 2); /* as a graph that was parsed from text */
  free(g.consts[0].data);
  g.consts[0].data = NULL;
  refuse(g, false, VN_E_ARGUMENT, "weight w");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_members),  cmocka_unit_test(test_fused),
      cmocka_unit_test(test_copies),   cmocka_unit_test(test_ports),
      cmocka_unit_test(test_float16),  cmocka_unit_test(test_field),
      cmocka_unit_test(test_refusals),
  };
  return cmocka_run_group_tests(tests, folder_make, folder_remove);
}

/* Which member a graph is, and where it departs. Graphs come from models/build.c and are bent here;
 * that exports by PyTorch are recognised is the fixtures' business (tests/e2e/fixtures.py). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "compile.h"
#include "models/build.h"

static struct vnc_spec spec_of(const char *member) {
  struct vnc_spec spec;
  assert_int_equal(vnc_spec_init(&spec, member, 3, NULL), VN_OK);
  spec.width = 4;
  spec.classes = 2;
  return spec;
}

static struct vnc_graph build(const struct vnc_spec *spec) {
  struct vnc_graph g;
  struct vn_diag diag = {""};
  if (vnc_model_build(spec, (uint64_t[]){8, 8, 8}, 1, &g, &diag)) fail_msg("%s", diag.text);
  return g;
}

static struct vnc_graph build_member(const char *member) {
  struct vnc_spec spec = spec_of(member);
  return build(&spec);
}

static uint32_t find(const struct vnc_graph *g, const char *name) {
  for (uint32_t i = 0; i < g->n_nodes; i++) {
    if (!strcmp(vnc_graph_text(g, g->nodes[i].name), name)) return i;
  }
  fail_msg("no node %s", name);
  return 0;
}

/* A node of `op` with the shape of node `from`, read by whoever read that. Returns its id, which is
 * from + 1. */
static uint32_t insert(struct vnc_graph *g, uint32_t from, enum vn_op op, const char *name) {
  uint32_t id = vnc_graph_insert(g, from + 1, op, name, &from, 1);
  struct vnc_node *node = &g->nodes[id];
  memcpy(node->dim, g->nodes[from].dim, sizeof node->dim);
  for (size_t i = 0; i < g->n_args; i++) {
    if (g->args[i] == from && i != node->first_arg) g->args[i] = id;
  }
  for (size_t i = 0; i < g->n_outputs; i++) {
    if (g->outputs[i].node == from) g->outputs[i].node = id;
  }
  return id;
}

/* Takes the graph. */
static void takes(struct vnc_graph g, const char *wanted, const char *expected) {
  char text[256] = "";
  struct vn_diag diag = {""};
  if (vnc_graph_check(&g, &diag)) fail_msg("the test bent the graph too far: %s", diag.text);
  if (vnc_topology(&g, wanted, text, sizeof text, &diag)) fail_msg("%s", diag.text);
  if (strncmp(text, expected, strlen(expected))) fail_msg("'%s', expected '%s'", text, expected);
  vnc_graph_free(&g);
}

static void refuses(struct vnc_graph g, const char *wanted, const char *expected) {
  char text[256] = "";
  struct vn_diag diag = {""};
  assert_int_equal(vnc_topology(&g, wanted, text, sizeof text, &diag), VN_E_UNSUPPORTED);
  if (!strstr(diag.text, expected)) fail_msg("'%s', expected '%s'", diag.text, expected);
  vnc_graph_free(&g);
}

static void test_members(void **state) {
  (void)state;
  const char *member;
  for (size_t i = 0; (member = vnc_family_member(i)); i++) {
    for (uint32_t stages = VNC_STAGES_LEAST; stages <= VNC_STAGES_MOST; stages++) {
      struct vnc_spec spec;
      char expected[256], text[256] = "";
      assert_int_equal(vnc_spec_init(&spec, member, stages, NULL), VN_OK);
      spec.width = 1 + stages % 2;
      spec.in_channels = 1 + stages % 2;
      spec.slope_per_channel = stages > 4;
      vnc_spec_text(&spec, expected, sizeof expected);
      uint64_t grid = UINT64_C(1) << (stages - 1);
      struct vnc_graph g;
      struct vn_diag diag = {""};
      if (vnc_model_build(&spec, (uint64_t[]){grid, grid, grid}, 1, &g, &diag) ||
          vnc_topology(&g, NULL, text, sizeof text, &diag)) {
        fail_msg("%s: %s", member, diag.text);
      }
      assert_string_equal(text, expected);
      vnc_graph_free(&g);
    }
  }
}

static void test_wanted(void **state) {
  (void)state;
  char text[256];
  struct vn_diag diag = {""};
  struct vnc_graph g = build_member("vnet");
  assert_int_equal(vnc_topology(&g, "unet", text, sizeof text, &diag), VN_E_ARGUMENT);
  takes(g, "any", "any");
  takes(build_member("vnet"), "vnet", "vnet width=4 stages=3 in=1 classes=2 left=1,2,3 right=3,3");
  refuses(build_member("vnet"), "vnet-2016",
          "not a vnet-2016: left 1, convolution 1: no activation after it expected, prelu found "
          "(node left1.conv1)");
  refuses(build_member("vnet-2016"), "vnet-caffe",
          "left 2: 1 convolution 5x5x5 8->8 expected, 2 found (nodes left2.conv1, left2.conv2)");
  takes(build_member("monai"), "mattmacy", "mattmacy width=4");
  takes(build_member("mattmacy"), "monai", "monai width=4");
}

/* Every 5x5x5 convolution is 3x3x3: all members are departed from, the right one least. */
static void test_nearest(void **state) {
  (void)state;
  const char *member;
  for (size_t i = 0; (member = vnc_family_member(i)); i++) {
    char expected[64];
    struct vnc_spec spec;
    assert_int_equal(vnc_spec_init(&spec, member, 5, NULL), VN_OK);
    spec.width = 4;
    struct vnc_graph g;
    assert_int_equal(vnc_model_build(&spec, (uint64_t[]){16, 16, 16}, 1, &g, NULL), VN_OK);
    for (size_t n = 0; n < g.n_nodes; n++) {
      struct vnc_node *node = &g.nodes[n];
      if (node->op != VN_OP_CONV3D || node->kernel[0] != 5) continue;
      for (int a = 0; a < 3; a++) {
        node->kernel[a] = 3;
        node->pad[a] = node->pad_end[a] = 1;
        g.consts[node->weight].dim[1 + a] = 3;
      }
    }
    snprintf(expected, sizeof expected, "not a %s: left 1, convolution 1: 5x5x5", member);
    refuses(g, NULL, expected);
  }
}

/* BatchNorm by the statistics of each batch, which is InstanceNorm. */
static void test_own_statistics(void **state) {
  (void)state;
  struct vnc_graph g = build_member("mattmacy");
  for (size_t i = 0; i < g.n_nodes; i++)
    if (g.nodes[i].op == VN_OP_AFFINE) {
      g.nodes[i].op = VN_OP_INSTNORM;
      g.nodes[i].epsilon = 1e-5f;
    }
  takes(g, NULL,
        "mattmacy width=4 stages=3 in=1 classes=2 left=1,1,2 right=1,1 act=elu norm=instance");
}

/* Biases decide while BatchNorm stands alone, afterwards the tail. */
static void test_twins(void **state) {
  (void)state;
  struct vnc_spec spec = spec_of("mattmacy");
  spec.tail = VNC_TAIL_NONE;
  takes(build(&spec), NULL, "mattmacy");
  spec.norm = false;
  takes(build(&spec), NULL, "monai");
  spec.tail = VNC_TAIL_LOGSOFTMAX;
  takes(build(&spec), NULL, "mattmacy");
  spec = spec_of("monai");
  spec.act = VN_ACT_PRELU;
  spec.tail = VNC_TAIL_SOFTMAX;
  takes(build(&spec), NULL, "monai");
}

/* What exporters and users write in more than one way. */
static void test_spellings(void **state) {
  (void)state;
  struct vnc_graph g = build_member("vnet"); /* the scan repeated by a copy */
  uint32_t scan = find(&g, "scan"), sum = find(&g, "left1.sum");
  uint32_t copy = insert(&g, scan, VN_OP_COPY, "tile");
  g.nodes[copy].dim[VN_C] = 4;
  g.args[g.nodes[copy + 1].first_arg] = scan;
  takes(g, "vnet", "vnet width=4 stages=3 in=1");

  g = build_member("vnet"); /* … by a concat */
  uint32_t concat = insert(&g, scan, VN_OP_CONCAT, "cat");
  g.nodes[concat].axis = VN_C;
  g.nodes[concat].dim[VN_C] = 4;
  g.nodes[concat].n_args = 4;
  g.nodes[concat].first_arg = (uint32_t)g.n_args;
  uint32_t extra = vnc_graph_node(&g, VN_OP_CONCAT, "", (uint32_t[]){scan, scan, scan, scan}, 4);
  assert_int_equal(extra, --g.n_nodes);
  g.args[g.nodes[concat + 1].first_arg] = scan;
  takes(g, "vnet", "vnet width=4 stages=3 in=1");

  g = build_member("vnet"); /* operands the other way round */
  sum = find(&g, "left2.sum");
  uint32_t *args = &g.args[g.nodes[sum].first_arg], first = args[0];
  args[0] = args[1];
  args[1] = first;
  args = &g.args[g.nodes[find(&g, "right1.concat")].first_arg];
  first = args[0];
  args[0] = args[1];
  args[1] = first;
  takes(g, "vnet", "vnet width=4");

  g = build_member("vnet-2016"); /* a bias that stands alone, a dropout that became a copy */
  uint32_t conv = find(&g, "left2.conv1");
  uint32_t affine = insert(&g, conv, VN_OP_AFFINE, "bias");
  g.nodes[affine].weight = g.nodes[affine].bias = g.nodes[conv].bias;
  g.nodes[conv].bias = VN_NONE;
  insert(&g, find(&g, "down1.act"), VN_OP_COPY, "dropout");
  takes(g, NULL, "vnet-2016 width=4");

  g = build_member("monai"); /* labels, flattened, of a network without softmax */
  uint32_t turned = insert(&g, find(&g, "out"), VN_OP_COPY, "turned");
  for (uint32_t a = 1; a < VN_AXES; a++) {
    g.nodes[turned].in_axis[a] = a == VN_W ? VN_C : a + 1;
    g.nodes[turned].dim[a] = g.nodes[turned - 1].dim[g.nodes[turned].in_axis[a]];
  }
  uint32_t labels = insert(&g, turned, VN_OP_ARGMAX, "labels");
  g.nodes[labels].axis = VN_W;
  g.nodes[labels].dim[VN_W] = 1;
  g.nodes[labels].dtype = VN_I32;
  memcpy(g.outputs[0].dim, g.nodes[labels].dim, sizeof g.nodes[labels].dim);
  g.outputs[0].dtype = VN_I64;
  takes(g, NULL, "monai width=4 stages=3 in=1 classes=2");

  g = build_member("vnet-2016"); /* the paper leaves open whether the 1x1x1 has an activation */
  uint32_t act = insert(&g, find(&g, "out"), VN_OP_ACT, "out.act");
  g.nodes[act].act[0] = g.nodes[find(&g, "left1.sum.act")].act[0];
  g.nodes[act].act[0].slope = VN_NONE;
  g.nodes[act].act[0].kind = VN_ACT_PRELU;
  g.nodes[act].act[0].slope = g.nodes[find(&g, "out")].bias;
  takes(g, NULL, "vnet-2016");
}

static void test_departures(void **state) {
  (void)state;
  struct vnc_spec spec = spec_of("vnet");
  spec.right[1] = 2;
  refuses(build(&spec), NULL,
          "not a vnet: right 2: 3 convolutions 5x5x5 16->16 expected, 2 found (nodes right2.conv1, "
          "right2.conv2)");
  spec = spec_of("vnet-2016");
  spec.left[2] = 4;
  refuses(build(&spec), NULL, "not a vnet-2016: left 3: 3 convolutions 5x5x5 16->16 expected, 4 ");
  spec = spec_of("vnet");
  spec.out_act = false;
  refuses(build(&spec), NULL, "not a vnet: out: prelu after it expected, none found (node out)");
  spec = spec_of("vnet-caffe");
  spec.wide_head = false;
  refuses(build(&spec), NULL, "not a vnet-caffe: out: convolutions 5x5x5 and 1x1x1");

  struct vnc_graph g = build_member("vnet");
  uint32_t id = find(&g, "left2.conv2");
  for (int a = 0; a < 3; a++) {
    g.nodes[id].kernel[a] = 3;
    g.nodes[id].pad[a] = g.nodes[id].pad_end[a] = 1;
  }
  refuses(g, NULL,
          "left 2, convolution 2: 5x5x5 8->8 expected, 3x3x3 8->8 found (node left2.conv2)");
  g = build_member("vnet");
  g.nodes[find(&g, "right1.conv2")].dilation[1] = 2;
  refuses(g, NULL, "right 1, convolution 2: 5x5x5 8->8 expected, 5x5x5 8->8 dilation 1x2x1 found");
  g = build_member("vnet");
  g.nodes[find(&g, "down2.act")].act[0].kind = VN_ACT_RELU;
  refuses(g, NULL, "down 2: prelu after it expected, relu found (node down2)");
  g = build_member("monai");
  id = find(&g, "left3.sum.act");
  g.nodes[id].act[0].kind = VN_ACT_PRELU;
  refuses(g, NULL, "not a monai: left 3, sum: elu after it expected, prelu found (node left3.sum)");
  g = build_member("vnet");
  g.args[g.nodes[find(&g, "right2.sum")].first_arg + 1] = find(&g, "left2.sum");
  refuses(g, NULL, "right 2: a sum with the stage's input expected, one with node left2.sum found");
  g = build_member("vnet");
  g.args[g.nodes[find(&g, "right2.concat")].first_arg + 1] = find(&g, "down1.act");
  refuses(g, NULL, "right 2: a concat with left 2 expected, one with node down1.act found");
}

/* Stages that cannot be seen as such. */
static void test_strangers(void **state) {
  (void)state;
  struct vnc_graph g = build_member("vnet"); /* no sum in left 2, then none in right 1 */
  uint32_t id = find(&g, "left2.sum");
  g.args[g.nodes[find(&g, "down2")].first_arg] = id - 1;
  g.args[g.nodes[find(&g, "right2.concat")].first_arg + 1] = id - 1;
  refuses(g, NULL, "left 2: a sum with the stage's input expected, none found");
  g = build_member("vnet");
  id = find(&g, "right1.sum");
  g.args[g.nodes[find(&g, "out")].first_arg] = id - 1;
  refuses(g, NULL, "right 1: a sum with the stage's input expected, none found");

  g = build_member("vnet"); /* another normalisation */
  insert(&g, find(&g, "right2.concat"), VN_OP_INSTNORM, "strange");
  refuses(g, NULL,
          "right 2: a concat of an up-convolution and a left stage before the stage "
          "expected, instancenorm found (node strange)");
  g = build_member("vnet");
  insert(&g, find(&g, "down1.act"), VN_OP_INSTNORM, "strange\n");
  refuses(g, NULL,
          "left 2: the scan or a convolution down before the stage expected, "
          "instancenorm found (node strange?)");
  g = build_member("vnet"); /* a way up without its skip */
  g.args[g.nodes[find(&g, "right1.conv1")].first_arg] = find(&g, "right1.up.act");
  refuses(g, NULL, "right 1");
  g = build_member("vnet"); /* the network is all input */
  g.outputs[0].node = 0;
  refuses(g, NULL, "stages");
  g = build_member("vnet"); /* two ends */
  struct vnc_port port = g.outputs[0];
  port.node = find(&g, "right2.sum");
  vnc_graph_output(&g, &port);
  refuses(g, NULL, "two found (nodes out.act, right2.sum)");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_members),    cmocka_unit_test(test_wanted),
      cmocka_unit_test(test_nearest),    cmocka_unit_test(test_own_statistics),
      cmocka_unit_test(test_twins),      cmocka_unit_test(test_spellings),
      cmocka_unit_test(test_departures), cmocka_unit_test(test_strangers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The specifications against PyTorch's count of the same networks (tests/peers/networks.py), and
 * what a seed promises. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "models/build.h"

static void build(const struct vnc_spec *spec, const uint64_t patch[3], uint64_t seed,
                  struct vnc_graph *g) {
  struct vn_diag diag = {""};
  if (vnc_model_build(spec, patch, seed, g, &diag)) fail_msg("%s", diag.text);
}

static uint64_t parameters(const struct vnc_graph *g) {
  uint64_t sum = 0;
  for (size_t i = 0; i < g->n_consts; i++) sum += vnc_const_elems(&g->consts[i]);
  return sum;
}

/* Of the convolutions. An up-convolution's weights meet every input element. */
static uint64_t macs(const struct vnc_graph *g) {
  uint64_t sum = 0;
  for (size_t i = 0; i < g->n_nodes; i++) {
    const struct vnc_node *node = &g->nodes[i];
    if (node->op != VN_OP_CONV3D && node->op != VN_OP_DECONV3D) continue;
    const struct vnc_node *grid =
        node->op == VN_OP_CONV3D ? node : &g->nodes[vnc_graph_arg(g, node, 0)];
    sum += vnc_const_elems(&g->consts[node->weight]) * grid->dim[VN_N] * grid->dim[VN_D] *
           grid->dim[VN_H] * grid->dim[VN_W];
  }
  return sum;
}

static void test_costs(void **state) {
  (void)state;
  static const struct {
    const char *member;
    uint32_t classes;
    uint64_t parameters, macs;             /* five stages, width 16, 64x128x128 */
    uint64_t small_parameters, small_macs; /* four, 4, 16x32x32; two inputs, three classes */
  } expected[] = {
      {"vnet", 32, 65941009, 838693027840, 1013500, 777158656},
      {"vnet-2016", 2, 65175314, 502142074880, 965464, 449478656},
      {"vnet-caffe", 2, 61982682, 384638648320, 768377, 375504896},
      {"monai", 2, 45597898, 365764280320, 768726, 375504896},
      {"mattmacy", 2, 45600316, 365764280320, 769013, 375504896},
  };
  for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
    struct vnc_spec spec;
    struct vnc_graph g;
    assert_string_equal(vnc_family_member(i), expected[i].member);
    assert_int_equal(vnc_spec_init(&spec, expected[i].member, 0, NULL), VN_OK);
    spec.classes = expected[i].classes;
    build(&spec, (uint64_t[]){64, 128, 128}, 1, &g);
    assert_int_equal(parameters(&g), expected[i].parameters);
    assert_int_equal(macs(&g), expected[i].macs);
    vnc_graph_free(&g);

    assert_int_equal(vnc_spec_init(&spec, expected[i].member, 4, NULL), VN_OK);
    spec.width = 4;
    spec.in_channels = 2;
    spec.classes = 3;
    spec.act = VN_ACT_PRELU;
    spec.slope_per_channel = false;
    build(&spec, (uint64_t[]){16, 32, 32}, 1, &g);
    assert_int_equal(parameters(&g), expected[i].small_parameters);
    assert_int_equal(macs(&g), expected[i].small_macs);
    vnc_graph_free(&g);
  }
  assert_null(vnc_family_member(sizeof expected / sizeof expected[0]));
}

static struct vnc_spec small_spec(void) {
  struct vnc_spec spec;
  assert_int_equal(vnc_spec_init(&spec, "vnet", 3, NULL), VN_OK);
  spec.width = 8;
  spec.classes = 2;
  return spec;
}

static void test_seed(void **state) {
  (void)state;
  struct vnc_spec spec = small_spec();
  struct vnc_graph a, b, c;
  uint64_t patch[3] = {8, 8, 8};
  build(&spec, patch, 7, &a);
  build(&spec, patch, 7, &b);
  build(&spec, patch, 8, &c);
  for (size_t i = 0; i < a.n_consts; i++) {
    size_t bytes = vnc_const_elems(&a.consts[i]) * sizeof(float);
    assert_memory_equal(a.consts[i].data, b.consts[i].data, bytes);
    assert_memory_not_equal(a.consts[i].data, c.consts[i].data, bytes);
  }
  /* splitmix64 of seed 7, worked out by hand: 0x63cbe1e459320dd7 is the first number. */
  double spread = sqrt(3.0 / 125);
  float first = (float)(spread * ((double)(0x63cbe1e459320dd7 >> 40) * 0x1p-23 - 1));
  assert_string_equal(vnc_graph_text(&a, a.consts[0].name), "left1.conv1.w");
  assert_true(a.consts[0].data[0] == first);
  vnc_graph_free(&a);
  vnc_graph_free(&b);
  vnc_graph_free(&c);
}

/* Weights of zero mean whose gain undoes what activations and sums do to the variance. */
static void test_variance(void **state) {
  (void)state;
  struct vnc_spec spec = small_spec();
  struct vnc_graph g;
  build(&spec, (uint64_t[]){8, 8, 8}, 3, &g);
  for (size_t i = 0; i < g.n_nodes; i++) {
    const struct vnc_node *node = &g.nodes[i];
    if (node->op != VN_OP_CONV3D && node->op != VN_OP_DECONV3D) continue;
    const struct vnc_const *w = &g.consts[node->weight];
    double mean = 0, square = 0, n = (double)vnc_const_elems(w);
    for (uint64_t k = 0; k < vnc_const_elems(w); k++) {
      mean += (double)w->data[k] / n;
      square += (double)w->data[k] * (double)w->data[k] / n;
    }
    double taps = node->op == VN_OP_DECONV3D ? 1 : (double)(w->dim[1] * w->dim[2] * w->dim[3]);
    double gain = square * taps * (double)w->dim[4]; /* output variance per input mean square */
    assert_true(fabs(mean) < 6 * sqrt(square / n));
    assert_true(gain > 0.3 && gain < 2.5);
  }
  vnc_graph_free(&g);
}

static void refuse(struct vnc_spec spec, const uint64_t patch[3], const char *words) {
  struct vnc_graph g;
  struct vn_diag diag = {""};
  assert_int_equal(vnc_model_build(&spec, patch, 1, &g, &diag), VN_E_ARGUMENT);
  if (!strstr(diag.text, words)) fail_msg("'%s' does not say '%s'", diag.text, words);
  vnc_graph_free(&g);
}

static void test_refusals(void **state) {
  (void)state;
  uint64_t patch[3] = {8, 8, 8}, odd[3] = {8, 8, 6};
  struct vnc_spec spec = small_spec();
  refuse(spec, odd, "multiple of 4");
  spec.in_channels = 3;
  refuse(spec, patch, "input channels");
  spec = small_spec();
  spec.act = VN_ACT_ELU;
  refuse(spec, patch, "elu");
  spec = small_spec();
  spec.stages = 9;
  refuse(spec, patch, "stages");
  spec = small_spec();
  spec.width = 0;
  refuse(spec, patch, "width");
  struct vn_diag diag = {""};
  assert_int_equal(vnc_spec_init(&spec, "unet", 0, &diag), VN_E_ARGUMENT);
  assert_non_null(strstr(diag.text, "mattmacy"));
}

static void test_text(void **state) {
  (void)state;
  struct vnc_spec spec;
  char text[256];
  assert_int_equal(vnc_spec_init(&spec, "vnet-2016", 7, NULL), VN_OK);
  vnc_spec_text(&spec, text, sizeof text);
  assert_string_equal(text, "vnet-2016 width=16 stages=7 in=1 classes=2 left=1,2,3,3,3,3,3 "
                            "right=3,3,3,3,2,1 act=prelu");
  memset(text, 'x', sizeof text);
  vnc_spec_text(&spec, text, 60); /* cut inside the list */
  assert_int_equal(strlen(text), 59);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_costs),    cmocka_unit_test(test_seed), cmocka_unit_test(test_variance),
      cmocka_unit_test(test_refusals), cmocka_unit_test(test_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

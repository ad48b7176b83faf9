/* What an output means, for every way in which a network may end. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ends.h"

#define LOGITS                                                                                     \
  "const @s f32[1]\nconst @t f32[1]\nconst @k f32[1,1,1,1,1]\n"                                    \
  "%0 \"x\" f32[1,4,2,3,5] = input\nin \"x\" %0 f32[1,4,2,3,5] order=ncdhw\n"
#define OUT(node, type, channels) "out \"y\" %" node " " type "[1," channels ",2,3,5] order=ncdhw\n"
#define SIGMOID1                                                                                   \
  "%1 \"a\" f32[1,1,2,3,5] = copy %0 c=c+2\n%2 \"p\" f32[1,1,2,3,5] = act %1 act=sigmoid\n"

#define HALF "%1 \"h\" f32[1,1,1,1,1] = const w=@k\n"

static const struct {
  const char *tail;
  enum vn_end end;
} cases[] = {
    {OUT("0", "f32", "4"), VN_END_SCORES},
    {"%1 \"r\" f32[1,4,2,3,5] = act %0 act=relu\n" OUT("1", "f32", "4"), VN_END_SCORES},
    {"%1 \"p\" f32[1,4,2,3,5] = act %0 act=sigmoid\n" OUT("1", "f32", "4"), VN_END_REGIONS},
    {SIGMOID1 OUT("2", "f32", "1"), VN_END_REGIONS},
    {"%1 \"p\" f32[1,4,2,3,5] = softmax %0 axis=c\n" OUT("1", "f32", "4"), VN_END_SOFTMAX},
    {"%1 \"p\" f32[1,4,2,3,5] = logsoftmax %0 axis=c\n" OUT("1", "f32", "4"), VN_END_LOGSOFTMAX},
    /* over the voxels, not over the classes */
    {"%1 \"p\" f32[1,4,2,3,5] = softmax %0 axis=w\n" OUT("1", "f32", "4"), VN_END_SCORES},
    {"%1 \"p\" f32[1,4,2,3,5] = softmax %0 axis=c more=dhw\n" OUT("1", "f32", "4"), VN_END_SCORES},
    /* over another axis, which becomes the channels */
    {"%1 \"p\" f32[1,4,2,3,5] = softmax %0 axis=w\n%2 \"t\" f32[1,5,2,3,4] = copy %1 c=w+0 w=c+0\n"
     "out \"y\" %2 f32[1,5,2,3,4] order=ncdhw\n",
     VN_END_SOFTMAX},
    {"%1 \"p\" f32[1,4,2,3,5] = softmax %0 axis=c\n%2 \"f\" f32[1,3,2,3,5] = copy %1 c=c+1\n" OUT(
         "2", "f32", "3"),
     VN_END_FOREGROUND},
    {"%1 \"p\" f32[1,4,2,3,5] = softmax %0 axis=c\n%2 \"f\" f32[1,3,2,3,5] = copy %1 c=c+0\n" OUT(
         "2", "f32", "3"),
     VN_END_SCORES},
    {"%1 \"p\" f32[1,4,2,3,5] = softmax %0 axis=c\n%2 \"f\" f32[1,1,2,3,5] = copy %1 c=c+3\n" OUT(
         "2", "f32", "1"),
     VN_END_REGIONS},
    /* the probability of background */
    {"%1 \"p\" f32[1,4,2,3,5] = softmax %0 axis=c\n%2 \"f\" f32[1,1,2,3,5] = copy %1 c=c+0\n" OUT(
         "2", "f32", "1"),
     VN_END_SCORES},
    {"%1 \"p\" f32[1,4,2,3,5] = logsoftmax %0 axis=c\n"
     "%2 \"f\" f32[1,3,2,3,5] = copy %1 c=c+1\n" OUT("2", "f32", "3"),
     VN_END_SCORES},
    {"%1 \"l\" i32[1,1,2,3,5] = argmax %0 axis=c\n" OUT("1", "i64", "1"), VN_END_LABELS},
    {"%1 \"l\" i32[1,1,2,3,5] = argmax %0 axis=c\n%2 \"f\" f32[1,1,2,3,5] = cast %1\n" OUT(
         "2", "f32", "1"),
     VN_END_LABELS},
    {SIGMOID1 "%3 \"q\" f32[1,4,2,3,5] = act %0 act=sigmoid\n"
              "%4 \"b\" f32[1,5,2,3,5] = concat %2 %3 axis=c\n" OUT("4", "f32", "5"),
     VN_END_REGIONS},
    {SIGMOID1 "%3 \"b\" f32[1,5,2,3,5] = concat %2 %0 axis=c\n" OUT("3", "f32", "5"),
     VN_END_SCORES},
    /* 1 - p and p; 2 - p and p are none */
    {SIGMOID1 "%3 \"q\" f32[1,1,2,3,5] = affine %2 w=@s b=@t\n"
              "%4 \"b\" f32[1,2,2,3,5] = concat %3 %2 axis=c\n" OUT("4", "f32", "2"),
     VN_END_SOFTMAX},
    {SIGMOID1 "%3 \"q\" f32[1,1,2,3,5] = affine %2 w=@s b=@s\n"
              "%4 \"b\" f32[1,2,2,3,5] = concat %3 %2 axis=c\n" OUT("4", "f32", "2"),
     VN_END_SCORES},
    /* clipped, and compared with a constant */
    {"%1 \"p\" f32[1,4,2,3,5] = act %0 act=sigmoid\n"
     "%2 \"q\" f32[1,4,2,3,5] = map %1 fn=clip(0.001,0.999)\n" OUT("2", "f32", "4"),
     VN_END_REGIONS},
    {"%1 \"p\" f32[1,4,2,3,5] = act %0 act=sigmoid\n"
     "%2 \"q\" f32[1,4,2,3,5] = map %1 fn=clip(0.6,0.9)\n" OUT("2", "f32", "4"),
     VN_END_SCORES},
    {"%1 \"p\" f32[1,4,2,3,5] = softmax %0 axis=c\n"
     "%2 \"q\" f32[1,4,2,3,5] = map %1 fn=exp(0,0)\n" OUT("2", "f32", "4"),
     VN_END_SCORES},
    {HALF "%2 \"m\" f32[1,4,2,3,5] = binary %0 %1 fn=greater\n" OUT("2", "f32", "4"),
     VN_END_REGIONS},
    {HALF "%2 \"m\" f32[1,4,2,3,5] = binary %0 %1 fn=less\n" OUT("2", "f32", "4"), VN_END_SCORES},
    {HALF "%2 \"m\" f32[1,4,2,3,5] = binary %0 %0 fn=greater\n" OUT("2", "f32", "4"),
     VN_END_SCORES},
    {HALF "%2 \"p\" f32[1,4,2,3,5] = softmax %0 axis=c\n"
          "%3 \"m\" f32[1,4,2,3,5] = binary %2 %1 fn=greater-equal\n" OUT("3", "f32", "4"),
     VN_END_SOFTMAX},
    /* two halves of the scan */
    {"%1 \"p\" f32[1,4,2,3,5] = softmax %0 axis=c\n%2 \"q\" f32[1,4,2,3,5] = softmax %0 axis=c\n"
     "%3 \"b\" f32[1,4,4,3,5] = concat %1 %2 axis=d\nout \"y\" %3 f32[1,4,4,3,5] order=ncdhw\n",
     VN_END_SOFTMAX},
};

static struct vnc_graph parsed(const char *meta, const char *tail) {
  struct vnc_graph g;
  struct vn_diag diag = {""};
  char text[2048];
  snprintf(text, sizeof text, "%s%s%s", meta, LOGITS, tail);
  if (vnc_graph_parse(text, &g, &diag)) fail_msg("%s\n%s", diag.text, text);
  for (size_t i = 0; i < g.n_consts; i++) {
    g.consts[i].data = malloc(sizeof(float));
    assert_non_null(g.consts[i].data);
    g.consts[i].data[0] = i ? 1 : -1;
  }
  return g;
}

static void every_end(void **unused) {
  (void)unused;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct vnc_graph g = parsed("", cases[i].tail);
    struct vn_diag diag = {""};
    assert_int_equal(vnc_ends(&g, &diag), VN_OK);
    if (g.outputs[0].end != cases[i].end)
      fail_msg("%u instead of %u:\n%s", g.outputs[0].end, cases[i].end, cases[i].tail);
    vnc_graph_free(&g);
  }
}

/* Means of neighbours are probabilities, too; what is no mean of them is not. */
static void resized_probabilities(void **unused) {
  (void)unused;
  static const struct {
    const char *op, *more;
    float index, weight[2];
    enum vn_end end;
  } resized[] = {{"act %0 act=sigmoid", "", 0, {0.25f, 0.75f}, VN_END_REGIONS},
                 {"softmax %0 axis=c", "", 0, {0.25f, 0.75f}, VN_END_SOFTMAX},
                 {"logsoftmax %0 axis=c", "", 0, {0.25f, 0.75f}, VN_END_SCORES},
                 {"act %0 act=relu", "", 0, {0.25f, 0.75f}, VN_END_SCORES},
                 {"act %0 act=sigmoid", " largest=1", 0, {0.25f, 0.75f}, VN_END_SCORES},
                 {"act %0 act=sigmoid", "", -1, {0.25f, 0.75f}, VN_END_SCORES},
                 {"act %0 act=sigmoid", "", 0, {-0.25f, 1.25f}, VN_END_SCORES},
                 {"act %0 act=sigmoid", "", 0, {0.5f, 0.75f}, VN_END_SCORES}};
  for (size_t i = 0; i < sizeof resized / sizeof *resized; i++) {
    char text[512];
    snprintf(text, sizeof text,
             "const @u f32[5,2,2]\n%%1 \"p\" f32[1,4,2,3,5] = %s\n"
             "%%2 \"r\" f32[1,4,2,3,5] = sample %%1 tw=@u%s\n%s",
             resized[i].op, resized[i].more, OUT("2", "f32", "4"));
    struct vnc_graph g = parsed("", text);
    struct vnc_const *table = &g.consts[g.n_consts - 1];
    float *pair = table->data = realloc(table->data, 20 * sizeof *pair);
    assert_non_null(pair);
    for (size_t tap = 0; tap < 10; tap++) {
      pair[2 * tap] = resized[i].index;
      pair[2 * tap + 1] = resized[i].weight[tap % 2];
    }
    assert_int_equal(vnc_ends(&g, NULL), VN_OK);
    if (g.outputs[0].end != resized[i].end)
      fail_msg("%u instead of %u:\n%s", g.outputs[0].end, resized[i].end, text);
    vnc_graph_free(&g);
  }
}

static void concats_in_concats(void **unused) {
  (void)unused;
  char text[2048] = "%1 \"p\" f32[1,4,2,3,5] = act %0 act=sigmoid\n";
  for (unsigned i = 1, d = 2; i < 12; i++) { /* deeper than anybody's, and than we look */
    d += 2;
    sprintf(text + strlen(text), "%%%u \"b\" f32[1,4,%u,3,5] = concat %%%u %s axis=d\n", i + 1, d,
            i, "%1");
  }
  strcat(text, "out \"y\" %12 f32[1,4,24,3,5] order=ncdhw\n");
  struct vnc_graph g = parsed("", text);
  assert_int_equal(vnc_ends(&g, NULL), VN_OK);
  assert_int_equal(g.outputs[0].end, VN_END_SCORES);
  vnc_graph_free(&g);
}

/* Eight levels of fourteen times the same are 1.5 thousand million ways down. */
static void a_maze_of_concats(void **unused) {
  (void)unused;
  char text[8192] = "%1 \"p\" f32[1,4,2,3,5] = act %0 act=sigmoid\n";
  unsigned dim[3] = {2, 3, 5};
  for (unsigned i = 0; i < 8; i++) {
    dim[i % 3] *= 14;
    sprintf(text + strlen(text), "%%%u \"b\" f32[1,4,%u,%u,%u] = concat", i + 2, dim[0], dim[1],
            dim[2]);
    for (int k = 0; k < 14; k++) sprintf(text + strlen(text), " %%%u", i + 1);
    sprintf(text + strlen(text), " axis=%c\n", "dhw"[i % 3]);
  }
  sprintf(text + strlen(text), "out \"y\" %%9 f32[1,4,%u,%u,%u] order=ncdhw\n", dim[0], dim[1],
          dim[2]);
  struct vnc_graph g = parsed("", text);
  const clock_t start = clock();
  assert_int_equal(vnc_ends(&g, NULL), VN_OK);
  assert_true(clock() - start < CLOCKS_PER_SEC);
  assert_int_equal(g.outputs[0].end, VN_END_SCORES);
  vnc_graph_free(&g);
}

/* Of more regions than a plan has room for nothing is computed. */
static void too_many_regions(void **unused) {
  (void)unused;
  static const char text[] = "%0 \"x\" f32[1,65537,1,1,1] = input\n"
                             "in \"x\" %0 f32[1,65537,1,1,1] order=ncdhw\n"
                             "%1 \"p\" f32[1,65537,1,1,1] = act %0 act=sigmoid\n"
                             "out \"y\" %1 f32[1,65537,1,1,1] order=ncdhw\n";
  struct vnc_graph g;
  struct vn_diag diag = {""};
  if (vnc_graph_parse(text, &g, &diag)) fail_msg("%s", diag.text);
  assert_int_equal(vnc_ends(&g, &diag), VN_E_UNSUPPORTED);
  assert_string_equal(diag.text, "an output of 65537 regions: a plan holds at most 65536");
  vnc_graph_free(&g);
}

static const char sigmoid[] = "%1 \"p\" f32[1,4,2,3,5] = act %0 act=sigmoid\n" OUT("1", "f32", "4");

static void asked_for(void **unused) {
  (void)unused;
  static const struct {
    const char *value, *tail;
    enum vn_end end;
    float threshold[4];
  } row[] = {
      {"argmax", sigmoid, VN_END_SCORES, {0.5f, 0.5f, 0.5f, 0.5f}},
      {"argmax", SIGMOID1 OUT("2", "f32", "1"), VN_END_REGIONS, {0.5f}},
      {"threshold 0", OUT("0", "f32", "4"), VN_END_REGIONS, {0, 0, 0, 0}},
      {"threshold 0.5 0.25 -1  3", sigmoid, VN_END_REGIONS, {0.5f, 0.25f, -1, 3}},
      {"threshold 0.5 0.25 -1 3", OUT("0", "f32", "4"), VN_END_REGIONS, {0.5f, 0.25f, -1, 3}},
  };
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    char meta[100];
    snprintf(meta, sizeof meta, "meta \"vnet.end\" \"%s\"\n", row[i].value);
    struct vnc_graph g = parsed(meta, row[i].tail);
    assert_int_equal(vnc_ends(&g, NULL), VN_OK);
    assert_int_equal(g.outputs[0].end, row[i].end);
    const uint64_t channels = g.nodes[g.outputs[0].node].dim[VN_C];
    float thresholds[4];
    vnc_end_thresholds(&g, channels, thresholds);
    for (uint64_t c = 0; c < channels; c++) assert_true(thresholds[c] == row[i].threshold[c]);
    vnc_graph_free(&g);
  }
}

static void asked_for_nonsense(void **unused) {
  (void)unused;
  static const char *const values[] = {"",
                                       "softmax",
                                       "threshold",
                                       "threshold ",
                                       "threshold5",
                                       "threshold 0.5 0.5",
                                       "threshold 0.5,0.5,0.5,0.5",
                                       "threshold nan",
                                       "threshold 1e99",
                                       "threshold 0.5 0.5 0.5 x"};
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    char meta[100];
    struct vn_diag diag = {""};
    snprintf(meta, sizeof meta, "meta \"vnet.end\" \"%s\"\n", values[i]);
    struct vnc_graph g = parsed(meta, sigmoid);
    if (vnc_ends(&g, &diag) != VN_E_FORMAT || !strstr(diag.text, "vnet.end"))
      fail_msg("'%s' was taken: %s", values[i], diag.text);
    vnc_graph_free(&g);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_end),          cmocka_unit_test(resized_probabilities),
      cmocka_unit_test(concats_in_concats), cmocka_unit_test(a_maze_of_concats),
      cmocka_unit_test(too_many_regions),   cmocka_unit_test(asked_for),
      cmocka_unit_test(asked_for_nonsense)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

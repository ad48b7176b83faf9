/* Time grows with the model, not with its square: models and plans of every kind that can be large,
 * at a size and at twice the size, up to the limits that refuse them. In CPU time, the better of
 * two tries, so that a busy machine does not matter. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "onnx_models.h"
#include "plan.h"
#include "vnet.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

static double cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const uint64_t small[5] = {1, 1, 1, 1, 2};

static const char *numbered(struct made_model *m, const char *name, size_t i) {
  char *text = vnc_build_keep(&m->b, 32, 1);
  snprintf(text, 32, "%s%zu", name, i);
  return text;
}

static const char *both(struct made_model *m, const char *a, const char *b) {
  char *text = vnc_build_keep(&m->b, strlen(a) + strlen(b) + 2, 1);
  sprintf(text, "%s %s", a, b);
  return text;
}

/* ---- models of n of something; each fills a model that begins with the input "t0" ---- */

static void metadata(struct made_model *m, size_t n) {
  m->more_metas = n;
  model_node(m, "Relu", "", "t0", "end");
}

static void chain_of(struct made_model *m, const char *type, size_t n) {
  for (size_t i = 0; i < n; i++)
    model_node(m, type, "", numbered(m, "t", i), i + 1 < n ? numbered(m, "t", i + 1) : "end");
}

static void chain(struct made_model *m, size_t n) {
  chain_of(m, "Sigmoid", n);
}

static void identities(struct made_model *m, size_t n) {
  chain_of(m, "Identity", n - 1);
  m->b.graph.node[n - 2]->output[0] = vnc_build_text(&m->b, "last");
  model_node(m, "Relu", "", "last", "end");
}

/* All alive at once, and of many sizes. */
static void alive(struct made_model *m, size_t n) {
  for (size_t i = 1; i < n / 2; i++) {
    Onnx__NodeProto *tile = model_node(m, "Tile", "", "t0 ", numbered(m, "t", i));
    const int64_t times[5] = {1, 1, 1, 1, (int64_t)(i * 7 % 31 + 1)};
    char own[32];
    snprintf(own, sizeof own, "s%zu", i);
    char **in = vnc_build_keep(&m->b, 2, sizeof *in);
    in[0] = tile->input[0];
    in[1] = vnc_build_shape(&m->b, own, times, 5);
    tile->input = in;
    tile->n_input = 2;
  }
  const char *sum = "t0";
  for (size_t i = n / 2 - 1; i >= 1; i--) {
    const char *next = i > 1 ? numbered(m, "r", i) : "end";
    Onnx__NodeProto *joined = model_node(m, "Concat", "", both(m, sum, numbered(m, "t", i)), next);
    vnc_build_int(&m->b, joined, "axis", 4);
    sum = next;
  }
}

/* The same parts again and again, which have to be copied for each. */
static void concats(struct made_model *m, size_t n) {
  const char *parts = "t0";
  for (size_t i = 1; i < 16; i++) parts = both(m, parts, "t0");
  const char *sum = "t0";
  for (size_t i = 0; i < n; i++) {
    vnc_build_int(&m->b, model_node(m, "Concat", "", parts, numbered(m, "c", i)), "axis", 1);
    const char *next = i + 1 < n ? numbered(m, "r", i) : "end";
    model_node(m, "Add", "", both(m, numbered(m, "c", i), sum), next);
    sum = next;
  }
}

/* Weights that differ in their last number alone. */
static void weights(struct made_model *m, size_t n) {
  enum { ELEMS = 512 };
  float *data = vnc_build_keep(&m->b, n * ELEMS, sizeof *data);
  const uint64_t dim[5] = {ELEMS, 1, 1, 1, 1};
  for (size_t i = 0; i < n; i++) {
    data[i * ELEMS + ELEMS - 1] = (float)i;
    model_tensor(m, numbered(m, "w", i), VNC_ONNX_FLOAT, 5, dim, data + i * ELEMS,
                 ELEMS * sizeof *data);
    model_node(m, "Conv", "", both(m, "t0", numbered(m, "w", i)), numbered(m, "y", i));
    if (i)
      model_node(m, "Add", "", both(m, numbered(m, "y", i), i > 1 ? numbered(m, "s", i - 1) : "y0"),
                 i + 1 < n ? numbered(m, "s", i) : "end");
  }
}

/* One kernel of n taps that reaches over n voxels. */
static void taps(struct made_model *m, size_t n) {
  const uint64_t dim[5] = {1, 1, n, 1, 1}, scan[5] = {1, 1, n, 1, 1};
  float *data = vnc_build_keep(&m->b, n, sizeof *data);
  model_tensor(m, "w", VNC_ONNX_FLOAT, 5, dim, data, n * sizeof *data);
  m->b.graph.n_input = 0;
  model_input(m, "t0", 5, scan);
  const int64_t half = (int64_t)n / 2;
  vnc_build_ints(&m->b, model_node(m, "Conv", "", "t0 w", "end"), "pads",
                 (const int64_t[]){half, 0, 0, half, 0, 0}, 6);
}

/* n convolutions to choose tiles for, under a limit that nothing meets. */
static void choices(struct made_model *m, size_t n) {
  float *data = vnc_build_keep(&m->b, 27, sizeof *data);
  model_tensor(m, "w", VNC_ONNX_FLOAT, 5, (const uint64_t[]){1, 1, 3, 3, 3}, data,
               27 * sizeof *data);
  for (size_t i = 0; i < n; i++)
    vnc_build_ints(&m->b,
                   model_node(m, "Conv", "", both(m, numbered(m, "t", i), "w"),
                              i + 1 < n ? numbered(m, "t", i + 1) : "end"),
                   "pads", (const int64_t[]){1, 1, 1, 1, 1, 1}, 6);
}

/* A node of n results, each a name. */
static void results(struct made_model *m, size_t n) {
  Onnx__NodeProto *node = model_node(m, "Dropout", "", "t0", "end");
  char **out = vnc_build_keep(&m->b, n, sizeof *out);
  out[0] = node->output[0];
  for (size_t i = 1; i < n; i++) out[i] = (char *)(uintptr_t)numbered(m, "mask", i);
  node->output = out;
  node->n_output = n;
  model_node(m, "Relu", "", "end", "last");
}

/* Arithmetic on constants, a step at a time. */
static void arithmetic(struct made_model *m, size_t n) {
  const char *sum = "k";
  model_ints(m, "k", 5, (const int64_t[]){1, 1, 1, 1, 2});
  model_ints(m, "one", 1, (const int64_t[]){1});
  for (size_t i = 0; i < n - 1; i++, sum = numbered(m, "a", i - 1))
    model_node(m, "Mul", "", both(m, sum, "one"), numbered(m, "a", i));
  model_node(m, "Expand", "", both(m, "t0", sum), "end");
}

/* A large constant that costs nothing to write, read n times. */
static void products(struct made_model *m, size_t n) {
  model_ints(m, "k", 1, (const int64_t[]){1 << 21});
  model_node(m, "ConstantOfShape", "", "k", "large");
  for (size_t i = 0; i < n; i++) {
    model_node(m, "ReduceProd", "", "large", numbered(m, "p", i));
    if (i)
      model_node(m, "Add", "", both(m, i > 1 ? numbered(m, "s", i - 1) : "p0", numbered(m, "p", i)),
                 numbered(m, "s", i));
  }
  model_node(m, "Add", "", both(m, "t0", numbered(m, "s", n - 1)), "end");
}

/* Slopes that are one number in the model, and one for each channel in a plan. */
static void slopes(struct made_model *m, size_t n) {
  m->b.graph.n_input = 0;
  model_input(m, "t0", 5, (const uint64_t[]){1, 65535, 1, 1, 1});
  chain_of(m, "LeakyRelu", n);
  for (size_t i = 0; i < n; i++)
    vnc_build_float(&m->b, m->b.graph.node[i], "alpha", 0.001f * (float)i);
}

static const struct {
  const char *name;
  void (*fill)(struct made_model *m, size_t n);
  size_t n; /* and 2 n */
  uint64_t memory_limit;
  enum vn_status once, twice; /* what becomes of them */
} kinds[] = {
    {"metadata", metadata, 10000, 0, VN_OK, VN_OK},
    {"metadata beyond a plan", metadata, 60000, 0, VN_OK, VN_E_UNSUPPORTED},
    {"chain", chain, 5000, 0, VN_OK, VN_OK},
    {"chain beyond a model", chain, 9000, 0, VN_OK, VN_E_UNSUPPORTED},
    {"identities", identities, 5000, 0, VN_OK, VN_OK},
    {"tensors alive at once", alive, 2400, 0, VN_OK, VN_OK},
    {"concats of the same", concats, 1500, 0, VN_OK, VN_OK},
    {"weights", weights, 2400, 0, VN_OK, VN_OK},
    {"taps", taps, 32767, 0, VN_OK, VN_OK},
    {"choices", choices, 5000, 1, VN_E_MEMORY, VN_E_MEMORY},
    {"results", results, 45000, 0, VN_OK, VN_OK},
    {"arithmetic", arithmetic, 5000, 0, VN_OK, VN_OK},
    {"products", products, 25, 0, VN_OK, VN_E_UNSUPPORTED},
    {"slopes", slopes, 600, 0, VN_OK, VN_E_UNSUPPORTED},
};

static double compile(size_t kind, size_t n, enum vn_status expected) {
  const struct vnc_options options = {.topology = "any",
                                      .memory_limit_bytes = kinds[kind].memory_limit};
  struct made_model m;
  void *plan = NULL;
  size_t plan_bytes;
  model_begin(&m);
  model_input(&m, "t0", 5, small);
  kinds[kind].fill(&m, n);
  model_output(&m, "end");
  enum vn_status status = model_import(&m);
  const double start = cpu_seconds();
  struct vn_plan *loaded = NULL;
  vnc_graph_free(&m.g);
  status = vnc_onnx_import(model_path(), &m.options, &m.g, &m.diag);
  if (!status) status = vnc_compile_graph(&m.g, &options, &plan, &plan_bytes, NULL, &m.diag);
  if (!status) status = vn_plan_open_memory(plan, plan_bytes, &loaded, &m.diag);
  const double seconds = cpu_seconds() - start;
  if (status != expected)
    fail_msg("%s, %zu: status %d, %s", kinds[kind].name, n, status, m.diag.text);
  vn_plan_close(&loaded);
  free(plan);
  vnc_graph_free(&m.g);
  return seconds;
}

/* Twice as much takes twice as long; what is over in a moment is not measured so finely. */
static void growth_check(const char *name, double once, double twice) {
  printf("%-28s %7.3f s %7.3f s\n", name, once, twice);
  if (twice > 0.25 && twice > 3 * once)
    fail_msg("%s: %.3f s, and %.3f s for twice", name, once, twice);
}

static double less(double a, double b) {
  return a < b ? a : b;
}

static void test_models(void **state) {
  (void)state;
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    const size_t n = kinds[k].n;
    const double once = less(compile(k, n, kinds[k].once), compile(k, n, kinds[k].once));
    growth_check(kinds[k].name, once,
                 less(compile(k, 2 * n, kinds[k].twice), compile(k, 2 * n, kinds[k].twice)));
  }
}

/* ---- plans ---- */

struct parts {
  struct plan_buffer *buffers;
  struct plan_step *steps;
  struct plan_meta *metas;
  size_t n_buffers, n_steps, n_metas;
};

static void put(uint8_t *bytes, size_t *at, struct plan_table *t, const void *records, size_t count,
                size_t record_bytes) {
  *t = (struct plan_table){*at, count};
  if (count) memcpy(bytes + *at, records, count * record_bytes);
  *at += (count * record_bytes + 63) / 64 * 64;
}

/* One tensor in buffer 0, the network's input and output, on which every step works in place. */
static void *plan_make(const struct parts *p, uint64_t arena_bytes, size_t *size) {
  struct plan_header h = {.endian = PLAN_ENDIAN, .major = PLAN_MAJOR, .arena_bytes = arena_bytes};
  const struct plan_tensor tensor = {.dim = {1, 1, 1, 1, 1}, .pixel_stride = 1};
  const struct plan_port ports[2] = {
      {.rank = 1, .order = {0, 1, 2, 3, 4}, .dim = {1, 1, 1, 1, 1, 1}},
      {.rank = 1, .order = {0, 1, 2, 3, 4}, .dim = {1, 1, 1, 1, 1, 1}, .is_output = 1}};
  size_t at = sizeof h, room = 4096 + p->n_buffers * sizeof *p->buffers +
                               p->n_steps * sizeof *p->steps + p->n_metas * sizeof *p->metas;
  uint8_t *bytes = aligned_alloc(64, (room + 63) / 64 * 64);
  assert_non_null(bytes);
  memset(bytes, 0, room);
  memcpy(h.magic, PLAN_MAGIC, sizeof h.magic);
  put(bytes, &at, &h.buffers, p->buffers, p->n_buffers, sizeof *p->buffers);
  put(bytes, &at, &h.tensors, &tensor, 1, sizeof tensor);
  put(bytes, &at, &h.steps, p->steps, p->n_steps, sizeof *p->steps);
  put(bytes, &at, &h.weights, NULL, 0, 1);
  put(bytes, &at, &h.ports, ports, 2, sizeof *ports);
  put(bytes, &at, &h.metas, p->metas, p->n_metas, sizeof *p->metas);
  put(bytes, &at, &h.strings, "\0", 2, 1);
  h.file_bytes = *size = at;
  memcpy(bytes, &h, sizeof h);
  h.checksum = XXH3_64bits(bytes + 32, at - 32);
  memcpy(bytes, &h, sizeof h);
  return bytes;
}

static double open_plan(const struct parts *p, uint64_t arena_bytes, enum vn_status expected) {
  struct vn_plan *plan = NULL;
  struct vn_diag diag = {""};
  size_t size;
  void *bytes = plan_make(p, arena_bytes, &size);
  const double start = cpu_seconds();
  const enum vn_status status = vn_plan_open_memory(bytes, size, &plan, &diag);
  const double seconds = cpu_seconds() - start;
  if (status != expected) fail_msg("%zu buffers: status %d, %s", p->n_buffers, status, diag.text);
  vn_plan_close(&plan);
  free(bytes);
  return seconds;
}

/* n steps and n buffers beside the tensor's: `apart` next to each other and alive all the time,
 * else one over the other, one after another; the last two at once with `clash`. */
static double buffers(size_t n, bool apart, bool clash) {
  struct parts p = {.n_buffers = n + 1, .n_steps = n};
  p.buffers = calloc(n + 1, sizeof *p.buffers);
  p.steps = calloc(n, sizeof *p.steps);
  assert_true(p.buffers && p.steps);
  p.buffers[0] = (struct plan_buffer){0, 64, 0, (uint32_t)n - 1};
  for (uint32_t i = 0; i < n; i++) {
    p.steps[i] = (struct plan_step){.op = VN_OP_ACT,
                                    .in = {0, VN_NONE},
                                    .weight = VN_NONE,
                                    .bias = VN_NONE,
                                    .act = {VN_ACT_RELU},
                                    .slope = {VN_NONE, VN_NONE}};
    p.buffers[i + 1] = apart ? (struct plan_buffer){64 * (i + 1), 64, 0, (uint32_t)n - 1}
                             : (struct plan_buffer){64, 64, i, i};
  }
  if (clash) p.buffers[n].first_step = (uint32_t)n - 2;
  const double seconds = open_plan(&p, 64 * (apart ? n + 1 : 2), clash ? VN_E_FORMAT : VN_OK);
  free(p.buffers);
  free(p.steps);
  return seconds;
}

static void test_plans(void **state) {
  (void)state;
  enum { N = PLAN_MOST_RECORDS / 2 - 1 };
  growth_check("buffers in turn", less(buffers(N, false, false), buffers(N, false, false)),
               less(buffers(2 * N, false, false), buffers(2 * N, false, false)));
  growth_check("buffers side by side", less(buffers(N, true, false), buffers(N, true, false)),
               less(buffers(2 * N, true, false), buffers(2 * N, true, false)));
  buffers(N, false, true);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_models), cmocka_unit_test(test_plans)};
  return cmocka_run_group_tests(tests, models_folder_make, models_folder_remove);
}

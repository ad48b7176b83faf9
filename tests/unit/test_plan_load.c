/* The loader takes a legal plan and refuses every illegal one that we can think of; whatever it
 * takes can be run. Byte by byte, with the checksum made right again so that nothing hides behind
 * it. Meant for AddressSanitizer, but the answers are checked in any build. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "plan_builder.h"
#include "vnet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum vn_status open_status(const void *bytes, size_t size, struct vn_diag *diag) {
  struct vn_plan *plan = NULL;
  enum vn_status status = vn_plan_open_memory(bytes, size, &plan, diag);
  assert_true((status == VN_OK) == (plan != NULL));
  vn_plan_close(&plan);
  assert_null(plan);
  return status;
}

/* Opens, and runs what opens. */
static enum vn_status run_status(const void *bytes, size_t size) {
  const struct vn_exec_options options = {
      .size = sizeof options, .threads = 1, .memory_limit_bytes = 64u << 20};
  struct vn_plan *plan = NULL;
  struct vn_exec *exec = NULL;
  struct vn_diag diag = {""};
  enum vn_status status = vn_plan_open_memory(bytes, size, &plan, &diag);
  if (!status) {
    enum vn_status run = vn_exec_open(plan, &options, &exec, &diag);
    if (!run) run = vn_exec_run_with(exec, NULL, NULL, NULL, &diag);
    assert_true(run == VN_OK || run == VN_E_MEMORY);
  }
  vn_exec_close(&exec);
  vn_plan_close(&plan);
  return status;
}

static void test_legal(void **state) {
  (void)state;
  size_t size;
  struct vn_diag diag = {""};
  void *bytes = pb_small_net(&size);
  struct vn_plan *plan = NULL;
  if (vn_plan_open_memory(bytes, size, &plan, &diag)) fail_msg("%s", diag.text);
  assert_int_equal(vn_plan_inputs(plan), 1);
  assert_int_equal(vn_plan_outputs(plan), 2);
  struct vn_port in = vn_plan_input(plan, 0), labels = vn_plan_output(plan, 1);
  assert_string_equal(in.name, "scan");
  assert_int_equal(in.elems, 2 * 6 * 8 * 10);
  assert_int_equal(labels.type, VN_TYPE_I64);
  assert_int_equal(labels.rank, 5);
  assert_int_equal(labels.dim[4], 10);
  assert_int_equal(vn_plan_output(plan, 2).rank, 0);
  assert_string_equal(vn_plan_meta(plan, "vnet.orientation"), "RAS");
  assert_null(vn_plan_meta(plan, "vnet.labels"));
  assert_string_equal(vn_plan_topology(plan), "any");
  vn_plan_close(&plan);
  vn_plan_close(&plan);
  vn_plan_close(NULL);
  /* At any alignment. */
  uint8_t *odd = malloc(size + 4);
  memcpy(odd + 1, bytes, size);
  assert_int_equal(open_status(odd + 1, size, &diag), VN_OK);
  free(odd);
  free(bytes);
}

static void test_file(void **state) {
  (void)state;
  char path[] = "vnet-plan-XXXXXX";
  size_t size;
  struct vn_plan *plan = NULL;
  struct vn_diag diag = {""};
  void *bytes = pb_small_net(&size);
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_true(write(fd, bytes, size) == (ssize_t)size);
  assert_int_equal(vn_plan_open(path, &plan, &diag), VN_OK);
  vn_plan_close(&plan);
  assert_int_equal(ftruncate(fd, (off_t)size - 64), 0);
  assert_int_equal(vn_plan_open(path, &plan, &diag), VN_E_FORMAT);
  assert_null(plan);
  assert_non_null(strstr(diag.text, path));
  assert_int_equal(ftruncate(fd, 0), 0);
  assert_int_equal(vn_plan_open(path, &plan, NULL), VN_E_FORMAT);
  close(fd);
  unlink(path);
  assert_int_equal(vn_plan_open(path, &plan, &diag), VN_E_IO);
  assert_int_equal(vn_plan_open("/", &plan, &diag), VN_E_IO);
  assert_int_equal(vn_plan_open("/dev/zero", &plan, &diag), VN_E_IO);
  assert_int_equal(mkfifo(path, 0600), 0); /* which nobody writes to */
  alarm(10);
  assert_int_equal(vn_plan_open(path, &plan, &diag), VN_E_IO);
  alarm(0);
  assert_non_null(strstr(diag.text, "not a regular file"));
  unlink(path);
  free(bytes);
}

static void test_truncated(void **state) {
  (void)state;
  size_t size;
  void *bytes = pb_small_net(&size);
  for (size_t n = 0; n < size; n += n < 8192 ? 37 : 4099) {
    void *part = aligned_alloc(64, (n + 64) / 64 * 64);
    assert_non_null(part);
    memcpy(part, bytes, n);
    assert_int_equal(open_status(part, n, NULL), VN_E_FORMAT);
    if (n >= sizeof(struct plan_header)) pb_seal(part, n);
    assert_int_not_equal(open_status(part, n, NULL), VN_OK);
    free(part);
  }
  free(bytes);
}

/* Without a repaired checksum every flipped bit is refused; `minor` and nothing else is free. */
static void test_flips_refused(void **state) {
  (void)state;
  size_t size;
  uint8_t *bytes = pb_small_net(&size);
  struct vn_diag diag;
  for (size_t i = 0; i < size; i += i < 6000 ? 1 : 997) {
    bool minor = i == offsetof(struct plan_header, minor) || i == 15;
    bytes[i] ^= (uint8_t)(1u << i % 8);
    diag.text[0] = 0;
    enum vn_status status = open_status(bytes, size, &diag);
    if (!minor && (status == VN_OK || !diag.text[0])) fail_msg("byte %zu is not guarded", i);
    bytes[i] ^= (uint8_t)(1u << i % 8);
  }
  assert_int_equal(open_status(bytes, size, &diag), VN_OK);
  free(bytes);
}

/* A norm with an activation, one of groups with a residual, functions of one and of two, and a
 * table along w: the steps that pb_small_net lacks, in this order. */
static void *functions_net(size_t *size) {
  static const float pairs[] = {0, .5f, 1, .5f, 3, 1, -1, 2};
  const size_t dim[VN_AXES] = {1, 4, 2, 3, 4}, half[VN_AXES] = {1, 4, 2, 3, 2};
  struct plan_builder b;
  uint32_t t[6];
  pb_start(&b);
  for (uint32_t i = 0; i < 6; i++)
    t[i] = pb_tensor(&b, i == 5 ? half : dim, i ? i - 1 : 0, i ? (i == 5 ? 4 : i) : 3);
  struct plan_step *s = pb_step(&b, VN_OP_INSTNORM, t[0], t[1]);
  s->act[0] = VN_ACT_RELU;
  s = pb_step(&b, VN_OP_GROUPNORM, t[1], t[2]);
  s->u.norm.span = 2;
  s->in[1] = t[0];
  s->act[1] = VN_ACT_PRELU;
  s->slope[1] = pb_vector(&b, 4, 1);
  for (uint32_t i = 0; i < 2; i++) {
    b.steps[i].weight = pb_vector(&b, 4, 1);
    b.steps[i].bias = pb_vector(&b, 4, 1);
    b.steps[i].epsilon = 1e-3f;
  }
  s = pb_step(&b, VN_OP_MAP, t[2], t[3]);
  s->u.function.kind = VN_MAP_CELU;
  s->u.function.a = 1;
  s = pb_step(&b, VN_OP_BINARY, t[3], t[4]);
  s->in[1] = t[0];
  s = pb_step(&b, VN_OP_SAMPLE, t[4], t[5]);
  for (uint32_t a = 0; a < VN_AXES; a++) s->u.sample.table[a] = VN_NONE;
  s->u.sample.table[VN_W] = pb_weight(&b, (const size_t[]){2, 2, 2, 1, 1}, 1);
  b.weights[s->u.sample.table[VN_W]].rank = 3;
  memcpy(b.weight_data[s->u.sample.table[VN_W]], pairs, sizeof pairs);
  pb_port(&b, "in", t[0], 0);
  pb_port(&b, "out", t[5], 1);
  return pb_finish(&b, size);
}

typedef void *net_fn(size_t *size);

/* With a right checksum: refused, or it runs. */
static void flips_harmless(net_fn *net) {
  size_t size;
  uint8_t *bytes = net(&size);
  struct plan_header h;
  memcpy(&h, bytes, sizeof h);
  size_t records_end = h.strings.offset + h.strings.count, refused = 0, taken = 0;
  static const uint8_t masks[] = {0x01, 0x80, 0xff};
  for (size_t i = 32; i < records_end; i++)
    for (size_t m = 0; m < sizeof masks; m++) {
      bytes[i] ^= masks[m];
      pb_seal(bytes, size);
      if (run_status(bytes, size))
        refused++;
      else
        taken++;
      bytes[i] ^= masks[m];
    }
  print_message("          %zu refused, %zu harmless\n", refused, taken);
  assert_true(refused > taken);
  free(bytes);
}

static void test_flips_harmless(void **state) {
  (void)state;
  flips_harmless(pb_small_net);
  flips_harmless(functions_net);
}

/* ---- one rule broken at a time ---- */

typedef void breaker(struct plan_header *h, struct plan_buffer *b, struct plan_tensor *t,
                     struct plan_step *s);
#define BREAK(name, line)                                                                          \
  static void name(struct plan_header *h, struct plan_buffer *b, struct plan_tensor *t,            \
                   struct plan_step *s) {                                                          \
    (void)h, (void)b, (void)t, (void)s;                                                            \
    line;                                                                                          \
  }
BREAK(arena_too_large, h->arena_bytes += 64)
BREAK(output_dies_early, b[6].last_step = 6)
BREAK(weight_beyond_file,
      ((struct plan_weight *)((uint8_t *)h + h->weights.offset))[h->weights.count - 1].offset += 64)
BREAK(weight_over_table,
      ((struct plan_weight *)((uint8_t *)h + h->weights.offset))[h->weights.count - 1].offset =
          h->steps.offset / 64 * 64)
BREAK(weight_over_strings,
      ((struct plan_weight *)((uint8_t *)h + h->weights.offset))[h->weights.count - 1].offset =
          h->strings.offset / 64 * 64)
BREAK(weight_over_weight,
      ((struct plan_weight *)((uint8_t *)h + h->weights.offset))[h->weights.count - 1].offset =
          ((struct plan_weight *)((uint8_t *)h + h->weights.offset))[0].offset)
BREAK(arena_absurd, h->arena_bytes = b[0].bytes = (uint64_t)1 << 62)
BREAK(no_tensors, h->tensors.count = 0)
BREAK(too_many_tensors, h->tensors.count = (uint64_t)1 << 61)
BREAK(table_wraps, h->steps.offset = UINT64_MAX - 7)
BREAK(strings_open, h->strings.count -= 1)
BREAK(buffers_clash, b[2].offset = b[3].offset)
BREAK(buffer_too_late, b[0].last_step = 100)
BREAK(tensor_outside, t[0].offset += 4)
BREAK(tensor_before_buffer, t[2].offset -= 64)
BREAK(tensor_dim_zero, t[0].dim[VN_N] = 0)
BREAK(tensor_dim_wraps, t[0].dim[VN_D] = t[0].dim[VN_H] = INT32_MAX)
BREAK(tensor_stride_small, t[1].pixel_stride = 7)
BREAK(step_input_op, s[0].op = VN_OP_INPUT)
BREAK(step_leaky, s[2].act[1] = VN_ACT_LEAKY)
BREAK(step_slope_absent, s[0].slope[0] = VN_NONE)
BREAK(step_slope_long, s[0].slope[0] = s[2].bias)
BREAK(step_bias_wrong, s[0].bias = s[2].bias)
BREAK(step_weight_wrong, s[0].weight = s[2].weight)
BREAK(step_algo_unfit, s[6].algo = VN_ALGO_WINOGRAD)
BREAK(step_no_tile, s[0].algo = VN_ALGO_WINOGRAD)
BREAK(step_overwrites_input, s[2].out = s[2].in[0])
BREAK(step_overlaps_slice, s[3].out = s[1].in[0]; s[1].out = s[0].out)
BREAK(step_uses_dead, s[7].in[0] = s[0].in[0])
BREAK(step_kernel, s[0].u.conv.kernel[1] = 2)
BREAK(step_kernel_wraps, s[0].u.conv.kernel[0] = s[0].u.conv.dilation[0] = UINT32_MAX)
BREAK(step_groups, s[0].u.conv.groups = 3)
BREAK(step_stride_zero, s[1].u.conv.stride[0] = 0)
BREAK(step_axis, s[6].u.axis.axis = 5)
BREAK(step_reserved, s[6].u.word[9] = 1)
BREAK(step_residual_type, s[4].in[1] = s[7].out)
BREAK(step_residual_shape, s[4].in[1] = s[1].out)
#define END(i) (((struct plan_end *)((uint8_t *)h + h->ends.offset))[i])
BREAK(end_threshold_far, END(0).first_threshold = 1)
BREAK(end_threshold_many, END(0).n_thresholds = UINT32_MAX)
BREAK(end_reserved, END(1).reserved = 1)
BREAK(ends_few, h->ends.count = 1)
BREAK(ends_outside, h->ends.offset = UINT64_MAX - 7)
BREAK(thresholds_outside, h->thresholds.count = 1; h->thresholds.offset = h->file_bytes)
BREAK(step_elu_nan, s[1].alpha[0] = 0.f / 0.f)

#define TABLE                                                                                      \
  ((float *)((uint8_t *)h +                                                                        \
             ((struct plan_weight *)((uint8_t *)h + h->weights.offset))[h->weights.count - 1]      \
                 .offset))
BREAK(norm_span, s[0].u.norm.span = 2)
BREAK(norm_epsilon, s[0].epsilon = -1)
BREAK(norm_act, s[0].act[0] = VN_ACT_COUNT)
BREAK(norm_residual_shape, s[0].in[1] = s[4].out)
BREAK(norm_no_scale, s[0].weight = VN_NONE)
BREAK(group_none, s[1].u.norm.span = 0)
BREAK(group_uneven, s[1].u.norm.span = 3)
BREAK(group_large, s[1].u.norm.span = 8)
BREAK(group_reserved, s[1].u.norm.reserved[0] = 1)
BREAK(group_residual_far, s[1].in[1] = 6)
BREAK(group_slope_absent, s[1].slope[1] = VN_NONE)
BREAK(map_kind, s[2].u.function.kind = VN_MAP_COUNT)
BREAK(map_nan, s[2].u.function.b = NAN)
BREAK(map_celu_zero, s[2].u.function.a = 0)
BREAK(map_second, s[2].in[1] = s[2].in[0])
BREAK(map_reserved, s[2].u.word[3] = 1)
BREAK(map_shape, s[2].out = s[4].out)
BREAK(binary_kind, s[3].u.function.kind = VN_BINARY_COUNT)
BREAK(binary_alone, s[3].in[1] = VN_NONE)
BREAK(binary_number, s[3].u.function.a = 1)
BREAK(binary_second_shape, t[0].dim[VN_H] = 2)
BREAK(binary_overwrites_second, s[3].out = s[3].in[1])
BREAK(sample_no_table, s[4].u.sample.table[VN_W] = VN_NONE; s[4].out = s[0].out)
BREAK(sample_table_far, s[4].u.sample.table[VN_W] = (uint32_t)h->weights.count)
BREAK(sample_table_rank, s[4].u.sample.table[VN_W] = s[0].weight)
BREAK(sample_table_two, s[4].u.sample.table[VN_H] = s[4].u.sample.table[VN_W])
BREAK(sample_index_far, TABLE[0] = 4)
BREAK(sample_index_negative, TABLE[0] = -2)
BREAK(sample_index_half, TABLE[0] = 0.5f)
BREAK(sample_index_nan, TABLE[0] = NAN)
BREAK(sample_weight_infinite, TABLE[1] = INFINITY)
BREAK(sample_largest, s[4].u.sample.largest = 2)
BREAK(sample_fill_nan, s[4].u.sample.fill = NAN)
BREAK(sample_reserved, s[4].u.sample.reserved[0] = 1)
BREAK(sample_in_place, s[4].out = s[4].in[0])

struct rule {
  const char *name;
  breaker *fn;
};
#define ROW(name)                                                                                  \
  { #name, name }

static void rules_break(net_fn *net, const struct rule *row, size_t n) {
  for (size_t i = 0; i < n; i++) {
    size_t size;
    uint8_t *bytes = net(&size);
    struct plan_header *h = (void *)bytes;
    struct vn_diag diag = {""};
    assert_int_equal(run_status(bytes, size), VN_OK);
    row[i].fn(h, (void *)(bytes + h->buffers.offset), (void *)(bytes + h->tensors.offset),
              (void *)(bytes + h->steps.offset));
    pb_seal(bytes, size);
    if (open_status(bytes, size, &diag) != VN_E_FORMAT || !diag.text[0])
      fail_msg("%s was not refused", row[i].name);
    free(bytes);
  }
}

static void test_function_rules(void **state) {
  (void)state;
  static const struct rule row[] = {
      ROW(norm_span),
      ROW(norm_epsilon),
      ROW(norm_act),
      ROW(norm_residual_shape),
      ROW(norm_no_scale),
      ROW(group_none),
      ROW(group_uneven),
      ROW(group_large),
      ROW(group_reserved),
      ROW(group_residual_far),
      ROW(group_slope_absent),
      ROW(map_kind),
      ROW(map_nan),
      ROW(map_celu_zero),
      ROW(map_second),
      ROW(map_reserved),
      ROW(map_shape),
      ROW(binary_kind),
      ROW(binary_alone),
      ROW(binary_number),
      ROW(binary_second_shape),
      ROW(binary_overwrites_second),
      ROW(sample_no_table),
      ROW(sample_table_far),
      ROW(sample_table_rank),
      ROW(sample_table_two),
      ROW(sample_index_far),
      ROW(sample_index_negative),
      ROW(sample_index_half),
      ROW(sample_index_nan),
      ROW(sample_weight_infinite),
      ROW(sample_largest),
      ROW(sample_fill_nan),
      ROW(sample_reserved),
      ROW(sample_in_place),
  };
  rules_break(functions_net, row, sizeof row / sizeof *row);
}

static void test_rules(void **state) {
  (void)state;
  static const struct rule row[] = {
      ROW(output_dies_early),     ROW(weight_beyond_file),
      ROW(weight_over_table),     ROW(weight_over_weight),
      ROW(weight_over_strings),   ROW(arena_too_large),
      ROW(arena_absurd),          ROW(no_tensors),
      ROW(too_many_tensors),      ROW(table_wraps),
      ROW(strings_open),          ROW(buffers_clash),
      ROW(buffer_too_late),       ROW(tensor_outside),
      ROW(tensor_dim_zero),       ROW(tensor_before_buffer),
      ROW(tensor_dim_wraps),      ROW(tensor_stride_small),
      ROW(step_input_op),         ROW(step_leaky),
      ROW(step_slope_absent),     ROW(step_slope_long),
      ROW(step_bias_wrong),       ROW(step_weight_wrong),
      ROW(step_algo_unfit),       ROW(step_no_tile),
      ROW(step_overwrites_input), ROW(step_overlaps_slice),
      ROW(step_uses_dead),        ROW(step_kernel),
      ROW(step_kernel_wraps),     ROW(step_groups),
      ROW(step_stride_zero),      ROW(step_axis),
      ROW(step_reserved),         ROW(step_residual_type),
      ROW(step_residual_shape),   ROW(step_elu_nan),
      ROW(end_threshold_far),     ROW(end_threshold_many),
      ROW(end_reserved),          ROW(ends_few),
      ROW(ends_outside),          ROW(thresholds_outside),
  };
  rules_break(pb_small_net, row, sizeof row / sizeof *row);
}

/* Nobody steps from pixel to pixel of one, and yet kernels multiply by the stride. */
static void test_one_pixel(void **state) {
  (void)state;
  static const uint64_t strides[] = {3, 4, 5, UINT64_MAX / 4, UINT64_MAX};
  for (size_t i = 0; i < sizeof strides / sizeof *strides; i++) {
    struct plan_builder b;
    size_t size;
    pb_start(&b);
    const uint32_t buffer = pb_buffer(&b, 4, 0, 0);
    const uint32_t x = pb_slice(&b, buffer, (const size_t[]){1, 3, 1, 1, 1}, 0, strides[i]);
    pb_step(&b, VN_OP_ACT, x, x)->act[0] = VN_ACT_RELU;
    pb_port(&b, "x", x, 0);
    pb_port(&b, "y", x, 1);
    void *bytes = pb_finish(&b, &size);
    assert_int_equal(run_status(bytes, size), strides[i] > 4 ? VN_E_FORMAT : VN_OK);
    free(bytes);
  }
}

/* A residual of 4 channels, `shift` elements from where the output of 4 begins, both `stride` from
 * pixel to pixel in one buffer: refused, unless both lie in the same place or side by side. */
static void test_residual_overlaps(void **state) {
  (void)state;
  static const struct {
    size_t shift, stride;
    bool legal;
  } cases[] = {{0, 4, true},  {1, 4, false}, {4, 4, false}, {64, 4, false}, {0, 8, true},
               {4, 8, true},  {2, 8, false}, {6, 8, false}, {12, 8, true},  {13, 8, false},
               {4, 7, false}, {4, 9, true},  {5, 9, true},  {6, 9, false}};
  const size_t in[VN_AXES] = {1, 2, 2, 3, 4}, out[VN_AXES] = {1, 4, 2, 3, 4};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct plan_builder b;
    struct vn_diag diag = {""};
    size_t size;
    pb_start(&b);
    const uint32_t x = pb_tensor(&b, in, 0, 1), both = pb_buffer(&b, 1024, 0, 1);
    const uint32_t r = pb_slice(&b, both, out, cases[i].shift, cases[i].stride);
    const uint32_t y = pb_slice(&b, both, out, 0, cases[i].stride);
    pb_conv(&b, VN_OP_CONV3D, x, r, 1, 1, 0, 1);
    pb_conv(&b, VN_OP_CONV3D, x, y, 1, 1, 0, 1)->in[1] = r;
    pb_port(&b, "in", x, 0);
    pb_port(&b, "out", y, 1);
    void *bytes = pb_finish(&b, &size);
    if (open_status(bytes, size, &diag) != (cases[i].legal ? VN_OK : VN_E_FORMAT))
      fail_msg("case %zu: %s", i, diag.text);
    free(bytes);
  }
}

/* ---- what outputs mean ---- */

/* x of three channels is the output, too. */
static void *regions_build(uint32_t ends, uint32_t meaning, uint32_t channels, float threshold,
                           size_t *size) {
  struct plan_builder b;
  pb_start(&b);
  const uint32_t x = pb_tensor(&b, (const size_t[]){1, 3, 2, 2, 2}, 0, 0);
  pb_step(&b, VN_OP_ACT, x, x)->act[0] = VN_ACT_SIGMOID;
  pb_port(&b, "x", x, 0);
  pb_port(&b, "y", x, 1);
  while (ends--) pb_end(&b, meaning, channels, threshold);
  return pb_finish(&b, size);
}

static void test_ends(void **state) {
  (void)state;
  static const struct {
    uint32_t ends, meaning, channels;
    float threshold;
    enum vn_status status;
  } row[] = {
      {0, 0, 0, 0, VN_OK},
      {1, VN_END_UNSAID, 0, 0, VN_OK},
      {1, VN_END_FOREGROUND, 0, 0, VN_OK},
      {1, VN_END_REGIONS, 3, 0.25f, VN_OK},
      {1, VN_END_REGIONS, 2, 0.5f, VN_E_FORMAT},
      {1, VN_END_REGIONS, 4, 0.5f, VN_E_FORMAT},
      {1, VN_END_REGIONS, 3, INFINITY, VN_E_FORMAT},
      {2, VN_END_SCORES, 0, 0, VN_E_FORMAT},
      {1, VN_END_COUNT, 0, 0, VN_E_UNSUPPORTED},
  };
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    size_t size;
    struct vn_plan *plan = NULL;
    struct vn_diag diag = {""};
    void *bytes =
        regions_build(row[i].ends, row[i].meaning, row[i].channels, row[i].threshold, &size);
    if (vn_plan_open_memory(bytes, size, &plan, &diag) != row[i].status)
      fail_msg("case %zu: '%s'", i, diag.text);
    if (plan) {
      const bool regions = row[i].meaning == VN_END_REGIONS;
      assert_int_equal(vn_plan_meaning(plan, 0), row[i].meaning);
      assert_int_equal(vn_plan_meaning(plan, 1), VN_MEANS_UNSAID);
      assert_true(vn_plan_threshold(plan, 0, 2) == 0.5f); /* 0.25 + 2 / 8, or the default */
      assert_true(vn_plan_threshold(plan, 0, 0) == (regions ? 0.25f : 0.5f));
      assert_true(vn_plan_threshold(plan, 0, 3) == 0.5f);
    }
    vn_plan_close(&plan);
    free(bytes);
  }
}

static void test_versions(void **state) {
  (void)state;
  size_t size;
  uint8_t *bytes = pb_small_net(&size);
  struct plan_header *h = (void *)bytes;
  h->major = PLAN_MAJOR + 1;
  pb_seal(bytes, size);
  assert_int_equal(open_status(bytes, size, NULL), VN_E_UNSUPPORTED);
  h->major = PLAN_MAJOR;
  h->endian = 0x04030201;
  assert_int_equal(open_status(bytes, size, NULL), VN_E_UNSUPPORTED);
  h->endian = PLAN_ENDIAN;
  h->reserved[5] = 1; /* means something to a later minor version, nothing to this one */
  pb_seal(bytes, size);
  assert_int_equal(open_status(bytes, size, NULL), VN_E_FORMAT);
  h->minor = PLAN_MINOR + 1;
  pb_seal(bytes, size);
  assert_int_equal(open_status(bytes, size, NULL), VN_OK);
  free(bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_legal),          cmocka_unit_test(test_file),
      cmocka_unit_test(test_truncated),      cmocka_unit_test(test_flips_refused),
      cmocka_unit_test(test_flips_harmless), cmocka_unit_test(test_rules),
      cmocka_unit_test(test_function_rules), cmocka_unit_test(test_residual_overlaps),
      cmocka_unit_test(test_ends),           cmocka_unit_test(test_versions),
      cmocka_unit_test(test_one_pixel),
  };
  return cmocka_run_group_tests_name("plan_load", tests, NULL, NULL);
}

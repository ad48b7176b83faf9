/* Every op but the convolutions in plain C: what is simple here, norms, functions and samples in
 * files of their own. The fallback for what simd/ does not take, the whole of `--isa ref`, and the
 * second opinion in tests. Sums are held in double. */
#include "ref.h"

#include <stdlib.h>
#include <string.h>

/* ---- pixel by pixel: a job is one row of the output along w ---- */

static void act_run(const void *state, size_t job, void *scratch) {
  const struct vn_simple *s = state;
  (void)scratch;
  size_t channels = s->out.dim[VN_C];
  struct vn_row row = vn_row_of(&s->out, job);
  for (size_t w = 0; w < s->out.dim[VN_W]; w++) {
    float *y = (float *)s->out.data + (job * s->out.dim[VN_W] + w) * s->out.stride;
    const float *x = vn_pixel_of(&s->in[0], row, w);
    if (x != y) memcpy(y, x, channels * sizeof *y);
    vn_act_row(s->epilogue.act[0].kind, s->epilogue.act[0].slope, s->epilogue.act[0].alpha, y,
               channels);
  }
}

static void affine_run(const void *state, size_t job, void *scratch) {
  const struct vn_simple *s = state;
  (void)scratch;
  struct vn_row row = vn_row_of(&s->out, job);
  for (size_t w = 0; w < s->out.dim[VN_W]; w++) {
    float *y = (float *)s->out.data + (job * s->out.dim[VN_W] + w) * s->out.stride;
    const float *x = vn_pixel_of(&s->in[0], row, w);
    for (size_t c = 0; c < s->out.dim[VN_C]; c++) y[c] = x[c] * s->scale[c] + s->shift[c];
  }
}

static void add_run(const void *state, size_t job, void *scratch) {
  const struct vn_simple *s = state;
  (void)scratch;
  size_t channels = s->out.dim[VN_C], wrap = s->in[1].dim[VN_C];
  struct vn_row row = vn_row_of(&s->out, job);
  for (size_t w = 0; w < s->out.dim[VN_W]; w++) {
    float *y = (float *)s->out.data + (job * s->out.dim[VN_W] + w) * s->out.stride;
    const float *a = vn_pixel_of(&s->in[0], row, w), *b = vn_pixel_of(&s->in[1], row, w);
    for (size_t c = 0; c < channels; c++) y[c] = a[c] + b[c % wrap];
    vn_act_row(s->epilogue.act[1].kind, s->epilogue.act[1].slope, s->epilogue.act[1].alpha, y,
               channels);
  }
}

static void prelu_run(const void *state, size_t job, void *scratch) {
  const struct vn_simple *s = state;
  (void)scratch;
  size_t wrap = s->in[1].dim[VN_C];
  struct vn_row row = vn_row_of(&s->out, job);
  for (size_t w = 0; w < s->out.dim[VN_W]; w++) {
    float *y = (float *)s->out.data + (job * s->out.dim[VN_W] + w) * s->out.stride;
    const float *x = vn_pixel_of(&s->in[0], row, w), *slope = vn_pixel_of(&s->in[1], row, w);
    for (size_t c = 0; c < s->out.dim[VN_C]; c++) y[c] = x[c] > 0.f ? x[c] : slope[c % wrap] * x[c];
  }
}

static int32_t to_i32(float x) {
  if (!(x == x)) return 0;
  if (x <= -2147483648.f) return INT32_MIN;
  return x >= 2147483648.f ? INT32_MAX : (int32_t)x;
}

static void cast_run(const void *state, size_t job, void *scratch) {
  const struct vn_simple *s = state;
  (void)scratch;
  for (size_t w = 0; w < s->out.dim[VN_W]; w++) {
    size_t pixel = job * s->out.dim[VN_W] + w;
    if (s->to_i32) {
      const float *x = (const float *)s->in[0].data + pixel * s->in[0].stride;
      int32_t *y = (int32_t *)s->out.data + pixel * s->out.stride;
      for (size_t c = 0; c < s->out.dim[VN_C]; c++) y[c] = to_i32(x[c]);
    } else {
      const int32_t *x = (const int32_t *)s->in[0].data + pixel * s->in[0].stride;
      float *y = (float *)s->out.data + pixel * s->out.stride;
      for (size_t c = 0; c < s->out.dim[VN_C]; c++) y[c] = (float)x[c];
    }
  }
}

/* A job is one row of the extent. Elements move as words, so that any type and any NaN survives. */
static void copy_run(const void *state, size_t job, void *scratch) {
  const struct vn_simple *s = state;
  (void)scratch;
  size_t in_stride[VN_AXES], out_stride[VN_AXES];
  vn_tensor_strides(&s->in[0], in_stride);
  vn_tensor_strides(&s->out, out_stride);
  size_t nd = job / s->copy.extent[VN_H];
  const size_t e[VN_AXES] = {[VN_N] = nd / s->copy.extent[VN_D],
                             [VN_D] = nd % s->copy.extent[VN_D],
                             [VN_H] = job % s->copy.extent[VN_H]};
  size_t from = 0, to = 0;
  for (int a = 0; a < VN_AXES; a++) {
    size_t in_axis = s->copy.in_axis[a];
    to += (s->copy.out_start[a] + e[a]) * out_stride[a];
    if (a == VN_C || a == VN_W) continue;
    from += (s->copy.in_start[a] + e[a]) % s->in[0].dim[in_axis] * in_stride[in_axis];
  }
  size_t axis_w = s->copy.in_axis[VN_W], axis_c = s->copy.in_axis[VN_C];
  for (size_t w = 0; w < s->copy.extent[VN_W]; w++) {
    size_t row = from + (s->copy.in_start[VN_W] + w) % s->in[0].dim[axis_w] * in_stride[axis_w];
    uint32_t *y = (uint32_t *)s->out.data + to + w * out_stride[VN_W];
    for (size_t c = 0; c < s->copy.extent[VN_C]; c++)
      y[c] = ((const uint32_t *)s->in[0].data)[row + (s->copy.in_start[VN_C] + c) %
                                                         s->in[0].dim[axis_c] * in_stride[axis_c]];
  }
}

/* ---- along axes: a job is one row of the tensor with those axes collapsed ---- */

struct line {
  const float *x;
  void *y;                                                      /* float, or int32_t for ARGMAX */
  size_t n, dim[VN_AXES], x_stride[VN_AXES], y_stride[VN_AXES]; /* dim: 1 but for those axes */
};

/* Where the line's element i lies. */
static size_t line_at(const struct line *l, const size_t stride[VN_AXES], size_t i) {
  size_t at = 0;
  for (size_t a = VN_AXES; a-- > 0;) {
    if (l->dim[a] == 1) continue;
    at += i % l->dim[a] * stride[a];
    i /= l->dim[a];
  }
  return at;
}

static void softmax_line(const struct line *l, bool logarithm) {
  float *y = l->y, top = l->x[0];
  double sum = 0;
  for (size_t i = 1; i < l->n; i++) top = fmaxf(top, l->x[line_at(l, l->x_stride, i)]);
  for (size_t i = 0; i < l->n; i++)
    sum += vn_exp((double)l->x[line_at(l, l->x_stride, i)] - (double)top);
  double log_sum = vn_log(sum);
  for (size_t i = 0; i < l->n; i++) {
    double x = (double)l->x[line_at(l, l->x_stride, i)] - (double)top;
    y[line_at(l, l->y_stride, i)] = (float)(logarithm ? x - log_sum : vn_exp(x) / sum);
  }
}

static void argmax_line(const struct line *l, bool select_last) {
  size_t best = 0;
  for (size_t i = 1; i < l->n; i++) {
    float x = l->x[line_at(l, l->x_stride, i)], y = l->x[line_at(l, l->x_stride, best)];
    if (x > y || (select_last && x == y)) best = i;
  }
  *(int32_t *)l->y = (int32_t)best;
}

static bool goes_along(const struct vn_simple *s, size_t axis) {
  return axis == s->axis || (s->more_axes >> axis & 1);
}

static void axis_run(const void *state, size_t job, void *scratch) {
  const struct vn_simple *s = state;
  (void)scratch;
  struct line l = {.n = 1};
  size_t dim[VN_AXES];
  vn_tensor_strides(&s->in[0], l.x_stride);
  vn_tensor_strides(&s->out, l.y_stride);
  for (size_t a = 0; a < VN_AXES; a++) {
    l.dim[a] = goes_along(s, a) ? s->in[0].dim[a] : 1;
    l.n *= l.dim[a];
    dim[a] = s->in[0].dim[a] / l.dim[a];
  }
  size_t h = job % dim[VN_H], nd = job / dim[VN_H], d = nd % dim[VN_D], n = nd / dim[VN_D];
  const float *x = (const float *)s->in[0].data + n * l.x_stride[VN_N] + d * l.x_stride[VN_D] +
                   h * l.x_stride[VN_H];
  float *y =
      (float *)s->out.data + n * l.y_stride[VN_N] + d * l.y_stride[VN_D] + h * l.y_stride[VN_H];
  for (size_t w = 0; w < dim[VN_W]; w++)
    for (size_t c = 0; c < dim[VN_C]; c++) {
      l.x = x + w * l.x_stride[VN_W] + c;
      l.y = y + w * l.y_stride[VN_W] + c;
      if (s->op == VN_OP_ARGMAX)
        argmax_line(&l, s->select_last);
      else
        softmax_line(&l, s->op == VN_OP_LOGSOFTMAX);
    }
}

/* ---- a constant: a job is one n, d and h ---- */

static void const_run(const void *state, size_t job, void *scratch) {
  const struct vn_simple *s = state;
  size_t w = s->out.dim[VN_W], c = s->out.dim[VN_C];
  (void)scratch;
  for (size_t pixel = job * w; pixel < (job + 1) * w; pixel++)
    memcpy((float *)s->out.data + pixel * s->out.stride, s->scale + pixel * c, c * sizeof(float));
}

enum vn_status vn_simple_ref(const struct vn_simple *simple, struct vn_prepared *prepared,
                             struct vn_diag *diag) {
  static void (*const runs[VN_OP_COUNT])(const void *, size_t, void *) = {
      [VN_OP_ACT] = act_run,          [VN_OP_AFFINE] = affine_run,
      [VN_OP_INSTNORM] = vn_norm_run, [VN_OP_ADD] = add_run,
      [VN_OP_PRELU] = prelu_run,      [VN_OP_SOFTMAX] = axis_run,
      [VN_OP_LOGSOFTMAX] = axis_run,  [VN_OP_ARGMAX] = axis_run,
      [VN_OP_COPY] = copy_run,        [VN_OP_CAST] = cast_run,
      [VN_OP_CONST] = const_run,      [VN_OP_MAP] = vn_map_run,
      [VN_OP_BINARY] = vn_binary_run, [VN_OP_SAMPLE] = vn_sample_run,
  };
  const size_t *out = simple->out.dim;
  size_t jobs = out[VN_N] * out[VN_D] * out[VN_H];
  if (!runs[simple->op])
    return vn_fail(diag, VN_E_INTERNAL, "no kernel for %s", vn_op_text(simple->op));
  if (simple->op == VN_OP_INSTNORM) jobs = out[VN_N] * out[VN_C] / simple->span;
  if (simple->op == VN_OP_COPY)
    jobs = simple->copy.extent[VN_N] * simple->copy.extent[VN_D] * simple->copy.extent[VN_H];
  if (simple->op == VN_OP_SOFTMAX || simple->op == VN_OP_LOGSOFTMAX)
    for (size_t a = 0; a < VN_AXES; a++)
      if (a != VN_C && a != VN_W && goes_along(simple, a)) jobs /= out[a];
  struct vn_simple *state = malloc(sizeof *state);
  if (!state) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  *state = *simple;
  *prepared = (struct vn_prepared){
      .name = "ref",
      .jobs = jobs,
      .scratch_bytes = simple->op == VN_OP_INSTNORM ? (4 * simple->span + 63) / 64 * 64 : 0,
      .state_bytes = sizeof *state,
      .run = runs[simple->op],
      .close = free,
      .state = state,
  };
  return VN_OK;
}

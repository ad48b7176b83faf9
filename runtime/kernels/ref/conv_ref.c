/* Convolution and transposed convolution in plain C: any kernel, stride, padding, dilation, groups.
 *
 * Both gather: an output sums over its taps, and the two differ only in which input index a tap
 * reads. Sums are held in double, in eight partial sums by channel, and rounded once. The fallback
 * for what no other kernel takes, the whole of `--isa ref`, and the second opinion in tests. */
#include "ref.h"

#include <stdlib.h>
#include <string.h>

struct state {
  struct vn_conv conv;
  bool transposed;
};

/* The input index that output index p reads through tap k; false: it lies outside. */
static bool tap_input(const struct state *s, int axis, size_t p, size_t k, size_t *q) {
  const struct vn_conv *c = &s->conv;
  size_t in = c->in.dim[VN_D + axis], stride = c->stride[axis], reach = k * c->dilation[axis];
  size_t at = (s->transposed ? p : p * stride + reach);
  size_t back = (s->transposed ? reach : c->pad[axis]);
  if (s->transposed) at += c->pad[axis];
  if (at < back) return false;
  at -= back;
  if (s->transposed) {
    if (at % stride) return false;
    at /= stride;
  }
  *q = at;
  return at < in;
}

static double dot(const float *a, const float *b, size_t n) {
  double part[8] = {0};
  size_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (size_t j = 0; j < 8; j++) part[j] += (double)a[i + j] * (double)b[i + j];
  for (; i < n; i++) part[i % 8] += (double)a[i] * (double)b[i];
  return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
}

/* Output channel o at (n, p); `weight` is that channel's. */
static double output_sum(const struct state *s, size_t n, const size_t p[3], size_t o) {
  const struct vn_conv *c = &s->conv;
  size_t channels = c->in.dim[VN_C] / c->groups, group = o / (c->out.dim[VN_C] / c->groups);
  size_t stride[VN_AXES], q[3];
  vn_tensor_strides(&c->in, stride);
  const float *x = (const float *)c->in.data + n * stride[VN_N] + group * channels;
  const float *w = c->weight + o * c->kernel[0] * c->kernel[1] * c->kernel[2] * channels;
  double sum = c->epilogue.bias ? (double)c->epilogue.bias[o] : 0.;
  for (size_t kd = 0; kd < c->kernel[0]; kd++) {
    if (!tap_input(s, 0, p[0], kd, &q[0])) continue;
    for (size_t kh = 0; kh < c->kernel[1]; kh++) {
      if (!tap_input(s, 1, p[1], kh, &q[1])) continue;
      for (size_t kw = 0; kw < c->kernel[2]; kw++) {
        if (!tap_input(s, 2, p[2], kw, &q[2])) continue;
        sum += dot(w + ((kd * c->kernel[1] + kh) * c->kernel[2] + kw) * channels,
                   x + q[0] * stride[VN_D] + q[1] * stride[VN_H] + q[2] * stride[VN_W], channels);
      }
    }
  }
  return sum;
}

/* A job is one row of the output along w. A pixel's channels wait in scratch until all are summed,
 * because the residual may be the output itself. */
static void run(const void *state, size_t job, void *scratch) {
  const struct state *s = state;
  const struct vn_tensor *out = &s->conv.out;
  size_t width = out->dim[VN_W], channels = out->dim[VN_C];
  size_t h = job % out->dim[VN_H], nd = job / out->dim[VN_H];
  float *row = scratch;
  for (size_t w = 0; w < width; w++) {
    size_t pixel = job * width + w;
    const size_t p[3] = {nd % out->dim[VN_D], h, w};
    for (size_t o = 0; o < channels; o++) row[o] = (float)output_sum(s, nd / out->dim[VN_D], p, o);
    vn_epilogue_pixel(&s->conv.epilogue, row, channels, pixel);
    memcpy((float *)out->data + pixel * out->stride, row, channels * sizeof *row);
  }
}

static enum vn_status prepare(const struct vn_conv *conv, bool transposed,
                              struct vn_prepared *prepared, struct vn_diag *diag) {
  struct state *s = malloc(sizeof *s);
  if (!s) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  *s = (struct state){*conv, transposed};
  *prepared = (struct vn_prepared){
      .name = "ref",
      .jobs = conv->out.dim[VN_N] * conv->out.dim[VN_D] * conv->out.dim[VN_H],
      .scratch_bytes = (conv->out.dim[VN_C] * sizeof(float) + 63) / 64 * 64,
      .state_bytes = sizeof *s,
      .run = run,
      .close = free,
      .state = s,
  };
  return VN_OK;
}

enum vn_status vn_conv_ref(const struct vn_conv *conv, struct vn_prepared *prepared,
                           struct vn_diag *diag) {
  return prepare(conv, false, prepared, diag);
}

enum vn_status vn_deconv_ref(const struct vn_conv *conv, struct vn_prepared *prepared,
                             struct vn_diag *diag) {
  return prepare(conv, true, prepared, diag);
}

/* Resize and Upsample: nearest, linear and cubic, by every rule of coordinates that frameworks
 * write. Coordinates are computed in float, as engines do: a voxel on the edge between two must
 * fall where theirs does. */
#include "onnx_sample.h"

#include <math.h>
#include <string.h>

struct resize {
  char mode, nearest; /* 'n', 'l', 'c'; floor 'f', ceil 'c', round_prefer_floor 'F', …_ceil 'C' */
  char rule[32];
  float cubic;
};

static float source(const struct resize *r, uint64_t o, uint64_t in, uint64_t out, float scale) {
  const float x = (float)o, n = (float)in, m = (float)out;
  if (!strcmp(r->rule, "align_corners")) return out > 1 ? x * (n - 1) / (m - 1) : 0;
  if (!strcmp(r->rule, "asymmetric")) return x / scale;
  if (!strcmp(r->rule, "pytorch_half_pixel") && out == 1) return 0;
  if (!strcmp(r->rule, "tf_half_pixel_for_nn")) return (x + 0.5f) / scale;
  if (!strcmp(r->rule, "half_pixel_symmetric")) {
    const float adjusted = m / (n * scale);
    return n / 2 * (1 - adjusted) + (x + 0.5f) / scale - 0.5f;
  }
  return (x + 0.5f) / scale - 0.5f;
}

static float inside(float x, uint64_t in) {
  return x < 0 ? 0 : x > (float)(in - 1) ? (float)(in - 1) : x;
}

static float nearest_of(char how, float x) {
  if (how == 'f') return floorf(x);
  if (how == 'c') return ceilf(x);
  if (x - floorf(x) == 0.5f) return how == 'F' ? floorf(x) : ceilf(x);
  return floorf(x + 0.5f);
}

static float cubic_weight(float a, float x) {
  x = fabsf(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static enum vn_status resize_axis(const struct vnc_op *op, const struct resize *r,
                                  struct vnc_sampling *s, uint32_t axis, uint64_t in, uint64_t out,
                                  float scale) {
  const uint64_t taps = r->mode == 'n' ? 1 : r->mode == 'l' ? 2 : 4;
  enum vn_status status = vnc_window_make(op, s, axis, out, taps);
  float *pair = s->axis[axis].pairs;
  for (uint64_t o = 0; !status && o < out; o++, pair += 2 * taps) {
    float x = source(r, o, in, out, scale);
    if (r->mode == 'n') {
      pair[0] = inside(nearest_of(r->nearest, x), in);
      pair[1] = 1;
      continue;
    }
    if (r->mode == 'l') x = inside(x, in);
    const float low = floorf(x), part = x - low;
    for (uint64_t k = 0; k < taps; k++) {
      const float at = low + (float)k - (r->mode == 'c' ? 1 : 0);
      pair[2 * k] = inside(at, in);
      pair[2 * k + 1] = r->mode == 'c' ? cubic_weight(r->cubic, x - at) : k ? part : 1 - part;
    }
  }
  return status;
}

static enum vn_status rules_read(const struct vnc_op *op, struct resize *r) {
  static const char *const rules[] = {"half_pixel", "pytorch_half_pixel",   "align_corners",
                                      "asymmetric", "tf_half_pixel_for_nn", "half_pixel_symmetric"};
  static const char *const roundings[] = {"floor", "ceil", "round_prefer_floor",
                                          "round_prefer_ceil"};
  char text[32];
  const bool old = op->im->opset < 11; /* Upsample, and Resize of opset 10 */
  vnc_op_string(op, "mode", text);
  r->mode = !strcmp(text, "linear") ? 'l' : !strcmp(text, "cubic") ? 'c' : 'n';
  if (*text && r->mode == 'n' && strcmp(text, "nearest"))
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "mode '%s'", text);
  vnc_op_string(op, "coordinate_transformation_mode", r->rule);
  if (!*r->rule) strcpy(r->rule, old ? "asymmetric" : "half_pixel");
  bool known = false;
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
    known = known || !strcmp(rules[i], r->rule);
  vnc_op_string(op, "nearest_mode", text);
  if (!*text) strcpy(text, old ? "floor" : "round_prefer_floor");
  r->nearest = '\0';
  for (int i = 0; i < 4; i++)
    if (!strcmp(text, roundings[i])) r->nearest = "fcFC"[i];
  r->cubic = vnc_op_float(op, "cubic_coeff_a", -0.75f);
  if (!known || !r->nearest)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "coordinates by '%s' and '%s'", r->rule, text);
  if (vnc_op_int(op, "antialias", 0) || (r->mode == 'c' && vnc_op_int(op, "exclude_outside", 0)))
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "antialias or exclude_outside");
  vnc_op_string(op, "keep_aspect_ratio_policy", text);
  if (*text && strcmp(text, "stretch"))
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "keep_aspect_ratio_policy '%s'", text);
  return VN_OK;
}

/* Sizes and scales of each dimension, from whichever input or attribute holds them. `whole`: scales
 * must give whole sizes. */
static enum vn_status sizes_read(const struct vnc_op *op, const struct vnc_value *x, bool whole,
                                 uint64_t *out, float *scale) {
  const size_t rank = x->view.rank;
  const bool old = op->im->opset < 11;
  struct vnc_tensor t = {0};
  const Onnx__AttributeProto *a = vnc_op_attribute(op, "scales");
  const Onnx__AttributeProto *axes = vnc_op_attribute(op, "axes");
  bool present = false, sizes = false;
  enum vn_status status = a ? VN_OK : vnc_op_const(op, old ? 1 : 2, &t, &present);
  if (!status && !a && !t.elems && !old) {
    vnc_tensor_free(&t);
    status = vnc_op_const(op, 3, &t, &present);
    sizes = true;
  }
  const size_t n = axes ? axes->n_ints : rank, given = a ? a->n_floats : t.elems;
  if (!status && (n > rank || given != n || (!a && t.is_float == sizes)))
    status = vnc_op_fail(op, VN_E_FORMAT, "its scales or sizes do not fit rank %zu", rank);
  for (size_t i = 0; i < rank; i++) {
    out[i] = vnc_view_dim(op->im->g, x, i);
    scale[i] = 1;
  }
  for (size_t k = 0; !status && k < n; k++) {
    size_t i;
    status = vnc_op_axis(op, axes ? axes->ints[k] : (int64_t)k, rank, &i);
    if (status) break;
    const uint64_t in = out[i];
    const double size =
        sizes ? (double)t.i[k] : floor((double)((float)in * (a ? a->floats[k] : t.f[k])));
    if (!(size >= 1 && size < 1 << 24))
      status = vnc_op_fail(op, VN_E_UNSUPPORTED, "a size of %g along dimension %zu", size, i);
    else
      out[i] = (uint64_t)size;
    if (!status && whole && !sizes && (double)(float)in * (a ? a->floats[k] : t.f[k]) != size)
      status = vnc_op_fail(op, VN_E_UNSUPPORTED,
                           "align_corners by a scale that gives no whole size, which engines "
                           "read differently");
    scale[i] = sizes ? (float)out[i] / (float)in : a ? a->floats[k] : t.f[k];
  }
  vnc_tensor_free(&t);
  return status;
}

enum vn_status vnc_import_resize(const struct vnc_op *op) {
  struct vnc_sampling s = {.largest = false};
  struct resize r;
  uint64_t out[VNC_VIEW_RANK];
  float scale[VNC_VIEW_RANK];
  if (!op->n_in || !op->in[0] || op->in[0]->kind != VNC_RUNTIME)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "its input is a constant");
  struct vnc_value x = *op->in[0];
  enum vn_status status = rules_read(op, &r);
  if (!status) status = sizes_read(op, &x, !strcmp(r.rule, "align_corners"), out, scale);
  for (size_t i = 0; !status && i < x.view.rank; i++) {
    const uint64_t in = vnc_view_dim(op->im->g, &x, i);
    uint32_t axis;
    if (out[i] == in && scale[i] == 1.f) continue;
    status = vnc_view_axis(op, &x, i, &axis);
    if (!status) status = resize_axis(op, &r, &s, axis, in, out[i], scale[i]);
  }
  if (status) {
    vnc_sampling_free(&s);
    return status;
  }
  status = vnc_sampling_append(op, &s, x.node, &x.node);
  return status ? status : vnc_op_yield_same(op, &x);
}

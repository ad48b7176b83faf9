/* MAP and BINARY in plain C: a job is one row of the output along w. Values are held in double. */
#include "ref.h"

static double clip(double x, double low, double high) {
  const double y = x < low ? low : x; /* a NaN is neither */
  return y > high ? high : y;
}

static double selu(double x, double a, double b) {
  return x > 0 ? b * x : b * a * vn_expm1(x);
}

static double round_even(double x) {
  return fabs(x) < 0x1p51 ? copysign(vn_nearest(x), x) : x;
}

static double map_value(const struct vn_simple *s, double x) {
  const double a = (double)s->a, b = (double)s->b;
  switch ((enum vn_map)s->kind) {
  case VN_MAP_EXP:
    return vn_exp(x);
  case VN_MAP_LOG:
    return vn_log(x);
  case VN_MAP_SQRT:
    return sqrt(x);
  case VN_MAP_RECIPROCAL:
    return 1 / x;
  case VN_MAP_ERF:
    return vn_erf(x);
  case VN_MAP_TANH:
    return vn_tanh(x);
  case VN_MAP_SOFTPLUS:
    return x > 0 ? x + vn_log1p(vn_exp(-x)) : vn_log1p(vn_exp(x));
  case VN_MAP_GELU:
    return x / 2 * (1 + vn_erf(x * 0.70710678118654752));
  case VN_MAP_GELU_TANH:
    return x / 2 * (1 + vn_tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
  case VN_MAP_SWISH:
    return x / (1 + vn_exp(-a * x));
  case VN_MAP_MISH:
    return x * vn_tanh(x > 0 ? x + vn_log1p(vn_exp(-x)) : vn_log1p(vn_exp(x)));
  case VN_MAP_SELU:
    return selu(x, a, b);
  case VN_MAP_CELU:
    return x > 0 ? x : a * vn_expm1(x / a);
  case VN_MAP_CLIP:
    return clip(x, a, b);
  case VN_MAP_HARD_SIGMOID:
    return clip(a * x + b, 0, 1);
  case VN_MAP_HARD_SWISH:
    return x * clip(x / 6 + 0.5, 0, 1);
  case VN_MAP_FLOOR:
    return floor(x);
  case VN_MAP_CEIL:
    return ceil(x);
  case VN_MAP_ROUND:
    return round_even(x);
  case VN_MAP_SIGN:
    return x > 0 ? 1 : x < 0 ? -1 : x;
  case VN_MAP_COUNT:
    break;
  }
  return x;
}

void vn_map_run(const void *state, size_t job, void *scratch) {
  const struct vn_simple *s = state;
  (void)scratch;
  for (size_t w = 0; w < s->out.dim[VN_W]; w++) {
    const size_t pixel = job * s->out.dim[VN_W] + w;
    const float *x = (const float *)s->in[0].data + pixel * s->in[0].stride;
    float *y = (float *)s->out.data + pixel * s->out.stride;
    for (size_t c = 0; c < s->out.dim[VN_C]; c++) y[c] = (float)map_value(s, (double)x[c]);
  }
}

static float binary_value(uint32_t kind, float x, float y) {
  switch ((enum vn_binary)kind) {
  case VN_BINARY_MUL:
    return x * y;
  case VN_BINARY_SUB:
    return x - y;
  case VN_BINARY_DIV:
    return x / y;
  case VN_BINARY_MIN:
    return x < y ? x : y;
  case VN_BINARY_MAX:
    return x > y ? x : y;
  case VN_BINARY_GREATER:
    return x > y;
  case VN_BINARY_GREATER_EQUAL:
    return x >= y;
  case VN_BINARY_LESS:
    return x < y;
  case VN_BINARY_LESS_EQUAL:
    return x <= y;
  case VN_BINARY_EQUAL:
    return x == y;
  case VN_BINARY_KEEP:
    return y != 0 ? x : 0;
  case VN_BINARY_DROP:
    return y != 0 ? 0 : x;
  case VN_BINARY_COUNT:
    break;
  }
  return x;
}

void vn_binary_run(const void *state, size_t job, void *scratch) {
  const struct vn_simple *s = state;
  const size_t wrap = s->in[1].dim[VN_C];
  const struct vn_row row = vn_row_of(&s->out, job);
  (void)scratch;
  for (size_t w = 0; w < s->out.dim[VN_W]; w++) {
    const float *a = vn_pixel_of(&s->in[0], row, w), *b = vn_pixel_of(&s->in[1], row, w);
    float *y = (float *)s->out.data + (job * s->out.dim[VN_W] + w) * s->out.stride;
    for (size_t c = 0; c < s->out.dim[VN_C]; c++) y[c] = binary_value(s->kind, a[c], b[c % wrap]);
  }
}

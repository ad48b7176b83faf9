/* MAP and BINARY on vectors. Functions that no network computes at a size worth it are left to
 * ref/, as are powers beyond a float's. */
#include "epilogue.h"
#include "simd.h"

#include <stdlib.h>

enum { JOB_ELEMS = 16384 };

/* ---- functions of one value ---- */

VEC_INLINE vec absolute(vec x) {
  return vec_max(x, vec_zero() - x);
}

/* 1 - e^p for a polynomial p where |x| is large, a polynomial where it is small. */
VEC_INLINE vec erf_of(vec x) {
  const vec t = absolute(x), s = x * x;
  vec far = vec_fma(vec_set1(-1.72853470e-5f), t, vec_set1(3.83197126e-4f));
  const vec u = vec_fma(vec_set1(-3.88396438e-3f), t, vec_set1(2.42546219e-2f));
  far = vec_fma(far, s, u);
  far = vec_fma(far, t, vec_set1(-1.06777877e-1f));
  far = vec_fma(far, t, vec_set1(-6.34846687e-1f));
  far = vec_fma(far, t, vec_set1(-1.28717512e-1f));
  far = vec_fma(far, t, vec_zero() - t);
  far = vec_set1(1.f) - vec_exp(far);
  far = vec_select_gt(vec_zero(), x, vec_zero() - far, far);
  vec near = vec_fma(vec_set1(-5.96761703e-4f), s, vec_set1(4.99119423e-3f));
  near = vec_fma(near, s, vec_set1(-2.67681349e-2f));
  near = vec_fma(near, s, vec_set1(1.12819925e-1f));
  near = vec_fma(near, s, vec_set1(-3.76125336e-1f));
  near = vec_fma(near, s, vec_set1(1.28379166e-1f));
  near = vec_fma(near, x, x);
  return vec_select_gt(t, vec_set1(0.927734375f),
                       vec_select_gt(t, vec_set1(4.f),
                                     vec_select_gt(x, vec_zero(), vec_set1(1.f), vec_set1(-1.f)),
                                     far),
                       near);
}

VEC_INLINE vec tanh_of(vec x) {
  const vec e = vec_expm1(vec_min(vec_set1(88.f), x + x));
  return e / (e + vec_set1(2.f));
}

VEC_INLINE vec clip(vec x, vec low, vec high) {
  return vec_min(high, vec_max(low, x));
}

VEC_INLINE vec swish(vec x, vec a) {
  const vec y = x / (vec_set1(1.f) + vec_exp(vec_zero() - a * x));
  return vec_select_gt(vec_set1(-87.f), a * x, vec_zero(), y); /* vec_exp ends at e^88 */
}

/* tanh(log(1 + w)) = (w^2 + 2 w) / (w^2 + 2 w + 2), w = e^x. */
VEC_INLINE vec mish(vec x) {
  const vec w = vec_exp(vec_min(vec_set1(20.f), x)), n = w * (w + vec_set1(2.f));
  return x * (n / (n + vec_set1(2.f)));
}

VEC_INLINE vec gelu_tanh(vec x) {
  const vec inner = vec_fma(x * x * vec_set1(0.044715f), x, x) * vec_set1(0.797884561f);
  return x * vec_set1(0.5f) * (vec_set1(1.f) + tanh_of(inner));
}

VEC_INLINE vec stretched_elu(vec x, vec up, vec down, vec inside) {
  return vec_select_gt(x, vec_zero(), up * x, down * vec_expm1(vec_min(vec_zero(), x) * inside));
}

VEC_INLINE vec map_of(const uint32_t kind, vec x, vec a, vec b) {
  const vec one = vec_set1(1.f), zero = vec_zero();
  switch (kind) {
  case VN_MAP_RECIPROCAL:
    return one / x;
  case VN_MAP_ERF:
    return erf_of(x);
  case VN_MAP_TANH:
    return tanh_of(x);
  case VN_MAP_GELU:
    return x * vec_set1(0.5f) * (one + erf_of(x * vec_set1(0.707106781f)));
  case VN_MAP_GELU_TANH:
    return gelu_tanh(x);
  case VN_MAP_SWISH:
    return swish(x, a);
  case VN_MAP_MISH:
    return mish(x);
  case VN_MAP_SELU:
    return stretched_elu(x, b, a * b, one);
  case VN_MAP_CELU:
    return stretched_elu(x, one, a, one / a);
  case VN_MAP_CLIP:
    return clip(x, a, b);
  case VN_MAP_HARD_SIGMOID:
    return clip(vec_fma(a, x, b), zero, one);
  default:
    return x * clip(vec_fma(x, vec_set1(1.f / 6), vec_set1(0.5f)), zero, one);
  }
}

/* ---- functions of two ---- */

VEC_INLINE vec binary_of(const uint32_t kind, vec x, vec y) {
  const vec one = vec_set1(1.f), zero = vec_zero();
  switch (kind) {
  case VN_BINARY_MUL:
    return x * y;
  case VN_BINARY_SUB:
    return x - y;
  case VN_BINARY_DIV:
    return x / y;
  case VN_BINARY_MIN:
    return vec_select_gt(y, x, x, y);
  case VN_BINARY_MAX:
    return vec_select_gt(x, y, x, y);
  case VN_BINARY_GREATER:
    return vec_select_gt(x, y, one, zero);
  default:
    return vec_select_gt(y, x, one, zero);
  }
}

/* ---- the loops: rows of pixels, or long rows of many where no tensor has gaps ---- */

struct map {
  struct vn_simple s;
  size_t count, width, last; /* rows; floats in each, and in the last one */
  size_t channels, group;    /* of in[1], where it is fewer: a row's part */
  size_t job_rows, step[3];
  size_t line; /* rows along w: how often in[1]'s place is looked up anew */
};

VEC_INLINE void map_run(const struct map *k, size_t job, const uint32_t kind) {
  const size_t first = job * k->job_rows, end = smaller(k->count, first + k->job_rows);
  const vec a = vec_set1(k->s.a), b = vec_set1(k->s.b);
  for (size_t r = first; r < end; r++) {
    const size_t n = r + 1 == k->count ? k->last : k->width;
    const float *x = (const float *)k->s.in[0].data + r * k->step[0];
    float *y = (float *)k->s.out.data + r * k->step[2];
    for (size_t i = 0; i < n; i += VEC_LANES)
      vec_store_k(y + i, map_of(kind, vec_load_k(x + i, n - i), a, b), n - i);
  }
}

/* The pixel of in[1] for output pixel `pixel`. */
static const float *second_at(const struct map *k, size_t pixel) {
  const struct vn_tensor *t = &k->s.in[1];
  const size_t *dim = k->s.out.dim, *has = t->dim;
  size_t at[4] = {0, 0, 0, 0}; /* n d h w */
  static const int axis[4] = {VN_N, VN_D, VN_H, VN_W};
  for (int i = 3; i >= 0; i--) {
    at[i] = has[axis[i]] == 1 ? 0 : pixel % dim[axis[i]];
    pixel /= dim[axis[i]];
  }
  return (const float *)t->data +
         (((at[0] * has[VN_D] + at[1]) * has[VN_H] + at[2]) * has[VN_W] + at[3]) * t->stride;
}

VEC_INLINE void part_run(const uint32_t kind, const bool one, const float *x, const float *b,
                         float *y, size_t n) {
  for (size_t i = 0; i < n; i += VEC_LANES)
    vec_store_k(
        y + i,
        binary_of(kind, vec_load_k(x + i, n - i), one ? vec_set1(*b) : vec_load_k(b + i, n - i)),
        n - i);
}

/* A row that is a line of pixels along w has one place to find in in[1]; `step[1]` goes on from
 * there. */
VEC_INLINE void binary_run(const struct map *k, size_t job, const uint32_t kind, const bool one) {
  const size_t first = job * k->job_rows, end = smaller(k->count, first + k->job_rows);
  const float *second = NULL;
  for (size_t r = first; r < end; r++) {
    const size_t n = r + 1 == k->count ? k->last : k->width;
    const float *x = (const float *)k->s.in[0].data + r * k->step[0];
    float *y = (float *)k->s.out.data + r * k->step[2];
    if (r == first || r % k->line == 0)
      second = second_at(k, r * (k->width / k->channels));
    else
      second += k->step[1];
    const size_t part = smaller(k->group, n);
    for (size_t at = 0; at < n; at += part)
      part_run(kind, one, x + at, k->group == k->width ? second + (one ? 0 : at) : second, y + at,
               part);
  }
}

#define EACH_MAP(F)                                                                                \
  F(RECIPROCAL)                                                                                    \
  F(ERF)                                                                                           \
  F(TANH)                                                                                          \
  F(GELU) F(GELU_TANH) F(SWISH) F(MISH) F(SELU) F(CELU) F(CLIP) F(HARD_SIGMOID) F(HARD_SWISH)
#define EACH_BINARY(F) F(MUL) F(SUB) F(DIV) F(MIN) F(MAX) F(GREATER) F(LESS)

#define DEFINE_MAP(KIND)                                                                           \
  static void map_##KIND(const void *state, size_t job, void *scratch) {                           \
    (void)scratch;                                                                                 \
    map_run(state, job, VN_MAP_##KIND);                                                            \
  }
EACH_MAP(DEFINE_MAP)
#define DEFINE_BINARY(KIND)                                                                        \
  static void binary_##KIND(const void *state, size_t job, void *scratch) {                        \
    const struct map *k = state;                                                                   \
    (void)scratch;                                                                                 \
    if (k->s.in[1].dim[VN_C] == 1 && k->channels > 1)                                              \
      binary_run(k, job, VN_BINARY_##KIND, true);                                                  \
    else                                                                                           \
      binary_run(k, job, VN_BINARY_##KIND, false);                                                 \
  }
EACH_BINARY(DEFINE_BINARY)

/* ---- the cut ---- */

static bool dense(const struct vn_tensor *t, size_t channels) {
  return t->stride == channels && t->dim[VN_C] == channels;
}

static bool same_grid(const struct vn_tensor *a, const struct vn_tensor *b) {
  for (int i = 0; i < VN_AXES; i++)
    if (i != VN_C && a->dim[i] != b->dim[i]) return false;
  return true;
}

static void measure(struct map *k, bool two) {
  const struct vn_tensor *in = k->s.in, *out = &k->s.out;
  const size_t pixels = out->dim[VN_N] * out->dim[VN_D] * out->dim[VN_H] * out->dim[VN_W];
  const size_t channels = k->channels = out->dim[VN_C];
  bool runs = dense(&in[0], channels) && dense(out, channels);
  if (two) runs = runs && same_grid(&in[1], out) && dense(&in[1], channels);
  const size_t row = runs && channels < JOB_ELEMS / 16 ? JOB_ELEMS / 16 / channels : 1;
  k->width = row * channels;
  k->count = ceil_div(pixels, row);
  k->last = (pixels - (k->count - 1) * row) * channels;
  k->job_rows = k->width < JOB_ELEMS ? JOB_ELEMS / k->width : 1;
  k->step[0] = row * in[0].stride;
  k->step[2] = row * out->stride;
  k->group = k->width;
  if (!two) return;
  k->step[1] = in[1].dim[VN_W] == 1 && out->dim[VN_W] > 1 ? 0 : row * in[1].stride;
  k->line = same_grid(&in[1], out) ? k->count : out->dim[VN_W];
  if (in[1].dim[VN_C] > 1) k->group = row == 1 ? in[1].dim[VN_C] : k->width;
}

static enum vn_status prepared_of(const struct vn_simple *s, bool two,
                                  void (*run)(const void *, size_t, void *),
                                  struct vn_prepared *prepared, struct vn_diag *diag) {
  struct map *k = calloc(1, sizeof *k);
  if (!k) return vn_fail(diag, VN_E_MEMORY, "map: out of memory");
  k->s = *s;
  measure(k, two);
  *prepared = (struct vn_prepared){.name = "map " VN_ISA_TEXT,
                                   .jobs = ceil_div(k->count, k->job_rows),
                                   .state_bytes = sizeof *k,
                                   .run = run,
                                   .close = free,
                                   .state = k};
  return VN_OK;
}

enum vn_status VN_ISA_NAME(map)(const struct vn_simple *s, struct vn_prepared *prepared,
                                struct vn_diag *diag) {
#define MAP_ENTRY(KIND)    [VN_MAP_##KIND] = map_##KIND,
#define BINARY_ENTRY(KIND) [VN_BINARY_##KIND] = binary_##KIND,
  static void (*const maps[VN_MAP_COUNT])(const void *, size_t, void *) = {EACH_MAP(MAP_ENTRY)};
  static void (*const binaries[VN_BINARY_COUNT])(const void *, size_t,
                                                 void *) = {EACH_BINARY(BINARY_ENTRY)};
  const bool two = s->op == VN_OP_BINARY;
  void (*run)(const void *, size_t, void *) = two ? binaries[s->kind] : maps[s->kind];
  if (!run)
    return vn_fail(diag, VN_E_UNSUPPORTED, "map: no vector body for %s",
                   two ? vn_binary_text(s->kind) : vn_map_text(s->kind));
  return prepared_of(s, two, run, prepared, diag);
}

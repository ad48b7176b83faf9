/* What the trainer does element by element, forward and backward; see backward.h. A vector of
 * channels goes through a block of pixels, with all that is the channels' own in registers;
 * products and sums are rounded each, so that no instruction set has bits of its own. */
#include "backward.h"
#include "kernels/vec/vec.h"

#include <math.h>
#include <string.h>

#define ROW(t, i) ((float *)(t)->data + (i) * (t)->stride)

static uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static float marked_of(float y, bool mark) {
  const uint32_t bits = (bits_of(y) & ~1u) | mark;
  memcpy(&y, &bits, sizeof y);
  return y;
}

static void prelu_marked(const struct vn_pixels *p, const struct vn_tensor *x, const float *slope,
                         const struct vn_tensor *y) {
  for (size_t i = p->begin; i < p->end; i++) {
    const float *a = ROW(x, i);
    float *b = ROW(y, i);
    for (size_t c = 0; c < p->channels; c++) {
      const bool low = !(a[c] > 0);
      const float v = low ? slope[c] * a[c] : a[c];
      b[c] = slope[c] < 0 ? marked_of(v, low) : v;
    }
  }
}

static void prelu(const struct vn_pixels *p, const struct vn_tensor *x, const float *slope,
                  bool marked, const struct vn_tensor *y) {
  if (marked) {
    prelu_marked(p, x, slope, y);
    return;
  }
  for (size_t i = p->begin; i < p->end; i++) {
    const float *a = ROW(x, i);
    float *b = ROW(y, i);
    for (size_t c = 0; c < p->channels; c++) b[c] = a[c] > 0 ? a[c] : slope[c] * a[c];
  }
}

/* BLOCK: pixels whose channels are summed in float before their sum goes on in double. */
enum { BLOCK = 64, CHANNELS = 64 };

/* The blocks of p, and in each the vectors of channels: `c` the first, `left` to the last. */
#define EACH_BLOCK(p, begin, end, c, left)                                                         \
  for (size_t begin = (p)->begin, end; begin < (p)->end; begin = end)                              \
    for (size_t c = (end = begin + BLOCK < (p)->end ? begin + BLOCK : (p)->end, 0), left;          \
         c < (p)->channels && (left = (p)->channels - c, 1); c += VEC_LANES)

static void elu(const struct vn_pixels *p, const struct vn_tensor *x, float alpha,
                const struct vn_tensor *y) {
  const vec scale = vec_set1(alpha);
  EACH_BLOCK(p, begin, end, c, left)
  for (size_t i = begin; i < end; i++) {
    const vec v = vec_load_k(ROW(x, i) + c, left);
    const vec low = scale * vec_expm1(vec_min(v, vec_zero()));
    vec_store_k(ROW(y, i) + c, vec_select_gt(v, vec_zero(), v, low), left);
  }
}

VEC_INLINE void prelu_back_any(const struct vn_pixels *p, const struct vn_tensor *y,
                               const float *slope, const bool marked, const struct vn_tensor *dy,
                               const struct vn_tensor *dx, const bool add, double *sums) {
  for (size_t from = 0; from < p->channels; from += CHANNELS)
    for (size_t begin = p->begin; begin < p->end; begin += BLOCK) {
      const size_t end = begin + BLOCK < p->end ? begin + BLOCK : p->end;
      const size_t count = p->channels - from < CHANNELS ? p->channels - from : CHANNELS;
      float bias[CHANNELS] = {0}, slopes[CHANNELS] = {0};
      for (size_t i = begin; i < end; i++) {
        const float *b = ROW(y, i) + from, *d = ROW(dy, i) + from, *s = slope + from;
        float *out = ROW(dx, i) + from;
        for (size_t c = 0; c < count; c++) {
          const bool high = marked && s[c] < 0 ? !(bits_of(b[c]) & 1) : b[c] > 0;
          const float g = high ? d[c] : s[c] * d[c];
          slopes[c] += high ? 0 : b[c] * d[c];
          bias[c] += g;
          out[c] = add ? out[c] + g : g;
        }
      }
      for (size_t c = 0; c < count; c++) {
        sums[from + c] += (double)bias[c];
        sums[p->channels + from + c] += (double)slopes[c];
      }
    }
}

static void prelu_back(const struct vn_pixels *p, const struct vn_tensor *y, const float *slope,
                       bool marked, const struct vn_tensor *dy, const struct vn_tensor *dx,
                       bool add, double *sums) {
  if (marked)
    prelu_back_any(p, y, slope, true, dy, dx, add, sums);
  else if (add)
    prelu_back_any(p, y, slope, false, dy, dx, true, sums);
  else
    prelu_back_any(p, y, slope, false, dy, dx, false, sums);
}

/* sums[lane] += x, of the lanes that exist. */
static void lanes_add(double *sums, vec x, size_t left) {
  float lanes[VEC_LANES];
  vec_store(lanes, x);
  for (size_t l = 0; l < VEC_LANES && l < left; l++) sums[l] += (double)lanes[l];
}

VEC_INLINE void put(const struct vn_tensor *y, size_t i, size_t c, size_t left, vec x, bool add) {
  float *to = ROW(y, i) + c;
  if (add) x = vec_load_k(to, left) + x;
  vec_store_k(to, x, left);
}

static void elu_back(const struct vn_pixels *p, const struct vn_tensor *y, float alpha,
                     const struct vn_tensor *dy, const struct vn_tensor *dx, bool add,
                     double *sums) {
  EACH_BLOCK(p, begin, end, c, left) {
    vec sum = vec_zero();
    for (size_t i = begin; i < end; i++) {
      const vec b = vec_load_k(ROW(y, i) + c, left), d = vec_load_k(ROW(dy, i) + c, left);
      const vec g = vec_select_gt(b, vec_zero(), d, (b + vec_set1(alpha)) * d);
      sum = sum + g;
      put(dx, i, c, left, g, add);
    }
    if (sums) lanes_add(sums + c, sum, left);
  }
}

static void affine(const struct vn_pixels *p, const struct vn_tensor *x, const float *scale,
                   const float *shift, const struct vn_tensor *y, bool add) {
  EACH_BLOCK(p, begin, end, c, left) {
    const vec a = scale ? vec_load_k(scale + c, left) : vec_set1(1);
    const vec b = shift ? vec_load_k(shift + c, left) : vec_zero();
    for (size_t i = begin; i < end; i++)
      put(y, i, c, left, a * vec_load_k(ROW(x, i) + c, left) + b, add);
  }
}

static void sum(const struct vn_pixels *p, const struct vn_tensor *x, const struct vn_tensor *y,
                const struct vn_tensor *z) {
  EACH_BLOCK(p, begin, end, c, left)
  for (size_t i = begin; i < end; i++)
    put(z, i, c, left, vec_load_k(ROW(x, i) + c, left) + vec_load_k(ROW(y, i) + c, left), false);
}

static void affine2(const struct vn_pixels *p, const struct vn_tensor *dy, const float *a,
                    const struct vn_tensor *x, const float *b, const float *d,
                    const struct vn_tensor *dx, bool add) {
  EACH_BLOCK(p, begin, end, c, left) {
    const vec va = vec_load_k(a + c, left), vb = vec_load_k(b + c, left);
    const vec vd = vec_load_k(d + c, left);
    for (size_t i = begin; i < end; i++) {
      const vec g = vec_load_k(ROW(dy, i) + c, left), v = vec_load_k(ROW(x, i) + c, left);
      put(dx, i, c, left, va * g + vb * v + vd, add);
    }
  }
}

static void moments(const struct vn_pixels *p, const struct vn_tensor *x, const struct vn_tensor *y,
                    const float *centre, double *sums) {
  EACH_BLOCK(p, begin, end, c, left) {
    const vec about = centre ? vec_load_k(centre + c, left) : vec_zero();
    vec one = vec_zero(), two = vec_zero();
    for (size_t i = begin; i < end; i++) {
      const vec a = vec_load_k(ROW(x, i) + c, left), b = y ? vec_load_k(ROW(y, i) + c, left) : a;
      one = one + a;
      two = two + a * (b - about);
    }
    lanes_add(sums + c, one, left);
    lanes_add(sums + p->channels + c, two, left);
  }
}

static void adamw(const struct vn_adamw *a, size_t begin, size_t end) {
  float *restrict first = a->first, *restrict second = a->second, *restrict param = a->param;
  const float *restrict grad = a->grad;
  const float b1 = a->keep_first, b2 = a->keep_second;
  for (size_t i = begin; i < end; i++) {
    const float g = a->scale * grad[i];
    first[i] = b1 * first[i] + (1 - b1) * g;
    second[i] = b2 * second[i] + (1 - b2) * g * g;
    param[i] = a->keep * param[i] - a->step * first[i] / (sqrtf(second[i]) * a->root + a->epsilon);
  }
}

vn_wgrad_fn VN_ISA_NAME(wgrad_winograd), VN_ISA_NAME(wgrad_product);

#define TABLE_PASTE(isa)  vn_backward_##isa
#define TABLE_EXPAND(isa) TABLE_PASTE(isa)
const struct vn_backward TABLE_EXPAND(VN_ISA) = {
    .name = VN_ISA_TEXT,
    .winograd = VN_ISA_NAME(wgrad_winograd),
    .product = VN_ISA_NAME(wgrad_product),
    .prelu = prelu,
    .elu = elu,
    .prelu_back = prelu_back,
    .elu_back = elu_back,
    .affine = affine,
    .sum = sum,
    .affine2 = affine2,
    .moments = moments,
    .adamw = adamw,
};

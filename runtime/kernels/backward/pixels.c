/* What the trainer does element by element, forward and backward; see backward.h. Plain loops over
 * the channels of a pixel, which the compiler turns into this instruction set's vectors. */
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

static void elu(const struct vn_pixels *p, const struct vn_tensor *x, float alpha,
                const struct vn_tensor *y) {
  for (size_t i = p->begin; i < p->end; i++) {
    const float *a = ROW(x, i);
    float *b = ROW(y, i);
    for (size_t c = 0; c < p->channels; c += VEC_LANES) {
      const size_t left = p->channels - c;
      const vec v = vec_load_k(a + c, left);
      const vec low = vec_set1(alpha) * vec_expm1(vec_min(v, vec_zero()));
      vec_store_k(b + c, vec_select_gt(v, vec_zero(), v, low), left);
    }
  }
}

/* Channels are summed over BLOCK pixels in float, then in double. */
enum { BLOCK = 64, CHANNELS = 64 };

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

static void elu_back(const struct vn_pixels *p, const struct vn_tensor *y, float alpha,
                     const struct vn_tensor *dy, const struct vn_tensor *dx, bool add,
                     double *sums) {
  for (size_t from = 0; from < p->channels; from += CHANNELS)
    for (size_t begin = p->begin; begin < p->end; begin += BLOCK) {
      const size_t end = begin + BLOCK < p->end ? begin + BLOCK : p->end;
      const size_t count = p->channels - from < CHANNELS ? p->channels - from : CHANNELS;
      float bias[CHANNELS] = {0};
      for (size_t i = begin; i < end; i++) {
        const float *b = ROW(y, i) + from, *d = ROW(dy, i) + from;
        float *out = ROW(dx, i) + from;
        for (size_t c = 0; c < count; c++) {
          const float g = b[c] > 0 ? d[c] : (b[c] + alpha) * d[c];
          bias[c] += g;
          out[c] = add ? out[c] + g : g;
        }
      }
      for (size_t c = 0; sums && c < count; c++) sums[from + c] += (double)bias[c];
    }
}

static void affine(const struct vn_pixels *p, const struct vn_tensor *x, const float *scale,
                   const float *shift, const struct vn_tensor *y, bool add) {
  for (size_t i = p->begin; i < p->end; i++) {
    const float *a = ROW(x, i);
    float *b = ROW(y, i);
    for (size_t c = 0; c < p->channels; c++) {
      const float v = (scale ? scale[c] * a[c] : a[c]) + (shift ? shift[c] : 0);
      b[c] = add ? b[c] + v : v;
    }
  }
}

static void sum(const struct vn_pixels *p, const struct vn_tensor *x, const struct vn_tensor *y,
                const struct vn_tensor *z) {
  for (size_t i = p->begin; i < p->end; i++) {
    const float *a = ROW(x, i), *b = ROW(y, i);
    float *c = ROW(z, i);
    for (size_t k = 0; k < p->channels; k++) c[k] = a[k] + b[k];
  }
}

static void affine2(const struct vn_pixels *p, const struct vn_tensor *dy, const float *a,
                    const struct vn_tensor *x, const float *b, const float *d,
                    const struct vn_tensor *dx, bool add) {
  for (size_t i = p->begin; i < p->end; i++) {
    const float *g = ROW(dy, i), *v = ROW(x, i);
    float *out = ROW(dx, i);
    for (size_t c = 0; c < p->channels; c++) {
      const float r = a[c] * g[c] + b[c] * v[c] + d[c];
      out[c] = add ? out[c] + r : r;
    }
  }
}

/* Channels [c, c + VEC_LANES) of pixels [begin, end), their sums in registers. */
static void moments_block(const struct vn_pixels *p, size_t begin, size_t end, size_t c,
                          const struct vn_tensor *x, const struct vn_tensor *y, vec centre,
                          double *sums) {
  const size_t left = p->channels - c, count = left < VEC_LANES ? left : VEC_LANES;
  float lanes[2][VEC_LANES];
  vec one = vec_zero(), two = vec_zero();
  for (size_t i = begin; i < end; i++) {
    const vec a = vec_load_k(ROW(x, i) + c, left), b = y ? vec_load_k(ROW(y, i) + c, left) : a;
    one = one + a;
    two = two + a * (b - centre);
  }
  vec_store(lanes[0], one);
  vec_store(lanes[1], two);
  for (size_t l = 0; l < count; l++) {
    sums[c + l] += (double)lanes[0][l];
    sums[p->channels + c + l] += (double)lanes[1][l];
  }
}

static void moments(const struct vn_pixels *p, const struct vn_tensor *x, const struct vn_tensor *y,
                    const float *centre, double *sums) {
  for (size_t begin = p->begin; begin < p->end; begin += BLOCK) {
    const size_t end = begin + BLOCK < p->end ? begin + BLOCK : p->end;
    for (size_t c = 0; c < p->channels; c += VEC_LANES) {
      const vec about = centre ? vec_load_k(centre + c, p->channels - c) : vec_zero();
      moments_block(p, begin, end, c, x, y, about, sums);
    }
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

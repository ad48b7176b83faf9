/* Softmax, its logarithm and argmax over channels: a pixel per lane, or pixels as they lie where
 * channels fill the lanes. Other axes, and argmax that takes the last of equals, are left to ref/,
 * whose results these equal within rounding, NaN and ties alike. */
#include "simd.h"
#include "turn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOB_ELEMS = 16384, MOST_CHANNELS = 4096 };

static size_t pixels_of(const struct vn_tensor *t) {
  return t->dim[VN_N] * t->dim[VN_D] * t->dim[VN_H] * t->dim[VN_W];
}

/* ---- VEC_LANES pixels at a time, turned so that a vector holds one channel ---- */

struct lanes {
  struct vn_simple s;
  size_t pixels, job_pixels;
};

/* Natural logarithm of each x >= 1, or NaN: x = 2^e * m, m in [sqrt(1/2), sqrt(2)); with
 * s = (m - 1) / (m + 1), log m = 2 (s + s^3 / 3 + s^5 / 5 ...). Plain C that compilers
 * vectorise. */
static vec log_of(vec x) {
  float value[VEC_LANES];
  vec_store(value, x);
  for (size_t l = 0; l < VEC_LANES; l++) {
    uint32_t bits;
    float m;
    memcpy(&bits, &value[l], sizeof bits);
    const int32_t e = (int32_t)(bits - 0x3f3504f3u) >> 23;
    bits -= (uint32_t)e << 23;
    memcpy(&m, &bits, sizeof m);
    const float s = (m - 1.f) / (m + 1.f), z = s * s;
    const float tail = z * (2.f / 3 + z * (2.f / 5 + z * (2.f / 7 + z * (2.f / 9))));
    const float nan = value[l] - value[l]; /* 0, or NaN */
    value[l] = (float)e * 0.693359375f + (2.f * s + (s * tail + (float)e * -2.12194440e-4f)) + nan;
  }
  return vec_load(value);
}

/* Softmax adds a pixel's exponentials in one order, whatever the vector: SUMS sums, number s of the
 * channels s, s + SUMS …, then neighbours of them, neighbours of these pairs, and so on. */
enum { SUMS = 16 };

/* A pixel in each lane: at most SUMS channels, see whole_covers. part[k]: of the latest 2^k that
 * have found no neighbour yet. */
VEC_INLINE void softmax_block(size_t channels, const bool logarithm, float *t) {
  vec top = vec_load(t), part[5], sum = vec_zero();
  for (size_t c = 1; c < channels; c++) top = vec_max(top, vec_load(t + c * VEC_LANES));
  for (size_t c = 0; c < channels; c++) {
    const vec x = vec_load(t + c * VEC_LANES) - top;
    vec e = vec_exp(x);
    vec_store(t + c * VEC_LANES, logarithm ? x : e);
    size_t k = 0;
    for (; c >> k & 1; k++) e = part[k] + e;
    part[k] = e;
  }
  for (size_t k = 0; channels >> k; k++)
    if (channels >> k & 1) sum = part[k] + sum;
  vec scale = vec_set1(1.f) / sum;
  if (logarithm) scale = log_of(sum);
  for (size_t c = 0; c < channels; c++) {
    const vec v = vec_load(t + c * VEC_LANES);
    vec_store(t + c * VEC_LANES, logarithm ? v - scale : v * scale);
  }
}

VEC_INLINE void softmax_run(const struct lanes *k, size_t job, float *t, const bool logarithm) {
  const size_t end = smaller(k->pixels, (job + 1) * k->job_pixels);
  const size_t channels = k->s.in[0].dim[VN_C];
  for (size_t p = job * k->job_pixels; p < end; p += VEC_LANES) {
    const size_t count = smaller(end - p, VEC_LANES);
    turn_in(&k->s.in[0], p, count, t);
    if (channels == 2) /* most networks: a constant spares the sums their tree */
      softmax_block(2, logarithm, t);
    else
      softmax_block(channels, logarithm, t);
    turn_out(&k->s.out, p, count, t);
  }
}

static void run_softmax(const void *state, size_t job, void *scratch) {
  softmax_run(state, job, scratch, false);
}
static void run_logsoftmax(const void *state, size_t job, void *scratch) {
  softmax_run(state, job, scratch, true);
}

/* As ref: a later value wins only if it is greater, so that nothing wins against a NaN. */
static void run_argmax(const void *state, size_t job, void *scratch) {
  const struct lanes *k = state;
  float *t = scratch;
  const size_t end = smaller(k->pixels, (job + 1) * k->job_pixels), step = k->s.out.stride;
  for (size_t p = job * k->job_pixels; p < end; p += VEC_LANES) {
    const size_t count = smaller(end - p, VEC_LANES);
    turn_in(&k->s.in[0], p, count, t);
    vec top = vec_load(t), best = vec_zero();
    for (size_t c = 1; c < k->s.in[0].dim[VN_C]; c++) {
      const vec x = vec_load(t + c * VEC_LANES);
      best = vec_select_gt(x, top, vec_set1((float)c), best);
      top = vec_select_gt(x, top, x, top);
    }
    int32_t *y = (int32_t *)k->s.out.data + p * step;
    if (step == 1) {
      vec_store_i32(y, best, count);
      continue;
    }
    int32_t index[VEC_LANES];
    vec_store_i32(index, best, VEC_LANES);
    for (size_t l = 0; l < count; l++) y[l * step] = index[l];
  }
}

/* ---- channels as they lie ----
 *
 * A vector holds whole pixels of 2, 4, 8 … channels, or a pixel fills vectors. No turning, but
 * channels must fill the lanes well. */

struct whole {
  struct vn_simple s;
  size_t units, job_units, width, last; /* a unit: a vector of pixels, or a pixel; its floats */
  size_t in_step, out_step, reach;      /* lanes that belong to one pixel */
  float beyond[VEC_LANES]; /* added to a unit's last vector: -infinity where there is no channel */
};

VEC_INLINE vec reach_max(vec x, size_t reach) {
  if (reach > 1) x = vec_max(x, VEC_SWAP(x, 1));
  if (reach > 2) x = vec_max(x, VEC_SWAP(x, 2));
#if VEC_LANES > 4
  if (reach > 4) x = vec_max(x, VEC_SWAP(x, 4));
#endif
#if VEC_LANES > 8
  if (reach > 8) x = vec_max(x, VEC_SWAP(x, 8));
#endif
  return x;
}

VEC_INLINE vec reach_sum(vec x, size_t reach) {
  if (reach > 1) x = x + VEC_SWAP(x, 1);
  if (reach > 2) x = x + VEC_SWAP(x, 2);
#if VEC_LANES > 4
  if (reach > 4) x = x + VEC_SWAP(x, 4);
#endif
#if VEC_LANES > 8
  if (reach > 8) x = x + VEC_SWAP(x, 8);
#endif
  return x;
}

/* The tree over all sums; those beyond the last vector are 0. */
VEC_INLINE vec sums_add(vec sum[SUMS / VEC_LANES], size_t tail, size_t reach) {
  sum[0] = reach_sum(sum[0], reach);
  if (tail == 0) return sum[0];
  VEC_UNROLL
  for (size_t s = 1; s < SUMS / VEC_LANES; s++) sum[s] = reach_sum(sum[s], reach);
  VEC_UNROLL
  for (size_t d = 1; d < SUMS / VEC_LANES; d *= 2) {
    VEC_UNROLL
    for (size_t s = 0; s < SUMS / VEC_LANES; s += 2 * d) sum[s] = sum[s] + sum[s + d];
  }
  return sum[0];
}

VEC_INLINE void whole_unit(const struct whole *k, const float *x, float *y, size_t n, float *t,
                           const bool logarithm) {
  const size_t tail = (n - 1) / VEC_LANES * VEC_LANES; /* where the last vector begins */
  const vec end = vec_load_k(x + tail, n - tail) + vec_load(k->beyond);
  vec top = end, sum[SUMS / VEC_LANES];
  for (size_t i = 0; i < tail; i += VEC_LANES) top = vec_max(top, vec_load(x + i));
  top = reach_max(top, k->reach);
  VEC_UNROLL
  for (size_t s = 0; s < SUMS / VEC_LANES; s++) sum[s] = vec_zero();
  for (size_t first = 0; first <= tail; first += SUMS) {
    VEC_UNROLL
    for (size_t s = 0; s < SUMS / VEC_LANES; s++) {
      const size_t i = first + s * VEC_LANES;
      if (i > tail) break;
      const vec v = (i == tail ? end : vec_load(x + i)) - top, e = vec_exp(v);
      sum[s] = sum[s] + e;
      vec_store(t + i, logarithm ? v : e);
    }
  }
  const vec whole = sums_add(sum, tail, k->reach);
  vec scale = vec_set1(1.f) / whole;
  if (logarithm) scale = log_of(whole);
  for (size_t i = 0; i <= tail; i += VEC_LANES) {
    const vec v = vec_load(t + i);
    vec_store_k(y + i, logarithm ? v - scale : v * scale, n - i);
  }
}

VEC_INLINE void whole_run(const struct whole *k, size_t job, float *t, const bool logarithm) {
  const size_t end = smaller(k->units, (job + 1) * k->job_units);
  for (size_t u = job * k->job_units; u < end; u++)
    whole_unit(k, (const float *)k->s.in[0].data + u * k->in_step,
               (float *)k->s.out.data + u * k->out_step, u + 1 == k->units ? k->last : k->width, t,
               logarithm);
}

static void run_whole_softmax(const void *state, size_t job, void *scratch) {
  whole_run(state, job, scratch, false);
}
static void run_whole_logsoftmax(const void *state, size_t job, void *scratch) {
  whole_run(state, job, scratch, true);
}

/* Pixels side by side in a vector need tensors without gaps. */
static bool whole_covers(const struct vn_simple *s) {
  const size_t channels = s->in[0].dim[VN_C];
  if (s->op == VN_OP_ARGMAX || channels == 1) return false;
  if (s->op == VN_OP_LOGSOFTMAX && channels <= 8) return false; /* one logarithm for each pixel */
  if (channels > VEC_LANES / 2) return true;
  return VEC_LANES % channels == 0 && s->in[0].stride == channels && s->out.stride == channels;
}

static enum vn_status whole_prepare(const struct vn_simple *s, struct vn_prepared *prepared,
                                    struct vn_diag *diag) {
  const size_t channels = s->in[0].dim[VN_C];
  const size_t pixels = channels > VEC_LANES / 2 ? 1 : VEC_LANES / channels; /* in a unit */
  struct whole *k = malloc(sizeof *k);
  if (!k) return vn_fail(diag, VN_E_MEMORY, "softmax: out of memory");
  *k = (struct whole){.s = *s,
                      .units = ceil_div(pixels_of(&s->in[0]), pixels),
                      .width = pixels * channels,
                      .in_step = pixels * s->in[0].stride,
                      .out_step = pixels * s->out.stride,
                      .reach = pixels == 1 ? VEC_LANES : channels};
  k->last = (pixels_of(&s->in[0]) - (k->units - 1) * pixels) * channels;
  k->job_units = ceil_div(JOB_ELEMS, k->width);
  for (size_t l = 0; l < VEC_LANES; l++)
    k->beyond[l] = l <= (k->width - 1) % VEC_LANES ? 0.f : -INFINITY;
  *prepared = (struct vn_prepared){
      .jobs = ceil_div(k->units, k->job_units),
      .scratch_bytes = ceil_div((k->width + VEC_LANES) * sizeof(float), 64) * 64,
      .state_bytes = sizeof *k,
      .run = s->op == VN_OP_SOFTMAX ? run_whole_softmax : run_whole_logsoftmax,
      .close = free,
      .state = k};
  return VN_OK;
}

static enum vn_status lanes_prepare(const struct vn_simple *s, struct vn_prepared *prepared,
                                    struct vn_diag *diag) {
  const size_t channels = s->in[0].dim[VN_C];
  struct lanes *k = malloc(sizeof *k);
  if (!k) return vn_fail(diag, VN_E_MEMORY, "softmax: out of memory");
  *k = (struct lanes){.s = *s, .pixels = pixels_of(&s->in[0])};
  k->job_pixels = ceil_div(ceil_div(JOB_ELEMS, channels), VEC_LANES) * VEC_LANES;
  *prepared =
      (struct vn_prepared){.jobs = ceil_div(k->pixels, k->job_pixels),
                           .scratch_bytes = ceil_div(channels * VEC_LANES * sizeof(float), 64) * 64,
                           .state_bytes = sizeof *k,
                           .run = s->op == VN_OP_ARGMAX    ? run_argmax
                                  : s->op == VN_OP_SOFTMAX ? run_softmax
                                                           : run_logsoftmax,
                           .close = free,
                           .state = k};
  return VN_OK;
}

enum vn_status VN_ISA_NAME(softmax)(const struct vn_simple *s, struct vn_prepared *prepared,
                                    struct vn_diag *diag) {
  if (s->op != VN_OP_SOFTMAX && s->op != VN_OP_LOGSOFTMAX && s->op != VN_OP_ARGMAX)
    return vn_fail(diag, VN_E_UNSUPPORTED, "softmax: no body for %s", vn_op_text(s->op));
  if (s->axis != VN_C || s->more_axes || s->in[0].dim[VN_C] > MOST_CHANNELS)
    return vn_fail(diag, VN_E_UNSUPPORTED, "softmax: along c, of at most %d channels",
                   MOST_CHANNELS);
  if (s->op == VN_OP_ARGMAX && s->select_last)
    return vn_fail(diag, VN_E_UNSUPPORTED, "softmax: argmax takes the first of equals");
  const enum vn_status status =
      (whole_covers(s) ? whole_prepare : lanes_prepare)(s, prepared, diag);
  snprintf(prepared->name, sizeof prepared->name, "%s " VN_ISA_TEXT, vn_op_text(s->op));
  return status;
}

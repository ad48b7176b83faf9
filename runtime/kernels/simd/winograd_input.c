/* The input side of the Winograd convolution: B^T along depth, then along w and h.
 *
 * Called by winograd.c and lean.c, and for weight gradients. Reads the input with zeros around it;
 * writes scratch only. */
#include "winograd.h"
#include "winograd_1d.h"

/* One row of a job's depth planes: columns whose input exists. */
struct depth_row {
  const float *in; /* channel 0 of the first column, first of the t depths */
  float *out;      /* frequency 0 */
  size_t in_step, in_depth, out_freq, columns;
  size_t first, last; /* depths [first, last) of the t exist */
  size_t lanes;
};

VEC_INLINE void depth_row(const size_t t, const struct depth_row *r, const int whole) {
  const float *in = r->in;
  float *out = r->out;
  for (size_t q = 0; q < r->columns; q++, in += r->in_step, out += VEC_LANES) {
    vec a[WINO_MAX_T], y[WINO_MAX_T];
    for (size_t k = 0; k < t; k++) {
      if (whole)
        a[k] = vec_load(in + k * r->in_depth);
      else
        a[k] =
            k < r->first || k >= r->last ? vec_zero() : vec_load_k(in + k * r->in_depth, r->lanes);
    }
    input_1d(t, a, y);
    for (size_t k = 0; k < t; k++) vec_store(out + k * r->out_freq, y[k]);
  }
}

static void depth_row_any(size_t t, const struct depth_row *r) {
  int whole = r->lanes == VEC_LANES && r->first == 0 && r->last == t;
  switch (t) {
#define CASE(T)                                                                                    \
  case T:                                                                                          \
    if (whole)                                                                                     \
      depth_row(T, r, 1);                                                                          \
    else                                                                                           \
      depth_row(T, r, 0);                                                                          \
    break;
    CASE(3)
    CASE(4)
    CASE(5)
    CASE(6)
    CASE(8)
#undef CASE
  default:
    break;
  }
}

static void zero_vecs(float *p, size_t n) {
  for (size_t i = 0; i < n; i++) vec_store(p + i * VEC_LANES, vec_zero());
}

/* The part of [start, start + length) that lies inside [0, size), relative to start. */
static void clip(ptrdiff_t start, size_t length, size_t size, size_t *first, size_t *last) {
  ptrdiff_t lo = start < 0 ? -start : 0, hi = (ptrdiff_t)size - start;
  if (hi > (ptrdiff_t)length) hi = (ptrdiff_t)length;
  if (lo > (ptrdiff_t)length) lo = (ptrdiff_t)length;
  *first = (size_t)lo;
  *last = (size_t)(hi < lo ? lo : hi);
}

static ptrdiff_t input_start(const struct wino_axis *a, size_t tile) {
  return (ptrdiff_t)(tile * a->m) - (ptrdiff_t)a->pad;
}

/* planes[freq][tile along depth][vec][row][column] */
void wino_input_depth(const struct wino *w, const struct wino_job *job, float *planes) {
  const struct wino_axis *ax = w->axis;
  const size_t rows = (job->count[1] - 1) * ax[1].m + ax[1].t;
  const size_t columns = (job->count[2] - 1) * ax[2].m + ax[2].t;
  const ptrdiff_t h0 = input_start(&ax[1], job->first[1]), w0 = input_start(&ax[2], job->first[2]);
  const size_t stride = w->conv.in.stride, depth = ax[1].in * ax[2].in * stride, t = ax[0].t;
  size_t c0, c1;
  clip(w0, columns, ax[2].in, &c0, &c1);
  for (size_t z = 0; z < job->count[0]; z++) {
    const ptrdiff_t d0 = input_start(&ax[0], job->first[0] + z);
    struct depth_row r = {
        .in_step = stride, .in_depth = depth, .out_freq = w->plane_freq, .columns = c1 - c0};
    clip(d0, t, ax[0].in, &r.first, &r.last);
    for (size_t j = 0; j < rows; j++) {
      const ptrdiff_t h = h0 + (ptrdiff_t)j;
      const int inside = h >= 0 && h < (ptrdiff_t)ax[1].in && c0 < c1 && r.first < r.last;
      for (size_t c = 0; c < w->vecs_in; c++) {
        float *out = planes + z * w->plane_tile + c * w->plane_vec + j * w->plane_row;
        for (size_t f = 0; f < t; f++) {
          float *row = out + f * w->plane_freq;
          zero_vecs(row, inside ? c0 : columns);
          if (inside) zero_vecs(row + c1 * VEC_LANES, columns - c1);
        }
        if (!inside) continue;
        r.lanes = w->channels_in - c * VEC_LANES;
        if (r.lanes > VEC_LANES) r.lanes = VEC_LANES;
        ptrdiff_t pixel = (((ptrdiff_t)(job->n * ax[0].in) + d0) * (ptrdiff_t)ax[1].in + h) *
                              (ptrdiff_t)ax[2].in +
                          w0 + (ptrdiff_t)c0;
        r.in = (const float *)w->conv.in.data + pixel * (ptrdiff_t)stride + c * VEC_LANES;
        r.out = out + c0 * VEC_LANES;
        depth_row_any(t, &r);
      }
    }
  }
}

/* Along w for all rows of a column of tiles: out[row][t]. */
VEC_INLINE void pass_w(const size_t t, const float *in, size_t in_row, size_t rows, float *out) {
  for (size_t j = 0; j < rows; j++, in += in_row, out += t * VEC_LANES) {
    vec a[WINO_MAX_T], y[WINO_MAX_T];
    for (size_t k = 0; k < t; k++) a[k] = vec_load(in + k * VEC_LANES);
    input_1d(t, a, y);
    for (size_t k = 0; k < t; k++) vec_store(out + k * VEC_LANES, y[k]);
  }
}

/* Along h for one tile: in[t][width] to v[t][width], frequencies v_freq apart. */
VEC_INLINE void pass_h(const size_t t, const float *in, size_t width, float *v, size_t v_freq) {
  for (size_t q = 0; q < width; q++, in += VEC_LANES, v += v_freq) {
    vec a[WINO_MAX_T], y[WINO_MAX_T];
    for (size_t k = 0; k < t; k++) a[k] = vec_load(in + k * width * VEC_LANES);
    input_1d(t, a, y);
    for (size_t k = 0; k < t; k++) vec_store(v + k * width * v_freq, y[k]);
  }
}

#define EACH_T(CASE) CASE(3) CASE(4) CASE(5) CASE(6) CASE(8)

static void pass_w_any(size_t t, const float *in, size_t in_row, size_t rows, float *out) {
  switch (t) {
#define CASE(T)                                                                                    \
  case T:                                                                                          \
    pass_w(T, in, in_row, rows, out);                                                              \
    break;
    EACH_T(CASE)
#undef CASE
  default:
    break;
  }
}

static void pass_h_any(size_t t, const float *in, size_t width, float *v, size_t v_freq) {
  switch (t) {
#define CASE(T)                                                                                    \
  case T:                                                                                          \
    if (width == T)                                                                                \
      pass_h(T, in, T, v, v_freq);                                                                 \
    else                                                                                           \
      pass_h(T, in, width, v, v_freq);                                                             \
    break;
    EACH_T(CASE)
#undef CASE
  default:
    break;
  }
}

/* v[freq][tile][channel] for one depth frequency. */
void wino_input_plane(const struct wino *w, const struct wino_job *job, const float *plane,
                      float *v) {
  const struct wino_axis *h = &w->axis[1], *x = &w->axis[2];
  const size_t rows = (job->count[1] - 1) * h->m + h->t;
  float strip[((WINO_MAX_BLOCK - 1) * WINO_MAX_M + WINO_MAX_T) * WINO_MAX_T * VEC_LANES];
  for (size_t z = 0; z < job->count[0]; z++)
    for (size_t c = 0; c < w->vecs_in; c++)
      for (size_t i = 0; i < job->count[2]; i++) {
        const float *in = plane + z * w->plane_tile + c * w->plane_vec + i * x->m * VEC_LANES;
        pass_w_any(x->t, in, w->plane_row, rows, strip);
        for (size_t j = 0; j < job->count[1]; j++) {
          size_t tile = (z * job->count[1] + j) * job->count[2] + i;
          pass_h_any(h->t, strip + j * h->m * x->t * VEC_LANES, x->t,
                     v + tile * w->v_row + c * VEC_LANES, w->v_freq);
        }
      }
}

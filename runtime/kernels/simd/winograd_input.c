/* The input side of the Winograd convolution: B^T along depth, then along w and h.
 *
 * Called by winograd.c and lean.c, and for weight gradients. Reads the input with zeros around it;
 * writes scratch only. */
#include "winograd.h"
#include "winograd_1d.h"

/* One row of a job's depth planes: columns whose input exists. */
struct depth_row {
  const float *in; /* channel 0 of the first column, the first depth that exists */
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
        a[k] = k < r->first || k >= r->last
                   ? vec_zero()
                   : vec_load_k(in + (k - r->first) * r->in_depth, r->lanes);
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

/* What some tiles of one strand of an axis see: the input's places start, start + dilation …, of
 * which [first, last) exist, and where they are in the planes. */
struct part {
  ptrdiff_t start;
  size_t length, first, last, at;
};

static struct part part_of(const struct wino_axis *a, size_t tile, size_t tiles, size_t at) {
  const ptrdiff_t start = (ptrdiff_t)wino_first_output(a, tile) - (ptrdiff_t)a->pad;
  const ptrdiff_t left = (ptrdiff_t)a->in - start;
  struct part p = {.start = start, .length = (tiles - 1) * a->m + a->t, .at = at};
  p.first = smaller(start < 0 ? ceil_div((size_t)-start, a->dilation) : 0, p.length);
  p.last = smaller(left > 0 ? ceil_div((size_t)left, a->dilation) : 0, p.length);
  if (p.last < p.first) p.last = p.first;
  return p;
}

/* The parts of a job's tiles along an axis; returns their number. */
static size_t parts_of(const struct wino_axis *a, size_t first, size_t count,
                       struct part part[WINO_MAX_BLOCK]) {
  size_t n = 0;
  for (size_t i = 0, tiles; i < count; i += tiles) {
    tiles = smaller(count - i, a->strand - (first + i) % a->strand);
    part[n++] = part_of(a, first + i, tiles, wino_seen_before(a, first, i));
  }
  return n;
}

static size_t place(const struct wino_axis *a, const struct part *p, size_t index) {
  return (size_t)(p->start + (ptrdiff_t)(index * a->dilation));
}

/* One row of a job's tile along depth, all channels: what it sees of one strand along w. `h`: the
 * row of the input, which may wrap; planes: of the tile, row and frequency 0. */
static void row_transform(const struct wino *w, size_t n, const struct part *d, size_t h,
                          const struct part *x, float *planes) {
  const struct wino_axis *ax = w->axis;
  const size_t stride = w->conv.in.stride, t = ax[0].t;
  struct depth_row r = {.in_step = stride * ax[2].dilation,
                        .in_depth = ax[1].in * ax[2].in * stride * ax[0].dilation,
                        .out_freq = w->plane_freq,
                        .columns = x->last - x->first,
                        .first = d->first,
                        .last = d->last};
  const bool inside = h < ax[1].in && r.columns && d->first < d->last;
  for (size_t c = 0; c < w->vecs_in; c++) {
    float *out = planes + c * w->plane_vec + x->at * VEC_LANES;
    for (size_t f = 0; f < t; f++) {
      float *row = out + f * w->plane_freq;
      zero_vecs(row, inside ? x->first : x->length);
      if (inside) zero_vecs(row + x->last * VEC_LANES, x->length - x->last);
    }
    if (!inside) continue;
    r.lanes = smaller(w->channels_in - c * VEC_LANES, VEC_LANES);
    const size_t pixel = ((n * ax[0].in + place(&ax[0], d, d->first)) * ax[1].in + h) * ax[2].in +
                         place(&ax[2], x, x->first);
    r.in = (const float *)w->conv.in.data + pixel * stride + c * VEC_LANES;
    r.out = out + x->first * VEC_LANES;
    depth_row_any(t, &r);
  }
}

/* planes[freq][tile along depth][vec][row][column] */
void wino_input_depth(const struct wino *w, const struct wino_job *job, float *planes) {
  const struct wino_axis *ax = w->axis;
  struct part y[WINO_MAX_BLOCK], x[WINO_MAX_BLOCK];
  const size_t along_h = parts_of(&ax[1], job->first[1], job->count[1], y);
  const size_t along_w = parts_of(&ax[2], job->first[2], job->count[2], x);
  for (size_t z = 0; z < job->count[0]; z++, planes += w->plane_tile) {
    const struct part d = part_of(&ax[0], job->first[0] + z, 1, 0);
    for (size_t i = 0; i < along_h; i++)
      for (size_t j = 0; j < y[i].length; j++)
        for (size_t k = 0; k < along_w; k++)
          row_transform(w, job->n, &d, place(&ax[1], &y[i], j), &x[k],
                        planes + (y[i].at + j) * w->plane_row);
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
  float strip[WINO_MAX_BLOCK * WINO_MAX_T * WINO_MAX_T * VEC_LANES];
  size_t row[WINO_MAX_BLOCK], column[WINO_MAX_BLOCK]; /* of each tile, the first that it sees */
  for (size_t j = 0; j < job->count[1]; j++) row[j] = wino_seen_before(h, job->first[1], j);
  for (size_t i = 0; i < job->count[2]; i++) column[i] = wino_seen_before(x, job->first[2], i);
  const size_t rows = row[job->count[1] - 1] + h->t;
  for (size_t z = 0; z < job->count[0]; z++)
    for (size_t c = 0; c < w->vecs_in; c++)
      for (size_t i = 0; i < job->count[2]; i++) {
        const float *in = plane + z * w->plane_tile + c * w->plane_vec + column[i] * VEC_LANES;
        pass_w_any(x->t, in, w->plane_row, rows, strip);
        for (size_t j = 0; j < job->count[1]; j++) {
          size_t tile = (z * job->count[1] + j) * job->count[2] + i;
          pass_h_any(h->t, strip + row[j] * x->t * VEC_LANES, x->t,
                     v + tile * w->v_row + c * VEC_LANES, w->v_freq);
        }
      }
}

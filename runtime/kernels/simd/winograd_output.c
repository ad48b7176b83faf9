/* The output side of the Winograd convolution: A^T along h and w for one depth frequency,
 * accumulation into the outputs of the depth axis, and with the last one epilogue and store. Called
 * by winograd.c and lean.c. */
#include "winograd.h"
#include "winograd_1d.h"

/* Along h: in[t][width], rows in_row and columns in_step apart, to out[m][width]. */
VEC_INLINE void pass_h(const size_t t, const size_t m, const float *in, size_t in_step,
                       size_t width, float *out) {
  const size_t in_row = in_step * width;
  for (size_t q = 0; q < width; q++, in += in_step, out += VEC_LANES) {
    vec x[WINO_MAX_T], y[WINO_MAX_M];
    for (size_t k = 0; k < t; k++) x[k] = vec_load(in + k * in_row);
    output_1d(t, m, x, y);
    for (size_t k = 0; k < m; k++) vec_store(out + k * width * VEC_LANES, y[k]);
  }
}

/* Along w: in[rows][t] to out[rows][m]. */
VEC_INLINE void pass_w(const size_t t, const size_t m, const float *in, size_t rows, float *out) {
  for (size_t j = 0; j < rows; j++, in += t * VEC_LANES, out += m * VEC_LANES) {
    vec x[WINO_MAX_T], y[WINO_MAX_M];
    for (size_t k = 0; k < t; k++) x[k] = vec_load(in + k * VEC_LANES);
    output_1d(t, m, x, y);
    for (size_t k = 0; k < m; k++) vec_store(out + k * VEC_LANES, y[k]);
  }
}

/* t * 8 + m of every tile there is. */
#define EACH_TILE(F) F(8, 4) F(8, 6) F(6, 2) F(6, 4) F(4, 2) F(5, 1) F(3, 1)

static void pass_h_any(const struct wino_axis *a, const float *in, size_t in_step, size_t width,
                       float *out) {
  switch (a->t * 8 + a->m) {
#define CASE(T, M)                                                                                 \
  case T * 8 + M:                                                                                  \
    pass_h(T, M, in, in_step, width, out);                                                         \
    break;
    EACH_TILE(CASE)
#undef CASE
  default:
    break;
  }
}

static void pass_w_any(const struct wino_axis *a, const float *in, size_t rows, float *out) {
  switch (a->t * 8 + a->m) {
#define CASE(T, M)                                                                                 \
  case T * 8 + M:                                                                                  \
    pass_w(T, M, in, rows, out);                                                                   \
    break;
    EACH_TILE(CASE)
#undef CASE
  default:
    break;
  }
}

/* The share of one depth frequency, y[n], in the m outputs along depth, acc[m][n]. Frequencies come
 * in the order 0, t - 1, then the pairs of points 1 and 2, 3 and 4 …; the first of a pair waits in
 * `pair`. With the last one the sums are complete and go to `done`, which is `acc` until then. */
VEC_INLINE void accumulate(const size_t t, const size_t m, size_t freq, size_t n, const float *y,
                           float *pair, const float *acc, float *done) {
  const size_t step = n * VEC_LANES, k = (freq - 1) / 2;
  if (m == 1 || freq == 0 || freq == t - 1) {
    const size_t at = freq ? (m - 1) * step : 0;
    for (size_t i = 0; i < step; i += VEC_LANES) {
      vec x = vec_load(y + i);
      if (m == 1 && freq) x = x + vec_load(acc + i);
      vec_store(done + at + i, x);
    }
    return;
  }
  if (freq % 2) {
    for (size_t i = 0; i < step; i += VEC_LANES) vec_store(pair + i, vec_load(y + i));
    return;
  }
  for (size_t i = 0; i < step; i += VEC_LANES) {
    vec a = vec_load(pair + i), b = vec_load(y + i), s = a + b, d = a - b;
    VEC_UNROLL for (size_t z = 0; z < m; z++) {
      vec x = z % 2 ? d : s;
      if (k > 0 || z == 0 || z == m - 1)
        x = vec_fma(vec_set1(point_power[k][z]), x, vec_load(acc + z * step + i));
      vec_store(done + z * step + i, x);
    }
  }
}

static void accumulate_any(const struct wino_axis *a, size_t freq, size_t n, const float *y,
                           float *pair, const float *acc, float *done) {
  switch (a->t * 8 + a->m) {
#define CASE(T, M)                                                                                 \
  case T * 8 + M:                                                                                  \
    accumulate(T, M, freq, n, y, pair, acc, done);                                                 \
    break;
    EACH_TILE(CASE)
#undef CASE
  default:
    break;
  }
}

/* One tile's vector of channels in the output. */
struct target {
  size_t channel, lanes, pixel; /* of the first output */
  size_t count[3];              /* outputs that exist */
};

static struct target target_of(const struct wino *w, const struct wino_job *job, size_t tile,
                               size_t vec_index) {
  const struct wino_axis *ax = w->axis;
  const size_t hw = job->count[1] * job->count[2];
  const size_t at[3] = {
      wino_first_output(&ax[0], job->first[0] + tile / hw),
      wino_first_output(&ax[1], job->first[1] + tile % hw / job->count[2]),
      wino_first_output(&ax[2], job->first[2] + tile % job->count[2]),
  };
  struct target t = {.channel = (job->vec + vec_index) * VEC_LANES};
  t.lanes = w->channels_out - t.channel < VEC_LANES ? w->channels_out - t.channel : VEC_LANES;
  t.pixel = ((job->n * ax[0].out + at[0]) * ax[1].out + at[1]) * ax[2].out + at[2];
  for (size_t a = 0; a < 3; a++) {
    const size_t left =
        at[a] < ax[a].out ? (ax[a].out - at[a] + ax[a].dilation - 1) / ax[a].dilation : 0;
    t.count[a] = left < ax[a].m ? left : ax[a].m;
  }
  return t;
}

/* Epilogue and store. */
static void finish(const struct wino *w, const struct target *t, const float *done) {
  const struct wino_axis *ax = w->axis;
  const size_t row = ax[2].out;
  const struct vn_epi e = vn_epi_open(&w->conv.epilogue, t->channel, t->lanes);
  for (size_t z = 0; z < t->count[0]; z++)
    vn_epi_finish(&e, &w->conv.out, w->stream,
                  &(struct vn_epi_pixels){.sum = done + z * ax[1].m * ax[2].m * VEC_LANES,
                                          .pixel = t->pixel + z * ax[0].dilation * ax[1].out * row,
                                          .columns = t->count[2],
                                          .column_step = ax[2].dilation,
                                          .column_sum_step = VEC_LANES,
                                          .rows = t->count[1],
                                          .row_step = ax[1].dilation * row,
                                          .row_sum_step = ax[2].m * VEC_LANES});
}

void wino_output(const struct wino *w, const struct wino_job *job, size_t freq, int last,
                 const float *m, float *pair, float *acc) {
  const struct wino_axis *d = &w->axis[0], *h = &w->axis[1], *x = &w->axis[2];
  const size_t n = h->m * x->m;
  float half[WINO_MAX_M * WINO_MAX_T * VEC_LANES], y[WINO_MAX_M * WINO_MAX_M * VEC_LANES];
  float done[WINO_MAX_M * WINO_MAX_M * WINO_MAX_M * VEC_LANES];
  for (size_t i = 0; i < job->tiles; i++)
    for (size_t o = 0; o < job->vecs; o++) {
      const size_t at = (i * job->vecs + o) * n * VEC_LANES;
      float *sums = acc + at * d->m;
      pass_h_any(h, m + i * w->m_row + o * VEC_LANES, w->m_freq, x->t, half);
      pass_w_any(x, half, h->m, y);
      accumulate_any(d, freq, n, y, pair + at, sums, last ? done : sums);
      if (!last) continue;
      const struct target t = target_of(w, job, i, o);
      finish(w, &t, done);
    }
  if (last && w->stream) vec_stream_end();
}

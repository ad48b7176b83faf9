/* Weight gradient of a 3x3x3 or 5x5x5 convolution by Winograd.
 *
 * Along an axis, tiles of t inputs and m output gradients give r taps: the correlation F(r, m) has
 * the same t points as the forward pass's F(m, r), so that the runtime's B^T serves both. With G'
 * from m gradients to t points, and A'^T from t points to r taps:
 *
 *   dW = A'^T [ sum over tiles of (B^T x) (G' dy)^T ]
 *
 * For each of the t^3 frequencies the sum is a matrix product [in c][tiles] * [tiles][out c], kept
 * in the transformed domain until a sample's last tile. A job takes one chunk of output channels
 * through a fixed share of a sample's blocks of tiles into sums of its own; the shares are then
 * added in order, and the samples' gradients in double. */
#include "backward.h"
#include "cost.h"
#include "kernels/simd/winograd.h"
#include "outer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHARES_MOST = 8 };

struct wgrad {
  struct wino w; /* conv.out is the gradient of the output: its data is read */
  struct vn_wgrad_spec spec;
  size_t samples, blocks, shares;    /* of each sample: blocks of tiles; shares of them */
  size_t y_row, y_freq, y_plane;     /* transformed dy: [freq][tile][chunk's channels]; a plane of
                                        depth frequencies: [tile][h][w][chunk's channels] */
  size_t y_at, y_planes_at, scratch; /* floats, behind what the forward pass lays out */
  /* sums: [sample][share][chunk][depth freq][freq][in c][chunk's vecs] */
  size_t sum_freq, sum_chunk, sum_share;
};

/* A run: sums for each share, work for each thread. */
struct crew {
  const struct wgrad *g;
  float *sums, *work;
};

/* ---- G' and A' ---- */

/* y = G' x, m to t points; constants where this is inlined. m = 1: the value at every point. */
VEC_INLINE void grad_1d(const size_t t, const size_t m, const vec *x, vec *y) {
  static const float scale4[3] = {-1, 1}, scale6[3] = {1, -4 / 3.f, 1 / 12.f};
  static const float scale8[4] = {-1, -8 / 9.f, 2 / 45.f, 32 / 45.f};
  static const float point[4] = {0, 1, 2, .5f};
  const float *scale = t == 4 ? scale4 : t == 6 ? scale6 : scale8;
  if (m == 1) {
    VEC_UNROLL for (size_t j = 0; j < t; j++) y[j] = x[0];
    return;
  }
  y[0] = x[0] * vec_set1(scale[0]);
  y[t - 1] = x[m - 1];
  VEC_UNROLL for (size_t j = 1; 2 * j < t; j++) {
    const float p = point[j], s = scale[j];
    vec even = x[0] * vec_set1(s), odd = x[1] * vec_set1(s * p);
    if (m == 4) {
      even = vec_fma(vec_set1(s * p * p), x[2], even);
      odd = vec_fma(vec_set1(s * p * p * p), x[3], odd);
    }
    y[2 * j - 1] = even + odd;
    y[2 * j] = even - odd;
  }
}

/* y = A'^T x, t points to r taps; m = 1: the points are the taps. */
VEC_INLINE void taps_1d(const size_t t, const size_t r, const vec *x, vec *y) {
  static const float power[3][5] = {
      {1, 1, 1, 1, 1}, {1, 2, 4, 8, 16}, {1, .5f, .25f, .125f, .0625f}};
  if (t == r) {
    VEC_UNROLL for (size_t k = 0; k < r; k++) y[k] = x[k];
    return;
  }
  VEC_UNROLL for (size_t k = 0; k < r; k++) {
    vec sum = vec_zero();
    VEC_UNROLL for (size_t j = 0; 2 * j + 2 < t; j++) {
      const vec half = k % 2 ? x[2 * j + 1] - x[2 * j + 2] : x[2 * j + 1] + x[2 * j + 2];
      sum = vec_fma(vec_set1(power[j][k]), half, sum);
    }
    if (k == 0) sum = sum + x[0];
    if (k == r - 1) sum = sum + x[t - 1];
    y[k] = sum;
  }
}

/* ---- dy ---- */

/* Lines of m vectors, in_step apart, become lines of t vectors, out_step apart. */
VEC_INLINE void grad_line(const size_t t, const size_t m, const float *in, size_t in_step,
                          float *out, size_t out_step) {
  vec x[WINO_MAX_M], y[WINO_MAX_T];
  VEC_UNROLL for (size_t k = 0; k < m; k++) x[k] = vec_load(in + k * in_step);
  grad_1d(t, m, x, y);
  VEC_UNROLL for (size_t k = 0; k < t; k++) vec_store(out + k * out_step, y[k]);
}

#define EACH_AXIS(F) F(8, 4) F(6, 2) F(5, 1) F(6, 4) F(4, 2) F(3, 1)

static void grad_lines(const struct wino_axis *a, const float *in, size_t in_step, size_t in_next,
                       float *out, size_t out_step, size_t out_next, size_t count) {
  switch (a->t * 8 + a->m) {
#define CASE(T, M)                                                                                 \
  case T * 8 + M:                                                                                  \
    for (size_t i = 0; i < count; i++)                                                             \
      grad_line(T, M, in + i * in_next, in_step, out + i * out_next, out_step);                    \
    break;
    EACH_AXIS(CASE)
#undef CASE
  default:
    break;
  }
}

/* The gradient under one tile, zeros beyond the grid: tile[d][h][w], one vector of channels. */
static void tile_load(const struct wgrad *g, size_t n, const size_t at[3], size_t channel,
                      float *tile) {
  const struct wino_axis *ax = g->w.axis;
  const struct vn_tensor *dy = &g->spec.grad_out;
  const size_t left = g->w.channels_out - channel;
  size_t have[3];
  for (int i = 0; i < 3; i++) {
    const size_t from = at[i] * ax[i].m, rest = ax[i].out - from;
    have[i] = rest < ax[i].m ? rest : ax[i].m;
  }
  const float *base = (const float *)dy->data + channel;
  for (size_t d = 0; d < ax[0].m; d++)
    for (size_t h = 0; h < ax[1].m; h++)
      for (size_t w = 0; w < ax[2].m; w++, tile += VEC_LANES) {
        vec x = vec_zero();
        if (d < have[0] && h < have[1] && w < have[2]) {
          const size_t pixel =
              ((n * ax[0].out + at[0] * ax[0].m + d) * ax[1].out + at[1] * ax[1].m + h) *
                  ax[2].out +
              at[2] * ax[2].m + w;
          x = vec_load_k(base + pixel * dy->stride, left);
        }
        vec_store(tile, x);
      }
}

/* G' along depth for all tiles of the block: planes[depth freq][tile][h][w][vec]. */
static void grad_depth(const struct wgrad *g, const struct wino_job *job, float *planes) {
  const struct wino_axis *ax = g->w.axis;
  const size_t area = ax[1].m * ax[2].m;
  float tile[WINO_MAX_M * WINO_MAX_M * WINO_MAX_M * VEC_LANES];
  size_t index = 0;
  for (size_t z = 0; z < job->count[0]; z++)
    for (size_t j = 0; j < job->count[1]; j++)
      for (size_t i = 0; i < job->count[2]; i++, index++)
        for (size_t v = 0; v < job->vecs; v++) {
          const size_t at[3] = {job->first[0] + z, job->first[1] + j, job->first[2] + i};
          tile_load(g, job->n, at, (job->vec + v) * VEC_LANES, tile);
          grad_lines(&ax[0], tile, area * VEC_LANES, VEC_LANES,
                     planes + (index * job->vecs + v) * area * VEC_LANES, g->y_plane, VEC_LANES,
                     area);
        }
}

/* G' along w and h for one depth frequency: y[freq][tile][channel]. */
static void grad_plane(const struct wgrad *g, const struct wino_job *job, const float *plane,
                       float *y) {
  const struct wino_axis *h = &g->w.axis[1], *x = &g->w.axis[2];
  const size_t area = h->m * x->m;
  float strip[WINO_MAX_M * WINO_MAX_T * VEC_LANES];
  for (size_t tile = 0; tile < job->tiles; tile++)
    for (size_t v = 0; v < job->vecs; v++) {
      const float *in = plane + (tile * job->vecs + v) * area * VEC_LANES;
      grad_lines(x, in, VEC_LANES, x->m * VEC_LANES, strip, VEC_LANES, x->t * VEC_LANES, h->m);
      grad_lines(h, strip, x->t * VEC_LANES, VEC_LANES, y + tile * g->y_row + v * VEC_LANES,
                 x->t * g->y_freq, g->y_freq, x->t);
    }
}

/* ---- sums over tiles ---- */

/* `index` counts the shares of all samples. */
static void share_run(const struct wgrad *g, size_t index, size_t chunk, float *sums, float *work) {
  const struct wino *w = &g->w;
  memset(sums, 0, g->sum_chunk * sizeof *sums);
  const size_t sample = index / g->shares, share = index % g->shares;
  const size_t begin = share * g->blocks / g->shares, end = (share + 1) * g->blocks / g->shares;
  for (size_t block = begin; block < end; block++) {
    struct wino_job job;
    wino_job_at(w, (chunk * g->samples + sample) * g->blocks + block, &job);
    wino_input_depth(w, &job, work + w->planes_at);
    grad_depth(g, &job, work + g->y_planes_at);
    for (size_t f = 0; f < w->axis[0].t; f++) {
      wino_input_plane(w, &job, work + w->planes_at + f * w->plane_freq, work + w->v_at);
      grad_plane(g, &job, work + g->y_planes_at + f * g->y_plane, work + g->y_at);
      for (size_t p = 0; p < w->freqs; p++) {
        const struct outer o = {.a = work + w->v_at + p * w->v_freq,
                                .b = work + g->y_at + p * g->y_freq,
                                .a_step = w->v_row,
                                .b_step = g->y_row,
                                .count = job.tiles,
                                .sum = sums + (f * w->freqs + p) * g->sum_freq,
                                .sum_row = w->chunk_vecs * VEC_LANES};
        outer_any(o, w->channels_in, job.vecs * VEC_LANES);
      }
    }
  }
}

static void share_job(void *context, size_t job, size_t slot) {
  const struct crew *c = context;
  const struct wgrad *g = c->g;
  const size_t share = job / g->w.chunks, chunk = job % g->w.chunks;
  share_run(g, share, chunk, c->sums + share * g->sum_share + chunk * g->sum_chunk,
            c->work + slot * g->scratch);
}

/* ---- back to taps ---- */

VEC_INLINE void taps_line(const size_t t, const size_t r, const float *in, size_t in_step,
                          float *out, size_t out_step) {
  vec x[WINO_MAX_T], y[5];
  VEC_UNROLL for (size_t k = 0; k < t; k++) x[k] = vec_load(in + k * in_step);
  taps_1d(t, r, x, y);
  VEC_UNROLL for (size_t k = 0; k < r; k++) vec_store(out + k * out_step, y[k]);
}

#define EACH_TAPS(F) F(8, 5) F(6, 5) F(5, 5) F(6, 3) F(4, 3) F(3, 3)

/* in[before][t][after] to out[before][r][after], vectors. */
static void taps_along(size_t t, size_t r, const float *in, size_t before, size_t after,
                       float *out) {
  switch (t * 8 + r) {
#define CASE(T, R)                                                                                 \
  case T * 8 + R:                                                                                  \
    for (size_t b = 0; b < before; b++)                                                            \
      for (size_t i = 0; i < after; i++)                                                           \
        taps_line(T, R, in + (b * T * after + i) * VEC_LANES, after * VEC_LANES,                   \
                  out + (b * R * after + i) * VEC_LANES, after * VEC_LANES);                       \
    break;
    EACH_TAPS(CASE)
#undef CASE
  default:
    break;
  }
}

/* One input channel and one vector of output channels: a sample's shares, in order, to taps. */
static void taps_one(const struct wgrad *g, const float *from, float *taps) {
  const struct wino *w = &g->w;
  const struct wino_axis *ax = w->axis;
  const size_t *r = g->spec.kernel, freqs = ax[0].t * w->freqs;
  float one[WINO_MAX_T * WINO_MAX_T * WINO_MAX_T * VEC_LANES], two[sizeof one / sizeof *one];
  for (size_t f = 0; f < freqs; f++) {
    vec sum = vec_load(from + f * g->sum_freq);
    for (size_t s = 1; s < g->shares; s++)
      sum = sum + vec_load(from + s * g->sum_share + f * g->sum_freq);
    vec_store(one + f * VEC_LANES, sum);
  }
  taps_along(ax[0].t, r[0], one, 1, ax[1].t * ax[2].t, two);
  taps_along(ax[1].t, r[1], two, r[0], ax[2].t, one);
  taps_along(ax[2].t, r[2], one, r[0] * r[1], 1, taps);
}

/* One vector of output channels, LANES input channels: the gradient is written in lines. */
static void taps_job(void *context, size_t job, size_t slot) {
  enum { LANES = VEC_LANES, TAPS = 5 * 5 * 5 };
  const struct crew *c = context;
  const struct wgrad *g = c->g;
  const struct wino *w = &g->w;
  const size_t *r = g->spec.kernel, taps = r[0] * r[1] * r[2], in = w->channels_in;
  const size_t vec_index = job / w->vecs_in, block = job % w->vecs_in;
  const size_t chunk = vec_index / w->chunk_vecs, v = vec_index % w->chunk_vecs;
  const size_t first = block * LANES, count = in - first < LANES ? in - first : LANES;
  const float *from = c->sums + chunk * g->sum_chunk + (first * w->chunk_vecs + v) * LANES;
  double all[TAPS * LANES][LANES];
  (void)slot;
  memset(all, 0, count * taps * sizeof *all);
  for (size_t s = 0; s < g->samples; s++, from += g->shares * g->sum_share)
    for (size_t i = 0; i < count; i++) {
      float one[TAPS][LANES];
      taps_one(g, from + i * w->chunk_vecs * LANES, one[0]);
      for (size_t k = 0; k < taps; k++)
        for (size_t l = 0; l < LANES; l++) all[i * taps + k][l] += (double)one[k][l];
    }
  for (size_t l = 0; l < LANES && vec_index * LANES + l < w->channels_out; l++) {
    const size_t to = (vec_index * LANES + l) * taps * in + first;
    for (size_t k = 0; k < taps; k++)
      for (size_t i = 0; i < count; i++)
        vn_wgrad_put(&g->spec, to + k * in + i, all[i * taps + k][l]);
  }
}

static void wgrad_run(void *state, struct vn_pool *pool, void *memory) {
  const struct wgrad *g = state;
  struct crew crew = {.g = g, .sums = memory};
  crew.work = crew.sums + g->samples * g->shares * g->sum_share;
  vn_pool_run(pool, g->samples * g->shares * g->w.chunks, share_job, &crew);
  vn_pool_run(pool, g->w.vecs_out * g->w.vecs_in, taps_job, &crew);
}

static void wgrad_close(void *state) {
  free(state);
}

/* ---- how it is cut ---- */

/* The cheapest for one sample, whatever the instruction set: sums are the same on every one. */
static void tile_choose(struct wgrad *g, size_t best[3]) {
  struct vn_cost_conv c = {.channels_in = g->w.channels_in, .channels_out = g->w.channels_out};
  double least = INFINITY;
  for (int i = 0; i < 3; i++) {
    c.out[i] = g->spec.grad_out.dim[VN_D + i];
    c.kernel[i] = g->spec.kernel[i];
  }
  for (size_t i = 0; i < VN_WINOGRAD_CHOICES; i++) {
    uint32_t tile[3];
    vn_winograd_choice(i, tile);
    const double cost = vn_cost_winograd_gradient(&c, tile);
    if (cost >= least) continue;
    least = cost;
    for (int a = 0; a < 3; a++) best[a] = tile[a];
  }
}

static void lay_out(struct wgrad *g) {
  struct wino *w = &g->w;
  const struct wino_axis *ax = w->axis;
  const size_t forward = wino_cut(w) / sizeof(float);
  const size_t tiles = ax[0].block * ax[1].block * ax[2].block;
  g->samples = w->conv.in.dim[VN_N];
  g->blocks = ax[0].blocks * ax[1].blocks * ax[2].blocks;
  g->shares = g->blocks / 4 < 1 ? 1 : g->blocks / 4 > SHARES_MOST ? SHARES_MOST : g->blocks / 4;
  g->y_row = w->chunk_vecs * VEC_LANES;
  g->y_freq = (tiles * w->chunk_vecs | 1) * VEC_LANES;
  g->y_plane = (tiles * w->chunk_vecs * ax[1].m * ax[2].m | 1) * VEC_LANES;
  g->y_at = forward;
  g->y_planes_at = g->y_at + w->freqs * g->y_freq;
  g->scratch = g->y_planes_at + ax[0].t * g->y_plane;
  g->scratch = (g->scratch + 15) / 16 * 16;
  g->sum_freq = w->channels_in * w->chunk_vecs * VEC_LANES;
  g->sum_chunk = ax[0].t * w->freqs * g->sum_freq;
  g->sum_share = (w->chunks * g->sum_chunk + 15) / 16 * 16;
}

static enum vn_status check(const struct vn_wgrad_spec *s, struct vn_diag *diag) {
  const size_t k = s->kernel[0];
  bool cube = (k == 3 || k == 5) && s->kernel[1] == k && s->kernel[2] == k && !s->transposed;
  for (int i = 0; i < 3; i++) cube = cube && s->stride[i] == 1;
  return cube ? VN_OK
              : vn_fail(diag, VN_E_UNSUPPORTED, "weight gradient: 3x3x3 or 5x5x5 of stride 1");
}

vn_wgrad_fn VN_ISA_NAME(wgrad_winograd);
#if VEC_LANES == 16
vn_wgrad_fn vn_wgrad_winograd_avx2;
#endif

enum vn_status VN_ISA_NAME(wgrad_winograd)(const struct vn_wgrad_spec *spec, struct vn_wgrad *wgrad,
                                           struct vn_diag *diag) {
#if VEC_LANES == 16
  if (spec->grad_out.dim[VN_C] <= 8) return vn_wgrad_winograd_avx2(spec, wgrad, diag);
#endif
  enum vn_status status = check(spec, diag);
  if (status) return status;
  struct wgrad *g = calloc(1, sizeof *g);
  if (!g) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  g->spec = *spec;
  g->w.conv = (struct vn_conv){.in = spec->in, .out = spec->grad_out, .groups = 1};
  for (int i = 0; i < 3; i++) {
    g->w.conv.kernel[i] = spec->kernel[i];
    g->w.conv.stride[i] = g->w.conv.dilation[i] = 1;
    g->w.conv.pad[i] = spec->pad[i];
  }
  g->w.channels_in = spec->in.dim[VN_C];
  g->w.channels_out = spec->grad_out.dim[VN_C];
  g->w.vecs_in = (g->w.channels_in + VEC_LANES - 1) / VEC_LANES;
  g->w.vecs_out = (g->w.channels_out + VEC_LANES - 1) / VEC_LANES;
  tile_choose(g, g->w.conv.tile);
  lay_out(g);
  const size_t floats = g->samples * g->shares * g->sum_share + spec->threads * g->scratch;
  *wgrad = (struct vn_wgrad){floats * sizeof(float), wgrad_run, wgrad_close, g, ""};
  snprintf(wgrad->name, sizeof wgrad->name, "winograd %zux%zux%zu " VN_ISA_TEXT, g->w.axis[0].m,
           g->w.axis[1].m, g->w.axis[2].m);
  return VN_OK;
}

/* Weight gradient of a 3x3x3 or 5x5x5 convolution by Winograd.
 *
 * Along an axis, tiles of t inputs and m output gradients give r taps: the correlation F(r, m) has
 * the same t points as the forward pass's F(m, r), so that the runtime's B^T serves both:
 *
 *   dW = A'^T [ sum over tiles of (B^T x) (G' dy)^T ]
 *
 * with G' from m to t points and A'^T from t points to r taps. For each of the t^3 frequencies the
 * sum is a matrix product over tiles, kept in the transformed domain for a fixed part of a sample;
 * the parts' gradients are added in double. Here a job takes one part with sums of its own through
 * its blocks of tiles, which is what large grids want; wgrad_gather.c has the other way round. */
#include "wgrad.h"

#include "cost.h"
#include "outer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS_MOST = 8, PART_BLOCKS = 4 };

/* A run: sums for each part, work for each thread. */
struct crew {
  const struct wgrad *g;
  float *sums, *work;
};

/* ---- sums over tiles ---- */

static void plane_run(const struct wgrad *g, const struct wino_job *job, bool fresh, const float *v,
                      const float *y, float *sums) {
  const struct wino *w = &g->w;
  struct outer o = {.a_step = g->lanes_in ? g->y_row : w->v_row,
                    .b_step = g->lanes_in ? w->v_row : g->y_row,
                    .count = job->tiles,
                    .lanes = VEC_LANES,
                    .sum = sums,
                    .sum_row = g->vecs * VEC_LANES,
                    .fresh = fresh};
  for (size_t p = 0; p < w->freqs; p++, o.sum += g->sum_freq) {
    const float *x = v + p * w->v_freq, *dy = y + p * g->y_freq;
    o.a = g->lanes_in ? dy : x;
    o.b = g->lanes_in ? x : dy;
    outer_any(o, g->rows, g->vecs * VEC_LANES);
  }
}

static void part_job(void *context, size_t index, size_t slot) {
  const struct crew *c = context;
  const struct wgrad *g = c->g;
  const struct wino *w = &g->w;
  float *work = c->work + slot * g->scratch, *sums = c->sums + index * g->sum_part;
  float *planes = work + w->planes_at, *y_planes = work + g->y_planes_at;
  size_t begin, end;
  wgrad_part(g, index % g->parts, &begin, &end);
  for (size_t block = begin; block < end; block++) {
    struct wino_job job;
    wino_job_at(w, index / g->parts * g->blocks + block, &job);
    wino_input_depth(w, &job, planes);
    wgrad_dy_depth(g, &job, y_planes);
    for (size_t f = 0; f < w->axis[0].t; f++) {
      wino_input_plane(w, &job, planes + f * w->plane_freq, work + g->v_at);
      wgrad_dy_plane(g, &job, y_planes + f * g->y_plane, work + g->y_at);
      plane_run(g, &job, block == begin, work + g->v_at, work + g->y_at,
                sums + f * w->freqs * g->sum_freq);
    }
  }
}

/* ---- back to taps ---- */

/* One row and one vector, all parts. */
static void taps_job(void *context, size_t index, size_t slot) {
  const struct crew *c = context;
  const struct wgrad *g = c->g;
  const size_t t = g->w.axis[0].t, area = g->spec.kernel[1] * g->spec.kernel[2] * VEC_LANES;
  const float *sums = c->sums + index * VEC_LANES;
  double all[WGRAD_MAX_TAPS * VEC_LANES];
  (void)slot;
  for (size_t part = 0; part < g->samples * g->parts; part++, sums += g->sum_part) {
    float planes[WINO_MAX_T * WGRAD_MAX_R * WGRAD_MAX_R * VEC_LANES];
    float taps[WGRAD_MAX_TAPS * VEC_LANES];
    for (size_t f = 0; f < t; f++)
      wgrad_taps_plane(g, sums + f * g->w.freqs * g->sum_freq, g->sum_freq, planes + f * area);
    wgrad_taps_depth(g, planes, taps);
    wgrad_taps_add(g, taps, part == 0, all);
  }
  wgrad_taps_store(g, index / g->vecs, index % g->vecs, all);
}

static void wgrad_run(void *state, struct vn_pool *pool, void *memory) {
  const struct wgrad *g = state;
  struct crew crew = {.g = g, .sums = memory};
  crew.work = crew.sums + g->samples * g->parts * g->sum_part;
  vn_pool_run(pool, g->samples * g->parts, part_job, &crew);
  vn_pool_run(pool, g->rows * g->vecs, taps_job, &crew);
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

/* What both ways have in common. */
static void cut(struct wgrad *g) {
  struct wino *w = &g->w;
  const struct wino_axis *ax = w->axis;
  tile_choose(g, w->conv.tile);
  wino_cut(w);
  w->chunks = 1;
  w->chunk_vecs = w->vecs_out;
  g->samples = w->conv.in.dim[VN_N];
  g->blocks = ax[0].blocks * ax[1].blocks * ax[2].blocks;
  g->taps = g->spec.kernel[0] * g->spec.kernel[1] * g->spec.kernel[2];
  g->lanes_in = w->channels_out * w->vecs_in <= w->channels_in * w->vecs_out;
  g->rows = g->lanes_in ? w->channels_out : w->channels_in;
  g->vecs = g->lanes_in ? w->vecs_in : w->vecs_out;
  const size_t tiles = ax[0].block * ax[1].block * ax[2].block;
  g->y_row = w->vecs_out * VEC_LANES;
  g->y_group = WGRAD_GROUP;
  g->y_freq = (tiles * w->vecs_out | 1) * VEC_LANES;
  g->y_plane = (tiles * w->vecs_out * ax[1].m * ax[2].m | 1) * VEC_LANES;
}

/* Places in memory; returns its bytes. */
static size_t lay_out(struct wgrad *g) {
  struct wino *w = &g->w;
  const size_t parts = g->blocks / PART_BLOCKS;
  g->parts = parts < 1 ? 1 : parts > PARTS_MOST ? PARTS_MOST : parts;
  g->v_at = w->planes_at + w->axis[0].t * w->plane_freq;
  g->y_at = g->v_at + w->freqs * w->v_freq;
  g->y_planes_at = g->y_at + w->freqs * g->y_freq;
  g->scratch = (g->y_planes_at + w->axis[0].t * g->y_plane + 15) / 16 * 16;
  g->sum_freq = (g->rows * g->vecs | 1) * VEC_LANES;
  g->sum_part = (w->axis[0].t * w->freqs * g->sum_freq + 15) / 16 * 16;
  return (g->samples * g->parts * g->sum_part + g->spec.threads * g->scratch) * sizeof(float);
}

/* Would a part's sums leave the second cache, and be read and written for each block of tiles? By
 * channels alone, for it decides how sums are taken. */
static bool gathers(const struct wgrad *g) {
  enum {
    LANES = 16,
    PAIRS = 8
  }; /* of LANES by LANES, 512 KB each: 32 by 32 still runs better here */
  return vn_ceil_div(g->w.channels_in, LANES) * vn_ceil_div(g->w.channels_out, LANES) >= PAIRS;
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
  if (spec->in.dim[VN_C] <= 8 && spec->grad_out.dim[VN_C] <= 8)
    return vn_wgrad_winograd_avx2(spec, wgrad, diag);
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
  cut(g);
  const bool gather = gathers(g);
  const size_t bytes = gather ? wgrad_gather_cut(g) : lay_out(g);
  *wgrad = (struct vn_wgrad){bytes, gather ? wgrad_gather_run : wgrad_run, wgrad_close, g, ""};
  snprintf(wgrad->name, sizeof wgrad->name, "winograd %zux%zux%zu%s " VN_ISA_TEXT, g->w.axis[0].m,
           g->w.axis[1].m, g->w.axis[2].m, gather ? " gathered" : "");
  return VN_OK;
}

/* Weight gradients of wide layers and small grids by Winograd.
 *
 * Sums at all frequencies for all pairs of channels are four times the gradient, and with a few
 * dozen tiles to a layer they would be written and read for little. So the tiles of some parts of
 * the batch, both sides, are transformed first; a job then takes one block of rows by vectors
 * through all of a part's tiles, one depth frequency after the other, and brings it to taps before
 * anything leaves its cache. */
#include "outer.h"
#include "wgrad.h"

/* ROWS, VECS: of a job's block. GATHERED: bytes of transformed tiles at a time. */
enum { ROWS = 16, VECS = WGRAD_GROUP / VEC_LANES, GATHERED = 32 << 20, SIDES = 2 };

struct crew {
  const struct wgrad *g;
  float *x, *y, *work;
  double *all;         /* [block][row][vector][tap]: sums over parts, between groups of parts */
  size_t first, count; /* the parts at hand, of all samples' */
};

static size_t lines(size_t elems) {
  return ceil_div(elems, 16) * 16;
}

/* ---- gathering ---- */

static struct wino_job block_at(const struct wgrad *g, size_t part, size_t block) {
  struct wino_job job;
  wino_job_at(&g->w, part / g->parts * g->blocks + block, &job);
  return job;
}

static void gather_x(const struct wgrad *g, const struct wino_job *job, float *planes, float *x) {
  enum { VECS_OF_GROUP = WGRAD_GROUP / VEC_LANES };
  struct wino w = g->w;
  wino_input_depth(&w, job, planes);
  for (size_t f = 0; f < w.axis[0].t; f++, planes += w.plane_freq, x += w.freqs * w.v_freq)
    for (size_t group = 0; group < g->x_groups; group++) {
      const size_t first = group * VECS_OF_GROUP, left = g->w.vecs_in - first;
      w.vecs_in = left < VECS_OF_GROUP ? left : VECS_OF_GROUP;
      wino_input_plane(&w, job, planes + first * w.plane_vec, x + group * g->group);
    }
}

static void gather_y(const struct wgrad *g, const struct wino_job *job, float *planes, float *y) {
  wgrad_dy_depth(g, job, planes);
  for (size_t f = 0; f < g->w.axis[0].t; f++)
    wgrad_dy_plane(g, job, planes + f * g->y_plane, y + f * g->w.freqs * g->y_freq);
}

/* One block of tiles of one part, one side. */
static void gather_job(void *context, size_t index, size_t slot) {
  const struct crew *c = context;
  const struct wgrad *g = c->g;
  const size_t most = ceil_div(g->blocks, g->parts), side = index % SIDES;
  const size_t at = index / SIDES / most, part = c->first + at;
  size_t begin, end, tile = 0;
  wgrad_part(g, part % g->parts, &begin, &end);
  const size_t block = begin + index / SIDES % most;
  if (block >= end) return;
  for (size_t b = begin; b < block; b++) tile += block_at(g, part, b).tiles;
  const struct wino_job job = block_at(g, part, block);
  float *planes = c->work + slot * g->scratch;
  if (side)
    gather_y(g, &job, planes, c->y + at * g->y_groups * g->group + tile * WGRAD_GROUP);
  else
    gather_x(g, &job, planes, c->x + at * g->x_groups * g->group + tile * WGRAD_GROUP);
}

static size_t tiles_of(const struct wgrad *g, size_t part) {
  size_t begin, end, tiles = 0;
  wgrad_part(g, part % g->parts, &begin, &end);
  for (size_t b = begin; b < end; b++) tiles += block_at(g, part, b).tiles;
  return tiles;
}

/* ---- sums ---- */

/* Rows [row, row + rows) by vectors [vec, vec + vecs). */
struct block {
  size_t row, rows, vec, vecs;
};

/* A part's sums at one depth frequency: sums[freq][row][vector]. */
static void sums_run(const struct crew *c, const struct block *b, size_t at, size_t f,
                     float *sums) {
  const struct wgrad *g = c->g;
  const size_t first = f * g->w.freqs;
  const float *x = c->x + at * g->x_groups * g->group + first * g->w.v_freq;
  const float *y = c->y + at * g->y_groups * g->group + first * g->y_freq;
  const size_t a = b->row / WGRAD_GROUP * g->group + b->row % WGRAD_GROUP;
  const size_t v = b->vec * VEC_LANES / WGRAD_GROUP * g->group;
  struct outer o = {.a_step = WGRAD_GROUP,
                    .b_step = WGRAD_GROUP,
                    .count = tiles_of(g, c->first + at),
                    .lanes = VEC_LANES,
                    .sum = sums,
                    .sum_row = b->vecs * VEC_LANES,
                    .fresh = true};
  for (size_t p = 0; p < g->w.freqs; p++, o.sum += g->sum_freq) {
    const float *vx = x + p * g->w.v_freq, *vy = y + p * g->y_freq;
    o.a = (g->lanes_in ? vy : vx) + a;
    o.b = (g->lanes_in ? vx : vy) + v;
    outer_any(o, b->rows, b->vecs * VEC_LANES);
  }
}

static void block_job(void *context, size_t index, size_t slot) {
  const struct crew *c = context;
  const struct wgrad *g = c->g;
  const size_t t = g->w.axis[0].t, area = g->spec.kernel[1] * g->spec.kernel[2] * VEC_LANES;
  const size_t taps = g->taps * VEC_LANES;
  float *sums = c->work + slot * g->scratch, *planes = sums + g->planes_at;
  double *all = c->all ? c->all + index * ROWS * VECS * taps : (double *)(sums + g->all_at);
  struct block b = {.row = index % g->row_blocks * ROWS, .vec = index / g->row_blocks * VECS};
  b.rows = g->rows - b.row < ROWS ? g->rows - b.row : ROWS;
  b.vecs = g->vecs - b.vec < VECS ? g->vecs - b.vec : VECS;
  for (size_t at = 0; at < c->count; at++) {
    const size_t part = c->first + at;
    for (size_t f = 0; f < t; f++) {
      sums_run(c, &b, at, f, sums);
      for (size_t k = 0; k < b.rows * b.vecs; k++)
        wgrad_taps_plane(g, sums + k * VEC_LANES, g->sum_freq, planes + (k * t + f) * area);
    }
    for (size_t k = 0; k < b.rows * b.vecs; k++) {
      float one[WGRAD_MAX_TAPS * VEC_LANES];
      wgrad_taps_depth(g, planes + k * t * area, one);
      wgrad_taps_add(g, one, part == 0, all + k * taps);
      if (part + 1 == g->samples * g->parts)
        wgrad_taps_store(g, b.row + k / b.vecs, b.vec + k % b.vecs, all + k * taps);
    }
  }
}

void wgrad_gather_run(void *state, struct vn_pool *pool, void *memory) {
  const struct wgrad *g = state;
  const size_t parts = g->samples * g->parts, blocks = g->row_blocks * g->vec_blocks;
  struct crew c = {.g = g, .x = memory};
  c.y = c.x + g->together * g->x_groups * g->group;
  c.work = c.y + g->together * g->y_groups * g->group;
  if (g->together < parts) c.all = (double *)(c.work + g->spec.threads * g->scratch);
  for (c.first = 0; c.first < parts; c.first += g->together) {
    c.count = parts - c.first < g->together ? parts - c.first : g->together;
    vn_pool_run(pool, c.count * ceil_div(g->blocks, g->parts) * SIDES, gather_job, &c);
    vn_pool_run(pool, blocks, block_job, &c);
  }
}

/* ---- how it is cut ---- */

size_t wgrad_gather_cut(struct wgrad *g) {
  struct wino *w = &g->w;
  const struct wino_axis *ax = w->axis;
  const size_t block = ax[0].block * ax[1].block * ax[2].block, freqs = ax[0].t * w->freqs;
  w->v_row = g->y_row = WGRAD_GROUP;
  g->x_groups = ceil_div(w->channels_in, WGRAD_GROUP);
  g->y_groups = ceil_div(w->channels_out, WGRAD_GROUP);
  const size_t groups = g->x_groups + g->y_groups;
  size_t fit = GATHERED / (freqs * block * WGRAD_GROUP * sizeof(float) * groups);
  g->parts = ceil_div(g->blocks, fit ? fit : 1);
  w->v_freq = g->y_freq = ceil_div(g->blocks, g->parts) * block * WGRAD_GROUP;
  g->group = g->y_group = freqs * w->v_freq + 16;
  const size_t parts = g->samples * g->parts;
  fit = GATHERED / (groups * g->group * sizeof(float));
  g->together = fit < 1 ? 1 : fit < parts ? fit : parts;
  g->row_blocks = ceil_div(g->rows, ROWS);
  g->vec_blocks = ceil_div(g->vecs, VECS);
  g->sum_freq = (ROWS * VECS | 1) * VEC_LANES;
  g->planes_at = lines(w->freqs * g->sum_freq);
  g->all_at = g->planes_at + ROWS * VECS * ax[0].t * g->taps / g->spec.kernel[0] * VEC_LANES;
  const size_t all = g->taps * VEC_LANES * ROWS * VECS * sizeof(double) / sizeof(float);
  const size_t x_planes = ax[0].t * w->plane_freq, y_planes = ax[0].t * g->y_plane;
  g->scratch = g->all_at + (g->together < parts ? 0 : all);
  if (g->scratch < x_planes) g->scratch = x_planes;
  if (g->scratch < y_planes) g->scratch = y_planes;
  g->scratch = lines(g->scratch);
  const size_t between = g->together < parts ? g->row_blocks * g->vec_blocks * all : 0;
  return (g->together * groups * g->group + g->spec.threads * g->scratch + between) * sizeof(float);
}

/* Winograd convolution of a few input channels: transforms along h and w alone, 4x4 outputs to a
 * tile, and direct along depth. With one input channel the products are a tenth of direct
 * convolution's, and the only transform that counts is the output's, which 3D Winograd and FFT have
 * along a third axis.
 *
 * The story of a job, a few rows of tiles of PLANES planes: the input that they see is copied with
 * zeros around it, turned so that planes are neighbours, for the input's transform has planes in
 * the lanes. Then tile by tile: the input's transform; for each row of frequencies and vector of
 * output channels, which are the lanes from here on, the products along depth with weights and sums
 * in registers and the output's transform along w; the output's transform along h, epilogue and
 * store. What a tile needs stays near the first cache. */
#include "cost.h"
#include "winograd_1d.h"

#include <stdlib.h>
#include <string.h>

enum {
  PLANES = VN_FEW_PLANES, /* of the output, to a job */
  TILE = 4,
  MOST_TAPS = 5,
  SEEN = (PLANES + MOST_TAPS - 1 + VEC_LANES - 1) / VEC_LANES * VEC_LANES, /* planes of the input */
  JOB_ROWS = 4, /* rows of tiles, at most */
  ENOUGH_JOBS = 32
};

struct few {
  struct wino w; /* for wino_pack: a chunk for each output vector, depth "frequencies" are taps */
  size_t rows, row_blocks, plane_blocks; /* of tiles in a job; jobs along h and d */
  size_t columns, seen_rows;             /* pixels of the copied input */
  size_t halves_at, v_at, m_at;          /* in the scratch, behind the copied input */
};

struct place {
  size_t n, d, planes, h, rows; /* outputs; h and rows in tiles */
};

/* ---- the input ---- */

/* One row of one channel of one plane, every SEEN floats a column; NULL: outside. */
static void copy_row(const struct few *k, const float *from, float *to) {
  const struct vn_tensor *in = &k->w.conv.in;
  const size_t lead = from ? smaller(k->w.conv.pad[2], k->columns) : k->columns;
  const size_t body = smaller(in->dim[VN_W], k->columns - lead);
  for (size_t i = 0; i < lead; i++, to += SEEN) *to = 0;
  for (size_t i = 0; i < body; i++, to += SEEN, from += in->stride) *to = *from;
  for (size_t i = lead + body; i < k->columns; i++, to += SEEN) *to = 0;
}

/* seen[channel][row][column][plane] */
static void copy_input(const struct few *k, const struct place *p, float *seen) {
  const struct vn_conv *c = &k->w.conv;
  const size_t *in = &c->in.dim[VN_D], depth = PLANES + c->kernel[0] - 1;
  const size_t rows = p->rows * TILE + c->kernel[1] - 1;
  for (size_t i = 0; i < k->w.channels_in; i++)
    for (size_t y = 0; y < rows; y++)
      for (size_t z = 0; z < depth; z++) {
        const size_t d = p->d + z - c->pad[0], h = p->h * TILE + y - c->pad[1]; /* may wrap */
        const size_t pixel = ((p->n * in[0] + d) * in[1] + h) * in[2];
        const bool inside = d < in[0] && h < in[1];
        copy_row(k, inside ? (const float *)c->in.data + pixel * c->in.stride + i : NULL,
                 seen + (i * k->seen_rows + y) * k->columns * SEEN + z);
      }
}

/* Along h: TILE columns, to half[column][frequency][plane]. */
VEC_INLINE void input_h(const struct few *k, const size_t t, const float *seen, float *half) {
  for (size_t x = 0; x < TILE; x++, seen += SEEN, half += t * SEEN)
    for (size_t z = 0; z < SEEN; z += VEC_LANES) {
      vec a[WINO_MAX_T], y[WINO_MAX_T];
      VEC_UNROLL for (size_t i = 0; i < t; i++) a[i] = vec_load(seen + i * k->columns * SEEN + z);
      input_1d(t, a, y);
      VEC_UNROLL for (size_t i = 0; i < t; i++) vec_store(half + i * SEEN + z, y[i]);
    }
}

/* Along w, from a tile's two halves to v[frequency h][frequency w][plane]. */
VEC_INLINE void input_w(const size_t t, const float *left, const float *right, float *v) {
  for (size_t f = 0; f < t; f++, v += t * SEEN)
    for (size_t z = 0; z < SEEN; z += VEC_LANES) {
      vec a[WINO_MAX_T], y[WINO_MAX_T];
      VEC_UNROLL for (size_t i = 0; i < t; i++) a[i] =
          vec_load((i < TILE ? left : right) + (i % TILE * t + f) * SEEN + z);
      input_1d(t, a, y);
      VEC_UNROLL for (size_t i = 0; i < t; i++) vec_store(v + i * SEEN + z, y[i]);
    }
}

/* ---- products and output ---- */

/* One frequency: sums[plane], `step` apart. u: of tap 0; taps are `tap` apart. */
VEC_INLINE void along_depth(const size_t r, size_t channels, const float *v, size_t channel,
                            const float *u, size_t tap, float *sums, size_t step) {
  vec sum[PLANES], weight[MOST_TAPS];
  VEC_UNROLL for (size_t i = 0; i < PLANES; i++) sum[i] = vec_zero();
  for (size_t c = 0; c < channels; c++, v += channel, u += VEC_LANES) {
    VEC_UNROLL for (size_t j = 0; j < r; j++) weight[j] = vec_load(u + j * tap);
    VEC_UNROLL for (size_t z = 0; z < PLANES + r - 1; z++) {
      const vec x = vec_set1(v[z]);
      VEC_UNROLL for (size_t j = 0; j < r; j++) if (j <= z && z - j < PLANES) sum[z - j] =
          vec_fma(x, weight[j], sum[z - j]);
    }
  }
  VEC_UNROLL for (size_t i = 0; i < PLANES; i++) vec_store(sums + i * step, sum[i]);
}

/* One vector of output channels of a tile: m[plane][frequency h][w]. */
VEC_INLINE void products(const struct few *k, const size_t t, const size_t r, const float *v,
                         const float *u, float *m) {
  const size_t channels = k->w.channels_in, next = channels * VEC_LANES;
  float sums[PLANES * WINO_MAX_T * VEC_LANES];
  for (size_t h = 0; h < t; h++, m += TILE * VEC_LANES) {
    for (size_t f = 0; f < t; f++, v += SEEN, u += next)
      along_depth(r, channels, v, t * t * SEEN, u, t * t * next, sums + f * VEC_LANES,
                  t * VEC_LANES);
    for (size_t z = 0; z < PLANES; z++) {
      vec x[WINO_MAX_T], y[TILE];
      VEC_UNROLL for (size_t i = 0; i < t; i++) x[i] = vec_load(sums + (z * t + i) * VEC_LANES);
      output_1d(t, TILE, x, y);
      VEC_UNROLL for (size_t i = 0; i < TILE; i++)
          vec_store(m + (z * t * TILE + i) * VEC_LANES, y[i]);
    }
  }
}

/* Where a tile's outputs lie. */
struct target {
  size_t pixel, planes, rows, columns; /* the first; those that exist */
};

static struct target target_of(const struct few *k, const struct place *p, size_t y, size_t tile) {
  const size_t *out = &k->w.conv.out.dim[VN_D], h = (p->h + y) * TILE, w = tile * TILE;
  return (struct target){.pixel = ((p->n * out[0] + p->d) * out[1] + h) * out[2] + w,
                         .planes = p->planes,
                         .rows = smaller(TILE, out[1] - h),
                         .columns = smaller(TILE, out[2] - w)};
}

/* Fetches a tile's outputs while another is computed: its few lines of many rows are no pattern
 * that the machine sees. */
static void fetch(const struct few *k, const struct target *t) {
  const struct vn_tensor *out = &k->w.conv.out;
  const size_t bytes = t->columns * out->stride * sizeof(float);
  const size_t row = out->dim[VN_W] * out->stride, plane = out->dim[VN_H] * row;
  const float *first = (const float *)out->data + t->pixel * out->stride;
  for (size_t z = 0; z < t->planes; z++)
    for (size_t y = 0; y < t->rows; y++)
      for (size_t at = 0; at < bytes; at += 64)
        vec_prefetch_write((const char *)(first + z * plane + y * row) + at);
}

/* Along h, epilogue and store. */
VEC_INLINE void finish(const struct few *k, const struct target *at, const size_t t,
                       size_t vec_index, const float *m) {
  const struct vn_tensor *out = &k->w.conv.out;
  const size_t row = out->dim[VN_W], channel = vec_index * VEC_LANES;
  const struct vn_epi e =
      vn_epi_open(&k->w.conv.epilogue, channel, smaller(k->w.channels_out - channel, VEC_LANES));
  const bool stream = k->w.stream && e.count == VEC_LANES;
  for (size_t z = 0; z < at->planes; z++, m += t * TILE * VEC_LANES) {
    float results[TILE * TILE * VEC_LANES];
    VEC_UNROLL for (size_t i = 0; i < TILE; i++) {
      vec x[WINO_MAX_T], y[TILE];
      VEC_UNROLL for (size_t j = 0; j < t; j++) x[j] = vec_load(m + (j * TILE + i) * VEC_LANES);
      output_1d(t, TILE, x, y);
      VEC_UNROLL for (size_t j = 0; j < TILE; j++)
          vec_store(results + (j * TILE + i) * VEC_LANES, y[j]);
    }
    size_t pixel = at->pixel + z * out->dim[VN_H] * row;
    for (size_t j = 0; j < at->rows; j++, pixel += row) {
      float *to = (float *)out->data + pixel * out->stride + channel;
      const float *from = results + j * TILE * VEC_LANES;
      for (size_t i = 0; i < at->columns; i++, to += out->stride, from += VEC_LANES) {
        const vec y = vn_epi_apply(&e, vec_load(from), pixel + i);
        if (stream)
          vec_stream(to, y);
        else
          vec_store_k(to, y, e.count);
      }
    }
  }
}

/* ---- a job ---- */

VEC_INLINE void tile_row(const struct few *k, const struct place *p, const size_t t, const size_t r,
                         size_t y, float *scratch) {
  const size_t channels = k->w.channels_in, v_channel = t * t * SEEN, half = TILE * t * SEEN;
  float *halves = scratch + k->halves_at, *v = scratch + k->v_at, *m = scratch + k->m_at;
  for (size_t i = 0; i <= k->w.axis[2].tiles; i++) {
    for (size_t c = 0; c < channels; c++) {
      const float *seen = scratch + ((c * k->seen_rows + y * TILE) * k->columns + i * TILE) * SEEN;
      float *pair = halves + 2 * c * half, *now = pair + i % 2 * half;
      input_h(k, t, seen, now);
      if (i) input_w(t, pair + (i - 1) % 2 * half, now, v + c * v_channel);
    }
    if (!i) continue;
    const struct target at = target_of(k, p, y, i - 1);
    if (!k->w.stream) fetch(k, &at);
    for (size_t o = 0; o < k->w.vecs_out; o++) {
      products(k, t, r, v, k->w.packed + o * k->w.chunk_elems, m);
      finish(k, &at, t, o, m);
    }
  }
}

static void few_run(const void *state, size_t job, void *scratch) {
  const struct few *k = state;
  const size_t depth = k->w.axis[0].out;
  struct place p = {.d = job % k->plane_blocks * PLANES};
  job /= k->plane_blocks;
  p.planes = smaller(PLANES, depth - p.d);
  p.h = job % k->row_blocks * k->rows;
  p.rows = smaller(k->rows, k->w.axis[1].tiles - p.h);
  p.n = job / k->row_blocks;
  copy_input(k, &p, scratch);
  for (size_t y = 0; y < p.rows; y++)
    if (k->w.conv.kernel[0] == 5)
      tile_row(k, &p, 8, 5, y, scratch);
    else
      tile_row(k, &p, 6, 3, y, scratch);
  if (k->w.stream) vec_stream_end();
}

/* ---- opening ---- */

static bool few_pack(const void *state, struct vn_pool *pool, const float *weight, void *memory,
                     struct vn_watch *watch) {
  return wino_pack(&((const struct few *)state)->w, pool, weight, memory, watch);
}

static void few_use(void *state, const void *memory) {
  ((struct few *)state)->w.packed = memory;
}

static void measure(struct few *k) {
  struct wino *w = &k->w;
  static const size_t tile[3] = {1, TILE, TILE};
  for (size_t a = 0; a < 3; a++) {
    const size_t out = w->conv.out.dim[VN_D + a];
    w->axis[a] = (struct wino_axis){.out = out,
                                    .m = tile[a],
                                    .t = tile[a] + w->conv.kernel[a] - 1,
                                    .tiles = ceil_div(out, tile[a])};
  }
  w->freqs = w->axis[1].t * w->axis[2].t;
  w->chunk_vecs = 1;
  w->chunks = w->vecs_out;
  w->chunk_elems = w->axis[0].t * w->freqs * w->channels_in * VEC_LANES;
  k->plane_blocks = ceil_div(w->axis[0].out, PLANES);
  k->rows = smaller(JOB_ROWS, w->axis[1].tiles);
  while (k->rows > 1 &&
         w->conv.out.dim[VN_N] * k->plane_blocks * ceil_div(w->axis[1].tiles, k->rows) <
             ENOUGH_JOBS)
    k->rows--;
  k->row_blocks = ceil_div(w->axis[1].tiles, k->rows);
}

/* Places in the scratch; returns its size in bytes. */
static size_t lay_out(struct few *k) {
  const struct wino *w = &k->w;
  const size_t t = w->axis[2].t;
  k->columns = (w->axis[2].tiles + 1) * TILE;
  k->seen_rows = k->rows * TILE + w->conv.kernel[1] - 1;
  k->halves_at = w->channels_in * k->seen_rows * k->columns * SEEN;
  k->v_at = k->halves_at + w->channels_in * 2 * TILE * t * SEEN;
  k->m_at = k->v_at + w->channels_in * t * t * SEEN;
  const size_t end = k->m_at + PLANES * t * TILE * VEC_LANES;
  return ceil_div(end * sizeof(float), 64) * 64;
}

enum vn_status wino_few(const struct wino *wino, struct vn_prepared *prepared,
                        struct vn_diag *diag) {
  struct few *k = calloc(1, sizeof *k);
  if (!k) return vn_fail(diag, VN_E_MEMORY, "winograd: out of memory");
  k->w = *wino;
  measure(k);
  const size_t scratch = lay_out(k);
  k->w.stream = vn_wants_stream(&wino->conv.out);
  *prepared =
      (struct vn_prepared){.name = "winograd few 1x4x4 " VN_ISA_TEXT,
                           .jobs = k->w.conv.out.dim[VN_N] * k->row_blocks * k->plane_blocks,
                           .scratch_bytes = scratch,
                           .packed_bytes = k->w.chunk_elems * k->w.chunks * sizeof(float),
                           .run = few_run,
                           .close = free,
                           .pack = few_pack,
                           .use = few_use,
                           .state = k};
  return VN_OK;
}

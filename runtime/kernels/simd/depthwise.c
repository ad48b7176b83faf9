/* Depthwise convolution, one channel per group: any kernel, stride, padding and dilation.
 *
 * Lanes are neighbouring channels. A job is one vector of channels on a few output rows of a few
 * planes. It copies the planes that they see into a ring in scratch, pixel after pixel, with zeros
 * before and after each row: where they lie, a vector's pixels share few of the first cache's sets.
 * It walks blocks of pixels down the rows before it goes on along w, so that most of what a block
 * reads is in the first cache since the row above. */
#include "epilogue.h"
#include "gemm.h"
#include "simd.h"

#include <stdlib.h>
#include <string.h>

enum {
  JOB_ROWS = 8,             /* output rows per job, at most */
  JOB_PLANES = 8,           /* output planes per job, at most */
  FEWEST_JOBS = 32,         /* if possible */
  NEAR_PIXELS = 8,          /* of a block whose pixels and taps are neighbours */
  MOST_NEAR = 7,            /* taps along w of such a block */
  MOST_SCRATCH = 256 << 20, /* bytes */
};

struct block;
typedef void block_fn(const struct block *b);

struct depthwise {
  struct vn_conv conv;
  size_t vecs, rows, planes;       /* vectors of channels; output rows and planes per job */
  size_t row_blocks, plane_blocks; /* jobs along h and d */
  size_t ring, in_rows;            /* planes in scratch, and rows of each */
  size_t pixels, row_step;         /* a padded row's pixels; floats from one row to the next */
  size_t planes_at;                /* bytes into the scratch, behind the planes' numbers */
  bool stream;
  block_fn *near;      /* for NEAR_PIXELS at once; or NULL */
  const float *packed; /* [vector][tap d][tap h][tap w][lane] */
};

/* The taps of one axis that fall on the input, for one output. */
struct span {
  size_t tap, count; /* the first, and how many */
  size_t in;         /* the input index of the first */
};

static struct span span_at(const struct vn_conv *c, int axis, size_t out) {
  const size_t at = out * c->stride[axis], pad = c->pad[axis], dilation = c->dilation[axis];
  const size_t end = c->in.dim[VN_D + axis] + pad;
  struct span s = {.tap = at < pad ? ceil_div(pad - at, dilation) : 0};
  const size_t stop = at < end ? smaller(c->kernel[axis], ceil_div(end - at, dilation)) : 0;
  s.count = stop > s.tap ? stop - s.tap : 0;
  s.in = at + s.tap * dilation - pad;
  return s;
}

/* ---- a few pixels of a row ---- */

struct block {
  const float *in;              /* plane 0 of the ring, the first tap's row, the first pixel */
  const float *u;               /* the weights of the first tap */
  size_t planes, rows, taps;    /* of the kernel, along d, h, w */
  size_t slot, slot_step, ring; /* of the first tap's plane; to the next tap's; slots */
  size_t plane_step, row_step, tap_step, pixel_step; /* of in */
  size_t u_plane_step, u_row_step;                   /* of u */
  float *sum;
};

/* One row of taps, each vector of weights loaded once. */
VEC_INLINE void taps_any(vec sum[GEMM_ROWS], const struct block *b, const float *in, const float *u,
                         const size_t n) {
  const size_t step = b->pixel_step;
  for (size_t t = 0; t < b->taps; t++, in += b->tap_step, u += VEC_LANES) {
    const float *at[3] = {in, in + 4 * step, in + 8 * step};
    const vec w = vec_load(u);
    VEC_UNROLL for (size_t i = 0; i < n; i++) sum[i] =
        vec_fma(w, vec_load(at[i / 4] + i % 4 * step), sum[i]);
  }
}

/* Neighbouring pixels and taps: each pixel, too, is loaded once. */
VEC_INLINE void taps_near(vec sum[GEMM_ROWS], const float *in, const float *u, const size_t n,
                          const size_t taps) {
  vec w[MOST_NEAR], x[MOST_NEAR];
  VEC_UNROLL for (size_t t = 0; t < taps; t++) w[t] = vec_load(u + t * VEC_LANES);
  VEC_UNROLL for (size_t t = 0; t + 1 < taps; t++) x[t] = vec_load(in + t * VEC_LANES);
  VEC_UNROLL for (size_t i = 0; i < n; i++) {
    x[(i + taps - 1) % taps] = vec_load(in + (i + taps - 1) * VEC_LANES);
    VEC_UNROLL for (size_t t = 0; t < taps; t++) sum[i] = vec_fma(w[t], x[(i + t) % taps], sum[i]);
  }
}

/* near: the constant count of taps along w, or 0. */
VEC_INLINE void block(const struct block *b, const size_t n, const size_t near) {
  vec sum[GEMM_ROWS];
  size_t slot = b->slot;
  VEC_UNROLL for (size_t i = 0; i < n; i++) sum[i] = vec_zero();
  for (size_t z = 0; z < b->planes; z++) {
    for (size_t y = 0; y < b->rows; y++) {
      const float *in = b->in + slot * b->plane_step + y * b->row_step;
      const float *u = b->u + z * b->u_plane_step + y * b->u_row_step;
      if (near)
        taps_near(sum, in, u, n, near);
      else
        taps_any(sum, b, in, u, n);
    }
    slot += b->slot_step;
    if (slot >= b->ring) slot -= b->ring;
  }
  VEC_UNROLL for (size_t i = 0; i < n; i++) vec_store(b->sum + i * VEC_LANES, sum[i]);
}

#define DEFINE(N)                                                                                  \
  static void block_##N(const struct block *b) {                                                   \
    block(b, N, 0);                                                                                \
  }
#define DEFINE_NEAR(T)                                                                             \
  static void near_##T(const struct block *b) {                                                    \
    block(b, NEAR_PIXELS, T);                                                                      \
  }
GEMM_EACH_ROWS(DEFINE)
#define ENTRY(N) block_##N,
static block_fn *const blocks_of[GEMM_ROWS] = {GEMM_EACH_ROWS(ENTRY)};
DEFINE_NEAR(3)
DEFINE_NEAR(5)
DEFINE_NEAR(7)
static block_fn *const near_of[MOST_NEAR + 1] = {[3] = near_3, [5] = near_5, [7] = near_7};

/* ---- a job ---- */

struct place {
  size_t n, d, planes, h, rows, vec; /* the first of each, and how many */
  size_t in_h, in_rows;              /* the rows of the input that its taps fall on */
  size_t *which;                     /* for each slot of the ring: the input plane in it */
  float *ring;
};

/* One padded row, channels [channel, channel + count). */
static void copy_row(const struct depthwise *k, float *to, const float *from, size_t count) {
  const struct vn_conv *c = &k->conv;
  const size_t lead = smaller(c->pad[2], k->pixels);
  const size_t body = smaller(c->in.dim[VN_W], k->pixels - lead), end = lead + body;
  memset(to, 0, lead * VEC_LANES * sizeof *to);
  to += lead * VEC_LANES;
  if (count == VEC_LANES)
    for (size_t i = 0; i < body; i++, to += VEC_LANES, from += c->in.stride)
      vec_store(to, vec_load(from));
  else
    for (size_t i = 0; i < body; i++, to += VEC_LANES, from += c->in.stride)
      vec_store(to, vec_load_n(from, count));
  memset(to, 0, (k->pixels - end) * VEC_LANES * sizeof *to);
}

/* Brings the planes that output plane d sees into the ring. */
static void copy_planes(const struct depthwise *k, const struct place *p, size_t d, size_t count) {
  const struct vn_conv *c = &k->conv;
  const size_t *in = &c->in.dim[VN_D];
  const struct span s = span_at(c, 0, d);
  for (size_t t = 0; t < s.count; t++) {
    const size_t plane = s.in + t * c->dilation[0], slot = plane % k->ring;
    if (p->which[slot] == plane) continue;
    p->which[slot] = plane;
    for (size_t y = 0; y < p->in_rows; y++) {
      const size_t row = (p->n * in[0] + plane) * in[1] + p->in_h + y;
      copy_row(k, p->ring + (slot * k->in_rows + y) * k->row_step,
               (const float *)c->in.data + row * in[2] * c->in.stride + p->vec * VEC_LANES, count);
    }
  }
}

/* Epilogue and store of `count` pixels from `pixel` on. */
static void finish(const struct depthwise *k, const struct vn_epi *epi, const float *sum,
                   size_t pixel, size_t count) {
  const struct vn_epi e = *epi;
  const size_t stride = k->conv.out.stride;
  float *out = (float *)k->conv.out.data + pixel * stride + e.channel;
  const bool stream = k->stream && e.count == VEC_LANES;
  for (size_t i = 0; i < count; i++, out += stride) {
    const vec y = vn_epi_apply(&e, vec_load(sum + i * VEC_LANES), pixel + i);
    if (stream)
      vec_stream(out, y);
    else
      vec_store_k(out, y, e.count);
  }
}

/* `run` on output pixels [x, x + count) of each of the job's rows in plane d. */
static void column(const struct depthwise *k, const struct place *p, const struct vn_epi *e,
                   size_t d, size_t x, size_t count, block_fn *run) {
  const struct vn_conv *c = &k->conv;
  const size_t *out = &c->out.dim[VN_D], *r = c->kernel;
  const struct span z = span_at(c, 0, d);
  float sum[GEMM_ROWS * VEC_LANES];
  struct block b = {.taps = r[2],
                    .slot = z.in % k->ring,
                    .slot_step = c->dilation[0],
                    .ring = k->ring,
                    .plane_step = k->in_rows * k->row_step,
                    .row_step = c->dilation[1] * k->row_step,
                    .tap_step = c->dilation[2] * VEC_LANES,
                    .pixel_step = c->stride[2] * VEC_LANES,
                    .u_plane_step = r[1] * r[2] * VEC_LANES,
                    .u_row_step = r[2] * VEC_LANES,
                    .sum = sum};
  for (size_t y = p->h; y < p->h + p->rows; y++) {
    const struct span h = span_at(c, 1, y);
    b.rows = h.count;
    b.planes = h.count ? z.count : 0;
    if (b.planes) b.in = p->ring + (h.in - p->in_h) * k->row_step + x * b.pixel_step;
    b.u = k->packed + ((p->vec * r[0] + z.tap) * r[1] + h.tap) * b.u_row_step;
    run(&b);
    finish(k, e, sum, ((p->n * out[0] + d) * out[1] + y) * out[2] + x, count);
  }
}

static void columns(const struct depthwise *k, const struct place *p, const struct vn_epi *e,
                    size_t d) {
  const size_t width = k->conv.out.dim[VN_W];
  size_t x = 0;
  for (; k->near && x + NEAR_PIXELS <= width; x += NEAR_PIXELS)
    column(k, p, e, d, x, NEAR_PIXELS, k->near);
  for (size_t left = ceil_div(width - x, GEMM_ROWS); left; left--) {
    const size_t n = ceil_div(width - x, left);
    column(k, p, e, d, x, n, blocks_of[n - 1]);
    x += n;
  }
}

static struct place place_of(const struct depthwise *k, size_t job, void *scratch) {
  const struct vn_conv *c = &k->conv;
  const size_t *out = &c->out.dim[VN_D];
  struct place p = {.vec = job % k->vecs, .which = scratch};
  job /= k->vecs;
  p.h = job % k->row_blocks * k->rows;
  p.rows = smaller(k->rows, out[1] - p.h);
  job /= k->row_blocks;
  p.d = job % k->plane_blocks * k->planes;
  p.planes = smaller(k->planes, out[0] - p.d);
  p.n = job / k->plane_blocks;
  const size_t first = p.h * c->stride[1], pad = c->pad[1];
  const size_t end = first + (p.rows - 1) * c->stride[1] + (c->kernel[1] - 1) * c->dilation[1] + 1;
  p.in_h = first > pad ? smaller(first - pad, c->in.dim[VN_H]) : 0;
  p.in_rows = end > pad + p.in_h ? smaller(end - pad, c->in.dim[VN_H]) - p.in_h : 0;
  p.ring = (float *)((unsigned char *)scratch + k->planes_at);
  for (size_t i = 0; i < k->ring; i++) p.which[i] = SIZE_MAX;
  return p;
}

static void depthwise_run(const void *state, size_t job, void *scratch) {
  const struct depthwise *k = state;
  const struct place p = place_of(k, job, scratch);
  const size_t channel = p.vec * VEC_LANES;
  const size_t count = smaller(k->conv.out.dim[VN_C] - channel, VEC_LANES);
  const struct vn_epi e = vn_epi_open(&k->conv.epilogue, channel, count);
  for (size_t d = p.d; d < p.d + p.planes; d++) {
    copy_planes(k, &p, d, count);
    columns(k, &p, &e, d);
  }
  if (k->stream) vec_stream_end();
}

/* ---- open ---- */

struct packing {
  const struct depthwise *k;
  const float *weight;
  float *to;
};

static void pack_vec(void *context, size_t job, size_t slot) {
  const struct packing *p = context;
  const size_t *r = p->k->conv.kernel, taps = r[0] * r[1] * r[2];
  float *to = p->to + job * taps * VEC_LANES;
  (void)slot;
  for (size_t t = 0; t < taps; t++)
    for (size_t c = job * VEC_LANES; c < (job + 1) * VEC_LANES; c++)
      *to++ = c < p->k->conv.out.dim[VN_C] ? p->weight[c * taps + t] : 0;
}

static bool depthwise_pack(const void *state, struct vn_pool *pool, const float *weight,
                           void *memory, struct vn_watch *watch) {
  struct packing packing = {state, weight, memory};
  return vn_pool_run_watched(pool, packing.k->vecs, pack_vec, &packing, watch);
}

static void depthwise_use(void *state, const void *memory) {
  ((struct depthwise *)state)->packed = memory;
}

/* Scratch of a job. In double, because nothing bounds it yet. */
static double scratch_bytes(const struct depthwise *k) {
  return (double)k->ring * sizeof(size_t) + 64 +
         (double)k->ring * (double)k->in_rows * (double)k->row_step * sizeof(float);
}

static size_t jobs(const struct depthwise *k) {
  return k->conv.out.dim[VN_N] * k->plane_blocks * k->row_blocks * k->vecs;
}

static void cut(struct depthwise *k, size_t planes, size_t rows) {
  const size_t *out = &k->conv.out.dim[VN_D];
  k->planes = smaller(planes, out[0]);
  k->rows = smaller(rows, out[1]);
  k->plane_blocks = ceil_div(out[0], k->planes);
  k->row_blocks = ceil_div(out[1], k->rows);
}

static void measure(struct depthwise *k) {
  enum { PAGE = 4096 / sizeof(float) };
  const struct vn_conv *c = &k->conv;
  const size_t *in = &c->in.dim[VN_D], *r = c->kernel;
  k->vecs = ceil_div(c->out.dim[VN_C], VEC_LANES);
  cut(k, JOB_PLANES, JOB_ROWS);
  while (jobs(k) < FEWEST_JOBS && k->planes > 1) cut(k, ceil_div(k->planes, 2), k->rows);
  while (jobs(k) < FEWEST_JOBS && k->rows > 1) cut(k, k->planes, ceil_div(k->rows, 2));
  k->ring = smaller(in[0], (r[0] - 1) * c->dilation[0] + 1);
  k->in_rows = smaller(in[1], (k->rows - 1) * c->stride[1] + (r[1] - 1) * c->dilation[1] + 1);
  k->pixels = (c->out.dim[VN_W] - 1) * c->stride[2] + (r[2] - 1) * c->dilation[2] + 1;
  k->row_step = k->pixels * VEC_LANES;
  while (k->row_step % PAGE < PAGE / 5 || k->row_step % PAGE > PAGE - PAGE / 5)
    k->row_step += VEC_LANES; /* else the rows of a block would share sets of the first cache */
  k->planes_at = ceil_div(k->ring * sizeof(size_t), 64) * 64;
  if (c->stride[2] == 1 && c->dilation[2] == 1 && r[2] <= MOST_NEAR) k->near = near_of[r[2]];
  k->stream = vn_wants_stream(&c->out);
}

enum vn_status VN_ISA_NAME(depthwise)(const struct vn_conv *conv, struct vn_prepared *prepared,
                                      struct vn_diag *diag) {
  const size_t *r = conv->kernel, channels = conv->out.dim[VN_C];
  if (conv->groups != channels || conv->in.dim[VN_C] != channels)
    return vn_fail(diag, VN_E_UNSUPPORTED, "depthwise: one channel in and out per group");
#if VEC_LANES == 16
  if (channels <= 8) return vn_depthwise_avx2(conv, prepared, diag);
#endif
  struct depthwise *k = calloc(1, sizeof *k);
  if (!k) return vn_fail(diag, VN_E_MEMORY, "depthwise: out of memory");
  k->conv = *conv;
  measure(k);
  if (scratch_bytes(k) > MOST_SCRATCH) {
    free(k);
    return vn_fail(diag, VN_E_UNSUPPORTED, "depthwise: a kernel that reaches over less than %d MB",
                   MOST_SCRATCH >> 20);
  }
  const size_t floats = k->ring * k->in_rows * k->row_step;
  *prepared = (struct vn_prepared){
      .name = "depthwise " VN_ISA_TEXT,
      .jobs = jobs(k),
      .scratch_bytes = k->planes_at + ceil_div(floats * sizeof(float), 64) * 64,
      .packed_bytes = k->vecs * VEC_LANES * r[0] * r[1] * r[2] * sizeof(float),
      .run = depthwise_run,
      .close = free,
      .pack = depthwise_pack,
      .use = depthwise_use,
      .state = k};
  return VN_OK;
}

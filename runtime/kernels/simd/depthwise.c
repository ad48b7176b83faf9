/* Depthwise convolution, one channel per group: any kernel, stride, padding and dilation.
 *
 * Lanes are neighbouring channels. The input is read where it lies: taps outside it along d and h
 * are left out, those along w read zeros. A job is one vector of channels on a few output rows of
 * one plane. It walks blocks of pixels down the rows before it goes on along w, so that most of
 * what a block reads is in the first cache since the row above. */
#include "epilogue.h"
#include "gemm.h"
#include "simd.h"

#include <stdlib.h>

enum { JOB_ROWS = 8, FEWEST_JOBS = 32 }; /* output rows per job, at most; jobs, if possible */

struct depthwise {
  struct vn_conv conv;
  size_t vecs, rows, blocks; /* vectors of channels; output rows per job; jobs per plane, vector */
  size_t inner[2];           /* first and end of the output pixels in a row whose taps along w all
                                lie inside */
  bool stream;
  const float *packed; /* [vector][tap d][tap h][tap w][lane] */
};

static size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}
static size_t ceil_div(size_t a, size_t b) {
  return (a + b - 1) / b;
}

/* ---- a few pixels of a row ---- */

/* The taps of one axis that fall on the input. */
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

struct block {
  const float *in;                    /* the first tap's row, its first pixel */
  const float *u;                     /* the weights of that row of taps */
  size_t planes, rows;                /* of taps along d, h */
  size_t plane_step, row_step;        /* of in */
  size_t u_plane_step, u_row_step;    /* of u */
  size_t taps, dilation, x, x_step;   /* along w, in pixels; x may lie before 0, modulo 2^64 */
  size_t width, pixel, channel_count; /* pixel: floats from one to the next */
  float *sum;
};

/* One tap of pixels that all lie inside. */
VEC_INLINE void tap_inner(vec sum[GEMM_ROWS], const float *in, const float *u, size_t step,
                          const size_t n) {
  const float *at[3] = {in, in + 4 * step, in + 8 * step};
  const vec w = vec_load(u);
  VEC_UNROLL for (size_t i = 0; i < n; i++) sum[i] =
      vec_fma(w, vec_load(at[i / 4] + i % 4 * step), sum[i]);
}

/* One tap of any pixels and any count of channels. */
VEC_INLINE void tap_edge(vec sum[GEMM_ROWS], const struct block *b, const float *row, size_t x,
                         const float *u, const size_t n) {
  static const float zeros[VEC_LANES];
  const vec w = vec_load(u);
  VEC_UNROLL for (size_t i = 0; i < n; i++, x += b->x_step) {
    const float *in = x < b->width ? row + x * b->pixel : zeros;
    sum[i] = vec_fma(w, vec_load_k(in, b->channel_count), sum[i]);
  }
}

VEC_INLINE void block(const struct block *b, const size_t n, const bool inner) {
  vec sum[GEMM_ROWS];
  const size_t step = b->x_step * b->pixel;
  VEC_UNROLL for (size_t i = 0; i < n; i++) sum[i] = vec_zero();
  for (size_t z = 0; z < b->planes; z++)
    for (size_t y = 0; y < b->rows; y++) {
      const float *row = b->in + z * b->plane_step + y * b->row_step;
      const float *u = b->u + z * b->u_plane_step + y * b->u_row_step;
      size_t x = b->x;
      for (size_t t = 0; t < b->taps; t++, x += b->dilation, u += VEC_LANES)
        if (inner)
          tap_inner(sum, row + x * b->pixel, u, step, n);
        else
          tap_edge(sum, b, row, x, u, n);
    }
  VEC_UNROLL for (size_t i = 0; i < n; i++) vec_store(b->sum + i * VEC_LANES, sum[i]);
}

typedef void block_fn(const struct block *b);
#define DEFINE(N)                                                                                  \
  static void inner_##N(const struct block *b) {                                                   \
    block(b, N, true);                                                                             \
  }                                                                                                \
  static void edge_##N(const struct block *b) {                                                    \
    block(b, N, false);                                                                            \
  }
GEMM_EACH_ROWS(DEFINE)
#define ENTRY(N) {edge_##N, inner_##N},
static block_fn *const blocks_of[GEMM_ROWS][2] = {GEMM_EACH_ROWS(ENTRY)};

/* ---- a job ---- */

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

struct place {
  size_t n, d, h, rows, vec;
};

/* Output pixels [x, x + count) of each of the job's rows. */
static void column(const struct depthwise *k, const struct place *p, const struct vn_epi *e,
                   size_t x, size_t count, bool inner) {
  const struct vn_conv *c = &k->conv;
  const size_t *in = &c->in.dim[VN_D], *out = &c->out.dim[VN_D], *r = c->kernel;
  const struct span d = span_at(c, 0, p->d);
  float sum[GEMM_ROWS * VEC_LANES];
  struct block b = {.planes = d.count,
                    .plane_step = c->dilation[0] * in[1] * in[2] * c->in.stride,
                    .row_step = c->dilation[1] * in[2] * c->in.stride,
                    .u_plane_step = r[1] * r[2] * VEC_LANES,
                    .u_row_step = r[2] * VEC_LANES,
                    .taps = r[2],
                    .dilation = c->dilation[2],
                    .x = x * c->stride[2] - c->pad[2],
                    .x_step = c->stride[2],
                    .width = in[2],
                    .pixel = c->in.stride,
                    .channel_count = e->count,
                    .sum = sum};
  block_fn *const run = blocks_of[count - 1][inner && e->count == VEC_LANES];
  for (size_t y = p->h; y < p->h + p->rows; y++) {
    const struct span h = span_at(c, 1, y);
    const size_t row = (p->n * in[0] + d.in) * in[1] + h.in;
    b.rows = d.count ? h.count : 0;
    b.in = (const float *)c->in.data + (b.rows ? row * in[2] * c->in.stride + e->channel : 0);
    b.u = k->packed + ((p->vec * r[0] + d.tap) * r[1] + h.tap) * b.u_row_step;
    run(&b);
    finish(k, e, sum, ((p->n * out[0] + p->d) * out[1] + y) * out[2] + x, count);
  }
}

/* Columns of even width over output pixels [from, to). */
static void columns(const struct depthwise *k, const struct place *p, const struct vn_epi *e,
                    size_t from, size_t to, bool inner) {
  const size_t n = ceil_div(to - from, GEMM_ROWS);
  for (size_t i = 0; i < n; i++) {
    const size_t left = to - from, count = ceil_div(left, n - i);
    column(k, p, e, from, count, inner);
    from += count;
  }
}

static void depthwise_run(const void *state, size_t job, void *scratch) {
  const struct depthwise *k = state;
  const size_t *out = &k->conv.out.dim[VN_D], channels = k->conv.out.dim[VN_C];
  struct place p = {.vec = job % k->vecs};
  (void)scratch;
  job /= k->vecs;
  p.h = job % k->blocks * k->rows;
  p.rows = smaller(k->rows, out[1] - p.h);
  p.d = job / k->blocks % out[0];
  p.n = job / k->blocks / out[0];
  const size_t channel = p.vec * VEC_LANES;
  const struct vn_epi e =
      vn_epi_open(&k->conv.epilogue, channel, smaller(channels - channel, VEC_LANES));
  columns(k, &p, &e, 0, k->inner[0], false);
  columns(k, &p, &e, k->inner[0], k->inner[1], true);
  columns(k, &p, &e, k->inner[1], out[2], false);
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

/* Rows of one block's width or less are an edge from end to end. */
static void measure(struct depthwise *k) {
  const struct vn_conv *c = &k->conv;
  const size_t *out = &c->out.dim[VN_D], reach = (c->kernel[2] - 1) * c->dilation[2];
  const size_t end = c->in.dim[VN_W] + c->pad[2];
  k->vecs = ceil_div(c->out.dim[VN_C], VEC_LANES);
  k->rows = smaller(JOB_ROWS, out[1]);
  while (k->rows > 1 &&
         c->out.dim[VN_N] * out[0] * ceil_div(out[1], k->rows) * k->vecs < FEWEST_JOBS)
    k->rows = ceil_div(k->rows, 2);
  k->blocks = ceil_div(out[1], k->rows);
  k->inner[0] = smaller(out[2], ceil_div(c->pad[2], c->stride[2]));
  k->inner[1] = end > reach ? smaller(out[2], (end - reach - 1) / c->stride[2] + 1) : 0;
  if (out[2] <= 4 || k->inner[1] < k->inner[0]) k->inner[0] = k->inner[1] = out[2];
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
  *prepared =
      (struct vn_prepared){.name = "depthwise " VN_ISA_TEXT,
                           .jobs = conv->out.dim[VN_N] * conv->out.dim[VN_D] * k->blocks * k->vecs,
                           .packed_bytes = k->vecs * VEC_LANES * r[0] * r[1] * r[2] * sizeof(float),
                           .run = depthwise_run,
                           .close = free,
                           .pack = depthwise_pack,
                           .use = depthwise_use,
                           .state = k};
  return VN_OK;
}

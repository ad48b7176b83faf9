/* Direct convolution, stride 1: any kernel, padding, dilation and groups.
 *
 * For the first layer of one channel and for tiny grids; elsewhere Winograd needs fewer products.
 * A job is a few output rows of one plane. It copies the input rows that they see into scratch,
 * with zeros at both ends, and then is a matrix product: pixels by (taps * channels) by outputs. */
#include "epilogue.h"
#include "gemm.h"
#include "simd.h"

#include <stdlib.h>
#include <string.h>

enum { DIRECT_ROWS = 8, FEWEST_JOBS = 32 }; /* output rows per job, at most; jobs, if possible */

struct direct {
  struct vn_conv conv;
  size_t in_group, out_group, vecs; /* channels per group; output vectors per group */
  size_t rows, blocks;              /* output rows per job; jobs per plane */
  size_t row_elems;                 /* a padded input row in the scratch */
  size_t in_rows;                   /* those of one depth */
  size_t segments, length;          /* runs of taps along w and their floats */
  size_t packed_group;              /* floats of packed weights per group */
  const float *packed;              /* [group][panel][tap d][tap h][tap w][in][vector] */
};

static size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}
static size_t ceil_div(size_t a, size_t b) {
  return (a + b - 1) / b;
}

/* One block of pixels by one panel. rows[taps]: where the input row of each (tap d, tap h) starts
 * for the block's first pixel; NULL: outside. */
struct block {
  const float *const *rows;
  const float *u;
  float *sum;
  size_t taps, at, step, segments, length, in_group;
};

VEC_INLINE void block(const struct block *b, const size_t rows, const size_t vecs) {
  vec sum[GEMM_ROWS][GEMM_PANEL];
  const float *u = b->u;
  const size_t length = b->length, in_group = b->in_group, step = b->step;
  gemm_clear(sum, rows, vecs);
  for (size_t t = 0; t < b->taps; t++) {
    const float *row = b->rows[t];
    if (row) {
      const float *in = row + b->at;
      for (size_t s = 0; s < b->segments; s++)
        gemm_block(sum, in + s * step, in_group, u + s * length * vecs * VEC_LANES, length, 0, rows,
                   vecs);
    }
    u += b->segments * length * vecs * VEC_LANES;
  }
  gemm_store(sum, b->sum, vecs * VEC_LANES, rows, vecs);
}

typedef void block_fn(const struct block *b);
#define DEFINE(R)                                                                                  \
  static void block_##R##_1(const struct block *b) {                                               \
    block(b, R, 1);                                                                                \
  }                                                                                                \
  static void block_##R##_2(const struct block *b) {                                               \
    block(b, R, 2);                                                                                \
  }
GEMM_EACH_ROWS(DEFINE)
#define ENTRY(R) {block_##R##_1, block_##R##_2},
static block_fn *const blocks_of[GEMM_ROWS][GEMM_PANEL] = {GEMM_EACH_ROWS(ENTRY)};

/* Where a job stands. */
struct place {
  size_t n, d, h, rows;
};

/* Copies what one job sees of one group: scratch[tap d][row][padded w][channel in]. present[]: for
 * each of those rows whether it lies inside the input. */
static void gather(const struct direct *k, const struct place *p, size_t group, float *to,
                   unsigned char *present) {
  const struct vn_conv *c = &k->conv;
  const size_t *in = &c->in.dim[VN_D], channels = k->in_group;
  const size_t lead = c->pad[2] * channels, body = in[2] * channels;
  for (size_t z = 0; z < c->kernel[0]; z++)
    for (size_t y = 0; y < k->in_rows; y++, to += k->row_elems, present++) {
      const size_t d = p->d + z * c->dilation[0], h = p->h + y;
      *present = d >= c->pad[0] && d - c->pad[0] < in[0] && h >= c->pad[1] && h - c->pad[1] < in[1];
      if (!*present) continue;
      const size_t pixel = ((p->n * in[0] + d - c->pad[0]) * in[1] + h - c->pad[1]) * in[2];
      const float *from = (const float *)c->in.data + pixel * c->in.stride + group * channels;
      const size_t kept = smaller(lead + body, k->row_elems); /* the rest is never looked at */
      const size_t zeros = smaller(lead, k->row_elems);
      memset(to, 0, zeros * sizeof *to);
      if (c->in.stride == channels) {
        if (kept > zeros) memcpy(to + zeros, from, (kept - zeros) * sizeof *to);
      } else {
        for (size_t i = zeros; i < kept; i += channels, from += c->in.stride)
          memcpy(to + i, from, channels * sizeof *to);
      }
      memset(to + kept, 0, (k->row_elems - kept) * sizeof *to);
    }
}

/* Epilogue and store of `count` pixels from `pixel` on, one panel. */
static void finish(const struct direct *k, const struct vn_epi *e, size_t vecs, const float *sum,
                   size_t pixel, size_t count) {
  const struct vn_tensor *out = &k->conv.out;
  for (size_t i = 0; i < count; i++)
    for (size_t o = 0; o < vecs; o++) {
      const vec y = vn_epi_apply(&e[o], vec_load(sum + (i * vecs + o) * VEC_LANES), pixel + i);
      vec_store_k((float *)out->data + (pixel + i) * out->stride + e[o].channel, y, e[o].count);
    }
}

/* All pixels of a job's row `y` for one panel of output channels. */
static void panel_row(const struct direct *k, const struct place *p, size_t y,
                      const struct vn_epi *e, size_t vecs, struct block *b) {
  const size_t *out = &k->conv.out.dim[VN_D];
  const size_t blocks = ceil_div(out[2], gemm_rows(vecs));
  const size_t count = out[2] / blocks, longer = out[2] % blocks;
  const size_t pixel = ((p->n * out[0] + p->d) * out[1] + p->h + y) * out[2];
  for (size_t i = 0, x = 0; i < blocks; i++) {
    const size_t n = count + (i < longer);
    b->at = x * k->in_group;
    blocks_of[n - 1][vecs - 1](b);
    finish(k, e, vecs, b->sum, pixel + x, n);
    x += n;
  }
}

static void run_group(const struct direct *k, const struct place *p, size_t group,
                      const float *rows, const unsigned char *present) {
  const struct vn_conv *c = &k->conv;
  const size_t taps = c->kernel[0] * c->kernel[1];
  const float *start[taps];
  float sum[GEMM_ROWS * GEMM_PANEL * VEC_LANES];
  struct block b = {start,       NULL,      sum,        taps, 0, c->dilation[2] * k->in_group,
                    k->segments, k->length, k->in_group};
  for (size_t y = 0; y < p->rows; y++) {
    for (size_t t = 0; t < taps; t++) {
      const size_t row = t / c->kernel[1] * k->in_rows + y + t % c->kernel[1] * c->dilation[1];
      start[t] = present[row] ? rows + row * k->row_elems : NULL;
    }
    b.u = k->packed + group * k->packed_group;
    for (size_t v = 0; v < k->vecs; v += GEMM_PANEL) {
      const size_t vecs = smaller(k->vecs - v, GEMM_PANEL);
      struct vn_epi e[GEMM_PANEL];
      for (size_t o = 0; o < vecs; o++)
        e[o] = vn_epi_open(&c->epilogue, group * k->out_group + (v + o) * VEC_LANES,
                           smaller(k->out_group - (v + o) * VEC_LANES, VEC_LANES));
      panel_row(k, p, y, e, vecs, &b);
      b.u += taps * k->segments * k->length * vecs * VEC_LANES;
    }
  }
}

static void direct_run(const void *state, size_t job, void *scratch) {
  const struct direct *k = state;
  const size_t *out = &k->conv.out.dim[VN_D];
  struct place p = {.h = job % k->blocks * k->rows};
  job /= k->blocks;
  p.d = job % out[0];
  p.n = job / out[0];
  p.rows = smaller(k->rows, out[1] - p.h);
  unsigned char *present = scratch;
  float *rows = (float *)(present + ceil_div(k->conv.kernel[0] * k->in_rows, 64) * 64);
  for (size_t g = 0; g < k->conv.groups; g++) {
    gather(k, &p, g, rows, present);
    run_group(k, &p, g, rows, present);
  }
}

static void direct_close(void *state) {
  struct direct *k = state;
  if (!k) return;
  free(k);
}

struct packing {
  const struct direct *k;
  const float *weight;
  float *to;
};

static void pack_panel(void *context, size_t job, size_t slot) {
  const struct packing *p = context;
  const struct direct *k = p->k;
  const size_t *r = k->conv.kernel, depth = r[0] * r[1] * r[2] * k->in_group;
  const size_t panels = ceil_div(k->vecs, GEMM_PANEL), group = job / panels;
  const size_t v = job % panels * GEMM_PANEL, vecs = smaller(k->vecs - v, GEMM_PANEL);
  float *to = p->to + group * k->packed_group + v * VEC_LANES * depth;
  (void)slot;
  for (size_t i = 0; i < depth; i++)
    for (size_t l = 0; l < vecs * VEC_LANES; l++) {
      const size_t o = v * VEC_LANES + l;
      *to++ = o < k->out_group ? p->weight[(group * k->out_group + o) * depth + i] : 0;
    }
}

static bool direct_pack(const void *state, struct vn_pool *pool, const float *weight, void *memory,
                        struct vn_watch *watch) {
  const struct direct *k = state;
  struct packing packing = {k, weight, memory};
  return vn_pool_run_watched(pool, k->conv.groups * ceil_div(k->vecs, GEMM_PANEL), pack_panel,
                             &packing, watch);
}

static void direct_use(void *state, const void *memory) {
  ((struct direct *)state)->packed = memory;
}

static void measure(struct direct *k) {
  const struct vn_conv *c = &k->conv;
  const size_t *out = &c->out.dim[VN_D], *r = c->kernel;
  k->in_group = c->in.dim[VN_C] / c->groups;
  k->out_group = c->out.dim[VN_C] / c->groups;
  k->vecs = ceil_div(k->out_group, VEC_LANES);
  k->rows = smaller(DIRECT_ROWS, out[1]);
  while (k->rows > 1 && c->out.dim[VN_N] * out[0] * ceil_div(out[1], k->rows) < FEWEST_JOBS)
    k->rows = ceil_div(k->rows, 2);
  k->blocks = ceil_div(out[1], k->rows);
  k->row_elems = (out[2] + (r[2] - 1) * c->dilation[2]) * k->in_group;
  k->in_rows = k->rows + (r[1] - 1) * c->dilation[1];
  k->segments = c->dilation[2] == 1 ? 1 : r[2];
  k->length = r[2] / k->segments * k->in_group;
  k->packed_group = k->vecs * VEC_LANES * r[0] * r[1] * r[2] * k->in_group;
}

enum vn_status VN_ISA_NAME(direct)(const struct vn_conv *conv, struct vn_prepared *prepared,
                                   struct vn_diag *diag) {
#if VEC_LANES == 16
  if (conv->out.dim[VN_C] <= 8 * conv->groups) return vn_direct_avx2(conv, prepared, diag);
#endif
  for (size_t a = 0; a < 3; a++)
    if (conv->stride[a] != 1) return vn_fail(diag, VN_E_UNSUPPORTED, "direct: stride 1");
  if (conv->kernel[0] * conv->kernel[1] > 1024)
    return vn_fail(diag, VN_E_UNSUPPORTED, "direct: a kernel of at most 1024 rows");
  struct direct *k = calloc(1, sizeof *k);
  if (!k) return vn_fail(diag, VN_E_MEMORY, "direct: out of memory");
  k->conv = *conv;
  measure(k);
  const size_t bytes = k->packed_group * conv->groups * sizeof(float);
  const size_t rows = conv->kernel[0] * k->in_rows;
  *prepared =
      (struct vn_prepared){.name = "direct " VN_ISA_TEXT,
                           .jobs = conv->out.dim[VN_N] * conv->out.dim[VN_D] * k->blocks,
                           .scratch_bytes = ceil_div(rows, 64) * 64 +
                                            ceil_div(rows * k->row_elems * sizeof(float), 64) * 64,
                           .packed_bytes = bytes,
                           .run = direct_run,
                           .close = direct_close,
                           .pack = direct_pack,
                           .use = direct_use,
                           .state = k};
  return VN_OK;
}

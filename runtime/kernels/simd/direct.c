/* Direct convolution: any kernel, stride, padding, dilation and groups.
 *
 * For tiny grids and for what the other kernels do not take; elsewhere Winograd and FFT need fewer
 * products. A job is a few output rows of one plane. It copies the
 * input rows that they see into scratch, with zeros at both ends, and then is a matrix product:
 * pixels by (taps * channels) by outputs. */
#include "epilogue.h"
#include "gemm.h"
#include "simd.h"

#include <stdlib.h>
#include <string.h>

enum {
  DIRECT_ROWS = 8,          /* output rows per job, at most */
  FEWEST_JOBS = 32,         /* if possible */
  GOOD_SCRATCH = 4 << 20,   /* bytes that are worth more than the rows that a job shares */
  MOST_SCRATCH = 256 << 20, /* bytes; a kernel that sees more has most of its taps in padding */
  MOST_TAPS = 1024,         /* along h; the tables of more would take longer than they are worth */
};

struct direct {
  struct vn_conv conv;
  size_t in_group, out_group, vecs; /* channels per group; output vectors per group */
  size_t rows, blocks;              /* output rows per job; jobs per plane */
  size_t row_elems;                 /* a padded input row in the scratch */
  size_t in_rows;                   /* those of one depth: which_row's count */
  size_t *which_row;                /* in ascending order, from the job's first padded row on */
  size_t *row_of;                   /* [output row][tap h]: the index in which_row */
  size_t starts_at, rows_at;        /* bytes into the scratch */
  size_t segments, length;          /* runs of taps along w and their floats */
  size_t packed_group;              /* floats of packed weights per group */
  const float *packed;              /* [group][panel][tap d][tap h][tap w][in][vector] */
};

/* One block of pixels by one panel. rows[taps]: where the input row of each (tap d, tap h) starts
 * for the block's first pixel; NULL: outside. */
struct block {
  const float *const *rows;
  const float *u;
  float *sum;
  size_t taps, at, step, segments, length;
  size_t pixel; /* floats between the inputs of neighbouring outputs */
};

VEC_INLINE void block(const struct block *b, const size_t rows, const size_t vecs) {
  vec sum[GEMM_ROWS][GEMM_PANEL];
  const float *u = b->u;
  const size_t length = b->length, pixel = b->pixel, step = b->step;
  gemm_clear(sum, rows, vecs);
  for (size_t t = 0; t < b->taps; t++) {
    const float *row = b->rows[t];
    if (row) {
      const float *in = row + b->at;
      for (size_t s = 0; s < b->segments; s++)
        gemm_block(sum, in + s * step, pixel, u + s * length * vecs * VEC_LANES, length, 0, rows,
                   vecs);
    }
    u += b->segments * length * vecs * VEC_LANES;
  }
  gemm_store(sum, b->sum, vecs * VEC_LANES, rows, vecs);
}

GEMM_TABLE(struct block, block);

/* Where a job stands. */
struct place {
  size_t n, d, h, rows;
};

/* A few channels of `pixels` pixels, close together: too little for a call of memcpy each. */
static void copy_pixels(float *to, const float *from, size_t stride, size_t channels,
                        size_t pixels) {
  const size_t whole = channels / VEC_LANES * VEC_LANES;
  for (size_t i = 0; i < pixels; i++, to += channels, from += stride) {
    for (size_t c = 0; c < whole; c += VEC_LANES) vec_store(to + c, vec_load(from + c));
    for (size_t c = whole; c < channels; c++) to[c] = from[c];
  }
}

/* Copies what one job sees of one group: scratch[tap d][row][padded w][channel in]. present[]: for
 * each of those rows whether it lies inside the input. */
static void gather(const struct direct *k, const struct place *p, size_t group, float *to,
                   unsigned char *present) {
  const struct vn_conv *c = &k->conv;
  const size_t *in = &c->in.dim[VN_D], channels = k->in_group;
  const size_t lead = c->pad[2] * channels, body = in[2] * channels;
  for (size_t z = 0; z < c->kernel[0]; z++)
    for (size_t y = 0; y < k->in_rows; y++, to += k->row_elems, present++) {
      const size_t d = p->d * c->stride[0] + z * c->dilation[0];
      const size_t h = p->h * c->stride[1] + k->which_row[y];
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
        copy_pixels(to + zeros, from, c->in.stride, channels, (kept - zeros) / channels);
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
    b->at = x * b->pixel;
    block_of[n - 1][vecs - 1](b);
    finish(k, e, vecs, b->sum, pixel + x, n);
    x += n;
  }
}

/* start: room for a pointer for each tap d and h. */
static void run_group(const struct direct *k, const struct place *p, size_t group,
                      const float *rows, const unsigned char *present, const float **start) {
  const struct vn_conv *c = &k->conv;
  const size_t taps = c->kernel[0] * c->kernel[1];
  float sum[GEMM_ROWS * GEMM_PANEL * VEC_LANES];
  struct block b = {.rows = start,
                    .sum = sum,
                    .taps = taps,
                    .step = c->dilation[2] * k->in_group,
                    .segments = k->segments,
                    .length = k->length,
                    .pixel = c->stride[2] * k->in_group};
  for (size_t y = 0; y < p->rows; y++) {
    for (size_t t = 0; t < taps; t++) {
      const size_t row =
          t / c->kernel[1] * k->in_rows + k->row_of[y * c->kernel[1] + t % c->kernel[1]];
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
  const float **start = (const float **)(present + k->starts_at);
  float *rows = (float *)(present + k->rows_at);
  for (size_t g = 0; g < k->conv.groups; g++) {
    gather(k, &p, g, rows, present);
    run_group(k, &p, g, rows, present, start);
  }
}

static void direct_close(void *state) {
  struct direct *k = state;
  if (!k) return;
  free(k->which_row);
  free(k->row_of);
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

/* ---- the cut ---- */

/* Rows of a job along h, `rows` outputs, that some tap sees; sets which_row and row_of where they
 * are there. Both run through y * stride + t * dilation, t inner; a merge by value. */
static size_t rows_seen(struct direct *k) {
  const size_t taps = k->conv.kernel[1], stride = k->conv.stride[1];
  const size_t dilation = k->conv.dilation[1];
  size_t next[DIRECT_ROWS] = {0}, count = 0; /* the first tap of each output row that waits */
  for (;; count++) {
    size_t least = SIZE_MAX;
    for (size_t y = 0; y < k->rows; y++)
      if (next[y] < taps) least = smaller(least, y * stride + next[y] * dilation);
    if (least == SIZE_MAX) return count;
    if (k->which_row) k->which_row[count] = least;
    for (size_t y = 0; y < k->rows; y++)
      if (next[y] < taps && y * stride + next[y] * dilation == least) {
        if (k->row_of) k->row_of[y * taps + next[y]] = count;
        next[y]++;
      }
  }
}

/* About what a job needs; in double, because nothing bounds it yet. */
static double scratch_bytes(const struct direct *k) {
  const struct vn_conv *c = &k->conv;
  const double rows = (double)c->kernel[0] * (double)k->in_rows;
  const double width = (double)(c->out.dim[VN_W] - 1) * (double)c->stride[2] +
                       (double)(c->kernel[2] - 1) * (double)c->dilation[2] + 1;
  return rows + (double)c->kernel[0] * (double)c->kernel[1] * sizeof(float *) +
         sizeof(float) * rows * width * (double)k->in_group;
}

static void rows_set(struct direct *k, size_t rows) {
  k->rows = rows;
  k->in_rows = rows_seen(k);
}

static void measure(struct direct *k) {
  const struct vn_conv *c = &k->conv;
  const size_t *out = &c->out.dim[VN_D], *r = c->kernel;
  k->in_group = c->in.dim[VN_C] / c->groups;
  k->out_group = c->out.dim[VN_C] / c->groups;
  k->vecs = ceil_div(k->out_group, VEC_LANES);
  k->row_elems = ((out[2] - 1) * c->stride[2] + (r[2] - 1) * c->dilation[2] + 1) * k->in_group;
  k->segments = c->dilation[2] == 1 ? 1 : r[2];
  k->length = r[2] / k->segments * k->in_group;
  k->packed_group = k->vecs * VEC_LANES * r[0] * r[1] * r[2] * k->in_group;
  rows_set(k, smaller(DIRECT_ROWS, out[1]));
  while (k->rows > 1 && (c->out.dim[VN_N] * out[0] * ceil_div(out[1], k->rows) < FEWEST_JOBS ||
                         scratch_bytes(k) > GOOD_SCRATCH))
    rows_set(k, ceil_div(k->rows, 2));
  k->blocks = ceil_div(out[1], k->rows);
}

static size_t tables_bytes(const struct direct *k) {
  return k->in_rows * sizeof *k->which_row + k->rows * k->conv.kernel[1] * sizeof *k->row_of;
}

static enum vn_status tables_make(struct direct *k, struct vn_diag *diag) {
  const size_t *r = k->conv.kernel;
  if (scratch_bytes(k) > MOST_SCRATCH)
    return vn_fail(diag, VN_E_UNSUPPORTED, "direct: a kernel that sees less than %d MB at once",
                   MOST_SCRATCH >> 20);
  k->which_row = calloc(k->in_rows, sizeof *k->which_row);
  k->row_of = calloc(k->rows * r[1], sizeof *k->row_of);
  if (!k->which_row || !k->row_of) return vn_fail(diag, VN_E_MEMORY, "direct: out of memory");
  rows_seen(k);
  k->starts_at = ceil_div(r[0] * k->in_rows, 64) * 64;
  k->rows_at = k->starts_at + ceil_div(r[0] * r[1] * sizeof(float *), 64) * 64;
  return VN_OK;
}

enum vn_status VN_ISA_NAME(direct)(const struct vn_conv *conv, struct vn_prepared *prepared,
                                   struct vn_diag *diag) {
  if (conv->kernel[1] > MOST_TAPS)
    return vn_fail(diag, VN_E_UNSUPPORTED, "direct: a kernel of at most %d rows", MOST_TAPS);
#if VEC_LANES == 16
  if (conv->out.dim[VN_C] <= 8 * conv->groups) return vn_direct_avx2(conv, prepared, diag);
#endif
  struct direct *k = calloc(1, sizeof *k);
  if (!k) return vn_fail(diag, VN_E_MEMORY, "direct: out of memory");
  k->conv = *conv;
  measure(k);
  const enum vn_status status = tables_make(k, diag);
  if (status) {
    direct_close(k);
    return status;
  }
  const size_t floats = conv->kernel[0] * k->in_rows * k->row_elems;
  *prepared =
      (struct vn_prepared){.name = "direct " VN_ISA_TEXT,
                           .jobs = conv->out.dim[VN_N] * conv->out.dim[VN_D] * k->blocks,
                           .scratch_bytes = k->rows_at + ceil_div(floats * sizeof(float), 64) * 64,
                           .packed_bytes = k->packed_group * conv->groups * sizeof(float),
                           .state_bytes = tables_bytes(k),
                           .run = direct_run,
                           .close = direct_close,
                           .pack = direct_pack,
                           .use = direct_use,
                           .state = k};
  return VN_OK;
}

/* Transposed convolution: any kernel, stride, padding and groups, but no dilation.
 *
 * Along an axis an output sees the taps whose distance from it is a multiple of the stride, and
 * neighbours at a distance of one stride see the same taps of neighbouring inputs: as many
 * convolutions of stride 1 as the stride is long. A job is a few output rows of one plane. It
 * copies the input rows that they see into scratch, with zeros at both ends; of each of the taps
 * along d and h that remain, every class of outputs along w is a matrix product. */
#include "epilogue.h"
#include "gemm.h"
#include "simd.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 8, FEWEST_JOBS = 32, MOST_SCRATCH = 64 << 20, MOST_TAPS = 32 };

struct class { /* outputs first, first + stride … along w */
  size_t first, count, taps;
  ptrdiff_t begin;  /* the input that the first of them begins with */
  size_t weight_at; /* floats of one vector's packed weights before its own */
};

struct spread {
  struct vn_conv conv;
  size_t in_group, out_group, vecs; /* channels per group; output vectors per group */
  size_t rows, blocks;              /* output rows of a job; jobs of a plane */
  size_t planes, in_rows;           /* of the input that a job sees, at most */
  size_t lead, row_elems;           /* zeros before a row, in pixels; a row with them, in floats */
  size_t vec_elems, packed_group;   /* packed floats for each vector and lane; of a group */
  size_t classes;
  struct class *class;
  const float
      *packed; /* [group][panel][class][tap d][tap h][tap w, inputs ascending][in][vector] */
};

static size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}
static size_t ceil_div(size_t a, size_t b) {
  return (a + b - 1) / b;
}

/* ---- which input a tap reaches ---- */

static bool reaches(const struct vn_conv *c, int axis, size_t p, size_t tap, size_t *q) {
  const size_t at = p + c->pad[axis];
  if (at < tap || (at - tap) % c->stride[axis]) return false;
  *q = (at - tap) / c->stride[axis];
  return *q < c->in.dim[VN_D + axis];
}

/* Where a job stands, and the first input row that it holds. */
struct place {
  size_t n, d, h, rows, first;
};

struct row { /* of the output: what it sees */
  const float *from[MOST_TAPS];
  size_t tap[MOST_TAPS], count; /* tap: d and h as one */
};

/* scratch[plane][row][padded w][channel in] for one group. */
static void gather(const struct spread *k, const struct place *p, size_t group, float *to) {
  const struct vn_conv *c = &k->conv;
  const size_t *in = &c->in.dim[VN_D], channels = k->in_group;
  const size_t lead = k->lead * channels, body = in[2] * channels;
  size_t plane = 0, d;
  for (size_t z = 0; z < c->kernel[0]; z++) {
    if (!reaches(c, 0, p->d, z, &d)) continue;
    for (size_t y = 0; y < k->in_rows && p->first + y < in[1]; y++) {
      float *row = to + (plane * k->in_rows + y) * k->row_elems;
      const size_t pixel = ((p->n * in[0] + d) * in[1] + p->first + y) * in[2];
      const float *from = (const float *)c->in.data + pixel * c->in.stride + group * channels;
      memset(row, 0, lead * sizeof *row);
      for (size_t x = 0; x < in[2]; x++)
        memcpy(row + lead + x * channels, from + x * c->in.stride, channels * sizeof *row);
      memset(row + lead + body, 0, (k->row_elems - lead - body) * sizeof *row);
    }
    plane++;
  }
}

static void row_find(const struct spread *k, const struct place *p, size_t y, const float *rows,
                     struct row *row) {
  const struct vn_conv *c = &k->conv;
  size_t plane = 0, d, h;
  row->count = 0;
  for (size_t z = 0; z < c->kernel[0]; z++) {
    if (!reaches(c, 0, p->d, z, &d)) continue;
    for (size_t t = 0; t < c->kernel[1]; t++) {
      if (!reaches(c, 1, p->h + y, t, &h)) continue;
      row->from[row->count] = rows + (plane * k->in_rows + h - p->first) * k->row_elems;
      row->tap[row->count++] = z * c->kernel[1] + t;
    }
    plane++;
  }
}

/* ---- products ---- */

struct block {
  const struct row *row;
  const float *u; /* of the panel and class */
  float *sum;
  size_t at, length, channels; /* floats into the rows; of a tap's run; of a pixel */
};

VEC_INLINE void block(const struct block *b, const size_t rows, const size_t vecs) {
  vec sum[GEMM_ROWS][GEMM_PANEL];
  gemm_clear(sum, rows, vecs);
  for (size_t t = 0; t < b->row->count; t++)
    gemm_block(sum, b->row->from[t] + b->at, b->channels,
               b->u + b->row->tap[t] * b->length * vecs * VEC_LANES, b->length, 0, rows, vecs);
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

/* All outputs of one class in a row whose first pixel is `pixel`, one panel. */
static void class_run(const struct spread *k, const struct class *class, size_t pixel,
                      const struct vn_epi *e, size_t vecs, struct block *b) {
  const struct vn_tensor *out = &k->conv.out;
  const size_t blocks = ceil_div(class->count, gemm_rows(vecs)), step = k->conv.stride[2];
  for (size_t i = 0, x = 0; i < blocks; i++) {
    const size_t n = class->count / blocks + (i < class->count % blocks);
    b->at = (size_t)((ptrdiff_t)(k->lead + x) + class->begin) * k->in_group;
    blocks_of[n - 1][vecs - 1](b);
    for (size_t r = 0; r < n; r++)
      for (size_t o = 0; o < vecs; o++) {
        const size_t to = pixel + class->first + (x + r) * step;
        const vec y = vn_epi_apply(&e[o], vec_load(b->sum + (r * vecs + o) * VEC_LANES), to);
        vec_store_k((float *)out->data + to * out->stride + e[o].channel, y, e[o].count);
      }
    x += n;
  }
}

static void run_group(const struct spread *k, const struct place *p, size_t group,
                      const float *rows) {
  const size_t *out = &k->conv.out.dim[VN_D];
  float sum[GEMM_ROWS * GEMM_PANEL * VEC_LANES];
  struct row row;
  for (size_t y = 0; y < p->rows; y++) {
    const size_t pixel = ((p->n * out[0] + p->d) * out[1] + p->h + y) * out[2];
    row_find(k, p, y, rows, &row);
    for (size_t v = 0; v < k->vecs; v += GEMM_PANEL) {
      const size_t vecs = smaller(k->vecs - v, GEMM_PANEL);
      const float *panel = k->packed + group * k->packed_group + v * VEC_LANES * k->vec_elems;
      struct vn_epi e[GEMM_PANEL];
      for (size_t o = 0; o < vecs; o++)
        e[o] = vn_epi_open(&k->conv.epilogue, group * k->out_group + (v + o) * VEC_LANES,
                           smaller(k->out_group - (v + o) * VEC_LANES, VEC_LANES));
      for (size_t i = 0; i < k->classes; i++) {
        const struct class *class = &k->class[i];
        struct block b = {.row = &row,
                          .u = panel + class->weight_at * vecs * VEC_LANES,
                          .sum = sum,
                          .length = class->taps * k->in_group,
                          .channels = k->in_group};
        class_run(k, class, pixel, e, vecs, &b);
      }
    }
  }
}

static void spread_run(const void *state, size_t job, void *scratch) {
  const struct spread *k = state;
  const struct vn_conv *c = &k->conv;
  const size_t *out = &c->out.dim[VN_D];
  struct place p = {.h = job % k->blocks * k->rows};
  job /= k->blocks;
  p.d = job % out[0];
  p.n = job / out[0];
  p.rows = smaller(k->rows, out[1] - p.h);
  const size_t at = p.h + c->pad[1], back = c->kernel[1] - 1;
  p.first = at > back ? ceil_div(at - back, c->stride[1]) : 0;
  for (size_t g = 0; g < c->groups; g++) {
    gather(k, &p, g, scratch);
    run_group(k, &p, g, scratch);
  }
}

/* ---- weights ---- */

struct packing {
  const struct spread *k;
  const float *weight;
  float *to;
};

static void pack_panel(void *context, size_t job, size_t slot) {
  const struct packing *p = context;
  const struct spread *k = p->k;
  const size_t *r = k->conv.kernel, taps = r[0] * r[1], step = k->conv.stride[2];
  const size_t panels = ceil_div(k->vecs, GEMM_PANEL), group = job / panels;
  const size_t v = job % panels * GEMM_PANEL, vecs = smaller(k->vecs - v, GEMM_PANEL);
  float *to = p->to + group * k->packed_group + v * VEC_LANES * k->vec_elems;
  (void)slot;
  for (size_t i = 0; i < k->classes; i++) {
    const struct class *class = &k->class[i];
    const size_t least = (class->first + k->conv.pad[2]) % step; /* the class's first tap */
    for (size_t t = 0; t < taps * class->taps * k->in_group; t++) {
      const size_t c = t % k->in_group, x = t / k->in_group % class->taps;
      const size_t tap = t / k->in_group / class->taps;
      const size_t along = least + (class->taps - 1 - x) * step;
      for (size_t l = 0; l < vecs * VEC_LANES; l++) {
        const size_t o = v * VEC_LANES + l;
        const size_t at = ((group * k->out_group + o) * taps + tap) * r[2] + along;
        *to++ = o < k->out_group ? p->weight[at * k->in_group + c] : 0;
      }
    }
  }
}

static bool spread_pack(const void *state, struct vn_pool *pool, const float *weight, void *memory,
                        struct vn_watch *watch) {
  const struct spread *k = state;
  struct packing packing = {k, weight, memory};
  return vn_pool_run_watched(pool, k->conv.groups * ceil_div(k->vecs, GEMM_PANEL), pack_panel,
                             &packing, watch);
}

static void spread_use(void *state, const void *memory) {
  ((struct spread *)state)->packed = memory;
}

/* ---- the cut ---- */

static void spread_close(void *state) {
  struct spread *k = state;
  if (k) free(k->class);
  free(k);
}

/* Outputs along w by what they see; sets the zeros that this takes at a row's ends. */
static bool classes_make(struct spread *k) {
  const struct vn_conv *c = &k->conv;
  const size_t step = c->stride[2], width = c->out.dim[VN_W];
  size_t weights = 0, reach = c->in.dim[VN_W];
  k->classes = smaller(step, width);
  k->class = calloc(k->classes, sizeof *k->class);
  if (!k->class) return false;
  for (size_t i = 0; i < k->classes; i++) {
    struct class *class = &k->class[i];
    const size_t at = i + c->pad[2], least = at % step;
    class->first = i;
    class->count = ceil_div(width - i, step);
    class->taps = least < c->kernel[2] ? (c->kernel[2] - 1 - least) / step + 1 : 0;
    class->begin = (ptrdiff_t)(at / step) - (ptrdiff_t) class->taps + 1;
    class->weight_at = weights;
    weights += class->taps * c->kernel[0] * c->kernel[1] * k->in_group;
    if (!class->taps) class->begin = 0;
    if (class->begin < 0 && (size_t) - class->begin > k->lead) k->lead = (size_t) - class->begin;
    const ptrdiff_t end = class->begin + (ptrdiff_t)(class->count + class->taps);
    if (end > (ptrdiff_t)reach) reach = (size_t)end;
  }
  k->vec_elems = weights;
  k->packed_group = k->vecs * VEC_LANES * weights;
  k->row_elems = (k->lead + reach) * k->in_group;
  return true;
}

static size_t scratch_bytes(const struct spread *k) {
  return ceil_div(k->planes * k->in_rows * k->row_elems * sizeof(float), 64) * 64;
}

static void rows_set(struct spread *k, size_t rows) {
  const struct vn_conv *c = &k->conv;
  k->rows = rows;
  k->in_rows = (rows + c->kernel[1] - 2) / c->stride[1] + 1;
  k->blocks = ceil_div(c->out.dim[VN_H], rows);
}

static void measure(struct spread *k) {
  const struct vn_conv *c = &k->conv;
  k->planes = ceil_div(c->kernel[0], c->stride[0]);
  rows_set(k, smaller(ROWS, c->out.dim[VN_H]));
  while (k->rows > 1 && c->out.dim[VN_N] * c->out.dim[VN_D] * k->blocks < FEWEST_JOBS)
    rows_set(k, ceil_div(k->rows, 2));
}

static bool covers(const struct vn_conv *c) {
  size_t taps = 1;
  for (int i = 0; i < 3; i++)
    if (c->dilation[i] != 1 && c->kernel[i] > 1) return false;
  for (int i = 0; i < 2; i++) taps *= ceil_div(c->kernel[i], c->stride[i]);
  return taps <= MOST_TAPS;
}

enum vn_status VN_ISA_NAME(spread)(const struct vn_conv *conv, struct vn_prepared *prepared,
                                   struct vn_diag *diag) {
  if (!covers(conv))
    return vn_fail(diag, VN_E_UNSUPPORTED, "spread: no dilation, and few taps for an output");
#if VEC_LANES == 16
  if (conv->out.dim[VN_C] <= 8 * conv->groups) return vn_spread_avx2(conv, prepared, diag);
#endif
  struct spread *k = calloc(1, sizeof *k);
  if (!k) return vn_fail(diag, VN_E_MEMORY, "spread: out of memory");
  k->conv = *conv;
  k->in_group = conv->in.dim[VN_C] / conv->groups;
  k->out_group = conv->out.dim[VN_C] / conv->groups;
  k->vecs = ceil_div(k->out_group, VEC_LANES);
  measure(k);
  if (!classes_make(k)) {
    spread_close(k);
    return vn_fail(diag, VN_E_MEMORY, "spread: out of memory");
  }
  if (scratch_bytes(k) > MOST_SCRATCH) {
    spread_close(k);
    return vn_fail(diag, VN_E_UNSUPPORTED, "spread: rows of at most %d MB", MOST_SCRATCH >> 20);
  }
  *prepared = (struct vn_prepared){.name = "spread " VN_ISA_TEXT,
                                   .jobs = conv->out.dim[VN_N] * conv->out.dim[VN_D] * k->blocks,
                                   .scratch_bytes = scratch_bytes(k),
                                   .packed_bytes = k->packed_group * conv->groups * sizeof(float),
                                   .state_bytes = sizeof *k + k->classes * sizeof *k->class,
                                   .run = spread_run,
                                   .close = spread_close,
                                   .pack = spread_pack,
                                   .use = spread_use,
                                   .state = k};
  return VN_OK;
}

/* Transposed convolution: any kernel, stride, padding and groups, but no dilation.
 *
 * Along an axis an output sees the taps whose distance from it is a multiple of the stride, and
 * neighbours at a distance of one stride see the same taps of neighbouring inputs: as many
 * convolutions of stride 1 as the stride is long. A job is a few output rows of one plane. It
 * copies the input rows that they see into scratch, with zeros at both ends; of each of the taps
 * along d and h that remain, every class of outputs along w is a matrix product. Where groups have
 * one channel each, lanes are groups, and the product is one of vectors; where they have a few
 * outputs, lanes are pixels: spread_few.c. */
#include "spread.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 8, FEWEST_JOBS = 32, MOST_SCRATCH = 64 << 20 };

/* ---- which input a tap reaches ---- */

static bool reaches(const struct vn_conv *c, int axis, size_t p, size_t tap, size_t *q) {
  const size_t at = p + c->pad[axis];
  if (at < tap || (at - tap) % c->stride[axis]) return false;
  *q = (at - tap) / c->stride[axis];
  return *q < c->in.dim[VN_D + axis];
}

/* One input row of a unit, with zeros at both ends, pixel after pixel. */
static void copy_row(const struct spread *k, size_t unit, const float *from, float *row) {
  const struct vn_tensor *in = &k->conv.in;
  const size_t pixel = k->in_unit, lead = k->lead * pixel, body = in->dim[VN_W] * pixel;
  const size_t count = smaller(pixel, in->dim[VN_C] - unit * pixel);
  memset(row, 0, lead * sizeof *row);
  row += lead;
  memset(row + body, 0, (k->row_elems - lead - body) * sizeof *row);
  if (count == in->stride && count == pixel) {
    memcpy(row, from, body * sizeof *row);
    return;
  }
  for (size_t x = 0; x < in->dim[VN_W]; x++, row += pixel, from += in->stride)
    for (size_t c = 0; c < count; c += VEC_LANES)
      vec_store_k(row + c, vec_load_k(from + c, count - c), count - c);
}

/* scratch[plane][row][padded w][channel in], or [channel in][padded w], for one unit. */
static void gather(const struct spread *k, const struct spread_place *p, size_t unit, float *to) {
  const struct vn_conv *c = &k->conv;
  const size_t *in = &c->in.dim[VN_D];
  size_t plane = 0, d;
  for (size_t z = 0; z < c->kernel[0]; z++) {
    if (!reaches(c, 0, p->d, z, &d)) continue;
    for (size_t y = 0; y < k->in_rows && p->first + y < in[1]; y++) {
      float *row = to + (plane * k->in_rows + y) * k->row_elems;
      const size_t pixel = ((p->n * in[0] + d) * in[1] + p->first + y) * in[2];
      const float *from = (const float *)c->in.data + pixel * c->in.stride + unit * k->in_unit;
      if (k->lanes == SPREAD_PIXELS)
        spread_turn(k, from, row);
      else
        copy_row(k, unit, from, row);
    }
    plane++;
  }
}

static void row_find(const struct spread *k, const struct spread_place *p, size_t y,
                     const float *rows, struct spread_row *row) {
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
  const struct spread_row *row;
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

/* Lanes are groups: weights are vectors, too. */
VEC_INLINE void each(const struct block *b, const size_t rows) {
  vec sum[GEMM_ROWS];
  VEC_UNROLL for (size_t i = 0; i < rows; i++) sum[i] = vec_zero();
  for (size_t t = 0; t < b->row->count; t++) {
    const float *in = b->row->from[t] + b->at, *u = b->u + b->row->tap[t] * b->length * VEC_LANES;
    for (size_t x = 0; x < b->length; x++, in += VEC_LANES, u += VEC_LANES) {
      const vec w = vec_load(u);
      VEC_UNROLL for (size_t i = 0; i < rows; i++) sum[i] =
          vec_fma(w, vec_load(in + i * VEC_LANES), sum[i]);
    }
  }
  VEC_UNROLL for (size_t i = 0; i < rows; i++) vec_store(b->sum + i * VEC_LANES, sum[i]);
}

typedef void block_fn(const struct block *b);
#define DEFINE(R)                                                                                  \
  static void block_##R##_1(const struct block *b) {                                               \
    block(b, R, 1);                                                                                \
  }                                                                                                \
  static void block_##R##_2(const struct block *b) {                                               \
    block(b, R, 2);                                                                                \
  }                                                                                                \
  static void each_##R(const struct block *b) {                                                    \
    each(b, R);                                                                                    \
  }
GEMM_EACH_ROWS(DEFINE)
#define ENTRY(R) {block_##R##_1, block_##R##_2},
static block_fn *const blocks_of[GEMM_ROWS][GEMM_PANEL] = {GEMM_EACH_ROWS(ENTRY)};
#define ENTRY_EACH(R) each_##R,
static block_fn *const each_of[GEMM_ROWS] = {GEMM_EACH_ROWS(ENTRY_EACH)};

/* All outputs of one class in a row whose first pixel is `pixel`, one panel. */
static void class_run(const struct spread *k, const struct class *class, size_t pixel,
                      const struct vn_epi *e, size_t vecs, struct block *b) {
  const struct vn_tensor *out = &k->conv.out;
  const size_t blocks = ceil_div(class->count, gemm_rows(vecs)), step = k->conv.stride[2];
  for (size_t i = 0, x = 0; i < blocks; i++) {
    const size_t n = class->count / blocks + (i < class->count % blocks);
    b->at = (size_t)((ptrdiff_t)(k->lead + x) + class->begin) * k->in_unit;
    (k->lanes == SPREAD_GROUPS ? each_of[n - 1] : blocks_of[n - 1][vecs - 1])(b);
    for (size_t r = 0; r < n; r++)
      for (size_t o = 0; o < vecs; o++) {
        const size_t to = pixel + class->first + (x + r) * step;
        const vec y = vn_epi_apply(&e[o], vec_load(b->sum + (r * vecs + o) * VEC_LANES), to);
        vec_store_k((float *)out->data + to * out->stride + e[o].channel, y, e[o].count);
      }
    x += n;
  }
}

/* An output row, one panel of a unit. */
static void panel_run(const struct spread *k, size_t unit, size_t v, const struct spread_row *row,
                      size_t pixel) {
  const size_t vecs = smaller(k->vecs - v, GEMM_PANEL), channel = unit * k->out_unit;
  const float *panel = k->packed + unit * k->packed_unit + v * VEC_LANES * k->lane_elems;
  float sum[GEMM_ROWS * GEMM_PANEL * VEC_LANES];
  struct vn_epi e[GEMM_PANEL];
  const size_t channels = smaller(k->out_unit, k->conv.out.dim[VN_C] - channel);
  for (size_t o = 0; o < vecs; o++)
    e[o] = vn_epi_open(&k->conv.epilogue, channel + (v + o) * VEC_LANES,
                       smaller(channels - (v + o) * VEC_LANES, VEC_LANES));
  for (size_t i = 0; i < k->classes; i++) {
    const struct class *class = &k->class[i];
    struct block b = {.row = row,
                      .u = panel + class->weight_at * vecs * VEC_LANES,
                      .sum = sum,
                      .length = class->taps * k->inner,
                      .channels = k->in_unit};
    class_run(k, class, pixel, e, vecs, &b);
  }
}

static void run_unit(const struct spread *k, const struct spread_place *p, size_t unit,
                     const float *rows) {
  const size_t *out = &k->conv.out.dim[VN_D];
  struct spread_row row;
  for (size_t y = 0; y < p->rows; y++) {
    const size_t pixel = ((p->n * out[0] + p->d) * out[1] + p->h + y) * out[2];
    row_find(k, p, y, rows, &row);
    if (k->lanes == SPREAD_PIXELS)
      for (size_t i = 0; i < k->classes; i++) spread_few_row(k, &row, &k->class[i], pixel);
    else
      for (size_t v = 0; v < k->vecs; v += GEMM_PANEL) panel_run(k, unit, v, &row, pixel);
  }
}

static void spread_run(const void *state, size_t job, void *scratch) {
  const struct spread *k = state;
  const struct vn_conv *c = &k->conv;
  const size_t *out = &c->out.dim[VN_D];
  struct spread_place p = {.h = job % k->blocks * k->rows};
  job /= k->blocks;
  p.d = job % out[0];
  p.n = job / out[0];
  p.rows = smaller(k->rows, out[1] - p.h);
  const size_t at = p.h + c->pad[1], back = c->kernel[1] - 1;
  p.first = at > back ? ceil_div(at - back, c->stride[1]) : 0;
  for (size_t u = 0; u < k->units; u++) {
    gather(k, &p, u, scratch);
    run_unit(k, &p, u, scratch);
  }
}

/* ---- weights ---- */

struct packing {
  const struct spread *k;
  const float *weight;
  float *to;
};

/* Lanes of a panel's packed weights: none are idle where pixels are the vectors. */
static size_t panel_lanes(const struct spread *k, size_t v) {
  return k->lanes == SPREAD_PIXELS ? k->out_unit : smaller(k->vecs - v, GEMM_PANEL) * VEC_LANES;
}

static void pack_panel(void *context, size_t job, size_t slot) {
  const struct packing *p = context;
  const struct spread *k = p->k;
  const size_t *r = k->conv.kernel, taps = r[0] * r[1], step = k->conv.stride[2];
  const size_t panels = ceil_div(k->vecs, GEMM_PANEL), unit = job / panels;
  const size_t v = job % panels * GEMM_PANEL, lanes = panel_lanes(k, v);
  const size_t channels = smaller(k->out_unit, k->conv.out.dim[VN_C] - unit * k->out_unit);
  float *to = p->to + unit * k->packed_unit + v * VEC_LANES * k->lane_elems;
  (void)slot;
  for (size_t i = 0; i < k->classes; i++) {
    const struct class *class = &k->class[i];
    const size_t least = (class->first + k->conv.pad[2]) % step; /* the class's first tap */
    for (size_t t = 0; t < taps * class->taps * k->inner; t++) {
      const size_t c = t % k->inner, x = t / k->inner % class->taps;
      const size_t tap = t / k->inner / class->taps;
      const size_t along = least + (class->taps - 1 - x) * step;
      for (size_t l = 0; l < lanes; l++) {
        const size_t o = v * VEC_LANES + l;
        const size_t at = ((unit * k->out_unit + o) * taps + tap) * r[2] + along;
        *to++ = o < channels ? p->weight[at * k->inner + c] : 0;
      }
    }
  }
}

static bool spread_pack(const void *state, struct vn_pool *pool, const float *weight, void *memory,
                        struct vn_watch *watch) {
  const struct spread *k = state;
  struct packing packing = {k, weight, memory};
  return vn_pool_run_watched(pool, k->units * ceil_div(k->vecs, GEMM_PANEL), pack_panel, &packing,
                             watch);
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
    weights += class->taps * c->kernel[0] * c->kernel[1] * k->inner;
    if (!class->taps) class->begin = 0;
    if (class->begin < 0 && (size_t) - class->begin > k->lead) k->lead = (size_t) - class->begin;
    const ptrdiff_t end = class->begin + (ptrdiff_t)(class->count + class->taps);
    if (end > (ptrdiff_t)reach) reach = (size_t)end;
  }
  k->lane_elems = weights;
  k->packed_unit = (k->lanes == SPREAD_PIXELS ? k->out_unit : k->vecs * VEC_LANES) * weights;
  k->zeros = reach - c->in.dim[VN_W];
  k->width = k->lead + reach;
  if (k->lanes == SPREAD_PIXELS) spread_few_widen(k);
  k->row_elems = k->width * k->in_unit;
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
  const bool groups = k->lanes == SPREAD_GROUPS;
  k->units = groups ? ceil_div(c->groups, VEC_LANES) : c->groups;
  k->in_unit = groups ? VEC_LANES : c->in.dim[VN_C] / c->groups;
  k->out_unit = groups ? VEC_LANES : c->out.dim[VN_C] / c->groups;
  k->inner = groups ? 1 : k->in_unit;
  k->vecs = ceil_div(k->out_unit, VEC_LANES);
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
  return taps <= SPREAD_TAPS;
}

/* A few outputs have their pixels in the lanes, if they are enough to fill a vector. */
static enum spread_lanes lanes_of(const struct vn_conv *c) {
  const size_t outputs = c->out.dim[VN_C];
  if (c->groups > 1 && outputs == c->groups && c->in.dim[VN_C] == c->groups) return SPREAD_GROUPS;
  const bool few = c->groups == 1 && outputs <= FEW_OUTPUTS && 2 * outputs <= VEC_LANES;
  return few && c->out.dim[VN_W] >= VEC_LANES * c->stride[2] ? SPREAD_PIXELS : SPREAD_OUTPUTS;
}

enum vn_status VN_ISA_NAME(spread)(const struct vn_conv *conv, struct vn_prepared *prepared,
                                   struct vn_diag *diag) {
  if (!covers(conv))
    return vn_fail(diag, VN_E_UNSUPPORTED, "spread: no dilation, and few taps for an output");
  const enum spread_lanes lanes = lanes_of(conv);
#if VEC_LANES == 16 /* pixels as lanes, too, are faster where more sums stand side by side */
  const size_t busy = conv->out.dim[VN_C] / (lanes == SPREAD_GROUPS ? 1 : conv->groups);
  if (busy <= 8) return vn_spread_avx2(conv, prepared, diag);
#endif
  struct spread *k = calloc(1, sizeof *k);
  if (!k) return vn_fail(diag, VN_E_MEMORY, "spread: out of memory");
  k->conv = *conv;
  k->lanes = lanes;
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
                                   .packed_bytes = k->packed_unit * k->units * sizeof(float),
                                   .state_bytes = sizeof *k + k->classes * sizeof *k->class,
                                   .run = spread_run,
                                   .close = spread_close,
                                   .pack = spread_pack,
                                   .use = spread_use,
                                   .state = k};
  return VN_OK;
}

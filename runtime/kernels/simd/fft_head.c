/* Heads, 5x5x5 convolutions of one or two outputs, by Fourier transforms along d and h alone.
 *
 * With so few outputs vectors of them would be mostly idle, and the transforms cost more than the
 * products. So here channels of the input stay in the lanes, the products along w are direct, the
 * channels are summed, and only sums are transformed back, w in the lanes. A job is a few rows of
 * tiles. It goes through the columns of each once, eight at a time, all within the second cache;
 * sums that wait for columns to come are carried along.
 *
 * Channels are summed in the same order whatever the vectors' width: each of 16 lanes by itself,
 * and then the lanes. A narrower vector is a part of 16 lanes. */
#include "fft.h"
#include "turned_epilogue.h"

#include <stdlib.h>
#include <string.h>

enum {
  COLUMNS = 8,            /* in hand at a time */
  CARRIED = FFT_TAPS - 1, /* sums that are not complete after a step */
  ROWS_OF_PLANE = FFT_POINTS,
  LANES = 16, /* in which channels are summed */
  PARTS = LANES / VEC_LANES,
  TAPS_ELEMS = FFT_TAPS * FFT_PAIR /* weights of a vector */
};

struct head {
  struct fft f;
  size_t row, column; /* floats: of COLUMNS columns of one plane: [column][row][vector][re, im] */
  size_t sums;        /* floats of a row of sums: [output][row][re, im][w] */
  size_t columns_at, carried_at, sums_at, planes_at; /* in the scratch */
};

/* Neighbouring lanes of n vectors, an even number, are added: half as many vectors. */
VEC_INLINE void add_pairs(vec *x, const size_t n) {
  VEC_UNROLL for (size_t i = 0; i < n / 2; i++) x[i] =
      VEC_EVEN(x[2 * i], x[2 * i + 1]) + VEC_ODD(x[2 * i], x[2 * i + 1]);
}

/* One column: tap t of the sum FFT_TAPS - 1 - t of those that it has a share in. Vectors of the
 * input are PARTS apart. */
VEC_INLINE void add_column(const float *in, const float *u, size_t vecs, vec *re, vec *im) {
  for (size_t c = 0; c < vecs; c += PARTS, in += PARTS * FFT_PAIR, u += PARTS * TAPS_ELEMS) {
    const vec x = vec_load(in), y = vec_load(in + VEC_LANES);
    VEC_UNROLL for (size_t t = 0; t < FFT_TAPS; t++) {
      const vec a = vec_load(u + t * FFT_PAIR), b = vec_load(u + t * FFT_PAIR + VEC_LANES);
      const size_t i = FFT_TAPS - 1 - t;
      re[i] = vec_fma(y, b, vec_fma(x, a, re[i]));
      im[i] = vec_fnma(x, b, vec_fma(y, a, im[i]));
    }
  }
}

/* COLUMNS columns of one row for one output: in[column][vector], u[vector][tap], and sums, of which
 * the first COLUMNS get complete. */
struct step {
  const float *in, *u;
  float *carried, *re, *im;
  size_t column, vecs;
};

/* One part of the lanes: sums[re 0 ... , im 0 ...], PARTS apart. */
static void step_part(const struct step *s, size_t part, float *sums) {
  enum { SUMS = COLUMNS + CARRIED };
  vec re[SUMS], im[SUMS];
  float *carried = s->carried + part * CARRIED * FFT_PAIR;
  if (part >= s->vecs) {
    for (size_t i = 0; i < 2 * COLUMNS; i++) vec_store(sums + i * LANES, vec_zero());
    return;
  }
  VEC_UNROLL for (size_t i = 0; i < SUMS; i++) {
    re[i] = i < CARRIED ? vec_load(carried + i * FFT_PAIR) : vec_zero();
    im[i] = i < CARRIED ? vec_load(carried + i * FFT_PAIR + VEC_LANES) : vec_zero();
  }
  VEC_UNROLL for (size_t j = 0; j < COLUMNS; j++)
      add_column(s->in + j * s->column + part * FFT_PAIR, s->u + part * TAPS_ELEMS, s->vecs - part,
                 re + j, im + j);
  VEC_UNROLL for (size_t i = 0; i < CARRIED; i++) {
    vec_store(carried + i * FFT_PAIR, re[COLUMNS + i]);
    vec_store(carried + i * FFT_PAIR + VEC_LANES, im[COLUMNS + i]);
  }
  VEC_UNROLL for (size_t i = 0; i < COLUMNS; i++) {
    vec_store(sums + i * LANES, re[i]);
    vec_store(sums + (COLUMNS + i) * LANES, im[i]);
  }
}

/* The 16 lanes of 16 sums, added up. */
static void step(const struct step *s) {
  enum { N = 2 * COLUMNS * PARTS };
  float sums[2 * COLUMNS * LANES];
  vec x[N];
  for (size_t part = 0; part < PARTS; part++) step_part(s, part, sums + part * VEC_LANES);
  VEC_UNROLL for (size_t i = 0; i < N; i++) x[i] = vec_load(sums + i * VEC_LANES);
  add_pairs(x, N);
  add_pairs(x, N / 2);
  add_pairs(x, N / 4);
  add_pairs(x, N / 8);
  VEC_UNROLL for (size_t i = 0; i < PARTS; i++) vec_store(sums + i * VEC_LANES, x[i]);
  memcpy(s->re, sums, COLUMNS * sizeof(float));
  memcpy(s->im, sums + COLUMNS, COLUMNS * sizeof(float));
}

/* All rows of one plane for the columns in hand, the first of which is number x of the job. */
static void plane_sums(const struct head *k, size_t plane, size_t x, float *scratch) {
  const size_t outputs = k->f.channels_out, first = fft_plane_row(plane);
  const size_t rows = plane < 2 ? FFT_PLANES : FFT_POINTS, u = k->f.vecs_in * TAPS_ELEMS;
  for (size_t r = 0; r < rows; r++)
    for (size_t o = 0; o < outputs; o++) {
      const size_t at = o * FFT_ROWS + first + r;
      struct step s = {.in = scratch + k->columns_at + r * k->row,
                       .u = k->f.packed + ((first + r) * outputs + o) * u,
                       .carried = scratch + k->carried_at + at * PARTS * CARRIED * FFT_PAIR,
                       .re = scratch + k->sums_at + at * 2 * k->sums + x,
                       .column = k->column,
                       .vecs = k->f.vecs_in};
      s.im = s.re + k->sums;
      step(&s);
    }
}

/* COLUMNS columns from number x of the job on. */
static void some_columns(const struct head *k, const struct fft_strip *at, size_t x,
                         float *scratch) {
  const size_t size = k->f.conv.in.dim[VN_W], pad = k->f.conv.pad[2];
  float *columns = scratch + k->columns_at, *stage = scratch + k->f.stage_at;
  size_t first = 0, last = COLUMNS; /* those that exist */
  while (first < COLUMNS && at->w + x + first < pad) first++;
  while (last > first && at->w + x + last - pad > size) last--;
  memset(columns, 0, first * k->column * sizeof(float));
  memset(columns + last * k->column, 0, (COLUMNS - last) * k->column * sizeof(float));
  if (first < last)
    fft_input_depth(&k->f, at, at->w + x + first - pad, last - first, scratch + k->f.zeros_at,
                    stage);
  for (size_t plane = 0; plane < FFT_PLANES; plane++) {
    if (first < last)
      fft_input_h(&k->f, plane, last - first, stage, columns + first * k->column, k->column,
                  k->row);
    plane_sums(k, plane, x, scratch);
  }
}

/* ---- the output ---- */

/* One h of the VEC_LANES pixels from `pixel` on, of which `count` exist: all of d. */
VEC_INLINE void finish(const struct vn_conv *conv, const size_t outputs, const float *sums,
                       size_t pixel, size_t count, size_t depth) {
  const size_t plane = conv->out.dim[VN_H] * conv->out.dim[VN_W];
  for (size_t d = 0; d < depth; d++, pixel += plane) {
    vec y[FFT_HEAD_OUTPUTS];
    VEC_UNROLL for (size_t o = 0; o < outputs; o++) y[o] =
        vec_load(sums + (o * FFT_TILE + d) * VEC_LANES);
    turned_finish(conv, outputs, pixel, count, y);
  }
}

static void head_output(const struct head *k, const struct fft_strip *at, float *scratch) {
  const struct vn_tensor *out = &k->f.conv.out;
  const size_t *size = &out->dim[VN_D], outputs = k->f.channels_out;
  const size_t columns = smaller(at->tiles * FFT_TILE, size[2] - at->w);
  const size_t depth = smaller(FFT_TILE, size[0] - at->d),
               height = smaller(FFT_TILE, size[1] - at->h);
  float *planes = scratch + k->planes_at, sums[FFT_HEAD_OUTPUTS * FFT_TILE * VEC_LANES];
  for (size_t x = 0; x < columns; x += VEC_LANES) {
    for (size_t o = 0; o < outputs; o++)
      fft_output_h(scratch + k->sums_at + o * FFT_ROWS * 2 * k->sums + CARRIED + x, 2 * k->sums,
                   k->sums, planes + o * FFT_HALVES);
    for (size_t h = 0; h < height; h++) {
      const size_t row = ((at->n * size[0] + at->d) * size[1] + at->h + h) * size[2] + at->w;
      for (size_t o = 0; o < outputs; o++)
        fft_output_depth(planes + o * FFT_HALVES + h * VEC_LANES, sums + o * FFT_TILE * VEC_LANES);
      const size_t count = smaller(VEC_LANES, columns - x);
      if (outputs == 1)
        finish(&k->f.conv, 1, sums, row + x, count, depth);
      else
        finish(&k->f.conv, 2, sums, row + x, count, depth);
    }
  }
}

static void head_run(const void *state, size_t index, void *scratch) {
  const struct head *k = state;
  const struct fft_part job = fft_part_at(&k->f, index);
  const size_t columns = job.tiles * FFT_TILE + CARRIED;
  const size_t carried = k->f.channels_out * FFT_ROWS * PARTS * CARRIED * FFT_PAIR;
  float *s = scratch;
  memset(s + k->f.zeros_at, 0, COLUMNS * k->f.conv.in.stride * sizeof(float));
  for (size_t i = 0; i < job.count; i++) {
    const struct fft_strip at = fft_strip_at(&k->f, &job, i);
    memset(s + k->carried_at, 0, carried * sizeof(float));
    for (size_t x = 0; x < columns; x += COLUMNS) some_columns(k, &at, x, s);
    head_output(k, &at, s);
  }
}

/* ---- opening ---- */

static bool head_pack(const void *state, struct vn_pool *pool, const float *weight, void *memory,
                      struct vn_watch *watch) {
  return fft_pack_head(&((const struct head *)state)->f, pool, weight, memory, watch);
}

static void head_use(void *state, const void *memory) {
  ((struct head *)state)->f.packed = memory;
}

static size_t lines(size_t elems) {
  return (elems + FFT_LINE - 1) / FFT_LINE * FFT_LINE;
}

/* Strides and places in the scratch; returns its size in bytes. */
static size_t head_cut(struct head *k) {
  struct fft *f = &k->f;
  fft_cut_strips(f, COLUMNS);
  k->row = f->vecs_in * FFT_PAIR;
  k->column = lines(ROWS_OF_PLANE * k->row) + FFT_LINE;
  k->sums = lines(f->block * FFT_TILE + CARRIED + COLUMNS + VEC_LANES);
  f->zeros_at = 0;
  f->stage_at = lines(COLUMNS * f->conv.in.stride);
  k->columns_at = f->stage_at + FFT_POINTS * f->stage_d;
  k->carried_at = k->columns_at + COLUMNS * k->column;
  k->sums_at = k->carried_at + f->channels_out * FFT_ROWS * PARTS * CARRIED * FFT_PAIR;
  k->planes_at = k->sums_at + f->channels_out * FFT_ROWS * 2 * k->sums;
  return lines(k->planes_at + f->channels_out * FFT_HALVES) * sizeof(float);
}

enum vn_status fft_head(const struct vn_conv *conv, struct vn_prepared *prepared,
                        struct vn_diag *diag) {
  struct head *k = calloc(1, sizeof *k);
  if (!k) return vn_fail(diag, VN_E_MEMORY, "fft: out of memory");
  struct fft *f = &k->f;
  f->conv = *conv;
  f->channels_in = conv->in.dim[VN_C];
  f->channels_out = conv->out.dim[VN_C];
  f->vecs_in = (f->channels_in + VEC_LANES - 1) / VEC_LANES;
  const size_t scratch = head_cut(k);
  *prepared = (struct vn_prepared){.name = "fft head " VN_ISA_TEXT,
                                   .jobs = fft_parts(f),
                                   .scratch_bytes = scratch,
                                   .packed_bytes = FFT_ROWS * f->channels_out * f->vecs_in *
                                                   FFT_TAPS * FFT_PAIR * sizeof(float),
                                   .run = head_run,
                                   .close = free,
                                   .pack = head_pack,
                                   .use = head_use,
                                   .state = k};
  return VN_OK;
}

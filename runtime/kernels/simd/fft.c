/* 5x5x5 convolution by Fourier transforms of tiles, stride 1, any channels and any grid.
 *
 * The story of a part of the output, a few strips, which are rows of tiles along w: the input is
 * transformed along d and h, into memory of the last cache's size; then for each of the rows of
 * frequencies along w, multiplied by the weights, which are kept untransformed along h and w and
 * transformed here for all tiles of the part, and transformed back in place; then the outputs along
 * h and d are transformed back, finished and stored. Channels lie in the lanes throughout.
 *
 * Either a part is a job; or jobs share it, where the weights ask for many tiles (schemas/cost.h):
 * it is a round of two phases then. Pieces of strips bring the input; rows, a few to a job, are
 * multiplied; and the pieces that store the output bring the next round's input, each where its own
 * part of the strip lay. */
#include "fft.h"

#include <stdlib.h>

enum { ROWS_JOB = 4, ROW_JOBS = (FFT_ROWS + ROWS_JOB - 1) / ROWS_JOB };

/* Jobs: the pieces of the first round's input, and for each round its rows and the pieces of its
 * output and of the next one's input. */
static size_t jobs_of_round(const struct fft *f) {
  return ROW_JOBS + f->pieces;
}

static size_t fft_phase(const void *state, size_t first) {
  const struct fft *f = state;
  if (first < f->pieces) return f->pieces;
  const size_t within = (first - f->pieces) % jobs_of_round(f);
  return first - within + (within < ROW_JOBS ? ROW_JOBS : jobs_of_round(f));
}

/* The columns of a piece are its own in every round, the last piece's to the end of the strip. */
static bool piece_at(const struct fft *f, size_t round, size_t piece, struct fft_strip *strip,
                     float **memory) {
  if (round >= fft_parts(f)) return false;
  const struct fft_part part = fft_part_at(f, round);
  const size_t each = f->pieces / f->group, index = piece / each, k = piece % each;
  if (index >= part.count) return false;
  *strip = fft_strip_at(f, &part, index);
  *memory = f->shared + index * f->strip;
  strip->begin = k * f->piece * FFT_TILE;
  if (k + 1 < each && (k + 1) * f->piece * FFT_TILE < strip->end)
    strip->end = (k + 1) * f->piece * FFT_TILE;
  return true;
}

static void rows_run(const struct fft *f, size_t round, size_t job, float *scratch) {
  const struct fft_part part = fft_part_at(f, round);
  const size_t row = job * ROWS_JOB, end = row + ROWS_JOB;
  fft_products(f, &part, row, end < FFT_ROWS ? end : FFT_ROWS, f->shared, scratch);
}

static void shared_run(const void *state, size_t job, void *scratch) {
  const struct fft *f = state;
  struct fft_strip strip;
  float *memory;
  size_t piece = job, next = 0; /* the round whose input comes */
  if (job >= f->pieces) {
    const size_t round = (job - f->pieces) / jobs_of_round(f);
    const size_t within = (job - f->pieces) % jobs_of_round(f);
    if (within < ROW_JOBS) {
      rows_run(f, round, within, scratch);
      return;
    }
    piece = within - ROW_JOBS;
    if (piece_at(f, round, piece, &strip, &memory)) fft_output(f, &strip, scratch, memory);
    if (f->stream) vec_stream_end();
    next = round + 1;
  }
  if (piece_at(f, next, piece, &strip, &memory)) fft_input(f, &strip, scratch, memory);
}

static void own_run(const void *state, size_t index, void *scratch) {
  const struct fft *f = state;
  const struct fft_part part = fft_part_at(f, index);
  float *s = scratch;
  for (size_t i = 0; i < part.count; i++) {
    const struct fft_strip at = fft_strip_at(f, &part, i);
    fft_input(f, &at, s, s + i * f->strip);
  }
  fft_products(f, &part, 0, FFT_ROWS, s, s);
  for (size_t i = 0; i < part.count; i++) {
    const struct fft_strip at = fft_strip_at(f, &part, i);
    fft_output(f, &at, s, s + i * f->strip);
  }
  if (f->stream) vec_stream_end();
}

static void fft_share(void *state, void *memory) {
  ((struct fft *)state)->shared = memory;
}

static bool fft_pack_any(const void *state, struct vn_pool *pool, const float *weight, void *memory,
                         struct vn_watch *watch) {
  return fft_pack(state, pool, weight, memory, watch);
}

static void fft_use(void *state, const void *memory) {
  ((struct fft *)state)->packed = memory;
}

/* ---- opening ---- */

static bool covers(const struct vn_conv *c) {
  for (int a = 0; a < 3; a++)
    if (c->kernel[a] != FFT_TAPS || c->stride[a] != 1 || c->dilation[a] != 1) return false;
  return c->groups == 1;
}

enum vn_status VN_ISA_NAME(fft)(const struct vn_conv *conv, struct vn_prepared *prepared,
                                struct vn_diag *diag) {
#if VEC_LANES == 16
  if (conv->in.dim[VN_C] <= 8 && conv->out.dim[VN_C] <= 8) return vn_fft_avx2(conv, prepared, diag);
#endif
  if (!covers(conv))
    return vn_fail(diag, VN_E_UNSUPPORTED, "fft: a 5x5x5 kernel, stride 1, no dilation or groups");
  if (conv->out.dim[VN_C] <= FFT_HEAD_OUTPUTS) return fft_head(conv, prepared, diag);
  struct fft *f = calloc(1, sizeof *f);
  if (!f) return vn_fail(diag, VN_E_MEMORY, "fft: out of memory");
  f->conv = *conv;
  f->channels_in = conv->in.dim[VN_C];
  f->channels_out = conv->out.dim[VN_C];
  f->vecs_in = (f->channels_in + VEC_LANES - 1) / VEC_LANES;
  f->vecs_out = (f->channels_out + VEC_LANES - 1) / VEC_LANES;
  const size_t scratch = fft_cut(f);
  f->stream = vn_wants_stream(&conv->out);
  *prepared = (struct vn_prepared){.name = "fft " VN_ISA_TEXT,
                                   .jobs = fft_parts(f),
                                   .scratch_bytes = scratch,
                                   .packed_bytes = f->packed_elems * sizeof(float),
                                   .run = own_run,
                                   .close = free,
                                   .pack = fft_pack_any,
                                   .use = fft_use,
                                   .state = f};
  if (!f->shares) return VN_OK;
  prepared->jobs = f->pieces + fft_parts(f) * jobs_of_round(f);
  prepared->shared_bytes = (f->group * f->strip * sizeof(float) + 63) / 64 * 64;
  prepared->run = shared_run;
  prepared->phase = fft_phase;
  prepared->share = fft_share;
  return VN_OK;
}

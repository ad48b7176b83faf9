/* How an FFT convolution is cut: strips and tiles of a part, as schemas/cost.h has it for the
 * compiler as well, and places in memory. Depends on the problem and the instruction set
 * alone, never on the number of threads. */
#include "fft.h"

size_t fft_parts(const struct fft *f) {
  return f->groups * f->blocks;
}

/* Distances that are an odd number of lines do not fall on the same few sets of a cache. */
static size_t odd_lines(size_t elems) {
  return ((elems + FFT_LINE - 1) / FFT_LINE | 1) * FFT_LINE;
}

static size_t larger(size_t a, size_t b) {
  return a > b ? a : b;
}

void fft_cut_strips(struct fft *f, size_t stage_columns) {
  const size_t *dim = &f->conv.out.dim[VN_D];
  const uint64_t out[3] = {dim[0], dim[1], dim[2]};
  const struct vn_fft_cut cut =
      vn_fft_cut(f->conv.out.dim[VN_N], f->channels_in, f->channels_out, out, VEC_LANES);
  for (size_t a = 0; a < 3; a++) f->tiles[a] = (size_t)cut.tiles[a];
  f->strips = (size_t)cut.strips;
  f->blocks = (size_t)cut.blocks;
  f->block = (size_t)cut.block;
  f->groups = (size_t)cut.groups;
  f->group = (size_t)cut.group;
  f->shares = cut.shared;
  f->stage_columns = stage_columns;
  f->stage_h = odd_lines(stage_columns * f->vecs_in * VEC_LANES);
  f->stage_d = odd_lines(FFT_POINTS * f->stage_h);
}

size_t fft_cut(struct fft *f) {
  enum { STAGE_VECS = 16, ENOUGH_PIECES = 24 };
  const size_t vecs = larger(f->vecs_in, f->vecs_out);
  f->row = vecs * FFT_PAIR;
  f->column = odd_lines(FFT_ROWS * f->row);
  fft_cut_strips(f, f->vecs_in < STAGE_VECS ? STAGE_VECS / f->vecs_in : 1);
  const size_t tiles = f->group * f->block, each = (ENOUGH_PIECES + f->group - 1) / f->group;
  f->piece = f->block / each > 1 ? f->block / each : 1;
  f->pieces = f->group * ((f->block + f->piece - 1) / f->piece);
  f->strip = (f->block * FFT_TILE + FFT_TAPS - 1) * f->column;
  f->v_row = f->vecs_in * FFT_TRIPLE;
  f->v_freq = odd_lines(tiles * f->v_row);
  f->m_row = f->vecs_out * FFT_PAIR;
  f->m_freq = odd_lines(tiles * f->m_row);
  f->u_freq = odd_lines(f->channels_in * FFT_PAIR);
  const size_t taps = f->vecs_out * f->channels_in * FFT_TAPS * FFT_PAIR; /* of a row */
  f->packed_elems = (f->shares ? FFT_PLANES * FFT_TAPS : FFT_ROWS) * taps;
  f->zeros_at = f->shares ? 0 : f->group * f->strip;
  f->stage_at = f->zeros_at + odd_lines(f->stage_columns * f->conv.in.stride);
  f->v_at = f->zeros_at; /* a job is done with its input before its products */
  f->m_at = f->v_at + FFT_POINTS * f->v_freq;
  f->u_at = f->m_at + FFT_POINTS * f->m_freq;
  const size_t input_end = f->stage_at + FFT_POINTS * f->stage_d;
  f->taps_at = f->u_at + FFT_TAPS * f->u_freq;
  const size_t products_end = f->taps_at + f->channels_in * FFT_TAPS * FFT_PAIR;
  f->planes_at = f->zeros_at;
  const size_t output_end = f->planes_at + FFT_BESIDE * FFT_HALVES;
  const size_t end = larger(larger(input_end, products_end), output_end);
  return (end * sizeof(float) + 63) / 64 * 64;
}

/* Along depth first: a strip finds a part of its input where the one before it left it. */
struct fft_part fft_part_at(const struct fft *f, size_t index) {
  const size_t group = index % f->groups, block = index / f->groups;
  const size_t first = group * f->strips / f->groups, tile = block * f->tiles[2] / f->blocks;
  return (struct fft_part){.first = first,
                           .count = (group + 1) * f->strips / f->groups - first,
                           .w = tile * FFT_TILE,
                           .tiles = (block + 1) * f->tiles[2] / f->blocks - tile};
}

struct fft_strip fft_strip_at(const struct fft *f, const struct fft_part *part, size_t index) {
  const size_t d = (part->first + index) % f->tiles[0], rest = (part->first + index) / f->tiles[0];
  return (struct fft_strip){.n = rest / f->tiles[1],
                            .d = d * FFT_TILE,
                            .h = rest % f->tiles[1] * FFT_TILE,
                            .w = part->w,
                            .tiles = part->tiles,
                            .end = part->tiles * FFT_TILE + FFT_TAPS - 1};
}

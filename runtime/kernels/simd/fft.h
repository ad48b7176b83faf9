/* 5x5x5 convolution by Fourier transforms: what its files share. fft.c tells the story.
 *
 * A tile of 20 points along each axis yields 16 outputs, and the products of a tile take 3.95
 * multiply-adds for each output and pair of channels, where Winograd's F(4,5) takes 8, at a
 * fiftieth of its error. Of the 20 * 20 frequencies along d and h those that are conjugates of
 * others are left out: 202 `rows`. A row is one frequency along d and h, and a line of complex
 * numbers along w. */
#ifndef VNET_SIMD_FFT_H
#define VNET_SIMD_FFT_H

#include "epilogue.h"
#include "fft_1d.h"
#include "simd.h"

#include "cost.h"

#include <assert.h>

enum {
  FFT_TAPS = VN_FFT_TAPS,
  FFT_TILE = FFT_POINTS - FFT_TAPS + 1,
  FFT_PLANES = FFT_HALF + 2, /* frequencies along d: 0, 10 and those of fft_frequency */
  FFT_ROWS = 2 * FFT_PLANES + FFT_HALF * FFT_POINTS,
  FFT_PAIR = 2 * VEC_LANES,                       /* a complex vector: re, im */
  FFT_TRIPLE = 3 * VEC_LANES,                     /* as fft_products.c multiplies it */
  FFT_HALVES = FFT_POINTS * FFT_TILE * VEC_LANES, /* floats that fft_output_h yields */
  FFT_BESIDE = 4, /* columns of the output that are finished together */
  FFT_LINE = 16   /* floats of a cache line */
};
static_assert(FFT_TILE - VN_FFT_TILE == 0 && FFT_ROWS - VN_FFT_ROWS == 0 &&
                  FFT_PLANES - VN_FFT_PLANES == 0,
              "schemas/cost.h");

struct fft {
  struct vn_conv conv;
  size_t channels_in, channels_out, vecs_in, vecs_out; /* vecs: VEC_LANES channels each */
  size_t tiles[3];                                     /* of the output, each axis */
  size_t strips, groups, blocks; /* rows of tiles along w: all; parts of them; and their cut */
  size_t group, block;           /* strips and tiles along w of a part, at most */
  size_t piece, pieces;          /* tiles along w of a piece of a strip; pieces of a part */
  int stream;                    /* the output is too large for any cache: see vec_stream */
  /* Elements. A strip in shared memory: [column][row][vector][re, im]. The stage of the input holds
   * a few columns: [frequency along d][h][column][vector]. */
  size_t row, column, strip;
  size_t stage_columns, stage_h, stage_d;
  size_t v_row, v_freq, m_row, m_freq, u_freq; /* of the products: [frequency][tile][channel] */
  size_t zeros_at, stage_at, v_at, m_at, u_at, taps_at, planes_at; /* in the scratch */
  size_t packed_elems;
  bool shares;         /* parts are rounds; else each is a job, its strips first in the scratch */
  float *shared;       /* a round's strips */
  const float *packed; /* [plane][vector out][channel in][tap along h][tap along w][re, im], of
                          parts that are jobs [row][vector out][channel in][tap along w][re, im];
                          heads: [row][output][vector in][tap along w][re, im] */
};

/* A part of the output: the strips [first, first + count), from output column w on. */
struct fft_part {
  size_t first, count, w, tiles;
};

/* One row of tiles, from this output on; of its columns those from `begin` to `end`. */
struct fft_strip {
  size_t n, d, h, w, tiles;
  size_t begin, end;
};

#define fft_cut          VN_ISA_NAME(fft_cut)
#define fft_parts        VN_ISA_NAME(fft_parts)
#define fft_part_at      VN_ISA_NAME(fft_part_at)
#define fft_strip_at     VN_ISA_NAME(fft_strip_at)
#define fft_pack         VN_ISA_NAME(fft_pack)
#define fft_input        VN_ISA_NAME(fft_input)
#define fft_products     VN_ISA_NAME(fft_products)
#define fft_output       VN_ISA_NAME(fft_output)
#define fft_head         VN_ISA_NAME(fft_head)
#define fft_input_depth  VN_ISA_NAME(fft_input_depth)
#define fft_input_h      VN_ISA_NAME(fft_input_h)
#define fft_output_h     VN_ISA_NAME(fft_output_h)
#define fft_output_depth VN_ISA_NAME(fft_output_depth)
#define fft_pack_head    VN_ISA_NAME(fft_pack_head)
#define fft_cut_strips   VN_ISA_NAME(fft_cut_strips)

/* fft_cut.c: with conv and the channels filled in, decides all the rest but `packed` and `shared`.
 * Returns the bytes of scratch. Then the number of parts, each of them, and each of its strips. */
size_t fft_cut(struct fft *f);
/* The first part of it, for heads: as cost.h has it, and the stage's distances. */
void fft_cut_strips(struct fft *f, size_t stage_columns);
size_t fft_parts(const struct fft *f);
struct fft_part fft_part_at(const struct fft *f, size_t index);
struct fft_strip fft_strip_at(const struct fft *f, const struct fft_part *part, size_t index);

/* fft_weights.c: fills `packed` from the convolution's weights, in double. False: stopped. */
bool fft_pack(const struct fft *f, struct vn_pool *pool, const float *weight, float *packed,
              struct vn_watch *watch);
bool fft_pack_head(const struct fft *f, struct vn_pool *pool, const float *weight, float *packed,
                   struct vn_watch *watch);

/* fft_input.c: a strip's input columns along d and h, to `strip`. Its two halves, for the heads,
 * too: input columns [w, w + columns), which exist, along d to the stage; from there one plane
 * along h to out[column][row][vector][re, im], `column` and `row` floats apart. */
void fft_input(const struct fft *f, const struct fft_strip *at, float *scratch, float *strip);
void fft_input_depth(const struct fft *f, const struct fft_strip *at, size_t w, size_t columns,
                     const float *zeros, float *stage);
void fft_input_h(const struct fft *f, size_t plane, size_t columns, const float *stage, float *out,
                 size_t column, size_t row);

/* fft_products.c: the rows [row, end) of a part's strips along w, times the weights, and back; in
 * place. */
void fft_products(const struct fft *f, const struct fft_part *part, size_t row, size_t end,
                  float *strips, float *scratch);

/* fft_output.c: back along h and d, epilogue and store. Its two halves, for the heads, too: one
 * vector of the rows, `row` floats apart, im behind re by `im` floats, to planes[frequency along
 * d][h]; and of those one h, to out[d]. */
void fft_output(const struct fft *f, const struct fft_strip *at, float *scratch,
                const float *strip);
void fft_output_h(const float *in, size_t row, size_t im, float *planes);
void fft_output_depth(const float *planes, float *out);

/* fft_head.c: convolutions of so few outputs that vectors of them would be mostly idle, by the same
 * transforms along d and h. */
enum { FFT_HEAD_OUTPUTS = VN_FFT_HEAD };
enum vn_status fft_head(const struct vn_conv *conv, struct vn_prepared *prepared,
                        struct vn_diag *diag);

/* A plane is a frequency along d, counted as fft_real has them. Its first row: */
VEC_INLINE size_t fft_plane_row(size_t plane) {
  return plane < 2 ? FFT_PLANES * plane : 2 * FFT_PLANES + FFT_POINTS * (plane - 2);
}

/* Where fft_real has its frequency number `index`. */
VEC_INLINE size_t fft_real_frequency(size_t index) {
  return index < 2 ? 10 * index : fft_frequency[index - 2];
}

/* A row's plane, and its frequency along h. */
struct fft_row {
  size_t plane, frequency;
};
VEC_INLINE struct fft_row fft_row_at(size_t row) {
  const size_t real = 2 * FFT_PLANES;
  if (row < real) return (struct fft_row){row / FFT_PLANES, fft_real_frequency(row % FFT_PLANES)};
  return (struct fft_row){2 + (row - real) / FFT_POINTS, (row - real) % FFT_POINTS};
}

#endif

/* The products of the FFT convolution, row by row: a row's columns along w, for each of the 20
 * frequencies a small complex matrix product over the input channels, and back. Called by fft.c.
 *
 * Weights w are taken as their conjugates, for this is a correlation, and three real products do
 * for each complex one. x conj(w) has re = p + q and im = p - r, with
 *
 *   p = (re x + im x) re w,  q = im x (im w - re w),  r = re x (re w + im w)
 *
 * The sums over the channels are taken before.
 *
 * Weights are kept with their 5 by 5 taps along h and w, a quarter of a quarter of their
 * frequencies, which are made here for all tiles of the part; for jobs that work alone those along
 * h have been made before. What the next row needs is fetched while this one is computed. */
#include "fft.h"

/* Rows, tiles that is, of which the three sums fit the registers, beside three of weights. */
#if VEC_REGISTERS == 32
#define EACH_ROWS(F) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9)
enum { MOST_ROWS = 9 };
#else
#define EACH_ROWS(F) F(1) F(2) F(3) F(4)
enum { MOST_ROWS = 4 };
#endif

/* v[tile][vector in][re, im, re + im], u[channel in][re, im], m[tile][re, im]. */
struct product {
  const float *v, *u;
  float *m;
  size_t v_row, m_row, channels;
};

/* Rows are reached from three pointers, as in gemm_block. */
VEC_INLINE void block(const struct product *p, const size_t rows) {
  enum { POINTERS = (MOST_ROWS + 3) / 4 };
  vec sum[MOST_ROWS][3];
  const size_t row = p->v_row;
  const float *u = p->u, *at[POINTERS];
  VEC_UNROLL for (size_t i = 0; i < POINTERS; i++) at[i] = p->v + 4 * i * row;
  VEC_UNROLL for (size_t i = 0; i < 3 * rows; i++) sum[i / 3][i % 3] = vec_zero();
  for (size_t c = 0; c < p->channels; c += VEC_LANES) {
    const size_t left = p->channels - c, lanes = left < VEC_LANES ? left : VEC_LANES;
    for (size_t l = 0; l < lanes; l++, u += FFT_PAIR) {
      const vec w0 = vec_load(u), im = vec_load(u + VEC_LANES), w1 = im - w0, w2 = im + w0;
      VEC_UNROLL for (size_t i = 0; i < rows; i++) {
        const float *x = at[i / 4] + i % 4 * row;
        sum[i][0] = vec_fma(vec_set1(x[2 * VEC_LANES]), w0, sum[i][0]);
        sum[i][1] = vec_fma(vec_set1(x[VEC_LANES]), w1, sum[i][1]);
        sum[i][2] = vec_fma(vec_set1(x[0]), w2, sum[i][2]);
      }
      VEC_UNROLL for (size_t i = 0; i < (rows + 3) / 4; i++) at[i]++;
    }
    VEC_UNROLL for (size_t i = 0; i < (rows + 3) / 4; i++) at[i] += FFT_TRIPLE - VEC_LANES;
  }
  float *m = p->m;
  VEC_UNROLL for (size_t i = 0; i < rows; i++, m += p->m_row) {
    vec_store(m, sum[i][0] + sum[i][1]);
    vec_store(m + VEC_LANES, sum[i][0] - sum[i][2]);
  }
}

typedef void block_fn(const struct product *p);
#define DEFINE(R)                                                                                  \
  static void block_##R(const struct product *p) {                                                 \
    block(p, R);                                                                                   \
  }
EACH_ROWS(DEFINE)
#define ENTRY(R) block_##R,
static block_fn *const blocks_of[MOST_ROWS] = {EACH_ROWS(ENTRY)};

/* Taps along w of one row's weights for one output vector: of the plane's taps along h frequency k.
 * from: [channel][tap along h][tap along w][re, im], to: [channel][tap along w][re, im]. */
static void taps_of_row(const float *from, size_t channels, size_t k, float *to) {
  static const float cosine[FFT_POINTS] = {1,  .95105652f,  .80901699f,  .58778525f,  .30901699f,
                                           0,  -.30901699f, -.58778525f, -.80901699f, -.95105652f,
                                           -1, -.95105652f, -.80901699f, -.58778525f, -.30901699f,
                                           0,  .30901699f,  .58778525f,  .80901699f,  .95105652f};
  vec c[FFT_TAPS], s[FFT_TAPS];
  for (size_t t = 1; t < FFT_TAPS; t++) {
    c[t] = vec_set1(cosine[k * t % FFT_POINTS]);
    s[t] = vec_set1(cosine[(k * t + 15) % FFT_POINTS]);
  }
  for (size_t i = 0; i < channels; i++, from += (FFT_TAPS - 1) * FFT_TAPS * FFT_PAIR)
    for (size_t w = 0; w < FFT_TAPS; w++, from += FFT_PAIR, to += FFT_PAIR) {
      vec re = vec_load(from), im = vec_load(from + VEC_LANES);
      VEC_UNROLL for (size_t t = 1; t < FFT_TAPS; t++) {
        const float *tap = from + t * FFT_TAPS * FFT_PAIR;
        const vec x = vec_load(tap), y = vec_load(tap + VEC_LANES);
        re = vec_fma(y, s[t], vec_fma(x, c[t], re));
        im = vec_fnma(x, s[t], vec_fma(y, c[t], im));
      }
      vec_store(to, re);
      vec_store(to + VEC_LANES, im);
    }
}

/* The frequencies k = 5 c + 16 d along w, d = 0 … 4, of one output vector's weights. Each of the 5
 * taps stands alone in its transform of 4 points, so that this is a turn by -i to the power of c
 * times 0, 1, 2 or 3. taps: [channel][tap][re, im]. */
VEC_INLINE void frequencies(const float *taps, size_t channels, const size_t c, float *u,
                            size_t u_freq) {
  static const unsigned char tap_of[5] = {0, 4, 3, 2, 1}, turns_of[5] = {0, 0, 3, 2, 1};
  for (size_t i = 0; i < channels; i++, taps += FFT_TAPS * FFT_PAIR, u += FFT_PAIR) {
    vec re[5], im[5], to_re[5], to_im[5];
    VEC_UNROLL for (size_t b = 0; b < 5; b++) {
      const vec x = vec_load(taps + tap_of[b] * FFT_PAIR);
      const vec y = vec_load(taps + tap_of[b] * FFT_PAIR + VEC_LANES);
      const size_t turn = turns_of[b] * c % 4;
      re[b] = turn == 0 ? x : turn == 1 ? y : turn == 2 ? -x : -y;
      im[b] = turn == 0 ? y : turn == 1 ? -x : turn == 2 ? -y : x;
    }
    fft_complex5(re, im, to_re, to_im);
    VEC_UNROLL for (size_t d = 0; d < 5; d++) {
      vec_store(u + d * u_freq, to_re[d]);
      vec_store(u + d * u_freq + VEC_LANES, to_im[d]);
    }
  }
}

static void frequencies_any(const struct fft *f, const float *taps, size_t c, float *u) {
  switch (c) {
#define CASE(C)                                                                                    \
  case C:                                                                                          \
    frequencies(taps, f->channels_in, C, u, f->u_freq);                                            \
    break;
    CASE(0)
    CASE(1)
    CASE(2)
    CASE(3)
#undef CASE
  default:
    break;
  }
}

/* What the next row needs of each column, a few lines at a time. */
struct ahead {
  const float *columns;
  size_t column, elems, left, part;
};

static struct ahead ahead_of(const struct fft *f, const struct fft_part *part, const float *strips,
                             size_t row, size_t end) {
  const size_t steps = FFT_POINTS * f->vecs_out;
  struct ahead a = {
      .columns = strips + (row + 1) * f->row, .column = f->column, .elems = f->vecs_in * FFT_PAIR};
  if (row + 1 < end) a.left = part->count * (f->block * FFT_TILE + FFT_TAPS - 1);
  a.part = (a.left + steps - 1) / steps;
  return a;
}

static void look_ahead(struct ahead *a) {
  for (size_t i = 0; i < a->part && a->left; i++, a->left--, a->columns += a->column)
    for (size_t k = 0; k < a->elems; k += FFT_LINE) vec_prefetch_l2(a->columns + k);
}

/* One frequency and output vector for all tiles. */
static void multiply(const struct fft *f, size_t tiles, const float *v, const float *u, float *m) {
  const size_t blocks = (tiles + MOST_ROWS - 1) / MOST_ROWS, rows = tiles / blocks;
  struct product p = {v, u, m, f->v_row, f->m_row, f->channels_in};
  for (size_t b = 0; b < blocks; b++) {
    const size_t r = rows + (b < tiles % blocks);
    blocks_of[r - 1](&p);
    p.v += r * f->v_row;
    p.m += r * f->m_row;
  }
}

static void multiply_row(const struct fft *f, size_t tiles, size_t row, float *scratch,
                         struct ahead *ahead) {
  const struct fft_row at = fft_row_at(row);
  const size_t row_vector = f->channels_in * FFT_TAPS * FFT_PAIR, vector = FFT_TAPS * row_vector;
  const float *plane = f->packed + at.plane * f->vecs_out * vector;
  float *u = scratch + f->u_at, *made = scratch + f->taps_at;
  for (size_t o = 0; o < f->vecs_out; o++) {
    const float *taps = made;
    if (f->shares)
      taps_of_row(plane + o * vector, f->channels_in, at.frequency, made);
    else
      taps = f->packed + (row * f->vecs_out + o) * row_vector;
    for (size_t c = 0; c < 4; c++) {
      frequencies_any(f, taps, c, u);
      for (size_t d = 0; d < 5; d++) {
        const size_t k = (5 * c + 16 * d) % FFT_POINTS;
        multiply(f, tiles, scratch + f->v_at + k * f->v_freq, u + d * f->u_freq,
                 scratch + f->m_at + k * f->m_freq + o * FFT_PAIR);
        look_ahead(ahead);
      }
    }
  }
}

/* The 20 columns of each tile, with their frequencies in v or m. */
static void there(const struct fft *f, const struct fft_part *part, const float *row, float *v) {
  for (size_t s = 0; s < part->count; s++)
    for (size_t i = 0; i < part->tiles; i++, v += f->v_row)
      for (size_t c = 0; c < f->vecs_in; c++) {
        const float *in = row + s * f->strip + i * FFT_TILE * f->column + c * FFT_PAIR;
        float *out = v + c * FFT_TRIPLE;
        fft_complex(in, in + VEC_LANES, f->column, out, out + VEC_LANES, f->v_freq, FFT_POINTS, 1);
      }
}

static void back(const struct fft *f, const struct fft_part *part, const float *m, float *row) {
  for (size_t s = 0; s < part->count; s++)
    for (size_t i = 0; i < part->tiles; i++, m += f->m_row)
      for (size_t c = 0; c < f->vecs_out; c++) {
        const float *in = m + c * FFT_PAIR;
        float *out = row + s * f->strip + i * FFT_TILE * f->column + c * FFT_PAIR;
        fft_complex(in + VEC_LANES, in, f->m_freq, out + VEC_LANES, out, f->column, FFT_TILE, 0);
      }
}

void fft_products(const struct fft *f, const struct fft_part *part, size_t row, size_t end,
                  float *strips, float *scratch) {
  const size_t tiles = part->count * part->tiles;
  for (; row < end; row++) {
    struct ahead ahead = ahead_of(f, part, strips, row, end);
    there(f, part, strips + row * f->row, scratch + f->v_at);
    multiply_row(f, tiles, row, scratch, &ahead);
    back(f, part, scratch + f->m_at, strips + row * f->row);
  }
}

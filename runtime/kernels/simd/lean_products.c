/* Weights of the lean Winograd convolution, transformed along h and w for the products that follow
 * at once.
 *
 * Rows of the transform are those of winograd.h's points without their factors, which sums are
 * multiplied with instead. Two lines of frequencies along w, of points along h that differ in sign,
 * are in hand at a time. With one tile they go into products from where they are, registers; with
 * more they pass through a panel in the first cache, for products of several tiles each. Sums are
 * of LEAN_GROUP channels in either form, so that they are the same on every instruction set. */
#include "lean.h"

#include "gemm.h"

/* The frequencies of a pair. p is a constant where this is inlined. */
VEC_INLINE void pair_1d(const size_t p, const vec *x, vec *a, vec *b) {
  if (p == 0) {
    *a = x[0];
    *b = x[4];
    return;
  }
  vec even, odd;
  if (p == 1) {
    even = x[0] + x[4] + x[2];
    odd = x[1] + x[3];
  } else {
    const vec low = p == 2 ? x[0] : x[4], high = p == 2 ? x[4] : x[0];
    const vec near = p == 2 ? x[1] : x[3], far = p == 2 ? x[3] : x[1];
    even = vec_fma(vec_set1(16), high, vec_fma(vec_set1(4), x[2], low));
    odd = vec_fma(vec_set1(8), far, near + near);
  }
  *a = even + odd;
  *b = even - odd;
}

/* One channel's taps[h][w] along h: the lines a and b of pair p. */
VEC_INLINE void lines(const size_t p, const float *taps, vec *a, vec *b) {
  VEC_UNROLL for (size_t w = 0; w < LEAN_TAPS; w++) {
    vec x[LEAN_TAPS];
    VEC_UNROLL for (size_t h = 0; h < LEAN_TAPS; h++) x[h] =
        vec_load(taps + (h * LEAN_TAPS + w) * VEC_LANES);
    pair_1d(p, x, &a[w], &b[w]);
  }
}

/* Of the taps of the group that follows, in memory, too, the part that is due with channel i of
 * pair p: they come from afar, and in an order that no machine foresees. */
VEC_INLINE void look_ahead(const size_t p, const float *taps, size_t i) {
  enum { GROUP = LEAN_GROUP * LEAN_PLANE * VEC_LANES, SHARE = LEAN_PLANE * VEC_LANES / 4 };
  const float *at = taps + GROUP + p * (GROUP / 4) + i * SHARE;
  VEC_UNROLL for (size_t k = 0; k < SHARE; k += 16) vec_prefetch_l2(at + k);
}

/* Two lines of a group of channels. */
struct product {
  const float *taps, *v[2]; /* v: of either line, the first frequency and tile */
  float *m[2], *panel;
  size_t v_freq, m_freq, m_row, channels, tiles;
  const float *factor[2]; /* of a line's frequencies */
  int more;               /* m holds the sum over the channels before these */
};

VEC_INLINE void add_up(float *m, vec sum, vec factor, int more) {
  if (more)
    vec_store(m, vec_fma(sum, factor, vec_load(m)));
  else
    vec_store(m, sum * factor);
}

/* ---- one tile ---- */

/* Products of `n` lines from line number `first` on. */
VEC_INLINE void one_tile(const size_t p, const size_t first, const size_t n,
                         const struct product *q) {
  vec sum[2][LEAN_T];
  const float *taps = q->taps;
  VEC_UNROLL for (size_t k = 0; k < n; k++) VEC_UNROLL for (size_t f = 0; f < LEAN_T; f++)
      sum[k][f] = vec_zero();
  for (size_t i = 0; i < q->channels; i++, taps += LEAN_PLANE * VEC_LANES) {
    vec x[2][LEAN_TAPS];
    look_ahead(p, q->taps, i);
    lines(p, taps, x[0], x[1]);
    VEC_UNROLL for (size_t k = 0; k < n; k++) {
      const float *v = q->v[first + k] + i;
      VEC_UNROLL for (size_t c = 0; c < LEAN_T / 2; c++) {
        const size_t f = lean_first(c), g = lean_second(c);
        vec a, b;
        pair_1d(c, x[first + k], &a, &b);
        sum[k][f] = vec_fma(vec_set1(v[f * q->v_freq]), a, sum[k][f]);
        sum[k][g] = vec_fma(vec_set1(v[g * q->v_freq]), b, sum[k][g]);
      }
    }
  }
  VEC_UNROLL for (size_t k = 0; k < n; k++) VEC_UNROLL for (size_t f = 0; f < LEAN_T; f++) add_up(
      q->m[first + k] + f * q->m_freq, sum[k][f], vec_set1(q->factor[first + k][f]), q->more);
}

VEC_INLINE void one_tile_lines(const size_t p, const struct product *q) {
#if VEC_REGISTERS == 32
  one_tile(p, 0, 2, q);
#else
  one_tile(p, 0, 1, q);
  one_tile(p, 1, 1, q);
#endif
}

/* ---- more tiles ---- */

/* panel[line][frequency][channel]. */
VEC_INLINE void fill(const size_t p, const struct product *q) {
  const float *taps = q->taps;
  float *to = q->panel;
  for (size_t i = 0; i < q->channels; i++, taps += LEAN_PLANE * VEC_LANES, to += VEC_LANES) {
    vec x[2][LEAN_TAPS];
    look_ahead(p, q->taps, i);
    lines(p, taps, x[0], x[1]);
    VEC_UNROLL for (size_t k = 0; k < 2; k++) VEC_UNROLL for (size_t c = 0; c < LEAN_T / 2; c++) {
      vec a, b;
      pair_1d(c, x[k], &a, &b);
      vec_store(to + (k * LEAN_T + lean_first(c)) * LEAN_PANEL, a);
      vec_store(to + (k * LEAN_T + lean_second(c)) * LEAN_PANEL, b);
    }
  }
}

/* Some frequencies for some tiles. */
struct block {
  const float *u, *v;
  float *m;
  size_t v_freq, m_freq, m_row, channels;
  const float *factor;
  int more;
};

enum { MOST_TOGETHER = 4 };
/* So many frequencies at once that there are sums enough to wait for none. */
#define TOGETHER(rows)                                                                             \
  ((rows) > VEC_REGISTERS / 4 ? 1 : (rows) > VEC_REGISTERS / 8 ? 2 : MOST_TOGETHER)

VEC_INLINE void block(const struct block *b, const size_t rows) {
  const size_t n = TOGETHER(rows);
  vec sum[MOST_TOGETHER][GEMM_ROWS];
  const float *v[MOST_TOGETHER], *u = b->u;
  VEC_UNROLL for (size_t f = 0; f < n; f++) v[f] = b->v + f * b->v_freq;
  VEC_UNROLL for (size_t f = 0; f < n; f++) VEC_UNROLL for (size_t r = 0; r < rows; r++) sum[f][r] =
      vec_zero();
  for (size_t i = 0; i < b->channels; i++, u += VEC_LANES)
    VEC_UNROLL for (size_t f = 0; f < n; f++) {
      const vec y = vec_load(u + f * LEAN_PANEL);
      VEC_UNROLL for (size_t r = 0; r < rows; r++) sum[f][r] =
          vec_fma(vec_set1(v[f][r * LEAN_GROUP + i]), y, sum[f][r]);
    }
  VEC_UNROLL for (size_t f = 0; f < n; f++) VEC_UNROLL for (size_t r = 0; r < rows; r++)
      add_up(b->m + f * b->m_freq + r * b->m_row, sum[f][r], vec_set1(b->factor[f]), b->more);
}

typedef void block_fn(const struct block *b);
#define DEFINE(R)                                                                                  \
  static void block_##R(const struct block *b) {                                                   \
    block(b, R);                                                                                   \
  }
GEMM_EACH_ROWS(DEFINE)
#define ENTRY(R) block_##R,
static block_fn *const blocks_of[GEMM_ROWS] = {GEMM_EACH_ROWS(ENTRY)};

/* Frequencies [first, first + MOST) of both lines' 16. */
static void rows_products(const struct product *q, size_t first, size_t tile, size_t rows) {
  for (size_t k = first; k < first + MOST_TOGETHER; k += TOGETHER(rows)) {
    const size_t line = k / LEAN_T, f = k % LEAN_T;
    const struct block b = {.u = q->panel + k * LEAN_PANEL,
                            .v = q->v[line] + f * q->v_freq + tile * LEAN_GROUP,
                            .m = q->m[line] + f * q->m_freq + tile * q->m_row,
                            .v_freq = q->v_freq,
                            .m_freq = q->m_freq,
                            .m_row = q->m_row,
                            .channels = q->channels,
                            .factor = q->factor[line] + f,
                            .more = q->more};
    blocks_of[rows - 1](&b);
  }
}

static void panel_products(const struct product *q) {
  const size_t most = gemm_rows(1), blocks = (q->tiles + most - 1) / most;
  for (size_t k = 0; k < 2 * LEAN_T; k += MOST_TOGETHER)
    for (size_t i = 0, tile = 0, rows; i < blocks; i++, tile += rows) {
      rows = q->tiles / blocks + (i < q->tiles % blocks);
      rows_products(q, k, tile, rows);
    }
}

/* ---- a group ---- */

VEC_INLINE void pair_products(const size_t p, const struct product *q) {
  if (q->tiles == 1) {
    one_tile_lines(p, q);
    return;
  }
  fill(p, q);
  panel_products(q);
}

static void pair_products_any(size_t p, const struct product *q) {
  switch (p) {
  case 0:
    pair_products(0, q);
    break;
  case 1:
    pair_products(1, q);
    break;
  case 2:
    pair_products(2, q);
    break;
  default:
    pair_products(3, q);
  }
}

/* The factors of h and w; the weights have those of d. */
static void factors_fill(float factor[LEAN_T][LEAN_T]) {
  for (size_t h = 0; h < LEAN_T; h++)
    for (size_t w = 0; w < LEAN_T; w++) factor[h][w] = (float)(lean_factor(h) * lean_factor(w));
}

void lean_products(const struct lean *l, const struct wino_job *job, size_t freq, float *panel,
                   float *m) {
  const size_t in = l->w.channels_in, channel = LEAN_PLANE * VEC_LANES;
  float factor[LEAN_T][LEAN_T];
  factors_fill(factor);
  for (size_t first = 0; first < in; first += LEAN_GROUP)
    for (size_t o = 0; o < job->vecs; o++)
      for (size_t p = 0; p < LEAN_T / 2; p++) {
        struct product q = {.taps = l->w.packed +
                                    (((job->vec + o) * LEAN_T + freq) * in + first) * channel,
                            .panel = panel,
                            .v_freq = l->w.v_freq,
                            .m_freq = l->w.m_freq,
                            .m_row = l->w.m_row,
                            .channels = in - first < LEAN_GROUP ? in - first : LEAN_GROUP,
                            .tiles = l->items * l->tiles,
                            .more = first > 0};
        for (size_t k = 0; k < 2; k++) {
          const size_t h = k ? lean_second(p) : lean_first(p);
          q.v[k] =
              l->v + freq * l->v_depth + first / LEAN_GROUP * l->v_group + h * LEAN_T * q.v_freq;
          q.m[k] = m + h * LEAN_T * q.m_freq + o * VEC_LANES;
          q.factor[k] = factor[h];
        }
        pair_products_any(p, &q);
      }
}

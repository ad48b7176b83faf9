/* What a convolution of stride 1 costs by each algorithm, and how FFT cuts it. The compiler chooses
 * algorithms and tiles by it, the trainer tiles; the kernels take their cuts from it. Private: not
 * installed.
 *
 * Costs are cycles of one thread. The constants were measured and are explained in
 * runtime/kernels/PERFORMANCE.md, for vectors of 16 lanes and of 8; they decide between
 * alternatives, and are no promise of time.
 *
 * Which algorithm and tile runs decides about the last bits of a result, and these are promised to
 * be the same on every machine: a plan is one file for all, and training makes one model. So every
 * choice is made for one kind of machine, whose vectors have 16 lanes, and 8 where the kernels take
 * those because more would be idle. What machines of 8 lanes lose by that stands there, too. */
#ifndef VNET_COST_H
#define VNET_COST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  VN_COST_NARROW = 8,     /* channels up to which vectors of 8 lanes are taken */
  VN_WINOGRAD_TILES = 24, /* of a job */
  VN_FEW_CHANNELS = 8,    /* up to which tiles of 1x4x4 have a kernel of their own, */
  VN_FEW_PLANES = 8,      /* whose jobs take so many planes of the output */
  VN_LEAN_TILES = 64,     /* of 4x4x4 outputs, of all samples; and along an axis */
  VN_LEAN_EDGE = 8,
  VN_FFT_TILE = 16, /* outputs along each axis */
  VN_FFT_TAPS = 5,
  VN_FFT_PLANES = 11,            /* of the 20 frequencies along d, those that are kept */
  VN_FFT_ROWS = 202,             /* of the 20 * 20 along d and h */
  VN_FFT_OWN_TILES = 8,          /* of a job that works alone, or a head's */
  VN_FFT_OWN_JOBS = 8,           /* enough for some threads, if it can be had */
  VN_FFT_TILES = 16,             /* of a round, whose jobs share their numbers */
  VN_FFT_SHARED = 32 << 20,      /* bytes of a round, at most, of a last cache */
  VN_FFT_HEAD = 2,               /* outputs that are summed over channels before the inverse */
  VN_COST_BIG_WEIGHTS = 16 << 20 /* packed bytes from which they come from memory in each run */
};

/* Cycles for vectors of so many lanes: Winograd's transforms for a frequency and vector of input or
 * output, and a product; with few input channels what an output takes for each of them and for each
 * vector of its own; FFT's transforms for an output pixel and vector, and its products for a
 * pixel, channel in and vector out, of which the weights' share is divided by a part's tiles,
 * smaller where jobs work alone, whose weights are kept along h; heads: transforms, products for
 * each output, and what each output costs beside them. */
struct vn_cost_rates {
  double lanes;
  double in, out, product, few_in, few_out;
  double fft_in, fft_out, fft_product, fft_weights, fft_own_weights;
  double head_in, head_product, head_out;
};

static inline const struct vn_cost_rates *vn_cost_rates(bool narrow) {
  static const struct vn_cost_rates wide = {16, 11, 9, 1.1, 12, 18, 62, 78, 3.5, 13, 8, 42, 22, 16};
  static const struct vn_cost_rates half = {8,  7.5, 6,   0.55, 9,  18, 29,
                                            44, 2.8, 5.1, 3.1,  24, 14, 19};
  return narrow ? &half : &wide;
}

/* A convolution of stride 1. Axes of the arrays: d, h, w. */
struct vn_cost_conv {
  uint64_t batch, channels_in, channels_out; /* of a group; of all groups */
  uint64_t in[3], out[3], kernel[3], pad[3], dilation[3], groups;
};

struct vn_cost {
  double cycles;
  double bytes; /* of packed weights */
};

static inline uint64_t vn_ceil_div(uint64_t a, uint64_t b) {
  return (a + b - 1) / b;
}

/* Vectors of so many channels. */
static inline double vn_cost_vecs(const struct vn_cost_rates *r, uint64_t channels) {
  return (double)vn_ceil_div(channels, (uint64_t)r->lanes);
}

/* ---- Winograd ---- */

/* The tiles of 1, 2 and 4 outputs along each axis: of equal costs the first is to be taken. */
enum { VN_WINOGRAD_CHOICES = 27 };
static inline void vn_winograd_choice(size_t index, uint32_t tile[3]) {
  static const uint32_t outputs[3] = {1, 2, 4};
  tile[0] = outputs[index / 9];
  tile[1] = outputs[index / 3 % 3];
  tile[2] = outputs[index % 3];
}

static inline bool vn_winograd_few(uint64_t channels_in, const uint32_t tile[3], bool dilated) {
  return channels_in <= VN_FEW_CHANNELS && tile[0] == 1 && tile[1] == 4 && tile[2] == 4 && !dilated;
}

/* Tiles of each strand of an axis, and the strands: a dilated axis is as many as the dilation says,
 * that lie between each other. */
static inline uint64_t vn_winograd_strand(uint64_t out, uint64_t dilation, uint64_t tile) {
  return vn_ceil_div(vn_ceil_div(out, dilation), tile);
}
static inline uint64_t vn_winograd_strands(uint64_t out, uint64_t dilation) {
  return dilation < out ? dilation : out;
}

/* Tiles of 1x4x4 for few input channels: outputs with those that pad tiles and jobs, and the
 * products of a frequency with each tap along depth. */
static inline double vn_cost_few(const struct vn_cost_conv *c, const struct vn_cost_rates *r) {
  const double freqs = (double)((c->kernel[1] + 3) * (c->kernel[2] + 3));
  const double in = (double)c->channels_in, vo = vn_cost_vecs(r, c->channels_out);
  const double pixels = (double)(c->batch * vn_ceil_div(c->out[0], VN_FEW_PLANES) * VN_FEW_PLANES *
                                 vn_ceil_div(c->out[1], 4) * vn_ceil_div(c->out[2], 4) * 16);
  const double products = (double)c->kernel[0] * freqs / 16 * r->product;
  return pixels * (in * r->few_in + vo * (r->few_out + in * products));
}

/* A job's tiles are of one sample, so that a batch costs its samples one by one. Weights that few
 * tiles use stream past faster than they are used. */
static inline struct vn_cost vn_cost_winograd(const struct vn_cost_conv *c,
                                              const uint32_t tile[3]) {
  const struct vn_cost_rates *r = vn_cost_rates(c->channels_out <= VN_COST_NARROW);
  double freqs = 1, tiles = 1;
  bool dilated = false;
  for (int a = 0; a < 3; a++) {
    freqs *= (double)(tile[a] + c->kernel[a] - 1);
    tiles *= (double)(vn_winograd_strand(c->out[a], c->dilation[a], tile[a]) *
                      vn_winograd_strands(c->out[a], c->dilation[a]));
    dilated = dilated || c->dilation[a] > 1;
  }
  const double in = (double)c->channels_in, vi = vn_cost_vecs(r, c->channels_in);
  const double vo = vn_cost_vecs(r, c->channels_out), bytes = freqs * in * vo * r->lanes * 4;
  if (vn_winograd_few(c->channels_in, tile, dilated))
    return (struct vn_cost){vn_cost_few(c, r), bytes};
  const double job = tiles < VN_WINOGRAD_TILES ? tiles : VN_WINOGRAD_TILES;
  const double stream = (bytes > VN_COST_BIG_WEIGHTS ? 12 : 5) * r->lanes / 16;
  const double use = r->product * job, product = (use > stream ? use : stream) / job;
  return (struct vn_cost){
      (double)c->batch * tiles * freqs * (r->in * vi + r->out * vo + in * vo * product), bytes};
}

/* What training adds at each step: weights are packed again, about as dear for each vector of them
 * as a hundred tiles' products with it. */
static inline double vn_cost_winograd_pack(const struct vn_cost_conv *c,
                                           const struct vn_cost *run) {
  const struct vn_cost_rates *r = vn_cost_rates(c->channels_out <= VN_COST_NARROW);
  return 100 / 1.1 * r->product * run->bytes / (4 * r->lanes);
}

/* The weights' gradient, in multiply-adds of vectors, for one sample: both transforms, products,
 * with either side's channels in the vectors, and the way back. */
static inline double vn_cost_winograd_gradient(const struct vn_cost_conv *c,
                                               const uint32_t tile[3]) {
  const uint64_t most = c->channels_in > c->channels_out ? c->channels_in : c->channels_out;
  const struct vn_cost_rates *r = vn_cost_rates(most <= VN_COST_NARROW);
  double freqs = 1, tiles = 1;
  for (int a = 0; a < 3; a++) {
    freqs *= (double)(tile[a] + c->kernel[a] - 1);
    tiles *= (double)vn_ceil_div(c->out[a], tile[a]);
  }
  const double in = (double)c->channels_in, vi = vn_cost_vecs(r, c->channels_in);
  const double out = (double)c->channels_out, vo = vn_cost_vecs(r, c->channels_out);
  const double pairs = in * vo < out * vi ? in * vo : out * vi;
  return freqs * (tiles * (11 * vi + 7 * vo + pairs * 1.15) + pairs * 9);
}

/* ---- lean Winograd ---- */

/* Tiles of 4x4x4 outputs; 0: more than it takes. */
static inline uint64_t vn_lean_tiles(uint64_t batch, const uint64_t out[3]) {
  uint64_t tiles = batch;
  for (int a = 0; a < 3; a++) {
    const uint64_t along = vn_ceil_div(out[a], 4);
    if (along > VN_LEAN_EDGE || tiles * along > VN_LEAN_TILES) return 0;
    tiles *= along;
  }
  return tiles;
}

/* Weights are transformed for each run: with one tile in registers, with more in the first cache;
 * the sums and inputs of more than a dozen and a half leave the second. */
static inline struct vn_cost vn_cost_lean(const struct vn_cost_conv *c) {
  const struct vn_cost_rates *r = vn_cost_rates(c->channels_out <= VN_COST_NARROW);
  const double tiles = (double)vn_lean_tiles(c->batch, c->out), in = (double)c->channels_in;
  const double vi = vn_cost_vecs(r, c->channels_in), vo = vn_cost_vecs(r, c->channels_out);
  const double product = tiles == 1 ? 1900 : tiles <= 16 ? 3500 + 850 * tiles : 1450 * tiles;
  return (struct vn_cost){512 * tiles * (r->in * vi + r->out * vo) +
                              in * vo * product * r->product / vn_cost_rates(false)->product,
                          200 * in * vo * r->lanes * 4};
}

/* ---- FFT ---- */

/* A strip is a row of tiles along w. A part takes `group` strips, of which it takes `block` tiles,
 * both at most. It is a job, which works alone, or a round, which jobs share: these make the
 * weights' frequencies once for more tiles, but hand numbers from core to core. */
struct vn_fft_cut {
  uint64_t tiles[3], strips, blocks, block, groups, group;
  bool shared;
};

/* `most` tiles together, and at least so many `parts`, if there are as many strips. */
static inline struct vn_fft_cut vn_fft_cut_strips(uint64_t batch, const uint64_t out[3],
                                                  uint64_t most, uint64_t parts) {
  struct vn_fft_cut c = {.shared = false};
  for (int a = 0; a < 3; a++) c.tiles[a] = vn_ceil_div(out[a], VN_FFT_TILE);
  c.strips = batch * c.tiles[0] * c.tiles[1];
  c.blocks = vn_ceil_div(c.tiles[2], most);
  c.block = vn_ceil_div(c.tiles[2], c.blocks);
  c.group = most / c.block;
  while (c.group > 1 && vn_ceil_div(c.strips, c.group) * c.blocks < parts) c.group--;
  c.groups = vn_ceil_div(c.strips, c.group);
  c.group = vn_ceil_div(c.strips, c.groups);
  return c;
}

/* For vectors of so many lanes. Sharing pays where the weights' frequencies would be a fifth of the
 * rest for jobs that work alone, or these would be too few. Heads work alone. */
static inline struct vn_fft_cut vn_fft_cut(uint64_t batch, uint64_t in, uint64_t out_channels,
                                           const uint64_t out[3], uint64_t lanes) {
  const struct vn_fft_cut own = vn_fft_cut_strips(batch, out, VN_FFT_OWN_TILES, VN_FFT_OWN_JOBS);
  if (out_channels <= VN_FFT_HEAD) return own;
  const struct vn_cost_rates *r =
      vn_cost_rates(in <= VN_COST_NARROW && out_channels <= VN_COST_NARROW);
  const double vi = vn_cost_vecs(r, in), vo = vn_cost_vecs(r, out_channels),
               pairs = (double)in * vo;
  const double rest = r->fft_in * vi + r->fft_out * vo + pairs * r->fft_product;
  const bool few = own.groups * own.blocks < VN_FFT_OWN_JOBS;
  if (!few && pairs * r->fft_weights / VN_FFT_OWN_TILES < rest / 5) return own;
  const uint64_t wider = vn_ceil_div(in > out_channels ? in : out_channels, lanes) * lanes;
  const uint64_t fit = VN_FFT_SHARED / (VN_FFT_TILE * VN_FFT_ROWS * 8 * wider);
  struct vn_fft_cut round = vn_fft_cut_strips(batch, out,
                                              fit > VN_FFT_TILES ? VN_FFT_TILES
                                              : fit              ? fit
                                                                 : 1,
                                              1);
  round.shared = true;
  return round;
}

/* Jobs for some threads. */
static inline bool vn_fft_enough(const struct vn_fft_cut *cut) {
  return cut->shared || cut->groups * cut->blocks >= VN_FFT_OWN_JOBS;
}

/* 5x5x5. *cut may be NULL. Weights keep VN_FFT_PLANES of the frequencies along d and their taps
 * along h and w, complex; those of heads and of jobs that work alone VN_FFT_ROWS along d and h and
 * their taps along w. */
static inline struct vn_cost vn_cost_fft(const struct vn_cost_conv *c, struct vn_fft_cut *cut) {
  const uint64_t in = c->channels_in, out = c->channels_out;
  const struct vn_cost_rates *r = vn_cost_rates(in <= VN_COST_NARROW && out <= VN_COST_NARROW);
  const double vi = vn_cost_vecs(r, in), vo = vn_cost_vecs(r, out), lanes = r->lanes;
  const double tile = VN_FFT_TILE * VN_FFT_TILE * VN_FFT_TILE;
  const struct vn_fft_cut k = vn_fft_cut(c->batch, in, out, c->out, (uint64_t)lanes);
  const double pixels = (double)(k.strips * k.tiles[2]) * tile;
  if (cut) *cut = k;
  if (out <= VN_FFT_HEAD)
    return (struct vn_cost){
        pixels * (r->head_in * vi + (double)out * (r->head_product * vi + r->head_out)),
        VN_FFT_ROWS * VN_FFT_TAPS * 8 * (double)out * vi * lanes};
  const double made = k.shared ? r->fft_weights : r->fft_own_weights;
  const double product = r->fft_product + made / (double)(k.group * k.block);
  const double taps = k.shared ? VN_FFT_PLANES * VN_FFT_TAPS : VN_FFT_ROWS;
  return (struct vn_cost){pixels * (r->fft_in * vi + r->fft_out * vo + (double)in * vo * product),
                          taps * VN_FFT_TAPS * 8 * (double)in * vo * lanes};
}

/* What training adds at each step: cycles for each channel in and vector out; `shared`: the cut is.
 */
static inline double vn_cost_fft_pack(const struct vn_cost_conv *c, bool shared) {
  const uint64_t in = c->channels_in, out = c->channels_out;
  const struct vn_cost_rates *r = vn_cost_rates(in <= VN_COST_NARROW && out <= VN_COST_NARROW);
  const bool head = out <= VN_FFT_HEAD;
  const double pairs = head ? (double)out * vn_cost_vecs(r, in) : (double)in * vn_cost_vecs(r, out);
  return (shared ? 12e3 : 45e3) * pairs;
}

/* ---- direct ---- */

/* Taps that fall on the input, on average over an axis. */
static inline double vn_cost_taps_inside(const struct vn_cost_conv *c, int axis) {
  const uint64_t out = c->out[axis], end = c->in[axis] + c->pad[axis];
  double inside = 0;
  for (uint64_t k = 0, at = 0; k < c->kernel[axis] && at < end; k++, at += c->dilation[axis]) {
    const uint64_t first = at < c->pad[axis] ? c->pad[axis] - at : 0;
    const uint64_t last = end - at < out ? end - at : out;
    if (first < last) inside += (double)(last - first);
  }
  return inside / (double)out;
}

static inline struct vn_cost vn_cost_direct(const struct vn_cost_conv *c) {
  const struct vn_cost_rates *r = vn_cost_rates(c->channels_out <= VN_COST_NARROW * c->groups);
  const double in = (double)c->channels_in, vo = vn_cost_vecs(r, c->channels_out);
  const double voxels = (double)(c->batch * c->out[0] * c->out[1] * c->out[2]);
  const double taps = vn_cost_taps_inside(c, 0) * vn_cost_taps_inside(c, 1) * (double)c->kernel[2];
  const double all = (double)c->kernel[0] * (double)c->kernel[1] * (double)c->kernel[2];
  return (struct vn_cost){voxels * taps * in * vo * (1.05 + 0.3 / in) * r->product /
                              vn_cost_rates(false)->product,
                          all * in * vo * r->lanes * 4};
}

#endif

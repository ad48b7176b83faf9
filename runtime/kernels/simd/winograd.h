/* 3D Winograd convolution: what its files share. winograd.c tells the story.
 *
 * Along each axis a tile of m outputs is computed from t = m + r - 1 inputs: t products instead of
 * m * r. m = 1 is direct convolution along that axis: t = r and the transforms are copies and sums.
 * t = 4, 6, 8 use the interpolation points 0, 1, -1, 2, -2, 1/2, -1/2 (the first t - 2 of them) and
 * infinity, rows scaled by powers of two. See Barabasz et al., "Error analysis and improving the
 * accuracy of Winograd convolution", for the choice of points. */
#ifndef VNET_SIMD_WINOGRAD_H
#define VNET_SIMD_WINOGRAD_H

#include "epilogue.h"
#include "simd.h"

enum { WINO_MAX_T = 8, WINO_MAX_M = 6, WINO_MAX_BLOCK = 8, WINO_PANEL = 2 };

/* A dilated axis is as many axes as the dilation says, its strands, that lie between each other:
 * outputs of one see inputs of one alone. Tiles are numbered strand by strand. */
struct wino_axis {
  size_t in, out, pad, dilation;
  size_t m, t, strand, tiles; /* tiles: of a strand, the same for all of them; of all */
  size_t block, blocks;       /* tiles per job, at most, and how many of those */
};

struct wino {
  struct vn_conv conv;
  struct wino_axis axis[3];
  size_t channels_in, channels_out, vecs_in, vecs_out; /* vecs: VEC_LANES channels each */
  size_t chunk_vecs, chunks;                           /* output channels of a job */
  size_t freqs;                                        /* t*t of the two inner axes */
  /* Elements. Successive frequencies are an odd number of vectors apart: in powers of two they
   * would fall on the same L1 sets. */
  size_t plane_row, plane_vec, plane_tile, plane_freq; /* depth-transformed input */
  size_t v_freq, v_row, m_freq, m_row;                 /* GEMM operands: [freq][tile][channel] */
  size_t planes_at, v_at, m_at, pair_at, acc_at;       /* in the scratch */
  int stream;          /* the output is too large for any cache: see vec_stream */
  size_t chunk_elems;  /* packed weights of a chunk */
  const float *packed; /* [chunk][depth freq][freq][panel][channel in][vector of the panel] */
};

/* The part of the output that one job computes. */
struct wino_job {
  size_t n, first[3], count[3], tiles; /* in tiles */
  size_t chunk, vec, vecs;             /* output vectors [vec, vec + vecs) */
};

/* The first output of a tile, or what follows the last one of the axis: strands may differ by an
 * output, and a tile have none. The tile's others are a dilation apart. */
static inline size_t wino_first_output(const struct wino_axis *a, size_t tile) {
  return tile / a->strand + tile % a->strand * a->m * a->dilation;
}

/* Pixels along an axis of the transformed planes of a job before those of its tile `i`: tiles of a
 * strand share t - m. */
static inline size_t wino_seen_before(const struct wino_axis *a, size_t first, size_t i) {
  return i * a->m + ((first + i) / a->strand - first / a->strand) * (a->t - a->m);
}

static inline size_t odd_vecs(size_t elems) {
  return (elems / VEC_LANES | 1) * VEC_LANES;
}

#define wino_cut         VN_ISA_NAME(wino_cut)
#define wino_jobs        VN_ISA_NAME(wino_jobs)
#define wino_job_at      VN_ISA_NAME(wino_job_at)
#define wino_pack        VN_ISA_NAME(wino_pack)
#define wino_input_depth VN_ISA_NAME(wino_input_depth)
#define wino_input_plane VN_ISA_NAME(wino_input_plane)
#define wino_gemm        VN_ISA_NAME(wino_gemm)
#define wino_output      VN_ISA_NAME(wino_output)
#define wino_few         VN_ISA_NAME(wino_few)

/* winograd_cut.c: with conv and the channels filled in, decides all the rest but `packed`. Returns
 * the bytes of scratch. Then the number of jobs, and each of them. */
size_t wino_cut(struct wino *w);
size_t wino_jobs(const struct wino *w);
void wino_job_at(const struct wino *w, size_t index, struct wino_job *job);

/* winograd_weights.c: fills `packed` from the convolution's weights, in double. False: stopped. */
bool wino_pack(const struct wino *w, struct vn_pool *pool, const float *weight, float *packed,
               struct vn_watch *watch);

/* winograd_input.c: B^T along depth for the whole job; then for one depth frequency along h and
 * w. */
void wino_input_depth(const struct wino *w, const struct wino_job *job, float *planes);
void wino_input_plane(const struct wino *w, const struct wino_job *job, const float *plane,
                      float *v);

/* winograd_gemm.c: m[tile][out] = v[tile][in] * u[in][out] for each of the w->freqs. */
void wino_gemm(const struct wino *w, const struct wino_job *job, const float *v, const float *u,
               float *m);

/* winograd_output.c: A^T along h and w for one depth frequency, accumulated into the outputs along
 * depth. Frequencies in the order 0, t - 1, 1, 2 … t - 2; with the `last` one epilogue and
 * store. */
void wino_output(const struct wino *w, const struct wino_job *job, size_t freq, int last,
                 const float *m, float *pair, float *acc);

/* winograd_few.c: tiles of 1x4x4 for a few input channels, vn_winograd_few of them. Of *wino it
 * takes the convolution, the channels and their vectors. */
enum vn_status wino_few(const struct wino *wino, struct vn_prepared *prepared,
                        struct vn_diag *diag);

#endif

/* Which algorithm and tile each stride-1 convolution gets: the fastest by a cost model, or, under a
 * memory limit, what gives up least time for the bytes that have to go. The runtime obeys where the
 * machine can (runtime/choose.c); the numbers are the same within rounding whatever it takes.
 *
 * The model's constants were measured and are explained in runtime/kernels/PERFORMANCE.md: cycles
 * of one thread with 16-lane vectors, and with 8-lane ones where the runtime takes those because
 * more would be idle. They decide between alternatives; as predictions they are for two cores of
 * the machine they were measured on. */
#include "compile.h"

#include <stdlib.h>
#include <string.h>

enum { NARROW = 8, TILES_PER_JOB = 24, CANDIDATES = 29 };
static const double CYCLES_PER_NS = 7.3, FLOPS_PER_NS = 235, BYTES_PER_NS = 48;
/* What a byte of packed weights beyond any cache has to save in each run to be worth its place: 1
 * ms for 20 MB. The coarsest stage's 4x4x4 tiles would take a fifth of all memory for one percent
 * of the time. */
static const double BYTE_WORTH_NS = 0.05;
static const uint64_t BIG_WEIGHTS = (uint64_t)16 << 20;
/* Scratch, tables and the plan's own pages, beside arena and packed weights. */
static const uint64_t OVERHEAD_BYTES = (uint64_t)64 << 20;

struct candidate {
  uint32_t algo, tile[3];
  double ns;
  uint64_t bytes; /* of packed weights */
};

struct choice {
  uint32_t node;
  struct candidate list[CANDIDATES]; /* by time, and each needs less memory than the one before */
  size_t n, chosen;
};

/* ---- costs ---- */

/* Cycles, for vectors of so many lanes: Winograd's transforms for a frequency and vector of input
 * or output, and a product; FFT's transforms for an output pixel and vector, and its products for a
 * pixel, channel in and vector out, of which the weights' share is divided by a job's tiles; heads:
 * transforms, products for each output, and what each output costs beside them. */
struct lanes {
  uint64_t lanes;
  double in, out, product;
  double fft_in, fft_out, fft_product, fft_weights;
  double head_in, head_product, head_out;
};
static const struct lanes wide = {16, 11, 9, 1.1, 62, 78, 3.5, 8.1, 42, 22, 16};
static const struct lanes narrow = {NARROW, 7.5, 6, 0.55, 29, 44, 2.8, 2.6, 24, 14, 19};

static uint64_t ceil_div(uint64_t a, uint64_t b) {
  return (a + b - 1) / b;
}

static struct candidate winograd(const struct vnc_graph *g, const struct vnc_node *node, uint32_t d,
                                 uint32_t h, uint32_t w) {
  const struct vnc_node *in = &g->nodes[vnc_graph_arg(g, node, 0)];
  const struct lanes *l = node->dim[VN_C] <= NARROW ? &narrow : &wide;
  struct candidate c = {VN_ALGO_WINOGRAD, {d, h, w}, 0, 0};
  double f = 1, n = (double)node->dim[VN_N];
  for (int i = 0; i < 3; i++) {
    f *= c.tile[i] + node->kernel[i] - 1;
    n *= (double)((node->dim[VN_D + i] + c.tile[i] - 1) / c.tile[i]);
  }
  double channels = (double)in->dim[VN_C], vi = (double)ceil_div(in->dim[VN_C], l->lanes);
  double vo = (double)ceil_div(node->dim[VN_C], l->lanes), lanes = (double)l->lanes;
  c.bytes = (uint64_t)(f * channels * vo * lanes * 4);
  double j = n < TILES_PER_JOB ? n : TILES_PER_JOB;
  double stream = (c.bytes > BIG_WEIGHTS ? 12 : 5) * lanes / 16;
  double product = l->product * j > stream ? l->product * j : stream;
  c.ns = n * f * (l->in * vi + l->out * vo + channels * vo * product / j) / CYCLES_PER_NS;
  return c;
}

/* How runtime/kernels/simd/fft_cut.c cuts it: rows of tiles, of which a job takes a few. */
enum { FFT_TILE = 16, FFT_ROWS = 202, FFT_TAPS = 5, FFT_TILES = 8, FFT_JOBS = 8 };

struct fft_cut {
  uint64_t pixels, jobs, tiles; /* outputs with those that pad tiles; tiles of a job */
};

static struct fft_cut fft_cut(const struct vnc_node *node, uint64_t most) {
  uint64_t tiles[3];
  for (int i = 0; i < 3; i++) tiles[i] = ceil_div(node->dim[VN_D + i], FFT_TILE);
  const uint64_t strips = node->dim[VN_N] * tiles[0] * tiles[1];
  const uint64_t blocks = ceil_div(tiles[2], most), block = ceil_div(tiles[2], blocks);
  uint64_t group = most / block;
  while (group > 1 && ceil_div(strips, group) * blocks < FFT_JOBS) group--;
  return (struct fft_cut){strips * tiles[2] * FFT_TILE * FFT_TILE * FFT_TILE,
                          ceil_div(strips, group) * blocks, group * block};
}

static struct candidate fft_head(const struct vnc_node *node, uint64_t channels, uint64_t *jobs) {
  const struct lanes *l = channels <= NARROW ? &narrow : &wide;
  const struct fft_cut cut = fft_cut(node, FFT_TILES);
  const double vi = (double)ceil_div(channels, l->lanes), outputs = (double)node->dim[VN_C];
  const double cycles = l->head_in * vi + outputs * (l->head_product * vi + l->head_out);
  *jobs = cut.jobs;
  return (struct candidate){VN_ALGO_FFT,
                            {0, 0, 0},
                            (double)cut.pixels * cycles / CYCLES_PER_NS,
                            (uint64_t)(FFT_ROWS * FFT_TAPS * 8 * outputs * vi * (double)l->lanes)};
}

/* *jobs: into which the work is cut. Weights keep 202 of the 20 * 20 frequencies along d and h and
 * their 5 taps along w, complex. */
static struct candidate fft(const struct vnc_graph *g, const struct vnc_node *node,
                            uint64_t *jobs) {
  enum { HEAD = 2, SCRATCH = 16 << 20 };
  const uint64_t in = g->nodes[vnc_graph_arg(g, node, 0)].dim[VN_C], out = node->dim[VN_C];
  const struct lanes *l = in <= NARROW && out <= NARROW ? &narrow : &wide;
  if (out <= HEAD) return fft_head(node, in, jobs);
  const uint64_t wider = ceil_div(in > out ? in : out, l->lanes);
  const uint64_t fit = SCRATCH / (FFT_TILE * FFT_ROWS * 8 * wider * l->lanes);
  const struct fft_cut cut = fft_cut(node, fit > FFT_TILES ? FFT_TILES : fit ? fit : 1);
  const double vi = (double)ceil_div(in, l->lanes), vo = (double)ceil_div(out, l->lanes);
  const double product = l->fft_product + l->fft_weights / (double)cut.tiles;
  const double cycles = l->fft_in * vi + l->fft_out * vo + (double)in * vo * product;
  *jobs = cut.jobs;
  return (struct candidate){
      VN_ALGO_FFT,
      {0, 0, 0},
      (double)cut.pixels * cycles / CYCLES_PER_NS,
      (uint64_t)(FFT_ROWS * FFT_TAPS * 8 * (double)in * vo * (double)l->lanes)};
}

/* Taps that fall on the input, on average over an axis. */
static double taps_inside(const struct vnc_node *node, const struct vnc_node *in, int axis) {
  const uint64_t out = node->dim[VN_D + axis], end = in->dim[VN_D + axis] + node->pad[axis];
  double inside = 0;
  for (uint64_t k = 0, at = 0; k < node->kernel[axis] && at < end;
       k++, at += node->dilation[axis]) {
    const uint64_t first = at < node->pad[axis] ? node->pad[axis] - at : 0;
    const uint64_t last = end - at < out ? end - at : out;
    if (first < last) inside += (double)(last - first);
  }
  return inside / (double)out;
}

static struct candidate direct(const struct vnc_graph *g, const struct vnc_node *node) {
  const struct vnc_node *in = &g->nodes[vnc_graph_arg(g, node, 0)];
  const struct vnc_const *weight = &g->consts[node->weight];
  const struct lanes *l = node->dim[VN_C] <= NARROW * (uint64_t)node->groups ? &narrow : &wide;
  double channels = (double)weight->dim[4], vo = (double)ceil_div(node->dim[VN_C], l->lanes);
  double voxels = (double)(vnc_node_elems(node) / node->dim[VN_C]);
  double taps = taps_inside(node, in, 0) * taps_inside(node, in, 1) * node->kernel[2];
  double all = (double)node->kernel[0] * node->kernel[1] * node->kernel[2];
  return (struct candidate){VN_ALGO_DIRECT,
                            {0, 0, 0},
                            voxels * taps * channels * vo * (1.05 + 0.3 / channels) * l->product /
                                wide.product / CYCLES_PER_NS,
                            (uint64_t)(all * channels * vo * (double)l->lanes * 4)};
}

/* Everything else: the arithmetic's or the memory's limit, whichever binds. */
static double other_ns(const struct vnc_graph *g, uint32_t id) {
  const struct vnc_node *node = &g->nodes[id];
  double bytes = 4 * (double)vnc_node_elems(node);
  for (size_t k = 0; k < node->n_args; k++)
    bytes += 4 * (double)vnc_node_elems(&g->nodes[vnc_graph_arg(g, node, k)]);
  double work = 2 * (double)vnc_node_macs(g, id) / FLOPS_PER_NS, traffic = bytes / BYTES_PER_NS;
  return work > traffic ? work : traffic;
}

/* ---- candidates ---- */

/* Keeps the list sorted by time and free of what is neither faster nor smaller than another. */
static void offer(struct choice *c, struct candidate offered) {
  size_t at = 0;
  while (at < c->n && c->list[at].ns <= offered.ns) at++;
  if (at && c->list[at - 1].bytes <= offered.bytes) return;
  size_t end = at;
  while (end < c->n && c->list[end].bytes >= offered.bytes) end++;
  memmove(&c->list[at + 1], &c->list[end], (c->n - end) * sizeof *c->list);
  c->list[at] = offered;
  c->n -= end - at;
  c->n++;
}

static bool is_cube(const struct vnc_node *node, uint32_t size) {
  for (int i = 0; i < 3; i++)
    if (node->kernel[i] != size || node->stride[i] != 1 || node->dilation[i] != 1) return false;
  return node->groups == 1;
}

static bool unit_stride(const struct vnc_node *node) {
  return node->stride[0] == 1 && node->stride[1] == 1 && node->stride[2] == 1;
}

static bool pointwise(const struct vnc_node *node) {
  return node->kernel[0] == 1 && node->kernel[1] == 1 && node->kernel[2] == 1;
}

/* The stride-1 convolutions' candidates; fewer than one: the runtime's own rule serves best. */
static void collect(const struct vnc_graph *g, enum vn_algo wish, struct choice *c) {
  const struct vnc_node *node = &g->nodes[c->node];
  bool tiles = is_cube(node, 5) || is_cube(node, 3);
  c->n = c->chosen = 0;
  if (wish == VN_ALGO_XNNPACK || wish == VN_ALGO_REF) {
    c->list[c->n++] = (struct candidate){.algo = (uint32_t)wish};
    return;
  }
  if (is_cube(node, 5) && (wish == VN_ALGO_AUTO || wish == VN_ALGO_FFT)) {
    uint64_t jobs;
    const struct candidate offered = fft(g, node, &jobs);
    if (wish == VN_ALGO_FFT || jobs >= FFT_JOBS) offer(c, offered);
    if (wish == VN_ALGO_FFT) return;
  }
  if (wish != VN_ALGO_WINOGRAD || !tiles) offer(c, direct(g, node));
  if (wish == VN_ALGO_DIRECT || !tiles) return;
  for (uint32_t t = 0; t < 27; t++) { /* of equals the first: the smaller tile along depth */
    static const uint32_t outputs[3] = {4, 2, 1};
    offer(c, winograd(g, node, outputs[t % 3], outputs[t / 3 % 3], outputs[t / 9]));
  }
}

/* ---- the limit ---- */

/* What the next smaller candidate costs in time for each byte that it saves. */
static double price(const struct choice *c) {
  const struct candidate *now = &c->list[c->chosen], *next = now + 1;
  return (next->ns - now->ns) / (double)(now->bytes - next->bytes);
}

static bool is_big(const struct choice *c) {
  return c->list[c->chosen].bytes > BIG_WEIGHTS;
}

static bool can_shrink(const struct choice *c) {
  return c->chosen + 1 < c->n;
}

/* A heap of the convolutions that can get smaller, the cheapest on top, of equals the first. */
struct heap {
  struct choice **list;
  size_t n;
};

static bool cheaper(const struct choice *a, const struct choice *b) {
  const double x = price(a), y = price(b);
  return x < y || (x == y && a < b);
}

static void heap_sink(struct heap *h, size_t at) {
  for (size_t child; (child = 2 * at + 1) < h->n; at = child) {
    if (child + 1 < h->n && cheaper(h->list[child + 1], h->list[child])) child++;
    if (!cheaper(h->list[child], h->list[at])) return;
    struct choice *swap = h->list[at];
    h->list[at] = h->list[child];
    h->list[child] = swap;
  }
}

/* Moves the one convolution that pays least time for a byte. */
static void shrink_one(struct heap *h, uint64_t *bytes) {
  struct choice *best = h->list[0];
  *bytes -= best->list[best->chosen].bytes - best->list[best->chosen + 1].bytes;
  best->chosen++;
  if (!can_shrink(best)) h->list[0] = h->list[--h->n];
  heap_sink(h, 0);
}

static enum vn_status shrink(struct choice *list, size_t n, uint64_t limit, uint64_t *bytes,
                             struct vn_diag *diag) {
  struct heap h = {.list = malloc((n + 1) * sizeof *h.list)};
  if (!h.list) return vn_fail(diag, VN_E_MEMORY, "out of memory for the graph");
  for (size_t i = 0; i < n; i++)
    if (can_shrink(&list[i])) h.list[h.n++] = &list[i];
  for (size_t i = h.n / 2; i-- > 0;) heap_sink(&h, i);
  while (*bytes > limit && h.n) shrink_one(&h, bytes);
  free(h.list);
  return VN_OK;
}

/* Weights of the convolutions that have no choice are packed as they are. The list is in the order
 * of nodes. */
static uint64_t fixed_bytes(const struct vnc_graph *g, const struct choice *list, size_t n) {
  uint64_t bytes = 0;
  size_t k = 0;
  for (uint32_t i = 0; i < g->n_nodes; i++) {
    if (k < n && list[k].node == i)
      k++;
    else if (g->nodes[i].weight != VN_NONE)
      bytes += 4 * vnc_const_elems(&g->consts[g->nodes[i].weight]);
  }
  return bytes;
}

static enum vn_status obey(const struct vnc_graph *g, uint64_t limit, struct choice *list, size_t n,
                           struct vn_diag *diag) {
  struct vnc_memplan m;
  enum vn_status status = vnc_memplan(g, &m, diag);
  if (status) return status;
  uint64_t bytes = m.arena_bytes + fixed_bytes(g, list, n) + OVERHEAD_BYTES;
  vnc_memplan_free(&m);
  for (size_t i = 0; i < n; i++) bytes += list[i].list[list[i].chosen].bytes;
  status = shrink(list, n, limit, &bytes, diag);
  if (status || bytes <= limit) return status;
  return vn_fail(diag, VN_E_MEMORY,
                 "no plan of this network runs in %.0f MiB: the smallest needs %.0f MiB",
                 (double)limit / 0x1p20, (double)bytes / 0x1p20);
}

/* ---- the pass ---- */

static void write_down(struct vnc_node *node, const struct candidate *c) {
  node->algo = c->algo;
  memcpy(node->tile, c->tile, sizeof node->tile);
  node->predicted_ns = (uint64_t)c->ns;
}

enum vn_status vnc_pass_choose(struct vnc_graph *g, const struct vnc_options *options,
                               struct vn_diag *diag) {
  struct choice *list = calloc(g->n_nodes + 1, sizeof *list);
  size_t n = 0;
  enum vn_status status = VN_OK;
  if (!list) return vn_fail(diag, VN_E_MEMORY, "out of memory for the graph");
  for (uint32_t i = 0; i < g->n_nodes; i++) {
    struct vnc_node *node = &g->nodes[i];
    if (node->op == VN_OP_INPUT || node->op == VN_OP_CONCAT) continue;
    node->predicted_ns = (uint64_t)other_ns(g, i);
    if (node->op != VN_OP_CONV3D || !unit_stride(node) || pointwise(node)) continue;
    list[n].node = i;
    collect(g, options->conv, &list[n]);
    while (is_big(&list[n]) && can_shrink(&list[n]) && price(&list[n]) < BYTE_WORTH_NS)
      list[n].chosen++;
    n++;
  }
  if (options->memory_limit_bytes) status = obey(g, options->memory_limit_bytes, list, n, diag);
  for (size_t i = 0; !status && i < n; i++)
    write_down(&g->nodes[list[i].node], &list[i].list[list[i].chosen]);
  free(list);
  return status;
}

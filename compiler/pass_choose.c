/* Which algorithm and tile each stride-1 convolution gets: the fastest by a cost model, or, under a
 * memory limit, what gives up least time for the bytes that have to go. The runtime obeys where the
 * machine can (runtime/choose.c); the numbers are the same within rounding whatever it takes. The
 * model is schemas/cost.h; its predictions are for two cores of the machine it was measured on. */
#include "memplan.h"
#include "passes.h"

#include "cost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CANDIDATES = 30 };
static const double CYCLES_PER_NS = 7.3, FLOPS_PER_NS = 235, BYTES_PER_NS = 48; /* two threads */
/* What a byte of packed weights beyond any cache has to save in each run to be worth its place: 1
 * ms for 20 MB. The coarsest stage's 4x4x4 tiles would take a fifth of all memory for one percent
 * of the time. */
static const double BYTE_WORTH_NS = 0.05;
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

static struct vn_cost_conv cost_conv(const struct vnc_graph *g, const struct vnc_node *node) {
  const struct vnc_node *in = &g->nodes[vnc_graph_arg(g, node, 0)];
  struct vn_cost_conv c = {.batch = node->dim[VN_N],
                           .channels_in = g->consts[node->weight].dim[4],
                           .channels_out = node->dim[VN_C],
                           .groups = node->groups};
  for (int i = 0; i < 3; i++) {
    c.in[i] = in->dim[VN_D + i];
    c.out[i] = node->dim[VN_D + i];
    c.kernel[i] = node->kernel[i];
    c.pad[i] = node->pad[i];
    c.dilation[i] = node->dilation[i];
  }
  return c;
}

static struct candidate candidate(enum vn_algo algo, struct vn_cost cost) {
  return (struct candidate){
      .algo = (uint32_t)algo, .ns = cost.cycles / CYCLES_PER_NS, .bytes = (uint64_t)cost.bytes};
}

static struct candidate winograd(const struct vn_cost_conv *c, size_t choice) {
  uint32_t tile[3];
  vn_winograd_choice(choice, tile);
  struct candidate winograd = candidate(VN_ALGO_WINOGRAD, vn_cost_winograd(c, tile));
  memcpy(winograd.tile, tile, sizeof tile);
  return winograd;
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
    if (node->kernel[i] != size || node->stride[i] != 1) return false;
  return node->groups == 1;
}

static bool dilated(const struct vnc_node *node) {
  return node->dilation[0] != 1 || node->dilation[1] != 1 || node->dilation[2] != 1;
}

static bool unit_stride(const struct vnc_node *node) {
  return node->stride[0] == 1 && node->stride[1] == 1 && node->stride[2] == 1;
}

static bool pointwise(const struct vnc_node *node) {
  return node->kernel[0] == 1 && node->kernel[1] == 1 && node->kernel[2] == 1;
}

/* Among the others, which have jobs for eight threads. With fewer jobs a head by FFT has to be so
 * much better that eight threads do not wait for it either. */
static void offer_fft(struct choice *c, const struct vn_cost_conv *conv) {
  struct vn_fft_cut cut;
  const struct candidate fft = candidate(VN_ALGO_FFT, vn_cost_fft(conv, &cut));
  const double jobs = (double)(cut.groups * cut.blocks), others = c->n ? c->list[0].ns : INFINITY;
  if (vn_fft_enough(&cut) || fft.ns * VN_FFT_OWN_JOBS < others * jobs) offer(c, fft);
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
  const struct vn_cost_conv conv = cost_conv(g, node);
  const bool five = is_cube(node, 5) && !dilated(node);
  if (five && wish == VN_ALGO_FFT) {
    offer(c, candidate(VN_ALGO_FFT, vn_cost_fft(&conv, NULL)));
    return;
  }
  const bool lean = five && vn_lean_tiles(conv.batch, conv.out) > 0;
  if (lean && (wish == VN_ALGO_AUTO || wish == VN_ALGO_LEAN))
    offer(c, candidate(VN_ALGO_LEAN, vn_cost_lean(&conv)));
  if (lean && wish == VN_ALGO_LEAN) return;
  if (wish != VN_ALGO_WINOGRAD || !tiles)
    offer(c, candidate(VN_ALGO_DIRECT, vn_cost_direct(&conv)));
  if (wish == VN_ALGO_DIRECT || !tiles) return;
  for (size_t i = 0; i < VN_WINOGRAD_CHOICES; i++) offer(c, winograd(&conv, i));
  if (wish == VN_ALGO_AUTO && five) offer_fft(c, &conv);
}

/* ---- the limit ---- */

/* What the next smaller candidate costs in time for each byte that it saves. */
static double price(const struct choice *c) {
  const struct candidate *now = &c->list[c->chosen], *next = now + 1;
  return (next->ns - now->ns) / (double)(now->bytes - next->bytes);
}

static bool is_big(const struct choice *c) {
  return c->list[c->chosen].bytes > VN_COST_BIG_WEIGHTS;
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

/* Places every tensor in one arena. One alias concept: nodes that share memory (the parts of a
 * concat, an elementwise result in place of its dying input) share a buffer, and a buffer has one
 * lifetime. vnc_memplan_check, which trusts none of this, is in memplan_check.c. */
#include "memplan.h"

#include "plan.h"

#include <stdlib.h>
#include <string.h>

enum { TRIES = 2000, PAIRS_MOST = 500000000 };
static const uint64_t MOST_ARENA_BYTES = (uint64_t)1 << 40; /* plan.md */

struct plan {
  const struct vnc_graph *g;
  struct vnc_memplan *m;
  uint32_t *home;    /* node whose buffer this node lives in; never a chain; itself: its own */
  uint64_t *channel; /* first channel inside the home */
  uint32_t *last;    /* last node that reads it; n_nodes: an output */
};

static uint64_t round_up(uint64_t n) {
  return (n + PLAN_ALIGN - 1) / PLAN_ALIGN * PLAN_ALIGN;
}

/* ---- who lives where ---- */

static void find_last_reads(struct plan *p) {
  for (uint32_t i = 0; i < p->g->n_nodes; i++) {
    p->last[i] = i;
    for (size_t k = 0; k < p->g->nodes[i].n_args; k++)
      p->last[vnc_graph_arg(p->g, &p->g->nodes[i], k)] = i;
  }
  /* The caller fills inputs before the first step, also those that nothing reads. */
  for (uint32_t i = 0; i < p->g->n_nodes; i++)
    if (p->g->nodes[i].op == VN_OP_INPUT && p->last[i] == i) p->last[i] = (uint32_t)p->g->n_nodes;
  for (size_t i = 0; i < p->g->n_outputs; i++)
    p->last[p->g->outputs[i].node] = (uint32_t)p->g->n_nodes;
}

/* Later concats first, so that a concat inside a concat already knows its own place. */
static void house_concats(struct plan *p) {
  for (uint32_t i = (uint32_t)p->g->n_nodes; i-- > 0;) {
    const struct vnc_node *node = &p->g->nodes[i];
    if (node->op != VN_OP_CONCAT || node->axis != VN_C) continue;
    uint64_t channel = p->channel[i];
    for (size_t k = 0; k < node->n_args; k++) {
      uint32_t part = vnc_graph_arg(p->g, node, k);
      p->home[part] = p->home[i];
      p->channel[part] = channel;
      channel += p->g->nodes[part].dim[VN_C];
    }
  }
}

static bool elementwise(const struct vnc_node *node) {
  return node->op == VN_OP_ACT || node->op == VN_OP_AFFINE || node->op == VN_OP_ADD ||
         node->op == VN_OP_PRELU || node->op == VN_OP_INSTNORM || node->op == VN_OP_MAP ||
         node->op == VN_OP_BINARY;
}

/* Does node i die where `reader` reads it, alone in a buffer of its own? */
static bool replaceable(const struct plan *p, uint32_t i, uint32_t reader) {
  const struct vnc_node *in = &p->g->nodes[i], *out = &p->g->nodes[reader];
  if (p->last[i] != reader || p->home[i] != i) return false;
  if (in->op == VN_OP_CONCAT && in->axis == VN_C) return false;
  return !memcmp(in->dim, out->dim, sizeof in->dim) && in->dtype == out->dtype;
}

/* A result takes its input's place by moving the input to where the result lives. From the end, so
 * that a chain of elementwise operations ends up in one buffer. */
static void house_in_place(struct plan *p) {
  for (uint32_t i = (uint32_t)p->g->n_nodes; i-- > 0;) {
    const struct vnc_node *node = &p->g->nodes[i];
    if (!elementwise(node)) continue;
    const bool any = node->op == VN_OP_ADD || node->op == VN_OP_INSTNORM;
    const size_t candidates = any ? node->n_args : 1;
    for (size_t k = 0; k < candidates; k++) {
      uint32_t in = vnc_graph_arg(p->g, node, k);
      if (!replaceable(p, in, i)) continue;
      if (!any && node->n_args == 2 && in == vnc_graph_arg(p->g, node, 1)) continue;
      p->home[in] = p->home[i];
      p->channel[in] = p->channel[i];
      break;
    }
  }
}

/* ---- buffers ---- */

static void make_buffers(struct plan *p, uint32_t *buffer_of) {
  const struct vnc_graph *g = p->g;
  for (uint32_t i = 0; i < g->n_nodes; i++) {
    if (p->home[i] != i) continue;
    buffer_of[i] = (uint32_t)p->m->n_buffers;
    p->m->buffers[p->m->n_buffers++] =
        (struct vnc_span){.bytes = vnc_node_elems(&g->nodes[i]) * 4, .first = i, .last = i};
  }
  for (uint32_t i = 0; i < g->n_nodes; i++) {
    uint32_t home = p->home[i], last = p->last[i];
    struct vnc_span *b = &p->m->buffers[buffer_of[home]];
    if (last >= g->n_nodes) last = (uint32_t)g->n_nodes - 1;
    uint32_t first = g->nodes[i].op == VN_OP_INPUT ? 0 : i;
    if (first < b->first) b->first = first;
    if (last > b->last) b->last = last;
    p->m->places[i].buffer = buffer_of[home];
    p->m->places[i].pixel_stride = g->nodes[home].dim[VN_C];
  }
}

/* The largest sum of buffers alive at one node. `change` has room for n_nodes + 1 numbers. */
static uint64_t bound(const struct vnc_memplan *m, size_t n_nodes, uint64_t *change) {
  uint64_t most = 0, alive = 0;
  memset(change, 0, (n_nodes + 1) * sizeof *change);
  for (size_t k = 0; k < m->n_buffers; k++) {
    change[m->buffers[k].first] += round_up(m->buffers[k].bytes);
    change[m->buffers[k].last + 1] -= round_up(m->buffers[k].bytes); /* modulo 2^64 */
  }
  for (size_t i = 0; i < n_nodes; i++) {
    alive += change[i];
    if (alive > most) most = alive;
  }
  return most;
}

/* ---- packing ---- */

/* Buffers placed so far, in the order of their offsets. */
struct placed {
  struct vnc_span **list;
  size_t n;
};

static void place_note(struct placed *p, struct vnc_span *b) {
  size_t low = 0, high = p->n;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (p->list[middle]->offset < b->offset)
      low = middle + 1;
    else
      high = middle;
  }
  memmove(p->list + low + 1, p->list + low, (p->n - low) * sizeof *p->list);
  p->list[low] = b;
  p->n++;
}

/* The lowest gap that holds buffer b beside those placed before it and alive with it. */
static uint64_t lowest_gap(const struct placed *p, const struct vnc_span *b) {
  uint64_t at = 0;
  for (size_t k = 0; k < p->n; k++) {
    const struct vnc_span *o = p->list[k];
    if (o->first > b->last || b->first > o->last || o->offset + o->bytes <= at) continue;
    if (o->offset >= at + b->bytes) break;
    at = round_up(o->offset + o->bytes);
  }
  return at;
}

static uint64_t pack(struct vnc_memplan *m, const uint32_t *order, struct placed *p) {
  uint64_t arena = 0;
  p->n = 0;
  for (size_t k = 0; k < m->n_buffers; k++) {
    struct vnc_span *b = &m->buffers[order[k]];
    b->offset = lowest_gap(p, b);
    place_note(p, b);
    uint64_t end = round_up(b->offset + b->bytes);
    if (end > arena) arena = end;
  }
  return arena;
}

static int size_order(const void *a, const void *b) {
  const struct vnc_span *x = *(struct vnc_span *const *)a, *y = *(struct vnc_span *const *)b;
  if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
  return (x > y) - (x < y);
}

static void sort_by_size(struct vnc_memplan *m, uint32_t *order, struct placed *p) {
  for (size_t i = 0; i < m->n_buffers; i++) p->list[i] = &m->buffers[i];
  qsort(p->list, m->n_buffers, sizeof *p->list, size_order);
  for (size_t i = 0; i < m->n_buffers; i++) order[i] = (uint32_t)(p->list[i] - m->buffers);
}

/* Largest first is near the bound already; where it is not, a seeded search swaps the order of two
 * buffers as long as that does no harm, and while it takes no time that anybody notices. The same
 * graph gives the same plan. */
static void search(struct vnc_memplan *m, uint32_t *order, struct placed *p) {
  uint32_t state = 1;
  sort_by_size(m, order, p);
  m->arena_bytes = pack(m, order, p);
  const size_t pairs = m->n_buffers * m->n_buffers, most = PAIRS_MOST / (pairs + 1);
  const size_t tries = most < TRIES ? most : TRIES;
  for (size_t i = 0; i < tries && m->arena_bytes > m->bound_bytes; i++) {
    state = state * 1664525u + 1013904223u; /* Numerical Recipes' generator */
    size_t a = (state >> 8) % m->n_buffers, b = (state >> 16) % m->n_buffers;
    uint32_t swap = order[a];
    order[a] = order[b];
    order[b] = swap;
    uint64_t arena = pack(m, order, p);
    if (arena <= m->arena_bytes) {
      m->arena_bytes = arena;
    } else {
      order[b] = order[a];
      order[a] = swap;
    }
  }
  pack(m, order, p);
}

/* ---- the whole ---- */

static void place(struct plan *p) {
  for (uint32_t i = 0; i < p->g->n_nodes; i++) {
    struct vnc_place *at = &p->m->places[i];
    at->offset = p->m->buffers[at->buffer].offset + 4 * p->channel[i];
  }
}

enum vn_status vnc_memplan(const struct vnc_graph *g, struct vnc_memplan *m, struct vn_diag *diag) {
  size_t n = g->n_nodes;
  memset(m, 0, sizeof *m);
  if (n > PLAN_MOST_RECORDS) /* and placing them takes the square of it */
    return vn_fail(diag, VN_E_UNSUPPORTED, "the plan would have %zu tensors, and holds at most %d",
                   n, PLAN_MOST_RECORDS);
  m->places = calloc(n + 1, sizeof *m->places);
  m->buffers = calloc(n + 1, sizeof *m->buffers);
  uint32_t *ids = calloc(4 * n + 1, sizeof *ids);
  uint64_t *channel = calloc(2 * n + 2, sizeof *channel);
  struct placed placed = {.list = calloc(n + 1, sizeof *placed.list)};
  enum vn_status status = VN_OK;
  if (!m->places || !m->buffers || !ids || !channel || !placed.list) {
    status = vn_fail(diag, VN_E_MEMORY, "out of memory for the memory plan");
    vnc_memplan_free(m);
    goto done;
  }
  struct plan p = {g, m, ids, channel, ids + n};
  for (uint32_t i = 0; i < n; i++) p.home[i] = i;
  find_last_reads(&p);
  house_concats(&p);
  house_in_place(&p);
  make_buffers(&p, ids + 2 * n);
  m->bound_bytes = bound(m, n, channel + n + 1);
  search(m, ids + 3 * n, &placed);
  place(&p);
  if (m->arena_bytes > MOST_ARENA_BYTES) {
    status = vn_fail(diag, VN_E_MEMORY, "it would need %.0f GiB for its activations",
                     (double)m->arena_bytes / 0x1p30);
    vnc_memplan_free(m);
  }
done:
  free(ids);
  free(channel);
  free(placed.list);
  return status;
}

void vnc_memplan_free(struct vnc_memplan *m) {
  free(m->places);
  free(m->buffers);
  memset(m, 0, sizeof *m);
}

/* Activations that exporters write as arithmetic: Keras' PReLU is Relu, Neg, Mul and Add, others
 * take Abs, Max and Min. All of these are bent lines of one value x:
 *
 *   y = x > 0 ? above * x : below * x
 *
 * with one factor, one for each channel or one for each voxel; and so are their sums, multiples,
 * maxima and what Relu makes of them. A value remembers of which x it is a bent line
 * (vnc_value.bent), and where two of them meet, one activation takes the place of all. What leads
 * there is not needed any more, and is pruned with the rest. Called by onnx_import.c around each
 * node's import. */
#include "onnx_import.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct factor {
  uint64_t n; /* 1, the channels, or the elements d h w c of one image */
  float *v;   /* owned */
};

struct vnc_bent {
  uint32_t x; /* node */
  struct factor above, below;
};

static uint64_t channels_of(const struct vnc_op *op, uint32_t x) {
  return op->im->g->nodes[x].dim[VN_C];
}

static float at(const struct factor *f, uint64_t i, uint64_t channels) {
  return f->v[f->n == 1 ? 0 : f->n == channels ? i % channels : i];
}

static enum vn_status factor_make(const struct vnc_op *op, uint64_t n, struct factor *f) {
  enum vn_status status = vnc_import_touch(op->im, n);
  *f = (struct factor){n, status ? NULL : malloc((n + 1) * sizeof *f->v)};
  return status || f->v ? status : vnc_op_fail(op, VN_E_MEMORY, "out of memory");
}

static void bent_free(struct vnc_bent *b) {
  free(b->above.v);
  free(b->below.v);
  b->above.v = b->below.v = NULL;
}

void vnc_bents_free(struct vnc_import *im) {
  for (size_t i = 0; i < im->n_bents; i++) bent_free(&im->bents[i]);
  free(im->bents);
}

/* ---- one line from two ---- */

static float plus(float a, float b) {
  return a + b;
}
static float minus(float a, float b) {
  return a - b;
}
static float times(float a, float b) {
  return a * b;
}
static float over(float a, float b) {
  return a / b;
}
static float larger(float a, float b) {
  return a > b ? a : b;
}
static float smaller(float a, float b) {
  return a < b ? a : b;
}

typedef float combine_fn(float a, float b);

static enum vn_status factors_combine(const struct vnc_op *op, const struct factor *a,
                                      const struct factor *b, combine_fn *fn, uint64_t channels,
                                      struct factor *out) {
  enum vn_status status = factor_make(op, a->n > b->n ? a->n : b->n, out);
  for (uint64_t i = 0; !status && i < out->n; i++)
    out->v[i] = fn(at(a, i, channels), at(b, i, channels));
  return status;
}

/* fn of what is above zero, of what is below by `below`. */
static enum vn_status bents_combine(const struct vnc_op *op, const struct vnc_bent *a,
                                    const struct vnc_bent *b, combine_fn *above, combine_fn *below,
                                    struct vnc_bent *out) {
  const uint64_t channels = channels_of(op, a->x);
  *out = (struct vnc_bent){.x = a->x};
  enum vn_status status = factors_combine(op, &a->above, &b->above, above, channels, &out->above);
  if (!status) status = factors_combine(op, &a->below, &b->below, below, channels, &out->below);
  if (status) bent_free(out);
  return status;
}

/* The line of slopes `above` and `below`. */
static enum vn_status bent_of(const struct vnc_op *op, uint32_t x, float above, float below,
                              struct vnc_bent *b) {
  *b = (struct vnc_bent){.x = x};
  enum vn_status status = factor_make(op, 1, &b->above);
  if (!status) status = factor_make(op, 1, &b->below);
  if (status) {
    bent_free(b);
    return status;
  }
  b->above.v[0] = above;
  b->below.v[0] = below;
  return VN_OK;
}

/* A value as a bent line; of itself if it is none. Borrows its factors, or owns them in `own`. */
static enum vn_status bent_read(const struct vnc_op *op, const struct vnc_value *v,
                                struct vnc_bent *own, const struct vnc_bent **b) {
  *own = (struct vnc_bent){0};
  *b = v->bent ? &op->im->bents[v->bent - 1] : own;
  return v->bent ? VN_OK : bent_of(op, v->node, 1, 1, own);
}

static bool all_are(const struct factor *f, float value) {
  for (uint64_t i = 0; i < f->n; i++)
    if (f->v[i] != value) return false;
  return true;
}

/* ---- to the graph ---- */

static enum vn_status append_affine(const struct vnc_op *op, const struct factor *f, float sign,
                                    uint32_t *node) {
  struct vnc_graph *g = op->im->g;
  const uint64_t channels = channels_of(op, *node);
  enum vn_status status = vnc_import_touch(op->im, 2 * channels);
  if (status) return status;
  float *scale = malloc(channels * sizeof *scale), *shift = calloc(channels, sizeof *shift);
  for (uint64_t c = 0; scale && c < channels; c++) scale[c] = sign * (f ? at(f, c, channels) : 1);
  const uint32_t scale_id = vnc_graph_const(g, op->name, 1, &channels, scale);
  const uint32_t shift_id = vnc_graph_const(g, op->name, 1, &channels, shift);
  *node = vnc_graph_node(g, VN_OP_AFFINE, op->name, node, 1);
  if (g->failed || !scale || !shift) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  g->nodes[*node].weight = scale_id;
  g->nodes[*node].bias = shift_id;
  return vnc_op_infer(op, *node);
}

static bool is_field(const struct factor *f, uint64_t channels) {
  return f->n != 1 && f->n != channels;
}

/* Factors for voxels as a tensor. */
static enum vn_status append_field(const struct vnc_op *op, const struct factor *f, float sign,
                                   const struct vnc_node *like, uint32_t *node) {
  struct vnc_graph *g = op->im->g;
  const uint64_t *x = like->dim, dim[5] = {1, x[VN_D], x[VN_H], x[VN_W], x[VN_C]};
  enum vn_status status = vnc_import_touch(op->im, f->n);
  float *data = status ? NULL : malloc(f->n * sizeof *data);
  if (!data) return status ? status : vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  for (uint64_t i = 0; i < f->n; i++) data[i] = sign * f->v[i];
  const uint32_t weight = vnc_graph_const(g, op->name, 5, dim, data);
  *node = vnc_graph_node(g, VN_OP_CONST, op->name, NULL, 0);
  if (g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  g->nodes[*node].weight = weight;
  return vnc_op_infer(op, *node);
}

/* x > 0 ? x : slope * x. */
static enum vn_status append_slopes(const struct vnc_op *op, const struct factor *slope,
                                    uint32_t *node) {
  struct vnc_graph *g = op->im->g;
  const bool zero = all_are(slope, 0);
  uint32_t args[2] = {*node, VN_NONE}, weight = VN_NONE;
  if (is_field(slope, channels_of(op, *node)) && !zero) {
    enum vn_status status = append_field(op, slope, 1, &g->nodes[*node], &args[1]);
    if (status) return status;
    *node = vnc_graph_node(g, VN_OP_PRELU, op->name, args, 2);
    return vnc_op_infer(op, *node);
  }
  if (!zero) {
    float *data = malloc(slope->n * sizeof *data);
    if (!data) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
    memcpy(data, slope->v, slope->n * sizeof *data);
    weight = vnc_graph_const(g, op->name, 1, &slope->n, data);
  }
  *node = vnc_graph_node(g, VN_OP_ACT, op->name, args, 1);
  if (g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  g->nodes[*node].act[0] = (struct vnc_act){zero ? VN_ACT_RELU : VN_ACT_PRELU, 0, weight};
  return vnc_op_infer(op, *node);
}

/* sign * factor * max(sign * x, 0) */
static enum vn_status append_half(const struct vnc_op *op, const struct factor *f, float sign,
                                  uint32_t *node) {
  struct vnc_graph *g = op->im->g;
  const struct factor zero = {1, (float[]){0}};
  enum vn_status status = sign < 0 ? append_affine(op, NULL, sign, node) : VN_OK;
  if (!status) status = append_slopes(op, &zero, node);
  if (status || !is_field(f, channels_of(op, *node)))
    return status ? status : append_affine(op, f, sign, node);
  uint32_t args[2] = {*node, VN_NONE};
  status = append_field(op, f, sign, &g->nodes[*node], &args[1]);
  if (status) return status;
  *node = vnc_graph_node(g, VN_OP_BINARY, op->name, args, 2);
  if (g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  g->nodes[*node].kind = VN_BINARY_MUL;
  return vnc_op_infer(op, *node);
}

/* What is above zero and what is below, each by itself, and their sum. */
static enum vn_status append_halves(const struct vnc_op *op, const struct vnc_bent *b,
                                    uint32_t *node) {
  uint32_t half[2] = {b->x, b->x};
  const bool upper = !all_are(&b->above, 0), lower = !all_are(&b->below, 0);
  enum vn_status status = upper || !lower ? append_half(op, &b->above, 1, &half[0]) : VN_OK;
  if (!status && lower) status = append_half(op, &b->below, -1, &half[1]);
  *node = lower ? half[1] : half[0];
  if (status || !upper || !lower) return status;
  *node = vnc_graph_node(op->im->g, VN_OP_ADD, op->name, half, 2);
  return vnc_op_infer(op, *node);
}

/* Nodes that compute the line; *node is the last. */
static enum vn_status bent_append(const struct vnc_op *op, const struct vnc_bent *b,
                                  uint32_t *node) {
  const uint64_t channels = channels_of(op, b->x);
  struct factor slope = {0};
  enum vn_status status = VN_OK;
  *node = b->x;
  if (all_are(&b->above, 1))
    return all_are(&b->below, 1) ? VN_OK : append_slopes(op, &b->below, node);
  bool zeros = false;
  for (uint64_t i = 0; i < b->above.n; i++) zeros = zeros || b->above.v[i] == 0;
  if (zeros || is_field(&b->above, channels) || is_field(&b->below, channels))
    return append_halves(op, b, node);
  status = factors_combine(op, &b->below, &b->above, over, channels, &slope);
  if (!status && !all_are(&slope, 1)) status = append_slopes(op, &slope, node);
  if (!status) status = append_affine(op, &b->above, 1, node);
  free(slope.v);
  return status;
}

/* ---- at import ---- */

static enum vn_status keep(const struct vnc_op *op, struct vnc_bent *b, struct vnc_value *v) {
  struct vnc_import *im = op->im;
  const size_t n = im->n_bents;
  if ((n & (n - 1)) == 0) { /* full */
    struct vnc_bent *bents = realloc(im->bents, (n ? 2 * n : 1) * sizeof *bents);
    if (!bents) {
      bent_free(b);
      return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
    }
    im->bents = bents;
  }
  im->bents[im->n_bents++] = *b;
  v->bent = (uint32_t)im->n_bents;
  return VN_OK;
}

/* Names the line as the node's result: computed now, or by whoever reads it. */
static enum vn_status yield(const struct vnc_op *op, struct vnc_bent *b,
                            const struct vnc_view *view, bool later) {
  uint32_t node = b->x;
  enum vn_status status = later ? VN_OK : bent_append(op, b, &node);
  if (!status) status = vnc_op_yield(op, node, view);
  if (status) {
    bent_free(b);
    return status;
  }
  struct vnc_value *v = vnc_value_find(op->im, op->proto->output[0]);
  v->later = later;
  return keep(op, b, v);
}

static bool is_computed(const struct vnc_op *op, size_t i) {
  const struct vnc_value *v = i < op->n_in ? op->in[i] : NULL;
  return v && v->kind == VNC_RUNTIME && !v->whole && op->im->g->nodes[v->node].dtype == VN_F32;
}

static bool same_view(const struct vnc_view *a, const struct vnc_view *b) {
  return a->rank == b->rank && !memcmp(a->order, b->order, sizeof a->order) &&
         !memcmp(a->count, b->count, a->rank);
}

static const struct pair {
  const char *type;
  combine_fn *above, *below;
} pairs[] = {{"Add", plus, plus},
             {"Sum", plus, plus},
             {"Sub", minus, minus},
             {"Max", larger, smaller},
             {"Min", smaller, larger}};

/* Two lines of one x, of which one is bent. */
static enum vn_status meet(const struct vnc_op *op, const struct pair *pair, bool *done) {
  const struct vnc_value *a = op->in[0], *b = op->in[1];
  struct vnc_bent own[2] = {{0}}, out;
  const struct vnc_bent *line[2];
  if (!a->bent && !b->bent) return VN_OK;
  enum vn_status status = bent_read(op, a, &own[0], &line[0]);
  if (!status) status = bent_read(op, b, &own[1], &line[1]);
  if (!status && line[0]->x == line[1]->x && same_view(&a->view, &b->view)) {
    const struct vnc_view view = a->view;
    *done = true;
    status = bents_combine(op, line[0], line[1], pair->above, pair->below, &out);
    if (!status) status = yield(op, &out, &view, false);
  }
  bent_free(&own[0]);
  bent_free(&own[1]);
  return status;
}

/* Max and Min with 0. */
static enum vn_status meet_zero(const struct vnc_op *op, const struct pair *pair, bool *done) {
  const size_t i = is_computed(op, 0) ? 0 : 1;
  struct vnc_bent own, zero, out;
  const struct vnc_bent *line;
  struct vnc_tensor t;
  bool present;
  enum vn_status status = vnc_op_const(op, 1 - i, &t, &present);
  if (status) return status;
  bool zeros = present && t.is_float && t.rank <= op->in[i]->view.rank && t.elems == 1 && !t.f[0];
  vnc_tensor_free(&t);
  if (!zeros) return VN_OK;
  const struct vnc_view view = op->in[i]->view;
  *done = true;
  status = bent_read(op, op->in[i], &own, &line);
  if (!status) status = bent_of(op, line->x, 0, 0, &zero);
  if (!status) {
    status = bents_combine(op, line, &zero, pair->above, pair->below, &out);
    bent_free(&zero);
  }
  if (!status) status = yield(op, &out, &view, false);
  bent_free(&own);
  return status;
}

/* A constant as it multiplies x, broadcast from the right. `f->v` NULL: in no such way. */
static enum vn_status factor_read(const struct vnc_op *op, const struct vnc_value *v,
                                  const struct vnc_tensor *t, struct factor *f) {
  const struct vnc_graph *g = op->im->g;
  const uint64_t *dim = g->nodes[v->node].dim, channels = dim[VN_C];
  uint64_t n = channels * dim[VN_D] * dim[VN_H] * dim[VN_W], stride[VN_AXES] = {0}, step = 1;
  bool voxels = false;
  *f = (struct factor){0};
  if (!t->is_float || t->rank > v->view.rank || !t->elems) return VN_OK;
  size_t k = VN_AXES;
  for (size_t i = v->view.rank; i-- > 0;) { /* strides in t of the axes, the last first */
    const size_t lead = v->view.rank - t->rank;
    const uint64_t size = i < lead ? 1 : t->dim[i - lead];
    if (size != 1 && size != vnc_view_dim(g, v, i)) return VN_OK;
    uint64_t inner = step;
    for (size_t a = v->view.count[i]; a-- > 0;) {
      const uint8_t axis = v->view.order[--k];
      if (size != 1 && dim[axis] > 1) stride[axis] = inner;
      inner *= dim[axis];
    }
    step *= size;
  }
  if (stride[VN_N]) return VN_OK;
  voxels = stride[VN_D] || stride[VN_H] || stride[VN_W];
  enum vn_status status = factor_make(op, voxels ? n : stride[VN_C] ? channels : 1, f);
  for (uint64_t i = 0; !status && i < f->n; i++) {
    const uint64_t c = i % channels, w = i / channels % dim[VN_W];
    const uint64_t h = i / channels / dim[VN_W] % dim[VN_H],
                   d = i / channels / dim[VN_W] / dim[VN_H];
    f->v[i] = t->f[c * stride[VN_C] + d * stride[VN_D] + h * stride[VN_H] + w * stride[VN_W]];
  }
  return status;
}

/* The node is imported by its own importer, and its result is known to be the line. */
static enum vn_status remember(const struct vnc_op *op, struct vnc_bent *b,
                               const struct vnc_view *view) {
  enum vn_status status = vnc_import_scale(op);
  struct vnc_value *v = status ? NULL : vnc_value_find(op->im, op->proto->output[0]);
  if (v && same_view(&v->view, view)) return keep(op, b, v);
  bent_free(b);
  return status;
}

/* A line times a constant. What is a multiple of x itself is imported as ever, and remembered. */
static enum vn_status multiply(const struct vnc_op *op, size_t i, combine_fn *fn, bool *done) {
  struct vnc_tensor t;
  struct vnc_bent by = {0}, own = {0}, out;
  const struct vnc_bent *line;
  bool present;
  const struct vnc_value *v = op->in[i];
  enum vn_status status = vnc_op_const(op, 1 - i, &t, &present);
  if (status) return status;
  const struct vnc_view view = v->view;
  const bool bent = v->bent;
  status = bent_read(op, v, &own, &line);
  if (!status) status = factor_read(op, v, &t, &by.above);
  if (!status && by.above.v && (bent || by.above.n <= channels_of(op, line->x))) {
    const struct vnc_bent both = {line->x, by.above, by.above};
    *done = true;
    status = bents_combine(op, line, &both, fn, fn, &out);
    if (!status && bent) status = yield(op, &out, &view, true);
    if (!status && !bent) status = remember(op, &out, &view);
  }
  bent_free(&own);
  bent_free(&by);
  vnc_tensor_free(&t);
  return status;
}

/* Relu, Neg and Abs of x, or of a line: times -1; the larger of it and 0; of it and its negative.
 */
static enum vn_status bend(const struct vnc_op *op, const char *type) {
  struct vnc_bent own, with, out;
  const struct vnc_bent *line;
  const bool neg = !strcmp(type, "Neg"), relu = !strcmp(type, "Relu");
  const struct vnc_view view = op->in[0]->view;
  enum vn_status status = bent_read(op, op->in[0], &own, &line);
  if (status) return status;
  const struct vnc_bent by = {
      line->x, {1, (float[]){relu ? 0 : -1}}, {1, (float[]){relu ? 0 : -1}}};
  status = bents_combine(op, line, &by, times, times, &with);
  if (!status && neg) {
    out = with;
  } else if (!status) {
    status = bents_combine(op, line, &with, larger, smaller, &out);
    bent_free(&with);
  }
  if (!status) status = yield(op, &out, &view, neg || op->in[0]->bent);
  bent_free(&own);
  return status;
}

enum vn_status vnc_bent_import(const struct vnc_op *op, bool *done) {
  static const char *const bends[] = {"Relu", "Neg", "Abs"};
  const char *type = op->proto->op_type;
  const bool first = is_computed(op, 0), second = is_computed(op, 1);
  const bool divides = !strcmp(type, "Div");
  *done = false;
  for (size_t i = 0; i < sizeof bends / sizeof *bends; i++)
    if (first && op->n_in == 1 && !strcmp(type, bends[i])) {
      *done = true;
      return bend(op, type);
    }
  if (op->n_in != 2 || !op->in[0] || !op->in[1] || vnc_op_attribute(op, "axis")) return VN_OK;
  const bool constant = op->in[first ? 1 : 0]->kind != VNC_RUNTIME;
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    if (strcmp(type, pairs[i].type) != 0) continue;
    if (first && second) return meet(op, &pairs[i], done);
    return *type == 'M' && (first || second) && constant ? meet_zero(op, &pairs[i], done) : VN_OK;
  }
  if ((!strcmp(type, "Mul") || (divides && first)) && first != second && constant)
    return multiply(op, first ? 0 : 1, divides ? over : times, done);
  return VN_OK;
}

enum vn_status vnc_bent_settle(const struct vnc_op *op) {
  for (size_t i = 0; i < op->n_in; i++) {
    struct vnc_value *v = op->in[i];
    if (!v || v->kind != VNC_RUNTIME || !v->later) continue;
    const struct vnc_bent line = op->im->bents[v->bent - 1];
    uint32_t node;
    enum vn_status status = bent_append(op, &line, &node);
    if (status) return status;
    v->node = node;
    v->later = false;
  }
  return VN_OK;
}

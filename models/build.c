/* Builds any member of the family, untrained. See build.h; what the members are: family.h. */
#include "models/build.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

struct builder {
  struct vnc_graph *g;
  const struct vnc_spec *s;
  uint64_t random;
};

/* A node's result, with the mean square of its elements as far as theory tells. */
struct value {
  uint32_t node, channels;
  double square;
};

struct layer {
  enum vn_op op;
  uint32_t kernel, stride, out;
  bool bias, norm, act;
};

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t random_next(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

/* Appends a constant of uniform numbers in mean +- spread. */
static uint32_t const_random(struct builder *b, const char *layer, const char *suffix, size_t rank,
                             const uint64_t *dim, double mean, double spread) {
  char name[64];
  snprintf(name, sizeof name, "%s.%s", layer, suffix);
  uint64_t elems = 1;
  for (size_t i = 0; i < rank; i++) elems *= dim[i];
  float *data = elems > SIZE_MAX / sizeof(float) ? NULL : malloc(elems * sizeof(float));
  if (!data) {
    b->g->failed = true;
    return VN_NONE;
  }
  for (uint64_t i = 0; i < elems; i++) {
    double unit = (double)(random_next(&b->random) >> 40) * 0x1p-23 - 1; /* in [-1, 1) */
    data[i] = (float)(mean + spread * unit);
  }
  return vnc_graph_const(b->g, name, rank, dim, data);
}

__attribute__((format(printf, 5, 6))) static struct vnc_node *
node_append(struct builder *b, enum vn_op op, const uint32_t *args, size_t n_args,
            const char *format, ...) {
  char name[64];
  va_list list;
  va_start(list, format);
  vsnprintf(name, sizeof name, format, list);
  va_end(list);
  uint32_t id = vnc_graph_node(b->g, op, name, args, n_args);
  return b->g->failed ? NULL : &b->g->nodes[id];
}

static uint32_t last_node(const struct builder *b) {
  return b->g->n_nodes ? (uint32_t)b->g->n_nodes - 1 : 0;
}

static struct value act_append(struct builder *b, struct value x, const char *layer) {
  const struct vnc_spec *s = b->s;
  struct vnc_node *node = node_append(b, VN_OP_ACT, &x.node, 1, "%s.act", layer);
  if (!node) return x;
  x.node = last_node(b);
  node->act[0].kind = s->act;
  if (s->act == VN_ACT_ELU) {
    node->act[0].alpha = 1;
    x.square *= 0.645; /* E[elu(x)^2] for x from N(0, 1) */
  } else {
    uint64_t slopes = s->slope_per_channel ? x.channels : 1;
    uint32_t slope = const_random(b, layer, "a", 1, &slopes, 0.25, 0.05);
    if (!b->g->failed) b->g->nodes[x.node].act[0].slope = slope;
    x.square *= (1 + 0.25 * 0.25) / 2;
  }
  return x;
}

/* A convolution with what its layer says follows it. */
static struct value layer_append(struct builder *b, struct value x, const struct layer *l,
                                 const char *name) {
  uint64_t k = l->kernel, channels = l->out;
  /* An up-convolution's output element sees one element of each channel. */
  double fan_in = (double)x.channels * (l->op == VN_OP_DECONV3D ? 1 : (double)(k * k * k));
  uint32_t weight = const_random(b, name, "w", 5, (uint64_t[]){l->out, k, k, k, x.channels}, 0,
                                 sqrt(3 / (fan_in * x.square)));
  uint32_t bias = l->bias ? const_random(b, name, "b", 1, &channels, 0, 0.1) : VN_NONE;
  struct vnc_node *node = node_append(b, l->op, &x.node, 1, "%s", name);
  if (!node) return x;
  node->weight = weight;
  node->bias = bias;
  for (int a = 0; a < 3; a++) {
    node->kernel[a] = l->kernel;
    node->stride[a] = l->stride;
    node->pad[a] = node->pad_end[a] = l->stride > 1 ? 0 : l->kernel / 2;
  }
  x = (struct value){last_node(b), l->out, 1};
  if (l->norm) {
    uint32_t scale = const_random(b, name, "scale", 1, &channels, 1, 0.1);
    uint32_t shift = const_random(b, name, "shift", 1, &channels, 0, 0.1);
    if (!(node = node_append(b, VN_OP_AFFINE, &x.node, 1, "%s.norm", name))) return x;
    node->weight = scale;
    node->bias = shift;
    x.node = last_node(b);
  }
  return l->act ? act_append(b, x, name) : x;
}

/* `count` convolutions to `channels`, the sum with `residual`, the activation after it. */
static struct value stage_append(struct builder *b, struct value x, struct value residual,
                                 const char *stage, uint32_t count, uint32_t channels,
                                 bool last_act) {
  char name[32];
  for (uint32_t i = 0; i < count; i++) {
    struct layer l = {
        VN_OP_CONV3D, 5, 1, channels, b->s->conv_bias, b->s->norm, i + 1 < count || last_act};
    snprintf(name, sizeof name, "%s.conv%u", stage, (unsigned)i + 1);
    x = layer_append(b, x, &l, name);
  }
  snprintf(name, sizeof name, "%s.sum", stage);
  node_append(b, VN_OP_ADD, (uint32_t[]){x.node, residual.node}, 2, "%s", name);
  x = (struct value){last_node(b), channels, x.square + residual.square};
  return b->s->sum_act ? act_append(b, x, name) : x;
}

/* The scan as the first sum takes it: one channel broadcasts by itself, several are repeated. */
static struct value scan_repeat(struct builder *b, struct value scan) {
  if (scan.channels == 1 || scan.channels == b->s->width) return scan;
  struct vnc_node *copy = node_append(b, VN_OP_COPY, &scan.node, 1, "left1.repeat");
  if (!copy) return scan;
  for (uint32_t a = 0; a < VN_AXES; a++) {
    copy->in_axis[a] = a;
    copy->dim[a] = b->g->nodes[scan.node].dim[a];
  }
  copy->dim[VN_C] = b->s->width;
  return (struct value){last_node(b), b->s->width, scan.square};
}

static struct value scan_append(struct builder *b, const uint64_t patch[3]) {
  struct vnc_node *node = node_append(b, VN_OP_INPUT, NULL, 0, "scan");
  if (!node) return (struct value){0};
  uint64_t dim[VN_AXES] = {1, b->s->in_channels, patch[0], patch[1], patch[2]};
  struct vnc_port port = {.name = node->name, .rank = VN_AXES, .dtype = VN_F32};
  for (uint32_t a = 0; a < VN_AXES; a++) {
    node->dim[a] = port.dim[a] = dim[a];
    port.order[a] = a;
  }
  vnc_graph_input(b->g, &port);
  return (struct value){0, b->s->in_channels, 1};
}

/* Everything behind the last sum. */
static struct value head_append(struct builder *b, struct value x) {
  const struct vnc_spec *s = b->s;
  if (s->wide_head) {
    struct layer wide = {VN_OP_CONV3D, 5, 1, s->classes, s->conv_bias, s->norm, true};
    x = layer_append(b, x, &wide, "head");
  }
  struct layer point = {VN_OP_CONV3D, 1, 1, s->classes, true, false, s->out_act};
  x = layer_append(b, x, &point, "out");
  if (s->tail == VNC_TAIL_NONE) return x;
  enum vn_op op = s->tail == VNC_TAIL_SOFTMAX ? VN_OP_SOFTMAX : VN_OP_LOGSOFTMAX;
  struct vnc_node *node = node_append(b, op, &x.node, 1, "%s", vn_op_text(op));
  if (node) node->axis = VN_C;
  return (struct value){last_node(b), s->classes, 1};
}

static struct value network_append(struct builder *b, const uint64_t patch[3]) {
  const struct vnc_spec *s = b->s;
  struct value left[VNC_STAGES_MOST];
  char name[32];
  struct value x = scan_append(b, patch);
  for (uint32_t i = 0; i < s->stages; i++) {
    snprintf(name, sizeof name, "left%u", (unsigned)i + 1);
    struct value residual = i ? x : scan_repeat(b, x);
    x = left[i] = stage_append(b, x, residual, name, s->left[i], s->width << i,
                               i ? s->last_act : s->first_act);
    if (i + 1 == s->stages) break;
    snprintf(name, sizeof name, "down%u", (unsigned)i + 1);
    struct layer down = {VN_OP_CONV3D, 2, 2, s->width << (i + 1), s->conv_bias, s->norm, true};
    x = layer_append(b, x, &down, name);
  }
  for (uint32_t i = s->stages - 1; i-- > 0;) {
    uint32_t width = s->width << i;
    struct layer up = {VN_OP_DECONV3D, 2, 2, width, true, s->norm, true};
    snprintf(name, sizeof name, "right%u.up", (unsigned)i + 1);
    x = layer_append(b, x, &up, name);
    struct vnc_node *cat = node_append(b, VN_OP_CONCAT, (uint32_t[]){x.node, left[i].node}, 2,
                                       "right%u.concat", (unsigned)i + 1);
    if (cat) cat->axis = VN_C;
    x = (struct value){last_node(b), 2 * width, (x.square + left[i].square) / 2};
    snprintf(name, sizeof name, "right%u", (unsigned)i + 1);
    x = stage_append(b, x, x, name, s->right[i], 2 * width, s->last_act);
  }
  return head_append(b, x);
}

enum vn_status vnc_model_build(const struct vnc_spec *spec, const uint64_t patch[3], uint64_t seed,
                               struct vnc_graph *g, struct vn_diag *diag) {
  vnc_graph_init(g);
  enum vn_status status = vnc_spec_check(spec, diag);
  if (status) return status;
  for (int a = 0; a < 3; a++) {
    if (patch[a] < 1 || patch[a] > 65536 || patch[a] % (UINT64_C(1) << (spec->stages - 1))) {
      return vn_fail(diag, VN_E_ARGUMENT,
                     "patch %llux%llux%llu: with %u stages every axis has to be a multiple of %u, "
                     "at most 65536",
                     (unsigned long long)patch[0], (unsigned long long)patch[1],
                     (unsigned long long)patch[2], (unsigned)spec->stages,
                     1u << (spec->stages - 1));
    }
  }
  struct builder b = {g, spec, seed};
  struct value x = network_append(&b, patch);
  if (g->failed) return vn_fail(diag, VN_E_MEMORY, "no memory for a network of this size");
  if ((status = vnc_shape_infer(g, diag))) return status;
  struct vnc_port port = {
      .name = vnc_graph_string(g, "scores"), .node = x.node, .dtype = VN_F32, .rank = VN_AXES};
  for (uint32_t a = 0; a < VN_AXES; a++) {
    port.dim[a] = g->nodes[x.node].dim[a];
    port.order[a] = a;
  }
  vnc_graph_output(g, &port);
  return vnc_graph_check(g, diag);
}

/* What the ops mean, in double, by the words of schemas/plan.md and as plainly as possible. Shares
 * no code with the kernels. */
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void oracle_open(struct oracle *o, size_t elems) {
  o->value = calloc(elems, sizeof *o->value);
  o->size = calloc(elems, sizeof *o->size);
  o->squares = calloc(elems, sizeof *o->squares);
  o->gain = calloc(elems, sizeof *o->gain);
}

void oracle_close(struct oracle *o) {
  free(o->value);
  free(o->size);
  free(o->squares);
  free(o->gain);
}

double oracle_act(uint32_t kind, double slope, double alpha, double x) {
  if (kind == VN_ACT_RELU) return x < 0 ? 0 : x;
  if (kind == VN_ACT_PRELU) return x > 0 ? x : slope * x;
  if (kind == VN_ACT_ELU) return x > 0 ? x : alpha * expm1(x);
  if (kind == VN_ACT_SIGMOID) return 1 / (1 + exp(-x));
  return x;
}

/* How much an activation stretches a difference. */
static double act_stretch(const struct vn_epilogue *e, int i, size_t channel) {
  if (e->act[i].kind == VN_ACT_PRELU) return fmax(1, fabs((double)e->act[i].slope[channel]));
  if (e->act[i].kind == VN_ACT_ELU) return fmax(1, fabs((double)e->act[i].alpha));
  return 1;
}

/* How much it stretches a small one around x, or shrinks it. */
static double act_gain(const struct vn_epilogue *e, int i, size_t channel, double x) {
  const uint32_t kind = e->act[i].kind;
  if (kind == VN_ACT_SIGMOID) return 1 / ((1 + exp(-x)) * (1 + exp(x)));
  if (kind == VN_ACT_NONE || x > 0) return 1;
  if (kind == VN_ACT_PRELU) return fabs((double)e->act[i].slope[channel]);
  return kind == VN_ACT_ELU ? (double)e->act[i].alpha * exp(x) : 0;
}

static double act_of(const struct vn_epilogue *e, int i, size_t channel, double x) {
  const double slope = e->act[i].kind == VN_ACT_PRELU ? (double)e->act[i].slope[channel] : 0;
  return oracle_act(e->act[i].kind, slope, (double)e->act[i].alpha, x);
}

/* ---- convolution: each tap adds one plane of products ---- */

static bool inside(const struct vn_conv *c, const struct vn_tensor *wide, const size_t at[3],
                   const size_t tap[3], size_t found[3]) {
  for (int i = 0; i < 3; i++) {
    const ptrdiff_t q =
        (ptrdiff_t)(at[i] * c->stride[i] + tap[i] * c->dilation[i]) - (ptrdiff_t)c->pad[i];
    if (q < 0 || q >= (ptrdiff_t)wide->dim[VN_D + i]) return false;
    found[i] = (size_t)q;
  }
  return true;
}

static size_t pixel_of(const struct vn_tensor *t, size_t n, const size_t p[3]) {
  return ((n * t->dim[VN_D] + p[0]) * t->dim[VN_H] + p[1]) * t->dim[VN_W] + p[2];
}

static void add_products(const struct vn_conv *c, size_t from, size_t to, size_t tap,
                         struct oracle *o) {
  const size_t in = c->in.dim[VN_C] / c->groups, out = c->out.dim[VN_C] / c->groups;
  const size_t taps = c->kernel[0] * c->kernel[1] * c->kernel[2];
  const float *x = (const float *)c->in.data + from * c->in.stride;
  for (size_t k = 0; k < c->out.dim[VN_C]; k++) {
    const float *w = c->weight + (k * taps + tap) * in, *xg = x + k / out * in;
    double sum = 0, size = 0, squares = 0;
    for (size_t i = 0; i < in; i++) {
      const double product = (double)w[i] * (double)xg[i];
      sum += product;
      size += fabs(product);
      squares += product * product;
    }
    o->value[to * c->out.dim[VN_C] + k] += sum;
    o->size[to * c->out.dim[VN_C] + k] += size;
    o->squares[to * c->out.dim[VN_C] + k] += squares;
  }
}

/* A stride belongs to the wide side: a convolution's input, a transposed one's output. */
static void add_tap(const struct vn_conv *c, bool transposed, const size_t tap[3],
                    struct oracle *o) {
  const struct vn_tensor *narrow = transposed ? &c->in : &c->out;
  const struct vn_tensor *wide = transposed ? &c->out : &c->in;
  const size_t *dim = &narrow->dim[VN_D];
  const size_t index = (tap[0] * c->kernel[1] + tap[1]) * c->kernel[2] + tap[2];
  for (size_t i = 0; i < tensor_pixels(narrow); i++) {
    const size_t p[3] = {i / dim[2] / dim[1] % dim[0], i / dim[2] % dim[1], i % dim[2]};
    size_t q[3];
    if (!inside(c, wide, p, tap, q)) continue;
    const size_t other = pixel_of(wide, i / (dim[0] * dim[1] * dim[2]), q);
    add_products(c, transposed ? i : other, transposed ? other : i, index, o);
  }
}

void oracle_conv(const struct vn_conv *c, bool transposed, const float *residual,
                 struct oracle *o) {
  const struct vn_epilogue *e = &c->epilogue;
  const size_t channels = c->out.dim[VN_C];
  size_t tap[3];
  for (tap[0] = 0; tap[0] < c->kernel[0]; tap[0]++)
    for (tap[1] = 0; tap[1] < c->kernel[1]; tap[1]++)
      for (tap[2] = 0; tap[2] < c->kernel[2]; tap[2]++) add_tap(c, transposed, tap, o);
  for (size_t i = 0; i < tensor_elems(&c->out); i++) {
    const size_t channel = i % channels, wrap = e->residual.dim[VN_C];
    const double bias = e->bias ? (double)e->bias[channel] : 0;
    double x = o->value[i] + bias;
    double size = (o->size[i] + fabs(bias)) * act_stretch(e, 0, channel);
    o->gain[i] = act_gain(e, 0, channel, x);
    x = act_of(e, 0, channel, x);
    if (residual) {
      const double r = (double)residual[i / channels * wrap + channel % wrap];
      x += r;
      size += fabs(r);
    }
    o->gain[i] *= act_gain(e, 1, channel, x);
    o->value[i] = act_of(e, 1, channel, x);
    o->size[i] = size * act_stretch(e, 1, channel) + fabs(o->value[i]);
  }
}

/* ---- weight gradients ---- */

/* One element of the gradient: what went in at each place times what came back from there. */
static void add_gradient(const struct vn_wgrad_spec *s, const size_t tap[3], size_t out, size_t in,
                         size_t element, struct oracle *o) {
  const struct vn_tensor *narrow = s->transposed ? &s->in : &s->grad_out;
  const struct vn_tensor *wide = s->transposed ? &s->grad_out : &s->in;
  const struct vn_conv c = {.stride = {s->stride[0], s->stride[1], s->stride[2]},
                            .pad = {s->pad[0], s->pad[1], s->pad[2]},
                            .dilation = {1, 1, 1}};
  const size_t *dim = &narrow->dim[VN_D];
  for (size_t i = 0; i < tensor_pixels(narrow); i++) {
    const size_t p[3] = {i / dim[2] / dim[1] % dim[0], i / dim[2] % dim[1], i % dim[2]};
    size_t q[3];
    if (!inside(&c, wide, p, tap, q)) continue;
    const size_t other = pixel_of(wide, i / (dim[0] * dim[1] * dim[2]), q);
    const size_t x_at = s->transposed ? i : other, dy_at = s->transposed ? other : i;
    const double product = (double)((float *)s->in.data)[x_at * s->in.stride + in] *
                           (double)((float *)s->grad_out.data)[dy_at * s->grad_out.stride + out];
    o->value[element] += product;
    o->size[element] += fabs(product);
    o->squares[element] += product * product;
  }
}

void oracle_wgrad(const struct vn_wgrad_spec *s, struct oracle *o) {
  size_t tap[3], element = 0;
  for (size_t out = 0; out < s->grad_out.dim[VN_C]; out++)
    for (tap[0] = 0; tap[0] < s->kernel[0]; tap[0]++)
      for (tap[1] = 0; tap[1] < s->kernel[1]; tap[1]++)
        for (tap[2] = 0; tap[2] < s->kernel[2]; tap[2]++)
          for (size_t in = 0; in < s->in.dim[VN_C]; in++)
            add_gradient(s, tap, out, in, element++, o);
}

/* ---- the other ops ---- */

static void coordinates(const size_t dim[VN_AXES], size_t i, size_t at[VN_AXES]) {
  static const int innermost_first[VN_AXES] = {VN_C, VN_W, VN_H, VN_D, VN_N};
  for (int k = 0; k < VN_AXES; k++) {
    const int a = innermost_first[k];
    at[a] = i % dim[a];
    i /= dim[a];
  }
}

static size_t index_of(const size_t dim[VN_AXES], const size_t at[VN_AXES]) {
  return (((at[VN_N] * dim[VN_D] + at[VN_D]) * dim[VN_H] + at[VN_H]) * dim[VN_W] + at[VN_W]) *
             dim[VN_C] +
         at[VN_C];
}

/* What in[1] holds for the output's element i: axes repeat. */
static double second_operand(const struct vn_simple *s, const float *in1, size_t i) {
  size_t at[VN_AXES];
  coordinates(s->out.dim, i, at);
  for (int a = 0; a < VN_AXES; a++) at[a] %= s->in[1].dim[a];
  return (double)in1[index_of(s->in[1].dim, at)];
}

static double soft_plus(double x) {
  return x > 30 ? x : log1p(exp(x));
}

static double function(const struct vn_simple *s, double x) {
  const double a = (double)s->a, b = (double)s->b;
  switch ((enum vn_map)s->kind) {
  case VN_MAP_EXP:
    return exp(x);
  case VN_MAP_LOG:
    return log(x);
  case VN_MAP_SQRT:
    return sqrt(x);
  case VN_MAP_RECIPROCAL:
    return 1 / x;
  case VN_MAP_ERF:
    return erf(x);
  case VN_MAP_TANH:
    return tanh(x);
  case VN_MAP_SOFTPLUS:
    return soft_plus(x);
  case VN_MAP_GELU:
    return x / 2 * (1 + erf(x / sqrt(2)));
  case VN_MAP_GELU_TANH:
    return x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * pow(x, 3))));
  case VN_MAP_SWISH:
    return x / (1 + exp(-a * x));
  case VN_MAP_MISH:
    return x * tanh(soft_plus(x));
  case VN_MAP_SELU:
    return b * (x > 0 ? x : a * expm1(x));
  case VN_MAP_CELU:
    return fmax(0, x) + fmin(0, a * expm1(x / a));
  case VN_MAP_CLIP:
    return fmin(fmax(x, a), b);
  case VN_MAP_HARD_SIGMOID:
    return fmin(fmax(a * x + b, 0), 1);
  case VN_MAP_HARD_SWISH:
    return x * fmin(fmax(x / 6 + 0.5, 0), 1);
  case VN_MAP_FLOOR:
    return floor(x);
  case VN_MAP_CEIL:
    return ceil(x);
  case VN_MAP_ROUND:
    return nearbyint(x);
  case VN_MAP_SIGN:
    return (x > 0) - (x < 0);
  case VN_MAP_COUNT:
    break;
  }
  return NAN;
}

static double function_of_two(uint32_t kind, double x, double y) {
  switch ((enum vn_binary)kind) {
  case VN_BINARY_MUL:
    return x * y;
  case VN_BINARY_SUB:
    return x - y;
  case VN_BINARY_DIV:
    return x / y;
  case VN_BINARY_MIN:
    return x < y ? x : y;
  case VN_BINARY_MAX:
    return x > y ? x : y;
  case VN_BINARY_GREATER:
    return x > y;
  case VN_BINARY_GREATER_EQUAL:
    return x >= y;
  case VN_BINARY_LESS:
    return x < y;
  case VN_BINARY_LESS_EQUAL:
    return x <= y;
  case VN_BINARY_EQUAL:
    return x == y;
  case VN_BINARY_KEEP:
    return y == 0 ? 0 : x;
  case VN_BINARY_DROP:
    return y == 0 ? x : 0;
  case VN_BINARY_COUNT:
    break;
  }
  return NAN;
}

static void element(const struct vn_simple *s, const float *in0, const float *in1, size_t i,
                    struct oracle *o) {
  const size_t channel = i % s->out.dim[VN_C];
  const double x = (double)in0[i];
  if (s->op == VN_OP_ACT) {
    o->value[i] = act_of(&s->epilogue, 0, channel, x);
    o->size[i] = fabs(o->value[i]);
  } else if (s->op == VN_OP_AFFINE) {
    o->value[i] = x * (double)s->scale[channel] + (double)s->shift[channel];
    o->size[i] = fabs(x * (double)s->scale[channel]) + fabs((double)s->shift[channel]);
  } else if (s->op == VN_OP_MAP) {
    o->value[i] = function(s, x);
    o->size[i] = fabs(x) + 2 * fabs(o->value[i]);
  } else if (s->op == VN_OP_BINARY) {
    o->value[i] = function_of_two(s->kind, x, second_operand(s, in1, i));
    o->size[i] = fabs(o->value[i]);
  } else if (s->op == VN_OP_ADD) {
    const double y = second_operand(s, in1, i);
    o->value[i] = act_of(&s->epilogue, 1, channel, x + y);
    o->size[i] = (fabs(x) + fabs(y)) * act_stretch(&s->epilogue, 1, channel) + fabs(o->value[i]);
  } else { /* PRELU */
    const double slope = second_operand(s, in1, i);
    o->value[i] = x > 0 ? x : slope * x;
    o->size[i] = fabs(o->value[i]);
  }
}

/* Every tap of every axis, as one number counted down. */
static void sample(const struct vn_simple *s, const float *in0, size_t i, struct oracle *o) {
  size_t at[VN_AXES], all = 1;
  double most = -INFINITY;
  coordinates(s->out.dim, i, at);
  for (int a = 0; a < VN_AXES; a++) all *= s->table[a].pairs ? s->table[a].taps : 1;
  for (size_t tap = 0; tap < all; tap++) {
    size_t rest = tap, from[VN_AXES];
    double weight = 1;
    bool inside = true;
    for (int a = 0; a < VN_AXES; a++) {
      const struct vn_table *t = &s->table[a];
      const float *pair = t->pairs ? t->pairs + 2 * (at[a] * t->taps + rest % t->taps) : NULL;
      if (pair) rest /= t->taps;
      if (pair) weight *= (double)pair[1];
      inside = inside && !(pair && pair[0] < 0);
      from[a] = !pair ? at[a] : pair[0] < 0 ? 0 : (size_t)pair[0];
    }
    const double x = inside ? (double)in0[index_of(s->in[0].dim, from)] : (double)s->a;
    most = fmax(most, x);
    o->value[i] += weight * x;
    o->size[i] += fabs(weight * x);
  }
  if (s->largest) o->value[i] = most;
}

static bool along(const struct vn_simple *s, int axis) {
  if (s->op == VN_OP_INSTNORM) return axis == VN_D || axis == VN_H || axis == VN_W;
  return axis == (int)s->axis || (s->more_axes >> axis & 1);
}

static void normalise(const struct vn_simple *s, const float *in0, const float *in1,
                      const size_t *line, size_t n, struct oracle *o) {
  double mean = 0, variance = 0;
  for (size_t i = 0; i < n; i++) mean += (double)in0[line[i]] / (double)n;
  for (size_t i = 0; i < n; i++) variance += pow((double)in0[line[i]] - mean, 2) / (double)n;
  const double root = sqrt(variance + (double)s->epsilon);
  for (size_t i = 0; i < n; i++) {
    const size_t channel = line[i] % s->in[0].dim[VN_C];
    const double scale = (double)s->scale[channel] / root, shift = (double)s->shift[channel];
    double x = ((double)in0[line[i]] - mean) * scale + shift;
    double size = (fabs(((double)in0[line[i]] - mean) * scale) + fabs(scale) + fabs(shift));
    size *= act_stretch(&s->epilogue, 0, channel);
    x = act_of(&s->epilogue, 0, channel, x);
    if (in1) {
      const double r = second_operand(s, in1, line[i]);
      x += r;
      size += fabs(r);
    }
    o->value[line[i]] = act_of(&s->epilogue, 1, channel, x);
    o->size[line[i]] = (size + fabs(x)) * act_stretch(&s->epilogue, 1, channel);
    o->size[line[i]] += fabs(o->value[line[i]]);
  }
}

static void softmax(const struct vn_simple *s, const float *in0, const size_t *line, size_t n,
                    struct oracle *o) {
  double top = -INFINITY, sum = 0;
  for (size_t i = 0; i < n; i++) top = fmax(top, (double)in0[line[i]]);
  for (size_t i = 0; i < n; i++) sum += exp((double)in0[line[i]] - top);
  for (size_t i = 0; i < n; i++) {
    const double x = (double)in0[line[i]] - top;
    const bool logarithm = s->op == VN_OP_LOGSOFTMAX;
    o->value[line[i]] = logarithm ? x - log(sum) : exp(x) / sum;
    o->size[line[i]] = logarithm ? 1 - x + log(sum) : exp(x) / sum * (1 - x);
  }
}

static void argmax(const struct vn_simple *s, const float *in0, const size_t *line, size_t n,
                   struct oracle *o) {
  size_t best = 0, at[VN_AXES];
  for (size_t i = 1; i < n; i++) {
    const bool more = in0[line[i]] > in0[line[best]], same = in0[line[i]] == in0[line[best]];
    if (more || (same && s->select_last)) best = i;
  }
  coordinates(s->in[0].dim, line[0], at);
  o->value[index_of(s->out.dim, at)] = (double)best;
}

/* Every set of elements that differ along the op's axes alone, in the axes' order. */
static void lines(const struct vn_simple *s, const float *in0, const float *in1, struct oracle *o) {
  const size_t elems = tensor_elems(&s->in[0]);
  const bool norm = s->op == VN_OP_INSTNORM;
  size_t *line = malloc(elems * sizeof *line);
  for (size_t first = 0; first < elems; first++) {
    size_t at[VN_AXES], n = 0;
    bool begins = true;
    coordinates(s->in[0].dim, first, at);
    for (int a = 0; a < VN_AXES; a++) begins = begins && !(along(s, a) && at[a]);
    begins = begins && !(norm && at[VN_C] % s->span);
    for (size_t i = first; begins && i < elems; i++) {
      size_t other[VN_AXES];
      bool member = true;
      coordinates(s->in[0].dim, i, other);
      for (int a = 0; a < VN_AXES; a++)
        member = member && (along(s, a) || other[a] == at[a] ||
                            (norm && a == VN_C && other[a] / s->span == at[a] / s->span));
      if (member) line[n++] = i;
    }
    if (!begins) continue;
    if (norm)
      normalise(s, in0, in1, line, n, o);
    else if (s->op == VN_OP_ARGMAX)
      argmax(s, in0, line, n, o);
    else
      softmax(s, in0, line, n, o);
  }
  free(line);
}

static void copy(const struct vn_simple *s, const float *in0, struct oracle *o) {
  const size_t *extent = s->copy.extent;
  const size_t n = extent[0] * extent[1] * extent[2] * extent[3] * extent[4];
  for (size_t i = 0; i < n; i++) {
    size_t e[VN_AXES], from[VN_AXES], to[VN_AXES];
    coordinates(extent, i, e);
    for (int a = 0; a < VN_AXES; a++) {
      const size_t axis = s->copy.in_axis[a];
      from[axis] = (s->copy.in_start[a] + e[a]) % s->in[0].dim[axis];
      to[a] = s->copy.out_start[a] + e[a];
    }
    uint32_t word;
    memcpy(&word, &in0[index_of(s->in[0].dim, from)], sizeof word);
    o->value[index_of(s->out.dim, to)] = (double)word;
  }
}

static double cast(const struct vn_simple *s, const float *in0, size_t i) {
  int32_t word;
  memcpy(&word, &in0[i], sizeof word);
  const double x = trunc((double)in0[i]);
  if (!s->to_i32) return (double)(float)word;
  if (isnan(x)) return 0;
  return fmin(fmax(x, -2147483648.), 2147483647.);
}

void oracle_simple(const struct vn_simple *s, const float *in0, const float *in1,
                   struct oracle *o) {
  if (s->op == VN_OP_COPY) {
    copy(s, in0, o);
  } else if (s->op == VN_OP_CAST) {
    for (size_t i = 0; i < tensor_elems(&s->out); i++) o->value[i] = cast(s, in0, i);
  } else if (s->op == VN_OP_SOFTMAX || s->op == VN_OP_LOGSOFTMAX || s->op == VN_OP_ARGMAX ||
             s->op == VN_OP_INSTNORM) {
    lines(s, in0, in1, o);
  } else if (s->op == VN_OP_SAMPLE) {
    for (size_t i = 0; i < tensor_elems(&s->out); i++) sample(s, in0, i, o);
  } else {
    for (size_t i = 0; i < tensor_elems(&s->out); i++) element(s, in0, in1, i, o);
  }
}

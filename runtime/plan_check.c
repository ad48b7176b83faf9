/* Proves a plan's steps: legal ops and algorithms, ids, lifetimes, shapes, weights, and that no
 * step writes over what it reads. After this a kernel may trust every pointer and size it is given.
 * Called by plan_load.c, which has proved the tables. */
#include "plan_load.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_EXTENT = 65535, MAX_TILE = 16, MAX_INDEX = 1 << 24 };

struct table { /* what was found in a SAMPLE's table, however many steps read it */
  bool seen, good;
  float most; /* of its indices */
};

struct view { /* a step with its tensors looked up */
  const struct vn_plan *plan;
  const struct plan_step *step;
  const struct plan_tensor *out, *in[2]; /* in[1]: NULL when absent */
  struct table *tables;                  /* [weights] */
};

static bool dims_equal(const struct plan_tensor *a, const struct plan_tensor *b) {
  for (int i = 0; i < VN_AXES; i++)
    if (a->dim[i] != b->dim[i]) return false;
  return true;
}

/* ---- what every step has ---- */

static bool tensor_alive(const struct vn_plan *p, uint32_t id, size_t step,
                         const struct plan_tensor **tensor) {
  if (id >= p->header->tensors.count) return false;
  const struct plan_buffer *b = &p->buffers[p->tensors[id].buffer];
  *tensor = &p->tensors[id];
  return b->first_step <= step && step <= b->last_step;
}

static bool is_norm(const struct plan_step *s) {
  return s->op == VN_OP_INSTNORM || s->op == VN_OP_GROUPNORM;
}

static bool op_ok(const struct plan_step *s) {
  if (s->op >= VN_OP_COUNT || s->op == VN_OP_INPUT || s->op == VN_OP_CONCAT) return false;
  if (s->algo >= VN_ALGO_COUNT) return false;
  return s->op == VN_OP_CONV3D || s->algo == VN_ALGO_AUTO || s->algo == VN_ALGO_REF ||
         s->algo == VN_ALGO_SIMD;
}

/* Two activations, and a residual between them. */
static bool has_epilogue(const struct plan_step *s) {
  return s->op == VN_OP_CONV3D || s->op == VN_OP_DECONV3D || is_norm(s);
}

static bool second_input_ok(const struct plan_step *s) {
  if (s->op == VN_OP_ADD || s->op == VN_OP_PRELU || s->op == VN_OP_BINARY)
    return s->in[1] != VN_NONE;
  return s->in[1] == VN_NONE || has_epilogue(s);
}

static bool unused_words_zero(const struct view *v) {
  size_t used = 0, all = sizeof v->step->u.word / sizeof *v->step->u.word;
  switch (v->step->op) {
  case VN_OP_CONV3D:
  case VN_OP_DECONV3D:
    used = 16;
    break;
  case VN_OP_COPY:
    used = 4 * VN_AXES;
    break;
  case VN_OP_SOFTMAX:
  case VN_OP_LOGSOFTMAX:
  case VN_OP_MAP:
    used = 3;
    break;
  case VN_OP_GROUPNORM:
  case VN_OP_BINARY:
    used = 1;
    break;
  case VN_OP_SAMPLE:
    used = 2 + VN_AXES;
    break;
  case VN_OP_ARGMAX:
    used = 2;
    break;
  default:
    break;
  }
  return plan_reserved_ok(v->plan, &v->step->u.word[used], (all - used) * 4) &&
         plan_reserved_ok(v->plan, &v->step->reserved, sizeof v->step->reserved);
}

/* ---- weights and activations ---- */

static bool vector_ok(const struct view *v, uint32_t id, uint64_t channels) {
  return id < v->plan->header->weights.count && v->plan->weights[id].rank == 1 &&
         v->plan->weights[id].dim[0] == channels;
}

static bool weights_ok(const struct view *v) {
  const struct plan_step *s = v->step;
  uint64_t channels = v->out->dim[VN_C];
  switch (s->op) {
  case VN_OP_CONV3D:
  case VN_OP_DECONV3D:
    return s->weight < v->plan->header->weights.count && v->plan->weights[s->weight].rank == 5 &&
           (s->bias == VN_NONE || vector_ok(v, s->bias, channels));
  case VN_OP_AFFINE:
  case VN_OP_INSTNORM:
  case VN_OP_GROUPNORM:
    return vector_ok(v, s->weight, channels) && vector_ok(v, s->bias, channels);
  case VN_OP_CONST:
    return s->weight < v->plan->header->weights.count && v->plan->weights[s->weight].rank == 5 &&
           s->bias == VN_NONE;
  default:
    return s->weight == VN_NONE && s->bias == VN_NONE;
  }
}

static bool acts_ok(const struct view *v) {
  const struct plan_step *s = v->step;
  const bool both = has_epilogue(s);
  const bool may[2] = {both || s->op == VN_OP_ACT, both || s->op == VN_OP_ADD};
  for (int i = 0; i < 2; i++) {
    if (s->act[i] >= VN_ACT_COUNT || s->act[i] == VN_ACT_LEAKY) return false;
    if (s->act[i] != VN_ACT_NONE && !may[i]) return false;
    if (s->act[i] == VN_ACT_PRELU ? !vector_ok(v, s->slope[i], v->out->dim[VN_C])
                                  : s->slope[i] != VN_NONE)
      return false;
    if (s->act[i] == VN_ACT_ELU && !isfinite(s->alpha[i])) return false;
  }
  return s->op != VN_OP_ACT || s->act[0] != VN_ACT_NONE;
}

/* ---- shapes, op by op ---- */

static bool conv_axis_ok(const struct view *v, int axis) {
  const struct plan_conv *c = &v->step->u.conv;
  if (c->kernel[axis] < 1 || c->stride[axis] < 1 || c->dilation[axis] < 1 ||
      c->kernel[axis] > MAX_EXTENT || c->stride[axis] > MAX_EXTENT ||
      c->dilation[axis] > MAX_EXTENT || c->pad[axis] > MAX_EXTENT)
    return false;
  int64_t stride = c->stride[axis], pad = c->pad[axis], rest;
  int64_t reach = ((int64_t)c->kernel[axis] - 1) * c->dilation[axis] + 1; /* below 2^32 */
  int64_t in = (int64_t)v->in[0]->dim[VN_D + axis], out = (int64_t)v->out->dim[VN_D + axis];
  if (v->step->op == VN_OP_CONV3D)
    rest = (out - 1) * stride + reach - pad - in;
  else
    rest = out + pad - ((in - 1) * stride + reach);
  return rest >= -MAX_EXTENT && rest <= MAX_EXTENT;
}

static bool tile_ok(const struct plan_step *s) {
  for (int i = 0; i < 3; i++) {
    uint32_t t = s->u.conv.tile[i];
    if (s->algo == VN_ALGO_WINOGRAD ? t < 1 || t > MAX_TILE : t != 0) return false;
  }
  return true;
}

static bool residual_ok(const struct view *v) {
  const struct plan_tensor *r = v->in[1];
  for (int a = 0; r && a < VN_AXES; a++)
    if (a == VN_C ? v->out->dim[a] % r->dim[a] != 0 : r->dim[a] != v->out->dim[a]) return false;
  return true;
}

static bool conv_ok(const struct view *v) {
  const struct plan_conv *c = &v->step->u.conv;
  const struct plan_weight *w = &v->plan->weights[v->step->weight];
  const struct plan_tensor *x = v->in[0], *y = v->out;
  uint64_t in = x->dim[VN_C], out = y->dim[VN_C];
  if (!c->groups || in % c->groups || out % c->groups || x->dim[VN_N] != y->dim[VN_N]) return false;
  if (w->dim[0] != out || w->dim[4] != in / c->groups) return false;
  for (int i = 0; i < 3; i++)
    if (!conv_axis_ok(v, i) || w->dim[1 + i] != c->kernel[i]) return false;
  return residual_ok(v) && tile_ok(v->step);
}

static bool norm_ok(const struct view *v) {
  const uint32_t span = v->step->op == VN_OP_GROUPNORM ? v->step->u.norm.span : 1;
  return isfinite(v->step->epsilon) && v->step->epsilon >= 0 && residual_ok(v) && span &&
         v->out->dim[VN_C] % span == 0;
}

static bool broadcast_ok(const struct plan_tensor *small, const struct plan_tensor *out) {
  for (int a = 0; a < VN_AXES; a++)
    if (small->dim[a] != 1 && small->dim[a] != out->dim[a] &&
        (a != VN_C || out->dim[a] % small->dim[a] != 0))
      return false;
  return true;
}

static bool copy_ok(const struct view *v) {
  const struct plan_copy *c = &v->step->u.copy;
  uint32_t seen = 0;
  for (int a = 0; a < VN_AXES; a++) {
    if (c->in_axis[a] >= VN_AXES || c->extent[a] < 1) return false;
    seen |= 1u << c->in_axis[a];
    if ((uint64_t)c->out_start[a] + c->extent[a] > v->out->dim[a] ||
        c->in_start[a] >= v->in[0]->dim[c->in_axis[a]])
      return false;
  }
  return seen == (1u << VN_AXES) - 1;
}

static bool softmax_ok(const struct plan_axis *x) {
  return x->axis < VN_AXES && x->select_last == 0 && x->more_axes < 1u << VN_AXES &&
         !(x->more_axes >> x->axis & 1);
}

static bool argmax_ok(const struct view *v) {
  const struct plan_axis *x = &v->step->u.axis;
  if (x->axis >= VN_AXES || x->select_last > 1 || x->more_axes) return false;
  for (uint32_t a = 0; a < VN_AXES; a++)
    if (v->out->dim[a] != (a == x->axis ? 1 : v->in[0]->dim[a])) return false;
  return true;
}

static bool const_ok(const struct view *v) {
  const uint64_t *w = v->plan->weights[v->step->weight].dim, *out = v->out->dim;
  return w[0] == out[VN_N] && w[1] == out[VN_D] && w[2] == out[VN_H] && w[3] == out[VN_W] &&
         w[4] == out[VN_C];
}

static bool function_ok(const struct plan_step *s) {
  const struct plan_function *f = &s->u.function;
  if (s->op == VN_OP_BINARY) return f->kind < VN_BINARY_COUNT;
  return f->kind < VN_MAP_COUNT && !isnan(f->a) && !isnan(f->b) &&
         (f->kind != VN_MAP_CELU || f->a != 0);
}

/* Kernels trust the indices, so that each is looked at. */
static void table_look(const struct vn_plan *p, const struct plan_weight *w, struct table *table) {
  const float *pair = (const float *)(p->bytes + w->offset);
  *table = (struct table){.seen = true, .good = true, .most = -1};
  for (uint64_t i = 0; i < w->dim[0] * w->dim[1] && table->good; i++, pair += 2) {
    table->good = pair[0] >= -1 && pair[0] == floorf(pair[0]) && isfinite(pair[1]);
    if (pair[0] > table->most) table->most = pair[0];
  }
}

static bool table_ok(const struct view *v, int axis) {
  const uint32_t id = v->step->u.sample.table[axis];
  const uint64_t in = v->in[0]->dim[axis];
  if (id >= v->plan->header->weights.count || in > MAX_INDEX) return false;
  const struct plan_weight *w = &v->plan->weights[id];
  if (w->rank != 3 || w->dim[0] != v->out->dim[axis] || w->dim[1] > MAX_EXTENT || w->dim[2] != 2)
    return false;
  struct table *table = &v->tables[id];
  if (!table->seen) table_look(v->plan, w, table);
  return table->good && table->most < (float)in;
}

static bool sample_ok(const struct view *v) {
  const struct plan_sample *x = &v->step->u.sample;
  bool any = false;
  for (int a = 0; a < VN_AXES; a++) {
    any = any || x->table[a] != VN_NONE;
    if (x->table[a] == VN_NONE ? v->out->dim[a] != v->in[0]->dim[a] : !table_ok(v, a)) return false;
  }
  return any && x->largest <= 1 && !isnan(x->fill);
}

static bool shapes_ok(const struct view *v) {
  const struct plan_step *s = v->step;
  if (s->op == VN_OP_CONST) return const_ok(v);
  bool same = dims_equal(v->in[0], v->out);
  switch (s->op) {
  case VN_OP_CONV3D:
  case VN_OP_DECONV3D:
    return conv_ok(v);
  case VN_OP_INSTNORM:
  case VN_OP_GROUPNORM:
    return same && norm_ok(v);
  case VN_OP_SAMPLE:
    return sample_ok(v);
  case VN_OP_MAP:
    return same && function_ok(s);
  case VN_OP_BINARY:
    return same && function_ok(s) && broadcast_ok(v->in[1], v->out);
  case VN_OP_ADD:
  case VN_OP_PRELU:
    return same && broadcast_ok(v->in[1], v->out);
  case VN_OP_SOFTMAX:
  case VN_OP_LOGSOFTMAX:
    return same && softmax_ok(&s->u.axis);
  case VN_OP_ARGMAX:
    return argmax_ok(v);
  case VN_OP_COPY:
    return copy_ok(v);
  default:
    return same;
  }
}

static bool types_ok(const struct view *v) {
  uint32_t out = v->out->dtype;
  if (v->step->op == VN_OP_CONST) return out == VN_F32;
  uint32_t in = v->in[0]->dtype;
  switch (v->step->op) {
  case VN_OP_COPY:
    return in == out;
  case VN_OP_CAST:
    return in != out;
  case VN_OP_ARGMAX:
    return in == VN_F32 && out == VN_I32;
  default:
    return in == VN_F32 && out == VN_F32 && (!v->in[1] || v->in[1]->dtype == VN_F32);
  }
}

/* ---- what is written against what is read ---- */

static uint64_t tensor_end(const struct plan_tensor *t) {
  uint64_t pixels = t->dim[VN_N] * t->dim[VN_D] * t->dim[VN_H] * t->dim[VN_W];
  return t->offset + 4 * ((pixels - 1) * t->pixel_stride + t->dim[VN_C]);
}

static bool tensors_apart(const struct plan_tensor *a, const struct plan_tensor *b) {
  if (tensor_end(a) <= b->offset || tensor_end(b) <= a->offset) return true;
  if (a->pixel_stride != b->pixel_stride) return false;
  if (b->offset < a->offset) {
    const struct plan_tensor *swap = a;
    a = b;
    b = swap;
  }
  uint64_t shift = (b->offset - a->offset) / 4 % a->pixel_stride;
  return shift >= a->dim[VN_C] && shift + b->dim[VN_C] <= a->pixel_stride;
}

static bool in_place_ok(const struct plan_step *s, int input) {
  switch (s->op) {
  case VN_OP_CONV3D:
  case VN_OP_DECONV3D:
    return input == 1;
  case VN_OP_ADD:
  case VN_OP_INSTNORM:
  case VN_OP_GROUPNORM:
    return true;
  case VN_OP_ACT:
  case VN_OP_AFFINE:
  case VN_OP_MAP:
  case VN_OP_BINARY:
  case VN_OP_PRELU:
    return input == 0;
  default:
    return false;
  }
}

static bool overlap_ok(const struct view *v) {
  for (int i = 0; i < 2; i++) {
    const struct plan_tensor *t = v->in[i];
    if (!t || tensors_apart(t, v->out)) continue;
    if (!in_place_ok(v->step, i) || t->offset != v->out->offset ||
        t->pixel_stride != v->out->pixel_stride || !dims_equal(t, v->out))
      return false;
  }
  return true;
}

/* ---- */

static const char *step_fault(const struct vn_plan *p, size_t index, struct table *tables) {
  const struct plan_step *s = &p->steps[index];
  struct view v = {.plan = p, .step = s, .tables = tables};
  if (!op_ok(s)) return "an op or algorithm that this library does not know";
  if (s->name >= p->header->strings.count || !second_input_ok(s) ||
      !tensor_alive(p, s->out, index, &v.out) ||
      (s->op == VN_OP_CONST ? s->in[0] != VN_NONE : !tensor_alive(p, s->in[0], index, &v.in[0])) ||
      (s->in[1] != VN_NONE && !tensor_alive(p, s->in[1], index, &v.in[1])))
    return "a tensor that is not there";
  if (!weights_ok(&v)) return "a weight that is not there or has another shape";
  if (!acts_ok(&v)) return "an activation that does not belong there";
  if (!types_ok(&v)) return "a tensor of the wrong type";
  if (!shapes_ok(&v)) return "shapes that do not fit together";
  if (!unused_words_zero(&v)) return "reserved fields in use";
  if (!overlap_ok(&v)) return "an output that overlaps an input";
  return NULL;
}

enum vn_status vn_plan_check_steps(const struct vn_plan *plan, struct vn_diag *diag) {
  struct table *tables = calloc(plan->header->weights.count + 1, sizeof *tables);
  if (!tables) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  enum vn_status status = VN_OK;
  for (size_t i = 0; i < plan->header->steps.count && !status; i++) {
    const char *fault = step_fault(plan, i, tables);
    if (fault)
      status = vn_fail(diag, VN_E_FORMAT, "step %zu of the plan (%s) has %s", i,
                       vn_op_text(plan->steps[i].op), fault);
  }
  free(tables);
  return status;
}

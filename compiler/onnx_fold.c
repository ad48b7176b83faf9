/* The arithmetic that exporters leave around shapes, evaluated at compile time: operators all of
 * whose inputs are known. Weights, too, pass through Reshape, Transpose and the like. */
#include "onnx_fold.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum vn_status vnc_fold_start(struct vnc_folding *f, bool is_float, size_t rank,
                              const uint64_t *dim) {
  uint64_t elems = 1;
  if (rank > VNC_TENSOR_RANK) return vnc_op_fail(f->op, VN_E_UNSUPPORTED, "rank %zu", rank);
  for (size_t i = 0; i < rank; i++) {
    if (dim[i] && elems > VNC_FOLD_MOST / dim[i])
      return vnc_op_fail(f->op, VN_E_UNSUPPORTED, "its constant result is too large");
    elems *= dim[i];
  }
  enum vn_status status = vnc_import_touch(f->op->im, elems);
  if (status) return status;
  if (!vnc_tensor_alloc(&f->out, is_float, rank, dim))
    return vnc_op_fail(f->op, VN_E_MEMORY, "out of memory for its constant result");
  return VN_OK;
}

enum vn_status vnc_fold_need(const struct vnc_folding *f, size_t least) {
  for (size_t i = 0; i < least; i++)
    if (i >= f->n || !f->op->in[i]) return vnc_op_fail(f->op, VN_E_FORMAT, "an input is missing");
  return VN_OK;
}

void vnc_fold_copy(struct vnc_folding *f, uint64_t to, const struct vnc_tensor *t, uint64_t from) {
  if (t->is_float)
    f->out.f[to] = t->f[from];
  else
    f->out.i[to] = t->i[from];
}

void vnc_fold_unravel(const struct vnc_tensor *t, uint64_t index, uint64_t at[VNC_TENSOR_RANK]) {
  for (size_t i = t->rank; i-- > 0;) {
    at[i] = index % t->dim[i];
    index /= t->dim[i];
  }
}

uint64_t vnc_fold_ravel(const struct vnc_tensor *t, const uint64_t *at, size_t rank) {
  uint64_t index = 0;
  for (size_t i = 0; i < t->rank; i++)
    index = index * t->dim[i] + at[rank - t->rank + i] % t->dim[i];
  return index;
}

/* ---- elementwise ---- */

static enum vn_status broadcast_dims(struct vnc_folding *f, size_t n, size_t *rank, uint64_t *dim) {
  *rank = 0;
  for (size_t k = 0; k < n; k++)
    if (f->in[k].rank > *rank) *rank = f->in[k].rank;
  for (size_t i = 0; i < *rank; i++) dim[i] = 1;
  for (size_t k = 0; k < n; k++)
    for (size_t i = 0; i < f->in[k].rank; i++) {
      uint64_t *d = &dim[*rank - f->in[k].rank + i], other = f->in[k].dim[i];
      if (*d != other && *d != 1 && other != 1)
        return vnc_op_fail(f->op, VN_E_FORMAT, "its constant inputs do not fit each other");
      if (*d == 1) *d = other;
    }
  return VN_OK;
}

static int64_t wrapping(char what, int64_t a, int64_t b) {
  uint64_t x = (uint64_t)a, y = (uint64_t)b;
  return (int64_t)(what == '+' ? x + y : what == '-' ? x - y : x * y);
}

static bool combine(char what, const struct vnc_tensor *a, uint64_t i, const struct vnc_tensor *b,
                    uint64_t j, struct vnc_tensor *out, uint64_t k) {
  if (what == '=') {
    out->i[k] = a->is_float ? a->f[i] == b->f[j] : a->i[i] == b->i[j];
  } else if (a->is_float) {
    float x = a->f[i], y = b->f[j];
    switch (what) {
    case '+':
      out->f[k] = x + y;
      break;
    case '-':
      out->f[k] = x - y;
      break;
    case '*':
      out->f[k] = x * y;
      break;
    case '/':
      out->f[k] = x / y;
      break;
    case '<':
      out->f[k] = x < y ? x : y;
      break;
    default:
      out->f[k] = x > y ? x : y;
    }
  } else {
    int64_t x = a->i[i], y = b->i[j];
    if (what == '/' && (y == 0 || (x == INT64_MIN && y == -1))) return false;
    switch (what) {
    case '/':
      out->i[k] = x / y;
      break;
    case '<':
      out->i[k] = x < y ? x : y;
      break;
    case '>':
      out->i[k] = x > y ? x : y;
      break;
    default:
      out->i[k] = wrapping(what, x, y);
    }
  }
  return true;
}

/* Of two inputs; Sum, Min and Max: of any number. */
static enum vn_status fold_binary(struct vnc_folding *f, char what) {
  uint64_t dim[VNC_TENSOR_RANK], at[VNC_TENSOR_RANK];
  size_t rank, n = f->n;
  bool any = what == '+' || what == '<' || what == '>';
  enum vn_status status = vnc_fold_need(f, any ? (n ? n : 1) : 2);
  if (!status && !any && n != 2)
    status = vnc_op_fail(f->op, VN_E_FORMAT, "it has %zu inputs, 2 expected", n);
  for (size_t j = 1; !status && j < n; j++)
    if (f->in[j].is_float != f->in[0].is_float)
      status = vnc_op_fail(f->op, VN_E_FORMAT, "its inputs differ in type");
  if (!status) status = broadcast_dims(f, n, &rank, dim);
  if (!status) status = vnc_fold_start(f, f->in[0].is_float && what != '=', rank, dim);
  for (uint64_t k = 0; !status && k < f->out.elems; k++) {
    bool good = true;
    vnc_fold_unravel(&f->out, k, at);
    if (n == 1) vnc_fold_copy(f, k, &f->in[0], k);
    for (size_t j = 1; good && j < n; j++)
      good = combine(what, j == 1 ? &f->in[0] : &f->out,
                     j == 1 ? vnc_fold_ravel(&f->in[0], at, rank) : k, &f->in[j],
                     vnc_fold_ravel(&f->in[j], at, rank), &f->out, k);
    if (!good) status = vnc_op_fail(f->op, VN_E_FORMAT, "a division by zero");
  }
  return status;
}

static enum vn_status fold_where(struct vnc_folding *f) {
  uint64_t dim[VNC_TENSOR_RANK], at[VNC_TENSOR_RANK];
  size_t rank;
  enum vn_status status = vnc_fold_need(f, 3);
  if (!status && f->in[1].is_float != f->in[2].is_float)
    status = vnc_op_fail(f->op, VN_E_FORMAT, "its inputs differ in type");
  if (!status) status = broadcast_dims(f, 3, &rank, dim);
  if (!status) status = vnc_fold_start(f, f->in[1].is_float, rank, dim);
  for (uint64_t k = 0; !status && k < f->out.elems; k++) {
    vnc_fold_unravel(&f->out, k, at);
    bool yes = vnc_tensor_at(&f->in[0], vnc_fold_ravel(&f->in[0], at, rank)) != 0;
    const struct vnc_tensor *t = &f->in[yes ? 1 : 2];
    vnc_fold_copy(f, k, t, vnc_fold_ravel(t, at, rank));
  }
  return status;
}

static enum vn_status fold_unary(struct vnc_folding *f, double (*fn)(double)) {
  enum vn_status status = vnc_fold_need(f, 1);
  if (!status) status = vnc_fold_start(f, f->in[0].is_float, f->in[0].rank, f->in[0].dim);
  for (uint64_t k = 0; !status && k < f->out.elems; k++)
    vnc_tensor_set(&f->out, k, fn(vnc_tensor_at(&f->in[0], k)));
  return status;
}

static double negate(double x) {
  return -x;
}

static enum vn_status fold_cast(struct vnc_folding *f) {
  enum { FLOAT = 1, FLOAT16 = 10, DOUBLE = 11, BOOL = 9, BFLOAT16 = 16 };
  int64_t to = vnc_op_int(f->op, "to", 0);
  bool real = to == FLOAT || to == FLOAT16 || to == DOUBLE || to == BFLOAT16;
  enum vn_status status = vnc_fold_need(f, 1);
  if (!status && (to < 1 || to > BFLOAT16 || to == 8))
    status = vnc_op_fail(f->op, VN_E_UNSUPPORTED, "to type %lld", (long long)to);
  if (!status) status = vnc_fold_start(f, real, f->in[0].rank, f->in[0].dim);
  for (uint64_t k = 0; !status && k < f->out.elems; k++) {
    if (real)
      f->out.f[k] = (float)vnc_tensor_at(&f->in[0], k);
    else if (to == BOOL)
      f->out.i[k] = vnc_tensor_at(&f->in[0], k) != 0;
    else if (f->in[0].is_float)
      vnc_tensor_set(&f->out, k, trunc((double)f->in[0].f[k]));
    else
      f->out.i[k] = f->in[0].i[k];
  }
  return status;
}

/* ---- making and joining ---- */

static enum vn_status fold_constant(struct vnc_folding *f) {
  const struct vnc_op *op = f->op;
  const Onnx__AttributeProto *a;
  const uint64_t one = 1;
  if ((a = vnc_op_attribute(op, "value")) && a->t) {
    enum vn_status status =
        vnc_tensor_decode(a->t, &op->im->source, op->name, &f->out, op->im->diag);
    return status ? status : vnc_import_touch(op->im, f->out.elems);
  }
  bool is_float = (a = vnc_op_attribute(op, "value_float")) != NULL;
  if (is_float || (a = vnc_op_attribute(op, "value_int"))) {
    enum vn_status status = vnc_fold_start(f, is_float, 0, &one);
    if (!status && is_float)
      f->out.f[0] = a->f;
    else if (!status)
      f->out.i[0] = a->i;
    return status;
  }
  is_float = (a = vnc_op_attribute(op, "value_floats")) != NULL;
  if (!is_float && !(a = vnc_op_attribute(op, "value_ints")))
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "a constant that is neither tensor nor number");
  const uint64_t n = is_float ? a->n_floats : a->n_ints;
  enum vn_status status = vnc_fold_start(f, is_float, 1, &n);
  if (!status && n && is_float)
    memcpy(f->out.f, a->floats, n * sizeof *f->out.f);
  else if (!status && n)
    memcpy(f->out.i, a->ints, n * sizeof *f->out.i);
  return status;
}

enum vn_status vnc_fold_sizes(const struct vnc_folding *f, const struct vnc_tensor *t,
                              uint64_t dim[VNC_TENSOR_RANK]) {
  if (t->is_float || t->elems > VNC_TENSOR_RANK)
    return vnc_op_fail(f->op, VN_E_FORMAT, "a shape that is none");
  for (size_t i = 0; i < t->elems; i++) {
    if (t->i[i] < 0) return vnc_op_fail(f->op, VN_E_FORMAT, "a negative size");
    dim[i] = (uint64_t)t->i[i];
  }
  return VN_OK;
}

static enum vn_status fold_constant_of_shape(struct vnc_folding *f) {
  const Onnx__AttributeProto *a = vnc_op_attribute(f->op, "value");
  struct vnc_tensor value = {.is_float = true};
  uint64_t dim[VNC_TENSOR_RANK];
  enum vn_status status = vnc_fold_need(f, 1);
  if (!status) status = vnc_fold_sizes(f, &f->in[0], dim);
  if (!status && a && a->t)
    status = vnc_tensor_decode(a->t, &f->op->im->source, f->op->name, &value, f->op->im->diag);
  if (!status && value.elems > 1)
    status = vnc_op_fail(f->op, VN_E_FORMAT, "its value is no scalar");
  if (!status) status = vnc_fold_start(f, value.is_float, f->in[0].elems, dim);
  for (uint64_t k = 0; !status && value.elems && k < f->out.elems; k++)
    vnc_fold_copy(f, k, &value, 0);
  vnc_tensor_free(&value);
  return status;
}

static enum vn_status fold_range(struct vnc_folding *f) {
  enum vn_status status = vnc_fold_need(f, 3);
  if (status) return status;
  for (size_t i = 0; i < 3; i++)
    if (f->in[i].elems != 1 || f->in[i].is_float != f->in[0].is_float)
      return vnc_op_fail(f->op, VN_E_FORMAT, "start, limit and step are no scalars of one type");
  double first = vnc_tensor_at(&f->in[0], 0), limit = vnc_tensor_at(&f->in[1], 0);
  double step = vnc_tensor_at(&f->in[2], 0), count = ceil((limit - first) / step);
  if (!(count < (double)VNC_FOLD_MOST)) return vnc_op_fail(f->op, VN_E_FORMAT, "an endless range");
  const uint64_t n = count > 0 ? (uint64_t)count : 0;
  status = vnc_fold_start(f, f->in[0].is_float, 1, &n);
  for (uint64_t k = 0; !status && k < n; k++) vnc_tensor_set(&f->out, k, first + (double)k * step);
  return status;
}

static enum vn_status fold_reduce_prod(struct vnc_folding *f) {
  int64_t axes[VNC_TENSOR_RANK];
  size_t n;
  bool present;
  enum vn_status status = vnc_fold_need(f, 1);
  if (!status) status = vnc_op_list(f->op, "axes", 1, axes, &n, &present);
  if (!status && f->in[0].rank != 1)
    status = vnc_op_fail(f->op, VN_E_UNSUPPORTED, "a product over more than a list");
  if (!status) status = vnc_import_touch(f->op->im, f->in[0].elems);
  const uint64_t one = 1;
  if (!status)
    status = vnc_fold_start(f, f->in[0].is_float, vnc_op_int(f->op, "keepdims", 1) ? 1 : 0, &one);
  if (status) return status;
  double real = 1;
  int64_t whole = 1;
  for (uint64_t k = 0; k < f->in[0].elems; k++) {
    if (f->in[0].is_float)
      real *= (double)f->in[0].f[k];
    else
      whole = wrapping('*', whole, f->in[0].i[k]);
  }
  if (f->out.is_float)
    f->out.f[0] = (float)real;
  else
    f->out.i[0] = whole;
  return VN_OK;
}

/* ---- by name ---- */

static enum vn_status evaluate(struct vnc_folding *f) {
  static const struct {
    const char *type;
    char binary;
    double (*unary)(double);
    vnc_fold_fn *fold;
  } table[] = {{"Add", '+', NULL, NULL},
               {"Sum", '+', NULL, NULL},
               {"Sub", '-', NULL, NULL},
               {"Mul", '*', NULL, NULL},
               {"Div", '/', NULL, NULL},
               {"Min", '<', NULL, NULL},
               {"Max", '>', NULL, NULL},
               {"Equal", '=', NULL, NULL},
               {"Neg", 0, negate, NULL},
               {"Abs", 0, fabs, NULL},
               {"Floor", 0, floor, NULL},
               {"Ceil", 0, ceil, NULL},
               {"Sqrt", 0, sqrt, NULL},
               {"Constant", 0, NULL, fold_constant},
               {"ConstantOfShape", 0, NULL, fold_constant_of_shape},
               {"Where", 0, NULL, fold_where},
               {"Cast", 0, NULL, fold_cast},
               {"Concat", 0, NULL, vnc_fold_concat},
               {"Range", 0, NULL, fold_range},
               {"ReduceProd", 0, NULL, fold_reduce_prod},
               {"Gather", 0, NULL, vnc_fold_gather},
               {"Slice", 0, NULL, vnc_fold_slice},
               {"Transpose", 0, NULL, vnc_fold_transpose},
               {"Reshape", 0, NULL, vnc_fold_reshape},
               {"Tile", 0, NULL, vnc_fold_tile},
               {"Expand", 0, NULL, vnc_fold_expand},
               {"Squeeze", 0, NULL, vnc_fold_squeeze},
               {"Unsqueeze", 0, NULL, vnc_fold_unsqueeze},
               {"Split", 0, NULL, vnc_fold_split}};
  const char *type = f->op->proto->op_type;
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    if (strcmp(type, table[i].type)) continue;
    if (table[i].binary) return fold_binary(f, table[i].binary);
    return table[i].unary ? fold_unary(f, table[i].unary) : table[i].fold(f);
  }
  return vnc_op_fail(f->op, VN_E_UNSUPPORTED, "the operator is not supported on constants");
}

enum vn_status vnc_fold(const struct vnc_op *op) {
  struct vnc_folding *f = calloc(1, sizeof *f);
  enum vn_status status = VN_OK;
  if (!f) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  bool decoded[VNC_NODE_INPUTS] = {false};
  f->op = op;
  f->n = op->n_in;
  for (size_t i = 0; !status && i < op->n_in; i++) {
    if (op->in[i] && op->in[i]->kind == VNC_CONST)
      f->in[i] = op->in[i]->tensor;
    else if (op->in[i]) {
      decoded[i] = op->in[i]->kind == VNC_WEIGHT;
      status = vnc_value_tensor(op->im, op->in[i], &f->in[i]);
    }
  }
  if (!status) status = evaluate(f);
  for (size_t i = 0; i < f->n; i++) /* a new name may have moved op->in */
    if (decoded[i]) vnc_tensor_free(&f->in[i]);
  if (status)
    vnc_tensor_free(&f->out);
  else
    status = vnc_op_yield_const(op, &f->out);
  free(f);
  return status;
}

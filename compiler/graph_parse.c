/* Reads the text form back (graph_text.c tells the form). Bytes are not trusted: whatever does not
 * fit is refused with the line it stands in, and the graph that results has passed
 * vnc_graph_check. */
#include "graph.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { WORD = 1024 };

struct parse {
  const char *at;
  size_t line;
  struct vnc_graph *g;
  struct vn_diag *diag;
  bool failed;
};

static const char axes[] = "ncdhw";

static void fail(struct parse *p, const char *expected) {
  if (!p->failed)
    vn_fail(p->diag, VN_E_FORMAT, "line %zu: %s expected at '%.20s'", p->line, expected, p->at);
  p->failed = true;
}

static void skip_blanks(struct parse *p) {
  while (*p->at == ' ' || *p->at == '\t') p->at++;
}

static bool accept(struct parse *p, const char *token) {
  size_t n = strlen(token);
  if (p->failed || strncmp(p->at, token, n)) return false;
  p->at += n;
  return true;
}

static void expect(struct parse *p, const char *token) {
  if (!accept(p, token)) fail(p, token);
}

static uint64_t number(struct parse *p, uint64_t most) {
  char *end;
  if (p->failed || !isdigit((unsigned char)*p->at)) {
    fail(p, "a number");
    return 0;
  }
  errno = 0;
  unsigned long long value = strtoull(p->at, &end, 10);
  if (errno || value > most) fail(p, "a smaller number");
  p->at = end;
  return p->failed ? 0 : value;
}

static float real(struct parse *p) {
  char *end;
  float value = strtof(p->at, &end);
  if (end == p->at) fail(p, "a real number");
  p->at = end;
  return value;
}

static int hex(char c) {
  return isdigit((unsigned char)c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \x and two digits, or \ and the character itself; a zero byte ends no word, and is none. */
static char escaped(struct parse *p) {
  const char *c = p->at + 1;
  if (*c == 'x' && hex(c[1]) >= 0 && hex(c[2]) >= 0 && (c[1] != '0' || c[2] != '0')) {
    p->at += 4;
    return (char)(16 * hex(c[1]) + hex(c[2]));
  }
  if (*c && *c != '\n') p->at++;
  return *p->at++;
}

/* A word of letters, digits and ._/- or, in quotes, of anything but line ends. */
static void word(struct parse *p, char text[WORD]) {
  size_t n = 0;
  bool quoted = accept(p, "\"");
  while (!p->failed && n < WORD - 1 && *p->at && *p->at != '\n') {
    if (quoted && *p->at == '"') break;
    if (!quoted && !isalnum((unsigned char)*p->at) && !strchr("._/-", *p->at)) break;
    text[n++] = quoted && *p->at == '\\' ? escaped(p) : *p->at++;
  }
  text[n] = '\0';
  if (quoted)
    expect(p, "\"");
  else if (!n)
    fail(p, "a word");
}

static uint32_t one_of(struct parse *p, const char *text, const char *(*name)(uint32_t),
                       uint32_t count, const char *what) {
  for (uint32_t i = 0; i < count; i++)
    if (!strcmp(name(i), text)) return i;
  fail(p, what);
  return 0;
}

static uint32_t axis(struct parse *p) {
  const char *found = *p->at ? strchr(axes, *p->at) : NULL;
  if (!found) {
    fail(p, "an axis");
    return 0;
  }
  p->at++;
  return (uint32_t)(found - axes);
}

static size_t shape(struct parse *p, uint32_t *dtype, uint64_t *dim, size_t most) {
  size_t rank = 0;
  if (accept(p, "f32"))
    *dtype = VN_F32;
  else if (accept(p, "i32"))
    *dtype = VN_I32;
  else if (accept(p, "i64"))
    *dtype = VN_I64;
  else
    fail(p, "a type");
  expect(p, "[");
  while (!p->failed && !accept(p, "]")) {
    if (rank) expect(p, ",");
    if (rank == most)
      fail(p, "]");
    else
      dim[rank++] = number(p, (uint64_t)1 << 40);
  }
  return p->failed ? 0 : rank;
}

static uint32_t constant(struct parse *p) {
  char text[WORD];
  expect(p, "@");
  word(p, text);
  for (uint32_t i = 0; !p->failed && i < p->g->n_consts; i++)
    if (!strcmp(vnc_graph_text(p->g, p->g->consts[i].name), text)) return i;
  fail(p, "a declared constant");
  return 0;
}

static void three(struct parse *p, uint32_t v[3]) {
  for (int i = 0; i < 3; i++) {
    if (i) expect(p, "x");
    v[i] = (uint32_t)number(p, UINT16_MAX);
  }
}

static void activation(struct parse *p, struct vnc_act *act) {
  char text[WORD];
  word(p, text);
  act->kind = one_of(p, text, vn_act_text, VN_ACT_COUNT, "an activation");
  if (!accept(p, "(")) return;
  if (act->kind == VN_ACT_PRELU)
    act->slope = constant(p);
  else
    act->alpha = real(p);
  expect(p, ")");
}

static uint32_t axis_set(struct parse *p) {
  uint32_t set = 0;
  do set |= 1u << axis(p);
  while (!p->failed && *p->at && strchr(axes, *p->at));
  return set;
}

static void copy_axis(struct parse *p, struct vnc_node *node, uint32_t to) {
  node->in_axis[to] = axis(p);
  expect(p, "+");
  node->in_start[to] = (uint32_t)number(p, UINT32_MAX - 1);
}

static void attribute(struct parse *p, struct vnc_node *node) {
  char key[WORD], text[WORD];
  word(p, key);
  expect(p, "=");
  const struct {
    const char *key;
    uint32_t *three;
  } threes[] = {{"k", node->kernel},  {"s", node->stride},  {"p", node->pad},
                {"q", node->pad_end}, {"o", node->out_pad}, {"tile", node->tile}};
  for (size_t i = 0; i < sizeof threes / sizeof *threes; i++)
    if (!strcmp(key, threes[i].key)) {
      three(p, threes[i].three);
      return;
    }
  const char *as_axis = key[0] && !key[1] ? strchr(axes, key[0]) : NULL;
  bool copies = node->op == VN_OP_COPY;
  if (as_axis && copies)
    copy_axis(p, node, (uint32_t)(as_axis - axes));
  else if (!strcmp(key, "d"))
    three(p, node->dilation);
  else if (!strcmp(key, "w"))
    node->weight = constant(p);
  else if (!strcmp(key, "b"))
    node->bias = constant(p);
  else if (!strcmp(key, "g"))
    node->groups = (uint32_t)number(p, UINT32_MAX - 1);
  else if (!strcmp(key, "act"))
    activation(p, &node->act[0]);
  else if (!strcmp(key, "post"))
    activation(p, &node->act[1]);
  else if (!strcmp(key, "axis"))
    node->axis = axis(p);
  else if (!strcmp(key, "more"))
    node->more_axes = axis_set(p);
  else if (!strcmp(key, "last"))
    node->select_last = (uint32_t)number(p, 1);
  else if (!strcmp(key, "eps"))
    node->epsilon = real(p);
  else if (!strcmp(key, "algo")) {
    word(p, text);
    node->algo = one_of(p, text, vn_algo_text, VN_ALGO_COUNT, "an algorithm");
  } else
    fail(p, "a known attribute");
}

static void node_line(struct parse *p) {
  char name[WORD], op[WORD];
  uint32_t args[64], dtype = VN_F32;
  uint64_t dim[VN_AXES];
  size_t n_args = 0;
  if (number(p, UINT32_MAX) != p->g->n_nodes) fail(p, "the next node's number");
  skip_blanks(p);
  word(p, name);
  skip_blanks(p);
  if (shape(p, &dtype, dim, VN_AXES) != VN_AXES) fail(p, "five dimensions");
  skip_blanks(p);
  expect(p, "= ");
  word(p, op);
  uint32_t op_id = one_of(p, op, vn_op_text, VN_OP_COUNT, "an op");
  skip_blanks(p);
  while (!p->failed && n_args < 64 && accept(p, "%")) {
    args[n_args++] = (uint32_t)number(p, UINT32_MAX - 1);
    skip_blanks(p);
  }
  if (p->failed) return;
  uint32_t id = vnc_graph_node(p->g, (enum vn_op)op_id, name, args, n_args);
  if (p->g->failed) return;
  memcpy(p->g->nodes[id].dim, dim, sizeof dim);
  p->g->nodes[id].dtype = dtype;
  while (!p->failed && *p->at && *p->at != '\n') {
    attribute(p, &p->g->nodes[id]);
    skip_blanks(p);
  }
}

static void port_line(struct parse *p, bool output) {
  struct vnc_port port = {0};
  char name[WORD];
  skip_blanks(p);
  word(p, name);
  port.name = vnc_graph_string(p->g, name);
  skip_blanks(p);
  expect(p, "%");
  port.node = (uint32_t)number(p, UINT32_MAX - 1);
  skip_blanks(p);
  port.rank = (uint32_t)shape(p, &port.dtype, port.dim, 6);
  skip_blanks(p);
  expect(p, "order=");
  for (size_t a = 0; a < VN_AXES; a++) port.order[a] = axis(p);
  if (p->failed) return;
  if (output)
    vnc_graph_output(p->g, &port);
  else
    vnc_graph_input(p->g, &port);
}

static void const_line(struct parse *p) {
  char name[WORD];
  uint64_t dim[5];
  uint32_t dtype = VN_F32;
  skip_blanks(p);
  expect(p, "@");
  word(p, name);
  skip_blanks(p);
  size_t rank = shape(p, &dtype, dim, 5);
  if (!rank || dtype != VN_F32) fail(p, "f32 with 1 to 5 dimensions");
  if (!p->failed) vnc_graph_const(p->g, name, rank, dim, NULL);
}

static void meta_line(struct parse *p) {
  char key[WORD], value[WORD];
  skip_blanks(p);
  word(p, key);
  skip_blanks(p);
  word(p, value);
  if (!p->failed) vnc_graph_meta(p->g, key, value);
}

static void line(struct parse *p) {
  skip_blanks(p);
  if (accept(p, "#"))
    p->at += strcspn(p->at, "\n");
  else if (accept(p, "meta "))
    meta_line(p);
  else if (accept(p, "const "))
    const_line(p);
  else if (accept(p, "in "))
    port_line(p, false);
  else if (accept(p, "out "))
    port_line(p, true);
  else if (accept(p, "%"))
    node_line(p);
  skip_blanks(p);
  if (!p->failed && *p->at && *p->at != '\n') fail(p, "the line's end");
  if (*p->at == '\n') p->at++;
  p->line++;
}

enum vn_status vnc_graph_parse(const char *text, struct vnc_graph *g, struct vn_diag *diag) {
  struct parse p = {text, 1, g, diag, false};
  vnc_graph_init(g);
  while (!p.failed && !g->failed && *p.at) line(&p);
  return p.failed ? VN_E_FORMAT : vnc_graph_check(g, diag);
}

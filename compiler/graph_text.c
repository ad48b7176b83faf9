/* The graph as text, one line for each thing, for people and for goldens; graph_parse.c is the way
 * back. An activation follows as act=prelu(@down1.a).
 *
 *   meta "vnet.patch" "64 128 128"
 *   const @down1.w f32[32,2,2,2,16]
 *   %12 "down1" f32[1,32,32,64,64] = conv3d %9 w=@down1.w b=@down1.b k=2x2x2 s=2x2x2
 *   in "scan" %0 f32[1,1,64,128,128] order=ncdhw
 *
 * What has its usual value (stride 1, no padding …) is not printed. Names that are not plain words
 * stand in quotes, with \" and \\ escaped, and bytes beyond ASCII's letters as \xff. Constants'
 * data are not part of the text. */
#include "graph.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char axes[] = "ncdhw";
static const char *const dtypes[] = {"f32", "i32", "i64"};

static bool plain(const char *text) {
  if (!*text) return false;
  for (; *text; text++)
    if (!isalnum((unsigned char)*text) && !strchr("._/-", *text)) return false;
  return true;
}

static void print_quoted(FILE *out, const char *text) {
  fputc('"', out);
  for (; *text; text++) {
    const unsigned char c = (unsigned char)*text;
    if (c < 0x20 || c > 0x7E) { /* a model's names may hold what steers a terminal */
      fprintf(out, "\\x%02x", c);
    } else {
      if (c == '"' || c == '\\') fputc('\\', out);
      fputc(c, out);
    }
  }
  fputc('"', out);
}

/* A constant's name, made unique by its id where another one has the same. */
static void print_const(const struct vnc_graph *g, uint32_t id, FILE *out) {
  const char *name = vnc_graph_text(g, g->consts[id].name);
  bool unique = true;
  for (uint32_t i = 0; i < g->n_consts; i++)
    unique = unique && (i == id || g->consts[i].name != g->consts[id].name);
  char text[1024];
  snprintf(text, sizeof text, unique ? "%.1000s" : "%.1000s/%u", name, id);
  fputc('@', out);
  if (plain(text))
    fputs(text, out);
  else
    print_quoted(out, text);
}

static void print_shape(FILE *out, uint32_t dtype, const uint64_t *dim, size_t rank) {
  fprintf(out, "%s[", dtypes[dtype]);
  for (size_t i = 0; i < rank; i++)
    fprintf(out, "%s%llu", i ? "," : "", (unsigned long long)dim[i]);
  fputc(']', out);
}

static void print_3(FILE *out, const char *key, const uint32_t v[3], uint32_t usual) {
  if (v[0] != usual || v[1] != usual || v[2] != usual)
    fprintf(out, " %s=%ux%ux%u", key, v[0], v[1], v[2]);
}

static void print_ref(const struct vnc_graph *g, const char *key, uint32_t id, FILE *out) {
  if (id == VN_NONE) return;
  fprintf(out, " %s=", key);
  print_const(g, id, out);
}

static void print_act(const struct vnc_graph *g, const char *key, const struct vnc_act *act,
                      FILE *out) {
  if (act->kind == VN_ACT_NONE) return;
  fprintf(out, " %s=%s", key, vn_act_text(act->kind));
  if (act->kind == VN_ACT_PRELU) {
    fputc('(', out);
    print_const(g, act->slope, out);
    fputc(')', out);
  }
  if (act->kind == VN_ACT_ELU || act->kind == VN_ACT_LEAKY)
    fprintf(out, "(%.9g)", (double)act->alpha);
}

static void print_function(const struct vnc_graph *g, const struct vnc_node *node, FILE *out) {
  static const char *const keys[VN_AXES] = {"tn", "tc", "td", "th", "tw"};
  if (node->span) fprintf(out, " span=%u", node->span);
  if (node->op == VN_OP_MAP)
    fprintf(out, " fn=%s(%.9g,%.9g)", vn_map_text(node->kind), (double)node->a, (double)node->b);
  if (node->op == VN_OP_BINARY) fprintf(out, " fn=%s", vn_binary_text(node->kind));
  if (node->op != VN_OP_SAMPLE) return;
  if (node->kind) fputs(" largest=1", out);
  if (node->a != 0) fprintf(out, " fill=%.9g", (double)node->a);
  for (size_t a = 0; a < VN_AXES; a++) print_ref(g, keys[a], node->table[a], out);
}

static void print_attributes(const struct vnc_graph *g, const struct vnc_node *node, FILE *out) {
  print_ref(g, "w", node->weight, out);
  print_ref(g, "b", node->bias, out);
  print_3(out, "k", node->kernel, 1);
  print_3(out, "s", node->stride, 1);
  print_3(out, "p", node->pad, 0);
  print_3(out, "q", node->pad_end, 0);
  print_3(out, "d", node->dilation, 1);
  print_3(out, "o", node->out_pad, 0);
  if (node->groups != 1) fprintf(out, " g=%u", node->groups);
  print_act(g, "act", &node->act[0], out);
  print_act(g, "post", &node->act[1], out);
  if (node->axis) fprintf(out, " axis=%c", axes[node->axis]);
  if (node->more_axes) fputs(" more=", out);
  for (size_t a = 0; a < VN_AXES; a++)
    if (node->more_axes >> a & 1) fputc(axes[a], out);
  if (node->select_last) fprintf(out, " last=1");
  if (node->epsilon != 0) fprintf(out, " eps=%.9g", (double)node->epsilon);
  for (size_t a = 0; a < VN_AXES; a++) {
    bool usual = node->in_axis[a] == a && node->in_start[a] == 0;
    if (!usual) fprintf(out, " %c=%c+%u", axes[a], axes[node->in_axis[a]], node->in_start[a]);
  }
  print_function(g, node, out);
  if (node->algo) fprintf(out, " algo=%s", vn_algo_text(node->algo));
  print_3(out, "tile", node->tile, 0);
}

static void print_port(const struct vnc_graph *g, const char *kind, const struct vnc_port *port,
                       FILE *out) {
  fprintf(out, "%s ", kind);
  print_quoted(out, vnc_graph_text(g, port->name));
  fprintf(out, " %%%u ", port->node);
  print_shape(out, port->dtype, port->dim, port->rank);
  fputs(" order=", out);
  for (size_t a = 0; a < VN_AXES; a++) fputc(axes[port->order[a]], out);
  fputc('\n', out);
}

enum vn_status vnc_graph_print(const struct vnc_graph *g, FILE *out) {
  for (size_t i = 0; i < g->n_metas; i++) {
    fputs("meta ", out);
    print_quoted(out, vnc_graph_text(g, g->metas[i].key));
    fputc(' ', out);
    print_quoted(out, vnc_graph_text(g, g->metas[i].value));
    fputc('\n', out);
  }
  for (uint32_t i = 0; i < g->n_consts; i++) {
    fputs("const ", out);
    print_const(g, i, out);
    fputc(' ', out);
    print_shape(out, VN_F32, g->consts[i].dim, g->consts[i].rank);
    fputc('\n', out);
  }
  for (uint32_t i = 0; i < g->n_nodes; i++) {
    const struct vnc_node *node = &g->nodes[i];
    fprintf(out, "%%%u ", i);
    print_quoted(out, vnc_graph_text(g, node->name));
    fputc(' ', out);
    print_shape(out, node->dtype, node->dim, VN_AXES);
    fprintf(out, " = %s", vn_op_text(node->op));
    for (size_t k = 0; k < node->n_args; k++) fprintf(out, " %%%u", vnc_graph_arg(g, node, k));
    print_attributes(g, node, out);
    fputc('\n', out);
  }
  for (size_t i = 0; i < g->n_inputs; i++) print_port(g, "in", &g->inputs[i], out);
  for (size_t i = 0; i < g->n_outputs; i++) print_port(g, "out", &g->outputs[i], out);
  return ferror(out) ? VN_E_IO : VN_OK;
}

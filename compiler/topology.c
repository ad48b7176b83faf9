/* Names the member of the family that a graph is, or the first place where it departs from the
 * nearest one. Called by compile.c on the graph as the importer left it; topology_read.c finds the
 * stages, family.c knows what they should be. */
#include "compile.h"
#include "topology.h"

#include <stdarg.h>
#include <string.h>

/* One member held against what was found. */
struct match {
  const struct vnc_graph *g;
  const struct vnc_found *f;
  struct vnc_spec spec;
  uint32_t departures;
  char first[360];
};

__attribute__((format(printf, 3, 4))) static void depart(struct match *m, uint32_t weight,
                                                         const char *format, ...) {
  if (!m->departures) {
    va_list args;
    va_start(args, format);
    vsnprintf(m->first, sizeof m->first, format, args);
    va_end(args);
  }
  m->departures += weight;
}

/* " (nodes Conv_41, Conv_43)"; nothing for none. */
static const char *units_text(const struct match *m, const struct vnc_unit *units, size_t n,
                              char text[200]) {
  text[0] = 0;
  size_t used = 0;
  for (size_t i = 0; i < n && used < 200; i++) {
    char name[64];
    const char *before = i ? ", " : n > 1 ? " (nodes " : " (node ";
    vnc_topology_name(m->g, units[i].conv, name);
    used += (size_t)snprintf(text + used, 200 - used, "%s%s", before, name);
  }
  if (n && used < 200) snprintf(text + used, 200 - used, ")");
  return text;
}

static uint32_t unit_channels_in(const struct match *m, const struct vnc_unit *unit) {
  return (uint32_t)m->g->nodes[vnc_graph_arg(m->g, &m->g->nodes[unit->conv], 0)].dim[VN_C];
}

/* "3x3x3 64->64 stride 2x2x2": what is out of the ordinary, only when it is. */
static const char *conv_text(const struct match *m, const struct vnc_unit *unit, char text[160]) {
  const struct vnc_node *c = &m->g->nodes[unit->conv];
  const struct {
    const char *name;
    const uint32_t *of;
    bool shown;
  } extra[] = {
      {"stride", c->stride, c->stride[0] != 1 || c->stride[1] != 1 || c->stride[2] != 1},
      {"dilation", c->dilation, c->dilation[0] != 1 || c->dilation[1] != 1 || c->dilation[2] != 1},
      {"pads", c->pad,
       c->stride[0] == 1 && (c->pad[0] != c->kernel[0] / 2 || c->pad[1] != c->kernel[1] / 2 ||
                             c->pad[2] != c->kernel[2] / 2)},
  };
  size_t used = (size_t)snprintf(
      text, 160, "%s%ux%ux%u %u->%u", c->op == VN_OP_DECONV3D ? "up-convolution " : "",
      c->kernel[0], c->kernel[1], c->kernel[2], unit_channels_in(m, unit), (unsigned)c->dim[VN_C]);
  for (size_t i = 0; i < 3 && used < 160; i++) {
    if (!extra[i].shown) continue;
    const uint32_t *of = extra[i].of;
    used += (size_t)snprintf(text + used, 160 - used, " %s %ux%ux%u", extra[i].name, of[0], of[1],
                             of[2]);
  }
  if (c->groups > 1 && used < 160) snprintf(text + used, 160 - used, " in %u groups", c->groups);
  return text;
}

struct expected {
  enum vn_op op;
  uint32_t kernel, stride, in, out, act;
};

static void act_compare(struct match *m, const char *where, uint32_t node, uint32_t found,
                        uint32_t expected) {
  if (found == expected) return;
  char name[64];
  depart(m, 1, "%s: %s after it expected, %s found (node %s)", where,
         expected == VN_ACT_NONE ? "no activation" : vn_act_text(expected), vn_act_text(found),
         vnc_topology_name(m->g, node, name));
}

static void unit_compare(struct match *m, const char *where, const struct vnc_unit *unit,
                         const struct expected *e) {
  const struct vnc_node *c = &m->g->nodes[unit->conv];
  bool same = c->op == e->op && c->groups == 1 && unit_channels_in(m, unit) == e->in &&
              c->dim[VN_C] == e->out;
  for (int a = 0; a < 3; a++) {
    uint32_t pad = e->stride > 1 ? 0 : e->kernel / 2;
    same = same && c->kernel[a] == e->kernel && c->stride[a] == e->stride && c->dilation[a] == 1 &&
           c->pad[a] == pad && c->pad_end[a] == pad && !c->out_pad[a];
  }
  char text[160], node[200];
  if (!same) {
    depart(m, 1, "%s: %s%ux%ux%u %u->%u%s expected, %s found%s", where,
           e->op == VN_OP_DECONV3D ? "up-convolution " : "", e->kernel, e->kernel, e->kernel, e->in,
           e->out, e->stride > 1 ? " stride 2x2x2" : "", conv_text(m, unit, text),
           units_text(m, unit, 1, node));
  }
  act_compare(m, where, unit->conv, unit->act, e->act);
}

/* A stage's convolutions, of which the first reads `in` channels, and its sum. */
static void stage_compare(struct match *m, const char *where, const struct vnc_stage *stage,
                          uint32_t count, uint32_t in, uint32_t channels, bool last_act) {
  const struct vnc_spec *s = &m->spec;
  char text[200];
  size_t found = stage->n_convs;
  if (found != count) {
    depart(m, (uint32_t)(found > count ? found - count : count - found),
           "%s: %u convolution%s 5x5x5 %u->%u expected, %zu found%s", where, count,
           count == 1 ? "" : "s", in, channels, found, units_text(m, stage->convs, found, text));
  }
  for (uint32_t i = 0; i < found && i < count; i++) {
    bool act = i + 1 < count || last_act;
    struct expected e = {VN_OP_CONV3D,      5,        1,
                         i ? channels : in, channels, act ? s->act : VN_ACT_NONE};
    snprintf(text, sizeof text, "%s, convolution %u", where, i + 1);
    unit_compare(m, text, &stage->convs[i], &e);
  }
  char name[64];
  if (stage->sum == VN_NONE) {
    depart(m, 1, "%s: a sum with the stage's input expected, none found (node %s)", where,
           vnc_topology_name(m->g, stage->out, name));
    return;
  }
  if (vnc_topology_peel(m->g, stage->residual) != stage->in) {
    depart(m, 1, "%s: a sum with the stage's input expected, one with node %s found", where,
           vnc_topology_name(m->g, stage->residual, name));
  }
  snprintf(text, sizeof text, "%s, sum", where);
  act_compare(m, text, stage->sum, stage->sum_act, s->sum_act ? s->act : VN_ACT_NONE);
}

static void left_compare(struct match *m) {
  const struct vnc_spec *s = &m->spec;
  for (uint32_t i = 0; i < s->stages; i++) {
    const struct vnc_stage *stage = &m->f->left[i];
    uint32_t channels = s->width << i;
    char where[32];
    snprintf(where, sizeof where, "left %u", i + 1);
    stage_compare(m, where, stage, s->left[i], i ? channels : s->in_channels, channels,
                  i ? s->last_act : s->first_act);
    if (i + 1 == s->stages) break;
    snprintf(where, sizeof where, "down %u", i + 1);
    unit_compare(m, where, &stage->move,
                 &(struct expected){VN_OP_CONV3D, 2, 2, channels, 2 * channels, s->act});
  }
}

static void right_compare(struct match *m) {
  const struct vnc_spec *s = &m->spec;
  for (uint32_t i = s->stages - 1; i-- > 0;) {
    const struct vnc_stage *stage = &m->f->right[i];
    uint32_t channels = s->width << i;
    char where[32], name[64];
    snprintf(where, sizeof where, "right %u up", i + 1);
    uint32_t below = i + 2 == s->stages ? 2 * channels : 4 * channels;
    unit_compare(m, where, &stage->move,
                 &(struct expected){VN_OP_DECONV3D, 2, 2, below, channels, s->act});
    snprintf(where, sizeof where, "right %u", i + 1);
    if (stage->skip != m->f->left[i].out) {
      depart(m, 1, "%s: a concat with left %u expected, one with node %s found", where, i + 1,
             vnc_topology_name(m->g, stage->skip, name));
    }
    stage_compare(m, where, stage, s->right[i], 2 * channels, 2 * channels, s->last_act);
  }
}

static void head_compare(struct match *m) {
  const struct vnc_spec *s = &m->spec;
  const struct vnc_found *f = m->f;
  size_t count = s->wide_head ? 2 : 1;
  uint32_t in = 2 * s->width;
  if (f->n_head != count) {
    char text[200];
    depart(m, 1, "out: %s1x1x1 to the classes expected, %zu convolution%s found%s",
           s->wide_head ? "convolutions 5x5x5 and " : "one convolution ", f->n_head,
           f->n_head == 1 ? "" : "s", units_text(m, f->head, f->n_head, text));
    return;
  }
  if (s->wide_head) {
    unit_compare(m, "out, convolution 1", &f->head[0],
                 &(struct expected){VN_OP_CONV3D, 5, 1, in, s->classes, s->act});
    in = s->classes;
  }
  const struct vnc_unit *last = &f->head[count - 1];
  bool act = s->out_act || (s->out_act_open && last->act == s->act);
  unit_compare(m, "out", last,
               &(struct expected){VN_OP_CONV3D, 1, 1, in, s->classes, act ? s->act : VN_ACT_NONE});
}

/* The activation that the network seems to use: the first one in it. */
static uint32_t act_found(const struct vnc_found *f) {
  const struct vnc_stage *first = &f->left[0];
  for (size_t i = 0; i < first->n_convs; i++) {
    if (first->convs[i].act) return first->convs[i].act;
  }
  return first->sum_act ? first->sum_act : first->move.act;
}

static void member_compare(struct match *m, const struct vnc_graph *g, const struct vnc_found *f,
                           const char *member) {
  struct vnc_spec *s = &m->spec;
  *m = (struct match){.g = g, .f = f};
  if (vnc_spec_init(s, member, (uint32_t)f->n_left, NULL)) { /* see stages_check */
    m->departures = UINT32_MAX;
    return;
  }
  s->width = (uint32_t)g->nodes[f->left[0].out].dim[VN_C];
  s->in_channels = (uint32_t)g->nodes[f->input].dim[VN_C];
  if (f->n_head) s->classes = (uint32_t)g->nodes[f->head[f->n_head - 1].conv].dim[VN_C];
  uint32_t act = act_found(f);
  if (act == VN_ACT_PRELU || (act == VN_ACT_ELU && s->elu)) s->act = act;
  left_compare(m);
  right_compare(m);
  head_compare(m);
}

static enum vn_status stages_check(const struct vnc_found *f, struct vn_diag *diag) {
  if (f->n_right + 1 != f->n_left)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "no V-Net: one stage less coming up than going down expected, %zu and %zu found",
                   f->n_right, f->n_left);
  if (f->n_left < VNC_STAGES_LEAST)
    return vn_fail(diag, VN_E_UNSUPPORTED, "no V-Net: %d stages at least expected, %zu found",
                   VNC_STAGES_LEAST, f->n_left);
  return VN_OK;
}

/* Norms by the image's own statistics, if there are any. */
static const char *own_norms(const struct vnc_graph *g) {
  const char *text = "";
  for (size_t i = 0; i < g->n_nodes; i++) {
    if (g->nodes[i].op != VN_OP_INSTNORM) continue;
    if (g->nodes[i].span) return " norm=group";
    text = " norm=instance";
  }
  return text;
}

/* monai and mattmacy differ in biases alone, which BatchNorm swallows when an exporter folds it,
 * and in what users put behind them. */
static bool looks_like_mattmacy(const struct vnc_graph *g, const struct vnc_found *f) {
  const struct vnc_stage *stage = &f->right[0];
  if (!stage->n_convs || !stage->convs[0].norm) return f->softmax;
  return g->nodes[stage->convs[0].conv].bias != VN_NONE;
}

enum vn_status vnc_topology(const struct vnc_graph *g, const char *wanted, char *text, size_t size,
                            struct vn_diag *diag) {
  if (wanted && !strcmp(wanted, "any")) {
    snprintf(text, size, "any");
    return VN_OK;
  }
  struct vnc_spec known;
  enum vn_status status = wanted ? vnc_spec_init(&known, wanted, 0, diag) : VN_OK;
  if (status) return status;
  struct vnc_found f;
  if ((status = vnc_topology_read(g, &f, diag)) || (status = stages_check(&f, diag))) return status;
  struct match best = {.departures = UINT32_MAX}, m;
  const char *member;
  for (size_t i = 0; (member = vnc_family_member(i)); i++) {
    if (wanted && strcmp(wanted, member)) continue;
    member_compare(&m, g, &f, member);
    bool twin = m.departures == best.departures && !strcmp(best.spec.member, "monai") &&
                !strcmp(member, "mattmacy") && looks_like_mattmacy(g, &f);
    if (m.departures < best.departures || twin) best = m;
  }
  if (best.departures) {
    return vn_fail(diag, VN_E_UNSUPPORTED, "not a %s: %s", best.spec.member, best.first);
  }
  vnc_spec_text(&best.spec, text, size);
  const size_t used = strlen(text);
  snprintf(text + used, size - used, "%s", own_norms(g));
  return VN_OK;
}

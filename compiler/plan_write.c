/* Writes the plan's bytes: the mirror of runtime/plan_load.c, both told by schemas/plan.md. The
 * graph has been through every pass. LEAKY and PReLU of one slope are written with a slope for each
 * channel; a concat along c, whose parts lie in place, needs no step. */
#include "ends.h"
#include "memplan.h"

#include "plan.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdlib.h>
#include <string.h>

#define PRODUCER "vnetc " VNET_VERSION

/* One slope for all channels is written out for each: numbers beyond those in the model. */
static const uint64_t MADE_MOST = (uint64_t)1 << 26;

struct blob { /* a growing table */
  void *data;
  size_t bytes, cap;
};

struct writer {
  const struct vnc_graph *g;
  const struct vnc_memplan *m;
  struct blob tensors, steps, weights, strings;
  float **made;        /* slopes that the graph does not hold as such; freed at the end */
  const float **data;  /* data of each weight record */
  uint32_t *weight_of; /* weight record of each constant, or VN_NONE */
  uint32_t *first_step, *last_step; /* of each node; a node may yield several steps or none */
  size_t n_made, n_data;
  uint64_t made_elems; /* of slopes, see MADE_MOST */
  struct vnc_index string_ids, weight_ids;
  bool failed;
};

static void *append(struct writer *w, struct blob *b, const void *record, size_t bytes) {
  if (b->bytes + bytes > b->cap) {
    size_t cap = b->cap * 2 > b->bytes + bytes ? b->cap * 2 : b->bytes + bytes + 256;
    void *bigger = realloc(b->data, cap);
    if (!bigger) {
      w->failed = true;
      return NULL;
    }
    b->data = bigger;
    b->cap = cap;
  }
  void *at = (char *)b->data + b->bytes;
  memcpy(at, record, bytes);
  b->bytes += bytes;
  return at;
}

static void note(struct writer *w, struct vnc_index *index, uint64_t hash, uint32_t id) {
  if (!vnc_index_add(index, hash, id)) w->failed = true;
}

static uint32_t string(struct writer *w, const char *text) {
  const size_t bytes = strlen(text) + 1;
  const uint64_t hash = vnc_index_hash(&w->string_ids, text, bytes);
  uint32_t id;
  for (size_t at = 0; (id = vnc_index_next(&w->string_ids, hash, &at)) != VN_NONE;)
    if (!strcmp((char *)w->strings.data + id, text)) return id;
  if (!append(w, &w->strings, text, bytes)) return 0;
  id = (uint32_t)(w->strings.bytes - bytes);
  note(w, &w->string_ids, hash, id);
  return id;
}

/* ---- weights ---- */

static uint32_t weight_record(struct writer *w, const char *name, size_t rank, const uint64_t *dim,
                              const float *data) {
  struct plan_weight record = {.name = string(w, name), .dtype = VN_F32, .rank = (uint32_t)rank};
  uint64_t elems = 1;
  for (size_t i = 0; i < VN_AXES; i++) {
    record.dim[i] = i < rank ? dim[i] : 1;
    elems *= record.dim[i];
  }
  record.bytes = 4 * elems;
  uint64_t hash = vnc_index_hash(&w->weight_ids, record.dim, sizeof record.dim);
  hash = vnc_index_mix(&w->weight_ids, hash, data, record.bytes);
  const struct plan_weight *table = w->weights.data;
  uint32_t id;
  for (size_t at = 0; (id = vnc_index_next(&w->weight_ids, hash, &at)) != VN_NONE;)
    if (table[id].rank == record.rank && !memcmp(table[id].dim, record.dim, sizeof record.dim) &&
        (w->data[id] == data || !memcmp(w->data[id], data, record.bytes)))
      return id;
  if (!append(w, &w->weights, &record, sizeof record)) return VN_NONE;
  w->data[w->n_data] = data;
  note(w, &w->weight_ids, hash, (uint32_t)w->n_data);
  return (uint32_t)w->n_data++;
}

static uint32_t weight(struct writer *w, uint32_t id) {
  if (id == VN_NONE) return VN_NONE;
  const struct vnc_const *c = &w->g->consts[id];
  if (w->weight_of[id] == VN_NONE)
    w->weight_of[id] = weight_record(w, vnc_graph_text(w->g, c->name), c->rank, c->dim, c->data);
  return w->weight_of[id];
}

/* PReLU's slopes, one for each channel, from a constant of one or of all, or from LEAKY's alpha. */
static uint32_t slopes(struct writer *w, const struct vnc_act *act, uint64_t channels) {
  const struct vnc_const *c = act->kind == VN_ACT_PRELU ? &w->g->consts[act->slope] : NULL;
  if (c && c->dim[0] == channels) return weight(w, act->slope);
  w->made_elems += channels;
  float *data = w->made_elems <= MADE_MOST ? malloc(channels * sizeof *data) : NULL;
  if (!data) {
    w->failed = true;
    return VN_NONE;
  }
  for (uint64_t i = 0; i < channels; i++) data[i] = c ? c->data[0] : act->alpha;
  const size_t before = w->n_data;
  const uint32_t id =
      weight_record(w, c ? vnc_graph_text(w->g, c->name) : "leaky", 1, &channels, data);
  if (w->n_data > before)
    w->made[w->n_made++] = data;
  else
    free(data);
  return id;
}

/* ---- steps ---- */

static void fill_acts(struct writer *w, struct plan_step *s, const struct vnc_node *node) {
  for (int i = 0; i < 2; i++) {
    const struct vnc_act *act = &node->act[i];
    bool sloped = act->kind == VN_ACT_PRELU || act->kind == VN_ACT_LEAKY;
    s->act[i] = sloped ? VN_ACT_PRELU : act->kind;
    s->slope[i] = sloped ? slopes(w, act, node->dim[VN_C]) : VN_NONE;
    s->alpha[i] = act->kind == VN_ACT_ELU ? act->alpha : 0;
  }
}

static void fill_conv(struct plan_conv *c, const struct vnc_node *node) {
  for (int i = 0; i < 3; i++) {
    c->kernel[i] = node->kernel[i];
    c->stride[i] = node->stride[i];
    c->pad[i] = node->pad[i];
    c->dilation[i] = node->dilation[i];
    c->tile[i] = node->tile[i];
  }
  c->groups = node->groups;
}

static struct plan_step step_of(struct writer *w, uint32_t id) {
  const struct vnc_node *node = &w->g->nodes[id];
  struct plan_step s = {.op = node->op,
                        .algo = node->algo,
                        .name = string(w, vnc_graph_text(w->g, node->name)),
                        .out = id,
                        .in = {vnc_graph_arg(w->g, node, 0), vnc_graph_arg(w->g, node, 1)},
                        .weight = weight(w, node->weight),
                        .bias = weight(w, node->bias),
                        .epsilon = node->op == VN_OP_INSTNORM ? node->epsilon : 0,
                        .macs = vnc_node_macs(w->g, id),
                        .predicted_ns = node->predicted_ns};
  fill_acts(w, &s, node);
  return s;
}

/* A concat along another axis than c: each part is copied to its place. */
static void append_parts(struct writer *w, uint32_t id) {
  const struct vnc_node *node = &w->g->nodes[id];
  uint32_t start = 0;
  for (size_t k = 0; k < node->n_args; k++) {
    struct plan_step s = step_of(w, id);
    const struct vnc_node *part = &w->g->nodes[vnc_graph_arg(w->g, node, k)];
    s.op = VN_OP_COPY;
    s.in[0] = vnc_graph_arg(w->g, node, k);
    s.in[1] = VN_NONE;
    for (uint32_t a = 0; a < VN_AXES; a++) {
      s.u.copy.extent[a] = (uint32_t)part->dim[a];
      s.u.copy.in_axis[a] = a;
    }
    s.u.copy.out_start[node->axis] = start;
    start += (uint32_t)part->dim[node->axis];
    append(w, &w->steps, &s, sizeof s);
  }
}

static void fill_function(struct writer *w, struct plan_step *s, const struct vnc_node *node) {
  if (node->op == VN_OP_INSTNORM && node->span) {
    s->op = VN_OP_GROUPNORM;
    s->u.norm.span = node->span;
  }
  if (node->op == VN_OP_MAP || node->op == VN_OP_BINARY)
    s->u.function = (struct plan_function){.kind = node->kind, .a = node->a, .b = node->b};
  if (node->op != VN_OP_SAMPLE) return;
  s->u.sample = (struct plan_sample){.largest = node->kind, .fill = node->a};
  for (size_t a = 0; a < VN_AXES; a++) s->u.sample.table[a] = weight(w, node->table[a]);
}

static void append_step(struct writer *w, uint32_t id) {
  const struct vnc_node *node = &w->g->nodes[id];
  if (node->op == VN_OP_INPUT || (node->op == VN_OP_CONCAT && node->axis == VN_C)) return;
  if (node->op == VN_OP_CONCAT) {
    append_parts(w, id);
    return;
  }
  struct plan_step s = step_of(w, id);
  if (node->op == VN_OP_CONV3D || node->op == VN_OP_DECONV3D) fill_conv(&s.u.conv, node);
  if (node->op == VN_OP_SOFTMAX || node->op == VN_OP_LOGSOFTMAX || node->op == VN_OP_ARGMAX) {
    s.u.axis.axis = node->axis;
    s.u.axis.select_last = node->op == VN_OP_ARGMAX ? node->select_last : 0;
    s.u.axis.more_axes = node->more_axes;
  }
  fill_function(w, &s, node);
  for (uint32_t a = 0; node->op == VN_OP_COPY && a < VN_AXES; a++) {
    s.u.copy.extent[a] = (uint32_t)node->dim[a];
    s.u.copy.in_start[a] = node->in_start[a];
    s.u.copy.in_axis[a] = node->in_axis[a];
  }
  append(w, &w->steps, &s, sizeof s);
}

static void append_steps(struct writer *w) {
  for (uint32_t id = 0; id < w->g->n_nodes; id++) {
    uint32_t before = (uint32_t)(w->steps.bytes / sizeof(struct plan_step));
    append_step(w, id);
    uint32_t after = (uint32_t)(w->steps.bytes / sizeof(struct plan_step));
    /* A node without a step of its own stands for the step before it. */
    w->first_step[id] = after > before ? before : before ? before - 1 : 0;
    w->last_step[id] = after ? after - 1 : 0;
  }
}

static void append_tensors(struct writer *w) {
  for (uint32_t id = 0; id < w->g->n_nodes; id++) {
    const struct vnc_node *node = &w->g->nodes[id];
    struct plan_tensor t = {.name = string(w, vnc_graph_text(w->g, node->name)),
                            .dtype = node->dtype,
                            .buffer = w->m->places[id].buffer,
                            .offset = w->m->places[id].offset,
                            .pixel_stride = w->m->places[id].pixel_stride};
    memcpy(t.dim, node->dim, sizeof t.dim);
    append(w, &w->tensors, &t, sizeof t);
  }
}

/* ---- the file ---- */

static size_t round_up(size_t n) {
  return (n + PLAN_ALIGN - 1) / PLAN_ALIGN * PLAN_ALIGN;
}

static struct plan_port port_of(struct writer *w, const struct vnc_port *port, bool is_output) {
  struct plan_port p = {.name = string(w, vnc_graph_text(w->g, port->name)),
                        .tensor = port->node,
                        .is_output = is_output,
                        .dtype = w->g->nodes[port->node].dtype == VN_I32 ? VN_I64 : VN_F32,
                        .rank = port->rank};
  memcpy(p.order, port->order, sizeof p.order);
  for (size_t i = 0; i < PLAN_MAX_RANK; i++) p.dim[i] = i < port->rank ? port->dim[i] : 1;
  return p;
}

static void append_ports(struct writer *w, struct blob *ports) {
  for (size_t i = 0; i < w->g->n_inputs + w->g->n_outputs; i++) {
    bool is_output = i >= w->g->n_inputs;
    struct plan_port p =
        port_of(w, is_output ? &w->g->outputs[i - w->g->n_inputs] : &w->g->inputs[i], is_output);
    append(w, ports, &p, sizeof p);
  }
}

static void append_metas(struct writer *w, struct blob *metas) {
  for (size_t i = 0; i < w->g->n_metas; i++) {
    struct plan_meta meta = {string(w, vnc_graph_text(w->g, w->g->metas[i].key)),
                             string(w, vnc_graph_text(w->g, w->g->metas[i].value))};
    append(w, metas, &meta, sizeof meta);
  }
}

static void append_ends(struct writer *w, struct blob *ends, struct blob *thresholds) {
  for (size_t i = 0; i < w->g->n_outputs; i++) {
    const struct vnc_port *port = &w->g->outputs[i];
    const uint64_t channels = w->g->nodes[port->node].dim[VN_C];
    struct plan_end end = {.meaning = port->end};
    if (port->end == VN_END_REGIONS) {
      end.first_threshold = (uint32_t)(thresholds->bytes / sizeof(struct plan_threshold));
      end.n_thresholds = (uint32_t)channels;
      float *value = malloc(channels * sizeof *value);
      w->failed = w->failed || !value;
      if (value) vnc_end_thresholds(w->g, channels, value);
      for (uint64_t c = 0; c < channels && !w->failed; c++) {
        const struct plan_threshold t = {.value = value[c]};
        append(w, thresholds, &t, sizeof t);
      }
      free(value);
    }
    append(w, ends, &end, sizeof end);
  }
}

static void append_buffers(struct writer *w, struct blob *buffers) {
  uint32_t n_steps = (uint32_t)(w->steps.bytes / sizeof(struct plan_step));
  for (size_t i = 0; i < w->m->n_buffers; i++) {
    const struct vnc_span *span = &w->m->buffers[i];
    struct plan_buffer b = {span->offset, span->bytes, w->first_step[span->first],
                            w->last_step[span->last]};
    if (span->first == 0) b.first_step = 0;
    if (span->last + 1 == w->g->n_nodes) b.last_step = n_steps ? n_steps - 1 : 0;
    append(w, buffers, &b, sizeof b);
  }
}

/* Where weights' data begin, once everything before them is known. */
static size_t lay_out(struct writer *w, size_t head) {
  struct plan_weight *table = w->weights.data;
  size_t at = round_up(head);
  for (size_t i = 0; i < w->n_data; i++) {
    table[i].offset = at;
    at = round_up(at + table[i].bytes);
  }
  return at;
}

/* What a plan cannot hold (plan.md). */
static enum vn_status counts_check(const struct plan_header *h, const struct writer *w,
                                   struct vn_diag *diag) {
  const struct {
    const char *name;
    uint64_t count, most;
  } parts[] = {{"buffers", h->buffers.count, PLAN_MOST_RECORDS},
               {"tensors", h->tensors.count, PLAN_MOST_RECORDS},
               {"steps", h->steps.count, PLAN_MOST_RECORDS},
               {"weights", h->weights.count, PLAN_MOST_RECORDS},
               {"inputs and outputs", h->ports.count, PLAN_MOST_PORTS},
               {"metadata entries", h->metas.count, PLAN_MOST_RECORDS},
               {"thresholds", h->thresholds.count, PLAN_MOST_RECORDS},
               {"bytes of names and metadata", h->strings.count, UINT32_MAX}};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (parts[i].count > parts[i].most)
      return vn_fail(diag, VN_E_UNSUPPORTED, "the plan would have %llu %s, and holds at most %llu",
                     (unsigned long long)parts[i].count, parts[i].name,
                     (unsigned long long)parts[i].most);
  if (w->made_elems > MADE_MOST)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "the activations' slopes unfold to far more than the model holds");
  return VN_OK;
}

static enum vn_status assemble(struct writer *w, const char *topology, void **plan, size_t *bytes,
                               struct vn_diag *diag) {
  struct blob buffers = {0}, ports = {0}, metas = {0}, ends = {0}, thresholds = {0};
  struct plan_header h = {.endian = PLAN_ENDIAN,
                          .major = PLAN_MAJOR,
                          .minor = PLAN_MINOR,
                          .arena_bytes = w->m->arena_bytes,
                          .arena_bound_bytes = w->m->bound_bytes};
  memcpy(h.magic, PLAN_MAGIC, sizeof h.magic);
  append_buffers(w, &buffers);
  append_ports(w, &ports);
  append_metas(w, &metas);
  append_ends(w, &ends, &thresholds);
  h.topology = string(w, topology);
  h.producer = string(w, PRODUCER);
  struct {
    struct blob *blob;
    struct plan_table *table;
    size_t record;
  } parts[] = {{&buffers, &h.buffers, sizeof(struct plan_buffer)},
               {&w->tensors, &h.tensors, sizeof(struct plan_tensor)},
               {&w->steps, &h.steps, sizeof(struct plan_step)},
               {&w->weights, &h.weights, sizeof(struct plan_weight)},
               {&ports, &h.ports, sizeof(struct plan_port)},
               {&metas, &h.metas, sizeof(struct plan_meta)},
               {&ends, &h.ends, sizeof(struct plan_end)},
               {&thresholds, &h.thresholds, sizeof(struct plan_threshold)},
               {&w->strings, &h.strings, 1}};
  size_t at = sizeof h, n_parts = sizeof parts / sizeof *parts;
  for (size_t i = 0; i < n_parts; i++) { /* every record but the last part's fills 8 bytes */
    *parts[i].table = (struct plan_table){at, parts[i].blob->bytes / parts[i].record};
    at += parts[i].blob->bytes;
  }
  h.file_bytes = *bytes = lay_out(w, at);
  enum vn_status status = counts_check(&h, w, diag);
  *plan = status || w->failed ? NULL : aligned_alloc(PLAN_ALIGN, *bytes);
  if (*plan) {
    uint8_t *file = *plan;
    const struct plan_weight *table = w->weights.data;
    memset(file, 0, *bytes);
    for (size_t i = 0; i < n_parts; i++)
      if (parts[i].blob->bytes)
        memcpy(file + parts[i].table->offset, parts[i].blob->data, parts[i].blob->bytes);
    for (size_t i = 0; i < w->n_data; i++)
      memcpy(file + table[i].offset, w->data[i], table[i].bytes);
    memcpy(file, &h, sizeof h);
    h.checksum = XXH3_64bits(file + 32, *bytes - 32);
    memcpy(file, &h, sizeof h);
  }
  free(buffers.data);
  free(ports.data);
  free(metas.data);
  free(ends.data);
  free(thresholds.data);
  if (status) return status;
  return *plan ? VN_OK : vn_fail(diag, VN_E_MEMORY, "out of memory for the plan");
}

static bool has_data(const struct vnc_graph *g) {
  for (size_t i = 0; i < g->n_consts; i++)
    if (!g->consts[i].data) return false;
  return true;
}

enum vn_status vnc_plan_write(const struct vnc_graph *g, const struct vnc_memplan *m,
                              const char *topology, void **plan, size_t *plan_bytes,
                              struct vn_diag *diag) {
  size_t n_weights = g->n_consts + 2 * g->n_nodes + 1;
  struct writer w = {.g = g, .m = m};
  enum vn_status status;
  *plan = NULL;
  if (!has_data(g))
    return vn_fail(diag, VN_E_ARGUMENT, "a graph that was read from text has no weights to write");
  w.made = calloc(2 * g->n_nodes + 1, sizeof *w.made);
  w.data = calloc(n_weights, sizeof *w.data);
  w.weight_of = malloc((g->n_consts + 1) * sizeof *w.weight_of);
  w.first_step = calloc(2 * g->n_nodes + 1, sizeof *w.first_step);
  if (!w.made || !w.data || !w.weight_of || !w.first_step) {
    status = vn_fail(diag, VN_E_MEMORY, "out of memory for the plan");
    goto done;
  }
  w.last_step = w.first_step + g->n_nodes;
  memset(w.weight_of, 0xff, (g->n_consts + 1) * sizeof *w.weight_of); /* VN_NONE */
  string(&w, "");
  append_tensors(&w);
  append_steps(&w);
  status = assemble(&w, topology, plan, plan_bytes, diag);
done:
  for (size_t i = 0; w.made && i < w.n_made; i++) free(w.made[i]);
  free(w.made);
  free(w.data);
  free(w.weight_of);
  free(w.first_step);
  free(w.tensors.data);
  free(w.steps.data);
  free(w.weights.data);
  free(w.strings.data);
  vnc_index_free(&w.string_ids);
  vnc_index_free(&w.weight_ids);
  return status;
}

/* Importing, resizing, describing and exporting a model; see model_file.h. */
#include "model_file.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "compile.h"
#include "palette.h"
#include "printed.h"
#include "vnet.h"

static const uint32_t space[3] = {VN_D, VN_H, VN_W};

/* ---- sizes ---- */

/* A port's sizes follow from its node's, each axis being a dimension of its own. */
static enum vn_status port_resize(const struct vnc_graph *g, struct vnc_port *port,
                                  struct vn_diag *diag) {
  if (port->rank != VN_AXES)
    return vn_fail(diag, VN_E_UNSUPPORTED, "the model's '%.100s' is not N C D H W",
                   vnc_graph_text(g, port->name));
  for (size_t i = 0; i < VN_AXES; i++) port->dim[i] = g->nodes[port->node].dim[port->order[i]];
  return VN_OK;
}

/* Copies state their own size: one that keeps the size of what it reads goes on doing so. */
static bool keeps_size(const struct vnc_graph *g, const struct vnc_node *copy) {
  const struct vnc_node *in = &g->nodes[vnc_graph_arg(g, copy, 0)];
  for (size_t i = 0; i < 3; i++)
    if (copy->dim[space[i]] != in->dim[space[i]] || copy->in_axis[space[i]] != space[i] ||
        copy->in_start[space[i]])
      return false;
  return true;
}

enum vn_status vnt_model_resize(struct vnc_graph *g, const size_t patch[3], struct vn_diag *diag) {
  for (size_t i = 0; i < g->n_nodes; i++)
    if (g->nodes[i].op == VN_OP_COPY && !keeps_size(g, &g->nodes[i]))
      return vn_fail(diag, VN_E_UNSUPPORTED, "the model's '%.100s' cuts or moves voxels",
                     vnc_graph_text(g, g->nodes[i].name));
  enum vn_status status = VN_OK;
  for (uint32_t i = 0; i < g->n_nodes && !status; i++) {
    struct vnc_node *node = &g->nodes[i];
    for (size_t a = 0; a < 3; a++) {
      if (node->op == VN_OP_INPUT) node->dim[space[a]] = patch[a];
      if (node->op == VN_OP_COPY)
        node->dim[space[a]] = g->nodes[vnc_graph_arg(g, node, 0)].dim[space[a]];
    }
    status = vnc_shape_infer_node(g, i, diag);
  }
  for (size_t i = 0; i < g->n_inputs && !status; i++) status = port_resize(g, &g->inputs[i], diag);
  for (size_t i = 0; i < g->n_outputs && !status; i++)
    status = port_resize(g, &g->outputs[i], diag);
  if (status) return status;
  const struct vnc_node *in = &g->nodes[g->inputs[0].node], *out = &g->nodes[g->outputs[0].node];
  for (size_t a = 0; a < 3; a++)
    if (in->dim[space[a]] != out->dim[space[a]])
      return vn_fail(diag, VN_E_ARGUMENT,
                     "a patch of %zux%zux%zu does not fit the model: every stage halves it",
                     patch[0], patch[1], patch[2]);
  return VN_OK;
}

/* ---- in ---- */

enum vn_status vnt_model_import(const char *path, const size_t patch[3], struct vnc_graph *graph,
                                size_t window[3], char member[32], struct vn_diag *diag) {
  /* At its own size; where it has none, at ours. */
  struct vnc_import_options options = {.allow_external_data = true};
  char text[256];
  vnc_graph_init(graph);
  enum vn_status status = vnc_onnx_import(path, &options, graph, diag);
  if (status == VN_E_ARGUMENT) {
    vnc_graph_free(graph);
    vnc_graph_init(graph);
    for (size_t a = 0; a < 3; a++) options.patch[a] = patch[a];
    status = vnc_onnx_import(path, &options, graph, diag);
  }
  if (!status) status = vnc_topology(graph, NULL, text, sizeof text, diag);
  struct vn_diag inner = *diag;
  if (status)
    return strncmp(inner.text, path, strlen(path))
               ? vn_fail(diag, status, "%.200s: %.300s", path, inner.text)
               : status;
  const struct vnc_node *in = &graph->nodes[graph->inputs[0].node];
  if (in->dim[VN_C] != 1 || in->dim[VN_N] != 1)
    return vn_fail(diag, VN_E_UNSUPPORTED, "%.200s: not for one scan of one channel", path);
  for (size_t a = 0; a < 3; a++) window[a] = (size_t)in->dim[space[a]];
  status = vnt_model_resize(graph, patch, &inner);
  if (status == VN_E_FORMAT) /* the sides of a sum or concat no longer meet */
    return vn_fail(diag, VN_E_ARGUMENT,
                   "%.200s: a patch of %zux%zux%zu does not fit it: every stage halves it", path,
                   patch[0], patch[1], patch[2]);
  if (status) return vn_fail(diag, status, "%.200s: %s", path, inner.text);
  snprintf(member, 32, "%.*s", (int)strcspn(text, " "), text);
  return VN_OK;
}

size_t vnt_model_classes(const struct vnc_graph *graph) {
  const uint64_t channels = graph->nodes[graph->outputs[0].node].dim[VN_C];
  return channels < 2 ? 2 : (size_t)channels; /* one channel: a sigmoid's */
}

/* ---- out ---- */

void vnt_model_meta(struct vnc_graph *graph, const char *key, const char *value) {
  size_t kept = 0;
  for (size_t i = 0; i < graph->n_metas; i++)
    if (strcmp(vnc_graph_text(graph, graph->metas[i].key), key))
      graph->metas[kept++] = graph->metas[i];
  graph->n_metas = kept;
  if (value) vnc_graph_meta(graph, key, value);
}

enum vn_status vnt_model_bytes(struct vnc_graph *graph, const struct vnt_model_export *options,
                               void **bytes, size_t *size, struct vn_diag *diag) {
  const struct vnc_export_options onnx = {.float16_weights = options->float16,
                                          .graph_name = options->name,
                                          .producer_version = vn_version()};
  *bytes = NULL;
  enum vn_status status = vnt_model_resize(graph, options->model_patch, diag);
  if (!status) status = vnc_onnx_export(graph, &onnx, bytes, size, diag);
  if (!status) status = vnt_model_resize(graph, options->patch, diag);
  if (status) {
    free(*bytes);
    *bytes = NULL;
  }
  return status;
}

/* ---- names of labels ---- */

/* One of the list, as a JSON object. */
static void label_print(FILE *out, const char *name, size_t length, size_t value,
                        const uint8_t rgb[3]) {
  const char *colon = memchr(name, ':', length);
  const size_t plain = colon ? (size_t)(colon - name) : length;
  fprintf(out, "%s{\"value\":%zu,\"name\":\"", value > 1 ? "," : "", value);
  for (size_t i = 0; i < plain; i++) {
    if (name[i] == '"' || name[i] == '\\') fputc('\\', out);
    fputc(name[i], out);
  }
  if (colon)
    fprintf(out, "\",\"colour\":\"%.*s\"}", (int)(length - plain - 1), colon + 1);
  else
    fprintf(out, "\",\"colour\":\"#%02x%02x%02x\"}", rgb[0], rgb[1], rgb[2]);
}

static bool colour_given(const char *name, size_t length) {
  const char *colon = memchr(name, ':', length);
  if (!colon) return true;
  size_t digits = 0;
  while (isxdigit((unsigned char)colon[2 + digits])) digits++;
  return colon[1] == '#' && digits == 6 && colon + 8 == name + length;
}

static enum vn_status names_print(FILE *out, const char *names, const struct vn_palette *palette,
                                  struct vn_diag *diag) {
  size_t value = 0;
  fputc('[', out);
  for (const char *name = names;; name++) {
    const size_t length = strcspn(name, ",");
    if (length == 0) return vn_fail(diag, VN_E_ARGUMENT, "--label-names: an empty name");
    if (!colour_given(name, length))
      return vn_fail(diag, VN_E_ARGUMENT,
                     "--label-names: %.*s: expected NAME or NAME:#rrggbb, such as tumour:#c83232",
                     (int)length, name);
    if (++value >= palette->count)
      return vn_fail(diag, VN_E_ARGUMENT,
                     "--label-names: more than %zu; of %zu classes the first is the background",
                     palette->count - 1, palette->count);
    label_print(out, name, length, value, palette->entries[value].rgb);
    name += length;
    if (!*name) break;
  }
  fputc(']', out);
  return VN_OK;
}

enum vn_status vnt_model_labels(const char *names, size_t classes, char **json,
                                struct vn_diag *diag) {
  struct vn_palette palette = {0};
  struct vn_diag inner;
  struct vn_printed text;
  *json = NULL;
  enum vn_status status = vn_palette_parse(NULL, classes, &palette, diag);
  if (status) return status;
  FILE *out = vn_printed_open(&text);
  if (out) status = names_print(out, names, &palette, diag);
  vn_palette_close(&palette);
  if (!vn_printed_close(out, &text) && !status)
    status = vn_fail(diag, VN_E_MEMORY, "out of memory");
  *json = text.text;
  if (!status) {
    status = vn_palette_parse(*json, classes, &palette, &inner);
    vn_palette_close(&palette);
    if (status)
      status = vn_fail(diag, status == VN_E_FORMAT ? VN_E_ARGUMENT : status, "--label-names: %s",
                       inner.text);
  }
  if (status) {
    free(*json);
    *json = NULL;
  }
  return status;
}

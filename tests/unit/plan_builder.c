/* Builds plans in memory for tests. See plan_builder.h. */
#include "plan_builder.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

float pb_value(uint64_t seed, uint64_t i) {
  uint64_t x = (seed + 1) * 0x9E3779B97F4A7C15u + i * 0xD1B54A32D192ED03u;
  x ^= x >> 31;
  x *= 0xBF58476D1CE4E5B9u;
  x ^= x >> 29;
  return (float)((double)(x >> 41) / 4194304. - 1.);
}

void pb_start(struct plan_builder *b) {
  memset(b, 0, sizeof *b);
  b->n_string_bytes = 1;
}

uint32_t pb_string(struct plan_builder *b, const char *text) {
  size_t at = b->n_string_bytes, n = strlen(text) + 1;
  if (at + n > sizeof b->strings) abort();
  memcpy(b->strings + at, text, n);
  b->n_string_bytes += n;
  return (uint32_t)at;
}

uint32_t pb_buffer(struct plan_builder *b, size_t elems, uint32_t first, uint32_t last) {
  if (b->n_buffers == PB_MOST) abort();
  b->buffers[b->n_buffers] = (struct plan_buffer){b->arena_bytes, elems * 4, first, last};
  b->arena_bytes += (elems * 4 + 63) / 64 * 64;
  return (uint32_t)b->n_buffers++;
}

uint32_t pb_slice(struct plan_builder *b, uint32_t buffer, const size_t dim[VN_AXES],
                  size_t channel, size_t stride) {
  if (b->n_tensors == PB_MOST) abort();
  struct plan_tensor *t = &b->tensors[b->n_tensors];
  t->dtype = VN_F32;
  t->buffer = buffer;
  for (int a = 0; a < VN_AXES; a++) t->dim[a] = dim[a];
  t->offset = b->buffers[buffer].offset + channel * 4;
  t->pixel_stride = stride;
  return (uint32_t)b->n_tensors++;
}

uint32_t pb_tensor(struct plan_builder *b, const size_t dim[VN_AXES], uint32_t first,
                   uint32_t last) {
  size_t elems = dim[0] * dim[1] * dim[2] * dim[3] * dim[4];
  return pb_slice(b, pb_buffer(b, elems, first, last), dim, 0, dim[VN_C]);
}

uint32_t pb_weight(struct plan_builder *b, const size_t dim[VN_AXES], float scale) {
  if (b->n_weights == PB_MOST) abort();
  struct plan_weight *w = &b->weights[b->n_weights];
  size_t elems = 1;
  w->dtype = VN_F32;
  for (int a = 0; a < VN_AXES; a++) {
    w->dim[a] = dim[a];
    elems *= dim[a];
  }
  w->rank = 5;
  w->bytes = elems * 4;
  float *data = malloc(elems * sizeof *data);
  if (!data) abort();
  for (size_t i = 0; i < elems; i++) data[i] = scale * pb_value(b->n_weights, i);
  b->weight_data[b->n_weights] = data;
  return (uint32_t)b->n_weights++;
}

uint32_t pb_vector(struct plan_builder *b, size_t n, float scale) {
  uint32_t id = pb_weight(b, (const size_t[]){n, 1, 1, 1, 1}, scale);
  b->weights[id].rank = 1;
  return id;
}

struct plan_step *pb_step(struct plan_builder *b, uint32_t op, uint32_t in, uint32_t out) {
  if (b->n_steps == PB_MOST) abort();
  struct plan_step *s = &b->steps[b->n_steps++];
  *s = (struct plan_step){.op = op,
                          .out = out,
                          .in = {in, VN_NONE},
                          .weight = VN_NONE,
                          .bias = VN_NONE,
                          .slope = {VN_NONE, VN_NONE}};
  s->name = pb_string(b, vn_op_text(op));
  return s;
}

struct plan_step *pb_conv(struct plan_builder *b, uint32_t op, uint32_t in, uint32_t out,
                          uint32_t kernel, uint32_t stride, uint32_t pad, uint32_t groups) {
  struct plan_step *s = pb_step(b, op, in, out);
  size_t to = b->tensors[out].dim[VN_C], from = b->tensors[in].dim[VN_C] / groups;
  size_t taps = (size_t)kernel * kernel * kernel;
  s->weight = pb_weight(b, (const size_t[]){to, kernel, kernel, kernel, from},
                        1.f / (float)(taps * from) * 8);
  s->bias = pb_vector(b, to, 0.5f);
  for (int i = 0; i < 3; i++) {
    s->u.conv.kernel[i] = kernel;
    s->u.conv.stride[i] = stride;
    s->u.conv.pad[i] = pad;
    s->u.conv.dilation[i] = 1;
  }
  s->u.conv.groups = groups;
  return s;
}

void pb_port(struct plan_builder *b, const char *name, uint32_t tensor, uint32_t is_output) {
  if (b->n_ports == PB_MOST) abort();
  struct plan_port *p = &b->ports[b->n_ports++];
  const struct plan_tensor *t = &b->tensors[tensor];
  p->name = pb_string(b, name);
  p->tensor = tensor;
  p->is_output = is_output;
  p->dtype = t->dtype == VN_I32 ? VN_I64 : VN_F32;
  p->rank = 5;
  p->dim[5] = 1;
  for (uint32_t a = 0; a < VN_AXES; a++) {
    p->order[a] = a;
    p->dim[a] = t->dim[a];
  }
}

void pb_end(struct plan_builder *b, uint32_t meaning, uint32_t channels, float threshold) {
  const bool regions = meaning == VN_END_REGIONS;
  const uint32_t first = (uint32_t)b->n_thresholds;
  if (b->n_ends == PB_MOST || (regions && channels > PB_MOST - first)) abort();
  for (uint32_t c = 0; regions && c < channels; c++)
    b->thresholds[b->n_thresholds++].value = threshold + 0.125f * (float)c;
  b->ends[b->n_ends++] = (struct plan_end){meaning, first, regions ? channels : 0, 0};
}

void pb_meta(struct plan_builder *b, const char *key, const char *value) {
  if (b->n_metas == PB_MOST) abort();
  b->metas[b->n_metas].key = pb_string(b, key);
  b->metas[b->n_metas++].value = pb_string(b, value);
}

static void table_put(uint8_t *bytes, size_t *at, struct plan_table *t, const void *records,
                      size_t count, size_t record_bytes) {
  *t = (struct plan_table){*at, count};
  if (bytes && count) memcpy(bytes + *at, records, count * record_bytes);
  *at = (*at + count * record_bytes + 63) / 64 * 64;
}

/* With bytes NULL it only measures. */
static size_t lay_out(struct plan_builder *b, uint8_t *bytes, struct plan_header *h) {
  size_t at = sizeof *h;
  table_put(bytes, &at, &h->buffers, b->buffers, b->n_buffers, sizeof *b->buffers);
  table_put(bytes, &at, &h->tensors, b->tensors, b->n_tensors, sizeof *b->tensors);
  table_put(bytes, &at, &h->steps, b->steps, b->n_steps, sizeof *b->steps);
  size_t weights_at = at;
  table_put(bytes, &at, &h->weights, b->weights, b->n_weights, sizeof *b->weights);
  table_put(bytes, &at, &h->ports, b->ports, b->n_ports, sizeof *b->ports);
  table_put(bytes, &at, &h->metas, b->metas, b->n_metas, sizeof *b->metas);
  table_put(bytes, &at, &h->ends, b->ends, b->n_ends, sizeof *b->ends);
  table_put(bytes, &at, &h->thresholds, b->thresholds, b->n_thresholds, sizeof *b->thresholds);
  table_put(bytes, &at, &h->strings, b->strings, b->n_string_bytes, 1);
  for (size_t i = 0; i < b->n_weights; i++) {
    b->weights[i].offset = at;
    if (bytes) memcpy(bytes + at, b->weight_data[i], b->weights[i].bytes);
    at = (at + b->weights[i].bytes + 63) / 64 * 64;
  }
  if (bytes && b->n_weights)
    memcpy(bytes + weights_at, b->weights, b->n_weights * sizeof *b->weights);
  return at;
}

void *pb_finish(struct plan_builder *b, size_t *size) {
  struct plan_header h = {.endian = PLAN_ENDIAN, .major = PLAN_MAJOR, .minor = PLAN_MINOR};
  memcpy(h.magic, PLAN_MAGIC, sizeof h.magic);
  h.arena_bytes = h.arena_bound_bytes = b->arena_bytes;
  h.topology = pb_string(b, "any");
  h.producer = pb_string(b, "plan_builder");
  *size = lay_out(b, NULL, &h);
  uint8_t *bytes = aligned_alloc(64, *size);
  if (!bytes) abort();
  memset(bytes, 0, *size);
  lay_out(b, bytes, &h);
  memcpy(bytes, &h, sizeof h);
  pb_seal(bytes, *size);
  for (size_t i = 0; i < b->n_weights; i++) free(b->weight_data[i]);
  return bytes;
}

void pb_seal(void *plan, size_t size) {
  struct plan_header *h = plan;
  h->file_bytes = size;
  h->checksum = XXH3_64bits((uint8_t *)plan + 32, size - 32);
}

static void activate(struct plan_builder *b, struct plan_step *s, int which, uint32_t act) {
  s->act[which] = act;
  if (act == VN_ACT_PRELU) s->slope[which] = pb_vector(b, b->tensors[s->out].dim[VN_C], 0.5f);
  if (act == VN_ACT_ELU) s->alpha[which] = 1.f;
}

void *pb_small_net(size_t *size) {
  const size_t d = 6, h = 8, w = 10;
  struct plan_builder b;
  pb_start(&b);
  uint32_t whole = pb_buffer(&b, d * h * w * 16, 0, 4);
  uint32_t x = pb_tensor(&b, (const size_t[]){1, 2, d, h, w}, 0, 0);
  uint32_t left = pb_slice(&b, whole, (const size_t[]){1, 8, d, h, w}, 0, 16);
  uint32_t up = pb_slice(&b, whole, (const size_t[]){1, 8, d, h, w}, 8, 16);
  uint32_t both = pb_slice(&b, whole, (const size_t[]){1, 16, d, h, w}, 0, 16);
  uint32_t down = pb_tensor(&b, (const size_t[]){1, 16, d / 2, h / 2, w / 2}, 1, 2);
  uint32_t deep = pb_tensor(&b, (const size_t[]){1, 16, d / 2, h / 2, w / 2}, 2, 3);
  uint32_t right = pb_tensor(&b, (const size_t[]){1, 16, d, h, w}, 4, 5);
  uint32_t scores = pb_tensor(&b, (const size_t[]){1, 3, d, h, w}, 5, 7);
  uint32_t odds = pb_tensor(&b, (const size_t[]){1, 3, d, h, w}, 6, 7);
  uint32_t labels = pb_tensor(&b, (const size_t[]){1, 1, d, h, w}, 7, 7);
  b.tensors[labels].dtype = VN_I32;

  struct plan_step *s = pb_conv(&b, VN_OP_CONV3D, x, left, 3, 1, 1, 1);
  s->in[1] = x;
  activate(&b, s, 0, VN_ACT_PRELU);
  s = pb_conv(&b, VN_OP_CONV3D, left, down, 2, 2, 0, 1);
  activate(&b, s, 0, VN_ACT_ELU);
  s = pb_conv(&b, VN_OP_CONV3D, down, deep, 3, 1, 1, 1);
  s->in[1] = down;
  activate(&b, s, 1, VN_ACT_RELU);
  s = pb_conv(&b, VN_OP_DECONV3D, deep, up, 2, 2, 0, 1);
  activate(&b, s, 0, VN_ACT_PRELU);
  s = pb_conv(&b, VN_OP_CONV3D, both, right, 5, 1, 2, 1);
  s->in[1] = both;
  activate(&b, s, 0, VN_ACT_PRELU);
  activate(&b, s, 1, VN_ACT_ELU);
  pb_conv(&b, VN_OP_CONV3D, right, scores, 1, 1, 0, 1);
  s = pb_step(&b, VN_OP_SOFTMAX, scores, odds);
  s->u.axis.axis = VN_C;
  s = pb_step(&b, VN_OP_ARGMAX, scores, labels);
  s->u.axis.axis = VN_C;
  pb_port(&b, "scan", x, 0);
  pb_port(&b, "odds", odds, 1);
  pb_port(&b, "labels", labels, 1);
  pb_end(&b, VN_END_SOFTMAX, 0, 0);
  pb_end(&b, VN_END_LABELS, 0, 0);
  pb_meta(&b, "vnet.orientation", "RAS");
  return pb_finish(&b, size);
}

/* The checkpoint file: a head of fixed size, the identity's text, then floats; see checkpoint.h. */
#include "checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "fail.h"
#include "input.h"
#include "part.h"

struct head {
  char magic[8];
  uint64_t elems, running, steps, kind, network, identity_bytes, checksum;
  struct vnt_progress progress;
};

static const char magic[8] = "VNTCKPT3";

enum { IDENTITY_MOST = 1 << 26 };

/* Of the parameters' names and sizes: what a network is, to a checkpoint. */
static uint64_t network_of(const struct vnt_net *net) {
  uLong sum = crc32(0, NULL, 0);
  for (size_t i = 0; i < net->n_params; i++) {
    const uint64_t elems = net->params[i].elems;
    const char *name = vnt_param_name(net, i);
    sum = crc32(sum, (const Bytef *)name, (uInt)strlen(name) + 1);
    sum = crc32(sum, (const Bytef *)&elems, sizeof elems);
  }
  return sum;
}

uint64_t vnt_net_checksum(const struct vnt_net *net) {
  return crc32_z(crc32(0, NULL, 0), (const Bytef *)net->param, net->elems * sizeof(float));
}

struct part {
  void *data;
  size_t bytes;
};

enum { PARTS = 6 };

static void parts_list(const struct vnt_checkpoint *c, struct part parts[PARTS]) {
  const size_t state = c->optim->elems * sizeof(float);
  parts[0] = (struct part){(char *)(uintptr_t)c->identity, strlen(c->identity)}; /* only read */
  parts[1] = (struct part){c->net->param, c->net->elems * sizeof(float)};
  parts[2] = (struct part){c->net->running, c->net->n_running * sizeof(float)};
  parts[3] = (struct part){c->optim->first, state};
  parts[4] = (struct part){c->optim->second, c->optim->second ? state : 0};
  const size_t means = (c->net->elems + c->net->n_running) * sizeof(float);
  parts[5] = (struct part){c->average, c->average ? means : 0};
}

/* parts NULL: of the head alone. */
static uint64_t checksum_of(const struct head *head, const struct part *parts) {
  struct head plain = *head;
  plain.checksum = 0;
  uLong sum = crc32(0, (const Bytef *)&plain, sizeof plain);
  for (int i = 0; parts && i < PARTS; i++)
    if (parts[i].bytes) sum = crc32_z(sum, parts[i].data, parts[i].bytes);
  return sum;
}

static struct head head_of(const struct vnt_checkpoint *c) {
  struct head head = {.elems = c->net->elems,
                      .running = c->net->n_running,
                      .steps = c->optim->steps,
                      .kind = c->optim->kind,
                      .network = network_of(c->net),
                      .identity_bytes = strlen(c->identity),
                      .progress = *c->progress};
  memcpy(head.magic, magic, sizeof magic);
  return head;
}

enum vn_status vnt_checkpoint_write(int fd, const struct vnt_checkpoint *c, struct vn_diag *diag) {
  struct part parts[PARTS];
  parts_list(c, parts);
  struct head head = head_of(c);
  head.checksum = checksum_of(&head, parts);
  enum vn_status status = vn_part_write(fd, &head, sizeof head, diag);
  for (int i = 0; i < PARTS && status == VN_OK; i++)
    status = vn_part_write(fd, parts[i].data, parts[i].bytes, diag);
  return status;
}

/* ---- reading ---- */

/* The first line in which two identities differ, both ways. */
static enum vn_status other_run(const char *path, const char *was, const char *is,
                                struct vn_diag *diag) {
  size_t at = 0, line = 0;
  for (; was[at] && was[at] == is[at]; at++)
    if (was[at] == '\n') line = at + 1;
  const int a = (int)strcspn(was + line, "\n"), b = (int)strcspn(is + line, "\n");
  return vn_fail(diag, VN_E_FORMAT, "%.200s: of another run: that has %.*s, this one %.*s", path,
                 a > 100 ? 100
                 : a     ? a
                         : 7,
                 a ? was + line : "no more",
                 b > 100 ? 100
                 : b     ? b
                         : 7,
                 b ? is + line : "no more");
}

/* The file against its own checksum; it is at its beginning before and after. */
static enum vn_status file_check(FILE *file, const char *path, struct head *head,
                                 struct vn_diag *diag) {
  enum { CHUNK = 1 << 20 };
  if (fread(head, sizeof *head, 1, file) != 1 || memcmp(head->magic, magic, sizeof magic))
    return vn_fail(diag, VN_E_FORMAT, "%.300s: not a checkpoint of this version", path);
  Bytef *chunk = malloc(CHUNK);
  if (!chunk) return vn_fail(diag, VN_E_MEMORY, "out of memory for the checkpoint");
  uLong sum = (uLong)checksum_of(head, NULL);
  for (size_t got; (got = fread(chunk, 1, CHUNK, file)) > 0;) sum = crc32_z(sum, chunk, got);
  free(chunk);
  if (ferror(file) || fseek(file, 0, SEEK_SET))
    return vn_fail(diag, vn_io_status(errno), "%.300s: %s", path, strerror(errno));
  if (sum != head->checksum || head->identity_bytes > IDENTITY_MOST)
    return vn_fail(diag, VN_E_FORMAT, "%.300s: damaged or cut off", path);
  return VN_OK;
}

/* The checked file into parts that are allocated here. */
static enum vn_status parts_read(FILE *file, const char *path, const struct vnt_checkpoint *c,
                                 struct part read[PARTS], struct vn_diag *diag) {
  const struct head want = head_of(c);
  struct head head;
  struct part live[PARTS];
  parts_list(c, live);
  if (fread(&head, sizeof head, 1, file) != 1)
    return vn_fail(diag, VN_E_IO, "%.300s: it changed while it was read", path);
  bool whole = true;
  for (int i = 0; i < PARTS; i++) {
    read[i].bytes = i ? live[i].bytes : (size_t)head.identity_bytes;
    read[i].data = calloc(1, read[i].bytes + 1);
    if (!read[i].data) return vn_fail(diag, VN_E_MEMORY, "out of memory for the checkpoint");
    whole = whole && fread(read[i].data, 1, read[i].bytes, file) == read[i].bytes;
    if (i > 0) continue;
    if (whole && strcmp(read[0].data, c->identity))
      return other_run(path, read[0].data, c->identity, diag);
    if (head.elems != want.elems || head.running != want.running || head.kind != want.kind ||
        head.network != want.network)
      return vn_fail(diag, VN_E_FORMAT, "%.300s: of another run: its network differs", path);
  }
  if (!whole || fgetc(file) != EOF)
    return vn_fail(diag, VN_E_FORMAT, "%.300s: damaged or cut off", path);
  return VN_OK;
}

enum vn_status vnt_checkpoint_read(const char *path, const struct vnt_checkpoint *c,
                                   struct vn_diag *diag) {
  struct head head;
  struct part parts[PARTS], read[PARTS] = {0};
  parts_list(c, parts);
  const char *reason;
  FILE *file = vn_input_open(path, &reason);
  if (!file) return vn_fail(diag, vn_io_status(errno), "%.300s: %s", path, reason);
  enum vn_status status = file_check(file, path, &head, diag);
  if (!status) {
    status = parts_read(file, path, c, read, diag);
    for (int i = 0; i < PARTS; i++) {
      if (i > 0 && status == VN_OK && parts[i].bytes)
        memcpy(parts[i].data, read[i].data, parts[i].bytes);
      free(read[i].data);
    }
  }
  fclose(file);
  if (status != VN_OK) return status;
  c->optim->steps = head.steps;
  *c->progress = head.progress;
  return VN_OK;
}

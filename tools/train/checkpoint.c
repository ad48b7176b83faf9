/* The checkpoint file: a head of fixed size, then floats; see checkpoint.h. */
#include "checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "fail.h"

struct head {
  char magic[8];
  uint64_t elems, running, seed, steps, kind, network, checksum;
};

static const char magic[8] = "VNTCKPT1";

/* Of the parameters' names and sizes: what a network is, to a checkpoint. */
static uint64_t network_of(const struct vnt_net *net) {
  uLong sum = crc32(0, NULL, 0);
  for (size_t i = 0; i < net->n_params; i++) {
    const uint64_t elems = net->params[i].elems;
    sum = crc32(sum, (const Bytef *)net->params[i].name, (uInt)strlen(net->params[i].name) + 1);
    sum = crc32(sum, (const Bytef *)&elems, sizeof elems);
  }
  return sum;
}

struct part {
  float *data;
  size_t elems;
};

enum { PARTS = 4 };

static void parts_list(const struct vnt_net *net, const struct vnt_optim *optim,
                       struct part parts[PARTS]) {
  parts[0] = (struct part){net->param, net->elems};
  parts[1] = (struct part){net->running, net->n_running};
  parts[2] = (struct part){optim->first, optim->elems};
  parts[3] = (struct part){optim->second, optim->second ? optim->elems : 0};
}

static uint64_t checksum_of(const struct head *head, const struct part parts[PARTS]) {
  struct head plain = *head;
  plain.checksum = 0;
  uLong sum = crc32(0, (const Bytef *)&plain, sizeof plain);
  for (int i = 0; i < PARTS; i++)
    sum = crc32_z(sum, (const Bytef *)parts[i].data, parts[i].elems * sizeof(float));
  return sum;
}

static enum vn_status bytes_write(int fd, const void *bytes, size_t size, struct vn_diag *diag) {
  for (const char *from = bytes; size;) {
    ssize_t done = write(fd, from, size);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return vn_fail(diag, VN_E_IO, "cannot write the checkpoint: %s", strerror(errno));
    from += done;
    size -= (size_t)done;
  }
  return VN_OK;
}

static struct head head_of(const struct vnt_net *net, const struct vnt_optim *optim,
                           uint64_t seed) {
  struct head head = {.elems = net->elems,
                      .running = net->n_running,
                      .seed = seed,
                      .steps = optim->steps,
                      .kind = optim->kind,
                      .network = network_of(net)};
  memcpy(head.magic, magic, sizeof magic);
  return head;
}

enum vn_status vnt_checkpoint_write(int fd, const struct vnt_net *net,
                                    const struct vnt_optim *optim, uint64_t seed,
                                    struct vn_diag *diag) {
  struct part parts[PARTS];
  parts_list(net, optim, parts);
  struct head head = head_of(net, optim, seed);
  head.checksum = checksum_of(&head, parts);
  enum vn_status status = bytes_write(fd, &head, sizeof head, diag);
  for (int i = 0; i < PARTS && status == VN_OK; i++)
    status = bytes_write(fd, parts[i].data, parts[i].elems * sizeof(float), diag);
  return status;
}

static enum vn_status file_read(FILE *file, const char *path, const struct head *want,
                                struct head *head, struct part read[PARTS],
                                const struct part parts[PARTS], struct vn_diag *diag) {
  if (fread(head, sizeof *head, 1, file) != 1 || memcmp(head->magic, magic, sizeof magic))
    return vn_fail(diag, VN_E_FORMAT, "%.300s: not a checkpoint", path);
  if (head->elems != want->elems || head->running != want->running || head->kind != want->kind ||
      head->network != want->network || head->seed != want->seed)
    return vn_fail(diag, VN_E_FORMAT,
                   "%.300s: of another run: its network, optimiser or seed differs", path);
  for (int i = 0; i < PARTS; i++) {
    read[i] = (struct part){malloc(parts[i].elems * sizeof(float) + 1), parts[i].elems};
    if (!read[i].data) return vn_fail(diag, VN_E_MEMORY, "out of memory for the checkpoint");
    if (fread(read[i].data, sizeof(float), read[i].elems, file) != read[i].elems)
      return vn_fail(diag, VN_E_FORMAT, "%.300s: truncated", path);
  }
  if (fgetc(file) != EOF || head->checksum != checksum_of(head, read))
    return vn_fail(diag, VN_E_FORMAT, "%.300s: damaged", path);
  return VN_OK;
}

enum vn_status vnt_checkpoint_read(const char *path, struct vnt_net *net, struct vnt_optim *optim,
                                   uint64_t seed, struct vn_diag *diag) {
  struct head want = head_of(net, optim, seed), head;
  struct part parts[PARTS], read[PARTS] = {0};
  parts_list(net, optim, parts);
  FILE *file = fopen(path, "rb");
  if (!file) return vn_fail(diag, VN_E_IO, "%.300s: %s", path, strerror(errno));
  enum vn_status status = file_read(file, path, &want, &head, read, parts, diag);
  fclose(file);
  for (int i = 0; i < PARTS; i++) {
    if (status == VN_OK) memcpy(parts[i].data, read[i].data, parts[i].elems * sizeof(float));
    free(read[i].data);
  }
  if (status == VN_OK) optim->steps = head.steps;
  return status;
}

/* The trainer's checkpoints, whose checksum is put right again. */
#include "fuzz.h"

#include "checkpoint.h"

#include <string.h>
#include <zlib.h>

enum { HEAD = 136, CHECKSUM = 56, ELEMS = 6, RUNNING = 4 };

/* See checkpoint.c: the CRC of everything with 0 in its own place. */
static void seal(uint8_t *data, size_t size) {
  memset(data + CHECKSUM, 0, 8);
  uint64_t sum = crc32_z(crc32(0, NULL, 0), data, size);
  memcpy(data + CHECKSUM, &sum, sizeof sum);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, most);
  if (size >= HEAD && seed % 16) seal(data, size);
  return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  float param[ELEMS] = {0}, running[RUNNING] = {0}, first[ELEMS] = {0}, second[ELEMS] = {0};
  char strings[] = "\0weight";
  struct vnc_const constant = {.name = 1};
  struct vnc_graph graph = {
      .strings = strings, .n_string_bytes = sizeof strings, .consts = &constant, .n_consts = 1};
  struct vnt_param params[] = {{.elems = ELEMS}};
  struct vnt_net net = {.graph = &graph,
                        .param = param,
                        .elems = ELEMS,
                        .params = params,
                        .n_params = 1,
                        .running = running,
                        .n_running = RUNNING};
  struct vnt_optim optim = {.kind = VNT_ADAMW, .first = first, .second = second, .elems = ELEMS};
  struct vnt_progress progress = {0};
  const struct vnt_checkpoint checkpoint = {&net, &optim, NULL, &progress, "member vnet\nseed 1\n"};
  struct vn_diag diag = {""};
  int fd;
  const char *again = fuzz_output(&fd);
  enum vn_status status = vnt_checkpoint_read(fuzz_file(data, size), &checkpoint, &diag);
  fuzz_judge(status, &diag);
  if (vnt_checkpoint_write(fd, &checkpoint, &diag)) fuzz_broken("is not written: %s", diag.text);
  if (vnt_checkpoint_read(again, &checkpoint, &diag))
    fuzz_broken("does not read what it wrote: %s", diag.text);
  return 0;
}

/* Hostile plans: three in four get a right checksum again, or nothing behind it would be reached.
 * A plan that opens is run. */
#include "fuzz.h"

#include "plan.h"
#include "vnet.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdlib.h>
#include <string.h>

static void repair(uint8_t *bytes, size_t size) {
  struct plan_header header;
  if (size < sizeof header) return;
  memcpy(&header, bytes, sizeof header);
  header.file_bytes = size;
  memcpy(bytes, &header, sizeof header);
  header.checksum = XXH3_64bits(bytes + 32, size - 32);
  memcpy(bytes, &header, sizeof header);
}

static enum vn_status run(const struct vn_plan *plan, struct vn_diag *diag) {
  const struct vn_exec_options options = {
      .size = sizeof options, .threads = 1, .memory_limit_bytes = 256u << 20};
  struct vn_exec *exec = NULL;
  enum vn_status status = vn_exec_open(plan, &options, &exec, diag);
  if (!status) status = vn_exec_run_with(exec, NULL, NULL, NULL, diag);
  vn_exec_close(&exec);
  return status;
}

static int open_bytes(uint8_t *bytes, size_t size, const char *folder, char sentence[512]) {
  struct vn_diag diag = {""};
  struct vn_plan *plan = NULL;
  (void)folder;
  if (XXH3_64bits(bytes, size) % 4) repair(bytes, size);
  uint8_t *aligned = aligned_alloc(64, (size + 64) / 64 * 64);
  if (!aligned) exit(2);
  memcpy(aligned, bytes, size);
  enum vn_status status = vn_plan_open_memory(aligned, size, &plan, &diag);
  if (!status) status = run(plan, &diag);
  vn_plan_close(&plan);
  free(aligned);
  memcpy(sentence, diag.text, sizeof diag.text);
  return (int)status;
}

int main(int argc, char **argv) {
  return fuzz_main(argc, argv, open_bytes);
}

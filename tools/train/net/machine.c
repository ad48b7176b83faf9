/* Who computes, and where large things lie; see ops.h. */
#include "ops.h"

#include <stdlib.h>

#include "cpu.h"
#include "fail.h"
#include "os.h"

enum vn_status vnt_machine_open(const char *isa, size_t threads, struct vnt_machine *machine,
                                struct vn_diag *diag) {
  *machine = (struct vnt_machine){.processes = 1};
  enum vn_status status = vn_cpu_simd(isa, &machine->runtime, diag);
  if (status) return status;
  machine->training = vn_backward_of(machine->runtime);
  if (!machine->training)
    return vn_fail(diag, VN_E_UNSUPPORTED, "no training with the instruction set %s", isa);
  status = vn_pool_open(threads, &machine->pool, diag);
  machine->threads = vn_pool_threads(machine->pool);
  return status;
}

void vnt_machine_close(struct vnt_machine *machine) {
  vn_pool_close(&machine->pool);
  *machine = (struct vnt_machine){0};
}

void *vnt_memory(size_t bytes) {
  const size_t large = (size_t)2 << 20, page = bytes < 2 * large ? 64 : large;
  bytes = (bytes / page + 1) * page;
  void *p = aligned_alloc(page, bytes);
  if (p && page > 64) vn_os_pages_large(p, bytes);
  return p;
}

/* What is done with a plan from anywhere; see fuzz.h. */
#include "fuzz.h"

#include "plan.h"
#include "vnet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Beyond these a plan is opened and not run: the work would be legal, and nothing but slow. */
enum { WORK_MOST = 1 << 22, ARENA_MOST = 1 << 20, MEMORY_MOST = 16 << 20 };

static double elems_of(const uint64_t dim[VN_AXES]) {
  double elems = 1;
  for (int a = 0; a < VN_AXES; a++) elems *= (double)dim[a];
  return elems;
}

/* The offset of an empty table may be anything. */
static const void *records_of(const uint8_t *bytes, const struct plan_table *table) {
  return table->count ? bytes + table->offset : NULL;
}

/* Of a legal plan: multiply-adds, and elements that are moved. */
static double work_of(const uint8_t *bytes) {
  const struct plan_header *h = (const void *)bytes;
  const struct plan_step *steps = records_of(bytes, &h->steps);
  const struct plan_tensor *tensors = records_of(bytes, &h->tensors);
  const struct plan_weight *weights = records_of(bytes, &h->weights);
  double work = 0;
  for (size_t i = 0; i < h->steps.count; i++) {
    const struct plan_step *s = &steps[i];
    bool deconv = s->op == VN_OP_DECONV3D;
    double taps = 1, out = elems_of(tensors[s->out].dim);
    if (s->op == VN_OP_CONV3D || deconv)
      taps = elems_of(weights[s->weight].dim) / (double)weights[s->weight].dim[0];
    work += out * taps;
    if (s->in[0] != VN_NONE) work += elems_of(tensors[s->in[0]].dim);
  }
  return work;
}

static void ask_everything(const struct vn_plan *plan) {
  size_t seen = strlen(vn_plan_topology(plan)) + (vn_plan_meta(plan, "vnet.labels") != NULL);
  for (size_t i = 0; i < vn_plan_inputs(plan); i++) seen += strlen(vn_plan_input(plan, i).name);
  for (size_t i = 0; i < vn_plan_outputs(plan); i++) seen += strlen(vn_plan_output(plan, i).name);
  if (seen == SIZE_MAX) abort(); /* so that none of it is left out */
}

static enum vn_status run(const struct vn_plan *plan, bool small, struct vn_diag *diag) {
  static const char *const isas[] = {"portable", "avx2", "avx512", "ref", NULL};
  uint64_t chance = vn_plan_checksum(plan);
  const struct vn_exec_options options = {.size = sizeof options,
                                          .threads = chance >> 8 & 15 ? 1 : 2,
                                          .isa = isas[chance % 5],
                                          .memory_limit_bytes = MEMORY_MOST};
  struct vn_exec *exec = NULL;
  enum vn_status status = vn_exec_open(plan, &options, &exec, diag);
  if (!status && small) status = vn_exec_run_with(exec, NULL, NULL, NULL, diag);
  vn_exec_close(&exec);
  return status == VN_E_ARGUMENT ? VN_OK : status; /* no such instruction set in this build */
}

enum vn_status fuzz_plan_run(const void *bytes, size_t size, struct vn_diag *diag) {
  struct vn_plan *plan = NULL;
  void *aligned;
  if (posix_memalign(&aligned, PLAN_ALIGN, size ? size : 1)) fuzz_broken("out of memory");
  memcpy(aligned, bytes, size);
  enum vn_status status = vn_plan_open_memory(aligned, size, &plan, diag);
  if (!status) {
    const struct plan_header *h = aligned;
    ask_everything(plan);
    status = run(plan, h->arena_bytes <= ARENA_MOST && work_of(aligned) <= WORK_MOST, diag);
  }
  vn_plan_close(&plan);
  free(aligned);
  return status;
}

/* The small network of the tests of execs; see small_net.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "small_net.h"

#include <stdlib.h>
#include <string.h>

struct vn_exec *exec_open(const struct vn_plan *plan, const char *isa, size_t threads) {
  const struct vn_exec_options options = {.size = sizeof options, .threads = threads, .isa = isa};
  struct vn_exec *exec = NULL;
  struct vn_diag diag = {""};
  enum vn_status status = vn_exec_open(plan, &options, &exec, &diag);
  if (status && status != VN_E_UNSUPPORTED && status != VN_E_ARGUMENT) fail_msg("%s", diag.text);
  return exec;
}

struct vn_plan *plan_open(const void *bytes, size_t size) {
  struct vn_plan *plan = NULL;
  struct vn_diag diag = {""};
  if (vn_plan_open_memory(bytes, size, &plan, &diag)) fail_msg("%s", diag.text);
  return plan;
}

float *values(uint64_t seed, size_t n) {
  float *x = malloc(n * sizeof *x);
  assert_non_null(x);
  for (size_t i = 0; i < n; i++) x[i] = pb_value(seed, i);
  return x;
}

void small_run(struct vn_exec *exec, struct result *r) {
  float *x = values(7, 2 * 6 * 8 * 10);
  const void *in[] = {x};
  void *out[] = {r->odds, r->labels};
  memset(r, 0xff, sizeof *r);
  assert_int_equal(vn_exec_run(exec, in, out, NULL), VN_OK);
  free(x);
}

/* A small network with two outputs, and how the tests of execs open and run it. Used by test_exec.c
 * and test_exec_host.c; failures end the test. */
#ifndef VNET_SMALL_NET_H
#define VNET_SMALL_NET_H

#include "plan_builder.h"
#include "vnet.h"

/* NULL where this machine lacks the instruction set. */
struct vn_exec *exec_open(const struct vn_plan *plan, const char *isa, size_t threads);
struct vn_plan *plan_open(const void *bytes, size_t size);
/* To be freed. */
float *values(uint64_t seed, size_t n);

/* What pb_small_net's network yields for one fixed input. */
struct result {
  float odds[3 * 6 * 8 * 10];
  int64_t labels[6 * 8 * 10];
};
void small_run(struct vn_exec *exec, struct result *r);

#endif

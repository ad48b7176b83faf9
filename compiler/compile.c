/* The compiler, told in order: import, check, ends, topology, passes, memory plan, plan.
 *
 * Stages after which the graph can be printed, and their letters:
 *   i  as imported            s  simplified        n  functions named
 *   b  BatchNorm folded into convolutions          f  fused
 *   c  concats made aliases
 *   k  kernels chosen: what is planned */
#include "compile.h"

#include "ends.h"
#include "memplan.h"
#include "passes.h"

#include <stdlib.h>
#include <string.h>

struct stage {
  char letter;
  const char *name;
  vnc_pass_fn *pass; /* NULL: the last one, which reads the options; or as imported */
};

static const struct stage stages[] = {
    {'i', "imported", NULL},
    {'s', "simplified", vnc_pass_simplify},
    {'n', "functions named", vnc_pass_name},
    {'b', "BatchNorm folded", vnc_pass_batchnorm},
    {'f', "fused", vnc_pass_fuse},
    {'c', "concats aliased", vnc_pass_concat},
    {'k', "kernels chosen", NULL},
};

static enum vn_status stage_run(const struct stage *s, struct vnc_graph *g,
                                const struct vnc_options *options, struct vn_diag *diag) {
  if (s->pass) return s->pass(g, diag);
  return s->letter == 'k' ? vnc_pass_choose(g, options, diag) : VN_OK;
}

enum vn_status vnc_run_passes(struct vnc_graph *g, const struct vnc_options *options,
                              struct vn_diag *diag) {
  for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
    enum vn_status status = stage_run(&stages[i], g, options, diag);
    if (!status) status = vnc_graph_check(g, diag);
    if (status) return status;
    if (options->dump && options->dump_letters && strchr(options->dump_letters, stages[i].letter)) {
      fprintf(options->dump, "# %s\n", stages[i].name);
      status = vnc_graph_print(g, options->dump);
      if (status) return vn_fail(diag, status, "cannot print the graph");
    }
  }
  return VN_OK;
}

static void report_graph(const struct vnc_graph *g, struct vnc_report *report) {
  for (size_t i = 0; i < g->n_consts; i++) report->parameters += vnc_const_elems(&g->consts[i]);
}

static enum vn_status plan_graph(struct vnc_graph *g, void **plan, size_t *plan_bytes,
                                 struct vnc_report *report, struct vn_diag *diag) {
  struct vnc_memplan m;
  enum vn_status status = vnc_memplan(g, &m, diag);
  if (status) return status;
  status = vnc_memplan_check(g, &m, diag);
  if (!status) status = vnc_plan_write(g, &m, report->topology, plan, plan_bytes, diag);
  report->arena_bytes = m.arena_bytes;
  report->arena_bound_bytes = m.bound_bytes;
  report->plan_bytes = *plan_bytes;
  for (uint32_t i = 0; i < g->n_nodes; i++) {
    const struct vnc_node *node = &g->nodes[i];
    report->macs += vnc_node_macs(g, i);
    /* A concat of channels is a place in memory, and of other axes a copy of each part. */
    if (node->op == VN_OP_CONCAT)
      report->steps += node->axis == VN_C ? 0 : node->n_args;
    else
      report->steps += node->op != VN_OP_INPUT;
  }
  vnc_memplan_free(&m);
  return status;
}

/* The topology's refusal, with the way out if there is one. The graph is of no use afterwards. */
static enum vn_status refuse_topology(struct vnc_graph *g, const struct vnc_options *options,
                                      struct vn_diag *diag) {
  struct vnc_options quiet = *options;
  struct vnc_report report = {0};
  struct vn_diag refusal;
  void *plan = NULL;
  size_t plan_bytes = 0;
  if (!diag) return VN_E_UNSUPPORTED;
  refusal = *diag;
  quiet.dump = NULL;
  enum vn_status status = vnc_run_passes(g, &quiet, diag);
  if (!status) status = plan_graph(g, &plan, &plan_bytes, &report, diag);
  if (options->memory_limit_bytes && report.arena_bytes > options->memory_limit_bytes)
    status = VN_E_MEMORY;
  free(plan);
  return vn_fail(diag, VN_E_UNSUPPORTED, "%.440s%s", refusal.text,
                 status ? "" : "; --topology any compiles it all the same");
}

enum vn_status vnc_compile_graph(struct vnc_graph *g, const struct vnc_options *options,
                                 void **plan, size_t *plan_bytes, struct vnc_report *report,
                                 struct vn_diag *diag) {
  struct vnc_report unread;
  if (!report) report = &unread;
  memset(report, 0, sizeof *report);
  *plan = NULL;
  *plan_bytes = 0;
  enum vn_status status = vnc_graph_check(g, diag);
  if (!status) status = vnc_ends(g, diag);
  if (!status)
    status = vnc_topology(g, options->topology, report->topology, sizeof report->topology, diag);
  if (status) return status == VN_E_UNSUPPORTED ? refuse_topology(g, options, diag) : status;
  report->batch_norms = g->batch_norms;
  report_graph(g, report);
  status = vnc_run_passes(g, options, diag);
  if (!status && options->mark) vnc_graph_meta(g, options->mark_key, options->mark);
  if (!status && g->failed) status = vn_fail(diag, VN_E_MEMORY, "out of memory");
  if (!status) status = plan_graph(g, plan, plan_bytes, report, diag);
  if (!status && options->memory_limit_bytes && report->arena_bytes > options->memory_limit_bytes) {
    status = vn_fail(diag, VN_E_MEMORY, "the plan needs an arena of %llu bytes, the limit is %llu",
                     (unsigned long long)report->arena_bytes,
                     (unsigned long long)options->memory_limit_bytes);
  }
  if (status) {
    free(*plan);
    *plan = NULL;
  }
  return status;
}

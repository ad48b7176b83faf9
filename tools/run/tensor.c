/* Reads .npy arrays, runs the network once, writes .npy arrays; see tensor.h. */
#include "tensor.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "npy.h"

/* An output may replace an older one, never what is being read or another one. */
static void files_check(const struct run_options *o, const struct run_models *models) {
  struct cli_files files = {0};
  run_models_add(&files, models);
  for (size_t i = 0; i < o->tensors; i++) cli_files_add(&files, o->tensor[i], false);
  for (size_t i = 0; i < o->outputs; i++) cli_files_add(&files, o->output[i], true);
  cli_files_check(&files);
}

/* Integers for an input that takes floats. */
static void tensor_convert(struct npy *array) {
  const int64_t *from = array->data;
  float *to = array->data; /* of half the size: never ahead of what is read */
  for (size_t i = 0; i < array->elems; i++) {
    const float value = (float)from[i];
    memcpy(&to[i], &value, sizeof value);
  }
  array->type = VN_TYPE_F32;
}

static void tensor_check(const struct npy *array, const struct vn_port *port, const char *path) {
  bool same = array->type == port->type && array->rank == port->rank &&
              memcmp(array->dim, port->dim, port->rank * sizeof *port->dim) == 0;
  if (same) return;
  char shape[160] = "";
  for (size_t i = 0; i < port->rank; i++)
    snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%s%zu", i ? "x" : "",
             port->dim[i]);
  cli_fatal(VN_E_ARGUMENT, "%s: input '%s' is %s of shape %s", path, port->name,
            port->type == VN_TYPE_F32 ? "float32" : "int64", shape);
}

void tensors_run(const struct run_options *o, const struct run_models *models,
                 struct vn_cancel *cancel) {
  const struct vn_plan *plan = models->of[0].plan;
  struct vn_diag diag;
  struct vn_exec *exec;
  struct npy in[RUN_TENSORS_MOST] = {0}, out[RUN_TENSORS_MOST] = {0};
  const void *from[RUN_TENSORS_MOST];
  void *to[RUN_TENSORS_MOST];
  struct cli_output file[RUN_TENSORS_MOST];
  size_t ins = vn_plan_inputs(plan), outs = vn_plan_outputs(plan);
  if (models->count > 1)
    cli_fatal(VN_E_ARGUMENT, "%s: --tensor runs one network, and these are %zu", o->plan,
              models->count);
  if (o->tensors != ins || o->outputs > outs || outs > RUN_TENSORS_MOST)
    cli_fatal(VN_E_ARGUMENT, "the network has %zu inputs and %zu outputs; %zu and %zu files given",
              ins, outs, o->tensors, o->outputs);
  files_check(o, models);
  for (size_t i = 0; i < ins; i++) {
    struct vn_port port = vn_plan_input(plan, i);
    cli_check(npy_read(o->tensor[i], &in[i], &diag), &diag);
    if (in[i].type == VN_TYPE_I64 && port.type == VN_TYPE_F32) tensor_convert(&in[i]);
    tensor_check(&in[i], &port, o->tensor[i]);
    from[i] = in[i].data;
  }
  for (size_t i = 0; i < outs; i++) {
    struct vn_port port = vn_plan_output(plan, i);
    out[i] = (struct npy){.type = port.type, .rank = port.rank, .elems = port.elems};
    memcpy(out[i].dim, port.dim, port.rank * sizeof *port.dim);
    to[i] = out[i].data = calloc(port.elems, port.type == VN_TYPE_F32 ? 4 : 8);
    if (!to[i]) cli_fatal(VN_E_MEMORY, "out of memory for output '%s'", port.name);
    if (i >= o->outputs) continue;
    cli_output_open(&file[i], o->output[i]);
  }
  const struct vn_run_options run = {.size = sizeof run, .cancel = cancel};
  cli_check(vn_exec_open(plan, &o->exec, &exec, &diag), &diag);
  cli_check(vn_exec_run_with(exec, from, to, &run, &diag), &diag);
  cli_check_interrupt();
  vn_exec_close(&exec);
  for (size_t i = 0; i < o->outputs; i++)
    if (npy_write(file[i].fd, &out[i], &diag))
      cli_fatal(VN_E_IO, "%s: %s", file[i].path, diag.text);
  for (size_t i = 0; i < o->outputs; i++) cli_output_commit(&file[i]);
  for (size_t i = 0; i < ins; i++) npy_close(&in[i]);
  for (size_t i = 0; i < outs; i++) npy_close(&out[i]);
}

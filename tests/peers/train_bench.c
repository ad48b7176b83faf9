/* Training steps for tests/peers/train_bench.py, which asks for them one at a time:
 *
 *   train_bench MEMBER WIDTH BATCH DxHxW THREADS [ISA]
 *
 * opens the network with 2 classes on random data; then, for each line of standard input, a whole
 * step (forward, Dice loss, backward, AdamW) and a line with its seconds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fail.h"
#include "loss.h"
#include "net.h"
#include "optim.h"
#include "random.h"
#include "models/build.h"

struct bench {
  struct vnc_spec spec;
  struct vnt_machine machine;
  struct vnc_graph graph;
  struct vnt_net net;
  struct vnt_optim optim;
  uint8_t *labels;
};

static enum vn_status bench_open(struct bench *b, char **arg, struct vn_diag *diag) {
  uint64_t patch[3];
  const size_t batch = strtoul(arg[2], NULL, 10), threads = strtoul(arg[4], NULL, 10);
  if (sscanf(arg[3], "%lux%lux%lu", &patch[0], &patch[1], &patch[2]) != 3)
    return vn_fail(diag, VN_E_ARGUMENT, "%s is not DxHxW", arg[3]);
  enum vn_status status = vnc_spec_init(&b->spec, arg[0], 5, diag);
  if (status) return status;
  b->spec.width = (uint32_t)strtoul(arg[1], NULL, 10);
  b->spec.classes = 2;
  b->optim = (struct vnt_optim){
      .kind = VNT_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .decay = 0.01};
  if ((status = vnc_model_build(&b->spec, patch, 1, &b->graph, diag)) ||
      (status = vnt_machine_open(arg[5], threads, &b->machine, diag)) ||
      (status = vnt_net_open(&b->machine, &b->graph, batch, &b->net, diag)) ||
      (status = vnt_optim_open(&b->optim, b->net.elems, diag)))
    return status;
  const size_t voxels = batch * patch[0] * patch[1] * patch[2];
  struct vnt_random r = vnt_random_open(1, 0, 0);
  b->labels = malloc(voxels);
  if (!b->labels) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  for (size_t i = 0; i < voxels; i++) {
    ((float *)b->net.input.data)[i] = (float)vnt_random_normal(&r);
    b->labels[i] = (uint8_t)vnt_random_below(&r, 2);
  }
  return VN_OK;
}

static enum vn_status step(struct bench *b, struct vn_diag *diag) {
  const struct vnt_loss_spec spec = {.kind = VNT_LOSS_DICE};
  struct vnt_loss loss;
  vnt_net_forward(&b->net);
  enum vn_status status =
      vnt_loss_run(&b->machine, &spec, &b->net.output, b->labels, &b->net.grad_output, &loss, diag);
  if (status) return status;
  vnt_net_backward(&b->net, NULL, NULL);
  vnt_optim_step(&b->machine, &b->optim, 1e-4, b->net.param, b->net.grad);
  vnt_net_changed(&b->net);
  return VN_OK;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv) {
  static struct bench b;
  struct vn_diag diag = {0};
  if (argc < 6) {
    fprintf(stderr, "usage: train_bench MEMBER WIDTH BATCH DxHxW THREADS [ISA]\n");
    return VN_E_ARGUMENT;
  }
  enum vn_status status = bench_open(&b, argv + 1, &diag);
  for (char line[16]; !status && fgets(line, sizeof line, stdin);) {
    const double begin = now();
    status = step(&b, &diag);
    printf("%.6f\n", now() - begin);
    fflush(stdout);
  }
  if (status) fprintf(stderr, "train_bench: %s\n", diag.text);
  free(b.labels);
  vnt_optim_close(&b.optim);
  vnt_net_close(&b.net);
  vnt_machine_close(&b.machine);
  vnc_graph_free(&b.graph);
  return (int)status;
}

/* The trainer's network, losses and optimisers against PyTorch (goldens:
 * tests/peers/train_golden.py), for any number of threads, and on a phantom that must be learnt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "loss.h"
#include "net.h"
#include "npy.h"
#include "optim.h"
#include "models/build.h"

#ifndef GOLDEN_DIR
#error "GOLDEN_DIR names tests/golden"
#endif

enum { SIZE = 16, BATCH = 2, VOXELS = SIZE * SIZE * SIZE, SEED = 9, STEPS = 10 };
static const double ADAMW_RATE = 1e-4;

/* As in train_golden.py. */
static const struct recipe {
  const char *golden, *member;
  uint32_t stages;
  size_t stride;
  bool dropout;
} recipes[] = {
    {"vnet", "vnet", 3, 61, false},
    {"vnet-2016", "vnet-2016", 3, 127, false},
    {"vnet-caffe", "vnet-caffe", 3, 61, false},
    {"monai", "monai", 3, 127, false},
    {"mattmacy", "mattmacy", 3, 61, false},
    {"monai-dropout", "monai", 4, 509, true},
};
enum { VNET, VNET_2016, VNET_CAFFE, MONAI, MATTMACY, MONAI_DROPOUT, RECIPES };

struct trainer {
  struct vnt_machine machine;
  struct vnc_graph graph;
  struct vnt_net net;
  struct vnt_loss_spec loss;
  uint8_t labels[BATCH * VOXELS];
};

/* As train_golden.py has it. The phase of 0.4 is one for which no PReLU's argument lies so near to
 * 0, where it matters, that rounding moves it to the other side: one voxel's is 1e-3 of a
 * gradient. */
static void batch_fill(struct trainer *t) {
  float *x = t->net.input.data;
  for (int n = 0; n < BATCH; n++)
    for (int d = 0; d < SIZE; d++)
      for (int h = 0; h < SIZE; h++)
        for (int w = 0; w < SIZE; w++) {
          size_t i = (size_t)((n * SIZE + d) * SIZE + h) * SIZE + (size_t)w;
          x[i] = (float)(sin(d * 0.9 + h * 0.35 + 0.4) + cos(w * 0.7 - h * 0.2) + 0.1 * n);
          t->labels[i] = (d - 7 - n) * (d - 7 - n) + (h - 6) * (h - 6) + (w - 9) * (w - 9) < 30;
        }
}

static void trainer_open(struct trainer *t, const struct recipe *recipe, size_t threads,
                         const char *isa) {
  const char *member = recipe->member;
  struct vnc_spec spec;
  struct vn_diag diag;
  const uint64_t patch[3] = {SIZE, SIZE, SIZE};
  assert_int_equal(vnc_spec_init(&spec, member, recipe->stages, &diag), VN_OK);
  spec.width = 4;
  spec.classes = 2;
  memset(&t->net, 0, sizeof t->net);
  if (vnc_model_build(&spec, patch, 4, &t->graph, &diag) ||
      (recipe->dropout && vnt_dropout_insert(&t->graph, &diag)) ||
      vnc_graph_check(&t->graph, &diag) || vnt_machine_open(isa, threads, &t->machine, &diag) ||
      vnt_net_open(&t->machine, &t->graph, BATCH, &t->net, &diag))
    fail_msg("%s", diag.text);
  t->loss = (struct vnt_loss_spec){.kind = VNT_LOSS_DICE};
  if (strcmp(member, "vnet-caffe") == 0)
    t->loss = (struct vnt_loss_spec){.kind = VNT_LOSS_MULTI_DICE, .cross_entropy = 0.5};
  if (strcmp(member, "mattmacy") == 0)
    t->loss = (struct vnt_loss_spec){.kind = VNT_LOSS_SIGMOID_DICE};
  batch_fill(t);
}

static void trainer_close(struct trainer *t) {
  vnt_net_close(&t->net);
  vnt_machine_close(&t->machine);
  vnc_graph_free(&t->graph);
}

static struct vnt_loss gradients(struct trainer *t) {
  struct vnt_loss loss;
  struct vn_diag diag;
  vnt_net_forward(&t->net);
  if (vnt_loss_run(&t->machine, &t->loss, &t->net.output, t->labels, &t->net.grad_output, &loss,
                   &diag))
    fail_msg("%s", diag.text);
  vnt_net_backward(&t->net, NULL, NULL);
  return loss;
}

static void step(struct trainer *t, struct vnt_optim *optim, double rate) {
  assert_true(isfinite(vnt_optim_step(&t->machine, optim, rate, t->net.param, t->net.grad)));
  vnt_net_changed(&t->net);
}

/* The parameter that constant `id` is; NULL: none. */
static const struct vnt_param *param_of(const struct trainer *t, uint32_t id) {
  for (size_t i = 0; i < t->net.n_params; i++)
    if (t->net.params[i].constant == id) return &t->net.params[i];
  return NULL;
}

/* A bias that BatchNorm takes away again: its gradient is 0 but for rounding, of which AdamW makes
 * whole steps all the same. */
static bool is_idle(const struct vnc_graph *g, uint32_t id) {
  for (size_t i = 0; i + 1 < g->n_nodes; i++)
    if (g->nodes[i].bias == id && g->nodes[i].op != VN_OP_AFFINE)
      return g->nodes[i + 1].op == VN_OP_AFFINE;
  return false;
}

/* Every stride-th element of every parameter against *want, which moves on; within 1e-4 of the norm
 * of the whole. */
static void compare(const struct trainer *t, size_t stride, const float *have, const float **want,
                    bool norms, const char *what) {
  for (uint32_t id = 0; id < t->graph.n_consts; id++) {
    const struct vnt_param *p = param_of(t, id);
    if (!p) continue;
    double norm = 0, scale = 0, total = 0;
    for (size_t i = 0; i < p->elems; i++) norm += pow((double)have[p->offset + i], 2);
    for (size_t i = 0; i < t->net.elems; i++) total += pow((double)have[i], 2);
    norm = sqrt(norm);
    /* The gradient of a bias or a slope is thousands of terms that cancel, all of them before
     * BatchNorm: what they are sums of is held to 1e-4, and so they are to 1e-6 of all
     * gradients. */
    scale = norm + (t->graph.consts[id].rank == 5 ? 1e-4 : 1e-2) * sqrt(total);
    double most = 1e-4 * scale;
    const char *name = vnc_graph_text(&t->graph, t->graph.consts[id].name);
    if (!norms && is_idle(&t->graph, id)) most = fmax(most, STEPS * ADAMW_RATE);
    if (norms) {
      if (!(fabs(norm - (double)**want) < 1e-4 * scale))
        fail_msg("%s of %s: norm %g, PyTorch has %g", what, name, norm, (double)**want);
      ++*want;
    }
    for (size_t i = 0; i < p->elems; i += stride, ++*want)
      if (!(fabs((double)have[p->offset + i] - (double)**want) < most))
        fail_msg("%s of %s[%zu]: %g, PyTorch has %g", what, name, i, (double)have[p->offset + i],
                 (double)**want);
  }
}

static void torch_steps(struct trainer *t, const struct recipe *recipe, const char *isa,
                        const struct npy *golden) {
  const float *losses = golden->data, *want = losses + 22;
  for (int kind = 0; kind < 2; kind++) {
    struct vnt_optim optim = {.kind = kind ? VNT_ADAMW : VNT_SGD,
                              .momentum = 0.9,
                              .beta1 = 0.9,
                              .beta2 = 0.999,
                              .epsilon = 1e-8,
                              .decay = kind ? 0.01 : 0};
    struct vn_diag diag;
    trainer_open(t, recipe, 2, isa);
    assert_int_equal(vnt_optim_open(&optim, t->net.elems, &diag), VN_OK);
    for (int turn = 0; turn <= STEPS; turn++, losses++) {
      if (recipe->dropout) vnt_net_dropout(&t->net, 0.5, SEED, (uint64_t)turn, 0);
      struct vnt_loss loss = gradients(t);
      if (!(fabs(loss.loss - (double)*losses) < 1e-4 * (double)*losses))
        fail_msg("%s, %s: loss %d is %.7f, PyTorch has %.7f", recipe->golden,
                 kind ? "AdamW" : "SGD", turn, loss.loss, (double)*losses);
      if (turn == 0 && kind == 0) compare(t, recipe->stride, t->net.grad, &want, true, "gradient");
      if (turn < STEPS) step(t, &optim, kind ? ADAMW_RATE : 0.01);
    }
    compare(t, recipe->stride, t->net.param, &want, false, kind ? "AdamW's value" : "SGD's value");
    vnt_optim_close(&optim);
    trainer_close(t);
  }
  assert_ptr_equal(want, (const float *)golden->data + golden->elems);
}

static void training_is_torch(void **state) {
  (void)state;
  static const char *const isas[] = {"avx512", "avx2", "neon"};
  static struct trainer t;
  for (size_t m = 0; m < RECIPES; m++) {
    char path[1024];
    struct npy golden;
    struct vn_diag diag;
    snprintf(path, sizeof path, "%s/train/%s.npy", GOLDEN_DIR, recipes[m].golden);
    if (npy_read(path, &golden, &diag)) fail_msg("%s", diag.text);
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
      struct vnt_machine probe;
      bool here = vnt_machine_open(isas[i], 1, &probe, NULL) == VN_OK;
      vnt_machine_close(&probe);
      if (here) torch_steps(&t, &recipes[m], isas[i], &golden);
    }
    npy_close(&golden);
  }
}

static void threads_change_nothing(void **state) {
  (void)state;
  static struct trainer t;
  float *first = NULL;
  for (size_t threads = 1; threads <= 4; threads++) {
    struct vnt_optim optim = {.kind = VNT_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
    trainer_open(&t, &recipes[MONAI_DROPOUT], threads, NULL);
    assert_int_equal(vnt_optim_open(&optim, t.net.elems, NULL), VN_OK);
    for (int turn = 0; turn < 3; turn++) {
      vnt_net_dropout(&t.net, 0.5, SEED, (uint64_t)turn, 0);
      gradients(&t);
      step(&t, &optim, 0.001);
    }
    if (first) assert_memory_equal(first, t.net.param, t.net.elems * sizeof *first);
    if (!first) {
      first = malloc(t.net.elems * sizeof *first);
      memcpy(first, t.net.param, t.net.elems * sizeof *first);
    }
    vnt_optim_close(&optim);
    trainer_close(&t);
  }
  free(first);
}

/* Learnt in under a minute, from nothing. */
static void a_phantom_is_learnt(void **state) {
  (void)state;
  static struct trainer t;
  struct vnt_optim optim = {
      .kind = VNT_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .clip = 1};
  trainer_open(&t, &recipes[VNET_2016], 2, NULL);
  assert_int_equal(vnt_optim_open(&optim, t.net.elems, NULL), VN_OK);
  double best = 0;
  int turn = 0;
  for (; turn < 400 && best < 0.98; turn++) {
    struct vnt_loss loss = gradients(&t);
    best = fmax(best, loss.dice);
    step(&t, &optim, vnt_rate_cosine(0.002, (uint64_t)turn, 10, 400));
  }
  printf("Dice %.4f after %d steps\n", best, turn);
  assert_true(best >= 0.98);
  vnt_optim_close(&optim);
  trainer_close(&t);
}

/* Slopes below 0 and of 0, which the net treats apart: the loss rises along the gradient as the
 * gradient says. */
static void any_slope_is_trained(void **state) {
  (void)state;
  static struct trainer t;
  trainer_open(&t, &recipes[VNET], 2, NULL);
  for (uint32_t id = 0, slopes = 0; id < t.graph.n_consts; id++) {
    const struct vnt_param *p = param_of(&t, id);
    const char *name = p ? vnc_graph_text(&t.graph, t.graph.consts[id].name) : "";
    const size_t length = strlen(name);
    if (length > 2 && strcmp(name + length - 2, ".a") == 0)
      t.net.param[p->offset] *= ++slopes == 3 ? 0 : slopes % 2 ? -1 : 1;
  }
  vnt_net_changed(&t.net);
  gradients(&t);
  float *grad = malloc(t.net.elems * sizeof *grad), *start = malloc(t.net.elems * sizeof *start);
  double norm = 0, loss[2];
  for (size_t i = 0; i < t.net.elems; i++) {
    grad[i] = t.net.grad[i];
    start[i] = t.net.param[i];
    norm += (double)grad[i] * (double)grad[i];
  }
  norm = sqrt(norm);
  const double h = 2e-3;
  for (int side = 0; side < 2; side++) {
    for (size_t i = 0; i < t.net.elems; i++)
      t.net.param[i] = start[i] + (float)((side ? h : -h) / norm) * grad[i];
    vnt_net_changed(&t.net);
    loss[side] = gradients(&t).loss;
  }
  const double rise = (loss[1] - loss[0]) / (2 * h);
  if (!(fabs(rise - norm) < 0.01 * norm)) fail_msg("rises by %g, not %g", rise, norm);
  free(grad), free(start);
  trainer_close(&t);
}

/* loss.h's formulas in double; the weighted mean is torch.nn.CrossEntropyLoss's, with its
 * ignore_index. */
static double loss_reference(const struct vnt_loss_spec *spec, const double *scores,
                             const uint8_t *labels, size_t voxels, size_t channels) {
  const bool sigmoid = spec->kind == VNT_LOSS_SIGMOID_DICE;
  const bool multi = spec->kind == VNT_LOSS_MULTI_DICE;
  const double smooth = sigmoid ? 1 : multi ? 1e-5 : 0;
  static const double ones[4] = {1, 1, 1, 1};
  const double *weight = spec->class_weight ? spec->class_weight : ones;
  double pg[4] = {0}, pp[4] = {0}, gg[4] = {0}, entropy = 0, dice = 0, all = 0, of_classes = 0;
  const size_t classes = channels == 1 ? 2 : channels, last = multi ? classes : 2;
  for (size_t i = 0; i < voxels; i++) {
    double p[4], sum = 0;
    if (labels[i] == VNT_LOSS_IGNORED) continue;
    for (size_t c = 0; c < classes; c++)
      sum += p[c] = channels > 1 ? exp(scores[i * channels + c]) : c ? exp(scores[i]) : 1;
    for (size_t c = 0; c < classes; c++) {
      const double g = labels[i] == c;
      p[c] /= sum;
      pg[c] += p[c] * g, pp[c] += p[c] * p[c], gg[c] += g;
    }
    entropy -= weight[labels[i]] * log(p[labels[i]]);
    all += weight[labels[i]];
  }
  for (size_t c = 1; c < last; c++) {
    dice += weight[c] * (1 - (2 * pg[c] + smooth) / (pp[c] + gg[c] + smooth));
    of_classes += weight[c];
  }
  return dice / of_classes + spec->cross_entropy * entropy / all;
}

static void gradients_of_losses(void **state) {
  (void)state;
  static const double weights[4] = {0.5, 3, 1, 2};
  static const struct {
    struct vnt_loss_spec spec;
    size_t channels;
    bool ignoring; /* every fifth voxel */
  } cases[] = {{{VNT_LOSS_DICE, 0, NULL}, 2, false},
               {{VNT_LOSS_DICE, 0.7, NULL}, 2, false},
               {{VNT_LOSS_DICE, 0.7, weights}, 2, true},
               {{VNT_LOSS_SIGMOID_DICE, 0, NULL}, 1, false},
               {{VNT_LOSS_SIGMOID_DICE, 0.5, NULL}, 1, false},
               {{VNT_LOSS_SIGMOID_DICE, 0.5, weights}, 1, true},
               {{VNT_LOSS_SIGMOID_DICE, 0.5, NULL}, 2, false},
               {{VNT_LOSS_MULTI_DICE, 0, NULL}, 4, false},
               {{VNT_LOSS_MULTI_DICE, 0.5, weights}, 4, true},
               {{VNT_LOSS_MULTI_DICE, 1, NULL}, 3, false}};
  enum { COUNT = 3 * 5 * 7 };
  struct vnt_machine m;
  assert_int_equal(vnt_machine_open(NULL, 2, &m, NULL), VN_OK);
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    const size_t channels = cases[k].channels, elems = COUNT * channels;
    float scores[COUNT * 4], grad[COUNT * 4];
    double wide[COUNT * 4];
    uint8_t labels[COUNT];
    struct vnt_loss loss;
    const struct vn_tensor t = {.data = scores, .dim = {1, channels, 3, 5, 7}, .stride = channels};
    const struct vn_tensor g = {.data = grad, .dim = {1, channels, 3, 5, 7}, .stride = channels};
    for (size_t i = 0; i < elems; i++) wide[i] = scores[i] = (float)(3 * sin(7.1 * (double)i));
    for (size_t i = 0; i < COUNT; i++)
      labels[i] = cases[k].ignoring && i % 5 == 3
                      ? VNT_LOSS_IGNORED
                      : (uint8_t)(i * i % (channels == 1 ? 2 : channels));
    assert_int_equal(vnt_loss_run(&m, &cases[k].spec, &t, labels, &g, &loss, NULL), VN_OK);
    const double want = loss_reference(&cases[k].spec, wide, labels, COUNT, channels);
    assert_true(fabs(loss.loss - want) < 1e-6 * want);
    double off = 0, norm = 0;
    for (size_t i = 0; i < elems; i++) {
      const double h = 1e-5, keep = wide[i];
      wide[i] = keep + h;
      const double up = loss_reference(&cases[k].spec, wide, labels, COUNT, channels);
      wide[i] = keep - h;
      const double down = loss_reference(&cases[k].spec, wide, labels, COUNT, channels);
      wide[i] = keep;
      off += pow((double)grad[i] - (up - down) / (2 * h), 2);
      norm += pow((up - down) / (2 * h), 2);
    }
    if (!(sqrt(off) < 1e-5 * sqrt(norm))) fail_msg("loss %zu: off by %g", k, sqrt(off / norm));
  }
  vnt_machine_close(&m);
}

/* The paper's Dice has no constant that would soften it where next to nothing is there; what is
 * told beside a loss is the Dice of the labels that win. */
static void losses_of_next_to_nothing(void **state) {
  (void)state;
  float scores[16], grad[16];
  uint8_t labels[8] = {0};
  struct vnt_machine m;
  struct vnt_loss loss;
  const struct vnt_loss_spec paper = {.kind = VNT_LOSS_DICE},
                             several = {.kind = VNT_LOSS_MULTI_DICE};
  const struct vn_tensor t = {.data = scores, .dim = {1, 2, 2, 2, 2}, .stride = 2};
  const struct vn_tensor g = {.data = grad, .dim = {1, 2, 2, 2, 2}, .stride = 2};
  for (int i = 0; i < 16; i++) scores[i] = i % 2 ? 0 : 7; /* sum p^2 = 7e-6 */
  assert_int_equal(vnt_machine_open(NULL, 1, &m, NULL), VN_OK);
  assert_int_equal(vnt_loss_run(&m, &paper, &t, labels, &g, &loss, NULL), VN_OK);
  assert_true(fabs(loss.loss - 1) < 1e-9 && loss.dice == 1);
  assert_int_equal(vnt_loss_run(&m, &several, &t, labels, &g, &loss, NULL), VN_OK);
  assert_true(loss.loss > 0.3 && loss.loss < 0.5 && loss.dice == 1);
  labels[0] = labels[1] = labels[2] = 1; /* two of which, and one other, win */
  scores[1] = scores[3] = scores[15] = 9;
  assert_int_equal(vnt_loss_run(&m, &several, &t, labels, &g, &loss, NULL), VN_OK);
  assert_true(fabs(loss.dice - 4.0 / 6) < 1e-12);
  assert_true(loss.class[1].samples == 1 && fabs(loss.class[1].dice - 4.0 / 6) < 1e-12);
  memset(labels, VNT_LOSS_IGNORED, sizeof labels); /* then there is nothing to learn */
  assert_int_equal(vnt_loss_run(&m, &several, &t, labels, &g, &loss, NULL), VN_OK);
  assert_true(loss.loss == 0 && loss.class[1].samples == 0);
  for (int i = 0; i < 16; i++) assert_true(grad[i] == 0);
  vnt_machine_close(&m);
}

/* They differ by sample and step, come back with their numbers, and at probability 0 drop
 * nothing. */
static void masks_are_the_samples_own(void **state) {
  (void)state;
  static struct trainer t;
  float *first = malloc(BATCH * VOXELS * 2 * sizeof *first);
  trainer_open(&t, &recipes[MONAI_DROPOUT], 1, NULL);
  const size_t sample = VOXELS * 2;
  const float *scores = t.net.output.data;
  memcpy((float *)t.net.input.data + VOXELS, t.net.input.data, VOXELS * sizeof(float));
  vnt_net_dropout(&t.net, 0.5, SEED, 3, 0);
  vnt_net_forward(&t.net);
  memcpy(first, scores, 2 * sample * sizeof *first);
  assert_memory_not_equal(scores, scores + sample, sample * sizeof *scores);
  vnt_net_dropout(&t.net, 0.5, SEED, 4, 0);
  vnt_net_forward(&t.net);
  assert_memory_not_equal(scores, first, sample * sizeof *scores);
  vnt_net_dropout(&t.net, 0.5, SEED, 3, 0);
  vnt_net_forward(&t.net);
  assert_memory_equal(scores, first, 2 * sample * sizeof *scores);
  vnt_net_dropout(&t.net, 0, SEED, 3, 0); /* two equal samples, BatchNorm over both */
  vnt_net_forward(&t.net);
  assert_memory_equal(scores, scores + sample, sample * sizeof *scores);
  free(first);
  trainer_close(&t);
}

static void schedules_are_as_written(void **state) {
  (void)state;
  assert_true(vnt_rate_steps(1e-4, 24999, 25000) == 1e-4);
  assert_true(fabs(vnt_rate_steps(1e-4, 50000, 25000) - 1e-6) < 1e-18);
  assert_true(fabs(vnt_rate_cosine(1, 0, 10, 110) - 0.1) < 1e-12);
  assert_true(vnt_rate_cosine(1, 9, 10, 110) == 1);
  assert_true(fabs(vnt_rate_cosine(1, 35, 10, 110) - 0.25 * (2 + sqrt(2))) < 1e-12);
  assert_true(fabs(vnt_rate_cosine(1, 60, 10, 110) - 0.5) < 1e-12);
  assert_true(vnt_rate_cosine(1, 110, 10, 110) == 0);
}

/* What the optimiser does with gradients that are no numbers: nothing. */
static void no_number_changes_nothing(void **state) {
  (void)state;
  struct vnt_machine m;
  float param[3] = {1, 2, 3}, grad[3] = {1, NAN, 0};
  struct vnt_optim optim = {.kind = VNT_SGD, .momentum = 0.9, .clip = 2};
  assert_int_equal(vnt_machine_open(NULL, 1, &m, NULL), VN_OK);
  assert_int_equal(vnt_optim_open(&optim, 3, NULL), VN_OK);
  assert_true(isnan(vnt_optim_step(&m, &optim, 0.1, param, grad)));
  assert_true(param[0] == 1 && param[1] == 2 && optim.steps == 0 && optim.first[0] == 0);
  grad[1] = 2;
  double norm = vnt_optim_step(&m, &optim, 0.1, param, grad);
  assert_true(fabs(norm - sqrt(5)) < 1e-6 && fabsf(param[1] - (2 - 0.4f / sqrtf(5))) < 1e-6f);
  vnt_optim_close(&optim);
  vnt_machine_close(&m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(training_is_torch),         cmocka_unit_test(threads_change_nothing),
      cmocka_unit_test(a_phantom_is_learnt),       cmocka_unit_test(schedules_are_as_written),
      cmocka_unit_test(any_slope_is_trained),      cmocka_unit_test(gradients_of_losses),
      cmocka_unit_test(masks_are_the_samples_own), cmocka_unit_test(no_number_changes_nothing),
      cmocka_unit_test(losses_of_next_to_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

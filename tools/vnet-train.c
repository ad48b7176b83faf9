/* vnet-train: label maps in, a trained V-Net as ONNX out. Training scans are rendered from the
 * label maps (train/data/generate.h); the network, its losses and optimisers are in train/. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "checkpoint.h"
#include "cli.h"
#include "compile.h"
#include "generate.h"
#include "loss.h"
#include "models/vnet.h"
#include "vnet.h"

static const char help[] =
    "Usage: vnet-train [options] --labels DIR -o MODEL.onnx\n"
    "\n"
    "Trains a V-Net to find the brain on scans of any contrast that are rendered from\n"
    "the label maps in DIR (NIfTI, FreeSurfer's values). The same options and seed give\n"
    "the same weights, for any number of threads, stopped and resumed or not.\n"
    "\n"
    "  --labels DIR           whole-head label maps\n"
    "  -o, --output FILE      the model\n"
    "  --member NAME          vnet-caffe (default), vnet, vnet-2016, monai, mattmacy\n"
    "  --width N              channels of the first stage (8)\n"
    "  --stages N             from the full grid to the coarsest (4)\n"
    "  --patch DxHxW          voxels of a training sample (80x96x80)\n"
    "  --model-patch DxHxW    voxels of the exported model's window (96x112x96)\n"
    "  --spacing MM           of the voxels (2)\n"
    "  --steps N              (4000)\n"
    "  --batch N              samples in a step (1)\n"
    "  --optimizer NAME       adamw (default), or sgd as in the paper: momentum 0.99\n"
    "  --rate X               learning rate; 0.001, for sgd 0.0001\n"
    "  --freeze X             share of the steps after which BatchNorm's statistics stay as\n"
    "                         they are, as in the exported model (0.5)\n"
    "  --loss NAME            dice (the paper's; default), sigmoid or multi\n"
    "  --cross-entropy X      its weight beside the Dice loss (0.5)\n"
    "  --seed N               (1)\n"
    "  --checkpoint FILE      default: MODEL.onnx.ckpt; written every --every N steps (200)\n"
    "  --resume               go on from the checkpoint\n"
    "  --log FILE             CSV: a row for each step\n"
    "  --threads N            default: one for each core\n"
    "  --isa NAME             avx512, avx2, neon or portable; default: the best\n"
    "  -q, --quiet            no progress line\n"
    "  -h, --help, -V, --version\n"
    "\n"
    "Example: vnet-train --labels labels/ -o brain.onnx --steps 8000 --log brain.csv\n"
    "\n" CLI_EXIT_HELP;

struct arguments {
  const char *labels, *output, *member, *checkpoint, *log, *isa;
  size_t width, stages, batch, threads;
  size_t patch[3], model_patch[3];
  double spacing_mm, rate, freeze;
  uint64_t steps, seed, every;
  enum vnt_optim_kind optimizer;
  struct vnt_loss_spec loss;
  bool resume, quiet;
};

struct training {
  struct arguments a;
  struct vnc_spec spec;
  struct vnt_machine machine;
  struct vnc_graph graph;
  struct vnt_net net;
  struct vnt_optim optim;
  struct vnt_generator generator;
  struct vnt_labelmap *maps;
  size_t n_maps;
  uint8_t *target;
};

static volatile int stopped;

static void stop(void *context) {
  (void)context;
  stopped = 1;
}

/* ---- the command line ---- */

static double number(const char *option, const char *text, double least, double most) {
  char *end;
  const double value = strtod(text, &end);
  if (*end || end == text || !(value >= least && value <= most))
    cli_fatal(VN_E_ARGUMENT, "%s: expected a number from %g to %g, got %s", option, least, most,
              text);
  return value;
}

static size_t choice(const char *option, const char *text, const char *const *names, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(text, names[i]) == 0) return i;
  cli_fatal(VN_E_ARGUMENT, "%s: '%s' is not one of those in --help", option, text);
}

enum {
  LABELS = 256,
  MEMBER,
  WIDTH,
  STAGES,
  PATCH,
  MODEL_PATCH,
  SPACING,
  STEPS,
  BATCH,
  OPTIMIZER,
  RATE,
  FREEZE,
  LOSS,
  ENTROPY,
  SEED,
  CHECKPOINT,
  EVERY,
  RESUME,
  LOG,
  THREADS,
  ISA,
};

static const struct option longs[] = {
    {"labels", required_argument, NULL, LABELS},
    {"output", required_argument, NULL, 'o'},
    {"member", required_argument, NULL, MEMBER},
    {"width", required_argument, NULL, WIDTH},
    {"stages", required_argument, NULL, STAGES},
    {"patch", required_argument, NULL, PATCH},
    {"model-patch", required_argument, NULL, MODEL_PATCH},
    {"spacing", required_argument, NULL, SPACING},
    {"steps", required_argument, NULL, STEPS},
    {"batch", required_argument, NULL, BATCH},
    {"optimizer", required_argument, NULL, OPTIMIZER},
    {"rate", required_argument, NULL, RATE},
    {"freeze", required_argument, NULL, FREEZE},
    {"loss", required_argument, NULL, LOSS},
    {"cross-entropy", required_argument, NULL, ENTROPY},
    {"seed", required_argument, NULL, SEED},
    {"checkpoint", required_argument, NULL, CHECKPOINT},
    {"every", required_argument, NULL, EVERY},
    {"resume", no_argument, NULL, RESUME},
    {"log", required_argument, NULL, LOG},
    {"threads", required_argument, NULL, THREADS},
    {"isa", required_argument, NULL, ISA},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {0},
};

static void text_option(struct arguments *a, int option) {
  static const char *const optimizers[] = {"sgd", "adamw"};
  static const char *const losses[] = {"dice", "sigmoid", "multi"};
  switch (option) {
  case LABELS:
    a->labels = optarg;
    break;
  case 'o':
    a->output = optarg;
    break;
  case MEMBER:
    a->member = optarg;
    break;
  case CHECKPOINT:
    a->checkpoint = optarg;
    break;
  case LOG:
    a->log = optarg;
    break;
  case ISA:
    a->isa = optarg;
    break;
  case PATCH:
    cli_shape("--patch", optarg, a->patch);
    break;
  case MODEL_PATCH:
    cli_shape("--model-patch", optarg, a->model_patch);
    break;
  case OPTIMIZER:
    a->optimizer = choice("--optimizer", optarg, optimizers, 2) ? VNT_ADAMW : VNT_SGD;
    break;
  case LOSS:
    a->loss.kind = (enum vnt_loss_kind)choice("--loss", optarg, losses, 3);
    break;
  }
}

static void number_option(struct arguments *a, int option) {
  switch (option) {
  case WIDTH:
    a->width = cli_count("--width", optarg, 1, 64);
    break;
  case STAGES:
    a->stages = cli_count("--stages", optarg, 2, 6);
    break;
  case BATCH:
    a->batch = cli_count("--batch", optarg, 1, 64);
    break;
  case STEPS:
    a->steps = cli_count("--steps", optarg, 1, 100000000);
    break;
  case EVERY:
    a->every = cli_count("--every", optarg, 1, 100000000);
    break;
  case SEED:
    a->seed = cli_count("--seed", optarg, 0, UINT64_MAX / 2);
    break;
  case THREADS:
    a->threads = cli_count("--threads", optarg, 1, 1024);
    break;
  case SPACING:
    a->spacing_mm = number("--spacing", optarg, 0.25, 8);
    break;
  case RATE:
    a->rate = number("--rate", optarg, 0, 10);
    break;
  case FREEZE:
    a->freeze = number("--freeze", optarg, 0, 1);
    break;
  case ENTROPY:
    a->loss.cross_entropy = number("--cross-entropy", optarg, 0, 100);
    break;
  }
}

static struct arguments arguments_parse(int argc, char **argv) {
  struct arguments a = {.member = "vnet-caffe",
                        .width = 8,
                        .stages = 4,
                        .batch = 1,
                        .patch = {80, 96, 80},
                        .model_patch = {96, 112, 96},
                        .spacing_mm = 2,
                        .rate = -1,
                        .freeze = 0.5,
                        .steps = 4000,
                        .seed = 1,
                        .every = 200,
                        .optimizer = VNT_ADAMW,
                        .loss = {VNT_LOSS_DICE, 0.5}};
  for (int option; (option = cli_option(argc, argv, "o:qhV", longs)) >= 0;) {
    if (option == 'h' || option == 'V') {
      if (option == 'h')
        fputs(help, stdout);
      else
        printf("vnet-train %s\n", vn_version());
      cli_finish_stdout();
      exit(VN_OK);
    }
    if (option == 'q') a.quiet = true;
    if (option == RESUME) a.resume = true;
    text_option(&a, option);
    number_option(&a, option);
  }
  if (optind != argc) cli_fatal(VN_E_ARGUMENT, "%s: unexpected; try --help", argv[optind]);
  if (!a.labels || !a.output) cli_fatal(VN_E_ARGUMENT, "--labels and -o are needed; try --help");
  if (a.rate < 0) a.rate = a.optimizer == VNT_SGD ? 1e-4 : 1e-3;
  if (!a.checkpoint) {
    char *path;
    if (asprintf(&path, "%s.ckpt", a.output) < 0) cli_fatal(VN_E_MEMORY, "out of memory");
    a.checkpoint = path;
  }
  return a;
}

/* ---- opening ---- */

static int is_map(const struct dirent *entry) {
  return entry->d_name[0] != '.' &&
         (cli_ends(entry->d_name, ".nii") || cli_ends(entry->d_name, ".nii.gz"));
}

struct reading {
  struct training *t;
  struct dirent **entries;
  enum vn_status *status; /* [maps] */
  struct vn_diag *diag;
};

static void map_open(void *context, size_t i) {
  struct reading *r = context;
  char *path;
  if (asprintf(&path, "%s/%s", r->t->a.labels, r->entries[i]->d_name) < 0) {
    r->status[i] = VN_E_MEMORY;
    return;
  }
  r->status[i] = vnt_labelmap_open(path, &r->t->maps[i], &r->diag[i]);
  free(path);
}

static void maps_open(struct training *t) {
  struct reading r = {.t = t};
  int count = scandir(t->a.labels, &r.entries, is_map, alphasort);
  if (count < 0) cli_fatal(VN_E_IO, "%s: %s", t->a.labels, strerror(errno));
  if (count == 0) cli_fatal(VN_E_ARGUMENT, "%s: there is no label map in it", t->a.labels);
  t->n_maps = (size_t)count;
  t->maps = calloc(t->n_maps, sizeof *t->maps);
  r.status = calloc(t->n_maps, sizeof *r.status);
  r.diag = calloc(t->n_maps, sizeof *r.diag);
  if (!t->maps || !r.status || !r.diag) cli_fatal(VN_E_MEMORY, "out of memory");
  pthreadpool_parallelize_1d(t->machine.pool, map_open, &r, t->n_maps, 0);
  for (size_t i = 0; i < t->n_maps; i++) {
    cli_check(r.status[i], &r.diag[i]);
    free(r.entries[i]);
  }
  free(r.entries);
  free(r.status);
  free(r.diag);
}

static void model_build(const struct training *t, const size_t dhw[3], struct vnc_graph *graph) {
  struct vn_diag diag;
  const uint64_t patch[3] = {dhw[0], dhw[1], dhw[2]};
  cli_check(vnc_model_build(&t->spec, patch, t->a.seed, graph, &diag), &diag);
}

static void training_open(struct training *t) {
  struct vn_diag diag;
  const struct arguments *a = &t->a;
  cli_check(vnc_spec_init(&t->spec, a->member, (uint32_t)a->stages, &diag), &diag);
  t->spec.width = (uint32_t)a->width;
  t->spec.classes = 2;
  t->spec.tail = VNC_TAIL_SOFTMAX;
  cli_check(vnt_machine_open(a->isa, a->threads, &t->machine, &diag), &diag);
  model_build(t, a->patch, &t->graph);
  cli_check(vnt_net_open(&t->machine, &t->graph, a->batch, &t->net, &diag), &diag);
  t->optim = (struct vnt_optim){.kind = a->optimizer,
                                .momentum = 0.99,
                                .beta1 = 0.9,
                                .beta2 = 0.999,
                                .epsilon = 1e-8,
                                .decay = a->optimizer == VNT_ADAMW ? 0.01 : 0,
                                .clip = a->optimizer == VNT_ADAMW ? 1 : 0};
  cli_check(vnt_optim_open(&t->optim, t->net.elems, &diag), &diag);
  t->target = malloc(a->batch * a->patch[0] * a->patch[1] * a->patch[2]);
  if (!t->target) cli_fatal(VN_E_MEMORY, "out of memory");
  vnt_generator_defaults(&t->generator, a->patch, a->spacing_mm);
  if (a->resume) {
    cli_check(vnt_checkpoint_read(a->checkpoint, &t->net, &t->optim, a->seed, &diag), &diag);
    cli_check(vnt_net_repack(&t->net, &diag), &diag);
  }
}

/* ---- writing ---- */

static void checkpoint_save(const struct training *t) {
  struct cli_output output;
  struct vn_diag diag;
  cli_output_open(&output, t->a.checkpoint);
  cli_check(vnt_checkpoint_write(output.fd, &t->net, &t->optim, t->a.seed, &diag), &diag);
  cli_output_commit(&output);
}

/* The weights in a graph of the model's own patch: the same specification, the same constants. */
static void model_save(const struct training *t) {
  struct vnc_graph model;
  struct cli_output output;
  struct vn_diag diag;
  void *bytes;
  size_t size;
  char text[96];
  const size_t *p = t->a.model_patch;
  model_build(t, p, &model);
  vnt_net_store(&t->net);
  for (size_t i = 0; i < model.n_consts; i++)
    memcpy(model.consts[i].data, t->graph.consts[i].data,
           (size_t)vnc_const_elems(&model.consts[i]) * sizeof(float));
  vnc_graph_meta(&model, "vnet.orientation", "RAS");
  snprintf(text, sizeof text, "%g %g %g", t->a.spacing_mm, t->a.spacing_mm, t->a.spacing_mm);
  vnc_graph_meta(&model, "vnet.spacing_mm", text);
  snprintf(text, sizeof text, "%zu %zu %zu", p[0], p[1], p[2]);
  vnc_graph_meta(&model, "vnet.patch", text);
  vnc_graph_meta(&model, "vnet.intensity", "percentile 0.5 99.5");
  vnc_graph_meta(&model, "vnet.labels",
                 "[{\"value\":1,\"name\":\"brain\",\"colour\":\"#e6b400\"}]");
  const struct vnc_export_options options = {.graph_name = t->spec.member,
                                             .producer_version = vn_version()};
  cli_output_open(&output, t->a.output);
  cli_check(vnc_onnx_export(&model, &options, &bytes, &size, &diag), &diag);
  cli_check(cli_write(output.fd, bytes, size, &diag), &diag);
  cli_output_commit(&output);
  free(bytes);
  vnc_graph_free(&model);
}

/* ---- the steps ---- */

static double rate_at(const struct arguments *a, uint64_t step) {
  if (a->optimizer == VNT_SGD) return vnt_rate_steps(a->rate, step, 25000);
  return vnt_rate_cosine(a->rate, step, a->steps < 1000 ? a->steps / 10 + 1 : 100, a->steps);
}

static struct vnt_loss step_run(struct training *t, double rate, double *norm) {
  struct vnt_loss loss;
  struct vn_diag diag;
  const size_t *p = t->a.patch, voxels = p[0] * p[1] * p[2];
  for (size_t i = 0; i < t->a.batch; i++)
    cli_check(vnt_generate(&t->generator, t->maps, t->n_maps, t->a.seed,
                           t->optim.steps * t->a.batch + i, t->machine.pool,
                           (float *)t->net.input.data + i * voxels, t->target + i * voxels, &diag),
              &diag);
  /* Running statistics: the mean over the first hundred steps, then over about as many. */
  const double momentum = fmax(1 / (double)(t->optim.steps + 1), 0.01);
  vnt_net_norms(&t->net, momentum, (double)t->optim.steps >= t->a.freeze * (double)t->a.steps);
  vnt_net_forward(&t->net);
  cli_check(vnt_loss_run(&t->machine, &t->a.loss, &t->net.output, t->target, &t->net.grad_output,
                         &loss, &diag),
            &diag);
  vnt_net_backward(&t->net, NULL, NULL);
  *norm = vnt_optim_step(&t->machine, &t->optim, rate, t->net.param, t->net.grad);
  if (!isfinite(*norm) || !isfinite(loss.loss))
    cli_fatal(VN_E_FORMAT, "the loss is not finite at step %llu: %s is the last good state",
              (unsigned long long)t->optim.steps + 1, t->a.checkpoint);
  cli_check(vnt_net_repack(&t->net, &diag), &diag);
  return loss;
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void train(struct training *t) {
  const struct arguments *a = &t->a;
  FILE *log = a->log ? fopen(a->log, a->resume ? "a" : "w") : NULL;
  if (a->log && !log) cli_fatal(VN_E_IO, "%s: %s", a->log, strerror(errno));
  if (log && !a->resume) fputs("step,loss,dice,rate,gradient_norm,seconds\n", log);
  double mean_loss = 0, mean_dice = 0, mean_seconds = 0, seen = 0;
  while (t->optim.steps < a->steps && !stopped) {
    double norm, start = seconds(), rate = rate_at(a, t->optim.steps);
    struct vnt_loss loss = step_run(t, rate, &norm);
    const double took = seconds() - start;
    const unsigned long long step = t->optim.steps;
    if (log) {
      fprintf(log, "%llu,%.6f,%.6f,%.3e,%.4f,%.4f\n", step, loss.loss, loss.dice, rate, norm, took);
      fflush(log);
    }
    const double keep = fmin(seen / (seen + 1), 0.98);
    seen++;
    mean_loss = keep * mean_loss + (1 - keep) * loss.loss;
    mean_dice = keep * mean_dice + (1 - keep) * loss.dice;
    mean_seconds = keep * mean_seconds + (1 - keep) * took;
    if (!a->quiet && (step % 10 == 0 || step == a->steps)) {
      fprintf(stderr, "\rstep %llu of %llu  loss %.4f  Dice %.4f  %.2f s a step  %.0f min left ",
              step, (unsigned long long)a->steps, mean_loss, mean_dice, mean_seconds,
              mean_seconds * (double)(a->steps - step) / 60);
      fflush(stderr);
    }
    if (step % a->every == 0 || step == a->steps || stopped) {
      checkpoint_save(t);
      model_save(t);
    }
  }
  if (!a->quiet) fputc('\n', stderr);
  if (log && fclose(log)) cli_fatal(VN_E_IO, "%s: %s", a->log, strerror(errno));
}

int main(int argc, char **argv) {
  cli_start("vnet-train");
  static struct training t;
  t.a = arguments_parse(argc, argv);
  training_open(&t);
  maps_open(&t);
  cli_on_interrupt(stop, NULL);
  train(&t);
  cli_on_interrupt(NULL, NULL);
  if (stopped) {
    if (!t.a.quiet)
      fprintf(stderr, "vnet-train: stopped after step %llu; go on with --resume\n",
              (unsigned long long)t.optim.steps);
    exit(VN_E_CANCELLED);
  }
  for (size_t i = 0; i < t.n_maps; i++) vnt_labelmap_close(&t.maps[i]);
  free(t.maps);
  free(t.target);
  vnt_optim_close(&t.optim);
  vnt_net_close(&t.net);
  vnc_graph_free(&t.graph);
  vnt_machine_close(&t.machine);
  return VN_OK;
}

/* vnetc: an ONNX V-Net in, a plan out. All of the work is in compiler/compile.c. */
#include "cli.h"
#include "compile.h"
#include "model_mark.h"
#include "part.h"
#include "sandbox.h"
#include "vnet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Usage: vnetc [options] MODEL.onnx -o PLAN\n"
    "\n"
    "Compiles an ONNX V-Net to a plan for vnet-run. Says what it recognised, or refuses\n"
    "and says where the network departs from the family.\n"
    "\n"
    "  -o, --output FILE      the plan\n"
    "  --patch DxHxW          voxels along d, h, w, for a model with dynamic axes\n"
    "  --batch N              images in one run, for a model with a dynamic batch; default 1\n"
    "  --topology NAME        vnet, vnet-2016, vnet-caffe, monai, mattmacy: only that one;\n"
    "                         any: whatever consists of supported operators; default:\n"
    "                         any member of the family\n"
    "  --conv WHICH           auto, winograd, lean, fft, direct, xnnpack or ref for\n"
    "                         convolutions of stride 1\n"
    "  --memory-limit SIZE    such as 900M: a plan that runs within it, or a refusal\n"
    "  -d, --dump LETTERS     print the graph after stages: i imported, s simplified,\n"
    "                         n functions named, b BatchNorm folded, f fused, c concats\n"
    "                         aliased, k kernels chosen\n" CLI_SANDBOX_HELP
    "  -q, --quiet            print nothing but errors\n"
    "  -h, --help, -V, --version\n"
    "\n"
    "Example: vnetc vnet.onnx -o vnet.plan --patch 64x128x128\n"
    "\n" CLI_EXIT_HELP;

enum { BATCH_MOST = 1024 };
enum { PATCH = 256, TOPOLOGY, CONV, MEMORY_LIMIT, EXTERNAL, NO_SANDBOX, BATCH };

struct arguments {
  const char *model, *plan;
  struct vnc_options options;
  bool quiet, no_sandbox;
};

static enum vn_algo algorithm(const char *text) {
  static const enum vn_algo known[] = {VN_ALGO_AUTO,   VN_ALGO_WINOGRAD, VN_ALGO_LEAN, VN_ALGO_FFT,
                                       VN_ALGO_DIRECT, VN_ALGO_XNNPACK,  VN_ALGO_REF};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (!strcmp(text, vn_algo_text(known[i]))) return known[i];
  cli_fatal(VN_E_ARGUMENT, "--conv: '%s' is not auto, winograd, lean, fft, direct, xnnpack or ref",
            text);
}

static void patch(const char *text, uint64_t dhw[3]) {
  size_t shape[3];
  cli_shape("--patch", text, shape);
  for (int i = 0; i < 3; i++) dhw[i] = shape[i];
}

static const char *letters(const char *text) {
  static const char known[] = "isnbfck";
  if (text[strspn(text, known)])
    cli_fatal(VN_E_ARGUMENT, "--dump: expected letters of %s, got %s", known, text);
  return text;
}

static struct arguments read_arguments(int argc, char **argv) {
  static const struct option longs[] = {{"output", required_argument, NULL, 'o'},
                                        {"dump", required_argument, NULL, 'd'},
                                        {"patch", required_argument, NULL, PATCH},
                                        {"topology", required_argument, NULL, TOPOLOGY},
                                        {"batch", required_argument, NULL, BATCH},
                                        {"conv", required_argument, NULL, CONV},
                                        {"memory-limit", required_argument, NULL, MEMORY_LIMIT},
                                        {"allow-external-data", no_argument, NULL, EXTERNAL},
                                        {"no-sandbox", no_argument, NULL, NO_SANDBOX},
                                        {"quiet", no_argument, NULL, 'q'},
                                        {"help", no_argument, NULL, 'h'},
                                        {"version", no_argument, NULL, 'V'},
                                        {NULL, 0, NULL, 0}};
  struct arguments a = {.options.dump = stdout};
  for (int option; (option = cli_option(argc, argv, "o:d:qhV", longs)) != -1;) {
    switch (option) {
    case 'o':
      a.plan = optarg;
      break;
    case 'd':
      a.options.dump_letters = letters(optarg);
      break;
    case 'q':
      a.quiet = true;
      break;
    case PATCH:
      patch(optarg, a.options.import.patch);
      break;
    case BATCH:
      a.options.import.batch = cli_count("--batch", optarg, 1, BATCH_MOST);
      break;
    case TOPOLOGY:
      a.options.topology = optarg;
      break;
    case CONV:
      a.options.conv = algorithm(optarg);
      break;
    case MEMORY_LIMIT:
      a.options.memory_limit_bytes = cli_size("--memory-limit", optarg);
      break;
    case NO_SANDBOX:
      a.no_sandbox = true;
      break;
    case EXTERNAL: /* what is done anyway; older scripts say so */
      break;
    case 'V':
      puts("vnetc " VNET_VERSION);
      cli_finish_stdout();
      exit(0);
    default:
      fputs(help, stdout);
      cli_finish_stdout();
      exit(0);
    }
  }
  if (!a.plan)
    cli_fatal(VN_E_ARGUMENT, "where the plan goes is missing: vnetc MODEL.onnx -o FILE.plan");
  if (argc - optind != 1)
    cli_fatal(VN_E_ARGUMENT, "expected one model, got %d; try --help", argc - optind);
  a.model = argv[optind];
  struct cli_files files = {0};
  cli_files_add(&files, a.plan, true);
  cli_files_add(&files, a.model, false);
  cli_files_check(&files);
  return a;
}

/* What the loader would refuse is never published. */
static void plan_prove(const void *plan, size_t plan_bytes) {
  struct vn_plan *loaded = NULL;
  struct vn_diag diag = {""};
  const enum vn_status status = vn_plan_open_memory(plan, plan_bytes, &loaded, &diag);
  vn_plan_close(&loaded);
  if (status == VN_E_MEMORY) cli_fatal(status, "%s", diag.text);
  if (status)
    cli_fatal(VN_E_INTERNAL, "internal error, please report it with the model: %s", diag.text);
}

/* Files that are taken for models: what they begin with, and what is to be done with them. */
static const struct {
  const char *bytes, *text;
} mistaken[] = {
    {"VNETPLAN", "is a plan already, which vnet-run takes"},
    {"PK\3\4", "is a zip archive, as PyTorch's own files are: export the network with "
               "torch.onnx.export"},
    {"\x89HDF", "is HDF5, as Keras' own files are: convert it with tf2onnx"},
    {"\x1F\x8B", "is gzipped, and a model comes unpacked"},
};

static void mistaken_check(const char *path) {
  char bytes[8] = "";
  FILE *file = fopen(path, "re");
  if (!file) return;
  size_t got = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  for (size_t i = 0; got == sizeof bytes && i < sizeof mistaken / sizeof *mistaken; i++)
    if (!memcmp(bytes, mistaken[i].bytes, strlen(mistaken[i].bytes)))
      cli_fatal(VN_E_FORMAT, "%.200s: %s", path, mistaken[i].text);
}

/* Ends the program with a sentence that names the model. */
static void model_check(const char *model, enum vn_status status, const struct vn_diag *diag) {
  if (status == VN_E_FORMAT) mistaken_check(model);
  bool named = strncmp(diag->text, model, strlen(model)) == 0;
  if (status) cli_fatal(status, "%.200s%s%s", named ? "" : model, named ? "" : ": ", diag->text);
}

/* Before the first byte of a model. Weights beside it are in its own folder. */
static void rights_give_up(const struct arguments *a) {
  struct sandbox box;
  sandbox_open(&box);
  sandbox_read(&box, a->model);
  sandbox_read_beside(&box, a->model);
  sandbox_write_beside(&box, a->plan);
  sandbox_enter(&box);
}

int main(int argc, char **argv) {
  cli_start("vnetc");
  struct arguments a = read_arguments(argc, argv);
  if (!a.no_sandbox) rights_give_up(&a);
  struct vnc_report report;
  struct vn_diag diag = {""};
  struct cli_output output;
  cli_output_open(&output, a.plan);
  void *plan = NULL;
  size_t plan_bytes = 0;
  struct vnc_graph g;
  vnc_graph_init(&g);
  model_check(a.model, vnc_onnx_import(a.model, &a.options.import, &g, &diag), &diag);
  char mark[64];
  cli_check(model_mark(a.model, mark, &diag), &diag);
  a.options.mark_key = MODEL_MARK_KEY;
  a.options.mark = mark;
  model_check(a.model, vnc_compile_graph(&g, &a.options, &plan, &plan_bytes, &report, &diag),
              &diag);
  vnc_graph_free(&g);
  plan_prove(plan, plan_bytes);
  cli_check(vn_part_write(output.fd, plan, plan_bytes, &diag), &diag);
  cli_output_commit(&output);
  free(plan);
  if (!a.quiet && report.batch_norms)
    cli_note("%zu BatchNorms go by the statistics of each batch: compiled as InstanceNorm, which "
             "that is at a batch of 1",
             report.batch_norms);
  if (!a.quiet)
    cli_line(stdout,
             "%s: %s; %.2f M parameters, %.2f GMAC, %zu steps, arena %.1f MiB (%.3f of the lower "
             "bound), plan %.1f MiB",
             a.plan, report.topology, (double)report.parameters / 1e6, (double)report.macs / 1e9,
             report.steps, (double)report.arena_bytes / 0x1p20,
             (double)report.arena_bytes / (double)report.arena_bound_bytes,
             (double)report.plan_bytes / 0x1p20);
  cli_finish_stdout();
  return 0;
}

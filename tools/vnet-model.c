/* vnet-model: writes an untrained member of the family as ONNX, for trials, tests and as a start
 * for training. What the members are is compiler/family.c's; how they are built,
 * models/build.c's. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "compile.h"
#include "intensity.h"
#include "models/build.h"
#include "palette.h"
#include "part.h"

static const char help[] =
    "Usage: vnet-model [options] -o MODEL.onnx\n"
    "\n"
    "Writes a member of the V-Net family with seeded, untrained weights as ONNX: the same\n"
    "file for the same options on every machine. Its segmentations mean nothing.\n"
    "\n"
    "  -o, --output FILE    the model\n"
    "  --member NAME        vnet (default), vnet-2016, vnet-caffe, monai or mattmacy\n"
    "  --width N            channels of the first stage; default 16\n"
    "  --stages N           from the full grid to the coarsest; default 5\n"
    "  --in-channels N      default 1\n"
    "  --classes N          default: the member's own\n"
    "  --act NAME           prelu or elu, where the member has the choice\n"
    "  --slopes WHICH       layer or channel: what a PReLU slope is for\n"
    "  --tail NAME          none, softmax or logsoftmax\n"
    "  --patch DxHxW        default 64x128x128\n"
    "  --seed N             default 1\n"
    "  --float16            store the weights in half precision\n"
    "  -h, --help, -V, --version\n"
    "\n"
    "What travels with the model, for the programs that segment scans:\n"
    "  --orientation AXES   such as RAS\n"
    "  --spacing 'X Y Z'    mm; without it: the scan's own grid\n"
    "  --intensity RULE     zscore, 'percentile 0.5 99.5', 'window -160 240' or none;\n"
    "                       ', ct 0 80' after it: of a CT that window\n"
    "  --labels JSON        value, name and colour of each class\n"
    "\n"
    "Example: vnet-model --member monai --width 8 --classes 3 --patch 64x96x96 -o m.onnx\n"
    "\n" CLI_EXIT_HELP;

struct arguments {
  const char *output, *member, *act, *slopes, *tail;
  uint64_t width, stages, in_channels, classes, seed;
  size_t patch[3];
  const char *orientation, *spacing, *intensity, *labels;
  bool float16;
};

/* The place of `text` in `words`, or an end with the option's name. */
static unsigned word_find(const char *option, const char *text, const char *const words[],
                          unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    if (!strcmp(text, words[i])) return i;
  }
  cli_fatal(VN_E_ARGUMENT, "%s: expected %s%s%s or %s, got %s", option, words[0], n > 2 ? ", " : "",
            n > 2 ? words[1] : "", words[n - 1], text);
}

static struct arguments arguments_read(int argc, char **argv) {
  enum { MEMBER = 256, WIDTH, STAGES, IN, CLASSES, ACT, SLOPES, TAIL, PATCH, SEED, HALF };
  enum { ORIENTATION = HALF + 1, SPACING, INTENSITY, LABELS };
  static const struct option longs[] = {
      {"output", required_argument, NULL, 'o'},
      {"member", required_argument, NULL, MEMBER},
      {"width", required_argument, NULL, WIDTH},
      {"stages", required_argument, NULL, STAGES},
      {"in-channels", required_argument, NULL, IN},
      {"classes", required_argument, NULL, CLASSES},
      {"act", required_argument, NULL, ACT},
      {"slopes", required_argument, NULL, SLOPES},
      {"tail", required_argument, NULL, TAIL},
      {"patch", required_argument, NULL, PATCH},
      {"seed", required_argument, NULL, SEED},
      {"float16", no_argument, NULL, HALF},
      {"orientation", required_argument, NULL, ORIENTATION},
      {"spacing", required_argument, NULL, SPACING},
      {"intensity", required_argument, NULL, INTENSITY},
      {"labels", required_argument, NULL, LABELS},
      {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, 'V'},
      {0},
  };
  struct arguments a = {.member = "vnet", .seed = 1, .patch = {64, 128, 128}};
  for (int option; (option = cli_option(argc, argv, "o:hV", longs)) >= 0;) {
    switch (option) {
    case 'o':
      a.output = optarg;
      break;
    case MEMBER:
      a.member = optarg;
      break;
    case WIDTH:
      a.width = cli_count("--width", optarg, 1, 1024);
      break;
    case STAGES:
      a.stages = cli_count("--stages", optarg, VNC_STAGES_LEAST, VNC_STAGES_MOST);
      break;
    case IN:
      a.in_channels = cli_count("--in-channels", optarg, 1, 1024);
      break;
    case CLASSES:
      a.classes = cli_count("--classes", optarg, 1, 1024);
      break;
    case ACT:
      a.act = optarg;
      break;
    case SLOPES:
      a.slopes = optarg;
      break;
    case TAIL:
      a.tail = optarg;
      break;
    case PATCH:
      cli_shape("--patch", optarg, a.patch);
      break;
    case SEED:
      a.seed = cli_count("--seed", optarg, 0, UINT64_MAX);
      break;
    case HALF:
      a.float16 = true;
      break;
    case ORIENTATION:
      a.orientation = optarg;
      break;
    case SPACING:
      a.spacing = optarg;
      break;
    case INTENSITY:
      a.intensity = optarg;
      break;
    case LABELS:
      a.labels = optarg;
      break;
    case 'h':
      fputs(help, stdout);
      cli_finish_stdout();
      exit(0);
    case 'V':
      puts("vnet-model " VNET_VERSION);
      cli_finish_stdout();
      exit(0);
    }
  }
  if (!a.output)
    cli_fatal(VN_E_ARGUMENT, "where the model goes is missing: vnet-model -o MODEL.onnx");
  if (optind < argc) cli_fatal(VN_E_ARGUMENT, "%s: an argument too many; try --help", argv[optind]);
  return a;
}

static struct vnc_spec spec_choose(const struct arguments *a) {
  static const char *const acts[] = {"prelu", "elu"};
  static const char *const slopes[] = {"layer", "channel"};
  static const char *const tails[] = {"none", "softmax", "logsoftmax"};
  struct vnc_spec spec;
  struct vn_diag diag;
  cli_check(vnc_spec_init(&spec, a->member, (uint32_t)a->stages, &diag), &diag);
  if (a->width) spec.width = (uint32_t)a->width;
  if (a->in_channels) spec.in_channels = (uint32_t)a->in_channels;
  if (a->classes) spec.classes = (uint32_t)a->classes;
  if (a->act) spec.act = word_find("--act", a->act, acts, 2) ? VN_ACT_ELU : VN_ACT_PRELU;
  if (a->slopes) spec.slope_per_channel = word_find("--slopes", a->slopes, slopes, 2);
  if (a->tail) spec.tail = (enum vnc_tail)word_find("--tail", a->tail, tails, 3);
  return spec;
}

/* That the programs which read it will take it. */
static void metas_check(const struct arguments *a, size_t classes) {
  struct vn_diag diag;
  double mm[3];
  if (a->orientation) cli_axes("--orientation", a->orientation);
  if (a->spacing &&
      (vn_numbers_parse(a->spacing, mm, 3) != 3 || fmin(mm[0], fmin(mm[1], mm[2])) <= 0))
    cli_fatal(VN_E_ARGUMENT, "--spacing: expected three numbers of mm such as '1 1 1.5', got %s",
              a->spacing);
  struct vn_intensity_rule rule;
  if (a->intensity && vn_intensity_parse(a->intensity, &rule, &diag))
    cli_fatal(VN_E_ARGUMENT,
              "--intensity: expected none, zscore, 'percentile A B' or 'window A B', which "
              "', ct A B' may follow, got %s",
              a->intensity);
  struct vn_palette palette;
  if (a->labels && vn_palette_parse(a->labels, classes, &palette, &diag))
    cli_fatal(VN_E_ARGUMENT,
              "--labels: expected JSON such as [{\"value\":1,\"name\":\"liver\"}]: %s", diag.text);
  if (a->labels) vn_palette_close(&palette);
}

static void metas_append(struct vnc_graph *g, const struct arguments *a) {
  char patch[80];
  snprintf(patch, sizeof patch, "%zu %zu %zu", a->patch[0], a->patch[1], a->patch[2]);
  const char *const metas[][2] = {{"vnet.orientation", a->orientation},
                                  {"vnet.spacing_mm", a->spacing},
                                  {"vnet.patch", patch},
                                  {"vnet.intensity", a->intensity},
                                  {"vnet.labels", a->labels}};
  for (size_t i = 0; i < sizeof metas / sizeof metas[0]; i++) {
    if (metas[i][1]) vnc_graph_meta(g, metas[i][0], metas[i][1]);
  }
}

int main(int argc, char **argv) {
  cli_start("vnet-model");
  struct arguments a = arguments_read(argc, argv);
  struct vnc_spec spec = spec_choose(&a);
  metas_check(&a, spec.classes);
  struct cli_output output;
  cli_output_open(&output, a.output);
  struct vnc_graph g;
  struct vn_diag diag;
  cli_check(
      vnc_model_build(&spec, (uint64_t[]){a.patch[0], a.patch[1], a.patch[2]}, a.seed, &g, &diag),
      &diag);
  metas_append(&g, &a);
  if (g.failed) cli_fatal(VN_E_MEMORY, "out of memory");
  struct vnc_export_options options = {
      .float16_weights = a.float16, .graph_name = spec.member, .producer_version = VNET_VERSION};
  void *model;
  size_t bytes;
  cli_check(vnc_onnx_export(&g, &options, &model, &bytes, &diag), &diag);
  vnc_graph_free(&g);
  cli_check(vn_part_write(output.fd, model, bytes, &diag), &diag);
  cli_output_commit(&output);
  free(model);
  return 0;
}

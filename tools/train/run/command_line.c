/* From words to options, and the help; see command_line.h. Like main it ends the program. */
#include "command_line.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "intensity.h"
#include "vnet.h"

static const char help[] =
    "Usage: vnet-train [options] --data CASES.csv -o MODEL.onnx\n"
    "  or:  vnet-train [options] --labels DIR -o MODEL.onnx\n"
    "  or:  mpirun -n N vnet-train ...\n"
    "  or:  vnet-train --plan CASES.csv\n"
    "  or:  vnet-train --render N --labels DIR -o FOLDER\n"
    "\n"
    "Trains a V-Net on scans with label maps, or, to find the brain on scans of any\n"
    "contrast, on scans that are rendered from whole-head label maps. The same options\n"
    "and seed give the same weights, for any number of threads, stopped and resumed or\n"
    "not; over several ranks the same within rounding.\n"
    "\n"
    "Planning:\n"
    "  --plan FILE            looks at the cases of a list and prints the command that trains\n"
    "                         on them: spacing, intensities, patch and width\n"
    "  --memory-limit SIZE    that the network may take (half of what is free)\n"
    "\n"
    "Rendering:\n"
    "  --render N             writes the first N samples that --labels would train on, as\n"
    "                         scans with label maps and a list of them, cases.csv, into a\n"
    "                         new folder, with --contrast, --patch, --spacing, --seed and\n"
    "                         --label-table\n"
    "\n"
    "Data:\n"
    "  --data FILE            CSV with a head: image,label and perhaps split (train or\n"
    "                         validation); paths from the file's folder; the label\n"
    "                         'none': nothing is labelled. Several channels are columns\n"
    "                         image_t1,image_t2..., or all in one, image_t1;t2 or image, as\n"
    "                         the volumes of a file, or files between semicolons\n"
    "  --labels DIR           whole-head label maps with FreeSurfer's values; learnt is\n"
    "                         the brain, closed, or what --label-table says\n"
    "  --contrast NAME        of what --labels renders: any, each structure of a grey of its\n"
    "                         own (the brain's); t1, of fluid, grey and white matter's; mri,\n"
    "                         mostly of these three, in the order of t1 or another (parts')\n"
    "  --fold K/N             validates the K-th (from 0) of N parts of --data and trains on\n"
    "                         the others; the parts are the same for the same list\n"
    "  --classes N            with the background (2; with --init the model's)\n"
    "  --label-names LIST     'liver,tumour:#c83232': names and colours of 1, 2...\n"
    "  --label-table FILE     what the values of label maps mean: CSV with the head\n"
    "                         value,class and perhaps name,colour,mirror. Several values\n"
    "                         may be one class; the class 'ignore' is neither learnt nor\n"
    "                         scored; the value 'others' is all that are not named;\n"
    "                         mirror is the class on the body's other side\n"
    "  --ignore VALUE         of label maps, instead of a table: neither learnt nor scored\n"
    "  --expect TEXT          what is plausible, such as 'ml 1 600 2400; pieces 1 3': vnet-run\n"
    "                         warns otherwise\n"
    "  --orientation AXES     that scans are brought to (RAS)\n"
    "  --spacing MM           one number, 'X Y Z', or own: as each scan is; for --data\n"
    "                         own, for --labels 2\n"
    "  --intensity RULE       zscore (for --data), 'percentile 0.5 99.5' (for --labels),\n"
    "                         'window -160 240', none; ', ct 0 80' after it: of a CT that\n"
    "                         window (for --labels it may be another when a run is\n"
    "                         resumed); a rule for each channel, between semicolons\n"
    "  --patch DxHxW          voxels of a training sample (72x88x72)\n"
    "  --flip AXES            that samples of --data are mirrored along, of dhw; none where\n"
    "                         labels tell left from right and neither --label-table nor\n"
    "                         --init says which belong together (dhw; with --paper none)\n"
    "  --foreground X         share of the samples of --data that are centred on a labelled\n"
    "                         voxel (0.5; with --paper 0)\n"
    "  --cache-limit SIZE     of a machine's memory for the cases of --data, such as 8G, for\n"
    "                         all ranks on it; more of them lie in files beside the\n"
    "                         checkpoint (half of what is free)\n"
    "\n"
    "Network:\n"
    "  --member NAME          monai (default), vnet, vnet-2016, vnet-caffe, mattmacy\n"
    "  --width N              channels of the first stage (8, or the next multiple of the\n"
    "                         scans' channels)\n"
    "  --stages N             from the full grid to the coarsest (4)\n"
    "  --init MODEL.onnx      start from a model of the family instead; classes, names,\n"
    "                         orientation, spacing, intensity and --model-patch are the\n"
    "                         model's where they are not given; other --classes get a new\n"
    "                         head\n"
    "  --dropout P            of whole channels, where MONAI's VNet has it (0)\n"
    "  --freeze X             share of the steps after which BatchNorm's statistics stay as\n"
    "                         they are, as in the exported model (0.5; for sgd 1: never)\n"
    "  --ema X                the model that is exported and validated is a running mean of\n"
    "                         the weights, which keeps X of itself in a step, such as 0.99\n"
    "                         (0: the weights themselves)\n"
    "  --odds X               of each class against the background, in the exported model:\n"
    "                         X times what was learnt; above 1 less is lost and more is too\n"
    "                         much (1); may be another one when a run is resumed\n"
    "\n"
    "Recipe:\n"
    "  --paper                as the paper: vnet-2016, width 16, 5 stages, batch 2, SGD of\n"
    "                         momentum 0.99, rate 1e-4 divided by 10 every 25000 steps,\n"
    "                         the Dice loss alone, 64x128x128 of 1 x 1 x 1.5 mm, its two\n"
    "                         augmentations (with --data); options beside it change parts\n"
    "                         of it\n"
    "  --steps N              (4500)\n"
    "  --batch N              samples in a step, of all ranks together (1)\n"
    "  --optimizer NAME       adamw (default: warm-up, cosine), or sgd: momentum 0.99\n"
    "  --rate X               learning rate; 0.001, for sgd 0.0001\n"
    "  --loss NAME            dice (the paper's; default), sigmoid (default for a model of\n"
    "                         one channel) or multi (more classes)\n"
    "  --cross-entropy X      its weight beside the Dice loss (0.5)\n"
    "  --class-weights LIST   of each class, the background first, such as '1,1,4', in both\n"
    "                         losses (all 1)\n"
    "  --clip X               the most that the gradient's norm may be; 0: anything (1, for\n"
    "                         sgd 0)\n"
    "  --seed N               (1)\n"
    "\n"
    "Results:\n"
    "  -o, --output FILE      the model, written with every checkpoint\n"
    "  --model-patch DxHxW    voxels of its window (with --init the model's, for --labels\n"
    "                         96x112x96, else --patch)\n"
    "  --float16              its weights in half precision\n"
    "  --validate-every N     steps; segments the validation scans: Dice, 95 % Hausdorff\n"
    "                         distance, mean distance of surfaces (ASSD) and the share of\n"
    "                         them within --tolerance (NSD) go to LOG.validation.csv, and\n"
    "                         the model of the best mean Dice is kept as MODEL.best.onnx,\n"
    "                         which says what each label scored (vnet.validation_dice)\n"
    "  --validation FILE      with --labels: a list as for --data, of scans to validate on\n"
    "  --tolerance MM         of the NSD (2)\n"
    "  --validation-maps DIR  the label maps of the last validation\n"
    "  --log FILE             CSV: a row for each step\n"
    "  --charts PREFIX        PREFIX-curves.png (needs --log) and PREFIX-slices.png,\n"
    "                         drawn with every checkpoint\n"
    "\n"
    "Running:\n"
    "  --checkpoint FILE      default: MODEL.onnx.ckpt; written every --every N steps (200)\n"
    "  --resume               go on from the checkpoint\n"
    "  --threads N            of each process; default: the node's cores over its ranks\n"
    "  --feed-threads N       that make samples ahead (1); 0: the network's make them\n"
    "  --timeout S            give up on a rank after so many seconds without word (300)\n"
    "  --isa NAME             avx512, avx2, neon or portable; default: the best\n"
    "  -q, --quiet            no progress line\n"
    "  -h, --help, -V, --version\n"
    "\n"
    "Example: vnet-train --data cases.csv --classes 3 --spacing 1.5 -o liver.onnx\n"
    "\n" CLI_EXIT_HELP;

static double number(const char *option, const char *text, double least, double most) {
  double value;
  if (vn_numbers_parse(text, &value, 1) != 1 || !(value >= least && value <= most))
    cli_fatal(VN_E_ARGUMENT, "%s: expected a number from %g to %g, got %s", option, least, most,
              text);
  return value;
}

static size_t choice(const char *option, const char *text, const char *const *names, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(text, names[i]) == 0) return i;
  cli_fatal(VN_E_ARGUMENT, "%s: '%s' is not one of those in --help", option, text);
}

static void spacing_read(struct vnt_options *o, const char *text) {
  o->prepared[1] = true;
  memset(o->spacing_mm, 0, sizeof o->spacing_mm);
  if (strcmp(text, "own") == 0) return;
  size_t count = vn_numbers_parse(text, o->spacing_mm, 3);
  bool good = count == 1 || count == 3;
  for (size_t i = 0; good && i < count; i++)
    good = o->spacing_mm[i] >= 0.05 && o->spacing_mm[i] <= 50;
  if (!good)
    cli_fatal(VN_E_ARGUMENT,
              "--spacing: expected one number or 'X Y Z', each from 0.05 to 50 mm, or own, got %s",
              text);
  for (size_t i = count; i < 3; i++) o->spacing_mm[i] = o->spacing_mm[0];
}

enum {
  LABELS = 256,
  DATA,
  INIT,
  MEMBER,
  CHECKPOINT,
  LOG,
  ISA,
  CHARTS,
  ORIENTATION,
  INTENSITY,
  NAMES,
  TABLE,
  RENDER,
  PLAN,
  MEMORY,
  FOLD,
  TOLERANCE,
  VALIDATION,
  MAPS,
  IGNORE,
  WEIGHTS,
  FOREGROUND,
  CACHE,
  CLIP,
  AVERAGE,
  ODDS,
  EXPECT,
  FLIP,
  PATCH,
  MODEL_PATCH,
  SPACING,
  OPTIMIZER,
  LOSS,
  CONTRAST,
  WIDTH,
  STAGES,
  CLASSES,
  BATCH,
  STEPS,
  EVERY,
  VALIDATE,
  SEED,
  THREADS,
  FEEDERS,
  RATE,
  ENTROPY,
  DROPOUT,
  FREEZE,
  TIMEOUT,
  PAPER,
  FLOAT16,
  RESUME,
};

static const struct option longs[] = {
    {"labels", required_argument, NULL, LABELS},
    {"data", required_argument, NULL, DATA},
    {"init", required_argument, NULL, INIT},
    {"output", required_argument, NULL, 'o'},
    {"member", required_argument, NULL, MEMBER},
    {"checkpoint", required_argument, NULL, CHECKPOINT},
    {"log", required_argument, NULL, LOG},
    {"isa", required_argument, NULL, ISA},
    {"charts", required_argument, NULL, CHARTS},
    {"orientation", required_argument, NULL, ORIENTATION},
    {"intensity", required_argument, NULL, INTENSITY},
    {"label-names", required_argument, NULL, NAMES},
    {"label-table", required_argument, NULL, TABLE},
    {"contrast", required_argument, NULL, CONTRAST},
    {"render", required_argument, NULL, RENDER},
    {"plan", required_argument, NULL, PLAN},
    {"memory-limit", required_argument, NULL, MEMORY},
    {"fold", required_argument, NULL, FOLD},
    {"tolerance", required_argument, NULL, TOLERANCE},
    {"validation", required_argument, NULL, VALIDATION},
    {"validation-maps", required_argument, NULL, MAPS},
    {"ignore", required_argument, NULL, IGNORE},
    {"class-weights", required_argument, NULL, WEIGHTS},
    {"foreground", required_argument, NULL, FOREGROUND},
    {"cache-limit", required_argument, NULL, CACHE},
    {"clip", required_argument, NULL, CLIP},
    {"ema", required_argument, NULL, AVERAGE},
    {"odds", required_argument, NULL, ODDS},
    {"expect", required_argument, NULL, EXPECT},
    {"flip", required_argument, NULL, FLIP},
    {"patch", required_argument, NULL, PATCH},
    {"model-patch", required_argument, NULL, MODEL_PATCH},
    {"spacing", required_argument, NULL, SPACING},
    {"optimizer", required_argument, NULL, OPTIMIZER},
    {"loss", required_argument, NULL, LOSS},
    {"width", required_argument, NULL, WIDTH},
    {"stages", required_argument, NULL, STAGES},
    {"classes", required_argument, NULL, CLASSES},
    {"batch", required_argument, NULL, BATCH},
    {"steps", required_argument, NULL, STEPS},
    {"every", required_argument, NULL, EVERY},
    {"validate-every", required_argument, NULL, VALIDATE},
    {"seed", required_argument, NULL, SEED},
    {"threads", required_argument, NULL, THREADS},
    {"feed-threads", required_argument, NULL, FEEDERS},
    {"rate", required_argument, NULL, RATE},
    {"cross-entropy", required_argument, NULL, ENTROPY},
    {"dropout", required_argument, NULL, DROPOUT},
    {"freeze", required_argument, NULL, FREEZE},
    {"timeout", required_argument, NULL, TIMEOUT},
    {"paper", no_argument, NULL, PAPER},
    {"float16", no_argument, NULL, FLOAT16},
    {"resume", no_argument, NULL, RESUME},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {0},
};

static void flip_read(struct vnt_options *o, const char *text) {
  static const char axes[] = "dhw";
  o->flipping = true;
  memset(o->flip, 0, sizeof o->flip);
  if (strcmp(text, "none") == 0) return;
  for (const char *c = text; *c || c == text; c++) {
    const char *axis = *c ? strchr(axes, *c) : NULL;
    if (!axis) cli_fatal(VN_E_ARGUMENT, "--flip: expected axes of dhw, or none, got %s", text);
    o->flip[axis - axes] = true;
  }
}

/* "0/5" */
static void fold_read(struct vnt_options *o, const char *text) {
  const char *slash = strchr(text, '/');
  char first[16] = "";
  if (slash && slash - text < (ptrdiff_t)sizeof first) memcpy(first, text, (size_t)(slash - text));
  if (!*first || !slash[1])
    cli_fatal(VN_E_ARGUMENT, "--fold: expected K/N, such as 0/5, got %s", text);
  o->folds = cli_count("--fold", slash + 1, 2, 1000);
  o->fold = cli_count("--fold", first, 0, o->folds - 1);
}

/* "1,1,4": numbers above 0. */
static void weights_read(struct vnt_options *o, const char *text) {
  static double weights[VNT_LOSS_CLASSES_MOST];
  o->class_weight = weights;
  for (o->n_weights = 0; o->n_weights < VNT_LOSS_CLASSES_MOST; text++) {
    char one[32];
    const size_t length = strcspn(text, ",");
    snprintf(one, sizeof one, "%.*s", (int)(length < sizeof one ? length : 0), text);
    weights[o->n_weights++] = number("--class-weights", one, 1e-6, 1e6);
    text += length;
    if (!*text) return;
  }
  cli_fatal(VN_E_ARGUMENT, "--class-weights: more than %d", VNT_LOSS_CLASSES_MOST);
}

static const char letters[] = "o:qhV";

static void text_option(struct vnt_options *o, int option) {
  const struct {
    int option;
    const char **to;
  } texts[] = {
      {LABELS, &o->labels},
      {DATA, &o->data},
      {INIT, &o->init},
      {'o', &o->output},
      {MEMBER, &o->member},
      {CHECKPOINT, &o->checkpoint},
      {LOG, &o->log},
      {ISA, &o->isa},
      {CHARTS, &o->charts},
      {NAMES, &o->label_names},
      {TABLE, &o->label_table},
      {PLAN, &o->plan},
      {MAPS, &o->maps_folder},
      {VALIDATION, &o->validation},
      {EXPECT, &o->expect},
      {ORIENTATION, &o->orientation},
      {INTENSITY, &o->intensity},
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if (texts[i].option == option) *texts[i].to = optarg;
  if (option == ORIENTATION) cli_axes("--orientation", optarg);
  if (option == ORIENTATION) o->prepared[0] = true;
  if (option == INTENSITY) o->prepared[2] = true;
  if (option == LOSS) o->losing = true;
  if (option == WIDTH) o->wide = true;
  if (option == MEMBER || option == WIDTH || option == STAGES) o->shaped = true;
  if (option == PATCH) cli_shape("--patch", optarg, o->patch);
  if (option == MODEL_PATCH) cli_shape("--model-patch", optarg, o->model_patch);
  if (option == FLIP) flip_read(o, optarg);
  if (option == FOLD) fold_read(o, optarg);
  if (option == WEIGHTS) weights_read(o, optarg);
  if (option == SPACING) spacing_read(o, optarg);
  if (option == OPTIMIZER)
    o->optimizer = (enum vnt_optim_kind)choice("--optimizer", optarg, vnt_optimizers, 2);
  if (option == CONTRAST) o->contrast = choice("--contrast", optarg, vnt_contrasts, VNT_CONTRASTS);
  if (option == LOSS) o->loss.kind = (enum vnt_loss_kind)choice("--loss", optarg, vnt_losses, 3);
  if (option == PAPER) o->paper = true;
  if (option == FLOAT16) o->float16 = true;
  if (option == RESUME) o->resume = true;
  if (option == 'q') o->quiet = true;
}

static void number_option(struct vnt_options *o, int option) {
  switch (option) {
  case WIDTH:
    o->width = cli_count("--width", optarg, 1, 64);
    break;
  case STAGES:
    o->stages = cli_count("--stages", optarg, 2, 6);
    break;
  case CLASSES:
    o->classes = cli_count("--classes", optarg, 2, 256);
    break;
  case BATCH:
    o->batch = cli_count("--batch", optarg, 1, 1024);
    break;
  case RENDER:
    o->render = cli_count("--render", optarg, 1, 1000000);
    break;
  case STEPS:
    o->steps = cli_count("--steps", optarg, 1, 100000000);
    break;
  case EVERY:
    o->every = cli_count("--every", optarg, 1, 100000000);
    break;
  case VALIDATE:
    o->validate_every = cli_count("--validate-every", optarg, 1, 100000000);
    break;
  case SEED:
    o->seed = cli_count("--seed", optarg, 0, UINT64_MAX / 2);
    break;
  case THREADS:
    o->threads = cli_count("--threads", optarg, 1, 1024);
    break;
  case FEEDERS:
    o->feed_threads = cli_count("--feed-threads", optarg, 0, 64);
    break;
  case RATE:
    o->rate = number("--rate", optarg, 0, 10);
    break;
  case ENTROPY:
    o->loss.cross_entropy = number("--cross-entropy", optarg, 0, 100);
    break;
  case DROPOUT:
    o->dropout = number("--dropout", optarg, 0, 0.9);
    break;
  case FREEZE:
    o->freeze = number("--freeze", optarg, 0, 1);
    break;
  case IGNORE:
    o->ignored = (int)cli_count("--ignore", optarg, 0, 65535);
    break;
  case FOREGROUND:
    o->foreground = number("--foreground", optarg, 0, 1);
    break;
  case MEMORY:
    o->memory_bytes = cli_size("--memory-limit", optarg);
    break;
  case CACHE:
    o->cache_bytes = cli_size("--cache-limit", optarg);
    break;
  case TOLERANCE:
    o->tolerance_mm = number("--tolerance", optarg, 0, 1000);
    break;
  case CLIP:
    o->clip = number("--clip", optarg, 0, 1e9);
    break;
  case ODDS:
    o->odds = number("--odds", optarg, 1e-6, 1e6);
    break;
  case AVERAGE:
    o->average = number("--ema", optarg, 0, 0.999999);
    break;
  case TIMEOUT:
    o->timeout_s = number("--timeout", optarg, 1, 1e6);
    break;
  }
}

/* What --plan and --render have a use for. */
static const int planning[] = {PLAN, MEMORY, CLASSES, MEMBER, STAGES, BATCH, ORIENTATION, 'q', 0};
static const int rendering[] = {RENDER, LABELS, TABLE,   CONTRAST, PATCH, SPACING,
                                SEED,   'o',    THREADS, 'q',      0};

static bool one_of(const int *all, int option) {
  while (*all && *all != option) all++;
  return *all;
}

static const char *name_of(int option) {
  size_t i = 0;
  while (longs[i].val != option) i++;
  return longs[i].name;
}

struct vnt_options vnt_command_line(int argc, char **argv) {
  bool paper = false;
  for (int option; (option = cli_option(argc, argv, letters, longs)) >= 0;)
    paper |= option == PAPER; /* before the others, which change parts of it */
  optind = 0;
  struct vnt_options o = vnt_options_default(paper);
  for (int option; (option = cli_option(argc, argv, letters, longs)) >= 0;) {
    if (option == 'h' || option == 'V') {
      if (option == 'h')
        fputs(help, stdout);
      else
        printf("vnet-train %s\n", vn_version());
      cli_finish_stdout();
      exit(VN_OK);
    }
    text_option(&o, option);
    number_option(&o, option);
    if (!one_of(planning, option)) o.unplanned = name_of(option);
    if (!one_of(rendering, option)) o.unrendered = name_of(option);
  }
  if (optind != argc)
    cli_fatal(VN_E_ARGUMENT, "%s: an argument too many; cases come after --data; try --help",
              argv[optind]);
  vnt_options_complete(&o);
  return o;
}

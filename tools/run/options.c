/* The command line of vnet-run; see options.h. */
#include "options.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "plan_find.h"
#include "sandbox.h"
#include "slicer.h"
#include "vnet_scan.h"

static const char help[] =
    "Usage: vnet-run [options] PLAN SCAN\n"
    "  or:  vnet-run [options] PLAN T1 T1CE T2 FLAIR\n"
    "  or:  vnet-run [options] PLAN,PLAN... SCAN\n"
    "  or:  vnet-run [options] PLAN FOLDER|SCAN... --output-dir DIR\n"
    "  or:  vnet-run [options] PLAN --list FILE --output-dir DIR\n"
    "  or:  vnet-run [options] PLAN --tensor IN.npy -o OUT.npy\n"
    "\n"
    "Segments NIfTI, NRRD and MGH scans. PLAN is a file made by vnetc, the name of an\n"
    "installed model, or an ONNX model, which vnetc compiles once. A label map has\n"
    "its scan's own grid, affine, codes and units. A network of several channels\n"
    "takes a file for each, in its order or as NAME=FILE, or one of so many volumes.\n"
    "The probabilities of several models between commas are averaged.\n"
    "\n"
    "  -o, --output FILE      .nii, .nii.gz, .nrrd, .mgz or .mgh; default: by the\n"
    "                         scan in its own format, such as SCAN.seg.nii.gz\n"
    "  --scores FILE          class probabilities, x y z class, in such a file, too\n"
    "  --scores-type TYPE     uint16 (scaled; the default) or float32\n"
    "  --regions FILE         regions that may overlap: x y z region, 1 inside\n"
    "  --region-maps          many scans: such a file beside each label map\n"
    "  --report FILE          JSON: the run, and measures of each label\n"
    "  --csv [FILE]           a row for each label; without FILE on standard output\n"
    "  --picture FILE         PNG: slices with outlines (many scans: no FILE)\n"
    "  --largest-component    keep the largest piece of each label\n"
    "  --min-volume-ml ML     drop pieces smaller than this\n"
    "  --overlap X            of windows, 0 to 0.9 (0.5)\n"
    "  --weighting NAME       gaussian or constant: how windows are blended\n"
    "  --mirror AXES          such as dhw: average over mirrored windows, slower;\n"
    "                         labels of vnet.labels with a mirror change sides\n"
    "  --all-windows          run windows with nothing but background, too, and those\n"
    "                         around the box of the model's vnet.foreground\n"
    "  --geometry HOW         how the scan lies, where its file is silent or wrong:\n"
    "                         sform, qform, or where its axes point, such as RAS\n"
    "  --match-grids          bring channels that lie on other grids onto the first's\n"
    "  --second, --third, --fourth FILE\n"
    "                         more channels after SCAN, as 3D Slicer gives them\n"
    "  --replace-nan          the smallest value for voxels that are NaN or infinite;\n"
    "                         without it such a scan is refused, unless all of them\n"
    "                         are a frame around it, which is background\n"
    "  --strict               a warning (empty, or not what the model expects) is\n"
    "                         exit status 5; everything is written all the same\n"
    "  --list FILE            many scans: the name of one on each line; its channels'\n"
    "                         files in columns, between tabs or semicolons\n"
    "  --output-dir DIR       where the results of many scans go, in folders as the\n"
    "                         scans have; scans named one by one: beside each\n"
    "  --recursive            scans in the folders of FOLDER, too\n"
    "  --exclude PATTERN      pass over files and folders of such a name or path, as\n"
    "                         '*_bold*' or '*/derivatives/*'; may be given again\n"
    "  --resume               skip scans that DIR has finished results of\n"
    "  --tensor IN.npy        run the network once on a float32 array; may be given\n"
    "                         again, as may -o, for each input and output\n"
    "  --threads N            default: one for each core\n"
    "  --isa NAME             avx512, avx2, neon, portable or ref; default: the best\n"
    "  --memory-limit SIZE    such as 4G, or none: refuse at once what would take\n"
    "                         more; default: the memory that is free\n"
    "  --max-windows N        refuse a scan that takes more windows (10000, and more\n"
    "                         of windows below 64x64x64); 0: none is refused\n"
    "  --json                 the report on standard output\n"
    "  --models               list the models that have a name, and end\n" CLI_SANDBOX_HELP
    "  --xml                  this program as 3D Slicer's module description\n"
    "  -q, --quiet            print nothing but warnings and errors\n"
    "  -h, --help, -V, --version\n"
    "\n"
    "Example: vnet-run brain t1.nii.gz --picture t1.png --csv t1.csv\n"
    "\n" CLI_EXIT_HELP;

enum {
  SCORES = 256,
  SCORES_TYPE,
  REGIONS,
  REGION_MAPS,
  REPORT,
  CSV,
  PICTURE,
  LARGEST,
  MIN_VOLUME,
  OVERLAP,
  WEIGHTING,
  MIRROR,
  ALL_WINDOWS,
  GEOMETRY,
  MATCH_GRIDS,
  SECOND,
  THIRD,
  FOURTH,
  REPLACE,
  STRICT,
  LIST,
  OUTPUT_DIR,
  RECURSIVE,
  EXCLUDE,
  RESUME,
  TENSOR,
  THREADS,
  ISA,
  MEMORY,
  MAX_WINDOWS,
  JSON,
  NO_SANDBOX,
  XML,
  MODELS,
  PROCESS_ADDRESS,
  RETURN_FILE,
};

static const struct option longs[] = {
    {"output", required_argument, NULL, 'o'},
    {"scores", required_argument, NULL, SCORES},
    {"scores-type", required_argument, NULL, SCORES_TYPE},
    {"regions", required_argument, NULL, REGIONS},
    {"region-maps", no_argument, NULL, REGION_MAPS},
    {"report", required_argument, NULL, REPORT},
    {"csv", optional_argument, NULL, CSV},
    {"picture", optional_argument, NULL, PICTURE},
    {"largest-component", no_argument, NULL, LARGEST},
    {"min-volume-ml", required_argument, NULL, MIN_VOLUME},
    {"overlap", required_argument, NULL, OVERLAP},
    {"weighting", required_argument, NULL, WEIGHTING},
    {"mirror", required_argument, NULL, MIRROR},
    {"all-windows", no_argument, NULL, ALL_WINDOWS},
    {"geometry", required_argument, NULL, GEOMETRY},
    {"match-grids", no_argument, NULL, MATCH_GRIDS},
    {"second", required_argument, NULL, SECOND},
    {"third", required_argument, NULL, THIRD},
    {"fourth", required_argument, NULL, FOURTH},
    {"replace-nan", no_argument, NULL, REPLACE},
    {"strict", no_argument, NULL, STRICT},
    {"list", required_argument, NULL, LIST},
    {"output-dir", required_argument, NULL, OUTPUT_DIR},
    {"recursive", no_argument, NULL, RECURSIVE},
    {"exclude", required_argument, NULL, EXCLUDE},
    {"resume", no_argument, NULL, RESUME},
    {"tensor", required_argument, NULL, TENSOR},
    {"threads", required_argument, NULL, THREADS},
    {"isa", required_argument, NULL, ISA},
    {"memory-limit", required_argument, NULL, MEMORY},
    {"max-windows", required_argument, NULL, MAX_WINDOWS},
    {"json", no_argument, NULL, JSON},
    {"no-sandbox", no_argument, NULL, NO_SANDBOX},
    {"xml", no_argument, NULL, XML},
    {"models", no_argument, NULL, MODELS},
    {"processinformationaddress", required_argument, NULL, PROCESS_ADDRESS},
    {"returnparameterfile", required_argument, NULL, RETURN_FILE},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {0},
};

static double number(const char *option, const char *text, double least, double most) {
  char *end;
  double value = strtod(text, &end); /* the C locale's: no program here sets another */
  if (end == text || *end || !(value >= least && value <= most))
    cli_fatal(VN_E_ARGUMENT, "%s: expected a number from %g to %g, got %s", option, least, most,
              text);
  return value;
}

/* The index of `text` among the names. */
static size_t choice(const char *option, const char *text, const char *const names[2]) {
  for (size_t i = 0; i < 2; i++)
    if (strcmp(text, names[i]) == 0) return i;
  cli_fatal(VN_E_ARGUMENT, "%s: expected %s or %s, got %s", option, names[0], names[1], text);
}

static void mirror_parse(const char *text, bool mirror[3]) {
  if (strcmp(text, "none") == 0) return;
  for (const char *c = text; *c; c++) {
    const char *axis = strchr("dhw", *c);
    if (!axis || mirror[axis - "dhw"])
      cli_fatal(VN_E_ARGUMENT,
                "--mirror: expected some of the network's axes d, h and w, or none, got %s", text);
    mirror[axis - "dhw"] = true;
  }
}

static void print_and_exit(const char *text) {
  fputs(text, stdout);
  cli_finish_stdout();
  exit(VN_OK);
}

static void file_add(const char *files[RUN_TENSORS_MOST], size_t *count, const char *file) {
  if (*count == RUN_TENSORS_MOST) cli_fatal(VN_E_ARGUMENT, "more than %d files", RUN_TENSORS_MOST);
  files[(*count)++] = file;
}

static bool result_take(struct run_options *o, int option) {
  static const char *const kinds[2] = {"uint16", "float32"};
  switch (option) {
  case 'o':
    file_add(o->output, &o->outputs, optarg);
    return true;
  case TENSOR:
    file_add(o->tensor, &o->tensors, optarg);
    return true;
  case SCORES:
    o->scores = optarg;
    return true;
  case SCORES_TYPE:
    o->scores_kind =
        choice("--scores-type", optarg, kinds) ? VN_PROBABILITY_F32 : VN_PROBABILITY_U16;
    return true;
  case REGIONS:
    o->regions = optarg;
    return true;
  case REGION_MAPS:
    o->region_maps = true;
    return true;
  case REPORT:
    o->report = optarg;
    return true;
  case CSV:
    o->csv = optarg;
    o->csv_printed = !optarg;
    return true;
  case PICTURE:
    o->picture = optarg;
    o->pictures = true;
    return true;
  case JSON:
    o->json = true;
    return true;
  case STRICT:
    o->strict = true;
    return true;
  default:
    return false;
  }
}

static bool segment_take(struct run_options *o, int option) {
  static const char *const weightings[2] = {"gaussian", "constant"};
  switch (option) {
  case LARGEST:
    o->segment.largest_component = true;
    return true;
  case MIN_VOLUME:
    o->segment.min_volume_ml = number("--min-volume-ml", optarg, 0, 1e6);
    return true;
  case OVERLAP:
    o->segment.overlap = number("--overlap", optarg, 0, 0.9);
    if (o->segment.overlap == 0) o->segment.overlap = -1; /* none; 0 is the default */
    return true;
  case WEIGHTING:
    o->segment.weighting =
        choice("--weighting", optarg, weightings) ? VN_WEIGHTING_CONSTANT : VN_WEIGHTING_GAUSSIAN;
    return true;
  case MIRROR:
    mirror_parse(optarg, o->segment.mirror);
    return true;
  case ALL_WINDOWS:
    o->segment.every_window = true;
    return true;
  case MATCH_GRIDS:
    o->segment.match_grids = true;
    return true;
  case REPLACE:
    o->segment.replace_nan = true;
    return true;
  case MAX_WINDOWS:
    o->segment.windows_most = cli_count("--max-windows", optarg, 0, INT32_MAX);
    if (!o->segment.windows_most) o->segment.windows_most = SIZE_MAX;
    return true;
  case GEOMETRY:
    o->geometry = optarg;
    return true;
  default:
    return false;
  }
}

static bool scans_take(struct run_options *o, int option) {
  switch (option) {
  case SECOND:
  case THIRD:
  case FOURTH:
    o->more[option - SECOND] = optarg;
    return true;
  case LIST:
    o->list = optarg;
    return true;
  case OUTPUT_DIR:
    o->output_dir = optarg;
    return true;
  case RECURSIVE:
    o->recursive = true;
    return true;
  case EXCLUDE:
    if (o->excludes == RUN_EXCLUDES_MOST)
      cli_fatal(VN_E_ARGUMENT, "--exclude: more than %d patterns", RUN_EXCLUDES_MOST);
    o->exclude[o->excludes++] = optarg;
    return true;
  case RESUME:
    o->resume = true;
    return true;
  default:
    return false;
  }
}

static bool run_take(struct run_options *o, int option) {
  switch (option) {
  case THREADS:
    o->exec.threads = cli_count("--threads", optarg, 0, 1024);
    return true;
  case ISA:
    o->exec.isa = optarg;
    return true;
  case MEMORY:
    o->exec.memory_limit_bytes = cli_size("--memory-limit", optarg);
    return true;
  case NO_SANDBOX:
    o->no_sandbox = true;
    return true;
  case PROCESS_ADDRESS: /* of Slicer's own memory: meant for modules loaded into it */
    o->slicer = true;
    return true;
  case RETURN_FILE:
    o->slicer_result = optarg;
    return true;
  case 'q':
    o->quiet = true;
    return true;
  default:
    return false;
  }
}

/* What is only told. */
static void question_answer(int option) {
  switch (option) {
  case XML:
    slicer_describe(stdout);
    cli_finish_stdout();
    exit(VN_OK);
  case MODELS:
    plan_names_print(stdout);
    cli_finish_stdout();
    exit(VN_OK);
  case 'h':
    print_and_exit(help);
    break;
  case 'V':
    printf("vnet-run %s\n", vn_version());
    cli_finish_stdout();
    exit(VN_OK);
  }
}

static void option_take(struct run_options *o, int option) {
  if (!result_take(o, option) && !segment_take(o, option) && !scans_take(o, option) &&
      !run_take(o, option))
    question_answer(option);
}

bool run_options_many(const struct run_options *o) {
  return o->list || o->output_dir || o->scans > 1;
}

static void tensor_check(const struct run_options *o) {
  if (o->scans || run_options_many(o))
    cli_fatal(VN_E_ARGUMENT, "--tensor and a scan exclude each other");
  if (!o->outputs) cli_fatal(VN_E_ARGUMENT, "--tensor needs -o OUT.npy");
  if (o->json || o->geometry || o->segment.match_grids || o->segment.replace_nan || o->strict ||
      o->scores || o->regions || o->report || o->csv || o->csv_printed || o->pictures)
    cli_fatal(VN_E_ARGUMENT,
              "--json, --geometry, --match-grids, --replace-nan, --strict, --scores, --regions, "
              "--report, --csv and --picture are for scans, not for --tensor");
}

void run_options_check(const struct run_options *o, bool many) {
  if (many && (o->outputs || o->scores || o->regions || o->report || o->csv || o->csv_printed ||
               o->picture || o->json))
    cli_fatal(VN_E_ARGUMENT,
              "of many scans each one's results are named after it: -o, --scores, --regions, "
              "--report, --csv, --json and a name for --picture are for one scan");
  if (many && o->slicer_result) cli_fatal(VN_E_ARGUMENT, "--returnparameterfile is for one scan");
  if (!many && (o->resume || o->recursive || o->excludes || o->region_maps))
    cli_fatal(VN_E_ARGUMENT, "--resume, --recursive, --exclude and --region-maps are for many "
                             "scans, with --output-dir");
  if (o->csv_printed && o->json)
    cli_fatal(VN_E_ARGUMENT,
              "--json and --csv without a name both go to standard output: name the csv");
  if (!many && o->pictures && !o->picture)
    cli_fatal(VN_E_ARGUMENT, "--picture lacks its file: a .png");
}

static void folder_check(const char *scan) {
  struct stat there;
  if (stat(scan, &there) == 0 && S_ISDIR(there.st_mode))
    cli_fatal(VN_E_ARGUMENT, "%s: is a folder; where its results go is said with --output-dir DIR",
              scan);
}

/* What vn_scan_set_geometry takes; here before many scans fail by it. */
static void geometry_check(const char *geometry) {
  static const char *const axes[] = {"RLrl", "APap", "SIsi"};
  bool good = strlen(geometry) == 3;
  for (size_t i = 0; good && i < 3; i++) good = strcspn(geometry, axes[i]) < 3;
  if (!good && strcmp(geometry, "sform") && strcmp(geometry, "qform"))
    cli_fatal(VN_E_ARGUMENT,
              "--geometry: expected sform, qform or where the axes point, such as RAS, got %s",
              geometry);
}

static void options_check(const struct run_options *o) {
  if (o->geometry) geometry_check(o->geometry);
  if (!o->plan)
    cli_fatal(VN_E_ARGUMENT, "expected a plan and a scan: vnet-run PLAN SCAN; try --help");
  if (o->tensors) {
    tensor_check(o);
    return;
  }
  if (o->outputs > 1) cli_fatal(VN_E_ARGUMENT, "-o is given twice");
  if (o->list && !o->output_dir) cli_fatal(VN_E_ARGUMENT, "--list needs --output-dir");
  if (o->list && o->scans) cli_fatal(VN_E_ARGUMENT, "--list and a scan exclude each other");
  if (o->list && o->recursive)
    cli_fatal(VN_E_ARGUMENT, "--recursive is for a folder of scans, not for --list");
  if (!o->list && !o->scans && o->output_dir)
    cli_fatal(VN_E_ARGUMENT, "expected scans, a folder of scans or --list");
  if (!o->list && !o->scans)
    cli_fatal(VN_E_ARGUMENT, "expected a plan and a scan: vnet-run PLAN SCAN; try --help");
  if (o->scans == 1 && !o->output_dir) folder_check(o->scan[0]);
  if (o->scans == 1 || o->list || o->output_dir) run_options_check(o, run_options_many(o));
}

/* getopt gives an optional value only as --picture=FILE; people write it apart. */
static void picture_value(struct run_options *o, int argc, char **argv) {
  static const char *const others[] = {".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".pdf"};
  const char *word = o->picture ? o->picture : optind < argc ? argv[optind] : "";
  bool other = o->picture != NULL;
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    other = other || cli_ends(word, others[i]);
  if (cli_ends(word, ".png")) {
    if (!o->picture) optind++;
    o->picture = word;
  } else if (other) {
    cli_fatal(VN_E_ARGUMENT, "%s: pictures are PNG: choose a name that ends in .png", word);
  }
}

/* Apart from its option, too; what comes next may be an option, a scan, or nothing. */
static const char *csv_value(int argc, char **argv) {
  size_t stem;
  const bool apart = !optarg && optind < argc && *argv[optind] != '-';
  return apart && !vn_scan_name(argv[optind], &stem) ? argv[optind++] : optarg;
}

/* Channels that are given by options stand behind the words. */
static void more_add(struct run_options *o) {
  const size_t words = o->scans;
  char **all = calloc(words + RUN_MORE, sizeof *all);
  if (!all) cli_fatal(VN_E_MEMORY, "out of memory");
  memcpy(all, o->scan, words * sizeof *all);
  for (size_t i = 0; i < RUN_MORE; i++)
    if (o->more[i]) all[o->scans++] = o->more[i];
  if (o->scans == words)
    free(all);
  else
    o->scan = o->joined = all;
}

void run_options_close(struct run_options *o) {
  free(o->joined);
}

struct run_options run_options_parse(int argc, char **argv) {
  struct run_options o = {.segment.size = sizeof o.segment, .exec.size = sizeof o.exec};
  for (int option; (option = cli_option(argc, argv, "o:qhV", longs)) >= 0;) {
    if (option == PICTURE) {
      o.picture = optarg;
      picture_value(&o, argc, argv);
      optarg = (char *)o.picture;
    }
    if (option == CSV) optarg = (char *)csv_value(argc, argv);
    option_take(&o, option);
  }
  o.plan = argv[optind];
  if (o.plan) o.scan = argv + optind + 1;
  if (o.plan) o.scans = (size_t)(argc - optind - 1);
  for (int i = optind; i < argc; i++)
    if (!*argv[i])
      cli_fatal(VN_E_ARGUMENT, "%s: the name is empty (a variable that is not set?)",
                i == optind ? "the plan" : "the scan");
  if (o.plan) more_add(&o);
  options_check(&o);
  return o;
}

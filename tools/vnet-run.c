/* vnet-run: a plan and a scan in, a label map out; or, with --tensor, arrays in and arrays out.
 * The scan's story is in runtime/volume/segment.h; here are options, files, timing and report. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "npy.h"
#include "segment.h"
#include "vnet.h"

enum { TENSORS_MOST = 8 };

static const char help[] =
    "Usage: vnet-run [options] PLAN SCAN\n"
    "       vnet-run [options] PLAN --tensor IN.npy -o OUT.npy\n"
    "\n"
    "Segments a NIfTI scan (.nii, .nii.gz, .hdr/.img) with a plan made by vnetc. The\n"
    "label map lies on the scan's own grid and has its affine, codes and units.\n"
    "\n"
    "  -o, --output FILE    .nii or .nii.gz; default: SCAN.seg.nii.gz beside the scan\n"
    "  --replace-nan        take the scan's smallest value for voxels that are NaN or\n"
    "                       infinite; without it such a scan is refused\n"
    "  --tensor IN.npy      no scan: run the network once on a raw array (float32, C\n"
    "                       order); may be repeated, as may -o, one for each input\n"
    "                       and output\n"
    "  --threads N          default: one for each core\n"
    "  --isa NAME           avx512, avx2, neon, portable or ref; default: the best\n"
    "  --memory-limit SIZE  such as 4G: refuse what would take more, before any work\n"
    "  --json               what was run, times, voxels and ml per label, on stdout\n"
    "  -q, --quiet          no progress bar, no notes\n"
    "  -h, --help, -V, --version\n"
    "\n"
    "Example: vnet-run brain.plan t1.nii.gz -o t1_labels.nii.gz --json > t1.json\n"
    "\n" CLI_EXIT_HELP;

struct arguments {
  const char *plan, *scan;
  const char *tensor[TENSORS_MOST], *output[TENSORS_MOST];
  size_t tensors, outputs;
  bool replace_nan, json, quiet;
  struct vn_exec_options exec;
};

/* Wall time of each stage, in the order of the work. */
struct times {
  uint64_t open_ns, read_ns, write_ns;
};

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void arguments_check(const struct arguments *a, int rest) {
  if (!a->plan) cli_fatal(VN_E_ARGUMENT, "a plan is missing; try --help");
  if (a->tensors) {
    if (rest) cli_fatal(VN_E_ARGUMENT, "--tensor and a scan exclude each other");
    if (!a->outputs) cli_fatal(VN_E_ARGUMENT, "--tensor needs -o OUT.npy");
    if (a->json || a->replace_nan)
      cli_fatal(VN_E_ARGUMENT, "--json and --replace-nan are for scans, not for --tensor");
    return;
  }
  if (rest != 1) cli_fatal(VN_E_ARGUMENT, "expected one scan, got %d; try --help", rest);
  if (a->outputs > 1) cli_fatal(VN_E_ARGUMENT, "-o is given twice");
}

static struct arguments arguments_parse(int argc, char **argv) {
  enum { REPLACE = 256, TENSOR, THREADS, ISA, MEMORY, JSON };
  static const struct option longs[] = {
      {"output", required_argument, NULL, 'o'},
      {"replace-nan", no_argument, NULL, REPLACE},
      {"tensor", required_argument, NULL, TENSOR},
      {"threads", required_argument, NULL, THREADS},
      {"isa", required_argument, NULL, ISA},
      {"memory-limit", required_argument, NULL, MEMORY},
      {"json", no_argument, NULL, JSON},
      {"quiet", no_argument, NULL, 'q'},
      {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, 'V'},
      {0},
  };
  struct arguments a = {0};
  for (int option; (option = cli_option(argc, argv, "o:qhV", longs)) >= 0;) {
    switch (option) {
    case 'o':
    case TENSOR: {
      size_t *count = option == 'o' ? &a.outputs : &a.tensors;
      if (*count == TENSORS_MOST) cli_fatal(VN_E_ARGUMENT, "more than %d files", TENSORS_MOST);
      (option == 'o' ? a.output : a.tensor)[(*count)++] = optarg;
      break;
    }
    case REPLACE:
      a.replace_nan = true;
      break;
    case THREADS:
      a.exec.threads = cli_count("--threads", optarg, 1, 1024);
      break;
    case ISA:
      a.exec.isa = optarg;
      break;
    case MEMORY:
      a.exec.memory_limit_bytes = cli_size("--memory-limit", optarg);
      break;
    case JSON:
      a.json = true;
      break;
    case 'q':
      a.quiet = true;
      break;
    case 'h':
      fputs(help, stdout);
      cli_finish_stdout();
      exit(VN_OK);
    case 'V':
      printf("vnet-run %s\n", vn_version());
      cli_finish_stdout();
      exit(VN_OK);
    }
  }
  a.plan = argv[optind];
  int rest = a.plan ? argc - optind - 1 : 0;
  arguments_check(&a, rest);
  a.scan = rest ? argv[optind + 1] : NULL;
  return a;
}

/* An output may replace an older one, never what is being read. */
static void inputs_spare(const struct arguments *a, const char *output) {
  bool input = cli_same_file(output, a->plan) || (a->scan && cli_same_file(output, a->scan));
  for (size_t i = 0; i < a->tensors; i++) input = input || cli_same_file(output, a->tensor[i]);
  if (input) cli_fatal(VN_E_ARGUMENT, "%s: is an input, and will not be overwritten", output);
}

static void exec_cancel(void *exec) {
  vn_exec_cancel(exec);
}

/* ---- tensors ---- */

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

static void tensors_run(const struct arguments *a, const struct vn_plan *plan) {
  struct vn_diag diag;
  struct vn_exec *exec;
  struct npy in[TENSORS_MOST] = {0}, out[TENSORS_MOST] = {0};
  const void *from[TENSORS_MOST];
  void *to[TENSORS_MOST];
  struct cli_output file[TENSORS_MOST];
  size_t ins = vn_plan_inputs(plan), outs = vn_plan_outputs(plan);
  if (a->tensors != ins || a->outputs > outs || outs > TENSORS_MOST)
    cli_fatal(VN_E_ARGUMENT, "the network has %zu inputs and %zu outputs; %zu and %zu files given",
              ins, outs, a->tensors, a->outputs);
  for (size_t i = 0; i < ins; i++) {
    struct vn_port port = vn_plan_input(plan, i);
    cli_check(npy_read(a->tensor[i], &in[i], &diag), &diag);
    tensor_check(&in[i], &port, a->tensor[i]);
    from[i] = in[i].data;
  }
  for (size_t i = 0; i < outs; i++) {
    struct vn_port port = vn_plan_output(plan, i);
    out[i] = (struct npy){.type = port.type, .rank = port.rank, .elems = port.elems};
    memcpy(out[i].dim, port.dim, port.rank * sizeof *port.dim);
    to[i] = out[i].data = calloc(port.elems, port.type == VN_TYPE_F32 ? 4 : 8);
    if (!to[i]) cli_fatal(VN_E_MEMORY, "out of memory for output '%s'", port.name);
    if (i >= a->outputs) continue;
    inputs_spare(a, a->output[i]);
    cli_output_open(&file[i], a->output[i]);
  }
  cli_check(vn_exec_open(plan, &a->exec, &exec, &diag), &diag);
  cli_on_interrupt(exec_cancel, exec);
  cli_check(vn_exec_run(exec, from, to, &diag), &diag);
  cli_on_interrupt(NULL, NULL);
  cli_check_interrupt();
  vn_exec_close(&exec);
  for (size_t i = 0; i < a->outputs; i++)
    if (npy_write(file[i].fd, &out[i], &diag))
      cli_fatal(VN_E_IO, "%s: %s", file[i].path, diag.text);
  for (size_t i = 0; i < a->outputs; i++) cli_output_commit(&file[i]);
  for (size_t i = 0; i < ins; i++) npy_close(&in[i]);
  for (size_t i = 0; i < outs; i++) npy_close(&out[i]);
}

/* ---- scans ---- */

/* SCAN.seg.nii.gz beside the scan; the caller frees it. */
static char *default_output(const char *scan) {
  static const char *const endings[] = {".nii", ".hdr", ".img"};
  size_t stem = strlen(scan) - (cli_ends(scan, ".gz") ? 3 : 0);
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
    if (stem > 4 && strncmp(scan + stem - 4, endings[i], 4) == 0) {
      stem -= 4;
      break;
    }
  char *path;
  if (asprintf(&path, "%.*s.seg.nii.gz", (int)stem, scan) < 0)
    cli_fatal(VN_E_MEMORY, "out of memory");
  return path;
}

static void show_progress(void *context, size_t done, size_t total) {
  (void)context;
  cli_progress("segmenting", done, total);
}

static void report_labels(struct cli_json *json, const struct vn_scan *scan,
                          const struct vn_labels *labels) {
  uint64_t *voxels = calloc(labels->classes, sizeof *voxels);
  if (!voxels) cli_fatal(VN_E_MEMORY, "out of memory");
  vn_labels_count(labels, voxels);
  double ml = scan->spacing_mm[0] * scan->spacing_mm[1] * scan->spacing_mm[2] / 1000;
  cli_json_open(json, "labels", '[');
  for (size_t i = 0; i < labels->classes; i++) {
    cli_json_open(json, NULL, '{');
    cli_json_count(json, "label", i);
    cli_json_count(json, "voxels", voxels[i]);
    cli_json_real(json, "ml", (double)voxels[i] * ml, 6);
    cli_json_close(json, '}');
  }
  cli_json_close(json, ']');
  free(voxels);
}

static void report_times(struct cli_json *json, const struct vn_segment_report *report,
                         const struct times *times) {
  cli_json_open(json, "seconds", '{');
  cli_json_real(json, "open", 1e-9 * (double)times->open_ns, 6);
  cli_json_real(json, "read", 1e-9 * (double)times->read_ns, 6);
  cli_json_real(json, "normalise", 1e-9 * (double)report->normalize_ns, 6);
  cli_json_real(json, "network", 1e-9 * (double)report->window.network_ns, 6);
  cli_json_real(json, "blend", 1e-9 * (double)report->window.outside_ns, 6);
  cli_json_real(json, "write", 1e-9 * (double)times->write_ns, 6);
  cli_json_close(json, '}');
}

static void report_print(const struct arguments *a, const char *output,
                         const struct vn_segment *segment, const struct vn_segment_report *report,
                         const struct vn_labels *labels, const struct times *times) {
  struct cli_json json = {.out = stdout};
  struct vn_exec_info info = vn_exec_info(segment->exec);
  const char *intensity = vn_plan_meta(segment->plan, "vnet.intensity");
  char checksum[17];
  snprintf(checksum, sizeof checksum, "%016" PRIx64, vn_plan_checksum(segment->plan));
  cli_json_open(&json, NULL, '{');
  cli_json_text(&json, "program", "vnet-run");
  cli_json_text(&json, "version", vn_version());
  cli_json_text(&json, "plan", a->plan);
  cli_json_text(&json, "plan_checksum", checksum);
  cli_json_text(&json, "topology", vn_plan_topology(segment->plan));
  cli_json_text(&json, "isa", info.isa);
  cli_json_count(&json, "threads", info.threads);
  cli_json_count(&json, "memory_bytes", segment->memory_bytes);
  cli_json_text(&json, "scan", a->scan);
  cli_json_text(&json, "output", output);
  cli_json_open(&json, "shape", '[');
  for (int i = 0; i < 3; i++) cli_json_count(&json, NULL, segment->scan->dim[i]);
  cli_json_close(&json, ']');
  cli_json_open(&json, "spacing_mm", '[');
  for (int i = 0; i < 3; i++) cli_json_real(&json, NULL, segment->scan->spacing_mm[i], 6);
  cli_json_close(&json, ']');
  cli_json_text(&json, "intensity", intensity ? intensity : "none");
  cli_json_count(&json, "replaced_voxels", segment->scan->replaced);
  cli_json_count(&json, "windows", report->window.windows);
  report_times(&json, report, times);
  report_labels(&json, segment->scan, labels);
  cli_json_close(&json, '}');
  cli_finish_stdout();
}

static void notes_print(const struct vn_segment *segment) {
  if (!vn_plan_meta(segment->plan, "vnet.intensity"))
    fputs("vnet-run: note: the model has no vnet.intensity: voxels go in as they are\n", stderr);
  if (segment->scan->replaced)
    fprintf(stderr, "vnet-run: note: %zu voxels were not finite and took the smallest value\n",
            segment->scan->replaced);
}

static void labels_save(struct cli_output *file, const struct vn_segment *segment,
                        const struct vn_labels *labels) {
  struct vn_diag diag;
  char text[80];
  snprintf(text, sizeof text, "vnet-run %s, plan %016" PRIx64, vn_version(),
           vn_plan_checksum(segment->plan));
  enum vn_status status =
      vn_labels_write(file->fd, cli_ends(file->path, ".gz"), segment->scan, labels, text, &diag);
  if (status) cli_fatal(status, "%s: %s", file->path, diag.text);
  cli_output_commit(file);
}

/* The label map's name, checked; *named is what the caller frees. */
static const char *output_choose(const struct arguments *a, char **named) {
  *named = a->outputs ? NULL : default_output(a->scan);
  const char *output = *named ? *named : a->output[0];
  if (!cli_ends(output, ".nii") && !cli_ends(output, ".nii.gz"))
    cli_fatal(VN_E_ARGUMENT, "%s: the output's name must end in .nii or .nii.gz", output);
  inputs_spare(a, output);
  return output;
}

/* Everything that can refuse the scan before its voxels are read. */
static struct vn_exec *segment_open(const struct arguments *a, const struct vn_plan *plan,
                                    struct vn_scan *scan, struct vn_segment *segment) {
  struct vn_diag diag;
  struct vn_exec *exec;
  cli_check(vn_scan_open(a->scan, scan, &diag), &diag);
  cli_check(vn_exec_open(plan, &a->exec, &exec, &diag), &diag);
  enum vn_status status = vn_segment_plan(plan, exec, scan, NULL, segment, &diag);
  if (status) cli_fatal(status, "%s: %s", a->scan, diag.text);
  uint64_t limit = a->exec.memory_limit_bytes;
  if (limit && segment->memory_bytes > limit)
    cli_fatal(VN_E_MEMORY, "%s: takes %.0f MiB, the limit is %.0f MiB", a->scan,
              (double)segment->memory_bytes / 1048576, (double)limit / 1048576);
  if (!a->quiet) segment->progress = show_progress;
  return exec;
}

static void scan_run(const struct arguments *a, const struct vn_plan *plan) {
  struct times times;
  struct vn_diag diag;
  struct vn_scan scan;
  struct vn_segment segment;
  struct vn_segment_report report;
  struct vn_labels labels;
  struct cli_output file;
  char *named;
  const char *output = output_choose(a, &named);

  uint64_t start = now_ns();
  struct vn_exec *exec = segment_open(a, plan, &scan, &segment);
  cli_output_open(&file, output);
  times.open_ns = now_ns() - start;

  start = now_ns();
  cli_check(vn_scan_load(&scan, a->replace_nan, &diag), &diag);
  times.read_ns = now_ns() - start;
  if (!a->quiet) notes_print(&segment);

  cli_on_interrupt(exec_cancel, exec);
  enum vn_status status = vn_segment_run(&segment, &labels, &report, &diag);
  if (status) cli_fatal(status, "%s: %s", a->scan, diag.text);
  cli_on_interrupt(NULL, NULL);
  cli_check_interrupt();

  start = now_ns();
  labels_save(&file, &segment, &labels);
  times.write_ns = now_ns() - start;
  if (a->json) report_print(a, output, &segment, &report, &labels, &times);
  vn_exec_close(&exec);
  free(labels.data);
  free(named);
  vn_scan_close(&scan);
}

int main(int argc, char **argv) {
  cli_start("vnet-run");
  struct arguments a = arguments_parse(argc, argv);
  struct vn_diag diag;
  struct vn_plan *plan;
  cli_check(vn_plan_open(a.plan, &plan, &diag), &diag);
  if (a.tensors)
    tensors_run(&a, plan);
  else
    scan_run(&a, plan);
  vn_plan_close(&plan);
  return VN_OK;
}

/* The run as JSON and CSV; see report.h. */
#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "case_read.h"
#include "cli.h"
#include "os.h"
#include "printed.h"

static void real_or_null(struct cli_json *json, const char *key, double value) {
  if (isfinite(value))
    cli_json_real(json, key, value, 6);
  else
    cli_json_text(json, key, NULL);
}

static void plan_print(struct cli_json *json, const struct run_model *model) {
  char checksum[RUN_CHECKSUM];
  snprintf(checksum, sizeof checksum, "%016" PRIx64, vn_plan_checksum(model->plan));
  cli_json_text(json, "plan", model->path);
  cli_json_text(json, "plan_checksum", checksum);
  cli_json_text(json, "topology", vn_plan_topology(model->plan));
}

/* Those whose probabilities are averaged with the first one's. */
static void others_print(struct cli_json *json, const struct run_models *models) {
  if (models->count == 1) return;
  cli_json_open(json, "averaged_with", '[');
  for (size_t i = 1; i < models->count; i++) {
    cli_json_open(json, NULL, '{');
    plan_print(json, &models->of[i]);
    cli_json_close(json, '}');
  }
  cli_json_close(json, ']');
}

static void manifest_print(struct cli_json *json, const struct run_session *session,
                           const struct run_input *input) {
  struct vn_exec_info info = vn_exec_info(vn_segmenter_exec(session->segmenter));
  cli_json_text(json, "program", "vnet-run");
  cli_json_text(json, "version", vn_version());
  plan_print(json, &session->models->of[0]);
  others_print(json, session->models);
  cli_json_text(json, "sandbox", session->sandbox);
  cli_json_text(json, "isa", info.isa);
  cli_json_count(json, "threads", info.threads);
  cli_json_count(json, "network_bytes", session->info.memory_bytes);
  cli_json_count(json, "memory_bytes", input->memory_bytes);
  cli_json_count(json, "peak_resident_bytes", vn_os_memory_peak());
}

static double spacing_mm(const struct vn_image *image, int axis) {
  const double(*m)[4] = image->affine;
  return sqrt(m[0][axis] * m[0][axis] + m[1][axis] * m[1][axis] + m[2][axis] * m[2][axis]);
}

/* Of several channels, which file each one is of. */
static void channels_print(struct cli_json *json, const struct run_session *session,
                           const struct run_files *files, const struct run_input *input) {
  cli_json_open(json, "channels", '[');
  for (size_t i = 0, channel = 0; i < input->files; i++)
    for (size_t v = 0; v < vn_scan_volumes(input->file[i]); v++, channel++) {
      const struct vn_channel_info info = vn_segmenter_channel(session->segmenter, channel);
      cli_json_open(json, NULL, '{');
      cli_json_text(json, "name", info.name);
      cli_json_text(json, "scan", files->scan[i]);
      cli_json_text(json, "intensity", info.intensity);
      cli_json_close(json, '}');
    }
  cli_json_close(json, ']');
}

void report_mark(const struct run_files *files, char mark[REPORT_MARK]) {
  uint64_t sum = 0;
  for (size_t i = 0; i < files->scans; i++) sum += vn_os_mark(run_word_file(files->scan[i]));
  snprintf(mark, REPORT_MARK, "%016" PRIx64, sum);
}

static void scan_print(struct cli_json *json, const struct run_session *session,
                       const struct run_files *files, const struct run_input *input,
                       const struct vn_segment_report *report) {
  const struct vn_image *image = &input->image[0];
  char mark[REPORT_MARK];
  report_mark(files, mark);
  cli_json_text(json, "scan", files->scan[0]);
  cli_json_text(json, "scan_mark", mark);
  if (input->count > 1) channels_print(json, session, files, input);
  cli_json_text(json, "output", files->labels);
  cli_json_open(json, "shape", '[');
  for (int i = 0; i < 3; i++) cli_json_count(json, NULL, image->dim[i]);
  cli_json_close(json, ']');
  cli_json_open(json, "spacing_mm", '[');
  for (int i = 0; i < 3; i++) cli_json_real(json, NULL, spacing_mm(image, i), 6);
  cli_json_close(json, ']');
  cli_json_open(json, "network_shape", '['); /* w h d, in the order of the model's orientation */
  for (int i = 2; i >= 0; i--) cli_json_count(json, NULL, report->grid[i]);
  cli_json_close(json, ']');
  cli_json_open(json, "network_spacing_mm", '[');
  for (int i = 2; i >= 0; i--) cli_json_real(json, NULL, report->grid_spacing_mm[i], 6);
  cli_json_close(json, ']');
  cli_json_text(json, "scan_note", vn_scan_note(input->file[0]));
  cli_json_text(json, "intensity", session->info.intensity);
  cli_json_count(json, "replaced_voxels", report->replaced_vox);
  cli_json_text(json, "note", *report->note ? report->note : NULL);
  cli_json_text(json, "warning", *report->warning ? report->warning : NULL);
}

static void work_print(struct cli_json *json, const struct run_session *session,
                       const struct run_input *input, const struct run_result *result) {
  const struct vn_segment_options *o = &session->options->segment;
  const struct vn_segment_report *report = &result->report;
  char mirror[4] = "", *end = mirror;
  for (int i = 0; i < 3; i++)
    if (o->mirror[i]) *end++ = "dhw"[i];
  *end = '\0';
  cli_json_count(json, "windows", report->windows);
  cli_json_count(json, "windows_skipped", report->skipped);
  cli_json_real(json, "overlap", o->overlap == 0 ? 0.5 : fmax(o->overlap, 0), 6);
  cli_json_text(json, "weighting", o->weighting == VN_WEIGHTING_CONSTANT ? "constant" : "gaussian");
  cli_json_text(json, "mirror", *mirror ? mirror : "none");
  cli_json_count(json, "removed_voxels", report->removed_vox);
  const struct {
    const char *name;
    uint64_t ns;
  } stages[] = {
      {"read", input->read_ns},        {"normalise", report->intensity_ns},
      {"network", report->network_ns}, {"blend", report->outside_ns},
      {"clean", report->clean_ns},     {"measure", result->measure_ns},
      {"write", result->write_ns},     {"picture", result->picture_ns},
  };
  cli_json_open(json, "seconds", '{');
  for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
    cli_json_real(json, stages[i].name, 1e-9 * (double)stages[i].ns, 6);
  cli_json_close(json, '}');
}

/* What a measure is of: a label or, after all of them, a region. */
struct measured {
  const char *kind, *name;
  size_t number;
};

static struct measured measured(const struct run_session *session, size_t index) {
  const size_t labels = session->info.labels;
  const bool region = index >= labels;
  const size_t number = region ? index - labels + 1 : index;
  return (struct measured){region ? "region" : "label", session->labels[number].name, number};
}

/* A region's probabilities are those of the label with its number. */
static double soft_ml(const struct run_session *session, const struct run_result *result,
                      size_t index) {
  return result->map.soft_ml[measured(session, index).number];
}

/* What the model scored before, not what it did here. */
static double validation_dice(const struct run_session *session, size_t index) {
  const double *dice = session->info.validation_dice;
  return dice ? dice[measured(session, index).number] : NAN;
}

static void measure_print(struct cli_json *json, const struct run_session *session,
                          const struct run_result *result, size_t index) {
  const struct vn_measure *m = &result->measures[index];
  const struct measured of = measured(session, index);
  cli_json_open(json, NULL, '{');
  cli_json_count(json, of.kind, of.number);
  cli_json_text(json, "name", of.name);
  cli_json_count(json, "voxels", m->voxels);
  cli_json_real(json, "ml", m->ml, 6);
  real_or_null(json, "soft_ml", soft_ml(session, result, index));
  real_or_null(json, "mean", m->mean);
  real_or_null(json, "sd", m->sd);
  cli_json_open(json, "centroid_mm", '[');
  for (int i = 0; i < 3; i++) real_or_null(json, NULL, m->centroid_mm[i]);
  cli_json_close(json, ']');
  real_or_null(json, "validation_dice", validation_dice(session, index));
  cli_json_close(json, '}');
}

void report_json(FILE *out, const struct run_session *session, const struct run_files *files,
                 const struct run_input *input, const struct run_result *result) {
  struct cli_json json = {.out = out};
  cli_json_open(&json, NULL, '{');
  manifest_print(&json, session, input);
  scan_print(&json, session, files, input, &result->report);
  work_print(&json, session, input, result);
  cli_json_open(&json, "labels", '[');
  const size_t labels = session->info.labels, all = labels + session->info.regions;
  for (size_t i = 0; i < labels; i++) measure_print(&json, session, result, i);
  cli_json_close(&json, ']');
  if (all > labels) {
    cli_json_open(&json, "regions", '[');
    for (size_t i = labels; i < all; i++) measure_print(&json, session, result, i);
    cli_json_close(&json, ']');
  }
  cli_json_close(&json, '}');
}

/* ---- for a person ---- */

void report_tell(FILE *out, const struct run_session *session, const struct run_files *files,
                 const struct run_result *result) {
  cli_line(out, "%s: done in %.1f s", files->labels, cli_seconds());
  for (size_t i = 1; i < session->info.labels + session->info.regions; i++) {
    const struct measured of = measured(session, i);
    double ml = result->measures[i].ml;
    cli_line(out, "  %s %zu, %s: %.*f ml", of.kind, of.number, of.name, ml < 10 ? 3 : 1, ml);
  }
}

/* ---- CSV, after RFC 4180 ---- */

static void number_print(FILE *out, double value) {
  fputc(',', out);
  if (isfinite(value))
    fprintf(out, "%.6f", value); /* the C locale's: no program here sets another */
}

/* Those options that decide what is found, where they are not the defaults; behind each a space. */
static void options_print(FILE *out, const struct run_options *o) {
  const struct vn_segment_options *s = &o->segment;
  if (s->overlap != 0 && s->overlap != 0.5) fprintf(out, "overlap %g ", fmax(s->overlap, 0));
  if (s->weighting == VN_WEIGHTING_CONSTANT) fputs("constant ", out);
  if (s->mirror[0] || s->mirror[1] || s->mirror[2])
    fprintf(out, "mirror %s%s%s ", s->mirror[0] ? "d" : "", s->mirror[1] ? "h" : "",
            s->mirror[2] ? "w" : "");
  if (s->every_window) fputs("all-windows ", out);
  if (o->geometry) fprintf(out, "geometry %s ", o->geometry);
  if (s->match_grids) fputs("match-grids ", out);
  if (s->replace_nan) fputs("replace-nan ", out);
  if (s->largest_component) fputs("largest-component ", out);
  if (s->min_volume_ml > 0) fprintf(out, "min-volume-ml %g ", s->min_volume_ml);
}

void report_csv_end(FILE *out, const struct run_session *session, bool regions, bool picture) {
  struct vn_printed options;
  FILE *text = vn_printed_open(&options);
  if (text) options_print(text, session->options);
  if (text && regions) fputs("region-maps ", text);
  if (text && picture) fputs("picture ", text);
  if (!vn_printed_close(text, &options)) cli_fatal(VN_E_MEMORY, "out of memory");
  if (options.bytes) options.text[options.bytes - 1] = '\0';
  fprintf(out, ",%s,%s,%s,", vn_version(), session->models->checksum,
          vn_exec_info(vn_segmenter_exec(session->segmenter)).isa);
  cli_csv_text(out, options.text);
  fputc('\n', out);
  free(options.text);
}

static void row_end(FILE *out, const struct run_session *session) {
  const struct run_options *o = session->options;
  report_csv_end(out, session, o->region_maps, o->pictures && !o->picture); /* of many scans */
}

void report_csv_header(FILE *out) {
  fputs("scan,status,message,label,name,voxels,ml,soft_ml,mean,sd,x_mm,y_mm,z_mm,validation_dice,"
        "version,plan,isa,options\n",
        out);
}

void report_csv_rows(FILE *out, const struct run_session *session, const char *scan,
                     const struct run_result *result) {
  const char *warning = result->report.warning;
  for (size_t i = 0; i < session->info.labels + session->info.regions; i++) {
    const struct vn_measure *m = &result->measures[i];
    const struct measured of = measured(session, i);
    cli_csv_text(out, scan);
    fputs(*warning ? ",warning," : ",ok,", out);
    cli_csv_text(out, warning);
    fprintf(out, i < session->info.labels ? ",%zu," : ",region %zu,", of.number);
    cli_csv_text(out, of.name);
    fprintf(out, ",%" PRIu64, (uint64_t)m->voxels);
    number_print(out, m->ml);
    number_print(out, soft_ml(session, result, i));
    number_print(out, m->mean);
    number_print(out, m->sd);
    for (int axis = 0; axis < 3; axis++) number_print(out, m->centroid_mm[axis]);
    number_print(out, validation_dice(session, i));
    row_end(out, session);
  }
}

void report_csv_failure(FILE *out, const struct run_session *session, const char *scan,
                        const char *sentence) {
  cli_csv_text(out, scan);
  fputs(",failed,", out);
  cli_csv_text(out, sentence);
  fputs(",,,,,,,,,,,", out);
  row_end(out, session);
}

bool report_csv_says(const char *row, const char *status) {
  const size_t length = strlen(status);
  if (*row++ != '"') return false;
  for (; *row && (*row != '"' || row[1] == '"'); row++) row += *row == '"';
  return strncmp(row, "\",", 2) == 0 && strncmp(row + 2, status, length) == 0 &&
         row[2 + length] == ',';
}

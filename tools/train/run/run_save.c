/* What a run leaves behind; see run.h. Every file but the tables is whole or absent, and the model
 * is written before the checkpoint: what a resumed run finds is never newer than what it makes. */
#include "run.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "charts.h"
#include "cli.h"
#include "compile.h"
#include "model_file.h"
#include "part.h"
#include "printed.h"
#include "log.h"
#include "validate.h"

static const char scores_head[] = "step,case,label,dice,hd95_mm,assd_mm,nsd";

static char *renamed(const char *path, const char *ending, const char *new_ending) {
  char *text;
  const size_t cut = cli_ends(path, ending) ? strlen(path) - strlen(ending) : strlen(path);
  if (asprintf(&text, "%.*s%s", (int)cut, path, new_ending) < 0)
    cli_fatal(VN_E_MEMORY, "out of memory");
  return text;
}

static void map_add(struct cli_files *files, const char *folder, const struct vnt_list_row *row) {
  char *path = vnt_validation_map(folder, row);
  if (!path) cli_fatal(VN_E_MEMORY, "out of memory");
  cli_files_add(files, path, true);
  free(path);
}

/* No result replaces another one, or what it is made of. */
static void files_check(const struct vnt_run *run) {
  const struct vnt_options *o = &run->options;
  const struct vnt_samples *s = &run->samples;
  struct cli_files files = {0};
  char *const charts[2] = {o->charts ? renamed(o->charts, "", "-curves.png") : NULL,
                           o->charts ? renamed(o->charts, "", "-slices.png") : NULL};
  const char *const outputs[] = {o->output,
                                 o->checkpoint,
                                 o->log,
                                 charts[0],
                                 charts[1],
                                 run->scores_path,
                                 o->validate_every ? run->best_path : NULL};
  for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++)
    cli_files_add(&files, outputs[i], true);
  cli_files_add(&files, o->init, false);
  cli_files_add(&files, o->data, false);
  cli_files_add(&files, o->validation, false);
  cli_files_add(&files, o->label_table, false);
  for (size_t i = 0; i < s->n_maps; i++) cli_files_add(&files, s->map_path[i], false);
  for (size_t i = 0; i < s->cases.list.count; i++) {
    const struct vnt_list_row *row = &s->cases.list.row[i];
    for (size_t f = 0; f < row->files; f++) cli_files_add(&files, row->image[f], false);
    cli_files_add(&files, row->label, false);
    if (o->maps_folder && row->validation) map_add(&files, o->maps_folder, row);
  }
  cli_files_check(&files);
  free(charts[0]);
  free(charts[1]);
}

/* The log's columns: of more classes than one a Dice of each, too. To be freed. */
static char *log_head(size_t classes) {
  struct vn_printed text;
  FILE *out = vn_printed_open(&text);
  if (out) fputs("step,loss,dice,rate,gradient_norm,seconds", out);
  for (size_t c = 1; out && classes > 2 && c < classes; c++) fprintf(out, ",dice_%zu", c);
  if (!vn_printed_close(out, &text)) cli_fatal(VN_E_MEMORY, "out of memory");
  return text.text;
}

static void writable(const char *path) {
  struct cli_output output;
  cli_output_open(&output, path);
  cli_output_drop(&output);
}

void vnt_run_outputs(struct vnt_run *run) {
  const struct vnt_options *o = &run->options;
  run->best_path = renamed(o->output, ".onnx", ".best.onnx");
  if (o->validate_every) run->scores_path = renamed(o->log, ".csv", ".validation.csv");
  files_check(run);
  writable(o->output);
  writable(o->checkpoint);
  if (!o->log) return;
  char *head = log_head(o->classes);
  run->log = vnt_log_open(o->log, head, o->resume, run->optim.steps);
  run->logged = ftell(run->log) > (long)strlen(head) + 2; /* and the end of a line */
  free(head);
  if (!o->validate_every) return;
  if (o->maps_folder && mkdir(o->maps_folder, 0777) && errno != EEXIST)
    cli_fatal(vn_io_status(errno), "%s: %s", o->maps_folder, strerror(errno));
  fclose(vnt_log_open(run->scores_path, scores_head, o->resume, (uint64_t)run->progress.validated));
}

void vnt_run_log(struct vnt_run *run, const struct vnt_loss *loss, double rate, double norm,
                 double seconds) {
  if (!run->log) return;
  fprintf(run->log, "%llu,%.7f,%.6f,%.3e,%.4f,%.4f", (unsigned long long)run->optim.steps,
          loss->loss, loss->dice, rate, norm, seconds);
  for (size_t c = 1; run->options.classes > 2 && c < run->options.classes; c++)
    if (loss->class[c].samples > 0)
      fprintf(run->log, ",%.6f", loss->class[c].dice / loss->class[c].samples);
    else
      fputs(",nan", run->log);
  fputc('\n', run->log);
  vnt_log_flush(run->log, run->options.log);
  run->logged = true;
}

/* ---- the model ---- */

/* The weights and their means change places. */
static void average_swap(struct vnt_run *run) {
  float *const of[2] = {run->net.param, run->net.running};
  const size_t elems[2] = {run->net.elems, run->net.n_running};
  for (size_t k = 0, at = 0; run->average && k < 2; at += elems[k++])
    for (size_t i = 0; i < elems[k]; i++) {
      const float mean = run->average[at + i];
      run->average[at + i] = of[k][i];
      of[k][i] = mean;
    }
}

/* The file's bytes, to be freed. */
static void *model_make(struct vnt_run *run, size_t *size) {
  const struct vnt_options *o = &run->options;
  const struct vnt_model_export options = {run->member, o->patch, o->model_patch, o->float16};
  struct vn_diag diag;
  void *bytes;
  average_swap(run);
  vnt_net_store(&run->net);
  average_swap(run);
  for (size_t i = 0; i < run->dropped.n_consts; i++)
    memcpy(run->graph.consts[i].data, run->dropped.consts[i].data,
           (size_t)vnc_const_elems(&run->graph.consts[i]) * sizeof(float));
  if (o->odds != 1) cli_check(vnt_model_odds(&run->graph, o->odds, &diag), &diag);
  cli_check(vnt_model_bytes(&run->graph, &options, &bytes, size, &diag), &diag);
  return bytes;
}

static void model_write(struct vnt_run *run, const char *path) {
  struct cli_output output;
  struct vn_diag diag;
  size_t size;
  void *bytes = model_make(run, &size);
  cli_output_open(&output, path);
  if (vn_part_write(output.fd, bytes, size, &diag))
    cli_fatal(VN_E_IO, "%s: %s; what was there before is whole", path, diag.text);
  cli_output_commit(&output);
  free(bytes);
}

/* ---- validation ---- */

/* Rows for all cases; returns the mean Dice. */
static double scores_print(const struct vnt_run *run, const struct vnt_validation *v,
                           const struct vnt_score *scores) {
  FILE *out = vnt_log_open(run->scores_path, scores_head, true, (uint64_t)run->progress.validated);
  const size_t labels = v->labels->classes - 1;
  double sum = 0;
  for (size_t i = 0; i < v->count * labels; i++) {
    sum += scores[i].dice;
    fprintf(out, "%llu,", (unsigned long long)run->optim.steps);
    cli_csv_text(out, v->cases[i / labels]->image[0]);
    fprintf(out, ",%zu,%.6f,", i % labels + 1, scores[i].dice);
    fprintf(out, isfinite(scores[i].hd95_mm) ? "%.3f,%.4f" : "nan,nan", scores[i].hd95_mm,
            scores[i].assd_mm);
    fprintf(out, ",%.6f\n", scores[i].nsd);
  }
  vnt_log_sync(out, run->scores_path);
  fclose(out);
  return sum / (double)(v->count * labels);
}

/* The mean over those cases where one of the two maps has the label (validation.h). */
static void best_write(struct vnt_run *run, const struct vnt_validation *v,
                       const struct vnt_score *scores) {
  static const char key[] = "vnet.validation_dice";
  const size_t labels = v->labels->classes - 1;
  const char *gap = "";
  struct vn_printed text;
  FILE *out = vn_printed_open(&text);
  for (size_t label = 0; out && label < labels; label++) {
    double sum = 0, count = 0;
    for (size_t i = label; i < v->count * labels; i += labels)
      if (scores[i].voxels) sum += scores[i].dice, count++;
    if (count == 0) continue;
    fprintf(out, "%s%zu %.4f", gap, label + 1, sum / count);
    gap = " ";
  }
  if (!vn_printed_close(out, &text)) cli_fatal(VN_E_MEMORY, "out of memory");
  vnt_model_meta(&run->graph, key, text.text);
  if (run->graph.failed) cli_fatal(VN_E_MEMORY, "out of memory");
  model_write(run, run->best_path);
  vnt_model_meta(&run->graph, key, NULL); /* the next step has other weights */
  free(text.text);
}

/* Of a model that is seen by nobody: the one at --output is that of the last checkpoint, which a
 * diverging run no longer writes. */
static enum vn_status scores_make(struct vnt_run *run, struct vnt_validation *v,
                                  struct vnt_score *scores, struct vn_diag *diag) {
  const struct vnt_options *o = &run->options;
  const struct vnc_import_options import = {
      .patch = {o->model_patch[0], o->model_patch[1], o->model_patch[2]}};
  struct vnc_graph model;
  size_t size;
  void *bytes = model_make(run, &size);
  enum vn_status status = vnc_onnx_import_memory(bytes, size, &import, &model, diag);
  free(bytes);
  if (!status) status = vnt_validate(&model, v, scores, diag);
  vnc_graph_free(&model);
  return status;
}

bool vnt_run_validate(struct vnt_run *run) {
  const struct vnt_options *o = &run->options;
  const struct vnt_cases *cases = &run->samples.cases;
  const uint64_t step = run->optim.steps;
  if (!o->validate_every || !step || (step % o->validate_every && step != o->steps)) return true;
  if (run->progress.validated >= (double)step) return true;
  if (vn_cancel_pressed(run->cancel)) return false;
  const struct vnt_list_row **rows = calloc(cases->n_validation, sizeof *rows);
  struct vnt_score *scores = calloc(cases->n_validation * (o->classes - 1), sizeof *scores);
  if (!rows || !scores) cli_fatal(VN_E_MEMORY, "out of memory");
  struct vnt_validation v = {.list = &cases->list,
                             .cases = rows,
                             .labels = run->labels,
                             .tolerance_mm = o->tolerance_mm,
                             .maps_folder = o->maps_folder,
                             .isa = o->isa,
                             .threads = run->machine.threads,
                             .cancel = run->cancel};
  for (size_t i = 0; i < cases->list.count; i++)
    if (cases->list.row[i].validation) rows[v.count++] = &cases->list.row[i];
  struct vn_diag diag;
  const enum vn_status status = scores_make(run, &v, scores, &diag);
  if (status != VN_E_CANCELLED) {
    cli_check(status, &diag);
    const double mean = scores_print(run, &v, scores);
    run->progress.validated = (double)step;
    if (mean > run->progress.best_score || !run->progress.best_step) {
      run->progress.best_score = mean;
      run->progress.best_step = (double)step;
      best_write(run, &v, scores);
    }
  }
  free(rows);
  free(scores);
  return status != VN_E_CANCELLED;
}

/* ---- charts ---- */

/* The label of the highest score at every voxel of the batch. */
static void predict(const struct vnt_run *run, uint8_t *predicted) {
  const struct vn_tensor *t = &run->net.output;
  const size_t voxels = run->share * run->samples.voxels, classes = t->dim[VN_C];
  for (size_t i = 0; i < voxels; i++) {
    const float *score = (const float *)t->data + i * t->stride;
    size_t best = 0;
    for (size_t c = 1; c < classes; c++)
      if (score[c] > score[best]) best = c;
    predicted[i] = (uint8_t)(classes == 1 ? score[0] > 0 : best);
  }
}

static void curves_write(const struct vnt_run *run, const struct vn_palette *labels) {
  struct cli_output output;
  struct vn_diag diag;
  char *path = renamed(run->options.charts, "", "-curves.png");
  cli_output_open(&output, path);
  cli_check(vnt_chart_curves(output.fd, run->options.log, run->scores_path, labels, &diag), &diag);
  cli_output_commit(&output);
  free(path);
}

static void slices_write(const struct vnt_run *run, const struct vn_palette *labels) {
  struct cli_output output;
  struct vn_diag diag;
  const size_t voxels = run->share * run->samples.voxels, channels = run->samples.channels;
  uint8_t *predicted = malloc(voxels);
  float *image = malloc(voxels * sizeof *image); /* the first channel */
  if (!predicted || !image) cli_fatal(VN_E_MEMORY, "out of memory");
  for (size_t i = 0; i < voxels; i++) image[i] = ((const float *)run->net.input.data)[i * channels];
  predict(run, predicted);
  char *path = renamed(run->options.charts, "", "-slices.png");
  cli_output_open(&output, path);
  const struct vnt_slices slices = {image,      run->target, predicted, run->options.patch,
                                    run->share, labels};
  cli_check(vnt_chart_slices(output.fd, &slices, &diag), &diag);
  cli_output_commit(&output);
  free(path);
  free(image);
  free(predicted);
}

/* A run that only makes up for a validation has curves, and no batch. */
static void charts_write(const struct vnt_run *run) {
  struct vn_diag diag;
  struct vn_palette labels;
  cli_check(vn_palette_parse(vnc_graph_meta_value(&run->graph, "vnet.labels"), run->options.classes,
                             &labels, &diag),
            &diag);
  if (run->logged) curves_write(run, &labels);
  if (run->fed) slices_write(run, &labels);
  vn_palette_close(&labels);
}

/* ---- all ---- */

void vnt_run_save(struct vnt_run *run) {
  const struct vnt_options *o = &run->options;
  const struct vnt_checkpoint checkpoint = {&run->net, &run->optim, run->average, &run->progress,
                                            run->identity};
  struct cli_output output;
  struct vn_diag diag;
  if (run->log) vnt_log_sync(run->log, o->log);
  model_write(run, o->output);
  cli_output_open(&output, o->checkpoint);
  if (vnt_checkpoint_write(output.fd, &checkpoint, &diag))
    cli_fatal(VN_E_IO, "%s: %s; the checkpoint before it is whole", o->checkpoint, diag.text);
  cli_output_commit(&output);
  run->saved = true;
  if (o->charts) charts_write(run);
}

/* Segmenting, cleaning, measuring and writing one scan; see case.h. */
#include "case.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "case_read.h"
#include "cli.h"
#include "names.h"
#include "os.h"
#include "picture.h"
#include "report.h"
#include "slicer.h"
#include "tables.h"

enum { FILES = 9 };

struct outputs {
  struct cli_output labels, scores, regions, report, csv, picture, itksnap, slicer, returned;
  char *table_path[2];
};

void run_files_free(struct run_files *files) {
  for (size_t i = 0; i < files->scans; i++) free(files->scan[i]);
  free(files->scan);
  free(files->labels);
  free(files->scores);
  free(files->regions);
  free(files->report);
  free(files->csv);
  free(files->picture);
  *files = (struct run_files){0};
}

char **run_words_copy(char *const *word, size_t words) {
  char **copy = calloc(words, sizeof *copy);
  for (size_t i = 0; copy && i < words; i++)
    if (!(copy[i] = strdup(word[i]))) cli_fatal(VN_E_MEMORY, "out of memory");
  if (!copy) cli_fatal(VN_E_MEMORY, "out of memory");
  return copy;
}

/* ---- probabilities: in a nameless file beside the output, not in memory ---- */

static enum vn_status scores_create(const char *path, int *fd, struct vn_diag *diag) {
  struct cli_output nameless;
  enum vn_status status = cli_output_create(&nameless, path, diag);
  *fd = vn_os_dup(nameless.fd);
  cli_output_drop(&nameless);
  return status;
}

static enum vn_status scores_open(const struct run_session *session, const struct run_files *files,
                                  const struct run_input *input, struct vn_label_map *map,
                                  size_t *bytes, struct vn_diag *diag) {
  map->probability = session->options->scores_kind;
  size_t each = session->info.labels * (map->probability == VN_PROBABILITY_F32 ? 4 : 2);
  int fd;
  enum vn_status status = scores_create(files->scores, &fd, diag);
  if (status) return status;
  bool fits = !__builtin_mul_overflow(each, run_elems(input), bytes) && *bytes <= INT64_MAX;
  if (fd >= 0 && !fits) errno = EFBIG;
  void *pages = fd >= 0 && fits ? vn_os_map_new(fd, *bytes) : NULL;
  const int reason = errno;
  if (fd >= 0) close(fd);
  if (!pages)
    return vn_fail(diag, vn_io_status(reason), "%s: no room for the probabilities: %s",
                   files->scores, strerror(reason));
  map->probabilities = pages;
  return VN_OK;
}

/* ---- out ---- */

/* In the order of their appearance under their names. */
static void outputs_list(struct outputs *out, struct cli_output *list[FILES]) {
  struct cli_output *all[FILES] = {&out->scores, &out->regions,  &out->report,
                                   &out->csv,    &out->picture,  &out->itksnap,
                                   &out->slicer, &out->returned, &out->labels};
  memcpy(list, all, sizeof all);
}

enum vn_status run_tables_name(const struct run_session *session, const struct run_files *files,
                               char *path[2], struct vn_diag *diag) {
  path[0] = path[1] = NULL;
  if (!session->info.named) return VN_OK;
  path[0] = run_name(files->labels, ".label.txt");
  path[1] = run_name(files->labels, ".ctbl");
  return path[0] && path[1] ? VN_OK : vn_fail(diag, VN_E_MEMORY, "out of memory");
}

void run_files_add(struct cli_files *all, const struct run_session *session,
                   const struct run_files *files) {
  const char *const outputs[] = {files->labels, files->scores, files->regions,
                                 files->report, files->csv,    files->picture};
  struct vn_diag diag;
  char *tables[2];
  cli_check(run_tables_name(session, files, tables, &diag), &diag);
  for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++)
    cli_files_add(all, outputs[i], true);
  for (size_t i = 0; i < 2; i++) {
    cli_files_add(all, tables[i], true);
    free(tables[i]);
  }
  for (size_t i = 0; i < files->scans; i++) run_scan_add(all, run_word_file(files->scan[i]));
}

static enum vn_status outputs_create(const struct run_session *session,
                                     const struct run_files *files, struct outputs *out,
                                     struct vn_diag *diag) {
  enum vn_status status = run_tables_name(session, files, out->table_path, diag);
  const char *paths[FILES] = {
      files->scores,  files->regions,     files->report,      files->csv,
      files->picture, out->table_path[0], out->table_path[1], session->options->slicer_result,
      files->labels};
  struct cli_output *outputs[FILES];
  outputs_list(out, outputs);
  for (size_t i = 0; i < FILES; i++) outputs[i]->fd = -1;
  for (size_t i = 0; i < FILES && status == VN_OK; i++)
    if (paths[i]) status = cli_output_create(outputs[i], paths[i], diag);
  return status;
}

static void outputs_close(struct outputs *out) {
  struct cli_output *outputs[FILES];
  outputs_list(out, outputs);
  for (size_t i = 0; i < FILES; i++) cli_output_drop(outputs[i]);
  free(out->table_path[0]);
  free(out->table_path[1]);
}

static enum vn_status outputs_publish(struct outputs *out, struct vn_diag *diag) {
  struct cli_output *outputs[FILES];
  outputs_list(out, outputs);
  for (size_t i = 0; i < FILES; i++) {
    if (outputs[i]->fd < 0) continue;
    enum vn_status status = cli_output_publish(outputs[i], diag);
    if (status) return status;
  }
  return VN_OK;
}

/* A stream onto an output, which keeps its descriptor; text_close says whether all of it went. */
static FILE *text_open(const struct cli_output *output) {
  int copy = vn_os_dup(output->fd);
  FILE *file = copy < 0 ? NULL : fdopen(copy, "w");
  if (!file && copy >= 0) close(copy);
  return file;
}

static enum vn_status text_close(FILE *file, const struct cli_output *output,
                                 struct vn_diag *diag) {
  bool bad = !file || ferror(file);
  if (file && fclose(file)) bad = true;
  return bad ? vn_fail(diag, vn_io_status(errno), "%s: cannot write: %s", output->path,
                       strerror(errno))
             : VN_OK;
}

static enum vn_status images_write(const struct run_session *session, struct outputs *out,
                                   const struct run_input *input, const struct run_result *result,
                                   struct vn_diag *diag) {
  const size_t models = session->models->count;
  char text[80], more[32] = "";
  struct vn_diag inner;
  if (models > 1) snprintf(more, sizeof more, " and %zu more", models - 1);
  snprintf(text, sizeof text, "vnet-run %s, plan %.16s%s", vn_version(), session->models->checksum,
           more);
  const struct vn_scan_result file = {.size = sizeof file,
                                      .like = input->file[0],
                                      .map = &result->map,
                                      .labels = session->info.labels,
                                      .label = session->labels,
                                      .description = text,
                                      .cancel = session->cancel};
  enum vn_status status = vn_scan_write_labels(out->labels.fd, out->labels.path, &file, &inner);
  if (status) return run_of_file(status, out->labels.path, &inner, diag);
  if (out->regions.fd >= 0)
    status = vn_scan_write_regions(out->regions.fd, out->regions.path, &file, &inner);
  if (status) return run_of_file(status, out->regions.path, &inner, diag);
  if (out->scores.fd < 0) return VN_OK;
  status = vn_scan_write_probabilities(out->scores.fd, out->scores.path, &file, &inner);
  return run_of_file(status, out->scores.path, &inner, diag);
}

static enum vn_status picture_draw(const struct run_session *session, struct outputs *out,
                                   const struct run_input *input, const struct run_result *result,
                                   struct vn_diag *diag) {
  if (out->picture.fd < 0) return VN_OK;
  struct vn_diag inner;
  struct picture_job job = {
      .image = &input->image[0], .map = &result->map, .labels = session->labels};
  return run_of_file(picture_write(out->picture.fd, &job, &inner), out->picture.path, &inner, diag);
}

static void table_write(FILE *out, const struct run_session *session, const struct run_files *files,
                        const struct run_result *result) {
  report_csv_header(out);
  report_csv_rows(out, session, files->scan[0], result);
}

static enum vn_status texts_write(const struct run_session *session, const struct run_files *files,
                                  struct outputs *out, const struct run_input *input,
                                  const struct run_result *result, struct vn_diag *diag) {
  enum vn_status status = VN_OK;
  FILE *file;
  if (out->report.fd >= 0) {
    if ((file = text_open(&out->report))) report_json(file, session, files, input, result);
    if ((status = text_close(file, &out->report, diag))) return status;
  }
  if (out->csv.fd >= 0) {
    if ((file = text_open(&out->csv))) table_write(file, session, files, result);
    if ((status = text_close(file, &out->csv, diag))) return status;
  }
  if (out->itksnap.fd >= 0) {
    if ((file = text_open(&out->itksnap)))
      table_itksnap(session->labels, session->info.labels, file);
    if ((status = text_close(file, &out->itksnap, diag))) return status;
    if ((file = text_open(&out->slicer))) table_slicer(session->labels, session->info.labels, file);
    if ((status = text_close(file, &out->slicer, diag))) return status;
  }
  if (out->returned.fd >= 0) {
    if ((file = text_open(&out->returned))) slicer_return(file, session, result);
    status = text_close(file, &out->returned, diag);
  }
  return status;
}

/* A file that is several channels is a slip, but for a trial. */
static bool given_twice(const struct run_files *files, size_t index) {
  for (size_t i = 0; i < index; i++)
    if (strcmp(files->scan[i], files->scan[index]) == 0) return true;
  return false;
}

/* What the reader set right in the file. */
static void note_print(const struct run_session *session, const struct run_files *files,
                       const struct run_input *input) {
  for (size_t i = 0; i < input->files && !session->options->quiet; i++) {
    const char *note = vn_scan_note(input->file[i]);
    if (note) cli_note("%s: %s", files->scan[i], note);
    if (given_twice(files, i)) cli_note("%s: is given for several channels", files->scan[i]);
  }
}

/* ---- the work ---- */

/* A region alone is a label map of two. */
static enum vn_status measure(const struct run_session *session, const struct run_input *input,
                              struct run_result *result, struct vn_diag *diag) {
  const size_t labels = session->info.labels, regions = session->info.regions;
  result->measures = calloc(labels + regions, sizeof *result->measures);
  if (!result->measures) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  enum vn_status status =
      vn_measure_labels(&input->image[0], &result->map, labels, result->measures, diag);
  for (size_t i = 0; i < regions && status == VN_OK; i++) {
    struct vn_measure both[2];
    const struct vn_label_map alone = {.size = sizeof alone,
                                       .data = (char *)result->map.regions + i * run_elems(input),
                                       .elem_bytes = 1};
    status = vn_measure_labels(&input->image[0], &alone, 2, both, diag);
    result->measures[labels + i] = both[1];
  }
  return status;
}

static enum vn_status scan_segment(const struct run_session *session, const struct run_files *files,
                                   const struct run_input *input, struct run_result *result,
                                   struct vn_diag *diag) {
  struct vn_segment_options options = session->options->segment;
  struct vn_diag inner;
  options.cancel = session->cancel;
  options.progress = session->progress;
  result->report.size = sizeof result->report;
  enum vn_status status = vn_segment(session->segmenter, input->images, input->count, &options,
                                     &result->map, &result->report, &inner);
  if (status) return run_of_file(status, files->scan[0], &inner, diag);
  cli_interrupt_at_once(true); /* what follows does not ask for the button */
  if (vn_cancel_pressed(session->cancel)) return vn_fail(diag, VN_E_CANCELLED, "cancelled");
  uint64_t start = vn_os_now_ns();
  status = measure(session, input, result, &inner);
  result->measure_ns = vn_os_now_ns() - start;
  return run_of_file(status, files->scan[0], &inner, diag);
}

static enum vn_status map_open(const struct run_session *session, const struct run_files *files,
                               const struct run_input *input, struct vn_label_map *map,
                               size_t *scores_bytes, struct vn_diag *diag) {
  *map = (struct vn_label_map){.size = sizeof *map, .elem_bytes = run_label_bytes(session)};
  map->data = vn_os_room(run_elems(input) * map->elem_bytes);
  if (!map->data) return vn_fail(diag, VN_E_MEMORY, "out of memory for the labels");
  map->soft_ml = calloc(session->info.labels, sizeof *map->soft_ml);
  if (!map->soft_ml) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  const size_t regions = session->info.regions;
  if (regions && !(map->regions = vn_os_zeros(regions, run_elems(input))))
    return vn_fail(diag, VN_E_MEMORY, "out of memory for the regions");
  return files->scores ? scores_open(session, files, input, map, scores_bytes, diag) : VN_OK;
}

/* Warnings are for the quiet, too. */
static void result_tell(const struct run_session *session, const char *scan,
                        const struct vn_segment_report *report) {
  if (report->replaced_vox && !session->options->quiet)
    cli_note("%s: %zu voxels were not finite and took the smallest value", scan,
             report->replaced_vox);
  if (*report->note && !session->options->quiet) cli_note("%s: %s", scan, report->note);
  if (*report->warning) cli_line(stderr, "vnet-run: warning: %s: %s", scan, report->warning);
}

enum vn_status run_case(const struct run_session *session, const struct run_files *files,
                        struct run_input *input, struct vn_diag *diag) {
  struct run_result result = {0};
  struct outputs out = {0};
  size_t scores_bytes = 0;
  note_print(session, files, input);
  enum vn_status status = outputs_create(session, files, &out, diag);
  if (status == VN_OK) status = map_open(session, files, input, &result.map, &scores_bytes, diag);
  if (status == VN_OK) status = scan_segment(session, files, input, &result, diag);
  if (status == VN_OK) result_tell(session, files->scan[0], &result.report);
  input->warned = *result.report.warning;
  uint64_t start = vn_os_now_ns();
  if (status == VN_OK) status = images_write(session, &out, input, &result, diag);
  result.write_ns = vn_os_now_ns() - start;
  start = vn_os_now_ns();
  if (status == VN_OK) status = picture_draw(session, &out, input, &result, diag);
  result.picture_ns = vn_os_now_ns() - start;
  if (status == VN_OK) status = texts_write(session, files, &out, input, &result, diag);
  if (status == VN_OK) status = outputs_publish(&out, diag);
  cli_interrupt_at_once(false);
  if (status == VN_OK && session->options->json)
    report_json(stdout, session, files, input, &result);
  else if (status == VN_OK && session->options->csv_printed)
    table_write(stdout, session, files, &result);
  else if (status == VN_OK && session->tell)
    report_tell(stdout, session, files, &result);
  outputs_close(&out);
  vn_os_unmap(result.map.probabilities, scores_bytes);
  free(result.map.data);
  free(result.map.regions);
  free(result.map.soft_ml);
  free(result.measures);
  return status;
}

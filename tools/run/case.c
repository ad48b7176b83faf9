/* Reading, segmenting, cleaning, measuring and writing one scan; see case.h. */
#include "case.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "components.h"
#include "fail.h"
#include "picture.h"
#include "report.h"
#include "slicer.h"

enum { FILES = 8 };

struct outputs {
  struct cli_output labels, scores, report, csv, picture, itksnap, slicer, returned;
  char *itksnap_path, *slicer_path;
};

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void run_files_free(struct run_files *files) {
  free(files->scan);
  free(files->labels);
  free(files->scores);
  free(files->report);
  free(files->csv);
  free(files->picture);
  *files = (struct run_files){0};
}

char *run_name(const char *scan, const char *folder, const char *ending) {
  static const char *const endings[] = {".nii", ".hdr", ".img"};
  size_t stem = strlen(scan) - (cli_ends(scan, ".gz") ? 3 : 0);
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
    if (stem > 4 && strncmp(scan + stem - 4, endings[i], 4) == 0) {
      stem -= 4;
      break;
    }
  const char *slash = strrchr(scan, '/');
  size_t base = slash && folder ? (size_t)(slash + 1 - scan) : 0;
  char *path;
  int made = folder ? asprintf(&path, "%s/%.*s%s", folder, (int)(stem - base), scan + base, ending)
                    : asprintf(&path, "%.*s%s", (int)stem, scan, ending);
  return made < 0 ? NULL : path;
}

/* ---- in ---- */

enum vn_status run_read(const struct run_session *session, const char *path,
                        struct run_input *input, struct vn_diag *diag) {
  const struct run_options *o = session->options;
  struct vn_diag inner;
  uint64_t start = now_ns(), limit = o->exec.memory_limit_bytes;
  *input = (struct run_input){0};
  enum vn_status status = vn_scan_open(path, &input->scan, diag);
  if (status) return status;
  status = vn_segment_plan(session->plan, session->exec, &input->scan, &o->segment, &input->segment,
                           &inner);
  if (status) return vn_fail(diag, status, "%.200s: %.300s", path, inner.text);
  if (limit && input->segment.memory_bytes > limit)
    return vn_fail(diag, VN_E_MEMORY, "%.200s: takes %.0f MiB, the limit is %.0f MiB", path,
                   (double)input->segment.memory_bytes / 1048576, (double)limit / 1048576);
  status = vn_scan_load(&input->scan, o->replace_nan, diag);
  input->read_ns = now_ns() - start;
  return status;
}

void run_input_close(struct run_input *input) {
  vn_segment_close(&input->segment);
  vn_scan_close(&input->scan);
}

/* ---- probabilities: in a nameless file beside the output, not in memory ---- */

static enum vn_status scores_open(const struct run_session *session, const struct run_files *files,
                                  struct run_input *input, size_t *bytes, struct vn_diag *diag) {
  struct vn_scores *scores = &input->segment.scores;
  scores->kind = session->options->scores_kind;
  size_t each = input->segment.classes * vn_scores_elem_bytes(scores->kind);
  char *folder = strdup(files->scores);
  int fd = -1;
  if (folder) {
    char *slash = strrchr(folder, '/');
    strcpy(slash ? slash + 1 : folder, "");
    char *name;
    if (asprintf(&name, "%s.scores-XXXXXX", folder) >= 0) {
      fd = mkstemp(name);
      if (fd >= 0) unlink(name);
      free(name);
    }
    free(folder);
  }
  bool fits = !__builtin_mul_overflow(each, input->scan.elems, bytes) && *bytes <= INT64_MAX;
  /* Reserved, so that a full disk shows here and not as a signal while writing. */
  int reason = fd < 0 ? errno : fits ? posix_fallocate(fd, 0, (off_t)*bytes) : EFBIG;
  void *map = MAP_FAILED;
  if (reason == 0) {
    map = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) reason = errno;
  }
  if (fd >= 0) close(fd);
  if (map == MAP_FAILED)
    return vn_fail(diag, VN_E_IO, "%s: no room for the probabilities: %s", files->scores,
                   strerror(reason));
  scores->data = map;
  return VN_OK;
}

/* ---- out ---- */

/* In the order of their appearance under their names. */
static void outputs_list(struct outputs *out, struct cli_output *list[FILES]) {
  struct cli_output *all[FILES] = {&out->scores,  &out->report, &out->csv,      &out->picture,
                                   &out->itksnap, &out->slicer, &out->returned, &out->labels};
  memcpy(list, all, sizeof all);
}

static enum vn_status output_create(const struct run_files *files,
                                    const struct run_session *session, const char *path,
                                    struct cli_output *output, struct vn_diag *diag) {
  if (!path) return VN_OK;
  if (cli_same_file(path, files->scan) || cli_same_file(path, session->options->plan))
    return vn_fail(diag, VN_E_ARGUMENT, "%s: is an input, and will not be overwritten", path);
  return cli_output_create(output, path, diag);
}

static enum vn_status outputs_create(const struct run_session *session,
                                     const struct run_files *files, struct outputs *out,
                                     struct vn_diag *diag) {
  enum vn_status status = VN_OK;
  if (session->named) {
    out->itksnap_path = run_name(files->labels, NULL, ".label.txt");
    out->slicer_path = run_name(files->labels, NULL, ".ctbl");
    if (!out->itksnap_path || !out->slicer_path) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  }
  const char *paths[FILES] = {files->scores,
                              files->report,
                              files->csv,
                              files->picture,
                              out->itksnap_path,
                              out->slicer_path,
                              session->options->slicer_result,
                              files->labels};
  struct cli_output *outputs[FILES];
  outputs_list(out, outputs);
  for (size_t i = 0; i < FILES; i++) outputs[i]->fd = -1;
  for (size_t i = 0; i < FILES && status == VN_OK; i++)
    status = output_create(files, session, paths[i], outputs[i], diag);
  return status;
}

static void outputs_close(struct outputs *out) {
  struct cli_output *outputs[FILES];
  outputs_list(out, outputs);
  for (size_t i = 0; i < FILES; i++) cli_output_drop(outputs[i]);
  free(out->itksnap_path);
  free(out->slicer_path);
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
  int copy = dup(output->fd);
  FILE *file = copy < 0 ? NULL : fdopen(copy, "w");
  if (!file && copy >= 0) close(copy);
  return file;
}

static enum vn_status text_close(FILE *file, const struct cli_output *output,
                                 struct vn_diag *diag) {
  bool bad = !file || ferror(file);
  if (file && fclose(file)) bad = true;
  return bad ? vn_fail(diag, VN_E_IO, "%s: cannot write: %s", output->path, strerror(errno))
             : VN_OK;
}

static enum vn_status named(enum vn_status status, const char *path, const struct vn_diag *inner,
                            struct vn_diag *diag) {
  return status ? vn_fail(diag, status, "%.200s: %.300s", path, inner->text) : VN_OK;
}

static enum vn_status images_write(const struct run_session *session, struct outputs *out,
                                   const struct run_input *input, const struct run_result *result,
                                   struct vn_diag *diag) {
  char text[80];
  struct vn_diag inner;
  snprintf(text, sizeof text, "vnet-run %s, plan %016llx", vn_version(),
           (unsigned long long)vn_plan_checksum(session->plan));
  enum vn_status status = vn_labels_write(out->labels.fd, cli_ends(out->labels.path, ".gz"),
                                          &input->scan, &result->labels, text, &inner);
  if (status) return named(status, out->labels.path, &inner, diag);
  if (out->scores.fd < 0) return VN_OK;
  status = vn_scores_write(out->scores.fd, cli_ends(out->scores.path, ".gz"), &input->scan,
                           &input->segment.scores, result->labels.classes, text, &inner);
  return named(status, out->scores.path, &inner, diag);
}

static enum vn_status picture_draw(const struct run_session *session, struct outputs *out,
                                   const struct run_input *input, const struct run_result *result,
                                   struct vn_diag *diag) {
  if (out->picture.fd < 0) return VN_OK;
  struct vn_diag inner;
  struct picture_job job = {
      .scan = &input->scan, .labels = &result->labels, .palette = &session->palette};
  return named(picture_write(out->picture.fd, &job, &inner), out->picture.path, &inner, diag);
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
    if ((file = text_open(&out->csv))) {
      report_csv_header(file);
      report_csv_rows(file, session, files->scan, result);
    }
    if ((status = text_close(file, &out->csv, diag))) return status;
  }
  if (out->itksnap.fd >= 0) {
    if ((file = text_open(&out->itksnap))) vn_palette_itksnap(&session->palette, file);
    if ((status = text_close(file, &out->itksnap, diag))) return status;
    if ((file = text_open(&out->slicer))) vn_palette_slicer(&session->palette, file);
    if ((status = text_close(file, &out->slicer, diag))) return status;
  }
  if (out->returned.fd >= 0) {
    if ((file = text_open(&out->returned))) slicer_return(file, result);
    status = text_close(file, &out->returned, diag);
  }
  return status;
}

/* ---- the work ---- */

static enum vn_status labels_clean(const struct run_options *o, const struct vn_scan *scan,
                                   struct run_result *result, struct vn_diag *diag) {
  size_t classes = result->labels.classes;
  double voxel_ml = vn_voxel_ml(scan);
  uint64_t *removed = calloc(classes, sizeof *removed);
  if (!removed) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  enum vn_status status = VN_OK;
  if (o->largest) {
    status = vn_labels_largest(&result->labels, scan->dim, removed, diag);
    for (size_t i = 0; i < classes; i++) result->removed_vox += removed[i];
  }
  if (o->least_ml > 0 && status == VN_OK) {
    memset(removed, 0, classes * sizeof *removed);
    double least = fmin(ceil(o->least_ml / voxel_ml - 1e-9), (double)scan->elems + 1);
    status = vn_labels_drop_small(&result->labels, scan->dim, (uint64_t)least, removed, diag);
    for (size_t i = 0; i < classes; i++) result->removed_vox += removed[i];
  }
  free(removed);
  return status;
}

static enum vn_status scan_segment(const struct run_session *session, const struct run_files *files,
                                   struct run_input *input, struct run_result *result,
                                   struct vn_diag *diag) {
  const struct run_options *o = session->options;
  struct vn_diag inner;
  input->segment.progress = session->progress;
  enum vn_status status = vn_segment_run(&input->segment, &result->labels, &result->report, &inner);
  if (status) return named(status, files->scan, &inner, diag);
  uint64_t start = now_ns();
  if ((o->largest || o->least_ml > 0) && (status = labels_clean(o, &input->scan, result, diag)))
    return status;
  result->clean_ns = now_ns() - start;
  start = now_ns();
  result->measures = calloc(result->labels.classes, sizeof *result->measures);
  if (!result->measures) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  vn_labels_measure(&input->scan, &result->labels, result->measures);
  result->measure_ns = now_ns() - start;
  return VN_OK;
}

enum vn_status run_case(const struct run_session *session, const struct run_files *files,
                        struct run_input *input, struct vn_diag *diag) {
  struct run_result result = {0};
  struct outputs out = {0};
  size_t scores_bytes = 0;
  enum vn_status status = outputs_create(session, files, &out, diag);
  if (status == VN_OK && files->scores)
    status = scores_open(session, files, input, &scores_bytes, diag);
  if (status == VN_OK) status = scan_segment(session, files, input, &result, diag);
  uint64_t start = now_ns();
  if (status == VN_OK) status = images_write(session, &out, input, &result, diag);
  result.write_ns = now_ns() - start;
  start = now_ns();
  if (status == VN_OK) status = picture_draw(session, &out, input, &result, diag);
  result.picture_ns = now_ns() - start;
  if (status == VN_OK) status = texts_write(session, files, &out, input, &result, diag);
  if (status == VN_OK) status = outputs_publish(&out, diag);
  if (status == VN_OK && session->options->json)
    report_json(stdout, session, files, input, &result);
  outputs_close(&out);
  if (input->segment.scores.data) munmap(input->segment.scores.data, scores_bytes);
  input->segment.scores.data = NULL;
  free(result.labels.data);
  free(result.measures);
  return status;
}

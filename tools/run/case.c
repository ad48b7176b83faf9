/* Reading, segmenting, cleaning, measuring and writing one scan; see case.h. */
#include "case.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "fail.h"
#include "picture.h"
#include "report.h"
#include "slicer.h"
#include "tables.h"

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

static size_t elems_of(const struct run_input *input) {
  return input->image.dim[0] * input->image.dim[1] * input->image.dim[2];
}

static size_t label_bytes(const struct run_session *session) {
  return session->info.labels > 256 ? 2 : 1;
}

static enum vn_status named(enum vn_status status, const char *path, const struct vn_diag *inner,
                            struct vn_diag *diag) {
  return status ? vn_fail(diag, status, "%.200s: %.300s", path, inner->text) : VN_OK;
}

/* Does the file say how its scan lies, where the model wants to know? */
static enum vn_status orientation_check(const struct run_session *session,
                                        const struct run_input *input, struct vn_diag *diag) {
  const char *letters = session->info.orientation, *reason = vn_scan_unoriented(input->file);
  if (!letters || !reason) return VN_OK;
  return vn_fail(diag, VN_E_UNSUPPORTED, "the model wants %.20s, but the scan %s", letters, reason);
}

/* The figure is known before a voxel is read. */
static enum vn_status memory_count(const struct run_session *session, struct run_input *input,
                                   struct vn_diag *diag) {
  const struct run_options *o = session->options;
  const struct vn_image *images[] = {&input->image};
  const uint64_t limit = o->exec.memory_limit_bytes;
  enum vn_status status =
      vn_segmenter_memory(session->segmenter, images, 1, &o->segment, &input->memory_bytes, diag);
  if (status) return status;
  input->memory_bytes += (uint64_t)elems_of(input) * (sizeof(float) + label_bytes(session));
  if (limit && input->memory_bytes > limit)
    return vn_fail(diag, VN_E_MEMORY, "takes %.0f MiB, the limit is %.0f MiB",
                   (double)input->memory_bytes / 1048576, (double)limit / 1048576);
  return VN_OK;
}

enum vn_status run_read(const struct run_session *session, const char *path,
                        struct run_input *input, struct vn_diag *diag) {
  const struct vn_run_options run = {.size = sizeof run, .cancel = session->cancel};
  struct vn_diag inner;
  uint64_t start = now_ns();
  *input = (struct run_input){.image.size = sizeof input->image};
  enum vn_status status = vn_scan_open(path, &input->file, diag);
  if (status) return status;
  vn_scan_image(input->file, &input->image);
  status = orientation_check(session, input, &inner);
  if (!status) status = memory_count(session, input, &inner);
  if (status) return named(status, path, &inner, diag);
  status = vn_scan_load(input->file, &run, diag);
  vn_scan_image(input->file, &input->image);
  input->read_ns = now_ns() - start;
  return status;
}

void run_input_close(struct run_input *input) {
  vn_scan_close(&input->file);
}

/* ---- probabilities: in a nameless file beside the output, not in memory ---- */

static int scores_create(const char *path) {
  char *folder = strdup(path), *name;
  int fd = -1;
  if (!folder) return -1;
  char *slash = strrchr(folder, '/');
  strcpy(slash ? slash + 1 : folder, "");
  if (asprintf(&name, "%s.scores-XXXXXX", folder) >= 0) {
    fd = mkstemp(name);
    if (fd >= 0) unlink(name);
    free(name);
  }
  free(folder);
  return fd;
}

static enum vn_status scores_open(const struct run_session *session, const struct run_files *files,
                                  const struct run_input *input, struct vn_label_map *map,
                                  size_t *bytes, struct vn_diag *diag) {
  map->probability = session->options->scores_kind;
  size_t each = session->info.labels * (map->probability == VN_PROBABILITY_F32 ? 4 : 2);
  int fd = scores_create(files->scores);
  bool fits = !__builtin_mul_overflow(each, elems_of(input), bytes) && *bytes <= INT64_MAX;
  /* Reserved, so that a full disk shows here and not as a signal while writing. */
  int reason = fd < 0 ? errno : fits ? posix_fallocate(fd, 0, (off_t)*bytes) : EFBIG;
  void *pages = MAP_FAILED;
  if (reason == 0) {
    pages = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (pages == MAP_FAILED) reason = errno;
  }
  if (fd >= 0) close(fd);
  if (pages == MAP_FAILED)
    return vn_fail(diag, vn_io_status(reason), "%s: no room for the probabilities: %s",
                   files->scores, strerror(reason));
  map->probabilities = pages;
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
  if (session->info.named) {
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
  return bad ? vn_fail(diag, vn_io_status(errno), "%s: cannot write: %s", output->path,
                       strerror(errno))
             : VN_OK;
}

static enum vn_status images_write(const struct run_session *session, struct outputs *out,
                                   const struct run_input *input, const struct run_result *result,
                                   struct vn_diag *diag) {
  char text[80];
  struct vn_diag inner;
  snprintf(text, sizeof text, "vnet-run %s, plan %016llx", vn_version(),
           (unsigned long long)vn_plan_checksum(session->plan));
  enum vn_status status =
      vn_scan_write_labels(out->labels.fd, cli_ends(out->labels.path, ".gz"), input->file, NULL,
                           &result->map, session->info.labels, text, &inner);
  if (status) return named(status, out->labels.path, &inner, diag);
  if (out->scores.fd < 0) return VN_OK;
  status =
      vn_scan_write_probabilities(out->scores.fd, cli_ends(out->scores.path, ".gz"), input->file,
                                  NULL, &result->map, session->info.labels, text, &inner);
  return named(status, out->scores.path, &inner, diag);
}

static enum vn_status picture_draw(const struct run_session *session, struct outputs *out,
                                   const struct run_input *input, const struct run_result *result,
                                   struct vn_diag *diag) {
  if (out->picture.fd < 0) return VN_OK;
  struct vn_diag inner;
  struct picture_job job = {.image = &input->image, .map = &result->map, .labels = session->labels};
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

/* ---- the work ---- */

static enum vn_status scan_segment(const struct run_session *session, const struct run_files *files,
                                   const struct run_input *input, struct run_result *result,
                                   struct vn_diag *diag) {
  struct vn_segment_options options = session->options->segment;
  const struct vn_image *images[] = {&input->image};
  struct vn_diag inner;
  options.cancel = session->cancel;
  options.progress = session->progress;
  result->report.size = sizeof result->report;
  enum vn_status status =
      vn_segment(session->segmenter, images, 1, &options, &result->map, &result->report, &inner);
  if (status) return named(status, files->scan, &inner, diag);
  uint64_t start = now_ns();
  result->measures = calloc(session->info.labels, sizeof *result->measures);
  if (!result->measures) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  status = vn_measure_labels(&input->image, &result->map, session->info.labels, result->measures,
                             &inner);
  result->measure_ns = now_ns() - start;
  return named(status, files->scan, &inner, diag);
}

static enum vn_status map_open(const struct run_session *session, const struct run_files *files,
                               const struct run_input *input, struct vn_label_map *map,
                               size_t *scores_bytes, struct vn_diag *diag) {
  *map = (struct vn_label_map){.size = sizeof *map, .elem_bytes = label_bytes(session)};
  map->data = malloc(elems_of(input) * map->elem_bytes);
  if (!map->data) return vn_fail(diag, VN_E_MEMORY, "out of memory for the labels");
  return files->scores ? scores_open(session, files, input, map, scores_bytes, diag) : VN_OK;
}

enum vn_status run_case(const struct run_session *session, const struct run_files *files,
                        struct run_input *input, struct vn_diag *diag) {
  struct run_result result = {0};
  struct outputs out = {0};
  size_t scores_bytes = 0;
  enum vn_status status = outputs_create(session, files, &out, diag);
  if (status == VN_OK) status = map_open(session, files, input, &result.map, &scores_bytes, diag);
  if (status == VN_OK) status = scan_segment(session, files, input, &result, diag);
  if (status == VN_OK && result.report.replaced_vox && !session->options->quiet)
    fprintf(stderr, "vnet-run: note: %s: %zu voxels were not finite and took the smallest value\n",
            files->scan, result.report.replaced_vox);
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
  if (result.map.probabilities) munmap(result.map.probabilities, scores_bytes);
  free(result.map.data);
  free(result.measures);
  return status;
}

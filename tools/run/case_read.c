/* Files of a case to images; see case_read.h. */
#include "case_read.h"

#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "names.h"
#include "os.h"

/* ---- what lies beside a scan ---- */

enum { SIBLINGS = 256 }; /* as many as a network may have channels */

/* What a scan of two files may have beside it. */
static const char *const halves[] = {".hdr", ".hdr.gz", ".img", ".img.gz"};

/* case_0001.nii.gz … beside case_0000.nii.gz, by name, for they may be links to other folders. */
static void siblings_allow(struct sandbox *box, const char *scan) {
  const size_t stem = run_stem(scan);
  for (int c = 1; run_has_siblings(scan) && c < SIBLINGS; c++) {
    char number[8];
    snprintf(number, sizeof number, "%04d", c);
    char *path = cli_joined(scan, "", "");
    memcpy(path + stem - 4, number, 4);
    if (access(path, F_OK) == 0) sandbox_read(box, path);
    free(path);
  }
}

void run_allow(struct sandbox *box, const char *scan) {
  sandbox_read(box, scan);
  for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
    char *half = run_name(scan, halves[i]);
    sandbox_read(box, half);
    free(half);
  }
  /* Of a detached NRRD header, the data file, which lies beside it and may have any name. */
  const char *ending = scan + run_stem(scan);
  if (strcasecmp(ending, ".nhdr") == 0 || strcasecmp(ending, ".nrrd") == 0)
    sandbox_read_beside(box, scan);
  siblings_allow(box, scan);
}

void run_scan_add(struct cli_files *all, const char *scan) {
  cli_files_add(all, scan, false);
  for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) { /* of a pair, the other file */
    char *half = run_name(scan, halves[i]);
    if (!half) cli_fatal(VN_E_MEMORY, "out of memory");
    if (access(half, F_OK) == 0) cli_files_add(all, half, false);
    free(half);
  }
}

/* ---- reading ---- */

enum vn_status run_of_file(enum vn_status status, const char *path, const struct vn_diag *inner,
                           struct vn_diag *diag) {
  return status ? vn_fail(diag, status, "%.200s: %.300s", path, inner->text) : VN_OK;
}

/* Does the file say how its scan lies, where the model wants to know? */
static enum vn_status orientation_check(const struct run_session *session,
                                        const struct vn_scan *file, struct vn_diag *diag) {
  const char *letters = session->info.orientation, *reason = vn_scan_unoriented(file);
  if (!letters || !reason) return VN_OK;
  return vn_fail(diag, VN_E_UNSUPPORTED,
                 "the model wants %.20s, but the scan %s: --geometry decides, with sform, qform or "
                 "where its axes point, such as RAS",
                 letters, reason);
}

/* What the case holds beside the segmenter's own memory: voxels, labels, regions. */
static uint64_t case_bytes(const struct run_session *session, const struct run_input *input) {
  uint64_t bytes = (uint64_t)run_elems(input) * (run_label_bytes(session) + session->info.regions);
  for (size_t i = 0; i < input->count; i++) {
    const size_t *dim = input->image[i].dim;
    bytes += (uint64_t)dim[0] * dim[1] * dim[2] * sizeof(float);
  }
  return bytes;
}

/* The figure is known before a voxel is read. */
static enum vn_status memory_count(const struct run_session *session, struct run_input *input,
                                   struct vn_diag *diag) {
  const struct run_options *o = session->options;
  const uint64_t limit = o->exec.memory_limit_bytes;
  enum vn_status status = vn_segmenter_memory(session->segmenter, input->images, input->count,
                                              &o->segment, &input->memory_bytes, diag);
  if (status) return status;
  input->memory_bytes += case_bytes(session, input);
  if (limit && input->memory_bytes > limit)
    return vn_fail(diag, VN_E_MEMORY, "takes %.0f MiB, the limit is %.0f MiB",
                   (double)input->memory_bytes / 1048576, (double)limit / 1048576);
  const uint64_t more = input->memory_bytes - session->info.memory_bytes;
  if (!limit && more > vn_memory_free())
    return vn_fail(diag, VN_E_MEMORY,
                   "takes %.0f MiB beside the network, and %.0f MiB are free (--memory-limit none "
                   "tries all the same)",
                   (double)more / 1048576, (double)vn_memory_free() / 1048576);
  return VN_OK;
}

static enum vn_status file_open(const struct run_session *session, const char *path,
                                struct vn_scan **file, struct vn_diag *diag) {
  const char *geometry = session->options->geometry;
  struct vn_diag inner;
  const bool one = session->channels.count == 1;
  enum vn_status status =
      one ? vn_scan_open(path, file, diag) : vn_scan_open_series(path, file, diag);
  if (status) return status;
  if (geometry) status = vn_scan_set_geometry(*file, geometry, &inner);
  if (!status) status = orientation_check(session, *file, &inner);
  return run_of_file(status, path, &inner, diag);
}

/* A channel for each volume of each file. */
static enum vn_status images_find(const struct run_session *session, const struct run_files *files,
                                  struct run_input *input, struct vn_diag *diag) {
  size_t volumes = 0;
  char all[200], why[120];
  for (size_t i = 0; i < input->files; i++) volumes += vn_scan_volumes(input->file[i]);
  run_channels_tell(&session->channels, all, sizeof all);
  run_words_tell(&session->channels, files->scan, files->scans, why, sizeof why);
  if (volumes != session->channels.count)
    return vn_fail(diag, VN_E_ARGUMENT, "%.200s: %zu volume%s in %zu file%s for a network of %s%s",
                   files->scan[0], volumes, volumes == 1 ? "" : "s", input->files,
                   input->files == 1 ? "" : "s", all, why);
  input->image = calloc(volumes, sizeof *input->image);
  input->images = calloc(volumes, sizeof *input->images);
  if (!input->image || !input->images) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  for (size_t i = 0; i < volumes; i++) input->images[i] = &input->image[i];
  return VN_OK;
}

/* Once headers are there, and again once voxels are. */
static void images_fill(struct run_input *input) {
  input->count = 0;
  for (size_t i = 0; i < input->files; i++)
    for (size_t v = 0; v < vn_scan_volumes(input->file[i]); v++) {
      struct vn_image *image = &input->image[input->count++];
      image->size = sizeof *image;
      vn_scan_volume(input->file[i], v, image);
    }
}

/* What could not be written in the end is known now. */
static enum vn_status names_check(const struct run_files *files, const struct vn_scan *scan,
                                  struct vn_diag *diag) {
  const char *const images[] = {files->labels, files->scores, files->regions};
  size_t stem;
  for (size_t i = 0; vn_scan_unoriented(scan) && i < sizeof images / sizeof *images; i++)
    if (images[i] && strcmp(vn_scan_name(images[i], &stem), ".mgz") == 0)
      return vn_fail(
          diag, VN_E_UNSUPPORTED,
          "%.200s: an MGH file says how it lies, and the scan does not: --geometry does, "
          "and NIfTI or NRRD can do without",
          images[i]);
  return VN_OK;
}

static enum vn_status files_open(const struct run_session *session, struct run_files *files,
                                 struct run_input *input, struct vn_diag *diag) {
  struct vn_diag inner;
  enum vn_status status = run_words_order(&session->channels, files->scan, files->scans, diag);
  if (status) return status;
  input->file = calloc(files->scans, sizeof *input->file);
  if (!input->file) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  input->files = files->scans;
  for (size_t i = 0; i < files->scans && !status; i++)
    status = file_open(session, files->scan[i], &input->file[i], diag);
  if (!status) status = images_find(session, files, input, diag);
  if (status) return status;
  images_fill(input);
  status = names_check(files, input->file[0], diag);
  if (status) return status;
  return run_of_file(memory_count(session, input, &inner), files->scan[0], &inner, diag);
}

enum vn_status run_read(const struct run_session *session, struct run_files *files,
                        struct run_input *input, struct vn_diag *diag) {
  const struct vn_run_options run = {
      .size = sizeof run,
      .cancel = session->cancel,
      .progress = session->reading,
      .memory_limit_bytes = UINT64_MAX, /* memory_count has looked */
  };
  uint64_t start = vn_os_now_ns();
  *input = (struct run_input){0};
  enum vn_status status = files_open(session, files, input, diag);
  for (size_t i = 0; i < input->files && !status; i++)
    status = vn_scan_load(input->file[i], &run, diag);
  if (!status) images_fill(input);
  input->read_ns = vn_os_now_ns() - start;
  return status;
}

void run_input_close(struct run_input *input) {
  for (size_t i = 0; i < input->files; i++) vn_scan_close(&input->file[i]);
  free(input->file);
  free(input->image);
  free(input->images);
  *input = (struct run_input){0};
}

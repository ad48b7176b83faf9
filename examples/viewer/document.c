/* The document's work: opening, segmenting, measuring, saving, each as a job on a thread.
 *
 * A job builds its result aside; the main loop takes it over when the job has ended, so that
 * nothing that is on the screen changes under it. Used by window.c; knows nothing of widgets. */
#include "document.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct model {
  char *name;
  struct vn_plan *plan;
  struct vn_segmenter *segmenter;
};

struct document {
  document_event_fn *event;
  void *context;
  GQueue jobs; /* the first one runs */
  struct model *model;
  struct scan *scan;
  struct labelling *labelling;
};

struct job {
  struct document *document; /* the thread reads what is open there: it changes between jobs only */
  enum work work;
  char *path;
  bool largest;
  struct vn_cancel *cancel;
  GThread *thread;
  double base, share; /* of the whole, for the call that reports progress now */
  gint permille, told;
  enum vn_status status;
  struct vn_diag diag;
  struct model *model; /* results */
  struct scan *scan;
  struct labelling *labelling;
};

/* ---- what is open ---- */

static void model_free(struct model *model) {
  if (!model) return;
  vn_segmenter_close(&model->segmenter);
  vn_plan_close(&model->plan);
  g_free(model->name);
  g_free(model);
}

static void scan_free(struct scan *scan) {
  if (!scan) return;
  vn_scan_close(&scan->file);
  g_free(scan->path);
  g_free(scan->name);
  g_free(scan);
}

static void labelling_free(struct labelling *labelling) {
  if (!labelling) return;
  for (size_t i = 0; labelling->label && i < labelling->count; i++)
    g_free(labelling->label[i].name);
  g_free(labelling->label);
  g_free(labelling->warning);
  free(labelling->map.data);
  g_free(labelling);
}

static size_t voxel_index(const struct vn_image *image, const size_t vox[3]) {
  return (vox[2] * image->dim[1] + vox[1]) * image->dim[0] + vox[0];
}

void scan_world(const struct scan *scan, const size_t vox[3], double mm[3]) {
  for (int row = 0; row < 3; row++) {
    const double *affine = scan->image.affine[row];
    mm[row] = affine[3];
    for (int i = 0; i < 3; i++) mm[row] += affine[i] * (double)vox[i];
  }
}

bool scan_voxel(const struct scan *scan, const double mm[3], size_t vox[3]) {
  const double(*a)[4] = scan->image.affine;
  double cofactor[3][3], determinant = 0;
  for (int r = 0; r < 3; r++)
    for (int c = 0; c < 3; c++)
      cofactor[r][c] = a[(r + 1) % 3][(c + 1) % 3] * a[(r + 2) % 3][(c + 2) % 3] -
                       a[(r + 1) % 3][(c + 2) % 3] * a[(r + 2) % 3][(c + 1) % 3];
  for (int c = 0; c < 3; c++) determinant += a[0][c] * cofactor[0][c];
  for (int c = 0; c < 3; c++) {
    double at = 0;
    for (int r = 0; r < 3; r++) at += cofactor[r][c] * (mm[r] - a[r][3]);
    at = round(at / determinant);
    if (!(at >= 0 && at < (double)scan->image.dim[c])) return false;
    vox[c] = (size_t)at;
  }
  return true;
}

float scan_value(const struct scan *scan, const size_t vox[3]) {
  return ((const float *)scan->image.voxels)[voxel_index(&scan->image, vox)];
}

size_t labelling_at(const struct labelling *labelling, const struct scan *scan,
                    const size_t vox[3]) {
  size_t at = voxel_index(&scan->image, vox);
  return labelling->map.elem_bytes == 1 ? ((const uint8_t *)labelling->map.data)[at]
                                        : ((const uint16_t *)labelling->map.data)[at];
}

/* ---- on the job's thread ---- */

static gboolean progress_tell(gpointer context) {
  struct job *job = context;
  g_atomic_int_set(&job->told, 0);
  job->document->event(job->document->context, EVENT_PROGRESS, job->work,
                       g_atomic_int_get(&job->permille) / 1000.0, NULL);
  return G_SOURCE_REMOVE;
}

/* Of many calls between two turns of the main loop the last one is told. */
static int job_progress(void *context, double fraction) {
  struct job *job = context;
  g_atomic_int_set(&job->permille, (gint)(1000 * (job->base + job->share * fraction)));
  if (g_atomic_int_compare_and_exchange(&job->told, 0, 1)) g_idle_add(progress_tell, job);
  return 0;
}

static enum vn_status job_fail(struct job *job, enum vn_status status, const char *sentence) {
  g_strlcpy(job->diag.text, sentence, sizeof job->diag.text);
  return status;
}

static enum vn_status plan_run(struct job *job) {
  struct model *model = job->model = g_new0(struct model, 1);
  model->name = g_path_get_basename(job->path);
  struct vn_run_options run = {
      .size = sizeof run, .cancel = job->cancel, .progress = job_progress, .progress_context = job};
  job->share = 0.5;
  enum vn_status status = vn_plan_open_with(job->path, &run, &model->plan, &job->diag);
  if (status) return status;
  struct vn_exec_options options = {.size = sizeof options,
                                    .cancel = job->cancel,
                                    .progress = job_progress,
                                    .progress_context = job};
  job->base = 0.5;
  return vn_segmenter_open(model->plan, &options, &model->segmenter, &job->diag);
}

static int value_compare(const void *left, const void *right) {
  float a = *(const float *)left, b = *(const float *)right;
  return (a > b) - (a < b);
}

/* Percentiles of a sample: one odd voxel in a million shall not darken the picture. */
static void scan_window(struct scan *scan) {
  enum { SAMPLES = 200000 };
  const float *voxels = scan->image.voxels;
  size_t total = scan->image.dim[0] * scan->image.dim[1] * scan->image.dim[2], count = 0;
  size_t step = (total + SAMPLES - 1) / SAMPLES;
  float *sample = g_new(float, SAMPLES);
  for (size_t i = 0; i < total; i += step)
    if (isfinite(voxels[i])) sample[count++] = voxels[i];
  qsort(sample, count, sizeof *sample, value_compare);
  scan->low = count ? sample[count / 100] : 0;
  scan->high = count ? sample[count - 1 - count / 200] : 1;
  if (!(scan->high > scan->low) && count) { /* nearly all of it is one value */
    scan->low = sample[0];
    scan->high = sample[count - 1];
  }
  if (!(scan->high > scan->low)) scan->high = scan->low + 1;
  g_free(sample);
}

static enum vn_status scan_run(struct job *job) {
  struct scan *scan = job->scan = g_new0(struct scan, 1);
  scan->path = g_strdup(job->path);
  scan->name = g_path_get_basename(job->path);
  struct vn_run_options run = {
      .size = sizeof run, .cancel = job->cancel, .progress = job_progress, .progress_context = job};
  enum vn_status status = vn_scan_open(job->path, &scan->file, &job->diag);
  if (!status) status = vn_scan_load(scan->file, &run, &job->diag);
  if (status) return status;
  scan->image.size = sizeof scan->image;
  vn_scan_image(scan->file, &scan->image);
  scan_window(scan);
  return VN_OK;
}

/* Names and colours of the labels, which would go with the segmenter. */
static void labels_copy(struct labelling *labelling, const struct vn_segmenter *segmenter,
                        const struct vn_measure *measures) {
  labelling->label = g_new0(struct label, labelling->count);
  for (size_t i = 0; i < labelling->count; i++) {
    struct vn_label_info info = vn_segmenter_label(segmenter, i);
    struct label *label = &labelling->label[i];
    label->name = g_strdup(info.name);
    memcpy(label->rgb, info.rgb, sizeof label->rgb);
    label->shown = i > 0;
    label->measure = measures[i];
  }
}

static enum vn_status segment_run(struct job *job) {
  const struct document *document = job->document;
  struct vn_segmenter *segmenter = document->model->segmenter;
  const struct vn_image *image = &document->scan->image;
  gint64 start = g_get_monotonic_time();
  struct vn_segmenter_info info = {.size = sizeof info};
  enum vn_status status = vn_segmenter_info(segmenter, &info, &job->diag);
  if (status) return status;

  struct labelling *labelling = job->labelling = g_new0(struct labelling, 1);
  labelling->count = info.labels;
  labelling->map.size = sizeof labelling->map;
  labelling->map.elem_bytes = info.labels <= 256 ? 1 : 2;
  labelling->map.data =
      calloc(image->dim[0] * image->dim[1] * image->dim[2], labelling->map.elem_bytes);
  if (!labelling->map.data) return job_fail(job, VN_E_MEMORY, "out of memory for the label map");

  struct vn_segment_options options = {.size = sizeof options,
                                       .largest_component = job->largest,
                                       .cancel = job->cancel,
                                       .progress = job_progress,
                                       .progress_context = job};
  struct vn_segment_report report = {.size = sizeof report};
  status = vn_segment(segmenter, &image, 1, &options, &labelling->map, &report, &job->diag);
  if (status) return status;
  struct vn_measure *measures = g_new0(struct vn_measure, info.labels);
  status = vn_measure_labels(image, &labelling->map, info.labels, measures, &job->diag);
  if (!status) labels_copy(labelling, segmenter, measures);
  g_free(measures);
  labelling->warning = g_strdup(report.warning);
  labelling->seconds = (double)(g_get_monotonic_time() - start) / G_USEC_PER_SEC;
  return status;
}

/* Through links, too. */
static bool file_same(const char *left, const char *right) {
  GStatBuf a, b;
  return !g_stat(left, &a) && !g_stat(right, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static enum vn_status save_run(struct job *job) {
  const struct document *document = job->document;
  if (!vn_scan_writable(job->path))
    return job_fail(job, VN_E_ARGUMENT,
                    "a label map's name must end in .nii, .nii.gz, .nrrd, .mgz or .mgh");
  if (file_same(job->path, document->scan->path))
    return job_fail(job, VN_E_ARGUMENT, "that is the scan itself: choose another name");
  char *description = g_strdup_printf("vnet %s", vn_version());
  const struct labelling *labelling = document->labelling;
  struct vn_label_info *info = g_new0(struct vn_label_info, labelling->count);
  for (size_t i = 0; i < labelling->count; i++) {
    info[i] = (struct vn_label_info){.value = i, .name = labelling->label[i].name};
    memcpy(info[i].rgb, labelling->label[i].rgb, sizeof info[i].rgb);
  }
  const struct vn_scan_result result = {.size = sizeof result,
                                        .like = document->scan->file,
                                        .map = &labelling->map,
                                        .labels = labelling->count,
                                        .label = info,
                                        .description = description};
  enum vn_status status = vn_scan_save_labels(job->path, &result, &job->diag);
  g_free(info);
  g_free(description);
  return status;
}

static gboolean job_finish(gpointer context);

static gpointer job_run(gpointer context) {
  struct job *job = context;
  static enum vn_status (*const runs[])(struct job *) = {plan_run, scan_run, segment_run, save_run};
  if (job->work != WORK_SAVE && vn_cancel_pressed(job->cancel))
    job->status = VN_E_CANCELLED;
  else
    job->status = runs[job->work](job);
  g_idle_add(job_finish, job); /* after the last progress_tell: equal priorities keep their order */
  return NULL;
}

/* ---- on the main thread ---- */

static void job_start(struct job *job) {
  struct document *document = job->document;
  job->share = 1;
  document->event(document->context, EVENT_START, job->work, 0, job->path);
  job->thread = g_thread_new("work", job_run, job);
}

static void job_free(struct job *job) {
  model_free(job->model);
  scan_free(job->scan);
  labelling_free(job->labelling);
  vn_cancel_close(&job->cancel);
  g_free(job->path);
  g_free(job);
}

#define SWAP(a, b)                                                                                 \
  do {                                                                                             \
    void *kept = (a);                                                                              \
    (a) = (b);                                                                                     \
    (b) = kept;                                                                                    \
  } while (0)

/* The job then holds, and frees, what was open before. */
static void result_take(struct document *document, struct job *job) {
  if (job->model) SWAP(document->model, job->model);
  if (job->scan) {
    SWAP(document->scan, job->scan);
    SWAP(document->labelling, job->labelling); /* of the scan before */
  } else if (job->labelling)
    SWAP(document->labelling, job->labelling);
}

static gboolean job_finish(gpointer context) {
  struct job *job = context;
  struct document *document = job->document;
  g_thread_join(job->thread);
  if (!job->status) result_take(document, job);
  g_queue_pop_head(&document->jobs);
  /* Before the event, whose receiver may free the document. */
  struct job *next = g_queue_peek_head(&document->jobs);
  enum event event = job->status == VN_E_CANCELLED ? EVENT_CANCELLED
                     : job->status                 ? EVENT_FAILED
                                                   : EVENT_DONE;
  document->event(document->context, event, job->work, 1, job->status ? job->diag.text : job->path);
  job_free(job);
  if (next) job_start(next);
  return G_SOURCE_REMOVE;
}

static void job_add(struct document *document, enum work work, const char *path, bool largest) {
  struct job *job = g_new0(struct job, 1);
  job->document = document;
  job->work = work;
  job->path = g_strdup(path);
  job->largest = largest;
  if (vn_cancel_create(&job->cancel, &job->diag)) {
    document->event(document->context, EVENT_FAILED, work, 0, job->diag.text);
    job_free(job);
    return;
  }
  g_queue_push_tail(&document->jobs, job);
  if (g_queue_get_length(&document->jobs) == 1) job_start(job);
}

void document_plan_open(struct document *document, const char *path) {
  job_add(document, WORK_PLAN, path, false);
}

void document_scan_open(struct document *document, const char *path) {
  job_add(document, WORK_SCAN, path, false);
}

void document_segment(struct document *document, bool largest) {
  if (document->model && document->scan && !document_busy(document))
    job_add(document, WORK_SEGMENT, NULL, largest);
}

void document_save(struct document *document, const char *path) {
  if (document->labelling && !document_busy(document)) job_add(document, WORK_SAVE, path, false);
}

void document_cancel(struct document *document) {
  for (GList *at = document->jobs.head; at; at = at->next)
    vn_cancel_press(((struct job *)at->data)->cancel);
}

struct document *document_new(document_event_fn *event, void *context) {
  struct document *document = g_new0(struct document, 1);
  g_queue_init(&document->jobs);
  document->event = event;
  document->context = context;
  return document;
}

void document_free(struct document *document) {
  if (!document) return;
  g_assert(!document_busy(document));
  model_free(document->model);
  scan_free(document->scan);
  labelling_free(document->labelling);
  g_free(document);
}

bool document_busy(const struct document *document) {
  return !g_queue_is_empty((GQueue *)&document->jobs);
}

const struct scan *document_scan(const struct document *document) {
  return document->scan;
}

struct labelling *document_labelling(const struct document *document) {
  return document->labelling;
}

const char *document_plan(const struct document *document) {
  return document->model ? document->model->name : NULL;
}

char *document_plan_describe(const struct document *document) {
  struct vn_segmenter_info info = {.size = sizeof info};
  if (!document->model || vn_segmenter_info(document->model->segmenter, &info, NULL)) return NULL;
  GString *text = g_string_new(NULL);
  g_string_printf(text, "%zu label%s", info.labels - 1, info.labels == 2 ? "" : "s");
  if (info.channels > 1) g_string_append_printf(text, ", %zu images", info.channels);
  if (info.spacing_mm[0] > 0)
    g_string_append_printf(text, ", %.3g × %.3g × %.3g mm", info.spacing_mm[2], info.spacing_mm[1],
                           info.spacing_mm[0]);
  g_string_append_printf(text, ", %.0f MiB", (double)info.memory_bytes / (1 << 20));
  return g_string_free(text, FALSE);
}

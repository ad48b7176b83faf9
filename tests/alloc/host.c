/* A host whose every allocation fails once: host PLAN SCAN FOLDER NAME
 *
 * All that the three libraries do, from a plan's file to a label map's, NAME in FOLDER; each call
 * stack's first, second and last allocation then fails, alone, and the first with all that come
 * after it. Every time the call that it happened in must say VN_E_MEMORY, or else give the very
 * result of the undisturbed run; nothing of it may be left in memory or in FOLDER; and the same
 * again, with the memory there, must give that result.
 *
 * Says what is wrong and exits with 1. */
#include "vnet_scan.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail_alloc.h"

enum { LABELS_MOST = 8 };

struct host {
  const char *plan, *scan, *folder;
  char out[4096];
};

/* What one round gave: the caller's own memory, taken before anything is listened to. */
struct result {
  uint8_t *labels, *file; /* voxels; the saved file's bytes */
  uint16_t *probabilities;
  size_t voxels, file_bytes;
  double ml[LABELS_MOST], soft_ml[LABELS_MOST];
};

/* ---- the round ---- */

static enum vn_status cancelled(struct vn_segmenter *segmenter, const struct vn_image *image,
                                const struct vn_label_map *map, struct vn_diag *diag) {
  const struct vn_image *images[] = {image};
  struct vn_segment_options options = {.size = sizeof options};
  enum vn_status status = vn_cancel_create(&options.cancel, diag);
  if (status) return status;
  vn_cancel_press(options.cancel);
  status = vn_segment(segmenter, images, 1, &options, map, NULL, diag);
  vn_cancel_close(&options.cancel);
  return status == VN_E_CANCELLED ? VN_OK : status ? status : VN_E_INTERNAL;
}

static enum vn_status tensor_run(const struct vn_plan *plan, struct vn_diag *diag) {
  struct vn_exec *exec = NULL;
  const struct vn_exec_options options = {.size = sizeof options, .threads = 2, .isa = "portable"};
  struct vn_plan *mine = NULL;
  size_t size;
  const void *bytes = vn_plan_bytes(plan, &size);
  struct vn_exec_info info;
  enum vn_status status = vn_plan_open_memory(bytes, size, &mine, diag);
  if (!status) status = vn_exec_measure(mine, &options, &info, diag);
  if (!status) status = vn_exec_open(mine, &options, &exec, diag);
  if (!status) {
    struct vn_buffer in = vn_exec_input(exec, 0);
    memset(in.data, 0, in.dim[2] * in.dim[3] * in.dim[4] * in.pixel_stride * sizeof(float));
    status = vn_exec_run_with(exec, NULL, NULL, NULL, diag);
  }
  vn_exec_close(&exec);
  vn_plan_close(&mine);
  return status;
}

static enum vn_status scan_segment(const struct host *h, struct vn_segmenter *segmenter,
                                   struct vn_scan *file, struct result *r, struct vn_diag *diag) {
  struct vn_image image = {.size = sizeof image};
  const struct vn_image *images[] = {&image};
  const struct vn_segment_options options = {
      .size = sizeof options, .largest_component = true, .mirror = {true, false, false}};
  const struct vn_label_map map = {.size = sizeof map,
                                   .data = r->labels,
                                   .elem_bytes = 1,
                                   .probabilities = r->probabilities,
                                   .soft_ml = r->soft_ml};
  struct vn_segmenter_info info = {.size = sizeof info};
  struct vn_measure measures[LABELS_MOST];
  uint64_t bytes;
  vn_scan_image(file, &image);
  if (image.dim[0] * image.dim[1] * image.dim[2] != r->voxels) return VN_E_INTERNAL;
  enum vn_status status = vn_segmenter_info(segmenter, &info, diag);
  if (!status) status = vn_segmenter_memory(segmenter, images, 1, &options, &bytes, diag);
  if (!status) status = cancelled(segmenter, &image, &map, diag);
  if (!status) status = vn_segment(segmenter, images, 1, &options, &map, NULL, diag);
  if (!status) status = vn_measure_labels(&image, &map, info.labels, measures, diag);
  for (size_t i = 0; !status && i < info.labels; i++) r->ml[i] = measures[i].ml;
  const struct vn_scan_result result = {.size = sizeof result,
                                        .like = file,
                                        .map = &map,
                                        .labels = info.labels,
                                        .description = "host"};
  if (!status) status = vn_scan_save_labels(h->out, &result, diag);
  return status;
}

/* The plan's mean with itself. */
static enum vn_status averaged(const struct vn_plan *plan, const struct vn_exec_options *opening,
                               struct vn_segmenter *segmenter, struct vn_diag *diag) {
  struct vn_segmenter *other = NULL;
  enum vn_status status = vn_segmenter_open(plan, opening, &other, diag);
  if (!status) status = vn_segmenter_add(segmenter, &other, diag);
  vn_segmenter_close(&other);
  return status;
}

static enum vn_status round_run(const struct host *h, struct result *r, struct vn_diag *diag) {
  const struct vn_exec_options opening = {.size = sizeof opening, .threads = 2};
  struct vn_plan *plan = NULL;
  struct vn_segmenter *segmenter = NULL;
  struct vn_scan *file = NULL;
  enum vn_status status = vn_plan_open(h->plan, &plan, diag);
  if (!status) status = tensor_run(plan, diag);
  if (!status) status = vn_segmenter_open(plan, &opening, &segmenter, diag);
  if (!status) status = averaged(plan, &opening, segmenter, diag);
  if (!status) status = vn_scan_open(h->scan, &file, diag);
  if (!status) status = vn_scan_load(file, NULL, diag);
  if (!status) status = scan_segment(h, segmenter, file, r, diag);
  vn_scan_close(&file);
  vn_segmenter_close(&segmenter);
  vn_plan_close(&plan);
  return status;
}

/* A round with an order. Was it met? */
static __attribute__((noinline)) bool round_ordered(const struct host *h, struct result *r,
                                                    uint64_t site, uint32_t nth,
                                                    enum fail_mode mode, enum vn_status *status,
                                                    struct vn_diag *diag) {
  fail_begin(site, nth, mode);
  *status = round_run(h, r, diag);
  return fail_end();
}

/* ---- what it must be ---- */

static size_t files_in(const char *folder) {
  size_t count = 0;
  DIR *dir = opendir(folder);
  for (struct dirent *entry; dir && (entry = readdir(dir));)
    count += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
  if (dir) closedir(dir);
  return count;
}

static struct result result_make(size_t voxels) {
  struct result r = {.voxels = voxels};
  r.labels = calloc(voxels, 1);
  r.probabilities = calloc(voxels, LABELS_MOST * sizeof *r.probabilities);
  r.file = calloc(voxels, 2 * LABELS_MOST);
  return r;
}

/* Takes the file that was saved, and it is gone. */
static void file_take(const struct host *h, struct result *r) {
  FILE *file = fopen(h->out, "rb");
  r->file_bytes = file ? fread(r->file, 1, r->voxels * 2 * LABELS_MOST, file) : 0;
  if (file) fclose(file);
  remove(h->out);
}

static bool result_equal(const struct result *a, const struct result *b) {
  return !memcmp(a->labels, b->labels, a->voxels) && a->file_bytes == b->file_bytes &&
         !memcmp(a->file, b->file, a->file_bytes) && !memcmp(a->ml, b->ml, sizeof a->ml) &&
         !memcmp(a->soft_ml, b->soft_ml, sizeof a->soft_ml) &&
         !memcmp(a->probabilities, b->probabilities,
                 a->voxels * LABELS_MOST * sizeof *a->probabilities);
}

static void result_clear(struct result *r) {
  memset(r->labels, 0x5A, r->voxels);
  memset(r->probabilities, 0, r->voxels * LABELS_MOST * sizeof *r->probabilities);
  memset(r->ml, 0, sizeof r->ml);
  memset(r->soft_ml, 0, sizeof r->soft_ml);
}

static struct { size_t refused, passed, unmet, wrong; } ends;

static void wrong(const char *what, const char *detail) {
  ends.wrong++;
  printf("WRONG: %s: %s\n", what, detail);
  fflush(stdout);
}

/* One order, and the same again without it. */
static void order_try(const struct host *h, const struct result *want, struct result *r,
                      uint64_t site, uint32_t nth, enum fail_mode mode) {
  struct vn_diag diag = {""};
  size_t before = ends.wrong;
  result_clear(r);
  const long live = fail_live();
  enum vn_status status;
  const bool met = round_ordered(h, r, site, nth, mode, &status, &diag);
  if (fail_live() != live) {
    char count[32];
    snprintf(count, sizeof count, "%ld", fail_live() - live);
    wrong("blocks are left in memory", count);
  }
  if (!met) ends.unmet += nth == 0;
  if (status == VN_OK) {
    file_take(h, r);
    if (!result_equal(r, want)) wrong("another result", "");
    ends.passed += met;
  } else {
    if (status != VN_E_MEMORY || !*diag.text) wrong("no lack of memory", diag.text);
    ends.refused++;
  }
  if (files_in(h->folder)) {
    wrong("a file is left", h->folder);
    remove(h->out);
  }
  if (status) {
    result_clear(r);
    if (round_run(h, r, &diag)) wrong("the next run fails", diag.text);
    file_take(h, r);
    if (!result_equal(r, want)) wrong("the next run", "another result");
  }
  if (ends.wrong > before) { /* where it was */
    fail_tell(STDOUT_FILENO);
    round_ordered(h, r, site, nth, mode, &status, &diag);
    fail_tell(-1);
    file_take(h, r);
  }
}

static int by_value(const void *a, const void *b) {
  const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static void sweep(const struct host *h, const struct result *want, struct result *r) {
  size_t count, stacks = 0;
  const uint64_t *heard = fail_heard(&count);
  uint64_t *sites = calloc(count + 1, sizeof *sites);
  memcpy(sites, heard, count * sizeof *sites);
  qsort(sites, count, sizeof *sites, by_value);
  for (size_t i = 0, end; i < count; i = end, stacks++) {
    for (end = i; end < count && sites[end] == sites[i];) end++;
    const uint32_t last = (uint32_t)(end - i - 1);
    order_try(h, want, r, sites[i], 0, FAIL_ONE);
    if (last > 1) order_try(h, want, r, sites[i], 1, FAIL_ONE);
    if (last > 0) order_try(h, want, r, sites[i], last, FAIL_ONE);
    order_try(h, want, r, sites[i], 0, FAIL_ONWARD);
  }
  free(sites);
  printf("%zu allocations, %zu call stacks: %zu refused, %zu got over, %zu not met again, %zu "
         "faults\n",
         count, stacks, ends.refused, ends.passed, ends.unmet, ends.wrong);
  if (ends.unmet * 50 > stacks) wrong("the allocations", "are not those of the undisturbed run");
}

static size_t voxels_of(const char *path) {
  struct vn_scan *file = NULL;
  struct vn_image image = {.size = sizeof image};
  struct vn_diag diag;
  if (vn_scan_open(path, &file, &diag)) return 0;
  vn_scan_image(file, &image);
  vn_scan_close(&file);
  return image.dim[0] * image.dim[1] * image.dim[2];
}

int main(int argc, char **argv) {
  if (argc != 5) return fputs("usage: host PLAN SCAN FOLDER NAME\n", stderr), 2;
  struct host h = {argv[1], argv[2], argv[3], ""};
  snprintf(h.out, sizeof h.out, "%s/%s", h.folder, argv[4]);
  struct result want = result_make(voxels_of(h.scan)), r = result_make(want.voxels);
  struct vn_diag diag = {""};
  result_clear(&want);
  for (int i = 0; i < 2; i++) { /* the first time the C library takes what it keeps */
    enum vn_status status;
    round_ordered(&h, &want, 0, 0, FAIL_NONE, &status, &diag);
    if (status) return printf("WRONG: undisturbed: %s\n", diag.text), 1;
    file_take(&h, &want);
  }
  sweep(&h, &want, &r);
  return ends.wrong ? 1 : 0;
}

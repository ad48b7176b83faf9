/* The front door as a host uses it, for run_front.py: front_door WHAT PLAN …
 *
 *   same PLAN FOLDER            one buffer in 48 orientations, as every voxel type, padded, flipped
 *                               and in both worlds: labels are what vnet-run wrote into FOLDER
 *   stop PLAN SCAN ROUNDS SEED MS
 *                               pressed at random moments of opening, loading, fitting, network
 *                               and clean-up, and of a series' volumes being brought onto the
 *                               first one's grid: the run ends soon, the next one is right
 *   share PLAN SCAN             two threads with a segmenter each on one plan
 *   file PLAN SCAN              the plan's file is overwritten, cut and deleted meanwhile
 *   progress PLAN SCAN          how often it moves, and where it ends
 *   modes PLAN SCAN             every rounding mode of the host, denormals flushed or not, 1 to 4
 *                               threads: the same bits
 *   stack PLAN … SCAN           on a thread of 128 KB, musl's default, with every instruction set
 *
 * Says what is wrong and exits with 1. */
#include "vnet_scan.h"

#include <fcntl.h>
#include <fenv.h>
#include <pthread.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

enum { CHANNELS_MOST = 4 };

static _Noreturn void wrong(const char *what, const char *detail) {
  printf("WRONG: %s: %s\n", what, detail);
  exit(1);
}

static void need(enum vn_status status, const char *what, const struct vn_diag *diag) {
  if (status) wrong(what, diag->text);
}

static size_t elems_of(const size_t dim[3]) {
  return dim[0] * dim[1] * dim[2];
}

static struct vn_scan *scan_load(const char *path, struct vn_image *image) {
  struct vn_scan *file;
  struct vn_diag diag;
  need(vn_scan_open(path, &file, &diag), path, &diag);
  need(vn_scan_load(file, NULL, &diag), path, &diag);
  *image = (struct vn_image){.size = sizeof *image};
  vn_scan_image(file, image);
  return file;
}

static struct vn_plan *plan_open(const char *path) {
  struct vn_plan *plan;
  struct vn_diag diag;
  need(vn_plan_open(path, &plan, &diag), path, &diag);
  return plan;
}

static struct vn_segmenter *segmenter_open(const struct vn_plan *plan, size_t threads) {
  const struct vn_exec_options options = {.size = sizeof options, .threads = threads};
  struct vn_segmenter *segmenter;
  struct vn_diag diag;
  need(vn_segmenter_open(plan, &options, &segmenter, &diag), "opening", &diag);
  return segmenter;
}

/* Labels of an image, dense bytes; the caller frees them. */
static uint8_t *labels_of(struct vn_segmenter *segmenter, const struct vn_image *image) {
  const struct vn_image *images[] = {image};
  struct vn_diag diag;
  uint8_t *labels = malloc(elems_of(image->dim));
  const struct vn_segment_options options = {.size = sizeof options, .largest_component = true};
  const struct vn_label_map map = {.size = sizeof map, .data = labels, .elem_bytes = 1};
  struct vn_segment_report report = {.size = sizeof report, .windows = 1234567};
  need(vn_segment(segmenter, images, 1, &options, &map, &report, &diag), "segmenting", &diag);
  if (report.windows == 1234567 || !report.grid[0]) wrong("the report", "is not filled");
  report.size = 0;
  if (vn_segment(segmenter, images, 1, &options, &map, &report, &diag) != VN_E_ARGUMENT)
    wrong("a report without a size", "taken");
  return labels;
}

/* ---- same ---- */

/* The values 0 … 120 of a scan as any type, with `pad` elements after each row and plane. */
struct store {
  unsigned char *bytes;
  ptrdiff_t stride[3];
};

/* clang-format off */
#define EACH_TYPE(F)                                                                               \
  F(U8, uint8_t) F(I8, int8_t) F(U16, uint16_t) F(I16, int16_t) F(U32, uint32_t)                   \
  F(I32, int32_t) F(U64, uint64_t) F(I64, int64_t) F(F32, float) F(F64, double)
/* clang-format on */

static size_t value_put(enum vn_voxel type, double value, void *to) {
  switch (type) {
#define PUT(NAME, T)                                                                               \
  case VN_VOXEL_##NAME: {                                                                          \
    const T v = (T)value;                                                                          \
    if (to) memcpy(to, &v, sizeof v);                                                              \
    return sizeof v;                                                                               \
  }
    EACH_TYPE(PUT)
  }
  return 0;
}

/* At an odd address, so that nothing counts on alignment. */
static struct store store_make(const struct vn_image *image, enum vn_voxel type, size_t pad) {
  const size_t *dim = image->dim, bytes = value_put(type, 0, NULL);
  struct store s;
  s.stride[0] = (ptrdiff_t)(bytes + (pad ? 1 : 0));
  s.stride[1] = (ptrdiff_t)(dim[0] + pad) * s.stride[0];
  s.stride[2] = (ptrdiff_t)(dim[1] + pad) * s.stride[1];
  const size_t all = (size_t)s.stride[2] * dim[2] + 1;
  s.bytes = malloc(all);
  memset(s.bytes, 0x5A, all);
  for (size_t k = 0; k < dim[2]; k++)
    for (size_t j = 0; j < dim[1]; j++)
      for (size_t i = 0; i < dim[0]; i++)
        value_put(type, (double)((const float *)image->voxels)[(k * dim[1] + j) * dim[0] + i],
                  s.bytes + 1 + (ptrdiff_t)i * s.stride[0] + (ptrdiff_t)j * s.stride[1] +
                      (ptrdiff_t)k * s.stride[2]);
  return s;
}

static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

/* The base's stored voxels as orientation `o` (order o / 8, flips o % 8) has them. */
static void store_view(const struct store *s, const size_t base[3], int o, struct vn_image *image) {
  const unsigned char *at = s->bytes + 1;
  for (int a = 0; a < 3; a++) {
    const int from = orders[o / 8][a];
    const bool flip = o % 8 >> a & 1;
    if (image->dim[a] != base[from]) wrong("orientation", "extents");
    image->stride[a] = flip ? -s->stride[from] : s->stride[from];
    if (flip) at += (ptrdiff_t)(base[from] - 1) * s->stride[from];
  }
  image->voxels = at;
}

static void to_lps(struct vn_image *image) {
  image->world = VN_WORLD_LPS;
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 4; j++) image->affine[i][j] = -image->affine[i][j];
}

/* Labels into 16-bit words of a padded, reversed buffer; nothing else may be written. */
static void labels_compare(struct vn_segmenter *segmenter, const struct vn_image *image,
                           const struct vn_image *want, bool odd, const char *what) {
  const size_t *dim = image->dim, elems = elems_of(dim), room = odd ? 2 * elems + 2 : elems;
  const struct vn_image *images[] = {image};
  const ptrdiff_t x = 2 * (ptrdiff_t)sizeof(uint16_t);
  uint16_t *words = malloc(room * sizeof *words);
  struct vn_label_map map = {.size = sizeof map, .data = words, .elem_bytes = odd ? 2 : 1};
  struct vn_diag diag;
  memset(words, 0xEE, room * sizeof *words);
  if (odd) {
    map.data = words + 2 * elems - 1;
    map.stride[0] = -x;
    map.stride[1] = -x * (ptrdiff_t)dim[0];
    map.stride[2] = -x * (ptrdiff_t)(dim[0] * dim[1]);
  }
  need(vn_segment(segmenter, images, 1, NULL, &map, NULL, &diag), what, &diag);
  const float *label = want->voxels;
  for (size_t n = 0; n < elems; n++) {
    const size_t have = odd ? words[2 * elems - 1 - 2 * n] : ((uint8_t *)words)[n];
    if ((float)have != label[n]) wrong(what, "labels differ from vnet-run's");
    if (odd && words[2 * elems - 2 - 2 * n] != 0xEEEE) wrong(what, "wrote between the labels");
  }
  free(words);
}

static int same(const char *plan_path, const char *folder) {
  struct vn_plan *plan = plan_open(plan_path);
  struct vn_segmenter *segmenter = segmenter_open(plan, 2);
  char path[4096], what[64];
  struct vn_image base;
  snprintf(path, sizeof path, "%s/o00.nii", folder);
  struct vn_scan *first = scan_load(path, &base);
  size_t count = 0;
  for (int o = 0; o < 48; o++) {
    struct vn_image image, want;
    snprintf(path, sizeof path, "%s/o%02d.nii", folder, o);
    struct vn_scan *file = scan_load(path, &image);
    snprintf(path, sizeof path, "%s/out/o%02d.seg.nii.gz", folder, o);
    struct vn_scan *labels = scan_load(path, &want);
    for (int t = VN_VOXEL_U8; t <= VN_VOXEL_F64; t++) {
      if (o % 12 && t != o % 10) continue; /* every type in some orientations, one in the others */
      struct store store = store_make(&base, (enum vn_voxel)t, (size_t)(o + t) % 3);
      image.type = (enum vn_voxel)t;
      store_view(&store, base.dim, o, &image);
      if ((o + t) & 1 && image.world == VN_WORLD_RAS) to_lps(&image);
      snprintf(what, sizeof what, "orientation %d, type %d", o, t);
      labels_compare(segmenter, &image, &want, t & 1, what);
      free(store.bytes);
      count++;
    }
    vn_scan_close(&labels);
    vn_scan_close(&file);
  }
  vn_scan_close(&first);
  vn_segmenter_close(&segmenter);
  vn_plan_close(&plan);
  printf("%zu images, labels equal\n", count);
  return 0;
}

/* ---- stop ---- */

static double clock_of(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct button {
  struct vn_cancel *cancel;
  double after, pressed_wall, pressed_cpu; /* seconds */
};

static void *press(void *context) {
  struct button *b = context;
  const struct timespec wait = {(time_t)b->after,
                                (long)((b->after - (double)(time_t)b->after) * 1e9)};
  nanosleep(&wait, NULL);
  b->pressed_wall = clock_of(CLOCK_MONOTONIC);
  b->pressed_cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID);
  vn_cancel_press(b->cancel);
  return NULL;
}

/* A channel for each volume, those behind the first one on a grid of their own. */
static size_t channels_of(const struct vn_scan *file, struct vn_image image[CHANNELS_MOST],
                          const struct vn_image *images[CHANNELS_MOST]) {
  size_t count = vn_scan_volumes(file);
  if (count > CHANNELS_MOST) wrong("a series", "of too many volumes");
  for (size_t i = 0; i < count; i++) {
    image[i] = (struct vn_image){.size = sizeof *image};
    vn_scan_volume(file, i, &image[i]);
    image[i].affine[0][3] += 3 * (double)i;
    images[i] = &image[i];
  }
  return count;
}

/* All that a host does, from two files to labels. */
static enum vn_status whole(const char *plan_path, const char *scan_path, struct vn_cancel *cancel,
                            uint8_t *labels, struct vn_diag *diag) {
  const struct vn_run_options run = {.size = sizeof run, .cancel = cancel};
  const struct vn_exec_options opening = {.size = sizeof opening, .threads = 2, .cancel = cancel};
  const struct vn_segment_options options = {.size = sizeof options,
                                             .largest_component = true,
                                             .min_volume_ml = 0.01,
                                             .cancel = cancel,
                                             .match_grids = true};
  struct vn_plan *plan = NULL;
  struct vn_segmenter *segmenter = NULL;
  struct vn_scan *file = NULL;
  struct vn_image image[CHANNELS_MOST];
  const struct vn_image *images[CHANNELS_MOST];
  const struct vn_label_map map = {.size = sizeof map, .data = labels, .elem_bytes = 1};
  enum vn_status status = vn_plan_open_with(plan_path, &run, &plan, diag);
  if (!status) status = vn_segmenter_open(plan, &opening, &segmenter, diag);
  if (!status) status = vn_scan_open_series(scan_path, &file, diag);
  if (!status) status = vn_scan_load(file, &run, diag);
  if (!status) {
    const size_t count = channels_of(file, image, images);
    status = vn_segment(segmenter, images, count, &options, &map, NULL, diag);
  }
  vn_scan_close(&file);
  vn_segmenter_close(&segmenter);
  vn_plan_close(&plan);
  return status;
}

static int by_size(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* On one segmenter, pressed while it runs; then the same again, unpressed. */
static int stop(const char *plan_path, const char *scan_path, size_t rounds, unsigned seed,
                double most_ms) {
  struct vn_image image = {.size = sizeof image};
  struct vn_diag diag;
  struct vn_scan *file;
  need(vn_scan_open_series(scan_path, &file, &diag), scan_path, &diag);
  vn_scan_volume(file, 0, &image);
  const size_t elems = elems_of(image.dim);
  uint8_t *want = malloc(elems), *labels = malloc(elems);
  double *cpu_ms = calloc(rounds, sizeof *cpu_ms), *wall_ms = calloc(rounds, sizeof *wall_ms);
  size_t ended = 0;
  double begin = clock_of(CLOCK_MONOTONIC);
  need(whole(plan_path, scan_path, NULL, want, &diag), "an undisturbed run", &diag);
  double all =
      clock_of(CLOCK_MONOTONIC) - begin; /* of the latest one: the machine has other work */
  for (size_t i = 0; i < rounds; i++) {
    struct button b = {.after = all * 1.02 * rand_r(&seed) / RAND_MAX};
    pthread_t thread;
    need(vn_cancel_create(&b.cancel, &diag), "a button", &diag);
    if (pthread_create(&thread, NULL, press, &b)) wrong("a thread", "not started");
    const enum vn_status status = whole(plan_path, scan_path, b.cancel, labels, &diag);
    const double wall = clock_of(CLOCK_MONOTONIC), cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID);
    pthread_join(thread, NULL);
    if (status == VN_OK) {
      if (memcmp(labels, want, elems)) wrong("a run that was not stopped", "other labels");
    } else {
      if (status != VN_E_CANCELLED) wrong("a stopped run", diag.text);
      cpu_ms[ended] = (cpu - b.pressed_cpu) * 1e3;
      wall_ms[ended++] = (wall - b.pressed_wall) * 1e3;
    }
    vn_cancel_close(&b.cancel);
    if (i % 10 == 9) {
      begin = clock_of(CLOCK_MONOTONIC);
      need(whole(plan_path, scan_path, NULL, labels, &diag), "the next run", &diag);
      all = clock_of(CLOCK_MONOTONIC) - begin;
      if (memcmp(labels, want, elems)) wrong("the run after a stopped one", "other labels");
    }
  }
  qsort(cpu_ms, ended, sizeof *cpu_ms, by_size);
  qsort(wall_ms, ended, sizeof *wall_ms, by_size);
  if (ended < rounds / 2) wrong("pressing", "most runs were over before");
  printf(
      "a run of %.0f ms; %zu of %zu stopped, %.1f ms of CPU later at the median and %.1f at most; "
      "wall %.1f, %.1f\n",
      all * 1e3, ended, rounds, cpu_ms[ended / 2], cpu_ms[ended - 1], wall_ms[ended / 2],
      wall_ms[ended - 1]);
  if (cpu_ms[ended - 1] > most_ms) wrong("a stopped run", "went on for too long");
  vn_scan_close(&file);
  free(want);
  free(labels);
  free(cpu_ms);
  free(wall_ms);
  return 0;
}

/* ---- share ---- */

struct sharer {
  const struct vn_plan *plan;
  const struct vn_image *image;
  uint8_t *labels;
};

static void *sharer_run(void *context) {
  struct sharer *s = context;
  struct vn_segmenter *segmenter = segmenter_open(s->plan, 2);
  s->labels = labels_of(segmenter, s->image);
  vn_segmenter_close(&segmenter);
  return NULL;
}

static int share(const char *plan_path, const char *scan_path) {
  struct vn_image image;
  struct vn_scan *file = scan_load(scan_path, &image);
  struct vn_plan *plan = plan_open(plan_path);
  struct sharer s[2] = {{plan, &image, NULL}, {plan, &image, NULL}};
  pthread_t thread;
  if (pthread_create(&thread, NULL, sharer_run, &s[0])) wrong("a thread", "not started");
  sharer_run(&s[1]);
  pthread_join(thread, NULL);
  if (memcmp(s[0].labels, s[1].labels, elems_of(image.dim))) wrong("two hosts", "labels differ");
  free(s[0].labels);
  free(s[1].labels);
  vn_plan_close(&plan);
  vn_scan_close(&file);
  puts("two threads, one plan: labels equal");
  return 0;
}

/* ---- file ---- */

static void file_copy(const char *from, const char *to) {
  char buffer[1 << 16];
  FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
  if (!in || !out) wrong(from, "cannot be copied");
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, in));) fwrite(buffer, 1, n, out);
  fclose(in);
  fclose(out);
}

static void file_spoil(const char *path, int how) {
  const int fd = open(path, O_RDWR);
  const off_t size = lseek(fd, 0, SEEK_END);
  if (how == 0)
    for (off_t at = 0; at < size; at += 8)
      if (pwrite(fd, "\377\376\375\374\373\372\371\370", 8, at) != 8) wrong(path, "write");
  if (how == 1 && ftruncate(fd, 100)) wrong(path, "truncate");
  if (how == 2) unlink(path);
  close(fd);
}

/* Spoilt before the weights are packed, before the run, and before a second segmenter is opened. */
static int file(const char *plan_path, const char *scan_path) {
  struct vn_image image;
  struct vn_scan *scan = scan_load(scan_path, &image);
  uint8_t *want = NULL;
  char copy[4096];
  snprintf(copy, sizeof copy, "%s.copy", plan_path);
  for (int how = 0; how < 3; how++)
    for (int when = 0; when < 3; when++) {
      file_copy(plan_path, copy);
      struct vn_plan *plan = plan_open(copy);
      if (when == 0) file_spoil(copy, how);
      struct vn_segmenter *segmenter = segmenter_open(plan, 2);
      if (when == 1) file_spoil(copy, how);
      uint8_t *labels = labels_of(segmenter, &image);
      if (!want) want = labels;
      if (memcmp(want, labels, elems_of(image.dim))) wrong("a spoilt file", "other labels");
      if (want != labels) free(labels);
      vn_segmenter_close(&segmenter);
      if (when == 2) file_spoil(copy, how);
      segmenter = segmenter_open(plan, 1);
      labels = labels_of(segmenter, &image);
      if (memcmp(want, labels, elems_of(image.dim))) wrong("a spoilt file, again", "other labels");
      free(labels);
      vn_segmenter_close(&segmenter);
      vn_plan_close(&plan);
    }
  unlink(copy);
  free(want);
  vn_scan_close(&scan);
  puts("overwritten, cut and deleted: labels equal");
  return 0;
}

/* ---- progress ---- */

struct pace {
  double last_s, last, gap_s, gap, first;
  size_t told;
};

static int tell(void *context, double fraction) {
  struct pace *p = context;
  const double now = clock_of(CLOCK_MONOTONIC);
  if (fraction < p->last || fraction > 1) wrong("progress", "goes back, or beyond 1");
  if (now - p->last_s > p->gap_s) p->gap_s = now - p->last_s;
  if (fraction - p->last > p->gap) p->gap = fraction - p->last;
  p->last_s = now;
  p->last = fraction;
  p->told++;
  return 0;
}

static int progress(const char *plan_path, const char *scan_path) {
  struct vn_image image;
  struct vn_scan *file = scan_load(scan_path, &image);
  struct vn_plan *plan = plan_open(plan_path);
  struct vn_segmenter *segmenter = segmenter_open(plan, 1);
  const struct vn_image *images[] = {&image};
  uint8_t *labels = malloc(elems_of(image.dim));
  struct vn_diag diag;
  struct pace pace = {.last_s = clock_of(CLOCK_MONOTONIC)};
  const double begin = pace.last_s;
  const struct vn_segment_options options = {.size = sizeof options,
                                             .largest_component = true,
                                             .progress = tell,
                                             .progress_context = &pace};
  const struct vn_label_map map = {.size = sizeof map, .data = labels, .elem_bytes = 1};
  need(vn_segment(segmenter, images, 1, &options, &map, NULL, &diag), "segmenting", &diag);
  double all =
      clock_of(CLOCK_MONOTONIC) - begin; /* of the latest one: the machine has other work */
  printf("%.0f ms, told %zu times; the longest wait %.0f ms, the largest step %.3f\n", all * 1e3,
         pace.told, pace.gap_s * 1e3, pace.gap);
  if (pace.last != 1) wrong("progress", "does not end at 1");
  if (pace.gap_s > 0.1 && pace.gap_s > all / 100) wrong("progress", "stands still");
  free(labels);
  vn_segmenter_close(&segmenter);
  vn_plan_close(&plan);
  vn_scan_close(&file);
  return 0;
}

/* ---- modes, stack ---- */

/* From the files to labels and probabilities, which the caller frees. */
static float *everything(const char *plan_path, const char *scan_path, const char *isa,
                         size_t threads, uint8_t **labels, size_t *count) {
  struct vn_image image;
  struct vn_scan *file = scan_load(scan_path, &image);
  struct vn_plan *plan = plan_open(plan_path);
  const struct vn_exec_options options = {.size = sizeof options, .threads = threads, .isa = isa};
  struct vn_segmenter *segmenter;
  struct vn_segmenter_info info = {.size = sizeof info};
  struct vn_diag diag;
  enum vn_status status = vn_segmenter_open(plan, &options, &segmenter, &diag);
  float *odds = NULL;
  *labels = NULL;
  if ((status == VN_E_UNSUPPORTED || status == VN_E_ARGUMENT) && isa) goto done; /* not here */
  need(status, "opening", &diag);
  need(vn_segmenter_info(segmenter, &info, &diag), "info", &diag);
  *count = elems_of(image.dim) * info.labels;
  odds = malloc(*count * sizeof *odds);
  *labels = malloc(elems_of(image.dim));
  const struct vn_label_map map = {.size = sizeof map,
                                   .data = *labels,
                                   .elem_bytes = 1,
                                   .probabilities = odds,
                                   .probability = VN_PROBABILITY_F32};
  const struct vn_image *images[] = {&image};
  const struct vn_segment_options how = {.size = sizeof how, .largest_component = true};
  need(vn_segment(segmenter, images, 1, &how, &map, NULL, &diag), "segmenting", &diag);
  FILE *sink = tmpfile();
  if (!sink) wrong("a file", "cannot be made");
  const struct vn_scan_result result = {
      .size = sizeof result, .like = file, .map = &map, .labels = info.labels};
  need(vn_scan_write_labels(fileno(sink), "labels.nii.gz", &result, &diag), "writing", &diag);
  fclose(sink);
done:
  vn_segmenter_close(&segmenter);
  vn_plan_close(&plan);
  vn_scan_close(&file);
  return odds;
}

/* Denormals as zero and to zero, where the machine has such a switch. */
static void denormals_flush(bool on) {
#if defined(__x86_64__)
  _mm_setcsr(on ? _mm_getcsr() | 0x8040 : _mm_getcsr() & ~0x8040u);
#else
  (void)on;
#endif
}

static int modes(const char *plan_path, const char *scan_path) {
  static const int rounding[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
  uint8_t *labels, *first_labels;
  size_t count;
  float *first = everything(plan_path, scan_path, NULL, 1, &first_labels, &count);
  for (size_t i = 0; i < 8; i++) {
    const size_t threads = 1 + i % 4;
    fesetround(rounding[i / 2]);
    denormals_flush(i % 2);
    float *odds = everything(plan_path, scan_path, NULL, threads, &labels, &count);
    if (fegetround() != rounding[i / 2]) wrong("the rounding mode", "was changed");
    fesetround(FE_TONEAREST);
    denormals_flush(false);
    if (memcmp(odds, first, count * sizeof *odds)) wrong("bits", "depend on the host's float mode");
    free(odds);
    free(labels);
  }
  free(first);
  free(first_labels);
  printf("8 float modes, 1 to 4 threads: the same bits\n");
  return 0;
}

struct small_stack {
  char **plans, *scan;
  int count;
};

static void *small_stack_run(void *context) {
  static const char *const isas[] = {NULL, "avx512", "avx2", "neon", "portable", "ref"};
  const struct small_stack *s = context;
  for (int p = 0; p < s->count; p++)
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
      uint8_t *labels;
      size_t count;
      free(everything(s->plans[p], s->scan, isas[i], 2, &labels, &count));
      free(labels);
    }
  return NULL;
}

static int stack(char **plans, int count, char *scan) {
  struct small_stack s = {plans, scan, count};
  pthread_attr_t attributes;
  pthread_t thread;
  pthread_attr_init(&attributes);
  if (pthread_attr_setstacksize(&attributes, 128 << 10) ||
      pthread_create(&thread, &attributes, small_stack_run, &s))
    wrong("a thread of 128 KB", "cannot be started");
  pthread_join(thread, NULL);
  printf("%d plans on 128 KB of stack\n", count);
  return 0;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  if (argc == 4 && !strcmp(what, "same")) return same(argv[2], argv[3]);
  if (argc == 7 && !strcmp(what, "stop"))
    return stop(argv[2], argv[3], strtoul(argv[4], NULL, 10), (unsigned)strtoul(argv[5], NULL, 10),
                strtod(argv[6], NULL));
  if (argc == 4 && !strcmp(what, "share")) return share(argv[2], argv[3]);
  if (argc == 4 && !strcmp(what, "file")) return file(argv[2], argv[3]);
  if (argc == 4 && !strcmp(what, "progress")) return progress(argv[2], argv[3]);
  if (argc == 4 && !strcmp(what, "modes")) return modes(argv[2], argv[3]);
  if (argc >= 4 && !strcmp(what, "stack")) return stack(argv + 2, argc - 3, argv[argc - 1]);
  fputs("usage: see the head of front_door.c\n", stderr);
  return 2;
}

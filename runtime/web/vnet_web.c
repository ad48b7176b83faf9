/* The libraries as worker.js calls them: plain functions of numbers and addresses. One struct web
 * is one model, for one call at a time; its plans stay open until the worker ends. What a call
 * takes or gives beyond its parameters goes through `numbers`, in the order that worker.js has,
 * too. */
#include "vnet_scan.h"

#include "fail.h"
#include "watch.h"

#include <emscripten.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WEB EMSCRIPTEN_KEEPALIVE

enum { NUMBERS = 32, ALIGN = 64 };

struct channel {
  struct vn_image image;
  void *voxels;         /* the page's; NULL: a file's */
  struct vn_scan *file; /* that begins with this channel, or NULL */
};

struct web {
  double numbers[NUMBERS];
  struct vn_diag diag;
  struct vn_plan *plan; /* the first */
  struct vn_segmenter *segmenter;
  struct vn_segmenter_info info;
  struct vn_cancel *cancel; /* for every call: the page takes it back before the next one */
  double from, share;       /* of the whole call's progress, for the part in hand */
  /* Of the latest image. */
  struct channel *channels; /* [info.channels] */
  size_t count;             /* of them that are there */
  struct vn_label_map map;
  struct vn_segment_report report;
  struct vn_measure *measures; /* [info.labels] */
  double *soft_ml;             /* [info.labels] */
};

EM_JS(void, page_tell, (double fraction), { Module['onFraction'](fraction); });

static int tell(void *context, double fraction) {
  const struct web *web = context;
  page_tell(web->from + web->share * fraction);
  return 0;
}

/* ---- a model ---- */

WEB struct web *web_create(void) {
  struct web *web = calloc(1, sizeof *web);
  if (web && vn_cancel_create(&web->cancel, &web->diag)) {
    free(web);
    return NULL;
  }
  return web;
}

WEB double *web_numbers(struct web *web) {
  return web->numbers;
}

WEB const char *web_sentence(const struct web *web) {
  return web->diag.text;
}

/* A byte that the page sets to 1 to cancel the call, and to 0 before the next one. */
WEB void *web_cancel_byte(struct web *web) {
  return &web->cancel->pressed;
}

WEB void *web_alloc(size_t bytes) {
  return bytes > SIZE_MAX - ALIGN ? NULL
                                  : aligned_alloc(ALIGN, (bytes + ALIGN - 1) / ALIGN * ALIGN);
}

WEB void web_free(void *bytes) {
  free(bytes);
}

/* Another plan of the model: its probabilities are averaged with those of the plans before. Takes
 * `bytes` over, which web_alloc gave. `from`, `share`: of the call's progress. */
WEB enum vn_status web_open(struct web *web, void *bytes, size_t size, size_t threads, double from,
                            double share) {
  struct vn_exec_options options = {.size = sizeof options, .threads = threads};
  struct vn_plan *plan;
  struct vn_segmenter *segmenter;
  options.cancel = web->cancel;
  options.progress = tell;
  options.progress_context = web;
  web->from = from;
  web->share = share;
  enum vn_status status = vn_plan_open_memory(bytes, size, &plan, &web->diag);
  if (!status) status = vn_segmenter_open(plan, &options, &segmenter, &web->diag);
  if (status) return status;
  if (web->segmenter) return vn_segmenter_add(web->segmenter, &segmenter, &web->diag);
  web->plan = plan;
  web->segmenter = segmenter;
  return VN_OK;
}

/* When all plans are open: makes room for channels and labels, and puts what they are into
 * numbers. */
WEB enum vn_status web_describe(struct web *web) {
  struct vn_segmenter_info *info = &web->info;
  info->size = sizeof *info;
  const enum vn_status status = vn_segmenter_info(web->segmenter, info, &web->diag);
  if (status) return status;
  web->channels = calloc(info->channels, sizeof *web->channels);
  web->measures = calloc(info->labels, sizeof *web->measures);
  web->soft_ml = calloc(info->labels, sizeof *web->soft_ml);
  if (!web->channels || !web->measures || !web->soft_ml)
    return vn_fail(&web->diag, VN_E_MEMORY, "out of memory");
  const struct vn_exec_info exec = vn_exec_info(vn_segmenter_exec(web->segmenter));
  const double numbers[] = {
      (double)info->labels,   (double)info->channels,     (double)info->patch[0],
      (double)info->patch[1], (double)info->patch[2],     info->spacing_mm[0],
      info->spacing_mm[1],    info->spacing_mm[2],        info->named,
      (double)exec.threads,   (double)info->memory_bytes, (double)info->regions};
  memcpy(web->numbers, numbers, sizeof numbers);
  return VN_OK;
}

enum text {
  TEXT_VERSION,
  TEXT_TOPOLOGY,
  TEXT_ORIENTATION,
  TEXT_INTENSITY,
  TEXT_ISA,
  TEXT_NOTE,
  TEXT_WARNING
};

/* NULL: there is none. */
WEB const char *web_text(const struct web *web, enum text which) {
  switch (which) {
  case TEXT_VERSION:
    return vn_version();
  case TEXT_TOPOLOGY:
    return vn_plan_topology(web->plan);
  case TEXT_ORIENTATION:
    return web->info.orientation;
  case TEXT_INTENSITY:
    return web->info.intensity;
  case TEXT_ISA:
    return vn_exec_info(vn_segmenter_exec(web->segmenter)).isa;
  case TEXT_NOTE:
    return web->report.note;
  case TEXT_WARNING:
    return web->report.warning;
  }
  return NULL;
}

/* Of the file that begins with this channel; NULL: none does, or there is nothing to say. */
WEB const char *web_scan_note(const struct web *web, size_t channel) {
  const bool begins = channel < web->count && web->channels[channel].file;
  return begins ? vn_scan_note(web->channels[channel].file) : NULL;
}

WEB const char *web_label_name(const struct web *web, size_t label) {
  return vn_segmenter_label(web->segmenter, label).name;
}

WEB unsigned web_label_rgb(const struct web *web, size_t label) {
  const struct vn_label_info info = vn_segmenter_label(web->segmenter, label);
  return (unsigned)info.rgb[0] << 16 | (unsigned)info.rgb[1] << 8 | info.rgb[2];
}

/* NaN: the model does not say. */
WEB double web_validation_dice(const struct web *web, size_t label) {
  return web->info.validation_dice ? web->info.validation_dice[label] : NAN;
}

/* NULL: the model does not say. */
WEB const char *web_channel_name(const struct web *web, size_t channel) {
  return vn_segmenter_channel(web->segmenter, channel).name;
}

/* ---- images ---- */

WEB void web_forget(struct web *web) {
  for (size_t i = 0; i < web->count; i++) {
    free(web->channels[i].voxels);
    vn_scan_close(&web->channels[i].file);
  }
  web->count = 0;
  free(web->map.data);
  free(web->map.regions);
  web->map.data = web->map.regions = NULL;
}

static enum vn_status room_check(struct web *web, size_t images) {
  if (images <= web->info.channels - web->count) return VN_OK;
  return vn_fail(&web->diag, VN_E_ARGUMENT, "the model takes %zu image%s, and more were given",
                 web->info.channels, web->info.channels == 1 ? "" : "s");
}

/* Another channel, dense. Takes `voxels` over, whatever comes of it. numbers: dim[3], affine[12],
 * slope, inter. */
WEB enum vn_status web_image(struct web *web, void *voxels, enum vn_voxel type,
                             enum vn_world world) {
  enum vn_status status = room_check(web, 1);
  if (status) {
    free(voxels);
    return status;
  }
  struct channel *channel = &web->channels[web->count++];
  const double *n = web->numbers;
  *channel = (struct channel){.voxels = voxels};
  channel->image = (struct vn_image){.size = sizeof channel->image,
                                     .voxels = voxels,
                                     .type = type,
                                     .world = world,
                                     .slope = n[15],
                                     .inter = n[16]};
  for (int i = 0; i < 3; i++) channel->image.dim[i] = (size_t)n[i];
  memcpy(channel->image.affine, n + 3, sizeof channel->image.affine);
  return VN_OK;
}

/* A file as the next channels: one, or as many as it has volumes. */
static enum vn_status file_take(struct web *web, const char *path) {
  const bool one = web->info.channels == 1;
  struct channel *first = &web->channels[web->count];
  *first = (struct channel){0};
  enum vn_status status = one ? vn_scan_open(path, &first->file, &web->diag)
                              : vn_scan_open_series(path, &first->file, &web->diag);
  if (status) return status;
  const size_t volumes = vn_scan_volumes(first->file);
  if ((status = room_check(web, volumes))) {
    vn_scan_close(&first->file);
    return status;
  }
  for (size_t i = 1; i < volumes; i++) first[i] = (struct channel){0};
  web->count += volumes;
  return VN_OK;
}

/* `part`: of the call's progress that reading it is. */
WEB enum vn_status web_scan(struct web *web, const char *path, double from, double part) {
  struct vn_run_options run = {
      .size = sizeof run, .cancel = web->cancel, .progress = tell, .progress_context = web};
  const size_t at = web->count;
  web->from = from;
  web->share = part;
  enum vn_status status = room_check(web, 1);
  if (!status) status = file_take(web, path);
  if (!status) status = vn_scan_load(web->channels[at].file, &run, &web->diag);
  for (size_t i = at; i < web->count && !status; i++) {
    web->channels[i].image.size = sizeof web->channels[i].image;
    vn_scan_volume(web->channels[at].file, i - at, &web->channels[i].image);
  }
  return status;
}

/* ---- a run ---- */

static struct vn_segment_options options_of(struct web *web) {
  const double *n = web->numbers;
  struct vn_segment_options options = {.size = sizeof options,
                                       .overlap = n[0],
                                       .weighting = n[1] != 0 ? VN_WEIGHTING_CONSTANT
                                                              : VN_WEIGHTING_GAUSSIAN};
  for (int i = 0; i < 3; i++) options.mirror[i] = n[2 + i] != 0;
  options.every_window = n[5] != 0;
  options.replace_nan = n[6] != 0;
  options.largest_component = n[7] != 0;
  options.min_volume_ml = n[8];
  options.windows_most = n[9] < (double)SIZE_MAX ? (size_t)n[9] : SIZE_MAX;
  options.match_grids = n[10] != 0;
  options.cancel = web->cancel;
  options.progress = tell;
  options.progress_context = web;
  return options;
}

static void report_describe(struct web *web) {
  const struct vn_segment_report *report = &web->report;
  const double numbers[] = {(double)report->windows,
                            (double)report->skipped,
                            (double)report->replaced_vox,
                            (double)report->removed_vox,
                            (double)report->network_ns / 1e6,
                            (double)web->channels[0].image.dim[0],
                            (double)web->channels[0].image.dim[1],
                            (double)web->channels[0].image.dim[2]};
  memcpy(web->numbers, numbers, sizeof numbers);
  memcpy(web->numbers + sizeof numbers / sizeof *numbers, web->channels[0].image.affine,
         sizeof web->channels[0].image.affine);
}

static const struct vn_image **images_of(const struct web *web) {
  const struct vn_image **images = calloc(web->count + 1, sizeof *images);
  for (size_t i = 0; images && i < web->count; i++) images[i] = &web->channels[i].image;
  return images;
}

/* Room for the labels and, where they are wanted, for each region. */
static enum vn_status labels_alloc(struct web *web, bool regions) {
  const size_t *dim = web->channels[0].image.dim;
  struct vn_label_map *map = &web->map;
  *map = (struct vn_label_map){
      .size = sizeof *map, .elem_bytes = web->info.labels > 256 ? 2 : 1, .soft_ml = web->soft_ml};
  size_t bytes;
  if (__builtin_mul_overflow(dim[0], dim[1], &bytes) ||
      __builtin_mul_overflow(bytes, dim[2], &bytes) ||
      __builtin_mul_overflow(bytes, map->elem_bytes, &bytes) || !(map->data = web_alloc(bytes)))
    return vn_fail(&web->diag, VN_E_MEMORY, "no memory for the labels");
  if (!regions) return VN_OK;
  if (!web->info.regions)
    return vn_fail(&web->diag, VN_E_UNSUPPORTED,
                   "the network's labels exclude each other: it has no regions that may overlap");
  if (__builtin_mul_overflow(bytes / map->elem_bytes, web->info.regions, &bytes) ||
      !(map->regions = web_alloc(bytes)))
    return vn_fail(&web->diag, VN_E_MEMORY, "no memory for the regions");
  return VN_OK;
}

/* The images that are there to labels and their measures; numbers in: the options, out: the report,
 * the grid's extents and affine. */
WEB enum vn_status web_segment(struct web *web, double from) {
  struct vn_segment_options options = options_of(web);
  const bool regions = web->numbers[11] != 0;
  web->from = from;
  web->share = 1 - from;
  web->report = (struct vn_segment_report){.size = sizeof web->report};
  if (!web->count) return vn_fail(&web->diag, VN_E_ARGUMENT, "no image was given");
  const struct vn_image **images = images_of(web);
  if (!images) return vn_fail(&web->diag, VN_E_MEMORY, "out of memory");
  enum vn_status status = labels_alloc(web, regions);
  if (!status)
    status = vn_segment(web->segmenter, images, web->count, &options, &web->map, &web->report,
                        &web->diag);
  if (!status)
    status = vn_measure_labels(images[0], &web->map, web->info.labels, web->measures, &web->diag);
  free(images);
  if (!status) report_describe(web);
  return status;
}

/* What the run would hold, into numbers[0]; options as above. */
WEB enum vn_status web_memory(struct web *web) {
  struct vn_segment_options options = options_of(web);
  const struct vn_image **images = images_of(web);
  uint64_t bytes = 0;
  if (!images) return vn_fail(&web->diag, VN_E_MEMORY, "out of memory");
  enum vn_status status =
      vn_segmenter_memory(web->segmenter, images, web->count, &options, &bytes, &web->diag);
  free(images);
  web->numbers[0] = (double)bytes;
  return status;
}

WEB void *web_labels(const struct web *web) {
  return web->map.data;
}

/* NULL: not asked for. */
WEB void *web_regions(const struct web *web) {
  return web->map.regions;
}

/* numbers: voxels, ml, mean, sd, centroid[3], soft ml. */
WEB void web_measure(struct web *web, size_t label) {
  const struct vn_measure *m = &web->measures[label];
  const double numbers[] = {(double)m->voxels, m->ml,
                            m->mean,           m->sd,
                            m->centroid_mm[0], m->centroid_mm[1],
                            m->centroid_mm[2], web->soft_ml[label]};
  memcpy(web->numbers, numbers, sizeof numbers);
}

/* The label map as a file of the page's memory, in the format that its name says. */
WEB enum vn_status web_write(struct web *web, const char *path) {
  struct vn_scan_result result = {.size = sizeof result,
                                  .like = web->channels[0].file,
                                  .image = &web->channels[0].image,
                                  .map = &web->map,
                                  .labels = web->info.labels,
                                  .cancel = web->cancel};
  struct vn_label_info *label = calloc(web->info.labels, sizeof *label);
  if (!label) return vn_fail(&web->diag, VN_E_MEMORY, "out of memory");
  for (size_t i = 0; i < web->info.labels; i++) label[i] = vn_segmenter_label(web->segmenter, i);
  result.label = label;
  const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
  enum vn_status status =
      fd < 0 ? vn_fail(&web->diag, VN_E_MEMORY, "no memory for the file of the labels")
             : vn_scan_write_labels(fd, path, &result, &web->diag);
  if (fd >= 0) close(fd);
  free(label);
  return status;
}

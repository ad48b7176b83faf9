/* What a run will be and take; see crew.h. No voxel is looked at here. */
#include "crew.h"

#include <math.h>
#include <stdlib.h>

#include "float_mode.h"
#include "options.h"
#include "size.h"
#include "soft_volume.h"

enum { WINDOWS_MOST = 10000, WINDOW_VOX = 64 * 64 * 64 };

static enum vn_status options_read(struct vn_segment_options *o,
                                   const struct vn_segment_options *options, struct vn_diag *diag) {
  enum vn_status status = vn_options_take(o, sizeof *o, options, "vn_segment_options", diag);
  if (status) return status;
  if (!(o->overlap < 1))
    return vn_fail(diag, VN_E_ARGUMENT, "windows that overlap by %g of themselves", o->overlap);
  if ((unsigned)o->weighting > VN_WEIGHTING_CONSTANT)
    return vn_fail(diag, VN_E_ARGUMENT, "a weighting %d", (int)o->weighting);
  if (!(o->min_volume_ml >= 0))
    return vn_fail(diag, VN_E_ARGUMENT, "a smallest volume of %g ml", o->min_volume_ml);
  o->overlap = o->overlap == 0 ? 0.5 : fmax(o->overlap, 0);
  return VN_OK;
}

/* Are there labels that a mirrored image has on its other side, and which axis has sides? */
static enum vn_status sides_find(struct vn_model_run *run, const struct vn_view *view,
                                 struct vn_diag *diag) {
  const bool *mirror = run->options->mirror;
  const struct vn_image *image = vn_first_image(run);
  run->swapped = run->segmenter->palette.sided && (mirror[0] || mirror[1] || mirror[2]);
  if (!run->swapped) return VN_OK;
  if (image->world == VN_WORLD_UNKNOWN)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "labels change sides in mirrored windows, but the image does not say left from "
                   "right");
  run->side_axis = vn_view_side(image, view);
  return VN_OK;
}

/* The network's grid over the image; to be closed with vn_grid_close in any case. */
static enum vn_status grid_lay(struct vn_model_run *run, struct vn_diag *diag) {
  const struct vn_segmenter *s = run->segmenter;
  const char *letters = vn_plan_meta(s->plan, "vnet.orientation");
  struct vn_view view = vn_view_plain(vn_first_image(run));
  enum vn_status status = VN_OK;
  if (letters) status = vn_view_orient(vn_first_image(run), letters, &view, diag);
  if (!status) status = sides_find(run, &view, diag);
  return status ? status : vn_grid_make(&view, s->spaced ? s->spacing_mm : NULL, &run->grid, diag);
}

/* What a whole body at 1 mm stays below; more of windows that are small. */
static uint64_t windows_most(const struct vn_model_run *run, const size_t patch[3]) {
  const uint64_t voxels = vn_times(vn_times(patch[0], patch[1]), patch[2]);
  const uint64_t same = (uint64_t)WINDOWS_MOST * WINDOW_VOX / voxels;
  if (run->options->windows_most == SIZE_MAX) return UINT64_MAX;
  if (run->options->windows_most) return run->options->windows_most;
  return same > WINDOWS_MOST ? same : WINDOWS_MOST;
}

/* A scan of few large voxels becomes a grid of very many small ones. */
static enum vn_status windows_check(const struct vn_model_run *run, struct vn_diag *diag) {
  const struct vn_buffer in = vn_exec_input(run->segmenter->exec, 0);
  const uint64_t count = vn_window_count(&run->grid, in.dim + 2, run->options->overlap);
  const uint64_t most = windows_most(run, in.dim + 2);
  if (count <= most) return VN_OK;
  return vn_fail(
      diag, VN_E_UNSUPPORTED,
      "at the model's %.4g mm the scan takes %llu windows, and the limit is %llu: is its "
      "voxel size right? (--max-windows %llu runs it)",
      run->grid.spacing_mm[0], (unsigned long long)count, (unsigned long long)most,
      (unsigned long long)count);
}

static enum vn_status count_check(const struct vn_segmenter *s, size_t count,
                                  struct vn_diag *diag) {
  char names[160];
  vn_channels_list(&s->channels, names, sizeof names);
  if (count == s->channels.count) return VN_OK;
  return vn_fail(diag, VN_E_ARGUMENT, "%zu image%s for a network of %zu channel%s%s%s%s", count,
                 count == 1 ? "" : "s", s->channels.count, s->channels.count == 1 ? "" : "s",
                 *names ? " (" : "", names, *names ? ")" : "");
}

enum vn_status vn_channel_told(const struct vn_model_run *run, size_t channel,
                               enum vn_status status, const struct vn_diag *inner,
                               struct vn_diag *diag) {
  if (status == VN_OK) return VN_OK;
  if (run->count == 1 || status == VN_E_CANCELLED) return vn_fail(diag, status, "%s", inner->text);
  const char *name = run->segmenter->channels.of[channel].name;
  if (name) return vn_fail(diag, status, "%s: %.400s", name, inner->text);
  return vn_fail(diag, status, "image %zu: %.400s", channel + 1, inner->text);
}

static enum vn_status images_take(struct vn_model_run *run, const struct vn_image *const images[],
                                  size_t count, struct vn_diag *diag) {
  enum vn_status status = count_check(run->segmenter, count, diag);
  struct vn_diag inner;
  if (status) return status;
  run->sources = calloc(count, sizeof *run->sources);
  run->channels = calloc(count, sizeof *run->channels);
  if (!run->sources || !run->channels) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  run->count = count;
  for (size_t i = 0; i < count && !status; i++) {
    status = vn_source_take(&run->sources[i], images[i], i ? vn_first_image(run) : NULL,
                            run->options->match_grids, &inner);
    status = vn_channel_told(run, i, status, &inner, diag);
  }
  return status;
}

static enum vn_status run_plan(struct vn_model_run *run, const struct vn_image *const images[],
                               size_t count, struct vn_diag *diag) {
  enum vn_status status = images_take(run, images, count, diag);
  if (!status) status = grid_lay(run, diag);
  return status ? status : windows_check(run, diag);
}

void vn_model_run_close(struct vn_model_run *run) {
  for (size_t i = 0; i < run->count; i++) vn_source_close(&run->sources[i]);
  free(run->sources);
  free(run->channels);
  vn_grid_close(&run->grid);
  vn_judge_close(&run->judge);
  *run = (struct vn_model_run){0};
}

enum vn_status vn_model_told(size_t model, enum vn_status status, const struct vn_diag *inner,
                             struct vn_diag *diag) {
  if (status && model && status != VN_E_CANCELLED)
    return vn_fail(diag, status, "model %zu: %.400s", model + 1, inner->text);
  return status ? vn_fail(diag, status, "%s", inner->text) : VN_OK;
}

enum vn_status vn_crew_plan(const struct vn_segmenter *segmenter,
                            const struct vn_image *const images[], size_t count,
                            const struct vn_segment_options *options, struct vn_crew *crew,
                            struct vn_diag *diag) {
  *crew = (struct vn_crew){.count = segmenter->others + 1};
  enum vn_status status = options_read(&crew->options, options, diag);
  struct vn_diag inner;
  if (status) return status;
  crew->run = calloc(crew->count, sizeof *crew->run);
  if (!crew->run) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  for (size_t i = 0; i < crew->count && !status; i++) {
    crew->run[i] = (struct vn_model_run){.segmenter = vn_segmenter_model(segmenter, i),
                                         .options = &crew->options,
                                         .stage = &crew->stage};
    status = run_plan(&crew->run[i], images, count, &inner);
    status = vn_model_told(i, status, &inner, diag);
  }
  return status;
}

void vn_crew_close(struct vn_crew *crew) {
  for (size_t i = 0; crew->run && i < crew->count; i++) vn_model_run_close(&crew->run[i]);
  free(crew->run);
  free(crew->average.sum);
}

/* Beside the exec's memory. Fitting and windows do not hold theirs at the same time. */
static uint64_t more_bytes(const struct vn_model_run *run) {
  const struct vn_segmenter *s = run->segmenter;
  const struct vn_buffer in = vn_exec_input(s->exec, 0);
  uint64_t most = vn_window_bytes(&run->grid, in.dim + 2, run->count, s->decision.channels);
  uint64_t matched = 0;
  for (size_t i = 0; i < run->count; i++) {
    const uint64_t fit = vn_source_bytes(&run->sources[i]);
    most = most > fit ? most : fit;
    matched = vn_plus(matched, vn_source_matched_bytes(&run->sources[i], vn_first_image(run)));
  }
  return vn_plus(vn_plus(most, vn_soft_volume_bytes(s->classes, &run->grid)), matched);
}

uint64_t vn_crew_average_bytes(const struct vn_crew *crew) {
  const uint64_t elems = vn_image_elems(vn_first_image(crew->run));
  const uint64_t each = crew->run->segmenter->decision.channels * sizeof(float);
  return crew->count > 1 ? vn_times(elems, each) : 0;
}

/* One model after the other; what is held of the execs' memory is `held`. */
static uint64_t crew_bytes(const struct vn_crew *crew,
                           uint64_t (*held)(const struct vn_segmenter *s)) {
  uint64_t most = 0, execs = 0;
  for (size_t i = 0; i < crew->count; i++) {
    const uint64_t more = more_bytes(&crew->run[i]);
    most = most > more ? most : more;
    execs = vn_plus(execs, held(crew->run[i].segmenter));
  }
  return vn_plus(vn_plus(most, vn_crew_average_bytes(crew)), execs);
}

enum vn_status vn_segmenter_memory(const struct vn_segmenter *segmenter,
                                   const struct vn_image *const images[], size_t count,
                                   const struct vn_segment_options *options, uint64_t *bytes,
                                   struct vn_diag *diag) {
  struct vn_crew crew;
  const vn_float_mode host = vn_float_mode_enter();
  enum vn_status status = vn_crew_plan(segmenter, images, count, options, &crew, diag);
  if (!status) *bytes = crew_bytes(&crew, vn_segmenter_exec_bytes);
  vn_crew_close(&crew);
  vn_float_mode_restore(host);
  return status;
}

/* What the first run will write to. */
static uint64_t fresh_bytes(const struct vn_segmenter *s) {
  const struct vn_exec_info info = vn_exec_info(s->exec);
  return s->ran ? 0 : info.arena_bytes + info.scratch_bytes;
}

enum vn_status vn_crew_limit_check(const struct vn_crew *crew, struct vn_diag *diag) {
  const uint64_t limit = crew->run->segmenter->memory_limit_bytes;
  if (limit) {
    const uint64_t need = crew_bytes(crew, vn_segmenter_exec_bytes);
    if (need <= limit) return VN_OK;
    return vn_fail(diag, VN_E_MEMORY, "the run takes %.1f MiB and the limit is %.1f MiB",
                   (double)need / 0x1p20, (double)limit / 0x1p20);
  }
  const uint64_t need = crew_bytes(crew, fresh_bytes), available = vn_memory_free();
  if (need <= available) return VN_OK;
  return vn_fail(diag, VN_E_MEMORY,
                 "the run takes %.1f MiB and %.1f MiB are free (--memory-limit none tries all the "
                 "same)",
                 (double)need / 0x1p20, (double)available / 0x1p20);
}

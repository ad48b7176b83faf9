/* One run, once it is planned (crew.h): statistics, windows, labels, clean-up; see vnet_segment.h.
 *
 * Of several models each takes the images, lays its grid and runs its windows, one after the other.
 * All but the last add their probabilities to a sum on the image's grid; the last is the first of
 * them, whose filling, clean-up and expectations count, and its rows are decided by the mean.
 *
 * Label 0 is what the model calls background. Windows with nothing in them, in no channel
 * (source.c), get it unseen, as does what lies outside of the foreground's box (foreground.h).
 * Filling (filling.h) gets it, too, where every image on the first one's grid has some. */
#include "vnet_segment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "components.h"
#include "crew.h"
#include "float_mode.h"
#include "foreground.h"
#include "options.h"
#include "os.h"
#include "soft_volume.h"

/* ---- scores to labels ---- */

/* Is this voxel of the grid's view filling, which is background whatever the scores? */
static bool filling_at(const void *context, size_t d, size_t h, size_t w) {
  const struct vn_model_run *run = context;
  for (size_t i = 0; i < run->count; i++) {
    const struct vn_source *s = &run->sources[i];
    const struct vn_walk *walk = &run->channels[i].walk;
    float x;
    if (s->apart) continue;
    vn_voxels_row(&s->stored,
                  walk->origin + (ptrdiff_t)d * walk->step[0] + (ptrdiff_t)h * walk->step[1] +
                      (ptrdiff_t)w * walk->step[2],
                  0, 1, &x);
    if (!vn_filling_is(&s->filling, &s->survey, x)) return false;
  }
  return true;
}

static const char *row_decide(void *context, size_t d, size_t h, const float *scores,
                              const uint16_t *sure) {
  const struct vn_model_run *run = context;
  return vn_verdict_row(&run->verdict, d, h, scores, sure);
}

/* ---- a run ---- */

static enum vn_status output_check(const struct vn_model_run *run, struct vn_diag *diag) {
  const size_t elems = vn_image_elems(vn_first_image(run));
  bool voxels = true;
  size_t bytes;
  for (size_t i = 0; i < run->count; i++) voxels = voxels && run->sources[i].image.voxels;
  if (!voxels || !run->map.data)
    return vn_fail(diag, VN_E_ARGUMENT, "an image or a label map without data");
  if (run->map.regions && !vn_decision_regions(&run->segmenter->decision))
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "the network's labels exclude each other: it has no regions that may overlap");
  if (run->map.elem_bytes == 1 && run->segmenter->classes > 256)
    return vn_fail(diag, VN_E_ARGUMENT, "%zu labels do not fit into one byte a voxel",
                   run->segmenter->classes);
  if (run->map.probabilities &&
      __builtin_mul_overflow(elems, run->segmenter->classes * sizeof(float), &bytes))
    return vn_fail(diag, VN_E_ARGUMENT, "probabilities larger than memory");
  return VN_OK;
}

/* Zeros for the probabilities to be added to. */
static enum vn_status average_open(struct vn_crew *crew, struct vn_diag *diag) {
  crew->mean = vn_decision_of_mean(&crew->run->segmenter->decision);
  crew->average.models = crew->count;
  if (crew->count == 1) return VN_OK;
  const uint64_t bytes = vn_crew_average_bytes(crew);
  if (bytes <= SIZE_MAX) crew->average.sum = vn_os_zeros((size_t)bytes, 1);
  return crew->average.sum
             ? VN_OK
             : vn_fail(diag, VN_E_MEMORY, "out of memory for the mean of %zu models", crew->count);
}

/* The window job, but for what the image's statistics say. */
static void job_fill(struct vn_crew *crew, struct vn_model_run *run) {
  const struct vn_segmenter *s = run->segmenter;
  const size_t *dim = vn_first_image(run)->dim;
  const ptrdiff_t dense[3] = {1, (ptrdiff_t)dim[0], (ptrdiff_t)(dim[0] * dim[1])};
  const bool several = crew->count > 1;
  run->map = crew->run->map;
  run->verdict = (struct vn_verdict){
      .decision = several ? &crew->mean : &s->decision,
      .own = &s->decision,
      .average = several ? &crew->average : NULL,
      .last = run == crew->run,
      .map = &run->map,
      .label_walk = vn_view_walk(&run->grid.view, run->map.stride),
      .index_walk = vn_view_walk(&run->grid.view, dense),
      .width = run->grid.view.dim[2],
      .elems = vn_image_elems(vn_first_image(run)),
      .context = run,
  };
  run->window = (struct vn_window_job){
      .stage = run->stage,
      .network_work = s->network_work,
      .output = s->output,
      .channels = run->channels,
      .count = run->count,
      .grid = &run->grid,
      .overlap = run->options->overlap,
      .weighting = run->options->weighting,
      .highest_alone = vn_verdict_highest_alone(&run->verdict),
      .sink = row_decide,
      .sink_context = run,
  };
  memcpy(run->window.mirror, run->options->mirror, sizeof run->window.mirror);
  run->window.other_side = run->swapped ? s->decision.other_side : NULL;
  run->window.side_axis = run->side_axis;
}

static const char *label_name(const void *context, size_t label) {
  const struct vn_segmenter *s = context;
  return s->palette.entries[label].name;
}

static enum vn_status judge_open(struct vn_model_run *run, struct vn_diag *diag) {
  const struct vn_segmenter *s = run->segmenter;
  run->judge = (struct vn_judge){.expect = &s->expect,
                                 .image = vn_first_image(run),
                                 .voxels = &run->sources[0].voxels,
                                 .map = &run->map,
                                 .labels = s->classes,
                                 .name = label_name,
                                 .context = s,
                                 .stage = run->stage};
  return vn_judge_open(&run->judge, diag);
}

static bool cleaned(const struct vn_model_run *run) {
  return run->options->largest_component || run->options->min_volume_ml > 0;
}

/* Do windows lie on the foreground's box alone? */
static bool boxed(const struct vn_model_run *run) {
  return run->segmenter->foreground > -INFINITY && !run->options->every_window;
}

static void stage_fill(struct vn_crew *crew, vn_float_mode host_mode) {
  const struct vn_model_run *first = crew->run;
  const double elems = (double)vn_image_elems(vn_first_image(first));
  const double judge_ns = vn_judge_ns(&first->segmenter->expect);
  crew->stage = (struct vn_stage){.cancel = crew->options.cancel,
                                  .progress = crew->options.progress,
                                  .context = crew->options.progress_context,
                                  .host_mode = host_mode};
  crew->stage.all = (judge_ns + (cleaned(first) ? VN_CLEAN_NS : 0)) * elems;
  for (size_t i = 0; i < crew->count; i++) {
    const struct vn_model_run *run = &crew->run[i];
    crew->stage.exec = run->segmenter->exec;
    crew->stage.all += vn_window_work(&run->window);
    for (size_t c = 0; c < run->count; c++)
      crew->stage.all += vn_source_ns(&run->sources[c], vn_first_image(run)) +
                         (boxed(run) ? VN_FOREGROUND_NS * elems : 0);
  }
}

/* What there is to say of one image, and of several which it is. */
static void note_add(struct vn_model_run *run, size_t channel, const char *note) {
  const char *name = run->segmenter->channels.of[channel].name;
  char *to = run->report.note;
  if (!*note) return;
  if (run->count == 1)
    vn_say(to, sizeof run->report.note, "%s", note);
  else if (name)
    vn_say(to, sizeof run->report.note, "%s: %s", name, note);
  else
    vn_say(to, sizeof run->report.note, "image %zu: %s", channel + 1, note);
}

/* Statistics of the voxels, and with them what the network will see. */
static enum vn_status voxels_fit(struct vn_model_run *run, struct vn_diag *diag) {
  const struct vn_channels *rules = &run->segmenter->channels;
  enum vn_status status = VN_OK;
  bool filled = true;
  for (size_t i = 0; i < run->count && !status; i++) {
    struct vn_source *source = &run->sources[i];
    char note[sizeof run->report.note] = "";
    struct vn_diag inner;
    status = vn_source_fit(source, &rules->of[i].rule, vn_first_image(run), &run->map,
                           run->options->replace_nan, run->stage, note, sizeof note, &inner);
    status = vn_channel_told(run, i, status, &inner, diag);
    note_add(run, i, note);
    run->report.replaced_vox += source->filling.replaced_vox;
    filled = filled && (source->apart || vn_filling_any(&source->filling));
    run->channels[i] = vn_source_channel(source, &run->grid.view, run->options->every_window);
  }
  if (filled) run->verdict.filled = filling_at;
  return status;
}

/* The windows, and what the probabilities of their scores add up to. */
static enum vn_status windows_run(struct vn_model_run *run, struct vn_window_report *report,
                                  struct vn_diag *diag) {
  const struct vn_decision *own = &run->segmenter->decision;
  const double models = run->verdict.average ? (double)run->verdict.average->models : 1;
  struct vn_soft_volume soft = {0};
  enum vn_status status = VN_OK;
  if (run->map.soft_ml) {
    status = vn_soft_volume_open(own, &run->grid, &soft, diag);
    run->window.plane = vn_soft_volume_plane;
    run->window.plane_context = &soft;
  }
  if (!status) status = vn_window_run(&run->window, report, diag);
  if (!status && run->map.soft_ml)
    vn_soft_volume_add(&soft, vn_image_voxel_ml(vn_first_image(run)) / models, run->map.soft_ml);
  vn_soft_volume_close(&soft);
  return status;
}

static enum vn_status network_run(struct vn_model_run *run, struct vn_window_report *report,
                                  struct vn_diag *diag) {
  const struct vn_decision *own = &run->segmenter->decision;
  float *idle = calloc(own->channels, 2 * sizeof *idle);
  if (!idle) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  float *decided = idle + own->channels;
  vn_decision_idle(own, idle);
  vn_decision_idle(run->verdict.decision, decided);
  run->window.idle = idle;
  run->verdict.idle = decided;
  enum vn_status status = VN_OK;
  if (boxed(run)) status = vn_foreground_find(&run->window, run->segmenter->foreground, diag);
  if (!status) status = windows_run(run, report, diag);
  free(idle);
  return status;
}

/* One model, from the images' statistics to its last row. */
static enum vn_status model_run(struct vn_model_run *run, struct vn_segment_report *report,
                                struct vn_diag *diag) {
  struct vn_window_report windows = {0};
  const uint64_t start = vn_stage_now_ns();
  run->stage->exec = run->segmenter->exec;
  run->segmenter->ran = true;
  enum vn_status status = voxels_fit(run, diag);
  report->intensity_ns += vn_stage_now_ns() - start;
  if (!status) status = network_run(run, &windows, diag);
  report->windows += windows.windows;
  report->skipped += windows.skipped;
  report->network_ns += windows.network_ns;
  report->outside_ns += windows.outside_ns;
  return status;
}

static enum vn_status labels_clean(struct vn_model_run *run, struct vn_diag *diag) {
  const double elems = (double)vn_image_elems(vn_first_image(run));
  if (!cleaned(run)) return VN_OK;
  vn_stage_begin(run->stage, VN_CLEAN_NS * elems);
  const double least =
      ceil(run->options->min_volume_ml / vn_image_voxel_ml(vn_first_image(run)) - 1e-9);
  return vn_labels_clean(&run->map, vn_first_image(run), run->segmenter->classes,
                         run->options->largest_component, (uint64_t)fmin(least, elems + 1),
                         run->stage, &run->report.removed_vox, diag);
}

/* ---- all of it ---- */

static void report_fill(struct vn_model_run *run) {
  const struct vn_intensity *seen = &run->sources[0].intensity;
  run->report.shift = (double)seen->shift;
  run->report.scale = (double)seen->scale;
  run->report.low = (double)seen->low;
  run->report.high = (double)seen->high;
  memcpy(run->report.grid, run->grid.dim, sizeof run->report.grid);
  memcpy(run->report.grid_spacing_mm, run->grid.spacing_mm, sizeof run->report.grid_spacing_mm);
}

/* All models; of the first one, which is the last to run, the memory stays for what follows. */
static enum vn_status models_run(struct vn_crew *crew, struct vn_diag *diag) {
  enum vn_status status = VN_OK;
  struct vn_diag inner;
  for (size_t i = crew->count; i-- > 0 && !status;) {
    status = model_run(&crew->run[i], &crew->run->report, &inner);
    status = vn_model_told(i, status, &inner, diag);
    if (i) vn_model_run_close(&crew->run[i]);
  }
  return status;
}

static enum vn_status run_all(struct vn_crew *crew, struct vn_diag *diag) {
  struct vn_model_run *run = crew->run;
  for (size_t c = 0; run->map.soft_ml && c < run->segmenter->classes; c++) run->map.soft_ml[c] = 0;
  vn_expect_extent(&run->segmenter->expect, &run->grid.view, run->report.warning,
                   sizeof run->report.warning);
  enum vn_status status = models_run(crew, diag);
  const uint64_t start = vn_stage_now_ns();
  report_fill(run);
  if (!status) status = vn_judge_pieces(&run->judge, diag);
  if (!status) status = labels_clean(run, diag);
  if (!status)
    status = vn_judge_labels(&run->judge, vn_source_level(&run->sources[0]), run->report.warning,
                             sizeof run->report.warning, diag);
  run->report.clean_ns = vn_stage_now_ns() - start;
  vn_stage_begin(run->stage, run->stage->all - run->stage->done - run->stage->weight);
  if (!status && !vn_stage_tell(run->stage, 1)) status = vn_stage_cancelled(diag);
  return status;
}

enum vn_status vn_segment(struct vn_segmenter *segmenter, const struct vn_image *const images[],
                          size_t count, const struct vn_segment_options *options,
                          const struct vn_label_map *labels, struct vn_segment_report *report,
                          struct vn_diag *diag) {
  struct vn_crew crew;
  vn_float_mode host_mode = vn_float_mode_enter();
  enum vn_status status = vn_crew_plan(segmenter, images, count, options, &crew, diag);
  struct vn_model_run *run = crew.run;
  if (!status && report) /* before the work, for a size may be wrong */
    status = vn_options_give(&run->report, sizeof run->report, report, "vn_segment_report", diag);
  if (!status) status = vn_label_map_take(labels, vn_first_image(run), &run->map, diag);
  if (!status) status = output_check(run, diag);
  if (!status) status = vn_crew_limit_check(&crew, diag);
  if (!status) status = average_open(&crew, diag);
  if (!status) status = judge_open(run, diag);
  if (!status) {
    for (size_t i = 0; i < crew.count; i++) job_fill(&crew, &crew.run[i]);
    stage_fill(&crew, host_mode);
    status = run_all(&crew, diag);
  }
  vn_float_mode_restore(host_mode);
  if (!status && report)
    status = vn_options_give(&run->report, sizeof run->report, report, "vn_segment_report", diag);
  vn_crew_close(&crew);
  return status;
}

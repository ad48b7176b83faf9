/* Plan, image and metadata put together, and scores turned into labels; see vnet_segment.h.
 *
 * What the model's metadata asks for is done or refused, never passed over:
 *   vnet.orientation  the image is looked at along these axes; absent: along its own
 *   vnet.spacing_mm   along the letters of vnet.orientation (or i j k): the image is brought to it,
 *                     and the scores back (grid.h); absent: the image's own
 *   vnet.intensity    see intensity.h; fitted to the image's own voxels; absent: as they are
 *   vnet.labels       see palette.h
 *   vnet.expect       see expect.h; what is not plausible is a warning
 *
 * The network has one input of shape 1 1 D H W, which is the window; scores are its first float
 * output with that grid. Networks that end in ArgMax are refused: windows of labels cannot be
 * blended.
 *
 * Label 0 is what the model calls background. Windows with nothing in them get it unseen: no voxel
 * is further above the image's smallest value than 5 % of the way from there to its mean (padding,
 * masked-out and empty air; less than any tissue in MR or CT). An image whose voxels are all equal
 * has no such windows. */
#include "vnet_segment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "components.h"
#include "elementary.h"
#include "filling.h"
#include "judge.h"
#include "options.h"
#include "orient.h"
#include "palette.h"
#include "size.h"
#include "window.h"

enum { CLASSES_MOST = INT16_MAX + 1, WINDOWS_MOST = 10000, WINDOW_VOX = 64 * 64 * 64 };

/* Rough, for progress alone: nanoseconds of a thread for a voxel, and for a multiply-add. */
static const double SURVEY_NS = 3, FIT_NS = 4, CLEAN_NS = 5, MAC_NS = 0.009;

struct vn_segmenter {
  const struct vn_plan *plan;
  struct vn_exec *exec;
  uint64_t memory_limit_bytes;
  size_t output, channels, classes; /* channels of the scores: one means two classes */
  bool probabilities;               /* the network's scores are */
  bool spaced;
  double spacing_mm[3]; /* d h w; 0: the image's own */
  struct vn_intensity_rule rule;
  struct vn_palette palette;
  struct vn_expect expect;
  double network_work;
  bool ran; /* the exec's memory has been written to, and is no longer free */
};

/* ---- does the network take an image? ---- */

static enum vn_status input_check(const struct vn_segmenter *s, struct vn_diag *diag) {
  if (vn_plan_inputs(s->plan) != 1)
    return vn_fail(diag, VN_E_UNSUPPORTED, "the network has %zu inputs, a scan is one",
                   vn_plan_inputs(s->plan));
  struct vn_port port = vn_plan_input(s->plan, 0);
  if (port.type != VN_TYPE_F32 || port.rank != 5)
    return vn_fail(diag, VN_E_UNSUPPORTED, "the network's input '%.60s' is not float n c d h w",
                   port.name);
  struct vn_buffer in = vn_exec_input(s->exec, 0);
  if (in.dim[0] != 1)
    return vn_fail(diag, VN_E_UNSUPPORTED, "the plan is for batches of %zu: compile it for 1",
                   in.dim[0]);
  if (in.dim[1] != 1)
    return vn_fail(diag, VN_E_UNSUPPORTED, "the network takes %zu channels, a scan has one",
                   in.dim[1]);
  return VN_OK;
}

static enum vn_status output_choose(struct vn_segmenter *s, struct vn_diag *diag) {
  const struct vn_buffer in = vn_exec_input(s->exec, 0);
  bool integer = false;
  for (size_t i = 0; i < vn_plan_outputs(s->plan); i++) {
    struct vn_buffer out = vn_exec_output(s->exec, i);
    bool fits = out.dim[0] == 1 && memcmp(out.dim + 2, in.dim + 2, 3 * sizeof *in.dim) == 0;
    bool scores = vn_plan_output(s->plan, i).type == VN_TYPE_F32;
    integer = integer || (fits && !scores);
    if (!fits || !scores) continue;
    s->output = i;
    s->channels = out.dim[1];
    s->classes = out.dim[1] == 1 ? 2 : out.dim[1];
    if (s->classes > CLASSES_MOST)
      return vn_fail(diag, VN_E_UNSUPPORTED, "%zu classes: a label map holds %d at most",
                     s->classes, CLASSES_MOST);
    return VN_OK;
  }
  if (integer)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "the network ends in ArgMax, and windows of labels cannot be blended: export it "
                   "without");
  return vn_fail(diag, VN_E_UNSUPPORTED, "no output of the network has the grid of its input");
}

/* Does the network itself end in probabilities? A logarithm or plain scores become so by
 * softmax. */
static bool ends_in_softmax(const struct vn_exec *exec) {
  static const char *const moves[] = {"argmax", "cast", "copy"};
  size_t i = vn_exec_steps(exec);
  while (i-- > 0) {
    const char *op = vn_exec_step(exec, i).op;
    bool move = false;
    for (size_t m = 0; m < sizeof moves / sizeof *moves; m++)
      move = move || strcmp(op, moves[m]) == 0;
    if (!move) return strcmp(op, "softmax") == 0;
  }
  return false;
}

static enum vn_status spacing_read(struct vn_segmenter *s, struct vn_diag *diag) {
  const char *text = vn_plan_meta(s->plan, "vnet.spacing_mm");
  double xyz[3];
  s->spaced = text != NULL;
  if (!text) return VN_OK;
  if (vn_numbers_parse(text, xyz, 3) != 3 || !(xyz[0] > 0 && xyz[1] > 0 && xyz[2] > 0))
    return vn_fail(diag, VN_E_FORMAT, "the model's vnet.spacing_mm is '%.60s', not three numbers",
                   text);
  for (int i = 0; i < 3; i++) s->spacing_mm[i] = xyz[2 - i];
  return VN_OK;
}

static double network_work(const struct vn_exec *exec) {
  double macs = 0;
  for (size_t i = 0; i < vn_exec_steps(exec); i++) macs += (double)vn_exec_step(exec, i).macs;
  return MAC_NS * macs / (double)vn_exec_info(exec).threads;
}

/* Numbers in the metadata are read in our own float mode, as all that follows from them. */
static enum vn_status metas_read(struct vn_segmenter *s, struct vn_diag *diag) {
  const vn_float_mode host = vn_float_mode_enter();
  enum vn_status status = spacing_read(s, diag);
  if (!status) status = vn_intensity_parse(vn_plan_meta(s->plan, "vnet.intensity"), &s->rule, diag);
  if (!status)
    status = vn_palette_parse(vn_plan_meta(s->plan, "vnet.labels"), s->classes, &s->palette, diag);
  if (!status)
    status = vn_expect_parse(vn_plan_meta(s->plan, "vnet.expect"), s->classes, &s->expect, diag);
  vn_float_mode_restore(host);
  return status;
}

static enum vn_status segmenter_fill(struct vn_segmenter *s, const struct vn_exec_options *options,
                                     struct vn_diag *diag) {
  struct vn_exec_options mine;
  enum vn_status status = vn_options_take(&mine, sizeof mine, options, "vn_exec_options", diag);
  if (!status) status = vn_exec_open(s->plan, options, &s->exec, diag);
  if (!status) status = input_check(s, diag);
  if (!status) status = output_choose(s, diag);
  if (!status) status = metas_read(s, diag);
  if (status) return status;
  s->memory_limit_bytes = mine.memory_limit_bytes;
  s->probabilities = s->channels == 1 || ends_in_softmax(s->exec);
  s->network_work = network_work(s->exec);
  return VN_OK;
}

enum vn_status vn_segmenter_open(const struct vn_plan *plan, const struct vn_exec_options *options,
                                 struct vn_segmenter **segmenter, struct vn_diag *diag) {
  struct vn_segmenter *s = *segmenter = calloc(1, sizeof *s);
  if (!s) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  s->plan = plan;
  enum vn_status status = segmenter_fill(s, options, diag);
  if (status) vn_segmenter_close(segmenter);
  return status;
}

void vn_segmenter_close(struct vn_segmenter **segmenter) {
  struct vn_segmenter *s = segmenter ? *segmenter : NULL;
  if (!s) return;
  vn_palette_close(&s->palette);
  vn_expect_close(&s->expect);
  vn_exec_close(&s->exec);
  free(s);
  *segmenter = NULL;
}

/* ---- questions ---- */

static uint64_t exec_bytes(const struct vn_segmenter *s) {
  struct vn_exec_info info = vn_exec_info(s->exec);
  return info.arena_bytes + info.scratch_bytes + info.packed_bytes;
}

enum vn_status vn_segmenter_info(const struct vn_segmenter *s, struct vn_segmenter_info *info,
                                 struct vn_diag *diag) {
  const char *intensity = vn_plan_meta(s->plan, "vnet.intensity");
  struct vn_buffer in = vn_exec_input(s->exec, 0);
  struct vn_segmenter_info mine = {
      .channels = in.dim[1],
      .labels = s->classes,
      .orientation = vn_plan_meta(s->plan, "vnet.orientation"),
      .intensity = intensity ? intensity : "none",
      .named = vn_plan_meta(s->plan, "vnet.labels") != NULL,
      .memory_bytes = exec_bytes(s),
  };
  memcpy(mine.patch, in.dim + 2, sizeof mine.patch);
  memcpy(mine.spacing_mm, s->spacing_mm, sizeof mine.spacing_mm);
  return vn_options_give(&mine, sizeof mine, info, "vn_segmenter_info", diag);
}

struct vn_label_info vn_segmenter_label(const struct vn_segmenter *s, size_t index) {
  const struct vn_palette_entry *e = &s->palette.entries[index];
  struct vn_label_info label = {.value = index, .name = e->name};
  memcpy(label.rgb, e->rgb, sizeof label.rgb);
  return label;
}

struct vn_exec *vn_segmenter_exec(const struct vn_segmenter *s) {
  return s->exec;
}

/* ---- a run: what was asked for ---- */

struct run {
  const struct vn_segmenter *segmenter;
  struct vn_segment_options options;
  struct vn_image image;
  struct vn_label_map map;
  struct vn_voxels stored, voxels; /* voxels: without filling */
  struct vn_survey survey;
  struct vn_filling filling;
  bool filled; /* there is some */
  struct vn_judge judge;
  struct vn_grid grid;
  struct vn_walk label_walk, index_walk; /* of the grid's view over labels; over a dense array */
  struct vn_stage stage;
  struct vn_window_job window;
  struct vn_segment_report report;
};

static enum vn_status options_read(struct run *run, const struct vn_segment_options *options,
                                   struct vn_diag *diag) {
  struct vn_segment_options *o = &run->options;
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

/* The network's grid over the image; to be closed with vn_grid_close in any case. */
static enum vn_status grid_lay(struct run *run, struct vn_diag *diag) {
  const struct vn_segmenter *s = run->segmenter;
  const char *letters = vn_plan_meta(s->plan, "vnet.orientation");
  struct vn_view view = vn_view_plain(&run->image);
  enum vn_status status = VN_OK;
  if (letters) status = vn_view_orient(&run->image, letters, &view, diag);
  return status ? status : vn_grid_make(&view, s->spaced ? s->spacing_mm : NULL, &run->grid, diag);
}

/* What a whole body at 1 mm stays below; more of windows that are small. */
static uint64_t windows_most(const struct run *run, const size_t patch[3]) {
  const uint64_t voxels = vn_times(vn_times(patch[0], patch[1]), patch[2]);
  const uint64_t same = (uint64_t)WINDOWS_MOST * WINDOW_VOX / voxels;
  if (run->options.windows_most == SIZE_MAX) return UINT64_MAX;
  if (run->options.windows_most) return run->options.windows_most;
  return same > WINDOWS_MOST ? same : WINDOWS_MOST;
}

/* A scan of few large voxels becomes a grid of very many small ones. */
static enum vn_status windows_check(const struct run *run, struct vn_diag *diag) {
  const struct vn_buffer in = vn_exec_input(run->segmenter->exec, 0);
  const uint64_t count = vn_window_count(&run->grid, in.dim + 2, run->options.overlap);
  const uint64_t most = windows_most(run, in.dim + 2);
  if (count <= most) return VN_OK;
  return vn_fail(
      diag, VN_E_UNSUPPORTED,
      "at the model's %.4g mm the scan takes %llu windows, and the limit is %llu: is its "
      "voxel size right? (--max-windows %llu runs it)",
      run->grid.spacing_mm[0], (unsigned long long)count, (unsigned long long)most,
      (unsigned long long)count);
}

static enum vn_status run_plan(const struct vn_segmenter *segmenter,
                               const struct vn_image *const images[], size_t count,
                               const struct vn_segment_options *options, struct run *run,
                               struct vn_diag *diag) {
  *run = (struct run){.segmenter = segmenter};
  if (count != 1)
    return vn_fail(diag, VN_E_ARGUMENT, "%zu images for a network of one channel", count);
  enum vn_status status = options_read(run, options, diag);
  if (!status) status = vn_image_take(images[0], &run->image, diag);
  if (!status) status = grid_lay(run, diag);
  return status ? status : windows_check(run, diag);
}

/* Beside the exec's memory. Fitting and windows do not hold theirs at the same time. */
static uint64_t more_bytes(const struct run *run) {
  const struct vn_segmenter *s = run->segmenter;
  struct vn_buffer in = vn_exec_input(s->exec, 0);
  uint64_t window = vn_window_bytes(&run->grid, in.dim + 2, s->channels);
  uint64_t fit = vn_survey_bytes(&run->image);
  return window > fit ? window : fit;
}

static uint64_t run_bytes(const struct run *run) {
  return vn_plus(exec_bytes(run->segmenter), more_bytes(run));
}

enum vn_status vn_segmenter_memory(const struct vn_segmenter *segmenter,
                                   const struct vn_image *const images[], size_t count,
                                   const struct vn_segment_options *options, uint64_t *bytes,
                                   struct vn_diag *diag) {
  struct run run;
  const vn_float_mode host = vn_float_mode_enter();
  enum vn_status status = run_plan(segmenter, images, count, options, &run, diag);
  if (!status) *bytes = run_bytes(&run);
  vn_grid_close(&run.grid);
  vn_float_mode_restore(host);
  return status;
}

/* ---- scores to labels ---- */

static size_t best_class(const float *scores, size_t channels) {
  size_t best = 0;
  for (size_t c = 1; c < channels; c++)
    if (scores[c] > scores[best]) best = c;
  return best;
}

static void probability_put(const struct vn_label_map *map, size_t at, float p) {
  p = p < 0 ? 0 : p > 1 ? 1 : p;
  if (map->probability == VN_PROBABILITY_F32)
    ((float *)map->probabilities)[at] = p;
  else
    ((uint16_t *)map->probabilities)[at] = (uint16_t)(p * 65535 + 0.5f);
}

/* One voxel's scores as probabilities to voxel `at` of every class. */
static void probabilities_put(const struct run *run, size_t at, const float *from) {
  const struct vn_segmenter *s = run->segmenter;
  size_t channels = s->channels, elems = run->survey.elems;
  if (channels == 1) {
    probability_put(&run->map, at, 1 - *from);
    probability_put(&run->map, elems + at, *from);
    return;
  }
  float most = from[best_class(from, channels)], sum = 0;
  for (size_t c = 0; c < channels; c++)
    sum += s->probabilities ? from[c] : (float)vn_exp((double)(from[c] - most));
  for (size_t c = 0; c < channels; c++)
    probability_put(&run->map, c * elems + at,
                    (s->probabilities ? from[c] : (float)vn_exp((double)(from[c] - most))) / sum);
}

static ptrdiff_t walk_to(const struct vn_walk *walk, size_t d, size_t h) {
  return walk->origin + (ptrdiff_t)d * walk->step[0] + (ptrdiff_t)h * walk->step[1];
}

/* Is this voxel of the grid's view filling, which is background whatever the scores? */
static bool filling_at(const struct run *run, size_t d, size_t h, size_t w) {
  const struct vn_walk *walk = &run->window.walk;
  float x;
  vn_voxels_row(&run->stored, walk_to(walk, d, h) + (ptrdiff_t)w * walk->step[2], 0, 1, &x);
  return vn_filling_is(&run->filling, &run->survey, x);
}

static const char *row_label(void *context, size_t d, size_t h, const float *scores) {
  const struct run *run = context;
  size_t channels = run->segmenter->channels;
  bool probable = true;
  char *label = (char *)run->map.data + walk_to(&run->label_walk, d, h);
  ptrdiff_t at = walk_to(&run->index_walk, d, h);
  for (size_t w = 0; w < run->grid.view.dim[2]; w++, scores += channels) {
    /* A mean of numbers in [0, 1] may leave it by rounding. */
    if (channels == 1) probable = probable && *scores >= -1e-4f && *scores <= 1.0001f;
    const float *of = run->filled && filling_at(run, d, h, w) ? run->window.idle : scores;
    vn_label_put(&run->map, label, channels == 1 ? *of >= 0.5f : best_class(of, channels));
    if (run->map.probabilities) probabilities_put(run, (size_t)at, of);
    label += run->label_walk.step[2];
    at += run->index_walk.step[2];
  }
  return probable ? NULL
                  : "the network's one channel leaves [0, 1], so it does not end in a sigmoid and "
                    "a threshold of 0.5 would be wrong";
}

/* ---- a run ---- */

static enum vn_status output_check(const struct run *run, struct vn_diag *diag) {
  const size_t elems = vn_image_elems(&run->image);
  size_t bytes;
  if (!run->image.voxels || !run->map.data)
    return vn_fail(diag, VN_E_ARGUMENT, "an image or a label map without data");
  if (run->map.elem_bytes == 1 && run->segmenter->classes > 256)
    return vn_fail(diag, VN_E_ARGUMENT, "%zu labels do not fit into one byte a voxel",
                   run->segmenter->classes);
  if (run->map.probabilities &&
      __builtin_mul_overflow(elems, run->segmenter->classes * sizeof(float), &bytes))
    return vn_fail(diag, VN_E_ARGUMENT, "probabilities larger than memory");
  return VN_OK;
}

static enum vn_status limit_check(const struct run *run, struct vn_diag *diag) {
  const struct vn_segmenter *s = run->segmenter;
  const uint64_t limit = s->memory_limit_bytes;
  if (limit) {
    const uint64_t need = run_bytes(run);
    if (need <= limit) return VN_OK;
    return vn_fail(diag, VN_E_MEMORY, "the run takes %.1f MiB and the limit is %.1f MiB",
                   (double)need / 0x1p20, (double)limit / 0x1p20);
  }
  const struct vn_exec_info info = vn_exec_info(s->exec);
  const uint64_t need =
      vn_plus(more_bytes(run), s->ran ? 0 : info.arena_bytes + info.scratch_bytes);
  const uint64_t available = vn_memory_free();
  if (need <= available) return VN_OK;
  return vn_fail(diag, VN_E_MEMORY,
                 "the run takes %.1f MiB and %.1f MiB are free (--memory-limit none tries all the "
                 "same)",
                 (double)need / 0x1p20, (double)available / 0x1p20);
}

/* The window job, but for what the image's statistics say. */
static void job_fill(struct run *run) {
  const struct vn_segmenter *s = run->segmenter;
  const size_t *dim = run->image.dim;
  const ptrdiff_t dense[3] = {1, (ptrdiff_t)dim[0], (ptrdiff_t)(dim[0] * dim[1])};
  run->label_walk = vn_view_walk(&run->grid.view, run->map.stride);
  run->index_walk = vn_view_walk(&run->grid.view, dense);
  run->window = (struct vn_window_job){
      .stage = &run->stage,
      .network_work = s->network_work,
      .output = s->output,
      .voxels = &run->voxels,
      .walk = vn_view_walk(&run->grid.view, run->image.stride),
      .grid = &run->grid,
      .overlap = run->options.overlap,
      .weighting = run->options.weighting,
      .sink = row_label,
      .sink_context = run,
  };
  memcpy(run->window.mirror, run->options.mirror, sizeof run->window.mirror);
}

static const char *label_name(const void *context, size_t label) {
  const struct vn_segmenter *s = context;
  return s->palette.entries[label].name;
}

static enum vn_status judge_open(struct run *run, struct vn_diag *diag) {
  const struct vn_segmenter *s = run->segmenter;
  run->judge = (struct vn_judge){.expect = &s->expect,
                                 .image = &run->image,
                                 .voxels = &run->voxels,
                                 .map = &run->map,
                                 .labels = s->classes,
                                 .name = label_name,
                                 .context = s,
                                 .stage = &run->stage};
  return vn_judge_open(&run->judge, diag);
}

static bool cleaned(const struct run *run) {
  return run->options.largest_component || run->options.min_volume_ml > 0;
}

static void stage_fill(struct run *run, vn_float_mode host_mode) {
  const double elems = (double)vn_image_elems(&run->image);
  run->stage = (struct vn_stage){.exec = run->segmenter->exec,
                                 .cancel = run->options.cancel,
                                 .progress = run->options.progress,
                                 .context = run->options.progress_context,
                                 .host_mode = host_mode};
  const double judge_ns = vn_judge_ns(&run->segmenter->expect);
  run->stage.all = (SURVEY_NS + FIT_NS + judge_ns + (cleaned(run) ? CLEAN_NS : 0)) * elems +
                   vn_window_work(&run->window);
}

/* Statistics of the voxels, and with them what the network will see. */
static enum vn_status voxels_fit(struct run *run, struct vn_diag *diag) {
  const double elems = (double)vn_image_elems(&run->image);
  struct vn_survey *survey = &run->survey;
  struct vn_filling *filling = &run->filling;
  run->stored = run->voxels = vn_voxels_of(&run->image);
  vn_stage_begin(&run->stage, SURVEY_NS * elems);
  enum vn_status status = vn_survey_own(&run->image, &run->map, run->options.replace_nan,
                                        &run->stage, &run->voxels, survey, filling, diag);
  if (!status) status = vn_survey_finite(&run->image, survey, diag);
  if (status) return status;
  run->filled = vn_filling_any(filling);
  run->report.replaced_vox = filling->replaced_vox;
  vn_filling_tell(filling, survey, run->report.note, sizeof run->report.note);
  vn_stage_begin(&run->stage, FIT_NS * elems);
  return vn_intensity_fit(&run->segmenter->rule, &run->image, survey, &run->stage,
                          &run->window.intensity, diag);
}

static float background_level(const struct vn_survey *survey) {
  const double above = survey->mean - (double)survey->least;
  return above > 0 ? (float)((double)survey->least + 0.05 * above) : -INFINITY;
}

/* What stands where no window was: certainty of class 0, in the network's own terms. */
static float *idle_scores(const struct vn_segmenter *s) {
  float *idle = calloc(s->channels, sizeof *idle);
  if (!idle || s->channels == 1) return idle;
  for (size_t c = 1; c < s->channels; c++) idle[c] = s->probabilities ? 0 : -20;
  idle[0] = s->probabilities ? 1 : 0;
  return idle;
}

static enum vn_status network_run(struct run *run, struct vn_diag *diag) {
  struct vn_window_report windows;
  float *idle = idle_scores(run->segmenter);
  if (!idle) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  run->window.idle = idle;
  run->window.background = run->options.every_window ? -INFINITY : background_level(&run->survey);
  enum vn_status status = vn_window_run(&run->window, &windows, diag);
  free(idle);
  run->report.windows = windows.windows;
  run->report.skipped = windows.skipped;
  run->report.network_ns = windows.network_ns;
  run->report.outside_ns = windows.outside_ns;
  return status;
}

static enum vn_status labels_clean(struct run *run, struct vn_diag *diag) {
  const double elems = (double)run->survey.elems;
  if (!cleaned(run)) return VN_OK;
  vn_stage_begin(&run->stage, CLEAN_NS * elems);
  const double least = ceil(run->options.min_volume_ml / vn_image_voxel_ml(&run->image) - 1e-9);
  return vn_labels_clean(&run->map, &run->image, run->segmenter->classes,
                         run->options.largest_component, (uint64_t)fmin(least, elems + 1),
                         &run->stage, &run->report.removed_vox, diag);
}

/* ---- all of it ---- */

static enum vn_status run_all(struct run *run, struct vn_diag *diag) {
  uint64_t start = vn_stage_now_ns();
  enum vn_status status = voxels_fit(run, diag);
  const struct vn_intensity *seen = &run->window.intensity;
  run->report.intensity_ns = vn_stage_now_ns() - start;
  run->report.shift = (double)seen->shift;
  run->report.scale = (double)seen->scale;
  run->report.low = (double)seen->low;
  run->report.high = (double)seen->high;
  memcpy(run->report.grid, run->grid.dim, sizeof run->report.grid);
  memcpy(run->report.grid_spacing_mm, run->grid.spacing_mm, sizeof run->report.grid_spacing_mm);
  vn_expect_extent(&run->segmenter->expect, &run->grid.view, run->report.warning,
                   sizeof run->report.warning);
  if (!status) status = network_run(run, diag);
  start = vn_stage_now_ns();
  if (!status) status = vn_judge_pieces(&run->judge, diag);
  if (!status) status = labels_clean(run, diag);
  if (!status)
    status = vn_judge_labels(&run->judge, background_level(&run->survey), run->report.warning,
                             sizeof run->report.warning, diag);
  run->report.clean_ns = vn_stage_now_ns() - start;
  vn_stage_begin(&run->stage, run->stage.all - run->stage.done - run->stage.weight);
  if (!status && !vn_stage_tell(&run->stage, 1)) status = vn_stage_cancelled(diag);
  return status;
}

enum vn_status vn_segment(struct vn_segmenter *segmenter, const struct vn_image *const images[],
                          size_t count, const struct vn_segment_options *options,
                          const struct vn_label_map *labels, struct vn_segment_report *report,
                          struct vn_diag *diag) {
  struct run run;
  vn_float_mode host_mode = vn_float_mode_enter();
  enum vn_status status = run_plan(segmenter, images, count, options, &run, diag);
  if (!status && report) /* before the work, for a size may be wrong */
    status = vn_options_give(&run.report, sizeof run.report, report, "vn_segment_report", diag);
  if (!status) status = vn_label_map_take(labels, &run.image, &run.map, diag);
  if (!status) status = output_check(&run, diag);
  if (!status) status = limit_check(&run, diag);
  if (!status) status = judge_open(&run, diag);
  if (!status) {
    job_fill(&run);
    stage_fill(&run, host_mode);
    status = run_all(&run, diag);
    segmenter->ran = true;
  }
  vn_grid_close(&run.grid);
  vn_survey_close(&run.survey);
  vn_judge_close(&run.judge);
  vn_float_mode_restore(host_mode);
  if (!status && report)
    status = vn_options_give(&run.report, sizeof run.report, report, "vn_segment_report", diag);
  return status;
}

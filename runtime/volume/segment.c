/* A plan made ready for images: what the network takes and gives, and its metadata; see
 * vnet_segment.h. Runs are segment_run.c's.
 *
 * What the model's metadata asks for is done or refused, never passed over:
 *   vnet.orientation  the image is looked at along these axes; absent: along its own
 *   vnet.spacing_mm   along the letters of vnet.orientation (or i j k): the image is brought to it,
 *                     and the scores back (grid.h); absent: the image's own
 *   vnet.channels     see channels.h
 *   vnet.intensity    see channels.h; fitted to the image's own voxels; absent: as they are
 *   vnet.labels       see palette.h and decide.h
 *   vnet.expect       see expect.h; what is not plausible is a warning
 *   vnet.foreground   see foreground.h; absent: windows lie on the whole image
 *   vnet.validation_dice  see validation.h; told and not used
 *
 * The network has inputs of shape 1 C D H W of one D H W, which is the window, and an image for
 * each of all their channels; scores are its first float output with that grid. Networks that end
 * in labels are refused: windows of labels cannot be blended. */
#include "vnet_segment.h"

#include <stdlib.h>
#include <string.h>

#include "average.h"
#include "float_mode.h"
#include "foreground.h"
#include "options.h"
#include "validation.h"

enum { CLASSES_MOST = INT16_MAX + 1 };

static const double MAC_NS = 0.009; /* rough, for progress alone */

/* ---- does the network take an image? ---- */

static enum vn_status input_check(const struct vn_segmenter *s, size_t index, size_t *channels,
                                  struct vn_diag *diag) {
  const struct vn_port port = vn_plan_input(s->plan, index);
  if (port.type != VN_TYPE_F32 || port.rank != 5)
    return vn_fail(diag, VN_E_UNSUPPORTED, "the network's input '%.60s' is not float n c d h w",
                   port.name);
  const struct vn_buffer in = vn_exec_input(s->exec, index), first = vn_exec_input(s->exec, 0);
  if (in.dim[0] != first.dim[0] || memcmp(in.dim + 2, first.dim + 2, 3 * sizeof *in.dim) != 0)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "the network's input '%.60s' has another grid or batch than its first one",
                   port.name);
  if (in.dim[1] > VN_CHANNELS_MOST - *channels)
    return vn_fail(diag, VN_E_UNSUPPORTED, "the network takes more than %d images",
                   VN_CHANNELS_MOST);
  *channels += in.dim[1];
  return VN_OK;
}

static enum vn_status inputs_check(const struct vn_segmenter *s, size_t *channels,
                                   struct vn_diag *diag) {
  enum vn_status status = VN_OK;
  *channels = 0;
  for (size_t i = 0; i < vn_plan_inputs(s->plan) && !status; i++)
    status = input_check(s, i, channels, diag);
  if (!status && !*channels) return vn_fail(diag, VN_E_UNSUPPORTED, "the network has no input");
  return status;
}

/* Does the network itself end in probabilities? For plans that do not say: a logarithm or plain
 * scores become so by softmax. */
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

static enum vn_status output_take(struct vn_segmenter *s, size_t index, struct vn_diag *diag) {
  const size_t channels = vn_exec_output(s->exec, index).dim[1];
  s->output = index;
  if (channels >= CLASSES_MOST)
    return vn_fail(diag, VN_E_UNSUPPORTED, "%zu classes: a label map holds %d at most", channels,
                   CLASSES_MOST);
  enum vn_status status =
      vn_decision_open(s->plan, index, channels, ends_in_softmax(s->exec), &s->decision, diag);
  if (!status) s->classes = vn_decision_labels(&s->decision);
  return status;
}

static enum vn_status output_choose(struct vn_segmenter *s, struct vn_diag *diag) {
  const struct vn_buffer in = vn_exec_input(s->exec, 0);
  bool labels = false;
  for (size_t i = 0; i < vn_plan_outputs(s->plan); i++) {
    const struct vn_buffer out = vn_exec_output(s->exec, i);
    const bool fits =
        out.dim[0] == in.dim[0] && memcmp(out.dim + 2, in.dim + 2, 3 * sizeof *in.dim) == 0;
    const bool scores = vn_plan_output(s->plan, i).type == VN_TYPE_F32 &&
                        vn_plan_meaning(s->plan, i) != VN_MEANS_LABELS;
    labels = labels || (fits && !scores);
    if (fits && scores) return output_take(s, i, diag);
  }
  if (labels)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "the network ends in ArgMax, and windows of labels cannot be blended: export it "
                   "without");
  return vn_fail(diag, VN_E_UNSUPPORTED, "no output of the network has the grid of its input");
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

/* What the model calls its images; where it does not, its inputs may have names. */
static enum vn_status channels_read(struct vn_segmenter *s, size_t count, struct vn_diag *diag) {
  const size_t inputs = vn_plan_inputs(s->plan);
  const char *name[VN_CHANNELS_MOST];
  for (size_t i = 0; i < inputs && inputs == count; i++) name[i] = vn_plan_input(s->plan, i).name;
  return vn_channels_parse(vn_plan_meta(s->plan, "vnet.channels"),
                           vn_plan_meta(s->plan, "vnet.intensity"),
                           inputs == count && count > 1 ? name : NULL, count, &s->channels, diag);
}

/* Numbers in the metadata are read in our own float mode, as all that follows from them. */
static enum vn_status metas_read(struct vn_segmenter *s, size_t channels, struct vn_diag *diag) {
  const vn_float_mode host = vn_float_mode_enter();
  enum vn_status status = spacing_read(s, diag);
  if (!status) status = channels_read(s, channels, diag);
  if (!status)
    status = vn_palette_parse(vn_plan_meta(s->plan, "vnet.labels"), s->classes, &s->palette, diag);
  if (!status)
    status = vn_expect_parse(vn_plan_meta(s->plan, "vnet.expect"), s->classes, &s->expect, diag);
  if (!status)
    status = vn_foreground_parse(vn_plan_meta(s->plan, "vnet.foreground"), &s->foreground, diag);
  if (!status)
    status = vn_validation_parse(vn_plan_meta(s->plan, "vnet.validation_dice"), s->classes,
                                 &s->validation_dice, diag);
  vn_float_mode_restore(host);
  return status;
}

static enum vn_status segmenter_fill(struct vn_segmenter *s, const struct vn_exec_options *options,
                                     struct vn_diag *diag) {
  struct vn_exec_options mine;
  size_t channels;
  enum vn_status status = vn_options_take(&mine, sizeof mine, options, "vn_exec_options", diag);
  if (!status) status = vn_exec_open(s->plan, options, &s->exec, diag);
  if (!status) status = inputs_check(s, &channels, diag);
  if (!status) status = output_choose(s, diag);
  if (!status) status = metas_read(s, channels, diag);
  if (status) return status;
  s->memory_limit_bytes = mine.memory_limit_bytes;
  vn_decision_take(&s->decision, &s->palette);
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
  for (size_t i = 0; i < s->others; i++) vn_segmenter_close(&s->other[i]);
  free(s->other);
  vn_channels_close(&s->channels);
  vn_decision_close(&s->decision);
  vn_palette_close(&s->palette);
  vn_expect_close(&s->expect);
  free(s->validation_dice);
  vn_exec_close(&s->exec);
  free(s);
  *segmenter = NULL;
}

/* Which labels are each other's mirror may be known to one model of several: then all know it. */
static void sides_share(struct vn_segmenter *s) {
  const struct vn_palette *from = NULL;
  for (size_t i = 0; i <= s->others && !from; i++)
    if (vn_segmenter_model(s, i)->palette.sided) from = &vn_segmenter_model(s, i)->palette;
  for (size_t i = 0; i <= s->others && from; i++) {
    struct vn_segmenter *to = vn_segmenter_model(s, i);
    for (size_t label = 0; label < to->classes; label++)
      to->palette.entries[label].mirror = from->entries[label].mirror;
    to->palette.sided = true;
    vn_decision_take(&to->decision, &to->palette);
  }
}

enum vn_status vn_segmenter_add(struct vn_segmenter *s, struct vn_segmenter **other,
                                struct vn_diag *diag) {
  if (*other == s || (*other)->others)
    return vn_fail(diag, VN_E_ARGUMENT, "a segmenter that is averaged already");
  enum vn_status status = vn_average_check(s, *other, diag);
  if (status) return status;
  struct vn_segmenter **more = realloc(s->other, (s->others + 1) * sizeof *more);
  if (!more) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  s->other = more;
  s->other[s->others++] = *other;
  sides_share(s);
  *other = NULL;
  return VN_OK;
}

/* ---- questions ---- */

uint64_t vn_segmenter_exec_bytes(const struct vn_segmenter *s) {
  struct vn_exec_info info = vn_exec_info(s->exec);
  return info.arena_bytes + info.scratch_bytes + info.packed_bytes;
}

enum vn_status vn_segmenter_info(const struct vn_segmenter *s, struct vn_segmenter_info *info,
                                 struct vn_diag *diag) {
  const char *intensity = vn_plan_meta(s->plan, "vnet.intensity");
  struct vn_buffer in = vn_exec_input(s->exec, 0);
  struct vn_segmenter_info mine = {
      .channels = s->channels.count,
      .labels = s->classes,
      .orientation = vn_plan_meta(s->plan, "vnet.orientation"),
      .intensity = intensity ? intensity : "none",
      .named = vn_plan_meta(s->plan, "vnet.labels") != NULL,
      .regions = vn_decision_regions(&s->decision),
      .validation_dice = s->others ? NULL : s->validation_dice,
  };
  for (size_t i = 0; i <= s->others; i++)
    mine.memory_bytes += vn_segmenter_exec_bytes(vn_segmenter_model(s, i));
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

struct vn_channel_info vn_segmenter_channel(const struct vn_segmenter *s, size_t index) {
  const struct vn_channel_rule *of = &s->channels.of[index];
  return (struct vn_channel_info){.name = of->name, .intensity = of->intensity};
}

struct vn_exec *vn_segmenter_exec(const struct vn_segmenter *s) {
  return s->exec;
}

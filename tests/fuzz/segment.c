/* Images and a model's metadata to labels: the input begins with lines `key=value`, up to an empty
 * one; then come choices, and what is left are voxels. The network is one pointwise convolution. */
#include "fuzz.h"

#include "plan_builder.h"
#include "vnet_segment.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TEXT_MOST = 2048, LINES_MOST = 12, AXIS_MOST = 12, MEMORY_MOST = 1 << 23 };

static const size_t voxel_bytes[] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};

/* ---- the plan ---- */

static void take_metas(struct fuzz_bytes *bytes, struct plan_builder *b) {
  char text[TEXT_MOST + 1], *line = text;
  size_t size = bytes->left < TEXT_MOST ? bytes->left : TEXT_MOST;
  memcpy(text, bytes->at, size);
  text[size] = '\0';
  for (size_t lines = 0; lines < LINES_MOST; lines++) {
    char *end = strchr(line, '\n'), *value = strchr(line, '=');
    if (!end || !value || value > end) break;
    *end = *value = '\0';
    pb_meta(b, line, value + 1);
    line = end + 1;
  }
  size_t used = (size_t)(line - text) + (*line == '\n');
  if (used > size) used = size;
  bytes->at += used;
  bytes->left -= used;
}

static void *make_plan(struct fuzz_bytes *bytes, size_t *channels, size_t *labels, size_t *size) {
  static const uint32_t meanings[] = {VN_END_UNSAID, VN_END_REGIONS, VN_END_FOREGROUND,
                                      VN_END_SCORES, VN_END_SOFTMAX, VN_END_LOGSOFTMAX};
  const uint32_t meaning = meanings[bytes->left % 6];
  struct plan_builder b;
  pb_start(&b);
  take_metas(bytes, &b);
  *channels = fuzz_take(bytes, 4) == 1 ? 2 : 1;
  size_t outputs = fuzz_take_in(bytes, 1, 4), in[VN_AXES] = {1, *channels}, out[VN_AXES];
  const bool ground = meaning == VN_END_REGIONS || meaning == VN_END_FOREGROUND;
  *labels = ground || outputs == 1 ? outputs + 1 : outputs;
  for (int a = VN_D; a < VN_AXES; a++) in[a] = fuzz_take_in(bytes, 1, 6);
  memcpy(out, in, sizeof out);
  out[VN_C] = outputs;
  uint32_t x = pb_tensor(&b, in, 0, 1), y = pb_tensor(&b, out, 0, 1), z = pb_tensor(&b, out, 0, 1);
  pb_conv(&b, VN_OP_CONV3D, x, y, 1, 1, 0, 1);
  pb_step(&b, VN_OP_SOFTMAX, y, z)->u.axis.axis = VN_C;
  pb_port(&b, "scan", x, 0);
  pb_port(&b, "scores", fuzz_take(bytes, 2) ? y : z, 1);
  pb_end(&b, meaning, (uint32_t)outputs, 0.4f);
  return pb_finish(&b, size);
}

/* ---- the image ---- */

static double take_real(struct fuzz_bytes *bytes) {
  static const double reals[] = {
      0, 1, -1, 2, 0.5, -0.1, 1e-3, 31, 1e30, -1e-300, 1e308, __builtin_inf(), __builtin_nan("")};
  size_t kind = fuzz_take(bytes, 40);
  if (kind < sizeof reals / sizeof *reals) return reals[kind];
  return ((double)fuzz_take(bytes, 1 << 16) - (1 << 15)) / 1024;
}

static void take_affine(struct fuzz_bytes *bytes, struct vn_image *image) {
  size_t plain = fuzz_take(bytes, 4); /* a scan's axes, turned and stretched, or anything */
  for (size_t i = 0; i < 3; i++)
    for (size_t j = 0; j < 4; j++)
      if (!plain)
        image->affine[i][j] = take_real(bytes);
      else if ((i + plain) % 3 == j)
        image->affine[i][j] = (double)(1 + fuzz_take(bytes, 16)) / (fuzz_take(bytes, 2) ? 4 : -4);
}

static void take_image(struct fuzz_bytes *bytes, struct vn_image *image) {
  size_t at = 1;
  *image = (struct vn_image){.size = sizeof *image,
                             .type = (enum vn_voxel)fuzz_take(bytes, 10),
                             .world = (enum vn_world)fuzz_take(bytes, 3)};
  for (int i = 0; i < 3; i++) image->dim[i] = fuzz_take_in(bytes, 1, AXIS_MOST);
  take_affine(bytes, image);
  if (fuzz_take(bytes, 4) == 1) {
    image->slope = take_real(bytes);
    image->inter = take_real(bytes);
  }
  if (fuzz_take(bytes, 4) == 1) /* k fastest */
    for (int i = 2; i >= 0; at *= image->dim[i--])
      image->stride[i] = (ptrdiff_t)(at * voxel_bytes[image->type]);
}

/* Of just the image's size; the input's bytes again and again. */
static void *take_voxels(const struct fuzz_bytes *bytes, const struct vn_image *image) {
  size_t size = image->dim[0] * image->dim[1] * image->dim[2] * voxel_bytes[image->type];
  uint8_t *voxels = calloc(1, size);
  if (!voxels) fuzz_broken("out of memory");
  for (size_t i = 0; i < size && bytes->left; i++) voxels[i] = bytes->at[i % bytes->left];
  return voxels;
}

/* ---- the run ---- */

/* What would take long is legal; it is stopped. */
static int too_long(void *context, double fraction) {
  clock_t *start = context;
  (void)fraction;
  return clock() - *start > CLOCKS_PER_SEC / 20;
}

static void segment(struct fuzz_bytes *bytes, struct vn_segmenter *segmenter, size_t channels,
                    size_t labels) {
  struct vn_image image, other;
  struct vn_diag diag = {""};
  clock_t start = clock();
  const size_t kind = bytes->left;
  take_image(bytes, &image);
  struct vn_segment_options options = {.size = sizeof options,
                                       .overlap = fuzz_take(bytes, 4) ? 0 : take_real(bytes),
                                       .weighting = (enum vn_weighting)fuzz_take(bytes, 2),
                                       .every_window = fuzz_take(bytes, 2),
                                       .replace_nan = fuzz_take(bytes, 2),
                                       .largest_component = fuzz_take(bytes, 2),
                                       .min_volume_ml = fuzz_take(bytes, 4) ? 0 : take_real(bytes),
                                       .match_grids = kind % 4 > 0,
                                       .progress = too_long,
                                       .progress_context = &start};
  for (int i = 0; i < 3; i++) options.mirror[i] = fuzz_take(bytes, 4) == 1;
  size_t voxels = image.dim[0] * image.dim[1] * image.dim[2];
  bool probabilities = fuzz_take(bytes, 2);
  double soft_ml[5];
  struct vn_label_map map = {.size = sizeof map,
                             .elem_bytes = 1,
                             .data = malloc(voxels),
                             .probabilities = probabilities ? malloc(voxels * labels * 4) : NULL,
                             .probability = VN_PROBABILITY_F32,
                             .soft_ml = kind % 2 ? soft_ml : NULL};
  struct vn_segment_report report = {.size = sizeof report};
  struct vn_measure measures[5];
  struct vn_segmenter_info info = {.size = sizeof info};
  vn_segmenter_info(segmenter, &info, &diag);
  if (info.labels != labels || info.channels != channels)
    fuzz_broken("%zu labels of %zu channels", info.labels, info.channels);
  map.regions = info.regions && kind % 3 ? malloc(voxels * info.regions) : NULL;
  image.voxels = take_voxels(bytes, &image);
  other = image;
  other.affine[kind % 3][kind % 4] += (double)(kind % 5) / 8;
  if (other.dim[kind % 3] > 1) other.dim[kind % 3] -= kind % 2;
  const struct vn_image *images[] = {&image, &other};
  enum vn_status status = vn_segment(segmenter, images, channels, &options, &map, &report, &diag);
  if (status == VN_E_MEMORY && info.spacing_mm[0] == 0) /* no grid of the model's own */
    fuzz_broken("a run of %zu voxels is refused: %s", voxels, diag.text);
  fuzz_judge(status, &diag);
  for (size_t i = 0; !status && i < voxels; i++)
    if (((uint8_t *)map.data)[i] >= labels) fuzz_broken("a label that the network does not have");
  for (size_t i = 0; !status && map.soft_ml && i < labels; i++)
    if (soft_ml[i] < 0) fuzz_broken("a soft volume of %g ml", soft_ml[i]);
  if (!status && vn_measure_labels(&image, &map, labels, measures, &diag))
    fuzz_broken("labels cannot be measured: %s", diag.text);
  free(map.data);
  for (size_t i = 0; !status && map.regions && i < voxels * info.regions; i++)
    if (((uint8_t *)map.regions)[i] > 1) fuzz_broken("a voxel that is neither inside nor outside");
  free(map.probabilities);
  free(map.regions);
  free((void *)(uintptr_t)image.voxels);
}

/* Averages the plan with itself. */
static void average(const struct vn_plan *plan, const struct vn_exec_options *options,
                    struct vn_segmenter *segmenter) {
  struct vn_segmenter *other = NULL;
  struct vn_diag diag = {""};
  if (vn_segmenter_open(plan, options, &other, &diag)) return;
  if (vn_segmenter_add(segmenter, &other, &diag))
    fuzz_broken("a model does not go together with itself: %s", diag.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const struct vn_exec_options options = {
      .size = sizeof options, .threads = 1, .memory_limit_bytes = MEMORY_MOST};
  struct fuzz_bytes bytes = {data, size};
  struct vn_plan *plan;
  struct vn_segmenter *segmenter = NULL;
  struct vn_diag diag = {""};
  size_t channels, labels, plan_bytes;
  void *made = make_plan(&bytes, &channels, &labels, &plan_bytes);
  if (vn_plan_open_memory(made, plan_bytes, &plan, &diag))
    fuzz_broken("a legal plan is refused: %s", diag.text);
  enum vn_status status = vn_segmenter_open(plan, &options, &segmenter, &diag);
  if (diag.text[0] && status == VN_E_INTERNAL) fuzz_judge(status, &diag);
  if (!status && bytes.left % 5 == 0) average(plan, &options, segmenter);
  if (!status) segment(&bytes, segmenter, channels, labels);
  vn_segmenter_close(&segmenter);
  vn_plan_close(&plan);
  free(made);
  return 0;
}

/* See render.h. */
#include "render.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "os.h"
#include "part.h"
#include "printed.h"
#include "scan.h"
#include "source.h"
#include "vnet_scan.h"

struct rendering {
  const struct vnt_options *options;
  struct vnt_labels *labels;
  struct vnt_samples samples;
  struct vn_pool *pool;
  uint16_t value_of[VNT_CLASSES_MOST]; /* of each class and of VNT_IGNORED */
  /* Of one sample: */
  float *image;
  uint8_t *target;
  uint16_t *map;
};

/* Voxels out of view are background, and a file of labels holds 32768 of them. */
static void values_check(const struct rendering *r) {
  const char *table = r->options->label_table;
  if (r->labels->class_of[r->value_of[0]])
    cli_fatal(VN_E_UNSUPPORTED, "%s: no value is class 0, which is the background's", table);
  for (size_t c = 0; c < VNT_CLASSES_MOST; c++)
    if (r->value_of[c] > INT16_MAX)
      cli_fatal(VN_E_UNSUPPORTED,
                "%s: values of a file of labels are at most %d, and no such one is "
                "class %zu",
                table, INT16_MAX, c);
}

static void samples_open(struct rendering *r) {
  const struct vnt_options *o = r->options;
  struct vn_diag diag;
  cli_check(o->label_table ? vnt_labels_read(o->label_table, &r->labels, &diag)
                           : vnt_labels_plain(2, -1, &r->labels, &diag),
            &diag);
  const struct vnt_samples_spec spec = {
      .labels = o->labels,
      .contrast = (enum vnt_contrast)o->contrast,
      .patch = o->patch,
      .spacing_mm = {o->spacing_mm[2], o->spacing_mm[1], o->spacing_mm[0]},
      .classes = r->labels,
  };
  cli_check(vn_pool_open(o->threads ? o->threads : vn_os_cores(), &r->pool, &diag), &diag);
  cli_check(vnt_samples_open(&spec, r->pool, &r->samples, &diag), &diag);
  for (int value = VNT_VALUES - 1; value >= 0; value--)
    if (r->labels->class_of[value] >= 0) r->value_of[r->labels->class_of[value]] = (uint16_t)value;
  values_check(r);
  r->image = malloc(r->samples.voxels * sizeof *r->image);
  r->target = malloc(r->samples.voxels);
  r->map = malloc(r->samples.voxels * sizeof *r->map);
  if (!r->image || !r->target || !r->map) cli_fatal(VN_E_MEMORY, "out of memory");
}

/* The scan is written as the probability of one label: a series of a single volume. */
static void files_write(const struct rendering *r, const struct vn_label_map *map,
                        uint64_t number) {
  const struct vnt_options *o = r->options;
  struct vn_image grid = vnt_array_image(r->image, o->patch);
  struct vn_diag diag;
  struct cli_output output;
  char name[64];
  grid.world = VN_WORLD_RAS;
  for (int a = 0; a < 3; a++) grid.affine[a][a] = o->spacing_mm[a];
  struct vn_scan_result result = {
      .size = sizeof result, .image = &grid, .map = map, .labels = 1, .description = "rendered"};
  snprintf(name, sizeof name, "/%llu.nii.gz", (unsigned long long)number);
  char *path = cli_joined(o->output, name, "");
  cli_output_open(&output, path);
  cli_check(vn_scan_write_probabilities(output.fd, path, &result, &diag), &diag);
  cli_output_commit(&output);
  free(path);
  snprintf(name, sizeof name, "/%llu-label.nii.gz", (unsigned long long)number);
  path = cli_joined(o->output, name, "");
  for (size_t c = 0; c < VNT_CLASSES_MOST; c++)
    if (r->value_of[c] >= result.labels) result.labels = (size_t)r->value_of[c] + 1;
  cli_check(vn_scan_save_labels(path, &result, &diag), &diag);
  free(path);
}

static void sample_write(const struct rendering *r, uint64_t index) {
  struct vn_diag diag;
  cli_check(
      vnt_samples_make(&r->samples, r->options->seed, index, r->pool, r->image, r->target, &diag),
      &diag);
  for (size_t i = 0; i < r->samples.voxels; i++) r->map[i] = r->value_of[r->target[i]];
  for (size_t i = 0; i < r->samples.voxels; i++) {
    const uint16_t level = (uint16_t)(fminf(fmaxf(r->image[i], 0), 1) * 65535 + 0.5F);
    memcpy((char *)r->image + i * sizeof level, &level, sizeof level); /* behind what is read */
  }
  const struct vn_label_map map = {.size = sizeof map,
                                   .data = r->map,
                                   .elem_bytes = 2,
                                   .probabilities = r->image,
                                   .probability = VN_PROBABILITY_U16};
  files_write(r, &map, index + 1);
}

static void list_write(const struct vnt_options *o) {
  struct vn_printed text;
  struct vn_diag diag;
  struct cli_output output;
  FILE *out = vn_printed_open(&text);
  if (out) fputs("image,label,split\n", out);
  for (uint64_t i = 1; out && i <= o->render; i++)
    fprintf(out, "%llu.nii.gz,%llu-label.nii.gz,validation\n", (unsigned long long)i,
            (unsigned long long)i);
  if (!vn_printed_close(out, &text)) cli_fatal(VN_E_MEMORY, "out of memory");
  char *path = cli_joined(o->output, "/cases.csv", "");
  cli_output_open(&output, path);
  cli_check(vn_part_write(output.fd, text.text, strlen(text.text), &diag), &diag);
  cli_output_commit(&output);
  free(text.text);
  free(path);
}

void vnt_render(const struct vnt_options *options) {
  struct rendering r = {.options = options};
  samples_open(&r);
  if (mkdir(options->output, 0777))
    cli_fatal(vn_io_status(errno), "%s: %s", options->output, strerror(errno));
  for (uint64_t i = 0; i < options->render; i++) sample_write(&r, i);
  list_write(options);
  free(r.image);
  free(r.target);
  free(r.map);
  vnt_samples_close(&r.samples);
  vn_pool_close(&r.pool);
  vnt_labels_close(&r.labels);
}

/* See plan.h. */
#include "plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "images.h"
#include "labels.h"
#include "models/build.h"
#include "net.h"

enum { PATCH_MOST = 128, FOREGROUND_MOST = 20000 }; /* voxels of a case */

struct survey {
  const struct vnt_options *options;
  struct vnt_list list;
  double *spacing_mm[3], *length_mm[3]; /* d h w, [cases], sorted in the end */
  size_t n_without;
  struct {
    double *labelled; /* intensities of labelled voxels */
    size_t n_labelled;
    bool ct;
  } channel[VNT_CHANNELS_MOST];
  bool seen[VNT_VALUES];
};

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double quantile(const double *sorted, size_t count, double part) {
  return count ? sorted[(size_t)(part * (double)(count - 1) + 0.5)] : 0;
}

static void *memory_take(size_t count, size_t size) {
  void *p = calloc(count + 1, size);
  if (!p) cli_fatal(VN_E_MEMORY, "out of memory");
  return p;
}

/* ---- looking ---- */

static void case_check(const struct survey *s, const struct vnt_list_row *row,
                       enum vn_status status, const struct vn_diag *diag) {
  if (status)
    cli_fatal(status, "%s, line %zu: %s", vnt_path_end(s->options->plan), row->line, diag->text);
}

static bool is_labelled(float value) {
  return value > 0 && value < VNT_VALUES;
}

/* Loads the label map; returns which of its labelled voxels are looked at: every so many. */
static size_t labels_look(struct survey *s, const struct vnt_list_row *row,
                          const struct vnt_images *images, struct vnt_scan *map) {
  struct vn_diag diag;
  case_check(s, row, vnt_scan_open(row->label, map, &diag), &diag);
  case_check(s, row, vnt_grids_compare(&images->channel[0].image, &map->image, row->label, &diag),
             &diag);
  case_check(s, row, vnt_scan_load(map, NULL, &diag), &diag);
  const float *values = vnt_scan_voxels(map);
  size_t found = 0;
  for (size_t i = 0; i < vn_image_elems(&map->image); i++) {
    if (values[i] >= 0 && values[i] < VNT_VALUES) s->seen[(int)values[i]] = true;
    found += is_labelled(values[i]);
  }
  return found / FOREGROUND_MOST + 1;
}

/* Filling counts, too: cases are often masked with air. A person reads what is proposed. */
static bool is_ct(const struct vn_image *image) {
  const struct vn_voxels voxels = vn_voxels_of(image);
  struct vn_survey survey;
  struct vn_diag diag;
  cli_check(vn_survey_take(image, &voxels, NULL, &survey, &diag), &diag);
  vn_survey_close(&survey);
  return vn_survey_ct(&survey);
}

/* `labels`: [d][h][w], NULL: there are none. */
static void channel_look(struct survey *s, size_t c, const struct vn_image *image,
                         const float *labels, size_t every) {
  const struct vn_voxels voxels = vn_voxels_of(image);
  const size_t *dim = image->dim;
  s->channel[c].ct = s->channel[c].ct || is_ct(image);
  if (!labels) return;
  float *row = memory_take(dim[0], sizeof *row);
  size_t at = 0;
  for (size_t r = 0; r < dim[1] * dim[2]; r++) {
    vn_image_row(image, &voxels, r % dim[1], r / dim[1], row);
    for (size_t i = 0; i < dim[0]; i++)
      if (is_labelled(labels[r * dim[0] + i]) && at++ % every == 0)
        s->channel[c].labelled[s->channel[c].n_labelled++] = (double)row[i];
  }
  free(row);
}

static void case_look(struct survey *s, size_t index) {
  const struct vnt_list_row *row = &s->list.row[index];
  struct vnt_images images;
  struct vnt_scan map = {0};
  struct vn_view view;
  struct vn_diag diag;
  case_check(s, row, vnt_images_open(&s->list, row, &images, &diag), &diag);
  if (vnt_scan_orient(&images.channel[0], s->options->orientation ? s->options->orientation : "RAS",
                      &view, &diag))
    cli_fatal(VN_E_UNSUPPORTED, "%s: %s", images.path[0], diag.text);
  for (int a = 0; a < 3; a++) {
    s->spacing_mm[a][index] = view.spacing_mm[a];
    s->length_mm[a][index] = view.spacing_mm[a] * (double)view.dim[a];
  }
  const size_t every = row->label ? labels_look(s, row, &images, &map) : 1;
  for (size_t c = 0; c < images.channels; c++) {
    case_check(s, row, vnt_scan_load(&images.channel[c], NULL, &diag), &diag);
    channel_look(s, c, &images.channel[c].image, map.image.voxels, every);
    vnt_images_drop(&images, c);
  }
  s->n_without += !row->label;
  vnt_images_close(&images);
  vnt_scan_close(&map);
  if (!s->options->quiet) cli_progress("cases", (double)(index + 1) / (double)s->list.count);
}

static void survey_open(struct survey *s) {
  struct vn_diag diag;
  cli_check(vnt_list_read(s->options->plan, &s->list, &diag), &diag);
  cli_check(vnt_images_count(&s->list, s->options->plan, &diag), &diag);
  const size_t count = s->list.count;
  if (!count) cli_fatal(VN_E_FORMAT, "%s: there is no case in it", s->options->plan);
  for (int a = 0; a < 3; a++) {
    s->spacing_mm[a] = memory_take(count, sizeof(double));
    s->length_mm[a] = memory_take(count, sizeof(double));
  }
  for (size_t c = 0; c < s->list.channels; c++)
    s->channel[c].labelled = memory_take(count * FOREGROUND_MOST, sizeof(double));
  for (size_t i = 0; i < count; i++) case_look(s, i);
  for (int a = 0; a < 3; a++) {
    qsort(s->spacing_mm[a], count, sizeof(double), ascending);
    qsort(s->length_mm[a], count, sizeof(double), ascending);
  }
  for (size_t c = 0; c < s->list.channels; c++)
    qsort(s->channel[c].labelled, s->channel[c].n_labelled, sizeof(double), ascending);
}

static void survey_close(struct survey *s) {
  for (size_t c = 0; c < s->list.channels; c++) free(s->channel[c].labelled);
  vnt_list_close(&s->list);
  for (int a = 0; a < 3; a++) {
    free(s->spacing_mm[a]);
    free(s->length_mm[a]);
  }
}

/* ---- proposing ---- */

struct proposal {
  double spacing_mm[3]; /* d h w */
  size_t scan[3], patch[3], width, classes;
  uint64_t bytes;
};

static void spacing_propose(const struct survey *s, struct proposal *p) {
  const size_t count = s->list.count;
  double finest = INFINITY;
  for (int a = 0; a < 3; a++) {
    p->spacing_mm[a] = quantile(s->spacing_mm[a], count, 0.5);
    finest = fmin(finest, p->spacing_mm[a]);
  }
  for (int a = 0; a < 3; a++) {
    if (p->spacing_mm[a] > 3 * finest) p->spacing_mm[a] = quantile(s->spacing_mm[a], count, 0.1);
    p->spacing_mm[a] = floor(p->spacing_mm[a] * 100 + 0.5) / 100;
    p->scan[a] = (size_t)ceil(quantile(s->length_mm[a], count, 0.5) / p->spacing_mm[a]);
  }
}

static void classes_propose(const struct survey *s, struct proposal *p) {
  p->classes = 1;
  for (size_t v = 1; v < VNT_VALUES; v++) p->classes += s->seen[v];
  if (p->classes < 2) p->classes = 2;
  if (s->options->classes) p->classes = s->options->classes;
  if (p->classes > VNT_CLASSES_MOST)
    cli_fatal(VN_E_UNSUPPORTED,
              "%s: the label maps have %zu values; --classes says how many of "
              "them are to be told apart",
              s->options->plan, p->classes);
}

static uint64_t bytes_of(const struct survey *s, const struct proposal *p) {
  const struct vnt_options *o = s->options;
  const uint64_t patch[3] = {p->patch[0], p->patch[1], p->patch[2]};
  struct vnc_spec spec;
  struct vnc_graph graph;
  struct vn_diag diag;
  uint64_t bytes = 0;
  cli_check(vnc_spec_init(&spec, o->member, (uint32_t)o->stages, &diag), &diag);
  spec.width = (uint32_t)p->width;
  spec.in_channels = (uint32_t)s->list.channels;
  spec.classes = (uint32_t)p->classes;
  cli_check(vnc_model_build(&spec, patch, 1, &graph, &diag), &diag);
  cli_check(vnt_net_measure(&graph, o->batch, &bytes, &diag), &diag);
  vnc_graph_free(&graph);
  return bytes;
}

/* The largest patch of this width that fits. */
static bool patch_propose(const struct survey *s, uint64_t limit, struct proposal *p) {
  const size_t step = (size_t)1 << (s->options->stages - 1);
  for (int a = 0; a < 3; a++) {
    const size_t most = p->scan[a] < PATCH_MOST ? p->scan[a] : PATCH_MOST;
    p->patch[a] = (most + step - 1) / step * step;
  }
  while ((p->bytes = bytes_of(s, p)) > limit) {
    int longest = -1;
    for (int a = 0; a < 3; a++)
      if (p->patch[a] > step &&
          (longest < 0 || p->patch[a] * p->scan[longest] > p->patch[longest] * p->scan[a]))
        longest = a;
    if (longest < 0) return false;
    p->patch[longest] -= step;
  }
  return true;
}

static void network_propose(const struct survey *s, uint64_t limit, struct proposal *p) {
  const size_t channels = s->list.channels;
  for (size_t width = 16; width >= 8; width /= 2) {
    p->width = (width + channels - 1) / channels * channels; /* as the network's first sum asks */
    bool half = patch_propose(s, limit, p);
    for (int a = 0; a < 3; a++)
      half = half && 2 * p->patch[a] >= (p->scan[a] < PATCH_MOST ? p->scan[a] : PATCH_MOST);
    if (half || (width == 8 && p->bytes <= limit)) return;
  }
  cli_fatal(VN_E_MEMORY, "not even the smallest patch fits %.0f MiB; see --memory-limit",
            (double)limit / 0x1p20);
}

/* ---- telling ---- */

static void cases_tell(const struct survey *s, const struct proposal *p) {
  bool ct = false;
  for (size_t c = 0; c < s->list.channels; c++) ct = ct || s->channel[c].ct;
  printf("# %zu cases", s->list.count);
  if (s->list.channels > 1) printf(" of %zu channels", s->list.channels);
  printf(", %zu without labels; in the median %zux%zux%zu voxels (d h w) of %g x %g x %g mm "
         "(x y z)%s.\n",
         s->n_without, p->scan[0], p->scan[1], p->scan[2], p->spacing_mm[2], p->spacing_mm[1],
         p->spacing_mm[0], ct ? ", CT" : "");
}

static void values_tell(const struct survey *s) {
  size_t values = 0, highest = 0;
  for (size_t v = 1; v < VNT_VALUES; v++)
    if (s->seen[v]) values++, highest = v;
  if (values == highest) return;
  printf("# Label maps have the values");
  for (size_t v = 1, told = 0; v < VNT_VALUES && told < 40; v++)
    if (s->seen[v]) printf(" %zu", v), told++;
  printf(", not 1 to %zu:\n# a table says what they mean (--label-table), in the place of "
         "--classes.\n",
         values);
}

/* A name in a shell's quotes. */
static void quoted_print(const char *text) {
  putchar('\'');
  for (; *text; text++)
    if (*text == '\'')
      fputs("'\\''", stdout);
    else
      putchar(*text);
  putchar('\'');
}

/* The window of a CT; false: it is none, or has none. */
static bool window_propose(const struct survey *s, size_t c, double window[2]) {
  const double *labelled = s->channel[c].labelled;
  const size_t count = s->channel[c].n_labelled;
  window[0] = quantile(labelled, count, 0.005);
  window[1] = quantile(labelled, count, 0.995);
  const bool wide = window[1] - window[0] >= 5;
  window[0] = floor(window[0] / 5) * 5;
  window[1] = ceil(window[1] / 5) * 5;
  return s->channel[c].ct && count && wide;
}

/* One rule for all channels, or one for each. */
static void intensity_print(const struct survey *s) {
  double window[2];
  bool any = false;
  for (size_t c = 0; c < s->list.channels; c++) any = any || window_propose(s, c, window);
  printf("  --intensity %s", any ? "'" : "zscore");
  for (size_t c = 0; c < s->list.channels && any; c++) {
    if (c) printf("; ");
    if (window_propose(s, c, window))
      printf("window %g %g", window[0], window[1]);
    else
      printf("zscore");
  }
  if (any) putchar('\'');
}

static void command_print(const struct survey *s, const struct proposal *p) {
  printf("# The network's step takes about %.0f MiB.\nvnet-train --data ",
         (double)p->bytes / 0x1p20);
  quoted_print(s->options->plan);
  printf(" --classes %zu --spacing '%g %g %g' \\\n", p->classes, p->spacing_mm[2], p->spacing_mm[1],
         p->spacing_mm[0]);
  intensity_print(s);
  printf(" --patch %zux%zux%zu --width %zu --stages %zu \\\n ", p->patch[0], p->patch[1],
         p->patch[2], p->width, s->options->stages);
  if (s->options->shaped) printf(" --member %s", s->options->member);
  if (s->options->batch > 1) printf(" --batch %zu", s->options->batch);
  if (s->options->orientation) printf(" --orientation %s", s->options->orientation);
  puts(" -o MODEL.onnx");
}

void vnt_plan_print(const struct vnt_options *options) {
  struct survey *s = memory_take(1, sizeof *s);
  struct proposal p = {0};
  s->options = options;
  survey_open(s);
  spacing_propose(s, &p);
  classes_propose(s, &p);
  network_propose(s, options->memory_bytes ? options->memory_bytes : vn_memory_free() / 2, &p);
  cases_tell(s, &p);
  values_tell(s);
  command_print(s, &p);
  cli_finish_stdout();
  survey_close(s);
  free(s);
}

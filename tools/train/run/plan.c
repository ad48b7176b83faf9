/* See plan.h. */
#include "plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cases_list.h"
#include "cli.h"
#include "labels.h"
#include "models/build.h"
#include "net.h"
#include "scan.h"

enum { PATCH_MOST = 128, CT_BELOW = -500, FOREGROUND_MOST = 20000 }; /* voxels of a case */

struct survey {
  const struct vnt_options *options;
  struct vnt_list list;
  double *spacing_mm[3], *length_mm[3]; /* d h w, [cases], sorted in the end */
  double *labelled;                     /* intensities of labelled voxels, of the first channel */
  size_t n_labelled, n_without;
  bool ct, seen[VNT_VALUES];
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

static void labels_look(struct survey *s, const struct vnt_scan *image, const char *path) {
  struct vnt_scan map;
  struct vn_diag diag;
  cli_check(vnt_scan_open(path, &map, &diag), &diag);
  cli_check(vnt_scan_load(&map, NULL, &diag), &diag);
  const size_t elems = vn_image_elems(&map.image);
  const float *values = vnt_scan_voxels(&map), *voxels = vnt_scan_voxels(image);
  size_t found = 0;
  if (elems != vn_image_elems(&image->image))
    cli_fatal(VN_E_FORMAT, "%s: it has not as many voxels as its image", path);
  for (size_t i = 0; i < elems; i++) {
    const bool known = values[i] >= 0 && values[i] < VNT_VALUES;
    if (known) s->seen[(int)values[i]] = true;
    found += known && values[i] > 0;
  }
  const size_t every = found / FOREGROUND_MOST + 1;
  for (size_t i = 0, at = 0; i < elems; i++)
    if (values[i] > 0 && values[i] < VNT_VALUES && at++ % every == 0)
      s->labelled[s->n_labelled++] = (double)voxels[i];
  vnt_scan_close(&map);
}

static void case_look(struct survey *s, size_t index) {
  const struct vnt_list_row *row = &s->list.row[index];
  struct vnt_scan image;
  struct vn_view view;
  struct vn_diag diag;
  cli_check(vnt_scan_open(row->image[0], &image, &diag), &diag);
  if (vnt_scan_orient(&image, s->options->orientation ? s->options->orientation : "RAS", &view,
                      &diag))
    cli_fatal(VN_E_UNSUPPORTED, "%s: %s", row->image[0], diag.text);
  for (int a = 0; a < 3; a++) {
    s->spacing_mm[a][index] = view.spacing_mm[a];
    s->length_mm[a][index] = view.spacing_mm[a] * (double)view.dim[a];
  }
  cli_check(vnt_scan_load(&image, NULL, &diag), &diag);
  const float *voxels = vnt_scan_voxels(&image);
  for (size_t i = 0; i < vn_image_elems(&image.image) && !s->ct; i++) s->ct = voxels[i] < CT_BELOW;
  if (row->label)
    labels_look(s, &image, row->label);
  else
    s->n_without++;
  vnt_scan_close(&image);
  if (!s->options->quiet) cli_progress("cases", (double)(index + 1) / (double)s->list.count);
}

static void survey_open(struct survey *s) {
  struct vn_diag diag;
  cli_check(vnt_list_read(s->options->plan, &s->list, &diag), &diag);
  const size_t count = s->list.count;
  if (!count) cli_fatal(VN_E_FORMAT, "%s: there is no case in it", s->options->plan);
  for (int a = 0; a < 3; a++) {
    s->spacing_mm[a] = memory_take(count, sizeof(double));
    s->length_mm[a] = memory_take(count, sizeof(double));
  }
  s->labelled = memory_take(2 * count * FOREGROUND_MOST, sizeof(double));
  for (size_t i = 0; i < count; i++) case_look(s, i);
  for (int a = 0; a < 3; a++) {
    qsort(s->spacing_mm[a], count, sizeof(double), ascending);
    qsort(s->length_mm[a], count, sizeof(double), ascending);
  }
  qsort(s->labelled, s->n_labelled, sizeof(double), ascending);
}

static void survey_close(struct survey *s) {
  vnt_list_close(&s->list);
  for (int a = 0; a < 3; a++) {
    free(s->spacing_mm[a]);
    free(s->length_mm[a]);
  }
  free(s->labelled);
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
  printf("# %zu cases, %zu without labels; in the median %zux%zux%zu voxels (d h w) of %g x %g x "
         "%g mm (x y z)%s.\n",
         s->list.count, s->n_without, p->scan[0], p->scan[1], p->scan[2], p->spacing_mm[2],
         p->spacing_mm[1], p->spacing_mm[0], s->ct ? ", CT" : "");
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

static void command_print(const struct survey *s, const struct proposal *p) {
  const double low = quantile(s->labelled, s->n_labelled, 0.005);
  const double high = quantile(s->labelled, s->n_labelled, 0.995);
  const bool window = s->ct && s->n_labelled && high - low >= 5;
  printf("# The network's step takes about %.0f MiB.\nvnet-train --data ",
         (double)p->bytes / 0x1p20);
  quoted_print(s->options->plan);
  printf(" --classes %zu --spacing '%g %g %g' \\\n", p->classes, p->spacing_mm[2], p->spacing_mm[1],
         p->spacing_mm[0]);
  if (window)
    printf("  --intensity 'window %g %g'", floor(low / 5) * 5, ceil(high / 5) * 5);
  else
    printf("  --intensity zscore");
  printf(" --patch %zux%zux%zu --width %zu --stages %zu \\\n  -o MODEL.onnx\n", p->patch[0],
         p->patch[1], p->patch[2], p->width, s->options->stages);
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

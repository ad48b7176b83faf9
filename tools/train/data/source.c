/* One source of samples over two kinds of data; see source.h. */
#include "source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "os.h"
#include "printed.h"
#include "vnet_scan.h"

/* ---- label maps ---- */

static bool is_map(const char *name) {
  return name[0] != '.' && vn_scan_writable(name);
}

struct reading {
  struct vnt_labelmap *maps;
  const struct vnt_labels *classes; /* NULL: brain or not */
  char *const *path;                /* [maps] */
  enum vn_status *status;           /* [maps] */
  struct vn_diag *diag;             /* [maps] */
};

static void map_open(void *context, size_t i, size_t slot) {
  struct reading *r = context;
  (void)slot;
  r->status[i] = vnt_labelmap_open(r->path[i], r->classes, &r->maps[i], &r->diag[i]);
}

/* The files of the folder in alphabetical order. */
static enum vn_status maps_list(const char *folder, char ***path, size_t *count,
                                struct vn_diag *diag) {
  char **names;
  const ptrdiff_t found = vn_os_folder_list(folder, is_map, &names);
  if (found < 0) return vn_fail(diag, vn_io_status(errno), "%.200s: %s", folder, strerror(errno));
  enum vn_status status = VN_OK;
  *path = calloc((size_t)found + 1, sizeof **path);
  *count = (size_t)found;
  for (size_t i = 0; i < *count; i++) {
    if (*path && asprintf(&(*path)[i], "%s/%s", folder, names[i]) < 0) {
      (*path)[i] = NULL;
      status = VN_E_MEMORY;
    }
    free(names[i]);
  }
  free(names);
  if (!*path || status) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  if (found == 0)
    return vn_fail(diag, VN_E_ARGUMENT, "%.200s: there is no label map in it", folder);
  return VN_OK;
}

/* What a checkpoint knows a file by; that it is there has been seen. `name` is its path within the
 * folder of the data, which may move: scans of many patients have one base name and one size. */
static void file_print(FILE *out, const char *path, const char *name) {
  struct stat file = {0};
  if (stat(path, &file)) file.st_size = 0;
  fprintf(out, "the file %s of %lld bytes\n", name, (long long)file.st_size);
}

static enum vn_status maps_read(struct vnt_samples *s, struct reading *r, struct vn_pool *pool,
                                FILE *list, struct vn_diag *diag) {
  s->maps = r->maps = calloc(s->n_maps, sizeof *s->maps);
  r->status = calloc(s->n_maps, sizeof *r->status);
  r->diag = calloc(s->n_maps, sizeof *r->diag);
  if (!s->maps || !r->status || !r->diag) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  vn_pool_run(pool, s->n_maps, map_open, r);
  for (size_t i = 0; i < s->n_maps; i++) {
    if (r->status[i]) return vn_fail(diag, r->status[i], "%s", r->diag[i].text);
    file_print(list, r->path[i], vn_os_name(r->path[i]));
  }
  return VN_OK;
}

/* Half of the samples are mirrored: a class that is one side of what has two becomes the other's,
 * which only the table can say. */
static enum vn_status sides_check(const struct vnt_labelmap *map, const struct vnt_labels *classes,
                                  struct vn_diag *diag) {
  for (size_t i = 0; i < map->structures; i++)
    for (size_t k = 0; k < map->structures; k++) {
      const int value = map->value[i], other = map->value[k];
      const int a = classes->class_of[value], b = classes->class_of[other];
      if (value > other || other != vnt_other_side(value)) continue;
      if (a == b || a == 0 || b == 0 || a == VNT_IGNORED || b == VNT_IGNORED) continue;
      if (classes->side_said[a] && classes->side_said[b]) continue;
      return vn_fail(diag, VN_E_ARGUMENT,
                     "--label-table: the classes %d and %d are the two sides of one structure "
                     "(values %d and %d), and half of the samples are mirrored: the column "
                     "'mirror' has to say which class is on a class's other side, if only itself",
                     a, b, value, other);
    }
  return VN_OK;
}

static enum vn_status maps_open(const struct vnt_samples_spec *spec, struct vn_pool *pool,
                                struct vnt_samples *s, FILE *list, struct vn_diag *diag) {
  struct reading r = {.classes = spec->classes->table ? spec->classes : NULL};
  enum vn_status status = maps_list(spec->labels, &s->map_path, &s->n_maps, diag);
  r.path = s->map_path;
  if (!status) status = maps_read(s, &r, pool, list, diag);
  for (size_t i = 0; i < s->n_maps && r.classes && !status; i++)
    status = sides_check(&s->maps[i], r.classes, diag);
  free(r.status);
  free(r.diag);
  vnt_generator_defaults(&s->generator, spec->patch, spec->spacing_mm[0]);
  vnt_generator_contrast(&s->generator, spec->contrast);
  if (r.classes) s->generator.flat = 0; /* in one grey no part is told from another */
  if (spec->classes->sided) s->generator.other_side = spec->classes->other_side;
  return status;
}

/* ---- cases ---- */

/* "zscore" or "window -160 240; zscore" to rules[at most VNT_CHANNELS_MOST]. */
static enum vn_status rules_parse(const char *text, struct vn_intensity_rule *rules, size_t *count,
                                  struct vn_diag *diag) {
  char rule[64];
  for (*count = 0; *count < VNT_CHANNELS_MOST; text++) {
    text += strspn(text, " ");
    const size_t length = strcspn(text, ";");
    size_t used = length;
    while (used && text[used - 1] == ' ') used--;
    struct vn_diag inner;
    snprintf(rule, sizeof rule, "%.*s", (int)(used < sizeof rule ? used : 0), text);
    if (vn_intensity_parse(rule, &rules[(*count)++], &inner))
      return vn_fail(diag, VN_E_ARGUMENT,
                     "--intensity: expected none, zscore, 'percentile A B' or 'window A B', which "
                     "', ct A B' may follow, or one for each channel between semicolons, got %.60s",
                     text);
    text += length;
    if (!*text) return VN_OK;
  }
  return vn_fail(diag, VN_E_ARGUMENT, "--intensity: more than %d rules", VNT_CHANNELS_MOST);
}

static void augment_choose(const struct vnt_samples_spec *spec, struct vnt_augment *augment) {
  if (spec->paper)
    vnt_augment_paper(augment);
  else
    vnt_augment_defaults(augment, spec->patch);
  for (int a = 0; a < 3; a++) augment->flip[a] = spec->flip[a] ? 0.5 : 0;
  if (spec->foreground >= 0) augment->foreground = spec->foreground;
  if (!spec->classes->sided) return;
  augment->other_side = spec->classes->other_side;
  augment->side_axis = 2 - (int)strcspn(spec->orientation, "LR"); /* of d h w */
}

/* Of those cases that are trained on, or that are validated on. */
static void cases_print(FILE *out, const struct vnt_list *list, bool validation) {
  for (size_t i = 0; i < list->count; i++) {
    const struct vnt_list_row *row = &list->row[i];
    if (row->validation != validation) continue;
    for (size_t f = 0; f < row->files; f++)
      file_print(out, row->image[f], vnt_list_name(list, row->image[f]));
    if (row->label) file_print(out, row->label, vnt_list_name(list, row->label));
    if (!row->label) fputs("no label\n", out);
  }
}

static enum vn_status validation_sum(struct vnt_samples *s, struct vn_diag *diag) {
  struct vn_printed text;
  FILE *out = vn_printed_open(&text);
  if (out) cases_print(out, &s->cases.list, true);
  if (!vn_printed_close(out, &text)) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  s->validation = (uint32_t)crc32_z(0, (const Bytef *)text.text, text.bytes);
  free(text.text);
  return VN_OK;
}

/* Reads the list of spec->data, or that of spec->validation. */
static enum vn_status cases_read(const struct vnt_samples_spec *spec, struct vn_pool *pool,
                                 struct vnt_samples *s, struct vn_diag *diag) {
  struct vn_intensity_rule rules[VNT_CHANNELS_MOST];
  struct vnt_cases_spec cases = {.intensity = rules,
                                 .labels = spec->classes,
                                 .channels = spec->channels,
                                 .fold = spec->fold,
                                 .folds = spec->folds,
                                 .validation = !spec->data,
                                 .store_path = spec->store_path,
                                 .memory_bytes = spec->memory_bytes};
  memcpy(cases.spacing_mm, spec->spacing_mm, sizeof cases.spacing_mm);
  if (strlen(spec->orientation) != 3)
    return vn_fail(diag, VN_E_ARGUMENT,
                   "--orientation: expected three letters such as RAS, got %.20s",
                   spec->orientation);
  memcpy(cases.orientation, spec->orientation, sizeof cases.orientation);
  enum vn_status status = rules_parse(spec->intensity, rules, &cases.n_intensity, diag);
  if (!status)
    status =
        vnt_cases_open(spec->data ? spec->data : spec->validation, &cases, pool, &s->cases, diag);
  s->cases.spec.intensity = NULL; /* which end here */
  return status ? status : validation_sum(s, diag);
}

static enum vn_status cases_open(const struct vnt_samples_spec *spec, struct vn_pool *pool,
                                 struct vnt_samples *s, FILE *list, struct vn_diag *diag) {
  const enum vn_status status = cases_read(spec, pool, s, diag);
  if (status) return status;
  const struct vnt_list *listed = &s->cases.list;
  s->channels = listed->channels;
  for (size_t c = 0; c < s->channels; c++)
    if (listed->given[c] != c) fprintf(list, "channel %zu is volume %zu\n", c, listed->given[c]);
  cases_print(list, listed, false);
  augment_choose(spec, &s->augment);
  return VN_OK;
}

/* What rendered scans train is validated on scans of one channel. */
static enum vn_status validation_read(const struct vnt_samples_spec *spec, struct vn_pool *pool,
                                      struct vnt_samples *s, struct vn_diag *diag) {
  const enum vn_status status = cases_read(spec, pool, s, diag);
  if (status || s->cases.list.channels == 1) return status;
  return vn_fail(diag, VN_E_UNSUPPORTED,
                 "%.200s: its scans have %zu channels, and those that are rendered have one",
                 spec->validation, s->cases.list.channels);
}

/* ---- either ---- */

enum vn_status vnt_samples_open(const struct vnt_samples_spec *spec, struct vn_pool *pool,
                                struct vnt_samples *samples, struct vn_diag *diag) {
  struct vn_printed list;
  *samples = (struct vnt_samples){.channels = 1};
  memcpy(samples->patch, spec->patch, sizeof samples->patch);
  samples->voxels = spec->patch[0] * spec->patch[1] * spec->patch[2];
  FILE *out = vn_printed_open(&list);
  if (!out) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  enum vn_status status = spec->labels ? maps_open(spec, pool, samples, out, diag)
                                       : cases_open(spec, pool, samples, out, diag);
  if (!status && spec->labels && spec->validation)
    status = validation_read(spec, pool, samples, diag);
  if (!vn_printed_close(out, &list) && !status)
    status = vn_fail(diag, VN_E_MEMORY, "out of memory");
  samples->list = list.text;
  return status;
}

void vnt_samples_close(struct vnt_samples *samples) {
  for (size_t i = 0; samples->maps && i < samples->n_maps; i++)
    vnt_labelmap_close(&samples->maps[i]);
  for (size_t i = 0; samples->map_path && i < samples->n_maps; i++) free(samples->map_path[i]);
  free(samples->map_path);
  free(samples->maps);
  vnt_cases_close(&samples->cases);
  free(samples->list);
  *samples = (struct vnt_samples){0};
}

enum vn_status vnt_samples_make(const struct vnt_samples *s, uint64_t seed, uint64_t index,
                                struct vn_pool *pool, float *image, uint8_t *target,
                                struct vn_diag *diag) {
  if (s->maps)
    return vnt_generate(&s->generator, s->maps, s->n_maps, seed, index, pool, image, target, diag);
  return vnt_cases_sample(&s->cases, &s->augment, s->patch, seed, index, pool, image, target, diag);
}

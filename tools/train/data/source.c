/* One source of samples over two kinds of data; see source.h. */
#include "source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "os.h"
#include "printed.h"
#include "vnet_scan.h"

/* ---- label maps ---- */

static bool is_map(const char *name) {
  return name[0] != '.' && vn_scan_writable(name);
}

struct reading {
  struct vnt_labelmap *maps;
  char *const *path;      /* [maps] */
  enum vn_status *status; /* [maps] */
  struct vn_diag *diag;   /* [maps] */
};

static void map_open(void *context, size_t i, size_t slot) {
  struct reading *r = context;
  (void)slot;
  r->status[i] = vnt_labelmap_open(r->path[i], &r->maps[i], &r->diag[i]);
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

/* What a checkpoint knows a file by; that it is there has been seen. */
static void file_print(FILE *out, const char *path) {
  struct stat file = {0};
  if (stat(path, &file)) file.st_size = 0;
  fprintf(out, "the file %s of %lld bytes\n", vn_os_name(path), (long long)file.st_size);
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
    file_print(list, r->path[i]);
  }
  return VN_OK;
}

static enum vn_status maps_open(const struct vnt_samples_spec *spec, struct vn_pool *pool,
                                struct vnt_samples *s, FILE *list, struct vn_diag *diag) {
  struct reading r = {0};
  enum vn_status status = maps_list(spec->labels, &s->map_path, &s->n_maps, diag);
  r.path = s->map_path;
  if (!status) status = maps_read(s, &r, pool, list, diag);
  free(r.status);
  free(r.diag);
  vnt_generator_defaults(&s->generator, spec->patch, spec->spacing_mm[0]);
  return status;
}

/* ---- cases ---- */

static enum vn_status cases_open(const struct vnt_samples_spec *spec, struct vn_pool *pool,
                                 struct vnt_samples *s, FILE *list, struct vn_diag *diag) {
  struct vnt_cases_spec cases = {.classes = spec->classes};
  struct vn_diag inner;
  memcpy(cases.spacing_mm, spec->spacing_mm, sizeof cases.spacing_mm);
  if (strlen(spec->orientation) != 3)
    return vn_fail(diag, VN_E_ARGUMENT,
                   "--orientation: expected three letters such as RAS, got %.20s",
                   spec->orientation);
  memcpy(cases.orientation, spec->orientation, sizeof cases.orientation);
  if (vn_intensity_parse(spec->intensity, &cases.intensity, &inner))
    return vn_fail(
        diag, VN_E_ARGUMENT,
        "--intensity: expected none, zscore, 'percentile A B' or 'window A B', got %.60s",
        spec->intensity);
  enum vn_status status = vnt_cases_open(spec->data, &cases, pool, &s->cases, diag);
  if (status) return status;
  for (size_t i = 0; i < s->cases.n_training; i++) {
    file_print(list, s->cases.items[s->cases.training[i]].image_path);
    file_print(list, s->cases.items[s->cases.training[i]].label_path);
  }
  if (spec->paper)
    vnt_augment_paper(&s->augment);
  else
    vnt_augment_defaults(&s->augment, spec->patch);
  for (int a = 0; a < 3; a++) s->augment.flip[a] = spec->flip[a] ? 0.5 : 0;
  return VN_OK;
}

/* ---- either ---- */

enum vn_status vnt_samples_open(const struct vnt_samples_spec *spec, struct vn_pool *pool,
                                struct vnt_samples *samples, struct vn_diag *diag) {
  struct vn_printed list;
  *samples = (struct vnt_samples){0};
  memcpy(samples->patch, spec->patch, sizeof samples->patch);
  samples->voxels = spec->patch[0] * spec->patch[1] * spec->patch[2];
  FILE *out = vn_printed_open(&list);
  if (!out) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  enum vn_status status = spec->labels ? maps_open(spec, pool, samples, out, diag)
                                       : cases_open(spec, pool, samples, out, diag);
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

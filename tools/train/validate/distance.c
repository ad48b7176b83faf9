/* Counts, surfaces, distances, percentiles; see distance.h. */
#include "distance.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

enum { LABELS_MOST = 256, MAPS = 2 };

/* Where a label is in both maps together, and how often. */
struct region {
  size_t low[3], high[3]; /* inclusive */
  uint64_t voxels[MAPS], both;
};

static void region_add(struct region *r, int map, const size_t at[3]) {
  const bool first = r->voxels[0] + r->voxels[1] == 0;
  r->voxels[map]++;
  for (int a = 0; a < 3; a++) {
    if (first || at[a] < r->low[a]) r->low[a] = at[a];
    if (first || at[a] > r->high[a]) r->high[a] = at[a];
  }
}

static void regions_find(const struct vnt_map_pair *maps, struct region *regions) {
  size_t at[3], i = 0;
  for (at[0] = 0; at[0] < maps->dim[0]; at[0]++)
    for (at[1] = 0; at[1] < maps->dim[1]; at[1]++)
      for (at[2] = 0; at[2] < maps->dim[2]; at[2]++, i++) {
        const uint8_t target = maps->target[i], predicted = maps->predicted[i];
        if (target) region_add(&regions[target], 0, at);
        if (predicted) region_add(&regions[predicted], 1, at);
        if (target == predicted) regions[target].both++;
      }
}

/* ---- squared distances to a surface, within a box ---- */

struct transform {
  const struct vnt_map_pair *maps;
  const uint8_t *map; /* the one whose surface it is */
  uint8_t label;
  size_t low[3], dim[3]; /* of the box */
  double *square_mm2;    /* [d][h][w] of the box */
  double *scratch;       /* 3 * longest for each job */
  size_t longest;
};

static bool on_surface(const struct transform *t, const uint8_t *map, const size_t at[3]) {
  const size_t *dim = t->maps->dim;
  const size_t step[3] = {dim[1] * dim[2], dim[2], 1};
  const uint8_t *voxel = map + at[0] * step[0] + at[1] * step[1] + at[2];
  if (*voxel != t->label) return false;
  for (int a = 0; a < 3; a++) {
    if (at[a] == 0 || *(voxel - step[a]) != t->label) return true;
    if (at[a] + 1 == dim[a] || voxel[step[a]] != t->label) return true;
  }
  return false;
}

/* The lower envelope of the parabolas that stand on a line's samples, read at the samples.
 * scratch: their values, the envelope's parabolas, and where each begins. */
static void line_transform(double *line, size_t count, size_t stride, double step_mm,
                           double *scratch, size_t longest) {
  double *value = scratch, *place = scratch + longest, *begin = scratch + 2 * longest;
  size_t parabolas = 0;
  for (size_t i = 0; i < count; i++) {
    const double height = line[i * stride], x = (double)i * step_mm;
    double from = -INFINITY;
    if (isinf(height)) continue;
    for (; parabolas; parabolas--) { /* drop what the new one hides */
      const double x0 = place[parabolas - 1], height0 = value[parabolas - 1];
      from = (height + x * x - height0 - x0 * x0) / (2 * (x - x0));
      if (from > begin[parabolas - 1]) break;
    }
    value[parabolas] = height;
    place[parabolas] = x;
    begin[parabolas] = parabolas ? from : -INFINITY;
    parabolas++;
  }
  if (!parabolas) return;
  for (size_t i = 0, p = 0; i < count; i++) {
    const double x = (double)i * step_mm;
    while (p + 1 < parabolas && begin[p + 1] < x) p++;
    line[i * stride] = value[p] + (x - place[p]) * (x - place[p]);
  }
}

/* 0 on the surface, and the two nearer axes: one plane of the box. */
static void plane_transform(void *context, size_t d) {
  const struct transform *t = context;
  const double *step_mm = t->maps->spacing_mm;
  double *plane = t->square_mm2 + d * t->dim[1] * t->dim[2];
  double *scratch = t->scratch + d * 3 * t->longest;
  for (size_t h = 0; h < t->dim[1]; h++) {
    double *row = plane + h * t->dim[2];
    for (size_t w = 0; w < t->dim[2]; w++) {
      const size_t at[3] = {t->low[0] + d, t->low[1] + h, t->low[2] + w};
      row[w] = on_surface(t, t->map, at) ? 0 : INFINITY;
    }
    line_transform(row, t->dim[2], 1, step_mm[2], scratch, t->longest);
  }
  for (size_t w = 0; w < t->dim[2]; w++)
    line_transform(plane + w, t->dim[1], t->dim[2], step_mm[1], scratch, t->longest);
}

static void rows_transform(void *context, size_t h) {
  const struct transform *t = context;
  for (size_t w = 0; w < t->dim[2]; w++)
    line_transform(t->square_mm2 + h * t->dim[2] + w, t->dim[0], t->dim[1] * t->dim[2],
                   t->maps->spacing_mm[0], t->scratch + h * 3 * t->longest, t->longest);
}

/* ---- percentiles of a surface's distances ---- */

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* numpy.percentile(values, 95): sorts them. */
static double percentile95(double *values, size_t count) {
  qsort(values, count, sizeof *values, ascending);
  const double place = 0.95 * (double)(count - 1);
  const size_t below = (size_t)place, above = below + 1 < count ? below + 1 : below;
  return values[below] + (place - (double)below) * (values[above] - values[below]);
}

/* At the surface of the label in `map`: their count, and (values not NULL) the distances. */
static size_t surface_gather(const struct transform *t, const uint8_t *map, double *values) {
  size_t count = 0, i = 0, at[3];
  for (at[0] = t->low[0]; at[0] < t->low[0] + t->dim[0]; at[0]++)
    for (at[1] = t->low[1]; at[1] < t->low[1] + t->dim[1]; at[1]++)
      for (at[2] = t->low[2]; at[2] < t->low[2] + t->dim[2]; at[2]++, i++) {
        if (!on_surface(t, map, at)) continue;
        if (values) values[count] = sqrt(t->square_mm2[i]);
        count++;
      }
  return count;
}

static void jobs_run(struct vn_exec *exec, size_t jobs, void (*fn)(void *context, size_t job),
                     void *context) {
  if (exec) vn_exec_parallel(exec, jobs, fn, context, NULL, NULL); /* unwatched, it cannot fail */
  for (size_t job = 0; !exec && job < jobs; job++) fn(context, job);
}

/* Of one surface's distances to the other. */
struct directed {
  double hd95_mm, sum_mm, count, near; /* near: how many are within the tolerance */
};

/* From the surface in one map to that in the other; false for lack of memory. */
static bool directed_find(struct transform *t, const uint8_t *from, const uint8_t *to,
                          struct vn_exec *exec, struct directed *d) {
  t->map = to;
  jobs_run(exec, t->dim[0], plane_transform, t);
  jobs_run(exec, t->dim[1], rows_transform, t);
  const size_t count = surface_gather(t, from, NULL);
  double *values = malloc(count * sizeof *values);
  if (!values) return false;
  surface_gather(t, from, values);
  *d = (struct directed){.hd95_mm = percentile95(values, count), .count = (double)count};
  for (size_t i = 0; i < count; i++) {
    d->sum_mm += values[i];
    d->near += values[i] <= t->maps->tolerance_mm;
  }
  free(values);
  return true;
}

static enum vn_status surfaces_compare(const struct vnt_map_pair *maps, size_t label,
                                       const struct region *r, struct vn_exec *exec,
                                       struct vnt_score *score, struct vn_diag *diag) {
  struct transform t = {.maps = maps, .label = (uint8_t)label};
  for (int a = 0; a < 3; a++) {
    t.low[a] = r->low[a];
    t.dim[a] = r->high[a] - r->low[a] + 1;
    t.longest = t.dim[a] > t.longest ? t.dim[a] : t.longest;
  }
  const size_t jobs = t.dim[0] > t.dim[1] ? t.dim[0] : t.dim[1];
  t.square_mm2 = calloc(t.dim[0] * t.dim[1] * t.dim[2], sizeof *t.square_mm2);
  t.scratch = calloc(jobs * t.longest, 3 * sizeof *t.scratch);
  struct directed there, back;
  const bool good = t.square_mm2 && t.scratch &&
                    directed_find(&t, maps->predicted, maps->target, exec, &there) &&
                    directed_find(&t, maps->target, maps->predicted, exec, &back);
  free(t.square_mm2);
  free(t.scratch);
  if (!good)
    return vn_fail(diag, VN_E_MEMORY, "out of memory for the distances of label %zu", label);
  score->hd95_mm = fmax(there.hd95_mm, back.hd95_mm);
  score->assd_mm = (there.sum_mm + back.sum_mm) / (there.count + back.count);
  score->nsd = (there.near + back.near) / (there.count + back.count);
  return VN_OK;
}

enum vn_status vnt_maps_score(const struct vnt_map_pair *maps, size_t classes, struct vn_exec *exec,
                              struct vnt_score *scores, struct vn_diag *diag) {
  struct region *regions = calloc(LABELS_MOST, sizeof *regions);
  if (!regions) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  regions_find(maps, regions);
  enum vn_status status = VN_OK;
  for (size_t label = 1; label < classes && label < LABELS_MOST && status == VN_OK; label++) {
    const struct region *r = &regions[label];
    struct vnt_score *score = &scores[label - 1];
    const uint64_t all = r->voxels[0] + r->voxels[1];
    *score = (struct vnt_score){1, 0, 0, 1, all};
    if (!all) continue;
    *score = (struct vnt_score){2 * (double)r->both / (double)all, NAN, NAN, 0, all};
    if (r->voxels[0] && r->voxels[1]) status = surfaces_compare(maps, label, r, exec, score, diag);
  }
  free(regions);
  return status;
}

/* Where a sample lies, and the sample; see cases.h. Which voxel of a label: its plane by the
 * counts, then the plane is counted through, which takes microseconds and no list of voxels. */
#include "cases.h"

#include <string.h>

enum { STREAM_PLACE = 32, STREAM_OTHER };

/* The `rank`-th voxel of `label` in the order of memory. */
static void voxel_find(const struct vnt_case *item, uint8_t label, uint64_t rank, size_t at[3]) {
  const size_t *dim = item->source.dim;
  const uint64_t *before = item->before + label * (dim[0] + 1);
  size_t low = 0, high = dim[0]; /* before[low] <= rank < before[high] */
  while (high - low > 1) {
    const size_t middle = low + (high - low) / 2;
    if (before[middle] <= rank)
      low = middle;
    else
      high = middle;
  }
  rank -= before[low];
  const uint8_t *row = item->source.target + low * dim[1] * dim[2];
  for (size_t h = 0;; h++, row += dim[2]) {
    size_t count = 0;
    for (size_t w = 0; w < dim[2]; w++) count += row[w] == label;
    if (rank >= count) {
      rank -= count;
      continue;
    }
    size_t w = 0;
    while (row[w] != label || rank-- > 0) w++;
    at[0] = low, at[1] = h, at[2] = w;
    return;
  }
}

static const struct vnt_case *place_draw(const struct vnt_cases *cases,
                                         const struct vnt_augment *augment, const size_t patch[3],
                                         struct vnt_random *r, struct vnt_patch *place) {
  const struct vnt_case *item =
      &cases->items[cases->training[vnt_random_below(r, cases->n_training)]];
  const size_t *dim = item->source.dim;
  size_t centre[3];
  const bool wanted = vnt_random_real(r, 0, 1) < (augment ? augment->foreground : 0);
  const bool centred = wanted && item->present;
  if (centred) {
    const uint8_t label = item->label[vnt_random_below(r, item->present)];
    const uint64_t count = item->before[label * (dim[0] + 1) + dim[0]];
    voxel_find(item, label, vnt_random_below(r, count), centre);
  }
  for (int i = 0; i < 3; i++) {
    place->size[i] = patch[i];
    if (dim[i] < patch[i]) {
      place->start[i] = -(ptrdiff_t)((patch[i] - dim[i]) / 2);
    } else if (centred) {
      const size_t start = centre[i] > patch[i] / 2 ? centre[i] - patch[i] / 2 : 0;
      place->start[i] = (ptrdiff_t)(start < dim[i] - patch[i] ? start : dim[i] - patch[i]);
    } else {
      place->start[i] = (ptrdiff_t)vnt_random_below(r, dim[i] - patch[i] + 1);
    }
  }
  return item;
}

size_t vnt_cases_place(const struct vnt_cases *cases, const struct vnt_augment *augment,
                       const size_t patch[3], uint64_t seed, uint64_t index,
                       struct vnt_patch *place) {
  struct vnt_random r = vnt_random_open(seed, index, STREAM_PLACE);
  return (size_t)(place_draw(cases, augment, patch, &r, place) - cases->items);
}

enum vn_status vnt_cases_sample(const struct vnt_cases *cases, const struct vnt_augment *augment,
                                const size_t patch[3], uint64_t seed, uint64_t index,
                                struct vn_pool *pool, float *image, uint8_t *target,
                                struct vn_diag *diag) {
  struct vnt_patch place;
  const size_t chosen = vnt_cases_place(cases, augment, patch, seed, index, &place);
  struct vnt_random r = vnt_random_open(seed, index, STREAM_OTHER);
  const struct vnt_source *other = NULL;
  if (cases->n_training > 1) {
    /* Any training case but the chosen one. */
    size_t at = vnt_random_below(&r, cases->n_training - 1);
    if (cases->training[at] >= chosen) at++;
    other = &cases->items[cases->training[at]].source;
  }
  return vnt_augment_apply(augment, &cases->items[chosen].source, other, &place, seed, index, pool,
                           image, target, diag);
}

/* See soft_volume.h. */
#include "soft_volume.h"

#include <stdlib.h>

#include "fail.h"
#include "size.h"

/* Of a plane's sums and its point's probabilities; planes that are summed at the same time share no
 * cache line. */
static size_t stride_of(size_t labels) {
  return (2 * labels + 15) / 8 * 8;
}

uint64_t vn_soft_volume_bytes(size_t labels, const struct vn_grid *grid) {
  return vn_times(vn_times(grid->dim[0], stride_of(labels)), sizeof(double));
}

/* What the taps take from each of their inputs, over all outputs. */
static double *shares_make(const struct vn_taps *taps, size_t inputs, size_t outputs) {
  double *share = calloc(inputs, sizeof *share);
  for (size_t i = 0; share && i < outputs; i++)
    for (size_t k = 0; k < taps->count; k++)
      share[taps->first[i] + k] += (double)taps->weight[i * taps->count + k];
  return share;
}

enum vn_status vn_soft_volume_open(const struct vn_decision *decision, const struct vn_grid *grid,
                                   struct vn_soft_volume *v, struct vn_diag *diag) {
  *v = (struct vn_soft_volume){
      .decision = decision, .grid = grid, .labels = vn_decision_labels(decision)};
  v->sum = calloc(grid->dim[0], stride_of(v->labels) * sizeof *v->sum);
  bool made = v->sum;
  for (int i = 0; i < 3; i++) {
    v->share[i] = shares_make(&grid->out[i], grid->dim[i], grid->view.dim[i]);
    made = made && v->share[i];
  }
  return made ? VN_OK : vn_fail(diag, VN_E_MEMORY, "out of memory");
}

void vn_soft_volume_close(struct vn_soft_volume *v) {
  for (int i = 0; i < 3; i++) free(v->share[i]);
  free(v->sum);
  *v = (struct vn_soft_volume){0};
}

/* A plan may say softmax of what is none. */
static double part_of(float score) {
  return score > 0 ? (double)score : 0;
}

/* In four parts, which a processor adds side by side. */
static double total_of(const float *scores, size_t count) {
  double part[4] = {0};
  size_t c = 0;
  for (; c + 4 <= count; c += 4)
    for (size_t k = 0; k < 4; k++) part[k] += part_of(scores[c + k]);
  for (; c < count; c++) part[0] += part_of(scores[c]);
  return part[0] + part[1] + (part[2] + part[3]);
}

static void row_add(const struct vn_soft_volume *v, const float *scores, double share, double *p,
                    double *sum) {
  const size_t channels = v->decision->channels;
  const bool already = v->decision->meaning == VN_MEANS_SOFTMAX;
  for (size_t w = 0; w < v->grid->dim[2]; w++, scores += channels) {
    double part = share * v->share[2][w];
    if (already) { /* and they add up to 1, but for rounding and for what clipped them */
      const double total = total_of(scores, channels);
      if (!(total > 0)) { /* of nothing, as decide.c has it */
        sum[0] += part;
        continue;
      }
      part /= total;
      for (size_t c = 0; c < channels; c++) sum[c] += part * part_of(scores[c]);
    } else {
      vn_decision_probabilities(v->decision, scores, p);
      for (size_t c = 0; c < v->labels; c++) sum[c] += part * p[c];
    }
  }
}

void vn_soft_volume_plane(void *volume, size_t d, const float *scores, size_t columns) {
  const struct vn_soft_volume *v = volume;
  double *sum = v->sum + d * stride_of(v->labels);
  for (size_t h = 0; h < v->grid->dim[1]; h++)
    row_add(v, scores + h * columns * v->decision->channels, v->share[0][d] * v->share[1][h],
            sum + v->labels, sum);
}

void vn_soft_volume_add(const struct vn_soft_volume *v, double voxel_ml, double *ml) {
  for (size_t d = 0; d < v->grid->dim[0]; d++)
    for (size_t c = 0; c < v->labels; c++) ml[c] += voxel_ml * v->sum[d * stride_of(v->labels) + c];
}

/* One pass over the rows of an image; see histogram.h. */
#include "histogram.h"

bool vn_bins_count(const struct vn_image *image, const struct vn_voxels *voxels,
                   const uint32_t *high, struct vn_stage *stage, double from, double to, float *row,
                   uint64_t *bins) {
  const size_t *dim = image->dim, rows = dim[1] * dim[2];
  memset(bins, 0, VN_BINS * sizeof *bins);
  for (size_t r = 0; r < rows; r++) {
    vn_image_row(image, voxels, r % dim[1], r / dim[1], row);
    for (size_t i = 0; i < dim[0]; i++) {
      const uint32_t key = vn_key_of(row[i]);
      if (!high)
        bins[key >> 16]++;
      else if (key >> 16 == *high)
        bins[key & 0xFFFF]++;
    }
    if (r % 64 == 0 && !vn_stage_tell(stage, from + (to - from) * (double)r / (double)rows))
      return false;
  }
  return true;
}

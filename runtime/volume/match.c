/* From one grid to another by their affines; see match.h. */
#include "match.h"

#include <math.h>

#include "fail.h"

enum { RATIO_MOST = 32, POINTS_MOST = 8 };
static const double SAME_VOXELS = 0.05;

/* From voxels of one grid to those of another: at[r] = m[r][0] i + m[r][1] j + m[r][2] k + m[r][3].
 */
struct route {
  double m[3][4];
};

static double cofactor(const double a[3][4], int r, int c) {
  const int r1 = (r + 1) % 3, r2 = (r + 2) % 3, c1 = (c + 1) % 3, c2 = (c + 2) % 3;
  return a[r1][c1] * a[r2][c2] - a[r1][c2] * a[r2][c1];
}

/* Of images that have been taken, whose affines have inverses. */
static struct route route_make(const struct vn_image *onto, const struct vn_image *image) {
  const double(*a)[4] = image->affine;
  double inverse[3][3], det = 0;
  struct route route;
  for (int c = 0; c < 3; c++) det += a[0][c] * cofactor(a, 0, c);
  for (int r = 0; r < 3; r++)
    for (int c = 0; c < 3; c++) inverse[r][c] = cofactor(a, c, r) / det;
  for (int r = 0; r < 3; r++)
    for (int c = 0; c < 4; c++) {
      double sum = 0;
      for (int k = 0; k < 3; k++)
        sum += inverse[r][k] * (onto->affine[k][c] - (c == 3 ? a[k][3] : 0));
      route.m[r][c] = sum;
    }
  return route;
}

static void route_go(const struct route *route, const double from[3], double to[3]) {
  for (int r = 0; r < 3; r++)
    to[r] = route->m[r][0] * from[0] + route->m[r][1] * from[1] + route->m[r][2] * from[2] +
            route->m[r][3];
}

/* How far, in mm, voxels of the same number lie from each other at most: at a corner. */
static double offset_mm(const struct vn_image *image, const struct vn_image *onto) {
  double most = 0;
  for (int corner = 0; corner < 8; corner++) {
    double square = 0;
    for (int r = 0; r < 3; r++) {
      double off = image->affine[r][3] - onto->affine[r][3];
      for (int c = 0; c < 3; c++)
        if (corner >> c & 1)
          off += (image->affine[r][c] - onto->affine[r][c]) * (double)(onto->dim[c] - 1);
      square += off * off;
    }
    most = fmax(most, sqrt(square));
  }
  return most;
}

static double finest_mm(const struct vn_image *image) {
  double mm[3];
  vn_image_spacing(image, mm);
  return fmin(mm[0], fmin(mm[1], mm[2]));
}

static bool dims_equal(const struct vn_image *a, const struct vn_image *b) {
  return memcmp(a->dim, b->dim, sizeof a->dim) == 0;
}

bool vn_grids_match(const struct vn_image *image, const struct vn_image *onto) {
  return image->world == onto->world && dims_equal(image, onto) &&
         offset_mm(image, onto) <= SAME_VOXELS * finest_mm(onto);
}

void vn_grids_tell(const struct vn_image *image, const struct vn_image *onto, char *text,
                   size_t size) {
  const size_t *d = image->dim, *o = onto->dim;
  if (!dims_equal(image, onto))
    snprintf(text, size, "has %zu x %zu x %zu voxels, and the first image %zu x %zu x %zu", d[0],
             d[1], d[2], o[0], o[1], o[2]);
  else if (image->world != onto->world)
    snprintf(text, size, "%s, and the first image %s",
             image->world ? "says how it lies" : "does not say how it lies",
             onto->world ? "does" : "does not");
  else
    snprintf(text, size, "lies up to %.3g mm from the first image's grid", offset_mm(image, onto));
}

/* Of one voxel of the second grid along its axis c, in voxels of the first. */
static double step_of(const struct route *route, int c) {
  return fmax(fabs(route->m[0][c]), fmax(fabs(route->m[1][c]), fabs(route->m[2][c])));
}

/* Is something of the box of these extents within the other one? Their own boxes are compared. */
static bool overlap(const struct route *route, const size_t from[3], const size_t to[3]) {
  double least[3] = {INFINITY, INFINITY, INFINITY}, most[3] = {-INFINITY, -INFINITY, -INFINITY};
  for (int corner = 0; corner < 8; corner++) {
    double at[3], there[3];
    for (int c = 0; c < 3; c++) at[c] = corner >> c & 1 ? (double)from[c] - 0.5 : -0.5;
    route_go(route, at, there);
    for (int r = 0; r < 3; r++) {
      least[r] = fmin(least[r], there[r]);
      most[r] = fmax(most[r], there[r]);
    }
  }
  for (int r = 0; r < 3; r++)
    if (!(most[r] > -0.5 && least[r] < (double)to[r] - 0.5)) return false;
  return true;
}

enum vn_status vn_match_check(const struct vn_image *image, const struct vn_image *onto,
                              struct vn_diag *diag) {
  const struct route route = route_make(onto, image), back = route_make(image, onto);
  if (image->world == VN_WORLD_UNKNOWN || onto->world == VN_WORLD_UNKNOWN)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "cannot be brought onto the first image's grid: %s does not say how it lies",
                   image->world == VN_WORLD_UNKNOWN ? "it" : "that image");
  for (int c = 0; c < 3; c++)
    if (!(step_of(&route, c) <= RATIO_MOST && step_of(&back, c) <= RATIO_MOST))
      return vn_fail(diag, VN_E_UNSUPPORTED,
                     "has voxels more than %d times as fine or coarse as the first image's: is its "
                     "unit right?",
                     RATIO_MOST);
  if (!overlap(&route, onto->dim, image->dim) || !overlap(&back, image->dim, onto->dim))
    return vn_fail(diag, VN_E_UNSUPPORTED, "shows nothing of what the first image shows");
  return VN_OK;
}

/* ---- values ---- */

struct sampling {
  const struct vn_image *image, *onto;
  const struct vn_voxels *voxels;
  struct route route;
  size_t points[3]; /* along i j k of a voxel of `onto` */
  float beyond;
  float *to;
};

/* The voxel before `x` and how far behind it that is; an axis of one voxel has no other. */
static size_t split(double x, size_t size, double *part) {
  x = fmin(fmax(x, 0), (double)(size - 1));
  size_t first = (size_t)x;
  if (first + 1 == size && first > 0) first--;
  *part = x - (double)first;
  return first;
}

static double value_at(const struct sampling *s, const double at[3]) {
  const struct vn_image *image = s->image;
  size_t first[3];
  double part[3], sum = 0;
  for (int r = 0; r < 3; r++) {
    if (!(at[r] >= -0.5 && at[r] <= (double)image->dim[r] - 0.5)) return (double)s->beyond;
    first[r] = split(at[r], image->dim[r], &part[r]);
  }
  const size_t pair = image->dim[0] > 1 ? 2 : 1;
  for (size_t k = 0; k < 2; k++)
    for (size_t j = 0; j < 2; j++) {
      const double weight = (k ? part[2] : 1 - part[2]) * (j ? part[1] : 1 - part[1]);
      float x[2] = {0, 0};
      if (weight == 0) continue;
      vn_voxels_row(s->voxels,
                    (ptrdiff_t)first[0] * image->stride[0] +
                        (ptrdiff_t)(first[1] + j) * image->stride[1] +
                        (ptrdiff_t)(first[2] + k) * image->stride[2],
                    image->stride[0], pair, x);
      sum += weight * ((1 - part[0]) * (double)x[0] + part[0] * (double)x[1]);
    }
  return sum;
}

static double point_of(size_t voxel, size_t point, size_t points) {
  return (double)voxel + ((double)point + 0.5) / (double)points - 0.5;
}

static float voxel_sample(const struct sampling *s, size_t i, size_t j, size_t k) {
  const size_t *n = s->points;
  double sum = 0, at[3];
  for (size_t z = 0; z < n[2]; z++)
    for (size_t y = 0; y < n[1]; y++)
      for (size_t x = 0; x < n[0]; x++) {
        const double from[3] = {point_of(i, x, n[0]), point_of(j, y, n[1]), point_of(k, z, n[2])};
        route_go(&s->route, from, at);
        sum += value_at(s, at);
      }
  return (float)(sum / (double)(n[0] * n[1] * n[2]));
}

static void row_sample(void *context, size_t row) {
  const struct sampling *s = context;
  const size_t *dim = s->onto->dim;
  float *to = s->to + row * dim[0];
  for (size_t i = 0; i < dim[0]; i++) to[i] = voxel_sample(s, i, row % dim[1], row / dim[1]);
}

enum vn_status vn_match_sample(const struct vn_image *image, const struct vn_voxels *voxels,
                               const struct vn_image *onto, float beyond, struct vn_stage *stage,
                               float *to, struct vn_diag *diag) {
  struct sampling s = {.image = image,
                       .onto = onto,
                       .voxels = voxels,
                       .route = route_make(onto, image),
                       .beyond = beyond,
                       .to = to};
  for (int c = 0; c < 3; c++)
    s.points[c] = (size_t)fmin(fmax(ceil(step_of(&s.route, c) - 0.01), 1), POINTS_MOST);
  return vn_stage_jobs(stage, onto->dim[1] * onto->dim[2], row_sample, &s, diag);
}

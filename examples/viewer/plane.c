/* Geometry and drawing of one plane; see plane.h. Used by pane.c, on the main thread.
 *
 * Slices are painted a pixel per voxel and scaled by cairo: the scan smoothly, labels not, because
 * a label between two labels is none. */
#include "plane.h"

#include <math.h>
#include <stdio.h>

/* ---- geometry ---- */

static double spacing(const struct vn_image *image, size_t axis) {
  double sum = 0;
  for (int row = 0; row < 3; row++) sum += pow(image->affine[row][axis], 2);
  return sum > 0 && isfinite(sum) ? sqrt(sum) : 1;
}

/* world[w]: the image's axis that is nearest to the world's axis w, each taken once. */
static void axes_match(const struct vn_image *image, size_t world[3]) {
  static const size_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                      {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  double best = -1;
  for (int order = 0; order < 6; order++) {
    double sum = 0;
    for (int w = 0; w < 3; w++) {
      size_t axis = orders[order][w];
      sum += fabs(image->affine[w][axis]) / spacing(image, axis);
    }
    if (!(sum > best + 1e-9)) continue;
    best = sum;
    for (int w = 0; w < 3; w++) world[w] = orders[order][w];
  }
}

void plane_layout(const struct scan *scan, enum plane_kind kind, struct plane *plane) {
  /* World axes across, down and through, and whether the screen runs against them. */
  static const struct {
    const char *name;
    int world[3];
    bool against[3];
    const char *letter;
  } kinds[PLANE_KINDS] = {{"Axial", {0, 1, 2}, {true, true, false}, "RLAP"},
                          {"Coronal", {0, 2, 1}, {true, true, false}, "RLSI"},
                          {"Sagittal", {1, 2, 0}, {true, true, false}, "APSI"}};
  const struct vn_image *image = &scan->image;
  static const char *const unoriented[] = {"Plane i, j", "Plane i, k", "Plane j, k"};
  bool known = image->world != VN_WORLD_UNKNOWN;
  size_t world[3] = {0, 1, 2};
  if (known) axes_match(image, world);
  plane->name = known ? kinds[kind].name : unoriented[kind];
  for (int i = 0; i < 3; i++) {
    int w = kinds[kind].world[i];
    size_t axis = plane->axis[i] = world[w];
    double slope = image->affine[w][axis];
    bool falls = image->world == VN_WORLD_LPS && w < 2 ? slope > 0 : slope < 0;
    plane->flip[i] = kinds[kind].against[i] != (known && falls);
    plane->vox[i] = image->dim[axis];
    plane->mm[i] = spacing(image, axis);
  }
  for (int i = 0; i < 4; i++) plane->letter[i] = known ? kinds[kind].letter[i] : 0;
}

static double position(const struct plane *plane, int i, double index) {
  return plane->flip[i] ? (double)plane->vox[i] - 1 - index : index;
}

size_t plane_slice(const struct plane *plane, const size_t vox[3]) {
  return 1 + (size_t)position(plane, THROUGH, (double)vox[plane->axis[THROUGH]]);
}

struct plane_fit plane_fit(const struct plane *plane, const struct view *view, double width,
                           double height) {
  const double margin = 0.96; /* of the area: the slice's edge shall be seen */
  double size[2] = {width, height};
  double scale = fmin(width / ((double)plane->vox[ACROSS] * plane->mm[ACROSS]),
                      height / ((double)plane->vox[DOWN] * plane->mm[DOWN]));
  struct plane_fit fit;
  for (int i = 0; i < 2; i++) {
    fit.scale[i] = margin * scale * view->zoom * plane->mm[i];
    double middle = position(plane, i, view->center[plane->axis[i]]) + 0.5;
    fit.origin[i] = size[i] / 2 - middle * fit.scale[i];
  }
  return fit;
}

void plane_at(const struct plane *plane, const struct plane_fit *fit, double x, double y,
              double vox[3]) {
  double place[2] = {x, y};
  for (int i = 0; i < 2; i++)
    vox[plane->axis[i]] = position(plane, i, (place[i] - fit->origin[i]) / fit->scale[i] - 0.5);
}

/* ---- drawing ---- */

/* How to walk through the slice: element of the pixel at the top left, steps right and down. */
struct walk {
  ptrdiff_t start, across, down;
};

static struct walk walk_slice(const struct plane *plane, const struct view *view) {
  const size_t *dim = view->scan->image.dim;
  ptrdiff_t step[3] = {1, (ptrdiff_t)dim[0], (ptrdiff_t)(dim[0] * dim[1])};
  ptrdiff_t by[2];
  size_t through = plane->axis[THROUGH];
  struct walk walk = {.start = (ptrdiff_t)view->cursor[through] * step[through]};
  for (int i = 0; i < 2; i++) {
    by[i] = step[plane->axis[i]];
    if (!plane->flip[i]) continue;
    walk.start += (ptrdiff_t)(plane->vox[i] - 1) * by[i];
    by[i] = -by[i];
  }
  walk.across = by[ACROSS];
  walk.down = by[DOWN];
  return walk;
}

static cairo_surface_t *slice_surface(const struct plane *plane, cairo_format_t format) {
  return cairo_image_surface_create(format, (int)plane->vox[ACROSS], (int)plane->vox[DOWN]);
}

static uint32_t *surface_row(cairo_surface_t *surface, size_t row) {
  return (uint32_t *)(void *)(cairo_image_surface_get_data(surface) +
                              row * (size_t)cairo_image_surface_get_stride(surface));
}

static cairo_surface_t *scan_paint(const struct plane *plane, const struct view *view) {
  cairo_surface_t *surface = slice_surface(plane, CAIRO_FORMAT_RGB24);
  if (cairo_surface_status(surface)) return surface;
  const float *voxels = view->scan->image.voxels;
  struct walk walk = walk_slice(plane, view);
  float low = (float)view->low, scale = (float)(255 / (view->high - view->low));
  for (size_t y = 0; y < plane->vox[DOWN]; y++) {
    const float *from = voxels + walk.start + (ptrdiff_t)y * walk.down;
    uint32_t *to = surface_row(surface, y);
    for (size_t x = 0; x < plane->vox[ACROSS]; x++, from += walk.across) {
      float grey = (*from - low) * scale;
      uint32_t level = grey >= 255 ? 255 : grey > 0 ? (uint32_t)(grey + 0.5f) : 0; /* NaN: black */
      to[x] = level * 0x010101u;
    }
  }
  cairo_surface_mark_dirty(surface);
  return surface;
}

static cairo_surface_t *labels_paint(const struct plane *plane, const struct view *view) {
  cairo_surface_t *surface = slice_surface(plane, CAIRO_FORMAT_ARGB32);
  if (cairo_surface_status(surface)) return surface;
  const struct labelling *labelling = view->labelling;
  const uint8_t *bytes = labelling->map.data;
  const uint16_t *words = labelling->map.data;
  struct walk walk = walk_slice(plane, view);
  for (size_t y = 0; y < plane->vox[DOWN]; y++) {
    ptrdiff_t from = walk.start + (ptrdiff_t)y * walk.down;
    uint32_t *to = surface_row(surface, y);
    for (size_t x = 0; x < plane->vox[ACROSS]; x++, from += walk.across) {
      size_t value = labelling->map.elem_bytes == 1 ? bytes[from] : words[from];
      const struct label *label = &labelling->label[value];
      if (value && label->shown)
        to[x] = 0xff000000u | (uint32_t)label->rgb[0] << 16 | (uint32_t)label->rgb[1] << 8 |
                label->rgb[2];
    }
  }
  cairo_surface_mark_dirty(surface);
  return surface;
}

/* Takes the surface. */
static void surface_show(cairo_t *cairo, cairo_surface_t *surface, const struct plane *plane,
                         const struct plane_fit *fit, cairo_filter_t filter, double opacity) {
  if (cairo_surface_status(surface)) { /* no memory, or longer than cairo draws */
    cairo_surface_destroy(surface);
    return;
  }
  cairo_save(cairo);
  cairo_translate(cairo, fit->origin[0], fit->origin[1]);
  cairo_scale(cairo, fit->scale[0], fit->scale[1]);
  cairo_rectangle(cairo, 0, 0, (double)plane->vox[ACROSS], (double)plane->vox[DOWN]);
  cairo_clip(cairo);
  cairo_set_source_surface(cairo, surface, 0, 0);
  cairo_pattern_set_filter(cairo_get_source(cairo), filter);
  cairo_pattern_set_extend(cairo_get_source(cairo), CAIRO_EXTEND_PAD);
  cairo_paint_with_alpha(cairo, opacity);
  cairo_restore(cairo);
  cairo_surface_destroy(surface);
}

/* With a gap in the middle, so that what it points at can be seen. */
static void crosshair_draw(const struct plane *plane, const struct view *view,
                           const struct plane_fit *fit, cairo_t *cairo) {
  double at[2], end[2];
  for (int i = 0; i < 2; i++) {
    double middle = position(plane, i, (double)view->cursor[plane->axis[i]]) + 0.5;
    at[i] = floor(fit->origin[i] + middle * fit->scale[i]) + 0.5;
    end[i] = fit->origin[i] + (double)plane->vox[i] * fit->scale[i];
  }
  const double gap = 7;
  cairo_move_to(cairo, fit->origin[0], at[1]);
  cairo_line_to(cairo, fmax(fit->origin[0], at[0] - gap), at[1]);
  cairo_move_to(cairo, fmin(end[0], at[0] + gap), at[1]);
  cairo_line_to(cairo, end[0], at[1]);
  cairo_move_to(cairo, at[0], fit->origin[1]);
  cairo_line_to(cairo, at[0], fmax(fit->origin[1], at[1] - gap));
  cairo_move_to(cairo, at[0], fmin(end[1], at[1] + gap));
  cairo_line_to(cairo, at[0], end[1]);
  cairo_set_line_width(cairo, 1);
  cairo_set_source_rgba(cairo, 0.55, 0.8, 1, 0.75);
  cairo_stroke(cairo);
}

/* `x` and `y` from 0 to 1 say where in the area, and which side of the text touches that. */
static void text_draw(cairo_t *cairo, const char *text, double x, double y, double width,
                      double height) {
  const double margin = 8;
  cairo_text_extents_t extents;
  cairo_text_extents(cairo, text, &extents);
  double left = margin + x * (width - 2 * margin - extents.width) - extents.x_bearing;
  double base = margin + y * (height - 2 * margin - extents.height) - extents.y_bearing;
  cairo_move_to(cairo, left, base);
  cairo_text_path(cairo, text);
  cairo_set_source_rgba(cairo, 0, 0, 0, 0.7);
  cairo_set_line_width(cairo, 3);
  cairo_set_line_join(cairo, CAIRO_LINE_JOIN_ROUND);
  cairo_stroke_preserve(cairo);
  cairo_set_source_rgb(cairo, 0.92, 0.92, 0.92);
  cairo_fill(cairo);
}

static void marks_draw(const struct plane *plane, const struct view *view, cairo_t *cairo,
                       double width, double height) {
  static const double place[4][2] = {{0, 0.5}, {1, 0.5}, {0.5, 0}, {0.5, 1}};
  cairo_select_font_face(cairo, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_BOLD);
  cairo_set_font_size(cairo, 14);
  for (int i = 0; i < 4; i++) {
    char text[2] = {plane->letter[i], 0};
    if (text[0]) text_draw(cairo, text, place[i][0], place[i][1], width, height);
  }
  cairo_select_font_face(cairo, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(cairo, 12);
  char text[64];
  snprintf(text, sizeof text, "%s %zu / %zu", plane->name, plane_slice(plane, view->cursor),
           plane->vox[THROUGH]);
  text_draw(cairo, text, 0, 0, width, height);
}

void plane_draw(const struct plane *plane, const struct view *view, cairo_t *cairo, double width,
                double height) {
  cairo_set_source_rgb(cairo, 0, 0, 0);
  cairo_paint(cairo);
  if (!view->scan) return;
  struct plane_fit fit = plane_fit(plane, view, width, height);
  surface_show(cairo, scan_paint(plane, view), plane, &fit, CAIRO_FILTER_GOOD, 1);
  if (view->labelling && view->opacity > 0)
    surface_show(cairo, labels_paint(plane, view), plane, &fit, CAIRO_FILTER_NEAREST,
                 view->opacity);
  crosshair_draw(plane, view, &fit, cairo);
  marks_draw(plane, view, cairo, width, height);
}

/* One of the three orthogonal planes through a scan: how it lies on the screen, and its drawing.
 *
 * Radiological: the patient's right is on the screen's left, front and top are up; sagittally the
 * front is left. Planes run along the scan's own axes, each named after the world axis that it is
 * nearest to; nothing is resampled but for the screen. Cairo only, no widgets. */
#ifndef PLANE_H
#define PLANE_H

#include "document.h"

#include <cairo.h>

enum plane_kind { PLANE_AXIAL, PLANE_CORONAL, PLANE_SAGITTAL, PLANE_KINDS };

/* What all planes show together. */
struct view {
  const struct scan *scan;           /* NULL: nothing */
  const struct labelling *labelling; /* NULL: none */
  size_t cursor[3];
  double center[3]; /* voxels; lies in the middle of each plane */
  double zoom;      /* 1: all of the slice */
  double low, high; /* shown black and white */
  double opacity;
};

enum { ACROSS, DOWN, THROUGH };

struct plane {
  const char *name; /* "Axial"; of the file's axes where nobody knows how it lies */
  size_t axis[3];   /* of the image: that run across, down and through */
  bool flip[3];     /* the index falls to the right, to the bottom, or with the slice's number */
  size_t vox[3];
  double mm[3];
  char letter[4]; /* left, right, top, bottom; 0: nobody knows */
};

void plane_layout(const struct scan *scan, enum plane_kind kind, struct plane *plane);

/* 1 to vox[THROUGH], growing upwards, to the front, to the right. */
size_t plane_slice(const struct plane *plane, const size_t vox[3]);

/* Where things are in an area of width x height: screen = origin + (voxels from the edge) *
 * scale. */
struct plane_fit {
  double origin[2], scale[2];
};
struct plane_fit plane_fit(const struct plane *plane, const struct view *view, double width,
                           double height);

/* The voxel (not rounded) under a place; the plane's third axis is left alone. */
void plane_at(const struct plane *plane, const struct plane_fit *fit, double x, double y,
              double vox[3]);

void plane_draw(const struct plane *plane, const struct view *view, cairo_t *cairo, double width,
                double height);

#endif

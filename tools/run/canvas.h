/* A picture in memory: dots, text, lines, and the PNG that it becomes. Used by picture.c and the
 * trainer's charts. What lies outside the canvas is not drawn; colours are red, green, blue. */
#ifndef VNET_RUN_CANVAS_H
#define VNET_RUN_CANVAS_H

#include "vnet_status.h"

#include <stddef.h>
#include <stdint.h>

struct canvas {
  size_t width, height; /* pixels */
  uint8_t *rgb;         /* [height][width][3], owned */
};

/* Black all over. VN_E_MEMORY. To be closed in any case. */
enum vn_status canvas_open(size_t width, size_t height, struct canvas *canvas,
                           struct vn_diag *diag);
void canvas_close(struct canvas *canvas);

static inline void canvas_dot(struct canvas *canvas, size_t x, size_t y, const uint8_t rgb[3]) {
  if (x >= canvas->width || y >= canvas->height) return;
  uint8_t *at = canvas->rgb + (y * canvas->width + x) * 3;
  for (int i = 0; i < 3; i++) at[i] = rgb[i];
}

void canvas_fill(struct canvas *canvas, size_t left, size_t top, size_t width, size_t height,
                 const uint8_t rgb[3]);

/* Letters of font.h, each pixel of theirs `scale` by `scale`, the first one's corner at x, y; one
 * that the font does not have is a blank. Returns where the next letter would be. */
size_t canvas_text(struct canvas *canvas, size_t x, size_t y, size_t scale, const uint8_t rgb[3],
                   const char *text);
size_t canvas_text_width(size_t scale, const char *text);

/* From (x, y) to (x2, y2), where whole numbers are the pixels' centres; soft edges. Equal ends: a
 * round point. */
void canvas_line(struct canvas *canvas, const double from[2], const double to[2], double thickness,
                 const uint8_t rgb[3]);

/* The same bytes for the same canvas. VN_E_IO, VN_E_MEMORY. */
enum vn_status canvas_write(int fd, const struct canvas *canvas, struct vn_diag *diag);

#endif

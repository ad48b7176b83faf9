/* Dots, letters, lines and libpng; see canvas.h. */
#include "canvas.h"

#include <math.h>
#include <png.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "font.h"
#include "part.h"

enum vn_status canvas_open(size_t width, size_t height, struct canvas *canvas,
                           struct vn_diag *diag) {
  size_t pixels;
  *canvas = (struct canvas){width, height, NULL};
  if (!__builtin_mul_overflow(width, height, &pixels)) canvas->rgb = calloc(pixels, 3);
  return canvas->rgb ? VN_OK : vn_fail(diag, VN_E_MEMORY, "out of memory for the picture");
}

void canvas_close(struct canvas *canvas) {
  free(canvas->rgb);
  *canvas = (struct canvas){0};
}

void canvas_fill(struct canvas *canvas, size_t left, size_t top, size_t width, size_t height,
                 const uint8_t rgb[3]) {
  for (size_t y = top; y < top + height; y++)
    for (size_t x = left; x < left + width; x++) canvas_dot(canvas, x, y, rgb);
}

/* ---- text ---- */

static void letter_draw(struct canvas *canvas, size_t x, size_t y, size_t scale,
                        const uint8_t rgb[3], const unsigned char *row) {
  for (size_t r = 0; r < FONT_HEIGHT; r++)
    for (size_t c = 0; c < FONT_WIDTH; c++)
      if (row[r] >> (FONT_WIDTH - 1 - c) & 1)
        canvas_fill(canvas, x + c * scale, y + r * scale, scale, scale, rgb);
}

size_t canvas_text(struct canvas *canvas, size_t x, size_t y, size_t scale, const uint8_t rgb[3],
                   const char *text) {
  for (; *text; text++, x += (FONT_WIDTH + 1) * scale)
    for (size_t i = 0; i < sizeof font / sizeof *font; i++)
      if (font[i].letter == *text) letter_draw(canvas, x, y, scale, rgb, font[i].row);
  return x;
}

size_t canvas_text_width(size_t scale, const char *text) {
  return strlen(text) * (FONT_WIDTH + 1) * scale;
}

/* ---- lines ---- */

/* From a point to the nearest one between the ends. */
static double line_distance(const double from[2], const double to[2], double x, double y) {
  const double along[2] = {to[0] - from[0], to[1] - from[1]};
  const double square = along[0] * along[0] + along[1] * along[1];
  double t = square > 0 ? ((x - from[0]) * along[0] + (y - from[1]) * along[1]) / square : 0;
  t = t < 0 ? 0 : t > 1 ? 1 : t;
  return hypot(x - from[0] - t * along[0], y - from[1] - t * along[1]);
}

/* Whole pixels from `low` to `high` that are on an axis of `size`. */
static void line_range(double low, double high, size_t size, size_t range[2]) {
  const double most = (double)size;
  range[0] = low < 0 ? 0 : low > most ? size : (size_t)low;
  range[1] = high < 0 ? 0 : high + 1 > most ? size : (size_t)high + 1;
}

void canvas_line(struct canvas *canvas, const double from[2], const double to[2], double thickness,
                 const uint8_t rgb[3]) {
  const double reach = thickness / 2 + 1;
  size_t x[2], y[2];
  line_range(fmin(from[0], to[0]) - reach, fmax(from[0], to[0]) + reach, canvas->width, x);
  line_range(fmin(from[1], to[1]) - reach, fmax(from[1], to[1]) + reach, canvas->height, y);
  for (size_t v = y[0]; v < y[1]; v++)
    for (size_t u = x[0]; u < x[1]; u++) {
      double cover = thickness / 2 + 0.5 - line_distance(from, to, (double)u, (double)v);
      if (!(cover > 0)) continue;
      cover = cover > 1 ? 1 : cover;
      uint8_t *at = canvas->rgb + (v * canvas->width + u) * 3;
      for (int i = 0; i < 3; i++) at[i] = (uint8_t)(at[i] + cover * (rgb[i] - at[i]) + 0.5);
    }
}

/* ---- PNG ---- */

struct sink {
  int fd;
  enum vn_status status; /* of writing */
  struct vn_diag *diag;
};

static void sink_write(png_structp png, png_bytep bytes, png_size_t size) {
  struct sink *sink = png_get_io_ptr(png);
  sink->status = vn_part_write(sink->fd, bytes, size, sink->diag);
  if (sink->status) png_error(png, "cannot write");
}

static void sink_flush(png_structp png) {
  (void)png;
}

static void silent(png_structp png, png_const_charp text) {
  (void)text;
  png_longjmp(png, 1);
}

static void deaf(png_structp png, png_const_charp text) {
  (void)png, (void)text;
}

/* The sink lives in the caller: what a function that calls setjmp changes in its own variables is
 * lost on the way back. */
static bool png_out(struct sink *sink, const struct canvas *canvas) {
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, silent, deaf);
  png_infop info = png ? png_create_info_struct(png) : NULL;
  if (!info || setjmp(png_jmpbuf(png))) {
    png_destroy_write_struct(&png, &info);
    return false;
  }
  png_set_write_fn(png, sink, sink_write, sink_flush);
  png_set_IHDR(png, info, (png_uint_32)canvas->width, (png_uint_32)canvas->height, 8,
               PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  for (size_t y = 0; y < canvas->height; y++)
    png_write_row(png, canvas->rgb + y * canvas->width * 3);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return true;
}

enum vn_status canvas_write(int fd, const struct canvas *canvas, struct vn_diag *diag) {
  struct sink sink = {.fd = fd, .diag = diag};
  if (png_out(&sink, canvas)) return VN_OK;
  if (sink.status) return sink.status;
  return vn_fail(diag, VN_E_MEMORY, "out of memory for the picture");
}

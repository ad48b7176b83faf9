/* Loss, Dice and learning rate against the step; see charts.h. */
#include "charts.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "canvas.h"
#include "charts_csv.h"
#include "fail.h"
#include "font.h"

enum {
  WIDTH = 1000,
  HEIGHT = 640,
  LEFT = 84, /* of the panels, in pixels */
  RIGHT = 24,
  TEXT = 2, /* scale of all text */
  TEXT_HIGH = FONT_HEIGHT * TEXT,
  LEGEND_MARK = 26, /* pixels of the stroke before a legend's text */
  LEGEND_LINE = TEXT_HIGH + 8,
  TICKS_MOST = 8,
  FRACTION = 40, /* of the rows, in a running mean */
};

enum { STEP, LOSS, DICE, RATE, LOG_COLUMNS };
enum { SCORE_STEP, SCORE_LABEL, SCORE_DICE, SCORE_MM, SCORE_COLUMNS };

static const uint8_t white[3] = {255, 255, 255}, ink[3] = {45, 45, 45}, grid[3] = {226, 226, 226},
                     blue[3] = {31, 105, 180}, pale_blue[3] = {186, 209, 233},
                     orange[3] = {217, 95, 14}, pale_orange[3] = {248, 192, 150},
                     grey[3] = {110, 110, 110};

struct panel {
  size_t top, height;
  double x[2], y[2]; /* what the edges stand for */
  double tick;       /* between the lines of the grid */
  const char *name;
};

struct curves {
  struct canvas canvas;
  struct vnt_table log, scores;
  size_t window; /* of the running mean, rows */
  double *mean;  /* [rows], scratch */
  double last_step;
};

static double log_at(const struct curves *c, size_t row, size_t column) {
  return c->log.value[row * LOG_COLUMNS + column];
}

static double score_at(const struct curves *c, size_t row, size_t column) {
  return c->scores.value[row * SCORE_COLUMNS + column];
}

/* ---- reading ---- */

/* A row replaces earlier ones from its step on: of a run that was resumed. With `repeat`, those of
 * the same step stay. `nan_column` alone may hold NAN. */
static enum vn_status table_check(const char *path, struct vnt_table *t, bool repeat,
                                  size_t nan_column, struct vn_diag *diag) {
  size_t kept = 0;
  for (size_t i = 0; i < t->rows; i++) {
    const double *row = t->value + i * t->columns;
    for (size_t k = 0; k < t->columns; k++)
      if (k != nan_column && isnan(row[k]))
        return vn_fail(diag, VN_E_FORMAT, "%.200s: line %zu: nan", path, i + 2);
    if (!(row[0] >= 0 && row[0] <= 1e15 && row[0] == floor(row[0])))
      return vn_fail(diag, VN_E_FORMAT, "%.200s: line %zu: %g is no step", path, i + 2, row[0]);
    while (kept && (repeat ? t->value[(kept - 1) * t->columns] > row[0]
                           : t->value[(kept - 1) * t->columns] >= row[0]))
      kept--;
    memmove(t->value + kept++ * t->columns, row, t->columns * sizeof *row);
  }
  t->rows = kept;
  return VN_OK;
}

static enum vn_status curves_read(const char *log_csv, const char *validation_csv, struct curves *c,
                                  struct vn_diag *diag) {
  static const char *const log_names[] = {"step", "loss", "dice", "rate"};
  static const char *const score_names[] = {"step", "label", "dice", "hd95_mm"};
  enum vn_status status = vnt_table_read(log_csv, log_names, LOG_COLUMNS, &c->log, diag);
  if (status == VN_OK) status = table_check(log_csv, &c->log, false, SIZE_MAX, diag);
  if (status == VN_OK && c->log.rows == 0)
    status = vn_fail(diag, VN_E_FORMAT, "%.200s: has no rows", log_csv);
  if (status) return status;
  c->last_step = log_at(c, c->log.rows - 1, STEP);
  c->window = c->log.rows / FRACTION / 2 * 2 + 1;
  c->mean = calloc(c->log.rows, sizeof *c->mean);
  if (!c->mean) return vn_fail(diag, VN_E_MEMORY, "out of memory for the curves");
  if (!validation_csv || (access(validation_csv, F_OK) && errno == ENOENT)) return VN_OK;
  status = vnt_table_read(validation_csv, score_names, SCORE_COLUMNS, &c->scores, diag);
  if (status == VN_OK) status = table_check(validation_csv, &c->scores, true, SCORE_MM, diag);
  if (status == VN_OK && c->scores.rows)
    c->last_step = fmax(c->last_step, score_at(c, c->scores.rows - 1, SCORE_STEP));
  return status;
}

/* Centred, so that it does not lag; shorter at both ends. */
static void mean_run(struct curves *c, size_t column) {
  const size_t rows = c->log.rows, half = c->window / 2;
  double sum = 0;
  size_t first = 0, end = 0;
  for (size_t i = 0; i < rows; i++) {
    for (; end < rows && end <= i + half; end++) sum += log_at(c, end, column);
    for (; first + half < i; first++) sum -= log_at(c, first, column);
    c->mean[i] = sum / (double)(end - first);
  }
}

/* ---- axes ---- */

/* 1, 2 or 5 times a power of ten, so that at most `most` of them fill the range. */
static double tick_choose(double range, double most) {
  const double least = range / most;
  double tick = pow(10, floor(log10(least)));
  while (tick < least * (1 - 1e-9)) {
    const double lead = tick / pow(10, floor(log10(tick) + 1e-9));
    tick *= lead > 1.5 && lead < 3 ? 2.5 : 2;
  }
  return tick;
}

static void panel_place(const struct panel *p, double x, double y, double at[2]) {
  const double across = (x - p->x[0]) / (p->x[1] - p->x[0]);
  const double up = fmin(fmax((y - p->y[0]) / (p->y[1] - p->y[0]), 0), 1);
  at[0] = LEFT + across * (WIDTH - LEFT - RIGHT);
  at[1] = (double)p->top + (1 - up) * (double)p->height;
}

static void grid_line(struct curves *c, const struct panel *p, bool upright, double value) {
  const double ends[2][2] = {{upright ? value : p->x[0], upright ? p->y[0] : value},
                             {upright ? value : p->x[1], upright ? p->y[1] : value}};
  double from[2], to[2];
  panel_place(p, ends[0][0], ends[0][1], from);
  panel_place(p, ends[1][0], ends[1][1], to);
  for (int i = 0; i < 2; i++) { /* sharp */
    from[i] = floor(from[i] + 0.5);
    to[i] = floor(to[i] + 0.5);
  }
  canvas_line(&c->canvas, from, to, 1, grid);
}

/* The grid, its numbers, the name; numbers of steps below the lowest panel. */
static void panel_draw(struct curves *c, const struct panel *p, bool lowest) {
  const double step_tick = tick_choose(p->x[1] - p->x[0], TICKS_MOST);
  char text[32];
  double at[2];
  for (double k = ceil(p->x[0] / step_tick); k * step_tick <= p->x[1] * (1 + 1e-9); k++) {
    grid_line(c, p, true, k * step_tick);
    if (!lowest) continue;
    snprintf(text, sizeof text, "%.10g", k * step_tick);
    panel_place(p, k * step_tick, p->y[0], at);
    size_t wide = canvas_text_width(TEXT, text), x = (size_t)at[0] - wide / 2;
    if (x + wide <= WIDTH) canvas_text(&c->canvas, x, (size_t)at[1] + 8, TEXT, ink, text);
  }
  for (double k = ceil(p->y[0] / p->tick - 1e-9); k * p->tick <= p->y[1] + p->tick * 1e-6; k++) {
    grid_line(c, p, false, k * p->tick);
    snprintf(text, sizeof text, "%.4g", k * p->tick + 0.0); /* no -0 */
    panel_place(p, p->x[0], k * p->tick, at);
    canvas_text(&c->canvas, LEFT - 6 - canvas_text_width(TEXT, text),
                (size_t)(at[1] + 0.5) - TEXT_HIGH / 2, TEXT, ink, text);
  }
  canvas_text(&c->canvas, LEFT, p->top - TEXT_HIGH - 6, TEXT, ink, p->name);
}

/* ---- curves ---- */

static void curve_draw(struct curves *c, const struct panel *p, size_t column, bool mean,
                       double thickness, const uint8_t rgb[3]) {
  double last[2], at[2];
  for (size_t i = 0; i < c->log.rows; i++) {
    panel_place(p, log_at(c, i, STEP), mean ? c->mean[i] : log_at(c, i, column), at);
    canvas_line(&c->canvas, i ? last : at, at, thickness, rgb);
    memcpy(last, at, sizeof last);
  }
}

/* Points of all rows, a line through the means of steps; the last step's means. */
static void scores_draw(struct curves *c, const struct panel *p, double *dice, double *mm) {
  double last[2], at[2];
  for (size_t i = 0; i < c->scores.rows; i++) {
    panel_place(p, score_at(c, i, SCORE_STEP), score_at(c, i, SCORE_DICE), at);
    canvas_line(&c->canvas, at, at, 5, pale_orange);
  }
  for (size_t i = 0, end; i < c->scores.rows; i = end) {
    const double step = score_at(c, i, SCORE_STEP);
    double sums[2] = {0}, far = 0;
    for (end = i; end < c->scores.rows && score_at(c, end, SCORE_STEP) == step; end++) {
      sums[0] += score_at(c, end, SCORE_DICE);
      if (isnan(score_at(c, end, SCORE_MM))) continue;
      sums[1] += score_at(c, end, SCORE_MM);
      far++;
    }
    *dice = sums[0] / (double)(end - i);
    *mm = far > 0 ? sums[1] / far : NAN;
    panel_place(p, step, *dice, at);
    canvas_line(&c->canvas, i ? last : at, at, 2, orange);
    canvas_line(&c->canvas, at, at, 7, orange);
    memcpy(last, at, sizeof last);
  }
}

/* One line of a legend that ends at the right edge; `line` counts from the top. */
static void legend_draw(struct curves *c, size_t top, const uint8_t rgb[3], double thickness,
                        const char *text) {
  const size_t wide = canvas_text_width(TEXT, text) + LEGEND_MARK + 8;
  const size_t left = WIDTH - RIGHT - 10 - wide;
  canvas_fill(&c->canvas, left - 6, top - 4, wide + 10, LEGEND_LINE, white);
  const double from[2] = {(double)left, (double)(top + TEXT_HIGH / 2)};
  const double to[2] = {(double)(left + LEGEND_MARK), from[1]};
  canvas_line(&c->canvas, thickness > 3 ? to : from, to, thickness, rgb);
  canvas_text(&c->canvas, left + LEGEND_MARK + 8, top, TEXT, ink, text);
}

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* From the lowest value (or 0) to the highest but for a hundredth of the rows: one spike must not
 * flatten all else. Whole ticks. */
static void range_choose(struct curves *c, size_t column, double ticks, struct panel *p) {
  for (size_t i = 0; i < c->log.rows; i++) c->mean[i] = log_at(c, i, column);
  qsort(c->mean, c->log.rows, sizeof *c->mean, ascending);
  p->y[0] = fmin(c->mean[0], 0);
  p->y[1] = c->mean[c->log.rows - 1 - c->log.rows / 100];
  if (!(p->y[1] > p->y[0])) p->y[1] = p->y[0] + 1;
  p->tick = tick_choose(p->y[1] - p->y[0], ticks);
  p->y[0] = floor(p->y[0] / p->tick + 1e-9) * p->tick;
  p->y[1] = ceil(p->y[1] / p->tick - 1e-9) * p->tick;
}

static void loss_draw(struct curves *c, struct panel *p) {
  char text[80];
  range_choose(c, LOSS, 5, p);
  panel_draw(c, p, false);
  curve_draw(c, p, LOSS, false, 1, pale_blue);
  mean_run(c, LOSS);
  curve_draw(c, p, LOSS, true, 2, blue);
  legend_draw(c, p->top + 8, pale_blue, 2, "each step");
  snprintf(text, sizeof text, "mean of %zu steps: %.4g", c->window, c->mean[c->log.rows - 1]);
  legend_draw(c, p->top + 8 + LEGEND_LINE, blue, 3, text);
}

static void dice_draw(struct curves *c, struct panel *p) {
  char text[80];
  double dice = NAN, mm = NAN;
  p->tick = 0.2;
  p->y[0] = 0;
  p->y[1] = 1;
  panel_draw(c, p, false);
  curve_draw(c, p, DICE, false, 1, pale_blue);
  mean_run(c, DICE);
  curve_draw(c, p, DICE, true, 2, blue);
  scores_draw(c, p, &dice, &mm);
  size_t top = p->top + p->height - (c->scores.rows ? 3 : 1) * LEGEND_LINE - 2;
  snprintf(text, sizeof text, "training, mean of %zu steps: %.3f", c->window,
           c->mean[c->log.rows - 1]);
  legend_draw(c, top, blue, 3, text);
  if (!c->scores.rows) return;
  legend_draw(c, top + LEGEND_LINE, pale_orange, 5, "validation, each case and label");
  if (isnan(mm))
    snprintf(text, sizeof text, "validation, mean: %.3f", dice);
  else
    snprintf(text, sizeof text, "validation, mean: %.3f, HD95 %.3g mm", dice, mm);
  legend_draw(c, top + 2 * LEGEND_LINE, orange, 3, text);
}

static void rate_draw(struct curves *c, struct panel *p) {
  range_choose(c, RATE, 2, p);
  panel_draw(c, p, true);
  curve_draw(c, p, RATE, false, 2, grey);
}

static void curves_draw(struct curves *c) {
  char text[80];
  struct panel loss = {.top = 62, .height = 196, .x = {0, fmax(c->last_step, 1)}, .name = "loss"};
  struct panel dice = loss, rate = loss;
  dice.top = 292, dice.height = 196, dice.name = "Dice";
  rate.top = 522, rate.height = 64, rate.name = "learning rate";
  canvas_fill(&c->canvas, 0, 0, WIDTH, HEIGHT, white);
  snprintf(text, sizeof text, "Training, %.15g steps", log_at(c, c->log.rows - 1, STEP));
  canvas_text(&c->canvas, (WIDTH - canvas_text_width(TEXT, text)) / 2, 12, TEXT, ink, text);
  loss_draw(c, &loss);
  dice_draw(c, &dice);
  rate_draw(c, &rate);
  canvas_text(&c->canvas, (WIDTH - canvas_text_width(TEXT, "step")) / 2, HEIGHT - TEXT_HIGH - 8,
              TEXT, ink, "step");
}

enum vn_status vnt_chart_curves(int fd, const char *log_csv, const char *validation_csv,
                                struct vn_diag *diag) {
  struct curves c = {0};
  enum vn_status status = curves_read(log_csv, validation_csv, &c, diag);
  if (status == VN_OK) status = canvas_open(WIDTH, HEIGHT, &c.canvas, diag);
  if (status == VN_OK) {
    curves_draw(&c);
    status = canvas_write(fd, &c.canvas, diag);
  }
  canvas_close(&c.canvas);
  vnt_table_close(&c.log);
  vnt_table_close(&c.scores);
  free(c.mean);
  return status;
}

/* Loss, Dice and learning rate against the step; see charts.h. */
#include "charts.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
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
  WIDTH = 1000, /* of the panels with their margins; the legend is beside it, and hides nothing */
  HEIGHT = 640,
  LEFT = 84, /* of the panels, in pixels */
  RIGHT = 24,
  TEXT = 2, /* scale of all text */
  TEXT_HIGH = FONT_HEIGHT * TEXT,
  LEGEND_MARK = 26, /* pixels of the stroke before a legend's text */
  LEGEND_LINE = TEXT_HIGH + 8,
  LEGEND_TOP = 62,
  LEGEND_LINES = (HEIGHT - LEGEND_TOP) / LEGEND_LINE, /* in a column */
  LEGEND_GAP = 16,                                    /* beside it, on either side */
  LEGEND_OTHERS = 5,                                  /* lines that are no class's */
  TICKS_MOST = 8,
  FRACTION = 40, /* of the rows, in a running mean */
};

enum { STEP, LOSS, DICE, RATE, LOG_COLUMNS }; /* then a Dice for each class, if there are several */
enum { CLASSES_MOST = 256 };
enum { SCORE_STEP, SCORE_LABEL, SCORE_DICE, SCORE_MM, SCORE_COLUMNS };

static const uint8_t white[3] = {255, 255, 255}, ink[3] = {45, 45, 45}, grid[3] = {226, 226, 226},
                     blue[3] = {31, 105, 180}, pale_blue[3] = {186, 209, 233},
                     orange[3] = {217, 95, 14}, pale_orange[3] = {248, 192, 150},
                     grey[3] = {110, 110, 110}, pale_grey[3] = {214, 214, 214};

/* Of all classes together: greys, where colours are the classes'. */
struct inks {
  const uint8_t *step, *mean, *score, *score_mean;
};
static const struct inks coloured = {pale_blue, blue, pale_orange, orange},
                         greys = {pale_grey, grey, pale_grey, ink};

struct panel {
  size_t top, height;
  double x[2], y[2]; /* what the edges stand for */
  double tick;       /* between the lines of the grid */
  const char *name;
};

struct legend {
  uint8_t rgb[3];
  double thickness;
  char text[128];
};

struct curves {
  struct canvas canvas;
  const struct vn_palette *labels;
  size_t classes; /* that have a curve each: 1 to classes */
  const struct inks *all;
  struct vnt_table log, scores;
  size_t window; /* of the running mean, rows */
  double *mean;  /* [rows], scratch */
  double last_step;
  struct legend *legend; /* [lines] */
  size_t lines;
};

static double log_at(const struct curves *c, size_t row, size_t column) {
  return c->log.value[row * c->log.columns + column];
}

/* A class's colour; white and its like are darkened, for they are on white. */
static void class_rgb(const struct curves *c, size_t class, uint8_t rgb[3]) {
  const uint8_t *of = c->labels->entries[class].rgb;
  const bool bright = of[0] + of[1] + of[2] > 600;
  for (int i = 0; i < 3; i++) rgb[i] = (uint8_t)(bright ? of[i] * 3 / 4 : of[i]);
}

static double score_at(const struct curves *c, size_t row, size_t column) {
  return c->scores.value[row * SCORE_COLUMNS + column];
}

/* ---- reading ---- */

/* A row replaces earlier ones from its step on: of a run that was resumed. With `repeat`, those of
 * the same step stay. Columns from `nan_from` on alone may hold NAN. */
static enum vn_status table_check(const char *path, struct vnt_table *t, bool repeat,
                                  size_t nan_from, struct vn_diag *diag) {
  size_t kept = 0;
  for (size_t i = 0; i < t->rows; i++) {
    const double *row = t->value + i * t->columns;
    for (size_t k = 0; k < t->columns; k++)
      if (k < nan_from && isnan(row[k]))
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
  static const char *const score_names[] = {"step", "label", "dice", "hd95_mm"};
  const char *log_names[LOG_COLUMNS + CLASSES_MOST] = {"step", "loss", "dice", "rate"};
  char names[CLASSES_MOST][16];
  for (size_t i = 0; i < c->classes; i++) {
    snprintf(names[i], sizeof names[i], "dice_%zu", i + 1);
    log_names[LOG_COLUMNS + i] = names[i];
  }
  enum vn_status status =
      vnt_table_read(log_csv, log_names, LOG_COLUMNS + c->classes, &c->log, diag);
  if (status == VN_OK) status = table_check(log_csv, &c->log, false, LOG_COLUMNS, diag);
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

/* Centred, so that it does not lag; shorter at both ends; of the rows that have a number. */
static void mean_run(struct curves *c, size_t column) {
  const size_t rows = c->log.rows, half = c->window / 2;
  double sum = 0, count = 0;
  size_t first = 0, end = 0;
  for (size_t i = 0; i < rows; i++) {
    for (; end < rows && end <= i + half; end++) {
      const double value = log_at(c, end, column);
      sum += isnan(value) ? 0 : value;
      count += !isnan(value);
    }
    for (; first + half < i; first++) {
      const double value = log_at(c, first, column);
      sum -= isnan(value) ? 0 : value;
      count -= !isnan(value);
    }
    c->mean[i] = count > 0 ? sum / count : NAN;
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
  bool joined = false; /* to the row before */
  for (size_t i = 0; i < c->log.rows; i++) {
    const double value = mean ? c->mean[i] : log_at(c, i, column);
    if (!isnan(value)) {
      panel_place(p, log_at(c, i, STEP), value, at);
      canvas_line(&c->canvas, joined ? last : at, at, thickness, rgb);
      memcpy(last, at, sizeof last);
    }
    joined = !isnan(value);
  }
}

/* Of a step's rows from row i on (class 0: of all classes): means, NAN where there is nothing, and
 * the row behind them. */
struct step_mean {
  double dice, mm;
  size_t end;
};

static struct step_mean step_mean(const struct curves *c, size_t i, size_t class) {
  const double step = score_at(c, i, SCORE_STEP);
  double sums[2] = {0}, counts[2] = {0};
  size_t end = i;
  for (; end < c->scores.rows && score_at(c, end, SCORE_STEP) == step; end++) {
    if (class && score_at(c, end, SCORE_LABEL) != (double)class) continue;
    sums[0] += score_at(c, end, SCORE_DICE);
    counts[0]++;
    if (isnan(score_at(c, end, SCORE_MM))) continue;
    sums[1] += score_at(c, end, SCORE_MM);
    counts[1]++;
  }
  return (struct step_mean){counts[0] > 0 ? sums[0] / counts[0] : NAN,
                            counts[1] > 0 ? sums[1] / counts[1] : NAN, end};
}

static struct step_mean last_mean(const struct curves *c, size_t class) {
  struct step_mean mean = {NAN, NAN, 0};
  while (mean.end < c->scores.rows) mean = step_mean(c, mean.end, class);
  return mean;
}

/* A line through the means of steps, a dot at each. */
static void scores_draw(struct curves *c, const struct panel *p, size_t class, double dot,
                        const uint8_t rgb[3]) {
  double last[2], at[2];
  bool joined = false;
  for (size_t i = 0; i < c->scores.rows;) {
    const struct step_mean mean = step_mean(c, i, class);
    if (!isnan(mean.dice)) {
      panel_place(p, score_at(c, i, SCORE_STEP), mean.dice, at);
      canvas_line(&c->canvas, joined ? last : at, at, 2, rgb);
      canvas_line(&c->canvas, at, at, dot, rgb);
      memcpy(last, at, sizeof last);
    }
    joined = !isnan(mean.dice);
    i = mean.end;
  }
}

/* ---- the legend ---- */

static void __attribute__((format(printf, 4, 5)))
legend_add(struct curves *c, const uint8_t rgb[3], double thickness, const char *format, ...) {
  struct legend *line = &c->legend[c->lines++];
  va_list args;
  memcpy(line->rgb, rgb, 3);
  line->thickness = thickness;
  va_start(args, format);
  vsnprintf(line->text, sizeof line->text, format, args);
  va_end(args);
}

/* ": 0.512, validation 0.498", without what there is not. */
static void class_tell(const struct curves *c, size_t class, char text[48]) {
  const double trained = c->mean[c->log.rows - 1], validated = last_mean(c, class).dice;
  text[0] = '\0';
  if (!isnan(trained)) snprintf(text, 48, ": %.3f", fmax(trained, 0)); /* sums round */
  if (!isnan(validated))
    snprintf(text + strlen(text), 48 - strlen(text), "%s validation %.3f", *text ? "," : ":",
             validated);
}

static bool legend_make(struct curves *c) {
  const struct step_mean mean = last_mean(c, 0);
  char text[48];
  c->legend = calloc(LEGEND_OTHERS + c->classes, sizeof *c->legend);
  if (!c->legend) return false;
  mean_run(c, LOSS);
  legend_add(c, pale_blue, 2, "each step");
  legend_add(c, blue, 3, "loss, mean of %zu steps: %.4g", c->window, c->mean[c->log.rows - 1]);
  mean_run(c, DICE);
  legend_add(c, c->all->mean, 3, "Dice, mean of %zu steps: %.3f", c->window,
             c->mean[c->log.rows - 1]);
  if (c->scores.rows) {
    legend_add(c, c->all->score, 5, "validation, each case and label");
    snprintf(text, sizeof text, isnan(mean.mm) ? "%.3f" : "%.3f, HD95 %.3g mm", mean.dice, mean.mm);
    legend_add(c, c->all->score_mean, 3, "validation, mean: %s", text);
  }
  for (size_t class = 1; class <= c->classes; class ++) {
    uint8_t rgb[3];
    class_rgb(c, class, rgb);
    mean_run(c, LOG_COLUMNS + class - 1);
    class_tell(c, class, text);
    legend_add(c, rgb, 6, "%s%s", c->labels->entries[class].name, text);
  }
  return true;
}

static size_t legend_column(const struct curves *c) {
  size_t wide = 0;
  for (size_t i = 0; i < c->lines; i++) {
    const size_t text = canvas_text_width(TEXT, c->legend[i].text);
    wide = text > wide ? text : wide;
  }
  return wide + LEGEND_MARK + 8 + 2 * LEGEND_GAP;
}

static size_t legend_wide(const struct curves *c) {
  return (c->lines + LEGEND_LINES - 1) / LEGEND_LINES * legend_column(c);
}

static void legend_draw(struct curves *c) {
  const size_t column = legend_column(c);
  for (size_t i = 0; i < c->lines; i++) {
    const struct legend *line = &c->legend[i];
    const size_t left = WIDTH + i / LEGEND_LINES * column + LEGEND_GAP;
    const size_t top = LEGEND_TOP + i % LEGEND_LINES * LEGEND_LINE;
    const double from[2] = {(double)left, (double)(top + TEXT_HIGH / 2)};
    const double to[2] = {(double)(left + LEGEND_MARK), from[1]};
    canvas_line(&c->canvas, from, to, line->thickness, line->rgb);
    canvas_text(&c->canvas, left + LEGEND_MARK + 8, top, TEXT, ink, line->text);
  }
}

/* ---- panels ---- */

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
  range_choose(c, LOSS, 5, p);
  panel_draw(c, p, false);
  curve_draw(c, p, LOSS, false, 1, pale_blue);
  mean_run(c, LOSS);
  curve_draw(c, p, LOSS, true, 2, blue);
}

static void dice_draw(struct curves *c, struct panel *p) {
  double at[2];
  p->tick = 0.2;
  p->y[0] = 0;
  p->y[1] = 1;
  panel_draw(c, p, false);
  curve_draw(c, p, DICE, false, 1, c->all->step);
  for (size_t i = 0; i < c->scores.rows; i++) {
    panel_place(p, score_at(c, i, SCORE_STEP), score_at(c, i, SCORE_DICE), at);
    canvas_line(&c->canvas, at, at, 5, c->all->score);
  }
  for (size_t class = 1; class <= c->classes; class ++) { /* in training thin, in validation dots */
    uint8_t rgb[3];
    class_rgb(c, class, rgb);
    mean_run(c, LOG_COLUMNS + class - 1);
    curve_draw(c, p, LOG_COLUMNS + class - 1, true, 1, rgb);
    scores_draw(c, p, class, 5, rgb);
  }
  mean_run(c, DICE);
  curve_draw(c, p, DICE, true, 2, c->all->mean);
  scores_draw(c, p, 0, 7, c->all->score_mean);
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
  canvas_fill(&c->canvas, 0, 0, c->canvas.width, HEIGHT, white);
  snprintf(text, sizeof text, "Training, %.15g steps", log_at(c, c->log.rows - 1, STEP));
  canvas_text(&c->canvas, (WIDTH - canvas_text_width(TEXT, text)) / 2, 12, TEXT, ink, text);
  legend_draw(c);
  loss_draw(c, &loss);
  dice_draw(c, &dice);
  rate_draw(c, &rate);
  canvas_text(&c->canvas, (WIDTH - canvas_text_width(TEXT, "step")) / 2, HEIGHT - TEXT_HIGH - 8,
              TEXT, ink, "step");
}

enum vn_status vnt_chart_curves(int fd, const char *log_csv, const char *validation_csv,
                                const struct vn_palette *labels, struct vn_diag *diag) {
  struct curves c = {.labels = labels,
                     .classes = labels && labels->count > 2 ? labels->count - 1 : 0};
  c.all = c.classes ? &greys : &coloured;
  enum vn_status status = curves_read(log_csv, validation_csv, &c, diag);
  if (status == VN_OK && !legend_make(&c))
    status = vn_fail(diag, VN_E_MEMORY, "out of memory for the curves");
  if (status == VN_OK) status = canvas_open(WIDTH + legend_wide(&c), HEIGHT, &c.canvas, diag);
  if (status == VN_OK) {
    curves_draw(&c);
    status = canvas_write(fd, &c.canvas, diag);
  }
  canvas_close(&c.canvas);
  vnt_table_close(&c.log);
  vnt_table_close(&c.scores);
  free(c.mean);
  free(c.legend);
  return status;
}

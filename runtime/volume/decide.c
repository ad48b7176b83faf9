/* See decide.h. */
#include "decide.h"

#include <math.h>
#include <stdlib.h>

#include "elementary.h"
#include "fail.h"
#include "image.h"

/* Is the background what the channels leave? */
static bool has_rest(const struct vn_decision *d) {
  return d->meaning == VN_MEANS_REGIONS || d->meaning == VN_MEANS_FOREGROUND;
}

/* ---- what the plan says ---- */

size_t vn_decision_labels(const struct vn_decision *d) {
  return has_rest(d) ? d->channels + 1 : d->channels;
}

size_t vn_decision_regions(const struct vn_decision *d) {
  return d->meaning == VN_MEANS_REGIONS ? d->channels : 0;
}

/* Of one channel nothing follows: it is taken for a probability. */
static void meaning_settle(struct vn_decision *d, bool probable) {
  if (d->meaning == VN_MEANS_UNSAID) d->meaning = probable ? VN_MEANS_SOFTMAX : VN_MEANS_SCORES;
  if (d->channels > 1 || has_rest(d)) return;
  d->meaning = VN_MEANS_REGIONS;
  d->guessed = true;
}

enum vn_status vn_decision_open(const struct vn_plan *plan, size_t output, size_t channels,
                                bool probable, struct vn_decision *d, struct vn_diag *diag) {
  *d = (struct vn_decision){.meaning = vn_plan_meaning(plan, output), .channels = channels};
  meaning_settle(d, probable);
  d->threshold = calloc(channels, sizeof *d->threshold);
  d->painted = calloc(channels, sizeof *d->painted);
  d->other_side = calloc(channels, sizeof *d->other_side);
  if (!d->threshold || !d->painted || !d->other_side)
    return vn_fail(diag, VN_E_MEMORY, "out of memory");
  for (size_t c = 0; c < channels; c++) {
    d->threshold[c] = vn_plan_threshold(plan, output, c);
    d->painted[c] = c;
    d->other_side[c] = c;
  }
  return VN_OK;
}

void vn_decision_close(struct vn_decision *d) {
  free(d->threshold);
  free(d->painted);
  free(d->other_side);
  *d = (struct vn_decision){0};
}

void vn_decision_take(struct vn_decision *d, const struct vn_palette *palette) {
  const size_t rest = has_rest(d);
  size_t n = 0;
  for (size_t c = 0; c < d->channels; c++)
    d->other_side[c] = palette->entries[c + rest].mirror - rest;
  if (d->meaning != VN_MEANS_REGIONS) return;
  for (size_t c = 0; c < d->channels; c++)
    if (!palette->entries[c + 1].listed) d->painted[n++] = c;
  for (size_t i = 0; i < palette->listed; i++)
    if (palette->order[i] > 0) d->painted[n++] = palette->order[i] - 1;
}

void vn_decision_idle(const struct vn_decision *d, float *idle) {
  const bool logarithms = d->meaning == VN_MEANS_SCORES || d->meaning == VN_MEANS_LOGSOFTMAX;
  for (size_t c = 0; c < d->channels; c++)
    if (d->meaning == VN_MEANS_REGIONS)
      idle[c] = d->threshold[c] > 0 ? 0 : d->threshold[c] - 1;
    else
      idle[c] = logarithms && c > 0 ? -20 : 0;
  if (d->meaning == VN_MEANS_SOFTMAX) idle[0] = 1;
}

struct vn_decision vn_decision_of_mean(const struct vn_decision *of) {
  struct vn_decision mean = *of;
  if (!has_rest(of)) mean.meaning = VN_MEANS_SOFTMAX;
  return mean;
}

/* ---- labels ---- */

static size_t highest(const float *scores, size_t channels) {
  size_t best = 0;
  for (size_t c = 1; c < channels; c++)
    if (scores[c] > scores[best]) best = c;
  return best;
}

static float rest_of_one(const float *scores, size_t channels) {
  float sum = 0;
  for (size_t c = 0; c < channels; c++) sum += scores[c];
  return 1 - sum;
}

static size_t label_of(const struct vn_decision *d, const float *scores) {
  if (d->meaning == VN_MEANS_REGIONS) {
    for (size_t i = d->channels; i-- > 0;)
      if (scores[d->painted[i]] >= d->threshold[d->painted[i]]) return d->painted[i] + 1;
    return 0;
  }
  const size_t best = highest(scores, d->channels);
  if (d->meaning != VN_MEANS_FOREGROUND) return best;
  return scores[best] > rest_of_one(scores, d->channels) ? best + 1 : 0;
}

/* ---- probabilities ---- */

static float clamped(float p) {
  return p < 0 ? 0 : p > 1 ? 1 : p;
}

static void probability_put(const struct vn_label_map *map, size_t at, float p) {
  p = clamped(p);
  if (map->probability == VN_PROBABILITY_F32)
    ((float *)map->probabilities)[at] = p;
  else
    ((uint16_t *)map->probabilities)[at] = (uint16_t)(p * 65535 + 0.5f);
}

/* What is left of 1, or beside the most probable region, is the background's. */
static float rest_of(const struct vn_decision *d, const float *scores) {
  return d->meaning == VN_MEANS_REGIONS ? 1 - scores[highest(scores, d->channels)]
                                        : rest_of_one(scores, d->channels);
}

/* Labels 1 and up have channels of their own. */
static void foreground_put(const struct vn_verdict *v, size_t at, const float *from) {
  const struct vn_decision *d = v->decision;
  probability_put(v->map, at, rest_of(d, from));
  for (size_t c = 0; c < d->channels; c++)
    probability_put(v->map, (c + 1) * v->elems + at, from[c]);
}

/* Probabilities of labels that exclude each other: a share of what term_of gives. */
struct softmax {
  bool probable; /* they are already, but for rounding; or the plan says so */
  float most, sum;
};

static float term_of(const struct softmax *s, float score) {
  if (s->probable) return score > 0 ? score : 0;
  return (float)vn_exp((double)(score - s->most));
}

/* Where no label has any, the background has it all. */
static float share_of(const struct softmax *s, const float *scores, size_t c) {
  return s->sum > 0 ? term_of(s, scores[c]) / s->sum : c == 0;
}

static struct softmax softmax_of(const struct vn_decision *d, const float *scores) {
  struct softmax s = {.probable = d->meaning == VN_MEANS_SOFTMAX,
                      .most = scores[highest(scores, d->channels)]};
  for (size_t c = 0; c < d->channels; c++) s.sum += term_of(&s, scores[c]);
  return s;
}

/* A mean of numbers in [0, 1] may leave it by rounding. */
static bool probable(const float *scores, size_t count) {
  bool all = true;
  for (size_t i = 0; i < count; i++) all = all && scores[i] >= -1e-4f && scores[i] <= 1.0001f;
  return all;
}

void vn_decision_probabilities(const struct vn_decision *d, const float *scores, double *p) {
  if (has_rest(d)) {
    const bool all = probable(scores, d->channels);
    p[0] = all ? (double)clamped(rest_of(d, scores)) : (double)NAN;
    for (size_t c = 0; c < d->channels; c++)
      p[c + 1] = all ? (double)clamped(scores[c]) : (double)NAN;
    return;
  }
  const float most = scores[highest(scores, d->channels)];
  double sum = 0;
  for (size_t c = 0; c < d->channels; c++) {
    const float below = scores[c] - most;
    p[c] = below > -40 ? vn_exp((double)below) : 0; /* beside 1 it is no digit of a double */
    sum += p[c];
  }
  for (size_t c = 0; c < d->channels; c++) p[c] /= sum;
}

/* One voxel's scores as probabilities to voxel `at` of every class. */
static void probabilities_put(const struct vn_verdict *v, size_t at, const float *from) {
  const struct vn_decision *d = v->decision;
  if (has_rest(d)) {
    foreground_put(v, at, from);
    return;
  }
  const struct softmax s = softmax_of(d, from);
  for (size_t c = 0; c < d->channels; c++)
    probability_put(v->map, c * v->elems + at, share_of(&s, from, c));
}

static void regions_put(const struct vn_verdict *v, size_t at, const float *from) {
  const struct vn_decision *d = v->decision;
  uint8_t *to = v->map->regions;
  for (size_t c = 0; c < d->channels; c++) to[c * v->elems + at] = from[c] >= d->threshold[c];
}

/* ---- rows ---- */

static ptrdiff_t walk_to(const struct vn_walk *walk, size_t d, size_t h) {
  return walk->origin + (ptrdiff_t)d * walk->step[0] + (ptrdiff_t)h * walk->step[1];
}

/* Regions whose scores are no probabilities are told apart all the same, once someone has said from
 * where on. */
static const char *improbable(const struct vn_verdict *v, const float *scores) {
  const struct vn_decision *d = v->own;
  if (d->meaning != VN_MEANS_REGIONS || (!d->guessed && !v->map->probabilities && !v->average))
    return NULL;
  if (probable(scores, v->width * d->channels)) return NULL;
  return d->guessed
             ? "the network's one channel leaves [0, 1], so it does not end in a sigmoid and "
               "a threshold of 0.5 would be wrong"
             : "the network's regions leave [0, 1]: they have thresholds, and no "
               "probabilities";
}

/* Adds one voxel's probabilities to those of the models before; of the last one, the mean. */
static const float *averaged(const struct vn_verdict *v, size_t at, const float *from) {
  const struct vn_decision *own = v->own;
  const struct vn_average *all = v->average;
  float *sum = all->sum + at * own->channels;
  const bool rest = has_rest(own);
  const struct softmax s = rest ? (struct softmax){0} : softmax_of(own, from);
  for (size_t c = 0; c < own->channels; c++) {
    sum[c] += rest ? from[c] : share_of(&s, from, c);
    if (v->last) sum[c] /= (float)all->models;
  }
  return sum;
}

static void voxel_decide(const struct vn_verdict *v, char *label, size_t at, const float *of) {
  vn_label_put(v->map, label, label_of(v->decision, of));
  if (v->map->probabilities) probabilities_put(v, at, of);
  if (v->map->regions) regions_put(v, at, of);
}

bool vn_verdict_highest_alone(const struct vn_verdict *v) {
  return !has_rest(v->own) && !v->average && !v->map->probabilities && !v->map->regions;
}

const char *vn_verdict_row(const struct vn_verdict *v, size_t d, size_t h, const float *scores,
                           const uint16_t *sure) {
  char *label = (char *)v->map->data + walk_to(&v->label_walk, d, h);
  ptrdiff_t at = walk_to(&v->index_walk, d, h);
  const char *refusal = improbable(v, scores);
  const bool decides = !v->average || v->last;
  for (size_t w = 0; w < v->width; w++, scores += v->own->channels) {
    const float *of = v->average ? averaged(v, (size_t)at, scores) : scores;
    const bool filled = decides && v->filled && v->filled(v->context, d, h, w);
    if (sure && sure[w] && !filled)
      vn_label_put(v->map, label, (size_t)sure[w] - 1);
    else if (decides)
      voxel_decide(v, label, (size_t)at, filled ? v->idle : of);
    label += v->label_walk.step[2];
    at += v->index_walk.step[2];
  }
  return refusal;
}

/* Random steps of AdamW on a part of the weights: between fences, against the same in double. */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ELEMS = 600 };
enum { GRAD, FIRST, SECOND, PARAM, ARRAYS };

struct problem {
  size_t elems, begin, end;
  struct fence array[ARRAYS];
  float *before[ARRAYS];
  struct vn_adamw step;
};

static float *values(const struct problem *p, int array) {
  return (float *)p->array[array].data;
}

/* Moments as an optimiser has them after some steps; at the first step they are 0. Gradients may be
 * so small that their squares vanish. */
static void problem_random(struct random *r, struct problem *p) {
  *p = (struct problem){.elems = random_in(r, 1, MOST_ELEMS)};
  p->begin = random_below(r, 2) ? 0 : random_below(r, p->elems);
  p->end = random_below(r, 2) ? p->elems : random_in(r, p->begin, p->elems);
  const bool fresh = random_below(r, 3) == 0, tiny = random_below(r, 3) == 0;
  for (int k = 0; k < ARRAYS; k++) {
    fence_open(&p->array[k], p->elems * sizeof(float), random_below(r, 2));
    p->before[k] = malloc(p->elems * sizeof(float));
    for (size_t i = 0; i < p->elems; i++) {
      float x = random_real(r);
      if (k == GRAD && tiny && random_below(r, 2)) x *= 1e-22f;
      if ((k == FIRST || k == SECOND) && fresh) x = 0;
      values(p, k)[i] = p->before[k][i] = k == SECOND ? x * x : x;
    }
  }
  fence_lock(&p->array[GRAD]);
  p->step = (struct vn_adamw){.scale = random_below(r, 2) ? 1 : 0.3f,
                              .keep_first = 0.9f,
                              .keep_second = 0.999f,
                              .keep = random_below(r, 2) ? 1 : 0.999f,
                              .step = 0.01f + 0.1f * fabsf(random_real(r)),
                              .root = 1 + 30 * fabsf(random_real(r)),
                              .epsilon = 1e-8f,
                              .first = values(p, FIRST),
                              .second = values(p, SECOND),
                              .param = values(p, PARAM),
                              .grad = values(p, GRAD)};
}

static void problem_close(struct problem *p) {
  for (int k = 0; k < ARRAYS; k++) {
    fence_close(&p->array[k]);
    free(p->before[k]);
  }
}

static bool near(const struct problem *p, int array, size_t i, double x, double size) {
  const double y = (double)values(p, array)[i];
  if (fabs(y - x) <= 1e-6 * size + 1e-30) return true;
  const size_t used = strlen(check_case);
  snprintf(check_case + used, sizeof check_case - used, ": array %d [%zu] %.9g instead of %.9g",
           array, i, y, x);
  return false;
}

/* Loshchilov and Hutter, algorithm 2, with the corrections of both moments' bias in `step` and
 * `root`. */
static bool element_right(const struct problem *p, size_t i) {
  const struct vn_adamw *a = &p->step;
  const double g = (double)a->scale * (double)p->before[GRAD][i], keep = (double)a->keep;
  const double b1 = (double)a->keep_first, b2 = (double)a->keep_second;
  const double m0 = b1 * (double)p->before[FIRST][i], m1 = (1 - b1) * g;
  const double v = b2 * (double)p->before[SECOND][i] + (1 - b2) * g * g;
  const double by = (double)a->step / (sqrt(v) * (double)a->root + (double)a->epsilon);
  const double w = keep * (double)p->before[PARAM][i], size = fabs(m0) + fabs(m1);
  return near(p, FIRST, i, m0 + m1, size) && near(p, SECOND, i, v, v) &&
         near(p, PARAM, i, w - by * (m0 + m1), fabs(w) + 2 * by * size);
}

static const char *compare(const struct problem *p) {
  for (size_t i = 0; i < p->elems; i++) {
    if (i >= p->begin && i < p->end) {
      if (!element_right(p, i)) return "wrong result";
      continue;
    }
    for (int k = 0; k < ARRAYS; k++)
      if (memcmp(&values(p, k)[i], &p->before[k][i], sizeof(float))) return "wrote beside its part";
  }
  return NULL;
}

enum outcome check_adamw(const struct family *family, uint64_t seed) {
  struct random r = {seed};
  struct problem p;
  problem_random(&r, &p);
  const size_t used = strlen(check_case);
  snprintf(check_case + used, sizeof check_case - used, " %zu to %zu of %zu", p.begin, p.end,
           p.elems);
  family->adamw->adamw(&p.step, p.begin, p.end);
  const char *fault = compare(&p);
  problem_close(&p);
  if (fault) printf("FAIL %s: %s\n", check_case, fault);
  return fault ? OUTCOME_WRONG : OUTCOME_RIGHT;
}

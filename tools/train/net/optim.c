/* The steps of SGD and AdamW; see optim.h. */
#include "optim.h"

#include <math.h>
#include <stdlib.h>

#include "elementary.h"
#include "fail.h"

enum { PART = 1 << 16, SUMS = 8 };

static size_t parts_of(const struct vnt_optim *optim) {
  return (optim->elems + PART - 1) / PART;
}

enum vn_status vnt_optim_open(struct vnt_optim *optim, size_t elems, struct vn_diag *diag) {
  optim->elems = elems;
  optim->steps = 0;
  optim->first = calloc(elems, sizeof(float));
  optim->second = optim->kind == VNT_ADAMW ? calloc(elems, sizeof(float)) : NULL;
  optim->squares = calloc(parts_of(optim), sizeof *optim->squares);
  if (!optim->first || !optim->squares || (optim->kind == VNT_ADAMW && !optim->second))
    return vn_fail(diag, VN_E_MEMORY, "out of memory for the optimiser");
  return VN_OK;
}

void vnt_optim_close(struct vnt_optim *optim) {
  free(optim->first);
  free(optim->second);
  free(optim->squares);
  optim->first = optim->second = NULL;
  optim->squares = NULL;
}

struct job {
  const struct vn_backward *kernels;
  struct vnt_optim *optim;
  double rate, scale; /* scale: of the gradients */
  float *param;
  const float *grad;
};

static void bounds(const struct job *job, size_t part, size_t *begin, size_t *end) {
  *begin = part * PART;
  *end = *begin + PART < job->optim->elems ? *begin + PART : job->optim->elems;
}

static void norm_job(void *context, size_t part, size_t slot) {
  const struct job *job = context;
  (void)slot;
  size_t begin, end;
  bounds(job, part, &begin, &end);
  double sums[SUMS] = {0}, sum = 0; /* side by side, or each addition waits for the one before */
  size_t i = begin;
  for (; i + SUMS <= end; i += SUMS)
    for (size_t k = 0; k < SUMS; k++)
      sums[k] += (double)job->grad[i + k] * (double)job->grad[i + k];
  for (; i < end; i++) sum += (double)job->grad[i] * (double)job->grad[i];
  for (size_t k = 0; k < SUMS; k++) sum += sums[k];
  job->optim->squares[part] = sum;
}

static void sgd_job(void *context, size_t part, size_t slot) {
  const struct job *job = context;
  (void)slot;
  struct vnt_optim *o = job->optim;
  const float scale = (float)job->scale, momentum = (float)o->momentum, rate = (float)job->rate,
              decay = (float)o->decay;
  size_t begin, end;
  bounds(job, part, &begin, &end);
  for (size_t i = begin; i < end; i++) {
    const float g = scale * job->grad[i] + decay * job->param[i];
    o->first[i] = momentum * o->first[i] + g; /* from 0: the first step's buffer is g itself */
    job->param[i] -= rate * o->first[i];
  }
}

static void adamw_job(void *context, size_t part, size_t slot) {
  const struct job *job = context;
  (void)slot;
  struct vnt_optim *o = job->optim;
  const double n = (double)o->steps; /* this one included */
  const struct vn_adamw step = {.scale = (float)job->scale,
                                .keep_first = (float)o->beta1,
                                .keep_second = (float)o->beta2,
                                .keep = (float)(1 - job->rate * o->decay),
                                .step = (float)(job->rate / (1 - vn_pow(o->beta1, n))),
                                .root = (float)(1 / sqrt(1 - vn_pow(o->beta2, n))),
                                .epsilon = (float)o->epsilon,
                                .first = o->first,
                                .second = o->second,
                                .param = job->param,
                                .grad = job->grad};
  size_t begin, end;
  bounds(job, part, &begin, &end);
  job->kernels->adamw(&step, begin, end);
}

double vnt_optim_step(const struct vnt_machine *machine, struct vnt_optim *optim, double rate,
                      float *param, const float *grad) {
  const size_t parts = parts_of(optim);
  struct job job = {machine->training, optim, rate, 1, param, grad};
  double norm = 0;
  vn_pool_run(machine->pool, parts, norm_job, &job);
  for (size_t i = 0; i < parts; i++) norm += optim->squares[i];
  norm = sqrt(norm);
  if (!isfinite(norm)) return norm;
  if (optim->clip > 0 && norm > optim->clip) job.scale = optim->clip / norm;
  optim->steps++;
  vn_pool_run(machine->pool, parts, optim->kind == VNT_SGD ? sgd_job : adamw_job, &job);
  return norm;
}

struct averaging {
  float *average, share;
  const float *values;
  size_t elems;
};

static void average_job(void *context, size_t part, size_t slot) {
  const struct averaging *a = context;
  const size_t begin = part * PART, end = begin + PART < a->elems ? begin + PART : a->elems;
  (void)slot;
  for (size_t i = begin; i < end; i++) a->average[i] += a->share * (a->values[i] - a->average[i]);
}

void vnt_average_step(const struct vnt_machine *machine, float *average, const float *values,
                      size_t elems, double share) {
  struct averaging a = {average, (float)share, values, elems};
  vn_pool_run(machine->pool, (elems + PART - 1) / PART, average_job, &a);
}

double vnt_rate_steps(double rate, uint64_t step, uint64_t every) {
  return rate * vn_pow(10, -(double)(step / every));
}

double vnt_rate_cosine(double rate, uint64_t step, uint64_t warm, uint64_t total) {
  if (step < warm) return rate * (double)(step + 1) / (double)warm;
  if (step >= total) return 0;
  const double part = (double)(step - warm) / (double)(total - warm);
  return rate * 0.5 * (1 + vn_cos(3.14159265358979323846 * part));
}

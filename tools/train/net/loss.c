/* Dice and cross-entropy; see loss.h. Probabilities go into the gradient's memory, by the runtime's
 * softmax or by a sigmoid here, their sums are taken, and the gradient takes their place. */
#include "loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "elementary.h"
#include "fail.h"

enum {
  CLASSES_MOST = VNT_LOSS_CLASSES_MOST,
  PARTS = 64,
  BLOCK = 64 /* voxels whose squares the kernels sum in float, and next to those counted here */
};

/* Of one class in one part of one sample. */
struct sums {
  double pg, pp, gg, hard_both, hard_p;
};

struct job {
  const struct vnt_machine *machine;
  const struct vnt_loss_spec *spec;
  const struct vn_tensor *scores, *grad;
  const uint8_t *labels;
  size_t voxels, channels, classes; /* voxels of one sample */
  double samples;                   /* of all processes */
  struct sums *sums;                /* [sample][part][class] */
  double *entropy, *voxel_weight;   /* [sample][part]: sums over the voxels that count */
  double *a, *b;                    /* [sample][class]: d loss / d p = a g + b p */
  float *share;                     /* [sample]: of a voxel in the cross-entropy */
};

static float *row_of(const struct vn_tensor *t, size_t i) {
  return (float *)t->data + i * t->stride;
}

/* 255 is a class of its own where there are so many. */
static bool ignored(const struct job *job, size_t label) {
  return label >= job->classes;
}

static double weight_of(const struct job *job, size_t class) {
  return job->spec->class_weight ? job->spec->class_weight[class] : 1;
}

/* Two classes by a sigmoid of one number. */
static bool single(const struct job *job) {
  return job->spec->kind == VNT_LOSS_SIGMOID_DICE;
}

/* Both probabilities; yields the logarithm of the label's where it is asked for. */
static double sigmoid_log(const struct job *job, const float *s, size_t label, float p[2]) {
  const float score = job->channels == 1 ? s[0] : s[1] - s[0];
  const double x = (double)score, z = label ? x : -x;
  p[1] = 1 / (1 + (float)vn_exp(-x));
  p[0] = 1 - p[1];
  if (!job->spec->cross_entropy) return 0;
  return z > 0 ? -vn_log1p(vn_exp(-z)) : z - vn_log1p(vn_exp(z));
}

/* By a class that is not next to 0, as the label's own may be. */
static double softmax_log(const struct job *job, const float *s, const float *p, size_t label,
                          size_t best) {
  if (!job->spec->cross_entropy) return 0;
  return (double)(s[label] - s[best]) + vn_log((double)p[best]);
}

/* What is clearly above a half is the label's, and spares the search. */
static size_t likeliest(const struct job *job, const float *p, size_t label) {
  size_t best = 0;
  if (p[label] > 0.6f) return label;
  for (size_t c = 1; c < job->classes; c++)
    if (p[c] > p[best]) best = c;
  return best;
}

/* Yields the logarithm of the label's probability. */
static double voxel_count(const struct job *job, size_t i, struct sums *sums) {
  const size_t label = job->labels[i];
  const float *s = row_of(job->scores, i), *p = row_of(job->grad, i);
  float both[2];
  double logarithm = 0;
  if (single(job)) {
    logarithm = sigmoid_log(job, s, label, both);
    memcpy(row_of(job->grad, i), both + 2 - job->channels, job->channels * sizeof *both);
    p = both;
  }
  const size_t best = likeliest(job, p, label);
  if (!single(job)) logarithm = softmax_log(job, s, p, label, best);
  sums[label].pg += (double)p[label];
  sums[label].gg += 1;
  sums[best].hard_p += 1;
  if (best == label) sums[label].hard_both += 1;
  return logarithm;
}

static struct vn_pixels part_of(const struct job *job, size_t index) {
  const size_t sample = index / PARTS * job->voxels, part = index % PARTS;
  return (struct vn_pixels){sample + part * job->voxels / PARTS,
                            sample + (part + 1) * job->voxels / PARTS, job->channels};
}

static void sums_job(void *context, size_t index, size_t slot) {
  const struct job *job = context;
  const struct vn_pixels part = part_of(job, index);
  struct sums *sums = job->sums + index * job->classes;
  double entropy = 0, weights = 0, moments[2 * CLASSES_MOST] = {0};
  (void)slot;
  memset(sums, 0, job->classes * sizeof *sums);
  struct vn_pixels block = part;
  for (; block.begin < part.end; block.begin = block.end) {
    block.end = part.end - block.begin < BLOCK ? part.end : block.begin + BLOCK;
    for (size_t i = block.begin; i < block.end; i++) {
      const size_t label = job->labels[i];
      if (ignored(job, label)) {
        memset(row_of(job->grad, i), 0, job->channels * sizeof(float));
        continue;
      }
      const double weight = weight_of(job, label);
      entropy -= weight * voxel_count(job, i, sums);
      weights += weight;
    }
    job->machine->training->moments(&block, job->grad, NULL, NULL, moments);
  }
  for (size_t c = 0; c < job->channels; c++)
    sums[job->classes - job->channels + c].pp = moments[job->channels + c];
  job->entropy[index] = entropy;
  job->voxel_weight[index] = weights;
}

static void grad_job(void *context, size_t index, size_t slot) {
  const struct job *job = context;
  const struct vn_pixels part = part_of(job, index);
  const size_t sample = index / PARTS;
  const double *a = job->a + sample * job->classes, *b = job->b + sample * job->classes;
  (void)slot;
  for (size_t i = part.begin; i < part.end; i++) {
    const size_t label = job->labels[i];
    float p[CLASSES_MOST], dp[CLASSES_MOST], *to = row_of(job->grad, i);
    if (ignored(job, label)) continue; /* whose probabilities are 0 */
    const float share = job->share[sample] * (float)weight_of(job, label);
    memcpy(p + job->classes - job->channels, to, job->channels * sizeof *p);
    if (single(job)) {
      p[0] = 1 - p[1];
      const float d = (float)(a[1] * (double)(label == 1) + b[1] * (double)p[1]);
      const float x = d * p[1] * p[0] + share * (p[1] - (float)(label == 1));
      to[job->channels - 1] = x;
      if (job->channels == 2) to[0] = -x;
      continue;
    }
    float mean = 0;
    for (size_t c = 0; c < job->channels; c++) {
      dp[c] = (float)(a[c] * (double)(label == c) + b[c] * (double)p[c]);
      mean += dp[c] * p[c];
    }
    for (size_t c = 0; c < job->channels; c++)
      to[c] = p[c] * (dp[c] - mean) + share * (p[c] - (float)(label == c));
  }
}

/* The loss of one sample, and its derivative by sum(p g) and sum(p^2) in a and b. */
static double sample_finish(struct job *job, size_t sample, struct vnt_loss *loss) {
  const enum vnt_loss_kind kind = job->spec->kind;
  const double smooth = kind == VNT_LOSS_SIGMOID_DICE ? 1 : kind == VNT_LOSS_MULTI_DICE ? 1e-5 : 0;
  const size_t last = kind == VNT_LOSS_MULTI_DICE ? job->classes : 2;
  double total = 0, entropy = 0, both = 0, either = 0, voxels = 0, weights = 0;
  for (size_t part = 0; part < PARTS; part++) {
    entropy += job->entropy[sample * PARTS + part];
    voxels += job->voxel_weight[sample * PARTS + part];
  }
  for (size_t c = 1; c < last; c++) weights += weight_of(job, c);
  if (!(voxels > 0)) voxels = 1; /* all are ignored, and the sums are 0 */
  job->share[sample] = (float)(job->spec->cross_entropy / (voxels * job->samples));
  for (size_t c = 0; c < job->classes; c++) {
    struct sums sum = {0};
    for (size_t part = 0; part < PARTS; part++) {
      const struct sums *s = job->sums + (sample * PARTS + part) * job->classes + c;
      sum.pg += s->pg, sum.pp += s->pp, sum.gg += s->gg;
      sum.hard_both += s->hard_both, sum.hard_p += s->hard_p;
    }
    const double marked = sum.hard_p + sum.gg;
    if (c) both += sum.hard_both, either += marked;
    if (c && marked > 0) loss->class[c].dice += 2 * sum.hard_both / marked;
    if (c && marked > 0) loss->class[c].samples++;
    const double top = 2 * sum.pg + smooth, below = sum.pp + sum.gg + smooth;
    double *a = &job->a[sample * job->classes + c], *b = &job->b[sample * job->classes + c];
    *a = *b = 0;
    if (c == 0 || c >= last || below == 0) continue;
    const double weight = weight_of(job, c) / (weights * job->samples);
    total += weight_of(job, c) * (1 - top / below);
    *a = -2 / below * weight;
    *b = 2 * top / (below * below) * weight;
  }
  loss->dice += (either > 0 ? 2 * both / either : 1) / job->samples;
  return total / weights + job->spec->cross_entropy * entropy / voxels;
}

/* The probabilities of all voxels, to where the gradient will be. */
static enum vn_status softmax_run(const struct job *job, struct vn_diag *diag) {
  const struct vnt_machine *machine = job->machine;
  const struct vn_simple softmax = {
      .op = VN_OP_SOFTMAX, .axis = VN_C, .in = {*job->scores}, .out = *job->grad};
  struct vn_prepared prepared;
  enum vn_status status = machine->runtime->softmax(&softmax, &prepared, diag);
  if (status) return status;
  void *scratch = vnt_memory(machine->threads * prepared.scratch_bytes);
  if (scratch)
    vn_prepared_run(&prepared, machine->pool, scratch, prepared.scratch_bytes, NULL);
  else
    status = vn_fail(diag, VN_E_MEMORY, "out of memory for the loss");
  prepared.close(prepared.state);
  free(scratch);
  return status;
}

enum vn_status vnt_loss_run(const struct vnt_machine *machine, const struct vnt_loss_spec *spec,
                            const struct vn_tensor *scores, const uint8_t *labels,
                            const struct vn_tensor *grad, struct vnt_loss *loss,
                            struct vn_diag *diag) {
  const size_t channels = scores->dim[VN_C], samples = scores->dim[VN_N];
  struct job job = {.machine = machine,
                    .spec = spec,
                    .scores = scores,
                    .grad = grad,
                    .labels = labels,
                    .voxels = scores->dim[VN_D] * scores->dim[VN_H] * scores->dim[VN_W],
                    .channels = channels,
                    .classes = channels == 1 ? 2 : channels,
                    .samples = (double)(samples * machine->processes)};
  *loss = (struct vnt_loss){0};
  bool sigmoid = spec->kind == VNT_LOSS_SIGMOID_DICE;
  if (channels > CLASSES_MOST || (channels == 1 && !sigmoid) ||
      (channels > 2 && spec->kind != VNT_LOSS_MULTI_DICE))
    return vn_fail(diag, VN_E_ARGUMENT, "this loss is not for %zu channels", channels);
  job.sums = malloc(samples * PARTS * job.classes * sizeof *job.sums);
  job.entropy = malloc(2 * samples * PARTS * sizeof *job.entropy);
  job.a = malloc(2 * samples * job.classes * sizeof *job.a);
  job.share = malloc(samples * sizeof *job.share);
  enum vn_status status = single(&job) ? VN_OK : softmax_run(&job, diag);
  if (!status && job.sums && job.entropy && job.a && job.share) {
    job.voxel_weight = job.entropy + samples * PARTS;
    job.b = job.a + samples * job.classes;
    vn_pool_run(machine->pool, samples * PARTS, sums_job, &job);
    for (size_t s = 0; s < samples; s++) loss->loss += sample_finish(&job, s, loss) / job.samples;
    vn_pool_run(machine->pool, samples * PARTS, grad_job, &job);
  } else if (!status) {
    status = vn_fail(diag, VN_E_MEMORY, "out of memory for the loss");
  }
  free(job.sums);
  free(job.entropy);
  free(job.a);
  free(job.share);
  return status;
}

/* Passes over pixels, in parts; see sweep.h. */
#include "sweep.h"

#include <string.h>

/* Parts of a sample: at most PARTS, each of at least PART_LEAST pixels. */
enum { PARTS = 64, PART_LEAST = 1024 };
/* A part that two functions go through is cut into blocks, whole ones of the kernels' 64 pixels, so
 * that the second finds in the cache what the first has written. */
enum { BLOCK_ELEMS = 4096, BLOCK_LEAST = 64 };

static size_t parts_of(size_t pixels) {
  const size_t parts = pixels / PART_LEAST;
  return parts < 1 ? 1 : parts > PARTS ? PARTS : parts;
}

size_t vnt_sums_bytes(const struct vn_tensor *x) {
  const size_t samples = x->dim[VN_N];
  return samples * parts_of(vnt_pixels(x) / samples) * 2 * x->dim[VN_C] * sizeof(double);
}

static void sweep_job(void *context, size_t job, size_t slot) {
  const struct vnt_sweep *s = context;
  const size_t first = job / s->parts * s->pixels, part = job % s->parts;
  (void)slot;
  const size_t begin = first + part * s->pixels / s->parts;
  const size_t end = first + (part + 1) * s->pixels / s->parts;
  const size_t lines = BLOCK_ELEMS / s->channels / BLOCK_LEAST;
  const size_t block = !s->before && !s->then ? end - begin : (lines ? lines : 1) * BLOCK_LEAST;
  double *sums = s->scratch ? s->scratch + job * 2 * s->channels : NULL;
  if (sums) memset(sums, 0, 2 * s->channels * sizeof *sums);
  for (size_t at = begin; at < end; at += block) {
    const struct vn_pixels p = {at, end - at < block ? end : at + block, s->channels};
    if (s->before) s->before(s, &p, NULL);
    s->fn(s, &p, sums);
    if (s->then) s->then(s, &p, NULL);
  }
}

void vnt_sweep_run(struct vnt_sweep *s, double *first, double *second) {
  const size_t samples = s->x->dim[VN_N];
  s->pixels = vnt_pixels(s->x) / samples;
  s->channels = s->channels ? s->channels : s->x->dim[VN_C];
  s->parts = parts_of(s->pixels);
  vn_pool_run(s->m->pool, samples * s->parts, sweep_job, s);
  double *to[2] = {first, second};
  for (int k = 0; k < 2; k++)
    for (size_t c = 0; to[k] && c < s->channels; c++) {
      to[k][c] = 0;
      for (size_t part = 0; part < samples * s->parts; part++)
        to[k][c] += s->scratch[(part * 2 + (size_t)k) * s->channels + c];
    }
}

/* ---- with an activation ---- */

bool vnt_act_marks(const struct vnt_act *act, size_t channels) {
  for (size_t c = 0; act->kind == VN_ACT_PRELU && c < channels; c++)
    if (act->slope[c] < 0) return true;
  return false;
}

/* Of y, in place: the end of a sweep that writes it. */
static void act_in_place(const struct vnt_sweep *s, const struct vn_pixels *p, double *sums) {
  (void)sums;
  if (s->act->kind == VN_ACT_ELU)
    s->m->training->elu(p, s->y, s->act->alpha, s->y);
  else
    s->m->training->prelu(p, s->y, s->act->slope, s->marked, s->y);
}

void vnt_sweep_then_act(struct vnt_sweep *s, const struct vnt_act *act) {
  if (!act) return;
  s->act = act;
  s->marked = vnt_act_marks(act, s->x->dim[VN_C]);
  s->then = act_in_place;
}

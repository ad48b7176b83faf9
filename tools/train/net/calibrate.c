/* See calibrate.h. */
#include "calibrate.h"

#include <math.h>

#include "net_private.h"

void vnt_net_calibrate(struct vnt_net *net) {
  for (size_t i = 0; i < net->private->n_steps; i++) {
    const struct step *s = &net->private->steps[i];
    if (s->kind != STEP_NORM) continue;
    vnt_net_forward(net); /* fills this layer's mean and inv_sd */
    float *scale = param_of(net, s->weight), *shift = param_of(net, s->bias);
    for (size_t c = 0; c < net->params[s->weight].elems; c++) {
      const double mean = (double)s->norm.mean[c], inv = (double)s->norm.inv_sd[c];
      shift[c] = (float)((double)shift[c] + (double)scale[c] * mean);
      scale[c] = (float)((double)scale[c] / inv);
    }
  }
  for (size_t i = 0; i < net->private->n_steps; i++) { /* which every pass above has moved */
    const struct step *s = &net->private->steps[i];
    if (s->kind != STEP_NORM) continue;
    for (size_t c = 0; c < net->params[s->weight].elems; c++) {
      const double inv = (double)s->norm.inv_sd[c];
      s->norm.running_mean[c] = s->norm.mean[c];
      s->norm.running_var[c] = (float)(1 / (inv * inv) - s->norm.epsilon);
    }
  }
}

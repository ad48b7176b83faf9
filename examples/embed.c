/* A host program with the runtime inside: opens a plan once, runs it on a volume, counts labels.
 *
 *   cc embed.c -I/usr/local/include/vnet -lvnet -o embed && ./embed brain.plan
 *
 * The volume here is a bright ball on a dark ground; a viewer would hand over its own voxels. */
#include <vnet.h>

#include <stdio.h>
#include <stdlib.h>

static void ball_draw(float *voxels, const struct vn_port *port) {
  size_t depth = port->dim[2], height = port->dim[3], width = port->dim[4], i = 0;
  for (size_t nc = 0; nc < port->dim[0] * port->dim[1]; nc++)
    for (size_t d = 0; d < depth; d++)
      for (size_t h = 0; h < height; h++)
        for (size_t w = 0; w < width; w++) {
          float z = 2.f * (float)d / (float)depth - 1, y = 2.f * (float)h / (float)height - 1;
          float x = 2.f * (float)w / (float)width - 1;
          voxels[i++] = x * x + y * y + z * z < 0.5f ? 1.f : -1.f;
        }
}

/* How many voxels have each class as their largest score? scores: [1][classes][d][h][w]. */
static void labels_count(const float *scores, const struct vn_port *port) {
  size_t classes = port->dim[1], voxels = port->dim[2] * port->dim[3] * port->dim[4];
  size_t *count = calloc(classes, sizeof *count);
  if (!count) return;
  for (size_t v = 0; v < voxels; v++) {
    size_t best = 0;
    for (size_t c = 1; c < classes; c++)
      if (scores[c * voxels + v] > scores[best * voxels + v]) best = c;
    count[best]++;
  }
  for (size_t c = 0; c < classes; c++) printf("class %zu: %zu voxels\n", c, count[c]);
  free(count);
}

int main(int argc, char **argv) {
  struct vn_plan *plan = NULL;
  struct vn_exec *exec = NULL;
  float *voxels = NULL, *scores = NULL;
  struct vn_diag diag = {""};
  enum vn_status status = VN_E_ARGUMENT;
  if (argc != 2) {
    fprintf(stderr, "usage: embed PLAN\n");
    return status;
  }
  status = vn_plan_open(argv[1], &plan, &diag);
  if (!status) status = vn_exec_open(plan, NULL, &exec, &diag); /* NULL: every core, best ISA */
  if (status) goto fail;

  struct vn_port in = vn_plan_input(plan, 0), out = vn_plan_output(plan, 0);
  if (in.rank != 5 || out.rank != 5 || out.type != VN_TYPE_F32 || out.dim[0] != 1 ||
      vn_plan_inputs(plan) != 1 || vn_plan_outputs(plan) != 1) {
    status = VN_E_UNSUPPORTED;
    snprintf(diag.text, sizeof diag.text, "not a network from one volume to one map of scores");
    goto fail;
  }
  voxels = malloc(in.elems * sizeof *voxels);
  scores = malloc(out.elems * sizeof *scores);
  if (!voxels || !scores) {
    status = VN_E_MEMORY;
    snprintf(diag.text, sizeof diag.text, "out of memory");
    goto fail;
  }
  ball_draw(voxels, &in);
  const void *inputs[] = {voxels};
  void *outputs[] = {scores};
  status = vn_exec_run(exec, inputs, outputs, &diag);
  if (!status) labels_count(scores, &out);

fail:
  if (status) fprintf(stderr, "embed: %s\n", diag.text);
  free(voxels);
  free(scores);
  vn_exec_close(&exec);
  vn_plan_close(&plan);
  return status;
}

/* See models.h. */
#include "models.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "plan_find.h"
#include "vnet_scan.h"

static void model_find(struct run_models *models, const char *word, size_t length, bool notes) {
  if (models->count == RUN_MODELS_MOST)
    cli_fatal(VN_E_ARGUMENT, "more than %d models to average", RUN_MODELS_MOST);
  struct run_model *model = &models->of[models->count++];
  model->given = strndup(word, length);
  if (!model->given) cli_fatal(VN_E_MEMORY, "out of memory");
  model->path = plan_find(model->given, notes);
}

struct run_models run_models_find(const char *word, bool notes) {
  struct run_models models = {0};
  struct stat there;
  const bool one = stat(word, &there) == 0;
  for (const char *at = word, *end; at; at = end ? end + 1 : NULL) {
    end = one ? NULL : strchr(at, ',');
    const size_t length = end ? (size_t)(end - at) : strlen(at);
    if (length == 0)
      cli_fatal(VN_E_ARGUMENT,
                "%.200s: a model's name is missing beside a comma, around which no blank may be",
                word);
    model_find(&models, at, length, notes);
  }
  return models;
}

void run_models_allow(struct sandbox *box, const struct run_models *models) {
  for (size_t i = 0; i < models->count; i++) sandbox_read(box, models->of[i].path);
}

void run_models_add(struct cli_files *all, const struct run_models *models) {
  for (size_t i = 0; i < models->count; i++) {
    const struct run_model *model = &models->of[i];
    cli_files_add(all, model->path, false);
    if (strcmp(model->given, model->path) != 0) cli_files_add(all, model->given, false);
  }
}

/* A scan in the plan's place is what a person gets wrong first. */
static void swapped_check(const char *given) {
  struct vn_scan *scan;
  struct vn_diag diag;
  if (vn_scan_open(given, &scan, &diag)) return;
  vn_scan_close(&scan);
  cli_fatal(VN_E_ARGUMENT, "%s: is a scan; the plan comes before it: vnet-run PLAN SCAN", given);
}

void run_models_open(struct run_models *models, struct vn_cancel *cancel) {
  const struct vn_run_options opening = {.size = sizeof opening, .cancel = cancel};
  struct vn_diag diag;
  char *checksum = models->checksum;
  for (size_t i = 0; i < models->count; i++) {
    struct run_model *model = &models->of[i];
    const enum vn_status status = vn_plan_open_with(model->path, &opening, &model->plan, &diag);
    if (status == VN_E_FORMAT) swapped_check(model->given);
    cli_check(status, &diag);
    checksum += sprintf(checksum, "%s%016" PRIx64, i ? "+" : "", vn_plan_checksum(model->plan));
  }
}

/* Of several models, which one a sentence is about. */
static void check(const struct run_models *models, size_t index, enum vn_status status,
                  const struct vn_diag *diag) {
  if (models->count == 1) cli_check(status, diag);
  if (status) cli_fatal(status, "%.200s: %.300s", models->of[index].given, diag->text);
}

struct vn_segmenter *run_models_segmenter(const struct run_models *models,
                                          const struct vn_exec_options *options) {
  struct vn_segmenter *all = NULL;
  struct vn_diag diag;
  for (size_t i = 0; i < models->count; i++) {
    struct vn_segmenter *one;
    check(models, i, vn_segmenter_open(models->of[i].plan, options, &one, &diag), &diag);
    if (i)
      check(models, i, vn_segmenter_add(all, &one, &diag), &diag);
    else
      all = one;
  }
  return all;
}

void run_models_note(const struct run_models *models) {
  for (size_t i = 0; i < models->count; i++)
    if (!vn_plan_meta(models->of[i].plan, "vnet.intensity"))
      cli_note("%s%sthe model has no vnet.intensity: voxels go in as they are",
               models->count > 1 ? models->of[i].given : "", models->count > 1 ? ": " : "");
}

void run_models_close(struct run_models *models) {
  for (size_t i = 0; i < models->count; i++) {
    vn_plan_close(&models->of[i].plan);
    free(models->of[i].given);
    free(models->of[i].path);
  }
}

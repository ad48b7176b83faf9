#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "cases_folder.h"

static const char *folder;
static const struct vn_intensity_rule percentiles = {VN_INTENSITY_PERCENTILE, 0.5, 99.5, 0, 0};
struct vnt_cases_spec plain = {.orientation = "RAS", .intensity = &percentiles, .n_intensity = 1};

bool cases_folder_open(const char *path) {
  static struct vnt_labels *five;
  folder = path;
  if (!five && vnt_labels_plain(5, -1, &five, NULL)) return false;
  plain.labels = five;
  return true;
}

const char *path_of(const char *name) {
  static char path[2048];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

struct vnt_cases cases_open(const char *csv, const struct vnt_cases_spec *spec) {
  struct vnt_cases cases;
  struct vn_diag diag;
  if (vnt_cases_open(path_of(csv), spec, NULL, &cases, &diag)) fail_msg("%s", diag.text);
  return cases;
}

void *file_read(const char *name, size_t bytes) {
  FILE *file = fopen(path_of(name), "rb");
  void *data = malloc(bytes + 1);
  assert_true(file && data);
  assert_int_equal(fread(data, 1, bytes + 1, file), bytes);
  fclose(file);
  return data;
}

size_t product(const size_t n[3]) {
  return n[0] * n[1] * n[2];
}

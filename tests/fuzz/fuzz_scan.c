/* Hostile scans of every format: open, load, and write labels in every format for what loads. A
 * gzipped seed is mutated as the compressed stream that it is. */
#include "fuzz.h"

#include "vnet_scan.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum vn_status write_labels(const struct vn_scan *scan, struct vn_diag *diag) {
  struct vn_image image = {.size = sizeof image};
  vn_scan_image(scan, &image);
  struct vn_label_map map = {.size = sizeof map, .elem_bytes = 1};
  map.data = calloc(image.dim[0] * image.dim[1], image.dim[2]);
  int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (!map.data || fd < 0) exit(2);
  struct vn_scan_result result = {
      .size = sizeof result, .like = scan, .map = &map, .labels = 2, .description = "fuzz"};
  static const char *const names[] = {"l.nii", "l.nrrd", "l.mgh"};
  enum vn_status status = VN_OK;
  for (int i = 0; i < 3 && !status; i++) status = vn_scan_write_labels(fd, names[i], &result, diag);
  result.like = NULL;
  result.image = &image;
  if (!status) status = vn_scan_write_labels(fd, "l.nii", &result, diag);
  close(fd);
  free(map.data);
  return status;
}

static int load_bytes(uint8_t *bytes, size_t size, const char *folder, char sentence[512]) {
  bool gzipped = size > 2 && bytes[0] == 0x1f && bytes[1] == 0x8b;
  char path[64];
  snprintf(path, sizeof path, "%s/scan.nii%s", folder, gzipped ? ".gz" : "");
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(bytes, 1, size, f) != size || fclose(f)) exit(2);

  struct vn_diag diag = {""};
  struct vn_scan *scan;
  enum vn_status status = vn_scan_open(path, &scan, &diag);
  static const char *const geometries[] = {"LPS", "sform", "qform"};
  for (int i = 0; i < 3 && !status; i++) vn_scan_set_geometry(scan, geometries[i], NULL);
  if (!status) status = vn_scan_load(scan, NULL, &diag);
  if (!status) status = write_labels(scan, &diag);
  vn_scan_close(&scan);
  unlink(path);
  memcpy(sentence, diag.text, sizeof diag.text);
  return (int)status;
}

int main(int argc, char **argv) {
  return fuzz_main(argc, argv, load_bytes);
}

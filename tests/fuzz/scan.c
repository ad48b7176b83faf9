/* Scan files: open, load, write labels for what loads, and read those. A gzipped input is changed
 * under its compression, mostly. */
#include "fuzz.h"

#include "vnet_scan.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* ---- a gzipped input ---- */

static size_t unpack(const uint8_t *data, size_t size, uint8_t *plain, size_t most) {
  z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)size};
  if (inflateInit2(&z, 15 + 16)) return 0;
  z.next_out = plain;
  z.avail_out = (uInt)most;
  int code = inflate(&z, Z_FINISH);
  inflateEnd(&z);
  return code == Z_STREAM_END ? most - z.avail_out : 0;
}

static size_t pack(uint8_t *plain, size_t size, uint8_t *data, size_t most) {
  z_stream z = {.next_in = plain, .avail_in = (uInt)size};
  if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY)) return 0;
  z.next_out = data;
  z.avail_out = (uInt)most;
  int code = deflate(&z, Z_FINISH);
  deflateEnd(&z);
  return code == Z_STREAM_END ? most - z.avail_out : 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
  static uint8_t plain[FUZZ_BYTES_MOST];
  bool packed = size > 18 && data[0] == 0x1f && data[1] == 0x8b && seed % 8;
  size_t n = packed ? unpack(data, size, plain, sizeof plain) : 0;
  if (!n) return LLVMFuzzerMutate(data, size, most);
  n = LLVMFuzzerMutate(plain, n, sizeof plain);
  n = pack(plain, n, data, most);
  return n ? n : size;
}

/* ---- the target ---- */

/* A file of ours is one that we read, on the scan's own grid. */
static void read_again(const char *path, const struct vn_image *image) {
  struct vn_diag diag = {""};
  struct vn_scan *scan;
  struct vn_image again = {.size = sizeof again};
  if (vn_scan_open(path, &scan, &diag) || vn_scan_load(scan, NULL, &diag))
    fuzz_broken("does not read what it wrote: %s", diag.text);
  vn_scan_image(scan, &again);
  if (memcmp(again.dim, image->dim, sizeof again.dim)) fuzz_broken("wrote another grid");
  vn_scan_close(&scan);
}

/* In every format, like the scan's file and like no file. */
static void write_labels(const struct vn_scan *scan) {
  static const char *const names[] = {"l.nii", "l.nrrd", "l.mgh"};
  struct vn_diag diag = {""};
  struct vn_image image = {.size = sizeof image};
  vn_scan_image(scan, &image);
  struct vn_label_map map = {.size = sizeof map, .elem_bytes = 1};
  map.data = calloc(image.dim[0] * image.dim[1], image.dim[2]);
  if (!map.data) fuzz_broken("out of memory");
  struct vn_scan_result result = {
      .size = sizeof result, .image = &image, .map = &map, .labels = 2, .description = "fuzz"};
  for (int i = 0; i < 6; i++) {
    int fd;
    const char *path = fuzz_output(&fd);
    result.like = i % 2 ? scan : NULL;
    enum vn_status status = vn_scan_write_labels(fd, names[i / 2], &result, &diag);
    fuzz_judge(status, &diag);
    if (!status) read_again(path, &image);
  }
  free(map.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const geometries[] = {"LPS", "sform", "qform", NULL, NULL, NULL};
  struct vn_diag diag = {""};
  struct vn_scan *scan;
  const char *geometry = geometries[size % 6];
  const char *path = fuzz_file(data, size);
  enum vn_status status =
      size % 4 ? vn_scan_open(path, &scan, &diag) : vn_scan_open_series(path, &scan, &diag);
  if (!status && geometry) vn_scan_set_geometry(scan, geometry, NULL); /* there may be no such */
  if (!status) status = vn_scan_load(scan, NULL, &diag);
  fuzz_judge(status, &diag);
  if (!status) write_labels(scan);
  vn_scan_close(&scan);
  return 0;
}

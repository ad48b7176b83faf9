/* Writes label maps and class probabilities in every format; see vnet_scan.h. What comes before the
 * voxels is each format's own business. */
#include "scan_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"
#include "options.h"
#include "os.h"
#include "part.h"

/* ---- bytes ---- */

/* Where they go: to the descriptor, or by way of zlib. */
struct sink {
  int fd;
  gzFile gz; /* NULL: plain */
  const struct vn_cancel *cancel;
};

static enum vn_status packed_fail(gzFile file, struct vn_diag *diag) {
  int code, reason = errno;
  const char *text = gzerror(file, &code);
  return vn_fail(diag, code == Z_MEM_ERROR ? VN_E_MEMORY : VN_E_IO, "cannot write: %s",
                 code == Z_ERRNO ? strerror(reason) : text);
}

/* In pieces that take some milliseconds. */
static enum vn_status sink_write(const struct sink *sink, const void *bytes, size_t size,
                                 struct vn_diag *diag) {
  enum vn_status status = VN_OK;
  for (const char *from = bytes; size && !status;) {
    unsigned part = size < 1 << 20 ? (unsigned)size : 1 << 20;
    if (sink->cancel && vn_cancel_pressed(sink->cancel))
      return vn_fail(diag, VN_E_CANCELLED, "cancelled");
    if (!sink->gz)
      status = vn_part_write(sink->fd, from, part, diag);
    else if (gzwrite(sink->gz, from, part) != (int)part)
      status = packed_fail(sink->gz, diag);
    from += part;
    size -= part;
  }
  return status;
}

static enum vn_status sink_pack(struct sink *sink, const char *mode, struct vn_diag *diag) {
  int copy = vn_os_dup(sink->fd); /* gzclose closes its own */
  sink->gz = copy < 0 ? NULL : gzdopen(copy, mode);
  if (sink->gz) return VN_OK;
  if (copy >= 0) close(copy);
  return vn_fail(diag, VN_E_MEMORY, "cannot write: out of memory or descriptors");
}

static enum vn_status sink_close(struct sink *sink, enum vn_status status, struct vn_diag *diag) {
  int closed = sink->gz ? gzclose(sink->gz) : Z_OK;
  if (status == VN_OK && closed != Z_OK)
    return vn_fail(diag, VN_E_IO, "cannot write: %s",
                   closed == Z_ERRNO ? strerror(errno) : "compression failed");
  return status;
}

/* ---- voxels ---- */

/* `count` voxels as they lie in memory, as those of the file: 16-bit probabilities that become
 * float32, and the other byte order. */
static void voxels_convert(const unsigned char *from, size_t count, bool to_float, size_t bytes,
                           bool swap, unsigned char *to) {
  for (size_t i = 0; i < count && to_float; i++) {
    uint16_t stored;
    memcpy(&stored, from + 2 * i, sizeof stored);
    memcpy(to + 4 * i, &(float){(float)(stored / 65535.0)}, sizeof(float));
  }
  if (!to_float) memcpy(to, from, count * bytes);
  for (unsigned char *at = to; swap && at < to + count * bytes; at += bytes)
    for (size_t i = 0; i < bytes / 2; i++) {
      unsigned char keep = at[i];
      at[i] = at[bytes - 1 - i];
      at[bytes - 1 - i] = keep;
    }
}

/* What is in memory has `elem_bytes` a voxel. */
static enum vn_status voxels_write(const struct sink *sink, const struct vn_result *result,
                                   bool swap, const void *data, size_t elem_bytes,
                                   struct vn_diag *diag) {
  enum { PIECE = 4096 };
  const size_t count = result->elems * (result->series ? result->series : 1);
  const size_t bytes = vn_voxel_bytes(result->type);
  if (bytes == elem_bytes && (!swap || bytes == 1))
    return sink_write(sink, data, count * bytes, diag);
  unsigned char piece[PIECE * sizeof(float)];
  enum vn_status status = VN_OK;
  for (size_t from = 0; from < count && !status; from += PIECE) {
    size_t part = count - from < PIECE ? count - from : PIECE;
    voxels_convert((const unsigned char *)data + from * elem_bytes, part, bytes != elem_bytes,
                   bytes, swap, piece);
    status = sink_write(sink, piece, part * bytes, diag);
  }
  return status;
}

/* Level 1 packs smooth numbers a third as well as level 6 does labels, at a fifth of the time. */
static enum vn_status image_write(int fd, const struct vn_result *result,
                                  const struct vn_head *head, const void *data, size_t elem_bytes,
                                  struct vn_diag *diag) {
  const char *mode = result->series ? "wb1" : "wb";
  struct sink sink = {.fd = fd, .cancel = result->cancel};
  enum vn_status status = VN_OK;
  if (result->gzip && !head->plain) status = sink_pack(&sink, mode, diag);
  if (!status) status = sink_write(&sink, head->bytes, head->size, diag);
  if (!status && result->gzip && head->plain) status = sink_pack(&sink, mode, diag);
  if (!status) status = voxels_write(&sink, result, head->swap, data, elem_bytes, diag);
  return sink_close(&sink, status, diag);
}

/* ---- what is written ---- */

static bool format_find(const char *name, enum vn_scan_format *format, bool *gzip) {
  static const struct {
    const char *ending;
    enum vn_scan_format format;
    bool gzip;
  } written[] = {{".nii", VN_SCAN_NIFTI, false},
                 {".nii.gz", VN_SCAN_NIFTI, true},
                 {".nrrd", VN_SCAN_NRRD, true},
                 {".mgh", VN_SCAN_MGH, false},
                 {".mgz", VN_SCAN_MGH, true}};
  for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
    if (!vn_name_ends(name, written[i].ending)) continue;
    *format = written[i].format;
    *gzip = written[i].gzip;
    return true;
  }
  return false;
}

bool vn_scan_writable(const char *name) {
  enum vn_scan_format format;
  bool gzip;
  return format_find(name, &format, &gzip);
}

static bool map_dense(const struct vn_label_map *map, const size_t dim[3]) {
  ptrdiff_t bytes = (ptrdiff_t)map->elem_bytes;
  if (!map->stride[0] && !map->stride[1] && !map->stride[2]) return true;
  for (int i = 0; i < 3; i++) {
    if (map->stride[i] != bytes && dim[i] > 1) return false;
    bytes *= (ptrdiff_t)dim[i];
  }
  return true;
}

/* The caller's image as a grid in RAS. */
static enum vn_status grid_take(const struct vn_image *theirs, struct vn_result *result,
                                struct vn_diag *diag) {
  struct vn_image *grid = &result->grid;
  if (!theirs) return vn_fail(diag, VN_E_ARGUMENT, "neither a file nor an image gives the grid");
  enum vn_status status = vn_options_take(grid, sizeof *grid, theirs, "vn_image", diag);
  if (status) return status;
  result->elems = 1;
  for (int j = 0; j < 3; j++)
    if (grid->dim[j] < 1 || grid->dim[j] > INT32_MAX ||
        __builtin_mul_overflow(result->elems, grid->dim[j], &result->elems))
      return vn_fail(diag, VN_E_ARGUMENT, "an image of %zu voxels along an axis", grid->dim[j]);
  if (!vn_affine_usable(grid->affine))
    return vn_fail(diag, VN_E_ARGUMENT, "an image whose affine loses an axis");
  for (int j = 0; j < 4 && grid->world == VN_WORLD_LPS; j++) {
    grid->affine[0][j] = -grid->affine[0][j];
    grid->affine[1][j] = -grid->affine[1][j];
  }
  if (grid->world == VN_WORLD_LPS) grid->world = VN_WORLD_RAS;
  return VN_OK;
}

/* All that is common to labels and probabilities. */
static enum vn_status result_take(const char *name, const struct vn_scan_result *theirs,
                                  struct vn_result *result, enum vn_scan_format *format,
                                  struct vn_label_map *map, struct vn_diag *diag) {
  struct vn_scan_result mine;
  struct vn_image image = {.size = sizeof image};
  *result = (struct vn_result){.slope = 1};
  enum vn_status status = vn_options_take(&mine, sizeof mine, theirs, "vn_scan_result", diag);
  if (status) return status;
  if (!format_find(name, format, &result->gzip))
    return vn_fail(diag, VN_E_ARGUMENT,
                   "a result's name must end in .nii, .nii.gz, .nrrd, .mgz or .mgh");
  if (!mine.map) return vn_fail(diag, VN_E_ARGUMENT, "no label map is given");
  if ((status = vn_options_take(map, sizeof *map, mine.map, "vn_label_map", diag))) return status;
  if (mine.like) vn_scan_image(mine.like, &image);
  if (mine.like && mine.like->format == *format) result->like = mine.like;
  result->labels = mine.labels;
  result->label = mine.label;
  result->description = mine.description;
  result->cancel = mine.cancel;
  if (mine.labels < 1 || mine.labels > INT16_MAX + 1)
    return vn_fail(diag, VN_E_ARGUMENT, "a result of %zu labels", mine.labels);
  return grid_take(mine.like ? &image : mine.image, result, diag);
}

static enum vn_status result_write(int fd, const struct vn_result *result,
                                   enum vn_scan_format format, const void *data, size_t elem_bytes,
                                   struct vn_diag *diag) {
  static enum vn_status (*const heads[])(const struct vn_result *, struct vn_head *,
                                         struct vn_diag *) = {vn_nifti_head, vn_nrrd_head,
                                                              vn_mgh_head};
  struct vn_head head = {0};
  enum vn_status status = heads[format](result, &head, diag);
  if (!status) status = image_write(fd, result, &head, data, elem_bytes, diag);
  free(head.bytes);
  return status;
}

enum vn_status vn_scan_write_labels(int fd, const char *name, const struct vn_scan_result *theirs,
                                    struct vn_diag *diag) {
  struct vn_result result;
  struct vn_label_map map;
  enum vn_scan_format format;
  enum vn_status status = result_take(name, theirs, &result, &format, &map, diag);
  if (status) return status;
  if ((map.elem_bytes != 1 && map.elem_bytes != 2) || !map.data ||
      (map.elem_bytes == 1 && result.labels > 256))
    return vn_fail(diag, VN_E_ARGUMENT, "%zu labels in a map of %zu bytes a voxel", result.labels,
                   map.elem_bytes);
  if (!map_dense(&map, result.grid.dim))
    return vn_fail(diag, VN_E_ARGUMENT, "a label map that is not dense cannot be written");
  result.type = map.elem_bytes == 1 ? VN_VOXEL_U8 : VN_VOXEL_I16;
  return result_write(fd, &result, format, map.data, map.elem_bytes, diag);
}

enum vn_status vn_scan_write_probabilities(int fd, const char *name,
                                           const struct vn_scan_result *theirs,
                                           struct vn_diag *diag) {
  struct vn_result result;
  struct vn_label_map map;
  enum vn_scan_format format;
  size_t bytes;
  enum vn_status status = result_take(name, theirs, &result, &format, &map, diag);
  if (status) return status;
  const bool wide = map.probability == VN_PROBABILITY_F32, scaled = format == VN_SCAN_NIFTI;
  if (!map.probabilities ||
      __builtin_mul_overflow(result.elems, result.labels * sizeof(float), &bytes))
    return vn_fail(diag, VN_E_ARGUMENT, "no probabilities, or more than memory holds");
  result.series = result.labels;
  result.type = wide || !scaled ? VN_VOXEL_F32 : VN_VOXEL_U16;
  if (!wide && scaled) result.slope = 1.0 / 65535;
  return result_write(fd, &result, format, map.probabilities, wide ? 4 : 2, diag);
}

enum vn_status vn_scan_write_regions(int fd, const char *name, const struct vn_scan_result *theirs,
                                     struct vn_diag *diag) {
  struct vn_result result;
  struct vn_label_map map;
  enum vn_scan_format format;
  size_t bytes;
  enum vn_status status = result_take(name, theirs, &result, &format, &map, diag);
  if (status) return status;
  if (!map.regions || result.labels < 2 ||
      __builtin_mul_overflow(result.elems, result.labels - 1, &bytes))
    return vn_fail(diag, VN_E_ARGUMENT, "no regions, or more than memory holds");
  result.series = result.labels - 1;
  result.type = VN_VOXEL_U8;
  return result_write(fd, &result, format, map.regions, 1, diag);
}

/* ---- whole or absent ---- */

enum vn_status vn_scan_save_labels(const char *path, const struct vn_scan_result *result,
                                   struct vn_diag *diag) {
  struct vn_diag inner;
  struct vn_part part;
  vn_part_sweep(path);
  enum vn_status status = vn_part_create(&part, path, diag);
  if (status) return status;
  status = vn_scan_write_labels(part.fd, path, result, &inner);
  if (!status) return vn_part_publish(&part, path, diag);
  vn_part_drop(&part);
  return vn_fail(diag, status, "%.200s: %.300s", path, inner.text);
}

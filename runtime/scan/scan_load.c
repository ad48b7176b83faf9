/* Loads voxels of every format; see vnet_scan.h. They are converted as they stream in, so that the
 * float volume is the only large block. */
#include "scan_file.h"

#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "float_mode.h"
#include "options.h"
#include "os.h"

enum {
  CHUNK_ELEMS = 1 << 17,   /* decompressed within milliseconds */
  TRAILING_MOST = 1 << 20, /* bytes after the voxels that are ignored: see also scan_open.c */
  NUMBER_MOST = 64,        /* characters of one in text */
};

/* ---- raw, plain or gzipped ---- */

static void swap_elems(unsigned char *raw, size_t elems, size_t bytes) {
  for (unsigned char *at = raw; at < raw + elems * bytes; at += bytes)
    for (size_t i = 0; i < bytes / 2; i++) {
      unsigned char keep = at[i];
      at[i] = at[bytes - 1 - i];
      at[bytes - 1 - i] = keep;
    }
}

static void convert(const unsigned char *raw, const struct vn_scan *scan, size_t elems, float *to) {
  double slope = scan->slope, inter = scan->inter;
#define FROM(T)                                                                                    \
  for (size_t i = 0; i < elems; i++) {                                                             \
    T value;                                                                                       \
    memcpy(&value, raw + i * sizeof value, sizeof value);                                          \
    to[i] = (float)(slope * (double)value + inter);                                                \
  }                                                                                                \
  break
  switch (scan->type) {
  case VN_VOXEL_U8:
    FROM(uint8_t);
  case VN_VOXEL_I8:
    FROM(int8_t);
  case VN_VOXEL_U16:
    FROM(uint16_t);
  case VN_VOXEL_I16:
    FROM(int16_t);
  case VN_VOXEL_U32:
    FROM(uint32_t);
  case VN_VOXEL_I32:
    FROM(int32_t);
  case VN_VOXEL_U64:
    FROM(uint64_t);
  case VN_VOXEL_I64:
    FROM(int64_t);
  case VN_VOXEL_F32:
    FROM(float);
  default:
    FROM(double);
  }
#undef FROM
}

/* To the end, for the checksum of a gzipped file comes last. */
static enum vn_status rest_read(struct vn_stream *stream, unsigned char *raw, size_t room,
                                const struct vn_run_options *run, struct vn_diag *diag) {
  size_t got = 1;
  for (size_t rest = 0; got; rest += got) {
    if (rest > TRAILING_MOST)
      return vn_fail(diag, VN_E_FORMAT, "the file holds more than its header describes");
    if (vn_run_stopped(run, 1)) return vn_fail(diag, VN_E_CANCELLED, "cancelled");
    enum vn_status status = vn_stream_read(stream, raw, room, &got, diag);
    if (status) return status;
  }
  return VN_OK;
}

static enum vn_status raw_read(struct vn_stream *stream, struct vn_scan *scan, unsigned char *raw,
                               const struct vn_run_options *run, struct vn_diag *diag) {
  for (size_t from = 0; from < scan->elems;) {
    size_t elems = scan->elems - from < CHUNK_ELEMS ? scan->elems - from : CHUNK_ELEMS, got;
    if (vn_run_stopped(run, (double)from / (double)scan->elems))
      return vn_fail(diag, VN_E_CANCELLED, "cancelled");
    enum vn_status status = vn_stream_read(stream, raw, elems * scan->elem_bytes, &got, diag);
    if (status) return status;
    if (got != elems * scan->elem_bytes)
      return vn_fail(diag, VN_E_FORMAT, "truncated: %zu of %zu voxels are there",
                     from + got / scan->elem_bytes, scan->elems);
    if (scan->swapped) swap_elems(raw, elems, scan->elem_bytes);
    const vn_float_mode host = vn_float_mode_enter_plain();
    convert(raw, scan, elems, scan->voxels + from);
    vn_float_mode_restore(host);
    from += elems;
  }
  return rest_read(stream, raw, CHUNK_ELEMS, run, diag);
}

/* ---- text ---- */

static bool is_blank(char c) {
  return c == ' ' || c == ',' || (c >= '\t' && c <= '\r');
}

/* Numbers of text[0 … size) into the scan's voxels from *done on; *used is how far they reach. A
 * number that touches the end is left for the next piece, unless this is the last one. */
static enum vn_status text_parse(const char *text, size_t size, bool last, struct vn_scan *scan,
                                 size_t *done, size_t *used, struct vn_diag *diag) {
  size_t at = 0;
  while (*done < scan->elems) {
    while (at < size && is_blank(text[at])) at++;
    size_t end = at;
    while (end < size && end - at < NUMBER_MOST && !is_blank(text[end])) end++;
    *used = at;
    if (end == size && (!last || at == end)) return VN_OK;
    char number[NUMBER_MOST + 1], *stop;
    memcpy(number, text + at, end - at);
    number[end - at] = '\0';
    scan->voxels[*done] = (float)strtod(number, &stop);
    if (stop != number + (end - at) || end - at == NUMBER_MOST)
      return vn_fail(diag, VN_E_FORMAT, "voxel %zu is not a number", *done);
    ++*done;
    at = end;
  }
  *used = size;
  return VN_OK;
}

static enum vn_status text_read(struct vn_stream *stream, struct vn_scan *scan, char *text,
                                const struct vn_run_options *run, struct vn_diag *diag) {
  enum { ROOM = CHUNK_ELEMS };
  size_t size = 0, got = 1, done = 0, used;
  enum vn_status status = VN_OK;
  while (!status && got && done < scan->elems) {
    if (vn_run_stopped(run, (double)done / (double)scan->elems))
      status = vn_fail(diag, VN_E_CANCELLED, "cancelled");
    if (!status) status = vn_stream_read(stream, text + size, ROOM - size, &got, diag);
    if (!status) {
      struct vn_os_numbers numbers;
      if (!vn_os_numbers_plain(&numbers)) return vn_fail(diag, VN_E_MEMORY, "out of memory");
      const vn_float_mode host = vn_float_mode_enter_plain();
      size += got;
      status = text_parse(text, size, got == 0, scan, &done, &used, diag);
      vn_float_mode_restore(host);
      vn_os_numbers_restore(&numbers);
    }
    if (!status) memmove(text, text + used, size -= used);
  }
  if (!status && done < scan->elems)
    status =
        vn_fail(diag, VN_E_FORMAT, "truncated: %zu of %zu voxels are there", done, scan->elems);
  if (!status && vn_run_stopped(run, 1)) status = vn_fail(diag, VN_E_CANCELLED, "cancelled");
  return status;
}

/* ---- all ---- */

static enum vn_status voxels_read(struct vn_stream *stream, struct vn_scan *scan, void *room,
                                  const struct vn_run_options *run, struct vn_diag *diag) {
  bool packed = scan->encoding == VN_ENCODING_GZIP;
  uint64_t start = scan->start + (packed ? 0 : scan->skip); /* checked against the file's size */
  enum vn_status status = vn_stream_seek(stream, start, packed, diag);
  if (!status && packed) status = vn_stream_skip(stream, scan->skip, run, diag);
  if (status) return status;
  return scan->encoding == VN_ENCODING_TEXT ? text_read(stream, scan, room, run, diag)
                                            : raw_read(stream, scan, room, run, diag);
}

static enum vn_status voxels_alloc(struct vn_scan *scan, uint64_t limit_bytes,
                                   struct vn_diag *diag) {
  const uint64_t limit = limit_bytes ? limit_bytes : vn_memory_free();
  size_t bytes;
  if (__builtin_mul_overflow(scan->elems, sizeof *scan->voxels, &bytes)) bytes = SIZE_MAX;
  if (bytes > limit)
    return vn_fail(diag, VN_E_MEMORY, "its voxels take %.0f MiB, and %.0f MiB are %s",
                   (double)bytes / 0x1p20, (double)limit / 0x1p20,
                   limit_bytes ? "the limit" : "free");
  scan->voxels = vn_os_room(bytes);
  return scan->voxels ? VN_OK
                      : vn_fail(diag, VN_E_MEMORY, "out of memory for %zu voxels", scan->elems);
}

enum vn_status vn_scan_load(struct vn_scan *scan, const struct vn_run_options *theirs,
                            struct vn_diag *diag) {
  struct vn_stream stream = {.fd = -1};
  struct vn_diag inner;
  struct vn_run_options run;
  enum vn_status status = vn_options_take(&run, sizeof run, theirs, "vn_run_options", diag);
  if (status || scan->voxels) return status;
  void *room = malloc(CHUNK_ELEMS * scan->elem_bytes);
  status = voxels_alloc(scan, run.memory_limit_bytes, &inner);
  if (!status && !room) status = vn_fail(&inner, VN_E_MEMORY, "out of memory");
  if (status == VN_OK) status = vn_stream_open(scan->voxel_path, &stream, &inner);
  if (status == VN_OK) status = voxels_read(&stream, scan, room, &run, &inner);
  vn_stream_close(&stream);
  free(room);
  if (status == VN_OK) return VN_OK;
  free(scan->voxels);
  scan->voxels = NULL;
  return vn_fail(diag, status, "%.200s: %.300s", scan->voxel_path, inner.text);
}

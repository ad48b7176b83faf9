/* Bytes of a scan's file, plain or gzipped, in the order in which they come. Private to this
 * folder. Only regular files are opened, and opening one never waits. */
#ifndef VNET_SCAN_STREAM_H
#define VNET_SCAN_STREAM_H

#include "vnet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

struct vn_stream {
  int fd;
  gzFile gz; /* NULL: plain */
  uint64_t file_bytes;
};

/* At the start of the file, decompressing it if it is gzipped. To be closed if this succeeds.
 * VN_E_IO, with what is known of a folder, a device or a FIFO. */
enum vn_status vn_stream_open(const char *path, struct vn_stream *stream, struct vn_diag *diag);

/* From byte `start` of the file on. VN_E_FORMAT: `gzipped`, and what is there is not. */
enum vn_status vn_stream_seek(struct vn_stream *stream, uint64_t start, bool gzipped,
                              struct vn_diag *diag);

/* Up to `bytes` bytes; *got is less only at the end of the file. */
enum vn_status vn_stream_read(struct vn_stream *stream, void *to, size_t bytes, size_t *got,
                              struct vn_diag *diag);

/* Passes over `bytes` bytes; VN_E_FORMAT where the file ends before. `run`: as vn_run_stopped. */
enum vn_status vn_stream_skip(struct vn_stream *stream, uint64_t bytes,
                              const struct vn_run_options *run, struct vn_diag *diag);

void vn_stream_close(struct vn_stream *stream);

/* Does whoever looks on want to end this? */
bool vn_run_stopped(const struct vn_run_options *run, double fraction);

#endif

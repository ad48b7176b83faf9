/* Reading of plain and gzipped files; see scan_stream.h. */
#include "scan_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os.h"
#include "scan_file.h"

bool vn_run_stopped(const struct vn_run_options *run, double fraction) {
  if (run->cancel && vn_cancel_pressed(run->cancel)) return true;
  return run->progress && run->progress(run->progress_context, fraction) != 0;
}

/* O_NONBLOCK: a FIFO must be refused, not waited for. */
enum vn_status vn_stream_open(const char *path, struct vn_stream *stream, struct vn_diag *diag) {
  *stream = (struct vn_stream){.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat info;
  if (stream->fd < 0) return vn_fail(diag, VN_E_IO, "%s", strerror(errno));
  enum vn_status status = VN_OK;
  if (fstat(stream->fd, &info))
    status = vn_fail(diag, VN_E_IO, "%s", strerror(errno));
  else if (S_ISDIR(info.st_mode))
    status = vn_folder_refuse(path, diag);
  else if (!S_ISREG(info.st_mode))
    status = vn_fail(diag, VN_E_IO, "not a regular file");
  unsigned char first[2] = {0};
  if (!status) {
    stream->file_bytes = (uint64_t)info.st_size;
    bool gzipped = pread(stream->fd, first, 2, 0) == 2 && first[0] == 0x1F && first[1] == 0x8B;
    status = vn_stream_seek(stream, 0, gzipped, diag);
  }
  if (status) vn_stream_close(stream);
  return status;
}

enum vn_status vn_stream_seek(struct vn_stream *stream, uint64_t start, bool gzipped,
                              struct vn_diag *diag) {
  if (stream->gz) gzclose_r(stream->gz);
  stream->gz = NULL;
  if (start > INT64_MAX || lseek(stream->fd, (off_t)start, SEEK_SET) < 0)
    return vn_fail(diag, VN_E_FORMAT, "there is no byte %llu", (unsigned long long)start);
  if (!gzipped) return VN_OK;
  unsigned char first[2] = {0}; /* zlib would hand on as it is what is not gzipped */
  if (pread(stream->fd, first, 2, (off_t)start) != 2 || first[0] != 0x1F || first[1] != 0x8B)
    return vn_fail(diag, VN_E_FORMAT, "its voxels are not gzipped, as the header says");
  int copy = vn_os_dup(stream->fd); /* gzclose closes its own */
  stream->gz = copy < 0 ? NULL : gzdopen(copy, "rb");
  if (!stream->gz) {
    if (copy >= 0) close(copy);
    return vn_fail(diag, VN_E_MEMORY, "out of memory or descriptors");
  }
  gzbuffer(stream->gz, 1 << 18);
  return VN_OK;
}

static enum vn_status plain_read(int fd, char *to, size_t bytes, size_t *got,
                                 struct vn_diag *diag) {
  while (*got < bytes) {
    ssize_t done = read(fd, to + *got, bytes - *got);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return vn_fail(diag, VN_E_IO, "%s", strerror(errno));
    if (done == 0) break;
    *got += (size_t)done;
  }
  return VN_OK;
}

enum vn_status vn_stream_read(struct vn_stream *stream, void *to, size_t bytes, size_t *got,
                              struct vn_diag *diag) {
  *got = 0;
  if (!stream->gz) return plain_read(stream->fd, to, bytes, got, diag);
  while (*got < bytes) {
    size_t want = bytes - *got < 1 << 24 ? bytes - *got : 1 << 24;
    int done = gzread(stream->gz, (char *)to + *got, (unsigned)want);
    int code;
    const char *reason = gzerror(stream->gz, &code);
    if (done < 0 || code != Z_OK) {
      if (code == Z_ERRNO) return vn_fail(diag, VN_E_IO, "%s", strerror(errno));
      if (code == Z_BUF_ERROR) return vn_fail(diag, VN_E_FORMAT, "truncated gzip file");
      if (code == Z_MEM_ERROR) return vn_fail(diag, VN_E_MEMORY, "out of memory");
      return vn_fail(diag, VN_E_FORMAT, "damaged gzip file (%s)", reason);
    }
    if (done == 0) break;
    *got += (size_t)done;
  }
  return VN_OK;
}

enum vn_status vn_stream_skip(struct vn_stream *stream, uint64_t bytes,
                              const struct vn_run_options *run, struct vn_diag *diag) {
  char sink[8192];
  while (bytes) {
    size_t want = bytes < sizeof sink ? (size_t)bytes : sizeof sink, got;
    if (vn_run_stopped(run, 0)) return vn_fail(diag, VN_E_CANCELLED, "cancelled");
    enum vn_status status = vn_stream_read(stream, sink, want, &got, diag);
    if (status) return status;
    if (got == 0) return vn_fail(diag, VN_E_FORMAT, "truncated before the voxels");
    bytes -= got;
  }
  return VN_OK;
}

void vn_stream_close(struct vn_stream *stream) {
  if (stream->gz) gzclose_r(stream->gz);
  if (stream->fd >= 0) close(stream->fd);
  *stream = (struct vn_stream){.fd = -1};
}

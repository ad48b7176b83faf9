/* Writes a label map with its scan's geometry; see vn_labels_write in nifti.h. */
#include "nifti.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "fail.h"
#include "nifti_header.h"

/* The scan's header, changed only where a label map differs from a scan. */
static struct vn_header labels_header(const struct vn_scan *scan, const struct vn_labels *labels,
                                      const char *description) {
  struct vn_header header = *scan->header;
  struct nifti_2_header *field = &header.field;
  field->datatype = labels->elem_bytes == 1 ? NIFTI_TYPE_UINT8 : NIFTI_TYPE_INT16;
  field->bitpix = (int16_t)(8 * labels->elem_bytes);
  field->scl_slope = 1;
  field->scl_inter = 0;
  field->vox_offset = header.version == 1 ? 352 : 544;
  field->cal_min = 0;
  field->cal_max = (double)(labels->classes - 1);
  field->slice_start = field->slice_end = 0;
  field->slice_code = 0;
  field->slice_duration = field->toffset = 0;
  field->intent_code = NIFTI_INTENT_LABEL;
  field->intent_p1 = field->intent_p2 = field->intent_p3 = 0;
  memset(field->intent_name, 0, sizeof field->intent_name);
  memset(field->aux_file, 0, sizeof field->aux_file);
  memset(field->descrip, 0, sizeof field->descrip);
  if (description) memccpy(field->descrip, description, 0, sizeof field->descrip - 1);
  return header;
}

static enum vn_status plain_write(int fd, const void *bytes, size_t size, struct vn_diag *diag) {
  for (const char *from = bytes; size;) {
    ssize_t done = write(fd, from, size);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return vn_fail(diag, VN_E_IO, "cannot write the labels: %s", strerror(errno));
    from += done;
    size -= (size_t)done;
  }
  return VN_OK;
}

static enum vn_status packed_fail(gzFile file, struct vn_diag *diag) {
  int code, reason = errno;
  const char *text = gzerror(file, &code);
  return vn_fail(diag, code == Z_MEM_ERROR ? VN_E_MEMORY : VN_E_IO, "cannot write the labels: %s",
                 code == Z_ERRNO ? strerror(reason) : text);
}

static enum vn_status packed_write(gzFile file, const void *bytes, size_t size,
                                   struct vn_diag *diag) {
  for (const char *from = bytes; size;) {
    unsigned part = size < 1 << 24 ? (unsigned)size : 1 << 24;
    if (gzwrite(file, from, part) != (int)part) return packed_fail(file, diag);
    from += part;
    size -= part;
  }
  return VN_OK;
}

enum vn_status vn_labels_write(int fd, bool gzip, const struct vn_scan *scan,
                               const struct vn_labels *labels, const char *description,
                               struct vn_diag *diag) {
  struct vn_header header = labels_header(scan, labels, description);
  unsigned char head[VN_HEADER_MOST];
  size_t head_bytes = vn_header_print(&header, head);
  size_t data_bytes = labels->elems * labels->elem_bytes;
  if (!gzip) {
    enum vn_status status = plain_write(fd, head, head_bytes, diag);
    return status ? status : plain_write(fd, labels->data, data_bytes, diag);
  }
  int copy = dup(fd); /* gzclose closes its own */
  gzFile file = copy < 0 ? NULL : gzdopen(copy, "wb");
  if (!file) {
    if (copy >= 0) close(copy);
    return vn_fail(diag, VN_E_MEMORY, "cannot write the labels: out of memory or descriptors");
  }
  enum vn_status status = packed_write(file, head, head_bytes, diag);
  if (status == VN_OK) status = packed_write(file, labels->data, data_bytes, diag);
  int closed = gzclose(file);
  if (status == VN_OK && closed != Z_OK)
    status = vn_fail(diag, VN_E_IO, "cannot write the labels: %s",
                     closed == Z_ERRNO ? strerror(errno) : "compression failed");
  return status;
}

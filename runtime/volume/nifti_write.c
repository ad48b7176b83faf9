/* Writes label maps and class probabilities with their scan's geometry; see nifti.h. */
#include "nifti.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "fail.h"
#include "nifti_header.h"

/* The scan's header, changed only where what is written differs from a scan. */
static struct vn_header derived_header(const struct vn_scan *scan, int datatype, size_t elem_bytes,
                                       const char *description) {
  struct vn_header header = *scan->header;
  struct nifti_2_header *field = &header.field;
  field->datatype = (int16_t)datatype;
  field->bitpix = (int16_t)(8 * elem_bytes);
  field->scl_slope = 1;
  field->scl_inter = 0;
  field->vox_offset = header.version == 1 ? 352 : 544;
  field->cal_min = field->cal_max = 0;
  field->slice_start = field->slice_end = 0;
  field->slice_code = 0;
  field->slice_duration = field->toffset = 0;
  field->intent_code = NIFTI_INTENT_NONE;
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
    if (done < 0) return vn_fail(diag, VN_E_IO, "cannot write: %s", strerror(errno));
    from += done;
    size -= (size_t)done;
  }
  return VN_OK;
}

static enum vn_status packed_fail(gzFile file, struct vn_diag *diag) {
  int code, reason = errno;
  const char *text = gzerror(file, &code);
  return vn_fail(diag, code == Z_MEM_ERROR ? VN_E_MEMORY : VN_E_IO, "cannot write: %s",
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

/* Level 1 packs smooth numbers a third as well as level 6 does labels, at a fifth of the time. */
static enum vn_status image_write(int fd, const char *gzip_mode, const struct vn_header *header,
                                  const void *data, size_t data_bytes, struct vn_diag *diag) {
  unsigned char head[VN_HEADER_MOST];
  size_t head_bytes = vn_header_print(header, head);
  if (!gzip_mode) {
    enum vn_status status = plain_write(fd, head, head_bytes, diag);
    return status ? status : plain_write(fd, data, data_bytes, diag);
  }
  int copy = dup(fd); /* gzclose closes its own */
  gzFile file = copy < 0 ? NULL : gzdopen(copy, gzip_mode);
  if (!file) {
    if (copy >= 0) close(copy);
    return vn_fail(diag, VN_E_MEMORY, "cannot write: out of memory or descriptors");
  }
  enum vn_status status = packed_write(file, head, head_bytes, diag);
  if (status == VN_OK) status = packed_write(file, data, data_bytes, diag);
  int closed = gzclose(file);
  if (status == VN_OK && closed != Z_OK)
    status = vn_fail(diag, VN_E_IO, "cannot write: %s",
                     closed == Z_ERRNO ? strerror(errno) : "compression failed");
  return status;
}

enum vn_status vn_labels_write(int fd, bool gzip, const struct vn_scan *scan,
                               const struct vn_labels *labels, const char *description,
                               struct vn_diag *diag) {
  struct vn_header header =
      derived_header(scan, labels->elem_bytes == 1 ? NIFTI_TYPE_UINT8 : NIFTI_TYPE_INT16,
                     labels->elem_bytes, description);
  header.field.cal_max = (double)(labels->classes - 1);
  header.field.intent_code = NIFTI_INTENT_LABEL;
  return image_write(fd, gzip ? "wb" : NULL, &header, labels->data,
                     labels->elems * labels->elem_bytes, diag);
}

enum vn_status vn_scores_write(int fd, bool gzip, const struct vn_scan *scan,
                               const struct vn_scores *scores, size_t classes,
                               const char *description, struct vn_diag *diag) {
  size_t elem_bytes = vn_scores_elem_bytes(scores->kind);
  struct vn_header header = derived_header(
      scan, elem_bytes == 2 ? NIFTI_TYPE_UINT16 : NIFTI_TYPE_FLOAT32, elem_bytes, description);
  if (elem_bytes == 2) header.field.scl_slope = 1.0 / 65535;
  header.field.cal_max = 1;
  header.field.dim[0] = 4;
  header.field.dim[4] = (int64_t)classes;
  header.field.pixdim[4] = 1;
  return image_write(fd, gzip ? "wb1" : NULL, &header, scores->data,
                     classes * scan->elems * elem_bytes, diag);
}

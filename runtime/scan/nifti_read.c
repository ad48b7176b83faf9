/* Opens and loads scans; see vnet_scan.h. Header bytes are judged in nifti_header.c. zlib reads
 * plain and gzipped files alike; voxels are converted as they stream in, so that the float volume
 * is the only large block. */
#include "scan_file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "fail.h"
#include "float_mode.h"
#include "options.h"

enum {
  CHUNK_ELEMS = 1 << 17,
  TRAILING_MOST = 1 << 20, /* bytes after the voxels that are ignored */
  DEFLATE_MOST = 1040,     /* no deflate stream expands more (1032, by its format) */
};

struct stream {
  gzFile file;
  bool packed;
  uint64_t file_bytes;
};

static enum vn_status stream_open(const char *path, struct stream *stream, struct vn_diag *diag) {
  *stream = (struct stream){0};
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (fd < 0 || fstat(fd, &info)) {
    int reason = errno;
    if (fd >= 0) close(fd);
    return vn_fail(diag, VN_E_IO, "%s", strerror(reason));
  }
  if (!S_ISREG(info.st_mode)) {
    close(fd);
    return vn_fail(diag, VN_E_IO, "not a regular file");
  }
  unsigned char first[2] = {0};
  stream->packed = pread(fd, first, 2, 0) == 2 && first[0] == 0x1F && first[1] == 0x8B;
  stream->file_bytes = (uint64_t)info.st_size;
  stream->file = gzdopen(fd, "rb");
  if (!stream->file) {
    close(fd);
    return vn_fail(diag, VN_E_MEMORY, "out of memory");
  }
  gzbuffer(stream->file, 1 << 18);
  return VN_OK;
}

static void stream_close(struct stream *stream) {
  if (stream->file) gzclose_r(stream->file);
  stream->file = NULL;
}

/* Up to `bytes` bytes; fewer only at the end of the file. */
static enum vn_status stream_read(struct stream *stream, void *to, size_t bytes, size_t *got,
                                  struct vn_diag *diag) {
  *got = 0;
  while (*got < bytes) {
    size_t want = bytes - *got < 1 << 24 ? bytes - *got : 1 << 24;
    int done = gzread(stream->file, (char *)to + *got, (unsigned)want);
    int code;
    const char *reason = gzerror(stream->file, &code);
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

static enum vn_status stream_skip(struct stream *stream, uint64_t bytes, struct vn_diag *diag) {
  char sink[4096];
  while (bytes) {
    size_t want = bytes < sizeof sink ? (size_t)bytes : sizeof sink, got;
    enum vn_status status = stream_read(stream, sink, want, &got, diag);
    if (status) return status;
    if (got == 0) return vn_fail(diag, VN_E_FORMAT, "truncated before the voxels");
    bytes -= got;
  }
  return VN_OK;
}

/* ---- names ---- */

static bool ends(const char *name, const char *ending) {
  size_t all = strlen(name), part = strlen(ending);
  return all > part && strcmp(name + all - part, ending) == 0;
}

/* The other half of a pair: `path` with .hdr for .img or the reverse, gzipped or not, whichever
 * exists. NULL with errno set when there is none; the caller frees it. */
static char *partner(const char *path, const char *from, const char *to) {
  size_t stem = strlen(path) - (ends(path, ".gz") ? 7 : 4);
  if (strlen(path) < 5 || stem > strlen(path) || strncmp(path + stem, from, 4)) {
    errno = EINVAL;
    return NULL;
  }
  char *other = malloc(stem + 8);
  if (!other) return NULL;
  for (int packed = 0; packed < 2; packed++) {
    snprintf(other, stem + 8, "%.*s%s%s", (int)stem, path, to, packed ? ".gz" : "");
    if (access(other, F_OK) == 0) return other;
  }
  free(other);
  errno = ENOENT;
  return NULL;
}

/* ---- geometry ---- */

/* Rotation from the quaternion, as in nifti1.h, "METHOD 2". */
static bool qform_affine(const struct nifti_2_header *field, double m[3][4]) {
  double b = field->quatern_b, c = field->quatern_c, d = field->quatern_d;
  double a = 1 - (b * b + c * c + d * d);
  if (a < 1e-7) { /* a half turn, up to rounding */
    double unit = 1 / sqrt(b * b + c * c + d * d);
    b *= unit, c *= unit, d *= unit;
    a = 0;
  } else {
    a = sqrt(a);
  }
  double flip = field->pixdim[0] < 0 ? -1 : 1;
  double step[3];
  for (int i = 0; i < 3; i++) step[i] = field->pixdim[i + 1] > 0 ? field->pixdim[i + 1] : 1;
  step[2] *= flip;
  double r[3][3] = {
      {a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)},
      {2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)},
      {2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b},
  };
  double shift[3] = {field->qoffset_x, field->qoffset_y, field->qoffset_z};
  bool finite = true;
  for (int i = 0; i < 3; i++) {
    for (int j = 0; j < 3; j++) m[i][j] = r[i][j] * step[j];
    m[i][3] = shift[i];
    for (int j = 0; j < 4; j++) finite = finite && isfinite(m[i][j]);
  }
  return finite;
}

static double column_length(const double m[3][4], int j) {
  return sqrt(m[0][j] * m[0][j] + m[1][j] * m[1][j] + m[2][j] * m[2][j]);
}

/* Finite, and no axis lost. */
static bool affine_usable(const double m[3][4]) {
  double det = m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) -
               m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
               m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
  bool finite = isfinite(m[0][3]) && isfinite(m[1][3]) && isfinite(m[2][3]);
  double volume = column_length(m, 0) * column_length(m, 1) * column_length(m, 2);
  return finite && isfinite(det) && volume > 0 && fabs(det) > 1e-6 * volume;
}

/* Do the axes of both point more or less the same way? */
static bool affines_agree(const double a[3][4], const double b[3][4]) {
  for (int j = 0; j < 3; j++) {
    double dot = 0;
    for (int i = 0; i < 3; i++) dot += a[i][j] * b[i][j];
    if (dot <= 0) return false;
  }
  return true;
}

/* Sets the affine in the file's units, and what is known of it. */
static enum vn_status affine_choose(struct vn_scan *scan, struct vn_diag *diag) {
  const struct nifti_2_header *field = &scan->header.field;
  double sform[3][4], qform[3][4];
  bool has_s = field->sform_code > 0, has_q = field->qform_code > 0;
  for (int j = 0; j < 4; j++) {
    sform[0][j] = field->srow_x[j];
    sform[1][j] = field->srow_y[j];
    sform[2][j] = field->srow_z[j];
  }
  if (has_s && !affine_usable(sform))
    return vn_fail(diag, VN_E_FORMAT, "the sform is not an invertible matrix");
  if (has_q && (!qform_affine(field, qform) || !affine_usable(qform)))
    return vn_fail(diag, VN_E_FORMAT, "the qform is not a rotation");
  scan->oriented = has_s || has_q;
  scan->contradictory = has_s && has_q && !affines_agree(sform, qform);
  if (scan->oriented)
    memcpy(scan->affine, has_s ? sform : qform, sizeof scan->affine);
  else
    for (int j = 0; j < 3; j++)
      scan->affine[j][j] = field->pixdim[j + 1] != 0 ? fabs(field->pixdim[j + 1]) : 1;
  return VN_OK;
}

static enum vn_status geometry_read(struct vn_scan *scan, struct vn_diag *diag) {
  const struct nifti_2_header *field = &scan->header.field;
  for (int j = 1; j <= 3; j++)
    if (!isfinite(field->pixdim[j]))
      return vn_fail(diag, VN_E_FORMAT, "the voxel size is not finite");
  enum vn_status status = affine_choose(scan, diag);
  if (status) return status;
  /* Units: 1 metre, 3 micron; 2 and unknown are taken as mm. */
  int units = field->xyzt_units & 7;
  double mm = units == 1 ? 1000 : units == 3 ? 0.001 : 1;
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 4; j++) scan->affine[i][j] *= mm;
  return VN_OK;
}

/* ---- open ---- */

static enum vn_status header_read(const char *path, struct vn_header *header, struct stream *stream,
                                  struct vn_diag *diag) {
  enum vn_status status = stream_open(path, stream, diag);
  if (status) return status;
  unsigned char bytes[sizeof(struct nifti_2_header)];
  size_t got;
  status = stream_read(stream, bytes, sizeof bytes, &got, diag);
  return status ? status : vn_header_parse(bytes, got, header, diag);
}

/* The size promised by the header against the size of the file that keeps the voxels, before a
 * byte is allocated. */
static enum vn_status size_check(const struct vn_header *header, const struct stream *stream,
                                 struct vn_diag *diag) {
  uint64_t need, most = stream->file_bytes;
  if (stream->packed && __builtin_mul_overflow(most, (uint64_t)DEFLATE_MOST, &most))
    most = UINT64_MAX;
  if (__builtin_add_overflow((uint64_t)header->field.vox_offset, header->data_bytes, &need) ||
      need > most)
    return vn_fail(diag, VN_E_FORMAT,
                   "truncated: the header promises %llu bytes of voxels, the file has %llu%s",
                   (unsigned long long)header->data_bytes, (unsigned long long)stream->file_bytes,
                   stream->packed ? " compressed" : "");
  if (!stream->packed && stream->file_bytes - need > TRAILING_MOST)
    return vn_fail(diag, VN_E_FORMAT, "the file holds %llu bytes more than its header describes",
                   (unsigned long long)(stream->file_bytes - need));
  return VN_OK;
}

static enum vn_status scan_open(const char *path, struct vn_scan *scan, struct vn_diag *diag) {
  if (ends(path, ".nia"))
    return vn_fail(diag, VN_E_UNSUPPORTED, "the ASCII form of NIfTI: convert it to .nii.gz");
  bool image = ends(path, ".img") || ends(path, ".img.gz");
  char *header_path = image ? partner(path, ".img", ".hdr") : strdup(path);
  if (!header_path) return vn_fail(diag, vn_io_status(errno), "its header: %s", strerror(errno));
  struct stream stream;
  enum vn_status status = header_read(header_path, &scan->header, &stream, diag);
  if (status == VN_OK) {
    scan->image_path = scan->header.pair ? partner(header_path, ".hdr", ".img") : header_path;
    if (!scan->image_path)
      status = vn_fail(diag, vn_io_status(errno),
                       "a header whose voxels are in an .img file beside it: %s", strerror(errno));
  }
  if (status == VN_OK && scan->header.pair) {
    stream_close(&stream);
    status = stream_open(scan->image_path, &stream, diag);
  }
  if (status == VN_OK) status = size_check(&scan->header, &stream, diag);
  stream_close(&stream);
  if (header_path != scan->image_path) free(header_path);
  return status ? status : geometry_read(scan, diag);
}

enum vn_status vn_scan_open(const char *path, struct vn_scan **file, struct vn_diag *diag) {
  struct vn_diag inner;
  *file = calloc(1, sizeof **file);
  if (!*file) return vn_fail(diag, VN_E_MEMORY, "%.200s: out of memory", path);
  const vn_float_mode host = vn_float_mode_enter_plain();
  enum vn_status status = scan_open(path, *file, &inner);
  vn_float_mode_restore(host);
  if (status) vn_scan_close(file);
  return status ? vn_fail(diag, status, "%.200s: %.300s", path, inner.text) : VN_OK;
}

/* ---- load ---- */

static void swap_elems(unsigned char *raw, size_t elems, size_t bytes) {
  for (unsigned char *at = raw; at < raw + elems * bytes; at += bytes)
    for (size_t i = 0; i < bytes / 2; i++) {
      unsigned char keep = at[i];
      at[i] = at[bytes - 1 - i];
      at[bytes - 1 - i] = keep;
    }
}

static void convert(const unsigned char *raw, const struct vn_header *header, size_t elems,
                    float *to) {
  double slope = header->slope, inter = header->inter;
#define FROM(T)                                                                                    \
  for (size_t i = 0; i < elems; i++) {                                                             \
    T value;                                                                                       \
    memcpy(&value, raw + i * sizeof value, sizeof value);                                          \
    to[i] = (float)(slope * (double)value + inter);                                                \
  }                                                                                                \
  break
  switch (header->field.datatype) {
  case NIFTI_TYPE_UINT8:
    FROM(uint8_t);
  case NIFTI_TYPE_INT8:
    FROM(int8_t);
  case NIFTI_TYPE_INT16:
    FROM(int16_t);
  case NIFTI_TYPE_UINT16:
    FROM(uint16_t);
  case NIFTI_TYPE_INT32:
    FROM(int32_t);
  case NIFTI_TYPE_UINT32:
    FROM(uint32_t);
  case NIFTI_TYPE_INT64:
    FROM(int64_t);
  case NIFTI_TYPE_UINT64:
    FROM(uint64_t);
  case NIFTI_TYPE_FLOAT32:
    FROM(float);
  default:
    FROM(double);
  }
#undef FROM
}

/* Who looks on: at each chunk of the file. */
static bool stopped(const struct vn_run_options *run, double fraction) {
  if (run->cancel && vn_cancel_pressed(run->cancel)) return true;
  return run->progress && run->progress(run->progress_context, fraction) != 0;
}

static enum vn_status voxels_read(struct stream *stream, struct vn_scan *scan, unsigned char *raw,
                                  const struct vn_run_options *run, struct vn_diag *diag) {
  const struct vn_header *header = &scan->header;
  enum vn_status status = stream_skip(stream, (uint64_t)header->field.vox_offset, diag);
  if (status) return status;
  for (size_t from = 0; from < header->elems;) {
    size_t elems = header->elems - from < CHUNK_ELEMS ? header->elems - from : CHUNK_ELEMS, got;
    if (stopped(run, (double)from / (double)header->elems))
      return vn_fail(diag, VN_E_CANCELLED, "cancelled");
    status = stream_read(stream, raw, elems * header->elem_bytes, &got, diag);
    if (status) return status;
    if (got != elems * header->elem_bytes)
      return vn_fail(diag, VN_E_FORMAT, "truncated: %zu of %zu voxels are there",
                     from + got / header->elem_bytes, header->elems);
    if (header->swapped) swap_elems(raw, elems, header->elem_bytes);
    const vn_float_mode host = vn_float_mode_enter_plain();
    convert(raw, header, elems, scan->voxels + from);
    vn_float_mode_restore(host);
    from += elems;
  }
  /* To the end, for the checksum of a gzipped file comes last. */
  size_t got = 1;
  for (size_t rest = 0; got; rest += got) {
    if (rest > TRAILING_MOST)
      return vn_fail(diag, VN_E_FORMAT, "the file holds more than its header describes");
    if ((status = stream_read(stream, raw, CHUNK_ELEMS, &got, diag))) return status;
  }
  return stopped(run, 1) ? vn_fail(diag, VN_E_CANCELLED, "cancelled") : VN_OK;
}

enum vn_status vn_scan_load(struct vn_scan *scan, const struct vn_run_options *theirs,
                            struct vn_diag *diag) {
  struct stream stream = {0};
  struct vn_diag inner;
  struct vn_run_options run;
  enum vn_status status = vn_options_take(&run, sizeof run, theirs, "vn_run_options", diag);
  if (status || scan->voxels) return status;
  unsigned char *raw = malloc(CHUNK_ELEMS * scan->header.elem_bytes);
  size_t bytes = SIZE_MAX;
  const uint64_t limit = run.memory_limit_bytes ? run.memory_limit_bytes : vn_memory_free();
  if (!__builtin_mul_overflow(scan->header.elems, sizeof *scan->voxels, &bytes) && bytes <= limit)
    scan->voxels = malloc(bytes);
  if (bytes > limit)
    status = vn_fail(&inner, VN_E_MEMORY, "its voxels take %.0f MiB, and %.0f MiB are %s",
                     (double)bytes / 0x1p20, (double)limit / 0x1p20,
                     run.memory_limit_bytes ? "the limit" : "free");
  else if (!raw || !scan->voxels)
    status = vn_fail(&inner, VN_E_MEMORY, "out of memory for %zu voxels", scan->header.elems);
  if (status == VN_OK) status = stream_open(scan->image_path, &stream, &inner);
  if (status == VN_OK) status = voxels_read(&stream, scan, raw, &run, &inner);
  stream_close(&stream);
  free(raw);
  if (status == VN_OK) return VN_OK;
  free(scan->voxels);
  scan->voxels = NULL;
  return vn_fail(diag, status, "%.200s: %.300s", scan->image_path, inner.text);
}

void vn_scan_close(struct vn_scan **file) {
  if (!file || !*file) return;
  free((*file)->voxels);
  free((*file)->image_path);
  free(*file);
  *file = NULL;
}

/* ---- questions ---- */

void vn_scan_image(const struct vn_scan *file, struct vn_image *image) {
  struct vn_image mine = {.voxels = file->voxels,
                          .type = VN_VOXEL_F32,
                          .world = vn_scan_unoriented(file) ? VN_WORLD_UNKNOWN : VN_WORLD_RAS};
  memcpy(mine.dim, file->header.dim, sizeof mine.dim);
  memcpy(mine.affine, file->affine, sizeof mine.affine);
  vn_options_give(&mine, sizeof mine, image, "vn_image", NULL);
}

bool vn_scan_is_labels(const struct vn_scan *file) {
  return file->header.field.intent_code == NIFTI_INTENT_LABEL;
}

const char *vn_scan_unoriented(const struct vn_scan *file) {
  if (!file->oriented) return "has neither sform nor qform and does not say left from right";
  if (file->contradictory)
    return "has a sform and a qform that point its axes in different directions: remove the wrong "
           "one";
  return NULL;
}

/* NRRD headers: text from outside, every line of which is doubted; see vnet_scan.h for what is
 * read. The format is teem's (teem.sourceforge.net/nrrd/format.html). A header is cut into its
 * fields first and understood afterwards, for their order is free. */
#include "scan_file.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fail.h"
#include "os.h"

enum {
  TEXT_MOST = 1 << 20, /* bytes of a header: segmentations carry half a kilobyte for each segment */
  AXES_MOST = 16,
  SKIP_MOST = 1 << 20, /* bytes in lines before the voxels */
};

enum field {
  TYPE,
  DIMENSION,
  SIZES,
  ENCODING,
  ENDIAN_OF, /* ENDIAN is the standard library's */
  SPACE,
  SPACE_DIMENSION,
  DIRECTIONS,
  ORIGIN,
  SPACE_UNITS,
  SPACINGS,
  UNITS,
  KINDS,
  DATA_FILE,
  LINE_SKIP,
  BYTE_SKIP,
  FIELDS
};

static const struct {
  const char *name;
  enum field field;
} names[] = {
    {"type", TYPE},
    {"dimension", DIMENSION},
    {"sizes", SIZES},
    {"encoding", ENCODING},
    {"endian", ENDIAN_OF},
    {"space", SPACE},
    {"space dimension", SPACE_DIMENSION},
    {"space directions", DIRECTIONS},
    {"space origin", ORIGIN},
    {"space units", SPACE_UNITS},
    {"spacings", SPACINGS},
    {"units", UNITS},
    {"kinds", KINDS},
    {"data file", DATA_FILE},
    {"datafile", DATA_FILE},
    {"line skip", LINE_SKIP},
    {"lineskip", LINE_SKIP},
    {"byte skip", BYTE_SKIP},
    {"byteskip", BYTE_SKIP},
};

struct axis {
  size_t size;
  bool spatial, directed;
  double direction[3], spacing;
  struct vn_text direction_text, spacing_text;
};

struct header {
  char *text;                /* owned; zeros end its values */
  size_t size;               /* bytes up to the voxels, if they are in this file */
  bool cut;                  /* no blank line ends it */
  bool segmentation;         /* 3D Slicer's */
  const char *value[FIELDS]; /* trimmed; NULL: absent */
  size_t axes;
  struct axis axis[AXES_MOST];
};

/* ---- text ---- */

/* Just behind the blank line that ends a header; 0: not there. */
static size_t header_end(const char *text, size_t size) {
  for (const char *at = text; (at = memchr(at, '\n', size - (size_t)(at - text))); at++) {
    size_t next = (size_t)(at - text) + 1;
    if (next < size && text[next] == '\r') next++;
    if (next < size && text[next] == '\n') return next + 1;
  }
  return 0;
}

/* The text of the header, ended by a zero. A header whose data are elsewhere may end with the
 * file. */
static enum vn_status text_read(struct vn_stream *stream, struct header *h, struct vn_diag *diag) {
  enum vn_status status = vn_stream_seek(stream, 0, false, diag);
  for (size_t room = 4096, used = 0, got; !status; room *= 4) {
    char *larger = realloc(h->text, room + 1);
    if (!larger) return vn_fail(diag, VN_E_MEMORY, "out of memory");
    h->text = larger;
    status = vn_stream_read(stream, h->text + used, room - used, &got, diag);
    if (status) break;
    used += got;
    h->size = header_end(h->text, used);
    h->cut = h->size == 0 && used < room;
    if (h->cut) h->size = used;
    if (h->size) break;
    if (room >= TEXT_MOST)
      status = vn_fail(diag, VN_E_FORMAT, "its header has no end within %d bytes", TEXT_MOST);
  }
  if (status) return status;
  h->text[h->size] = '\0';
  if (strlen(h->text) != h->size) return vn_fail(diag, VN_E_FORMAT, "its header holds a zero byte");
  return VN_OK;
}

static char *trimmed(char *text) {
  text += strspn(text, " \t\r");
  size_t size = strlen(text);
  while (size && strchr(" \t\r", text[size - 1])) size--;
  text[size] = '\0';
  return text;
}

static enum vn_status field_take(struct header *h, char *line, struct vn_diag *diag) {
  char *colon = strchr(line, ':');
  if (!colon)
    return vn_fail(diag, VN_E_FORMAT, "its header has a line that is no field: %.40s", line);
  if (colon[1] == '=') { /* a key and its value */
    h->segmentation = h->segmentation || strncmp(line, "Segmentation_", 13) == 0;
    return VN_OK;
  }
  *colon = '\0';
  const char *name = trimmed(line);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (strcasecmp(name, names[i].name)) continue;
    const char **value = &h->value[names[i].field];
    if (*value) return vn_fail(diag, VN_E_FORMAT, "its header says '%s' twice", names[i].name);
    *value = trimmed(colon + 1);
    return VN_OK;
  }
  return VN_OK; /* nothing that this reader needs */
}

static enum vn_status fields_take(struct header *h, struct vn_diag *diag) {
  char *rest = h->text, *line = strsep(&rest, "\n");
  if (strncmp(line, "NRRD000", 7) || line[7] < '1' || line[7] > '9' || *trimmed(line + 8))
    return vn_fail(diag, VN_E_FORMAT,
                   "not a NRRD file: its first line is not NRRD0001 to NRRD0009");
  while ((line = strsep(&rest, "\n"))) {
    line = trimmed(line);
    if (*line == '#' || *line == '\0') continue;
    enum vn_status status = field_take(h, line, diag);
    if (status) return status;
    if (h->value[DATA_FILE] && strncasecmp(h->value[DATA_FILE], "LIST", 4) == 0) break;
  }
  static const enum field needed[] = {DIMENSION, TYPE, SIZES, ENCODING};
  static const char *const called[] = {"dimension", "type", "sizes", "encoding"};
  for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
    if (!h->value[needed[i]])
      return vn_fail(diag, VN_E_FORMAT, "its header lacks the field '%s'", called[i]);
  return VN_OK;
}

/* ---- numbers and words ---- */

/* A whole number at *at, which moves behind it. */
static bool whole_take(const char **at, long long *value) {
  char *end;
  errno = 0;
  *value = strtoll(*at, &end, 10);
  bool good = end != *at && !errno && (*end == '\0' || strchr(" \t", *end));
  *at = end + strspn(end, " \t");
  return good;
}

static bool whole_parse(const char *text, long long *value) {
  return text && whole_take(&text, value) && *text == '\0';
}

/* A number at *at, which moves behind it: it may be infinite, and may not be one. */
static bool real_take(const char **at, double *value) {
  char *end;
  *value = strtod(*at, &end);
  bool good = end != *at;
  *at = end + strspn(end, " \t");
  return good;
}

/* The index of the row that holds `word`, in letters of either case; `count` where none does. */
static size_t row_find(const char *word, const char *const rows[], size_t width, size_t count) {
  for (size_t i = 0; i < width * count; i++)
    if (rows[i] && strcasecmp(word, rows[i]) == 0) return i / width;
  return count;
}

/* ---- voxels ---- */

static enum vn_status type_parse(const struct header *h, struct vn_scan *scan,
                                 struct vn_diag *diag) {
  enum { WIDTH = 7, TYPES = 10 };
  static const char *const types[TYPES][WIDTH] = {
      {"uchar", "unsigned char", "uint8", "uint8_t"},
      {"signed char", "int8", "int8_t"},
      {"ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"},
      {"short", "short int", "signed short", "signed short int", "int16", "int16_t"},
      {"uint", "unsigned int", "uint32", "uint32_t"},
      {"int", "signed int", "int32", "int32_t"},
      {"ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"},
      {"longlong", "long long", "long long int", "signed long long", "signed long long int",
       "int64", "int64_t"},
      {"float"},
      {"double"},
  };
  size_t row = row_find(h->value[TYPE], types[0], WIDTH, TYPES);
  if (row == TYPES)
    return vn_fail(diag, VN_E_UNSUPPORTED, "voxels of type '%.40s': convert them to short or float",
                   h->value[TYPE]);
  scan->type = (enum vn_voxel)row;
  return vn_scan_count(scan, diag);
}

static enum vn_status encoding_parse(const struct header *h, struct vn_scan *scan,
                                     struct vn_diag *diag) {
  enum { WIDTH = 3, ENCODINGS = 5 };
  static const char *const encodings[ENCODINGS][WIDTH] = {
      {"raw"}, {"gzip", "gz"}, {"ascii", "text", "txt"}, {"bzip2", "bz2"}, {"hex"}};
  const char *endian = h->value[ENDIAN_OF];
  size_t row = row_find(h->value[ENCODING], encodings[0], WIDTH, ENCODINGS);
  if (row > VN_ENCODING_TEXT)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "voxels in the encoding '%.40s': save it with 3D Slicer, or convert it with "
                   "\"unu save -f nrrd -e gzip\"",
                   h->value[ENCODING]);
  scan->encoding = (enum vn_encoding)row;
  if (scan->elem_bytes == 1 || row == VN_ENCODING_TEXT) return VN_OK;
  bool big = endian && strcasecmp(endian, "big") == 0;
  if (!big && !(endian && strcasecmp(endian, "little") == 0))
    return vn_fail(diag, VN_E_FORMAT, "its header does not say which byte order: endian is '%.20s'",
                   endian ? endian : "");
  scan->swapped = big != (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
  return VN_OK;
}

/* ---- axes ---- */

/* "(a,b,c)", "none", or a vector of NaN, which means none. */
static bool direction_take(const char **at, struct axis *axis) {
  const char *from = *at;
  if (strncasecmp(from, "none", 4) == 0) {
    *at += 4;
    *at += strspn(*at, " \t");
    return true;
  }
  if (*(*at)++ != '(') return false;
  for (int i = 0; i < 3; i++) {
    *at += strspn(*at, " \t");
    if (!real_take(at, &axis->direction[i]) || *(*at)++ != (i < 2 ? ',' : ')')) return false;
  }
  axis->direction_text = (struct vn_text){from, (int)(*at - from)};
  axis->directed = !isnan(axis->direction[0]);
  *at += strspn(*at, " \t");
  return true;
}

static enum vn_status directions_parse(struct header *h, struct vn_diag *diag) {
  const char *at = h->value[DIRECTIONS];
  for (size_t i = 0; at && i < h->axes; i++) {
    if (!direction_take(&at, &h->axis[i]))
      return vn_fail(diag, VN_E_FORMAT, "its space directions are not %zu vectors of 3 numbers",
                     h->axes);
    h->axis[i].spatial = h->axis[i].directed;
  }
  if (at && *at) return vn_fail(diag, VN_E_FORMAT, "it has more space directions than axes");
  return VN_OK;
}

static enum vn_status spacings_parse(struct header *h, struct vn_diag *diag) {
  const char *at = h->value[SPACINGS];
  for (size_t i = 0; at && i < h->axes; i++) {
    const char *from = at;
    if (!real_take(&at, &h->axis[i].spacing))
      return vn_fail(diag, VN_E_FORMAT, "its spacings are not %zu numbers", h->axes);
    h->axis[i].spacing_text = (struct vn_text){from, (int)strcspn(from, " \t")};
  }
  return VN_OK;
}

/* Without directions, kinds say which axes are space. */
static void kinds_parse(struct header *h) {
  enum { WIDTH = 1, KINDS_OF_SPACE = 4 };
  static const char *const space[KINDS_OF_SPACE] = {"domain", "space", "none", "???"};
  const char *at = h->value[KINDS];
  for (size_t i = 0; at && !h->value[DIRECTIONS] && i < h->axes; i++) {
    char word[32];
    size_t size = strcspn(at, " \t");
    snprintf(word, sizeof word, "%.*s", (int)(size < sizeof word ? size : sizeof word - 1), at);
    h->axis[i].spatial = row_find(word, space, WIDTH, KINDS_OF_SPACE) < KINDS_OF_SPACE;
    at += size + strspn(at + size, " \t");
    if (*at == '\0') at = NULL;
  }
}

/* An axis that is not one of space, behind so many that are. */
static enum vn_status values_take(const struct header *h, size_t axis, size_t before,
                                  struct vn_scan *scan, struct vn_diag *diag) {
  char where[100];
  snprintf(where, sizeof where, "%zu values for each voxel or a series of volumes, along axis %zu",
           h->axis[axis].size, axis);
  return vn_scan_series(scan, h->axis[axis].size, before, where, diag);
}

/* The three axes of space, moved to the front; all others must have extent 1, but for that of a
 * series. */
static enum vn_status axes_choose(struct header *h, struct vn_scan *scan, struct vn_diag *diag) {
  size_t spatial = 0, last = 0, before = 0;
  for (size_t i = 0; i < h->axes; i++) spatial += h->axis[i].spatial;
  for (size_t i = h->axes; i-- > 0 && spatial > 3;)
    if (h->axis[i].spatial && h->axis[i].size == 1) h->axis[i].spatial = false, spatial--;
  for (size_t i = 0; i < h->axes; i++)
    if (h->axis[i].spatial) last = i;
  if (spatial == 4) h->axis[last].spatial = false, spatial--;
  for (size_t i = 0; i < h->axes; i++) {
    before += h->axis[i].spatial;
    if (h->axis[i].spatial || h->axis[i].size == 1) continue;
    enum vn_status status = values_take(h, i, before, scan, diag);
    if (status) return status;
  }
  if (spatial != 3)
    return vn_fail(diag, VN_E_UNSUPPORTED, "%zu axes of space: a scan has three", spatial);
  for (size_t i = 0, j = 0; i < h->axes; i++) {
    if (!h->axis[i].spatial) continue;
    scan->dim[j] = h->axis[i].size;
    scan->nrrd.direction[j] = h->axis[i].direction_text;
    scan->nrrd.spacing[j] = h->axis[i].spacing_text;
    h->axis[j++] = h->axis[i];
  }
  return VN_OK;
}

static enum vn_status axes_parse(struct header *h, struct vn_scan *scan, struct vn_diag *diag) {
  long long value;
  if (!whole_parse(h->value[DIMENSION], &value) || value < 1 || value > AXES_MOST)
    return vn_fail(diag, VN_E_FORMAT, "its dimension is '%.20s'", h->value[DIMENSION]);
  h->axes = (size_t)value;
  const char *at = h->value[SIZES];
  for (size_t i = 0; i < h->axes; i++) {
    if (!whole_take(&at, &value) || value < 1 || (unsigned long long)value > SIZE_MAX)
      return vn_fail(diag, VN_E_FORMAT, "its sizes are not %zu whole numbers above 0", h->axes);
    h->axis[i] = (struct axis){.size = (size_t)value, .spatial = true, .spacing = NAN};
  }
  if (*at) return vn_fail(diag, VN_E_FORMAT, "it has more sizes than axes");
  enum vn_status status = directions_parse(h, diag);
  if (!status) status = spacings_parse(h, diag);
  if (status) return status;
  kinds_parse(h);
  return axes_choose(h, scan, diag);
}

/* ---- geometry ---- */

static struct vn_text text_of(const char *value) {
  return (struct vn_text){value, value ? (int)strlen(value) : 0};
}

/* Spaces whose axes are known to point somewhere in a body; sign[2]: of x and y, to RAS. */
static bool space_known(const char *space, double sign[2]) {
  static const char *const known[4][2] = {{"right-anterior-superior", "RAS"},
                                          {"left-anterior-superior", "LAS"},
                                          {"left-posterior-superior", "LPS"},
                                          {"right-posterior-superior", "RPS"}};
  size_t row = space ? row_find(space, known[0], 2, 4) : 4;
  sign[0] = row == 1 || row == 2 ? -1 : 1;
  sign[1] = row == 2 || row == 3 ? -1 : 1;
  return row < 4;
}

/* mm of the first unit in `units`, which are quoted; they are taken to be all the same. */
static double unit_mm(const char *units) {
  static const struct {
    const char *name;
    double mm;
  } known[] = {{"\"um\"", 1e-3},      {"\"\xC2\xB5m\"", 1e-3}, {"\"micron\"", 1e-3},
               {"\"microns\"", 1e-3}, {"\"cm\"", 10},          {"\"m\"", 1000}};
  for (size_t i = 0; units && i < sizeof known / sizeof *known; i++)
    if (strncmp(units, known[i].name, strlen(known[i].name)) == 0) return known[i].mm;
  return 1;
}

static enum vn_status origin_parse(const struct header *h, double origin[3], struct vn_diag *diag) {
  struct axis point = {0};
  const char *at = h->value[ORIGIN];
  if (!at) return VN_OK;
  if (!direction_take(&at, &point) || *at || !point.directed)
    return vn_fail(diag, VN_E_FORMAT, "its space origin is not 3 numbers");
  memcpy(origin, point.direction, sizeof point.direction);
  return VN_OK;
}

/* Directions and an origin, in a space that may or may not mean something. */
static enum vn_status affine_parse(const struct header *h, struct vn_scan *scan,
                                   struct vn_diag *diag) {
  double m[3][4], origin[3] = {0}, sign[2], mm = unit_mm(h->value[SPACE_UNITS]);
  enum vn_status status = origin_parse(h, origin, diag);
  if (status) return status;
  bool known = space_known(h->value[SPACE], sign);
  for (int i = 0; i < 3; i++) {
    double factor = i < 2 ? sign[i] * mm : mm;
    for (int j = 0; j < 3; j++) m[i][j] = factor * h->axis[j].direction[i];
    m[i][3] = factor * origin[i];
  }
  if (!vn_affine_usable(m))
    return vn_fail(diag, VN_E_FORMAT, "its space directions are not an invertible matrix");
  memcpy(scan->affine, m, sizeof m);
  for (int j = 0; j < 3; j++) scan->spacing_mm[j] = vn_affine_spacing(m, j);
  if (mm != 1) vn_scan_note_add(scan, "its space unit is %g mm", mm);
  if (known) return VN_OK;
  snprintf(scan->unoriented_own, sizeof scan->unoriented_own,
           "is in the space '%.30s', which does not say left from right",
           h->value[SPACE] ? h->value[SPACE] : "");
  scan->unoriented = scan->unoriented_own;
  return VN_OK;
}

static enum vn_status geometry_parse(const struct header *h, struct vn_scan *scan,
                                     struct vn_diag *diag) {
  struct vn_nrrd *nrrd = &scan->nrrd;
  nrrd->space = text_of(h->value[SPACE]);
  nrrd->space_dimension = text_of(h->value[SPACE_DIMENSION]);
  nrrd->origin = text_of(h->value[ORIGIN]);
  nrrd->space_units = text_of(h->value[SPACE_UNITS]);
  if (h->axes == 3) nrrd->units = text_of(h->value[UNITS]);
  if (h->value[DIRECTIONS]) return affine_parse(h, scan, diag);
  scan->unoriented = "has no space directions and does not say left from right";
  double mm = unit_mm(h->value[UNITS]);
  if (mm != 1) vn_scan_note_add(scan, "its unit is %g mm", mm);
  if (!h->value[SPACINGS]) vn_scan_note_add(scan, "its voxels' size is not given: 1 mm is taken");
  for (int j = 0; j < 3; j++) {
    double spacing = h->value[SPACINGS] ? fabs(h->axis[j].spacing) * mm : 1;
    if (!(isfinite(spacing) && spacing > 0))
      return vn_fail(diag, VN_E_FORMAT, "its spacings are not numbers above 0");
    scan->spacing_mm[j] = spacing;
  }
  vn_affine_plain(scan);
  return VN_OK;
}

/* ---- where the voxels are ---- */

/* In the header's own folder and nowhere else: a header from outside must not make its reader open
 * other files. */
static enum vn_status data_path(const char *path, const struct header *h, char **data,
                                struct vn_diag *diag) {
  const char *name = h->value[DATA_FILE];
  if (strncasecmp(name, "LIST", 4) == 0 || (strchr(name, '%') && strchr(name, ' ')))
    return vn_fail(
        diag, VN_E_UNSUPPORTED,
        "its voxels are in several files: save it as one with 3D Slicer or \"unu save\"");
  if (strncmp(name, "./", 2) == 0) name += 2;
  if (strpbrk(name, "/\\") || vn_os_name(name) != name || *name == '\0' || strcmp(name, ".") == 0 ||
      strcmp(name, "..") == 0)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "its voxels are in '%.100s': a data file must lie beside its header",
                   h->value[DATA_FILE]);
  const size_t folder = (size_t)(vn_os_name(path) - path);
  *data = malloc(folder + strlen(name) + 1);
  if (!*data) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  memcpy(*data, path, folder);
  strcpy(*data + folder, name);
  return VN_OK;
}

/* Moves `start` behind that many lines. */
static enum vn_status lines_skip(struct vn_stream *stream, long long lines, struct vn_scan *scan,
                                 struct vn_diag *diag) {
  char piece[4096];
  uint64_t start = scan->start;
  enum vn_status status = vn_stream_seek(stream, start, false, diag);
  while (!status && lines) {
    size_t got, used = 0;
    if ((status = vn_stream_read(stream, piece, sizeof piece, &got, diag))) break;
    if (got == 0 || start - scan->start > SKIP_MOST)
      return vn_fail(diag, VN_E_FORMAT, "there are no %lld lines to skip before the voxels", lines);
    while (used < got && lines) lines -= piece[used++] == '\n';
    start += used;
  }
  scan->start = start;
  return status;
}

static enum vn_status skips_parse(struct vn_stream *stream, const struct header *h,
                                  struct vn_scan *scan, struct vn_diag *diag) {
  long long lines = 0, bytes = 0;
  if (h->value[LINE_SKIP] && (!whole_parse(h->value[LINE_SKIP], &lines) || lines < 0))
    return vn_fail(diag, VN_E_FORMAT, "its line skip is '%.20s'", h->value[LINE_SKIP]);
  if (h->value[BYTE_SKIP] && (!whole_parse(h->value[BYTE_SKIP], &bytes) || bytes < -1))
    return vn_fail(diag, VN_E_FORMAT, "its byte skip is '%.20s'", h->value[BYTE_SKIP]);
  enum vn_status status = lines_skip(stream, lines, scan, diag);
  if (status || bytes >= 0) {
    scan->skip = (uint64_t)(bytes > 0 ? bytes : 0);
    return status;
  }
  if (scan->encoding != VN_ENCODING_RAW)
    return vn_fail(diag, VN_E_UNSUPPORTED, "a byte skip of -1 is for raw voxels alone");
  if (stream->file_bytes < scan->start || stream->file_bytes - scan->start < scan->data_bytes)
    return VN_OK; /* vn_scan_size_check says what is missing */
  scan->skip = stream->file_bytes - scan->start - scan->data_bytes;
  return VN_OK;
}

static enum vn_status data_find(const char *path, struct vn_stream *stream, const struct header *h,
                                struct vn_scan *scan, struct vn_diag *diag) {
  enum vn_status status = VN_OK;
  if (h->value[DATA_FILE]) {
    if ((status = data_path(path, h, &scan->voxel_path, diag))) return status;
    vn_stream_close(stream);
    struct vn_diag inner;
    if ((status = vn_stream_open(scan->voxel_path, stream, &inner)))
      return vn_fail(diag, status, "its data file: %.300s", inner.text);
  } else {
    scan->start = h->size;
    if (!(scan->voxel_path = strdup(path))) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  }
  if ((status = skips_parse(stream, h, scan, diag))) return status;
  return vn_scan_size_check(scan, stream, diag);
}

/* ---- open ---- */

static enum vn_status header_parse(const char *path, struct vn_stream *stream, struct header *h,
                                   struct vn_scan *scan, struct vn_diag *diag) {
  enum vn_status status = text_read(stream, h, diag);
  scan->nrrd.text = h->text;
  if (!status) status = fields_take(h, diag);
  if (h->cut && !h->value[DATA_FILE])
    return vn_fail(diag, VN_E_FORMAT, "truncated: its header has no end");
  scan->labels = h->segmentation;
  if (!status) status = axes_parse(h, scan, diag);
  if (!status) status = type_parse(h, scan, diag);
  if (!status) status = encoding_parse(h, scan, diag);
  if (!status) status = geometry_parse(h, scan, diag);
  scan->note_header = strlen(scan->note);
  return status ? status : data_find(path, stream, h, scan, diag);
}

enum vn_status vn_nrrd_open(const char *path, struct vn_stream *stream, struct vn_scan *scan,
                            struct vn_diag *diag) {
  struct header h = {0};
  struct vn_os_numbers host;
  if (!vn_os_numbers_plain(&host)) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  scan->format = VN_SCAN_NRRD;
  enum vn_status status = header_parse(path, stream, &h, scan, diag);
  vn_os_numbers_restore(&host);
  return status;
}

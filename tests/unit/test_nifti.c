/* NIfTI: what is refused and why, field by field, and what a round trip must not change. Headers
 * are patched byte by byte here; agreement with another reader and writer is tested by
 * tests/e2e/run_nifti.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <nifti/nifti1.h>
#include <nifti/nifti2.h>
#include <zlib.h>

#include "nifti.h"
#include "orient.h"

static char folder[] = "/tmp/vnet-nifti-XXXXXX";

static const char *path_of(const char *name) {
  static char path[128];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static void save(const char *name, const void *bytes, size_t size, bool pack) {
  gzFile file = gzopen(path_of(name), pack ? "wb" : "wbT");
  assert_non_null(file);
  assert_int_equal(gzwrite(file, bytes, (unsigned)size), size);
  assert_int_equal(gzclose(file), Z_OK);
}

enum { OFFSET = 352, VOXELS = 4 * 3 * 2, SIZE = OFFSET + 2 * VOXELS, OFFSET2 = 544 };

/* 4 x 3 x 2 int16 voxels 0, 1, 2 …, 2 mm, sform RAS. */
static void sound(unsigned char bytes[SIZE]) {
  struct nifti_1_header h = {0};
  h.sizeof_hdr = 348;
  memcpy(h.dim, (const short[]){3, 4, 3, 2, 1, 1, 1, 1}, sizeof h.dim);
  h.datatype = 4;
  h.bitpix = 16;
  for (int i = 0; i < 8; i++) h.pixdim[i] = 2;
  h.vox_offset = OFFSET;
  h.sform_code = 1;
  h.srow_x[0] = h.srow_y[1] = h.srow_z[2] = 2;
  memcpy(h.magic, "n+1", 4);
  memset(bytes, 0, SIZE);
  memcpy(bytes, &h, sizeof h);
  for (int16_t i = 0; i < VOXELS; i++) memcpy(bytes + OFFSET + 2 * i, &i, 2);
}

/* Opens and loads `name`; the sentence must hold `text` when something fails. */
static void expect_from(const char *name, enum vn_status status, const char *text, int line) {
  struct vn_scan scan;
  struct vn_diag diag = {""};
  enum vn_status got = vn_scan_open(path_of(name), &scan, &diag);
  if (got == VN_OK) got = vn_scan_load(&scan, false, &diag);
  vn_scan_close(&scan);
  if (got != status || !strstr(diag.text, text))
    fail_msg("line %d: status %d, expected %d; sentence '%s', expected '%s'", line, got, status,
             diag.text, text);
}
#define expect(name, status, text) expect_from(name, status, text, __LINE__)

#define AT(field) offsetof(struct nifti_1_header, field)
#define S16(field, value, status, text)                                                            \
  { AT(field), 2, &(const short){value}, status, text, __LINE__ }
#define F32(field, value, status, text)                                                            \
  { AT(field), 4, &(const float){value}, status, text, __LINE__ }
#define RAW(field, value, status, text)                                                            \
  { AT(field), sizeof value - 1, value, status, text, __LINE__ }

static const struct patch {
  size_t at, size;
  const void *value;
  enum vn_status status;
  const char *text;
  int line;
} patches[] = {
    S16(dim[0], 3, VN_OK, ""),
    S16(dim[0], 4, VN_OK, ""),
    S16(dim[0], 7, VN_OK, ""),
    S16(dim[0], 0, VN_E_FORMAT, "0 axes"),
    S16(dim[0], -1, VN_E_FORMAT, "-1 axes"),
    S16(dim[0], 8, VN_E_FORMAT, "8 axes"),
    S16(dim[1], 0, VN_E_FORMAT, "extent of 0"),
    S16(dim[2], -3, VN_E_FORMAT, "extent of -3"),
    S16(dim[3], 32767, VN_E_FORMAT, "truncated"),
    S16(dim[4], 9, VN_OK, ""), /* past dim[0]: not there */
    S16(datatype, 32, VN_E_UNSUPPORTED, "complex"),
    S16(datatype, 128, VN_E_UNSUPPORTED, "colour"),
    S16(datatype, 1536, VN_E_UNSUPPORTED, "128-bit"),
    S16(datatype, 1, VN_E_UNSUPPORTED, "1-bit"),
    S16(datatype, 0, VN_E_FORMAT, "does not exist"),
    S16(datatype, 2, VN_E_FORMAT, "takes 8 bits"),
    S16(bitpix, 8, VN_E_FORMAT, "takes 16 bits"),
    F32(vox_offset, 0, VN_OK, ""),
    F32(vox_offset, 348, VN_E_FORMAT, "byte 348"),
    F32(vox_offset, -1, VN_E_FORMAT, "byte -1"),
    F32(vox_offset, 1e30f, VN_E_FORMAT, "byte -1"),
    F32(vox_offset, NAN, VN_E_FORMAT, "byte -1"),
    F32(vox_offset, 1e15f, VN_E_FORMAT, "truncated"),
    F32(scl_slope, INFINITY, VN_E_FORMAT, "scl_slope"),
    F32(scl_slope, NAN, VN_OK, ""),
    F32(pixdim[1], NAN, VN_E_FORMAT, "voxel size"),
    F32(pixdim[1], 0, VN_OK, ""),
    F32(srow_x[0], 0, VN_E_FORMAT, "sform"),
    F32(srow_x[3], NAN, VN_E_FORMAT, "sform"),
    S16(qform_code, 1, VN_OK, ""),
    RAW(magic, "n+2\0", VN_E_FORMAT, "signature"),
    RAW(magic, "\0\0\0\0", VN_E_UNSUPPORTED, "Analyze"),
    RAW(magic, "ni1\0", VN_E_IO, ".img"),
    RAW(sizeof_hdr, "\x5D\1\0\0", VN_E_FORMAT, "neither version"),
};

static void fields_are_doubted(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof patches / sizeof *patches; i++)
    for (int packed = 0; packed < 2; packed++) {
      unsigned char bytes[SIZE];
      sound(bytes);
      memcpy(bytes + patches[i].at, patches[i].value, patches[i].size);
      save("scan.nii", bytes, SIZE, packed);
      bool wide = strcmp(patches[i].text, "truncated") == 0;
      expect_from("scan.nii", patches[i].status, wide && packed ? "" : patches[i].text,
                  patches[i].line);
    }
}

static void sizes_are_doubted(void **state) {
  (void)state;
  unsigned char bytes[SIZE];
  sound(bytes);
  for (size_t size = 0; size < SIZE; size++) {
    save("scan.nii", bytes, size, false);
    expect("scan.nii", VN_E_FORMAT, "");
    save("scan.nii.gz", bytes, size, true);
    expect("scan.nii.gz", VN_E_FORMAT, "");
  }
  enum { MORE = 2 << 20 };
  unsigned char *longer = calloc(1, MORE);
  memcpy(longer, bytes, SIZE);
  save("scan.nii", longer, SIZE + 512, false);
  expect("scan.nii", VN_OK, "");
  save("scan.nii", longer, MORE, false);
  expect("scan.nii", VN_E_FORMAT, "more than its header");
  save("scan.nii.gz", longer, MORE, true);
  expect("scan.nii.gz", VN_E_FORMAT, "more than its header");
  free(longer);
}

/* Every cut of the compressed stream, and every byte of its checksum. */
static void gzip_is_checked(void **state) {
  (void)state;
  unsigned char bytes[SIZE], packed[2 * SIZE];
  sound(bytes);
  save("scan.nii.gz", bytes, SIZE, true);
  FILE *file = fopen(path_of("scan.nii.gz"), "rb");
  size_t size = fread(packed, 1, sizeof packed, file);
  fclose(file);
  for (size_t cut = 2; cut < size; cut++) {
    save("cut.nii.gz", packed, cut, false);
    expect("cut.nii.gz", VN_E_FORMAT, "");
  }
  for (size_t i = size - 8; i < size; i++) {
    packed[i] ^= 1;
    save("cut.nii.gz", packed, size, false);
    expect("cut.nii.gz", VN_E_FORMAT, "damaged");
    packed[i] ^= 1;
  }
  save("cut.nii.gz", packed, size, false);
  expect("cut.nii.gz", VN_OK, "");
}

/* NIfTI-2's 64-bit fields can promise more than there is memory in the world. */
static void promises_are_doubted(void **state) {
  (void)state;
  for (int packed = 0; packed < 2; packed++) {
    unsigned char bytes[OFFSET2 + 64] = {0};
    struct nifti_2_header h = {.sizeof_hdr = 540,
                               .datatype = 64,
                               .bitpix = 64,
                               .dim = {3, 2, 2, 2},
                               .vox_offset = OFFSET2};
    memcpy(h.magic, "n+2\0\r\n\032\n", 8);
    const int64_t claims[][3] = {
        {1 << 20, 1 << 20, 1},     {INT64_MAX, 1, 1},         {INT64_MAX, INT64_MAX, INT64_MAX},
        {1LL << 32, 1LL << 32, 1}, {1LL << 31, 1LL << 31, 2}, {3, 2, 2},
    };
    memcpy(bytes, &h, sizeof h);
    save("scan.nii", bytes, sizeof bytes, packed);
    expect("scan.nii", VN_OK, "");
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
      memcpy((char *)&h + offsetof(struct nifti_2_header, dim) + 8, claims[i], sizeof claims[i]);
      memcpy(bytes, &h, sizeof h);
      save("scan.nii", bytes, sizeof bytes, packed);
      expect("scan.nii", VN_E_FORMAT, "");
    }
    h.dim[0] = INT64_MAX;
    memcpy(bytes, &h, sizeof h);
    save("scan.nii", bytes, sizeof bytes, packed);
    expect("scan.nii", VN_E_FORMAT, "axes");
  }
}

static void files_are_doubted(void **state) {
  (void)state;
  unsigned char bytes[SIZE];
  sound(bytes);
  save("scan.nia", bytes, SIZE, false);
  expect("scan.nia", VN_E_UNSUPPORTED, "ASCII");
  expect("absent.nii", VN_E_IO, "No such file");
  expect(".", VN_E_IO, "not a regular file");
  expect("absent.img", VN_E_IO, "header");
}

static void pairs_are_read(void **state) {
  (void)state;
  unsigned char bytes[SIZE];
  sound(bytes);
  memcpy(bytes + AT(magic), "ni1", 4);
  memcpy(bytes + AT(vox_offset), &(float){0}, 4);
  save("two.hdr", bytes, 348, false);
  save("two.img.gz", bytes + OFFSET, 2 * VOXELS, true);
  static const char *const names[] = {"two.hdr", "two.img.gz"};
  for (int i = 0; i < 2; i++) {
    struct vn_scan scan;
    struct vn_diag diag;
    if (vn_scan_open(path_of(names[i]), &scan, &diag) || vn_scan_load(&scan, false, &diag))
      fail_msg("%s", diag.text);
    assert_true(scan.voxels[VOXELS - 1] == VOXELS - 1);
    vn_scan_close(&scan);
  }
  save("two.img.gz", bytes + OFFSET, 2 * VOXELS - 1, true);
  expect("two.hdr", VN_E_FORMAT, "truncated");
}

static void missing_values_have_a_rule(void **state) {
  (void)state;
  unsigned char bytes[OFFSET + 4 * VOXELS] = {0};
  sound(bytes);
  memcpy(bytes + AT(datatype), (const short[]){16, 32}, 4);
  float values[VOXELS];
  for (int i = 0; i < VOXELS; i++) values[i] = (float)(i - 7);
  values[5] = NAN;
  values[17] = -INFINITY;
  memcpy(bytes + OFFSET, values, sizeof values);
  save("scan.nii", bytes, sizeof bytes, false);
  expect("scan.nii", VN_E_FORMAT,
         "2 of 24 voxels are NaN, infinite or beyond float32, the first at 1 1 0");
  struct vn_scan scan;
  assert_int_equal(vn_scan_open(path_of("scan.nii"), &scan, NULL), VN_OK);
  assert_int_equal(vn_scan_load(&scan, true, NULL), VN_OK);
  assert_int_equal(scan.replaced, 2);
  assert_true(scan.voxels[5] == -7 && scan.voxels[17] == -7 && scan.voxels[6] == -1);
  vn_scan_close(&scan);
}

static void labels_keep_the_grid(void **state) {
  (void)state;
  unsigned char bytes[SIZE], written[SIZE];
  sound(bytes);
  bytes[AT(xyzt_units)] = 2;
  memcpy(bytes + AT(srow_x[1]), &(float){0.1f}, 4); /* no double is this float's decimal */
  memcpy(bytes + AT(dim[0]), &(short){4}, 2);
  save("scan.nii", bytes, SIZE, false);
  struct vn_scan scan;
  uint8_t data[VOXELS];
  for (int i = 0; i < VOXELS; i++) data[i] = (uint8_t)i;
  struct vn_labels labels = {data, 1, VOXELS, 24};
  assert_int_equal(vn_scan_open(path_of("scan.nii"), &scan, NULL), VN_OK);
  FILE *file = fopen(path_of("labels.nii"), "wb+");
  assert_int_equal(vn_labels_write(fileno(file), false, &scan, &labels, "test", NULL), VN_OK);
  rewind(file);
  assert_int_equal(fread(written, 1, SIZE, file), OFFSET + VOXELS);
  fclose(file);
  vn_scan_close(&scan);
  assert_memory_equal(written + OFFSET, data, VOXELS);
  struct nifti_1_header have, want;
  memcpy(&have, written, sizeof have);
  memcpy(&want, bytes, sizeof want);
  assert_int_equal(have.datatype, 2);
  assert_int_equal(have.intent_code, 1002);
  assert_true(have.scl_slope == 1 && have.cal_max == 23);
  assert_string_equal(have.descrip, "test");
  /* All else is the scan's, bit for bit. */
  want.datatype = have.datatype;
  want.bitpix = 8;
  want.intent_code = have.intent_code;
  want.scl_slope = 1;
  want.cal_max = 23;
  strcpy(want.descrip, "test");
  assert_memory_equal(&have, &want, sizeof have);
}

static void orientation_is_nearest(void **state) {
  (void)state;
  struct vn_scan scan = {.dim = {4, 3, 2}, .elems = 24, .oriented = true, .spacing_mm = {1, 2, 3}};
  /* x runs to posterior and a little down, y to superior, z to left */
  memcpy(scan.affine, (const double[3][4]){{0, 0, -3, 0}, {-0.9, 0.2, 0, 0}, {-0.4, 2, 0, 0}},
         sizeof scan.affine);
  struct vn_view view;
  struct vn_diag diag;
  assert_int_equal(vn_view_orient(&scan, "RAS", &view, &diag), VN_OK);
  /* w = R = -z, h = A = -x, d = S = y */
  assert_memory_equal(view.dim, ((const size_t[]){3, 4, 2}), sizeof view.dim);
  assert_memory_equal(view.step, ((const ptrdiff_t[]){4, -1, -12}), sizeof view.step);
  assert_int_equal(view.origin, 3 + 12);
  assert_true(view.spacing_mm[0] == 2 && view.spacing_mm[1] == 1 && view.spacing_mm[2] == 3);
  assert_int_equal(vn_view_orient(&scan, "PSL", &view, &diag), VN_OK);
  assert_memory_equal(view.step, ((const ptrdiff_t[]){12, 4, 1}), sizeof view.step);
  static const char *const bad[] = {"", "RA", "RAP", "RAX", "ras", "RASR"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(vn_view_orient(&scan, bad[i], &view, &diag), VN_E_FORMAT);
  scan.contradictory = true;
  assert_int_equal(vn_view_orient(&scan, "RAS", &view, &diag), VN_E_UNSUPPORTED);
  scan.oriented = scan.contradictory = false;
  assert_int_equal(vn_view_orient(&scan, "RAS", &view, &diag), VN_E_UNSUPPORTED);
}

static int folder_make(void **state) {
  (void)state;
  return mkdtemp(folder) ? 0 : -1;
}

static int folder_remove(void **state) {
  (void)state;
  static const char *const names[] = {"scan.nii", "scan.nii.gz", "cut.nii.gz", "scan.nia",
                                      "two.hdr",  "two.img.gz",  "labels.nii"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(path_of(names[i]));
  return rmdir(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fields_are_doubted),
      cmocka_unit_test(sizes_are_doubted),
      cmocka_unit_test(gzip_is_checked),
      cmocka_unit_test(promises_are_doubted),
      cmocka_unit_test(files_are_doubted),
      cmocka_unit_test(pairs_are_read),
      cmocka_unit_test(missing_values_have_a_rule),
      cmocka_unit_test(labels_keep_the_grid),
      cmocka_unit_test(orientation_is_nearest),
  };
  return cmocka_run_group_tests(tests, folder_make, folder_remove);
}

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

#include "vnet_scan.h"

static char folder[] = "/tmp/vnet-scan-XXXXXX";

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

/* Opens and loads `name`; the sentence when it fails, or else the note, must hold `text`. */
static void expect_from(const char *name, enum vn_status status, const char *text, int line) {
  struct vn_scan *scan;
  struct vn_diag diag = {""};
  enum vn_status got = vn_scan_open(path_of(name), &scan, &diag);
  if (got == VN_OK) got = vn_scan_load(scan, NULL, &diag);
  if (got == VN_OK && vn_scan_note(scan))
    snprintf(diag.text, sizeof diag.text, "%s", vn_scan_note(scan));
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
    S16(dim[5], -9, VN_OK, ""),
    S16(datatype, 32, VN_E_UNSUPPORTED, "complex"),
    S16(datatype, 128, VN_E_UNSUPPORTED, "colour"),
    S16(datatype, 1536, VN_E_UNSUPPORTED, "128-bit"),
    S16(datatype, 1, VN_E_UNSUPPORTED, "1-bit"),
    S16(datatype, 0, VN_E_FORMAT, "does not exist"),
    S16(datatype, 2, VN_OK, "its bitpix is 16: datatype 2 takes 8 bits"),
    S16(bitpix, 0, VN_OK, "its bitpix is 0: datatype 4 takes 16 bits"),
    F32(vox_offset, 0, VN_OK, ""),
    F32(vox_offset, 348, VN_E_FORMAT, "byte 348"),
    F32(vox_offset, -1, VN_E_FORMAT, "byte -1"),
    F32(vox_offset, 1e30f, VN_E_FORMAT, "byte -1"),
    F32(vox_offset, NAN, VN_E_FORMAT, "byte -1"),
    F32(vox_offset, 1e15f, VN_E_FORMAT, "truncated"),
    F32(scl_slope, INFINITY, VN_OK, "not scaled"),
    F32(scl_inter, NAN, VN_OK, ""), /* the slope is 0 */
    F32(scl_slope, NAN, VN_OK, ""),
    F32(pixdim[1], NAN, VN_OK, "its pixdim nan along axis 1: the sform is used"),
    F32(pixdim[2], 0, VN_OK, "its pixdim 0 along axis 2: the sform is used"),
    S16(qform_code, 1, VN_OK, ""),
    RAW(magic, "n+2\0", VN_E_FORMAT, "signature"),
    RAW(magic, "\0\0\0\0", VN_E_UNSUPPORTED, "Analyze"),
    RAW(magic, "ni1\0", VN_E_IO, ".img"),
    RAW(sizeof_hdr, "\x5D\1\0\0", VN_E_FORMAT, "not a scan"),
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
  expect(".", VN_E_IO, "a folder, not a file");
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
    struct vn_scan *scan;
    struct vn_image image = {.size = sizeof image};
    struct vn_diag diag;
    if (vn_scan_open(path_of(names[i]), &scan, &diag) || vn_scan_load(scan, NULL, &diag))
      fail_msg("%s", diag.text);
    vn_scan_image(scan, &image);
    assert_true(((const float *)image.voxels)[VOXELS - 1] == VOXELS - 1);
    vn_scan_close(&scan);
  }
  /* Beside another one: the file that was named. */
  save("two.img", bytes + OFFSET, 2 * VOXELS - 1, false);
  expect("two.hdr", VN_E_FORMAT, "truncated");
  expect("two.img", VN_E_FORMAT, "truncated");
  expect("two.img.gz", VN_OK, "");
  remove(path_of("two.img"));
  save("two.img.gz", bytes + OFFSET, 2 * VOXELS - 1, true);
  expect("two.hdr", VN_E_FORMAT, "truncated");
}

static void labels_keep_the_grid(void **state) {
  (void)state;
  unsigned char bytes[SIZE], written[SIZE];
  sound(bytes);
  bytes[AT(xyzt_units)] = 2;
  memcpy(bytes + AT(srow_x[1]), &(float){0.1f}, 4); /* no double is this float's decimal */
  memcpy(bytes + AT(dim[0]), &(short){4}, 2);
  save("scan.nii", bytes, SIZE, false);
  struct vn_scan *scan;
  uint8_t data[VOXELS];
  for (int i = 0; i < VOXELS; i++) data[i] = (uint8_t)i;
  const struct vn_label_map map = {.size = sizeof map, .data = data, .elem_bytes = 1};
  assert_int_equal(vn_scan_open(path_of("scan.nii"), &scan, NULL), VN_OK);
  FILE *file = fopen(path_of("labels.nii"), "wb+");
  const struct vn_scan_result result = {
      .size = sizeof result, .like = scan, .map = &map, .labels = 24, .description = "test"};
  assert_int_equal(vn_scan_write_labels(fileno(file), "labels.nii", &result, NULL), VN_OK);
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

/* An image that no file gave the grid of: what is written reads back as that grid, by sform and by
 * qform, in either world and whatever its handedness. */
static void images_are_saved(void **state) {
  (void)state;
  const double c = 0.8, d = 0.6;
  for (int k = 0; k < 48; k++) {
    struct vn_image image = {
        .size = sizeof image, .dim = {4, 3, 2}, .world = k & 1 ? VN_WORLD_LPS : VN_WORLD_RAS};
    const double turned[3][3] = {{2 * c, -3 * d, 0}, {2 * d, 3 * c, 0}, {0, 0, k & 2 ? -4 : 4}};
    for (int i = 0; i < 3; i++) {
      for (int j = 0; j < 3; j++) image.affine[i][(j + k / 16) % 3] = turned[(i + k / 4) % 3][j];
      image.affine[i][3] = 10 * i - 7.5;
    }
    uint8_t data[VOXELS] = {1, 2};
    const struct vn_label_map map = {.size = sizeof map, .data = data, .elem_bytes = 1};
    struct vn_diag diag;
    const struct vn_scan_result result = {
        .size = sizeof result, .image = &image, .map = &map, .labels = 3};
    if (vn_scan_save_labels(path_of("labels.nii"), &result, &diag)) fail_msg("%s", diag.text);
    for (int form = 0; form < 2; form++) {
      struct nifti_1_header h;
      struct vn_scan *file;
      struct vn_image back = {.size = sizeof back};
      FILE *stream = fopen(path_of("labels.nii"), "rb+");
      assert_int_equal(fread(&h, sizeof h, 1, stream), 1);
      assert_true(h.sform_code > 0 || form);
      assert_true(h.qform_code > 0);
      h.sform_code = form ? 0 : h.sform_code;
      rewind(stream);
      assert_int_equal(fwrite(&h, sizeof h, 1, stream), 1);
      fclose(stream);
      assert_int_equal(vn_scan_open(path_of("labels.nii"), &file, &diag), VN_OK);
      vn_scan_image(file, &back);
      for (int i = 0; i < 3; i++)
        for (int j = 0; j < 4; j++) {
          double want = i < 2 && k & 1 ? -image.affine[i][j] : image.affine[i][j];
          if (fabs(back.affine[i][j] - want) > 1e-5)
            fail_msg("case %d, %s: %g, not %g", k, form ? "qform" : "sform", back.affine[i][j],
                     want);
        }
      vn_scan_close(&file);
    }
  }
  struct vn_image image = {.size = sizeof image, .dim = {4, 3, 2}};
  const struct vn_label_map map = {.size = sizeof map, .data = "", .elem_bytes = 1};
  struct vn_scan_result result = {.size = sizeof result, .image = &image, .map = &map, .labels = 3};
  assert_int_equal(vn_scan_save_labels(path_of("labels.nii"), &result, NULL), VN_E_ARGUMENT);
  image.affine[0][0] = image.affine[1][1] = image.affine[2][2] = 1;
  assert_int_equal(vn_scan_save_labels(path_of("absent/x.nii"), &result, NULL), VN_E_IO);
  assert_int_equal(vn_scan_save_labels(path_of("labels.hdr"), &result, NULL), VN_E_ARGUMENT);
  /* What a host that was killed left goes, and no trace is left of the rest. */
  FILE *left = fopen(path_of(".labels.nii.vnet-0123456789abcdef.part"), "w");
  fclose(left);
  const struct vn_label_map whole = {
      .size = sizeof whole, .data = (uint8_t[24]){1}, .elem_bytes = 1};
  result.map = &whole;
  assert_int_equal(vn_scan_save_labels(path_of("labels.nii"), &result, NULL), VN_OK);
  assert_int_equal(access(path_of(".labels.nii.vnet-0123456789abcdef.part"), F_OK), -1);
}

static int stop(void *context, double fraction) {
  (void)context, (void)fraction;
  return 1;
}

/* Counts the calls, which must never go back. */
struct onlooker {
  double last;
  int calls, most; /* most: ends the work at that call */
};
static int look(void *context, double fraction) {
  struct onlooker *onlooker = context;
  assert_true(fraction >= onlooker->last && fraction <= 1);
  onlooker->last = fraction;
  return ++onlooker->calls == onlooker->most;
}

/* A file of several chunks, in every format: whoever looks on hears of each and can end it. */
static void every_format_can_be_stopped(void **state) {
  (void)state;
  enum { SIDE = 100, ALL = SIDE * SIDE * SIDE };
  static const char *const names[] = {"long.nii", "long.nii.gz", "long.nrrd", "long.mgz",
                                      "text.nrrd"};
  struct vn_image image = {.size = sizeof image,
                           .dim = {SIDE, SIDE, SIDE},
                           .world = VN_WORLD_LPS,
                           .affine = {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}}};
  struct vn_diag diag = {""};
  char *text = malloc(2 * ALL + 200);
  const struct vn_label_map map = {.size = sizeof map, .data = calloc(ALL, 1), .elem_bytes = 1};
  struct vn_scan_result result = {.size = sizeof result, .image = &image, .map = &map, .labels = 2};
  for (int i = 0; i < ALL; i++) ((uint8_t *)map.data)[i] = i * 7919u >> 8 & 1;
  size_t size = (size_t)sprintf(text, "NRRD0001\ntype: int\ndimension: 3\nsizes: 100 100 100\n"
                                      "encoding: text\n\n");
  for (int i = 0; i < ALL; i++, size += 2) memcpy(text + size, "7 ", 2);
  save("text.nrrd", text, size, false);
  for (int i = 0; i < 5; i++) {
    struct vn_scan *scan;
    struct onlooker onlooker = {.most = 3};
    struct vn_run_options run = {
        .size = sizeof run, .progress = look, .progress_context = &onlooker};
    if (i < 4 && vn_scan_save_labels(path_of(names[i]), &result, &diag)) fail_msg("%s", diag.text);
    if (vn_scan_open(path_of(names[i]), &scan, &diag)) fail_msg("%s", diag.text);
    assert_int_equal(vn_scan_load(scan, &run, NULL), VN_E_CANCELLED);
    assert_true(onlooker.last > 0 && onlooker.last < 0.5);
    onlooker = (struct onlooker){0};
    assert_int_equal(vn_scan_load(scan, &run, NULL), VN_OK);
    assert_true(onlooker.calls >= ALL / (1 << 17) && onlooker.last == 1);
    vn_scan_close(&scan);
    unlink(path_of(names[i]));
  }
  assert_int_equal(vn_cancel_create(&result.cancel, NULL), VN_OK);
  vn_cancel_press(result.cancel);
  assert_int_equal(vn_scan_save_labels(path_of("labels.nii"), &result, NULL), VN_E_CANCELLED);
  vn_cancel_close(&result.cancel);
  free(map.data);
  free(text);
}

static void loading_stops(void **state) {
  (void)state;
  unsigned char bytes[SIZE];
  struct vn_scan *scan;
  sound(bytes);
  save("scan.nii.gz", bytes, SIZE, true);
  assert_int_equal(vn_scan_open(path_of("scan.nii.gz"), &scan, NULL), VN_OK);
  struct vn_run_options run = {.size = sizeof run, .progress = stop};
  assert_int_equal(vn_scan_load(scan, &run, NULL), VN_E_CANCELLED);
  assert_int_equal(vn_cancel_create(&run.cancel, NULL), VN_OK);
  run.progress = NULL;
  assert_int_equal(vn_scan_load(scan, &run, NULL), VN_OK);
  vn_scan_close(&scan);
  vn_cancel_close(&run.cancel);
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
      cmocka_unit_test(fields_are_doubted),   cmocka_unit_test(sizes_are_doubted),
      cmocka_unit_test(gzip_is_checked),      cmocka_unit_test(promises_are_doubted),
      cmocka_unit_test(files_are_doubted),    cmocka_unit_test(pairs_are_read),
      cmocka_unit_test(labels_keep_the_grid), cmocka_unit_test(images_are_saved),
      cmocka_unit_test(loading_stops),        cmocka_unit_test(every_format_can_be_stopped),
  };
  return cmocka_run_group_tests(tests, folder_make, folder_remove);
}

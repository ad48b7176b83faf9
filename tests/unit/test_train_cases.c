/* Pairs of scan and label map: read as nibabel and numpy read them, refused with the right
 * sentence. Run by tests/e2e/run_cases.py, which writes the folder that is the argument. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cases_folder.h"
#include "cases_list.h"
#include "os.h"

static void compare(const struct vnt_case *item, const char *name, bool own, float tolerance) {
  char file[64];
  snprintf(file, sizeof file, "%s.dim", name);
  uint64_t *dim = file_read(file, 48);
  for (int i = 0; i < 3; i++) assert_int_equal(item->source.dim[i], dim[own ? i : 3 + i]);
  const size_t elems = product(item->source.dim);
  snprintf(file, sizeof file, "%s.%s.f32", name, own ? "own" : "grid");
  float *image = file_read(file, elems * sizeof *image);
  snprintf(file, sizeof file, "%s.%s.u8", name, own ? "own" : "grid");
  uint8_t *target = file_read(file, elems);
  size_t open = 0;
  for (size_t i = 0; i < elems; i++) {
    assert_true(fabsf(image[i] - item->channel[0].image[i]) <= tolerance);
    open += target[i] == 255;
    assert_true(target[i] == 255 || target[i] == item->source.target[i]);
  }
  assert_true(open < elems / 100);
  free(dim);
  free(image);
  free(target);
}

static void scans_are_numpys(void **state) {
  (void)state;
  for (int own = 0; own < 2; own++) {
    struct vnt_cases_spec spec = plain;
    if (!own) memcpy(spec.spacing_mm, (double[]){2.5, 1.2, 1.7}, sizeof spec.spacing_mm);
    struct vnt_cases cases = cases_open("good.csv", &spec);
    assert_int_equal(cases.list.count, 3);
    assert_int_equal(cases.n_training, 2);
    assert_int_equal(cases.n_validation, 1);
    assert_int_equal(cases.training[1], 2);
    compare(&cases.items[0], "a", own, own ? 2e-7f : 2e-6f);
    compare(&cases.items[2], "b", own, own ? 4e-7f : 2e-6f);
    const struct vnt_list_row *row = cases.list.row;
    assert_true(row[1].validation && !cases.items[1].channel && !cases.items[1].block.data);
    assert_int_equal(row[1].line, 4);
    assert_string_equal(row[1].image[0], path_of("c.nii.gz"));
    assert_string_equal(row[2].image[0], path_of("b, 2.nii"));
    vnt_cases_close(&cases);
  }
  static const char *const more[] = {"plain.csv", "nearly.csv"};
  for (int i = 0; i < 2; i++) {
    struct vnt_cases cases = cases_open(more[i], &plain);
    compare(&cases.items[0], "a", true, 2e-7f);
    vnt_cases_close(&cases);
  }
}

/* Filling is to the trainer what it is to vnet-run: the scan's own low end, and no part of its
 * statistics. */
static void filling_is_left_out(void **state) {
  (void)state;
  struct vnt_cases_spec spec = plain;
  spec.intensity = &(struct vn_intensity_rule){VN_INTENSITY_PERCENTILE, 0, 100, 0, 0};
  spec.spacing_mm[0] = 1.3;
  struct vnt_cases low = cases_open("lowest.csv", &spec), filled = cases_open("filled.csv", &spec);
  const struct vnt_source *a = &low.items[0].source, *b = &filled.items[0].source;
  assert_memory_equal(&a->channel->intensity, &b->channel->intensity,
                      offsetof(struct vn_intensity, ct));
  assert_memory_equal(a->channel->image, b->channel->image,
                      a->dim[0] * a->dim[1] * a->dim[2] * sizeof(float));
  vnt_cases_close(&low);
  vnt_cases_close(&filled);
}

/* Files of several volumes, of every format that has them, alone or beside others: the same cases,
 * bit for bit, as of a file for each channel. */
static void volumes_are_channels(void **state) {
  (void)state;
  static const char *const lists[] = {"volumes.csv",      "volumes5.csv",  "volumes_mgz.csv",
                                      "volumes_nrrd.csv", "volumes_t.csv", "volumes_mixed.csv"};
  struct vnt_cases_spec spec = plain;
  memcpy(spec.spacing_mm, (double[]){2.5, 1.2, 1.7}, sizeof spec.spacing_mm);
  const struct vn_intensity_rule rules[3] = {
      *plain.intensity, {.kind = VN_INTENSITY_ZSCORE}, {VN_INTENSITY_WINDOW, -100, 900, 0, 0}};
  spec.intensity = rules;
  spec.n_intensity = 3;
  spec.channels = "c; a; b"; /* of a model that has another order */
  struct vnt_cases apart = cases_open("apart.csv", &spec);
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
    struct vnt_cases cases = cases_open(lists[i], &spec);
    assert_int_equal(cases.list.channels, 3);
    assert_int_equal(cases.list.count, 2);
    assert_string_equal(cases.list.channel[0], "c");
    for (size_t k = 0; k < 2; k++) {
      const struct vnt_case *a = &apart.items[k], *b = &cases.items[k];
      assert_int_equal(a->block.bytes, b->block.bytes);
      assert_memory_equal(a->block.data, b->block.data, a->block.bytes);
      for (size_t c = 0; c < 3; c++)
        assert_memory_equal(&a->channel[c].intensity, &b->channel[c].intensity,
                            offsetof(struct vn_intensity, ct));
    }
    vnt_cases_close(&cases);
  }
  /* Without names in the head the files say how many there are, and the order is theirs. */
  spec.channels = NULL;
  struct vnt_cases bare = cases_open("bare.csv", &spec), named = cases_open("volumes.csv", &spec);
  assert_int_equal(bare.list.channels, 3);
  assert_null(bare.list.channel[0]);
  assert_memory_equal(bare.items[1].block.data, named.items[1].block.data,
                      named.items[1].block.bytes);
  vnt_cases_close(&bare);
  vnt_cases_close(&named);
  vnt_cases_close(&apart);
}

static void bad_cases_are_refused(void **state) {
  (void)state;
  FILE *table = fopen(path_of("refused.txt"), "r");
  assert_non_null(table);
  char line[1024];
  size_t lines = 0;
  for (; fgets(line, sizeof line, table); lines++) {
    line[strcspn(line, "\n")] = '\0';
    char *status = strchr(line, '\t'), *sentence = strchr(status + 1, '\t');
    *status++ = *sentence++ = '\0';
    for (size_t threads = 0; threads <= 4; threads += 2) {
      struct vnt_cases cases;
      struct vn_diag diag = {{0}};
      struct vn_pool *pool = NULL;
      if (threads) assert_int_equal(vn_pool_open(threads, &pool, NULL), VN_OK);
      enum vn_status got = vnt_cases_open(path_of(line), &plain, pool, &cases, &diag);
      if ((int)got != atoi(status) || !strstr(diag.text, sentence))
        fail_msg("%s: status %d '%s', not %s '%s'", line, got, diag.text, status, sentence);
      vnt_cases_close(&cases);
      vn_pool_close(&pool);
    }
  }
  fclose(table);
  assert_true(lines > 30);
}

/* Lists with bytes changed, doubled and left out: rows that make sense, or a sentence. */
static void mangled_lists_are_survived(void **state) {
  (void)state;
  static const char good[] = "\xEF\xBB\xBFlabel, \"split\" ,image\r\na,train,\"b, \"\"2\"\r\n\nc,"
                             "validation,d\n\"f\",train,e";
  static const char bytes[] = "\"\"\",,\n\r \t\xFFx;";
  char text[2 * sizeof good], path[2048];
  size_t accepted = 0;
  snprintf(path, sizeof path, "%s", path_of("mangled.csv"));
  for (uint64_t index = 0; index < 3000; index++) {
    struct vnt_random r = vnt_random_open(1, index, 0);
    size_t length = 0, most = vnt_random_below(&r, 8);
    for (size_t i = 0; i + 1 < sizeof good; i++) {
      const size_t chance = vnt_random_below(&r, 200);
      if (chance < most) text[length++] = bytes[vnt_random_below(&r, sizeof bytes - 1)];
      if (chance + 1 != 2 * most) text[length++] = good[i];
    }
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fwrite(text, 1, length, file);
    fclose(file);
    struct vnt_list list;
    struct vn_diag diag = {{0}};
    const enum vn_status status = vnt_list_read(path, &list, &diag);
    assert_true(status == VN_OK || (status == VN_E_FORMAT && strstr(diag.text, "mangled.csv")));
    for (size_t i = 0; i < list.count && status == VN_OK; i++)
      assert_true(**list.row[i].image && (!list.row[i].label || *list.row[i].label) &&
                  list.row[i].line > 1);
    accepted += status == VN_OK;
    vnt_list_close(&list);
  }
  assert_in_range(accepted, 375, 2900); /* an eighth is unchanged */
}

static void specs_are_checked(void **state) {
  (void)state;
  struct vnt_cases cases;
  struct vn_diag diag;
  struct vnt_cases_spec spec = plain;
  static const struct {
    size_t classes;
    int ignored;
  } bad[] = {{1, -1}, {257, -1}, {256, 300}, {5, 4}, {5, 65536}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct vnt_labels *labels;
    assert_int_equal(vnt_labels_plain(bad[i].classes, bad[i].ignored, &labels, &diag),
                     VN_E_ARGUMENT);
    vnt_labels_close(&labels);
  }
  spec.spacing_mm[1] = -1;
  assert_int_equal(vnt_cases_open(path_of("plain.csv"), &spec, NULL, &cases, &diag), VN_E_ARGUMENT);
  spec.spacing_mm[1] = 100;
  assert_int_equal(vnt_cases_open(path_of("plain.csv"), &spec, NULL, &cases, &diag),
                   VN_E_UNSUPPORTED);
  assert_non_null(strstr(diag.text, "line 2: "));
  vnt_cases_close(&cases);
  for (int i = 0; i < 3; i++) spec.spacing_mm[i] = 6;
  assert_int_equal(vnt_cases_open(path_of("dust.csv"), &spec, NULL, &cases, &diag), VN_E_FORMAT);
  assert_non_null(
      strstr(cases.items[0].note, "dust.nii: nothing of it is labelled at this spacing"));
  vnt_cases_close(&cases);
}

/* What does not fit lies in files that nobody sees, and is the same. */
static void cases_lie_where_there_is_room(void **state) {
  (void)state;
  struct vnt_cases_spec spec = plain;
  char store[2048];
  snprintf(store, sizeof store, "%s", path_of("store"));
  struct vnt_cases all = cases_open("good.csv", &plain);
  spec.store_path = store;
  spec.memory_bytes = all.items[0].block.bytes; /* one of the two */
  char *left;                                   /* by a process of the same number */
  assert_true(asprintf(&left, "%s.%llu.0", store, (unsigned long long)vn_os_process()) > 0);
  FILE *file = fopen(left, "w");
  assert_non_null(file);
  fclose(file);
  struct vnt_cases some = cases_open("good.csv", &spec);
  assert_int_equal(some.items[0].block.mapped + some.items[2].block.mapped, 1);
  for (size_t i = 0; i < 3; i += 2)
    assert_memory_equal(all.items[i].block.data, some.items[i].block.data,
                        all.items[i].block.bytes);
  vnt_cases_close(&some);
  assert_int_equal(remove(left), 0);
  free(left);
  snprintf(store, sizeof store, "%s", path_of("absent/store"));
  struct vn_diag diag;
  assert_int_equal(vnt_cases_open(path_of("good.csv"), &spec, NULL, &some, &diag), VN_E_IO);
  assert_non_null(strstr(diag.text, "no room for a case"));
  vnt_cases_close(&some);
  vnt_cases_close(&all);
}

/* ---- tables of labels ---- */

/* Several values are one class, one is ignored, and left is right in a mirror. */
static void tables_say_what_values_mean(void **state) {
  (void)state;
  enum { D = 26, H = 39, W = 44, ELEMS = D * H * W };
  static float image[ELEMS];
  static uint8_t target[ELEMS];
  struct vnt_cases_spec spec = plain;
  struct vnt_labels *table;
  struct vnt_cases cases = cases_open("plain.csv", &plain);
  static const uint8_t class_of[5] = {0, 1, 2, 2, VNT_IGNORED}, other[3] = {0, 2, 1};
  assert_int_equal(vnt_labels_read(path_of("table.csv"), &table, NULL), VN_OK);
  assert_true(table->classes == 3 && table->ignores && table->sided);
  assert_string_equal(
      table->json,
      "[{\"value\":1,\"name\":\"left\",\"colour\":\"#e6b400\",\"mirror\":2},{\"value\":2,"
      "\"name\":\"right\",\"colour\":\"#3c78d8\",\"mirror\":1}]");
  spec.labels = table;
  struct vnt_cases classes = cases_open("values.csv", &spec);
  const struct vnt_source *a = &cases.items[0].source, *b = &classes.items[0].source;
  const size_t *dim = a->dim, elems = product(dim);
  for (size_t i = 0; i < elems; i++) assert_int_equal(b->target[i], class_of[a->target[i]]);
  assert_int_equal(classes.items[0].present, 2);
  for (int sided = 0; sided < 2; sided++) {
    const struct vnt_augment flip = {
        .flip = {0, 0, 1}, .other_side = sided ? table->other_side : NULL, .side_axis = 2};
    const struct vnt_patch whole = {.size = {dim[0], dim[1], dim[2]}};
    assert_true(elems <= ELEMS);
    assert_int_equal(vnt_augment_apply(&flip, b, NULL, &whole, 1, 1, NULL, image, target, NULL),
                     VN_OK);
    for (size_t i = 0; i < elems; i++) {
      const uint8_t from = b->target[i - i % dim[2] + dim[2] - 1 - i % dim[2]];
      assert_int_equal(target[i], sided && from < 3 ? other[from] : from);
    }
  }
  vnt_cases_close(&cases);
  vnt_cases_close(&classes);
  vnt_labels_close(&table);
}

static void bad_tables_are_refused(void **state) {
  (void)state;
  static const char *const bad[][2] = {
      {"value,class\n1,1\n1,2\n", "line 3: the value 1 is there twice"},
      {"value,class\n1,2\n", "no value is class 1"},
      {"value,class\n1,0\n", "no class but the background"},
      {"value,class\n1,x\n", "class 'x': expected 0 to 254, or ignore"},
      {"value,class\n-1,1\n", "value '-1': expected 0 to 65535"},
      {"value,class\n70000,1\n", "value '70000'"},
      {"value,class\nothers,0\nothers,1\n", "value 'others'"},
      {"value,class,mirror\n1,1,2\n2,2,\n", "class 1 is mirrored to 2, but 2 not to 1"},
      {"value,class,mirror\n1,1,2\n3,1,1\n", "mirrored to 2 already"},
      {"value,class,name\n1,1,a\n2,1,b\n", "the class has the name 'a' already"},
      {"value,class,colour\n1,1,red\n", "colour 'red': expected #rrggbb"},
      {"value,colour\n", "there is no column 'class'"},
      {"value,class,value\n", "column 'value'"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    FILE *file = fopen(path_of("bad_table.csv"), "w");
    struct vnt_labels *labels;
    struct vn_diag diag = {{0}};
    assert_non_null(file);
    fputs(bad[i][0], file);
    fclose(file);
    const enum vn_status status = vnt_labels_read(path_of("bad_table.csv"), &labels, &diag);
    if (!status || !strstr(diag.text, bad[i][1]) || !strstr(diag.text, "bad_table.csv"))
      fail_msg("%s: %d '%s'", bad[i][0], status, status ? diag.text : "");
    vnt_labels_close(&labels);
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(scans_are_numpys),
      cmocka_unit_test(filling_is_left_out),
      cmocka_unit_test(volumes_are_channels),
      cmocka_unit_test(bad_cases_are_refused),
      cmocka_unit_test(mangled_lists_are_survived),
      cmocka_unit_test(specs_are_checked),
      cmocka_unit_test(cases_lie_where_there_is_room),
      cmocka_unit_test(tables_say_what_values_mean),
      cmocka_unit_test(bad_tables_are_refused),
  };
  if (argc != 2 || !cases_folder_open(argv[1])) return 2;
  return cmocka_run_group_tests(tests, NULL, NULL);
}

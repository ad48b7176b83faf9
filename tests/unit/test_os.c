/* What means the same on every system: patterns (where POSIX has fnmatch, that is what answers),
 * names, listing, locks, pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "os.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void patterns(void **state) {
  (void)state;
  static const struct {
    const char *pattern, *text;
    bool fits;
  } cases[] = {
      {"", "", true},
      {"a", "a", true},
      {"a", "b", false},
      {"*", "", true},
      {"*", "x/y.nii", true},
      {"*_bold*", "s_bold.nii", true},
      {"*_bold", "s_bold.", false},
      {"?.nii", "a.nii", true},
      {"?.nii", ".nii", false},
      {"a*b*c", "aXbYbZc", true},
      {"a*b*c", "aXbYbZ", false},
      {"**a", "a", true},
      {"[abc]x", "bx", true},
      {"[abc]x", "dx", false},
      {"[a-f]*", "e", true},
      {"[!a-f]*", "e", false},
      {"[!a-f]*", "g", true},
      {"[]]", "]", true},
      {"[a", "[a", true},
      {"[a-]", "-", true},
      {"T?", "T1", true},
      {"*.nii", "a.nii.gz", false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (vn_os_matches(cases[i].pattern, cases[i].text) != cases[i].fits)
      fail_msg("'%s' and '%s'", cases[i].pattern, cases[i].text);
}

static void names(void **state) {
  (void)state;
  assert_string_equal(vn_os_name("a/b.nii"), "b.nii");
  assert_string_equal(vn_os_name("b.nii"), "b.nii");
  assert_string_equal(vn_os_name("a/"), "");
  assert_true(vn_os_is_full("/a"));
  assert_false(vn_os_is_full("a/b"));
#ifdef _WIN32
  char path[] = "a\\b/c";
  assert_string_equal(vn_os_name("C:b.nii"), "b.nii");
  assert_string_equal(vn_os_name("C:\\x\\b.nii"), "b.nii");
  assert_true(vn_os_is_full("C:\\x"));
  assert_true(vn_os_is_full("\\\\server\\share"));
  assert_string_equal(vn_os_slashes(path), "a/b/c");
#endif
}

static void file_make(const char *path) {
  const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, path, strlen(path)), strlen(path));
  close(fd);
}

static bool is_text(const char *name) {
  return strstr(name, ".txt");
}

/* A folder with names that are no ASCII; of two descriptors one has the lock. */
static void folder_and_lock(void **state) {
  (void)state;
  static const char folder[] = "test_os.folder", first[] = "test_os.folder/ß.txt",
                    second[] = "test_os.folder/a.txt", third[] = "test_os.folder/Ж";
  char **list;
  struct stat one, same;
  mkdir(folder, 0777);
  file_make(first);
  file_make(second);
  file_make(third);
  assert_int_equal(vn_os_folder_list(folder, is_text, &list), 2);
  assert_string_equal(list[0], "a.txt");
  assert_string_equal(list[1], "ß.txt");
  free(list[0]);
  free(list[1]);
  free(list);
  assert_int_equal(vn_os_folder_list("test_os.none", NULL, &list), -1);
  const int a = open(first, O_RDWR | O_CLOEXEC), b = open(first, O_RDWR | O_CLOEXEC);
  assert_int_equal(vn_os_lock(a, true), VN_OS_LOCK_HELD);
  assert_int_equal(vn_os_lock(b, false), VN_OS_LOCK_BUSY);
  assert_int_equal(fstat(a, &one) | stat(first, &same), 0);
  assert_true(one.st_ino == same.st_ino && one.st_dev == same.st_dev && one.st_ino);
  assert_int_equal(rename(first, second), 0); /* while it is open, over what is there */
  assert_int_equal(stat(second, &same), 0);
  assert_true(one.st_ino == same.st_ino);
  close(a);
  assert_int_equal(vn_os_lock(b, false), VN_OS_LOCK_HELD);
  close(b);
  assert_int_equal(unlink(second) | unlink(third), 0);
  rmdir(folder);
}

static void zeros(void **state) {
  (void)state;
  static const size_t each[] = {1, 4095, (size_t)5 << 20};
  for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
    const size_t bytes = 3 * each[i];
    unsigned char *memory = vn_os_zeros(each[i], 3);
    assert_non_null(memory);
    for (size_t k = 0; k < bytes; k++) assert_int_equal(memory[k], 0);
    memset(memory, 1, bytes);
    free(memory);
  }
}

static void pages(void **state) {
  (void)state;
  size_t map_bytes;
  const size_t bytes = (size_t)3 << 20;
  unsigned char *memory = vn_os_pages(bytes, &map_bytes);
  assert_true(memory && map_bytes >= bytes);
  memset(memory, 1, bytes);
  vn_os_pages_drop(memory + 1, bytes - 1); /* all but the first page */
  assert_int_equal(memory[0], 1);
  assert_int_equal(memory[bytes - 1], 0);
  assert_int_equal(memory[65536], 0);
  vn_os_pages_free(memory, map_bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(patterns), cmocka_unit_test(names), cmocka_unit_test(folder_and_lock),
      cmocka_unit_test(zeros),    cmocka_unit_test(pages),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

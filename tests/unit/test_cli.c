/* JSON that stays JSON whatever a file name or a model's metadata holds, and outputs that appear
 * whole. Options and signals are tested by running the programs: tests/e2e/run_scan.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "cli.h"

static void expect_text(const char *value, const char *want) {
  char *text;
  size_t size;
  struct cli_json json = {.out = open_memstream(&text, &size)};
  cli_json_text(&json, NULL, value);
  fclose(json.out);
  assert_string_equal(text, want);
  free(text);
}

static void strings_are_escaped(void **state) {
  (void)state;
  expect_text("plain", "\"plain\"");
  expect_text("a\"b\\c\n\x7f\x01", "\"a\\\"b\\\\c\\u000a\\u007f\\u0001\"");
  expect_text("\xC3\xA4 \xE2\x82\xAC \xF0\x9F\xA7\xA0",
              "\"\xC3\xA4 \xE2\x82\xAC \xF0\x9F\xA7\xA0\"");
  expect_text("\xFF", "\"\\ufffd\"");
  expect_text("\xC3", "\"\\ufffd\"");                                  /* cut */
  expect_text("\xE2\x82", "\"\\ufffd\\ufffd\"");                       /* cut */
  expect_text("\xC0\x80", "\"\\ufffd\\ufffd\"");                       /* overlong */
  expect_text("\xE0\x80\x80", "\"\\ufffd\\ufffd\\ufffd\"");            /* overlong */
  expect_text("\xED\xA0\x80", "\"\\ufffd\\ufffd\\ufffd\"");            /* surrogate */
  expect_text("\xF4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""); /* past the last */
  expect_text(NULL, "null");
}

static void nesting_is_kept(void **state) {
  (void)state;
  char *text;
  size_t size;
  struct cli_json json = {.out = open_memstream(&text, &size)};
  cli_json_open(&json, NULL, '{');
  cli_json_count(&json, "n", UINT64_MAX);
  cli_json_open(&json, "list", '[');
  cli_json_real(&json, NULL, 0.5, 2);
  cli_json_real(&json, NULL, NAN, 2);
  cli_json_close(&json, ']');
  cli_json_open(&json, "none", '[');
  cli_json_close(&json, ']');
  cli_json_close(&json, '}');
  fclose(json.out);
  assert_string_equal(text, "{\n  \"n\": 18446744073709551615,\n  \"list\": [\n    0.50,\n"
                            "    null\n  ],\n  \"none\": []\n}\n");
  free(text);
}

static void bars_know_what_is_left(void **state) {
  (void)state;
  char text[CLI_BAR_BYTES];
  const struct {
    double fraction, first, passed_s;
    const char *end;
  } bars[] = {
      {0, 0, 0, "  0 %"},
      {0.5, 0, 0.9, " 50 %"}, /* too early to say */
      {0.51, 0.5, 5, " 51 %"},
      {0.5, 0, 4, " 50 %, 4 s left"},
      {0.75, 0.5, 4, " 75 %, 4 s left"}, /* half of what there was to do */
      {0.99, 0, 9, " 99 %, 1 s left"},
      {0.9999, 0.98, 2, "100 %"},
      {0.9, 0, 1.1, " 90 %, 1 s left"},
      {0.1, 0, 60, " 10 %, 9 min left"},
  };
  for (size_t i = 0; i < sizeof bars / sizeof *bars; i++) {
    cli_bar(text, "reading", bars[i].fraction, bars[i].first, bars[i].passed_s);
    assert_memory_equal(text, "reading [", 9);
    assert_string_equal(strchr(text, ']') + 2, bars[i].end);
  }
}

static void text_steers_no_terminal(void **state) {
  (void)state;
  char *text;
  size_t size;
  FILE *out = open_memstream(&text, &size);
  cli_print(out, "a\033[2J\n\x7f\xC2\x9B z\xC3\xA4\xC2\xA0\xC2");
  fclose(out);
  assert_string_equal(text, "a?[2J??? z\xC3\xA4\xC2\xA0\xC2");
  free(text);
}

static void outputs_appear_whole(void **state) {
  (void)state;
  char folder[] = "/tmp/vnet-cli-XXXXXX", path[64];
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/out", folder);
  struct cli_output output;
  cli_output_open(&output, path);
  assert_int_equal(access(path, F_OK), -1);
  assert_int_equal(cli_write(output.fd, "whole", 5, NULL), VN_OK);
  cli_output_commit(&output);
  struct stat info;
  assert_int_equal(stat(path, &info), 0);
  assert_int_equal(info.st_size, 5);
  mode_t mask = umask(0);
  umask(mask);
  assert_int_equal(info.st_mode & 0777, 0666 & ~mask);
  assert_true(cli_same_file(path, path));
  assert_false(cli_same_file(path, folder));
  unlink(path);
  assert_int_equal(rmdir(folder), 0); /* nothing else was in it */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(strings_are_escaped),    cmocka_unit_test(nesting_is_kept),
      cmocka_unit_test(bars_know_what_is_left), cmocka_unit_test(text_steers_no_terminal),
      cmocka_unit_test(outputs_appear_whole),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

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
#include "part.h"

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
  expect_text("\xC3\xC3\xA4", "\"\\ufffd\xC3\xA4\"");                  /* begun twice */
  expect_text("\xE2\x82", "\"\\ufffd\\ufffd\"");                       /* cut */
  expect_text("\xC0\x80", "\"\\ufffd\\ufffd\"");                       /* overlong */
  expect_text("\xE0\x80\x80", "\"\\ufffd\\ufffd\\ufffd\"");            /* overlong */
  expect_text("\xED\xA0\x80", "\"\\ufffd\\ufffd\\ufffd\"");            /* surrogate */
  expect_text("\xF4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""); /* past the last */
  expect_text("\xC2\x9B\xE2\x80\xAE", "\"\\u009b\\u202e\"");           /* steer terminals */
  expect_text(NULL, "null");
}

static char *printed(void (*print)(FILE *out, const char *text), const char *text) {
  char *into;
  size_t size;
  FILE *out = open_memstream(&into, &size);
  print(out, text);
  fclose(out);
  return into;
}

static void line_print(FILE *out, const char *text) {
  cli_line(out, "%s!", text);
}

/* What is foreign comes out as letters, whatever it does to a terminal. */
static void foreign_text_is_shown(void **state) {
  (void)state;
  static const char *const pairs[][2] = {
      {"plain /scans/\xC3\xA4 \xE2\x82\xAC.nii", "plain /scans/\xC3\xA4 \xE2\x82\xAC.nii"},
      {"\x1B[2Ja\nb\r\t\x7F", "\\x1b[2Ja\\x0ab\\x0d\\x09\\x7f"},
      {"\xC2\x9B"
       "31m",
       "\\u009b31m"},
      {"\xE2\x80\xAEgnp", "\\u202egnp"},
      {"\xE2\x81\xA6 \xE2\x80\xA8", "\\u2066 \\u2028"},
      {"\x9B\xFF", "\\x9b\\xff"},
      {"cut \xE2\x82", "cut \\xe2\\x82"},
  };
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    char *text = printed(cli_show, pairs[i][0]);
    assert_string_equal(text, pairs[i][1]);
    free(text);
  }
  char *line = printed(line_print, "a\nb");
  assert_string_equal(line, "a\\x0ab!\n");
  free(line);
  char longer[3000];
  memset(longer, 'x', sizeof longer);
  longer[sizeof longer - 1] = '\0';
  line = printed(line_print, longer);
  assert_int_equal(strlen(line), sizeof longer + 1);
  free(line);
}

/* What Python's csv and a spreadsheet make of it: tests/e2e/run_names.py. */
static void fields_are_quoted(void **state) {
  (void)state;
  static const char *const pairs[][2] = {
      {"a, \"b\"", "\"a, \"\"b\"\"\""},
      {"a\nb", "\"a\\x0ab\""},
      {"=1+1", "\"'=1+1\""},
      {"-2", "\"'-2\""},
      {"@SUM(A1)", "\"'@SUM(A1)\""},
      {"+1", "\"'+1\""},
      {"\t=1", "\"\\x09=1\""},
      {"\xEF\xBC\x9D"
       "1",
       "\"'\xEF\xBC\x9D"
       "1\""},
      {"a=1", "\"a=1\""},
      {"", "\"\""},
  };
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    char *text = printed(cli_csv_text, pairs[i][0]);
    assert_string_equal(text, pairs[i][1]);
    free(text);
  }
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

static void outputs_appear_whole(void **state) {
  (void)state;
  char folder[] = "/tmp/vnet-cli-XXXXXX", path[64];
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/out", folder);
  struct cli_output output;
  cli_output_open(&output, path);
  assert_int_equal(access(path, F_OK), -1);
  assert_int_equal(vn_part_write(output.fd, "whole", 5, NULL), VN_OK);
  cli_output_commit(&output);
  struct stat info;
  assert_int_equal(stat(path, &info), 0);
  assert_int_equal(info.st_size, 5);
  mode_t mask = umask(0);
  umask(mask);
  assert_int_equal(info.st_mode & 0777, 0666 & ~mask);
  unlink(path);
  assert_int_equal(rmdir(folder), 0); /* nothing else was in it */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(strings_are_escaped),    cmocka_unit_test(foreign_text_is_shown),
      cmocka_unit_test(fields_are_quoted),      cmocka_unit_test(nesting_is_kept),
      cmocka_unit_test(bars_know_what_is_left), cmocka_unit_test(outputs_appear_whole),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

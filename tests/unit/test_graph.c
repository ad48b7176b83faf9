/* The text form: every stage of every golden (tests/golden/passes) parses and prints the same
 * again, and mutated text is refused with its line or gives a graph that passes the check. */
#include "graph.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MUTATIONS = 3000 };

static char *read_text(const char *path) {
  FILE *f = fopen(path, "rb");
  assert_non_null(f);
  assert_int_equal(fseek(f, 0, SEEK_END), 0);
  long size = ftell(f);
  rewind(f);
  char *text = calloc((size_t)size + 1, 1);
  assert_non_null(text);
  assert_int_equal(fread(text, 1, (size_t)size, f), size);
  fclose(f);
  return text;
}

static char *print(const struct vnc_graph *g) {
  char *text = NULL;
  size_t size = 0;
  FILE *f = open_memstream(&text, &size);
  assert_non_null(f);
  assert_int_equal(vnc_graph_print(g, f), VN_OK);
  fclose(f);
  return text;
}

/* The text up to the next "# stage" line, cut off; *rest is what follows. */
static char *next_stage(char *text, char **rest) {
  char *line = strchr(text, '\n'), *end = line ? strstr(line, "\n# ") : NULL;
  assert_non_null(line);
  if (end) *end = '\0';
  *rest = end ? end + 1 : NULL;
  return line + 1;
}

static void round_trip(const char *text) {
  struct vnc_graph g;
  struct vn_diag diag = {""};
  if (vnc_graph_parse(text, &g, &diag)) fail_msg("%s", diag.text);
  char *again = print(&g);
  size_t n = strlen(again);
  if (n && text[strlen(text) - 1] != '\n') again[n - 1] = '\0'; /* the stage was cut there */
  assert_string_equal(text, again);
  free(again);
  vnc_graph_free(&g);
}

static void mutate(const char *text, uint32_t seed) {
  char *copy = strdup(text);
  size_t n = strlen(copy);
  struct vnc_graph g;
  struct vn_diag diag = {""};
  uint32_t state = seed * 2654435761u + 1;
  assert_non_null(copy);
  for (int i = 0; i < 3; i++) {
    static const char letters[] = "0123456789%@=[]x,+-\" \nabcdefghw";
    state = state * 1664525u + 1013904223u;
    copy[(state >> 8) % n] = letters[(state >> 3) % (sizeof letters - 1)];
  }
  if (vnc_graph_parse(copy, &g, &diag)) assert_true(diag.text[0] != '\0');
  vnc_graph_free(&g);
  free(copy);
}

static void goldens(void **state) {
  DIR *folder = opendir(GOLDEN_DIR "/passes");
  size_t files = 0;
  (void)state;
  assert_non_null(folder);
  for (struct dirent *entry; (entry = readdir(folder));) {
    char path[1024];
    if (!strstr(entry->d_name, ".txt")) continue;
    snprintf(path, sizeof path, GOLDEN_DIR "/passes/%s", entry->d_name);
    char *text = read_text(path), *rest = text;
    for (uint32_t seed = 0; rest; seed++) {
      char *stage = next_stage(rest, &rest);
      round_trip(stage);
      for (uint32_t i = 0; i < MUTATIONS / 60; i++) mutate(stage, seed * MUTATIONS + i);
    }
    free(text);
    files++;
  }
  closedir(folder);
  assert_true(files > 10);
}

/* No name of a model's steers the terminal that a dump goes to, and none is lost. */
static void foreign_names(void **state) {
  static const char text[] =
      "meta \"a\\\"\\\\\" \"\\x1b[2J\\x0ab\\xc2\\x9b\\xc3\\xa9x\"\n"
      "%0 \"x\\x1b]0;t\\x07\" f32[1,1,2,2,2] = input\n%1 \"y\" f32[1,1,2,2,2] = act %0 act=relu\n"
      "in \"x\\x9b\" %0 f32[1,1,2,2,2] order=ncdhw\nout \"y\" %1 f32[1,1,2,2,2] order=ncdhw\n";
  struct vnc_graph g;
  struct vn_diag diag = {""};
  (void)state;
  round_trip(text);
  assert_int_equal(vnc_graph_parse(text, &g, &diag), VN_OK);
  assert_string_equal(vnc_graph_meta_value(&g, "a\"\\"), "\x1b[2J\nb\xc2\x9b\xc3\xa9x");
  vnc_graph_free(&g);
  assert_int_equal(vnc_graph_parse("meta \"a\\x00\\x1\\xZ\" \"\\\n", &g, &diag), VN_E_FORMAT);
  vnc_graph_free(&g);
}

static void bad_text(void **state) {
  static const struct {
    const char *text, *words;
  } cases[] = {
      {"%0 \"x\" f32[1,1,1,1,1] = nonsense\n", "line 1: an op"},
      {"%1 \"x\" f32[1,1,1,1,1] = input\n", "line 1: the next node"},
      {"const @w f32[1,2\n", "line 1: ,"},
      {"%0 \"x\" f32[1,1,2,2,2] = input\n%1 \"y\" f32[1,1,2,2,2] = act %0 act=prelu(@a)\n",
       "line 2: a declared constant"},
      {"%0 \"x\" f32[1,1,2,2,2] = input\n%1 \"y\" f32[1,1,2,2,2] = act %1 act=relu\n"
       "in \"x\" %0 f32[1,1,2,2,2] order=ncdhw\nout \"y\" %1 f32[1,1,2,2,2] order=ncdhw\n",
       "does not come before"},
      {"in \"x\" %7 f32[1] order=ncdhw\nout \"x\" %7 f32[1] order=ncdhw\n", "refers to nothing"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct vnc_graph g;
    struct vn_diag diag = {""};
    assert_int_not_equal(vnc_graph_parse(cases[i].text, &g, &diag), VN_OK);
    if (!strstr(diag.text, cases[i].words)) fail_msg("%zu: %s", i, diag.text);
    vnc_graph_free(&g);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(goldens), cmocka_unit_test(foreign_names),
                                     cmocka_unit_test(bad_text)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

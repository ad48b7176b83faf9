/* Lists of scans: each scan that is taken has results of a name of their own, inside of the folder
 * for them. */
#include "fuzz.h"

#include "run/list.h"

#include <stdlib.h>
#include <string.h>

static const char folder[] = "/tmp"; /* it is there, and nothing is written to it */

static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_check(const struct run_list *list) {
  char **names = calloc(list->count, sizeof *names);
  if (!names) fuzz_broken("out of memory");
  for (size_t i = 0; i < list->count; i++) {
    names[i] = list->entry[i].name;
    if (strncmp(names[i], "/tmp/", 5) || strstr(names[i], "/../"))
      fuzz_broken("'%s' is outside of the folder for results", names[i]);
  }
  qsort(names, list->count, sizeof *names, by_text);
  for (size_t i = 1; i < list->count; i++)
    if (strcmp(names[i - 1], names[i]) == 0) fuzz_broken("two results are named %s", names[i]);
  free(names);
}

/* What ends the program is kept away: a zero byte, and a list without a scan. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char last[] = "\n/one\n";
  static const char *const name[] = {"t1", "t1ce", "t2"};
  const struct run_channels channels = {.count = size % 2 ? 3 : 1, .name = name};
  char *text = malloc(size + sizeof last);
  if (!text) return 0;
  for (size_t i = 0; i < size; i++) text[i] = data[i] ? (char)data[i] : 'x';
  memcpy(text + size, last, sizeof last);
  struct run_options options = {.quiet = true, .output_dir = folder};
  options.list = fuzz_file(text, size + sizeof last - 1);
  struct run_list list = run_list_open(&options);
  run_list_settle(&list, &options, &channels);
  names_check(&list);
  fuzz_done();
  run_list_close(&list);
  free(text);
  return 0;
}

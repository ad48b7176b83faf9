/* See names.h. */
#include "names.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Longer ones before those that they end in. */
static const char *const endings[] = {".nii.gz", ".nii",  ".hdr.gz", ".hdr", ".img.gz", ".img",
                                      ".nrrd",   ".nhdr", ".mgh.gz", ".mgh", ".mgz"};

const char *run_base(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* NULL: none. A name that is nothing but an ending has none. */
static const char *ending_of(const char *path) {
  const char *base = run_base(path);
  const size_t length = strlen(base);
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
    const size_t part = strlen(endings[i]);
    if (length > part && strcasecmp(base + length - part, endings[i]) == 0)
      return base + length - part;
  }
  return NULL;
}

size_t run_stem(const char *path) {
  const char *ending = ending_of(path);
  return ending ? (size_t)(ending - path) : strlen(path);
}

bool run_is_scan(const char *path) {
  const char *ending = ending_of(path);
  return ending && run_base(path)[0] != '.' && strncasecmp(ending, ".img", 4) != 0;
}

bool run_is_labels(const char *path) {
  static const char *const words[] = {"seg",   "dseg",   "probseg",  "mask",
                                      "label", "labels", "labelmap", "segmentation"};
  const char *base = run_base(path);
  const size_t stem = run_stem(base);
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    const size_t part = strlen(words[i]);
    if (stem > part + 1 && strncasecmp(base + stem - part, words[i], part) == 0 &&
        strchr("._-", base[stem - part - 1]))
      return true;
  }
  return false;
}

char *run_name(const char *path, const char *ending) {
  char *name;
  return asprintf(&name, "%.*s%s", (int)run_stem(path), path, ending) < 0 ? NULL : name;
}

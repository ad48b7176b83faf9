/* See names.h. */
#include "names.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "os.h"
#include "vnet_scan.h"

const char *run_base(const char *path) {
  return vn_os_name(path);
}

/* NULL: none. A name that is nothing but an ending has none. */
static const char *ending_of(const char *path) {
  size_t stem;
  return vn_scan_name(path, &stem) ? path + stem : NULL;
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
  static const char *const words[] = {"seg",    "dseg",     "probseg",      "mask",   "label",
                                      "labels", "labelmap", "segmentation", "regions"};
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

bool run_has_siblings(const char *path) {
  const char *base = run_base(path);
  const size_t stem = run_stem(base);
  return stem > 5 && strncmp(base + stem - 5, "_0000", 5) == 0;
}

const char *run_labels_ending(const char *scan) {
  static const char *const ours[] = {".seg.nii.gz", ".seg.nrrd", ".seg.mgz"};
  size_t stem;
  const char *format = vn_scan_name(scan, &stem);
  for (size_t i = 0; format && i < sizeof ours / sizeof *ours; i++)
    if (strcmp(ours[i] + strlen(".seg"), format) == 0) return ours[i];
  return ours[0];
}

char *run_name(const char *path, const char *ending) {
  char *name;
  return asprintf(&name, "%.*s%s", (int)run_stem(path), path, ending) < 0 ? NULL : name;
}

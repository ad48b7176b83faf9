/* See average.h. */
#include "average.h"

#include <string.h>
#include <strings.h>

static enum vn_status channels_check(const struct vn_channels *a, const struct vn_channels *b,
                                     struct vn_diag *diag) {
  if (a->count != b->count)
    return vn_fail(diag, VN_E_ARGUMENT, "takes %zu channel%s, and the first model %zu", b->count,
                   b->count == 1 ? "" : "s", a->count);
  for (size_t i = 0; i < a->count; i++) {
    const char *one = a->of[i].name, *two = b->of[i].name;
    if (one && two && strcasecmp(one, two) != 0)
      return vn_fail(diag, VN_E_ARGUMENT, "has %s as channel %zu, and the first model %s", two,
                     i + 1, one);
  }
  return VN_OK;
}

static const char *kind_of(const struct vn_decision *d) {
  return d->meaning == VN_MEANS_REGIONS      ? "regions that may overlap"
         : d->meaning == VN_MEANS_FOREGROUND ? "labels without their background"
                                             : "labels that exclude each other";
}

static enum vn_status labels_check(const struct vn_segmenter *a, const struct vn_segmenter *b,
                                   struct vn_diag *diag) {
  if (a->classes != b->classes)
    return vn_fail(diag, VN_E_ARGUMENT,
                   "tells %zu labels with the background, and the first model %zu", b->classes,
                   a->classes);
  for (size_t i = 0; i < a->classes; i++) {
    const struct vn_palette_entry *one = &a->palette.entries[i], *two = &b->palette.entries[i];
    if (one->listed && two->listed && strcmp(one->name, two->name) != 0)
      return vn_fail(diag, VN_E_ARGUMENT, "has '%s' as label %zu, and the first model '%s'",
                     two->name, i, one->name);
    if (a->palette.sided && b->palette.sided && one->mirror != two->mirror)
      return vn_fail(diag, VN_E_ARGUMENT,
                     "has label %zu as the mirror of %zu, and the first model label %zu",
                     two->mirror, i, one->mirror);
  }
  return VN_OK;
}

/* Of regions: where each one begins, and which lies on top. */
static enum vn_status regions_check(const struct vn_decision *a, const struct vn_decision *b,
                                    struct vn_diag *diag) {
  for (size_t c = 0; c < a->channels; c++) {
    if (a->threshold[c] != b->threshold[c])
      return vn_fail(diag, VN_E_ARGUMENT,
                     "has a threshold of %g for region %zu, and the first model %g",
                     (double)b->threshold[c], c + 1, (double)a->threshold[c]);
    if (a->painted[c] != b->painted[c])
      return vn_fail(diag, VN_E_ARGUMENT,
                     "lists its regions in another order than the first model (vnet.labels), and "
                     "the last one lies on top");
  }
  return VN_OK;
}

enum vn_status vn_average_check(const struct vn_segmenter *first, const struct vn_segmenter *other,
                                struct vn_diag *diag) {
  const struct vn_decision *a = &first->decision, *b = &other->decision;
  enum vn_status status = channels_check(&first->channels, &other->channels, diag);
  if (!status) status = labels_check(first, other, diag);
  if (!status && strcmp(kind_of(a), kind_of(b)) != 0)
    return vn_fail(diag, VN_E_ARGUMENT, "tells %s, and the first model %s", kind_of(b), kind_of(a));
  if (!status && a->meaning == VN_MEANS_REGIONS) status = regions_check(a, b, diag);
  return status;
}

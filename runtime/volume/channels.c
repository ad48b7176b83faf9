/* Lists between semicolons; see channels.h. */
#include "channels.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "utf8.h"

static bool blank(char c) {
  return c == ' ' || c == '\t';
}

/* Cuts `text` at its semicolons and every piece's blanks; false: they are not `count`. */
static bool pieces_cut(char *text, size_t count, const char **piece) {
  size_t n = 0;
  for (char *next = text; next; n++) {
    char *at = next, *end;
    next = strchr(at, ';');
    if (next) *next++ = '\0';
    while (blank(*at)) at++;
    for (end = at + strlen(at); end > at && blank(end[-1]);) *--end = '\0';
    if (n < count) piece[n] = at;
  }
  return n == count;
}

static bool name_fits(const char *name) {
  const size_t length = strlen(name);
  return length >= 1 && length <= VN_CHANNEL_NAME_MOST && !strpbrk(name, "=/;") &&
         vn_utf8_plain(name);
}

/* Are all of them such names, and no two the same? */
static bool names_fit(const char *const *name, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (!name_fits(name[i])) return false;
    for (size_t j = 0; j < i; j++)
      if (strcasecmp(name[i], name[j]) == 0) return false;
  }
  return true;
}

static enum vn_status names_parse(const char *text, const char *const inputs[], const char **piece,
                                  struct vn_channels *channels, struct vn_diag *diag) {
  const size_t count = channels->count;
  bool named = text != NULL;
  if (text) {
    channels->names = strdup(text);
    if (!channels->names) return vn_fail(diag, VN_E_MEMORY, "out of memory");
    if (!pieces_cut(channels->names, count, piece) || !names_fit(piece, count))
      return vn_fail(diag, VN_E_FORMAT,
                     "the model's vnet.channels is '%.60s', not %zu name%s between semicolons",
                     text, count, count == 1 ? "" : "s");
  } else if (inputs && names_fit(inputs, count)) {
    memcpy(piece, inputs, count * sizeof *piece);
    named = true;
  }
  for (size_t i = 0; named && i < count; i++) channels->of[i].name = piece[i];
  return VN_OK;
}

static enum vn_status rules_parse(const char *text, const char **piece,
                                  struct vn_channels *channels, struct vn_diag *diag) {
  const size_t count = channels->count, given = text && strchr(text, ';') ? count : 1;
  channels->intensities = strdup(text ? text : "none");
  if (!channels->intensities) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  if (!pieces_cut(channels->intensities, given, piece))
    return vn_fail(diag, VN_E_FORMAT,
                   "the model's vnet.intensity is '%.60s', not one rule, nor one for each of %zu "
                   "channels",
                   text, count);
  for (size_t i = 0; i < count; i++) {
    struct vn_channel_rule *of = &channels->of[i];
    of->intensity = piece[given == 1 ? 0 : i];
    enum vn_status status = vn_intensity_parse(of->intensity, &of->rule, diag);
    if (status) return status;
  }
  return VN_OK;
}

enum vn_status vn_channels_parse(const char *names, const char *intensity,
                                 const char *const inputs[], size_t count,
                                 struct vn_channels *channels, struct vn_diag *diag) {
  *channels = (struct vn_channels){.count = count};
  channels->of = calloc(count, sizeof *channels->of);
  const char **piece = calloc(count, sizeof *piece);
  enum vn_status status = VN_OK;
  if (!channels->of || !piece) status = vn_fail(diag, VN_E_MEMORY, "out of memory");
  if (!status) status = names_parse(names, inputs, piece, channels, diag);
  if (!status) status = rules_parse(intensity, piece, channels, diag);
  free(piece);
  return status;
}

void vn_channels_close(struct vn_channels *channels) {
  free(channels->of);
  free(channels->names);
  free(channels->intensities);
  *channels = (struct vn_channels){0};
}

void vn_channels_list(const struct vn_channels *channels, char *text, size_t size) {
  *text = '\0';
  for (size_t i = 0; i < channels->count && channels->of[i].name; i++) {
    const size_t at = strlen(text);
    if (at + 1 < size) snprintf(text + at, size - at, "%s%s", i ? ", " : "", channels->of[i].name);
  }
}

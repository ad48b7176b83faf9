/* See words.h. */
#include "words.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "fail.h"
#include "names.h"

enum { DIGITS = 4 };

const char *run_word_file(const char *word) {
  const char *equals = strchr(word, '=');
  if (!equals || equals == word || !equals[1] || memchr(word, '/', (size_t)(equals - word)))
    return word;
  return access(word, F_OK) == 0 ? word : equals + 1;
}

static bool parts(char c) {
  return c == '_' || c == '-' || c == '.' || c == ' ';
}

/* Does the stem [base, end) end in these letters, and how much of it is before them? */
static bool ends_in(const char *base, const char *end, const char *name, size_t *before) {
  const size_t length = strlen(name), stem = (size_t)(end - base);
  if (stem < length || strncasecmp(end - length, name, length) != 0) return false;
  if (stem > length && !parts(end[-1 - (ptrdiff_t)length])) return false;
  *before = stem > length ? stem - length - 1 : 0;
  return true;
}

static size_t number_of(const char *base, const char *end, size_t *before) {
  size_t number = 0;
  if (end - base <= DIGITS || end[-DIGITS - 1] != '_') return SIZE_MAX;
  for (const char *c = end - DIGITS; c < end; c++) {
    if (!isdigit((unsigned char)*c)) return SIZE_MAX;
    number = 10 * number + (size_t)(*c - '0');
  }
  *before = (size_t)(end - base) - DIGITS - 1;
  return number;
}

size_t run_channel_of(const struct run_channels *channels, const char *file, size_t *prefix) {
  const char *base = run_base(file), *end = file + run_stem(file);
  size_t before = 0, longest = 0, found = number_of(base, end, &before);
  if (found >= channels->count) found = SIZE_MAX;
  for (size_t i = 0; i < channels->count; i++) {
    const char *name = channels->name[i];
    size_t at;
    if (!name || strlen(name) <= longest || !ends_in(base, end, name, &at)) continue;
    longest = strlen(name);
    found = i;
    before = at;
  }
  *prefix = (size_t)(base - file) + before;
  return found;
}

void run_channels_tell(const struct run_channels *channels, char *text, size_t size) {
  snprintf(text, size, "%zu channel%s", channels->count, channels->count == 1 ? "" : "s");
  for (size_t i = 0; i < channels->count; i++) {
    const char *name = channels->name[i];
    const size_t at = strlen(text);
    if (!name || at + 2 > size) return;
    snprintf(text + at, size - at, "%s%s%s", i ? ", " : " (", name,
             i + 1 == channels->count ? ")" : "");
  }
}

/* What a channel is called, in files' names, too. */
struct called {
  char text[80];
};

static struct called called(const struct run_channels *channels, size_t channel) {
  struct called c;
  if (channels->name[channel])
    snprintf(c.text, sizeof c.text, "%s", channels->name[channel]);
  else
    snprintf(c.text, sizeof c.text, "_%0*zu", DIGITS, channel);
  return c;
}

/* How many files' names tell this channel. */
static size_t files_of(const struct run_channels *channels, char *const *file, size_t count,
                       size_t channel) {
  size_t found = 0, prefix;
  for (size_t i = 0; i < count; i++) found += run_channel_of(channels, file[i], &prefix) == channel;
  return found;
}

void run_words_tell(const struct run_channels *channels, char *const *file, size_t count,
                    char *text, size_t size) {
  *text = '\0';
  if (count < 2 || files_of(channels, file, count, SIZE_MAX)) return;
  for (size_t c = 0; c < channels->count; c++) {
    const size_t of = files_of(channels, file, count, c);
    if (of == 1) continue;
    snprintf(text, size, ": %s called after %s", of ? "several are" : "none is",
             called(channels, c).text);
    return;
  }
}

/* ---- NAME=FILE ---- */

static size_t channel_called(const struct run_channels *channels, const char *name, size_t length) {
  for (size_t i = 0; i < channels->count; i++) {
    const char *known = channels->name[i];
    if (known && strlen(known) == length && strncasecmp(known, name, length) == 0) return i;
  }
  return SIZE_MAX;
}

static enum vn_status named_place(const struct run_channels *channels, char **word, size_t count,
                                  char **place, struct vn_diag *diag) {
  char all[200];
  run_channels_tell(channels, all, sizeof all);
  for (size_t i = 0; i < count; i++) {
    const char *file = run_word_file(word[i]);
    const size_t length = file == word[i] ? 0 : (size_t)(file - word[i]) - 1;
    const size_t c = length ? channel_called(channels, word[i], length) : SIZE_MAX;
    if (!length)
      return vn_fail(diag, VN_E_ARGUMENT,
                     "%.200s: names no channel or no file, as others do: NAME=FILE", word[i]);
    if (c == SIZE_MAX)
      return vn_fail(diag, VN_E_ARGUMENT, "%.100s: the network has no channel '%.*s'; it has %s",
                     word[i], (int)length, word[i], all);
    if (place[c])
      return vn_fail(diag, VN_E_ARGUMENT, "%.200s: channel '%.*s' is given twice", word[i],
                     (int)length, word[i]);
    place[c] = word[i];
  }
  return count == channels->count
             ? VN_OK
             : vn_fail(diag, VN_E_ARGUMENT, "%.200s: %zu file%s for a network of %s", word[0],
                       count, count == 1 ? "" : "s", all);
}

static enum vn_status named_order(const struct run_channels *channels, char **word, size_t count,
                                  struct vn_diag *diag) {
  char **place = calloc(channels->count, sizeof *place);
  if (!place) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  enum vn_status status = named_place(channels, word, count, place, diag);
  if (!status) memcpy(word, place, count * sizeof *place);
  for (size_t i = 0; i < count && !status; i++) {
    const char *file = run_word_file(word[i]);
    memmove(word[i], file, strlen(file) + 1);
  }
  free(place);
  return status;
}

/* ---- files alone ---- */

static enum vn_status order_check(const struct run_channels *channels, char **word, size_t count,
                                  struct vn_diag *diag) {
  for (size_t i = 0; i < count && count == channels->count; i++) {
    size_t prefix;
    const size_t told = run_channel_of(channels, word[i], &prefix);
    if (told == SIZE_MAX || told == i) continue;
    if (files_of(channels, word, count, told) > 1)
      return vn_fail(diag, VN_E_ARGUMENT,
                     "%.200s: is called after channel %s, as another file of its case is", word[i],
                     called(channels, told).text);
    return vn_fail(diag, VN_E_ARGUMENT,
                   "%.200s: is called after channel %s, and stands where channel %s belongs: "
                   "another order, or NAME=FILE",
                   word[i], called(channels, told).text, called(channels, i).text);
  }
  return VN_OK;
}

enum vn_status run_words_order(const struct run_channels *channels, char **word, size_t count,
                               struct vn_diag *diag) {
  bool named = false;
  for (size_t i = 0; i < count; i++) named = named || run_word_file(word[i]) != word[i];
  return named ? named_order(channels, word, count, diag)
               : order_check(channels, word, count, diag);
}

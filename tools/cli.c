/* Options, failure, atomic output, progress and JSON for the programs; see cli.h. */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli_os.h"
#include "os.h"
#include "part.h"

/* The process has one set of these; the signal handler reads them. */
enum { SLOTS = 16 };
static struct {
  const char *name;
  struct vn_part part[SLOTS]; /* of no name: free */
  void (*volatile stop)(void *context);
  void *volatile stop_context;
  volatile sig_atomic_t interrupted, at_once;
  bool bar;
  uint64_t start_ns;
} process = {.name = "vnet"};

static void parts_remove(void) {
  for (size_t i = 0; i < SLOTS; i++)
    if (process.part[i].name) unlink(process.part[i].name);
}

static bool interrupt_taken(void) {
  if (!process.stop || process.interrupted || process.at_once) return false;
  process.interrupted = 1;
  process.stop(process.stop_context);
  return true;
}

void cli_start(const char *name) {
  process.name = name;
  process.start_ns = vn_os_now_ns();
  cli_os_streams();
  cli_os_interrupts(name, interrupt_taken, parts_remove);
}

/* One line on standard error, where a bar may be. */
static void line_print(const char *kind, const char *format, va_list args) {
  char text[1024];
  vsnprintf(text, sizeof text, format, args);
  if (process.bar) fputs("\r\033[K", stderr);
  cli_line(stderr, "%s: %s%s", process.name, kind, text);
}

_Noreturn void cli_fatal(enum vn_status status, const char *format, ...) {
  parts_remove();
  va_list args;
  va_start(args, format);
  line_print("", format, args);
  va_end(args);
  exit(status);
}

void cli_note(const char *format, ...) {
  va_list args;
  va_start(args, format);
  line_print("note: ", format, args);
  va_end(args);
}

void cli_check(enum vn_status status, const struct vn_diag *diag) {
  if (status != VN_OK) cli_fatal(status, "%s", diag->text);
}

char *cli_joined(const char *a, const char *b, const char *c) {
  char *text;
  if (asprintf(&text, "%s%s%s", a, b, c) < 0) cli_fatal(VN_E_MEMORY, "out of memory");
  return text;
}

char *cli_program_folder(void) {
  char *path = cli_os_program();
  if (path) path[vn_os_name(path) - path] = '\0';
  return path;
}

/* ---- text from outside ---- */

/* The bytes of the character at `c` if it is well-formed UTF-8 (RFC 3629), else 0. Sets *code. */
static size_t utf8_read(const unsigned char *c, uint32_t *code) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  size_t length = *c < 0x80 ? 1 : *c < 0xC2 ? 0 : *c < 0xE0 ? 2 : *c < 0xF0 ? 3 : *c < 0xF5 ? 4 : 0;
  *code = length > 1 ? *c & (0x7Fu >> length) : *c;
  for (size_t i = 1; i < length; i++) {
    if ((c[i] & 0xC0) != 0x80) return 0;
    *code = *code << 6 | (c[i] & 0x3F);
  }
  const bool legal = length > 0 && *code >= least[length] && *code <= 0x10FFFF &&
                     (*code < 0xD800 || *code > 0xDFFF);
  return legal ? length : 0;
}

/* Does it move a terminal's cursor, or what is read after it? C0, DEL, C1, line and paragraph
 * separators, marks of direction. */
static bool steers(uint32_t code) {
  return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x61C || code == 0x200E ||
         code == 0x200F || (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

/* With `doubled` twice where it occurs. In pieces as long as can be: what several programs say at
 * once on one standard error, which is not buffered, shall not be mixed letter by letter. */
static void show(FILE *out, const char *text, char doubled) {
  const unsigned char *c = (const unsigned char *)text, *plain = c; /* not printed yet */
  uint32_t code;
  for (size_t length; *c; c += length ? length : 1) {
    length = utf8_read(c, &code);
    const bool odd = !length || steers(code), twice = doubled && *c == (unsigned char)doubled;
    if (!odd && !twice) continue;
    fwrite(plain, 1, (size_t)(c - plain), out);
    plain = odd ? c + (length ? length : 1) : c;
    if (twice)
      fputc(doubled, out);
    else if (length > 1)
      fprintf(out, "\\u%04" PRIx32, code);
    else
      fprintf(out, "\\x%02x", *c);
  }
  fwrite(plain, 1, (size_t)(c - plain), out);
}

void cli_show(FILE *out, const char *text) {
  show(out, text, '\0');
}

void cli_line(FILE *out, const char *format, ...) {
  char some[1024], *all = NULL;
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int length = vsnprintf(some, sizeof some, format, args);
  if (length >= (int)sizeof some && vasprintf(&all, format, again) < 0) all = NULL;
  show(out, all ? all : some, '\0');
  fputc('\n', out);
  free(all);
  va_end(again);
  va_end(args);
}

void cli_csv_text(FILE *out, const char *text) {
  /* =, +, -, @ and their fullwidth forms */
  static const char *const formulas[] = {
      "=", "+", "-", "@", "\xEF\xBC\x9D", "\xEF\xBC\x8B", "\xEF\xBC\x8D", "\xEF\xBC\xA0"};
  fputc('"', out);
  for (size_t i = 0; i < sizeof formulas / sizeof *formulas; i++)
    if (strncmp(text, formulas[i], strlen(formulas[i])) == 0) fputc('\'', out);
  show(out, text, '"');
  fputc('"', out);
}

/* ---- options ---- */

/* Why getopt_long did not take the word `--…`. */
_Noreturn static void long_refused(const char *word, const struct option *longs) {
  const size_t length = strcspn(word + 2, "=");
  const struct option *first = NULL, *second = NULL;
  for (const struct option *o = longs; o->name; o++) {
    if (strncmp(o->name, word + 2, length)) continue;
    *(first ? &second : &first) = o;
    if (strlen(o->name) == length) break; /* the very name */
  }
  if (!first)
    cli_fatal(VN_E_ARGUMENT, "there is no option %.*s; try --help", (int)length + 2, word);
  if (second && strlen(second->name) == length) first = second, second = NULL;
  if (second)
    cli_fatal(VN_E_ARGUMENT, "%.*s may be --%s or --%s; try --help", (int)length + 2, word,
              first->name, second->name);
  cli_fatal(VN_E_ARGUMENT, "--%s %s; try --help", first->name,
            first->has_arg == no_argument ? "takes no value" : "lacks its value");
}

int cli_option(int argc, char *const argv[], const char *letters, const struct option *longs) {
  opterr = 0;
  int option = getopt_long(argc, argv, letters, longs, NULL);
  if (option != '?' && option != ':') return option;
  const char *word = argv[optind - 1];
  if (strncmp(word, "--", 2) == 0) long_refused(word, longs);
  if (strchr(letters, optopt)) cli_fatal(VN_E_ARGUMENT, "-%c lacks its value; try --help", optopt);
  cli_fatal(VN_E_ARGUMENT, "there is no option -%c; try --help", optopt);
}

uint64_t cli_count(const char *option, const char *text, uint64_t least, uint64_t most) {
  char *end;
  errno = 0;
  uint64_t value = strtoull(text, &end, 10);
  if (!isdigit((unsigned char)*text) || *end || errno || value < least || value > most)
    cli_fatal(VN_E_ARGUMENT, "%s: expected a whole number from %" PRIu64 " to %" PRIu64 ", got %s",
              option, least, most, text);
  return value;
}

uint64_t cli_size(const char *option, const char *text) {
  char *end;
  if (strcmp(text, "none") == 0) return UINT64_MAX;
  double value = strtod(text, &end);
  const char *unit = *end ? strchr("KMGTkmgt", *end) : NULL;
  if (unit) {
    value = ldexp(value, 10 * (int)((unit - "KMGTkmgt") % 4 + 1));
    end++;
  }
  if (!isdigit((unsigned char)*text) || !(value >= 1 && value < 0x1p63) ||
      (*end && strcmp(end, "B") && !(unit && strcmp(end, "iB") == 0)))
    cli_fatal(VN_E_ARGUMENT, "%s: expected a size such as 800M or 4G, or none, got %s", option,
              text);
  return (uint64_t)value;
}

void cli_shape(const char *option, const char *text, size_t dhw[3]) {
  const char *from = text;
  for (int axis = 0; axis < 3; axis++) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(from, &end, 10);
    if (!isdigit((unsigned char)*from) || errno || value < 1 || value > UINT32_MAX ||
        *end != (axis < 2 ? 'x' : '\0'))
      cli_fatal(VN_E_ARGUMENT, "%s: expected DxHxW such as 64x128x128, got %s", option, text);
    dhw[axis] = (size_t)value;
    from = end + 1;
  }
}

void cli_axes(const char *option, const char *text) {
  static const char *const pairs[] = {"RL", "AP", "SI"};
  bool good = strlen(text) == 3;
  for (size_t i = 0; good && i < 3; i++) good = strcspn(text, pairs[i]) < 3;
  if (!good)
    cli_fatal(VN_E_ARGUMENT,
              "%s: expected three letters, of R or L, A or P, S or I, such as RAS, got %s", option,
              text);
}

bool cli_ends(const char *name, const char *ending) {
  size_t all = strlen(name), part = strlen(ending);
  return all >= part && strcmp(name + all - part, ending) == 0;
}

/* ---- output files ---- */

/* The folder of a row of outputs is swept once. */
static void folder_sweep(const char *path) {
  static struct stat swept;
  const char *slash = strrchr(path, '/');
  char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
  struct stat info;
  if (folder && stat(folder, &info) == 0 &&
      (info.st_dev != swept.st_dev || info.st_ino != swept.st_ino)) {
    swept = info;
    vn_part_sweep(path);
  }
  free(folder);
}

enum vn_status cli_output_create(struct cli_output *output, const char *path,
                                 struct vn_diag *diag) {
  struct stat there;
  *output = (struct cli_output){.path = path, .fd = -1};
  if (stat(path, &there) == 0 && !S_ISREG(there.st_mode))
    return vn_fail(diag, VN_E_IO, "%.400s: is %s, and a file's name is wanted", path,
                   S_ISDIR(there.st_mode) ? "a folder" : "not a regular file");
  size_t slot = 0;
  while (slot < SLOTS && process.part[slot].name) slot++;
  if (slot == SLOTS) return vn_fail(diag, VN_E_ARGUMENT, "%.400s: too many output files", path);
  folder_sweep(path);
  enum vn_status status = vn_part_create(&process.part[slot], path, diag);
  output->fd = process.part[slot].fd;
  output->slot = slot;
  return status;
}

enum vn_status cli_output_publish(struct cli_output *output, struct vn_diag *diag) {
  output->fd = -1;
  return vn_part_publish(&process.part[output->slot], output->path, diag);
}

void cli_output_drop(struct cli_output *output) {
  if (output->fd < 0) return;
  output->fd = -1;
  vn_part_drop(&process.part[output->slot]);
}

void cli_output_open(struct cli_output *output, const char *path) {
  struct vn_diag diag;
  cli_check(cli_output_create(output, path, &diag), &diag);
}

void cli_output_commit(struct cli_output *output) {
  struct vn_diag diag;
  cli_check(cli_output_publish(output, &diag), &diag);
}

/* ---- which files are one ---- */

/* A file that exists is its device and inode; one to come is its folder's, and its name. */
struct cli_file {
  char *path;
  const char *name; /* in `path`; "": the file exists */
  dev_t device;
  ino_t inode;
  bool output;
};

static struct cli_file file_identify(const char *path, bool output) {
  struct stat info;
  struct cli_file file = {.path = strdup(path), .name = "", .output = output};
  if (!file.path) cli_fatal(VN_E_MEMORY, "out of memory");
  bool known = stat(path, &info) == 0;
  if (!known) {
    char *slash = strrchr(file.path, '/'), after = slash ? slash[1] : '\0';
    if (slash) slash[1] = '\0';
    known = stat(slash ? file.path : ".", &info) == 0;
    if (slash) slash[1] = after;
    file.name = slash && known ? slash + 1 : file.path; /* no folder: nothing is in it */
  }
  file.device = known ? info.st_dev : 0;
  file.inode = known ? info.st_ino : 0;
  return file;
}

void cli_files_add(struct cli_files *files, const char *path, bool output) {
  if (!path) return;
  if (files->count == files->room) {
    files->room = files->room ? 2 * files->room : 16;
    files->file = realloc(files->file, files->room * sizeof *files->file);
    if (!files->file) cli_fatal(VN_E_MEMORY, "out of memory");
  }
  files->file[files->count++] = file_identify(path, output);
}

static int by_identity(const void *a, const void *b) {
  const struct cli_file *x = a, *y = b;
  if (x->device != y->device) return x->device < y->device ? -1 : 1;
  if (x->inode != y->inode) return x->inode < y->inode ? -1 : 1;
  int order = strcmp(x->name, y->name);
  return order ? order : y->output - x->output; /* of one file, outputs first */
}

void cli_files_check(struct cli_files *files) {
  struct cli_file *file = files->file;
  if (files->count) qsort(file, files->count, sizeof *file, by_identity);
  for (size_t i = 1; i < files->count; i++) {
    const struct cli_file *a = &file[i - 1], *b = &file[i];
    if (!a->output || a->device != b->device || a->inode != b->inode || strcmp(a->name, b->name))
      continue;
    if (!b->output)
      cli_fatal(VN_E_ARGUMENT, "%.300s: is an input, and will not be overwritten%s%.300s", b->path,
                strcmp(a->path, b->path) ? " as " : "", strcmp(a->path, b->path) ? a->path : "");
    cli_fatal(VN_E_ARGUMENT, "%.300s: two results would be written to this one file%s%.300s",
              a->path, strcmp(a->path, b->path) ? ", also called " : "",
              strcmp(a->path, b->path) ? b->path : "");
  }
  for (size_t i = 0; i < files->count; i++) free(file[i].path);
  free(file);
  *files = (struct cli_files){0};
}

void cli_finish_stdout(void) {
  if (fflush(stdout) || ferror(stdout))
    cli_fatal(VN_E_IO, "cannot write to standard output: %s", strerror(errno));
}

/* ---- interruption ---- */

void cli_on_interrupt(void (*stop)(void *context), void *context) {
  process.stop = NULL;
  process.stop_context = context;
  process.stop = stop;
}

void cli_interrupt_at_once(bool at_once) {
  process.at_once = at_once;
}

void cli_check_interrupt(void) {
  if (process.interrupted) cli_fatal(VN_E_CANCELLED, "interrupted");
}

/* ---- progress ---- */

static double seconds_since(uint64_t start_ns) {
  return 1e-9 * (double)(vn_os_now_ns() - start_ns);
}

void cli_bar(char text[CLI_BAR_BYTES], const char *what, double fraction, double first,
             double passed_s) {
  enum { WIDTH = 40 };
  char bar[WIDTH + 1], left[32] = "";
  size_t full = (size_t)(fraction * WIDTH);
  memset(bar, '#', full);
  memset(bar + full, '.', WIDTH - full);
  bar[WIDTH] = '\0';
  if (fraction - first > 0.02 && passed_s > 1) { /* before, it would be a guess */
    double left_s = passed_s / (fraction - first) * (1 - fraction);
    if (left_s > 90)
      snprintf(left, sizeof left, ", %.0f min left", ceil(left_s / 60));
    else
      snprintf(left, sizeof left, ", %.0f s left", fmax(1, ceil(left_s)));
  }
  snprintf(text, CLI_BAR_BYTES, "%.20s [%s] %3.0f %%%s", what, bar, 100 * fraction, left);
}

void cli_progress(const char *what, double fraction) {
  static uint64_t start_ns; /* of the present bar … */
  static double first;      /* … and where it began */
  if (!cli_os_terminal()) return;
  if (!process.bar) {
    start_ns = vn_os_now_ns();
    first = fraction;
  }
  process.bar = fraction < 1;
  if (!process.bar) {
    fputs("\r\033[K", stderr);
    return;
  }
  char text[CLI_BAR_BYTES];
  cli_bar(text, what, fraction, first, seconds_since(start_ns));
  fprintf(stderr, "\r%s\033[K", text);
  fflush(stderr);
}

double cli_seconds(void) {
  return seconds_since(process.start_ns);
}

/* ---- JSON ---- */

/* What is not UTF-8 becomes U+FFFD. */
static void json_string(FILE *out, const char *text) {
  uint32_t code;
  fputc('"', out);
  for (const unsigned char *c = (const unsigned char *)text; *c;) {
    const size_t length = utf8_read(c, &code);
    if (!length || steers(code)) {
      fprintf(out, "\\u%04" PRIx32, length ? code : 0xFFFD);
    } else {
      if (*c == '"' || *c == '\\') fputc('\\', out);
      fwrite(c, 1, length, out);
    }
    c += length ? length : 1;
  }
  fputc('"', out);
}

static void json_member(struct cli_json *json, const char *key) {
  if (json->depth)
    fprintf(json->out, "%s\n%*s", json->filled ? "," : "", (int)(2 * json->depth), "");
  json->filled = true;
  if (!key) return;
  json_string(json->out, key);
  fputs(": ", json->out);
}

void cli_json_open(struct cli_json *json, const char *key, char bracket) {
  json_member(json, key);
  fputc(bracket, json->out);
  json->depth++;
  json->filled = false;
}

void cli_json_close(struct cli_json *json, char bracket) {
  json->depth--;
  if (json->filled) fprintf(json->out, "\n%*s", (int)(2 * json->depth), "");
  fputc(bracket, json->out);
  if (json->depth == 0) fputc('\n', json->out);
  json->filled = true;
}

void cli_json_text(struct cli_json *json, const char *key, const char *value) {
  json_member(json, key);
  if (value)
    json_string(json->out, value);
  else
    fputs("null", json->out);
}

void cli_json_count(struct cli_json *json, const char *key, uint64_t value) {
  json_member(json, key);
  fprintf(json->out, "%" PRIu64, value);
}

void cli_json_real(struct cli_json *json, const char *key, double value, int decimals) {
  json_member(json, key);
  if (isfinite(value))
    fprintf(json->out, "%.*f", decimals, value);
  else
    fputs("null", json->out);
}

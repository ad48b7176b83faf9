/* Options, failure, atomic output, progress and JSON for the programs; see cli.h. */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fail.h"

/* The process has one set of these; the signal handler reads them. A slot's name is complete
 * before `used` says so, and `used` is cleared before the name is freed. */
enum { SLOTS = 16 };
static struct {
  const char *name;
  char *volatile temp[SLOTS];
  void (*volatile stop)(void *context);
  void *volatile stop_context;
  volatile sig_atomic_t interrupted, at_once;
  bool bar;
  struct timespec start;
} process = {.name = "vnet"};

static void temps_remove(void) {
  for (size_t i = 0; i < SLOTS; i++)
    if (process.temp[i]) unlink(process.temp[i]);
}

static void on_signal(int number) {
  (void)number;
  int saved = errno;
  if (process.stop && !process.interrupted && !process.at_once) {
    process.interrupted = 1;
    process.stop(process.stop_context);
    errno = saved;
    return;
  }
  temps_remove();
  static const char text[] = ": interrupted\n";
  if (write(STDERR_FILENO, process.name, strlen(process.name)) < 0 ||
      write(STDERR_FILENO, text, sizeof text - 1) < 0)
    errno = saved; /* nobody is left to tell */
  _exit(VN_E_CANCELLED);
}

void cli_start(const char *name) {
  process.name = name;
  clock_gettime(CLOCK_MONOTONIC, &process.start);
  struct sigaction action = {.sa_handler = on_signal};
  sigemptyset(&action.sa_mask);
  static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    struct sigaction old;
    /* What the caller ignores (nohup) stays ignored. */
    if (sigaction(ends[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
      sigaction(ends[i], &action, NULL);
  }
  signal(SIGPIPE, SIG_IGN); /* a write then fails with a reason … */
  signal(SIGXFSZ, SIG_IGN); /* … as one past the file size limit does */
}

void cli_print(FILE *out, const char *text) {
  for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
    bool more = *c == 0xC2 && c[1] >= 0x80 && c[1] < 0xA0; /* U+0080 to U+009F steer, too */
    fputc(iscntrl(*c) || more ? '?' : *c, out);
    c += more;
  }
}

/* One line on standard error, where a bar may be. */
static void line_print(const char *kind, const char *format, va_list args) {
  char text[1024];
  vsnprintf(text, sizeof text, format, args);
  fprintf(stderr, "%s%s: %s", process.bar ? "\r\033[K" : "", process.name, kind);
  cli_print(stderr, text);
  fputc('\n', stderr);
}

_Noreturn void cli_fatal(enum vn_status status, const char *format, ...) {
  temps_remove();
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
  char *path = realpath("/proc/self/exe", NULL);
  const char *called = (const char *)getauxval(AT_EXECFN); /* where there is no /proc */
  if (!path && called) path = realpath(called, NULL);
  char *slash = path ? strrchr(path, '/') : NULL;
  if (slash) slash[1] = '\0';
  return path;
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
  double value = strtod(text, &end);
  const char *unit = *end ? strchr("KMGTkmgt", *end) : NULL;
  if (unit) {
    value = ldexp(value, 10 * (int)((unit - "KMGTkmgt") % 4 + 1));
    end++;
  }
  if (!isdigit((unsigned char)*text) || !(value >= 1 && value < 0x1p63) ||
      (*end && strcmp(end, "B") && !(unit && strcmp(end, "iB") == 0)))
    cli_fatal(VN_E_ARGUMENT, "%s: expected a size such as 800M or 4G, got %s", option, text);
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

static size_t folder_length(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? (size_t)(slash - path) + 1 : 0;
}

static enum vn_status cannot_create(const char *path, int reason, struct vn_diag *diag) {
  struct stat there;
  int length = (int)folder_length(path);
  char *folder = strndup(path, (size_t)length);
  bool absent = folder && length && stat(folder, &there) && errno == ENOENT;
  free(folder);
  if (absent)
    return vn_fail(diag, VN_E_IO, "%s: cannot write: there is no folder %.*s", path, length, path);
  if (reason == EACCES || reason == EROFS || reason == EPERM)
    return vn_fail(diag, VN_E_IO, "%s: cannot write: %s; choose a place in a folder of yours", path,
                   strerror(reason));
  return vn_fail(diag, VN_E_IO, "%s: cannot write: %s", path, strerror(reason));
}

enum vn_status cli_output_create(struct cli_output *output, const char *path,
                                 struct vn_diag *diag) {
  struct stat there;
  *output = (struct cli_output){.path = path, .fd = -1};
  if (stat(path, &there) == 0 && !S_ISREG(there.st_mode))
    return vn_fail(diag, VN_E_IO, "%s: is %s, and a file's name is wanted", path,
                   S_ISDIR(there.st_mode) ? "a folder" : "not a regular file");
  size_t slot = 0;
  while (slot < SLOTS && process.temp[slot]) slot++;
  if (slot == SLOTS) return vn_fail(diag, VN_E_ARGUMENT, "%s: too many output files", path);
  int folder = (int)folder_length(path);
  char *temp;
  if (asprintf(&temp, "%.*s.%s.%ld-%zu.part", folder, path, path + folder, (long)getpid(), slot) <
      0)
    return vn_fail(diag, VN_E_MEMORY, "%s: out of memory", path);
  int fd = open(temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0 && errno == EEXIST) { /* left by a killed process that had our number */
    unlink(temp);
    fd = open(temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  }
  if (fd < 0) {
    free(temp);
    return cannot_create(path, errno, diag);
  }
  process.temp[slot] = temp;
  output->fd = fd;
  output->slot = slot;
  return VN_OK;
}

/* The name itself reaches the disk with the folder; not every file system can, none must. */
static void folder_sync(const char *path) {
  char *folder = strndup(path, folder_length(path));
  int fd = open(folder && *folder ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) {
    fsync(fd);
    close(fd);
  }
  free(folder);
}

enum vn_status cli_output_publish(struct cli_output *output, struct vn_diag *diag) {
  char *temp = process.temp[output->slot];
  enum vn_status status = VN_OK;
  /* close reports what a network file system found out late. */
  bool flushed = fsync(output->fd) == 0;
  if (close(output->fd) || !flushed || rename(temp, output->path)) {
    status = vn_fail(diag, VN_E_IO, "%s: cannot write: %s", output->path, strerror(errno));
    unlink(temp);
  } else {
    folder_sync(output->path);
  }
  output->fd = -1;
  process.temp[output->slot] = NULL;
  free(temp);
  return status;
}

void cli_output_drop(struct cli_output *output) {
  if (output->fd < 0) return;
  char *temp = process.temp[output->slot];
  close(output->fd);
  unlink(temp);
  process.temp[output->slot] = NULL;
  free(temp);
  output->fd = -1;
}

void cli_output_open(struct cli_output *output, const char *path) {
  struct vn_diag diag;
  cli_check(cli_output_create(output, path, &diag), &diag);
}

void cli_output_commit(struct cli_output *output) {
  struct vn_diag diag;
  cli_check(cli_output_publish(output, &diag), &diag);
}

bool cli_same_file(const char *path, const char *input) {
  struct stat a, b;
  return stat(path, &a) == 0 && stat(input, &b) == 0 && a.st_dev == b.st_dev &&
         a.st_ino == b.st_ino;
}

enum vn_status cli_write(int fd, const void *bytes, size_t size, struct vn_diag *diag) {
  for (const char *from = bytes; size;) {
    ssize_t done = write(fd, from, size);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return vn_fail(diag, VN_E_IO, "cannot write: %s", strerror(errno));
    from += done;
    size -= (size_t)done;
  }
  return VN_OK;
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

static double seconds_since(struct timespec start) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)(now.tv_sec - start.tv_sec) + 1e-9 * (double)(now.tv_nsec - start.tv_nsec);
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
  static struct timespec start; /* of the present bar … */
  static double first;          /* … and where it began */
  if (!isatty(STDERR_FILENO)) return;
  if (!process.bar) {
    clock_gettime(CLOCK_MONOTONIC, &start);
    first = fraction;
  }
  process.bar = fraction < 1;
  if (!process.bar) {
    fputs("\r\033[K", stderr);
    return;
  }
  char text[CLI_BAR_BYTES];
  cli_bar(text, what, fraction, first, seconds_since(start));
  fprintf(stderr, "\r%s\033[K", text);
  fflush(stderr);
}

double cli_seconds(void) {
  return seconds_since(process.start);
}

/* ---- JSON ---- */

static void json_string(FILE *out, const char *text) {
  fputc('"', out);
  for (const unsigned char *c = (const unsigned char *)text; *c;) {
    /* The length of a well-formed UTF-8 sequence; what is not one becomes U+FFFD. */
    size_t length = *c < 0x80   ? 1
                    : *c < 0xC2 ? 0
                    : *c < 0xE0 ? 2
                    : *c < 0xF0 ? 3
                    : *c < 0xF5 ? 4
                                : 0;
    for (size_t i = 1; i < length; i++)
      if ((c[i] & 0xC0) != 0x80) length = 0;
    if ((*c == 0xE0 && c[1] < 0xA0) || (*c == 0xED && c[1] > 0x9F) || (*c == 0xF0 && c[1] < 0x90) ||
        (*c == 0xF4 && c[1] > 0x8F))
      length = 0; /* overlong, surrogate, past the last plane */
    if (length == 0) {
      fputs("\\ufffd", out);
      length = 1;
    } else if (*c < 0x20 || *c == 0x7F) {
      fprintf(out, "\\u%04x", *c);
    } else {
      if (*c == '"' || *c == '\\') fputc('\\', out);
      fwrite(c, 1, length, out);
    }
    c += length;
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

/* Which plan a word means, and the models that have a name; see plan_find.h. */
#include "plan_find.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "os.h"
#include "plan_compile.h"
#include "printed.h"

static const char *const endings[] = {".plan", ".onnx"}; /* of models with a name; plans first */
enum { ENDINGS = sizeof endings / sizeof *endings };

static bool is_file(const char *path) {
  struct stat there;
  return stat(path, &there) == 0 && !S_ISDIR(there.st_mode);
}

/* ---- folders ---- */

/* Calls `look` for one folder after the other, until it has found what it wants. */
static void folders_walk(bool (*look)(const char *folder, void *context), void *context) {
  const char *list = getenv("VNET_MODELS");
  while (list && *list) {
    size_t length = strcspn(list, (const char[]){VN_OS_LIST, 0});
    char *folder = strndup(list, length);
    if (!folder) cli_fatal(VN_E_MEMORY, "out of memory");
    bool found = length > 0 && look(folder, context);
    free(folder);
    if (found) return;
    list += length + (list[length] == VN_OS_LIST);
  }
  char *program = cli_program_folder();
  if (!program) return;
  char *folder = cli_joined(program, VNET_MODELS_FROM_PROGRAM, "");
  char *plain = realpath(folder, NULL); /* without the ".." */
  if (plain) look(plain, context);
  free(plain);
  free(folder);
  free(program);
}

struct search {
  const char *name;
  char *path;
};

static bool name_look(const char *folder, void *context) {
  struct search *search = context;
  for (size_t i = 0; i < ENDINGS && !search->path; i++) {
    char *file = cli_joined(search->name, endings[i], "");
    char *path = cli_joined(folder, "/", file);
    free(file);
    if (is_file(path))
      search->path = path;
    else
      free(path);
  }
  return search->path;
}

struct names {
  void (*print)(FILE *out, const char *name, const char *path);
  FILE *out;
};

static bool is_model(const char *name) {
  return name[0] != '.' && (cli_ends(name, endings[0]) || cli_ends(name, endings[1]));
}

/* Names of files, by what they are without their endings: "brain" comes before "brain-parts". */
static int by_stem(const void *a, const void *b) {
  const char *x = *(char *const *)a, *y = *(char *const *)b;
  const size_t m = strlen(x) - strlen(endings[0]), n = strlen(y) - strlen(endings[0]);
  const int order = memcmp(x, y, m < n ? m : n);
  return order ? order : (m > n) - (m < n);
}

static bool names_look(const char *folder, void *context) {
  char **files;
  const ptrdiff_t count = vn_os_folder_list(folder, is_model, &files);
  if (count > 0) qsort(files, (size_t)count, sizeof *files, by_stem);
  for (ptrdiff_t i = 0; i < count; i++) {
    const char *name = files[i];
    char *stem = strndup(name, strlen(name) - strlen(endings[0]));
    struct search search = {.name = stem};
    if (stem) folders_walk(name_look, &search);
    char *path = cli_joined(folder, "/", name);
    /* Only what the name means: nothing that another folder or ending hides. */
    if (search.path && strcmp(search.path, path) == 0) {
      struct names *names = context;
      names->print(names->out, stem, path);
    }
    free(path);
    free(search.path);
    free(stem);
    free(files[i]);
  }
  free(files);
  return false;
}

static void row_print(FILE *out, const char *name, const char *path) {
  cli_show(out, name);
  fprintf(out, "%*s", strlen(name) < 15 ? (int)(15 - strlen(name)) + 1 : 1, "");
  cli_show(out, path);
  fputc('\n', out);
}

void plan_names_print(FILE *out) {
  struct names names = {row_print, out};
  folders_walk(names_look, &names);
}

static void name_print(FILE *out, const char *name, const char *path) {
  (void)path;
  fprintf(out, ", %s", name);
}

_Noreturn static void unknown(const char *word) {
  struct vn_printed known;
  struct names names = {name_print, vn_printed_open(&known)};
  if (!names.out) cli_fatal(VN_E_MEMORY, "out of memory");
  folders_walk(names_look, &names);
  if (!vn_printed_close(names.out, &known)) cli_fatal(VN_E_MEMORY, "out of memory");
  cli_fatal(VN_E_IO, "%.200s: there is no such file, and no model of this name; %s%.300s", word,
            known.bytes ? "models that have a name: " : "no model is installed here",
            known.bytes ? known.text + strlen(", ") : "");
}

/* ---- what a word means ---- */

char *plan_find(const char *word, bool notes) {
  struct search search = {.name = word};
  if (strchr(word, '/') || is_file(word))
    search.path = cli_joined(word, "", "");
  else
    folders_walk(name_look, &search);
  if (!search.path) unknown(word);
  struct stat there;
  bool regular = stat(search.path, &there) == 0 && S_ISREG(there.st_mode);
  if (!regular || !cli_ends(search.path, ".onnx")) return search.path;
  char *plan = plan_compile(search.path, notes);
  free(search.path);
  return plan;
}

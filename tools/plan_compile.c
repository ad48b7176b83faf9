/* Compiling models on the fly; see plan_compile.h. The compiler is a program of its own, so that
 * the runtime's programs need neither protobuf nor its code. Plans appear whole (vnetc sees to
 * that), so that two runs at once at worst both do the work. */
#include "plan_compile.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "model_mark.h"

extern char **environ;

/* ---- where ---- */

static bool writable(const char *folder) {
  return access(folder, W_OK | X_OK) == 0;
}

/* MODEL.plan beside the model, as far as that is what is there or can be put there; else NULL. */
static char *place_beside(const char *model, const char *mark, bool *there) {
  char *plan = cli_joined(model, "", "");
  strcpy(strrchr(plan, '.'), ".plan"); /* for .onnx */
  *there = model_mark_borne(plan, mark);
  if (*there) return plan;
  char *folder = cli_joined(model, "", ""), *slash = strrchr(folder, '/');
  strcpy(slash ? slash + 1 : folder, ".");
  bool good = access(plan, F_OK) != 0 && writable(folder);
  free(folder);
  if (good) return plan;
  free(plan);
  return NULL;
}

/* A file in the user's cache, named by the model and its checksum; NULL: there is no cache. */
static char *place_cached(const char *model, const char *mark, bool *there) {
  const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME"), *slash;
  bool own = cache && cache[0] == '/';
  if (!own && (!home || home[0] != '/')) return NULL;
  char *folder = own ? cli_joined(cache, "/vnet", "/") : cli_joined(home, "/.cache/vnet", "/");
  for (char *end = strchr(folder + 1, '/'); end; end = strchr(end + 1, '/')) {
    *end = '\0';
    mkdir(folder, 0700); /* where that fails the next line sees it */
    *end = '/';
  }
  char *plan = NULL, name[256];
  const char *base = (slash = strrchr(model, '/')) ? slash + 1 : model;
  snprintf(name, sizeof name, "%.*s-%.16s.plan", (int)strlen(base) - 5, base,
           mark + strlen("xxh3 "));
  if (writable(folder)) plan = cli_joined(folder, name, "");
  free(folder);
  *there = plan && model_mark_borne(plan, mark);
  return plan;
}

/* ---- how ---- */

/* Starts vnetc with its standard error at `errors`: 0 or an errno. */
static int compiler_start(char *const argv[], int errors, pid_t *child) {
  char *folder = cli_program_folder(), *program = folder ? cli_joined(folder, argv[0], "") : NULL;
  posix_spawn_file_actions_t actions;
  int failed = posix_spawn_file_actions_init(&actions);
  if (!failed) {
    failed = posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
    int beside = program ? posix_spawn(child, program, &actions, NULL, argv, environ) : ENOENT;
    if (!failed) failed = beside;
    if (failed == ENOENT) failed = posix_spawnp(child, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
  }
  free(program);
  free(folder);
  return failed;
}

/* Its sentence without its name goes to `said`. */
static enum vn_status compiler_run(const char *model, const char *plan, char *said, size_t room) {
  char *const argv[] = {"vnetc", "-q", "-o", (char *)plan, "--", (char *)model, NULL};
  int pipes[2], status = 0;
  pid_t child;
  if (pipe2(pipes, O_CLOEXEC)) cli_fatal(VN_E_INTERNAL, "vnetc cannot run: %s", strerror(errno));
  int failed = compiler_start(argv, pipes[1], &child);
  close(pipes[1]);
  if (failed == ENOENT)
    cli_fatal(VN_E_ARGUMENT,
              "%.200s: is a model, and vnetc, which makes a plan of it, is not "
              "installed here; where it is: vnetc MODEL.onnx -o FILE.plan",
              model);
  if (failed) cli_fatal(VN_E_INTERNAL, "vnetc cannot run: %s", strerror(failed));
  FILE *from = fdopen(pipes[0], "r");
  if (!from || !fgets(said, (int)room, from)) snprintf(said, room, "vnetc: ended without a word");
  said[strcspn(said, "\n")] = '\0';
  memmove(said, strchr(said, ' ') ? strchr(said, ' ') + 1 : said, strlen(said));
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (from) fclose(from);
  return WIFEXITED(status) ? (enum vn_status)WEXITSTATUS(status) : VN_E_INTERNAL;
}

char *plan_compile(const char *model, bool notes) {
  char mark[64], said[600];
  struct vn_diag diag;
  bool there = false;
  cli_check(model_mark(model, mark, &diag), &diag);
  char *plan = place_beside(model, mark, &there);
  if (!plan) plan = place_cached(model, mark, &there);
  if (!plan)
    cli_fatal(VN_E_IO,
              "%.200s: is a model, and its plan cannot be kept beside it; compile it to a "
              "place of yours: vnetc MODEL.onnx -o FILE.plan",
              model);
  if (there) return plan;
  enum vn_status status = compiler_run(model, plan, said, sizeof said);
  if (status == VN_E_ARGUMENT) /* an option of vnetc's is wanted */
    cli_fatal(status, "%s, of vnetc: compile it first, vnetc MODEL.onnx -o FILE.plan", said);
  if (status) cli_fatal(status, "%s", said);
  if (notes) cli_note("%s: is a model; compiled to %s", model, plan);
  return plan;
}

/* Compiling models on the fly; see plan_compile.h. The compiler is a program of its own, so that
 * the runtime's programs need neither protobuf nor its code. Plans appear whole (vnetc sees to
 * that), so that two runs at once at worst both do the work. */
#include "plan_compile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "cli_os.h"
#include "model_mark.h"
#include "os.h"

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
  char *cache = cli_os_cache();
  if (!cache) return NULL;
  char *folder = cli_joined(cache, "/vnet", "/");
  free(cache);
  for (char *end = strchr(folder + 1, '/'); end; end = strchr(end + 1, '/')) {
    *end = '\0';
    mkdir(folder, 0700); /* where that fails the next line sees it */
    *end = '/';
  }
  char *plan = NULL, name[256];
  const char *base = vn_os_name(model);
  snprintf(name, sizeof name, "%.*s-%.16s.plan", (int)strlen(base) - 5, base,
           mark + strlen("xxh3 "));
  if (writable(folder)) plan = cli_joined(folder, name, "");
  free(folder);
  *there = plan && model_mark_borne(plan, mark);
  return plan;
}

/* ---- how ---- */

/* Its sentence without its name goes to `said`. */
static enum vn_status compiler_run(const char *model, const char *plan, char *said, size_t room) {
  char *const argv[] = {"vnetc", "-q", "-o", (char *)plan, "--", (char *)model, NULL};
  char *folder = cli_program_folder(), *program = folder ? cli_joined(folder, argv[0], "") : NULL;
  int status;
  const int failed = cli_os_run(program, argv, said, room, &status);
  free(program);
  free(folder);
  if (failed == ENOENT)
    cli_fatal(VN_E_ARGUMENT,
              "%.200s: is a model, and vnetc, which makes a plan of it, is not "
              "installed here; where it is: vnetc MODEL.onnx -o FILE.plan",
              model);
  if (failed) cli_fatal(VN_E_INTERNAL, "vnetc cannot run: %s", strerror(failed));
  if (!*said) snprintf(said, room, "vnetc: ended without a word");
  said[strcspn(said, "\r\n")] = '\0';
  memmove(said, strchr(said, ' ') ? strchr(said, ' ') + 1 : said, strlen(said));
  return status < 0 ? VN_E_INTERNAL : (enum vn_status)status;
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

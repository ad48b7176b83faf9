/* Linux and its kin; see cli_os.h. */
#include "cli_os.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"

extern char **environ;

/* The process has one of these; the signal handler reads it. */
static struct {
  const char *name;
  bool (*taken)(void);
  void (*clean)(void);
} end;

static void on_signal(int number) {
  (void)number;
  int saved = errno;
  if (end.taken()) {
    errno = saved;
    return;
  }
  end.clean();
  static const char text[] = ": interrupted\n";
  if (write(STDERR_FILENO, end.name, strlen(end.name)) < 0 ||
      write(STDERR_FILENO, text, sizeof text - 1) < 0)
    errno = saved; /* nobody is left to tell */
  _exit(VN_E_CANCELLED);
}

void cli_os_interrupts(const char *name, bool (*taken)(void), void (*clean)(void)) {
  end.name = name;
  end.taken = taken;
  end.clean = clean;
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

void cli_os_streams(void) {
  int fd;
  while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
    ;
  if (fd >= 0) close(fd);
}

bool cli_os_terminal(void) {
  return isatty(STDERR_FILENO);
}

char *cli_os_program(void) {
  char *path = realpath("/proc/self/exe", NULL);
  const char *called = (const char *)getauxval(AT_EXECFN); /* where there is no /proc */
  return path || !called ? path : realpath(called, NULL);
}

char *cli_os_cache(void) {
  const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  if (cache && cache[0] == '/') return cli_joined(cache, "", "");
  return home && home[0] == '/' ? cli_joined(home, "/.cache", "") : NULL;
}

/* Starts the program with its standard error at `errors`: 0 or an errno. */
static int program_start(const char *path, char *const argv[], int errors, pid_t *child) {
  posix_spawn_file_actions_t actions;
  int failed = posix_spawn_file_actions_init(&actions);
  if (failed) return failed;
  failed = posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
  int beside = path ? posix_spawn(child, path, &actions, NULL, argv, environ) : ENOENT;
  if (!failed) failed = beside;
  if (failed == ENOENT) failed = posix_spawnp(child, argv[0], &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  return failed;
}

int cli_os_run(const char *path, char *const argv[], char *said, size_t room, int *status) {
  int pipes[2], ended = 0;
  pid_t child;
  if (pipe2(pipes, O_CLOEXEC)) return errno;
  const int failed = program_start(path, argv, pipes[1], &child);
  close(pipes[1]);
  FILE *from = failed ? NULL : fdopen(pipes[0], "r");
  if (!from || !fgets(said, (int)room, from)) *said = '\0';
  while (!failed && waitpid(child, &ended, 0) < 0 && errno == EINTR) continue;
  if (from)
    fclose(from);
  else
    close(pipes[0]);
  *status = WIFEXITED(ended) ? WEXITSTATUS(ended) : -1;
  return failed;
}

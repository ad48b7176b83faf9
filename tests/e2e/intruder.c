/* Stands for code that took a program over while it read a hostile file: preloaded, it tries one
 * forbidden thing at the first read() or fstat() of the file INTRUDER_AT and tells on standard
 * error how that went. Test only; see run_sandbox.py.
 *
 *   INTRUDER_DO     what: see attempt()
 *   INTRUDER_PATH   to whom
 *   INTRUDER_ABI    makes the kernel an older one: Landlock's version; 0: neither it nor seccomp
 *   INTRUDER_REFUSE the number of a system call that this kernel refuses */
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *thread_body(void *context) {
  return context;
}

static int child(pid_t pid) {
  if (pid == 0) _exit(0);
  return pid < 0 ? -1 : waitpid(pid, NULL, 0);
}

static int connecting(void) {
  struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(9)};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  inet_pton(AF_INET, "127.0.0.1", &where.sin_addr);
  return connect(fd, (void *)&where, sizeof where);
}

static int new_code(void) {
  void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return p == MAP_FAILED ? -1 : 0;
}

static int code_of_data(void) {
  void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static int thread(void) {
  pthread_t id;
  int reason = pthread_create(&id, NULL, thread_body, NULL);
  if (reason) errno = reason;
  return reason ? -1 : pthread_join(id, NULL);
}

static int attempt(const char *what, const char *path) {
  int bytes;
  if (!strcmp(what, "read")) {
    char byte;
    int fd = open(path, O_RDONLY);
    return fd < 0 ? -1 : pread(fd, &byte, 1, 0) < 0 ? -1 : 0;
  }
  if (!strcmp(what, "list")) return opendir(path) ? 0 : -1;
  if (!strcmp(what, "write")) return open(path, O_WRONLY);
  if (!strcmp(what, "create")) return open(path, O_WRONLY | O_CREAT, 0600);
  if (!strcmp(what, "truncate")) return truncate(path, 0);
  if (!strcmp(what, "remove")) return unlink(path);
  if (!strcmp(what, "chmod")) return chmod(path, 0777);
  if (!strcmp(what, "mkdir")) return mkdir(path, 0777);
  if (!strcmp(what, "symlink")) return symlink("/etc/passwd", path);
  if (!strcmp(what, "move")) return rename(getenv("INTRUDER_AT"), path);
  if (!strcmp(what, "socket")) return socket(AF_UNIX, SOCK_STREAM, 0);
  if (!strcmp(what, "connect")) return connecting();
  if (!strcmp(what, "exec")) return execl("/bin/true", "true", NULL);
  if (!strcmp(what, "fork")) return child(fork());
  if (!strcmp(what, "system")) return system("true") ? -1 : 0;
  if (!strcmp(what, "trace")) return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
  if (!strcmp(what, "signal")) return kill(getppid(), 0);
  if (!strcmp(what, "code")) return new_code();
  if (!strcmp(what, "code of data")) return code_of_data();
  if (!strcmp(what, "terminal")) return ioctl(STDERR_FILENO, FIONREAD, &bytes);
  if (!strcmp(what, "thread")) return thread();
  abort(); /* no such word */
}

static void intrude(int fd) {
  const char *what = getenv("INTRUDER_DO"), *at = getenv("INTRUDER_AT");
  struct stat this, that;
  if (!what || fcntl(fd, F_GETFL) & O_PATH || fstatat(fd, "", &this, AT_EMPTY_PATH) ||
      stat(at, &that) || this.st_ino != that.st_ino || this.st_dev != that.st_dev)
    return;
  int done = attempt(what, getenv("INTRUDER_PATH"));
  dprintf(STDERR_FILENO, "intruder: %s\n", done < 0 ? strerrorname_np(errno) : "done");
  unsetenv("INTRUDER_DO");
}

ssize_t read(int fd, void *to, size_t bytes) {
  ssize_t (*next)(int, void *, size_t) = (ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
  intrude(fd);
  return next(fd, to, bytes);
}

int fstat(int fd, struct stat *to) {
  intrude(fd);
  return fstatat(fd, "", to, AT_EMPTY_PATH);
}

long syscall(long number, ...) {
  long (*next)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  const char *abi = getenv("INTRUDER_ABI"), *refuse = getenv("INTRUDER_REFUSE");
  va_list list;
  long a[6];
  va_start(list, number);
  for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
  va_end(list);
  if (refuse && number == atol(refuse)) {
    errno = EPERM;
    return -1;
  }
  if (abi && !atoi(abi) && (number == 444 || number == SYS_seccomp)) {
    errno = ENOSYS;
    return -1;
  }
  if (abi && number == 444 && a[0] == 0) return atol(abi);
  return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

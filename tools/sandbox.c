/* Landlock and seccomp by their bare system calls; see sandbox.h.
 *
 * Landlock takes away everything that this kernel's version of it can, then gives back the named
 * paths. The filter of system calls kills the process for a call that no library makes by chance
 * (a program, a socket, a debugger), and tells of every other unknown one that the kernel lacks it
 * (ENOSYS), which libraries are prepared for: a new libc must not break a run. */
#include "sandbox.h"

#include <stdio.h>

#if defined(__linux__) && !defined(VNET_NO_SANDBOX)
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli.h"

static _Noreturn void refused(const char *what) {
  cli_fatal(VN_E_UNSUPPORTED,
            "%s: %s; rights cannot be given up here: --no-sandbox runs without that", what,
            strerror(errno));
}

/* ---- files: linux/landlock.h, whose numbers are newer than many a system's header ---- */

enum {
  CREATE_RULESET = 444, /* the same on every architecture */
  ADD_RULE = 445,
  RESTRICT_SELF = 446,
  ASK_VERSION = 1,
  PATH_BENEATH = 1,
};

enum {
  WRITE_FILE = 1 << 1,
  READ_FILE = 1 << 2,
  READ_DIR = 1 << 3,
  REMOVE_FILE = 1 << 5,
  MAKE_DIR = 1 << 7,
  MAKE_REG = 1 << 8,
  TRUNCATE = 1 << 14,
  OF_FILES = WRITE_FILE | READ_FILE | TRUNCATE, /* the others are a folder's */
};

struct ruleset {
  uint64_t files, net, scoped;
};

struct beneath {
  uint64_t allowed;
  int32_t fd;
} __attribute__((packed));

/* What each version of the interface can take away. */
static struct ruleset everything(long version) {
  static const unsigned file_bits[] = {0, 13, 14, 15, 15}; /* then REFER, TRUNCATE, IOCTL_DEV */
  return (struct ruleset){
      .files = (1u << (version < 5 ? file_bits[version] : 16)) - 1,
      .net = version < 4 ? 0 : 3,    /* bind, connect */
      .scoped = version < 6 ? 0 : 3, /* abstract sockets, signals */
  };
}

static void allow(struct sandbox *box, const char *path, uint64_t rights) {
  struct stat there;
  if (box->rules < 0 || !path) return;
  struct beneath rule = {.fd = open(path, O_PATH | O_CLOEXEC)};
  if (rule.fd < 0) return;
  bool folder = fstat(rule.fd, &there) == 0 && S_ISDIR(there.st_mode);
  rule.allowed = rights & box->handled & (folder ? UINT64_MAX : OF_FILES);
  /* EBADFD: a pipe or the like, which has no path. */
  if (syscall(ADD_RULE, box->rules, PATH_BENEATH, &rule, 0) && errno != EBADFD) refused("landlock");
  close(rule.fd);
}

void sandbox_open(struct sandbox *box) {
  long version = syscall(CREATE_RULESET, NULL, 0, ASK_VERSION);
  *box = (struct sandbox){.rules = -1};
  if (version < 1) return; /* not built in, not switched on, or kept from a container */
  struct ruleset all = everything(version);
  box->rules = (int)syscall(CREATE_RULESET, &all, sizeof all, 0);
  if (box->rules < 0) refused("landlock");
  box->handled = all.files;
  snprintf(box->text, sizeof box->text, "landlock %ld", version);
  /* What the kernel tells everybody: cores, memory, limits. Landlock itself keeps what is another
   * process's own in there. */
  sandbox_read(box, "/proc");
  sandbox_read(box, "/sys");
}

void sandbox_read(struct sandbox *box, const char *path) {
  allow(box, path, READ_FILE | READ_DIR);
}

void sandbox_write(struct sandbox *box, const char *folder) {
  allow(box, folder,
        READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | MAKE_DIR | MAKE_REG | REMOVE_FILE);
}

static void beside(struct sandbox *box, const char *file,
                   void (*allow_folder)(struct sandbox *box, const char *folder)) {
  char folder[4096]; /* the kernel takes no longer one */
  const char *slash = file ? strrchr(file, '/') : NULL;
  if (!file || (slash && slash - file >= (ptrdiff_t)sizeof folder - 1)) return;
  snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - file) + 1 : 1, slash ? file : ".");
  allow_folder(box, folder);
}

void sandbox_read_beside(struct sandbox *box, const char *file) {
  beside(box, file, sandbox_read);
}

void sandbox_write_beside(struct sandbox *box, const char *file) {
  beside(box, file, sandbox_write);
}

static void files_give_up(struct sandbox *box) {
  if (box->rules < 0) return;
  if (syscall(RESTRICT_SELF, box->rules, 0)) refused("landlock");
  close(box->rules);
  box->rules = -1;
}

/* ---- what the superuser may do ---- */

/* All but access to files that are others'. Some of it would open what Landlock keeps shut: a
 * kernel of today shows other processes' memory maps and environments to who may measure
 * (CAP_PERFMON). */
static void capabilities_give_up(void) {
  const uint32_t kept = 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH | 1u << CAP_FOWNER;
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct had[2], has[2] = {{0}};
  if (syscall(SYS_capget, &header, had)) refused("capabilities");
  has[0].effective = had[0].effective & kept;
  has[0].permitted = had[0].permitted & kept;
  if (syscall(SYS_capset, &header, has)) refused("capabilities");
}

/* ---- system calls ---- */

#if (defined(__x86_64__) && defined(__LP64__)) || (defined(__aarch64__) && !defined(__AARCH64EB__))
#include <asm/ioctls.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/mman.h>

#ifdef __x86_64__
#define ARCHITECTURE AUDIT_ARCH_X86_64
#else
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* What the programs, libc and zlib need; found by strace, and by thinking of other libcs. */
static const int allowed[] = {
    /* memory */
    SYS_brk,
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    /* threads */
    SYS_futex,
    SYS_set_robust_list,
    SYS_rseq,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_sched_setaffinity,
    SYS_set_tid_address,
    SYS_gettid,
    SYS_getpid,
    SYS_membarrier,
    SYS_exit,
    SYS_exit_group,
    /* signals, time, the machine */
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_restart_syscall,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_gettimeofday,
    SYS_getrandom,
    SYS_sysinfo,
    SYS_uname,
    SYS_getrusage,
    SYS_umask,
    /* files: which ones is Landlock's business */
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_lseek,
    SYS_openat,
    SYS_close,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_fstatfs,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_readlinkat,
    SYS_getdents64,
    SYS_getcwd,
    SYS_dup,
    SYS_dup3,
    SYS_fcntl,
    SYS_flock,
    SYS_ftruncate,
    SYS_fallocate,
    SYS_fadvise64,
    SYS_fsync,
    SYS_fdatasync,
    SYS_renameat,
    SYS_renameat2,
    SYS_unlinkat,
    SYS_linkat,
    SYS_mkdirat,
#ifdef __x86_64__ /* the old names of some of these */
    SYS_open,
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_readlink,
    SYS_rename,
    SYS_unlink,
    SYS_link,
    SYS_mkdir,
    SYS_dup2,
    SYS_time,
#endif
};

static const int deadly[] = {
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kill,
    SYS_socket,
    SYS_socketpair,
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_io_uring_setup,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_unshare,
    SYS_setns,
    SYS_mount,
    SYS_umount2,
    SYS_chroot,
    SYS_pivot_root,
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_init_module,
    SYS_finit_module,
    SYS_kexec_load,
    SYS_reboot,
    SYS_setuid,
    SYS_setgid,
    SYS_setresuid,
    SYS_setresgid,
#ifdef __x86_64__
    SYS_fork,
    SYS_vfork,
#endif
};

enum {
  CODE_MOST = 512,
  COUNT = sizeof allowed / sizeof *allowed + sizeof deadly / sizeof *deadly,
  UNKNOWN = SECCOMP_RET_ERRNO | ENOSYS,
};
#define DEADLY SECCOMP_RET_KILL_PROCESS

struct filter {
  struct sock_filter code[CODE_MOST];
  unsigned short length;
};
_Static_assert(2 * COUNT + 64 < CODE_MOST, "the filter has no room for all calls");

static void add(struct filter *f, unsigned code, unsigned value, unsigned char then,
                unsigned char otherwise) {
  f->code[f->length++] =
      (struct sock_filter){.code = (unsigned short)code, .jt = then, .jf = otherwise, .k = value};
}

static void load(struct filter *f, size_t offset) {
  add(f, BPF_LD | BPF_W | BPF_ABS, (unsigned)offset, 0, 0);
}

static void answer(struct filter *f, unsigned action) {
  add(f, BPF_RET | BPF_K, action, 0, 0);
}

static void rule(struct filter *f, int call, unsigned action) {
  add(f, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1);
  answer(f, action);
}

/* Allowed where an argument's bits under the mask have the value; the upper half is no part of any
 * argument that is looked at. */
static void rule_if(struct filter *f, int call, int argument, unsigned mask, unsigned value,
                    unsigned otherwise) {
  add(f, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 5);
  load(f, offsetof(struct seccomp_data, args) + 8 * (size_t)argument);
  add(f, BPF_ALU | BPF_AND | BPF_K, mask, 0, 0);
  add(f, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
  answer(f, SECCOMP_RET_ALLOW);
  answer(f, otherwise);
}

/* Is it a terminal, and how wide? Another ioctl would type commands there. */
static void terminal_rule(struct filter *f) {
  enum { TCGETS2_CALL = (int)0x802C542A };
  add(f, BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 6);
  load(f, offsetof(struct seccomp_data, args[1]));
  add(f, BPF_JMP | BPF_JEQ | BPF_K, TCGETS, 2, 0);
  add(f, BPF_JMP | BPF_JEQ | BPF_K, TIOCGWINSZ, 1, 0);
  add(f, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)TCGETS2_CALL, 0, 1);
  answer(f, SECCOMP_RET_ALLOW);
  answer(f, UNKNOWN);
}

static void filter_make(struct filter *f) {
  f->length = 0;
  load(f, offsetof(struct seccomp_data, arch));
  add(f, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
  answer(f, DEADLY);
  load(f, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__ /* the numbers of x32 begin here */
  add(f, BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1);
  answer(f, DEADLY);
#endif
  for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
    rule(f, allowed[i], SECCOMP_RET_ALLOW);
  for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) rule(f, deadly[i], DEADLY);
  /* Threads, not processes. clone3 has its flags in memory, where a filter sees nothing: it is
   * unknown, and libc takes clone. */
  rule_if(f, SYS_clone, 0, CLONE_THREAD, CLONE_THREAD, DEADLY);
  rule_if(f, SYS_tgkill, 0, ~0u, (unsigned)getpid(), DEADLY); /* abort() */
  rule_if(f, SYS_prlimit64, 0, ~0u, 0, UNKNOWN);              /* its own limits */
  rule_if(f, SYS_mmap, 2, PROT_EXEC, 0, UNKNOWN);             /* no new code */
  rule_if(f, SYS_mprotect, 2, PROT_EXEC, 0, UNKNOWN);
  terminal_rule(f);
  answer(f, UNKNOWN);
}

static void calls_give_up(struct sandbox *box) {
  const unsigned action = DEADLY;
  struct filter filter;
  if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action)) return; /* the kernel has none */
  filter_make(&filter);
  struct sock_fprog program = {.len = filter.length, .filter = filter.code};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) refused("seccomp");
  size_t length = strlen(box->text);
  snprintf(box->text + length, sizeof box->text - length, "%sseccomp", length ? ", " : "");
}
#else
static void calls_give_up(struct sandbox *box) {
  (void)box;
}
#endif

void sandbox_enter(struct sandbox *box) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) refused("no_new_privs");
  capabilities_give_up();
  files_give_up(box);
  calls_give_up(box);
  if (!*box->text) snprintf(box->text, sizeof box->text, "none");
}

#else

void sandbox_open(struct sandbox *box) {
  *box = (struct sandbox){.rules = -1};
}

void sandbox_read(struct sandbox *box, const char *path) {
  (void)box, (void)path;
}

void sandbox_write(struct sandbox *box, const char *folder) {
  (void)box, (void)folder;
}

void sandbox_read_beside(struct sandbox *box, const char *file) {
  (void)box, (void)file;
}

void sandbox_write_beside(struct sandbox *box, const char *file) {
  (void)box, (void)file;
}

void sandbox_enter(struct sandbox *box) {
  snprintf(box->text, sizeof box->text, "none");
}

#endif

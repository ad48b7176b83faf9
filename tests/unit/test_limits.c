/* What a plan or a machine's limits may make of an exec: sizes that do not wrap, memory that is
 * refused beforehand, threads that cannot be started. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "os.h"
#include "plan_builder.h"
#include "size.h"
#include "vnet.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CANNOT_TRY = 77 };

static void test_sizes(void **state) {
  (void)state;
  assert_true(vn_plus(UINT64_MAX - 1, 1) == UINT64_MAX && vn_plus(UINT64_MAX, 2) == UINT64_MAX);
  assert_true(vn_times(1ull << 32, (1ull << 32) - 1) == UINT64_MAX - UINT32_MAX);
  assert_true(vn_times(1ull << 32, 1ull << 32) == UINT64_MAX);
  assert_true(vn_times(UINT64_MAX, 0) == 0);
  assert_true(vn_round_up(65, 64) == 128 && vn_round_up(UINT64_MAX - 3, 64) == UINT64_MAX);
}

/* ---- what is free ---- */

static void file_put(const char *root, const char *name, const char *text) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", root, name);
  for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
    *slash = '\0';
    mkdir(path, 0700);
    *slash = '/';
  }
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static void folder_remove(const char *root) {
  char command[600];
  snprintf(command, sizeof command, "rm -rf '%s'", root);
  assert_int_equal(system(command), 0);
}

/* A machine with 8 GB available, made of files. */
static char *machine_make(char root[32]) {
  strcpy(root, "/tmp/vnet-limits-XXXXXX");
  assert_non_null(mkdtemp(root));
  file_put(root, "proc/meminfo",
           "MemTotal:       16000000 kB\nMemFree:  1 kB\nMemAvailable:    8000000 kB\n");
  return root;
}

static const uint64_t AVAILABLE = (uint64_t)8000000 * 1024;

static void test_available(void **state) {
  (void)state;
  char root[32];
  machine_make(root);
  assert_true(vn_os_memory_free(root) == AVAILABLE);
  /* Version 2: the process's own group, one without a limit, and the one around both. */
  file_put(root, "proc/self/cgroup", "0::/pod/box\n");
  file_put(root, "sys/fs/cgroup/pod/box/memory.max", "max\n");
  file_put(root, "sys/fs/cgroup/pod/box/memory.current", "5\n");
  assert_true(vn_os_memory_free(root) == AVAILABLE);
  file_put(root, "sys/fs/cgroup/pod/memory.max", "3000000\n");
  file_put(root, "sys/fs/cgroup/pod/memory.current", "2500000\n");
  assert_true(vn_os_memory_free(root) == 500000);
  file_put(root, "sys/fs/cgroup/pod/memory.stat",
           "anon 1\nfile 900000\ninactive_file 300000\nactive_file 100000\n");
  assert_true(vn_os_memory_free(root) == 900000);
  file_put(root, "sys/fs/cgroup/pod/box/memory.max", "1000\n");
  assert_true(vn_os_memory_free(root) == 995);
  file_put(root, "sys/fs/cgroup/pod/box/memory.current", "2000\n");
  assert_true(vn_os_memory_free(root) == 0);
  folder_remove(root);
  /* In a container, which sees its own group as the outermost. */
  machine_make(root);
  file_put(root, "proc/self/cgroup", "0::/\n");
  file_put(root, "sys/fs/cgroup/memory.max", "70000\n");
  file_put(root, "sys/fs/cgroup/memory.current", "30000\n");
  assert_true(vn_os_memory_free(root) == 40000);
  folder_remove(root);
  /* Version 1, whose path inside a container is another. */
  machine_make(root);
  file_put(root, "proc/self/cgroup",
           "12:cpu,cpuacct:/x\n4:memory:/docker/abc\n1:name=systemd:/x\n");
  file_put(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9000000\n");
  file_put(root, "sys/fs/cgroup/memory/memory.usage_in_bytes", "4000000\n");
  file_put(root, "sys/fs/cgroup/memory/memory.stat",
           "cache 9\ninactive_file 7\ntotal_inactive_file 500000\ntotal_active_file 1\n");
  assert_true(vn_os_memory_free(root) == 5500001);
  folder_remove(root);
}

/* ---- plans that want too much ---- */

static void *plan_end(struct plan_builder *b, uint32_t x, uint32_t y, size_t *size) {
  pb_port(b, "x", x, 0);
  pb_port(b, "y", y, 1);
  return pb_finish(b, size);
}

/* A convolution without padding worth the name, kernel d x 3 x 3, dilation and padding 65535. */
static void *far_plan(uint32_t depth, size_t *size) {
  struct plan_builder b;
  pb_start(&b);
  const size_t in = (depth - 1) * (size_t)65535 + 1 - 2 * (size_t)65535;
  const uint32_t x = pb_tensor(&b, (const size_t[]){1, 1, in, 1, 1}, 0, 0);
  const uint32_t y = pb_tensor(&b, (const size_t[]){1, 1, 1, 1, 1}, 0, 0);
  struct plan_step *s = pb_step(&b, VN_OP_CONV3D, x, y);
  s->weight = pb_weight(&b, (const size_t[]){1, depth, 3, 3, 1}, 0.1f);
  s->algo = VN_ALGO_DIRECT;
  s->u.conv = (struct plan_conv){.kernel = {depth, 3, 3},
                                 .stride = {1, 1, 1},
                                 .pad = {65535, 65535, 65535},
                                 .dilation = {65535, 65535, 65535},
                                 .groups = 1};
  return plan_end(&b, x, y, size);
}

/* With so many threads as can be asked for: it runs, within what was said, or is refused. */
static void test_far(void **state) {
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    size_t size;
    void *bytes = far_plan(i ? 1024 : 256, &size);
    const struct vn_exec_options options = {
        .size = sizeof options, .threads = 64, .memory_limit_bytes = 400u << 20};
    struct vn_plan *plan = NULL;
    struct vn_exec *exec = NULL;
    struct vn_diag diag = {""};
    if (vn_plan_open_memory(bytes, size, &plan, &diag)) fail_msg("%s", diag.text);
    const enum vn_status status = vn_exec_open(plan, &options, &exec, &diag);
    if (status && status != VN_E_MEMORY) fail_msg("%s", diag.text);
    if (!status) {
      const struct vn_exec_info info = vn_exec_info(exec);
      assert_true(info.scratch_bytes / 64 * 64 == info.scratch_bytes);
      assert_true(info.arena_bytes + info.scratch_bytes + info.packed_bytes <= 400u << 20);
      assert_int_equal(vn_exec_run_with(exec, NULL, NULL, NULL, &diag), VN_OK);
    }
    vn_exec_close(&exec);
    vn_plan_close(&plan);
    free(bytes);
  }
}

/* An arena of half a terabyte. */
static void *large_plan(size_t *size) {
  struct plan_builder b;
  pb_start(&b);
  const size_t dim[] = {1, 1, 1 << 17, 1 << 10, 1 << 9};
  const uint32_t x = pb_tensor(&b, dim, 0, 0), y = pb_tensor(&b, dim, 0, 0);
  pb_step(&b, VN_OP_ACT, x, y)->act[0] = VN_ACT_RELU;
  return plan_end(&b, x, y, size);
}

static void test_default(void **state) {
  (void)state;
  size_t size;
  void *bytes = large_plan(&size);
  struct vn_plan *plan = NULL;
  struct vn_exec *exec = NULL;
  struct vn_diag diag = {""};
  if (vn_plan_open_memory(bytes, size, &plan, &diag)) fail_msg("%s", diag.text);
  assert_int_equal(vn_exec_open(plan, NULL, &exec, &diag), VN_E_MEMORY);
  assert_non_null(strstr(diag.text, "the plan needs 524288.0 MiB to run and "));
  assert_non_null(strstr(diag.text, " MiB are free (--memory-limit none"));
  vn_plan_close(&plan);
  free(bytes);
}

/* ---- in a child of its own ---- */

static int in_child(int (*what)(void)) {
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    alarm(20); /* for what would wait for ever */
    _exit(what());
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  if (!WIFEXITED(status)) fail_msg("ended by signal %d", WTERMSIG(status));
  return WEXITSTATUS(status);
}

/* Under `ulimit -v`: 24 convolutions of one weight, each of which wants it packed, 16 vectors
 * wide. */
static int packs_too_much(void) {
  enum { STEPS = 24, CHANNELS = 4096 };
  struct plan_builder b;
  struct vn_plan *plan = NULL;
  struct vn_exec *exec = NULL;
  struct vn_diag diag = {""};
  size_t size;
  pb_start(&b);
  const uint32_t x = pb_tensor(&b, (const size_t[]){1, CHANNELS, 2, 2, 2}, 0, STEPS - 1);
  const uint32_t y = pb_tensor(&b, (const size_t[]){1, 1, 2, 2, 2}, 0, STEPS - 1);
  const uint32_t w = pb_weight(&b, (const size_t[]){1, 5, 5, 5, CHANNELS}, 0.01f);
  for (size_t i = 0; i < STEPS; i++) {
    struct plan_step *s = pb_step(&b, VN_OP_CONV3D, x, y);
    s->weight = w;
    s->algo = VN_ALGO_DIRECT;
    s->u.conv = (struct plan_conv){.kernel = {5, 5, 5},
                                   .stride = {1, 1, 1},
                                   .pad = {2, 2, 2},
                                   .dilation = {1, 1, 1},
                                   .groups = 1};
  }
  void *bytes = plan_end(&b, x, y, &size);
  if (vn_plan_open_memory(bytes, size, &plan, &diag)) return 1;
  const rlim_t most = (rlim_t)256 << 20;
  if (setrlimit(RLIMIT_AS, &(struct rlimit){most, most})) return CANNOT_TRY;
  const struct vn_exec_options options = {.size = sizeof options, .threads = 1};
  if (vn_exec_open(plan, &options, &exec, &diag) != VN_E_MEMORY || exec) return 2;
  return strstr(diag.text, "the plan needs ") && strstr(diag.text, " MiB are free") ? 0 : 3;
}

/* XNNPACK's own threads, where no more can be started once ours have. */
static int starves_guest(void) {
  struct plan_builder b;
  struct vn_plan *plan = NULL;
  struct vn_exec *exec = NULL;
  struct vn_diag diag = {""};
  size_t size;
  pb_start(&b);
  const uint32_t x = pb_tensor(&b, (const size_t[]){1, 4, 6, 6, 6}, 0, 0);
  const uint32_t y = pb_tensor(&b, (const size_t[]){1, 4, 6, 6, 6}, 0, 0);
  pb_conv(&b, VN_OP_CONV3D, x, y, 3, 1, 1, 1)->algo = VN_ALGO_XNNPACK;
  void *bytes = plan_end(&b, x, y, &size);
  const struct vn_exec_options options = {.size = sizeof options, .threads = 4};
  if (vn_plan_open_memory(bytes, size, &plan, &diag)) return 1;
  if (vn_exec_open(plan, &options, &exec, &diag)) return 2;
  if (!strstr(vn_exec_step(exec, 0).kernel, "xnnpack")) return CANNOT_TRY;
  const uid_t user = 510000 + (uid_t)getpid();
  if (geteuid() != 0 || setgid(user) || setuid(user)) return CANNOT_TRY;
  if (setrlimit(RLIMIT_NPROC, &(struct rlimit){5, 5})) return CANNOT_TRY;
  return vn_exec_run_with(exec, NULL, NULL, NULL, &diag) ? 3 : 0;
}

static void child_test(int (*what)(void)) {
  const int status = in_child(what);
  if (status == CANNOT_TRY) skip();
  assert_int_equal(status, 0);
}

static void test_packing(void **state) {
  (void)state;
#if defined(VN_SANITIZE_ADDRESS) || defined(VN_EMULATED)
  skip(); /* they have the address space for themselves */
#endif
  child_test(packs_too_much);
}

static void test_guest(void **state) {
  (void)state;
  child_test(starves_guest);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sizes),   cmocka_unit_test(test_available),
      cmocka_unit_test(test_far),     cmocka_unit_test(test_default),
      cmocka_unit_test(test_packing), cmocka_unit_test(test_guest),
  };
  return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}

/* Execs as a host has them: options of any age, buttons and progress, a plan whose file goes,
 * threads that share a plan, forked children. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "small_net.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A struct of an older host is shorter, one of a newer host longer; what has no size is refused. */
static void test_option_sizes(void **state) {
  (void)state;
  size_t size;
  void *bytes = pb_small_net(&size);
  struct vn_plan *plan = plan_open(bytes, size);
  struct vn_exec *exec = NULL;
  struct vn_diag diag;
  struct {
    struct vn_exec_options known;
    size_t newer;
  } options = {.known = {.size = 2 * sizeof(size_t), .threads = 3, .isa = "mmx"}};
  assert_int_equal(vn_exec_open(plan, &options.known, &exec, &diag), VN_OK); /* isa is beyond */
  assert_int_equal(vn_exec_info(exec).threads, 3);
  vn_exec_close(&exec);
  options.known = (struct vn_exec_options){.size = sizeof options};
  assert_int_equal(vn_exec_open(plan, &options.known, &exec, &diag), VN_OK);
  vn_exec_close(&exec);
  options.newer = 1;
  assert_int_equal(vn_exec_open(plan, &options.known, &exec, &diag), VN_E_UNSUPPORTED);
  options.known.size = 0;
  assert_int_equal(vn_exec_open(plan, &options.known, &exec, &diag), VN_E_ARGUMENT);
  options.known.size = SIZE_MAX / 3; /* what lay there before */
  assert_int_equal(vn_exec_open(plan, &options.known, &exec, &diag), VN_E_ARGUMENT);
  assert_null(exec);
  struct vn_exec_info before = {0}, after;
  assert_int_equal(vn_exec_measure(plan, NULL, &before, &diag), VN_OK);
  assert_int_equal(vn_exec_open(plan, NULL, &exec, &diag), VN_OK);
  after = vn_exec_info(exec);
  assert_memory_equal(&before, &after, sizeof before);
  vn_exec_close(&exec);
  vn_plan_close(&plan);
  free(bytes);
}

static void *press_soon(void *cancel) {
  vn_cancel_press(cancel);
  return NULL;
}

static int count_to(void *context, double fraction) {
  double *last = context;
  assert_true(fraction >= last[0] && fraction <= 1);
  last[0] = fraction;
  return last[0] >= last[1];
}

static void test_cancel(void **state) {
  (void)state;
  size_t size;
  void *bytes = pb_small_net(&size);
  struct vn_plan *plan = plan_open(bytes, size);
  struct vn_exec *exec = exec_open(plan, NULL, 2);
  struct vn_diag diag;
  struct result before, after;
  struct vn_run_options run = {.size = sizeof run};
  small_run(exec, &before);
  assert_int_equal(vn_cancel_create(&run.cancel, &diag), VN_OK);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, press_soon, run.cancel), 0);
  enum vn_status status = VN_OK;
  while (!status) status = vn_exec_run_with(exec, NULL, NULL, &run, &diag);
  assert_int_equal(status, VN_E_CANCELLED);
  pthread_join(thread, NULL);
  assert_true(vn_cancel_pressed(run.cancel));
  /* It stays pressed, for whatever is opened or run with it, and touches nothing else. */
  assert_int_equal(vn_exec_run_with(exec, NULL, NULL, &run, &diag), VN_E_CANCELLED);
  assert_int_equal(vn_exec_parallel(exec, 3, NULL, NULL, &run, &diag), VN_E_CANCELLED);
  const struct vn_exec_options opening = {.size = sizeof opening, .cancel = run.cancel};
  struct vn_exec *other;
  assert_int_equal(vn_exec_open(plan, &opening, &other, &diag), VN_E_CANCELLED);
  assert_null(other);
  small_run(exec, &after);
  assert_memory_equal(&before, &after, sizeof before);
  vn_cancel_close(&run.cancel);
  assert_null(run.cancel);
  vn_cancel_close(NULL);
  /* Progress ends where the work does, and a callback that says no ends the run. */
  double told[2] = {0, 2};
  run.progress = count_to;
  run.progress_context = told;
  assert_int_equal(vn_exec_run_with(exec, NULL, NULL, &run, &diag), VN_OK);
  assert_true(told[0] == 1);
  told[0] = told[1] = 0;
  assert_int_equal(vn_exec_run_with(exec, NULL, NULL, &run, &diag), VN_E_CANCELLED);
  small_run(exec, &after);
  assert_memory_equal(&before, &after, sizeof before);
  vn_exec_close(&exec);
  vn_plan_close(&plan);
  free(bytes);
}

/* A plan from a file, once open, needs it no more; and gives its weights away once. */
static void test_file_is_left_alone(void **state) {
  (void)state;
  for (int change = 0; change < 3; change++) {
    char path[] = "/tmp/vnet-exec-XXXXXX";
    size_t size;
    uint8_t *bytes = pb_small_net(&size);
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    struct vn_plan *plan = NULL;
    struct vn_diag diag;
    struct result before, after;
    assert_int_equal(vn_plan_open(path, &plan, &diag), VN_OK);
    struct vn_plan *borrowed = plan_open(bytes, size);
    struct vn_exec *first = exec_open(borrowed, NULL, 2), *second;
    small_run(first, &before);
    vn_exec_close(&first);
    memset(bytes, 0xA5, size);
    if (change == 0) assert_int_equal(pwrite(fd, bytes, size, 0), size);
    if (change == 1) assert_int_equal(ftruncate(fd, 1), 0);
    unlink(path);
    close(fd);
    first = exec_open(plan, NULL, 2);
    small_run(first, &after);
    assert_memory_equal(&before, &after, sizeof before);
    second = exec_open(plan, NULL, 1); /* on the weights that the first one packed */
    vn_exec_close(&first);
    small_run(second, &after);
    assert_memory_equal(&before, &after, sizeof before);
    vn_exec_close(&second);
    vn_plan_close(&borrowed);
    vn_plan_close(&plan);
    free(bytes);
  }
}

/* The weights of such a plan are given up once they are packed; those of memory stay. */
static struct vn_plan *plan_of_file(const void *bytes, size_t size) {
  char path[] = "/tmp/vnet-exec-XXXXXX";
  struct vn_plan *plan = NULL;
  const int fd = mkstemp(path);
  assert_true(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
  close(fd);
  assert_int_equal(vn_plan_open(path, &plan, NULL), VN_OK);
  unlink(path);
  return plan;
}

/* Two convolutions by the same weights, which are some pages long: neither the first one to pack
 * them nor a second exec may take them from the other. */
static void test_shared_weights(void **state) {
  (void)state;
  enum { CHANNELS = 24, ELEMS = CHANNELS * 6 * 6 * 6 };
  const size_t dim[VN_AXES] = {1, CHANNELS, 6, 6, 6};
  struct plan_builder b;
  pb_start(&b);
  const uint32_t x = pb_tensor(&b, dim, 0, 0), y = pb_tensor(&b, dim, 0, 1);
  const uint32_t z = pb_tensor(&b, dim, 1, 1);
  const struct plan_step *first = pb_conv(&b, VN_OP_CONV3D, x, y, 3, 1, 1, 1);
  pb_conv(&b, VN_OP_CONV3D, y, z, 3, 1, 1, 1)->weight = first->weight;
  pb_port(&b, "in", x, 0);
  pb_port(&b, "out", z, 1);
  size_t size;
  void *bytes = pb_finish(&b, &size);
  struct vn_plan *plan = plan_of_file(bytes, size), *borrowed = plan_open(bytes, size);
  struct vn_diag diag;
  float *in = values(3, ELEMS), *want = malloc(ELEMS * sizeof *want), *have = values(4, ELEMS);
  assert_non_null(want);
  const void *inputs[] = {in};
  struct vn_exec *exec = exec_open(borrowed, "ref", 1);
  assert_int_equal(vn_exec_run(exec, inputs, (void *[]){want}, &diag), VN_OK);
  vn_exec_close(&exec);
  for (int i = 0; i < 2; i++) {
    exec = exec_open(plan, NULL, 2);
    assert_int_equal(vn_exec_run(exec, inputs, (void *[]){have}, &diag), VN_OK);
    vn_exec_close(&exec);
    for (size_t k = 0; k < ELEMS; k++) assert_float_equal(have[k], want[k], 1e-4);
  }
  free(in);
  free(want);
  free(have);
  vn_plan_close(&plan);
  vn_plan_close(&borrowed);
  free(bytes);
}

/* An exec that reads a plan's weights in every run has them, whatever another one packs. */
static void test_weights_stay(void **state) {
  (void)state;
  enum { CHANNELS = 24, ELEMS = CHANNELS * 6 * 6 * 6 };
  const size_t dim[VN_AXES] = {1, CHANNELS, 6, 6, 6};
  struct plan_builder b;
  pb_start(&b);
  const uint32_t x = pb_tensor(&b, dim, 0, 0), y = pb_tensor(&b, dim, 0, 0);
  pb_conv(&b, VN_OP_CONV3D, x, y, 3, 1, 1, 1);
  pb_port(&b, "in", x, 0);
  pb_port(&b, "out", y, 1);
  size_t size;
  void *bytes = pb_finish(&b, &size);
  struct vn_plan *plan = plan_of_file(bytes, size);
  struct vn_diag diag;
  float *in = values(3, ELEMS), *want = values(4, ELEMS), *have = values(5, ELEMS);
  const void *inputs[] = {in};
  struct vn_exec *reading = exec_open(plan, "ref", 1);
  assert_int_equal(vn_exec_run(reading, inputs, (void *[]){want}, &diag), VN_OK);
  struct vn_exec *packing = exec_open(plan, NULL, 1);
  assert_int_equal(vn_exec_run(reading, inputs, (void *[]){have}, &diag), VN_OK);
  assert_memory_equal(have, want, ELEMS * sizeof *have);
  vn_exec_close(&packing);
  vn_exec_close(&reading);
  free(in), free(want), free(have);
  vn_plan_close(&plan);
  free(bytes);
}

/* Two threads open execs on one plan and run them, many times over. */
static void *share(void *plan) {
  struct result first, other;
  for (int i = 0; i < 20; i++) {
    struct vn_exec *exec = exec_open(plan, NULL, 2);
    small_run(exec, i ? &other : &first);
    if (i) assert_memory_equal(&first, &other, sizeof first);
    vn_exec_close(&exec);
  }
  return NULL;
}

static void test_shared_plan(void **state) {
  (void)state;
  size_t size;
  void *bytes = pb_small_net(&size);
  struct vn_plan *plan = plan_open(bytes, size);
  pthread_t thread[2];
  for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&thread[i], NULL, share, plan), 0);
  for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
  vn_plan_close(&plan);
  free(bytes);
}

/* A child of a process with execs runs them, and so does the parent afterwards. */
static void test_fork(void **state) {
  (void)state;
#if defined(VN_SANITIZE_THREAD) || defined(VN_EMULATED)
  skip(); /* they follow no threads into a child */
#endif
  size_t size;
  void *bytes = pb_small_net(&size);
  struct vn_plan *plan = plan_open(bytes, size);
  struct vn_exec *exec = exec_open(plan, NULL, 3);
  struct result before, after;
  small_run(exec, &before);
  for (int i = 0; i < 4; i++) {
    pid_t child = fork();
    if (child == 0) {
      small_run(exec, &after);
      bool same = memcmp(&before, &after, sizeof before) == 0;
      vn_exec_close(&exec);
      vn_plan_close(&plan);
      _exit(same ? 0 : 1);
    }
    int status;
    small_run(exec, &after);
    assert_memory_equal(&before, &after, sizeof before);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
  }
  vn_exec_close(&exec);
  vn_plan_close(&plan);
  free(bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_option_sizes),
      cmocka_unit_test(test_cancel),
      cmocka_unit_test(test_file_is_left_alone),
      cmocka_unit_test(test_shared_weights),
      cmocka_unit_test(test_weights_stay),
      cmocka_unit_test(test_shared_plan),
      cmocka_unit_test(test_fork),
  };
  return cmocka_run_group_tests_name("exec_host", tests, NULL, NULL);
}

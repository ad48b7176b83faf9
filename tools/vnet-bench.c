/* vnet-bench: runs a plan on noise and prints a row per step: kernel, time, rate, share. */
#include "cli.h"
#include "os.h"
#include "plan_find.h"
#include "vnet.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char help[] =
    "Usage: vnet-bench [options] PLAN\n"
    "\n"
    "Runs a plan on noise and prints for each step the kernel, the median time, the rate in\n"
    "GFLOP/s (counted for direct convolution, whatever algorithm ran) and the share.\n"
    "\n"
    "      --repeat N           runs that are measured, after one that is not; default 5\n"
    "      --threads N          default: one for each core\n"
    "      --isa NAME           avx512, avx2, neon, portable or ref; default: the best here\n"
    "      --memory-limit SIZE  such as 4G, or none; refuse before any work what would\n"
    "                           take more; default: the memory that is free\n"
    "      --json               the same on standard output, for programs\n"
    "  -h, --help   -V, --version\n"
    "\n"
    "Example: vnet-bench vnet.plan --threads 2 --repeat 3\n"
    "\n" CLI_EXIT_HELP;

struct arguments {
  char *plan;
  struct vn_exec_options exec;
  size_t repeat;
  bool json;
};

struct timing {
  size_t steps, repeat;
  double *step_ms; /* [step][run] */
  double *run_ms;  /* [run] */
};

static struct arguments arguments_read(int argc, char **argv) {
  static const struct option longs[] = {
      {"repeat", required_argument, NULL, 'r'}, {"threads", required_argument, NULL, 't'},
      {"isa", required_argument, NULL, 'i'},    {"memory-limit", required_argument, NULL, 'm'},
      {"json", no_argument, NULL, 'j'},         {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, 'V'},      {NULL, 0, NULL, 0},
  };
  struct arguments a = {.exec.size = sizeof a.exec, .repeat = 5};
  int c;
  while ((c = cli_option(argc, argv, "hV", longs)) != -1) {
    if (c == 'r') a.repeat = (size_t)cli_count("--repeat", optarg, 1, 100000);
    if (c == 't') a.exec.threads = (size_t)cli_count("--threads", optarg, 1, 1024);
    if (c == 'i') a.exec.isa = optarg;
    if (c == 'm') a.exec.memory_limit_bytes = cli_size("--memory-limit", optarg);
    if (c == 'j') a.json = true;
    if (c == 'h' || c == 'V') {
      if (c == 'h')
        fputs(help, stdout);
      else
        printf("vnet-bench %s\n", vn_version());
      cli_finish_stdout();
      exit(VN_OK);
    }
  }
  if (optind + 1 != argc)
    cli_fatal(VN_E_ARGUMENT, "expected one plan, got %d; try --help", argc - optind);
  a.plan = plan_find(argv[optind], true);
  return a;
}

/* Noise in [-1, 1), the same in every run. */
static void input_fill(struct vn_buffer b) {
  uint32_t x = 1;
  float *p = b.data;
  size_t pixels = b.dim[0] * b.dim[2] * b.dim[3] * b.dim[4];
  for (size_t i = 0; i < pixels; i++)
    for (size_t c = 0; c < b.dim[1]; c++) {
      x = x * 1664525u + 1013904223u;
      p[i * b.pixel_stride + c] = (float)(x >> 8) / 8388608.f - 1.f;
    }
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* Run number -1 warms up and is forgotten. */
static void measure(const struct vn_plan *plan, struct vn_exec *exec, struct timing *t) {
  struct vn_diag diag;
  t->steps = vn_exec_steps(exec);
  t->step_ms = calloc(t->steps * t->repeat + 1, sizeof *t->step_ms);
  t->run_ms = calloc(t->repeat, sizeof *t->run_ms);
  if (!t->step_ms || !t->run_ms) cli_fatal(VN_E_MEMORY, "out of memory");
  for (size_t run = 0; run <= t->repeat; run++) {
    for (size_t i = 0; i < vn_plan_inputs(plan); i++) input_fill(vn_exec_input(exec, i));
    double start = now_ms();
    cli_check(vn_exec_run_with(exec, NULL, NULL, NULL, &diag), &diag);
    if (run == 0) continue;
    t->run_ms[run - 1] = now_ms() - start;
    for (size_t i = 0; i < t->steps; i++)
      t->step_ms[i * t->repeat + run - 1] = (double)vn_exec_step(exec, i).last_ns * 1e-6;
  }
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Sorts. */
static double median(double *x, size_t n) {
  qsort(x, n, sizeof *x, by_size);
  return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

static double rate(uint64_t macs, double ms) {
  return ms > 0 ? 2e-6 * (double)macs / ms : 0;
}

static void print_table(const struct arguments *a, const struct vn_plan *plan, struct vn_exec *exec,
                        struct timing *t, const double *ms, double total) {
  struct vn_exec_info info = vn_exec_info(exec);
  uint64_t macs = 0;
  cli_line(stdout, "%s: %s", a->plan, vn_plan_topology(plan));
  printf("%5s %-10s %-30s %10s %9s %7s  %s\n", "step", "op", "kernel", "ms", "GFLOP/s", "share",
         "name");
  for (size_t i = 0; i < t->steps; i++) {
    struct vn_step_info s = vn_exec_step(exec, i);
    macs += s.macs;
    printf("%5zu %-10s %-30s %10.3f %9.1f %6.1f%%  ", i, s.op, s.kernel, ms[i], rate(s.macs, ms[i]),
           total > 0 ? 100 * ms[i] / total : 0);
    cli_line(stdout, "%s", s.name);
  }
  double middle = median(t->run_ms, t->repeat);
  printf("\n%s, %zu threads: median %.1f ms, best %.1f ms of %zu; %.1f GFLOP/s\n", info.isa,
         info.threads, middle, t->run_ms[0], t->repeat, rate(macs, middle));
  printf("arena %.1f MiB, packed weights %.1f MiB, scratch %.1f MiB, peak resident %.1f MiB\n",
         (double)info.arena_bytes / 0x1p20, (double)info.packed_bytes / 0x1p20,
         (double)info.scratch_bytes / 0x1p20, (double)vn_os_memory_peak() / 0x1p20);
}

static void print_json(const struct arguments *a, struct vn_exec *exec, struct timing *t,
                       const double *ms, double total) {
  struct cli_json json = {.out = stdout};
  struct vn_exec_info info = vn_exec_info(exec);
  cli_json_open(&json, NULL, '{');
  cli_json_text(&json, "model", a->plan);
  cli_json_text(&json, "isa", info.isa);
  cli_json_count(&json, "threads", info.threads);
  cli_json_real(&json, "median_ms", median(t->run_ms, t->repeat), 3);
  cli_json_real(&json, "min_ms", t->run_ms[0], 3);
  cli_json_count(&json, "arena_bytes", info.arena_bytes);
  cli_json_count(&json, "packed_bytes", info.packed_bytes);
  cli_json_count(&json, "scratch_bytes", info.scratch_bytes);
  cli_json_count(&json, "peak_rss_bytes", vn_os_memory_peak());
  cli_json_open(&json, "steps", '[');
  for (size_t i = 0; i < t->steps; i++) {
    struct vn_step_info s = vn_exec_step(exec, i);
    cli_json_open(&json, NULL, '{');
    cli_json_text(&json, "name", s.name);
    cli_json_text(&json, "op", s.op);
    cli_json_text(&json, "kernel", s.kernel);
    cli_json_real(&json, "ms", ms[i], 4);
    cli_json_real(&json, "gflops", rate(s.macs, ms[i]), 2);
    cli_json_real(&json, "share", total > 0 ? ms[i] / total : 0, 5);
    cli_json_real(&json, "predicted_ms", (double)s.predicted_ns * 1e-6, 4);
    cli_json_close(&json, '}');
  }
  cli_json_close(&json, ']');
  cli_json_close(&json, '}');
}

int main(int argc, char **argv) {
  cli_start("vnet-bench");
  struct arguments a = arguments_read(argc, argv);
  struct vn_plan *plan = NULL;
  struct vn_exec *exec = NULL;
  struct vn_diag diag;
  cli_check(vn_plan_open(a.plan, &plan, &diag), &diag);
  cli_check(vn_exec_open(plan, &a.exec, &exec, &diag), &diag);
  struct timing t = {.repeat = a.repeat};
  measure(plan, exec, &t);
  double *ms = calloc(t.steps + 1, sizeof *ms), total = 0;
  if (!ms) cli_fatal(VN_E_MEMORY, "out of memory");
  for (size_t i = 0; i < t.steps; i++) {
    ms[i] = median(t.step_ms + i * t.repeat, t.repeat);
    total += ms[i];
  }
  if (a.json)
    print_json(&a, exec, &t, ms, total);
  else
    print_table(&a, plan, exec, &t, ms, total);
  cli_finish_stdout();
  vn_exec_close(&exec);
  vn_plan_close(&plan);
  free(a.plan);
  free(ms);
  free(t.step_ms);
  free(t.run_ms);
  return VN_OK;
}

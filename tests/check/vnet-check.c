/* vnet-check: are the kernels right, and how fast? Every family of every instruction set of this
 * machine on random problems between guard pages, against an oracle in double; with --bench, its
 * speed against what the machine can do. */
#include "check.h"

#include "cpu.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SKIPPED = 77 };

char check_case[512];

struct options {
  const char *isa, *filter;
  uint64_t seed;
  size_t count, threads;
  long only; /* a single case, or -1 */
  bool bench;
};

static const char help[] =
    "vnet-check [options]: kernels against an oracle, and their speed\n"
    "  --isa NAME       ref, portable, avx2, avx512 or neon; default: all that this machine has\n"
    "  --filter TEXT    only families whose name contains it: ref ref-up ref-simple xnnpack\n"
    "                   winograd lean fft direct depthwise pointwise down up elementwise\n"
    "                   softmax wgrad-winograd wgrad-product pixels adamw\n"
    "  --seed N         default: from the clock; it is printed\n"
    "  --count N        problems per family, default 120\n"
    "  --case N         one problem alone\n"
    "  --bench          measure speed instead\n"
    "  --threads N      for --bench, default 1; 0: one for each core\n"
    "Exit status: 0 all right, 1 something is wrong, 2 wrong arguments, 77 no such instructions\n";

static void crashed(int signal_number) {
  static const char text[] = "FAIL (a stray access or a crash) ";
  if (write(STDOUT_FILENO, text, sizeof text - 1) < 0 ||
      write(STDOUT_FILENO, check_case, strlen(check_case)) < 0 || write(STDOUT_FILENO, "\n", 1) < 0)
    _exit(signal_number);
  _exit(1);
}

/* A family that declined most of its problems would pass without having been looked at. */
static bool family_check(const struct family *f, const char *isa, const struct options *o) {
  size_t counts[3] = {0};
  for (size_t i = 0; i < o->count; i++) {
    if (o->only >= 0 && i != (size_t)o->only) continue;
    snprintf(check_case, sizeof check_case, "%s %s --seed %llu --case %zu:", f->name, isa,
             (unsigned long long)o->seed, i);
    const uint64_t seed = random_seed(o->seed, f->name, i);
    counts[f->simple   ? check_simple(f, seed)
           : f->wgrad  ? check_wgrad(f, seed)
           : f->pixels ? check_pixels(f, seed)
           : f->adamw  ? check_adamw(f, seed)
                       : check_conv(f, seed)]++;
  }
  const bool looked_at = o->only >= 0 || counts[OUTCOME_DECLINED] * 2 < o->count || o->count < 20;
  printf("%-4s %s %s: %zu right, %zu declined, %zu wrong\n",
         counts[OUTCOME_WRONG] || !looked_at ? "FAIL" : "ok", f->name, isa, counts[OUTCOME_RIGHT],
         counts[OUTCOME_DECLINED], counts[OUTCOME_WRONG]);
  fflush(stdout);
  return !counts[OUTCOME_WRONG] && looked_at;
}

static bool isa_check(const char *isa, const struct vn_simd *simd, const struct options *o) {
  const struct family plain[] = {{.name = "ref", .conv = vn_conv_ref},
                                 {.name = "ref-up", .conv = vn_deconv_ref, .transposed = true},
#ifdef VN_XNNPACK
                                 {.name = "xnnpack", .conv = vn_conv_xnnpack},
#endif
                                 {.name = "ref-simple", .simple = vn_simple_ref}};
  const struct vn_backward *backward = vn_backward_of(simd);
  const struct family vectors[] = {
      {.name = "winograd", .conv = simd ? simd->winograd : NULL},
      {.name = "lean", .conv = simd ? simd->lean : NULL},
      {.name = "fft", .conv = simd ? simd->fft : NULL},
      {.name = "direct", .conv = simd ? simd->direct : NULL},
      {.name = "depthwise", .conv = simd ? simd->depthwise : NULL},
      {.name = "pointwise", .conv = simd ? simd->pointwise : NULL},
      {.name = "down", .conv = simd ? simd->down : NULL},
      {.name = "up", .conv = simd ? simd->up : NULL, .transposed = true},
      {.name = "elementwise", .simple = simd ? simd->elementwise : NULL},
      {.name = "softmax", .simple = simd ? simd->softmax : NULL},
      {.name = "wgrad-winograd", .wgrad = backward ? backward->winograd : NULL},
      {.name = "wgrad-product", .wgrad = backward ? backward->product : NULL},
      {.name = "pixels", .pixels = backward},
      {.name = "adamw", .adamw = backward}};
  const struct family *families = simd ? vectors : plain;
  const size_t n = simd ? sizeof vectors / sizeof *vectors : sizeof plain / sizeof *plain;
  struct vn_pool *pool = NULL;
  struct vn_diag diag;
  bool right = true;
  if (o->bench && vn_pool_open(o->threads, &pool, &diag)) {
    printf("FAIL %s\n", diag.text);
    return false;
  }
  if (o->bench) bench_limits(isa, simd, pool);
  for (size_t i = 0; i < n; i++) {
    if (o->filter && !strstr(families[i].name, o->filter)) continue;
    const bool back = families[i].wgrad || families[i].pixels || families[i].adamw;
    if (!families[i].conv && !families[i].simple && !back) continue;
    if (o->bench)
      (back ? bench_backward : bench)(&families[i], pool);
    else
      right = family_check(&families[i], isa, o) && right;
  }
  vn_pool_close(&pool);
  return right;
}

static struct options options_read(int argc, char *argv[]) {
  static const struct option longs[] = {
      {"isa", 1, 0, 'i'},     {"filter", 1, 0, 'f'}, {"seed", 1, 0, 's'},
      {"count", 1, 0, 'n'},   {"case", 1, 0, 'c'},   {"bench", 0, 0, 'b'},
      {"threads", 1, 0, 't'}, {"help", 0, 0, 'h'},   {0, 0, 0, 0}};
  struct options o = {.seed = (uint64_t)time(NULL), .count = 120, .threads = 1, .only = -1};
  for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
    if (c == 'i') o.isa = optarg;
    if (c == 'f') o.filter = optarg;
    if (c == 's') o.seed = strtoull(optarg, NULL, 10);
    if (c == 'n') o.count = strtoull(optarg, NULL, 10);
    if (c == 'c') o.only = strtol(optarg, NULL, 10);
    if (c == 'b') o.bench = true;
    if (c == 't') o.threads = strtoull(optarg, NULL, 10);
    if (c == 'h' || c == '?') {
      fputs(help, c == 'h' ? stdout : stderr);
      exit(c == 'h' ? 0 : 2);
    }
  }
  if (o.only >= 0 && (size_t)o.only >= o.count) o.count = (size_t)o.only + 1;
  return o;
}

int main(int argc, char *argv[]) {
#define NAME(isa) #isa,
  static const char *const isas[] = {"ref", VN_EACH_ISA(NAME)};
  const struct options o = options_read(argc, argv);
  bool right = true, any = false;
  signal(SIGSEGV, crashed);
  signal(SIGBUS, crashed);
  signal(SIGFPE, crashed);
  signal(SIGILL, crashed);
  if (!o.bench) printf("seed %llu\n", (unsigned long long)o.seed);
  for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
    const struct vn_simd *simd;
    if (o.isa && strcmp(o.isa, isas[i])) continue;
    if (vn_cpu_simd(isas[i], &simd, NULL)) continue;
    any = true;
    right = isa_check(isas[i], simd, &o) && right;
  }
  if (!any) puts("this machine or build lacks these instructions");
  return !any ? SKIPPED : right ? 0 : 1;
}

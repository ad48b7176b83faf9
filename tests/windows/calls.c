/* The library as a Windows program meets it: a call keeps the registers that its caller owns (xmm6
 * to xmm15, by the calling convention), for every instruction set and kernel of a plan; and numbers
 * in files are read the same whatever the host's locale is.
 *
 *   calls PLAN SCAN.nrrd LABELS.nii.gz */
#include <locale.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vnet_scan.h"

static const char *const isas[] = {"ref", "portable", "avx2", "avx512"};

static void check(enum vn_status status, const struct vn_diag *diag, const char *what) {
  if (!status) return;
  fprintf(stderr, "calls: %s: %s\n", what, diag->text);
  exit(1);
}

/* What is watched: it has nothing to keep in those registers itself. */
__attribute__((noinline)) static enum vn_status run_once(struct vn_exec *exec,
                                                         struct vn_diag *diag) {
  return vn_exec_run_with(exec, NULL, NULL, NULL, diag);
}

static enum vn_status run_watched(struct vn_exec *exec, bool *kept, struct vn_diag *diag) {
  static _Alignas(16) uint64_t before[10][2], after[10][2];
  register uint64_t(*b)[2] __asm__("r12") = before;
  register uint64_t(*a)[2] __asm__("r13") = after;
  uint64_t status;
  for (int i = 0; i < 10; i++) before[i][0] = before[i][1] = 0x5EED000000000000u + (uint64_t)i;
  __asm__ volatile(
      "movaps (%[b]), %%xmm6\n\tmovaps 16(%[b]), %%xmm7\n\tmovaps 32(%[b]), %%xmm8\n\t"
      "movaps 48(%[b]), %%xmm9\n\tmovaps 64(%[b]), %%xmm10\n\tmovaps 80(%[b]), %%xmm11\n\t"
      "movaps 96(%[b]), %%xmm12\n\tmovaps 112(%[b]), %%xmm13\n\tmovaps 128(%[b]), %%xmm14\n\t"
      "movaps 144(%[b]), %%xmm15\n\t"
      "movq %%rsp, %%rbx\n\tandq $-16, %%rsp\n\tsubq $32, %%rsp\n\tcallq *%%rax\n\t"
      "movq %%rbx, %%rsp\n\t"
      "movaps %%xmm6, (%[a])\n\tmovaps %%xmm7, 16(%[a])\n\tmovaps %%xmm8, 32(%[a])\n\t"
      "movaps %%xmm9, 48(%[a])\n\tmovaps %%xmm10, 64(%[a])\n\tmovaps %%xmm11, 80(%[a])\n\t"
      "movaps %%xmm12, 96(%[a])\n\tmovaps %%xmm13, 112(%[a])\n\tmovaps %%xmm14, 128(%[a])\n\t"
      "movaps %%xmm15, 144(%[a])"
      : "=a"(status), "+c"(exec), "+d"(diag)
      : [b] "r"(b), [a] "r"(a), "0"(run_once)
      : "rbx", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",
        "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
        "xmm15");
  *kept = memcmp(before, after, sizeof before) == 0;
  return (enum vn_status)(uint32_t)status;
}

static void registers_check(const struct vn_plan *plan) {
  struct vn_diag diag;
  for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
    struct vn_exec_options options = {.size = sizeof options, .threads = 1, .isa = isas[i]};
    struct vn_exec *exec;
    bool kept;
    if (vn_exec_open(plan, &options, &exec, &diag)) {
      printf("registers: %s is not to be had here\n", isas[i]);
      continue;
    }
    check(run_watched(exec, &kept, &diag), &diag, isas[i]);
    vn_exec_close(&exec);
    if (!kept) {
      fprintf(stderr, "calls: %s loses registers that are its caller's\n", isas[i]);
      exit(1);
    }
    printf("registers: kept by %s\n", isas[i]);
  }
}

/* The spacings of the file are 1.5: with a comma for the point they would be 1. */
static void locale_check(const char *path) {
  struct vn_diag diag;
  struct vn_scan *scan;
  struct vn_image image = {.size = sizeof image};
  const char *set = setlocale(LC_ALL, "German_Germany.1252");
  if (!set || strtod("1,5", NULL) != 1.5) {
    fprintf(stderr, "calls: no locale with a comma is to be had\n");
    exit(1);
  }
  check(vn_scan_open(path, &scan, &diag), &diag, "open");
  vn_scan_image(scan, &image);
  vn_scan_close(&scan);
  if (image.affine[2][2] != 1.5 || strtod("1,5", NULL) != 1.5) {
    fprintf(stderr, "calls: a spacing of %g, and the host's numbers are %s\n", image.affine[2][2],
            localeconv()->decimal_point);
    exit(1);
  }
  printf("locale: %s\n", set);
}

/* As a host does it: no descriptor crosses from its C runtime to the library's. */
static void save_check(const char *path) {
  struct vn_diag diag;
  uint8_t labels[8] = {0, 1, 0, 1, 1, 0, 0, 1};
  const struct vn_label_map map = {.size = sizeof map, .data = labels, .elem_bytes = 1};
  const struct vn_image image = {.size = sizeof image,
                                 .dim = {2, 2, 2},
                                 .affine = {{2, 0, 0, 0}, {0, 2, 0, 0}, {0, 0, 2, 0}},
                                 .world = VN_WORLD_RAS};
  const struct vn_scan_result result = {
      .size = sizeof result, .image = &image, .map = &map, .labels = 2};
  check(vn_scan_save_labels(path, &result, &diag), &diag, "save");
  printf("saved: %s\n", path);
}

int main(int argc, char **argv) {
  struct vn_diag diag;
  struct vn_plan *plan;
  if (argc != 4) return 2;
  check(vn_plan_open(argv[1], &plan, &diag), &diag, "plan");
  registers_check(plan);
  vn_plan_close(&plan);
  locale_check(argv[2]);
  save_check(argv[3]);
  return 0;
}

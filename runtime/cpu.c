/* What this machine offers: instruction sets, cores, memory. Called when an exec is opened; chooses
 * a table of kernels but no kernel (choose.c does). */
#include "cpu.h"

#include <sched.h>
#include <string.h>
#include <unistd.h>

struct isa {
  const struct vn_simd *simd; /* best first */
  bool here;
};

enum { MAX_ISAS = 3 };

static size_t isas_list(struct isa list[MAX_ISAS]) {
  size_t n = 0;
#if defined(__x86_64__)
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  list[n++] = (struct isa){&vn_simd_avx512, avx512};
  list[n++] = (struct isa){&vn_simd_avx2, avx2};
#elif defined(__aarch64__)
  list[n++] = (struct isa){&vn_simd_neon, true};
#endif
  list[n++] = (struct isa){&vn_simd_portable, true};
  return n;
}

enum vn_status vn_cpu_simd(const char *name, const struct vn_simd **simd, struct vn_diag *diag) {
  struct isa list[MAX_ISAS];
  size_t n = isas_list(list);
  *simd = NULL;
  if (name && !strcmp(name, "ref")) return VN_OK;
  for (size_t i = 0; i < n; i++) {
    if (name ? strcmp(name, list[i].simd->name) != 0 : !list[i].here) continue;
    if (!list[i].here)
      return vn_fail(diag, VN_E_UNSUPPORTED, "this machine has no %s instructions", name);
    *simd = list[i].simd;
    return VN_OK;
  }
  return vn_fail(diag, VN_E_ARGUMENT, "instruction set \"%s\" is not one of this build's", name);
}

/* The numbers that a file of Linux's control groups v2 begins with; "max" is no number. */
static int group_numbers(const char *path, unsigned long long *first, unsigned long long *second) {
  FILE *file = fopen(path, "re");
  if (!file) return 0;
  int n = fscanf(file, "%llu %llu", first, second);
  fclose(file);
  return n;
}

/* 0: no limit. */
static size_t quota_cores(void) {
  unsigned long long quota, period; /* microseconds */
  if (group_numbers("/sys/fs/cgroup/cpu.max", &quota, &period) != 2 || !quota || !period) return 0;
  return (size_t)((quota + period - 1) / period);
}

size_t vn_cpu_cores(void) {
  cpu_set_t set;
  size_t cores, quota = quota_cores();
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    cores = (size_t)CPU_COUNT(&set);
  } else { /* more than 1024 processors */
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    cores = online > 0 ? (size_t)online : 1;
  }
  return quota && quota < cores ? quota : cores;
}

uint64_t vn_cpu_memory_bytes(void) {
  long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
  unsigned long long limit, none;
  uint64_t bytes =
      pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : UINT64_MAX;
  if (group_numbers("/sys/fs/cgroup/memory.max", &limit, &none) == 1 && limit < bytes)
    bytes = limit;
  return bytes;
}

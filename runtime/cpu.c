/* Which instruction sets this machine offers. Called when an exec is opened; chooses a table of
 * kernels but no kernel (choose.c does). */
#include "cpu.h"

#include <string.h>

struct isa {
  const struct vn_simd *simd; /* best first */
  bool here;
};

enum { MAX_ISAS = 3 };

#if defined(__x86_64__)
#define ISA_NAMES "avx512, avx2, portable, ref"
#elif defined(__aarch64__)
#define ISA_NAMES "neon, portable, ref"
#elif defined(__wasm_simd128__)
#define ISA_NAMES "wasm, ref"
#else
#define ISA_NAMES "portable, ref"
#endif

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
#if defined(__wasm_simd128__) /* with the bits of the portable kernels, so in their place */
  list[n++] = (struct isa){&vn_simd_wasm, true};
#else
  list[n++] = (struct isa){&vn_simd_portable, true};
#endif
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
      return vn_fail(
          diag, VN_E_UNSUPPORTED,
          "this machine has no %s instructions; without the choice it takes the best it has", name);
    *simd = list[i].simd;
    return VN_OK;
  }
  return vn_fail(diag, VN_E_ARGUMENT,
                 "instruction set \"%s\" is not one of this build's: " ISA_NAMES, name);
}

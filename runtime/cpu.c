/* Which instruction sets this machine offers. Called when an exec is opened; chooses a table of
 * kernels but no kernel (choose.c does). */
#include "cpu.h"

#include <string.h>

struct isa {
  const struct vn_simd *simd; /* best first */
  bool here;
};

#define COUNT(isa) +1
#define NAME(isa)  #isa ", "
enum { ISAS = 0 VN_EACH_ISA(COUNT) };

#if defined(__x86_64__)
static bool here_avx2(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
static bool here_avx512(void) {
  return here_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}
#elif defined(__aarch64__)
#define here_neon() true
#endif
#define here_portable() true
#define here_wasm()     true

enum vn_status vn_cpu_simd(const char *name, const struct vn_simd **simd, struct vn_diag *diag) {
#define ENTRY(isa) {&vn_simd_##isa, here_##isa()},
  const struct isa list[ISAS] = {VN_EACH_ISA(ENTRY)};
  *simd = NULL;
  if (name && !strcmp(name, "ref")) return VN_OK;
  for (size_t i = 0; i < ISAS; i++) {
    if (name ? strcmp(name, list[i].simd->name) != 0 : !list[i].here) continue;
    if (!list[i].here)
      return vn_fail(
          diag, VN_E_UNSUPPORTED,
          "this machine has no %s instructions; without the choice it takes the best it has", name);
    *simd = list[i].simd;
    return VN_OK;
  }
  return vn_fail(diag, VN_E_ARGUMENT,
                 "instruction set \"%s\" is not one of this build's: " VN_EACH_ISA(NAME) "ref",
                 name);
}

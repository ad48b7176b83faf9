/* How floats are computed while our code runs: rounding to nearest, denormals flushed to zero, no
 * traps, whatever the host's thread has set; in files' readers and writers, where each voxel
 * counts, with denormals as they are. Private. On a machine without such a register the host's mode
 * stays. */
#ifndef VNET_FLOAT_MODE_H
#define VNET_FLOAT_MODE_H

#include <stdint.h>

typedef uint64_t vn_float_mode;

#if defined(__x86_64__)
#include <xmmintrin.h>
/* Two registers: SSE's, and the old unit's, whose rounding libc's strtod and printf ask for. */
static inline vn_float_mode vn_float_mode_get(void) {
  uint16_t old;
  __asm__ volatile("fnstcw %0" : "=m"(old));
  return _mm_getcsr() | (uint64_t)old << 32;
}
static inline void vn_float_mode_restore(vn_float_mode mode) {
  const uint16_t old = (uint16_t)(mode >> 32);
  _mm_setcsr((unsigned)mode);
  __asm__ volatile("fldcw %0" : : "m"(old));
}
/* Exceptions masked, flush to zero, denormals are zero; the old unit as a program begins. */
#define VN_FLOAT_MODE_OURS  ((uint64_t)0x37F << 32 | 0x9FC0u)
#define VN_FLOAT_MODE_PLAIN ((uint64_t)0x37F << 32 | 0x1F80u)
#elif defined(__aarch64__)
static inline vn_float_mode vn_float_mode_get(void) {
  uint64_t mode;
  __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
static inline void vn_float_mode_restore(vn_float_mode mode) {
  __asm__ volatile("msr fpcr, %0" : : "r"(mode));
}
#define VN_FLOAT_MODE_OURS  ((uint64_t)1 << 24) /* flush to zero */
#define VN_FLOAT_MODE_PLAIN 0
#else
static inline vn_float_mode vn_float_mode_get(void) {
  return 0;
}
static inline void vn_float_mode_restore(vn_float_mode mode) {
  (void)mode;
}
#define VN_FLOAT_MODE_OURS  0
#define VN_FLOAT_MODE_PLAIN 0
#endif

/* Sets ours and returns what was there, for vn_float_mode_restore. */
static inline vn_float_mode vn_float_mode_enter(void) {
  vn_float_mode before = vn_float_mode_get();
  vn_float_mode_restore(VN_FLOAT_MODE_OURS);
  return before;
}

/* The same for what reads and writes files. */
static inline vn_float_mode vn_float_mode_enter_plain(void) {
  vn_float_mode before = vn_float_mode_get();
  vn_float_mode_restore(VN_FLOAT_MODE_PLAIN);
  return before;
}

#endif

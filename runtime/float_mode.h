/* How floats are computed while our code runs: rounding to nearest, denormals flushed to zero, no
 * traps, whatever the host's thread has set. Private. On a machine without such a register the
 * host's mode stays. */
#ifndef VNET_FLOAT_MODE_H
#define VNET_FLOAT_MODE_H

#include <stdint.h>

typedef uint64_t vn_float_mode;

#if defined(__x86_64__)
#include <xmmintrin.h>
static inline vn_float_mode vn_float_mode_get(void) {
  return _mm_getcsr();
}
static inline void vn_float_mode_restore(vn_float_mode mode) {
  _mm_setcsr((unsigned)mode);
}
#define VN_FLOAT_MODE_OURS 0x9FC0u /* exceptions masked, flush to zero, denormals are zero */
#elif defined(__aarch64__)
static inline vn_float_mode vn_float_mode_get(void) {
  uint64_t mode;
  __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
static inline void vn_float_mode_restore(vn_float_mode mode) {
  __asm__ volatile("msr fpcr, %0" : : "r"(mode));
}
#define VN_FLOAT_MODE_OURS ((uint64_t)1 << 24) /* flush to zero */
#else
static inline vn_float_mode vn_float_mode_get(void) {
  return 0;
}
static inline void vn_float_mode_restore(vn_float_mode mode) {
  (void)mode;
}
#define VN_FLOAT_MODE_OURS 0
#endif

/* Sets ours and returns what was there, for vn_float_mode_restore. */
static inline vn_float_mode vn_float_mode_enter(void) {
  vn_float_mode before = vn_float_mode_get();
  vn_float_mode_restore(VN_FLOAT_MODE_OURS);
  return before;
}

#endif

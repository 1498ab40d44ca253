#include "CInstructions.h"

// Functions of their own, not inlined: a compiler moves no arithmetic past a call that it cannot see
// into, if the arithmetic depends on memory.

#if defined(__x86_64__)
#include <xmmintrin.h>

unsigned int gyre_begin_flushing_denormals(void) {
  unsigned int before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);
  return before;
}

void gyre_end_flushing_denormals(unsigned int before) { _mm_setcsr(before); }

#elif defined(__aarch64__)

unsigned int gyre_begin_flushing_denormals(void) {
  unsigned long before;
  __asm__ volatile("mrs %0, fpcr" : "=r"(before));
  __asm__ volatile("msr fpcr, %0" : : "r"(before | 1ul << 24));
  return (unsigned int)before;
}

void gyre_end_flushing_denormals(unsigned int before) {
  __asm__ volatile("msr fpcr, %0" : : "r"((unsigned long)before));
}

#else
#error "no way is known to flush denormal numbers on this processor"
#endif

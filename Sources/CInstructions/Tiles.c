#define _GNU_SOURCE
#include "Tiles.h"
#include <errno.h>

extern _Thread_local gyre_tile gyre_tiles[8];
_Thread_local gyre_tile gyre_tiles[8];

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

// Bits 17 and 18 of XCR0: the configuration and the contents of tiles.
enum { tileState = 3 << 17, requestPermission = 0x1023, tileData = 18 };

int gyre_has_tiles(void) {
  unsigned int a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  const unsigned int features = 1u << 24 | 1u << 22;  // amx-tile, amx-bf16
  if ((d & features) != features) return 0;
  unsigned int low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & tileState) == tileState;
}

int gyre_request_tiles(void) {
  return syscall(SYS_arch_prctl, requestPermission, tileData) == 0 ? 0 : errno;
}
#else
int gyre_has_tiles(void) { return 0; }
int gyre_request_tiles(void) { return ENOSYS; }
#endif

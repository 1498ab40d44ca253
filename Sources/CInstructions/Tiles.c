#define _GNU_SOURCE
#include "Tiles.h"
#include <errno.h>

extern _Thread_local gyre_tile gyre_tiles[8];
_Thread_local gyre_tile gyre_tiles[8];

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

enum { requestPermission = 0x1023, tileData = 18 };

int gyre_request_tiles(void) {
  return syscall(SYS_arch_prctl, requestPermission, tileData) == 0 ? 0 : errno;
}
#else
int gyre_request_tiles(void) { return ENOSYS; }
#endif

import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Put before libc: the wall clock of a process, moved by what a file says. Clocks that nobody sets stay. */
const source = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
static volatile int64_t *shift;
static int64_t moved(void) {
  if (!shift) {
    const char *path = getenv("CLOCK_SHIFT");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = fd < 0 ? MAP_FAILED : mmap(0, 8, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) return 0;
    shift = map;
  }
  return *shift;
}
int clock_gettime(clockid_t id, struct timespec *out) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int answer = real(id, out);
  if (answer == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) out->tv_sec += moved();
  return answer;
}
int gettimeofday(struct timeval *restrict out, void *restrict zone) {
  (void)zone;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}
`

/** A wall clock that a test sets. */
export type SettableClock = Disposable &
  Readonly<{
    /** Put before the command whose clock it is. */
    wrap: readonly string[]
    /** Sets it so many seconds ahead of the machine's, at once. */
    ahead: (seconds: number) => void
  }>

/** Undefined where no compiler is at hand. */
export function settableClock(): SettableClock | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'lateen-clock-'))
  const library = join(folder, 'clock.so')
  const file = join(folder, 'shift')
  writeFileSync(file, Buffer.alloc(8))
  try {
    const options = ['-shared', '-fPIC', '-O1', '-o', library, '-x', 'c', '-']
    execFileSync('gcc', options, { input: source, stdio: ['pipe', 'ignore', 'pipe'] })
  } catch {
    rmSync(folder, { recursive: true, force: true })
    return undefined
  }
  return {
    wrap: ['env', `LD_PRELOAD=${library}`, `CLOCK_SHIFT=${file}`],
    ahead: (seconds) => {
      const bytes = Buffer.alloc(8)
      bytes.writeBigInt64LE(BigInt(seconds))
      const fd = openSync(file, 'r+')
      writeSync(fd, bytes, 0, 8, 0)
      closeSync(fd)
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}

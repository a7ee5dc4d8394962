/* Shifts the wall clock of one process, for tests of what happens when the clock steps back or a grace time passes:
 * LD_PRELOAD this with TEST_CLOCK_OFFSET_S set to a number of seconds. Monotonic clocks stay true. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int status = (int)syscall(SYS_clock_gettime, clock, now);
    const char *offset = getenv("TEST_CLOCK_OFFSET_S");
    if (status == 0 && clock == CLOCK_REALTIME && offset) now->tv_sec += atol(offset);
    return status;
}

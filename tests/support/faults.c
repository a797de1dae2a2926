/* Faults of a file system and of a clock, for a process that has this as LD_PRELOAD.

   Calls on a directory and on what lies in it are counted. The one of the given number fails with
   an error, or the process is killed before it; a write is done by half before either. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { EVERY = -1, KILL = -1, DESCRIPTORS = 1024 };

static char directory[4096];
static int at, calls, fault;
static char watched[DESCRIPTORS];
static long ahead, tick;

/* Begin to count. The call number `number` fails with `error`, EVERY one or none (0); or KILL. */
void fault_begin(const char *path, int number, int error)
{
    snprintf(directory, sizeof directory, "%s", path);
    at = number;
    fault = error;
    calls = 0;
}

int fault_calls(void) { return calls; }

/* Set the process's own clock ahead, or back; and round file times down to a tick of seconds. */
void fault_clock(long seconds, long coarse)
{
    ahead = seconds;
    tick = coarse;
}

static int due(int concerned)
{
    if (!concerned)
        return 0;
    calls++;
    return calls == at || at == EVERY;
}

static int fail(void)
{
    if (fault == KILL)
        kill(getpid(), SIGKILL);
    errno = fault;
    return -1;
}

static int inside(const char *path)
{
    size_t length = strlen(directory);
    return length && !strncmp(path, directory, length) && (path[length] == '/' || !path[length]);
}

static int known(int descriptor)
{
    return descriptor >= 0 && descriptor < DESCRIPTORS && watched[descriptor];
}

static int below(int parent, const char *path)
{
    return *path == '/' ? inside(path) : known(parent);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRAP(result, name, parameters, arguments, concerned)                                     \
    result name parameters { return due(concerned) ? fail() : REAL(name) arguments; }

WRAP(int, rename, (const char *from, const char *to), (from, to), inside(from) || inside(to))
WRAP(int, unlink, (const char *path), (path), inside(path))
WRAP(ssize_t, readlink, (const char *path, char *to, size_t size), (path, to, size), inside(path))
WRAP(int, renameat, (int here, const char *from, int there, const char *to),
     (here, from, there, to), below(here, from) || below(there, to))
WRAP(int, unlinkat, (int parent, const char *path, int flags), (parent, path, flags),
     below(parent, path))
WRAP(ssize_t, readlinkat, (int parent, const char *path, char *to, size_t size),
     (parent, path, to, size), below(parent, path))
WRAP(int, fsync, (int descriptor), (descriptor), known(descriptor))
WRAP(int, fchmod, (int descriptor, mode_t mode), (descriptor, mode), known(descriptor))
WRAP(int, fchown, (int descriptor, uid_t u, gid_t g), (descriptor, u, g), known(descriptor))
WRAP(int, flock, (int descriptor, int how), (descriptor, how), known(descriptor))
WRAP(ssize_t, read, (int descriptor, void *to, size_t size), (descriptor, to, size),
     known(descriptor))

ssize_t write(int descriptor, const void *data, size_t size)
{
    if (!due(known(descriptor)))
        return REAL(write)(descriptor, data, size);
    if (REAL(write)(descriptor, data, size / 2) < 0)
        return -1;
    return fail();
}

int close(int descriptor)
{
    int failing = due(known(descriptor));
    if (failing && fault == KILL)
        return fail();
    if (descriptor >= 0 && descriptor < DESCRIPTORS)
        watched[descriptor] = 0;
    int result = REAL(close)(descriptor); /* closed all the same, as on NFS */
    return failing ? fail() : result;
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (due(inside(path)))
        return fail();
    int descriptor = REAL(open64)(path, flags, mode);
    if (descriptor >= 0 && descriptor < DESCRIPTORS)
        watched[descriptor] = (char)inside(path);
    return descriptor;
}

int openat64(int parent, const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (due(below(parent, path)))
        return fail();
    int descriptor = REAL(openat64)(parent, path, flags, mode);
    if (descriptor >= 0 && descriptor < DESCRIPTORS)
        watched[descriptor] = (char)below(parent, path);
    return descriptor;
}

static int rounded(int result, struct stat64 *status)
{
    if (!result && tick) {
        status->st_mtim = (struct timespec){status->st_mtim.tv_sec / tick * tick, 0};
        status->st_ctim = (struct timespec){status->st_ctim.tv_sec / tick * tick, 0};
    }
    return result;
}

#define WRAP_STATUS(name, type, argument, concerned)                                             \
    int name(type argument, struct stat64 *status)                                               \
    {                                                                                            \
        return due(concerned) ? fail() : rounded(REAL(name)(argument, status), status);          \
    }

WRAP_STATUS(stat64, const char *, path, inside(path))
WRAP_STATUS(lstat64, const char *, path, inside(path))
WRAP_STATUS(fstat64, int, descriptor, known(descriptor))

int fstatat64(int parent, const char *path, struct stat64 *status, int flags)
{
    if (due(below(parent, path)))
        return fail();
    return rounded(REAL(fstatat64)(parent, path, status, flags), status);
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int result = REAL(clock_gettime)(clock, time);
    if (!result && clock == CLOCK_REALTIME)
        time->tv_sec += ahead;
    return result;
}

/* Lets system calls of one kind fail below a folder: preloaded, and told by `arm` which of them, how and with which error. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { NOTHING, ONCE, FROM_THERE, SHORT };
enum { WRITE, FSYNC, RENAME, UNLINK, FLOCK, CREATE, TRUNCATE, MKDIR };
static int how, code, kind;
static long first, seen;
static char root[PATH_MAX];

void arm(int how_, long first_, int code_, const char *root_, int kind_) {
    how = how_, first = first_, code = code_, seen = 0, kind = kind_;
    strncpy(root, root_, sizeof root - 1);
}

long calls_seen(void) { return seen; }

/* Returns -1 to fail, else how many bytes may be written. */
static ssize_t allowed_at(int kind_, const char *path, size_t count) {
    if (how == NOTHING || kind != kind_ || count == 0 || strncmp(path, root, strlen(root))) return count;
    long number = seen++;
    if (how == SHORT) return number % 3 == 0 && count > 1 ? (ssize_t)(count / 2) : (ssize_t)count;
    return (how == ONCE ? number == first : number >= first) ? -1 : (ssize_t)count;
}

static ssize_t allowed(int kind_, int fd, size_t count) {
    char link[64], path[PATH_MAX];
    if (how == NOTHING || kind != kind_) return count;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return count;
    path[length] = 0;
    return allowed_at(kind_, path, count);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define GUARDED(asked, call) \
    ssize_t may = asked; \
    if (may < 0) { errno = code; return -1; } \
    return call

ssize_t write(int fd, const void *data, size_t count) { GUARDED(allowed(WRITE, fd, count), REAL(write)(fd, data, may)); }
ssize_t pwrite(int fd, const void *data, size_t count, off_t at) {
    GUARDED(allowed(WRITE, fd, count), REAL(pwrite)(fd, data, may, at));
}
ssize_t pwrite64(int fd, const void *data, size_t count, off64_t at) {
    GUARDED(allowed(WRITE, fd, count), REAL(pwrite64)(fd, data, may, at));
}
int fsync(int fd) { GUARDED(allowed(FSYNC, fd, 1), REAL(fsync)(fd)); }
int fdatasync(int fd) { GUARDED(allowed(FSYNC, fd, 1), REAL(fdatasync)(fd)); }
int flock(int fd, int what) { GUARDED(allowed(FLOCK, fd, 1), REAL(flock)(fd, what)); }
int ftruncate(int fd, off_t size) { GUARDED(allowed(TRUNCATE, fd, 1), REAL(ftruncate)(fd, size)); }
int ftruncate64(int fd, off64_t size) { GUARDED(allowed(TRUNCATE, fd, 1), REAL(ftruncate64)(fd, size)); }
int rename(const char *from, const char *to) { GUARDED(allowed_at(RENAME, to, 1), REAL(rename)(from, to)); }
int unlink(const char *path) { GUARDED(allowed_at(UNLINK, path, 1), REAL(unlink)(path)); }
int mkdir(const char *path, mode_t mode) { GUARDED(allowed_at(MKDIR, path, 1), REAL(mkdir)(path, mode)); }

#define OPENING(name) \
    int name(const char *path, int flags, ...) { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        GUARDED(allowed_at(CREATE, path, (flags & O_CREAT) != 0), REAL(name)(path, flags, mode)); \
    }
OPENING(open)
OPENING(open64)

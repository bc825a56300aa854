/* Lets writes below a folder fail: preloaded, and told by `arm` which of them, how and with which error. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { NOTHING, ONCE, FROM_THERE, SHORT };
static int how, code;
static long first, seen;
static char root[PATH_MAX];

void arm(int how_, long first_, int code_, const char *root_) {
    how = how_, first = first_, code = code_, seen = 0;
    strncpy(root, root_, sizeof root - 1);
}

long writes_seen(void) { return seen; }

/* Returns -1 to fail, else how many bytes may be written. */
static ssize_t allowed(int fd, size_t count) {
    char link[64], path[PATH_MAX];
    if (how == NOTHING || count == 0) return count;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return count;
    path[length] = 0;
    if (strncmp(path, root, strlen(root))) return count;
    long number = seen++;
    if (how == SHORT) return number % 3 == 0 && count > 1 ? (ssize_t)(count / 2) : (ssize_t)count;
    return (how == ONCE ? number == first : number >= first) ? -1 : (ssize_t)count;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define GUARDED(call) \
    ssize_t may = allowed(fd, count); \
    if (may < 0) { errno = code; return -1; } \
    return call

ssize_t write(int fd, const void *data, size_t count) { GUARDED(REAL(write)(fd, data, may)); }
ssize_t pwrite(int fd, const void *data, size_t count, off_t at) { GUARDED(REAL(pwrite)(fd, data, may, at)); }
ssize_t pwrite64(int fd, const void *data, size_t count, off64_t at) { GUARDED(REAL(pwrite64)(fd, data, may, at)); }

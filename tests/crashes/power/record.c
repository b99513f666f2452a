/* Records what a process does to files, for `tests.crashes.power`: loaded ahead of the C library.
 *
 *     POWER_RECORD=file  POWER_ROOT=directory  LD_PRELOAD=record.so  program
 *
 * Each call that changes a file or a name below the directory becomes an entry at the end of the
 * record when it has succeeded. `disk.py` says what an entry consists of. What is written through
 * a mapping is not seen: of the files here that is the index of SQLite's log alone, which SQLite
 * makes anew. Nothing but a daemon is recorded, and nothing that it starts.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    ROOT, CREATE, WRITE, TRUNCATE, MKDIR, UNLINK, RMDIR, RENAME, LINK, SYMLINK, SYNC, SYNC_ALL,
};

struct entry {
    uint32_t size; /* of all that follows the head */
    uint16_t path_size, other_size;
    uint32_t operation, mode;
    uint64_t inode, offset;
};

static int record = -1;
static char root[PATH_MAX];
static size_t root_size;
static dev_t device;

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

static void note(struct entry head, const char *path, const char *other, const void *data,
                 size_t size) {
    head.path_size = path ? strlen(path) : 0;
    head.other_size = other ? strlen(other) : 0;
    head.size = head.path_size + head.other_size + size;
    struct iovec parts[] = {
        {&head, sizeof head}, {(void *) path, head.path_size},
        {(void *) other, head.other_size}, {(void *) data, size},
    };
    size_t all = sizeof head + head.size;
    if (syscall(SYS_writev, record, parts, 4) != (ssize_t) all) {
        static const char text[] = "the record cannot be written\n";
        syscall(SYS_write, 2, text, sizeof text - 1);
        abort();
    }
}

/* Whether this is what is to be recorded, and no client that is about to start it. */
static int is_daemon(void) {
    char words[4096] = "";
    int fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t size = syscall(SYS_read, fd, words, sizeof words - 1);
    syscall(SYS_close, fd);
    return size > 0 && memmem(words, size, "volantd", 8) && memmem(words, size, "--ready-fd", 11);
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("POWER_RECORD"), *directory = getenv("POWER_ROOT");
    struct stat found;
    if (!is_daemon() || !path || !directory || stat(directory, &found) ||
        !realpath(directory, root))
        return;
    unsetenv("LD_PRELOAD");
    root_size = strlen(root);
    device = found.st_dev;
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC);
    record = fcntl(fd, F_DUPFD_CLOEXEC, 900);
    syscall(SYS_close, fd);
    note((struct entry){.operation = ROOT, .inode = found.st_ino}, 0, 0, 0, 0);
}

static uint64_t record_size(void) {
    struct stat found;
    return record >= 0 && !fstat(record, &found) ? (uint64_t) found.st_size : 0;
}

/* The path of something as it is below the root, or 0 for what lies elsewhere. */
static const char *placed(int directory, const char *path, char *place) {
    char link[64];
    size_t at = 0;
    if (record < 0)
        return 0;
    if (path[0] != '/') {
        if (directory == AT_FDCWD)
            strcpy(link, "/proc/self/cwd");
        else
            snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        ssize_t size = readlink(link, place, PATH_MAX - 1);
        if (size < 0)
            return 0;
        at = size;
        place[at++] = '/';
    } else if (!strncmp(path, "/proc/self/fd/", 14) && strchr(path + 14, '/')) {
        return placed(atoi(path + 14), strchr(path + 14, '/') + 1, place);
    }
    if (at + strlen(path) >= PATH_MAX)
        return 0;
    strcpy(place + at, path);
    if (strncmp(place, root, root_size) || place[root_size] != '/')
        return 0;
    return place + root_size + 1;
}

static uint64_t inode_of(int fd, int *is_ours) {
    struct stat found;
    int before = errno;
    *is_ours = record >= 0 && !fstat(fd, &found) && found.st_dev == device &&
               (S_ISREG(found.st_mode) || S_ISDIR(found.st_mode));
    errno = before;
    return *is_ours ? found.st_ino : 0;
}

static ssize_t moved(int fd, ssize_t size, off_t offset);

/* -- names */

static int opened(int directory, const char *path, int flags, mode_t mode) {
    static __typeof__(&openat) real;
    if (!real)
        real = REAL(openat);
    char buffer[PATH_MAX];
    const char *place = 0;
    struct stat found;
    int was_there = 1, before = errno;
    if (flags & (O_CREAT | O_TRUNC) || (flags & O_TMPFILE) == O_TMPFILE)
        place = placed(directory, path, buffer);
    if (place)
        was_there = !fstatat(directory, path, &found, 0);
    errno = before;
    int fd = real(directory, path, flags, mode);
    if (fd < 0 || !place || fstat(fd, &found))
        return fd;
    if ((flags & O_TMPFILE) == O_TMPFILE)
        note((struct entry){.operation = CREATE, .inode = found.st_ino}, 0, 0, 0, 0);
    else if (!was_there && flags & O_CREAT)
        note((struct entry){.operation = CREATE, .inode = found.st_ino, .mode = found.st_mode},
             place, 0, 0, 0);
    else if (flags & O_TRUNC)
        note((struct entry){.operation = TRUNCATE, .inode = found.st_ino}, 0, 0, 0, 0);
    return fd;
}

#define OPENING                                                                                   \
    mode_t mode = 0;                                                                              \
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {                                    \
        va_list rest;                                                                             \
        va_start(rest, flags);                                                                    \
        mode = va_arg(rest, mode_t);                                                              \
        va_end(rest);                                                                             \
    }

int open(const char *path, int flags, ...) { OPENING return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { OPENING return opened(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { OPENING return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) {
    OPENING return opened(at, path, flags, mode);
}

static int changed(int status, uint32_t operation, const char *place) {
    if (!status && place)
        note((struct entry){.operation = operation}, place, 0, 0, 0);
    return status;
}

int mkdirat(int at, const char *path, mode_t mode) {
    char buffer[PATH_MAX];
    int status = REAL(mkdirat)(at, path, mode);
    const char *place = status ? 0 : placed(at, path, buffer);
    struct stat found;
    if (place && !fstatat(at, path, &found, 0))
        note((struct entry){.operation = MKDIR, .inode = found.st_ino, .mode = found.st_mode},
             place, 0, 0, 0);
    return status;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int unlinkat(int at, const char *path, int flags) {
    char buffer[PATH_MAX];
    const char *place = placed(at, path, buffer);
    return changed(REAL(unlinkat)(at, path, flags), flags & AT_REMOVEDIR ? RMDIR : UNLINK, place);
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    char from_buffer[PATH_MAX], to_buffer[PATH_MAX];
    const char *source = placed(from_at, from, from_buffer);
    const char *target = placed(to_at, to, to_buffer);
    int status = REAL(renameat2)(from_at, from, to_at, to, flags);
    if (!status && (source || target))
        note((struct entry){.operation = RENAME}, source, target, 0, 0);
    return status;
}
int renameat(int from_at, const char *from, int to_at, const char *to) {
    return renameat2(from_at, from, to_at, to, 0);
}
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    char buffer[PATH_MAX];
    int status = REAL(linkat)(from_at, from, to_at, to, flags);
    const char *place = status ? 0 : placed(to_at, to, buffer);
    struct stat found;
    if (place && !fstatat(to_at, to, &found, AT_SYMLINK_NOFOLLOW)) {
        note((struct entry){.operation = LINK, .inode = found.st_ino, .mode = found.st_mode},
             place, 0, 0, 0);
        int fd = openat(to_at, to, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        moved(fd, found.st_size, 0); /* it may be another process that has written it */
        if (fd >= 0)
            close(fd);
    }
    return status;
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int symlinkat(const char *target, int at, const char *path) {
    char buffer[PATH_MAX];
    int status = REAL(symlinkat)(target, at, path);
    const char *place = status ? 0 : placed(at, path, buffer);
    if (place)
        note((struct entry){.operation = SYMLINK}, place, target, 0, 0);
    return status;
}
int symlink(const char *target, const char *path) { return symlinkat(target, AT_FDCWD, path); }

/* -- contents */

static ssize_t wrote(int fd, const void *data, ssize_t size, off_t offset) {
    int is_ours;
    uint64_t inode = size > 0 ? inode_of(fd, &is_ours) : (is_ours = 0);
    if (is_ours) {
        if (offset < 0)
            offset = lseek(fd, 0, SEEK_CUR) - size;
        note((struct entry){.operation = WRITE, .inode = inode, .offset = offset}, 0, 0, data,
             size);
    }
    return size;
}

ssize_t write(int fd, const void *data, size_t size) {
    static __typeof__(&write) real;
    if (!real)
        real = REAL(write);
    return wrote(fd, data, real(fd, data, size), -1);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return wrote(fd, data, REAL(pwrite)(fd, data, size, offset), offset);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) {
    return pwrite(fd, data, size, offset);
}

/* What the kernel has written, read back. */
static ssize_t moved(int fd, ssize_t size, off_t offset) {
    int is_ours, before = errno;
    inode_of(fd, &is_ours);
    if (size > 0 && is_ours) {
        char path[64], *data = malloc(size);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int reading = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
        if (offset < 0)
            offset = lseek(fd, 0, SEEK_CUR) - size;
        if (reading < 0 || pread(reading, data, size, offset) != size)
            abort();
        syscall(SYS_close, reading);
        wrote(fd, data, size, offset);
        free(data);
    }
    errno = before;
    return size;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    ssize_t size = REAL(writev)(fd, parts, count);
    return moved(fd, size, -1);
}
ssize_t sendfile(int to, int from, off_t *offset, size_t size) {
    return moved(to, syscall(SYS_sendfile, to, from, offset, size), -1);
}
ssize_t sendfile64(int to, int from, off_t *offset, size_t size) {
    return sendfile(to, from, offset, size);
}
ssize_t copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t size, unsigned flags) {
    off_t offset = to_at ? *to_at : -1;
    return moved(to, REAL(copy_file_range)(from, from_at, to, to_at, size, flags), offset);
}

int ftruncate(int fd, off_t size) {
    int is_ours, status = REAL(ftruncate)(fd, size);
    uint64_t inode = inode_of(fd, &is_ours);
    if (!status && is_ours)
        note((struct entry){.operation = TRUNCATE, .inode = inode, .offset = size}, 0, 0, 0, 0);
    return status;
}
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

/* -- syncs: `offset` is how long the record was when it began */

static int synced(int fd, int (*real)(int), uint32_t operation) {
    int is_ours;
    uint64_t began = record_size(), inode = inode_of(fd, &is_ours);
    int status = real(fd);
    if (!status && is_ours)
        note((struct entry){.operation = operation, .inode = inode, .offset = began}, 0, 0, 0, 0);
    return status;
}

int fsync(int fd) { return synced(fd, REAL(fsync), SYNC); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync), SYNC); }
int syncfs(int fd) { return synced(fd, REAL(syncfs), SYNC_ALL); }

/* eventfds, and what concerns any file descriptor. */
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "arguments.h"

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008 /* linux/fs.h, which not every C library comes with */
#endif

static napi_value create_eventfd(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  int64_t initial;
  arguments(env, info, 1, argv);
  if (!integer(env, argv[0], 0, UINT32_MAX, &initial)) return NULL;
  return outcome(env, eventfd((unsigned)initial, EFD_CLOEXEC | EFD_NONBLOCK));
}

/*
 * Whether a write returns at once. O_NONBLOCK belongs to whoever made the eventfd, since all its duplicates share it,
 * and most set it; asking for it is cheaper than poll. There is no way to write without waiting: eventfd has no
 * write_iter, so pwritev2(RWF_NOWAIT) is -EOPNOTSUPP (fs/eventfd.c). So a peer that fills the counter of a blocking
 * eventfd just between the two calls makes us wait until it reads; nobody but such a peer's own device is kept waiting.
 */
static bool never_waits(int fd) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || flags & O_NONBLOCK) return true;
  struct pollfd writable = {.fd = fd, .events = POLLOUT};
  return poll(&writable, 1, 0) > 0 && writable.revents & POLLOUT;
}

static int add(int fd, uint64_t value) {
  ssize_t result;
  if (!never_waits(fd)) return -EAGAIN;
  RETRY(result, write(fd, &value, sizeof value));
  return result < 0 ? -errno : 0;
}

static napi_value signal_eventfd(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  int fd;
  int64_t value;
  arguments(env, info, 2, argv);
  if (!int32(env, argv[0], &fd) || !integer(env, argv[1], 1, MAX_SAFE_INTEGER, &value)) return NULL;
  return number(env, add(fd, (uint64_t)value));
}

/* Never waits, also where a peer that shares the eventfd has made it blocking, or has read it before us. */
static ssize_t take(int fd, uint64_t *count) {
  struct iovec into = {.iov_base = count, .iov_len = sizeof *count};
  ssize_t result;
  /* Not every C library has preadv2; both halves of the position -1: where a stream is. */
  RETRY(result, syscall(SYS_preadv2, fd, &into, 1L, -1L, -1L, RWF_NOWAIT));
  /* Linux before 5.8 has no way to ask one read of an eventfd not to wait. */
  if (result < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) RETRY(result, read(fd, count, sizeof *count));
  return result;
}

static napi_value read_eventfd(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  uint64_t count = 0;
  int fd;
  arguments(env, info, 1, argv);
  if (!int32(env, argv[0], &fd)) return NULL;
  ssize_t result = take(fd, &count);
  if (result < 0) return outcome(env, result);
  if (result != sizeof count) return number(env, -EINVAL);
  return number(env, count > INT32_MAX ? INT32_MAX : (int64_t)count);
}

static napi_value close_fd(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  int fd;
  arguments(env, info, 1, argv);
  if (!int32(env, argv[0], &fd)) return NULL;
  /* Linux frees the fd even when close reports EINTR, so that must not be tried again (close(2)). */
  int result = close(fd);
  return number(env, result < 0 && errno != EINTR ? -errno : 0);
}

/* Never 0, 1 or 2: a library that prints would write to the peer. */
static napi_value dup_fd(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  int fd;
  arguments(env, info, 1, argv);
  if (!int32(env, argv[0], &fd)) return NULL;
  return outcome(env, fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

static napi_value lock_file(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  int fd;
  arguments(env, info, 1, argv);
  if (!int32(env, argv[0], &fd)) return NULL;
  return outcome(env, flock(fd, LOCK_EX | LOCK_NB));
}

const struct function descriptor_functions[] = {
    {"eventfd", create_eventfd}, {"eventfdSignal", signal_eventfd}, {"eventfdRead", read_eventfd},
    {"close", close_fd},         {"dup", dup_fd},                   {"flock", lock_file},
};
const size_t descriptor_function_count = sizeof descriptor_functions / sizeof *descriptor_functions;

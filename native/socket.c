/* UNIX stream sockets. */
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "arguments.h"

enum { SOCKET_FLAGS = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC };

static napi_value close_and_fail(napi_env env, int fd) {
  int error = errno;
  close(fd);
  return number(env, -error);
}

/*
 * Reads a path into `address`. `*error` is a negated errno for what can't be a path: too long for sun_path, empty
 * (bind would choose an abstract name) or with a NUL inside.
 */
static bool socket_address(napi_env env, napi_value value, struct sockaddr_un *address, int *error) {
  char path[sizeof address->sun_path + 1];
  size_t length, whole;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &whole) != napi_ok) return throw_type(env, "expected a path");
  napi_get_value_string_utf8(env, value, path, sizeof path, &length);
  *error = 0;
  if (whole >= sizeof address->sun_path) {
    *error = -ENAMETOOLONG;
  } else if (length == 0 || memchr(path, 0, length)) {
    *error = -EINVAL;
  } else {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, path, length);
  }
  return true;
}

static napi_value listen_socket(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  struct sockaddr_un address;
  int mode, backlog, error;
  arguments(env, info, 3, argv);
  if (!socket_address(env, argv[0], &address, &error) || !int32(env, argv[1], &mode) ||
      !int32(env, argv[2], &backlog))
    return NULL;
  if (error) return number(env, error);
  int fd = socket(AF_UNIX, SOCKET_FLAGS, 0);
  if (fd < 0) return outcome(env, fd);
  /* bind gives the file the socket's own mode (less the umask), so nobody can connect before it is narrowed. */
  if (fchmod(fd, (mode_t)mode & 0777) || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, backlog))
    return close_and_fail(env, fd);
  return number(env, fd);
}

/* An abstract name, which is written with @, is all of the address (unix(7)), so its length counts. */
static socklen_t allow_abstract(struct sockaddr_un *address) {
  if (address->sun_path[0] != '@') return sizeof *address;
  size_t length = offsetof(struct sockaddr_un, sun_path) + strlen(address->sun_path);
  address->sun_path[0] = 0;
  return (socklen_t)length;
}

static napi_value connected(napi_env env, napi_callback_info info, int type) {
  napi_value argv[1];
  struct sockaddr_un address;
  int error, result;
  arguments(env, info, 1, argv);
  if (!socket_address(env, argv[0], &address, &error)) return NULL;
  if (error) return number(env, error);
  socklen_t length = type == SOCK_DGRAM ? allow_abstract(&address) : sizeof address;
  int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return outcome(env, fd);
  RETRY(result, connect(fd, (struct sockaddr *)&address, length));
  return result ? close_and_fail(env, fd) : number(env, fd);
}

static napi_value connect_socket(napi_env env, napi_callback_info info) { return connected(env, info, SOCK_STREAM); }
static napi_value connect_datagram(napi_env env, napi_callback_info info) { return connected(env, info, SOCK_DGRAM); }

static napi_value accept_socket(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  int listener, fd;
  arguments(env, info, 1, argv);
  if (!int32(env, argv[0], &listener)) return NULL;
  RETRY(fd, accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
  return outcome(env, fd);
}

static napi_value socket_pair(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  int32_t *out;
  size_t count;
  int fds[2];
  arguments(env, info, 1, argv);
  if (!int32_array(env, argv[0], &out, &count)) return NULL;
  if (count < 2) {
    throw_range(env, "the array needs two elements");
    return NULL;
  }
  if (socketpair(AF_UNIX, SOCKET_FLAGS, 0, fds)) return outcome(env, -1);
  out[0] = fds[0];
  out[1] = fds[1];
  return number(env, 0);
}

/* What SO_SNDBUF holds is twice what was asked for: the kernel counts its own overhead (socket(7)). */
static int granted_send_buffer(int fd) {
  int granted;
  socklen_t length = sizeof granted;
  if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &granted, &length)) return -1;
  return granted / 2;
}

static napi_value set_send_buffer(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  int fd, wanted;
  arguments(env, info, 2, argv);
  if (!int32(env, argv[0], &fd) || !int32(env, argv[1], &wanted)) return NULL;
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted)) return outcome(env, -1);
  int granted = granted_send_buffer(fd);
  /* SO_SNDBUF is silently cut to net.core.wmem_max; the privileged may go beyond. */
  if (granted >= 0 && granted < wanted && !setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof wanted))
    granted = granted_send_buffer(fd);
  return outcome(env, granted);
}

static napi_value shutdown_socket(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  int fd;
  arguments(env, info, 1, argv);
  if (!int32(env, argv[0], &fd)) return NULL;
  return outcome(env, shutdown(fd, SHUT_RDWR));
}

static napi_value shutdown_half(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  int fd, how;
  arguments(env, info, 2, argv);
  if (!int32(env, argv[0], &fd) || !int32(env, argv[1], &how)) return NULL;
  return outcome(env, shutdown(fd, how));
}

/* Blocking and SO_RCVTIMEO, so that receive can wait inside recvmsg itself; or O_NONBLOCK, for any fd. */
static int set_blocking_for(int fd, int milliseconds) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -1;
  if (milliseconds == 0) return fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  struct timeval limit = {.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit)) return -1;
  return fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

static napi_value set_blocking(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  int fd;
  int64_t milliseconds;
  arguments(env, info, 2, argv);
  if (!int32(env, argv[0], &fd) || !integer(env, argv[1], 0, INT32_MAX, &milliseconds)) return NULL;
  return outcome(env, set_blocking_for(fd, (int)milliseconds));
}

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* poll(2) that keeps its deadline when signals interrupt it. */
static int poll_until(struct pollfd *set, nfds_t count, int timeout) {
  int64_t deadline = timeout > 0 ? now_ms() + timeout : 0;
  for (;;) {
    int ready = poll(set, count, timeout);
    if (ready >= 0 || errno != EINTR) return ready;
    if (timeout > 0) {
      int64_t left = deadline - now_ms();
      timeout = left > 0 ? (int)left : 0;
    }
  }
}

int wait_readable(int fd, int timeout) {
  struct pollfd readable = {.fd = fd, .events = POLLIN};
  return poll_until(&readable, 1, timeout);
}

static long wait_and_receive(int fd, uint8_t *into, size_t length, int32_t *fds, size_t capacity, int wait) {
  int ready = wait_readable(fd, wait);
  if (ready < 0) return -errno;
  if (ready == 0) return -EAGAIN;
  return message_receive(fd, into, length, fds, capacity, MSG_DONTWAIT);
}

static napi_value receive(napi_env env, napi_callback_info info) {
  napi_value argv[6];
  uint8_t *into;
  int32_t *fds;
  size_t length, capacity;
  int fd, wait;
  arguments(env, info, 6, argv);
  if (!int32(env, argv[0], &fd) || !bytes(env, argv[1], argv[2], argv[3], &into, &length) ||
      !fd_array(env, argv[4], &fds, &capacity) || !int32(env, argv[5], &wait))
    return NULL;
  if (length == 0) {
    throw_range(env, "a receive needs room for at least one byte");
    return NULL;
  }
  long result = message_receive(fd, into, length, fds, capacity, wait < 0 ? 0 : MSG_DONTWAIT);
  if (result == -EAGAIN && wait > 0) result = wait_and_receive(fd, into, length, fds, capacity, wait);
  return number(env, result);
}

/* Reads an array of fds, or null; `*error` is -EINVAL when there are more than a message can carry. */
static bool fd_list(napi_env env, napi_value value, int *fds, size_t *count, int *error) {
  napi_valuetype type;
  uint32_t length;
  *count = 0;
  *error = 0;
  if (napi_typeof(env, value, &type) == napi_ok && type == napi_null) return true;
  if (napi_get_array_length(env, value, &length) != napi_ok) return throw_type(env, "expected an array of fds or null");
  if (length > MAX_FDS) {
    *error = -EINVAL;
    return true;
  }
  for (uint32_t i = 0; i < length; i++) {
    napi_value element;
    if (napi_get_element(env, value, i, &element) != napi_ok || !int32(env, element, &fds[i])) return false;
  }
  *count = length;
  return true;
}

static napi_value send_message(napi_env env, napi_callback_info info) {
  napi_value argv[8];
  struct outgoing message = {0};
  int fd, error, fds[MAX_FDS];
  arguments(env, info, 8, argv);
  if (!int32(env, argv[0], &fd) ||
      !bytes(env, argv[1], argv[2], argv[3], (uint8_t **)&message.head, &message.head_length) ||
      !size(env, argv[6], &message.body_length))
    return NULL;
  if (message.body_length > 0 &&
      !bytes(env, argv[4], argv[5], argv[6], (uint8_t **)&message.body, &message.body_length))
    return NULL;
  if (!fd_list(env, argv[7], fds, &message.fd_count, &error)) return NULL;
  if (error) return number(env, error);
  message.fds = fds;
  return number(env, message_send(fd, &message));
}

enum { MAX_POLLED = 256, TRIPLE = 3 };

static napi_value poll_fds(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  struct pollfd polled[MAX_POLLED];
  int32_t *set;
  size_t elements, count;
  int timeout;
  arguments(env, info, 3, argv);
  if (!int32_array(env, argv[0], &set, &elements) || !size(env, argv[1], &count) || !int32(env, argv[2], &timeout))
    return NULL;
  if (count > MAX_POLLED || count > elements / TRIPLE) {
    throw_range(env, "the set has fewer triples than that, or there are more than 256");
    return NULL;
  }
  for (size_t i = 0; i < count; i++)
    polled[i] = (struct pollfd){.fd = set[i * TRIPLE], .events = (short)set[i * TRIPLE + 1]};
  int ready = poll_until(polled, count, timeout);
  if (ready < 0) return outcome(env, ready);
  for (size_t i = 0; i < count; i++) set[i * TRIPLE + 2] = polled[i].revents;
  return number(env, ready);
}

static napi_value peer_credentials(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  struct ucred peer;
  socklen_t length = sizeof peer;
  int32_t *out;
  size_t count;
  int fd;
  arguments(env, info, 2, argv);
  if (!int32(env, argv[0], &fd) || !int32_array(env, argv[1], &out, &count)) return NULL;
  if (count < 3) {
    throw_range(env, "the array needs three elements");
    return NULL;
  }
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length)) return outcome(env, -1);
  out[0] = peer.pid;
  out[1] = (int32_t)peer.uid;
  out[2] = (int32_t)peer.gid;
  return number(env, 0);
}

const struct function socket_functions[] = {
    {"listen", listen_socket},
    {"connect", connect_socket},
    {"connectDatagram", connect_datagram},
    {"accept", accept_socket},
    {"socketpair", socket_pair},
    {"setSendBuffer", set_send_buffer},
    {"setBlocking", set_blocking},
    {"shutdown", shutdown_socket},
    {"shutdownHalf", shutdown_half},
    {"receive", receive},
    {"send", send_message},
    {"poll", poll_fds},
    {"peerCredentials", peer_credentials},
};
const size_t socket_function_count = sizeof socket_functions / sizeof *socket_functions;

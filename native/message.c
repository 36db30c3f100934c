/*
 * recvmsg and sendmsg on UNIX stream sockets, with SCM_RIGHTS both ways.
 *
 * The two calls of every message are made through syscall(2): as cancellation points the C library's own wrappers
 * cost some tens of nanoseconds more in a process with threads.
 */
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ferry.h"

union control {
  struct cmsghdr align;
  char bytes[CMSG_SPACE(sizeof(int) * MAX_FDS)];
};

static void close_fds(int32_t *fds) {
  for (int32_t i = 1; i <= fds[0]; i++) close(fds[i]);
  fds[0] = 0;
}

/* Moves the fds of one control message to `fds`; closes those that do not fit and returns false. */
static bool take_rights(struct cmsghdr *header, int32_t *fds, size_t capacity) {
  size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  bool fit = true;
  for (size_t i = 0; i < count; i++) {
    int fd;
    memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
    if ((size_t)fds[0] < capacity) {
      fds[++fds[0]] = fd;
    } else {
      close(fd);
      fit = false;
    }
  }
  return fit;
}

/*
 * MSG_CTRUNC: the kernel could not install all fds (RLIMIT_NOFILE) or they did not fit the buffer; those that it did
 * install are ours to close (net/core/scm.c, scm_detach_fds). Bytes without all of their fds are of no use.
 */
static bool take_control(struct msghdr *message, int32_t *fds, size_t capacity) {
  bool fit = !(message->msg_flags & MSG_CTRUNC);
  for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
      fit = take_rights(header, fds, capacity) && fit;
  }
  if (!fit) close_fds(fds);
  return fit;
}

long message_receive(int fd, void *data, size_t length, int32_t *fds, size_t capacity, int flags) {
  union control control;
  struct iovec vector = {.iov_base = data, .iov_len = length};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  ssize_t result;
  fds[0] = 0;
  do {
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    result = syscall(SYS_recvmsg, fd, &message, flags | MSG_CMSG_CLOEXEC);
  } while (result == -1 && errno == EINTR);
  if (result < 0) return -errno;
  if (message.msg_controllen == 0 && !(message.msg_flags & MSG_CTRUNC)) return result;
  return take_control(&message, fds, capacity) ? result : -EMSGSIZE;
}

static void attach_fds(struct msghdr *message, union control *control, const int *fds, size_t count) {
  message->msg_control = control;
  message->msg_controllen = CMSG_SPACE(sizeof(int) * count);
  struct cmsghdr *header = CMSG_FIRSTHDR(message);
  *header = (struct cmsghdr){
      .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int) * count)};
  memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
}

static ssize_t send_pieces(int fd, const struct outgoing *outgoing) {
  union control control;
  struct iovec vector[2] = {
      {.iov_base = (void *)outgoing->head, .iov_len = outgoing->head_length},
      {.iov_base = (void *)outgoing->body, .iov_len = outgoing->body_length},
  };
  struct msghdr message = {.msg_iov = vector, .msg_iovlen = outgoing->body_length > 0 ? 2 : 1};
  if (outgoing->fd_count > 0) attach_fds(&message, &control, outgoing->fds, outgoing->fd_count);
  return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

long message_send(int fd, const struct outgoing *outgoing) {
  ssize_t result;
  /* One piece without fds needs no sendmsg(2), which costs a tenth more. */
  if (outgoing->body_length == 0 && outgoing->fd_count == 0)
    RETRY(result, syscall(SYS_sendto, fd, outgoing->head, outgoing->head_length, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0));
  else
    RETRY(result, send_pieces(fd, outgoing));
  return result < 0 ? -errno : result;
}

/*
 * Ferry's native layer: one function per system call that Node lacks, no policy. The contract of each function is
 * the docstring in src/native/native.ts.
 *
 * socket.c   listen, connect, accept, receive, send ...
 * message.c  recvmsg and sendmsg with SCM_RIGHTS
 * channel.c  a socket with its buffers: receive, send, spin; pump.c and exchange.c are built on it
 * exchange.c the dedicated mode: a thread that blocks for a channel
 * poller.c   a uv_poll handle that calls JavaScript; pump.c and watch.c are built on it
 * memory.c   memfd, mmap as ArrayBuffer, pread, pwrite
 * guard.c    the SIGBUS handler and its table of ranges, which are of the whole process
 * descriptor.c  eventfd, close, dup
 * heap.c     what the C library keeps of freed memory, for the whole process
 * terminal.c pseudo-terminals
 * kernel.c   ioctl, calls that may take long, memory for DMA
 * module.c   registration, and what happens when an environment (main thread or worker) ends
 */
#ifndef FERRY_H
#define FERRY_H

#include <errno.h>
#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "libuv.h"

struct poller;

/* One environment: the main thread's or a worker's. Reached through the data pointer of each function. */
struct ferry {
  napi_env env;
  uv_loop_t *loop;
  struct poller *pollers;
  unsigned open_handles; /* uv handles whose close callback has not run */
  napi_async_cleanup_hook_handle ending;
};

/* Puts `count` functions into `exports`; each room of the addon has one such list. */
struct function {
  const char *name;
  napi_callback call;
};
bool ferry_export(struct ferry *ferry, napi_value exports, const struct function *functions, size_t count);
extern const struct function socket_functions[], memory_functions[], descriptor_functions[], pump_functions[],
    exchange_functions[], watch_functions[], crc32_functions[], terminal_functions[], kernel_functions[],
    heap_functions[];
extern const size_t socket_function_count, memory_function_count, descriptor_function_count, pump_function_count,
    exchange_function_count, watch_function_count, crc32_function_count,
    terminal_function_count, kernel_function_count, heap_function_count;

/* Repeats a system call that a signal interrupted. */
#define RETRY(result, call)                         \
  do {                                              \
    (result) = (call);                              \
  } while ((result) == -1 && errno == EINTR)

/* SCM_MAX_FD in the kernel's include/net/scm.h: what one message can carry. */
enum { MAX_FDS = 253 };

/*
 * message.c: both return a byte count or a negated errno. `fds[0]` becomes the number of received fds, which follow;
 * `capacity` is how many fit.
 */
long message_receive(int fd, void *data, size_t length, int32_t *fds, size_t capacity, int flags);
struct outgoing {
  const uint8_t *head, *body;
  size_t head_length, body_length;
  const int *fds;
  size_t fd_count;
};
long message_send(int fd, const struct outgoing *message);

/* socket.c: poll(2) for input, for at most `timeout` ms; its result. */
int wait_readable(int fd, int timeout);

/* guard.c */
struct range;
struct range *guard_add(uintptr_t start, size_t length, int protection, size_t page);
void guard_remove(struct range *range);
int guard_install(void);
uint32_t guard_faults(void);

/* poller.c: closes all of an environment that ends. */
void pollers_end(struct ferry *ferry);
/* module.c: a uv handle has closed; the last one lets an ending environment go. */
void ferry_handle_closed(struct ferry *ferry);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the bench's C programs share: pinning, the clock, whole transfers over a stream socket, and the few
 * vfio-user layouts they need (docs/interop/vfio-user.rst of QEMU). None of it comes from Ferry's own code, so that
 * what Ferry is measured against cannot inherit its mistakes or its tricks.
 */
#ifndef FERRY_BENCH_COMMON_H
#define FERRY_BENCH_COMMON_H

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

enum { PIECE = 1 << 20, NS_PER_S = 1000000000 };

enum command {
    CMD_VERSION = 1,
    CMD_GET_INFO = 4,
    CMD_GET_REGION_INFO = 5,
    CMD_SET_IRQS = 8,
    CMD_REGION_READ = 9,
    CMD_REGION_WRITE = 10,
    CMD_DEVICE_FEATURE = 16,
    CMD_MIG_DATA_READ = 17,
    CMD_MIG_DATA_WRITE = 18,
};
enum header_flag { FLAG_REPLY = 1, FLAG_NO_REPLY = 0x10, FLAG_ERROR = 0x20 };
enum { FEATURE_MIG_DEVICE_STATE = 2, FEATURE_SET = 1 << 17 };
enum migration_state { STATE_STOP = 1, STATE_RUNNING = 2, STATE_STOP_COPY = 3, STATE_RESUMING = 4, STATE_PRE_COPY = 6 };
enum { IRQ_SET_EVENTFD_TRIGGER = 0x24 };

/* Messages of a batch start anywhere, so every layout is packed (which also tells the compiler not to align). */
struct __attribute__((packed)) header {
    uint16_t id, command;
    uint32_t size, flags, error;
};
struct __attribute__((packed)) region_access {
    uint64_t offset;
    uint32_t region, count;
};
struct __attribute__((packed)) migration_data {
    uint32_t argsz, size;
};
struct __attribute__((packed)) device_state {
    uint32_t argsz, flags, state;
    int32_t data_fd;
};
struct __attribute__((packed)) device_info {
    uint32_t argsz, flags, num_regions, num_irqs;
};
struct __attribute__((packed)) region_info {
    uint32_t argsz, flags, index, cap_offset;
    uint64_t size, offset;
};
struct __attribute__((packed)) irq_set {
    uint32_t argsz, flags, index, start, count;
};

static inline __attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* A negative number leaves the process wherever the scheduler puts it. */
static inline void pin_to_cpu(int cpu) {
    if (cpu < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        die("cannot run on CPU %d: %s", cpu, strerror(errno));
}

/* A number with an optional K, M or G (powers of 1024). */
static inline uint64_t parse_size(const char *name, const char *text) {
    char *end = NULL;
    errno = 0;
    uint64_t value = text == NULL ? 0 : strtoull(text, &end, 0);
    if (text == NULL || end == text || errno != 0 || *text == '-')
        die("%s needs a number", name);
    int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
    if (end[shift != 0] != '\0' || (shift != 0 && value > UINT64_MAX >> shift))
        die("%s: %s is not a number, or too large", name, text);
    return value << shift;
}

static inline void *allocate(size_t size) {
    void *memory = malloc(size);
    if (memory == NULL)
        die("no memory for %zu bytes", size);
    return memory;
}

/* Enlarges both buffers; 0 leaves the system's default. What the kernel refuses above its limit is no error. */
static inline void set_socket_buffers(int fd, uint64_t bytes) {
    int value = (int)bytes;
    if (bytes == 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof value);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, sizeof value);
}

/* One receive. Busy polling never sleeps in the kernel. Returns 0 at the end of the stream. */
static inline size_t receive_some(int fd, void *buffer, size_t size, bool spin) {
    for (;;) {
        struct iovec iov = {buffer, size};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        ssize_t got = recvmsg(fd, &msg, spin ? MSG_DONTWAIT : 0);
        if (got >= 0)
            return (size_t)got;
        if (errno == ECONNRESET)
            return 0;
        if (errno != EINTR && errno != EAGAIN)
            die("recvmsg: %s", strerror(errno));
    }
}

static inline void receive_all(int fd, void *buffer, size_t size, bool spin) {
    for (size_t got = 0; got < size;) {
        size_t n = receive_some(fd, (char *)buffer + got, size - got, spin);
        if (n == 0)
            die("the other end closed the connection");
        got += n;
    }
}

/* Sends the whole vector (and consumes it); one sendmsg unless the socket's buffer is full. */
static inline void send_all(int fd, struct iovec *iov, size_t count) {
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
    while (msg.msg_iovlen > 0) {
        ssize_t sent = sendmsg(fd, &msg, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            die("sendmsg: %s", strerror(errno));
        size_t left = (size_t)sent;
        while (msg.msg_iovlen > 0 && left >= msg.msg_iov->iov_len) {
            left -= msg.msg_iov->iov_len;
            msg.msg_iov++;
            msg.msg_iovlen--;
        }
        if (msg.msg_iovlen > 0) {
            msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + left;
            msg.msg_iov->iov_len -= left;
        }
    }
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The client's side of a session, for the loads of the bench: the connection, requests of the set-up, figures. */
#ifndef FERRY_BENCH_SESSION_H
#define FERRY_BENCH_SESSION_H

#include "common.h"
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/un.h>
#include <unistd.h>

enum { SMALL_REPLY = 4096, CONNECT_PATIENCE_MS = 5000 };
enum { CMD_DMA_MAP = 2 };
enum { REGION_CONFIG = 7, CONFIG_SIZE = 256, CAPABILITIES = 0x34, BUS_MASTER = 6, CAP_MSI = 5, CAP_MSIX = 0x11 };
enum { IRQ_MSI = 1, IRQ_MSIX = 2 };

struct __attribute__((packed)) dma_map {
    uint32_t argsz, flags;
    uint64_t offset, address, size;
};

static int connection;
static bool spin;

/* SIGTERM ends a load early, which then prints its figures. */
static volatile sig_atomic_t enough;
static void has_enough(int number) { enough = number; }

static inline void end_on_sigterm(void) {
    struct sigaction action = {.sa_handler = has_enough, .sa_flags = SA_RESTART};
    if (sigaction(SIGTERM, &action, NULL) != 0)
        die("sigaction: %s", strerror(errno));
}

static inline int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        die("the socket's path is longer than %zu bytes", sizeof address.sun_path - 1);
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket: %s", strerror(errno));
    for (int waited = 0; connect(fd, (struct sockaddr *)&address, sizeof address) != 0; waited += 10) {
        if ((errno != ENOENT && errno != ECONNREFUSED) || waited >= CONNECT_PATIENCE_MS)
            die("cannot connect to %s: %s", path, strerror(errno));
        poll(NULL, 0, 10);
    }
    return fd;
}

static inline void check_reply(const struct header *reply, uint16_t command, size_t least) {
    if (reply->command != command || (reply->flags & 0xf) != FLAG_REPLY || reply->size < sizeof *reply)
        die("expected a reply to command %u, got command %u with flags 0x%x", command, reply->command, reply->flags);
    if ((reply->flags & FLAG_ERROR) != 0)
        die("command %u was refused: %s", command, strerror((int)reply->error));
    if (reply->size - sizeof *reply < least)
        die("the reply to command %u has %u bytes", command, reply->size);
}

/* A request of the set-up, with at most one fd; the reply's payload, of at most `size` bytes, goes to `answer`. */
static inline size_t request(uint16_t command, const void *payload, size_t payload_size, int fd, void *answer, size_t size) {
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.align = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct header header = {0x5e7, command, (uint32_t)(sizeof header + payload_size), 0, 0};
    struct iovec iov[2] = {{&header, sizeof header}, {(void *)(uintptr_t)payload, payload_size}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    if (fd >= 0) {
        memcpy(CMSG_DATA(&control.align), &fd, sizeof fd);
        msg.msg_control = &control;
        msg.msg_controllen = sizeof control;
    }
    if (sendmsg(connection, &msg, MSG_NOSIGNAL) != (ssize_t)header.size)
        die("cannot send command %u: %s", command, strerror(errno));
    receive_all(connection, &header, sizeof header, spin);
    check_reply(&header, command, 0);
    size_t got = header.size - sizeof header;
    if (got > size)
        die("the reply to command %u is too large: %zu bytes", command, got);
    receive_all(connection, answer, got, spin);
    return got;
}

static inline void negotiate(void) {
    static const char version[] = "\0\0\0\0{\"capabilities\": {\"pgsizes\": 4096, \"max_msg_fds\": 16, "
                                  "\"max_dma_maps\": 65535, \"max_data_xfer_size\": 1048576, \"migration\": "
                                  "{\"max_bitmap_size\": 268435456, \"pgsize\": 4096}, \"write_multiple\": true}}";
    char answer[SMALL_REPLY];
    request(CMD_VERSION, version, sizeof version, -1, answer, sizeof answer);
}

static inline int compare_u64(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static inline void print_latencies(const char *mode, uint64_t *ns, uint64_t n) {
    double sum = 0;
    if (n == 0)
        die("ended before anything was measured");
    qsort(ns, n, sizeof *ns, compare_u64);
    for (uint64_t i = 0; i < n; i++)
        sum += (double)ns[i];
    printf("{\"mode\":\"%s\",\"count\":%llu,\"unit\":\"us\",\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"min\":%.3f,"
           "\"max\":%.3f,\"mean\":%.3f}\n",
           mode, (unsigned long long)n, (double)ns[n / 2] / 1e3, (double)ns[n * 9 / 10] / 1e3,
           (double)ns[n * 99 / 100] / 1e3, (double)ns[0] / 1e3, (double)ns[n - 1] / 1e3, sum / (double)n / 1e3);
}

static inline void write_register(uint32_t region, uint64_t offset, uint64_t value, uint32_t size) {
    struct __attribute__((packed)) {
        struct region_access access;
        uint64_t value;
    } write = {{offset, region, size}, value};
    struct region_access echo;
    request(CMD_REGION_WRITE, &write, sizeof write.access + size, -1, &echo, sizeof echo);
}

/* Bus mastering, and MSI or MSI-X where the device has the capability. */
static inline void enable_in_config(uint32_t irq) {
    struct region_access access = {0, REGION_CONFIG, CONFIG_SIZE};
    uint8_t answer[sizeof access + CONFIG_SIZE], *config = answer + sizeof access;
    uint8_t wanted = irq == IRQ_MSI ? CAP_MSI : CAP_MSIX;
    struct region_info info = {.argsz = sizeof info, .index = REGION_CONFIG};
    request(CMD_GET_REGION_INFO, &info, sizeof info, -1, &info, sizeof info);
    if (info.size < CONFIG_SIZE)
        return; /* a server without configuration space, such as minimal-server */
    request(CMD_REGION_READ, &access, sizeof access, -1, answer, sizeof answer);
    write_register(REGION_CONFIG, 4, BUS_MASTER, 2);
    uint8_t at = config[CAPABILITIES] & 0xfc;
    for (int guard = 0; at >= 0x40 && config[at] != wanted && guard < 48; guard++)
        at = config[at + 1] & 0xfc;
    if (at < 0x40 || irq > IRQ_MSIX || irq < IRQ_MSI)
        return;
    uint64_t control = config[at + 2] | (uint64_t)config[at + 3] << 8;
    write_register(REGION_CONFIG, (uint64_t)at + 2, irq == IRQ_MSI ? control | 1 : (control | 0x8000) & 0xbfff, 2);
}

/* The eventfd that a vector signals from now on. */
static inline int assign_eventfd(uint32_t irq, uint32_t vector) {
    struct irq_set set = {sizeof set, IRQ_SET_EVENTFD_TRIGGER, irq, vector, 1};
    int interrupt = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (interrupt < 0)
        die("eventfd: %s", strerror(errno));
    request(CMD_SET_IRQS, &set, sizeof set, interrupt, NULL, 0);
    return interrupt;
}

#endif

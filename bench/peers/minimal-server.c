/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The least that a vfio-user server can do: what Ferry's round trips are measured against. One receive takes whatever
 * has arrived, one send answers each request; nothing is checked beyond what keeps the process alive, no device stands
 * behind BAR0 (a static buffer), no migration behind the data (another static buffer).
 *
 *   minimal-server --socket-path PATH [--poll] [--cpu N] [--buffers BYTES]
 *
 * --poll never sleeps in the kernel. Serves one client after the other until it is killed. A write that wants no reply
 * (a doorbell) signals the last eventfd that SET_IRQS brought.
 */
#include "common.h"
#include <getopt.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BAR0_SIZE = 4096, LARGEST_DATA = 4 << 20, LARGEST_MESSAGE = LARGEST_DATA + 64 };

static uint8_t bar0[BAR0_SIZE];
static uint8_t migration_bytes[LARGEST_DATA];
static uint8_t incoming[LARGEST_MESSAGE];
static const char capabilities[] = "{\"capabilities\":{\"max_msg_fds\":1,\"max_data_xfer_size\":4194304}}";
static const char *socket_path;
static int interrupt = -1;
static bool polling;
static uint64_t buffers;

static void remove_socket(int signal) {
    (void)signal;
    unlink(socket_path);
    _exit(0);
}

static void reply(int fd, const struct header *request, const void *fixed, size_t fixed_size, const void *tail,
                  size_t tail_size) {
    struct header header = {request->id, request->command, (uint32_t)(sizeof header + fixed_size + tail_size),
                            FLAG_REPLY, 0};
    struct iovec iov[3] = {
        {&header, sizeof header}, {(void *)(uintptr_t)fixed, fixed_size}, {(void *)(uintptr_t)tail, tail_size}};
    send_all(fd, iov, tail_size > 0 ? 3 : 2);
}

static void refuse(int fd, const struct header *request, uint32_t error) {
    struct header header = {request->id, request->command, sizeof header, FLAG_REPLY | FLAG_ERROR, error};
    struct iovec iov = {&header, sizeof header};
    send_all(fd, &iov, 1);
}

static void answer_region(int fd, const struct header *request, const uint8_t *payload, size_t size) {
    struct region_access access;
    bool write = request->command == CMD_REGION_WRITE;
    memcpy(&access, payload, sizeof access);
    if (access.region != 0 || access.count > BAR0_SIZE || access.offset > BAR0_SIZE - access.count ||
        (write && size != sizeof access + access.count)) {
        refuse(fd, request, EINVAL);
        return;
    }
    if (!write) {
        reply(fd, request, &access, sizeof access, bar0 + access.offset, access.count);
        return;
    }
    memcpy(bar0 + access.offset, payload + sizeof access, access.count);
    if ((request->flags & FLAG_NO_REPLY) == 0)
        reply(fd, request, &access, sizeof access, NULL, 0);
    else if (interrupt >= 0 && eventfd_write(interrupt, 1) != 0)
        die("eventfd: %s", strerror(errno));
}

static void answer_region_info(int fd, const struct header *request, const uint8_t *payload) {
    struct region_info info;
    memcpy(&info, payload, sizeof info);
    info = (struct region_info){.argsz = sizeof info, .index = info.index};
    if (info.index == 0) {
        info.flags = 3;
        info.size = BAR0_SIZE;
    }
    reply(fd, request, &info, sizeof info, NULL, 0);
}

static void answer_version(int fd, const struct header *request) {
    uint16_t version[2] = {0, 0};
    reply(fd, request, version, sizeof version, capabilities, sizeof capabilities);
}

static void answer_migration_read(int fd, const struct header *request, const uint8_t *payload) {
    struct migration_data data;
    memcpy(&data, payload, sizeof data);
    if (data.size > LARGEST_DATA) {
        refuse(fd, request, EINVAL);
        return;
    }
    data.argsz = (uint32_t)sizeof data + data.size;
    reply(fd, request, &data, sizeof data, migration_bytes, data.size);
}

/* What a request's payload must at least hold, so that no handler reads past it. */
static size_t least_payload(uint16_t command) {
    switch (command) {
    case CMD_VERSION:
        return 4;
    case CMD_GET_REGION_INFO:
        return sizeof(struct region_info);
    case CMD_REGION_READ:
    case CMD_REGION_WRITE:
        return sizeof(struct region_access);
    case CMD_MIG_DATA_READ:
    case CMD_MIG_DATA_WRITE:
        return sizeof(struct migration_data);
    default:
        return 0;
    }
}

static void answer(int fd, const struct header *request, const uint8_t *payload) {
    static const struct device_info info = {sizeof info, 3, 9, 5};
    size_t size = request->size - sizeof *request;
    if (size < least_payload(request->command)) {
        refuse(fd, request, EINVAL);
        return;
    }
    switch (request->command) {
    case CMD_VERSION:
        answer_version(fd, request);
        return;
    case CMD_GET_INFO:
        reply(fd, request, &info, sizeof info, NULL, 0);
        return;
    case CMD_GET_REGION_INFO:
        answer_region_info(fd, request, payload);
        return;
    case CMD_REGION_READ:
    case CMD_REGION_WRITE:
        answer_region(fd, request, payload, size);
        return;
    case CMD_MIG_DATA_READ:
        answer_migration_read(fd, request, payload);
        return;
    case CMD_MIG_DATA_WRITE: /* the data are thrown away */
    case CMD_SET_IRQS:       /* the eventfd was kept when it arrived */
        reply(fd, request, NULL, 0, NULL, 0);
        return;
    case CMD_DEVICE_FEATURE: /* any state is accepted: there is none */
        reply(fd, request, payload, size, NULL, 0);
        return;
    default:
        refuse(fd, request, ENOSYS);
    }
}

static void keep_eventfd(struct msghdr *msg) {
    struct cmsghdr *control = CMSG_FIRSTHDR(msg);
    if (control == NULL || control->cmsg_type != SCM_RIGHTS || control->cmsg_len < CMSG_LEN(sizeof(int)))
        return;
    if (interrupt >= 0)
        close(interrupt);
    memcpy(&interrupt, CMSG_DATA(control), sizeof interrupt);
}

static size_t receive(int fd, uint8_t *buffer, size_t size) {
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    for (;;) {
        struct iovec iov = {buffer, size};
        struct msghdr msg = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        ssize_t got = recvmsg(fd, &msg, polling ? MSG_DONTWAIT : 0);
        if (got >= 0) {
            if (msg.msg_controllen > 0)
                keep_eventfd(&msg);
            return (size_t)got;
        }
        if (errno == ECONNRESET)
            return 0;
        if (errno != EINTR && errno != EAGAIN)
            die("recvmsg: %s", strerror(errno));
    }
}

static void serve(int fd) {
    size_t have = 0;
    for (;;) {
        size_t got = receive(fd, incoming + have, sizeof incoming - have);
        if (got == 0)
            return;
        have += got;
        size_t at = 0;
        while (have - at >= sizeof(struct header)) {
            struct header request;
            memcpy(&request, incoming + at, sizeof request);
            if (request.size < sizeof request || request.size > sizeof incoming)
                return;
            if (have - at < request.size)
                break;
            answer(fd, &request, incoming + at + sizeof request);
            at += request.size;
        }
        have -= at;
        if (have > 0 && at > 0)
            memmove(incoming, incoming + at, have);
    }
}

static int listen_at(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        die("the socket's path is longer than %zu bytes", sizeof address.sun_path - 1);
    strcpy(address.sun_path, path);
    umask(077);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4) != 0)
        die("cannot listen at %s: %s", path, strerror(errno));
    return fd;
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"socket-path", required_argument, NULL, 's'},
                                            {"cpu", required_argument, NULL, 'c'},
                                            {"buffers", required_argument, NULL, 'b'},
                                            {"poll", no_argument, NULL, 'p'},
                                            {0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 's')
            socket_path = optarg;
        else if (option == 'c')
            pin_to_cpu((int)parse_size("--cpu", optarg));
        else if (option == 'b')
            buffers = parse_size("--buffers", optarg);
        else if (option == 'p')
            polling = true;
        else
            return 2;
    }
    if (socket_path == NULL || optind != argc)
        die("usage: minimal-server --socket-path PATH [--poll] [--cpu N] [--buffers BYTES]");
    memset(migration_bytes, 0x5a, sizeof migration_bytes);
    int listener = listen_at(socket_path);
    signal(SIGTERM, remove_socket);
    signal(SIGINT, remove_socket);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        set_socket_buffers(fd, buffers);
        serve(fd);
        close(fd);
    }
}

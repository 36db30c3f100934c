/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vfio-user client written from the text of the protocol alone (docs/interop/vfio-user.rst of QEMU, linux/vfio.h,
 * docs/specs/edu.rst of QEMU): it shares no line with the server that it drives, so that a misreading cannot be made
 * on both sides. It attaches as QEMU does, and behaves as QEMU does where that is hard on a server: a register
 * access waits for its reply before any DMA message is answered.
 *
 *   client edu SOCKET [--twin]                   drives the educational device
 *   client memory SOCKET [--twin]                drives the memory device
 *   client migrate edu|memory SOURCE DESTINATION moves a device between two servers, over SOCKET.control of each
 *
 * --twin asks for a second socket for the server's DMA messages. Prints "ok - what" or "not ok - what: expected ...,
 * got ..." for each step and ends with status 1 if one was not ok.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* ---- the wire ------------------------------------------------------------------------------------------------ */

enum {
    VERSION = 1,
    DMA_MAP,
    DMA_UNMAP,
    DEVICE_GET_INFO,
    DEVICE_GET_REGION_INFO,
    DEVICE_GET_REGION_IO_FDS,
    DEVICE_GET_IRQ_INFO,
    DEVICE_SET_IRQS,
    REGION_READ,
    REGION_WRITE,
    DMA_READ,
    DMA_WRITE,
    DEVICE_RESET,
    REGION_WRITE_MULTI = 15,
    DEVICE_FEATURE,
    MIG_DATA_READ,
    MIG_DATA_WRITE,
};
enum { TYPE_MASK = 0xf, TYPE_REPLY = 1, NO_REPLY = 0x10, ERROR_BIT = 0x20 };
enum { REGION_BAR0 = 0, REGION_BAR2 = 2, REGION_CONFIG = 7, INFO_MMAP = 4, INFO_CAPS = 8, CAP_SPARSE_MMAP = 1 };
enum { IO_EVENTFD = 0, IO_EVENTFD_SHADOW = 2, IO_DATAMATCH = 1 };
enum { IRQ_INTX = 0, IRQ_MSI = 1, IRQ_MSIX = 2, IRQ_AUTOMASKED = 4 };
enum { DATA_NONE = 1, DATA_BOOL = 2, DATA_EVENTFD = 4, ACTION_MASK = 8, ACTION_UNMASK = 16, ACTION_TRIGGER = 32 };
enum { MAP_READ = 1, MAP_WRITE = 2 };
enum { FEATURE_MIGRATION = 1, FEATURE_STATE = 2, GET = 1 << 16, SET = 1 << 17, PROBE = 1 << 18 };
enum { ERROR, STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P };

/* PCI configuration space. */
enum { PCI_COMMAND = 4, PCI_BAR0 = 0x10, PCI_CAPABILITIES = 0x34, PCI_INTERRUPT_LINE = 0x3c };
enum { COMMAND_MEMORY = 2, COMMAND_MASTER = 4, CAP_MSI = 5, CAP_MSIX = 0x11 };

#define PACKED __attribute__((packed))
struct PACKED header {
    uint16_t id, command;
    uint32_t size, flags, error;
};
struct PACKED dma_map {
    uint32_t argsz, flags;
    uint64_t offset, address, size;
};
struct PACKED dma_unmap {
    uint32_t argsz, flags;
    uint64_t address, size;
};
struct PACKED device_info {
    uint32_t argsz, flags, num_regions, num_irqs;
};
struct PACKED region_info {
    uint32_t argsz, flags, index, cap_offset;
    uint64_t size, offset;
};
struct PACKED capability {
    uint16_t id, version;
    uint32_t next;
};
struct PACKED sparse_areas {
    struct capability header;
    uint32_t count, reserved;
};
struct PACKED area {
    uint64_t offset, size;
};
struct PACKED io_fds {
    uint32_t argsz, flags, index, count;
};
struct PACKED io_sub_region { /* as libvfio-user sends it */
    uint64_t offset, size;
    uint32_t fd_index, type, flags, shadow_fd_index;
    uint64_t shadow_offset, datamatch;
};
struct PACKED irq_info {
    uint32_t argsz, flags, index, count;
};
struct PACKED irq_set {
    uint32_t argsz, flags, index, start, count;
};
struct PACKED region_access {
    uint64_t offset;
    uint32_t region, count;
};
struct PACKED dma_access {
    uint64_t address, count;
};
struct PACKED multi_write {
    uint64_t offset;
    uint32_t region, count;
    uint64_t data;
};
struct PACKED feature {
    uint32_t argsz, flags;
};
struct PACKED device_state {
    struct feature feature;
    uint32_t state;
    int32_t data_fd;
};
struct PACKED migration_data {
    uint32_t argsz, size;
};

/* What QEMU 11.1 sends, to the byte. */
static const char qemu_capabilities[] =
    "{\"capabilities\": {\"pgsizes\": 4096, \"max_msg_fds\": 16, \"max_dma_maps\": 65535, \"max_data_xfer_size\": "
    "1048576, \"migration\": {\"max_bitmap_size\": 268435456, \"pgsize\": 4096}, \"write_multiple\": true}}";
static const char twin_capabilities[] =
    "{\"capabilities\": {\"max_msg_fds\": 16, \"max_data_xfer_size\": 1048576, "
    "\"twin_socket\": {\"supported\": true}}}";
enum { QEMU_VERSION_SIZE = 214, LARGEST_TRANSFER = 1 << 20, LARGEST_PAYLOAD = LARGEST_TRANSFER + 4096 };
_Static_assert(sizeof(struct header) + 4 + sizeof qemu_capabilities == QEMU_VERSION_SIZE, "QEMU's VERSION");

enum { MAX_FDS = 16, MAX_REGIONS = 16, MAX_HELD = 64, PATIENCE_MS = 60000, SILENCE_MS = 100, KIB = 1024 };

/* ---- the report ---------------------------------------------------------------------------------------------- */

static unsigned steps, failures;

static __attribute__((format(printf, 1, 2))) const char *text(const char *format, ...) {
    static char lines[4][512];
    static unsigned next;
    char *line = lines[next++ % 4];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof lines[0], format, args);
    va_end(args);
    return line;
}

static __attribute__((noreturn)) void give_up(const char *what) {
    printf("not ok - %s\n1..%u\n", what, steps + 1);
    exit(1);
}

static bool report(bool good, const char *what, const char *expected, const char *got) {
    steps++;
    if (good) {
        printf("ok - %s\n", what);
    } else {
        failures++;
        printf("not ok - %s: expected %s, got %s\n", what, expected, got);
    }
    return good;
}

static bool expect(const char *what, uint64_t expected, uint64_t got) {
    return report(expected == got, what, text("0x%" PRIx64, expected), text("0x%" PRIx64, got));
}

static bool expect_true(const char *what, bool good, const char *got) {
    return report(good, what, "that", got);
}

static const char *error_name(int error) {
    return error == 0 ? "success" : text("errno %d (%s)", error, strerror(error));
}

/* `expected` -1 stands for any error. */
static bool expect_error(const char *what, int expected, int got) {
    bool good = expected < 0 ? got != 0 : got == expected;
    return report(good, what, expected < 0 ? "an error" : error_name(expected), error_name(got));
}

static bool expect_bytes(const char *what, const uint8_t *expected, const uint8_t *got, size_t size) {
    size_t at = 0;
    while (at < size && expected[at] == got[at])
        at++;
    if (at == size)
        return report(true, what, "", "");
    return report(false, what, text("0x%02x at byte %zu of %zu", expected[at], at, size), text("0x%02x", got[at]));
}

/* ---- messages ------------------------------------------------------------------------------------------------ */

struct message {
    struct header header;
    size_t size; /* of the payload */
    size_t nfds;
    int fds[MAX_FDS];
    uint8_t payload[LARGEST_PAYLOAD];
};

/* One connection. `twin` carries the server's commands when that was agreed, else -1. */
struct peer {
    int fd, twin;
    uint16_t id;
    bool as_qemu; /* hold DMA messages back while a reply is awaited */
};

static struct message reply, command;

static struct {
    struct header header;
    uint8_t *payload;
    int fd;
} held[MAX_HELD];
static size_t held_count;

static bool readable(int fd, int timeout_ms) {
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    int n;
    do
        n = poll(&entry, 1, timeout_ms);
    while (n < 0 && errno == EINTR);
    return n > 0;
}

static void send_bytes(int fd, const void *bytes, size_t size) {
    for (size_t sent = 0; sent < size;) {
        ssize_t n = send(fd, (const char *)bytes + sent, size - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            give_up(text("cannot send: %s", strerror(errno)));
        sent += n > 0 ? (size_t)n : 0;
    }
}

static void send_message(int fd, struct header header, const void *payload, size_t size, const int *fds, size_t nfds) {
    union {
        char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } control = {.align = {CMSG_LEN(nfds * sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    header.size = (uint32_t)(sizeof header + size);
    struct iovec iov[2] = {{&header, sizeof header}, {(void *)(uintptr_t)payload, size}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = size > 0 ? 2 : 1};
    if (nfds > 0) {
        memcpy(CMSG_DATA(&control.align), fds, nfds * sizeof(int));
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
    }
    ssize_t sent;
    do
        sent = sendmsg(fd, &msg, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        give_up(text("cannot send command %u: %s", header.command, strerror(errno)));
    if ((size_t)sent < sizeof header)
        give_up("the socket took less than a header");
    send_bytes(fd, (const char *)payload + ((size_t)sent - sizeof header), header.size - (size_t)sent);
}

static void close_fds(struct message *m) {
    for (size_t i = 0; i < m->nfds; i++)
        close(m->fds[i]);
    m->nfds = 0;
}

static void take_fds(struct message *m, struct msghdr *msg) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_type != SCM_RIGHTS)
            continue;
        m->nfds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(m->fds, CMSG_DATA(c), m->nfds * sizeof(int));
    }
}

/* Receives exactly `size` bytes; false at the end of the stream. */
static bool receive_bytes(int fd, void *bytes, size_t size, struct message *m) {
    for (size_t have = 0; have < size;) {
        union {
            char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
            struct cmsghdr align;
        } control;
        struct iovec iov = {(char *)bytes + have, size - have};
        struct msghdr msg = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        if (!readable(fd, PATIENCE_MS))
            give_up("the server was silent for 5 seconds");
        ssize_t got = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        take_fds(m, &msg);
        have += (size_t)got;
    }
    return true;
}

/* Receives one message; false when the server has closed the connection. */
static bool receive_message(int fd, struct message *m) {
    close_fds(m);
    if (!receive_bytes(fd, &m->header, sizeof m->header, m))
        return false;
    if (m->header.size < sizeof m->header || m->header.size - sizeof m->header > sizeof m->payload)
        give_up(text("a message that claims %u bytes", m->header.size));
    m->size = m->header.size - sizeof m->header;
    if (!receive_bytes(fd, m->payload, m->size, m))
        give_up("the server closed the connection in the middle of a message");
    return true;
}

/* ---- guest memory, and the DMA messages that ask for it -------------------------------------------------------- */

struct guest_region {
    uint64_t iova, size;
    uint32_t flags;
    int fd; /* -1: the server has to ask by messages */
    uint8_t *host;
};

static struct guest_region guest[8];
static size_t guest_count;
static unsigned dma_messages;          /* answered so far */
static unsigned dma_messages_for_maps; /* of these, for memory that the server could have mapped */

static struct guest_region *find_guest(uint64_t address, uint64_t count) {
    for (size_t i = 0; i < guest_count; i++) {
        struct guest_region *r = &guest[i];
        if (address >= r->iova && count <= r->size && address - r->iova <= r->size - count)
            return r;
    }
    return NULL;
}

static void answer_dma(int fd, const struct header *request, const uint8_t *payload, size_t size) {
    static uint8_t answer[LARGEST_PAYLOAD];
    struct header header = {request->id, request->command, 0, TYPE_REPLY, 0};
    struct dma_access access;
    bool write = request->command == DMA_WRITE;
    if ((!write && request->command != DMA_READ) || size < sizeof access)
        give_up(text("the server sent command %u with %zu bytes", request->command, size));
    memcpy(&access, payload, sizeof access);
    if (access.count > LARGEST_TRANSFER || size != sizeof access + (write ? access.count : 0))
        give_up(text("a DMA message for %" PRIu64 " bytes with a payload of %zu", access.count, size));
    struct guest_region *region = find_guest(access.address, access.count);
    dma_messages++;
    if (region == NULL || (region->flags & (write ? MAP_WRITE : MAP_READ)) == 0) {
        header.flags |= ERROR_BIT;
        header.error = region == NULL ? ENODEV : EACCES;
        send_message(fd, header, NULL, 0, NULL, 0);
        return;
    }
    dma_messages_for_maps += region->fd >= 0;
    uint8_t *host = region->host + (access.address - region->iova);
    memcpy(answer, &access, sizeof access);
    if (write)
        memcpy(host, payload + sizeof access, access.count);
    else
        memcpy(answer + sizeof access, host, access.count);
    send_message(fd, header, answer, sizeof access + (write ? 0 : access.count), NULL, 0);
}

static void hold(int fd, const struct message *m) {
    if (held_count == MAX_HELD)
        give_up("64 DMA messages while a reply was awaited");
    held[held_count].header = m->header;
    held[held_count].payload = malloc(m->size + 1);
    if (held[held_count].payload == NULL)
        give_up("no memory for a DMA message");
    held[held_count].fd = fd;
    memcpy(held[held_count++].payload, m->payload, m->size);
}

static void answer_held(void) {
    for (size_t i = 0; i < held_count; i++) {
        answer_dma(held[i].fd, &held[i].header, held[i].payload, held[i].header.size - sizeof(struct header));
        free(held[i].payload);
    }
    held_count = 0;
}

static void take_command(const struct peer *peer, int fd, const struct message *m) {
    if (peer->twin >= 0 && fd != peer->twin)
        give_up(text("command %u came on the main socket beside a twin socket", m->header.command));
    if (peer->as_qemu)
        hold(fd, m);
    else
        answer_dma(fd, &m->header, m->payload, m->size);
}

/* Answers what the server asks until `fd` is readable; false after timeout_ms. */
static bool serve_until_readable(const struct peer *peer, int fd, int timeout_ms) {
    struct pollfd entries[3] = {{fd, POLLIN, 0}, {peer->fd, POLLIN, 0}, {peer->twin, POLLIN, 0}};
    answer_held();
    while (poll(entries, 3, timeout_ms) > 0) {
        if (entries[0].revents != 0)
            return true;
        int from = entries[1].revents != 0 ? peer->fd : peer->twin;
        if (!receive_message(from, &command))
            give_up("the server closed the connection");
        if ((command.header.flags & TYPE_MASK) == TYPE_REPLY)
            give_up("a reply that nobody asked for");
        answer_dma(from, &command.header, command.payload, command.size);
    }
    return false;
}

/* Waits for the reply to `id`. Returns 0 or the error that it carries (EIO when that is 0). */
static int await_reply(struct peer *peer, uint16_t id, uint16_t number) {
    for (;;) {
        struct pollfd entries[2] = {{peer->fd, POLLIN, 0}, {peer->as_qemu ? -1 : peer->twin, POLLIN, 0}};
        if (poll(entries, 2, PATIENCE_MS) == 0)
            give_up(text("no reply to command %u within 5 seconds", number));
        int from = entries[1].revents != 0 ? peer->twin : peer->fd;
        if (!receive_message(from, &reply))
            give_up(text("the server closed the connection instead of answering command %u", number));
        if ((reply.header.flags & TYPE_MASK) != TYPE_REPLY) {
            take_command(peer, from, &reply);
            continue;
        }
        if (reply.header.id != id || reply.header.command != number)
            give_up(text("expected the reply to command %u with id %u, got command %u with id %u", number, id,
                         reply.header.command, reply.header.id));
        if ((reply.header.flags & ERROR_BIT) == 0)
            break;
        if (reply.size != 0)
            give_up(text("the error reply to command %u carries %zu bytes", number, reply.size));
        break;
    }
    answer_held();
    if ((reply.header.flags & ERROR_BIT) == 0)
        return 0;
    return reply.header.error == 0 ? EIO : (int)reply.header.error;
}

static int call_with_fds(struct peer *peer, uint16_t number, const void *payload, size_t size, const int *fds,
                         size_t nfds) {
    struct header header = {.id = ++peer->id, .command = number};
    send_message(peer->fd, header, payload, size, fds, nfds);
    return await_reply(peer, header.id, number);
}

static int call(struct peer *peer, uint16_t number, const void *payload, size_t size) {
    return call_with_fds(peer, number, payload, size, NULL, 0);
}

/* A call that has to succeed, with a reply of `size` bytes that is copied to `answer`. */
static void must_call(struct peer *peer, const char *what, uint16_t number, const void *payload, size_t payload_size,
                      void *answer, size_t size) {
    int error = call(peer, number, payload, payload_size);
    if (error != 0)
        give_up(text("%s: expected success, got %s", what, error_name(error)));
    if (reply.size != size)
        give_up(text("%s: expected a reply of %zu bytes, got %zu", what, size, reply.size));
    memcpy(answer, reply.payload, size);
}

/* ---- connecting ---------------------------------------------------------------------------------------------- */

static int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        give_up(text("the path %s is too long for a socket", path));
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    for (int waited = 0; connect(fd, (struct sockaddr *)&address, sizeof address) != 0; waited += 10) {
        if ((errno != ENOENT && errno != ECONNREFUSED) || waited >= PATIENCE_MS)
            give_up(text("cannot connect to %s: %s", path, strerror(errno)));
        poll(NULL, 0, 10);
    }
    return fd;
}

static bool write_multi_agreed;

static size_t version_payload(uint8_t *payload, uint16_t major, const char *capabilities) {
    uint16_t version[2] = {major, 0};
    memcpy(payload, version, sizeof version);
    memcpy(payload + sizeof version, capabilities, strlen(capabilities) + 1);
    return sizeof version + strlen(capabilities) + 1;
}

static void take_twin(struct peer *peer) {
    const char *json = (const char *)reply.payload + 4, *index = strstr(json, "\"fd_index\"");
    bool agreed = strstr(json, "\"twin_socket\"") != NULL && index != NULL && reply.nfds == 1;
    if (!expect_true("a twin socket is agreed, and its fd arrives", agreed, text("%s and %zu fds", json, reply.nfds)))
        return;
    index += strspn(index + strlen("\"fd_index\""), ": ") + strlen("\"fd_index\"");
    expect("the twin socket is the fd at index", 0, strtoull(index, NULL, 10));
    peer->twin = reply.fds[0];
    reply.nfds = 0;
    int flags = fcntl(peer->twin, F_GETFL);
    expect("the twin socket blocks, as a client's own would: O_NONBLOCK is", 0, flags & O_NONBLOCK);
    fcntl(peer->twin, F_SETFL, flags & ~O_NONBLOCK);
}

static struct peer attach(const char *path, bool twin) {
    struct peer peer = {.fd = connect_to(path), .twin = -1};
    uint8_t payload[512];
    size_t size = version_payload(payload, 0, twin ? twin_capabilities : qemu_capabilities);
    int error = call(&peer, VERSION, payload, size);
    uint16_t version[2];
    if (error != 0 || reply.size < 4)
        give_up(text("VERSION: expected success, got %s", error_name(error)));
    memcpy(version, reply.payload, sizeof version);
    expect("VERSION agrees on 0.0", 0, (uint64_t)version[0] << 16 | version[1]);
    if (version[0] != 0 || version[1] != 0) /* what follows would be read by rules that this client does not know */
        give_up("a version that was not proposed");
    if (!twin) /* QEMU's receive buffer is its request */
        expect_true("the VERSION reply is no longer than QEMU's request", reply.header.size <= QEMU_VERSION_SIZE,
                    text("%u bytes", reply.header.size));
    if (reply.size > 4) {
        expect("the VERSION reply ends with NUL", 0, reply.payload[reply.size - 1]);
        reply.payload[reply.size - 1] = '\0';
        expect_true("the VERSION reply is a JSON object", reply.payload[4] == '{', (const char *)reply.payload + 4);
    }
    write_multi_agreed = strstr((char *)reply.payload + 4, "\"write_multiple\":true") != NULL ||
                         strstr((char *)reply.payload + 4, "\"write_multiple\": true") != NULL;
    if (twin)
        take_twin(&peer);
    return peer;
}

static void detach(struct peer *peer) {
    close(peer->fd);
    if (peer->twin >= 0)
        close(peer->twin);
}

/* ---- regions ------------------------------------------------------------------------------------------------- */

struct region {
    uint64_t size, file_offset;
    uint32_t flags;
    int fd;
    size_t areas; /* 0: the whole region, when INFO_MMAP is set */
    struct area area[8];
};

static struct region regions[MAX_REGIONS];
static struct irq_info irqs[8];

static int region_read(struct peer *peer, uint32_t region, uint64_t offset, void *data, uint32_t count) {
    struct region_access access = {offset, region, count}, echo;
    int error = call(peer, REGION_READ, &access, sizeof access);
    if (error != 0)
        return error;
    if (reply.size != sizeof access + count)
        give_up(text("a read of %u bytes was answered with a payload of %zu", count, reply.size));
    memcpy(&echo, reply.payload, sizeof echo);
    if (echo.offset != offset || echo.region != region || echo.count != count)
        give_up("the reply to a read names another place");
    memcpy(data, reply.payload + sizeof echo, count);
    return 0;
}

static size_t write_payload(uint8_t *payload, uint32_t region, uint64_t offset, const void *data, uint32_t count) {
    struct region_access access = {offset, region, count};
    memcpy(payload, &access, sizeof access);
    memcpy(payload + sizeof access, data, count);
    return sizeof access + count;
}

static int region_write(struct peer *peer, uint32_t region, uint64_t offset, const void *data, uint32_t count) {
    static uint8_t payload[LARGEST_PAYLOAD];
    int error = call(peer, REGION_WRITE, payload, write_payload(payload, region, offset, data, count));
    if (error == 0 && reply.size != sizeof(struct region_access))
        give_up(text("a write was answered with a payload of %zu", reply.size));
    return error;
}

static void post_write(struct peer *peer, uint32_t region, uint64_t offset, const void *data, uint32_t count) {
    static uint8_t payload[LARGEST_PAYLOAD];
    struct header header = {.id = ++peer->id, .command = REGION_WRITE, .flags = NO_REPLY};
    send_message(peer->fd, header, payload, write_payload(payload, region, offset, data, count), NULL, 0);
}

/* Registers, host-endian as the wire (and the PCI devices here are little-endian, as is every host they run on). */
static uint64_t get(struct peer *peer, uint32_t region, uint64_t offset, uint32_t size) {
    uint64_t value = 0;
    int error = region_read(peer, region, offset, &value, size);
    if (error != 0)
        give_up(
            text("cannot read %u bytes at 0x%" PRIx64 " of region %u: %s", size, offset, region, error_name(error)));
    return value;
}

static void put(struct peer *peer, uint32_t region, uint64_t offset, uint32_t size, uint64_t value) {
    int error = region_write(peer, region, offset, &value, size);
    if (error != 0)
        give_up(
            text("cannot write %u bytes at 0x%" PRIx64 " of region %u: %s", size, offset, region, error_name(error)));
}

static void read_sparse_areas(struct region *region, uint32_t at) {
    struct sparse_areas areas;
    for (unsigned guard = 0; at != 0 && guard < 16; guard++) {
        if (at > reply.size - sizeof areas)
            give_up(text("a region capability at byte %u of %zu", at, reply.size));
        memcpy(&areas, reply.payload + at, sizeof areas);
        if (areas.header.id == CAP_SPARSE_MMAP) {
            if (areas.count > 8 || areas.count * sizeof(struct area) > reply.size - at - sizeof areas)
                give_up(text("a capability with %u areas in %zu bytes", areas.count, reply.size));
            region->areas = areas.count;
            memcpy(region->area, reply.payload + at + sizeof areas, areas.count * sizeof(struct area));
        }
        at = areas.header.next;
    }
}

static void describe_region(struct peer *peer, uint32_t index) {
    struct region_info info = {.argsz = sizeof info, .index = index};
    for (int attempt = 0; attempt < 2; attempt++) {
        uint32_t room = info.argsz;
        int error = call(peer, DEVICE_GET_REGION_INFO, &info, sizeof info);
        if (error != 0 || reply.size < sizeof info || reply.size > room)
            give_up(text("region %u: %s, %zu bytes for an argsz of %u", index, error_name(error), reply.size, room));
        memcpy(&info, reply.payload, sizeof info);
        if (info.argsz <= room)
            break;
        info = (struct region_info){.argsz = info.argsz, .index = index};
    }
    struct region *region = &regions[index];
    *region = (struct region){.size = info.size, .file_offset = info.offset, .flags = info.flags, .fd = -1};
    expect(text("region %u names itself", index), index, info.index);
    if (info.flags & INFO_CAPS)
        read_sparse_areas(region, info.cap_offset);
    if ((info.flags & INFO_MMAP) && expect(text("region %u comes with an fd", index), 1, reply.nfds)) {
        region->fd = reply.fds[0];
        reply.nfds = 0;
    }
}

static void describe(struct peer *peer) {
    struct device_info info = {.argsz = sizeof info};
    must_call(peer, "DEVICE_GET_INFO", DEVICE_GET_INFO, &info, sizeof info, &info, sizeof info);
    expect("the device is PCI and can be reset", 3, info.flags & 3);
    expect_true("there are at least the 8 regions that QEMU wants", info.num_regions >= 8 && info.num_regions <= 16,
                text("%u", info.num_regions));
    expect_true("there are at least the 3 interrupt types that QEMU wants", info.num_irqs >= 3 && info.num_irqs <= 8,
                text("%u", info.num_irqs));
    for (uint32_t i = 0; i < info.num_regions && i < MAX_REGIONS; i++)
        describe_region(peer, i);
    for (uint32_t i = 0; i < info.num_irqs && i < 8; i++) {
        irqs[i] = (struct irq_info){.argsz = sizeof irqs[i], .index = i};
        must_call(peer, "DEVICE_GET_IRQ_INFO", DEVICE_GET_IRQ_INFO, &irqs[i], sizeof irqs[i], &irqs[i], sizeof irqs[i]);
        expect(text("interrupt type %u names itself", i), i, irqs[i].index);
    }
}

static uint8_t *map_region(const struct region *region, uint64_t offset, uint64_t size) {
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd, (off_t)(region->file_offset + offset));
    if (memory == MAP_FAILED)
        give_up(text("cannot map a region: %s", strerror(errno)));
    return memory;
}

/* ---- configuration space ------------------------------------------------------------------------------------- */

static uint8_t config[4096];

/* The offset of a capability in configuration space, 0 when there is none. */
static uint8_t find_capability(uint8_t id) {
    uint8_t at = config[PCI_CAPABILITIES] & 0xfc;
    for (unsigned guard = 0; at >= 0x40 && guard < 48; guard++, at = config[at + 1] & 0xfc)
        if (config[at] == id)
            return at;
    return 0;
}

static void check_access_sizes(struct peer *peer, uint32_t region, const uint8_t *expected, const char *what) {
    for (uint32_t size = 1; size <= 8; size *= 2) {
        uint8_t bytes[64];
        for (uint32_t at = 0; at < sizeof bytes; at += size)
            if (region_read(peer, region, at, bytes + at, size) != 0)
                give_up(text("%s: a read of %u bytes at %u was refused", what, size, at));
        expect_bytes(text("%s reads the same in accesses of %u", what, size), expected, bytes, sizeof bytes);
    }
}

static void check_bar_size(struct peer *peer, unsigned bar) {
    uint64_t at = PCI_BAR0 + 4 * bar;
    put(peer, REGION_CONFIG, at, 4, 0xffffffff);
    uint32_t low = (uint32_t)get(peer, REGION_CONFIG, at, 4);
    uint64_t mask = (low & ~0xfu) | 0xffffffff00000000;
    if ((low & 6) == 4) {
        put(peer, REGION_CONFIG, at + 4, 4, 0xffffffff);
        mask = (low & ~0xfu) | get(peer, REGION_CONFIG, at + 4, 4) << 32;
        put(peer, REGION_CONFIG, at + 4, 4, 0);
    }
    expect(text("BAR%u sizes as its region", bar), regions[bar].size, ~mask + 1);
    put(peer, REGION_CONFIG, at, 4, 0xe0000000);
    expect(text("BAR%u keeps an address", bar), 0xe0000000, get(peer, REGION_CONFIG, at, 4) & ~0xfull);
}

static void check_config(struct peer *peer, uint32_t identity) {
    uint32_t size = (uint32_t)regions[REGION_CONFIG].size;
    expect_true("configuration space has 256 or 4096 bytes", size == 256 || size == 4096, text("%u", size));
    if (region_read(peer, REGION_CONFIG, 0, config, size > 4096 ? 4096 : size) != 0)
        give_up("configuration space cannot be read at once");
    uint32_t found;
    memcpy(&found, config, sizeof found);
    if (identity != 0)
        expect("the vendor and the device", identity, found);
    check_access_sizes(peer, REGION_CONFIG, config, "configuration space");
    put(peer, REGION_CONFIG, PCI_INTERRUPT_LINE, 1, 0x2b);
    expect("INTERRUPT_LINE keeps a byte", 0x2b, get(peer, REGION_CONFIG, PCI_INTERRUPT_LINE, 1));
    put(peer, REGION_CONFIG, 0, 2, 0xdead);
    expect("the vendor is read-only", found & 0xffff, get(peer, REGION_CONFIG, 0, 2));
    for (unsigned bar = 0; bar < 6; bar++)
        if (regions[bar].size != 0)
            check_bar_size(peer, bar);
    put(peer, REGION_CONFIG, PCI_COMMAND, 2, COMMAND_MEMORY | COMMAND_MASTER);
    expect("COMMAND keeps memory space and bus master", COMMAND_MEMORY | COMMAND_MASTER,
           get(peer, REGION_CONFIG, PCI_COMMAND, 2));
}

/* ---- interrupts ---------------------------------------------------------------------------------------------- */

static int set_irqs(struct peer *peer, uint32_t index, uint32_t flags, uint32_t start, uint32_t count, const int *fds,
                    size_t nfds) {
    struct irq_set set = {sizeof set, flags, index, start, count};
    return call_with_fds(peer, DEVICE_SET_IRQS, &set, sizeof set, fds, nfds);
}

static int wire(struct peer *peer, uint32_t index, uint32_t vector) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = set_irqs(peer, index, DATA_EVENTFD | ACTION_TRIGGER, vector, 1, &fd, 1);
    expect_error(text("interrupt type %u, vector %u takes an eventfd", index, vector), 0, error);
    return fd;
}

static bool fired(struct peer *peer, int fd, int timeout_ms) {
    eventfd_t count;
    return serve_until_readable(peer, fd, timeout_ms) && eventfd_read(fd, &count) == 0;
}

static void expect_interrupt(struct peer *peer, const char *what, int fd) {
    expect_true(what, fired(peer, fd, PATIENCE_MS), "no interrupt within a minute");
}

static void expect_silence(struct peer *peer, const char *what, int fd) {
    expect_true(what, !fired(peer, fd, SILENCE_MS), "an interrupt");
}

static void disable_irqs(struct peer *peer, uint32_t index) {
    expect_error(text("interrupt type %u is disabled", index), 0,
                 set_irqs(peer, index, DATA_NONE | ACTION_TRIGGER, 0, 0, NULL, 0));
}

/* What a client may do without the device: trigger, by none and by bool. */
static void check_client_trigger(struct peer *peer, uint32_t index, int fd) {
    struct PACKED {
        struct irq_set set;
        uint8_t data;
    } by_bool = {{sizeof by_bool, DATA_BOOL | ACTION_TRIGGER, index, 0, 1}, 1};
    set_irqs(peer, index, DATA_NONE | ACTION_TRIGGER, 0, 1, NULL, 0);
    expect_interrupt(peer, text("the client triggers interrupt type %u", index), fd);
    call(peer, DEVICE_SET_IRQS, &by_bool, sizeof by_bool);
    expect_interrupt(peer, text("the client triggers interrupt type %u by a boolean", index), fd);
    by_bool.data = 0;
    call(peer, DEVICE_SET_IRQS, &by_bool, sizeof by_bool);
    expect_silence(peer, text("a boolean of 0 triggers nothing of interrupt type %u", index), fd);
}

/* ---- DMA maps ------------------------------------------------------------------------------------------------ */

static int try_map(struct peer *peer, uint64_t iova, uint64_t size, uint32_t flags, int fd) {
    struct dma_map map = {sizeof map, flags, 0, iova, size};
    return call_with_fds(peer, DMA_MAP, &map, sizeof map, &fd, fd >= 0 ? 1 : 0);
}

/* Guest memory at `iova`: of a memfd that the server gets, or without one. */
static uint8_t *add_guest(struct peer *peer, uint64_t iova, uint64_t size, uint32_t flags, bool by_fd) {
    int fd = by_fd ? memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING) : -1;
    if (by_fd && (fd < 0 || ftruncate(fd, (off_t)size) != 0))
        give_up(text("memfd: %s", strerror(errno)));
    void *host = mmap(NULL, size, PROT_READ | PROT_WRITE, by_fd ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
    if (host == MAP_FAILED)
        give_up(text("mmap: %s", strerror(errno)));
    int error = try_map(peer, iova, size, flags, fd);
    expect_error(text("DMA_MAP of %" PRIu64 " KiB at 0x%" PRIx64 "%s", size / KIB, iova, by_fd ? " with an fd" : ""), 0,
                 error);
    guest[guest_count++] = (struct guest_region){iova, size, flags, fd, host};
    return host;
}

/* Gives another server the memory that the first one has. */
static void share_guest(struct peer *peer) {
    for (size_t i = 0; i < guest_count; i++)
        expect_error(text("DMA_MAP of the same memory at 0x%" PRIx64, guest[i].iova), 0,
                     try_map(peer, guest[i].iova, guest[i].size, guest[i].flags, guest[i].fd));
}

static void drop_guest(void) {
    for (size_t i = 0; i < guest_count; i++) {
        munmap(guest[i].host, guest[i].size);
        if (guest[i].fd >= 0)
            close(guest[i].fd);
    }
    guest_count = 0;
}

static int unmap(struct peer *peer, uint64_t iova, uint64_t size) {
    struct dma_unmap request = {sizeof request, 0, iova, size};
    int error = call(peer, DMA_UNMAP, &request, sizeof request);
    if (error == 0)
        expect_true("the reply to DMA_UNMAP echoes the request",
                    reply.size == sizeof request && memcmp(reply.payload, &request, sizeof request) == 0,
                    text("%zu bytes", reply.size));
    return error;
}

static void check_unmap(struct peer *peer) {
    for (size_t i = 0; i < guest_count; i++)
        expect_error(text("DMA_UNMAP at 0x%" PRIx64, guest[i].iova), 0, unmap(peer, guest[i].iova, guest[i].size));
    expect_error("DMA_UNMAP of what is no longer mapped", -1, unmap(peer, guest[0].iova, guest[0].size));
    drop_guest();
}

static void fill(uint8_t *bytes, size_t size, uint32_t seed) {
    uint32_t x = seed * 2654435761u + 1;
    for (size_t i = 0; i < size; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        bytes[i] = (uint8_t)x;
    }
}

/* ---- what is refused, and leaves the connection usable --------------------------------------------------------- */

static void refused(struct peer *peer, const char *what, int expected, uint16_t number, const void *payload,
                    size_t size) {
    expect_error(what, expected, call(peer, number, payload, size));
    if (get(peer, REGION_CONFIG, 0, 2) == 0xffff)
        give_up(text("after that (%s) the device is gone", what));
}

static void check_refusals(struct peer *peer) {
    struct PACKED {
        struct region_access access;
        uint32_t data;
    } write = {{0, REGION_CONFIG, 8}, 0};
    struct region_access no_region = {0, 99, 4}, past_end = {regions[REGION_CONFIG].size - 2, REGION_CONFIG, 4};
    struct region_access wraps = {UINT64_MAX - 1, REGION_CONFIG, 4};
    struct region_access huge = {0, REGION_BAR0, LARGEST_TRANSFER + 1};
    struct region_info info = {.argsz = sizeof info, .index = 99}, small = {.argsz = 8};
    struct irq_info irq = {.argsz = sizeof irq, .index = 99};
    struct irq_set no_irq = {sizeof no_irq, DATA_NONE | ACTION_TRIGGER, 99, 0, 1};
    struct irq_set no_action = {sizeof no_action, DATA_NONE, IRQ_INTX, 0, 1};
    struct irq_set both = {sizeof both, DATA_NONE | DATA_BOOL | ACTION_TRIGGER, IRQ_INTX, 0, 1};
    struct irq_set many = {sizeof many, DATA_NONE | ACTION_TRIGGER, IRQ_INTX, 0xffffffff, 2};
    struct dma_map endless = {sizeof endless, MAP_READ, 0, UINT64_MAX - 4095, 8192}, empty = {sizeof empty, 3, 0, 0, 0};
    struct dma_access from_client = {0, 4};
    uint8_t version[512];
    refused(peer, "a read of a region that is not there", EINVAL, REGION_READ, &no_region, sizeof no_region);
    refused(peer, "a read past the end of a region", EINVAL, REGION_READ, &past_end, sizeof past_end);
    refused(peer, "a read whose end wraps around", EINVAL, REGION_READ, &wraps, sizeof wraps);
    refused(peer, "a read of more than a message may carry", EINVAL, REGION_READ, &huge, sizeof huge);
    refused(peer, "a read without its count", EINVAL, REGION_READ, &no_region, 8);
    refused(peer, "a write with less data than its count", EINVAL, REGION_WRITE, &write, sizeof write);
    refused(peer, "information on a region that is not there", EINVAL, DEVICE_GET_REGION_INFO, &info, sizeof info);
    refused(peer, "information with no room for it", EINVAL, DEVICE_GET_REGION_INFO, &small, sizeof small);
    refused(peer, "information on interrupts that are not there", EINVAL, DEVICE_GET_IRQ_INFO, &irq, sizeof irq);
    refused(peer, "interrupts that are not there", EINVAL, DEVICE_SET_IRQS, &no_irq, sizeof no_irq);
    refused(peer, "interrupts without an action", EINVAL, DEVICE_SET_IRQS, &no_action, sizeof no_action);
    refused(peer, "interrupts with two kinds of data", EINVAL, DEVICE_SET_IRQS, &both, sizeof both);
    refused(peer, "interrupts whose range wraps around", EINVAL, DEVICE_SET_IRQS, &many, sizeof many);
    refused(peer, "a DMA region that wraps around", -1, DMA_MAP, &endless, sizeof endless);
    refused(peer, "a DMA region of no size", -1, DMA_MAP, &empty, sizeof empty);
    refused(peer, "a command of the server sent by the client", -1, DMA_READ, &from_client, sizeof from_client);
    refused(peer, "an unknown command", -1, 0x7777, NULL, 0);
    struct header small_message = {++peer->id, REGION_READ, 8, 0, 0};
    send_bytes(peer->fd, &small_message, sizeof small_message);
    expect_error("a message that claims less than its header", EINVAL, await_reply(peer, peer->id, REGION_READ));
    refused(peer, "a second VERSION", -1, VERSION, version, version_payload(version, 0, qemu_capabilities));
}

/* ---- what the connection has to bear ----------------------------------------------------------------------------- */

/* `region` is one whose register at `offset` can be read any number of times. */
static void check_pipeline(struct peer *peer, uint32_t region, uint64_t offset) {
    enum { DEPTH = 16 };
    struct PACKED {
        struct header header;
        struct region_access access;
    } batch[DEPTH];
    uint16_t first = peer->id + 1;
    for (int i = 0; i < DEPTH; i++) {
        batch[i].header = (struct header){++peer->id, REGION_READ, sizeof batch[i], 0, 0};
        batch[i].access = (struct region_access){offset, region, 4};
    }
    send_bytes(peer->fd, batch, sizeof batch);
    int error = 0;
    for (uint16_t i = 0; i < DEPTH; i++)
        error |= await_reply(peer, (uint16_t)(first + i), REGION_READ);
    expect_error("16 requests in one send are answered in order", 0, error);
}

static void check_slow_sender(struct peer *peer, uint32_t region, uint64_t offset) {
    struct PACKED {
        struct header header;
        struct region_access access;
    } message = {{++peer->id, REGION_READ, sizeof message, 0, 0}, {offset, region, 4}};
    static const size_t cuts[] = {0, 5, 17, sizeof message};
    for (int i = 0; i < 3; i++) {
        send_bytes(peer->fd, (char *)&message + cuts[i], cuts[i + 1] - cuts[i]);
        poll(NULL, 0, 10);
    }
    expect_error("a request that arrives in three pieces is answered", 0,
                 await_reply(peer, message.header.id, REGION_READ));
}

/* A connection that must not get through VERSION: it is answered with an error, or closed. */
static void expect_refused_connection(const char *path, const char *what, uint16_t major) {
    uint8_t payload[512];
    struct header header = {.id = 1, .command = VERSION};
    int fd = connect_to(path);
    send_message(fd, header, payload, version_payload(payload, major, qemu_capabilities), NULL, 0);
    bool open = receive_message(fd, &reply);
    expect_true(what, !open || (reply.header.flags & ERROR_BIT) != 0, "success");
    close(fd);
}

/* Ends the connection by breaking the protocol, and takes it up again: what the device knows must have survived. */
static void check_reconnect(struct peer *peer, const char *path) {
    struct header broken = {.id = 1, .command = REGION_READ, .size = UINT32_MAX};
    put(peer, REGION_CONFIG, PCI_INTERRUPT_LINE, 1, 0x5c);
    expect_refused_connection(path, "a second client is refused while the first is there", 0);
    expect("the first client is none the worse", 0x5c, get(peer, REGION_CONFIG, PCI_INTERRUPT_LINE, 1));
    send_bytes(peer->fd, &broken, sizeof broken);
    expect_true("a message that claims 4 GiB ends the connection", !receive_message(peer->fd, &reply), "a reply");
    detach(peer);
    expect_refused_connection(path, "protocol version 1.0 is refused", 1);
    *peer = attach(path, false);
    expect("a client that comes back finds the device as it left it", 0x5c,
           get(peer, REGION_CONFIG, PCI_INTERRUPT_LINE, 1));
}

static void check_reset(struct peer *peer) {
    put(peer, REGION_CONFIG, PCI_COMMAND, 2, COMMAND_MEMORY | COMMAND_MASTER);
    expect_error("DEVICE_RESET", 0, call(peer, DEVICE_RESET, NULL, 0));
    expect("after a reset COMMAND is 0", 0, get(peer, REGION_CONFIG, PCI_COMMAND, 2));
    expect("after a reset BAR0 is 0", 0, get(peer, REGION_CONFIG, PCI_BAR0, 4) & ~0xfull);
}

/* ---- the educational device ------------------------------------------------------------------------------------ */

enum {
    EDU_IDENTITY = 0x11e81234,
    EDU_ID = 0x00,
    EDU_LIVENESS = 0x04,
    EDU_FACTORIAL = 0x08,
    EDU_STATUS = 0x20,
    EDU_IRQ_STATUS = 0x24,
    EDU_RAISE = 0x60,
    EDU_ACKNOWLEDGE = 0x64,
    EDU_DMA_SOURCE = 0x80,
    EDU_DMA_DESTINATION = 0x88,
    EDU_DMA_COUNT = 0x90,
    EDU_DMA_COMMAND = 0x98,
    EDU_BUFFER = 0x40000,
    EDU_BUFFER_SIZE = 4096,
    EDU_COMPUTING = 1,
    EDU_FACTORIAL_IRQ = 0x80,
    EDU_DMA_START = 1,
    EDU_DMA_TO_RAM = 2,
    EDU_DMA_IRQ = 4,
    EDU_DMA_DONE = 0x100,
};
/* Two regions that touch: the server has the fd of the first only. The third may not be written. */
enum { GUEST_MAPPED = 0x100000, GUEST_MESSAGES = 0x110000, GUEST_SIZE = 0x10000, GUEST_READ_ONLY = 0x200000 };

static uint64_t edu_get(struct peer *peer, uint64_t at) {
    return get(peer, REGION_BAR0, at, 4);
}

static void edu_put(struct peer *peer, uint64_t at, uint64_t value) {
    put(peer, REGION_BAR0, at, 4, value);
}

/* Reads a register until `mask` is clear in it, answering DMA messages meanwhile; false after a minute. */
static bool edu_settles(struct peer *peer, uint64_t at, uint32_t mask) {
    for (int waited = 0; waited < PATIENCE_MS; waited += 5) {
        if ((edu_get(peer, at) & mask) == 0)
            return true;
        serve_until_readable(peer, -1, 5);
    }
    return false;
}

static void edu_start_dma(struct peer *peer, uint64_t from, uint64_t to, uint64_t count, uint32_t flags) {
    put(peer, REGION_BAR0, EDU_DMA_SOURCE, 8, from);
    put(peer, REGION_BAR0, EDU_DMA_DESTINATION, 8, to);
    put(peer, REGION_BAR0, EDU_DMA_COUNT, 8, count);
    edu_put(peer, EDU_DMA_COMMAND, EDU_DMA_START | flags);
}

static void edu_dma(struct peer *peer, const char *what, uint64_t from, uint64_t to, uint64_t count, uint32_t flags) {
    edu_start_dma(peer, from, to, count, flags);
    if (!edu_settles(peer, EDU_DMA_COMMAND, EDU_DMA_START))
        give_up(text("%s: the transfer does not end", what));
}

static void edu_check_registers(struct peer *peer) {
    expect("edu: identification", 0x010000ed, edu_get(peer, EDU_ID));
    edu_put(peer, EDU_LIVENESS, 0x12345678);
    expect("edu: the liveness register inverts", 0xedcba987, edu_get(peer, EDU_LIVENESS));
    uint32_t posted = 0x00ff00ff;
    post_write(peer, REGION_BAR0, EDU_LIVENESS, &posted, sizeof posted);
    expect("edu: a posted write is done before the read behind it", 0xff00ff00, edu_get(peer, EDU_LIVENESS));
    edu_put(peer, EDU_FACTORIAL, 10);
    expect_true("edu: the factorial is computed", edu_settles(peer, EDU_STATUS, EDU_COMPUTING), "no end in 5 seconds");
    expect("edu: the factorial of 10", 3628800, edu_get(peer, EDU_FACTORIAL));
    put(peer, REGION_BAR0, EDU_DMA_SOURCE, 8, 0x7654321);
    expect("edu: a register of 8 bytes", 0x7654321, get(peer, REGION_BAR0, EDU_DMA_SOURCE, 8));
    expect("edu: its lower half", 0x7654321, edu_get(peer, EDU_DMA_SOURCE));
}

/* Several writes in one message, if that was agreed: done in order, answered with how many were done. */
static void edu_check_multi(struct peer *peer) {
    struct PACKED {
        uint64_t count;
        struct multi_write write[3];
    } multi = {3,
               {{EDU_LIVENESS, REGION_BAR0, 4, 1},
                {EDU_DMA_SOURCE, REGION_BAR0, 8, 0x40},
                {EDU_LIVENESS, REGION_BAR0, 4, 2}}};
    uint64_t done;
    if (!write_multi_agreed)
        return;
    must_call(peer, "REGION_WRITE_MULTI", REGION_WRITE_MULTI, &multi, sizeof multi, &done, sizeof done);
    expect("edu: REGION_WRITE_MULTI reports its writes", 3, done);
    expect("edu: its last write came last", ~2u, edu_get(peer, EDU_LIVENESS));
    expect("edu: and none was left out", 0x40, get(peer, REGION_BAR0, EDU_DMA_SOURCE, 8));
}

static void edu_acknowledge(struct peer *peer) {
    edu_put(peer, EDU_ACKNOWLEDGE, edu_get(peer, EDU_IRQ_STATUS));
}

/* INTx is a level: it masks itself, and fires again when unmasked while it is asserted. */
static void edu_check_intx(struct peer *peer) {
    int fd = wire(peer, IRQ_INTX, 0);
    expect("edu: one INTx, which masks itself", 1u << 8 | IRQ_AUTOMASKED,
           irqs[IRQ_INTX].count << 8 | (irqs[IRQ_INTX].flags & IRQ_AUTOMASKED));
    edu_put(peer, EDU_RAISE, 0x42);
    expect_interrupt(peer, "edu: INTx fires", fd);
    expect("edu: the interrupt status says why", 0x42, edu_get(peer, EDU_IRQ_STATUS));
    edu_put(peer, EDU_RAISE, 1);
    expect_silence(peer, "edu: INTx is masked until the client unmasks it", fd);
    expect_error("edu: UNMASK of INTx", 0, set_irqs(peer, IRQ_INTX, DATA_NONE | ACTION_UNMASK, 0, 1, NULL, 0));
    expect_interrupt(peer, "edu: INTx that is still asserted fires when unmasked", fd);
    edu_acknowledge(peer);
    expect("edu: acknowledging clears the interrupt status", 0, edu_get(peer, EDU_IRQ_STATUS));
    set_irqs(peer, IRQ_INTX, DATA_NONE | ACTION_UNMASK, 0, 1, NULL, 0);
    expect_silence(peer, "edu: INTx that is not asserted stays silent when unmasked", fd);
    edu_put(peer, EDU_STATUS, EDU_FACTORIAL_IRQ);
    edu_put(peer, EDU_FACTORIAL, 5);
    expect_interrupt(peer, "edu: the end of a factorial interrupts", fd);
    expect("edu: the factorial of 5", 120, edu_get(peer, EDU_FACTORIAL));
    edu_acknowledge(peer);
    edu_put(peer, EDU_STATUS, 0);
    set_irqs(peer, IRQ_INTX, DATA_NONE | ACTION_UNMASK, 0, 1, NULL, 0);
    disable_irqs(peer, IRQ_INTX);
    close(fd);
}

static void edu_check_msi(struct peer *peer) {
    uint8_t at = find_capability(CAP_MSI);
    if (!expect_true("edu: there is an MSI capability", at != 0, "none"))
        return;
    expect("edu: one MSI", 1, irqs[IRQ_MSI].count);
    int fd = wire(peer, IRQ_MSI, 0);
    put(peer, REGION_CONFIG, at + 2, 2, (get(peer, REGION_CONFIG, at + 2, 2) & ~1ull) | 1);
    check_client_trigger(peer, IRQ_MSI, fd);
    edu_put(peer, EDU_RAISE, 2);
    expect_interrupt(peer, "edu: MSI fires", fd);
    edu_put(peer, EDU_RAISE, 4);
    expect_interrupt(peer, "edu: MSI is not masked by firing", fd);
    edu_acknowledge(peer);
    disable_irqs(peer, IRQ_MSI);
    edu_put(peer, EDU_RAISE, 2);
    expect_silence(peer, "edu: MSI that was disabled is silent", fd);
    edu_acknowledge(peer);
    put(peer, REGION_CONFIG, at + 2, 2, get(peer, REGION_CONFIG, at + 2, 2) & ~1ull);
    close(fd);
}

/* There and back again: the buffer is loaded from `from` and stored to `to`. */
static void edu_round_trip(struct peer *peer, const char *what, uint8_t *source, uint64_t from, uint8_t *target,
                           uint64_t to, size_t size) {
    static uint32_t seed = 1;
    fill(source, size, seed++);
    memset(target, 0, size);
    edu_dma(peer, what, from, EDU_BUFFER, size, 0);
    edu_dma(peer, what, EDU_BUFFER, to, size, EDU_DMA_TO_RAM);
    expect_bytes(what, source, target, size);
}

static void edu_check_protection(struct peer *peer) {
    uint8_t before[256], *target = guest[2].host;
    fill(target, sizeof before, 99);
    memcpy(before, target, sizeof before);
    edu_dma(peer, "edu: DMA to read-only memory", EDU_BUFFER, GUEST_READ_ONLY, sizeof before, EDU_DMA_TO_RAM);
    expect_bytes("edu: DMA does not write what is mapped for reading only", before, target, sizeof before);
    edu_dma(peer, "edu: DMA to nowhere", EDU_BUFFER, 0x8000000, sizeof before, EDU_DMA_TO_RAM);
    expect("edu: DMA to nowhere leaves the device alive", 0x010000ed, edu_get(peer, EDU_ID));
}

static void edu_check_dma(struct peer *peer) {
    enum { HALF = 2048, WHOLE = 4096 };
    uint8_t *mapped = add_guest(peer, GUEST_MAPPED, GUEST_SIZE, MAP_READ | MAP_WRITE, true);
    uint8_t *messages = add_guest(peer, GUEST_MESSAGES, GUEST_SIZE, MAP_READ | MAP_WRITE, false);
    add_guest(peer, GUEST_READ_ONLY, WHOLE, MAP_READ, true);
    expect_error("a region over another is refused", EEXIST, try_map(peer, GUEST_MAPPED + WHOLE, WHOLE, 3, -1));
    edu_round_trip(peer, "edu: DMA through a mapping", mapped, GUEST_MAPPED, mapped + WHOLE, GUEST_MAPPED + WHOLE,
                   WHOLE);
    expect("edu: DMA to mapped memory needs no message", 0, dma_messages_for_maps);
    edu_round_trip(peer, "edu: DMA by messages", messages, GUEST_MESSAGES, messages + WHOLE, GUEST_MESSAGES + WHOLE,
                   WHOLE);
    expect_true("edu: DMA to unmapped memory is done by messages", dma_messages >= 2, text("%u", dma_messages));
    peer->as_qemu = true;
    edu_round_trip(peer, "edu: DMA by messages that are answered only between register accesses", messages,
                   GUEST_MESSAGES, messages + WHOLE, GUEST_MESSAGES + WHOLE, WHOLE);
    peer->as_qemu = false;
    uint8_t across[WHOLE];
    fill(across, WHOLE, 77);
    memcpy(mapped + GUEST_SIZE - HALF, across, HALF);
    memcpy(messages, across + HALF, HALF);
    edu_dma(peer, "edu: DMA over two regions", GUEST_MESSAGES - HALF, EDU_BUFFER, WHOLE, 0);
    edu_dma(peer, "edu: DMA over two regions", EDU_BUFFER, GUEST_MAPPED, WHOLE, EDU_DMA_TO_RAM);
    expect_bytes("edu: DMA over a mapped and an unmapped region", across, mapped, WHOLE);
    edu_check_protection(peer);
    int fd = wire(peer, IRQ_INTX, 0);
    edu_start_dma(peer, GUEST_MESSAGES, EDU_BUFFER, 64, EDU_DMA_IRQ);
    expect_interrupt(peer, "edu: the end of a transfer interrupts", fd);
    expect("edu: the interrupt status says so", EDU_DMA_DONE, edu_get(peer, EDU_IRQ_STATUS) & EDU_DMA_DONE);
    edu_acknowledge(peer);
    disable_irqs(peer, IRQ_INTX);
    close(fd);
}

static void edu_check_reset(struct peer *peer) {
    edu_put(peer, EDU_LIVENESS, 1);
    check_reset(peer);
    put(peer, REGION_CONFIG, PCI_COMMAND, 2, COMMAND_MEMORY | COMMAND_MASTER);
    expect("edu: after a reset the identification is there", 0x010000ed, edu_get(peer, EDU_ID));
    edu_round_trip(peer, "edu: the DMA maps survive a reset", guest[0].host, GUEST_MAPPED, guest[0].host + 4096,
                   GUEST_MAPPED + 4096, 512);
}

static void drive_edu(const char *path, bool twin) {
    struct peer peer = attach(path, twin);
    describe(&peer);
    expect("edu: BAR0 has 1 MiB", 1 << 20, regions[REGION_BAR0].size);
    check_config(&peer, EDU_IDENTITY);
    edu_check_registers(&peer);
    edu_check_multi(&peer);
    edu_check_intx(&peer);
    edu_check_msi(&peer);
    edu_check_dma(&peer);
    check_refusals(&peer);
    check_pipeline(&peer, REGION_BAR0, EDU_ID);
    check_slow_sender(&peer, REGION_BAR0, EDU_ID);
    edu_check_reset(&peer);
    check_unmap(&peer);
    check_reconnect(&peer, path);
    detach(&peer);
}

/* ---- the memory device ----------------------------------------------------------------------------------------- */

enum {
    MEM_ID = 0x00,
    MEM_SIZE_LOW = 0x08,
    MEM_DMA_ADDRESS = 0x10, /* 64 bits */
    MEM_DMA_LENGTH = 0x18,
    MEM_COMMAND = 0x1c,
    MEM_STATUS = 0x20,
    MEM_RESULT = 0x24,
    MEM_ERROR = 0x28,
    MEM_VECTOR = 0x2c,
    MEM_TICKS = 0x30,
    MEM_PERIOD = 0x34,
    MEM_INTERRUPTS = 0x38,
    MEM_DOORBELL = 0x3c,
    MEM_INTERRUPT_STATUS = 0x40,
    MEM_SCRATCH = 0x80,
    MEM_CHECKSUM = 1,
    MEM_ECHO = 2,
    MEM_BUSY = 1,
    MEM_DONE = 2,
    MEM_FAILED = 4,
    MEM_VECTORS = 4,
    MEM_PAGE = 4096,
    MEM_CHUNK = 64 * KIB,
};

static uint32_t crc32(uint32_t crc, const uint8_t *bytes, size_t size) {
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static uint32_t mem_get(struct peer *peer, uint64_t at) {
    return (uint32_t)get(peer, REGION_BAR0, at, 4);
}

static void mem_put(struct peer *peer, uint64_t at, uint32_t value) {
    put(peer, REGION_BAR0, at, 4, value);
}

/* Reads the counter until it is beyond `count`; false after a minute. */
static bool mem_ticks_beyond(struct peer *peer, uint32_t count) {
    for (int waited = 0; waited < PATIENCE_MS; waited += 5) {
        if (mem_get(peer, MEM_TICKS) > count)
            return true;
        poll(NULL, 0, 5);
    }
    return false;
}

static void mem_check_registers(struct peer *peer) {
    expect("memory: identification", 0x4d454d46, mem_get(peer, MEM_ID));
    expect("memory: the size of BAR2", regions[REGION_BAR2].size, get(peer, REGION_BAR0, MEM_SIZE_LOW, 8));
    for (uint32_t size = 1; size <= 8; size *= 2)
        for (uint32_t at = 0; at < KIB; at += size)
            get(peer, REGION_BAR0, at, size);
    expect_true("memory: the first KiB of registers is readable in accesses of 1, 2, 4 and 8", true, "");
    for (uint32_t at = MEM_SCRATCH; at < KIB; at += 4)
        mem_put(peer, at, at * 0x01010101);
    unsigned wrong = 0;
    for (uint32_t at = MEM_SCRATCH; at < KIB; at += 4)
        wrong += mem_get(peer, at) != at * 0x01010101;
    expect("memory: scratch registers that do not keep their value", 0, wrong);
    uint32_t posted = 0xfeedface;
    post_write(peer, REGION_BAR0, MEM_SCRATCH, &posted, sizeof posted);
    expect("memory: a posted write is done before the read behind it", posted, mem_get(peer, MEM_SCRATCH));
    mem_put(peer, MEM_PERIOD, 1);
    uint32_t before = mem_get(peer, MEM_TICKS);
    expect_true("memory: the counter ticks", mem_ticks_beyond(peer, before), "the same count");
    mem_put(peer, MEM_PERIOD, 0);
    before = mem_get(peer, MEM_TICKS);
    poll(NULL, 0, 50);
    expect("memory: the counter stops with a period of 0", before, mem_get(peer, MEM_TICKS));
}

static void mem_check_accesses(struct peer *peer) {
    static uint8_t pattern[LARGEST_TRANSFER], back[LARGEST_TRANSFER];
    uint64_t size = regions[REGION_BAR2].size;
    for (uint32_t width = 1; width <= 8; width *= 2) {
        fill(pattern, 64, width);
        for (uint32_t at = 0; at < 64; at += width)
            if (region_write(peer, REGION_BAR2, at, pattern + at, width) != 0)
                give_up(text("memory: a write of %u bytes was refused", width));
        region_read(peer, REGION_BAR2, 0, back, 64);
        expect_bytes(text("memory: writes of %u bytes", width), pattern, back, 64);
        check_access_sizes(peer, REGION_BAR2, pattern, "memory");
    }
    uint32_t most = size < LARGEST_TRANSFER ? (uint32_t)size : LARGEST_TRANSFER;
    fill(pattern, most, 5);
    expect_error("memory: a write of 1 MiB", 0, region_write(peer, REGION_BAR2, size - most, pattern, most));
    expect_error("memory: a read of 1 MiB", 0, region_read(peer, REGION_BAR2, size - most, back, most));
    expect_bytes("memory: the largest access there is", pattern, back, most);
    expect_error("memory: an access past the end", EINVAL, region_read(peer, REGION_BAR2, size - 4, back, 8));
}

/* The part of BAR2 that may be mapped: where it begins, and how long it is. */
static struct area mappable(void) {
    const struct region *bar = &regions[REGION_BAR2];
    return bar->areas > 0 ? bar->area[0] : (struct area){0, bar->size};
}

static void mem_check_mapping(struct peer *peer) {
    if (!expect_true("memory: BAR2 can be mapped", (regions[REGION_BAR2].flags & INFO_MMAP) != 0, "no"))
        return;
    struct area area = mappable();
    uint8_t *mapped = map_region(&regions[REGION_BAR2], area.offset, area.size), there[256], pattern[256];
    fill(pattern, sizeof pattern, 21);
    memcpy(mapped, pattern, sizeof pattern);
    region_read(peer, REGION_BAR2, area.offset, there, sizeof there);
    expect_bytes("memory: what is stored through the mapping is read by messages", pattern, there, sizeof there);
    fill(pattern, sizeof pattern, 22);
    region_write(peer, REGION_BAR2, area.offset + area.size - sizeof pattern, pattern, sizeof pattern);
    expect_bytes("memory: what is written by messages is seen through the mapping", pattern,
                 mapped + area.size - sizeof pattern, sizeof pattern);
    munmap(mapped, area.size);
}

/* As QEMU enables MSI-X: first one vector without an fd, then the eventfds; then the bit in configuration space. */
static void mem_wire(struct peer *peer, int *fds) {
    expect_error("memory: MSI-X is enabled without an eventfd", 0,
                 set_irqs(peer, IRQ_MSIX, DATA_EVENTFD | ACTION_TRIGGER, 0, 1, NULL, 0));
    /* One that blocks, for a thread that waits in read(2). */
    for (int i = 0; i < MEM_VECTORS; i++)
        fds[i] = eventfd(0, i == MEM_VECTORS - 1 ? EFD_CLOEXEC : EFD_CLOEXEC | EFD_NONBLOCK);
    expect_error("memory: four vectors take four eventfds", 0,
                 set_irqs(peer, IRQ_MSIX, DATA_EVENTFD | ACTION_TRIGGER, 0, MEM_VECTORS, fds, MEM_VECTORS));
}

static void mem_enable_msix(struct peer *peer, bool enable) {
    uint8_t at = find_capability(CAP_MSIX);
    if (at == 0)
        give_up("memory: no MSI-X capability");
    uint64_t control = get(peer, REGION_CONFIG, at + 2, 2);
    expect("memory: the MSI-X capability has four vectors", MEM_VECTORS - 1, control & 0x7ff);
    put(peer, REGION_CONFIG, at + 2, 2, enable ? control | 0x8000 : control & 0x3fff);
}

static void mem_check_vectors(struct peer *peer, const int *fds) {
    uint32_t before = mem_get(peer, MEM_INTERRUPTS);
    for (unsigned v = 0; v < MEM_VECTORS; v++) {
        post_write(peer, REGION_BAR0, MEM_DOORBELL, &v, sizeof v);
        expect_interrupt(peer, text("memory: the doorbell raises vector %u", v), fds[v]);
    }
    for (unsigned v = 0; v < MEM_VECTORS; v++)
        expect_true(text("memory: vector %u was raised once", v), !fired(peer, fds[v], 0), "more");
    expect("memory: the device counts its interrupts", before + MEM_VECTORS, mem_get(peer, MEM_INTERRUPTS));
}

/* What the device hands out for the write at `offset`: its place in the reply, or NULL. */
static const struct io_sub_region *mem_find_doorbell(const struct io_sub_region *entries, uint32_t count,
                                                     uint64_t offset) {
    for (uint32_t i = 0; i < count; i++)
        if (entries[i].offset == offset && entries[i].size == 4 && entries[i].fd_index < reply.nfds)
            return &entries[i];
    give_up(text("memory: no doorbell at 0x%" PRIx64, offset));
}

/* Rings the doorbell as KVM would for a guest's write: the value into shared memory, then the eventfd. */
static void mem_ring_shadow(struct peer *peer, const int *fds, const struct io_sub_region *entry) {
    if (entry->shadow_fd_index >= reply.nfds || entry->shadow_offset + 4 > MEM_PAGE)
        give_up("memory: the doorbell's value has no place");
    uint8_t *page = mmap(NULL, MEM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, reply.fds[entry->shadow_fd_index], 0);
    if (page == MAP_FAILED)
        give_up(text("memory: the doorbell's memory can't be mapped: %s", strerror(errno)));
    int bell = dup(reply.fds[entry->fd_index]);
    uint64_t at = entry->shadow_offset;
    for (uint32_t v = MEM_VECTORS; v-- > 0;) {
        memcpy(page + at, &v, sizeof v);
        eventfd_write(bell, 1);
        expect_interrupt(peer, text("memory: an eventfd and shared memory raise vector %u", v), fds[v]);
    }
    munmap(page, MEM_PAGE);
    close(bell);
}

static void mem_check_doorbells(struct peer *peer, const int *fds) {
    struct io_fds request = {.argsz = sizeof request, .index = REGION_BAR0}, answer;
    must_call(peer, "DEVICE_GET_REGION_IO_FDS", DEVICE_GET_REGION_IO_FDS, &request, sizeof request, &answer,
              sizeof answer);
    expect("memory: too small an argsz brings no descriptors", 0, reply.nfds);
    expect("memory: but says what it takes", sizeof answer + answer.count * sizeof(struct io_sub_region), answer.argsz);
    request.argsz = answer.argsz;
    struct io_sub_region entries[8];
    if (answer.count == 0 || answer.count > 8)
        give_up(text("memory: %u doorbells", answer.count));
    int error = call(peer, DEVICE_GET_REGION_IO_FDS, &request, sizeof request);
    if (error != 0 || reply.size != answer.argsz)
        give_up(text("memory: %s, %zu bytes of doorbells", error_name(error), reply.size));
    memcpy(entries, reply.payload + sizeof answer, answer.count * sizeof entries[0]);
    const struct io_sub_region *command = mem_find_doorbell(entries, answer.count, MEM_COMMAND);
    expect("memory: COMMAND is rung by the value of a checksum", IO_DATAMATCH, command->flags);
    expect("memory: that value", MEM_CHECKSUM, command->datamatch);
    const struct io_sub_region *doorbell = mem_find_doorbell(entries, answer.count, MEM_DOORBELL);
    expect("memory: DOORBELL is rung with a value in shared memory", IO_EVENTFD_SHADOW, doorbell->type);
    int start = dup(reply.fds[command->fd_index]);
    mem_ring_shadow(peer, fds, doorbell);
    put(peer, REGION_BAR0, MEM_DMA_LENGTH, 4, 0);
    mem_put(peer, MEM_VECTOR, 1);
    eventfd_write(start, 1);
    expect_interrupt(peer, "memory: an eventfd starts a checksum, which ends with its interrupt", fds[1]);
    mem_put(peer, MEM_STATUS, MEM_DONE | MEM_FAILED);
    close(start);
}

static void mem_check_flags(const int *fds) {
    for (int i = 0; i < MEM_VECTORS; i++)
        expect(text("memory: the eventfd of vector %d is as it was", i), i == MEM_VECTORS - 1 ? 0 : O_NONBLOCK,
               fcntl(fds[i], F_GETFL) & O_NONBLOCK);
}

static void mem_check_intx(struct peer *peer) {
    int fd = wire(peer, IRQ_INTX, 0);
    mem_put(peer, MEM_INTERRUPT_STATUS, 0xf);
    mem_put(peer, MEM_DOORBELL, 1);
    expect_interrupt(peer, "memory: without MSI-X the doorbell raises INTx", fd);
    set_irqs(peer, IRQ_INTX, DATA_NONE | ACTION_UNMASK, 0, 1, NULL, 0);
    expect_interrupt(peer, "memory: INTx fires again while it is asserted", fd);
    expect("memory: the interrupt status names the vector", 2, mem_get(peer, MEM_INTERRUPT_STATUS));
    mem_put(peer, MEM_INTERRUPT_STATUS, 2);
    set_irqs(peer, IRQ_INTX, DATA_NONE | ACTION_UNMASK, 0, 1, NULL, 0);
    expect_silence(peer, "memory: INTx is deasserted by acknowledging", fd);
    disable_irqs(peer, IRQ_INTX);
    close(fd);
}

/* Has the device compute the checksum of a guest buffer; its interrupt is awaited at fds[vector]. */
static void mem_checksum(struct peer *peer, const char *what, uint64_t iova, uint32_t size, uint32_t expected,
                         const int *fds) {
    static uint32_t vector;
    vector = (vector + 1) % MEM_VECTORS;
    mem_put(peer, MEM_STATUS, MEM_DONE | MEM_FAILED);
    put(peer, REGION_BAR0, MEM_DMA_ADDRESS, 8, iova);
    mem_put(peer, MEM_DMA_LENGTH, size);
    mem_put(peer, MEM_VECTOR, vector);
    mem_put(peer, MEM_COMMAND, MEM_CHECKSUM);
    expect_interrupt(peer, text("%s: its interrupt", what), fds[vector]);
    expect(text("%s: the status", what), MEM_DONE, mem_get(peer, MEM_STATUS));
    expect(text("%s: the result", what), expected, mem_get(peer, MEM_RESULT));
}

static void mem_check_dma(struct peer *peer, const int *fds) {
    enum { BIG = 0x180000, MESSAGES = GUEST_MAPPED + BIG };
    uint8_t *mapped = add_guest(peer, GUEST_MAPPED, BIG, MAP_READ | MAP_WRITE, true);
    uint8_t *messages = add_guest(peer, MESSAGES, BIG, MAP_READ, false);
    fill(mapped, BIG, 31);
    fill(messages, BIG, 32);
    expect_error("a region over another is refused", EEXIST, try_map(peer, MESSAGES - MEM_PAGE, 2 * MEM_PAGE, 3, -1));
    mem_checksum(peer, "memory: DMA through a mapping", GUEST_MAPPED + 3, BIG - 7, crc32(0, mapped + 3, BIG - 7), fds);
    expect("memory: DMA to mapped memory needs no message", 0, dma_messages);
    mem_checksum(peer, "memory: DMA by messages", MESSAGES + 1, BIG - 1, crc32(0, messages + 1, BIG - 1), fds);
    expect_true("memory: a buffer larger than a message takes several", dma_messages >= 2, text("%u", dma_messages));
    peer->as_qemu = true;
    mem_checksum(peer, "memory: DMA answered only between register accesses", MESSAGES, BIG, crc32(0, messages, BIG),
                 fds);
    peer->as_qemu = false;
    uint32_t across = crc32(crc32(0, mapped + BIG - 5000, 5000), messages, 6000);
    mem_checksum(peer, "memory: DMA over two regions", MESSAGES - 5000, 11000, across, fds);
    expect("memory: no mapped memory was asked for by message", 0, dma_messages_for_maps);
}

static void mem_check_failure(struct peer *peer, const int *fds) {
    mem_put(peer, MEM_STATUS, MEM_DONE | MEM_FAILED);
    put(peer, REGION_BAR0, MEM_DMA_ADDRESS, 8, 0x4000000000);
    mem_put(peer, MEM_DMA_LENGTH, 4096);
    mem_put(peer, MEM_VECTOR, 3);
    mem_put(peer, MEM_COMMAND, MEM_CHECKSUM);
    expect_interrupt(peer, "memory: DMA to nowhere ends with an interrupt", fds[3]);
    expect("memory: it has failed", MEM_FAILED, mem_get(peer, MEM_STATUS) & (MEM_FAILED | MEM_BUSY));
    expect_true("memory: it says why", mem_get(peer, MEM_ERROR) != 0, "0");
    mem_put(peer, MEM_STATUS, MEM_DONE | MEM_FAILED);
    expect("memory: the status is cleared by writing it", 0, mem_get(peer, MEM_STATUS));
    mem_put(peer, MEM_COMMAND, MEM_ECHO);
    expect_interrupt(peer, "memory: an echo raises the vector", fds[3]);
}

static void mem_check_reset(struct peer *peer) {
    mem_put(peer, MEM_SCRATCH, 1);
    put(peer, REGION_BAR2, 0, 4, 0x13579bdf);
    check_reset(peer);
    expect("memory: after a reset the scratch registers are 0", 0, mem_get(peer, MEM_SCRATCH));
    expect("memory: a reset leaves the memory alone", 0x13579bdf, get(peer, REGION_BAR2, 0, 4));
    put(peer, REGION_CONFIG, PCI_COMMAND, 2, COMMAND_MEMORY | COMMAND_MASTER);
}

static void drive_memory(const char *path, bool twin) {
    struct peer peer = attach(path, twin);
    int fds[MEM_VECTORS];
    describe(&peer);
    expect("memory: BAR0 has one page", MEM_PAGE, regions[REGION_BAR0].size);
    expect("memory: four MSI-X vectors", MEM_VECTORS, irqs[IRQ_MSIX].count);
    check_config(&peer, 0);
    mem_check_registers(&peer);
    mem_check_accesses(&peer);
    mem_check_mapping(&peer);
    mem_check_intx(&peer);
    mem_wire(&peer, fds);
    mem_enable_msix(&peer, true);
    check_client_trigger(&peer, IRQ_MSIX, fds[0]);
    mem_check_vectors(&peer, fds);
    mem_check_doorbells(&peer, fds);
    mem_check_flags(fds);
    mem_check_dma(&peer, fds);
    mem_check_failure(&peer, fds);
    check_refusals(&peer);
    check_pipeline(&peer, REGION_BAR0, MEM_ID);
    check_slow_sender(&peer, REGION_BAR0, MEM_ID);
    disable_irqs(&peer, IRQ_MSIX);
    mem_put(&peer, MEM_DOORBELL, 2);
    expect_silence(&peer, "memory: vectors that were disabled are silent", fds[2]);
    mem_check_reset(&peer);
    check_unmap(&peer);
    check_reconnect(&peer, path);
    detach(&peer);
    for (int i = 0; i < MEM_VECTORS; i++)
        close(fds[i]);
}

/* ---- migration, over the control sockets ------------------------------------------------------------------------ */

enum { READ_SIZE = 256 * KIB, WRITE_SIZE = 10007 };

/* A device's whole state, as it came from MIG_DATA_READ. */
struct state {
    uint8_t *bytes;
    size_t size, room;
};

static int set_state(struct peer *control, uint32_t state) {
    struct device_state set = {{sizeof set, SET | FEATURE_STATE}, state, -1};
    int error = call(control, DEVICE_FEATURE, &set, sizeof set);
    if (error == 0)
        expect_true(text("SET of state %u is echoed", state),
                    reply.size == sizeof set && memcmp(reply.payload, &set, sizeof set) == 0,
                    text("%zu bytes", reply.size));
    return error;
}

static uint32_t get_state(struct peer *control) {
    struct device_state state = {.feature = {sizeof state, GET | FEATURE_STATE}};
    must_call(control, "GET of the state", DEVICE_FEATURE, &state.feature, sizeof state.feature, &state, sizeof state);
    return state.state;
}

static void enter(struct peer *control, const char *who, uint32_t state) {
    expect_error(text("%s goes to state %u", who, state), 0, set_state(control, state));
    expect(text("%s is in state", who), state, get_state(control));
}

static uint64_t migration_flags(struct peer *control) {
    struct PACKED {
        struct feature feature;
        uint64_t flags;
    } answer = {{sizeof answer, GET | FEATURE_MIGRATION}, 0};
    must_call(control, "GET of the migration flags", DEVICE_FEATURE, &answer.feature, sizeof answer.feature, &answer,
              sizeof answer);
    return answer.flags;
}

static int feature(struct peer *control, uint32_t flags) {
    struct PACKED {
        struct feature feature;
        uint64_t data;
    } request = {{sizeof request, flags}, 0};
    return call(control, DEVICE_FEATURE, &request, flags & GET && !(flags & PROBE) ? 8 : sizeof request);
}

static int read_data(struct peer *control, uint32_t size, struct migration_data *answer) {
    struct migration_data request = {(uint32_t)sizeof request + size, size};
    int error = call(control, MIG_DATA_READ, &request, sizeof request);
    if (error != 0)
        return error;
    memcpy(answer, reply.payload, reply.size < sizeof *answer ? 0 : sizeof *answer);
    if (reply.size < sizeof *answer || answer->size > size || answer->size > reply.size - sizeof *answer)
        give_up(text("MIG_DATA_READ of %u bytes: a payload of %zu", size, reply.size));
    return 0;
}

static int write_data(struct peer *control, const uint8_t *bytes, uint32_t size) {
    static uint8_t payload[LARGEST_PAYLOAD];
    struct migration_data data = {(uint32_t)sizeof data + size, size};
    memcpy(payload, &data, sizeof data);
    memcpy(payload + sizeof data, bytes, size);
    return call(control, MIG_DATA_WRITE, payload, sizeof data + size);
}

/* Reads until there is no more (in PRE_COPY: for now). */
static void read_session(struct peer *control, const char *phase, struct state *state) {
    struct migration_data data = {0, 1};
    size_t before = state->size;
    bool was_short = false, gap = false;
    while (data.size != 0) {
        int error = read_data(control, READ_SIZE, &data);
        if (error != 0)
            give_up(text("%s: MIG_DATA_READ: %s", phase, error_name(error)));
        gap = gap || (was_short && data.size != 0);
        was_short = data.size < READ_SIZE;
        if (state->size + data.size > state->room) {
            state->room = 2 * state->room + READ_SIZE;
            state->bytes = realloc(state->bytes, state->room);
            if (state->bytes == NULL)
                give_up("no memory for the device's state");
        }
        memcpy(state->bytes + state->size, reply.payload + sizeof data, data.size);
        state->size += data.size;
    }
    expect_true(text("%s: %zu bytes are read, none short before the end", phase, state->size - before), !gap,
                "a short one");
}

static void check_features(struct peer *control) {
    struct migration_data data;
    uint8_t byte = 0;
    expect_error("PROBE of the migration flags", 0, feature(control, PROBE | GET | FEATURE_MIGRATION));
    expect_error("PROBE of the state", 0, feature(control, PROBE | GET | SET | FEATURE_STATE));
    expect_error("PROBE of SET for the migration flags", EINVAL, feature(control, PROBE | SET | FEATURE_MIGRATION));
    expect_error("GET and SET at once", EINVAL, feature(control, GET | SET | FEATURE_STATE));
    expect_error("neither GET nor SET nor PROBE", EINVAL, feature(control, FEATURE_STATE));
    expect_error("a feature that nobody knows", -1, feature(control, GET | 0x1234));
    expect_error("SET to ERROR", EINVAL, set_state(control, ERROR));
    expect_error("SET to a state that nobody knows", EINVAL, set_state(control, 99));
    expect_error("MIG_DATA_READ outside a session", -1, read_data(control, 4096, &data));
    expect_error("MIG_DATA_WRITE outside a session", -1, write_data(control, &byte, 1));
    expect("after all that the device runs", RUNNING, get_state(control));
}

/* Writes `size` bytes, stopping at the first refusal; a state must be known as bad at the latest on the way to STOP. */
static int try_resume(struct peer *control, const uint8_t *bytes, size_t size) {
    int error = set_state(control, RESUMING);
    for (size_t at = 0; error == 0 && at < size; at += WRITE_SIZE)
        error = write_data(control, bytes + at, (uint32_t)(size - at < WRITE_SIZE ? size - at : WRITE_SIZE));
    return error != 0 ? error : set_state(control, STOP);
}

static void check_bad_states(struct peer *control, const struct state *state) {
    expect_error("a state without its end is refused", -1, try_resume(control, state->bytes, state->size - 1));
    expect_error("a reset after it", 0, call(control, DEVICE_RESET, NULL, 0));
    expect("after the reset the device runs", RUNNING, get_state(control));
    state->bytes[state->size / 2] ^= 0x10;
    expect_error("a state with one wrong bit is refused", -1, try_resume(control, state->bytes, state->size));
    state->bytes[state->size / 2] ^= 0x10;
    expect_error("a reset after it", 0, call(control, DEVICE_RESET, NULL, 0));
    expect("after the reset the device runs", RUNNING, get_state(control));
}

/* How each device is made to have a state, changed while it is copied, and looked at where it arrived. */
struct device {
    const char *name;
    void (*prepare)(struct peer *source);
    void (*welcome)(struct peer *destination); /* before the state arrives: what belongs to the connection */
    void (*disturb)(struct peer *source);
    void (*check)(struct peer *destination);
};

static void save(struct peer *control, struct peer *source, const struct device *device, struct state *state) {
    enum { HAS_PRE_COPY = 4 };
    if (migration_flags(control) & HAS_PRE_COPY) {
        enter(control, "the source", PRE_COPY);
        read_session(control, "PRE_COPY", state);
        device->disturb(source);
        read_session(control, "PRE_COPY after changes", state);
    }
    device->disturb(source);
    enter(control, "the source", STOP_COPY);
    expect_error("STOP_COPY does not lead back to PRE_COPY", EINVAL, set_state(control, PRE_COPY));
    read_session(control, "STOP_COPY", state);
    enter(control, "the source", STOP);
}

static void move_device(const struct device *device, const char *source_path, const char *destination_path) {
    struct peer source = attach(source_path, false), destination = attach(destination_path, false);
    struct peer from = attach(text("%s.control", source_path), false);
    struct peer to = attach(text("%s.control", destination_path), false);
    struct state state = {0};
    expect_error("the source begins with a reset", 0, call(&source, DEVICE_RESET, NULL, 0));
    expect_error("and so does the destination", 0, call(&destination, DEVICE_RESET, NULL, 0));
    describe(&source);
    device->prepare(&source);
    describe(&destination);
    share_guest(&destination);
    device->welcome(&destination);
    check_features(&from);
    expect("both ends offer the same migration", migration_flags(&from), migration_flags(&to));
    save(&from, &source, device, &state);
    check_bad_states(&to, &state);
    expect_error("the whole state is taken", 0, try_resume(&to, state.bytes, state.size));
    enter(&to, "the destination", RUNNING);
    device->check(&destination);
    detach(&from);
    from = attach(text("%s.control", source_path), false);
    expect("the source stays stopped when its controller goes", STOP, get_state(&from));
    free(state.bytes);
    drop_guest();
    detach(&source);
    detach(&destination);
    detach(&from);
    detach(&to);
}

static int intx_at_destination = -1;
static uint8_t edu_content[EDU_BUFFER_SIZE];
static uint32_t edu_liveness;

static void edu_disturb(struct peer *source) {
    static uint32_t seed = 1000;
    fill(guest[0].host, EDU_BUFFER_SIZE, seed++);
    memcpy(edu_content, guest[0].host, EDU_BUFFER_SIZE);
    edu_dma(source, "edu: the buffer changes", GUEST_MAPPED, EDU_BUFFER, EDU_BUFFER_SIZE, 0);
    edu_liveness = seed;
    edu_put(source, EDU_LIVENESS, edu_liveness);
}

static void edu_prepare(struct peer *source) {
    add_guest(source, GUEST_MAPPED, GUEST_SIZE, MAP_READ | MAP_WRITE, true);
    put(source, REGION_CONFIG, PCI_BAR0, 4, 0xe0000000);
    put(source, REGION_CONFIG, PCI_INTERRUPT_LINE, 1, 0x17);
    put(source, REGION_CONFIG, PCI_COMMAND, 2, COMMAND_MEMORY | COMMAND_MASTER);
    edu_put(source, EDU_FACTORIAL, 6);
    edu_settles(source, EDU_STATUS, EDU_COMPUTING);
    edu_put(source, EDU_STATUS, EDU_FACTORIAL_IRQ);
    edu_put(source, EDU_RAISE, 0x42);
    edu_disturb(source);
}

static void edu_welcome(struct peer *destination) {
    intx_at_destination = wire(destination, IRQ_INTX, 0);
}

static void edu_check(struct peer *destination) {
    uint8_t *target = guest[0].host + EDU_BUFFER_SIZE;
    expect_interrupt(destination, "edu: the interrupt that was pending arrives at the destination",
                     intx_at_destination);
    expect("edu: its status", 0x42, edu_get(destination, EDU_IRQ_STATUS));
    expect("edu: the factorial", 720, edu_get(destination, EDU_FACTORIAL));
    expect("edu: the status", EDU_FACTORIAL_IRQ, edu_get(destination, EDU_STATUS));
    expect("edu: the liveness register, as last written", ~edu_liveness, edu_get(destination, EDU_LIVENESS));
    expect("edu: the DMA destination", EDU_BUFFER, get(destination, REGION_BAR0, EDU_DMA_DESTINATION, 8));
    expect("edu: BAR0", 0xe0000000, get(destination, REGION_CONFIG, PCI_BAR0, 4) & ~0xfull);
    expect("edu: INTERRUPT_LINE", 0x17, get(destination, REGION_CONFIG, PCI_INTERRUPT_LINE, 1));
    expect("edu: COMMAND", COMMAND_MEMORY | COMMAND_MASTER, get(destination, REGION_CONFIG, PCI_COMMAND, 2));
    memset(target, 0, EDU_BUFFER_SIZE);
    edu_dma(destination, "edu: the buffer at the destination", EDU_BUFFER, GUEST_MAPPED + EDU_BUFFER_SIZE,
            EDU_BUFFER_SIZE, EDU_DMA_TO_RAM);
    expect_bytes("edu: the buffer, as last written, through the map made before", edu_content, target, EDU_BUFFER_SIZE);
    close(intx_at_destination);
}

/* What BAR2 of the memory device must contain, and the source's mapping of it. */
static uint8_t *mem_content, *mem_mapping;
static uint64_t mem_size;
static uint32_t mem_ticks, mem_scratch;
static int mem_fds_at_destination[MEM_VECTORS];

/* Changes a few places by message and a few through the mapping, which the server does not see. */
static void memory_disturb(struct peer *source) {
    static uint32_t seed = 2000;
    struct area area = mappable();
    for (int i = 0; i < 4; i++, seed++) {
        uint64_t by_message = (seed * 0x9e3779b1u) % (mem_size - MEM_CHUNK);
        fill(mem_content + by_message, MEM_CHUNK, seed);
        if (region_write(source, REGION_BAR2, by_message, mem_content + by_message, MEM_CHUNK) != 0)
            give_up("memory: a write during the migration was refused");
        uint64_t by_store = area.offset + (seed * 0x85ebca6bu) % (area.size - MEM_CHUNK);
        fill(mem_content + by_store, MEM_CHUNK, ~seed);
        memcpy(mem_mapping + (by_store - area.offset), mem_content + by_store, MEM_CHUNK);
    }
    mem_scratch = seed;
    mem_put(source, MEM_SCRATCH, mem_scratch);
    mem_ticks = mem_get(source, MEM_TICKS);
}

static void memory_prepare(struct peer *source) {
    struct area area = mappable();
    mem_size = regions[REGION_BAR2].size;
    mem_content = malloc(mem_size);
    if (mem_content == NULL || (regions[REGION_BAR2].flags & INFO_MMAP) == 0 || area.size <= MEM_CHUNK)
        give_up("memory: BAR2 cannot be mapped, or is too small");
    mem_mapping = map_region(&regions[REGION_BAR2], area.offset, area.size);
    region_read(source, REGION_CONFIG, 0, config, 256);
    fill(mem_content, mem_size, 4711);
    for (uint64_t at = 0; at < mem_size; at += MEM_CHUNK)
        if (region_write(source, REGION_BAR2, at, mem_content + at, MEM_CHUNK) != 0)
            give_up("memory: BAR2 cannot be filled");
    add_guest(source, GUEST_MAPPED, GUEST_SIZE, MAP_READ | MAP_WRITE, true);
    put(source, REGION_CONFIG, PCI_COMMAND, 2, COMMAND_MEMORY | COMMAND_MASTER);
    put(source, REGION_CONFIG, PCI_INTERRUPT_LINE, 1, 0x2a);
    mem_put(source, MEM_PERIOD, 1);
    mem_put(source, MEM_VECTOR, 2);
    mem_enable_msix(source, true);
    memory_disturb(source);
}

static void memory_welcome(struct peer *destination) {
    mem_wire(destination, mem_fds_at_destination);
}

static void memory_check(struct peer *destination) {
    static uint8_t piece[MEM_CHUNK];
    uint64_t wrong = 0;
    for (uint64_t at = 0; at < mem_size; at += MEM_CHUNK) {
        region_read(destination, REGION_BAR2, at, piece, MEM_CHUNK);
        wrong += memcmp(piece, mem_content + at, MEM_CHUNK) != 0;
    }
    expect("memory: chunks of 64 KiB that differ at the destination", 0, wrong);
    expect("memory: the scratch register, as last written", mem_scratch, mem_get(destination, MEM_SCRATCH));
    expect("memory: VECTOR", 2, mem_get(destination, MEM_VECTOR));
    expect("memory: COMMAND", COMMAND_MEMORY | COMMAND_MASTER, get(destination, REGION_CONFIG, PCI_COMMAND, 2));
    expect("memory: INTERRUPT_LINE", 0x2a, get(destination, REGION_CONFIG, PCI_INTERRUPT_LINE, 1));
    uint32_t ticks = mem_get(destination, MEM_TICKS);
    expect_true("memory: the counter goes on where it was", ticks >= mem_ticks, text("%u after %u", ticks, mem_ticks));
    expect_true("memory: and ticks", mem_ticks_beyond(destination, ticks), "the same count");
    mem_check_vectors(destination, mem_fds_at_destination);
    fill(guest[0].host, GUEST_SIZE, 8);
    mem_checksum(destination, "memory: DMA at the destination", GUEST_MAPPED, GUEST_SIZE,
                 crc32(0, guest[0].host, GUEST_SIZE), mem_fds_at_destination);
    free(mem_content);
}

static const struct device devices[] = {
    {"edu", edu_prepare, edu_welcome, edu_disturb, edu_check},
    {"memory", memory_prepare, memory_welcome, memory_disturb, memory_check},
};

/* ---- the command line ---------------------------------------------------------------------------------------- */

static __attribute__((noreturn)) void usage(void) {
    fprintf(stderr, "usage: client edu|memory SOCKET [--twin]\n       client migrate edu|memory SOURCE DESTINATION\n");
    exit(2);
}

static const struct device *find_device(const char *name) {
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        if (strcmp(devices[i].name, name) == 0)
            return &devices[i];
    usage();
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    bool twin = argc == 4 && strcmp(argv[3], "--twin") == 0;
    if (argc == 5 && strcmp(argv[1], "migrate") == 0)
        move_device(find_device(argv[2]), argv[3], argv[4]);
    else if ((argc == 3 || twin) && strcmp(argv[1], "edu") == 0)
        drive_edu(argv[2], twin);
    else if ((argc == 3 || twin) && strcmp(argv[1], "memory") == 0)
        drive_memory(argv[2], twin);
    else
        usage();
    printf("1..%u\n", steps);
    return failures == 0 ? 0 : 1;
}

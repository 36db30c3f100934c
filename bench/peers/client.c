/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The load of the bench: a vfio-user client that measures one thing and prints one line of JSON.
 *
 *   client SOCKET --read4 N            N synchronous reads of 4 bytes: µs per round trip (10 %, at most 4000, more first, to warm up)
 *   client SOCKET --pipeline DEPTH     DEPTH reads per send (--count messages in all): ns per message
 *   client SOCKET --mig-read B SIZE    MIG_DATA_READ of SIZE bytes until B bytes or the end of the data: GB/s
 *   client SOCKET --mig-write B SIZE   MIG_DATA_WRITE in pieces of SIZE: GB/s
 *   client SOCKET --doorbell-irq N     N times: a posted write, then the interrupt it causes: µs per round trip
 *                                      (with DMA in between where the device does that: see --guest)
 *
 *   --cpu N, --spin                    pins itself; never sleeps in the kernel
 *   --region R --offset O              what is read, or written as the doorbell (0, 0); --value V is written (1)
 *   --irq INDEX --vector V             the interrupt of the doorbell (2: MSI-X, 0); MSI and MSI-X are enabled
 *   --guest BYTES [--guest-fd]         guest memory at IOVA 0, reached by messages (which are answered) or as an fd
 *   --put OFFSET:SIZE:VALUE            a register written before all doorbells; up to 8 times
 *   --state precopy|stopcopy|resuming  set before the data, RUNNING (else a reset) after them
 *   --in-flight K                      data requests sent ahead (1)
 *   --data FILE                        keeps what was read; is what is written (else zeroes)
 *   --crc32                            computes the checksum of the data as well
 *   --buffers BYTES, --timeout S       socket buffers; gives up after S seconds (60)
 */
#include "crc32.h"
#include "session.h"
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { PAYLOAD_READ4 = sizeof(struct region_access) + 4, MAX_PUTS = 8, WARM_UP = 4000 };
enum { CMD_DMA_READ = 11, CMD_DMA_WRITE = 12, CMD_RESET = 13 };

enum mode { MODE_NONE, MODE_READ4, MODE_PIPELINE, MODE_MIG_READ, MODE_MIG_WRITE, MODE_DOORBELL };

struct options {
    const char *socket, *data;
    enum mode mode;
    uint64_t n, size, count, offset, value, in_flight, buffers, timeout;
    uint64_t guest;
    uint32_t region, irq, vector, state;
    int cpu;
    bool spin, crc, guest_fd;
    struct put {
        uint64_t offset, size, value;
    } puts[MAX_PUTS];
    size_t put_count;
};

struct __attribute__((packed)) read_request {
    struct header header;
    struct region_access access;
};

struct __attribute__((packed)) dma_access {
    uint64_t address, count;
};

static uint8_t *guest;
static uint64_t guest_size;

static struct read_request read_message(const struct options *o, uint16_t id) {
    struct read_request message = {{id, CMD_REGION_READ, sizeof message, 0, 0}, {o->offset, o->region, 4}};
    return message;
}

static void read_once(const struct options *o, uint16_t id) {
    uint8_t reply[SMALL_REPLY];
    struct read_request message = read_message(o, id);
    struct iovec iov = {&message, sizeof message};
    size_t have = 0, want = sizeof(struct header);
    send_all(connection, &iov, 1);
    while (have < want) {
        size_t got = receive_some(connection, reply + have, sizeof reply - have, spin);
        if (got == 0)
            die("the server closed the connection");
        have += got;
        if (have >= sizeof(struct header))
            want = ((struct header *)reply)->size;
    }
    check_reply((struct header *)reply, CMD_REGION_READ, PAYLOAD_READ4);
    if (((struct header *)reply)->id != id || have != want)
        die("a reply that nobody asked for");
}

static void measure_read4(const struct options *o) {
    uint64_t warm_up = o->n < WARM_UP * 10 ? o->n / 10 : WARM_UP, done = 0, *ns = allocate(o->n * sizeof *ns);
    for (uint64_t i = 0; i < warm_up && !enough; i++)
        read_once(o, (uint16_t)i);
    while (done < o->n && !enough) {
        uint64_t start = now_ns();
        read_once(o, (uint16_t)done);
        ns[done++] = now_ns() - start;
    }
    print_latencies("read4", ns, done);
    free(ns);
}

/* One send of `depth` requests, then all their replies. */
static void read_batch(struct read_request *batch, uint64_t depth, uint8_t *replies, size_t size) {
    struct iovec iov = {batch, depth * sizeof *batch};
    send_all(connection, &iov, 1);
    receive_all(connection, replies, size, spin);
    for (uint64_t i = 0; i < depth; i++) {
        const struct header *reply = (const void *)(replies + i * (size / depth));
        check_reply(reply, CMD_REGION_READ, PAYLOAD_READ4);
        if (reply->id != batch[i].header.id)
            die("a reply is out of order");
    }
}

static void measure_pipeline(const struct options *o) {
    uint64_t depth = o->n, batches = (o->count + depth - 1) / depth, warm_up = batches / 10, start = now_ns();
    size_t size = depth * (sizeof(struct header) + PAYLOAD_READ4);
    struct read_request *batch = allocate(depth * sizeof *batch);
    uint8_t *replies = allocate(size);
    for (uint64_t i = 0; i < depth; i++)
        batch[i] = read_message(o, (uint16_t)i);
    for (uint64_t i = 0; i < warm_up + batches; i++) {
        if (i == warm_up)
            start = now_ns();
        read_batch(batch, depth, replies, size);
    }
    double ns = (double)(now_ns() - start);
    printf("{\"mode\":\"pipeline\",\"depth\":%llu,\"count\":%llu,\"nsPerMessage\":%.1f}\n", (unsigned long long)depth,
           (unsigned long long)(batches * depth), ns / (double)(batches * depth));
    free(batch);
    free(replies);
}

static void set_state(uint32_t state) {
    struct device_state set = {sizeof set, FEATURE_SET | FEATURE_MIG_DEVICE_STATE, state, -1}, answer;
    if (state != 0)
        request(CMD_DEVICE_FEATURE, &set, sizeof set, -1, &answer, sizeof answer);
}

/* Back to RUNNING; a device that got an incomplete state cannot go there, and is reset. */
static void restore_state(uint32_t state) {
    struct device_state set = {sizeof set, FEATURE_SET | FEATURE_MIG_DEVICE_STATE, STATE_RUNNING, -1};
    struct header header = {0x5e7, CMD_DEVICE_FEATURE, sizeof header + sizeof set, 0, 0};
    struct iovec iov[2] = {{&header, sizeof header}, {&set, sizeof set}};
    if (state == 0)
        return;
    send_all(connection, iov, 2);
    receive_all(connection, &header, sizeof header, spin);
    if (header.size > sizeof header + sizeof set || header.size < sizeof header)
        die("the reply to a state change has %u bytes", header.size);
    receive_all(connection, &set, header.size - sizeof header, spin);
    if ((header.flags & FLAG_ERROR) != 0)
        request(CMD_RESET, NULL, 0, -1, NULL, 0);
}

static void print_throughput(const char *mode, const struct options *o, uint64_t bytes, uint64_t ns, uint32_t crc) {
    printf("{\"mode\":\"%s\",\"bytes\":%llu,\"size\":%llu,\"seconds\":%.6f,\"gbps\":%.3f", mode,
           (unsigned long long)bytes, (unsigned long long)o->size, (double)ns / NS_PER_S, (double)bytes / (double)ns);
    if (o->crc)
        printf(",\"crc32\":%u,\"method\":\"%s\"", crc, crc32_method());
    printf("}\n");
}

static void ask_data(const struct options *o) {
    struct __attribute__((packed)) {
        struct header header;
        struct migration_data data;
    } message = {{1, CMD_MIG_DATA_READ, sizeof message, 0, 0},
                 {(uint32_t)(sizeof message.data + o->size), (uint32_t)o->size}};
    struct iovec iov = {&message, sizeof message};
    send_all(connection, &iov, 1);
}

/* Receives one reply into `target`; its size field alone says how many bytes are data (peers may pad). */
static uint64_t take_data(const struct options *o, uint8_t *target, uint32_t *crc) {
    struct __attribute__((packed)) {
        struct header header;
        struct migration_data data;
    } reply;
    receive_all(connection, &reply.header, sizeof reply.header, spin);
    check_reply(&reply.header, CMD_MIG_DATA_READ, sizeof reply.data);
    receive_all(connection, &reply.data, sizeof reply.data, spin);
    uint64_t payload = reply.header.size - sizeof reply;
    if (payload > o->size || reply.data.size > payload)
        die("a reply with %llu bytes, of which %u are data", (unsigned long long)payload, reply.data.size);
    for (uint64_t have = 0; have < payload;) {
        size_t n = receive_some(connection, target + have, payload - have, spin);
        if (n == 0)
            die("the server closed the connection");
        if (o->crc)
            *crc = crc32_update(*crc, target + have, have + n > reply.data.size ? reply.data.size - have : n);
        have += n;
    }
    return reply.data.size;
}

static void save(const char *path, const uint8_t *bytes, uint64_t size) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        die("cannot write %s: %s", path, strerror(errno));
    for (uint64_t done = 0; done < size;) {
        ssize_t n = write(fd, bytes + done, size - done);
        if (n < 0)
            die("cannot write %s: %s", path, strerror(errno));
        done += (uint64_t)n;
    }
    close(fd);
}

static void measure_mig_read(const struct options *o) {
    size_t room = o->size + (o->data != NULL ? o->n : 0);
    uint8_t *buffer = allocate(room);
    uint64_t bytes = 0, waiting = 0;
    uint32_t crc = 0;
    bool ended = false;
    memset(buffer, 0, room); /* no page fault is measured */
    set_state(o->state);
    uint64_t start = now_ns();
    while (waiting > 0 || (!ended && bytes < o->n)) {
        for (; !ended && waiting < o->in_flight && bytes + waiting * o->size < o->n; waiting++)
            ask_data(o);
        uint64_t got = take_data(o, o->data != NULL ? buffer + bytes : buffer, &crc);
        waiting--;
        bytes += got;
        ended = ended || got == 0;
    }
    uint64_t ns = now_ns() - start;
    restore_state(o->state);
    print_throughput("mig-read", o, bytes, ns, crc);
    if (o->data != NULL)
        save(o->data, buffer, bytes);
    free(buffer);
}

/* The bytes to be written: a file's, or as many zeroes as asked for in one piece that is sent again and again. */
static uint8_t *load(struct options *o) {
    if (o->data == NULL) {
        uint8_t *zeroes = allocate(o->size);
        memset(zeroes, 0, o->size);
        return zeroes;
    }
    struct stat status;
    int fd = open(o->data, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0 || status.st_size == 0)
        die("cannot read %s: %s", o->data, strerror(errno));
    if ((uint64_t)status.st_size < o->n)
        o->n = (uint64_t)status.st_size;
    uint8_t *bytes = allocate(o->n);
    for (uint64_t done = 0; done < o->n;) {
        ssize_t n = read(fd, bytes + done, o->n - done);
        if (n <= 0)
            die("cannot read %s: %s", o->data, strerror(errno));
        done += (uint64_t)n;
    }
    close(fd);
    return bytes;
}

static void send_data(uint8_t *bytes, uint64_t size) {
    struct __attribute__((packed)) {
        struct header header;
        struct migration_data data;
    } message = {{1, CMD_MIG_DATA_WRITE, (uint32_t)(sizeof message + size), 0, 0},
                 {(uint32_t)(sizeof message.data + size), (uint32_t)size}};
    struct iovec iov[2] = {{&message, sizeof message}, {bytes, size}};
    send_all(connection, iov, 2);
}

static void measure_mig_write(struct options *o) {
    uint8_t *bytes = load(o);
    uint64_t sent = 0, waiting = 0;
    uint32_t crc = 0;
    struct header reply;
    set_state(o->state);
    uint64_t start = now_ns();
    while (sent < o->n || waiting > 0) {
        for (; sent < o->n && waiting < o->in_flight; waiting++) {
            uint64_t piece = o->n - sent < o->size ? o->n - sent : o->size;
            uint8_t *from = o->data != NULL ? bytes + sent : bytes;
            if (o->crc)
                crc = crc32_update(crc, from, piece);
            send_data(from, piece);
            sent += piece;
        }
        receive_all(connection, &reply, sizeof reply, spin);
        check_reply(&reply, CMD_MIG_DATA_WRITE, 0);
        waiting--;
    }
    uint64_t ns = now_ns() - start;
    restore_state(o->state);
    print_throughput("mig-write", o, sent, ns, crc);
    free(bytes);
}

/* Answers one DMA_READ or DMA_WRITE from the guest's memory. */
static void answer_dma(void) {
    struct header header;
    struct dma_access access;
    receive_all(connection, &header, sizeof header, spin);
    if ((header.command != CMD_DMA_READ && header.command != CMD_DMA_WRITE) || (header.flags & 0xf) == FLAG_REPLY)
        die("command %u, flags 0x%x from the server while an interrupt is awaited", header.command, header.flags);
    receive_all(connection, &access, sizeof access, spin);
    if (access.count > guest_size || access.address > guest_size - access.count)
        die("DMA of %llu bytes at 0x%llx", (unsigned long long)access.count, (unsigned long long)access.address);
    bool write = header.command == CMD_DMA_WRITE;
    if (write)
        receive_all(connection, guest + access.address, access.count, spin);
    header.flags = FLAG_REPLY;
    header.size = (uint32_t)(sizeof header + sizeof access + (write ? 0 : access.count));
    struct iovec iov[3] = {{&header, sizeof header}, {&access, sizeof access}, {guest + access.address, access.count}};
    send_all(connection, iov, write ? 2 : 3);
}

/* The server may make an eventfd non-blocking for both sides, so every wait is a poll. */
static void wait_for_interrupt(int interrupt) {
    eventfd_t count;
    while (eventfd_read(interrupt, &count) != 0) {
        struct pollfd entries[2] = {{interrupt, POLLIN, 0}, {connection, POLLIN, 0}};
        if (errno != EAGAIN && errno != EINTR)
            die("eventfd: %s", strerror(errno));
        if (poll(entries, guest != NULL ? 2 : 1, spin ? 0 : -1) > 0 && entries[1].revents != 0)
            answer_dma();
    }
}

static void map_guest(const struct options *o) {
    struct dma_map map = {sizeof map, 3, 0, 0, o->guest};
    int fd = o->guest_fd ? memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING) : -1;
    if (o->guest_fd && (fd < 0 || ftruncate(fd, (off_t)o->guest) != 0))
        die("memfd: %s", strerror(errno));
    int flags = o->guest_fd ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
    guest = mmap(NULL, o->guest, PROT_READ | PROT_WRITE, flags | MAP_POPULATE, fd, 0);
    if (guest == MAP_FAILED)
        die("mmap: %s", strerror(errno));
    guest_size = o->guest;
    memset(guest, 0xa5, guest_size);
    request(CMD_DMA_MAP, &map, sizeof map, fd, NULL, 0);
    if (fd >= 0)
        close(fd);
}

static int prepare_doorbell(const struct options *o) {
    int interrupt = assign_eventfd(o->irq, o->vector);
    enable_in_config(o->irq);
    if (o->guest != 0)
        map_guest(o);
    for (size_t i = 0; i < o->put_count; i++)
        write_register(o->region, o->puts[i].offset, o->puts[i].value, (uint32_t)o->puts[i].size);
    return interrupt;
}

static void measure_doorbell(const struct options *o) {
    struct __attribute__((packed)) {
        struct header header;
        struct region_access access;
        uint32_t value;
    } doorbell = {{1, CMD_REGION_WRITE, sizeof doorbell, FLAG_NO_REPLY, 0},
                  {o->offset, o->region, 4},
                  (uint32_t)o->value};
    int interrupt = prepare_doorbell(o);
    uint64_t warm_up = o->n < WARM_UP * 10 ? o->n / 10 : WARM_UP, done = 0, *ns = allocate(o->n * sizeof *ns);
    for (uint64_t i = 0; done < o->n && !enough; i++) {
        struct iovec iov = {&doorbell, sizeof doorbell};
        uint64_t start = now_ns();
        send_all(connection, &iov, 1);
        wait_for_interrupt(interrupt);
        /* What the warm-up took counts only for who has no time for more. */
        if (i == warm_up)
            done = 0;
        ns[done++] = now_ns() - start;
    }
    print_latencies("doorbell-irq", ns, done);
    close(interrupt);
    free(ns);
}

static void add_put(struct options *o, const char *text) {
    long long offset, size, value;
    if (text == NULL || sscanf(text, "%lli:%lli:%lli", &offset, &size, &value) != 3 ||
        (size != 1 && size != 2 && size != 4 && size != 8) || o->put_count == MAX_PUTS)
        die("--put is OFFSET:SIZE:VALUE, with a size of 1, 2, 4 or 8, at most %d times", MAX_PUTS);
    o->puts[o->put_count++] = (struct put){(uint64_t)offset, (uint64_t)size, (uint64_t)value};
}

static uint32_t parse_state(const char *name) {
    static const struct {
        const char *name;
        uint32_t state;
    } states[] = {{"precopy", STATE_PRE_COPY}, {"stopcopy", STATE_STOP_COPY}, {"resuming", STATE_RESUMING}};
    for (size_t i = 0; name != NULL && i < sizeof states / sizeof *states; i++)
        if (strcmp(name, states[i].name) == 0)
            return states[i].state;
    die("--state is precopy, stopcopy or resuming");
}

/* Takes the option at argv[i] with its arguments (argv ends with NULL); returns how many it took. */
static int parse_option(struct options *o, char **argv, int i) {
    const char *name = argv[i], *value = argv[i + 1];
    const struct {
        const char *name;
        enum mode mode;
    } modes[] = {{"--read4", MODE_READ4},         {"--pipeline", MODE_PIPELINE},     {"--mig-read", MODE_MIG_READ},
                 {"--mig-write", MODE_MIG_WRITE}, {"--doorbell-irq", MODE_DOORBELL}};
    const struct {
        const char *name;
        uint64_t *target;
    } sizes[] = {{"--count", &o->count},         {"--offset", &o->offset},   {"--value", &o->value},
                 {"--in-flight", &o->in_flight}, {"--buffers", &o->buffers}, {"--timeout", &o->timeout},
                 {"--guest", &o->guest}};
    const struct {
        const char *name;
        uint32_t *target;
    } numbers[] = {{"--region", &o->region}, {"--irq", &o->irq}, {"--vector", &o->vector}};
    for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
        if (strcmp(name, modes[m].name) != 0)
            continue;
        bool two = modes[m].mode == MODE_MIG_READ || modes[m].mode == MODE_MIG_WRITE;
        o->mode = modes[m].mode;
        o->n = parse_size(name, value);
        if (two)
            o->size = parse_size(name, argv[i + 2]);
        return two ? 3 : 2;
    }
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        if (strcmp(name, sizes[s].name) == 0)
            return *sizes[s].target = parse_size(name, value), 2;
    for (size_t s = 0; s < sizeof numbers / sizeof *numbers; s++)
        if (strcmp(name, numbers[s].name) == 0)
            return *numbers[s].target = (uint32_t)parse_size(name, value), 2;
    if (strcmp(name, "--cpu") == 0)
        return o->cpu = (int)parse_size(name, value), 2;
    if (strcmp(name, "--state") == 0)
        return o->state = parse_state(value), 2;
    if (strcmp(name, "--data") == 0 && value != NULL)
        return o->data = value, 2;
    if (strcmp(name, "--put") == 0)
        return add_put(o, value), 2;
    if (strcmp(name, "--guest-fd") == 0)
        return o->guest_fd = true, 1;
    if (strcmp(name, "--spin") == 0)
        return o->spin = true, 1;
    if (strcmp(name, "--crc32") == 0)
        return o->crc = true, 1;
    if (name[0] == '-' || o->socket != NULL)
        die("unknown argument: %s (the head of the source lists them)", name);
    return o->socket = name, 1;
}

static struct options parse(int argc, char **argv) {
    struct options o = {.count = 200000, .value = 1, .in_flight = 1, .timeout = 60, .irq = 2, .cpu = -1};
    for (int i = 1; i < argc;)
        i += parse_option(&o, argv, i);
    if (o.socket == NULL || o.mode == MODE_NONE)
        die("usage: client SOCKET --read4 N | --pipeline DEPTH | --mig-read BYTES SIZE | --mig-write BYTES SIZE | "
            "--doorbell-irq N [options]");
    bool data = o.mode == MODE_MIG_READ || o.mode == MODE_MIG_WRITE;
    if (o.n == 0 || o.in_flight == 0 || o.count == 0 || (data && (o.size == 0 || o.size > 1 << 30)))
        die("a count or size of 0, or a size above 1 GiB");
    return o;
}

int main(int argc, char **argv) {
    struct options o = parse(argc, argv);
    crc32_setup();
    alarm((unsigned)o.timeout);
    end_on_sigterm();
    pin_to_cpu(o.cpu);
    spin = o.spin;
    connection = connect_to(o.socket);
    set_socket_buffers(connection, o.buffers);
    negotiate();
    switch (o.mode) {
    case MODE_READ4:
        measure_read4(&o);
        break;
    case MODE_PIPELINE:
        measure_pipeline(&o);
        break;
    case MODE_MIG_READ:
        measure_mig_read(&o);
        break;
    case MODE_MIG_WRITE:
        measure_mig_write(&o);
        break;
    default:
        measure_doorbell(&o);
    }
    return 0;
}

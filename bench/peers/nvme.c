/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The load of the bench for NVMe controllers: a driver of its own (NVM Express 1.4), as small as it can be, that sets
 * up one pair of I/O queues in memory which it shares with the server, and does random I/O of 4 KiB. Prints one line
 * of JSON: operations per second, and how long each took from its doorbell until it was seen to be complete.
 *
 *   nvme SOCKET --read N | --write N | --flush N     N operations in all
 *   --depth D                                        that many at a time (1), at most 63
 *   --cpu N, --timeout S                             as for client
 *
 * A doorbell is one posted write for all commands that are begun at a time, as a driver does it. Each block that is
 * read or written carries its number; a read that brings another is an error. clientBusy is the share of the time that
 * this program was running: well below 1 where it is not what is measured.
 */
#include "session.h"
#include <sys/mman.h>
#include <sys/resource.h>

enum { PAGE = 4096, ENTRIES = 64, BLOCKS_PER_PAGE = 8, MAX_DEPTH = ENTRIES - 1, MSIX_IO = 1 };
enum { ADMIN_SQ, ADMIN_CQ, IO_SQ, IO_CQ, IDENTIFY, DATA, PAGES = DATA + ENTRIES };
enum { REG_CC = 0x14, REG_CSTS = 0x1c, REG_AQA = 0x24, REG_ASQ = 0x28, REG_ACQ = 0x30, DOORBELLS = 0x1000 };
enum { CC_ENABLE = 1 | 6 << 16 | 4 << 20 };
enum { CREATE_SQ = 1, CREATE_CQ = 5, IDENTIFY_COMMAND = 6, NVM_FLUSH = 0, NVM_WRITE = 1, NVM_READ = 2 };

struct __attribute__((packed)) nvme_command {
    uint8_t opcode, flags;
    uint16_t id;
    uint32_t namespace;
    uint64_t reserved, metadata, prp[2];
    uint32_t dwords[6];
};
struct __attribute__((packed)) nvme_completion {
    uint32_t result, reserved;
    uint16_t sq_head, sq_id, id, status;
};
/* A queue pair; `phase` is what a new completion has. */
struct pair {
    unsigned id, tail, head, phase;
    struct nvme_command *commands;
    volatile struct nvme_completion *completions;
    int interrupt;
};
struct options {
    const char *socket;
    uint64_t n, depth, timeout;
    uint8_t opcode;
    int cpu;
};

static uint8_t *memory;
static struct pair admin, io;
/* By command id: when its doorbell rang, and what it is about. */
static uint64_t rung[ENTRIES], page_of[ENTRIES];

static uint64_t random_number(void) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static uint32_t read_register(uint64_t offset) {
    struct region_access access = {offset, 0, 4};
    struct __attribute__((packed)) {
        struct region_access access;
        uint32_t value;
    } answer;
    if (request(CMD_REGION_READ, &access, sizeof access, -1, &answer, sizeof answer) != sizeof answer)
        die("a short reply to a register read");
    return answer.value;
}

/* The doorbell of a submission queue (completions false) or of a completion queue: a posted write. */
static void ring(const struct pair *pair, bool completions, uint32_t value) {
    struct __attribute__((packed)) {
        struct header header;
        struct region_access access;
        uint32_t value;
    } doorbell = {{1, CMD_REGION_WRITE, sizeof doorbell, FLAG_NO_REPLY, 0},
                  {DOORBELLS + 8 * pair->id + (completions ? 4 : 0), 0, 4},
                  value};
    struct iovec iov = {&doorbell, sizeof doorbell};
    send_all(connection, &iov, 1);
}

static void submit(struct pair *pair, struct nvme_command command) {
    pair->commands[pair->tail] = command;
    pair->tail = (pair->tail + 1) % ENTRIES;
}

/* The next completion, or NULL when there is none yet. */
static const volatile struct nvme_completion *reap(struct pair *pair) {
    const volatile struct nvme_completion *next = &pair->completions[pair->head];
    if ((next->status & 1) != pair->phase)
        return NULL;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (next->status >> 1 != 0)
        die("command %u ended with status 0x%x", next->id, next->status >> 1);
    pair->head = (pair->head + 1) % ENTRIES;
    if (pair->head == 0)
        pair->phase ^= 1;
    return next;
}

static void await(const struct pair *pair) {
    eventfd_t count;
    struct pollfd waiting = {pair->interrupt, POLLIN, 0};
    while (eventfd_read(pair->interrupt, &count) != 0) {
        if (errno != EAGAIN && errno != EINTR)
            die("eventfd: %s", strerror(errno));
        poll(&waiting, 1, -1);
    }
}

static void execute(struct nvme_command command) {
    submit(&admin, command);
    ring(&admin, false, admin.tail);
    while (reap(&admin) == NULL)
        await(&admin);
    ring(&admin, true, admin.head);
}

static void share_memory(void) {
    size_t size = (size_t)PAGES * PAGE;
    struct dma_map map = {sizeof map, 3, 0, 0, size};
    int fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0)
        die("memfd: %s", strerror(errno));
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (memory == MAP_FAILED)
        die("mmap: %s", strerror(errno));
    request(CMD_DMA_MAP, &map, sizeof map, fd, NULL, 0);
    close(fd);
}

static struct pair pair_at(unsigned id, int sq, int cq) {
    memset(memory + (size_t)sq * PAGE, 0, PAGE);
    memset(memory + (size_t)cq * PAGE, 0, PAGE);
    return (struct pair){id, 0, 0, 1, (void *)(memory + (size_t)sq * PAGE), (void *)(memory + (size_t)cq * PAGE),
                         assign_eventfd(IRQ_MSIX, id)};
}

static void await_ready(uint32_t ready) {
    for (int waited = 0; (read_register(REG_CSTS) & 1) != ready; waited++) {
        if (waited > 5000)
            die("the controller does not become %s", ready ? "ready" : "idle");
        poll(NULL, 0, 1);
    }
}

/* Enables the controller with one pair of I/O queues; returns the pages of 4 KiB in its namespace. */
static uint64_t set_up(void) {
    enable_in_config(IRQ_MSIX);
    share_memory();
    write_register(0, REG_CC, 0, 4);
    await_ready(0);
    admin = pair_at(0, ADMIN_SQ, ADMIN_CQ);
    write_register(0, REG_AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1), 4);
    write_register(0, REG_ASQ, (uint64_t)ADMIN_SQ * PAGE, 8);
    write_register(0, REG_ACQ, (uint64_t)ADMIN_CQ * PAGE, 8);
    write_register(0, REG_CC, CC_ENABLE, 4);
    await_ready(1);
    execute((struct nvme_command){.opcode = IDENTIFY_COMMAND, .namespace = 1, .prp = {IDENTIFY * PAGE}});
    io = pair_at(1, IO_SQ, IO_CQ);
    execute((struct nvme_command){.opcode = CREATE_CQ,
                             .prp = {IO_CQ * PAGE},
                             .dwords = {(ENTRIES - 1) << 16 | 1, MSIX_IO << 16 | 3}});
    execute((struct nvme_command){.opcode = CREATE_SQ, .prp = {IO_SQ * PAGE}, .dwords = {(ENTRIES - 1) << 16 | 1, 1 << 16 | 1}});
    return *(uint64_t *)(memory + IDENTIFY * PAGE) / BLOCKS_PER_PAGE;
}

/* Begins an operation on a page, with the command id as the slot of its data. */
static void begin(uint8_t opcode, uint16_t id, uint64_t page) {
    uint8_t *data = memory + (size_t)(DATA + id) * PAGE;
    uint64_t block = page * BLOCKS_PER_PAGE;
    page_of[id] = page;
    /* What a read brings must not have been there before. */
    *(uint64_t *)data = opcode == NVM_WRITE ? page : ~page;
    struct nvme_command command = {.opcode = opcode, .id = id, .namespace = 1};
    if (opcode != NVM_FLUSH) {
        command.prp[0] = (uint64_t)(DATA + id) * PAGE;
        command.dwords[0] = (uint32_t)block;
        command.dwords[1] = (uint32_t)(block >> 32);
        command.dwords[2] = BLOCKS_PER_PAGE - 1;
    }
    submit(&io, command);
}

static void ring_for(const uint16_t *ids, uint64_t count) {
    uint64_t now = now_ns();
    for (uint64_t i = 0; i < count; i++)
        rung[ids[i]] = now;
    ring(&io, false, io.tail);
}

/* What has completed since: ids, at least one. */
static uint64_t finish(uint8_t opcode, uint16_t *ids) {
    const volatile struct nvme_completion *next;
    uint64_t count = 0;
    while (count == 0) {
        await(&io);
        while ((next = reap(&io)) != NULL)
            ids[count++] = next->id;
    }
    ring(&io, true, io.head);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t stamp = *(uint64_t *)(memory + (size_t)(DATA + ids[i]) * PAGE);
        if (opcode == NVM_READ && stamp != page_of[ids[i]])
            die("page %llu has the contents of page %llu", (unsigned long long)page_of[ids[i]], (unsigned long long)stamp);
    }
    return count;
}

/*
 * Does `n` operations, `depth` at a time, on the page that `next` says; their times go to `ns` unless that is NULL.
 * Returns how many were done: fewer when it was told to end.
 */
static uint64_t run(uint8_t opcode, uint64_t n, uint64_t depth, uint64_t (*next)(void), uint64_t *ns) {
    uint16_t ids[ENTRIES];
    uint64_t begun = n < depth ? n : depth, done = 0;
    for (uint64_t i = 0; i < begun; i++)
        begin(opcode, ids[i] = (uint16_t)i, next());
    ring_for(ids, begun);
    while (done < n) {
        uint64_t count = finish(opcode, ids), now = now_ns(), again = 0;
        if (enough)
            n = begun;
        for (uint64_t i = 0; i < count; i++) {
            if (ns != NULL)
                ns[done] = now - rung[ids[i]];
            done++;
            if (begun == n)
                continue;
            begun++;
            ids[again] = ids[i];
            begin(opcode, ids[again++], next());
        }
        if (again > 0)
            ring_for(ids, again);
    }
    return done;
}

static uint64_t pages, sequence;
static uint64_t random_page(void) { return random_number() % pages; }
static uint64_t next_page(void) { return sequence++ % pages; }

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void measure(const struct options *o) {
    uint64_t *ns = allocate(o->n * sizeof *ns);
    /* Every page has its number before anything is read; this also warms up the server. */
    run(NVM_WRITE, pages, 32, next_page, NULL);
    double cpu = cpu_seconds();
    uint64_t start = now_ns();
    uint64_t done = run(o->opcode, o->n, o->depth, random_page, ns);
    double seconds = (double)(now_ns() - start) / NS_PER_S;
    cpu = cpu_seconds() - cpu;
    run(NVM_READ, 1000, 32, random_page, NULL);
    qsort(ns, done, sizeof *ns, compare_u64);
    printf("{\"mode\":\"nvme\",\"depth\":%llu,\"count\":%llu,\"iops\":%.1f,\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f,"
           "\"clientBusy\":%.2f}\n",
           (unsigned long long)o->depth, (unsigned long long)done, (double)done / seconds, (double)ns[done / 2] / 1e3,
           (double)ns[done * 99 / 100] / 1e3, (double)ns[done - 1] / 1e3, cpu / seconds);
    free(ns);
}

static struct options parse(int argc, char **argv) {
    struct options o = {.depth = 1, .timeout = 60, .cpu = -1};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        bool known = true;
        if (name[0] != '-' && o.socket == NULL) {
            o.socket = name;
            continue;
        }
        uint64_t value = parse_size(name, argv[++i]);
        if (strcmp(name, "--read") == 0)
            o.opcode = NVM_READ, o.n = value;
        else if (strcmp(name, "--write") == 0)
            o.opcode = NVM_WRITE, o.n = value;
        else if (strcmp(name, "--flush") == 0)
            o.opcode = NVM_FLUSH, o.n = value;
        else if (strcmp(name, "--depth") == 0)
            o.depth = value;
        else if (strcmp(name, "--cpu") == 0)
            o.cpu = (int)value;
        else if (strcmp(name, "--timeout") == 0)
            o.timeout = value;
        else
            known = false;
        if (!known)
            die("unknown argument: %s (the head of the source lists them)", name);
    }
    if (o.socket == NULL || o.n == 0 || o.depth == 0 || o.depth > MAX_DEPTH)
        die("usage: nvme SOCKET --read N | --write N | --flush N [--depth 1 to %d]", MAX_DEPTH);
    return o;
}

int main(int argc, char **argv) {
    struct options o = parse(argc, argv);
    alarm((unsigned)o.timeout);
    end_on_sigterm();
    pin_to_cpu(o.cpu);
    connection = connect_to(o.socket);
    negotiate();
    pages = set_up();
    if (pages == 0)
        die("an empty namespace");
    measure(&o);
    return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The limit of a stream: N bytes from one process to another through a UNIX socket pair, in pieces of 1 MiB.
 *
 *   copy BYTES [--crc32] [--request] [--cpu-a N] [--cpu-b N] [--buffers BYTES] [--source BYTES]
 *
 * A sends, B receives and measures. --crc32: both ends compute the checksum, and they must agree. --request: B asks for
 * each piece with 24 bytes and A answers with 24 bytes and the piece, as MIG_DATA_READ does. --source: how much memory
 * the bytes come from (64M), so that the caches see what a device's memory would. Prints one line of JSON.
 */
#include "common.h"
#include "crc32.h"
#include <getopt.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REQUEST_SIZE = 24 };

struct options {
    uint64_t bytes, source, buffers;
    int cpu_a, cpu_b;
    bool crc, request;
};

/* A: sends everything, then its checksum. */
static void send_pieces(int fd, const struct options *o) {
    uint8_t *source = allocate(o->source), request[REQUEST_SIZE] = {0};
    uint32_t crc = 0;
    pin_to_cpu(o->cpu_a);
    for (uint64_t i = 0; i < o->source; i++)
        source[i] = (uint8_t)((i * 2654435761u) >> 11);
    struct iovec ready = {request, 1};
    send_all(fd, &ready, 1);
    receive_all(fd, request, 1, false); /* B's clock runs */
    for (uint64_t sent = 0, at = 0; sent < o->bytes;) {
        uint64_t piece = o->bytes - sent < PIECE ? o->bytes - sent : PIECE;
        struct iovec iov[2] = {{request, o->request ? REQUEST_SIZE : 0}, {source + at, piece}};
        if (o->request)
            receive_all(fd, request, REQUEST_SIZE, false);
        if (o->crc)
            crc = crc32_update(crc, source + at, piece);
        send_all(fd, o->request ? iov : iov + 1, o->request ? 2 : 1);
        sent += piece;
        at = at + 2 * PIECE <= o->source ? at + PIECE : 0;
    }
    struct iovec iov = {&crc, sizeof crc};
    send_all(fd, &iov, 1);
    free(source);
}

/* B: one receive may bring any part of a piece; the checksum follows what has arrived, while it is in the cache. */
static uint32_t receive_pieces(int fd, const struct options *o, uint8_t *piece) {
    uint8_t request[REQUEST_SIZE] = {0};
    uint32_t crc = 0;
    for (uint64_t got = 0; got < o->bytes;) {
        uint64_t want = o->bytes - got < PIECE ? o->bytes - got : PIECE;
        if (o->request) {
            struct iovec iov = {request, REQUEST_SIZE};
            send_all(fd, &iov, 1);
            receive_all(fd, request, REQUEST_SIZE, false);
        }
        for (uint64_t have = 0; have < want;) {
            size_t n = receive_some(fd, piece + have, want - have, false);
            if (n == 0)
                die("the sender died");
            if (o->crc)
                crc = crc32_update(crc, piece + have, n);
            have += n;
        }
        got += want;
    }
    return crc;
}

static void measure(int fd, const struct options *o) {
    uint8_t *piece = allocate(PIECE);
    uint32_t theirs = 0;
    pin_to_cpu(o->cpu_b);
    memset(piece, 0, PIECE);
    receive_all(fd, piece, 1, false); /* A has filled its memory */
    uint64_t start = now_ns();
    struct iovec go = {piece, 1};
    send_all(fd, &go, 1);
    uint32_t ours = receive_pieces(fd, o, piece);
    uint64_t ns = now_ns() - start;
    receive_all(fd, &theirs, sizeof theirs, false);
    if (ours != theirs)
        die("the checksums differ: sent %08x, received %08x", theirs, ours);
    printf("{\"bytes\":%llu,\"seconds\":%.6f,\"gbps\":%.3f", (unsigned long long)o->bytes, (double)ns / NS_PER_S,
           (double)o->bytes / (double)ns);
    if (o->crc)
        printf(",\"crc32\":%u,\"method\":\"%s\"", ours, crc32_method());
    printf("}\n");
    free(piece);
}

static struct options parse(int argc, char **argv) {
    static const struct option options[] = {
        {"crc32", no_argument, NULL, 'c'},       {"request", no_argument, NULL, 'r'},
        {"cpu-a", required_argument, NULL, 'a'}, {"cpu-b", required_argument, NULL, 'b'},
        {"buffers", required_argument, NULL, 'u'}, {"source", required_argument, NULL, 's'},
        {0}};
    struct options o = {.source = 64 << 20, .cpu_a = -1, .cpu_b = -1};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            o.crc = true;
            break;
        case 'r':
            o.request = true;
            break;
        case 'a':
            o.cpu_a = (int)parse_size("--cpu-a", optarg);
            break;
        case 'b':
            o.cpu_b = (int)parse_size("--cpu-b", optarg);
            break;
        case 'u':
            o.buffers = parse_size("--buffers", optarg);
            break;
        case 's':
            o.source = parse_size("--source", optarg);
            break;
        default:
            exit(2);
        }
    }
    if (optind != argc - 1)
        die("usage: copy BYTES [--crc32] [--request] [--cpu-a N] [--cpu-b N] [--buffers BYTES] [--source BYTES]");
    o.bytes = parse_size("BYTES", argv[optind]);
    if (o.bytes == 0 || o.source < PIECE)
        die("nothing to copy, or a source of less than one piece (1 MiB)");
    return o;
}

int main(int argc, char **argv) {
    struct options o = parse(argc, argv);
    int pair[2];
    crc32_setup();
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        die("socketpair: %s", strerror(errno));
    set_socket_buffers(pair[0], o.buffers);
    set_socket_buffers(pair[1], o.buffers);
    pid_t sender = fork();
    if (sender < 0)
        die("fork: %s", strerror(errno));
    close(pair[sender == 0 ? 0 : 1]);
    if (sender == 0) {
        send_pieces(pair[1], &o);
        return 0;
    }
    measure(pair[0], &o);
    return waitpid(sender, NULL, 0) == sender ? 0 : 1;
}

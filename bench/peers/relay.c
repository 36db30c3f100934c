/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The plainest relay of a vfio-user connection: poll, one recvmsg, one sendmsg with the same bytes and fds. It knows no
 * messages and decodes nothing: what it adds is what an additional process in between costs at least.
 *
 *   relay --listen PATH --connect PATH --cpu N
 *
 * One connection after the other.
 */
#include <poll.h>
#include <sys/un.h>
#include <unistd.h>

#include "common.h"

enum { FDS = 253 };

static int unix_socket(const char *path, struct sockaddr_un *address) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    strncpy(address->sun_path, path, sizeof address->sun_path - 1);
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* Passes on what is there; false at the end. */
static bool pass(int from, int to) {
    static char bytes[256 * 1024];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * FDS)];
    } control;
    struct iovec vector = {.iov_base = bytes, .iov_len = sizeof bytes};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
    if (got <= 0) return false;
    vector.iov_len = (size_t)got;
    if (message.msg_controllen == 0) message.msg_control = NULL;
    ssize_t sent = sendmsg(to, &message, MSG_NOSIGNAL);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    for (size_t i = 0; header && i < (header->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++)
        close(((int *)CMSG_DATA(header))[i]);
    while (sent >= 0 && sent < got) {
        ssize_t more = send(to, bytes + sent, (size_t)(got - sent), MSG_NOSIGNAL);
        sent = more < 0 ? -1 : sent + more;
    }
    return sent == got;
}

static void relay(int client, int server) {
    struct pollfd set[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
    bool alive = true;
    while (alive && poll(set, 2, -1) > 0) {
        if (set[0].revents) alive = pass(client, server);
        if (alive && set[1].revents) alive = pass(server, client);
    }
    close(client);
    close(server);
}

int main(int argc, char **argv) {
    const char *listen_path = NULL, *connect_path = NULL;
    struct sockaddr_un address;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--listen")) listen_path = argv[i + 1];
        else if (!strcmp(argv[i], "--connect")) connect_path = argv[i + 1];
        else if (!strcmp(argv[i], "--cpu")) pin_to_cpu(atoi(argv[i + 1]));
    }
    if (!listen_path || !connect_path) return 2;
    unlink(listen_path);
    int listener = unix_socket(listen_path, &address);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4)) return 1;
    for (;;) {
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        int server = unix_socket(connect_path, &address);
        if (client < 0 || connect(server, (struct sockaddr *)&address, sizeof address)) return 1;
        relay(client, server);
    }
}

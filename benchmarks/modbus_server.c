/* A Modbus TCP server for thousands of connections on one core: FC 3 and 4 only, values change with every request.
 *
 * Usage: modbus_server; prints its port of 127.0.0.1, serves until its standard input closes.
 * Each wake-up of a connection takes every whole request that has come and writes all answers at once.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <netinet/tcp.h>
#include <unistd.h>

#define REQUEST_BYTES 12
#define MOST_OPEN 16384
#define BATCH 64

struct client {
    int have;
    uint8_t bytes[REQUEST_BYTES * BATCH];
};

static struct client *clients[MOST_OPEN];
static uint16_t first;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int listen_on_loopback(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096))
        die("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static int answer(const uint8_t *request, uint8_t *out)
{
    int count = request[10] << 8 | request[11];
    if (count < 1 || count > 125 || (request[7] != 3 && request[7] != 4)) {
        memcpy(out, request, 8);
        out[4] = 0, out[5] = 3, out[7] |= 0x80, out[8] = 1;
        return 9;
    }
    memcpy(out, request, 8);
    out[4] = (uint8_t)((3 + 2 * count) >> 8), out[5] = (uint8_t)(3 + 2 * count), out[8] = (uint8_t)(2 * count);
    first = (first + 1) & 0x7fff;
    for (int i = 0; i < count; i++) {
        out[9 + 2 * i] = (uint8_t)((first + i) >> 8);
        out[10 + 2 * i] = (uint8_t)(first + i);
    }
    return 9 + 2 * count;
}

static void drop(int fd)
{
    close(fd);
    free(clients[fd]);
    clients[fd] = NULL;
}

static void serve(int fd)
{
    static uint8_t out[BATCH * 260];
    struct client *client = clients[fd];
    ssize_t got = read(fd, client->bytes + client->have, sizeof client->bytes - (size_t)client->have);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        drop(fd);
        return;
    }
    int have = client->have + (int)got, used = 0, size = 0;
    for (; have - used >= REQUEST_BYTES; used += REQUEST_BYTES)
        size += answer(client->bytes + used, out + size);
    client->have = have - used;
    memmove(client->bytes, client->bytes + used, (size_t)client->have);
    if (size && write(fd, out, (size_t)size) != size)
        drop(fd);
}

static void take_in(int poller, int listener)
{
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (fd >= MOST_OPEN || !(clients[fd] = calloc(1, sizeof(struct client)))) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(void)
{
    int listener = listen_on_loopback(), poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = STDIN_FILENO;
    if (epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event))
        die("standard input must be a pipe");
    for (;;) {
        int n = epoll_wait(poller, ready, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (fd == STDIN_FILENO)
                return 0;
            if (fd == listener)
                take_in(poller, listener);
            else if (clients[fd])
                serve(fd);
        }
    }
}

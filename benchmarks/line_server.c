/* Modbus TCP devices that number their polls, one port each: FC 3 and 4. For benchmarks that count what becomes of each poll.
 *
 * Usage: line_server DEVICES EVERY FILE; prints the ports of 127.0.0.1 as a JSON list. A device's serial grows with each request
 * that begins at register 0, whether a client asks for blocks or register by register; register n holds ((serial + n) / EVERY)
 * modulo 65536. So with EVERY 1 each register changes with each poll, with EVERY 100 one in a hundred. A line on standard input is answered
 * by "REQUESTS REGISTERS" served so far. When standard input closes, FILE gets for each device the number of its serials and
 * the instants, ns since 1970, at which each was first answered: 64-bit words in the machine's order.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_BYTES 12
#define MOST_OPEN 16384
#define BATCH 64

struct device {
    uint64_t serial, room;
    uint64_t *served_ns;
};

struct end {
    struct device *device;
    int is_listener, have;
    uint8_t bytes[REQUEST_BYTES * BATCH];
};

static struct end *ends[MOST_OPEN];
static uint64_t every, requests, registers;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static struct end *open_end(int fd, struct device *device)
{
    if (fd >= MOST_OPEN || !(ends[fd] = calloc(1, sizeof(struct end)))) {
        close(fd);
        return NULL;
    }
    ends[fd]->device = device;
    return ends[fd];
}

static int listen_on_loopback(int poller, struct device *device)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) || listen(fd, 64))
        die("listen");
    struct end *end = open_end(fd, device);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (!end || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event))
        die("listen");
    end->is_listener = 1;
    getsockname(fd, (struct sockaddr *)&address, &size);
    return ntohs(address.sin_port);
}

static void note_served(struct device *device)
{
    struct timespec now;
    if (device->serial == device->room) {
        device->room = device->room ? 2 * device->room : 1024;
        device->served_ns = realloc(device->served_ns, device->room * sizeof *device->served_ns);
        if (!device->served_ns)
            die("memory");
    }
    clock_gettime(CLOCK_REALTIME, &now);
    device->served_ns[device->serial++] = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int answer(struct device *device, const uint8_t *request, uint8_t *out)
{
    int address = request[8] << 8 | request[9], count = request[10] << 8 | request[11];
    memcpy(out, request, 8);
    out[4] = 0;
    if (count < 1 || count > 125 || (request[7] != 3 && request[7] != 4)) {
        out[5] = 3, out[7] |= 0x80, out[8] = 1;
        return 9;
    }
    if (address == 0)
        note_served(device);
    requests++, registers += (uint64_t)count;
    out[5] = (uint8_t)(3 + 2 * count), out[8] = (uint8_t)(2 * count);
    for (int i = 0; i < count; i++) {
        uint64_t value = (device->serial + (uint64_t)(address + i)) / every;
        out[9 + 2 * i] = (uint8_t)(value >> 8);
        out[10 + 2 * i] = (uint8_t)value;
    }
    return 9 + 2 * count;
}

static void drop(int fd)
{
    close(fd);
    free(ends[fd]);
    ends[fd] = NULL;
}

static void serve(int fd)
{
    static uint8_t out[BATCH * 260];
    struct end *end = ends[fd];
    ssize_t got = read(fd, end->bytes + end->have, sizeof end->bytes - (size_t)end->have);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        drop(fd);
        return;
    }
    int have = end->have + (int)got, used = 0, size = 0;
    for (; have - used >= REQUEST_BYTES; used += REQUEST_BYTES)
        size += answer(end->device, end->bytes + used, out + size);
    end->have = have - used;
    memmove(end->bytes, end->bytes + used, (size_t)end->have);
    if (size && write(fd, out, (size_t)size) != size)
        drop(fd);
}

static void take_in(int poller, int listener)
{
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (!open_end(fd, ends[listener]->device))
            continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

static int order(void)
{
    char word[64];
    ssize_t got = read(STDIN_FILENO, word, sizeof word);
    if (got <= 0)
        return 0;
    for (ssize_t i = 0; i < got; i++)
        if (word[i] == '\n')
            printf("%llu %llu\n", (unsigned long long)requests, (unsigned long long)registers);
    fflush(stdout);
    return 1;
}

static void write_log(const char *path, const struct device *devices, int count)
{
    FILE *file = fopen(path, "wb");
    int bad = !file;
    for (int i = 0; i < count && !bad; i++) {
        bad |= fwrite(&devices[i].serial, sizeof devices[i].serial, 1, file) != 1;
        bad |= fwrite(devices[i].served_ns, sizeof(uint64_t), devices[i].serial, file) != devices[i].serial;
    }
    if (bad || fclose(file))
        die(path);
}

int main(int words, char **word)
{
    int count = words == 4 ? atoi(word[1]) : 0, poller = epoll_create1(0);
    every = words == 4 ? strtoull(word[2], NULL, 10) : 0;
    if (count < 1 || !every) {
        fprintf(stderr, "usage: line_server DEVICES EVERY FILE\n");
        return 2;
    }
    struct rlimit files = {MOST_OPEN, MOST_OPEN};
    setrlimit(RLIMIT_NOFILE, &files);
    struct device *devices = calloc((size_t)count, sizeof *devices);
    if (!devices)
        die("memory");
    for (int i = 0; i < count; i++)
        printf("%s%d", i ? ", " : "[", listen_on_loopback(poller, devices + i));
    printf("]\n");
    fflush(stdout);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = STDIN_FILENO}, ready[256];
    if (epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event))
        die("standard input must be a pipe");
    for (;;) {
        int n = epoll_wait(poller, ready, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (fd == STDIN_FILENO) {
                if (!order()) {
                    write_log(word[3], devices, count);
                    return 0;
                }
            } else if (ends[fd] && ends[fd]->is_listener)
                take_in(poller, fd);
            else if (ends[fd])
                serve(fd);
        }
    }
}

/* A Handle client that asks as fast as it is answered:
 *     handle_client udp|tcp PORT COUNT FIRST STRIDE ROUND SECONDS CONNECTIONS WINDOW TYPES
 * It resolves 88.100.1/P%08d for values of these types (with commas between; "" for all), WINDOW requests outstanding on each
 * connection, and holds each answer against the request: id, response code, handle. Prints one line of JSON. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD = 44, HANDLE = 18, MOST_REQUEST = 512, MOST_SLOTS = 65536, BATCH = 64, DATAGRAM = 2048 };
enum { BUCKET_US = 10, BUCKETS = 100000 };
enum { LOST_US = 500000, STREAM_BYTES = 1 << 20 };

struct slot {
    uint32_t id;
    long place;
    uint64_t sent_us;
};

static struct slot slots[MOST_SLOTS];
static uint8_t model[MOST_REQUEST];
static size_t request_bytes;
static long count, first, stride, turn, asked;
static int is_udp, connections, window;
static uint64_t answers, answered_bytes, wrong, lost;
static uint32_t histogram[BUCKETS];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static uint32_t number(const uint8_t *from) {
    return (uint32_t)from[0] << 24 | from[1] << 16 | from[2] << 8 | from[3];
}

static size_t put(size_t at, uint32_t value) {
    uint32_t big = htonl(value);
    memcpy(model + at, &big, 4);
    return at + 4;
}

static void build(const char *types) {
    memset(model, 0, sizeof model);
    model[0] = model[2] = 2, model[1] = model[3] = 11;
    put(20, 1);           /* RESOLUTION */
    put(28, 0x03000000);  /* PUBL, KPAL */
    put(36, 0x7fffffff);  /* expiration */
    size_t at = put(HEAD, HANDLE) + HANDLE, kinds_at;
    at = put(at, 0);
    kinds_at = at, at += 4;
    uint32_t kinds = 0;
    char copy[256];
    snprintf(copy, sizeof copy, "%s", types);
    for (char *kind = strtok(copy, ","); kind; kind = strtok(NULL, ","), kinds++) {
        size_t length = strlen(kind);
        if (at + length + 8 > MOST_REQUEST) fail("types");
        at = put(at, length);
        memcpy(model + at, kind, length);
        at += length;
    }
    put(kinds_at, kinds);
    put(40, at - HEAD);
    at = put(at, 0);      /* no credential */
    put(16, at - 20);
    request_bytes = at;
}

static void name(char *into, long place) {
    memcpy(into, "88.100.1/P", 10);
    for (int digit = HANDLE - 1; digit >= 10; digit--, place /= 10) into[digit] = '0' + place % 10;
}

/* The next request of a slot, into a buffer. */
static void ask(uint32_t number_of_slot, uint8_t *into, uint64_t now) {
    struct slot *slot = &slots[number_of_slot];
    slot->id += MOST_SLOTS;
    slot->place = (first + asked++ % turn) * stride % count;
    slot->sent_us = now;
    memcpy(into, model, request_bytes);
    uint32_t id = htonl(slot->id);
    memcpy(into + 8, &id, 4);
    name((char *)into + HEAD + 4, slot->place);
}

/* Whether an answer, or the first part of one, is that of its slot's request; its slot, or -1 for what comes late or twice. */
static long judge(const uint8_t *answer, size_t length, uint64_t now) {
    char handle[HANDLE];
    uint32_t id = number(answer + 8);
    struct slot *slot = &slots[id % MOST_SLOTS];
    if (slot->id != id) return -1;
    name(handle, slot->place);
    if (length < HEAD + 4 + HANDLE || number(answer + 24) != 1 || memcmp(answer + HEAD + 4, handle, HANDLE)) wrong++;
    uint64_t bucket = (now - slot->sent_us) / BUCKET_US;
    histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    answers++, answered_bytes += length;
    return id % MOST_SLOTS;
}

static void send_datagrams(int fd, uint8_t (*buffers)[MOST_REQUEST], int many) {
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    memset(messages, 0, sizeof messages);
    for (int place = 0; place < many; place++) {
        parts[place] = (struct iovec){buffers[place], request_bytes};
        messages[place].msg_hdr.msg_iov = &parts[place];
        messages[place].msg_hdr.msg_iovlen = 1;
    }
    for (int done = 0; done < many;) {
        int sent = sendmmsg(fd, messages + done, many - done, 0);
        if (sent < 0) fail("sendmmsg");
        done += sent;
    }
}

static void take_datagrams(int fd) {
    static uint8_t taken[BATCH][DATAGRAM], next[BATCH][MOST_REQUEST];
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    memset(messages, 0, sizeof messages);
    for (int place = 0; place < BATCH; place++) {
        parts[place] = (struct iovec){taken[place], DATAGRAM};
        messages[place].msg_hdr.msg_iov = &parts[place];
        messages[place].msg_hdr.msg_iovlen = 1;
    }
    int many = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL), free_slots = 0;
    if (many < 0) {
        if (errno == EAGAIN) return;
        fail("recvmmsg");
    }
    uint64_t now = now_us();
    for (int place = 0; place < many; place++) {
        const uint8_t *answer = taken[place];
        uint32_t length = messages[place].msg_len;
        if (length < 20) {
            wrong++;
            continue;
        }
        /* One that comes in parts would have to be put together: whoever measures asks for what fits. */
        if (number(answer + 12) != 0 || number(answer + 16) + 20 != length) wrong++;
        long slot = judge(answer, length, now);
        if (slot >= 0) ask(slot, next[free_slots++], now);
    }
    send_datagrams(fd, next, free_slots);
}

struct stream {
    uint8_t *bytes;
    size_t held;
};

static void write_all(int fd, const uint8_t *from, size_t length) {
    while (length) {
        ssize_t sent = send(fd, from, length, MSG_NOSIGNAL);
        if (sent < 0) fail("send");
        from += sent, length -= sent;
    }
}

static void take_stream(int fd, struct stream *stream) {
    static uint8_t out[STREAM_BYTES / HEAD * MOST_REQUEST];
    ssize_t got = recv(fd, stream->bytes + stream->held, STREAM_BYTES - stream->held, MSG_DONTWAIT);
    if (got == 0) errno = ECONNRESET;
    if (got <= 0) {
        if (errno == EAGAIN) return;
        fail("recv");
    }
    stream->held += got;
    size_t at = 0, filled = 0;
    uint64_t now = now_us();
    while (stream->held - at >= 20) {
        size_t length = 20 + number(stream->bytes + at + 16);
        if (length > STREAM_BYTES) fail("an answer of such a length");
        if (stream->held - at < length) break;
        long slot = judge(stream->bytes + at, length, now);
        at += length;
        if (slot < 0) {
            wrong++;
            continue;
        }
        ask(slot, out + filled, now);
        filled += request_bytes;
    }
    memmove(stream->bytes, stream->bytes + at, stream->held - at);
    stream->held -= at;
    write_all(fd, out, filled);
}

static int dial(int port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, is_udp ? SOCK_DGRAM : SOCK_STREAM, 0), large = 1 << 20, yes = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at)) fail("connect");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
    if (!is_udp) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return fd;
}

static void ask_again(const int *fds, uint64_t now) {
    static uint8_t one[1][MOST_REQUEST];
    for (int slot = 0; slot < connections * window; slot++) {
        if ((int64_t)(now - slots[slot].sent_us) < LOST_US) continue;
        lost++;
        ask(slot, one[0], now);
        send_datagrams(fds[slot / window], one, 1);
    }
}

static double quantile_ms(double part) {
    uint64_t wanted = answers * part, seen = 0;
    for (int bucket = 0; bucket < BUCKETS; bucket++)
        if ((seen += histogram[bucket]) > wanted) return (bucket + 0.5) * BUCKET_US / 1000;
    return -1;
}

int main(int argc, char **argv) {
    if (argc != 11) return 2;
    is_udp = !strcmp(argv[1], "udp");
    count = atol(argv[3]), first = atol(argv[4]), stride = atol(argv[5]), turn = atol(argv[6]);
    double seconds = atof(argv[7]);
    connections = atoi(argv[8]), window = atoi(argv[9]);
    if (connections < 1 || window < 1 || connections * window > MOST_SLOTS || count < 1 || turn < 1) return 2;
    build(argv[10]);
    int poll = epoll_create1(0), *fds = calloc(connections, sizeof *fds);
    struct stream *streams = calloc(connections, sizeof *streams);
    for (uint32_t slot = 0; slot < MOST_SLOTS; slot++) slots[slot].id = slot;
    uint64_t began = now_us(), until = began + seconds * 1e6, swept = began, now;
    for (int each = 0; each < connections; each++) {
        fds[each] = dial(atoi(argv[2]));
        streams[each].bytes = malloc(STREAM_BYTES);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = each};
        epoll_ctl(poll, EPOLL_CTL_ADD, fds[each], &event);
        for (int place = 0; place < window; place++) {
            uint8_t one[MOST_REQUEST];
            ask(each * window + place, one, now_us());
            write_all(fds[each], one, request_bytes);
        }
    }
    while ((now = now_us()) < until) {
        struct epoll_event events[64];
        int many = epoll_wait(poll, events, 64, 100);
        for (int place = 0; place < many; place++) {
            uint32_t each = events[place].data.u32;
            is_udp ? take_datagrams(fds[each]) : take_stream(fds[each], &streams[each]);
        }
        if (is_udp && now - swept > 100000) ask_again(fds, swept = now);
    }
    double took = (now_us() - began) / 1e6;
    printf("{\"requests\":%lu,\"asked\":%ld,\"seconds\":%.6f,", answers, asked, took);
    printf("\"p50_ms\":%.3f,\"p99_ms\":%.3f,", quantile_ms(0.5), quantile_ms(0.99));
    printf("\"bytes\":%lu,\"wrong\":%lu,\"lost\":%lu}\n", answered_bytes, wrong, lost);
    return 0;
}

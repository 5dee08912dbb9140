/* What the load programs share: arguments, time, connections, latencies. Every program prints one line of JSON.
 *
 * Exit statuses: 0 the work was done (errors, if any, are counted in the line), 1 it could not be done, 2 wrong usage.
 */
#ifndef WEFT_LOAD_H
#define WEFT_LOAD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 5 /* an operation that takes longer has failed */
#define LARGEST_MESSAGE 4096

typedef struct {
    int first, last;
} ports_t;

static inline void __attribute__((format(printf, 2, 3), noreturn)) fail(int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(status);
}

/* Read a whole number within bounds. */
static inline long number(const char *text, long least, long most, const char *what) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < least || value > most)
        fail(2, "%s must be a number from %ld to %ld, not '%s'", what, least, most, text);
    return value;
}

/* Read `7000` or `7000-7003`. */
static inline ports_t port_range(const char *text) {
    char copy[32];
    if (strlen(text) >= sizeof copy) fail(2, "'%.40s' is no range of ports", text);
    strcpy(copy, text);
    char *dash = strchr(copy, '-');
    if (dash) *dash = 0;
    ports_t range;
    range.first = (int)number(copy, 1, 65535, "port");
    range.last = dash ? (int)number(dash + 1, 1, 65535, "last port") : range.first;
    if (range.last < range.first) fail(2, "the range of ports '%s' is backwards", text);
    return range;
}

static inline int port_count(ports_t range) { return range.last - range.first + 1; }

static inline struct sockaddr_in address_of(const char *host, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) fail(2, "'%s' is no IPv4 address", host);
    return address;
}

static inline int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void *zeroed(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (!memory) fail(1, "out of memory");
    return memory;
}

/* Take all descriptors that may be had, and let a broken connection be an error, not the end of the process. */
static inline void prepare_process(void) {
    struct rlimit limit;
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static inline void without_delay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* Connect and wait for it; returns -1 with errno. Sends and receives of the socket are bounded by PATIENCE_S. */
static inline int dial(const char *host, int port) {
    struct sockaddr_in address = address_of(host, port);
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    without_delay(fd);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int reason = errno;
        close(fd);
        errno = reason;
        return -1;
    }
    return fd;
}

/* A message that can be told from every other: a sequence number, then bytes that follow from it. */
static inline void write_message(unsigned char *message, size_t size, uint64_t sequence) {
    memcpy(message, &sequence, sizeof sequence);
    memset(message + sizeof sequence, (int)(sequence & 0xff), size - sizeof sequence);
}

static inline int is_message(const unsigned char *message, size_t size, uint64_t sequence) {
    unsigned char expected[LARGEST_MESSAGE];
    write_message(expected, size, sequence);
    return memcmp(message, expected, size) == 0;
}

/* The endless pattern of bulk transfers; it repeats after PATTERN_BYTES, a prime number of no length in use. */
#define PATTERN_BYTES 65521

static inline unsigned char pattern_at(uint64_t offset) {
    uint32_t place = (uint32_t)(offset % PATTERN_BYTES);
    return (unsigned char)(place ^ (place >> 8) * 31);
}

/* -- latencies: buckets of 1.6 %, so that no run is too long to keep them ------------------------------------------ */

#define LATENCY_STEPS 64
#define LATENCY_BUCKETS (40 * LATENCY_STEPS)

typedef struct {
    uint64_t count, buckets[LATENCY_BUCKETS];
} latencies_t;

static inline void note_latency(latencies_t *all, int64_t ns) {
    uint64_t us = ns > 0 ? (uint64_t)ns / 1000 : 0;
    unsigned bucket = (unsigned)us;
    if (us >= LATENCY_STEPS) {
        unsigned power = 63 - (unsigned)__builtin_clzll(us);
        bucket = (power - 5) * LATENCY_STEPS + (unsigned)((us >> (power - 6)) & (LATENCY_STEPS - 1));
    }
    all->buckets[bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1]++;
    all->count++;
}

/* The lower edge of the bucket below which a share of all latencies lies, in microseconds. */
static inline uint64_t latency_us(const latencies_t *all, double share) {
    uint64_t wanted = (uint64_t)(share * (double)all->count), seen = 0;
    for (unsigned bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
        seen += all->buckets[bucket];
        if (all->count && seen > wanted) {
            if (bucket < LATENCY_STEPS) return bucket;
            unsigned power = bucket / LATENCY_STEPS + 5;
            return ((uint64_t)LATENCY_STEPS + bucket % LATENCY_STEPS) << (power - 6);
        }
    }
    return 0;
}

/* -- the result ---------------------------------------------------------------------------------------------------- */

static inline void print_result(uint64_t operations, uint64_t errors, const char *first_error, int64_t elapsed_ns,
                                const latencies_t *all) {
    printf("{\"operations\": %llu, \"errors\": %llu, \"first_error\": \"%s\", \"seconds\": %.6f, \"p50_us\": %llu, "
           "\"p99_us\": %llu}\n",
           (unsigned long long)operations, (unsigned long long)errors, first_error, (double)elapsed_ns / 1e9,
           (unsigned long long)latency_us(all, 0.50), (unsigned long long)latency_us(all, 0.99));
    fflush(stdout);
}

#endif

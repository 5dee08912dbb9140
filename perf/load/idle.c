/* Idle connections: opens them one after the other, each with one exchange, then holds them until standard input ends.
 *
 *     idle HOST PORTS CONNECTIONS echo|http
 *
 * Prints a line when all are open, and another for each line that it reads, which says how many are still open.
 */
#include "load.h"

#include <poll.h>

static const char REQUEST[] = "GET /api/v1/items?id=7 HTTP/1.1\r\nhost: idle\r\nuser-agent: idle/1.0\r\n\r\n";

static int exchange_echo(int fd, uint64_t sequence) {
    unsigned char message[64], answer[64];
    write_message(message, sizeof message, sequence);
    if (send(fd, message, sizeof message, MSG_NOSIGNAL) != (ssize_t)sizeof message) return 0;
    for (size_t got = 0; got < sizeof answer;) {
        ssize_t done = recv(fd, answer + got, sizeof answer - got, 0);
        if (done <= 0) return 0;
        got += (size_t)done;
    }
    return memcmp(message, answer, sizeof message) == 0;
}

static int exchange_http(int fd) {
    char answer[4096];
    size_t got = 0;
    if (send(fd, REQUEST, sizeof REQUEST - 1, MSG_NOSIGNAL) != (ssize_t)sizeof REQUEST - 1) return 0;
    for (;;) {
        ssize_t done = recv(fd, answer + got, sizeof answer - 1 - got, 0);
        if (done <= 0) return 0;
        got += (size_t)done;
        answer[got] = 0;
        char *body = strstr(answer, "\r\n\r\n");
        const char *length = strcasestr(answer, "content-length:");
        if (body && length && got >= (size_t)(body + 4 - answer) + (size_t)strtol(length + 15, NULL, 10))
            return strncmp(answer, "HTTP/1.1 200", 12) == 0;
        if (got == sizeof answer - 1) return 0;
    }
}

int main(int count, char **words) {
    if (count != 5) fail(2, "usage: idle HOST PORTS CONNECTIONS echo|http");
    ports_t ports = port_range(words[2]);
    int wanted = (int)number(words[3], 1, 60000, "CONNECTIONS");
    int http = strcmp(words[4], "http") == 0;
    if (!http && strcmp(words[4], "echo")) fail(2, "the kind of exchange is echo or http, not '%s'", words[4]);
    prepare_process();
    struct pollfd *all = zeroed((size_t)wanted, sizeof *all);
    for (int index = 0; index < wanted; index++) {
        int fd = dial(words[1], ports.first + index % port_count(ports));
        if (fd < 0) fail(1, "connection %d of %d: %s", index + 1, wanted, strerror(errno));
        if (!(http ? exchange_http(fd) : exchange_echo(fd, (uint64_t)index + 1)))
            fail(1, "connection %d of %d: no or a wrong answer", index + 1, wanted);
        all[index].fd = fd;
        all[index].events = POLLIN | POLLRDHUP;
    }
    printf("{\"open\": %d}\n", wanted);
    fflush(stdout);
    char line[16];
    while (fgets(line, sizeof line, stdin)) {
        int closed = poll(all, (nfds_t)wanted, 0);
        printf("{\"open\": %d}\n", wanted - (closed < 0 ? wanted : closed));
        fflush(stdout);
    }
    return 0;
}

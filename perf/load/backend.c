/* The servers behind the proxies: HTTP with a fixed answer, echo, and a sink that checks what it gets; one process, one core.
 *
 *     backend KIND:PORTS[:BYTES]…        http:8080:13  echo:7000-7003  sink:7100
 *
 * An http port answers every request head with 200 and BYTES bytes (it is for requests without a body). A sink compares
 * what arrives with the pattern of `bulk` and answers the end of the stream with the count (8 bytes, this machine's order)
 * and 1 if every byte was right.
 */
#include "load.h"

#define READ_BYTES (256 * 1024)
#define ANSWERS_BYTES (64 * 1024)

enum kind { NONE, LISTENER, HTTP, ECHO, SINK };

typedef struct {
    enum kind kind;
    unsigned char *answers; /* http: copies of the answer, one after the other */
    size_t answer_bytes, answers_bytes;
} service_t;

typedef struct {
    enum kind kind; /* LISTENER: `service` says for what */
    const service_t *service;
    int blocked;         /* waits for room to write, and reads nothing meanwhile */
    unsigned head;       /* http: how much of the empty line that ends a head was seen */
    uint64_t owed;       /* http: bytes of answers to send; sink: bytes that arrived */
    uint64_t position;   /* http: place in the answer that is being sent */
    int wrong;           /* sink: a byte was not right */
    unsigned char *rest; /* echo: what could not be sent */
    size_t rest_bytes;
} connection_t;

static connection_t *connections;
static int limit, poll_fd;
static unsigned char buffer[READ_BYTES], *pattern;

static void watch(int fd, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    epoll_ctl(poll_fd, operation, fd, &event);
}

static void end_connection(int fd) {
    free(connections[fd].rest);
    connections[fd] = (connection_t){0};
    close(fd);
}

static void block(int fd, int blocked) {
    if (connections[fd].blocked != blocked) {
        connections[fd].blocked = blocked;
        watch(fd, blocked ? EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
    }
}

/* Send; returns what was taken, 0 if there is no room, -1 if the connection is gone (and is ended then). */
static ssize_t push(int fd, const void *data, size_t size) {
    ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent >= 0) return sent;
    if (errno == EAGAIN || errno == EINTR) return 0;
    end_connection(fd);
    return -1;
}

/* -- http ---------------------------------------------------------------------------------------------------------- */

static void send_answers(int fd) {
    connection_t *connection = &connections[fd];
    const service_t *service = connection->service;
    while (connection->owed) {
        uint64_t room = service->answers_bytes - connection->position;
        size_t size = (size_t)(connection->owed < room ? connection->owed : room);
        ssize_t sent = push(fd, service->answers + connection->position, size);
        if (sent < 0) return;
        connection->owed -= (uint64_t)sent;
        connection->position = (connection->position + (uint64_t)sent) % service->answer_bytes;
        if ((size_t)sent < size) break;
    }
    block(fd, connection->owed > 0);
}

static void read_heads(int fd, size_t got) {
    static const char END[] = "\r\n\r\n";
    connection_t *connection = &connections[fd];
    for (size_t index = 0; index < got; index++) {
        unsigned char byte = buffer[index];
        connection->head = byte == (unsigned char)END[connection->head] ? connection->head + 1 : byte == '\r';
        if (connection->head == 4) {
            connection->head = 0;
            connection->owed += connection->service->answer_bytes;
        }
    }
    send_answers(fd);
}

static void make_answers(service_t *service, size_t body) {
    char head[256];
    int size = snprintf(head, sizeof head,
                        "HTTP/1.1 200 OK\r\nserver: perf\r\ndate: Fri, 20 Nov 2026 10:00:00 GMT\r\n"
                        "content-type: text/plain\r\ncontent-length: %zu\r\n\r\n", body);
    service->answer_bytes = (size_t)size + body;
    size_t copies = ANSWERS_BYTES / service->answer_bytes + 1;
    service->answers_bytes = copies * service->answer_bytes;
    service->answers = zeroed(1, service->answers_bytes);
    for (size_t copy = 0; copy < copies; copy++) {
        unsigned char *place = service->answers + copy * service->answer_bytes;
        memcpy(place, head, (size_t)size);
        memset(place + size, 'x', body);
    }
}

/* -- echo ---------------------------------------------------------------------------------------------------------- */

static void keep_rest(connection_t *connection, const unsigned char *data, size_t size) {
    unsigned char *rest = malloc(size);
    if (!rest) fail(1, "out of memory");
    memcpy(rest, data, size);
    free(connection->rest);
    connection->rest = rest;
    connection->rest_bytes = size;
}

static void send_back(int fd, const unsigned char *data, size_t size) {
    connection_t *connection = &connections[fd];
    ssize_t sent = push(fd, data, size);
    if (sent < 0) return;
    if ((size_t)sent < size) {
        keep_rest(connection, data + sent, size - (size_t)sent);
        block(fd, 1);
        return;
    }
    free(connection->rest);
    connection->rest = NULL;
    connection->rest_bytes = 0;
    block(fd, 0);
}

/* -- sink ---------------------------------------------------------------------------------------------------------- */

static void swallow(int fd, size_t got) {
    connection_t *connection = &connections[fd];
    if (memcmp(buffer, pattern + connection->owed % PATTERN_BYTES, got)) connection->wrong = 1;
    connection->owed += got;
}

static void give_verdict(int fd) {
    connection_t *connection = &connections[fd];
    unsigned char verdict[9];
    memcpy(verdict, &connection->owed, 8);
    verdict[8] = !connection->wrong;
    if (push(fd, verdict, sizeof verdict) >= 0) end_connection(fd);
}

/* -- the loop ------------------------------------------------------------------------------------------------------ */

static void accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        if (fd >= limit) {
            close(fd);
            continue;
        }
        without_delay(fd);
        connections[fd] = (connection_t){.kind = connections[listener].service->kind, .service = connections[listener].service};
        watch(fd, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static void readable(int fd) {
    connection_t *connection = &connections[fd];
    ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got < 0) end_connection(fd);
    else if (got == 0 && connection->kind == SINK) give_verdict(fd);
    else if (got == 0) end_connection(fd);
    else if (connection->kind == HTTP) read_heads(fd, (size_t)got);
    else if (connection->kind == ECHO) send_back(fd, buffer, (size_t)got);
    else swallow(fd, (size_t)got);
}

static void writable(int fd) {
    connection_t *connection = &connections[fd];
    if (connection->kind == HTTP) {
        send_answers(fd);
        return;
    }
    unsigned char *rest = connection->rest;
    size_t size = connection->rest_bytes;
    if (!rest) return;
    connection->rest = NULL; /* send_back keeps what is left in a place of its own */
    send_back(fd, rest, size);
    free(rest);
}

static void listen_on(service_t *service, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || fd >= limit) fail(1, "too many ports: %s", fd < 0 ? strerror(errno) : "no descriptors left");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) fail(1, "port %d: %s", port, strerror(errno));
    if (listen(fd, 4096) < 0) fail(1, "port %d: %s", port, strerror(errno));
    connections[fd] = (connection_t){.kind = LISTENER, .service = service};
    watch(fd, EPOLLIN, EPOLL_CTL_ADD);
}

static void serve(char *word) {
    service_t *service = zeroed(1, sizeof *service);
    char *kind = strtok(word, ":"), *ports = strtok(NULL, ":"), *bytes = strtok(NULL, ":");
    if (!kind || !ports) fail(2, "a service is KIND:PORTS or http:PORTS:BYTES");
    service->kind = !strcmp(kind, "http") ? HTTP : !strcmp(kind, "echo") ? ECHO : !strcmp(kind, "sink") ? SINK : NONE;
    if (service->kind == NONE) fail(2, "'%s' is neither http nor echo nor sink", kind);
    if ((service->kind == HTTP) != (bytes != NULL)) fail(2, "BYTES belongs to http and to nothing else");
    if (bytes) make_answers(service, (size_t)number(bytes, 0, 64 * 1024 * 1024, "BYTES"));
    ports_t range = port_range(ports);
    for (int port = range.first; port <= range.last; port++) listen_on(service, port);
}

int main(int count, char **words) {
    if (count < 2) fail(2, "usage: backend KIND:PORTS[:BYTES]…");
    prepare_process();
    struct rlimit descriptors;
    if (getrlimit(RLIMIT_NOFILE, &descriptors) < 0) fail(1, "getrlimit: %s", strerror(errno));
    limit = descriptors.rlim_cur > 200000 ? 200000 : (int)descriptors.rlim_cur;
    connections = zeroed((size_t)limit, sizeof *connections);
    pattern = zeroed(1, READ_BYTES + PATTERN_BYTES);
    for (size_t index = 0; index < READ_BYTES + PATTERN_BYTES; index++) pattern[index] = pattern_at(index);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int index = 1; index < count; index++) serve(words[index]);
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(poll_fd, events, 256, -1);
        if (ready < 0 && errno != EINTR) fail(1, "epoll_wait: %s", strerror(errno));
        for (int index = 0; index < ready; index++) {
            int fd = events[index].data.fd;
            if (connections[fd].kind == LISTENER) accept_all(fd);
            else if (connections[fd].kind == NONE) continue;
            else if (events[index].events & EPOLLOUT) writable(fd);
            else readable(fd);
        }
    }
}

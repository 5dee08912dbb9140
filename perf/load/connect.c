/* New connections: connect, send a message, wait until the same bytes are back, close; CONNECTIONS of them at a time.
 *
 *     connect HOST PORTS CONNECTIONS SECONDS COUNT BYTES
 *
 * Ports are taken in turn. Ends after SECONDS or COUNT connections, whichever is first (COUNT 0: after SECONDS).
 */
#include "load.h"

enum state { FREE, CONNECTING, WAITING };

typedef struct {
    int fd;
    enum state state;
    size_t received;
    uint64_t sequence;
    int64_t began_ns;
    unsigned char answer[LARGEST_MESSAGE];
} slot_t;

static uint64_t operations, errors, started;
static char first_error[160] = "";
static latencies_t latencies;
static int poll_fd;
static size_t size;

static void finish(slot_t *slot, const char *what, int reason) {
    if (what && !errors++)
        snprintf(first_error, sizeof first_error, "%s%s%s", what, reason ? ": " : "", reason ? strerror(reason) : "");
    close(slot->fd);
    slot->fd = -1;
    slot->state = FREE;
}

static void begin(slot_t *slot, const char *host, ports_t ports) {
    struct sockaddr_in address = address_of(host, ports.first + (int)(started % (uint64_t)port_count(ports)));
    slot->sequence = ++started;
    slot->received = 0;
    slot->began_ns = now_ns();
    slot->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (slot->fd < 0) fail(1, "socket: %s", strerror(errno));
    without_delay(slot->fd);
    slot->state = CONNECTING;
    if (connect(slot->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) {
        finish(slot, "connect", errno);
        return;
    }
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = slot};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, slot->fd, &event);
}

static void connected(slot_t *slot) {
    int reason = 0;
    socklen_t length = sizeof reason;
    getsockopt(slot->fd, SOL_SOCKET, SO_ERROR, &reason, &length);
    if (reason) {
        finish(slot, "connect", reason);
        return;
    }
    unsigned char message[LARGEST_MESSAGE];
    write_message(message, size, slot->sequence);
    ssize_t sent = send(slot->fd, message, size, MSG_NOSIGNAL);
    if (sent != (ssize_t)size) { /* a message that does not fit into an empty buffer is a fault */
        finish(slot, "send", sent < 0 ? errno : 0);
        return;
    }
    slot->state = WAITING;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = slot};
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, slot->fd, &event);
}

static void heard(slot_t *slot) {
    ssize_t got = recv(slot->fd, slot->answer + slot->received, size - slot->received, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        finish(slot, got ? "receive" : "closed by the other side", got ? errno : 0);
        return;
    }
    slot->received += (size_t)got;
    if (slot->received < size) return;
    if (!is_message(slot->answer, size, slot->sequence)) {
        finish(slot, "the answer is not what was sent", 0);
        return;
    }
    note_latency(&latencies, now_ns() - slot->began_ns);
    operations++;
    finish(slot, NULL, 0);
}

int main(int count, char **words) {
    if (count != 7) fail(2, "usage: connect HOST PORTS CONNECTIONS SECONDS COUNT BYTES");
    ports_t ports = port_range(words[2]);
    int width = (int)number(words[3], 1, 10000, "CONNECTIONS");
    long seconds = number(words[4], 1, 3600, "SECONDS");
    uint64_t most = (uint64_t)number(words[5], 0, 100000000, "COUNT");
    size = (size_t)number(words[6], sizeof(uint64_t), LARGEST_MESSAGE, "BYTES");
    prepare_process();
    address_of(words[1], ports.first);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    slot_t *slots = zeroed((size_t)width, sizeof *slots);
    int64_t start = now_ns(), end = start + seconds * 1000000000;
    for (;;) {
        int64_t now = now_ns();
        int busy = 0;
        for (int index = 0; index < width; index++) {
            slot_t *slot = &slots[index];
            if (slot->state != FREE && now - slot->began_ns > (int64_t)PATIENCE_S * 1000000000) finish(slot, "no answer in time", 0);
            if (slot->state == FREE && now < end && (!most || started < most)) begin(slot, words[1], ports);
            busy += slot->state != FREE;
        }
        int more = now < end && (!most || started < most);
        if (!busy && !more) break;
        if (errors > 1000) break; /* nothing can be learned from more */
        struct epoll_event events[256];
        int ready = epoll_wait(poll_fd, events, 256, busy ? 100 : 1);
        for (int index = 0; index < ready; index++) {
            slot_t *slot = events[index].data.ptr;
            if (slot->state == CONNECTING) connected(slot);
            else if (slot->state == WAITING) heard(slot);
        }
    }
    print_result(operations, errors, first_error, now_ns() - start, &latencies);
    return 0;
}

/* Ping-pong: each connection sends a message, waits until the same bytes are back, and sends the next.
 *
 *     pingpong HOST PORTS CONNECTIONS SECONDS BYTES
 *
 * Every answer is compared with its question. After SECONDS nothing new is sent, and what is under way is waited for.
 */
#include "load.h"

typedef struct {
    int fd;
    size_t received;
    uint64_t sequence;
    int64_t sent_ns;
    unsigned char answer[LARGEST_MESSAGE];
} player_t;

static uint64_t operations, errors;
static char first_error[160] = "";
static latencies_t latencies;

static void note_error(const char *what, int reason) {
    if (!errors++) snprintf(first_error, sizeof first_error, "%s%s%s", what, reason ? ": " : "", reason ? strerror(reason) : "");
}

static int ask(player_t *player, size_t size) {
    unsigned char message[LARGEST_MESSAGE];
    player->sequence++;
    player->received = 0;
    write_message(message, size, player->sequence);
    player->sent_ns = now_ns();
    ssize_t sent = send(player->fd, message, size, MSG_NOSIGNAL);
    if (sent != (ssize_t)size) { /* nothing else is queued, so a message that does not fit at once is a fault */
        note_error("send", sent < 0 ? errno : 0);
        return 0;
    }
    return 1;
}

/* Take what has arrived; returns 1 while the player goes on, 2 when its answer is complete, 0 when it is out. */
static int hear(player_t *player, size_t size) {
    ssize_t got = recv(player->fd, player->answer + player->received, size - player->received, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 1;
    if (got <= 0) {
        note_error(got ? "receive" : "closed by the other side", got ? errno : 0);
        return 0;
    }
    player->received += (size_t)got;
    if (player->received < size) return 1;
    note_latency(&latencies, now_ns() - player->sent_ns);
    if (!is_message(player->answer, size, player->sequence)) {
        note_error("the answer is not what was sent", 0);
        return 0;
    }
    operations++;
    return 2;
}

int main(int count, char **words) {
    if (count != 6) fail(2, "usage: pingpong HOST PORTS CONNECTIONS SECONDS BYTES");
    ports_t ports = port_range(words[2]);
    int players = (int)number(words[3], 1, 10000, "CONNECTIONS");
    long seconds = number(words[4], 1, 3600, "SECONDS");
    size_t size = (size_t)number(words[5], sizeof(uint64_t), LARGEST_MESSAGE, "BYTES");
    prepare_process();
    player_t *all = zeroed((size_t)players, sizeof *all);
    int poll = epoll_create1(EPOLL_CLOEXEC), playing = 0;
    for (int index = 0; index < players; index++) {
        player_t *player = &all[index];
        player->fd = dial(words[1], ports.first + index % port_count(ports));
        if (player->fd < 0) fail(1, "connection %d of %d: %s", index + 1, players, strerror(errno));
        player->sequence = (uint64_t)index << 40;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = player};
        epoll_ctl(poll, EPOLL_CTL_ADD, player->fd, &event);
    }
    int64_t began = now_ns(), end = began + seconds * 1000000000;
    for (int index = 0; index < players; index++) playing += ask(&all[index], size);
    while (playing) {
        struct epoll_event events[256];
        int ready = epoll_wait(poll, events, 256, PATIENCE_S * 1000);
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) {
            for (; playing; playing--) note_error("no answer in time", 0);
            break;
        }
        int over = now_ns() >= end;
        for (int index = 0; index < ready; index++) {
            player_t *player = events[index].data.ptr;
            int state = hear(player, size);
            if (state == 2) state = !over && ask(player, size);
            if (!state) {
                playing--;
                epoll_ctl(poll, EPOLL_CTL_DEL, player->fd, NULL);
            }
        }
    }
    print_result(operations, errors, first_error, now_ns() - began, &latencies);
    return 0;
}

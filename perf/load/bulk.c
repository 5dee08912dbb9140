/* Bulk upload: one stream of patterned bytes for SECONDS; the sink says at the end how many arrived, and whether intact.
 *
 *     bulk HOST PORT SECONDS
 */
#include "load.h"

#define CHUNK_BYTES (256 * 1024)

int main(int count, char **words) {
    if (count != 4) fail(2, "usage: bulk HOST PORT SECONDS");
    int port = (int)number(words[2], 1, 65535, "PORT");
    long seconds = number(words[3], 1, 3600, "SECONDS");
    prepare_process();
    unsigned char *pattern = zeroed(1, CHUNK_BYTES + PATTERN_BYTES);
    for (size_t index = 0; index < CHUNK_BYTES + PATTERN_BYTES; index++) pattern[index] = pattern_at(index);
    int fd = dial(words[1], port);
    if (fd < 0) fail(1, "connect: %s", strerror(errno));
    uint64_t sent = 0;
    int64_t began = now_ns(), end = began + seconds * 1000000000;
    while (now_ns() < end) {
        ssize_t done = send(fd, pattern + sent % PATTERN_BYTES, CHUNK_BYTES, MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) fail(1, "send after %llu bytes: %s", (unsigned long long)sent, strerror(errno));
        sent += (uint64_t)done;
    }
    shutdown(fd, SHUT_WR);
    unsigned char verdict[9];
    for (size_t got = 0; got < sizeof verdict;) {
        ssize_t done = recv(fd, verdict + got, sizeof verdict - got, 0);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) fail(1, "the sink's verdict: %s", done ? strerror(errno) : "closed");
        got += (size_t)done;
    }
    uint64_t arrived;
    memcpy(&arrived, verdict, sizeof arrived);
    int errors = (arrived != sent) + (verdict[8] != 1);
    printf("{\"bytes\": %llu, \"errors\": %d, \"first_error\": \"%s\", \"seconds\": %.6f}\n", (unsigned long long)arrived,
           errors, arrived != sent ? "bytes were lost" : verdict[8] != 1 ? "bytes were changed" : "",
           (double)(now_ns() - began) / 1e9);
    return 0;
}

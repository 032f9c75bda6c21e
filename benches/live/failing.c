// failing RATE SECONDS: so many registrations a second from 127.0.0.1 to 127.0.0.2, port 5060 each, every one another
// Call-ID with the time at which it was made, refused with 403 at once. Prints how many there were, and how many a second.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 256, ROOM = 1024 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static long wall_nanos(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static struct sockaddr_in at(const char *host) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(5060)};
    inet_pton(AF_INET, host, &address.sin_addr);
    return address;
}

// What arrives is read by nobody: it has passed the tap by then.
static int bound(struct sockaddr_in *own, struct sockaddr_in *other) {
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    if (s < 0 || bind(s, (struct sockaddr *)own, sizeof *own) || connect(s, (struct sockaddr *)other, sizeof *other)) {
        perror("failing");
        exit(1);
    }
    return s;
}

static void send_all(int s, char text[][ROOM], int count) {
    static struct iovec parts[BATCH];
    static struct mmsghdr messages[BATCH];
    for (int i = 0; i < count; i++) {
        parts[i] = (struct iovec){text[i], strlen(text[i])};
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[i], .msg_iovlen = 1}};
    }
    for (int sent = 0; sent < count;) {
        int more = sendmmsg(s, messages + sent, count - sent, 0);
        if (more < 0) {
            perror("failing: send");
            exit(1);
        }
        sent += more;
    }
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    double rate = atof(argv[1]), seconds = atof(argv[2]);
    struct sockaddr_in phone = at("127.0.0.1"), registrar = at("127.0.0.2");
    int from_phone = bound(&phone, &registrar), from_registrar = bound(&registrar, &phone);
    static char asked[BATCH][ROOM], refused[BATCH][ROOM];
    const char *names = "SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK-%1$ld\r\nFrom: <sip:%2$ld@example.com>;tag=%1$ld\r\n"
                        "To: <sip:%2$ld@example.com>%3$s\r\nCall-ID: %1$ld-%4$ld@127.0.0.1\r\nCSeq: 1 REGISTER\r\n";
    char form[2][ROOM];
    snprintf(form[0], ROOM, "REGISTER sip:example.com SIP/2.0\r\nVia: %s%s", names,
             "Max-Forwards: 70\r\nContact: <sip:%2$ld@127.0.0.1:5060>\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n");
    snprintf(form[1], ROOM, "SIP/2.0 403 Forbidden\r\nVia: %s%s", names, "Content-Length: 0\r\n\r\n");
    double start = now();
    long sent = 0, all = (long)(rate * seconds);
    while (sent < all) {
        long due = (long)((now() - start) * rate);
        if (due > all) due = all;
        int count = due - sent > BATCH ? BATCH : (int)(due - sent);
        long at = wall_nanos();
        for (int i = 0; i < count; i++) {
            long call = sent + i, user = 1000 + call % 9000;
            snprintf(asked[i], ROOM, form[0], call, user, "", at);
            snprintf(refused[i], ROOM, form[1], call, user, ";tag=r", at);
        }
        send_all(from_phone, asked, count);
        send_all(from_registrar, refused, count);
        sent += count;
        if (count < BATCH) nanosleep(&(struct timespec){0, 500000}, NULL);
    }
    printf("%ld %.0f\n", sent, sent / (now() - start));
}

// link IF_A IF_B LOG [DIRECTION:KEY=NUMBER[,KEY=NUMBER]...]...: a cable between two interfaces with known faults.
// For kernels without netem, and because its log of what it threw away is a better truth than a percentage.
//
//   DIRECTION  ab, ba
//   KEY        delay (ms, every frame), jitter (ms, standard deviation), loss (percent, independent),
//              bad and good (percent: chance that a burst of loss begins, ends, at each packet)
//
// Jitter and loss hit RTP alone: SIP and RTCP get through, so that what the scenarios do stays known.
// LOG has one line a dropped packet: DIRECTION SSRC SEQUENCE SOURCE_PORT DESTINATION_PORT.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <math.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_MAX = 65536, RECEIVE_BATCH = 64, SECOND_NS = 1000000000 };

struct frame {
    struct frame *next;
    int64_t due_ns;
    size_t length;
    unsigned char bytes[];
};

struct direction {
    const char *name;
    double delay, jitter, loss, bad, good;
    int in_burst;
    int from, to;
    struct frame *waiting; // by due time
};

struct rtp {
    uint32_t ssrc;
    unsigned sequence, source_port, destination_port;
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SECOND_NS + t.tv_nsec;
}

static int chance(double percent) { return percent > 0 && drand48() * 100 < percent; }

static double gauss(void) { return sqrt(-2 * log(1 - drand48())) * cos(2 * M_PI * drand48()); }

static int open_port(const char *name) {
    int one = 1, room = 16 << 20;
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    struct packet_mreq all = {.mr_type = PACKET_MR_PROMISC};
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    at.sll_ifindex = all.mr_ifindex = (int)if_nametoindex(name);
    if (fd < 0 || at.sll_ifindex == 0) fail(name);
    // Before binding, or what the other direction sends would come in again.
    if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one)) fail("PACKET_IGNORE_OUTGOING");
    if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all)) fail("promiscuous");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    if (bind(fd, (struct sockaddr *)&at, sizeof at)) fail(name);
    return fd;
}

static unsigned be16(const unsigned char *at) { return at[0] << 8 | at[1]; }

// RTP is what has version 2 behind UDP and is no RTCP (RFC 5761 section 4); SIP begins with a letter.
static int read_rtp(const unsigned char *frame, size_t length, struct rtp *rtp) {
    const unsigned char *ip = frame + ETH_HLEN, *udp, *payload;
    if (length < ETH_HLEN + 20 + 8 + 12 || be16(frame + 12) != ETH_P_IP || ip[9] != IPPROTO_UDP) return 0;
    udp = ip + (ip[0] & 15) * 4;
    payload = udp + 8;
    if (payload + 12 > frame + length || payload[0] >> 6 != 2) return 0;
    if (payload[1] >= 192 && payload[1] <= 223) return 0;
    rtp->source_port = be16(udp);
    rtp->destination_port = be16(udp + 2);
    rtp->sequence = be16(payload + 2);
    rtp->ssrc = be16(payload + 8) << 16 | be16(payload + 10);
    return 1;
}

static int lost(struct direction *way) {
    way->in_burst = way->in_burst ? !chance(way->good) : chance(way->bad);
    return way->in_burst || chance(way->loss);
}

static void wait_turn(struct direction *way, const unsigned char *bytes, size_t length, double delay_ms) {
    struct frame **place = &way->waiting, *frame = malloc(sizeof *frame + length);
    if (!frame) fail("memory");
    frame->due_ns = now_ns() + (int64_t)(fmax(delay_ms, 0) * 1e6);
    frame->length = length;
    memcpy(frame->bytes, bytes, length);
    while (*place && (*place)->due_ns <= frame->due_ns) place = &(*place)->next;
    frame->next = *place;
    *place = frame;
}

static void receive(struct direction *way, FILE *log) {
    static unsigned char bytes[FRAME_MAX];
    for (int i = 0; i < RECEIVE_BATCH; i++) {
        struct rtp rtp;
        ssize_t length = recv(way->from, bytes, sizeof bytes, MSG_DONTWAIT);
        if (length <= 0) return;
        if (!read_rtp(bytes, (size_t)length, &rtp)) {
            wait_turn(way, bytes, (size_t)length, way->delay);
        } else if (lost(way)) {
            fprintf(log, "%s %08x %u %u %u\n", way->name, rtp.ssrc, rtp.sequence, rtp.source_port, rtp.destination_port);
        } else {
            wait_turn(way, bytes, (size_t)length, way->delay + way->jitter * gauss());
        }
    }
}

static void deliver(struct direction *way) {
    while (way->waiting && way->waiting->due_ns <= now_ns()) {
        struct frame *frame = way->waiting;
        way->waiting = frame->next;
        if (send(way->to, frame->bytes, frame->length, 0) < 0) perror(way->name);
        free(frame);
    }
}

static void set(struct direction ways[2], char *text) {
    struct direction *way = strncmp(text, "ab:", 3) ? &ways[1] : &ways[0];
    if (strncmp(text, "ab:", 3) && strncmp(text, "ba:", 3)) goto unknown;
    for (char *pair = strtok(text + 3, ","); pair; pair = strtok(NULL, ",")) {
        char key[16];
        double number;
        if (sscanf(pair, "%15[a-z]=%lf", key, &number) != 2) goto unknown;
        if (!strcmp(key, "delay")) way->delay = number;
        else if (!strcmp(key, "jitter")) way->jitter = number;
        else if (!strcmp(key, "loss")) way->loss = number;
        else if (!strcmp(key, "bad")) way->bad = number;
        else if (!strcmp(key, "good")) way->good = number;
        else goto unknown;
    }
    return;
unknown:
    fprintf(stderr, "link: no such setting: %s\n", text);
    exit(2);
}

int main(int count, char **words) {
    struct direction ways[2] = {{.name = "ab"}, {.name = "ba"}};
    FILE *log;
    if (count < 4) {
        fprintf(stderr, "usage: link IF_A IF_B LOG [ab:delay=20,jitter=5,loss=3] [ba:bad=1,good=40]\n");
        return 2;
    }
    for (int i = 4; i < count; i++) set(ways, words[i]);
    ways[0].from = ways[1].to = open_port(words[1]);
    ways[1].from = ways[0].to = open_port(words[2]);
    log = fopen(words[3], "w");
    if (!log) fail(words[3]);
    setvbuf(log, NULL, _IOLBF, 0);
    srand48(1); // the same faults each time, as far as the packets come the same
    for (;;) {
        struct pollfd readable[2] = {{ways[0].from, POLLIN, 0}, {ways[1].from, POLLIN, 0}};
        int64_t wait_ns = SECOND_NS - 1;
        for (int i = 0; i < 2; i++) {
            int64_t due_ns = ways[i].waiting ? ways[i].waiting->due_ns - now_ns() : wait_ns;
            if (due_ns < wait_ns) wait_ns = due_ns > 0 ? due_ns : 0;
        }
        ppoll(readable, 2, &(struct timespec){0, wait_ns}, NULL);
        for (int i = 0; i < 2; i++) {
            if (readable[i].revents & POLLIN) receive(&ways[i], log);
            deliver(&ways[i]);
        }
    }
}

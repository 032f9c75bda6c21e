/* sender INTERFACE PACKETS_PER_SECOND SECONDS STREAMS: RTP that enters the network stack at an interface as if from a
 * NIC, made by the kernel itself (BPF_PROG_TEST_RUN with live frames, Linux 5.18): what a tap costs in the kernel is
 * then what this thread's CPU time rises by, for the tap runs inside it.
 *
 * One frame of G.711 (214 bytes) is rewritten by an XDP program for each packet: addresses, ports, SSRC, number and time
 * stamp of one stream after the other. Prints packets sent, seconds, and CPU nanoseconds a packet: of as many seconds
 * before, in which the streams begin, and then of those that count.
 *
 * Needs root. The interface must take an XDP program: a veth does.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FRAME 214
#define INSTRUCTION(c, d, s, o, i) \
    ((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})
#define SET(d, i) INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define COPY(d, s) INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define DO(op, d, i) INSTRUCTION(BPF_ALU64 | (op) | BPF_K, d, 0, 0, i)
#define DO_WITH(op, d, s) INSTRUCTION(BPF_ALU64 | (op) | BPF_X, d, s, 0, 0)
#define LOAD(d, s, o) INSTRUCTION(BPF_LDX | BPF_MEM | BPF_W, d, s, o, 0)
#define STORE(d, s, o) INSTRUCTION(BPF_STX | BPF_MEM | BPF_W, d, s, o, 0)
#define STORE_HALF(d, s, o) INSTRUCTION(BPF_STX | BPF_MEM | BPF_H, d, s, o, 0)
#define NETWORK_ORDER(d, bits) INSTRUCTION(BPF_ALU | BPF_END | BPF_TO_BE, d, 0, 0, bits)

static long bpf(int command, union bpf_attr *attributes) {
    return syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

static void fail(const char *what) {
    fprintf(stderr, "sender: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return at.tv_sec + at.tv_nsec * 1e-9;
}

static int load(const struct bpf_insn *program, unsigned count) {
    static char said[65536];
    union bpf_attr attributes = {
        .prog_type = BPF_PROG_TYPE_XDP,
        .insns = (unsigned long)program,
        .insn_cnt = count,
        .license = (unsigned long)"GPL",
        .log_buf = (unsigned long)said,
        .log_size = sizeof said,
        .log_level = 1,
    };
    int fd = bpf(BPF_PROG_LOAD, &attributes);
    if (fd < 0) {
        fputs(said, stderr);
        fail("loading a program");
    }
    return fd;
}

int main(int count, char **arguments) {
    if (count != 5) {
        fputs("usage: sender INTERFACE PACKETS_PER_SECOND SECONDS STREAMS\n", stderr);
        return 2;
    }
    unsigned interface = if_nametoindex(arguments[1]);
    double rate = atof(arguments[2]), seconds = atof(arguments[3]);
    int streams = atoi(arguments[4]);
    if (!interface)
        fail(arguments[1]);

    /* Stream and round, from packet to packet. */
    union bpf_attr map = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1};
    int state = bpf(BPF_MAP_CREATE, &map);
    if (state < 0)
        fail("making a map");
    struct bpf_insn program[] = {
        LOAD(6, 1, 0), /* r6 = begin of the frame */
        LOAD(7, 1, 4), COPY(8, 6), DO(BPF_ADD, 8, FRAME),
        INSTRUCTION(BPF_JMP | BPF_JLE | BPF_X, 8, 7, 2, 0), SET(0, XDP_ABORTED),
        INSTRUCTION(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
        INSTRUCTION(BPF_LD | BPF_DW | BPF_IMM, 9, BPF_PSEUDO_MAP_VALUE, 0, state), INSTRUCTION(0, 0, 0, 0, 0),
        LOAD(1, 9, 0), /* r1 = stream */
        LOAD(2, 9, 4), /* r2 = round */
        COPY(3, 1), DO(BPF_ADD, 3, 1), INSTRUCTION(BPF_JMP | BPF_JLT | BPF_K, 3, 0, 4, streams), SET(3, 0),
        COPY(4, 2), DO(BPF_ADD, 4, 1), STORE(9, 4, 4), STORE(9, 3, 0),
        /* 10.1.x.x:10000... -> 10.0.0.1 or .2:20000... */
        COPY(3, 1), DO(BPF_RSH, 3, 2), DO(BPF_ADD, 3, 0x0a010000), NETWORK_ORDER(3, 32), STORE(6, 3, 26),
        COPY(3, 1), DO(BPF_AND, 3, 1), DO(BPF_ADD, 3, 0x0a000001), NETWORK_ORDER(3, 32), STORE(6, 3, 30),
        COPY(3, 1), DO(BPF_MOD, 3, 20000), DO(BPF_MUL, 3, 2), DO(BPF_ADD, 3, 10000), NETWORK_ORDER(3, 16),
        STORE_HALF(6, 3, 34),
        COPY(3, 1), DO(BPF_MUL, 3, 7919), DO(BPF_MOD, 3, 20000), DO(BPF_MUL, 3, 2), DO(BPF_ADD, 3, 20000),
        NETWORK_ORDER(3, 16), STORE_HALF(6, 3, 36),
        /* Each stream begins with another number, each round is one packet further. */
        COPY(3, 1), DO(BPF_MUL, 3, 31), DO_WITH(BPF_ADD, 3, 2), NETWORK_ORDER(3, 16), STORE_HALF(6, 3, 44),
        COPY(3, 2), DO(BPF_MUL, 3, 160), NETWORK_ORDER(3, 32), STORE(6, 3, 46),
        COPY(3, 1), DO(BPF_MUL, 3, 40503), DO(BPF_ADD, 3, 7), NETWORK_ORDER(3, 32), STORE(6, 3, 50),
        SET(0, XDP_PASS), INSTRUCTION(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)};
    int sends = load(program, sizeof program / sizeof *program);

    /* A veth has receive queues only with an XDP program on it; this one lets everything pass. */
    struct bpf_insn passes[] = {SET(0, XDP_PASS), INSTRUCTION(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)};
    union bpf_attr link = {.link_create = {.prog_fd = load(passes, 2), .target_ifindex = interface,
                                           .attach_type = BPF_XDP}};
    if (bpf(BPF_LINK_CREATE, &link) < 0)
        fail("putting a program on the interface");

    unsigned char frame[FRAME] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 200};
    frame[22] = 64;
    frame[23] = 17;
    frame[39] = 180;
    frame[42] = 0x80;
    for (int i = 54; i < FRAME; i++)
        frame[i] = i * 37;
    struct xdp_md context = {.data_end = FRAME, .ingress_ifindex = interface};

    for (int turn = 0; turn < 2; turn++) {
        double started = now(CLOCK_MONOTONIC), spent = now(CLOCK_THREAD_CPUTIME_ID), passed;
        unsigned long sent = 0;
        while ((passed = now(CLOCK_MONOTONIC) - started) < seconds) {
            double due = (passed + 0.002) * rate - sent;
            /* Who was kept waiting does not make up for it in one burst. */
            unsigned packets = due > rate * 0.02 ? rate * 0.02 : due > 0 ? due : 0;
            if (packets) {
                union bpf_attr run = {.test = {.prog_fd = sends,
                                               .data_in = (unsigned long)frame,
                                               .data_size_in = FRAME,
                                               .ctx_in = (unsigned long)&context,
                                               .ctx_size_in = sizeof context,
                                               .repeat = packets,
                                               .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
                                               .batch_size = 64}};
                if (bpf(BPF_PROG_TEST_RUN, &run) < 0)
                    fail("sending");
                sent += packets;
            }
            struct timespec pause = {0, 2000000};
            nanosleep(&pause, NULL);
        }
        spent = now(CLOCK_THREAD_CPUTIME_ID) - spent;
        printf("%lu %.3f %.1f\n", sent, now(CLOCK_MONOTONIC) - started, spent * 1e9 / sent);
        fflush(stdout);
    }
    return 0;
}

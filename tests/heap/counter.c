/* A program that counts its own calls of malloc and its relatives: in threads that are there, threads that are started
   later, and children that are forked. Answers each line of input with how many it has made since the last one. */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static atomic_ullong *calls;
static pthread_barrier_t begin, end;
static int last;
static pid_t child;

static void woken(int signal) { (void)signal; }

static void some(int n) {
    unsigned long long made = 0;
    for (int i = 0; i < n; i++) {
        void *p = malloc(10 + i % 1000);
        p = realloc(p, 2000 + i % 5000);
        free(p);
        p = realloc(NULL, 50);
        free(p);
        p = calloc(3, 30);
        free(p);
        p = memalign(8, 40);
        free(p);
        p = aligned_alloc(64, 128);
        free(p);
        if (posix_memalign(&p, 256, 100)) abort();
        free(p);
        made += 7;
        if (i % 100 == 0) {
            p = realloc(malloc(300000), 900000);
            free(p);
            p = valloc(10);
            free(p);
            made += 3;
        }
    }
    atomic_fetch_add(calls, made);
}

static void *thread(void *stays) {
    do {
        if (stays) pthread_barrier_wait(&begin);
        if (last) return NULL;
        some(1000);
        if (stays) pthread_barrier_wait(&end);
    } while (stays);
    return NULL;
}

int main(void) {
    static char line[64], in[4096], out[4096];
    setvbuf(stdin, in, _IOFBF, sizeof in);
    setvbuf(stdout, out, _IOFBF, sizeof out);
    calls = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    signal(SIGUSR1, woken);
    pthread_barrier_init(&begin, NULL, 4);
    pthread_barrier_init(&end, NULL, 4);
    for (int i = 0; i < 3; i++) {
        pthread_t t;
        pthread_create(&t, NULL, thread, &last);
    }
    while (fgets(line, sizeof line, stdin)) {
        atomic_store(calls, 0);
        clock_t before = clock();
        if (!strncmp(line, "wait", 4)) {
        } else if (!strncmp(line, "threads", 7)) {
            pthread_barrier_wait(&begin);
            some(1000);
            pthread_barrier_wait(&end);
        } else if (!strncmp(line, "forks", 5)) {
            for (int i = 0; i < 20; i++) {
                if (fork() == 0) {
                    some(1000);
                    _exit(0);
                }
            }
            for (int i = 0; i < 20; i++) wait(NULL);
        } else if (!strncmp(line, "later", 5)) {
            pthread_t t[3];
            for (int i = 0; i < 3; i++) pthread_create(&t[i], NULL, thread, NULL);
            for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
        } else if (!strncmp(line, "stay", 4)) {
            /* A child that is there for the next looks, calls now and then, and ends with the program. */
            if ((child = fork()) == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                for (;;) {
                    some(1000);
                    pause();
                }
            }
            while (atomic_load(calls) < 7030) usleep(1000);
        } else if (!strncmp(line, "poke", 4)) {
            kill(child, SIGUSR1);
            while (atomic_load(calls) < 7030) usleep(1000);
        } else if (!strncmp(line, "alone", 5)) {
            some(20000);
        }
        printf("{\"calls\":%llu,\"cpu\":%ld,\"child\":%d}\n", atomic_load(calls), (long)(clock() - before), child);
        fflush(stdout);
    }
    return 0;
}

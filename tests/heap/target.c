/* A program to look into: it does what its lines of input say, and answers each with what mallinfo2() says then.

   arenas N     N - 1 threads besides the first, each with an arena of its own
   grow         every thread takes many chunks of many sizes
   holes        every thread frees every second one
   trim         malloc_trim(0)
   large N      N blocks of 1 MiB and more, which get mappings of their own
   fast         many small chunks freed, more than the tcaches take
   churn S      all threads take and free as fast as they can from now on; their live bytes stay between bounds
   calm         they stop
   end */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 64, CHUNKS = 6000, CHURNED = 2048, LARGE = 64 };

static pthread_barrier_t begin, end;
static int threads;
static const char *todo = "";
static atomic_int churning;
static atomic_ullong operations;
static void *large[LARGE];

struct own {
    unsigned random;
    void *chunks[CHUNKS];
    void *churned[CHURNED];
};
static struct own own[THREADS];

static unsigned next(struct own *o) {
    o->random = o->random * 1103515245u + 12345u;
    return o->random >> 8;
}

static void churn(struct own *o) {
    unsigned long long done = 0;
    while (atomic_load(&churning)) {
        for (int i = 0; i < 1000; i++) {
            unsigned at = next(o) % CHURNED;
            free(o->churned[at]);
            /* Memory that is full of words which could be sizes of chunks. */
            size_t size = 16 + next(o) % 2000;
            size_t *words = o->churned[at] = malloc(size);
            for (size_t w = 0; w < size / sizeof *words && w < 16; w++) words[w] = 0x31 + 16 * (next(o) % 64);
        }
        done += 1000;
    }
    atomic_fetch_add(&operations, done);
}

static void act(struct own *o) {
    if (!strcmp(todo, "grow"))
        for (int i = 0; i < CHUNKS; i++)
            if (!o->chunks[i]) {
                size_t size = 16 + next(o) % (i % 50 ? 3000 : 60000);
                o->chunks[i] = malloc(size);
                memset(o->chunks[i], 1, size < 64 ? size : 64);
            }
    if (!strcmp(todo, "holes"))
        for (int i = 0; i < CHUNKS; i += 2) {
            free(o->chunks[i]);
            o->chunks[i] = NULL;
        }
    if (!strcmp(todo, "fast")) {
        void *small[2000];
        for (int i = 0; i < 2000; i++) small[i] = malloc(24 + 16 * (i % 6));
        for (int i = 0; i < 2000; i++) free(small[i]);
    }
    if (!strcmp(todo, "churn")) churn(o);
}

static void *thread(void *o) {
    ((struct own *)o)->random = (unsigned)(long)o;
    free(malloc(1));
    for (;;) {
        pthread_barrier_wait(&begin);
        if (!strcmp(todo, "end")) return NULL;
        act(o);
        pthread_barrier_wait(&end);
    }
}

static void say(void) {
    struct mallinfo2 m = mallinfo2();
    printf("{\"arena\":%zu,\"uordblks\":%zu,\"fordblks\":%zu,\"hblkhd\":%zu,\"fsmblks\":%zu,\"operations\":%llu,\"cpu\":%ld}\n",
           m.arena, m.uordblks, m.fordblks, m.hblkhd, m.fsmblks, atomic_load(&operations),
           (long)(clock() / (CLOCKS_PER_SEC / 1000)));
    fflush(stdout);
}

int main(void) {
    static char line[64], out[4096];
    setvbuf(stdout, out, _IOFBF, sizeof out);
    static char in[4096];
    setvbuf(stdin, in, _IOFBF, sizeof in);
    own[0].random = 1;
    while (fgets(line, sizeof line, stdin)) {
        int n = 0;
        static char word[16];
        if (sscanf(line, "%15s %d", word, &n) < 1) continue;
        todo = word;
        if (!strcmp(word, "arenas")) {
            threads = n - 1;
            mallopt(M_ARENA_MAX, n);
            pthread_barrier_init(&begin, NULL, threads + 1);
            pthread_barrier_init(&end, NULL, threads + 1);
            for (int i = 0; i < threads; i++) {
                pthread_t t;
                pthread_create(&t, NULL, thread, &own[i + 1]);
            }
        } else if (!strcmp(word, "trim")) {
            malloc_trim(0);
        } else if (!strcmp(word, "large")) {
            for (int i = 0; i < n && i < LARGE; i++) large[i] = memset(malloc((1 << 20) + 4096 * i), 1, 100);
        } else if (!strcmp(word, "churn")) {
            atomic_store(&operations, 0);
            atomic_store(&churning, 1);
            pthread_barrier_wait(&begin);
        } else if (!strcmp(word, "calm")) {
            atomic_store(&churning, 0);
            pthread_barrier_wait(&end);
        } else if (!strcmp(word, "end")) {
            pthread_barrier_wait(&begin);
            return 0;
        } else {
            pthread_barrier_wait(&begin);
            act(&own[0]);
            pthread_barrier_wait(&end);
        }
        say();
    }
    return 0;
}

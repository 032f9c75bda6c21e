/* A program that allocates a little, says so for each line of input, and knows no function that only glibc has. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    static char line[64];
    while (fgets(line, sizeof line, stdin)) {
        char *held = strdup(line);
        puts(held ? "{}" : "null");
        fflush(stdout);
    }
    return 0;
}

// A C program that uses its arguments, its environment and a file: copatch run examples/hello.wasm NAME...
// `--env GREETING=...` changes the greeting; `--dir . ` and a last argument `@FILE` counts the lines of a file.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int count_lines(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) {
        fprintf(stderr, "hello: %s: %s\n", path, strerror(errno));
        return 1;
    }
    long lines = 0;
    for (int c; (c = getc(file)) != EOF;)
        lines += c == '\n';
    fclose(file);
    printf("%s has %ld lines.\n", path, lines);
    return 0;
}

int main(int argc, char **argv) {
    const char *greeting = getenv("GREETING");
    if (!greeting)
        greeting = "Hello";
    if (argc < 2)
        printf("%s, world!\n", greeting);
    int status = 0;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '@')
            status |= count_lines(argv[i] + 1);
        else
            printf("%s, %s!\n", greeting, argv[i]);
    }
    return status;
}

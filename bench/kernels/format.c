// Builds strings with the C library's printf family: variadic calls, pointers everywhere, library code.
// Work: lines in thousands.
#include "kernel.h"

int main(int argc, char **argv) {
    uint32_t lines = work_arg(argc, argv, 250) * 1000, seed = 5, check = 0;
    static const char *const names[4] = {"alpha", "beta", "gamma", "a rather longer name"};
    char line[256];
    for (uint32_t i = 0; i < lines; i++) {
        uint32_t r = next_random(&seed);
        int n = snprintf(line, sizeof line, "%6u|%-22s|%08x|%+d|%5.3f|%c|%lld", i, names[r & 3], r, (int)r >> 7,
                         (double)(r % 100000) / 7.0, 'A' + (int)(r % 26), (long long)r * r);
        for (int k = 0; k < n; k++)
            check = check * 31 + (uint8_t)line[k];
        if (i % (lines / 4) == 0)
            puts(line);
    }
    printf("format %u lines: %08x\n", lines, check);
}

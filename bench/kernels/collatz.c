// Finds the start below a limit with the longest Collatz sequence: 64-bit arithmetic and hard branches.
// Work: the limit in thousands.
#include "kernel.h"

NOINLINE static uint32_t length(uint64_t n) {
    uint32_t steps = 1;
    while (n != 1) {
        if (n & 1)
            n = 3 * n + 1;
        else
            n >>= 1;
        steps++;
    }
    return steps;
}

int main(int argc, char **argv) {
    uint32_t limit = work_arg(argc, argv, 900) * 1000, best = 0, at = 0;
    for (uint32_t i = 1; i < limit; i++) {
        uint32_t l = length(i);
        if (l > best) {
            best = l;
            at = i;
        }
    }
    printf("collatz %u: start %u, length %u\n", limit, at, best);
}

// The Ackermann function A(3, 9), 4,093 frames deep at most. Work: repetitions.
#include "kernel.h"

NOINLINE static uint32_t ackermann(uint32_t m, uint32_t n) {
    if (m == 0)
        return n + 1;
    if (n == 0)
        return ackermann(m - 1, 1);
    return ackermann(m - 1, ackermann(m, n - 1));
}

int main(int argc, char **argv) {
    uint32_t times = work_arg(argc, argv, 10), check = 0;
    for (uint32_t i = 0; i < times; i++)
        check = mix(check, ackermann(3, 9 - i % 2));
    printf("ackermann %u times: A(3,9)=%u, %08x\n", times, ackermann(3, 9), check);
}

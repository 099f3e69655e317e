// The Fibonacci numbers by plain recursion: nothing but calls. Work: n.
#include "kernel.h"

NOINLINE static uint32_t fib(uint32_t n) {
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

int main(int argc, char **argv) {
    uint32_t n = work_arg(argc, argv, 38);
    if (n > 47)
        n = 47;
    printf("fib %u: %u\n", n, fib(n));
}

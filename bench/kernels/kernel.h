// What every kernel shares. A kernel takes an optional first argument, the amount of work (each kernel says of
// what), and prints lines that depend on nothing else: same argument, same output, on every engine.
#ifndef COPATCH_KERNEL_H
#define COPATCH_KERNEL_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Keeps a call a call: without it clang folds small kernels into one loop.
#define NOINLINE __attribute__((noinline))

// The first argument as a positive number, or `otherwise`.
static inline uint32_t work_arg(int argc, char **argv, uint32_t otherwise) {
    if (argc < 2)
        return otherwise;
    unsigned long n = strtoul(argv[1], NULL, 10);
    if (n == 0 || n > UINT32_MAX) {
        fprintf(stderr, "usage: %s [WORK], a number of 1 or more\n", argv[0]);
        exit(2);
    }
    return (uint32_t)n;
}

// A 32-bit xorshift generator: the same numbers everywhere, which rand() does not promise.
static inline uint32_t next_random(uint32_t *state) {
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

// Folds one value into a checksum.
static inline uint32_t mix(uint32_t sum, uint32_t value) {
    return (sum ^ value) * 16777619u + (sum >> 15);
}

#endif

// Sums an array of 32-bit integers again and again: the plainest inner loop there is. Work: passes.
#include "kernel.h"

#define LENGTH 65536
static int32_t values[LENGTH];

NOINLINE static int32_t sum(const int32_t *v, int n) {
    int32_t total = 0;
#pragma clang loop unroll(disable)
    for (int i = 0; i < n; i++)
        total = (int32_t)((uint32_t)total + (uint32_t)v[i]);
    return total;
}

int main(int argc, char **argv) {
    uint32_t passes = work_arg(argc, argv, 6000), seed = 1, check = 0;
    for (int i = 0; i < LENGTH; i++)
        values[i] = (int32_t)next_random(&seed);
    for (uint32_t p = 0; p < passes; p++) {
        values[p % LENGTH] ^= (int32_t)p;
        check = mix(check, (uint32_t)sum(values, LENGTH));
    }
    printf("sum %u passes: %08x\n", passes, check);
}

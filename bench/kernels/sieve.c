// Counts primes with a sieve of bytes. Work: the limit in thousands.
#include "kernel.h"

int main(int argc, char **argv) {
    uint32_t limit = work_arg(argc, argv, 20000);
    limit = (limit > 200000 ? 200000 : limit) * 1000;
    uint8_t *composite = calloc(limit + 1, 1);
    if (!composite)
        return 1;
    uint32_t count = 0, last = 0;
    for (uint32_t i = 2; i <= limit; i++) {
        if (composite[i])
            continue;
        count++;
        last = i;
        if ((uint64_t)i * i <= limit)
            for (uint32_t j = i * i; j <= limit; j += i)
                composite[j] = 1;
    }
    printf("sieve %u: %u primes, the last %u\n", limit, count, last);
}

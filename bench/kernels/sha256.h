// The driver that both SHA-256 kernels share; each defines `compress`. Work: rounds over 64 KiB.
#include "kernel.h"

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

#define ROTR(x, n) ((x) >> (n) | (x) << (32 - (n)))
#define CH(e, f, g) (((e) & (f)) ^ (~(e) & (g)))
#define MAJ(a, b, c) (((a) & (b)) ^ ((a) & (c)) ^ ((b) & (c)))
#define SUM0(a) (ROTR(a, 2) ^ ROTR(a, 13) ^ ROTR(a, 22))
#define SUM1(e) (ROTR(e, 6) ^ ROTR(e, 11) ^ ROTR(e, 25))
#define SIGMA0(w) (ROTR(w, 7) ^ ROTR(w, 18) ^ (w) >> 3)
#define SIGMA1(w) (ROTR(w, 17) ^ ROTR(w, 19) ^ (w) >> 10)

static uint32_t word_at(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

// Absorbs one block of 64 bytes.
static void compress(uint32_t state[8], const uint8_t *block);

static void sha256(const uint8_t *data, uint32_t n, uint32_t state[8]) {
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(state, start, sizeof start);
    uint32_t i = 0;
    for (; i + 64 <= n; i += 64)
        compress(state, data + i);
    uint8_t tail[128] = {0};
    uint32_t rest = n - i, total = rest < 56 ? 64 : 128;
    memcpy(tail, data + i, rest);
    tail[rest] = 0x80;
    for (int k = 0; k < 8; k++)
        tail[total - 1 - k] = (uint8_t)((uint64_t)n * 8 >> 8 * k);
    for (i = 0; i < total; i += 64)
        compress(state, tail + i);
}

static void print_digest(const char *name, const uint32_t state[8]) {
    printf("%s ", name);
    for (int i = 0; i < 8; i++)
        printf("%08x", state[i]);
    printf("\n");
}

static int sha256_main(const char *name, uint32_t rounds) {
    static uint8_t data[65536];
    uint32_t state[8], seed = 256;
    // The standard's own example comes first, so that a wrong kernel is seen to be wrong.
    sha256((const uint8_t *)"abc", 3, state);
    print_digest("abc", state);
    for (uint32_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)next_random(&seed);
    for (uint32_t r = 0; r < rounds; r++) {
        sha256(data, sizeof data, state);
        memcpy(data, state, sizeof state);
    }
    print_digest(name, state);
    return 0;
}

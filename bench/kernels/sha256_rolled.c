// SHA-256 with its 64 rounds as a loop.
#include "sha256.h"

NOINLINE static void compress(uint32_t state[8], const uint8_t *block) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++)
        w[i] = word_at(block + 4 * i);
#pragma clang loop unroll(disable)
    for (int i = 16; i < 64; i++)
        w[i] = SIGMA1(w[i - 2]) + w[i - 7] + SIGMA0(w[i - 15]) + w[i - 16];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
#pragma clang loop unroll(disable)
    for (int i = 0; i < 64; i++) {
        uint32_t t1 = h + SUM1(e) + CH(e, f, g) + K[i] + w[i];
        uint32_t t2 = SUM0(a) + MAJ(a, b, c);
        h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

int main(int argc, char **argv) {
    return sha256_main("sha256_rolled", work_arg(argc, argv, 700));
}

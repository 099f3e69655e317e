// SHA-256 with its 64 rounds written out: one long run of code with more live values than any machine has registers.
#include "sha256.h"

#define ROUND(a, b, c, d, e, f, g, h, i)                                                                               \
    h += SUM1(e) + CH(e, f, g) + K[i] + w[(i) & 15];                                                                   \
    d += h;                                                                                                            \
    h += SUM0(a) + MAJ(a, b, c);
#define EXPAND(i) w[(i) & 15] += SIGMA1(w[((i) + 14) & 15]) + w[((i) + 9) & 15] + SIGMA0(w[((i) + 1) & 15]);
#define EIGHT(i)                                                                                                       \
    ROUND(a, b, c, d, e, f, g, h, i)                                                                                   \
    ROUND(h, a, b, c, d, e, f, g, i + 1)                                                                               \
    ROUND(g, h, a, b, c, d, e, f, i + 2)                                                                               \
    ROUND(f, g, h, a, b, c, d, e, i + 3)                                                                               \
    ROUND(e, f, g, h, a, b, c, d, i + 4)                                                                               \
    ROUND(d, e, f, g, h, a, b, c, i + 5)                                                                               \
    ROUND(c, d, e, f, g, h, a, b, i + 6)                                                                               \
    ROUND(b, c, d, e, f, g, h, a, i + 7)
#define EXPAND8(i)                                                                                                     \
    EXPAND(i) EXPAND(i + 1) EXPAND(i + 2) EXPAND(i + 3) EXPAND(i + 4) EXPAND(i + 5) EXPAND(i + 6) EXPAND(i + 7)

NOINLINE static void compress(uint32_t state[8], const uint8_t *block) {
    uint32_t w[16];
    for (int i = 0; i < 16; i++)
        w[i] = word_at(block + 4 * i);
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    EIGHT(0) EIGHT(8)
    EXPAND8(16) EIGHT(16) EXPAND8(24) EIGHT(24)
    EXPAND8(32) EIGHT(32) EXPAND8(40) EIGHT(40)
    EXPAND8(48) EIGHT(48) EXPAND8(56) EIGHT(56)
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

int main(int argc, char **argv) {
    return sha256_main("sha256_unrolled", work_arg(argc, argv, 700));
}

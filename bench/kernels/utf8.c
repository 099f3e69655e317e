// Validates and decodes UTF-8 with a chain of range tests, counting characters by class. Work: passes over 64 KiB.
#include "kernel.h"

#define LENGTH 65536
static uint8_t text[LENGTH + 4];

static uint32_t put(uint8_t *out, uint32_t c) {
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 63));
        out[2] = (uint8_t)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 63));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 63));
    out[3] = (uint8_t)(0x80 | (c & 63));
    return 4;
}

// Decodes one character at `p`; returns its length, or 0 where the bytes are not UTF-8.
static uint32_t get(const uint8_t *p, const uint8_t *end, uint32_t *c) {
    uint8_t b = p[0];
    if (b < 0x80) {
        *c = b;
        return 1;
    }
    uint32_t n = b >= 0xf0 && b < 0xf5 ? 4 : b >= 0xe0 && b < 0xf0 ? 3 : b >= 0xc2 && b < 0xe0 ? 2 : 0;
    if (n == 0 || (uint32_t)(end - p) < n)
        return 0;
    uint32_t v = b & (0x7fu >> n);
    for (uint32_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (p[i] & 63);
    }
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
        return 0;
    *c = v;
    return n;
}

NOINLINE static uint32_t scan(const uint8_t *p, const uint8_t *end, uint32_t counts[6]) {
    uint32_t sum = 0;
    while (p < end) {
        uint32_t c, n = get(p, end, &c);
        counts[n]++;
        if (n == 0) {
            p++;
            continue;
        }
        if ((c | 32) >= 'a' && (c | 32) <= 'z')
            counts[5]++;
        sum = mix(sum, c);
        p += n;
    }
    return sum;
}

int main(int argc, char **argv) {
    uint32_t passes = work_arg(argc, argv, 500), seed = 12345, n = 0, check = 0, counts[6] = {0};
    while (n < LENGTH) {
        uint32_t r = next_random(&seed), c;
        switch (r >> 28) {
        case 0: c = 0x10000 + r % 0x100000; break;
        case 1: case 2: c = 0x800 + r % 0xd000; break;
        case 3: case 4: case 5: c = 0x80 + r % 0x780; break;
        default: c = 32 + r % 95; break;
        }
        n += put(text + n, c);
    }
    n = LENGTH;
    for (uint32_t i = 0; i < passes; i++) {
        text[(i * 7919u) % LENGTH] ^= (uint8_t)(1 + i % 255);
        check = mix(check, scan(text, text + n, counts));
    }
    printf("utf8 %u passes: %08x bad %u one %u two %u three %u four %u letters %u\n", passes, check, counts[0],
           counts[1], counts[2], counts[3], counts[4], counts[5]);
}

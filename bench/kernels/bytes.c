// Encodes a buffer as base64, decodes it again and takes the CRC-32 of both: byte loads, table look-ups, shifts.
// Work: rounds over 48 KiB.
#include "kernel.h"

#define LENGTH 49152
static uint8_t plain[LENGTH], decoded[LENGTH];
static char text[LENGTH / 3 * 4 + 1];
static uint32_t crc_table[256];
static uint8_t value_of[256];
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void make_tables(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = (c & 1) ? (c >> 1) ^ 0xedb88320u : c >> 1;
        crc_table[i] = c;
    }
    for (uint32_t i = 0; i < 64; i++)
        value_of[(uint8_t)alphabet[i]] = (uint8_t)i;
}

NOINLINE static uint32_t crc32(const uint8_t *data, uint32_t n) {
    uint32_t c = 0xffffffffu;
    for (uint32_t i = 0; i < n; i++)
        c = crc_table[(c ^ data[i]) & 0xff] ^ (c >> 8);
    return ~c;
}

NOINLINE static uint32_t encode(const uint8_t *in, uint32_t n, char *out) {
    char *o = out;
    for (uint32_t i = 0; i + 2 < n; i += 3) {
        uint32_t w = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
        *o++ = alphabet[w >> 18];
        *o++ = alphabet[w >> 12 & 63];
        *o++ = alphabet[w >> 6 & 63];
        *o++ = alphabet[w & 63];
    }
    *o = 0;
    return (uint32_t)(o - out);
}

NOINLINE static uint32_t decode(const char *in, uint32_t n, uint8_t *out) {
    uint8_t *o = out;
    for (uint32_t i = 0; i + 3 < n; i += 4) {
        uint32_t w = 0;
        for (uint32_t k = 0; k < 4; k++)
            w = w << 6 | value_of[(uint8_t)in[i + k]];
        *o++ = (uint8_t)(w >> 16);
        *o++ = (uint8_t)(w >> 8);
        *o++ = (uint8_t)w;
    }
    return (uint32_t)(o - out);
}

int main(int argc, char **argv) {
    uint32_t rounds = work_arg(argc, argv, 700), seed = 99, check = 0;
    make_tables();
    for (int i = 0; i < LENGTH; i++)
        plain[i] = (uint8_t)next_random(&seed);
    for (uint32_t r = 0; r < rounds; r++) {
        plain[r % LENGTH]++;
        uint32_t n = encode(plain, LENGTH, text);
        if (decode(text, n, decoded) != LENGTH || memcmp(plain, decoded, LENGTH) != 0) {
            puts("bytes: round trip failed");
            return 1;
        }
        check = mix(check, crc32(decoded, LENGTH));
        check = mix(check, crc32((const uint8_t *)text, n));
    }
    printf("bytes %u rounds: %08x\n", rounds, check);
}

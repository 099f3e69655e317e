// A hash table with open addressing and FNV-1a over short strings, then a murmur-like finaliser over integers.
// Work: rounds.
#include "kernel.h"

#define SLOTS 32768
#define WORDS 20000
typedef struct {
    uint32_t hash, count;
    char key[12];
} Slot;
static Slot table[SLOTS];
static char words[WORDS][12];

static uint32_t fnv1a(const char *s) {
    uint32_t h = 2166136261u;
    for (; *s; s++)
        h = (h ^ (uint8_t)*s) * 16777619u;
    return h | 1;
}

NOINLINE static Slot *find(const char *key) {
    uint32_t h = fnv1a(key);
    for (uint32_t i = h;; i++) {
        Slot *s = &table[i % SLOTS];
        if (s->hash == 0) {
            s->hash = h;
            strcpy(s->key, key);
            return s;
        }
        if (s->hash == h && strcmp(s->key, key) == 0)
            return s;
    }
}

static uint64_t finalise(uint64_t k) {
    k ^= k >> 33;
    k *= 0xff51afd7ed558ccdull;
    k ^= k >> 33;
    k *= 0xc4ceb9fe1a85ec53ull;
    return k ^ k >> 33;
}

int main(int argc, char **argv) {
    uint32_t rounds = work_arg(argc, argv, 150), seed = 31337, check = 0;
    for (int i = 0; i < WORDS; i++) {
        int n = 3 + (int)(next_random(&seed) % 8);
        for (int k = 0; k < n; k++)
            words[i][k] = (char)('a' + next_random(&seed) % (k < 2 ? 4 : 26));
    }
    uint64_t state = 1;
    for (uint32_t r = 0; r < rounds; r++)
        for (int i = 0; i < WORDS; i++) {
            state = finalise(state + (uint64_t)i);
            Slot *s = find(words[state % WORDS]);
            s->count += 1 + (uint32_t)(state >> 60);
        }
    uint32_t used = 0;
    for (int i = 0; i < SLOTS; i++)
        if (table[i].hash) {
            used++;
            check = mix(check, table[i].hash ^ table[i].count);
        }
    printf("hash %u rounds: %u keys, %08x, state %016llx\n", rounds, used, check, (unsigned long long)state);
}

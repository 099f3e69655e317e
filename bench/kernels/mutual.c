// Mutual recursion: Hofstadter's female and male sequences, and a recursive-descent evaluator of expressions.
// Work: repetitions.
#include "kernel.h"

static uint32_t male(uint32_t n);

NOINLINE static uint32_t female(uint32_t n) {
    return n == 0 ? 1 : n - male(female(n - 1));
}

NOINLINE static uint32_t male(uint32_t n) {
    return n == 0 ? 0 : n - female(male(n - 1));
}

static const char *cursor;
static uint32_t expression(void);

NOINLINE static uint32_t atom(void) {
    if (*cursor == '(') {
        cursor++;
        uint32_t v = expression();
        cursor++;
        return v;
    }
    uint32_t v = 0;
    while (*cursor >= '0' && *cursor <= '9')
        v = v * 10 + (uint32_t)(*cursor++ - '0');
    return v;
}

NOINLINE static uint32_t term(void) {
    uint32_t v = atom();
    while (*cursor == '*') {
        cursor++;
        v *= atom();
    }
    return v;
}

NOINLINE static uint32_t expression(void) {
    uint32_t v = term();
    while (*cursor == '+' || *cursor == '-') {
        char sign = *cursor++;
        uint32_t w = term();
        v = sign == '+' ? v + w : v - w;
    }
    return v;
}

// Writes a random expression of at most `depth` nested brackets.
static char *write_expression(char *out, int depth, uint32_t *seed) {
    for (uint32_t terms = 2 + next_random(seed) % 3; terms > 0; terms--) {
        if (depth > 0 && next_random(seed) % 4) {
            *out++ = '(';
            out = write_expression(out, depth - 1, seed);
            *out++ = ')';
        } else {
            out += sprintf(out, "%u", next_random(seed) % 1000);
        }
        if (terms > 1)
            *out++ = "+-*"[next_random(seed) % 3];
    }
    return out;
}

int main(int argc, char **argv) {
    uint32_t times = work_arg(argc, argv, 3000), seed = 4711, check = 0;
    static char source[1 << 16];
    *write_expression(source, 5, &seed) = 0;
    for (uint32_t i = 0; i < times; i++) {
        cursor = source;
        check = mix(check, expression());
        check = mix(check, female(16 + i % 16) * 64 + male(16 + i % 16));
    }
    printf("mutual %u times, %u characters: %08x\n", times, (uint32_t)strlen(source), check);
}

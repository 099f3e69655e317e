// A quicksort and a heap sort of our own that compare through a function pointer, as qsort does: indirect calls
// with two pointers and a result. (The C library's qsort may differ in its order of equal keys; ours may not.)
// Work: rounds over 100,000 records.
#include "kernel.h"

#define COUNT 100000
typedef struct {
    int32_t key;
    uint32_t serial;
} Record;
typedef int (*Compare)(const void *, const void *);
static Record records[COUNT];

static int by_key(const void *a, const void *b) {
    const Record *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->serial < y->serial ? -1 : x->serial > y->serial;
}

static int by_serial_down(const void *a, const void *b) {
    const Record *x = a, *y = b;
    return x->serial < y->serial ? 1 : -(x->serial > y->serial);
}

static int by_low_bits(const void *a, const void *b) {
    const Record *x = a, *y = b;
    int d = (int)(x->key & 255) - (int)(y->key & 255);
    return d ? d : by_key(a, b);
}

static void swap(Record *a, Record *b) {
    Record t = *a;
    *a = *b;
    *b = t;
}

NOINLINE static void quick_sort(Record *v, int32_t lo, int32_t hi, Compare compare) {
    while (lo < hi) {
        Record pivot = v[lo + (hi - lo) / 2];
        int32_t i = lo, j = hi;
        while (i <= j) {
            while (compare(&v[i], &pivot) < 0)
                i++;
            while (compare(&pivot, &v[j]) < 0)
                j--;
            if (i <= j)
                swap(&v[i++], &v[j--]);
        }
        // Recurse into the smaller half, so that the depth stays logarithmic.
        if (j - lo < hi - i) {
            quick_sort(v, lo, j, compare);
            lo = i;
        } else {
            quick_sort(v, i, hi, compare);
            hi = j;
        }
    }
}

NOINLINE static void heap_sort(Record *v, int32_t n, Compare compare) {
    for (int32_t start = n / 2 - 1, end = n; end > 1;) {
        int32_t root;
        if (start >= 0) {
            root = start--;
        } else {
            swap(&v[0], &v[--end]);
            root = 0;
        }
        for (int32_t child; (child = 2 * root + 1) < end; root = child) {
            if (child + 1 < end && compare(&v[child], &v[child + 1]) < 0)
                child++;
            if (compare(&v[root], &v[child]) >= 0)
                break;
            swap(&v[root], &v[child]);
        }
    }
}

int main(int argc, char **argv) {
    static const Compare orders[3] = {by_key, by_serial_down, by_low_bits};
    uint32_t rounds = work_arg(argc, argv, 12), seed = 2024, check = 0;
    for (uint32_t i = 0; i < COUNT; i++)
        records[i] = (Record){(int32_t)next_random(&seed) >> 12, i};
    for (uint32_t r = 0; r < rounds; r++) {
        Compare compare = orders[r % 3];
        if (r % 4 == 3)
            heap_sort(records, COUNT, compare);
        else
            quick_sort(records, 0, COUNT - 1, compare);
        for (uint32_t i = 1; i < COUNT; i++)
            if (compare(&records[i - 1], &records[i]) > 0) {
                puts("sort: out of order");
                return 1;
            }
        for (uint32_t i = 0; i < COUNT; i += 97)
            check = mix(check, (uint32_t)records[i].key ^ records[i].serial);
    }
    printf("sort %u rounds: %08x\n", rounds, check);
}

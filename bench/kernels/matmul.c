// Multiplies two square matrices of doubles, the textbook triple loop. Work: the side.
#include "kernel.h"

NOINLINE static void multiply(const double *a, const double *b, double *c, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++) {
            double total = 0;
            for (uint32_t k = 0; k < n; k++)
                total += a[i * n + k] * b[k * n + j];
            c[i * n + j] = total;
        }
}

int main(int argc, char **argv) {
    uint32_t n = work_arg(argc, argv, 420), seed = 7;
    if (n > 2000)
        n = 2000;
    double *a = malloc(sizeof(double) * n * n), *b = malloc(sizeof(double) * n * n);
    double *c = malloc(sizeof(double) * n * n);
    if (!a || !b || !c)
        return 1;
    for (uint32_t i = 0; i < n * n; i++) {
        a[i] = (double)(next_random(&seed) % 1000) / 8.0;
        b[i] = (double)(next_random(&seed) % 1000) / 16.0;
    }
    multiply(a, b, c, n);
    double trace = 0;
    for (uint32_t i = 0; i < n; i++)
        trace += c[i * n + i];
    printf("matmul %u: trace %.6f corner %.6f\n", n, trace, c[n * n - 1]);
}

// Iteration counts of the Mandelbrot set: a tight floating-point loop that ends on data. Work: the side.
#include "kernel.h"

NOINLINE static uint32_t iterations(double cr, double ci, uint32_t limit) {
    double r = 0, i = 0, r2 = 0, i2 = 0;
    uint32_t n = 0;
    while (n < limit && r2 + i2 <= 4.0) {
        i = 2.0 * r * i + ci;
        r = r2 - i2 + cr;
        r2 = r * r;
        i2 = i * i;
        n++;
    }
    return n;
}

int main(int argc, char **argv) {
    uint32_t side = work_arg(argc, argv, 480), check = 0, inside = 0;
    for (uint32_t y = 0; y < side; y++)
        for (uint32_t x = 0; x < side; x++) {
            uint32_t n = iterations(3.0 * x / side - 2.25, 3.0 * y / side - 1.5, 1000);
            inside += n == 1000;
            check = mix(check, n);
        }
    printf("mandelbrot %u: %u inside, %08x\n", side, inside, check);
}

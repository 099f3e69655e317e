// Heat flow on a square plate: a five-point floating-point stencil over two grids. Work: time steps.
#include "kernel.h"

#define SIDE 256
static double now[SIDE][SIDE], then[SIDE][SIDE];

NOINLINE static void step(double to[SIDE][SIDE], double from[SIDE][SIDE]) {
    for (int y = 1; y < SIDE - 1; y++)
        for (int x = 1; x < SIDE - 1; x++)
            to[y][x] = from[y][x] + 0.125 * (from[y - 1][x] + from[y + 1][x] + from[y][x - 1] + from[y][x + 1] -
                                             4.0 * from[y][x]);
}

int main(int argc, char **argv) {
    uint32_t steps = work_arg(argc, argv, 1500);
    for (int i = 0; i < SIDE; i++) {
        now[0][i] = then[0][i] = 100.0;
        now[i][0] = then[i][0] = (double)i / 4.0;
    }
    for (uint32_t s = 0; s < steps; s++) {
        if (s % 2)
            step(now, then);
        else
            step(then, now);
    }
    double total = 0;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            total += now[y][x] + then[y][x];
    printf("heat %u steps: total %.9f, middle %.9f\n", steps, total, now[SIDE / 4][SIDE / 4]);
}

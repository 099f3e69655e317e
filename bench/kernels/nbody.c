// Five bodies under gravity, integrated with small steps: division, square root, structures of doubles.
// Work: steps in thousands.
#include "kernel.h"

#define BODIES 5
typedef struct {
    double p[3], v[3], mass;
} Body;

NOINLINE static void advance(Body *bodies, double dt) {
    for (int i = 0; i < BODIES; i++) {
        Body *a = &bodies[i];
        for (int j = i + 1; j < BODIES; j++) {
            Body *b = &bodies[j];
            double d[3], square = 1e-3;
            for (int k = 0; k < 3; k++) {
                d[k] = a->p[k] - b->p[k];
                square += d[k] * d[k];
            }
            double pull = dt / (square * __builtin_sqrt(square));
            for (int k = 0; k < 3; k++) {
                a->v[k] -= d[k] * b->mass * pull;
                b->v[k] += d[k] * a->mass * pull;
            }
        }
    }
    for (int i = 0; i < BODIES; i++)
        for (int k = 0; k < 3; k++)
            bodies[i].p[k] += dt * bodies[i].v[k];
}

static double energy(const Body *bodies) {
    double e = 0;
    for (int i = 0; i < BODIES; i++) {
        const Body *a = &bodies[i];
        e += 0.5 * a->mass * (a->v[0] * a->v[0] + a->v[1] * a->v[1] + a->v[2] * a->v[2]);
        for (int j = i + 1; j < BODIES; j++) {
            const Body *b = &bodies[j];
            double square = 0;
            for (int k = 0; k < 3; k++)
                square += (a->p[k] - b->p[k]) * (a->p[k] - b->p[k]);
            e -= a->mass * b->mass / __builtin_sqrt(square);
        }
    }
    return e;
}

int main(int argc, char **argv) {
    uint32_t steps = work_arg(argc, argv, 2500) * 1000;
    Body bodies[BODIES] = {
        {{0, 0, 0}, {0, 0, 0}, 40.0},
        {{5, 1, 0.25}, {-0.5, 2.5, 0.125}, 0.5},
        {{-8, 2, -0.5}, {-0.25, -2, 0.0625}, 0.25},
        {{12, -10, 1}, {1, 1.25, -0.125}, 0.0625},
        {{-15, -18, 0.75}, {1, -0.75, 0.03125}, 0.03125},
    };
    printf("nbody before %.9f\n", energy(bodies));
    for (uint32_t s = 0; s < steps; s++)
        advance(bodies, 0.001);
    printf("nbody after %u steps %.9f\n", steps, energy(bodies));
}

from math import pi, sqrt

DAYS = 365.24
SOLAR_MASS = 4 * pi * pi


def planets():
    # Sun, Jupiter, Saturn, Uranus, Neptune.
    x = [0.0, 4.84143144246472090, 8.34336671824457987, 12.8943695621391310, 15.3796971148509165]
    y = [0.0, -1.16032004402742839, 4.12479856412430479, -15.1111514016986312, -25.9193146099879641]
    z = [0.0, -0.103622044471123109, -0.403523417114321381, -0.223307578892655734, 0.179258772950371181]
    vx = [0.0, 0.00166007664274403694, -0.00276742510726411021, 0.00296460137564761618, 0.00268067772490389322]
    vy = [0.0, 0.00769901118419740425, 0.00499852801234917238, 0.00237847173959480950, 0.00162824170038242295]
    vz = [0.0, -0.0000690460016972063023, 0.0000230417297573763929, -0.0000296589568540237556, -0.0000951592254519715870]
    mass = [1.0, 0.000954791938424326609, 0.000285885980666130812, 0.0000436624404335156298, 0.0000515138902046611451]
    vx = [v * DAYS for v in vx]
    vy = [v * DAYS for v in vy]
    vz = [v * DAYS for v in vz]
    mass = [m * SOLAR_MASS for m in mass]
    return x, y, z, vx, vy, vz, mass


def advance(x, y, z, vx, vy, vz, mass, dt, steps):
    n = len(x)
    for _ in range(steps):
        for i in range(n):
            for j in range(i + 1, n):
                dx = x[i] - x[j]
                dy = y[i] - y[j]
                dz = z[i] - z[j]
                d2 = dx * dx + dy * dy + dz * dz
                mag = dt / (d2 * sqrt(d2))
                vx[i] -= dx * mass[j] * mag
                vy[i] -= dy * mass[j] * mag
                vz[i] -= dz * mass[j] * mag
                vx[j] += dx * mass[i] * mag
                vy[j] += dy * mass[i] * mag
                vz[j] += dz * mass[i] * mag
        for i in range(n):
            x[i] += dt * vx[i]
            y[i] += dt * vy[i]
            z[i] += dt * vz[i]


def energy(x, y, z, vx, vy, vz, mass):
    e = 0.0
    for i in range(len(x)):
        e += 0.5 * mass[i] * (vx[i] ** 2 + vy[i] ** 2 + vz[i] ** 2)
        for j in range(i + 1, len(x)):
            dx = x[i] - x[j]
            dy = y[i] - y[j]
            dz = z[i] - z[j]
            e -= mass[i] * mass[j] / sqrt(dx * dx + dy * dy + dz * dz)
    return e


def nbody(steps):
    x, y, z, vx, vy, vz, mass = planets()
    advance(x, y, z, vx, vy, vz, mass, 0.01, steps)
    return energy(x, y, z, vx, vy, vz, mass)


if __name__ == "__main__":
    print(nbody(10000))

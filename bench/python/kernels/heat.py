def heat(n, steps):
    u = [0.0] * n
    u[0] = 100.0
    u[n - 1] = 50.0
    for _ in range(steps):
        new = u[:]
        for i in range(1, n - 1):
            new[i] = u[i] + 0.25 * (u[i - 1] - 2.0 * u[i] + u[i + 1])
        u = new
    return sum(u) / n


if __name__ == "__main__":
    print(heat(1000, 400))

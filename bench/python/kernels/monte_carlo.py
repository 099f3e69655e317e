def estimate_pi(samples, seed):
    inside = 0
    for _ in range(samples):
        seed = (seed * 16807) % 2147483647
        x = seed / 2147483647
        seed = (seed * 16807) % 2147483647
        y = seed / 2147483647
        if x * x + y * y <= 1:
            inside += 1
    return 4 * inside / samples


if __name__ == "__main__":
    print(estimate_pi(500000, 1))

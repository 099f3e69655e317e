import math


def f(x):
    return math.exp(-x * x) * math.sin(3 * x) + math.sqrt(x)


def integrate(a, b, n):
    h = (b - a) / n
    total = 0.5 * (f(a) + f(b))
    for i in range(1, n):
        total += f(a + i * h)
    return total * h


if __name__ == "__main__":
    print(integrate(0.0, 10.0, 300000))

import numpy


def multiply(a, b):
    n, m = a.shape
    p = b.shape[1]
    out = numpy.zeros((n, p))
    return fill(a, b, out, n, m, p)


def fill(a, b, out, n, m, p):
    for i in range(n):
        for j in range(p):
            total = 0.0
            for k in range(m):
                total += a[i, k] * b[k, j]
            out[i, j] = total
    return out[n - 1, p - 1]


if __name__ == "__main__":
    print(multiply(numpy.ones((90, 90)), numpy.ones((90, 90))))

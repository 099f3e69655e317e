def matrix(n, seed):
    return [[(i * seed + j) % 10 / 10 for j in range(n)] for i in range(n)]


def multiply(a, b):
    n = len(a)
    m = len(b)
    p = len(b[0])
    c = [[0.0] * p for _ in range(n)]
    for i in range(n):
        for j in range(p):
            total = 0.0
            for k in range(m):
                total += a[i][k] * b[k][j]
            c[i][j] = total
    return c


if __name__ == "__main__":
    product = multiply(matrix(90, 3), matrix(90, 7))
    print(product[0][0], product[89][89])

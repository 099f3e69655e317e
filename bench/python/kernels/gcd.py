def gcd(a, b):
    while b:
        a, b = b, a % b
    return a


def gcd_sum(n):
    total = 0
    for i in range(1, n + 1):
        for j in range(i + 1, n + 1):
            total += gcd(i, j)
    return total


if __name__ == "__main__":
    print(gcd_sum(600))

def longest_collatz(limit):
    best = 0
    best_length = 0
    for start in range(1, limit):
        n = start
        length = 1
        while n != 1:
            if n % 2 == 0:
                n //= 2
            else:
                n = 3 * n + 1
            length += 1
        if length > best_length:
            best_length = length
            best = start
    return best


if __name__ == "__main__":
    print(longest_collatz(20000))

def place(row, columns, left, right, n):
    if row == n:
        return 1
    count = 0
    free = ~(columns | left | right) & ((1 << n) - 1)
    while free:
        bit = free & -free
        free ^= bit
        count += place(row + 1, columns | bit, (left | bit) << 1, (right | bit) >> 1, n)
    return count


def queens(n):
    return place(0, 0, 0, 0, n)


if __name__ == "__main__":
    print(queens(9))

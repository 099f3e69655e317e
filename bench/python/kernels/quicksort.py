def quicksort(items, low, high):
    while low < high:
        pivot = items[(low + high) // 2]
        i = low
        j = high
        while i <= j:
            while items[i] < pivot:
                i += 1
            while items[j] > pivot:
                j -= 1
            if i <= j:
                items[i], items[j] = items[j], items[i]
                i += 1
                j -= 1
        quicksort(items, low, j)
        low = i


def sorted_checksum(n):
    items = []
    x = 12345
    for _ in range(n):
        x = (x * 1103515245 + 12345) % 2147483648
        items.append(x)
    quicksort(items, 0, n - 1)
    checksum = 0
    for i, item in enumerate(items):
        checksum = (checksum * 31 + i * item) % 1000000007
    return checksum


if __name__ == "__main__":
    print(sorted_checksum(100000))

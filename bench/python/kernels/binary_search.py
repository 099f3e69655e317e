def find(items, wanted):
    low = 0
    high = len(items)
    while low < high:
        middle = (low + high) // 2
        if items[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


def search_all(n):
    items = [3 * i for i in range(n)]
    total = 0
    for wanted in range(0, 3 * n, 2):
        total += find(items, wanted)
    return total


if __name__ == "__main__":
    print(search_all(50000))

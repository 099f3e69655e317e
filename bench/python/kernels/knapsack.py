def knapsack(weights, values, capacity):
    best = [0] * (capacity + 1)
    for weight, value in zip(weights, values):
        for c in range(capacity, weight - 1, -1):
            with_item = best[c - weight] + value
            if with_item > best[c]:
                best[c] = with_item
    return best[capacity]


if __name__ == "__main__":
    weights = [i * 37 % 91 + 5 for i in range(100)]
    values = [i * 53 % 97 + 1 for i in range(100)]
    print(knapsack(weights, values, 5000))

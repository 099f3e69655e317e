def lcg(seed, rounds):
    state = seed
    digest = 0x811C9DC5
    for _ in range(rounds):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        digest = ((digest ^ (state >> 16)) * 0x01000193) & 0xFFFFFFFF
    return digest


if __name__ == "__main__":
    print(lcg(42, 1000000))

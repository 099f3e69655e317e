def step(grid, width, height):
    new = [[0] * width for _ in range(height)]
    for y in range(height):
        for x in range(width):
            neighbours = 0
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    if dx != 0 or dy != 0:
                        neighbours += grid[(y + dy) % height][(x + dx) % width]
            if neighbours == 3 or (neighbours == 2 and grid[y][x] == 1):
                new[y][x] = 1
    return new


def life(width, height, generations):
    grid = [[(x * y + x + y) % 3 // 2 for x in range(width)] for y in range(height)]
    for _ in range(generations):
        grid = step(grid, width, height)
    return sum(sum(row) for row in grid)


if __name__ == "__main__":
    print(life(64, 48, 20))

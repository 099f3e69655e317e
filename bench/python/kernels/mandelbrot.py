def escape(cr, ci, limit):
    x = 0.0
    y = 0.0
    for i in range(limit):
        x2 = x * x
        y2 = y * y
        if x2 + y2 > 4.0:
            return i
        y = 2.0 * x * y + ci
        x = x2 - y2 + cr
    return limit


def mandelbrot(width, height, limit):
    total = 0
    for row in range(height):
        ci = 2.0 * row / height - 1.0
        for column in range(width):
            cr = 3.0 * column / width - 2.0
            total += escape(cr, ci, limit)
    return total


if __name__ == "__main__":
    print(mandelbrot(120, 80, 100))

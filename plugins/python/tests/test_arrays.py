"""Arrays: `array.array`, and numpy's where it is there. Each program runs plain and compiled, on copies of its arguments."""

import array
import copy
import itertools
import sys
import unittest
import warnings

import copatch

try:
    import numpy
except ImportError:
    numpy = None
    print("test_arrays: numpy is not there", file=sys.stderr)

CODES = "bBhHiIlLqQfd"
NUMBERS = [0, 1, -1, 127, 128, -128, -129, 255, 256, 2**15, 2**16, 2**31, -(2**31), 2**32, 2**63 - 1, -(2**63), 2**63, 2**64 - 1]
VALUES = NUMBERS + [True, 0.0, -0.0, 1.5, 1e300, float("inf"), float("nan"), None, "x", [1]]


def outcome(function, arguments):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            result = function(*arguments)
            what = ("returns", type(result), repr(result))
        except Exception as error:
            what = ("raises", type(error), str(error))
    return what, [repr(one) for one in arguments], [str(one.message) for one in warned]


class Arrays(unittest.TestCase):
    def same(self, function, arguments):
        compiled = copatch.jit(function)
        for _ in range(3):
            first, second = copy.deepcopy(arguments), copy.deepcopy(arguments)
            self.assertEqual(outcome(function, first), outcome(compiled, second), (function.__name__, arguments))
        return compiled


def get(items, index):
    return items[index]


def put(items, index, value):
    items[index] = value
    return items[index]


def bump(items, index):
    items[index] += 1
    return len(items)


def total(items):
    out = 0
    for index in range(len(items)):
        out += items[index]
    return out


class OfArray(Arrays):
    def test_items_are_read(self):
        for code in CODES:
            numbers = [one for one in NUMBERS if self.fits(code, one)]
            items = array.array(code, numbers)
            for index in [*range(-len(items) - 1, len(items) + 1), True, 2**63 - 1, -(2**63), 1.0, None]:
                self.same(get, (items, index))
            self.same(total, (items,))
            self.same(total, (array.array(code),))

    def test_items_are_written(self):
        for code in CODES:
            items = array.array(code, [3, 4])
            for value in VALUES:
                for index in (0, -1, 2):
                    self.same(put, (items, index, value))
            for value in (0, 127, 2**15 - 1, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1):
                if self.fits(code, value):
                    self.same(bump, (array.array(code, [value]), 0))

    def fits(self, code, value):
        try:
            array.array(code, [value])
        except (OverflowError, TypeError):
            return False
        return True

    def test_an_array_may_grow_meanwhile(self):
        # No buffer is held, which would forbid it.
        items = array.array("d", [1.0])

        @copatch.jit
        def run(items, times):
            for _ in range(times):
                items[0] += 1.0
            return items.append(0.5)

        for _ in range(5):
            run(items, 3)
        self.assertEqual(items.tolist(), [16.0] + [0.5] * 5)

    def test_it_is_compiled(self):
        compiled = self.same(total, (array.array("d", [0.5, 1.5]),))
        self.assertIn("total(array[float64]) -> float", str(copatch.explain(compiled)))


def get2(items, i, j):
    return items[i, j]


def put2(items, i, j, value):
    items[i, j] = value
    return items[i, j]


def multiply(a, b, out):
    n, m = a.shape
    for i in range(n):
        for j in range(b.shape[1]):
            s = 0.0
            for k in range(m):
                s += a[i, k] * b[k, j]
            out[i, j] = s
    return s


def plus(items, other):
    return items[0] + other, items[0] - other, other - items[0]


def times(items, other):
    return items[0] * other


def over(items, other):
    return items[0] / other


def under(items, other):
    return other / items[0]


def bits(items, other):
    return (items[0] & other) ^ (items[0] | other)


def compare(items, other):
    if items[0] < other:
        return 1
    if items[0] == other:
        return 2
    return items[0] >= other


def mix(items, other):
    return float(items[0]), int(items[0]), bool(items[0]), -items[0], not items[0], [1, 2, 3][items[1]], [items[0], other]


@unittest.skipIf(numpy is None, "numpy is not there")
class OfNumpy(Arrays):
    def test_scalars_follow_numpys_rules(self):
        for dtype in ("float64", "int64", "float32", "int32", "bool", ">f8"):
            firsts = [0, 1, -3, 2**31, 2**62, 2**63 - 1, -(2**63), 1.5, -0.0, 1e-200, 1e200, 5e-324, float("inf"), float("nan")]
            for first in firsts:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        items = numpy.array([first, 1], dtype=dtype)
                    except (OverflowError, ValueError):
                        continue
                others = [0, 1, -1, 7, 2**53 + 1, 2**62, 2**63, True, 0.0, 2.5, 1e-200, 1e300, float("nan")]
                others += [numpy.float64(2.5), numpy.float64(0.0), numpy.int64(3), numpy.int64(-(2**63)), numpy.float32(1.5)]
                for function, other in itertools.product((plus, times, over, under, compare, mix), others):
                    self.same(function, (items, other))
                self.same(bits, (items, 6))

    def test_underflow_is_numpys_to_tell(self):
        with numpy.errstate(all="raise"):
            for function, first, other in [(times, 1e-200, 1e-200), (over, 1e-200, 1e200), (times, 0.0, 1e-200), (times, 1e200, 1e200)]:
                self.same(function, (numpy.array([first]), other))

    def test_items_are_read_and_written(self):
        flat, square = numpy.arange(4.0), numpy.arange(6.0).reshape(2, 3)
        arrays = [flat, flat[::-1], flat[1::2], flat.astype("int64"), flat[:0], square, square.T, square[:, ::2], square.astype("int64")]
        for items in arrays:
            for index in [0, 1, -1, 3, -4, 4, -5, True, 2**63 - 1, numpy.int64(1), 1.0]:
                self.same(get, (items, index))
                for value in VALUES:
                    self.same(put, (items, index, value))
            for i, j in itertools.product([0, 1, -1, 2, -3, -4, numpy.int64(1)], repeat=2):
                self.same(get2, (items, i, j))
                self.same(put2, (items, i, j, 2.5))
                self.same(put2, (items, i, j, numpy.float64(2.5)))

    def test_arrays_that_may_only_be_read(self):
        items = numpy.arange(3.0)
        items.flags.writeable = False

        def check(function):
            with self.assertRaises(ValueError):
                function(items, 0, 1.0)

        compiled = copatch.jit(put)
        for _ in range(3):
            check(put)
            check(compiled)

    def test_matrices(self):
        a, b = numpy.arange(6.0).reshape(2, 3), numpy.arange(12.0).reshape(3, 4)
        compiled = self.same(multiply, (a, b, numpy.zeros((2, 4))))
        text = str(copatch.explain(compiled))
        self.assertIn("multiply(ndarray[float64, 2], ndarray[float64, 2], ndarray[float64, 2]) -> numpy.float64", text)
        self.assertNotIn("left", text)

    def test_scalars_as_arguments(self):
        def scale(x, n):
            return x * n + x

        for x, n in itertools.product([numpy.float64(1.5), numpy.int64(7), 2, 2.5], repeat=2):
            self.same(scale, (x, n))

    def test_references_balance(self):
        items = numpy.arange(4.0)
        compiled = copatch.jit(total)
        compiled(items)
        before = sys.getrefcount(items)
        for _ in range(100):
            compiled(items)
        self.assertEqual(sys.getrefcount(items), before)


if __name__ == "__main__":
    unittest.main()

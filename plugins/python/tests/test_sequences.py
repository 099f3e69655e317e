"""Tuples, `bytes` and `bytearray`; loops over whatever has items."""

import array
import sys
import unittest

import copatch

try:
    import numpy
except ImportError:
    numpy = None

POINT = (1, 2.5)
PRIMES = (2, 3, 5, 7)
BIG = (1, 2**64)


def divided(a, b):
    return a // b, a % b


def distance(p, q):
    (a, b), (c, d) = p, q
    return (a - c) ** 2 + (b - d) ** 2


def total(items):
    out = 0
    for item in items:
        out += item
    return out


def weighted(items):
    out = 0
    for index, item in enumerate(items):
        out += index * item
    return out


def dot(first, second):
    out = 0
    for a, b in zip(first, second):
        out += a * b
    return out


def at(items, index):
    return items[index]


def put(items, index, value):
    items[index] = value
    return len(items)


def constant(n):
    out = POINT[0] * n
    for prime in PRIMES:
        out += prime
    return out + PRIMES[-1] + len(PRIMES) + (7, 8)[1]


def entered(compiled):
    return sum(one["calls"] for one in copatch.explain(compiled).data["specialisations"])


class Sequences(unittest.TestCase):
    def agree(self, function, *calls):
        """Every call gives what it gives in the interpreter."""
        compiled = copatch.jit(function)
        for make in calls:
            outcomes = []
            for one in (function, compiled):
                arguments = make()
                try:
                    outcomes.append((repr(one(*arguments)), repr(arguments)))
                except Exception as error:
                    outcomes.append((type(error), str(error), repr(arguments)))
            with self.subTest(function=function.__name__, arguments=repr(make())):
                self.assertEqual(outcomes[1], outcomes[0])
        return entered(compiled)

    def test_tuples_that_are_returned(self):
        calls = [lambda: (17, 5), lambda: (-17, 5), lambda: (2**63 - 1, 2), lambda: (1, 0), lambda: (-(2**63), -1), lambda: (7.5, 2.0)]
        self.assertGreater(self.agree(divided, *calls), 4)

    def test_tuples_that_are_taken_apart(self):
        calls = [
            lambda: ((1, 2), (3, 4)),
            lambda: ((1.5, 2), (3, 4.5)),
            lambda: ((2**31, 2**62), (-(2**62), 0)),
            lambda: ((1, 2, 3), (3, 4)),
            lambda: ((2**70, 1), (3, 4)),
            lambda: (("a", "b"), (3, 4)),
            lambda: ((), ()),
        ]
        self.assertGreater(self.agree(distance, *calls), 1)

    def test_items_of_tuples(self):
        tuples = [(1, 2, 3), (1.5, -0.0), (True, False), (1, 2.0, True), (2**62, -(2**63)), ([1, 2], [3]), ()]
        calls = [lambda items=items, index=index: (items, index) for items in tuples for index in (0, 1, -1, 2, -3, 5, True)]
        self.assertGreater(self.agree(at, *calls), 8)

    def test_tuples_by_name(self):
        self.assertGreater(self.agree(constant, lambda: (3,), lambda: (2.5,), lambda: (2**63 - 1,)), 1)

    def test_calls_that_return_tuples(self):
        compiled = copatch.jit(divided)
        globals()["compiled_divided"] = compiled

        @copatch.jit
        def digits(n):
            out = 0
            while n:
                n, digit = compiled_divided(n, 10)  # noqa: F821
                out += digit
            return out

        self.assertEqual([digits(n) for n in (0, 9, 98765, 2**62)], [0, 9, 35, sum(map(int, str(2**62)))])
        self.assertEqual(entered(compiled), 0)
        with self.assertRaises(ZeroDivisionError):
            compiled(1, 0)

    def test_long_tuples(self):
        def long(a, b, c):
            return a, b, c, a + 1, b, c, a + 2, b, c, a + 3, b, c, a + 4, b, c, a + 5

        def longer(a):
            return a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a

        self.assertEqual(self.agree(long, lambda: (1, 2.5, True), lambda: (2**62, -0.0, [1]), lambda: (2**63 - 3, 1.5, False)), 3)
        self.agree(longer, lambda: (1,))

    def test_an_item_keeps_its_list(self):
        @copatch.jit
        def first(pair):
            return pair[0]

        row = [1, 2]
        before = sys.getrefcount(row)
        for _ in range(100):
            self.assertIs(first((row, [3])), row)
        self.assertEqual(sys.getrefcount(row), before)

    def test_tuples_are_counted(self):
        @copatch.jit
        def pass_on(pair):
            other = pair
            a, b = other
            return other if a < b else (b, a)

        pair = (1, 2)
        before = sys.getrefcount(pair)
        for _ in range(100):
            self.assertIs(pass_on(pair), pair)
        self.assertEqual(sys.getrefcount(pair), before)
        self.assertEqual(pass_on((5, 3)), (3, 5))

    def test_loops(self):
        sequences = [
            lambda: [1, 2, 3],
            lambda: (1, 2, 3),
            lambda: (1.5, 2.5),
            lambda: (1, 2.5),
            lambda: (2**62, 2**62, 5),
            lambda: b"abc",
            lambda: b"",
            lambda: bytearray(b"\x00\xff\x80"),
            lambda: array.array("i", [-1, 2, 3]),
            lambda: array.array("d", [0.5, -0.0]),
            lambda: array.array("Q", [2**64 - 1, 1]),
            lambda: array.array("f", []),
        ]
        if numpy:
            sequences += [lambda: numpy.arange(5.0), lambda: numpy.arange(5), lambda: numpy.arange(10)[::-2], lambda: numpy.ones((2, 2))]
        for function in (total, weighted):
            self.assertGreater(self.agree(function, *[lambda make=make: (make(),) for make in sequences]), 8)
        pairs = [lambda a=a, b=b: (a(), b()) for a in sequences for b in (sequences[0], sequences[5], sequences[9])]
        self.assertGreater(self.agree(dot, *pairs), 7)
        # Left when one of a pair was read already.
        large = [lambda: (array.array("Q", [3, 2**64 - 1]), [1, 2, 3]), lambda: ([1, 2, 3], array.array("Q", [3, 2**64 - 1]))]
        large += [lambda: (array.array("Q", [3, 2**64 - 1]), array.array("Q", [3, 2**63]))]
        for pair in large:
            self.agree(dot, lambda: tuple(type(one)("Q", [3, 1]) if isinstance(one, array.array) else one for one in pair()), pair)

    def test_loops_that_are_left_go_on_where_they_were(self):
        for items in ((1, 2**62, 2**62, 7), array.array("q", [1, 2**62, 2**62, 7])):
            self.agree(total, lambda: (items,))
        self.agree(weighted, lambda: ((2**62,) * 7,))

    def test_bytes(self):
        calls = [lambda of=of, index=index: (of(b"\x01\x80\xff"), index) for of in (bytes, bytearray) for index in (0, 2, -1, 3, -4, True)]
        self.assertGreater(self.agree(at, *calls), 6)

    def test_storing(self):
        calls = [lambda index=index, value=value: (bytearray(3), index, value) for index in (0, -1, 3) for value in (0, 255, 256, -1, True, 1.5)]
        calls += [lambda: (b"abc", 0, 1), lambda: ((1, 2), 0, 1)]
        self.assertGreater(self.agree(put, *calls), 6)

    def test_a_bytearray_that_is_written_in_a_loop(self):
        def spread(items):
            out = 0
            for item in items:
                items[-1] = item + 1
                out += item
            return out

        self.assertEqual(self.agree(spread, lambda: (bytearray(b"\x01\x02\x03"),), lambda: (bytearray(b"\x01\xff\x03"),)), 2)

    def test_big_numbers_are_the_interpreters(self):
        self.agree(lambda: BIG[1] + BIG[0], lambda: ())
        self.agree(total, lambda: (BIG,))


if __name__ == "__main__":
    unittest.main()

"""List comprehensions, which before 3.12 are functions of their own."""

import sys
import traceback
import unittest

import copatch
from support import difference, namespaces


class Comprehensions(unittest.TestCase):
    def same(self, source, calls, entry="f"):
        found = difference(source, entry, list(calls) * 2)
        self.assertIsNone(found, source)

    def compiled(self, source, arguments, entry="f"):
        """What `explain` says behind a call."""
        names = namespaces(source)[1]
        names[entry](*arguments)
        return str(copatch.explain(names[entry]))

    def test_they_read_variables_around_them(self):
        self.same("@jit\ndef f(n, k):\n    m = k + 1\n    return [i * k + m for i in range(n)]\n", [(0, 2), (5, 3), (5, 2.5), (3, 2**62), (3, None)])
        self.same("@jit\ndef f(xs, k):\n    return [x - k for x in xs if x > k]\n", [([], 1), ([1, 2, 3], 1), ([1.5, 2.5], 2), ([1, 2.5, 2**70, 3], 1), ([1, "a"], 0)])

    def test_they_lie_in_each_other(self):
        table = "@jit\ndef f(n, m):\n    t = [[i * m + j for j in range(m)] for i in range(n)]\n    s = 0\n    for row in t:\n        s += row[0]\n    return t, s\n"
        self.same(table, [(0, 0), (1, 1), (3, 4), (4, 3)])
        lists = "@jit\ndef f(a):\n    return [[x + len(a) for x in row] for row in a]\n"
        self.same(lists, [([],), ([[1, 2], [3]],), ([[1.5], []],), ([[1], 2],)])

    def test_variables_change_before_and_behind(self):
        source = "@jit\ndef f(n):\n    k = 1\n    out = []\n    while k < n:\n        out.append([k * i for i in range(k)])\n        k += 1\n    k = k * 2\n    return out, k\n"
        self.same(source, [(0,), (4,), (2.5,)])

    def test_an_argument_may_be_shared(self):
        self.same("@jit\ndef f(n):\n    n = n + 1\n    a = [n for _ in range(2)]\n    n = n * 2\n    return a, n\n", [(1,), (2.5,), (2**63 - 1,), (None,)])

    def test_leaving_from_the_middle(self):
        # By an integer that grows beyond 64 bits, in the comprehension and behind it, with cells.
        source = "@jit\ndef f(n, k):\n    a = [k * i for i in range(n)]\n    k = k * k\n    b = [k + i for i in range(n)]\n    return a, b, k\n"
        self.same(source, [(3, 5), (3, 2**40), (3, 2**62), (100, 2**58)])
        deep = "@jit\ndef f(n, k):\n    return [[k ** j + i for j in range(n)] for i in range(n)]\n"
        self.same(deep, [(3, 2), (70, 2), (3, -1), (2, 0.5)])

    def test_what_is_iterated_over_may_leave(self):
        source = "@jit\ndef f(a, i, k):\n    return [x * k for x in a[i]]\n"
        self.same(source, [([[1, 2], [3]], 1, 2), ([[1, 2], [3]], 2, 2), ([[1, 2], [3]], None, 2), ([1], 0, 1)])

    def test_an_exception_shows_the_frames_that_the_interpreter_shows(self):
        source = "@jit\ndef f(n, k):\n    return [\n        1 // (k - i)\n        for i in range(n)\n    ]\n"
        self.same(source, [(2, 5), (5, 3), (9, 8)])
        plain, compiled = (names["f"] for names in namespaces(source))
        shown = []
        for function in (plain, compiled):
            for _ in range(3):
                try:
                    function(9, 4)
                except ZeroDivisionError as error:
                    frames = traceback.extract_tb(error.__traceback__)[1:]
            shown.append([(frame.name, frame.lineno) for frame in frames])
        self.assertEqual(*shown)

    def test_other_functions_that_share_variables(self):
        self.same("@jit\ndef f(n, k):\n    return sum(k * i for i in range(n)), (lambda: k)()\n", [(3, 2), (3, 2.5)])
        self.same("@jit\ndef f(n, k):\n    a = [k for _ in range(n)]\n    g = lambda: k\n    k = 7\n    return a, g()\n", [(3, 2)])
        self.same("@jit\ndef f(n, k):\n    return {i: k for i in range(n)}, {k for _ in range(n)}, [lambda: k for _ in range(n)][0]()\n", [(3, 2)])
        self.same("@jit\ndef f(n, k):\n    return [(k := k + i) for i in range(n)], k\n", [(3, 2), (3, 2**63 - 2)])
        self.same("@jit\ndef f(n, k):\n    a = [(k := k + i) for i in range(n)]\n    return k\n", [(3, 2), (3, 2**63 - 2)])
        nested = "@jit\ndef f(n, k):\n    a = [[(k := k + i + j) for i in range(n)] for j in range(n)]\n    return k * 2\n"
        self.same(nested, [(3, 2), (3, 2**63 - 2)])

    def test_tuples_that_are_known(self):
        source = "T = (1.5, 2.5)\n@jit\ndef f(n):\n    s = 0\n    for i in (-1, 0, 2**62, 5):\n        for x in T:\n            s += i * n + x\n    return s, [i * n for i in (1, 2, 3)]\n"
        self.same(source, [(1,), (2,), (0.5,), (None,)])
        mixed = "@jit\ndef f(n):\n    s = 0\n    for i in (1, 2.5, None):\n        s += i\n    return s\n"
        self.same(mixed, [(1,)])

    def test_references_balance(self):
        names = namespaces("@jit\ndef f(a, k):\n    return [[x * k for x in row] for row in a]\n")[1]
        a = [[1.5, 2.5], [3.5]]
        names["f"](a, 2.0)
        before = sys.getrefcount(a), sys.getrefcount(a[0])
        for _ in range(50):
            names["f"](a, 2.0)
        self.assertEqual((sys.getrefcount(a), sys.getrefcount(a[0])), before)

    def test_they_are_compiled(self):
        text = self.compiled("@jit\ndef f(n, k):\n    return [[k for _ in range(n)] for _ in range(n)]\n", (3, 2))
        self.assertIn("f(int, int) -> list[list[int]]", text)
        self.assertNotIn("left", text)


if __name__ == "__main__":
    unittest.main()

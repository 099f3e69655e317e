"""Numbers in lists: what is overwritten in place must be as if it were replaced."""

import marshal
import sys
import unittest

import copatch

DIGIT = 2**30
#: Around every border: of shared objects, of one and two digits, of 64 bits.
BORDERS = [-6, -5, -1, 0, 1, 256, 257, DIGIT - 1, DIGIT, DIGIT + 1, DIGIT**2 - 1, DIGIT**2, 2**63 - 1]
NUMBERS = sorted({sign * number for number in BORDERS for sign in (1, -1)} | {-(2**63), 2**63, 2**100, DIGIT << 5})
FLOATS = [0.0, -0.0, 1.5, -1e308, 5e-324, float("inf"), float("nan")]


@copatch.jit
def put(items, index, value):
    items[index] = value
    return items[index]


@copatch.jit
def gather(items, value):
    items.append(value)
    return value


@copatch.jit
def total(items):
    out = 0
    for item in items:
        out += item
    return out


@copatch.jit
def rotate(a, b, c, d):
    a, b, c, d = d + 1, c + 1, b + 1, a + 1
    return d * 1000 + c * 100 + b * 10 + a


@copatch.jit
def between(items, low, high):
    return items[low + 1 : high + 2]


def own(number):
    """An object of its own, unless it is one that is always shared."""
    return type(number)(repr(number))


class Items(unittest.TestCase):
    def test_integers_over_integers(self):
        for old in NUMBERS:
            for new in NUMBERS:
                with self.subTest(old=old, new=new):
                    items = [own(old), own(old)]
                    got = put(items, 0, own(new))
                    self.assertEqual((got, items), (new, [new, old]))
                    # Digits and sign are those that the interpreter would have made.
                    self.assertEqual(marshal.dumps([own(new)]), marshal.dumps([items[0] + 0]))
                    self.assertEqual((hash(items[0]), str(items[0]), -items[0]), (hash(new), str(new), -new))
                    if -5 <= new <= 256:
                        self.assertIs(items[0], new)

    def test_floats_over_anything_and_anything_over_floats(self):
        for old in FLOATS + NUMBERS + [True, False]:
            for new in FLOATS + NUMBERS + [True, False]:
                with self.subTest(old=old, new=new):
                    items = [own(old) if type(old) is not bool else old]
                    got = put(items, -1, new)
                    self.assertEqual((repr(got), repr(items), type(items[0])), (repr(new), repr([new]), type(new)))

    def test_who_else_has_the_old_number_keeps_it(self):
        for old, new in [(1.5, 2.5), (1000, 2000), (DIGIT * 3, DIGIT * 5), (DIGIT * 3, 7), (7, DIGIT * 3)]:
            number = own(old)
            items = [number, number]
            before = sys.getrefcount(number)
            put(items, 0, own(new))
            self.assertEqual((number, items), (old, [new, old]))
            if not -5 <= old <= 256:
                self.assertEqual(sys.getrefcount(number), before - 1)

    def test_what_was_stored_is_nobody_elses(self):
        value, items = own(1234.5), [own(1.0)]
        put(items, 0, value)
        put(items, 0, own(2.0))
        self.assertEqual((value, items), (1234.5, [2.0]))

    def test_shared_integers_are_counted(self):
        items = [3] * 10
        before = sys.getrefcount(3), sys.getrefcount(4)
        for index in range(10):
            put(items, index, 4)
        counted = sys.version_info < (3, 12)
        after = sys.getrefcount(3), sys.getrefcount(4)
        self.assertEqual((after[0] - before[0], after[1] - before[1]), (-10, 10) if counted else (0, 0))

    def test_integers_of_any_size_are_read(self):
        for number in NUMBERS:
            self.assertEqual(total([number]), number)
            self.assertEqual(total([1, own(number), number]), 1 + 2 * number)

    def test_what_is_gathered_is_kept_until_it_is_used(self):
        self.assertEqual(rotate(1, 2, 3, 4), 2345)
        self.assertEqual(between(list(range(10)), 2, 5), [3, 4, 5, 6])

    def test_a_list_that_is_sorted_has_no_room(self):
        gather([1], 2)
        items = [3, 1, 2]
        with self.assertRaisesRegex(ValueError, "list modified during sort"):
            items.sort(key=lambda item: gather(items, item))
        self.assertEqual(items, [1, 2, 3])

    def test_indices(self):
        for size in range(4):
            for index in [0, 1, 2, 3, -1, -2, -3, -4, 2**62, -(2**62), 2**63 - 1, -(2**63), 2**64]:
                items = [own(1000 + place) for place in range(size)]
                expected = list(items)
                try:
                    expected[index] = 5.5
                except IndexError as error:
                    with self.assertRaises(IndexError) as raised:
                        put(items, index, 5.5)
                    self.assertEqual(str(raised.exception), str(error))
                else:
                    put(items, index, 5.5)
                self.assertEqual(items, expected)


if __name__ == "__main__":
    unittest.main()

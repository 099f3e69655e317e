"""Calls with names and defaults: compiled as others, and with CPython's errors."""

import unittest

import copatch


def scale(x, by=3, *, plus=0, times=1):
    return (x * by + plus) * times


def only(x, /, y=2):
    return x - y


def gather(value, into=[]):
    into.append(value)
    return len(into)


def entered(function):
    return sum(one["calls"] for one in copatch.explain(function).data["specialisations"])


class Arguments(unittest.TestCase):
    def agree(self, plain, compiled, *arguments, **named):
        def outcome(function):
            try:
                return function(*arguments, **named)
            except TypeError as error:
                return str(error)

        self.assertEqual(repr(outcome(compiled)), repr(outcome(plain)))

    def test_names_and_defaults(self):
        compiled = copatch.jit(scale)
        calls = [((4,), {}), ((4, 5), {}), ((4,), {"by": 5}), ((), {"by": 2, "x": 7}), ((1,), {"plus": 2}), ((1, 2), {"times": 3, "plus": 4})]
        for arguments, named in calls:
            self.agree(scale, compiled, *arguments, **named)
        self.assertEqual(entered(compiled), len(calls))

    def test_errors_are_the_interpreters(self):
        for plain in (scale, only):
            compiled = copatch.jit(plain)
            compiled(1)
            for arguments, named in [((), {}), ((1, 2, 3), {}), ((1,), {"x": 2}), ((1,), {"z": 2}), ((1, 2), {"y": 2}), ((), {"x": 1})]:
                self.agree(plain, compiled, *arguments, **named)

    def test_names_that_are_made(self):
        compiled = copatch.jit(scale)
        name = "".join(["b", "y"])
        for _ in range(3):
            self.assertEqual(compiled(2, **{name: 5}), 10)

    def test_other_types_by_name(self):
        compiled = copatch.jit(scale)
        for by in (2, 2.5, True, 2**70, "ab", None):
            self.agree(scale, compiled, 3, by=by)

    def test_defaults_may_change(self):
        def add(x, y=1, *, z=10):
            return x + y + z

        compiled = copatch.jit(add)
        self.assertEqual(compiled(1), 12)
        compiled.__defaults__ = (2,)
        self.assertEqual(compiled(1), 13)
        compiled.__kwdefaults__ = {"z": 20}
        self.assertEqual(compiled(1), 23)
        del compiled.__kwdefaults__["z"]
        with self.assertRaisesRegex(TypeError, "keyword-only argument: 'z'"):
            compiled(1)
        compiled.__defaults__ = None
        with self.assertRaisesRegex(TypeError, "positional argument: 'y'"):
            compiled(1, z=3)
        self.assertEqual(compiled(1, 2, z=3), 6)

    def test_a_default_is_one_object(self):
        compiled = copatch.jit(gather)
        self.assertEqual([compiled(1), compiled(2), compiled(3, into=[4])], [1, 2, 2])
        self.assertEqual(gather.__defaults__, ([1, 2],))

    def test_methods(self):
        class Counter:
            @copatch.jit
            def add(a, b=2, *, c=3):
                return b * c

        self.assertEqual([Counter().add(), Counter().add(5), Counter().add(c=7)], [6, 15, 14])

    def test_left_in_the_middle(self):
        def grow(x, by=2, *, steps=70):
            for _ in range(steps):
                x *= by
            return x

        compiled = copatch.jit(grow)
        self.assertEqual(compiled(1), 2**70)
        self.assertEqual(compiled(1, steps=3), 8)
        self.assertEqual(compiled(1, by=3, steps=100), 3**100)

    def test_compiled_callers_give_no_names_by_position(self):
        named = copatch.jit(scale)
        globals()["named"] = named

        @copatch.jit
        def caller(x):
            return named(x, 2, 3, 4)

        with self.assertRaisesRegex(TypeError, "positional arguments"):
            caller(1)


if __name__ == "__main__":
    unittest.main()

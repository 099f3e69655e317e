"""Decorated functions as objects, objects that are the same one, and values that change places."""

import copy
import inspect
import pickle
import sys
import unittest

import copatch
from support import difference


PROGRAM = """
@jit
def add(a, b=2, /):
    return a + b

@jit
def twice(a):
    return add(a, a)

def product(a, b=2, /):
    return a * b

@jit
def gather(a, b):
    for _ in range(100):
        a = a + b
    return a

@jit
def pair(a):
    return a, "pair"

class Pair:
    @jit
    def first(self):
        return PAIR if self else self.a

    @staticmethod
    @jit
    def static(a):
        return a.a if a else None

    @jit
    def __private(self):
        return self.a if self else None

    def private(self):
        return self.__private()

    a = 1
"""


class Functions(unittest.TestCase):
    def setUp(self):
        self.names = {"jit": copatch.jit, "__name__": __name__}
        exec(PROGRAM, self.names)
        self.names["PAIR"] = 1

    def test_what_functions_have(self):
        add = self.names["add"]
        self.assertEqual(add(1, 2), 3)
        for name in ("__code__", "__globals__", "__defaults__", "__kwdefaults__", "__closure__", "__builtins__"):
            self.assertIs(getattr(add, name), getattr(add.__wrapped__, name))
        self.assertEqual(inspect.signature(add), inspect.signature(add.__wrapped__))

    def test_defaults_that_change(self):
        add = self.names["add"]
        self.assertEqual(add(1), 3)
        add.__defaults__ = (5,)
        self.assertEqual(add(1), 6)
        del add.__defaults__
        with self.assertRaises(TypeError):
            add(1)

    def test_code_that_changes_under_those_that_call_it(self):
        add, twice = self.names["add"], self.names["twice"]
        self.assertEqual([twice(5), twice(5), add(5, 5)], [10, 10, 10])
        add.__code__ = self.names["product"].__code__
        self.assertEqual([twice(5), twice(5), add(5, 5)], [25, 25, 25])
        with self.assertRaises(TypeError):
            add.__code__ = 1

    def test_a_function_that_never_gains_gets_its_place_back(self):
        names = self.names
        compiled, method = names["pair"], vars(names["Pair"])["first"]
        static, private = names["Pair"].static, names["Pair"]._Pair__private
        other = names["Pair"]()
        for at in range(1000):
            self.assertEqual(names["pair"](at), (at, "pair"))
            self.assertEqual(other.first(), 1)
            self.assertEqual(names["Pair"].static(other), 1)
            self.assertEqual(other.private(), 1)
        self.assertIs(names["pair"], compiled.__wrapped__)
        self.assertIs(vars(names["Pair"])["first"], method.__wrapped__)
        self.assertIs(vars(names["Pair"])["_Pair__private"], private.__wrapped__)
        # Where something else lies in between, it stays.
        self.assertIs(names["Pair"].static, static)
        # Whoever has the other one still can call it.
        self.assertEqual((compiled(3), method(other), static(other)), ((3, "pair"), 1, 1))
        self.assertIn("a tuple", str(copatch.explain(names["pair"])))

    def test_what_others_are_compiled_with_stays(self):
        add, twice = self.names["add"], self.names["twice"]
        for _ in range(1000):
            self.assertEqual(twice(2), 4)
            self.assertEqual([add("a", "b"), add("c", "d")], ["ab", "cd"])
        self.assertIs(self.names["add"], add)
        self.assertIn("add(int, int) -> int", str(copatch.explain(twice)))

    def test_pickled_and_copied(self):
        compiled, place = self.names["pair"], vars(sys.modules[__name__])
        self.addCleanup(place.pop, "pair")
        for place["pair"] in (compiled, compiled.__wrapped__):
            self.assertIs(pickle.loads(pickle.dumps(compiled)), place["pair"])
            self.assertIs(copy.deepcopy(compiled), place["pair"])

    def test_a_function_that_begins_with_an_object_is_returned_as_it_is(self):
        for text in ("lambda self: self.a", "lambda self, a: {a: self}", "lambda a: a.b(1)"):
            function = eval(text)
            self.assertIs(copatch.jit(function), function)
        for text in ("lambda a: math.sqrt(a)", "lambda a, b: a.append(b)", "lambda a: a + 1"):
            function = eval(text)
            self.assertIsNot(copatch.jit(function), function)

    def test_a_place_that_is_taken_is_left_alone(self):
        compiled = self.names["pair"]
        self.names["pair"] = None
        for at in range(1000):
            compiled(at)
        self.assertIsNone(self.names["pair"])

    def test_a_function_that_mostly_gains_stays(self):
        gather = self.names["gather"]
        for at in range(1000):
            self.assertEqual(gather(at, 1), at + 100)
            if at % 4 == 0:
                self.assertEqual(gather("a", "b"), "a" + "b" * 100)
        self.assertIs(self.names["gather"], gather)
        self.assertGreater(sum(one["calls"] for one in copatch._copatch.describe(gather)["specialisations"]), 900)

    def test_setting_a_tracer_is_not_traced(self):
        seen = []

        def tracer(frame, event, argument):
            seen.append((frame.f_code.co_name, event))
            return tracer

        before = sys.gettrace()
        sys.settrace(tracer)
        sys.settrace(before)
        self.assertEqual(seen, [])
        self.assertEqual(sys.settrace.__name__, "settrace")
        with self.assertRaises(TypeError):
            sys.settrace()


class Same(unittest.TestCase):
    def same(self, source, entry, calls):
        found = difference(source, entry, calls * 2)
        if found is not None:
            self.fail(f"{found}\n{source}")

    def test_numbers_that_are_one_object(self):
        source = "@jit\ndef f(items, x):\n    n = 0\n    for i in items:\n        n += i is x or i == x\n    return n\n"
        nan = float("nan")
        names = {"jit": copatch.jit}
        exec(source, names)
        for _ in range(3):
            self.assertEqual(names["f"]([nan, nan, 2.0], nan), 2)
            self.assertEqual(names["f"]([2**40], 2**40 + len([])), 1)

    def test_a_variable_and_an_item_change_places(self):
        calls = [([10, 20, 30], 7), ([10.5, 20.5], 7.5), ([True, False], 3), ([1], 2**63)]
        for line in ("x, l[0] = l[0], x", "l[0], x = x, l[0]", "x, l[-1] = l[0], x + x", "l[0], l[-1], x = x, l[0], l[-1]"):
            with self.subTest(line=line):
                self.same(f"@jit\ndef f(l, x):\n    {line}\n    return x\n", "f", calls)

    def test_a_loop_over_an_empty_list_that_is_left_at_once(self):
        for body in ("return 1", "break"):
            source = f"@jit\ndef f(a, l):\n    if a:\n        pass\n    else:\n        for x in l:\n            {body}\n    return a\n"
            self.same(source, "f", [(False, []), (True, []), (False, [1]), (False, [])])

    def test_values_change_places(self):
        calls = [(1, 2, 3), (1, 2.5, True), (2**63, 0, -1)]
        for line in ("a, b, c = c, a, b", "a, b, c = b, a + c, a", "c, a, b = a, a, c", "a, b = b, a; b, c = c, b"):
            with self.subTest(line=line):
                self.same(f"@jit\ndef f(a, b, c):\n    for i in range(3):\n        {line}\n    return a * 100 + b * 10 + c\n", "f", calls)


if __name__ == "__main__":
    unittest.main()

"""What compiled functions do, beside what random ones are compared for: `python test_semantics.py`."""

import gc
import math
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import unittest
import warnings

import copatch
from support import difference, namespaces

INF, NAN, BORDER = math.inf, math.nan, 2**63
INTS = [0, 1, -1, 2, -2, 3, -3, 7, -7, 10, 63, 64, 65, 2**31, -(2**31), 2**53, 2**53 + 1, 2**62, BORDER - 1, BORDER, -BORDER, -BORDER - 1]
FLOATS = [0.0, -0.0, 0.5, -1.5, 1.0, 2.0**53, 2.0**63, -(2.0**63), 1e19, 1e308, -1e308, 5e-324, INF, -INF, NAN]


class Same(unittest.TestCase):
    """Programs that must do the same plain and compiled."""

    def same(self, source, entry, calls):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Each again, when all types were seen.
            found = difference(source, entry, list(calls) * 2)
        if found is not None:
            self.fail(f"{found}\n{source}")

    def expressions(self, expressions, pairs):
        for expression in expressions:
            with self.subTest(expression=expression):
                self.same(f"@jit\ndef f(a, b):\n    return {expression}\n", "f", pairs)

    def test_integers(self):
        pairs = [(a, b) for a in INTS for b in INTS]
        operations = ["+", "-", "*", "//", "%", "/", "&", "|", "^", "<", "<=", "==", "!=", ">", ">="]
        self.expressions([f"a {operation} b" for operation in operations], pairs)
        self.expressions(["a << b", "a >> b"], [(a, b) for a in INTS for b in INTS if abs(b) < 200])
        self.expressions(["a ** b"], [(a, b) for a in INTS for b in INTS if abs(b) < 70])
        self.expressions(["-a", "~a", "+a", "not a", "abs(a)", "int(a)", "float(a)", "bool(a)", "min(a, b)", "max(b, a)"], pairs)

    def test_divisors_that_are_constants(self):
        for divisor in [1, -1, 2, -2, 3, 7, -7, 0, 2**62, BORDER - 1, -BORDER, BORDER]:
            self.expressions([f"a // {divisor}", f"a % {divisor}", f"{divisor} // a", f"{divisor} % a"], [(a, 0) for a in INTS])
        for count in [0, 1, 31, 62, 63, 64, 65, 100]:
            self.expressions([f"a << {count}", f"a >> {count}"], [(a, 0) for a in INTS])

    def test_floats(self):
        pairs = [(a, b) for a in FLOATS for b in FLOATS]
        operations = ["+", "-", "*", "//", "%", "/", "**", "<", "<=", "==", "!=", ">", ">="]
        self.expressions([f"a {operation} b" for operation in operations], pairs)
        self.expressions(["-a", "+a", "not a", "abs(a)", "int(a)", "float(a)", "bool(a)", "min(a, b)", "max(a, b)"], pairs)

    def test_mixed(self):
        some = [0, 1, -1, 2**53, 2**53 + 1, -(2**53) - 1, BORDER - 1, BORDER, True, False, 3]
        pairs = [(a, b) for a in some for b in FLOATS] + [(b, a) for a in some for b in FLOATS]
        operations = ["+", "-", "*", "//", "%", "/", "<", "<=", "==", "!=", ">", ">="]
        self.expressions([f"a {operation} b" for operation in operations], pairs)
        self.expressions(["min(a, b)", "max(a, b)"], pairs)

    def test_truth_values(self):
        pairs = [(a, b) for a in (True, False, 2, 0) for b in (True, False, 3, -1)]
        operations = ["+", "-", "*", "//", "%", "/", "&", "|", "^", "<<", ">>", "**", "<", "==", "and", "or"]
        self.expressions([f"a {operation} b" for operation in operations] + ["-a", "~a", "+a", "not a", "abs(a)"], pairs)

    def test_comparison_chains_and_conditions(self):
        calls = [(a, b) for a in (0, 1, 5, 2.5, NAN, True, None) for b in (0, 3, -0.0, INF, False, None)]
        self.expressions(
            ["0 < a < b", "a <= b != 3 < a", "a and b", "a or b", "a and b or 7", "a if b else -a", "(a or 1) + (b or 2)", "not (a or b)",
             "a is None", "b is not None", "(1 if a is None else 2) + (a is not None)"],
            calls,
        )

    def test_mathematics(self):
        names = ["sqrt", "sin", "cos", "tan", "exp", "log", "log2", "log10", "floor", "ceil", "fabs", "asin", "acos", "atan", "sinh",
                 "cosh", "tanh", "expm1", "log1p", "trunc", "isnan", "degrees"]
        self.expressions([f"math.{name}(a)" for name in names], [(a, 0) for a in FLOATS + INTS + [True, 0.3, 710.0, -2.5, None]])

    def test_overflow_within_a_loop(self):
        source = """
@jit
def f(n, start):
    x = start
    for i in range(n):
        x = x * 3 + i
    return x
"""
        self.same(source, "f", [(10, 1), (100, 1), (100, -1), (3, BORDER - 1), (3, 0.5), (100, 2**62)])

    def test_loops(self):
        source = """
@jit
def f(n, m):
    total = 0
    for i in range(n):
        for j in range(i, m):
            if j == 7:
                break
            if (i + j) % 3 == 0:
                continue
            total += i * j
        else:
            total += 1000
        while total > 5000:
            total -= 777
            if total % 5 == 0:
                break
        else:
            total += 1
        if total == 12345:
            return -1
    else:
        return total, i
    return total
"""
        self.same(source, "f", [(n, m) for n in (1, 2, 5, 20, 0) for m in (0, 3, 7, 9, 30)])

    def test_ranges(self):
        for bounds in ["a", "a, b", "b, a", "a, b, 2", "a, b, -1", "b, a, -3", "a, b, 0", f"{BORDER - 3}, {BORDER - 1}", f"{BORDER - 3}, {BORDER + 2}",
                       f"{BORDER - 4}, {BORDER - 1}, 3", f"{-BORDER + 3}, {-BORDER}, -2", f"{-BORDER + 3}, {-BORDER - 5}, -2"]:
            source = f"""
@jit
def f(a, b):
    s = 0
    for i in range({bounds}):
        s = s * 7 + i
        if s > 10**60:
            break
        a += 1
    return s, i
"""
            self.same(source, "f", [(3, 12), (12, 3), (-3, 3), (0, 0), (True, 5), (2.0, 3), (BORDER - 2, BORDER - 1)])

    def test_lists(self):
        source = """
@jit
def f(xs, i, v):
    s = 0
    for x in xs:
        s += x
    xs[i] = v
    s += xs[i] + xs[-1] - xs[-len(xs)]
    xs.append(v)
    ys = [v] * 3
    ys[1] = s
    for x in ys:
        s += x
    return s, ys[len(ys) - 1]
"""
        lists = [[1, 2, 3], [1.5, -0.0], [], [True, False], [1, 2.5, 3], [BORDER, 1], [None, 1], [-5, BORDER - 1, -BORDER]]
        self.same(source, "f", [(list(xs), i, v) for xs in lists for i in (0, -1, 2, -3, 5, True, 1.0) for v in (7, 0.5, True, BORDER)])

    def test_lists_of_lists(self):
        source = """
@jit
def f(g, i, j):
    s = 0
    for row in g:
        for x in row:
            s += x
    row = g[i]
    row[j] = s
    g[j] = g[i]
    h = [[1, 2], [3, 4], row]
    return s, h, len(h[2])
"""
        self.same(source, "f", [([[1, 2], [3, 4]], i, j) for i in (0, 1, -1, 2) for j in (0, -2, 3)] + [([[1.5], [2.5]], 0, 0), ([[1], [2.5]], 1, 0)])

    def test_a_list_that_grows_while_it_is_iterated(self):
        source = """
@jit
def f(xs):
    n = 0
    for x in xs:
        n += x
        if len(xs) < 10:
            xs.append(x + 1)
    return n
"""
        self.same(source, "f", [([1],), ([1.5, 2.0],), ([],)])

    def test_a_list_that_is_repeated_in_place(self):
        source = """
@jit
def f(xs, n):
    ys = xs
    xs *= n
    zs = xs * n
    return len(ys) * 100 + len(zs)
"""
        self.same(source, "f", [([1, 2], 2), ([1.5], 0), ([True], -1), ([], 3), ([1], True), ([1], 1.0)])

    def test_deep_recursion_that_is_left(self):
        source = """
@jit
def f(n):
    if n == 0:
        return 0
    s = str(n)
    return f(n - 1) + len(s)
"""
        self.same(source, "f", [(5,), (700,)])

    def test_tracebacks_through_frames(self):
        source = """
@jit
def inner(a, b):
    c = a + b
    return (
        c //
        b
    )

@jit
def middle(a, b):
    t = 0
    for i in range(3):
        t += inner(a, b - i)
    return t

@jit
def f(a, b):
    x = middle(
        a,
        b,
    )
    return x
"""
        self.same(source, "f", [(7, 9), (7, 0), (7, 1), (7, 2), (7.0, 2), (7, 2.0), (None, 1)])

    def test_a_plain_function_between(self):
        source = """
@jit
def low(xs, i):
    return xs[i]

def plain(xs, i):
    return low(xs, i)

@jit
def f(xs, i):
    s = 0
    for j in range(i):
        s += plain(xs, j)
    return s
"""
        self.same(source, "f", [([1, 2, 3], 3), ([1, 2, 3], 4), ([1, None], 2)])

    def test_recursion(self):
        source = """
@jit
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

@jit
def even(n):
    return True if n == 0 else odd(n - 1)

@jit
def odd(n):
    return False if n == 0 else even(n - 1)

@jit
def f(n):
    return fib(n), even(n), odd(n)
"""
        self.same(source, "f", [(0,), (1,), (15,), (10.0,), (True,), (-1.5,)][:5])

    def test_endless_recursion(self):
        source = "@jit\ndef f(n):\n    return f(n + 1) + 1\n"
        self.same(source, "f", [(0,), (0.5,)])
        _, compiled = namespaces(source)
        for _ in range(3):
            with self.assertRaises(RecursionError) as caught:
                compiled["f"](0)
        self.assertIn("maximum recursion depth exceeded", str(caught.exception))

    def test_globals_that_change(self):
        source = """
G = 1
@jit
def f(n):
    s = 0
    for i in range(n):
        s += G
    return s
"""
        self.same(source, "f", [(3,), ("G", 2), (3,), ("G", 2.5), (3,), ("G", None), (3,), (0,), ("G", BORDER), (3,), ("abs", 1), (3,)])

    def test_a_global_that_a_call_changes(self):
        source = """
G = 1
def change():
    global G
    G = G * 2.5
@jit
def f(n):
    s = 0
    for i in range(n):
        s += G
        if i % 3 == 2:
            change()
    return s
"""
        self.same(source, "f", [(3,), (10,)])

    def test_a_builtin_that_is_replaced(self):
        source = "@jit\ndef f(n):\n    return abs(n)\n"
        self.same(source, "f", [(-3,), ("abs", lambda n: n * 2), (-3,)])

    def test_a_function_that_is_replaced(self):
        source = """
@jit
def g(n):
    return n + 1
def other(n):
    return n * 100
def swap():
    global g
    g = other
@jit
def f(n):
    s = 0
    for i in range(n):
        s += g(i)
        if i == 4:
            swap()
    return s
"""
        self.same(source, "f", [(3,), (10,), (3,)])

    def test_arguments(self):
        source = """
@jit
def g(a, b=3, *, c=4):
    return a * b + c
@jit
def h(a, b=3):
    return a - b
@jit
def f(a, b):
    return h(a), h(a, b), h(b=a, a=b), g(a), g(a, c=b)
@jit
def wrong(a, b):
    return h(a, b, 1)
"""
        self.same(source, "f", [(1, 2), (1.5, True)])
        self.same(source, "wrong", [(1, 2)])

    def test_what_is_not_bound(self):
        source = """
@jit
def f(a):
    if a > 1:
        x = a
    return x + a
"""
        self.same(source, "f", [(2,), (1,), (0.5,)])

    def test_deletion_and_other_statements(self):
        source = """
@jit
def f(a, b):
    s = 0
    for i in range(3):
        t = (a, i)
        s += t[1]
        d = {i: a}
        s += d[i]
        assert s < 50, "large"
        x = [y * 2 for y in (1, 2)]
        s += x[1]
        del x
    a, b = b, a
    return f"{s} {a} {b}"
"""
        self.same(source, "f", [(1, 2), (1.5, 2), (100, 1)])


class Methods(unittest.TestCase):
    def test_methods(self):
        class Counter:
            def __init__(self):
                self.n = 0

            @copatch.jit
            def add(self, by):
                s = 0
                for i in range(by):
                    s += i
                self.n += s
                return s

            @staticmethod
            @copatch.jit
            def twice(x):
                return x * 2

        counter = Counter()
        self.assertEqual((counter.add(5), counter.add(4), counter.n), (10, 6, 16))
        self.assertEqual((Counter.twice(2), counter.twice(1.5), Counter.add(counter, 3)), (4, 3.0, 3))

    def test_looks(self):
        def named(x: int) -> int:
            """Says."""
            return x + 1

        made = copatch.jit(named)
        self.assertEqual((made.__name__, made.__doc__, made.__wrapped__, made.__module__), ("named", "Says.", named, __name__))
        self.assertEqual(made.__annotations__, {"x": int, "return": int})
        self.assertEqual(made(x=3), 4)


class Unchanged(unittest.TestCase):
    def test_functions_that_cannot_gain(self):
        def generator(n):
            for i in range(n):
                yield i

        def outer(n):
            def inner():
                return n

            return inner

        async def coroutine():
            return 1

        for function in (generator, outer, outer(1), coroutine, len, int, Unchanged):
            self.assertIs(copatch.jit(function), function)

    def test_disabled(self):
        script = "import copatch\ndef f(): return 1\nprint(copatch.jit(f) is f)"
        for value, expected in [("1", "True"), ("0", "False"), ("", "False")]:
            environment = dict(os.environ, COPATCH_DISABLE=value)
            done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
            self.assertEqual(done.stdout.strip(), expected, done.stderr)


class Attention(unittest.TestCase):
    """Signals and threads while a compiled loop runs that does not end by itself."""

    def setUp(self):
        # Whoever runs this in the background may have it ignored.
        old = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, old)

        @copatch.jit
        def forever(n):
            i = 0
            while i >= 0:
                i = (i + n) % 1000003
            return i

        self.forever = forever

    def test_a_handler_that_raises(self):
        class Alarm(Exception):
            pass

        def handler(number, frame):
            raise Alarm

        old = signal.signal(signal.SIGALRM, handler)
        try:
            for _ in range(3):
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                # assertRaises would take the traceback away.
                names = None
                try:
                    self.forever(1)
                except Alarm as alarm:
                    names = [frame.name for frame in traceback.extract_tb(alarm.__traceback__)]
                self.assertEqual(names, ["test_a_handler_that_raises", "forever", "handler"])
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)

    def test_control_c(self):
        timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))
        with self.assertRaises(KeyboardInterrupt):
            timer.start()
            self.forever(1)
        timer.join()

    def test_a_handler_that_does_not_raise(self):
        seen = []
        old = signal.signal(signal.SIGALRM, lambda number, frame: seen.append(number))

        @copatch.jit
        def count(n):
            i = s = 0
            while i < n:
                i += 1
                s += i & 3
            return s

        n = 1 << 20
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
            while len(seen) < 3:
                self.assertEqual(count(n), n // 4 * 6)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)

    def test_another_thread_gets_its_turn(self):
        # The other thread ends the loop: it can only if it runs meanwhile.
        turns = []

        def other():
            for turn in range(20):
                turns.append(turn)
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=other)
        with self.assertRaises(KeyboardInterrupt):
            thread.start()
            self.forever(1)
        thread.join()
        self.assertEqual(len(turns), 20)

    @unittest.skipUnless(hasattr(os, "fork"), "there is no fork")
    def test_in_a_process_that_was_forked(self):
        class Alarm(Exception):
            pass

        def handler(number, frame):
            raise Alarm

        old = signal.signal(signal.SIGALRM, handler)

        def once():
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            try:
                self.forever(1)
            except Alarm:
                pass

        once()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            once()
            os._exit(7)
        signal.signal(signal.SIGALRM, old)
        for _ in range(600):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
            time.sleep(0.05)
        else:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            self.fail("the loop saw no signal")
        self.assertEqual(os.waitstatus_to_exitcode(status), 7)

    def test_two_threads_at_once(self):
        @copatch.jit
        def total(n, xs):
            s = 0
            for i in range(n):
                s += xs[i % len(xs)] * i % 7
            return s

        expected = total.__wrapped__(200_000, [3, 5, 8])
        results = []
        threads = [threading.Thread(target=lambda: results.append(total(200_000, [3, 5, 8]))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, [expected] * 4)


class References(unittest.TestCase):
    SOURCE = """
@jit
def inner(xs, i):
    return xs[i]

@jit
def f(xs, n):
    ys = [0.5] * 4
    g = [[1, 2], [3, 4]]
    s = 0
    for row in g:
        s += row[0]
    for i in range(n):
        s += inner(xs, i)
        ys[i % 4] = s
        ys.append(s * 1.5)
        zs = ys
    xs[0] = xs[0] + BIG
    return [s, s] * 2
"""

    def blocks(self, arguments):
        """Memory blocks that many calls leave behind."""
        _, compiled = namespaces("BIG = 0\n" + self.SOURCE)

        def run(count):
            for _ in range(count):
                try:
                    compiled["f"](*arguments)
                except (IndexError, TypeError):
                    pass

        run(300)
        gc.collect()
        before = sys.getallocatedblocks()
        run(3000)
        gc.collect()
        return sys.getallocatedblocks() - before

    def test_nothing_is_left_behind(self):
        for arguments in [([1, 2, 3], 3), ([1.5, 2.5], 2), ([1, 2], 3), ([1, 2.5, 3], 3), ([1, None], 2), ([10**30, 1], 2), ([], 0)]:
            with self.subTest(arguments=arguments):
                self.assertLess(self.blocks(arguments), 300)

    def test_counts(self):
        _, compiled = namespaces("BIG = 0\n" + self.SOURCE)
        items = [1000001, 1000002, 1000003]
        for n in (3, 4):
            xs = list(items)
            before = [sys.getrefcount(one) for one in (xs, *items)]
            for _ in range(100):
                try:
                    compiled["f"](xs, n)
                except IndexError:
                    pass
            after = [sys.getrefcount(one) for one in (xs, *items)]
            # The first item was replaced if the call came that far.
            self.assertEqual(after[:1] + after[2:], before[:1] + before[2:])


class Tools(unittest.TestCase):
    def test_explain_and_stats(self):
        @copatch.jit
        def f(n, x):
            s = x
            for i in range(n):
                s += i < n
            return s

        self.assertIn("not called yet", str(copatch.explain(f)))
        f(10, 1)
        f(10, 0.5)
        explanation = copatch.explain(f)
        self.assertIn("(int, int) -> int", str(explanation))
        self.assertIn("(int, float) -> float", str(explanation))
        html = explanation._repr_html_()
        self.assertIn("-&gt; float", html)
        self.assertNotIn("-> float", html)
        mine = [one for one in copatch.stats() if one["function"].endswith("test_explain_and_stats.<locals>.f")]
        self.assertEqual((mine[0]["specialisations"], mine[0]["calls"]), (2, 2))
        self.assertGreater(mine[0]["compile_seconds"], 0)
        self.assertGreater(mine[0]["code_bytes"], 0)
        self.assertIn("not compiled", str(copatch.explain(len)))

    def test_explain_says_why(self):
        @copatch.jit
        def f(n):
            return str(n)

        f(1)
        self.assertIn("the interpreter's", str(copatch.explain(f)))

    def test_compiled_code_is_used(self):
        """Without this, all other tests would pass with a decorator that does nothing."""
        _, compiled = namespaces("@jit\ndef f(n):\n    s = 0\n    for i in range(n):\n        s += i\n    return s\n")
        for _ in range(10):
            compiled["f"](5)
        self.assertEqual([one["calls"] for one in copatch._copatch.describe(compiled["f"])["specialisations"]], [10])
        self.assertEqual(copatch._copatch.describe(compiled["f"])["specialisations"][0]["functions"][0]["exits"], [])


class Tracing(unittest.TestCase):
    def test_a_trace_function_sees_what_the_interpreter_runs(self):
        @copatch.jit
        def f(n):
            return n + 1

        f(1)
        calls = []
        sys.settrace(lambda frame, event, argument: calls.append((frame.f_code.co_name, event)))
        try:
            f(1)
        finally:
            sys.settrace(None)
        self.assertIn(("f", "call"), calls)


if __name__ == "__main__":
    unittest.main()

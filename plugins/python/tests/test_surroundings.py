"""What happens around compiled functions: threads, names that change, debuggers, signals of every kind."""

import gc
import signal
import sys
import threading
import time
import traceback
import unittest

import copatch

SCALE = 0


@copatch.jit
def scaled(x):
    return x + SCALE


@copatch.jit
def spin(n):
    t = 0
    for i in range(n):
        t = (t * 5 + i) & 0xFFFF
    return t


@copatch.jit
def move(a, b, c, d, e):
    """Has more values than there are registers."""
    for i in range(50):
        a, b, c, d, e = b + 1, c + 1, d + 1, e + 1, a + i
    return a + b + c + d + e


@copatch.jit
def lists(n):
    out, kept = 0, [0]
    for i in range(n):
        kept = [i, i + 1, i + 2]
        out += kept[2] * 3
    return out


@copatch.jit
def tuples(n):
    out, kept = 0, (0, 1.5)
    for i in range(n):
        last = kept
        kept = (i, 2.5)
        out += last[0] * 3
    return out


@copatch.jit
def parts(n):
    out, kept = 0, [n, 2, 3]
    for i in range(n):
        last = kept
        kept = last[1:] + [i] * 1
        out += sum(last)
    return out


def plain_spin(n):
    t = 0
    for i in range(n):
        t = (t * 5 + i) & 0xFFFF
    return t


class Enough(Exception):
    pass


@copatch.jit
def quotient(n, d):
    kept = 0
    for i in range(n):
        kept = i
        try:
            if i == n - 1:
                return n // d
        except ZeroDivisionError:
            return -kept
    return None


class Surroundings(unittest.TestCase):
    def test_a_handler_reads_what_the_code_it_guards_does_not(self):
        for _ in range(3):
            self.assertEqual(quotient(5, 2), 2)
            self.assertEqual(quotient(5, 0), -4)
            self.assertIsNone(quotient(0, 0))

    def test_a_name_that_changes_all_the_time_is_seen_and_not_compiled_for_ever(self):
        global SCALE
        for SCALE in range(200):
            self.assertEqual(scaled(1), SCALE + 1)
        about = [one for one in copatch.stats() if one["function"].endswith("scaled")]
        self.assertEqual([one["specialisations"] for one in about], [0])

    def test_threads_that_end_leave_their_stack_to_the_next(self):
        def size():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[0]) * 4096

        results = []

        def work():
            results.append(spin(100))

        def wave():
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

        wave()
        before = size()
        for _ in range(100):
            wave()
        self.assertEqual(set(results), {plain_spin(100)})
        self.assertLess(size() - before, 20 * 64 << 20)

    def test_finalisers_that_the_collector_runs_enter_compiled_code(self):
        moved, ran = move(11, 22, 33, 44, 55), []

        class Cycle:
            def __init__(self):
                self.itself = self

            def __del__(self):
                ran.append(move(11, 22, 33, 44, 55))

        thresholds = gc.get_threshold()
        for function in (lists, tuples, parts):
            function(3)
            gc.disable()
            gc.collect()
            for _ in range(50):
                Cycle()
            gc.set_threshold(5, 5, 5)
            gc.enable()
            try:
                found = function(2000)
            finally:
                gc.set_threshold(*thresholds)
            self.assertEqual(found, function.__wrapped__(2000))
        gc.collect()
        self.assertEqual(ran, [moved] * 150)

    def test_another_thread_gets_its_turn(self):
        turns, stop = [], threading.Event()

        def other():
            while not stop.is_set():
                turns.append(time.perf_counter())
                time.sleep(0.001)

        thread = threading.Thread(target=other)
        thread.start()
        # Within one call there is time for many turns, however busy the machine is.
        begin = time.perf_counter()
        while len(turns) <= 5 and time.perf_counter() - begin < 20:
            spin(100_000_000)
        stop.set()
        thread.join()
        self.assertGreater(len(turns), 5)

    def test_a_tracer_sees_every_line(self):
        seen = []

        def tracer(frame, event, argument):
            if frame.f_code.co_name == "spin":
                seen.append((event, frame.f_lineno))
            return tracer

        spin(2)
        sys.settrace(tracer)
        spin(2)
        sys.settrace(None)
        first = spin.__wrapped__.__code__.co_firstlineno
        lines = [line - first for event, line in seen if event == "line"]
        self.assertEqual(lines, [2, 3, 4, 3, 4, 3, 5])
        del seen[:]
        spin(2)
        self.assertEqual(seen, [])

    def test_a_tracer_that_comes_in_the_middle_sees_the_rest(self):
        seen = []

        def tracer(frame, event, argument):
            if frame.f_code.co_name == "spin":
                seen.append(event)
            if len(seen) > 5:
                raise Enough
            return tracer

        def handler(number, frame):
            sys.settrace(tracer)

        old = signal.signal(signal.SIGALRM, handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with self.assertRaises(Enough):
                spin(1 << 40)
        finally:
            sys.settrace(None)
            signal.signal(signal.SIGALRM, old)

    def test_an_exception_of_a_handler_is_raised_where_the_loop_is(self):
        def handler(number, frame):
            raise Enough

        old = signal.signal(signal.SIGALRM, handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            spin(1 << 40)
        except Enough as error:
            names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        finally:
            signal.signal(signal.SIGALRM, old)
        self.assertEqual(names[1:], ["spin", "handler"])


if __name__ == "__main__":
    unittest.main()

"""What the tests share: a function run plain and compiled, and what there is to compare of both."""

import math
import sys
import traceback
import warnings

import copatch

NAME = "<program>"
#: Calls that raised, and all, so far.
RAISED = [0, 0]


def namespaces(source):
    """The names that a program defines, with `@jit` as it is and as if it were not there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        code = compile(source, NAME, "exec")
    out = []
    for jit in (lambda function: function, copatch.jit):
        names = {"jit": jit, "math": math, "sqrt": math.sqrt, "floor": math.floor, "inf": math.inf, "nan": math.nan}
        exec(code, names)
        out.append(names)
    return out


def frames(error):
    """Names and lines of a traceback, from the program's first frame on."""
    steps = traceback.walk_tb(error.__traceback__)
    return [(frame.f_code.co_name, line) for frame, line in steps if frame.f_code.co_filename == NAME]


def outcome(function, arguments):
    """What a call came to: its result, or what was raised where; and what became of its arguments."""
    try:
        result = function(*arguments)
        what = ("returns", type(result).__name__, _text(result))
    except RecursionError:
        what = ("raises", "RecursionError")
    except Exception as error:
        where = frames(error)
        if type(error) is UnboundLocalError and sys.version_info < (3, 13):
            # Before 3.13 the line is the one before once the interpreter has joined a store and a load behind it.
            where[-1] = where[-1][:1]
        what = ("raises", type(error).__name__, str(error), where)
    return what, _text(arguments)


def _text(value):
    try:
        return repr(value)
    except ValueError:
        return "a number with more digits than Python prints"


def _items(arguments):
    """Lists in arguments with their inner lists, and the numbers in them that are objects of their own."""
    lists, numbers, seen = [], [], set()
    todo = [one for one in arguments if isinstance(one, list)]
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        lists.append(one)
        for item in one:
            if isinstance(item, list):
                todo.append(item)
            elif (isinstance(item, float) or isinstance(item, int) and not -5 <= item <= 256) and id(item) not in seen:
                seen.add(id(item))
                numbers.append(item)
    return lists, numbers


def fresh(arguments):
    """A copy that shares nothing, numbers included, but what is one list stays one."""
    known = {}
    return tuple([_fresh(value, known) for value in arguments])


def _fresh(value, known):
    if isinstance(value, list):
        if id(value) not in known:
            known[id(value)] = [_fresh(item, known) for item in value]
        return known[id(value)]
    if type(value) is float:
        return float.fromhex(value.hex()) if math.isfinite(value) else value * 1.0
    return value + (1 << 70) - (1 << 70) if type(value) is int else value


def balance(function, arguments):
    """The outcome, and by how much the references to lists and to their numbers grew."""
    lists, numbers = _items(arguments)
    before = [sys.getrefcount(one) for one in lists], [sys.getrefcount(one) for one in numbers]
    what = outcome(function, arguments)
    after = [sys.getrefcount(one) for one in lists], [sys.getrefcount(one) for one in numbers]
    grown = [[b - a for a, b in zip(*pair)] for pair in zip(before, after)]
    return what, grown


def difference(source, entry, calls):
    """Runs a program's function plain and compiled with each tuple of arguments; gives what differs first, or `None`.

    A call may be `(name, value)` with a string as its name: then the global of that name is set.
    """
    plain, compiled = namespaces(source)
    for call in calls:
        if call and isinstance(call[0], str):
            plain[call[0]] = compiled[call[0]] = call[1]
            continue
        RAISED[1] += 1
        expected, allowed = balance(plain[entry], fresh(call))
        RAISED[0] += expected[0][0] == "raises"
        got, grown = balance(compiled[entry], fresh(call))
        if expected[0] == ("raises", "MemoryError"):
            continue
        if got != expected:
            return f"{entry}{call!r}\n  plain:    {expected}\n  compiled: {got}"
        # A number read from a list may be another object where it is stored again: fewer references, never more.
        more = any(b > max(a, 0) or b < min(a, -1) for a, b in zip(allowed[1], grown[1]))
        if grown[0] != allowed[0] or more:
            return f"{entry}{call!r}\n  references plain:    {allowed}\n  references compiled: {grown}"
    return None


def check(source, entry, calls):
    """For a program printed by `random_functions.py`: fails with what differs."""
    found = difference(source, entry, calls)
    assert found is None, found
    print("no difference")

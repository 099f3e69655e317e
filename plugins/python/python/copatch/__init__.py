"""Compiles Python functions by copy-and-patch.

    import copatch

    @copatch.jit
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

A decorated function is compiled at its first call for the types of its arguments. Whatever compiled code does not do continues in
the interpreter, from the very instruction.
"""

import os as _os
import sys as _sys

if not (3, 11) <= _sys.version_info[:2] <= (3, 13) or _sys.implementation.name != "cpython":
    raise ImportError("copatch runs on CPython 3.11, 3.12 and 3.13")
if not getattr(_sys, "_is_gil_enabled", lambda: True)():
    raise ImportError("copatch needs an interpreter with its global lock: this one is free-threaded")

# What is needed at times only is imported then: most of an import's time is that of other modules.
from . import _copatch

_copatch.start(_copatch)
if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(after_in_child=_copatch.forked)


# Lets compiled code know when a debugger or profiler is set: `sys` has no other way to tell.
for _name in ("settrace", "setprofile"):
    setattr(_sys, _name, _copatch.watcher(_name))

__all__ = ["jit", "explain", "stats"]
_functions = []


def jit(function):
    """Gives a function that does the same, faster where it computes with numbers.

    A function that cannot gain (it is a generator, handles exceptions, shares variables with others) is returned as it is; so is
    every function where the environment variable COPATCH_DISABLE is set to anything but 0. One that turns out not to gain gets its
    place back: a global of its module, or an attribute of a class there.
    """
    if _os.environ.get("COPATCH_DISABLE", "0") not in ("", "0"):
        return function
    if type(function).__name__ != "function":
        return function
    try:
        compiled = _copatch.make(function)
    except NotImplementedError:
        return function
    for name in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__type_params__"):
        if hasattr(function, name):
            setattr(compiled, name, getattr(function, name))
    compiled.__dict__.update(function.__dict__)
    compiled.__wrapped__ = function
    import copyreg

    copyreg.pickle(type(compiled), _pickled)
    _functions.append(compiled)
    return compiled


def _pickled(compiled):
    """By name, like any function; where the plain one has its place back, as that."""
    plain = compiled.__wrapped__
    found = _sys.modules.get(plain.__module__)
    for name in plain.__qualname__.split("."):
        found = getattr(found, name, None)
    return (_itself, (plain,)) if found is plain else plain.__qualname__


def _itself(function):
    return function


def explain(function):
    """What was compiled of a function: types, and what is left to the interpreter and why. Prints, and shows in a notebook."""
    from ._explain import Explanation

    # One that was given up may be back in its place.
    compiled = next((one for one in _functions if one.__wrapped__ is function), function)
    return Explanation(compiled, _copatch.describe(compiled))


def stats():
    """For each compiled function its calls of compiled code, the times it was left, and what compilation took."""
    out = []
    for function in _functions:
        about = _copatch.describe(function)
        out.append(
            {
                "function": f"{function.__module__}.{function.__qualname__}",
                "specialisations": len(about["specialisations"]),
                "calls": sum(one["calls"] for one in about["specialisations"]),
                "exits": sum(
                    taken
                    for one in about["specialisations"]
                    for part in one["functions"]
                    for _, _, taken in part["exits"]
                ),
                "compile_seconds": about["seconds"],
                "code_bytes": sum(one["code_bytes"] for one in about["specialisations"]),
                "refused": [why for _, why in about["refused"]],
            }
        )
    return out

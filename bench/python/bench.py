#!/usr/bin/env python3
"""Plain CPython, copatch and (where it can be imported) numba, on the programs in kernels/.

    PYTHONPATH=$(bash plugins/python/build-local.sh) python3 bench/python/bench.py [--json FILE] [kernel ...]

The programs are as people write them; every function of theirs is decorated, and so is a call's only difference. Each program
runs in a process of its own, in which the contenders take turns. Their results must be equal before anything is timed. All times
are medians. "first" is the time from before the contender is imported to the first result, for small arguments, in fresh
processes; for those of the other columns it is said below the table.
"""

import argparse
import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
import types

HERE = pathlib.Path(__file__).resolve().parent

# What is timed of each program: a function, its arguments as an expression in the program, and small ones, for which compilation
# is all there is to wait for.
KERNELS = {
    "fib": ("fib", "27,", "10,"),
    "mandelbrot": ("mandelbrot", "120, 80, 100", "6, 4, 20"),
    "nbody": ("nbody", "5000,", "2,"),
    "spectral_norm": ("spectral_norm", "100,", "4,"),
    "sieve": ("sieve", "1000000,", "100,"),
    "fannkuch": ("fannkuch", "8,", "4,"),
    "collatz": ("longest_collatz", "10000,", "20,"),
    "matmul": ("multiply", "matrix(90, 3), matrix(90, 7)", "matrix(3, 3), matrix(3, 7)"),
    "matmul_numpy": (
        "multiply",
        "numpy.arange(8100.0).reshape(90, 90), numpy.arange(8100.0).reshape(90, 90).T",
        "numpy.ones((3, 3)), numpy.ones((3, 3))",
    ),
    "levenshtein": ("levenshtein", "[i * i % 26 for i in range(500)], [i * 7 % 26 for i in range(600)]", "[1, 2, 3], [2, 3, 1]"),
    "primes": ("count_primes", "60000,", "50,"),
    "lcg": ("lcg", "42, 500000", "42, 100"),
    "integral": ("integrate", "0.0, 10.0, 300000", "0.0, 10.0, 50"),
    "gcd": ("gcd_sum", "600,", "10,"),
    "life": ("life", "64, 48, 20", "6, 5, 2"),
    "quicksort": ("sorted_checksum", "100000,", "20,"),
    "queens": ("queens", "9,", "4,"),
    "knapsack": ("knapsack", "[i * 37 % 91 + 5 for i in range(100)], [i * 53 % 97 + 1 for i in range(100)], 5000", "[5, 7, 9], [1, 2, 3], 20"),
    "heat": ("heat", "1000, 400", "10, 4"),
    "binary_search": ("search_all", "50000,", "20,"),
    "monte_carlo": ("estimate_pi", "300000, 1", "50, 1"),
}


def load(name, decorate):
    """The names of a program, its functions decorated."""
    path = HERE / "kernels" / f"{name}.py"
    # numba looks recursive functions up by their module.
    module = sys.modules[name] = types.ModuleType(name)
    names = vars(module)
    exec(compile(path.read_text(), str(path), "exec"), names)
    for key, value in list(names.items()):
        if type(value).__name__ == "function":
            names[key] = decorate(value)
    return names


def decorator(contender):
    if contender == "copatch":
        import copatch

        return copatch.jit
    if contender == "numba":
        import warnings

        import numba

        # Lists as arguments are deprecated there, but they are what the programs have.
        warnings.simplefilter("ignore")
        return numba.njit
    return lambda function: function


def first(name, contender, which):
    """Seconds from before the import to the first result, for the arguments number `which` of [`KERNELS`]."""
    if "numpy" in name:
        # The program's own import, which has nothing to do with who compiles it.
        import numpy  # noqa: F401
    start = time.perf_counter()
    names = load(name, decorator(contender))
    names[KERNELS[name][0]](*eval(KERNELS[name][which], names))
    return time.perf_counter() - start


def uncompiled(names):
    """Where copatch leaves work to the interpreter, as lines of text."""
    import copatch

    lines = []
    for name, function in names.items():
        if getattr(function, "__module__", None) != names["__name__"]:
            continue
        if type(function).__name__ == "function":
            try:
                copatch._copatch.make(function)
            except NotImplementedError as error:
                lines.append(f"{name}: {error}")
            continue
        for line in str(copatch.explain(function)).splitlines():
            if any(mark in line for mark in ("interpreter's", "left ", "given up", "not c")):
                lines.append(f"{name}: {line.strip()}")
    return lines


def equal(contender, value, expected):
    if contender == "numba":
        # Its mathematical functions may differ in the last bit.
        return value == expected or math.isclose(value, expected, rel_tol=1e-12)
    return repr(value) == repr(expected)


def kernel(name, contenders, rounds):
    """One program in this process."""
    entry, arguments, _ = KERNELS[name]
    plain = load(name, decorator("python"))
    expected = plain[entry](*eval(arguments, plain))
    out = {"times": {}, "failed": {}}
    loaded = {}
    for contender in contenders:
        try:
            names = load(name, decorator(contender))
            # Twice: what is compiled, or given up, at the first call is not timed.
            values = [names[entry](*eval(arguments, plain)) for _ in range(2)]
        except Exception as error:
            if contender != "numba":
                raise
            out["failed"][contender] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            continue
        for value in values:
            assert equal(contender, value, expected), f"{name}: {contender} gives {value!r}, not {expected!r}"
        loaded[contender] = names
    times = {contender: [] for contender in loaded}
    for turn in range(rounds):
        order = list(loaded)
        for contender in order if turn % 2 else reversed(order):
            values = eval(arguments, plain)
            start = time.perf_counter()
            loaded[contender][entry](*values)
            times[contender].append(time.perf_counter() - start)
    out["times"] = {contender: statistics.median(of) for contender, of in times.items()}
    if "copatch" in loaded:
        import copatch

        out["uncompiled"] = uncompiled(loaded["copatch"])
        out["compile"] = {
            about["function"]: about["compile_seconds"] / about["specialisations"]
            for about in copatch.stats()
            if about["specialisations"]
        }
    return out


def child(*arguments):
    run = subprocess.run([sys.executable, __file__, "--child", *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    if run.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, arguments))}: ended with {run.returncode}")
    return json.loads(run.stdout)


def importable(module):
    return subprocess.run([sys.executable, "-c", f"import {module}"], stderr=subprocess.DEVNULL).returncode == 0


def mean(values):
    return statistics.geometric_mean(values) if values else float("nan")


def cell(value, width, form):
    return f"{'-':>{width}}" if value is None else f"{value:{width}{form}}"


def report(results, contenders):
    others = contenders[1:]
    head = f"{'':15}" + "".join(f"{contender + ' ms':>12}" for contender in contenders)
    head += "".join(f"{contender + ' x':>12}" for contender in others)
    head += "".join(f"{'first ' + contender:>15}" for contender in contenders)
    print(head)
    for name, result in results.items():
        times, firsts = result["times"], result["first"]
        line = f"{name:15}"
        line += "".join(cell(times.get(one) and times[one] * 1e3, 12, ".2f") for one in contenders)
        line += "".join(cell(times.get(one) and times["python"] / times[one], 12, ".2f") for one in others)
        line += "".join(cell(firsts.get(one) and firsts[one] * 1e3, 15, ".1f") for one in contenders)
        print(line)
    for other in others:
        both = [result for result in results.values() if other in result["times"]]
        against = mean([one["times"]["python"] / one["times"][other] for one in both])
        print(f"{other}: {against:.2f} times CPython (geometric mean of {len(both)})")
    if "numba" in contenders:
        both = [one for one in results.values() if {"copatch", "numba"} <= one["times"].keys()]
        print(
            f"numba's time / copatch's: {mean([one['times']['numba'] / one['times']['copatch'] for one in both]):.2f}; "
            f"to the first result: {mean([one['first']['numba'] / one['first']['copatch'] for one in both]):.1f}, "
            f"for the arguments above {mean([one['first_whole']['numba'] / one['first_whole']['copatch'] for one in both]):.1f}"
        )
    compiled = sorted(seconds for one in results.values() for seconds in one.get("compile", {}).values())
    if compiled:
        print(
            f"compiling one function: median {statistics.median(compiled) * 1e6:.0f} us, "
            f"longest {compiled[-1] * 1e6:.0f} us, of {len(compiled)}"
        )
    for name, result in results.items():
        for why in result["failed"].values():
            print(f"{name}: numba fails: {why}")
        for line in result.get("uncompiled", []):
            print(f"{name}: {line}")


def draw(results, contenders, file):
    """How many times as fast as CPython each contender is, as bars on a logarithmic scale."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "copatch"
    names = sorted(results, key=lambda name: results[name]["times"]["python"] / results[name]["times"]["copatch"])
    figure, axes = pyplot.subplots(figsize=(8, 0.3 * len(names) + 1))
    others = contenders[1:]
    for number, contender in enumerate(others):
        times = [results[name]["times"] for name in names]
        ratios = [one["python"] / one[contender] if contender in one else 1 for one in times]
        places = [place - 0.8 * number / len(others) for place in range(len(names))]
        axes.barh(places, [ratio - 1 for ratio in ratios], 0.8 / len(others), left=1, label=contender)
    axes.set_yticks(range(len(names)), names)
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel(f"times as fast as CPython {platform.python_version()}")
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kernels", nargs="*", metavar="kernel", help=f"of {', '.join(KERNELS)}")
    parser.add_argument("--json", metavar="FILE", help="the figures as data")
    parser.add_argument("--chart", metavar="FILE", help="the figures as a picture (SVG, by matplotlib)")
    parser.add_argument("--rounds", type=int, default=9, help="calls of each contender (default 9)")
    parser.add_argument("--starts", type=int, default=5, help="fresh processes of each contender (default 5)")
    options = parser.parse_args()
    unknown = set(options.kernels) - KERNELS.keys()
    if unknown:
        parser.error(f"no such kernel: {', '.join(sorted(unknown))}")
    contenders = ["python"] + [module for module in ("copatch", "numba") if importable(module)]
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    results = {}
    for name in options.kernels or KERNELS:
        if "numpy" in name and not importable("numpy"):
            print(f"{name}: numpy is not there")
            continue
        result = kernel_in_child(name, contenders, options)
        results[name] = result
        print(name, file=sys.stderr, flush=True)
    report(results, contenders)
    if options.chart:
        draw(results, contenders, options.chart)
    if options.json:
        about = {"python": platform.python_version(), "machine": platform.machine(), "kernels": results}
        pathlib.Path(options.json).write_text(json.dumps(about, indent=1) + "\n")


def kernel_in_child(name, contenders, options):
    result = child("kernel", name, ",".join(contenders), options.rounds)
    for key, which in (("first", 2), ("first_whole", 1)):
        starts = {contender: [] for contender in result["times"]}
        for _ in range(options.starts):
            for contender in starts:
                starts[contender].append(child("first", name, contender, which))
        result[key] = {contender: statistics.median(of) for contender, of in starts.items() if of}
    return result


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        what, name, *rest = sys.argv[2:]
        if what == "first":
            print(json.dumps(first(name, rest[0], int(rest[1]))))
        else:
            print(json.dumps(kernel(name, rest[0].split(","), int(rest[1]))))
    else:
        main()

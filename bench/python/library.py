#!/usr/bin/env python3
"""What decorating costs or gains real functions: a sample of Python's library, and the programs in kernels/.

    PYTHONPATH=$(bash plugins/python/build-local.sh) python3 bench/python/library.py [--sample N] [--seed N] [--json FILE] [module ...]

Each library module is loaded twice, plain and with every function decorated, and a workload is run on both. Of all functions that the
workload calls and the decorator does not return as they are, a sample is timed: called directly, with copies of the arguments that the
workload gave it, plain and decorated in turn, after 1000 calls to warm up; results are compared first. Figures are plain time divided by
decorated time (of the processor), medians of pairs, the loop around the calls included: below 1, decorating made it slower. With
`--control` each function is also measured against a second copy of itself, not decorated: how far from 1 that is the machine's doing.
"""

import argparse
import copy
import importlib.machinery
import importlib.util
import json
import pathlib
import platform
import random
import statistics
import subprocess
import sys
import time
import types

import bench

#: For each module what is run: statements with the module's names.
WORKLOADS = {
    "statistics": """
data = [random.gauss(10, 3) for _ in range(60)]
for n in range(3, 60, 4):
    part = data[:n]
    mean(part), fmean(part), geometric_mean([abs(x) + 1 for x in part]), harmonic_mean([abs(x) + 1 for x in part])
    median(part), median_low(part), median_high(part), median_grouped([int(x) for x in part]), mode([int(x) for x in part])
    pvariance(part), variance(part), stdev(part), pstdev(part), quantiles(part, n=4)
    covariance(part, part[::-1]), correlation(part, part[::-1]), linear_regression(part, part[::-1])
    multimode([int(x) for x in part]), mean([int(x) for x in part])
n = NormalDist(10, 3)
for x in part:
    n.pdf(x), n.cdf(x), n.zscore(x), n.inv_cdf(0.01 + abs(x) % 0.9), n.overlap(NormalDist(x, 2)), n + x, n * 2, -n, hash(n)
""",
    "colorsys": """
for _ in range(60):
    r, g, b = random.random(), random.random(), random.random()
    rgb_to_hls(r, g, b), rgb_to_hsv(r, g, b), rgb_to_yiq(r, g, b), hls_to_rgb(r, g, b), hsv_to_rgb(r, g, b), yiq_to_rgb(r, g, b)
""",
    "bisect": """
data = sorted(random.randrange(1000) for _ in range(300))
floats = sorted(random.random() for _ in range(300))
for x in range(0, 1000, 20):
    bisect_left(data, x), bisect_right(data, x), insort_left(data[:], x), insort_right(data[:], x)
    bisect_left(floats, x / 1000), bisect_right(floats, x / 1000, 10, 200), bisect_left(data, -x, key=lambda y: -y)
""",
    "heapq": """
for n in range(1, 40):
    heap = [random.randrange(100) for _ in range(n)]
    heapify(heap), heappush(heap, n), heappop(heap), heappushpop(heap, n * 3), heapreplace(heap, n)
    _heapify_max(heap), _heappop_max(heap), nlargest(3, heap), nsmallest(3, heap), list(merge(sorted(heap), [1, 2, 3]))
    heap = [random.random() for _ in range(n)]
    heapify(heap), heappush(heap, 0.5), heappop(heap)
""",
    "calendar": """
for year in range(1980, 2030, 7):
    isleap(year), leapdays(year, 2024), timegm((year, 3, 4, 5, 6, 7))
    for month in (1, 2, 11):
        weekday(year, month, 3), monthrange(year, month)
        TextCalendar().formatmonth(year, month), Calendar().monthdatescalendar(year, month), monthcalendar(year, month)
    HTMLCalendar().formatmonth(year, 2)
TextCalendar().formatyear(2024)
""",
    "textwrap": """
text = "  The quick (brown) fox-like animal jumps over the lazy dog's back.  It doesn't care -- at all.\\n" * 4
for width in range(20, 70, 10):
    wrap(text, width), fill(text, width), shorten(text, width), indent(text, "> "), dedent(text)
    TextWrapper(width=width, fix_sentence_endings=True, break_long_words=True).wrap(text + "x" * 100)
""",
    "fractions": """
for n in range(1, 40):
    a, b = Fraction(n, n + 3), Fraction(2 * n + 1, 7)
    a + b, a - b, a * b, a / b, a // b, a % b, -a, abs(a), a < b, a == b, a >= b, hash(a), str(a), repr(a), float(a), int(b), round(b), round(b, 2)
    a ** 2, a ** -1, 2 - a, 1.5 * a, divmod(b, a), Fraction(str(n / 8)), Fraction.from_float(n / 8), b.limit_denominator(5), bool(a), a.as_integer_ratio()
    b.__floor__(), b.__ceil__(), b.__trunc__()
""",
    "datetime": """
for n in range(1, 40):
    d, t = date(1990 + n, 1 + n % 12, 1 + n % 28), datetime(1990 + n, 3, 4, n % 24, n, 7, n * 1000)
    delta = timedelta(days=n, seconds=n * 1000, microseconds=7 * n)
    d + delta, d - d, d.toordinal(), d.weekday(), d.isocalendar(), d.isoformat(), str(d), hash(d), d < d, d.replace(day=3), d.timetuple(), d.strftime("%Y %j")
    t + delta, t - t, t.isoformat(), str(t), t.date(), t.time(), t == t, t.utctimetuple(), t.strftime("%H"), date.fromordinal(720000 + n), t.replace(hour=3)
    delta + delta, -delta, delta * 3, delta / 7, delta // 7, str(delta), delta.total_seconds(), abs(delta), hash(delta), delta < delta, date.fromisoformat("2024-03-04")
    datetime.fromisoformat("2024-03-04T05:06:07+02:00").astimezone(timezone.utc), timezone(timedelta(hours=n % 12)).utcoffset(None)
""",
    "json.decoder": """
for n in range(20):
    text = '{"a": [1, 2.5, "x\\\\u00e9y", null, true], "b": {"c": "' + "z" * n + '"}}'
    JSONDecoder().decode(text), JSONDecoder().raw_decode(text)
    py_scanstring('abc\\\\n\\\\u00e9def"', 0), JSONArray(("[1, 2]", 1), lambda s, i: (int(s[i]), i + 1))
    JSONObject(('{"a": 1}', 1), True, lambda s, i: (int(s[i]), i + 1), None, None)
""",
    "json.encoder": """
for n in range(20):
    value = {"a": [1, 2.5, "x\\u00e9", None, True] * n, "b": {"c": "z" * n}}
    JSONEncoder(indent=2).encode(value), JSONEncoder(sort_keys=True).encode(value), py_encode_basestring("a\\"b\\n"), py_encode_basestring_ascii("a\\u00e9")
""",
    "difflib": """
words = "the quick brown fox jumps over the lazy dog and then some more of it".split()
for n in range(6):
    a, b = words[n:], words[:n] + words[n + 2:]
    s = SequenceMatcher(None, a, b)
    s.ratio(), s.quick_ratio(), s.real_quick_ratio(), s.get_opcodes(), list(s.get_grouped_opcodes(1)), get_close_matches("brwn", words)
    list(ndiff(a, b)), list(unified_diff(a, b)), list(context_diff(a, b)), SequenceMatcher(None, "abcdefgh" * 3, "abdefghx" * 3).ratio()
""",
    "string": """
for n in range(20):
    capwords("the quick brown fox"), Template("$who likes ${what}").substitute(who="a", what="b"), Template("$x $$").safe_substitute()
    Formatter().format("{0} {a:>5} {b!r}", 1, a=2, b="c"), Formatter().vformat("{0[1]} {a}", ([1, 2],), {"a": 3})
""",
    "random": """
r = Random(3)
for n in range(1, 40):
    r.randrange(n), r.randint(0, n), r.choice(range(n)), r.uniform(0, n), r.triangular(0, n, 1), r.gauss(0, 1), r.normalvariate(0, 1), r.expovariate(2)
    r.betavariate(2, 3), r.gammavariate(2, 3), r.lognormvariate(0, 1), r.vonmisesvariate(1, 2), r.paretovariate(3), r.weibullvariate(1, 2)
    x = list(range(n)); r.shuffle(x); r.sample(x, n // 2); r.choices(x, k=3); r.randbytes(3); r.getstate()
""",
    "_pydecimal": """
for n in range(1, 12):
    a, b = Decimal(n) / 7, Decimal("1.50") * n
    a + b, a - b, a * b, a / b, a // b, a % b, -a, abs(a), a < b, a == b, str(a), repr(b), int(a), float(a), round(b, 1), a.sqrt(), b.quantize(Decimal("0.1"))
    a ** 2, b.normalize(), a.exp(), b.ln(), hash(a), a.compare(b), b.to_integral_value(), a.as_tuple(), b.adjusted(), a.max(b), bool(a), format(a, ".3f")
""",
    "posixpath": """
for n in range(20):
    p = "/usr//lib/../share/./doc" + "/x" * n + ".tar.gz"
    normpath(p), join("/a", "b", "c" * n), split(p), splitext(p), basename(p), dirname(p), isabs(p), commonpath(["/a/b", "/a/c"]), relpath(p, "/usr"), expandvars("$HOME/x")
""",
    "urllib.parse": """
for n in range(20):
    u = f"http://user@example.com:80{n}/a/b;p?q={n}&r=x%20y#frag"
    urlparse(u), urlsplit(u), urljoin(u, "../c"), quote("a b/\\u00e9"), unquote("a%20b%C3%A9"), parse_qs(f"a={n}&b=2"), urlencode({"a": n, "b": "x y"}), urlunparse(urlparse(u))
""",
    "ipaddress": """
for n in range(1, 30):
    a, w = IPv4Address(f"10.0.{n}.{2 * n}"), ip_network(f"10.{n}.0.0/16")
    str(a), int(a), a + 1, a < a, hash(a), a in w, w.num_addresses, w.broadcast_address, w.overlaps(w), a.is_private, list(w.subnets(new_prefix=18)), str(w)
    ip_address(f"2001:db8::{n:x}").exploded, summarize_address_range(a, a + 5), IPv6Address(n).compressed
""",
    "shlex": """
for n in range(20):
    split(f"a 'b c' \\"d e\\" {n} x\\\\ y # z"), quote("a b"), join(["a", "b c"])
""",
    "fnmatch": """
for n in range(20):
    fnmatch(f"file{n}.py", "*.py"), filter(["a.py", "b.txt"] * n, "*.py"), translate(f"[a-c]?x{n}*"), fnmatchcase("abc", "a[!x]c")
""",
    "html": "for n in range(20):\n    escape('<a & b>' * n), unescape('&lt;&#65;&eacute;&unknown;' * n)\n",
    "copy": "for n in range(20):\n    deepcopy({'a': [1, (2, 3)] * n}), copy([1] * n), deepcopy([[1.0] * 5] * n)\n",
    "pprint": "for n in range(8):\n    pformat({'a': list(range(n * 5)), 'b': {'c': 'x' * 100}}, width=40), isreadable([1]), saferepr({1: [2]})\n",
    "base64": "for n in range(20):\n    b32encode(b'abc' * n), b32decode(b32encode(b'ab' * n)), b85encode(b'abcd' * n), b85decode(b85encode(b'abcd' * n)), b64encode(b'x' * n), a85encode(b'abcd' * n)\n",
    "uuid": "for n in range(20):\n    u = UUID(int=n << 64 | 5)\n    str(u), u.fields, u.hex, u.urn, u.version, uuid5(NAMESPACE_DNS, 'x' * n), u < u, hash(u)\n",
    "cmd": "c = Cmd()\nfor n in range(20):\n    c.parseline('do this ' * n), c.completenames('h')\n",
}
#: Where a module's Python source is, if that is another; and the accelerators that would take its functions' places.
SOURCES = {"datetime": ("datetime", "_pydatetime"), "bisect": ("bisect",), "heapq": ("heapq",)}
ACCELERATORS = ["_bisect", "_heapq", "_datetime", "_statistics", "_json"]
KEPT = 50  # Calls of a function whose arguments are kept.
WARM = 1000


def load(name, decorate):
    """A copy of a module from its source with its functions decorated, and them by their code."""
    spec = next(filter(None, map(importlib.util.find_spec, reversed(SOURCES.get(name, (name,))))))
    module = importlib.util.module_from_spec(spec)
    # Under its own name while it is loaded, without accelerators.
    before = {one: sys.modules.get(one) for one in [spec.name, *ACCELERATORS]}
    sys.modules.update(dict.fromkeys(ACCELERATORS), **{spec.name: module})
    try:
        spec.loader.exec_module(module)
    finally:
        for one, old in before.items():
            sys.modules.pop(one)
            if old is not None:
                sys.modules[one] = old
    functions = {}

    def decorated(value):
        if isinstance(value, classmethod | staticmethod):
            return type(value)(decorated(value.__func__))
        if isinstance(value, property):
            return property(decorated(value.fget), value.fset, value.fdel, value.__doc__)
        if isinstance(value, types.FunctionType) and value.__module__ == spec.name:
            # A function may have several names.
            if value.__code__ not in functions:
                functions[value.__code__] = decorate(value)
            return functions[value.__code__]
        return value

    for owner in [module, *(one for one in vars(module).values() if isinstance(one, type) and one.__module__ == spec.name)]:
        for key, value in list(vars(owner).items()):
            made = decorated(value)
            if made is not value:
                setattr(owner, key, made)
    return vars(module), functions


def record(name, names, functions):
    """Runs a module's workload; gives arguments of calls by the function's name and line."""
    calls = {}

    def note(frame, event, argument):
        code = frame.f_code
        if event != "call" or code not in functions:
            return
        kept = calls.setdefault((code.co_qualname, code.co_firstlineno), (functions[code], []))[1]
        if len(kept) < KEPT:
            # Before the first instruction: the arguments are all there is. `None` for what cannot be copied.
            try:
                kept.append(copy.deepcopy(tuple(frame.f_locals[one] for one in code.co_varnames[: code.co_argcount])))
            except Exception:
                kept.append(None)

    code = compile(WORKLOADS[name], f"<{name}>", "exec")
    space = dict(names, random=random.Random(5))
    # The random module's own workload makes its generator itself.
    if name == "random":
        space["random"] = names["random"]
    deep = copy.deepcopy({})
    sys.setprofile(note)
    try:
        exec(code, space)
    finally:
        sys.setprofile(None)
    return calls


def loop(arity):
    """A function that calls another with each of the argument tuples, as a program would: directly."""
    names = "".join(f"a{at}, " for at in range(arity))
    source = f"def run(f, calls):\n    for {names or '_'} in calls:\n        f({names})\n"
    space = {}
    exec(source, space)
    return space["run"]


def text(value):
    """A result for comparison; addresses of objects are none."""
    import re

    return re.sub(r"0x[0-9a-f]+", "0x", repr(value))


def outcome(function, arguments):
    try:
        return text(function(*arguments))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def in_place(names, qualname, function):
    """What a program finds where a decorated function is: one that was given up has its place back."""
    found, owner = names, ""
    for part in qualname.split("."):
        private = owner and part.startswith("__") and not part.endswith("__")
        found = (found if isinstance(found, dict) else vars(found)).get(f"_{owner.lstrip('_')}{part}" if private else part)
        owner = part
    return found if getattr(function, "__wrapped__", function) is found else function


def measure(plain, decorated, rounds, names, qualname):
    """Seconds a call of the one and the other, from (function, recorded calls) of each, and what the second then was."""
    plain_calls, decorated_calls = plain[1], decorated[1]
    for first, second in zip(copy.deepcopy(plain_calls), copy.deepcopy(decorated_calls)):
        expected, got = outcome(plain[0], first), outcome(decorated[0], second)
        assert expected == got, f"{expected} plain, {got} decorated"
    # What raises is not timed: its cost is the exception's.
    fine = [at for at, one in enumerate(copy.deepcopy(plain_calls)) if not raises(plain[0], one)]
    if not fine:
        return None
    plain_calls, decorated_calls = ([calls[at] for at in fine] for calls in (plain_calls, decorated_calls))
    # A loop for each, since the interpreter adapts it to what it calls.
    runs = [loop(len(plain_calls[0])) for _ in range(2)]
    functions, recorded, times = [plain[0], decorated[0]], [plain_calls, decorated_calls], ([], [])
    for at in (0, 1, 1):
        for _ in range(WARM // len(fine) + 1):
            runs[at](functions[at], copy.deepcopy(recorded[at]))
        functions[1] = in_place(names, qualname, decorated[0])
    start = time.thread_time()
    runs[0](functions[0], copy.deepcopy(recorded[0]))
    again = max(1, min(200, int(0.003 / (time.thread_time() - start))))
    for turn in range(rounds):
        for at in (0, 1) if turn % 2 else (1, 0):
            batch = [one for _ in range(again) for one in copy.deepcopy(recorded[at])]
            start = time.thread_time()
            runs[at](functions[at], batch)
            times[at].append((time.thread_time() - start) / len(batch))
    ratio = statistics.median(first / second for first, second in zip(*times))
    return [ratio, *map(statistics.median, times), "put back" if type(functions[1]) is types.FunctionType else "compiled"]


def raises(function, arguments):
    try:
        function(*arguments)
        return False
    except Exception:
        return True


def child(name, chosen, rounds, control):
    """A module in this process: the functions that its workload calls, or figures of those chosen."""
    import copatch

    copies = []
    for decorate in (lambda function: function, lambda function: function, copatch.jit):
        names, functions = load(name, decorate)
        copies.append(record(name, names, functions))
    # The names of the decorated one.
    plain, same, decorated = copies
    out = {}
    for key, (function, calls) in decorated.items():
        qualname = f"{key[0]}:{key[1]}"
        if type(function) is types.FunctionType:
            out[qualname] = "as it is"
        elif key not in plain or None in calls or None in plain[key][1] or len(calls) != len(plain[key][1]):
            out[qualname] = "not copied"
        elif chosen is None:
            out[qualname] = "to be timed"
        elif qualname in chosen:
            figures = measure(plain[key], (function, calls), rounds, names, key[0])
            why = [line.strip() for line in str(copatch.explain(function)).splitlines() if "interpreter's" in line or "left" in line]
            given_up = "given up" if copatch._copatch.describe(function)["given_up"] else ""
            by_chance = measure(plain[key], same[key], rounds, names, "")[0] if control and figures else None
            out[qualname] = figures and [*figures[:3], [given_up and figures[3].replace("compiled", given_up) or figures[3], *why], by_chance]
    return out


def in_child(*arguments):
    run = subprocess.run([sys.executable, __file__, "--child", json.dumps(arguments)], stdout=subprocess.PIPE, text=True)
    if run.returncode != 0:
        raise SystemExit(f"{arguments[0]}: ended with {run.returncode}")
    return json.loads(run.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="module", help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--sample", type=int, default=100, help="functions that are timed (default 100)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--no-kernels", action="store_true", help="only the library")
    parser.add_argument("--control", action="store_true", help="also measure functions against themselves")
    parser.add_argument("--json", metavar="FILE", help="the figures as data")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(*json.loads(options.child))))
        return
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}")
    modules = options.modules or list(WORKLOADS)
    found = {(name, one): what for name in modules for one, what in in_child(name, None, 0, False).items()}
    timed = [key for key, what in found.items() if what == "to be timed"]
    sample = random.Random(options.seed).sample(timed, min(options.sample, len(timed)))
    counts = {what: sum(one == what for one in found.values()) for what in ("to be timed", "as it is", "not copied")}
    print(
        f"the workloads call {len(found)} functions: {counts['as it is']} are returned as they are, the arguments of {counts['not copied']} "
        f"cannot be copied, of {counts['to be timed']} others {len(sample)} are timed"
    )
    rows = []
    for name in modules:
        chosen = [one for of, one in sample if of == name]
        for one, figures in (in_child(name, chosen, options.rounds, options.control) if chosen else {}).items():
            if isinstance(figures, list):
                rows.append((figures[0], f"{name} {one}", *figures[1:]))
        print(name, file=sys.stderr, flush=True)
    if not options.no_kernels and not options.modules:
        for name in bench.KERNELS:
            if "numpy" in name and not bench.importable("numpy"):
                print(f"{name}: numpy is not there")
                continue
            times = bench.child("kernel", name, "python,copatch", options.rounds)["times"]
            rows.append((times["python"] / times["copatch"], f"kernel {name}", times["python"], times["copatch"], [], None))
    rows.sort()
    for ratio, name, plain, decorated, why, _ in rows:
        print(f"{ratio:8.2f}  {name:60} {plain * 1e6:12.2f} us plain {decorated * 1e6:12.2f} us decorated  {'; '.join(why)[:100]}")
    ratios = [row[0] for row in rows]
    if ratios:
        library = [row[0] for row in rows if not row[1].startswith("kernel")]
        print(
            f"{len(rows)} functions: median {statistics.median(ratios):.3f}, worst {ratios[0]:.3f}, geometric mean "
            f"{statistics.geometric_mean(ratios):.3f}; {sum(one < 0.95 for one in ratios)} below 0.95; the library's median {statistics.median(library):.3f}"
        )
    chance = sorted(row[5] for row in rows if row[5])
    if chance:
        print(f"undecorated against themselves: median {statistics.median(chance):.3f}, worst {chance[0]:.3f}, {sum(one < 0.95 for one in chance)} below 0.95")
    if options.json:
        about = {"python": platform.python_version(), "rows": rows}
        pathlib.Path(options.json).write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()

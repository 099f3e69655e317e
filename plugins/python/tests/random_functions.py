"""Random functions, plain and compiled: results, exceptions, tracebacks, changed lists and references must be the same.

    random_functions.py --seed 1 --cases 2000

Programs run in processes of their own, so that one that ends its process is known. What fails is made smaller by leaving statements
out, and printed as a program that runs by itself beside `support.py`.
"""

import argparse
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import time

from programs import Block, program, render

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 60  # Seconds without a sign of life after which a process hangs.


def source_of(statements):
    return "\n".join(render(statements)) + "\n"


def child(seed, first, behind):
    """Runs programs in turn: a line with the number before each, and one with what is wrong if anything is."""
    import copatch
    from support import RAISED, difference

    import resource

    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    entered = left = 0
    for number in range(first, behind):
        print("at", number, flush=True)
        statements, entry, calls = program(f"{seed}:{number}")
        found = difference(source_of(statements), entry, calls)
        if found is not None:
            print("differs", number, repr(found), flush=True)
        for one in copatch.stats():
            entered += one["calls"]
            left += one["exits"]
        copatch._functions.clear()
    print("done", entered, left, *RAISED, flush=True)


def single(path):
    """One program from a file; exits with 1 and says what is wrong if anything is."""
    from support import difference

    with open(path, "rb") as file:
        source, entry, calls = pickle.load(file)
    found = difference(source, entry, calls)
    if found is not None:
        print(found)
        sys.exit(1)


def fails(statements, entry, calls):
    """Whether a program fails, in a process of its own: what it said, or the signal; `None` if nothing is wrong."""
    with tempfile.NamedTemporaryFile(suffix=".pickle") as file:
        pickle.dump((source_of(statements), entry, calls), file)
        file.flush()
        try:
            done = subprocess.run([sys.executable, __file__, "--single", file.name], capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return "hangs"
    if done.returncode < 0:
        return f"ended by {signal.Signals(-done.returncode).name}"
    return done.stdout if done.returncode == 1 and done.stdout else None


def smaller(statements):
    """The program with one statement left out, or a block replaced by what is in it, in every way."""
    for at, one in enumerate(statements):
        rest = statements[at + 1:]
        if isinstance(one, Block) and one.head.startswith("def "):
            name = one.head[4:one.head.index("(")]
            if rest and not any(f"{name}(" in line for line in render(rest)):
                yield statements[:at - 1] + rest
        elif one != "@jit":
            follows = bool(rest) and isinstance(rest[0], Block) and rest[0].head.startswith(("else:", "elif"))
            if not follows:
                yield statements[:at] + rest
                if isinstance(one, Block) and one.head.startswith(("if", "for", "while")):
                    yield statements[:at] + one.body + rest
            else:
                yield statements[:at] + rest[1:]
        if isinstance(one, Block):
            for body in smaller(one.body[one.kept:]):
                yield statements[:at] + [Block(one.head, one.body[:one.kept] + body, one.kept)] + rest


def valid(statements):
    try:
        compile(source_of(statements), "<program>", "exec")
        return True
    except SyntaxError:
        return False


def shrink(statements, entry, calls, seconds=30):
    """A smaller program that fails, and how."""
    why = fails(statements, entry, calls)
    if why is None:
        return statements, calls, None
    end = time.monotonic() + seconds
    again = True
    while again and time.monotonic() < end:
        again = False
        for at in reversed(range(len(calls))):
            fewer = calls[:at] + calls[at + 1:]
            found = fails(statements, entry, fewer) if fewer else None
            if found:
                calls, why, again = fewer, found, True
        for candidate in smaller(statements):
            if time.monotonic() > end:
                break
            if not valid(candidate):
                continue
            found = fails(candidate, entry, calls)
            if found:
                statements, why, again = candidate, found, True
                break
    return statements, calls, why


def report(seed, number, first_words):
    """Prints a failing program as one that runs by itself."""
    statements, entry, calls = program(f"{seed}:{number}")
    statements, calls, why = shrink(statements, entry, calls)
    print(f"--- seed {seed}, case {number}: {first_words}")
    if why is None:
        print("# by itself the program does not fail")
    else:
        print(f'from math import inf, nan\n\nfrom support import check\n\ncheck("""\n{source_of(statements)}""", {entry!r}, {calls!r})')
        print("\n".join("# " + line for line in why.strip().splitlines()))
    sys.stdout.flush()


def batch(seed, first, behind):
    """Runs cases in a process; gives the case behind the last that ran, the failures, and calls entered, left, raised and made."""
    process = subprocess.Popen([sys.executable, __file__, "--child", str(seed), str(first), str(behind)], stdout=subprocess.PIPE)
    failures, at, counts, buffer = [], first, (0, 0, 0, 0), b""
    while True:
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
        chunk = os.read(process.stdout.fileno(), 1 << 16) if ready else b""
        if not chunk:
            if not ready:
                process.kill()
            break
        buffer += chunk
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            word, _, rest = line.decode().partition(" ")
            if word == "at":
                at = int(rest)
            elif word == "differs":
                number, _, text = rest.partition(" ")
                failures.append((int(number), text))
            elif word == "done":
                counts = tuple(map(int, rest.split()))
                at = behind - 1
    code = process.wait()
    process.stdout.close()
    if code != 0:
        hangs = not ready
        what = "hangs" if hangs else f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        failures.append((at, what))
    return at + 1, failures, counts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--batch", type=int, default=400)
    parser.add_argument("--shrunk", type=int, default=5, help="failures that are made smaller and printed")
    parser.add_argument("--single")
    parser.add_argument("--child", nargs=3, type=int)
    options = parser.parse_args()
    if options.single:
        return single(options.single)
    if options.child:
        return child(*options.child)
    at, end = options.first, options.first + options.cases
    failed, totals = 0, [0] * 4
    while at < end:
        at, failures, counts = batch(options.seed, at, min(at + options.batch - at % options.batch, end))
        totals = [a + b for a, b in zip(totals, counts)]
        for number, text in failures:
            failed += 1
            if failed <= options.shrunk:
                report(options.seed, number, text)
            else:
                print(f"--- seed {options.seed}, case {number}: {text[:300]}", flush=True)
    entered, left, raised, made = totals
    print(
        f"random functions: {options.cases - failed} passed, {failed} failed; of {made} calls {raised} raised; "
        f"compiled code was entered {entered} times and left {left} times"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

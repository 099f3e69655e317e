"""CPython's own tests with their functions decorated: whatever passes undecorated must pass decorated.

    cpython_tests.py [--jobs N] [--times] [module ...]

Every function of the test modules, and of the library modules written in Python that they test, is decorated, methods and nested
functions too. Methods have arguments that are no numbers and so stay the interpreter's; therefore expressions of numbers are
decorated by themselves as well: `x * y + 1` in a method is called as a decorated function of `x` and `y`. Each module runs plain and
decorated, in processes of their own, and the outcomes of all tests are compared.
"""

import argparse
import ast
import collections
import concurrent.futures
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time

#: Modules of CPython's `test` package. Not every version has all.
TESTS = """
    test_augassign test_binop test_bisect test_bool test_builtin test_call test_cmath test_colorsys test_compare test_complex test_contains
    test_enumerate test_exceptions test_float test_fractions test_generators test_heapq test_index test_int test_int_literal
    test_iter test_list test_listcomps test_long test_longexp test_math test_numeric_tower test_operator test_pow test_random test_range
    test_richcmp test_scope test_slice test_sort test_statistics test_strtod test_sys_setprofile test_sys_settrace test_textwrap
    test_traceback test_unary test_unpack test_calendar test_difflib
""".split()
#: Library modules written in Python, or that are when their accelerator is blocked, which tests do.
LIBRARY = """
    _pydecimal _pydatetime _pylong bisect calendar colorsys difflib fractions heapq numbers operator random statistics string textwrap
""".split()
#: Modules whose tests look at frames, of which a lifted expression and decorating a nested function have some of their own.
FRAMES = {"test_sys_setprofile", "test_sys_settrace", "test_traceback"}
#: Tests of functions in C that take nothing but the interpreter's own function objects, which a decorated function is not.
#: And tests that ask whether a float taken out of a tuple and put into a list is the same object: it is the same value.
OBJECTS = {"test_call.TestPEP590.test_setvectorcall" + rest for rest in ("", "_load_attr_specialization_deopt", "_load_attr_specialization_skip")}
OBJECTS |= {"test_sort.TestOptimizedCompares.test_" + name for name in ("safe_object_compare", "unsafe_float_compare")}
#: What a lifted expression may call; none of them sees who calls.
FUNCTIONS = {"abs", "bool", "divmod", "float", "int", "len", "max", "min", "pow", "range", "round", "sum"}
PATIENCE = 300  # Seconds after which a module's tests are taken to hang.


class Decorate(ast.NodeTransformer):
    """Decorates functions, and lifts expressions of names and constants into functions of their own."""

    def __init__(self, tree, lifts):
        self.lifts, self.lifted = lifts, []
        # A name that is somebody's variable may be any function.
        bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
        bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        self.functions = FUNCTIONS - bound
        self.math = {"math"} - bound

    def fits(self, node):
        """Whether an expression needs nothing but the values of its names."""
        fits = self.fits
        match node:
            case ast.Constant():
                return True
            case ast.Name(ctx=ast.Load()):
                return True
            case ast.BinOp(left=left, right=right):
                return fits(left) and fits(right)
            case ast.UnaryOp(operand=operand):
                return fits(operand)
            case ast.Compare(left=left, ops=operators, comparators=others):
                # Compiled code knows values, not which objects they were.
                same = any(isinstance(one, ast.Is | ast.IsNot | ast.In | ast.NotIn) for one in operators)
                return not same and fits(left) and all(map(fits, others))
            case ast.Subscript(value=ast.Name(), slice=at, ctx=ast.Load()):
                return fits(at)
            case ast.Slice(lower=low, upper=high, step=step):
                return all(one is None or fits(one) for one in (low, high, step))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return name in self.functions and all(map(fits, arguments))
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name)), args=arguments, keywords=[]):
                return name in self.math and all(map(fits, arguments))
        return False

    def lift(self, node, statement=None):
        """A call of a function that does what the expression does, or the statement with its target."""
        names = {}
        for one in ast.walk(statement or node):
            if isinstance(one, ast.Name) and one.id not in self.functions | self.math:
                names.setdefault(one.id, f"v{len(names)}")
        if not names or len(names) > 100:
            return None

        class Rename(ast.NodeTransformer):
            def visit_Name(self, one):
                return ast.copy_location(ast.Name(names.get(one.id, one.id), one.ctx), one)

        def copy(one):
            return Rename().visit(ast.parse(ast.unparse(one)).body[0])

        if statement:
            body = [copy(statement), ast.Return(ast.Name(names[statement.target.id], ast.Load()))]
        else:
            body = [ast.Return(copy(ast.Expr(node)).value)]
        name = f"__lifted_{len(self.lifted)}__"
        arguments = ast.arguments([], [ast.arg(one) for one in names.values()], None, [], [], None, [])
        self.lifted.append(ast.FunctionDef(name, arguments, body, [ast.Name("__copatch_jit__", ast.Load())], type_params=[]))
        call = ast.Call(ast.Name(name, ast.Load()), [ast.Name(one, ast.Load()) for one in names], [])
        return ast.copy_location(call, node)

    def expression(self, node):
        if not self.lifts:
            return self.generic_visit(node)
        return self.fits(node) and self.lift(node) or self.generic_visit(node)

    visit_BinOp = visit_UnaryOp = visit_Compare = visit_Subscript = visit_Call = expression

    def visit_AugAssign(self, node):
        if self.lifts and isinstance(node.target, ast.Name) and self.fits(node.value):
            call = self.lift(node, node)
            return ast.copy_location(ast.Assign([ast.Name(node.target.id, ast.Store())], call), node)
        return self.generic_visit(node)

    def visit_AnnAssign(self, node):
        return node

    def visit_match_case(self, node):
        # Patterns are no expressions.
        node.body = [self.visit(one) for one in node.body]
        return node

    def visit_FunctionDef(self, node):
        if self.lifts:
            node.body = [self.visit(one) for one in node.body]
        at = ast.copy_location(ast.Name("__copatch_jit__", ast.Load()), node)
        at.end_lineno, at.end_col_offset = node.lineno, node.col_offset
        node.decorator_list.append(at)
        return node

    def visit_AsyncFunctionDef(self, node):
        return node


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a module from its source with its functions decorated."""

    def get_code(self, name):
        path = self.get_filename(name)
        tree = ast.parse(self.get_data(path), path)
        decorate = Decorate(tree, name.removeprefix("test.") not in FRAMES)
        tree = ast.fix_missing_locations(decorate.visit(tree))
        self.lifted = ast.fix_missing_locations(ast.Module(decorate.lifted, []))
        return compile(tree, path, "exec", dont_inherit=True)

    def exec_module(self, module):
        import copatch

        code = self.get_code(module.__name__)
        vars(module)["__copatch_jit__"] = copatch.jit
        exec(compile(self.lifted, "<lifted>", "exec", dont_inherit=True), vars(module))
        exec(code, vars(module))


class Finder(importlib.abc.MetaPathFinder):
    def __init__(self, names):
        self.names = names

    def find_spec(self, name, path, target=None):
        if name not in self.names:
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path, target)
        if found and isinstance(found.loader, importlib.machinery.SourceFileLoader):
            found.loader = Loader(name, found.origin)
        return found


def child(module, decorated, path):
    """Runs a module's tests, and writes the outcome of each, and what ran compiled, to a file."""
    import random
    import unittest

    if decorated:
        import copatch

        for name in LIBRARY:
            sys.modules.pop(name, None)
        sys.meta_path.insert(0, Finder({f"test.{module}", "test.datetimetester", *LIBRARY}))
    import test.support

    test.support.use_resources = {}
    random.seed(1)
    outcomes = {}

    class Result(unittest.TestResult):
        def note(self, test, what, error=None):
            # A test of which a part failed has failed.
            if outcomes.get(test.id(), ["ok"])[0] in ("ok", "skipped"):
                outcomes[test.id()] = [what, error and self._exc_info_to_string(error, test)]

        def addSuccess(self, test):
            self.note(test, "ok")

        def addSkip(self, test, reason):
            self.note(test, "skipped")

        def addError(self, test, error):
            self.note(test, "failed", error)

        addFailure = addError

        def addSubTest(self, test, subtest, error):
            if error:
                self.note(test, "failed", error)

        def addExpectedFailure(self, test, error):
            self.note(test, "expected failure")

        def addUnexpectedSuccess(self, test):
            self.note(test, "unexpected success")

    suite = unittest.defaultTestLoader.loadTestsFromName(f"test.{module}")
    suite.run(Result())
    counts = [0, 0, 0]
    if decorated:
        for one in copatch.stats():
            counts = [a + b for a, b in zip(counts, (1, one["calls"], one["exits"]))]
    with open(path, "w") as file:
        json.dump({"outcomes": outcomes, "counts": counts}, file)


def run(module, decorated):
    """The outcomes of a module's tests by their names, what was compiled, and seconds."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "outcomes")
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        command = [sys.executable, os.path.abspath(__file__), "--child", module, str(int(decorated)), path]
        try:
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return {"(the process)": ["hangs", None]}, [0] * 3, PATIENCE
        seconds = time.monotonic() - begin
        if not os.path.exists(path):
            return {"(the process)": [f"ended with {done.returncode}", done.stderr]}, [0] * 3, seconds
        with open(path) as file:
            found = json.load(file)
        return found["outcomes"], found["counts"], seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", help="of CPython's `test` package; without any, a list of them")
    parser.add_argument("--times", action="store_true", help="say how long each module took, plain and decorated")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once (default: one for each processor)")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        module, decorated, path = options.child
        return child(module, decorated == "1", path)
    if importlib.util.find_spec("test.support") is None:
        print("cpython_tests: this interpreter has no `test` package; its tests are passed over")
        return 0
    totals, sums, differences, passed_over = collections.Counter(), [0] * 3, 0, 0
    modules = [one for one in options.modules or TESTS if importlib.util.find_spec(f"test.{one}")]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = [(module, pool.submit(run, module, False), pool.submit(run, module, True)) for module in modules]
    for module, *both in runs:
        (plain, _, plain_seconds), (decorated, counts, seconds) = (one.result() for one in both)
        sums = [a + b for a, b in zip(sums, counts)]
        totals += collections.Counter(what for what, _ in decorated.values())
        if options.times:
            print(f"{module:24} {len(plain):5} tests, {plain_seconds:6.1f} s plain, {seconds:6.1f} s decorated, entered {counts[1]:9}", flush=True)
        # If a process ended, that is all there is to say.
        for name in sorted({"(the process)"} & decorated.keys() or plain.keys() | decorated.keys()):
            (before, _), (after, error) = (of.get(name, ["absent", None]) for of in (plain, decorated))
            if name.removeprefix("test.") in OBJECTS:
                passed_over += before != after
            elif before != after:
                differences += 1
                print(f"--- {module}: {name}: {before} plain, {after} decorated\n{error or ''}", flush=True)
    functions, entered, left = sums
    outcomes = ", ".join(f"{count} {what}" for what, count in sorted(totals.items()))
    print(
        f"CPython's tests: {len(modules)} modules, {outcomes}; {differences} differ from plain runs, {passed_over} that ask about objects; of {functions} decorated functions compiled code was "
        f"entered {entered} times and left {left} times"
    )
    return 1 if differences or not entered else 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m copatch script.py` does what `python script.py` does.

Run with the package on PYTHONPATH: python3 -m unittest plugins/python/tests/test_main.py
"""

import pathlib
import subprocess
import sys
import tempfile
import textwrap
import unittest


class Main(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_python(self, *arguments, cwd=None):
        run = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=cwd)
        return run.returncode, run.stdout, run.stderr

    def same(self, source, *arguments):
        """What a script gives, which must be the same either way."""
        script = self.folder / "script.py"
        script.write_text(textwrap.dedent(source))
        plain = self.run_python(script, *arguments)
        self.assertEqual(self.run_python("-m", "copatch", script, *arguments), plain)
        return plain

    def test_arguments_and_names(self):
        (self.folder / "beside.py").write_text("value = 7\n")
        code, out, _ = self.same(
            """
            import sys, beside
            def f(n):
                return n * 2
            print(sys.argv, __name__, __file__, __package__, __spec__, __doc__, sys.path[0])
            print(type(__loader__).__name__, __cached__, beside.value, f(21))
            import __main__
            print(__main__.f is f, f.__module__, f.__name__)
            """,
            "-x",
            "--help",
            "two words",
        )
        self.assertEqual(code, 0)
        self.assertIn("'two words'", out)

    def test_functions_are_compiled(self):
        script = self.folder / "script.py"
        script.write_text(
            textwrap.dedent(
                """
                import copatch, functools
                def f(n):
                    return n + 1
                if True:
                    def under(n):
                        return n + 1
                @functools.lru_cache
                def decorated(n):
                    return n + 1
                class C:
                    def method(self):
                        return 1
                def outer(n):
                    def inner(n):
                        return n
                    return inner
                f(1), under(1), decorated(1)
                for function in f, under, decorated, C.method, outer(1):
                    print(type(function).__name__)
                print([(about["function"], about["calls"]) for about in copatch.stats()][:1])
                """
            )
        )
        code, out, err = self.run_python("-m", "copatch", script)
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(
            out.splitlines(),
            ["Compiled", "Compiled", "_lru_cache_wrapper", "function", "function", "[('__main__.f', 1)]"],
        )

    def test_tracebacks(self):
        code, _, err = self.same(
            """
            def divide(a, b):
                c = a + b
                return a // b

            def twice(a):
                return divide(a, 1) + divide(a, 0)

            twice(3)
            """
        )
        self.assertEqual(code, 1)
        self.assertIn("ZeroDivisionError", err)
        self.same("def f(n):\n    try:\n        return 1 // n\n    except ZeroDivisionError as e:\n        raise KeyError(n) from e\nf(0)\n")

    def test_syntax_errors(self):
        code, _, err = self.same("def f(:\n    pass\n")
        self.assertEqual(code, 1)
        self.assertIn("SyntaxError", err)
        # One that is found later than parsing.
        self.assertEqual(self.same("def f():\n    pass\nreturn f\n")[0], 1)

    def test_exit_codes(self):
        self.assertEqual(self.same("import sys\ndef f(n):\n    return n + 1\nsys.exit(f(6))\n")[0], 7)
        self.assertEqual(self.same("raise SystemExit('a reason')\n")[:2], (1, ""))

    def test_future_and_encoding(self):
        script = self.folder / "script.py"
        script.write_bytes(
            b"# -*- coding: latin-1 -*-\n'\xe9'\nfrom __future__ import annotations\n"
            b"def f(n: missing) -> missing:\n    return n\nprint(ascii(__doc__), f.__annotations__, f(1))\n"
        )
        plain = self.run_python(script)
        self.assertEqual(plain[0], 0, plain[2])
        self.assertEqual(self.run_python("-m", "copatch", script), plain)

    def test_pickled_functions(self):
        self.same(
            """
            import pickle, copy
            def f(n):
                return n + 1
            print(pickle.loads(pickle.dumps(f)) is f, copy.deepcopy(f) is f)
            """
        )

    def test_no_script(self):
        code, out, err = self.run_python("-m", "copatch")
        self.assertEqual((code, out), (2, ""))
        self.assertIn("script.py", err)
        absent = self.folder / "absent.py"
        self.assertEqual(self.run_python("-m", "copatch", absent), self.run_python(absent))

    def test_a_path_that_is_not_absolute(self):
        (self.folder / "script.py").write_text("import sys\nprint(sys.argv, __file__)\n1 // 0\n")
        plain = self.run_python("script.py", cwd=self.folder)
        self.assertEqual(self.run_python("-m", "copatch", "script.py", cwd=self.folder), plain)


if __name__ == "__main__":
    unittest.main()

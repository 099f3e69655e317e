"""Runs a script with its functions compiled: `python -m copatch script.py [argument ...]`.

Every function that the script defines at module level without a decorator is decorated by `copatch.jit`; all else is as if the
script were run by itself.
"""

import ast
import importlib.machinery
import os
import sys
import types

from . import jit

_DECORATOR = "__copatch_jit__"


class _Decorate(ast.NodeTransformer):
    def visit_FunctionDef(self, node):
        if not node.decorator_list:
            # At the function's own line, which is where it then begins.
            node.decorator_list.append(
                ast.Name(_DECORATOR, ast.Load(), lineno=node.lineno, col_offset=node.col_offset,
                         end_lineno=node.lineno, end_col_offset=node.col_offset)
            )
        return node

    def visit_AsyncFunctionDef(self, node):
        return node

    def visit_ClassDef(self, node):
        return node


def _begin_at(code):
    """A hook that shows tracebacks from the script's own code on."""

    def hook(kind, error, traceback):
        while traceback is not None and traceback.tb_frame.f_code is not code:
            traceback = traceback.tb_next
        sys.__excepthook__(kind, error.with_traceback(traceback), traceback)

    return hook


def _main():
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__.splitlines()[0], file=sys.stdout if len(sys.argv) > 1 else sys.stderr)
        sys.exit(0 if len(sys.argv) > 1 else 2)
    del sys.argv[0]
    path = os.path.abspath(sys.argv[0])
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        print(f"{sys.executable}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}", file=sys.stderr)
        sys.exit(2)
    sys.excepthook = _begin_at(None)
    code = compile(_Decorate().visit(ast.parse(source, path)), path, "exec", dont_inherit=True)
    sys.excepthook = _begin_at(code)

    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    module = types.ModuleType("__main__")
    module.__file__ = path
    module.__cached__ = None
    module.__annotations__ = {}
    module.__builtins__ = sys.modules["builtins"]
    module.__loader__ = importlib.machinery.SourceFileLoader("__main__", path)
    setattr(module, _DECORATOR, jit)
    sys.modules["__main__"] = module
    exec(code, module.__dict__)


_main()

"""Functions that go on in the middle of others.

A copy of the function's code object gets a prologue: it takes all locals, then what lay on the stack, as arguments, puts the
stack back and jumps to where compiled code stopped. All jumps of CPython 3.11 and later are relative, so nothing else changes, and
lines, names and tracebacks are the function's own.
"""

import sys
from opcode import _inline_cache_entries, opmap

from . import _copatch

# Imported from the beginning, since a function may be left when nothing can be imported any more; so it imports little itself.
_Function = type(lambda: None)

_SIGNAL = 0xFFFFFFFF  # where an exception is raised before the instruction, rather than by a call


def _emit(code, name, argument=0):
    for shift in (24, 16, 8):
        if argument >> shift:
            code += bytes((opmap["EXTENDED_ARG"], argument >> shift & 255))
    code += bytes((opmap[name], argument & 255))
    caches = _inline_cache_entries
    count = caches.get(name, 0) if isinstance(caches, dict) else caches[opmap[name]]
    code += bytes(2 * count)


def _signed(value):
    value = -value << 1 | 1 if value < 0 else value << 1
    out = bytearray()
    while value > 63:
        out.append(value & 63 | 64)
        value >>= 6
    out.append(value)
    return bytes(out)


def _locations(units, line):
    """The line table's entries for that many code units, `line` lines from where the function begins; `None` for no line."""
    out = bytearray()
    while units:
        count = min(units, 8)
        units -= count
        if line is None:
            out.append(0x80 | 15 << 3 | count - 1)
        else:
            # The last entry goes back to where the function's own entries begin to count from.
            out.append(0x80 | 13 << 3 | count - 1)
            out += _signed(line)
            line = 0
    return bytes(out)


def _handlers(table, distance):
    """An exception table whose code lies `distance` code units further on.

    Entries are start, length, target and depth, numbers of six bits a byte, the first byte of an entry marked.
    """
    numbers = []
    for byte in table:
        if byte & 0x80 or not numbers or not more:
            numbers.append(byte & 63)
        else:
            numbers[-1] = numbers[-1] << 6 | byte & 63
        more = byte & 0x40
    out = bytearray()
    for at, number in enumerate(numbers):
        number += distance * (at % 4 in (0, 2))
        digits = [number & 63]
        while number := number >> 6:
            digits.append(number & 63 | 0x40)
        digits[-1] |= 0x80 * (at % 4 == 0)
        out += bytes(reversed(digits))
    return bytes(out)


def make(function, offset, bound, stack, arguments):
    """A function of all locals and of the stack's objects that goes on at a code unit.

    `bound` says which locals have values, `stack` which entries are not null; an entry that is a function is said by where it is made.
    Cells are made again: nobody else has those that there were. With `arguments`, the call of so many arguments at that
    place raises the pending exception.
    """
    code = function.__code__
    above = sys.version_info >= (3, 13)
    prologue = bytearray()
    _emit(prologue, "RESUME")
    local = len(bound)
    for index, has in enumerate(bound):
        if not has:
            _emit(prologue, "DELETE_FAST", index)
    names = code.co_varnames + tuple(name for name in code.co_cellvars if name not in code.co_varnames) + code.co_freevars
    cells = code.co_cellvars + code.co_freevars
    for name in cells:
        _emit(prologue, "MAKE_CELL", names.index(name))
    for there in stack:
        if type(there) is tuple:
            start, end = there
            prologue += code.co_code[2 * start : 2 * end]
        elif there:
            _emit(prologue, "LOAD_FAST", local)
            _emit(prologue, "DELETE_FAST", local)
            local += 1
        else:
            _emit(prologue, "PUSH_NULL")
    constants = code.co_consts
    line = None
    if arguments is not None:
        constants += (_copatch.raise_pending, None)
        if not above:
            _emit(prologue, "PUSH_NULL")
        _emit(prologue, "LOAD_CONST", len(constants) - 2)
        if above:
            _emit(prologue, "PUSH_NULL")
        if arguments == _SIGNAL:
            if not above and "PRECALL" in opmap:
                _emit(prologue, "PRECALL")
            _emit(prologue, "CALL")
            positions = list(code.co_positions())
            line = (positions[offset][0] or code.co_firstlineno) - code.co_firstlineno
        else:
            for _ in range(arguments):
                _emit(prologue, "LOAD_CONST", len(constants) - 1)
    units = len(prologue) // 2
    jump = bytearray()
    _emit(jump, "JUMP_FORWARD", offset)
    table = _locations(units, line)
    # What jumps is nowhere, but takes the line back.
    table += _locations(len(jump) // 2, None if not line else -line)
    names += tuple(f".{index}" for index in range(local - len(bound)))
    code = code.replace(
        co_code=bytes(prologue + jump) + code.co_code,
        co_consts=constants,
        co_linetable=table + code.co_linetable,
        co_exceptiontable=_handlers(code.co_exceptiontable, units + len(jump) // 2),
        co_varnames=names,
        co_nlocals=len(names),
        co_cellvars=cells,
        co_freevars=(),
        co_argcount=local,
        co_posonlyargcount=0,
        co_kwonlyargcount=0,
        co_stacksize=code.co_stacksize + len(stack) + (0 if arguments in (None, _SIGNAL) else arguments) + 4,
    )
    return _Function(code, function.__globals__, function.__name__)

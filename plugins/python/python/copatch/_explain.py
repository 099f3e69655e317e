"""What `copatch.explain` gives."""

import html


class Explanation:
    """What was compiled of a function, for people; `data` has it as it is."""

    def __init__(self, function, data):
        self.function = function
        self.data = data

    def _lines(self):
        name = getattr(self.function, "__qualname__", repr(self.function))
        if self.data is None:
            yield 0, f"{name}: not compiled"
            return
        if not self.data["specialisations"] and not self.data["refused"]:
            yield 0, f"{name}: not called yet"
        for one in self.data["specialisations"]:
            for part in one["functions"]:
                called = getattr(part["function"], "__qualname__", "?")
                yield 0, f"{called}({', '.join(part['arguments'])}) -> {part['result']}"
                lines = _lines_of(part["function"])
                for offset, why in part["left"]:
                    yield 1, f"line {lines(offset)}: the interpreter's: {why}"
                for offset, why, taken in part["exits"]:
                    yield 1, f"line {lines(offset)}: left {taken} times: {why}"
            dropped = "; given up, since it was left too often" if one["dropped"] else ""
            yield 1, (
                f"{one['calls']} calls, {one['code_bytes']} bytes of code, {one['steps']} steps, "
                f"compiled in {one['seconds'] * 1e6:.0f} us{dropped}"
            )
        for types, why in self.data["refused"]:
            yield 0, f"{name}({', '.join(types)}): the interpreter's: {why}"

    def __str__(self):
        return "\n".join("    " * depth + text for depth, text in self._lines())

    __repr__ = __str__

    def _repr_html_(self):
        rows = (f'<div style="margin-left:{2 * depth}em">{html.escape(text)}</div>' for depth, text in self._lines())
        return f'<div style="font-family:monospace">{"".join(rows)}</div>'


def _lines_of(function):
    lines = {}
    for start, end, line in function.__code__.co_lines():
        for offset in range(start, end, 2):
            lines[offset] = line
    return lambda offset: lines.get(offset, "?")



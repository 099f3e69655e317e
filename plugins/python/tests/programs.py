"""Random Python programs: functions of numbers and lists that end soon, as trees of statements."""

import random

BORDER = [2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**62, -(2**62), 2**32, 2**31 - 1, 3037000500, -3037000500, 2**53, 2**53 + 1, 10**18]
SMALL = [0, 1, 2, 3, 5, 7, -1, -2, -3, 10, 63, 64, 65, 100, 255]
FLOATS = ["0.0", "-0.0", "0.5", "1.0", "-1.5", "2.0", "3.7", "1e308", "-1e308", "5e-324", "1e-310", "1e999", "9007199254740993.0",
          "9.223372036854775807e18", "-9.223372036854775808e18", "1e19", "0.1", "1e16"]
MATH = ["sqrt", "fabs", "sin", "cos", "tan", "exp", "log", "log2", "log10", "atan", "asin", "acos", "sinh", "cosh", "tanh", "floor",
        "ceil", "expm1", "log1p", "cbrt", "exp2", "trunc", "isnan", "isinf", "isfinite", "degrees", "radians"]
#: Those that raise for numbers beyond some, or none, or that give an integer.
BOUNDED = ["asin", "acos", "exp", "exp2", "expm1", "sinh", "cosh", "sin", "cos", "tan", "floor", "ceil", "trunc"]
LIMIT = 10**40
#: Statements of a program, at most; long ones take their time in CPython's compiler, and mostly raise before they are through.
LENGTH = 40


class Random(random.Random):
    """With choices by one product, which is quick; how even they are does not matter."""

    def choice(self, of):
        return of[int(self.random() * len(of))]

    def randint(self, low, high):
        return low + int(self.random() * (high - low + 1))

    def randrange(self, behind):
        return int(self.random() * behind)

    def chance(self, share):
        return self.random() < share


class Block:
    """A statement with statements in it."""

    def __init__(self, head, body, kept=0):
        self.head, self.body, self.kept = head, body, kept


def render(statements, depth=0):
    """Statements as lines; an empty body is `pass`."""
    lines = []
    for one in statements:
        if isinstance(one, Block):
            lines.append("    " * depth + one.head)
            lines += render(one.body, depth + 1) or ["    " * (depth + 1) + "pass"]
        else:
            lines.append("    " * depth + one)
    return lines


class Function:
    """One function under construction. Kinds of values: `i`nt, `f`loat, `b`ool, `l`ist of whole numbers, of floats (`m`), `g`rid, and
    `t`uple, or bytes, of whole numbers.

    `risk` from 0 to 1 is how often it does what raises, or may: values of other kinds, no values, divisors that may be zero.
    """

    def __init__(self, random, name, known, recursive, last, risk, length):
        self.random, self.name, self.known, self.recursive, self.last = random, name, known, recursive, last
        self.risk, self.left = risk, length
        self.chance = random.chance
        self.params = [random.choice("iiiffblmgt") for _ in range(random.randint(1, 4))]
        self.result = random.choice("iiffb")
        if recursive:
            self.params.insert(0, "d")
        self.names = [("d" if kind == "d" else f"{kind}{at}") for at, kind in enumerate(self.params)]
        self.vars = {}
        for name, kind in zip(self.names, self.params):
            self.vars.setdefault("i" if kind == "d" else kind, []).append(name)
        self.weight, self.cost, self.loops, self.fuel = 1, 1, 0, 0
        self.calls = 0

    def risky(self, share):
        return self.random.random() < share * self.risk

    def pick(self, kind):
        names = self.vars.get(kind)
        return self.random.choice(names) if names else None

    def number(self, depth):
        return self.expr(self.random.choice("iifb"), depth)

    def expr(self, kind, depth=3):
        """An expression that is mostly of the kind."""
        r = self.random
        if self.risky(0.05):
            kind = r.choice("ifb")
        if depth <= 0 or self.chance(0.2):
            name = self.pick(kind)
            if name and self.chance(0.75):
                return name
            if kind == "i":
                return str(r.choice(BORDER if self.chance(0.1) else SMALL))
            if kind == "f":
                return r.choice(FLOATS) if not self.chance(0.05) else "math.nan"
            return r.choice(["True", "False"])
        if self.chance(0.06):
            return f"({self.expr(kind, depth - 1)} if {self.condition(depth - 1)} else {self.expr(kind, depth - 1)})"
        if self.chance(0.03):
            return f"({self.expr(kind, depth - 1)} {r.choice(['and', 'or'])} {self.expr(kind, depth - 1)})"
        if self.chance(0.05):
            call = self.call(kind, depth)
            if call:
                return call
        return {"i": self.int, "f": self.float, "b": self.condition}[kind](depth)

    def call(self, kind, depth):
        fits = [one for one in self.known if self.weight * one.cost < 2000]
        if not fits:
            return None
        one = self.random.choice([each for each in fits if each.result == kind] or fits)
        self.cost += self.weight * one.cost
        text = f"{one.name}({', '.join(self.argument(kind, depth - 1) for kind in one.params)})"
        return text if self.loops == 0 else f"({text} % {LIMIT})"

    def argument(self, kind, depth):
        if kind == "d":
            return str(self.random.randint(0, 5)) if self.chance(0.7) else f"({self.expr('i', depth)} & 7)"
        if kind in "lmgt":
            return self.pick(kind) or {"l": "[1, 2, 3]", "m": "[1.0, -2.5]", "g": "[[1, 2], [3, 4]]", "t": "(3, -7, 2)"}[kind]
        return self.expr(kind, depth)

    def index(self, depth, name):
        if not self.risky(0.3):
            return f"{self.expr('i', depth - 1)} % len({name})" if self.chance(0.8) else self.random.choice(["0", "-1"])
        if self.chance(0.7):
            return str(self.random.choice([0, 0, 0, 1, 2, -1, -2, 5]))
        return f"{self.expr('i', depth - 1)} % {self.random.choice([1, 2, 3, 3, 4])}" if self.chance(0.7) else self.expr("i", depth - 1)

    def divisor(self, kind, depth):
        """Mostly not zero."""
        value = self.expr(kind, depth - 1)
        if self.risky(0.2):
            return value
        if kind == "i":
            return self.random.choice(["3", "-7", "10", "1000003", "-1", "2", f"({value} | 1)", f"(abs({value}) + 1)"])
        return self.random.choice(["0.5", "-3.0", "7", "1e-3", f"(abs({value}) + 0.25)"])

    def item(self, kind, depth):
        """An item of a list that should have such items, if there is one."""
        if self.chance(0.25) and self.pick("g"):
            return self.inner(depth, kind)
        name = self.pick("t") if kind == "i" and self.chance(0.3) else None
        name = name or self.pick("l" if kind == "i" else "m")
        return f"{name}[{self.index(depth, name)}]" if name else None

    def inner(self, depth, kind="f"):
        """An item of a grid's row; rows have numbers of either kind."""
        name = self.pick("g")
        item = f"{name}[{self.index(depth, name)}][{self.index(depth, name + '[0]')}]"
        return f"int({item})" if kind == "i" and not self.risky(0.5) else item

    def int(self, depth):
        r = self.random
        a = lambda: self.expr("i", depth - 1)
        form = r.randrange(20)
        if form < 6:
            return f"({a()} {r.choice(['+', '-', '+', '-', '&', '|', '^'])} {a()})"
        if form < 8:
            return f"({a()} * {a()})" if self.loops == 0 else f"({a()} * {a()} % {r.choice([2**63, 2**63 - 1, 2**70, 10**9 + 7, -(2**62)])})"
        if form < 11:
            return f"({a()} {r.choice(['//', '%'])} {self.divisor('i', depth)})"
        if form < 12:
            by = f"({a()} & 127)" if self.chance(0.5) else str(r.choice([0, 1, 2, 31, 62, 63, 64, 65, 100]))
            return f"({a()} << {by})" if self.loops == 0 else f"(({a()} << {by}) % {r.choice([2**63, 2**64, 2**90])})"
        if form < 13:
            if self.risky(0.3):
                return f"({a()} >> {a()})"
            return f"({a()} >> ({a()} & {r.choice([63, 127])}))" if self.chance(0.6) else f"({a()} >> {r.choice([0, 1, 5, 63, 64, 200])})"
        if form < 15:
            return f"{r.choice(['-', '~', '+', '-'])}{a()}"
        if form == 15:
            if self.risky(0.5):
                return f"int({self.number(depth - 1)})"
            return f"abs({a()})" if self.chance(0.5) else f"int(min(1e30, max(-1e30, {self.expr('f', depth - 1)})))"
        if form == 16:
            return f"{r.choice(['min', 'max'])}({', '.join(a() for _ in range(r.randint(2, 3)))})"
        if form == 17:
            name = self.pick("l") or self.pick("g") or self.pick("t")
            if name and name[0] == "l" and self.chance(0.3):
                return f"sum({name})"
            return f"len({name})" if name else a()
        if form == 18 and self.loops == 0 and not self.recursive:
            return f"{a()} ** {r.choice([0, 1, 2, 2, 3, -1 if self.risky(0.5) else 1])}"
        return self.item("i", depth) or a()

    def float(self, depth):
        r = self.random
        a = lambda: self.expr("f" if self.chance(0.8) else "i", depth - 1)
        form = r.randrange(16)
        if form < 7:
            of = r.choice("+-*/+-*" if self.risky(0.5) else "+-*")
            if of == "*" and (self.loops or self.recursive):
                # What should be floats may be integers, which squares make longer and longer.
                return f"({a()} * {self.expr('f', depth - 1)} % {LIMIT})" if self.chance(0.5) else f"({a()} * {r.choice(FLOATS)})"
            return f"({a()} {of} {self.expr('f', depth - 1)})"
        if form < 9:
            return f"({a()} {r.choice(['//', '%', '/'])} {self.divisor('f', depth)})"
        if form == 9:
            return f"{r.choice(['-', '+', 'abs'])}({a()})"
        if form == 10:
            return f"float({self.number(depth - 1)})"
        if form == 11:
            return f"{r.choice(['min', 'max'])}({', '.join(self.expr('f', depth - 1) for _ in range(r.randint(2, 3)))})"
        if form < 14:
            name = r.choice(MATH)
            of = self.expr("f", depth - 1)
            if not self.risky(0.3):
                of = f"abs({of})" if name in ("sqrt", "log1p") else f"(abs({of}) + 0.5)" if name.startswith("log") else of
                # Not the other way round: of a number that is none this is -1.
                of = f"min(1.0, max(-1.0, {of}))" if name in BOUNDED else of
            return f"{name}({of})" if name in ("sqrt", "floor") and self.chance(0.5) else f"math.{name}({of})"
        if form == 14 and self.loops == 0 and not self.recursive:
            if self.risky(0.5):
                return f"{a()} ** {r.choice(['2', '0.5', '3', '2.0', '-1'])}"
            return f"min(1e9, max(0.5, {a()})) ** {r.choice(['2', '0.5', '3', '2.0', '-1'])}"
        return self.item("f", depth) or a()

    def condition(self, depth=2):
        r = self.random
        compare = lambda: r.choice(["<", "<=", "==", "!=", ">", ">="])
        form = r.randrange(12)
        if form < 6:
            kind = r.choice("iiff")
            return f"({self.expr(kind, depth - 1)} {compare()} {self.expr(kind, depth - 1)})"
        if form == 6:
            return f"({self.number(depth - 1)} {compare()} {self.number(depth - 1)} {compare()} {self.number(depth - 1)})"
        if form == 7:
            return f"(not {self.number(depth - 1)})"
        if form == 8:
            return f"({self.condition(depth - 1)} {r.choice(['and', 'or'])} {self.condition(depth - 1)})" if depth > 0 else "True"
        if form == 9:
            return f"({self.pick('i') or self.pick('f') or 'G'} is {r.choice(['', 'not '])}None)"
        if form == 10:
            return f"bool({self.number(depth - 1)})"
        return self.number(depth - 1)

    def target(self):
        kind = self.random.choice("iiifffb")
        names = self.vars.setdefault(kind, [])
        free = [name for name in names if name[0] not in "kdG"]
        if free and self.chance(0.6):
            return kind, self.random.choice(free)
        name = f"{kind}v{sum(map(len, self.vars.values()))}"
        return kind, name

    def loop(self, head, bound, target=None):
        """A loop over statements of its own, with a kind and a name that it sets; what is first set in it may be unbound behind it."""
        self.weight *= bound
        self.loops += 1
        kept = {kind: list(names) for kind, names in self.vars.items()}
        if target:
            self.vars.setdefault(target[0], []).append(target[1])
        body = self.body(self.random.randint(1, 4))
        self.forget(kept)
        self.loops -= 1
        self.weight //= bound
        out = [Block(head, body)]
        if self.chance(0.15):
            out.append(Block("else:", self.body(1)))
            self.forget(kept)
        return out

    def forget(self, kept):
        """What was first set in a branch or loop may have no value behind it."""
        if not self.risky(0.08):
            self.vars = {kind: list(names) for kind, names in kept.items()}

    def statement(self):
        r = self.random
        self.cost += self.weight
        form = r.randrange(24)
        if form < 7 and self.chance(0.08):
            first, second = (("i", f"ip{self.cost}"), ("f", f"fp{self.cost}"))
            pair = f"p{self.cost}"
            out = [f"{pair} = {self.expr('i', 2)}, {self.expr('f', 2)}", f"{first[1]}, {second[1]} = {pair}"]
            for kind, name in (first, second):
                self.vars.setdefault(kind, []).append(name)
            return out + [f"{second[1]} = {pair}[{r.choice([0, 1, -1, -2] if self.risky(0.5) else [1, -1])}]"] * self.chance(0.3)
        if form < 7:
            kind, name = self.target()
            out = [f"{name} = {self.expr(kind)}"]
            if name not in self.vars[kind]:
                self.vars[kind].append(name)
            return out
        if form < 11:
            kind = r.choice("iiff")
            name = self.pick(kind)
            if name and name[0] not in "kdG":
                op = r.choice(["+", "-", "+", "-", "//", "%", "&", "|", "^"] if kind == "i" else ["+", "-", "*", "/", "//", "%"])
                if op == "*" and (self.loops or self.recursive):
                    return [f"{name} *= {r.choice(FLOATS)}"]
                return [f"{name} {op}= " + (self.divisor(kind, 2) if op in "//%" else self.expr(kind, 2))]
        if form < 14:
            kept = {kind: list(names) for kind, names in self.vars.items()}
            out = [Block(f"if {self.condition()}:", self.body(r.randint(1, 3)))]
            self.forget(kept)
            if self.chance(0.4):
                out.append(Block(f"elif {self.condition()}:" if self.chance(0.3) else "else:", self.body(r.randint(1, 2))))
                self.forget(kept)
            return out
        if form < 16 and self.loops < 2:
            count = r.randint(1, 12)
            name = f"ix{len(self.vars.get('i', ()))}"
            bound = self.expr("i", 1)
            head = r.choice([
                f"range({count})", f"range({count})", f"range({bound} & {count})", f"range({r.randint(-5, 5)}, {r.randint(-5, 8)}, {r.choice([1, 2, -1, -2, 3])})",
                f"range({bound}, {bound} + {count})", f"range(min({bound}, {count}))", f"range({2**63 - 1 - count}, {2**63 - r.randint(-1, 4)})",
                f"range({-2**63 + 9}, {-2**63 - r.randint(-2, 2)}, {r.choice([-1, -2, -5])})",
                f"range({bound} & 7, -3, -1)", f"range({r.randint(-9, 0)}, {bound} & 7, {bound} & 3 | 1)",
            ])
            return self.loop(f"for {name} in {head}:", max(count, 13), ("i", name))
        if form < 17 and self.loops < 2 and self.chance(0.4) and (which := self.a_list()):
            return self.loop_over_both(which)
        if form < 17 and self.loops < 2 and (which := "t" if self.pick("t") and self.chance(0.5) else self.a_list() or "g" * bool(self.pick("g"))):
            over = self.pick(which)
            kind = {"g": "m", "l": "i", "m": "f", "t": "i"}[which]
            name = f"{kind}x{len(self.vars.get(kind, ()))}"
            return self.loop(f"for {name} in {over}:", 5 if which == "g" else 30, (kind, name))
        if form < 19 and self.loops < 2:
            self.fuel += 1
            name, count = f"k{self.fuel}", r.randint(1, 12)
            condition = f"{name} < {count} and {self.condition()}" if self.chance(0.7) else f"{name} < {count}"
            self.vars.setdefault("i", []).append(name)
            loop = self.loop(f"while {condition}:", count)
            loop[0].body.insert(0, f"{name} += 1")
            loop[0].kept = 1
            return [Block("if True:", [f"{name} = 0", *loop], 1)]
        if form < 20 and self.loops:
            return [Block(f"if {self.condition()}:", [r.choice(["break", "continue"])])]
        if form < 22 and (which := self.a_list() or "g" * bool(self.pick("g"))):
            if which == "g" or self.chance(0.2) and self.pick("g"):
                return [f"{self.inner(2)} {r.choice(['=', '+='])} {self.bounded(self.expr(r.choice('iif'), 1))}"]
            to = self.pick(which)
            if self.chance(0.05) and self.loops == 0:
                by = r.choice(["2", "0", "1", self.pick("b") or "True"] if self.risky(1) else "12")
                return [Block(f"if len({to}) < 100:", [f"{to} *= {by}"])]
            if self.chance(0.3):
                return [Block(f"if len({to}) < 20:", [f"{to}.append({self.itself(which, 2)})"])]
            return [f"{to}[{self.index(2, to)}] {r.choice(['=', '=', '+=', '-='])} {self.itself(which, 2)}"]
        if form < 23 and self.weight < 20:
            which = r.choice("lm")
            name = f"{which}v{len(self.vars.get(which, ()))}"
            form = r.randrange(6)
            least = 0 if self.risky(0.5) else 1
            if form == 0:
                made = f"[{self.itself(which, 1)}] * {r.randint(least, 6)}"
            elif form == 1:
                made = f"[{self.itself(which, 1)}] * ({self.expr('i', 1)} & 7{' | 1' * least})"
            elif form == 2:
                made = f"[{', '.join(self.itself(which, 1) for _ in range(r.randint(least, 4)))}]"
            elif form == 3:
                made = self.comprehension(which)
            else:
                # What is taken from an empty list is empty.
                of = self.pick(which)
                if of is None:
                    return []
                made = f"{of}[{self.bound()}:{self.bound()}]"
                if not self.risky(0.5):
                    made += f" + {of}"
            self.vars.setdefault(which, []).append(name)
            return [f"{name} = {made}"]
        if self.chance(0.5):
            return [Block(f"if {self.condition()}:", [self.returned()])]
        kinds = [kind for kind in "if" if len(self.vars.get(kind, ())) > 1]
        if kinds:
            kind = r.choice(kinds)
            a, b = r.sample(self.vars[kind], 2)
            name = self.pick("l" if kind == "i" else "m")
            if name and self.chance(0.5):
                b = f"{name}[{self.index(1, name)}]"
            if not {a[0], b[0]} & {"k", "d", "G"}:
                return [f"{a}, {b} = {b}, {a}" if self.chance(0.5) else f"{b}, {a} = {a}, {b}"]
        return []

    def bound(self):
        return self.random.choice(["", "", "0", "1", "-1", "3", f"{self.expr('i', 1)} & 3"])

    def comprehension(self, which):
        """A list of what a list or range gives."""
        of = self.a_list()
        name = "iy" if of != "m" else "fy"
        over = self.pick(of) if of else f"range({self.random.randint(1, 5)})"
        kept = {kind: list(names) for kind, names in self.vars.items()}
        self.vars.setdefault(name[0], []).append(name)
        self.loops += 1
        made = f"[{self.itself(which, 1)} for {name} in {over}{f' if {self.condition(1)}' * self.risky(0.3)}]"
        self.loops -= 1
        self.vars = kept
        return made

    def loop_over_both(self, which):
        """A loop over two lists, or over a list and where its items are."""
        first, second = self.pick(which), "t" if self.pick("t") and self.chance(0.3) else self.a_list()
        kind = {"l": "i", "m": "f"}[which]
        at = len(self.vars.get("i", ())) + len(self.vars.get("f", ()))
        if self.chance(0.5):
            names, over = [("i", f"in{at}"), (kind, f"{kind}x{at}")], f"enumerate({first})"
        else:
            names, over = [(kind, f"{kind}x{at}"), ({"l": "i", "m": "f", "t": "i"}[second], f"{kind}z{at}")], f"zip({first}, {self.pick(second)})"
        self.vars.setdefault(names[1][0], []).append(names[1][1])
        made = self.loop(f"for {names[0][1]}, {names[1][1]} in {over}:", 30, names[0])
        self.vars[names[1][0]] = [one for one in self.vars[names[1][0]] if one != names[1][1]]
        return made

    def a_list(self):
        """A kind of lists of numbers of which there are some, if any."""
        kinds = [kind for kind in "lm" if self.vars.get(kind)]
        return self.random.choice(kinds) if kinds else None

    def itself(self, which, depth):
        """A number for a list of that kind, mostly of its kind."""
        if self.risky(0.3):
            return self.number(depth)
        return self.bounded(self.expr("i" if which == "l" else "f", depth))

    def bounded(self, text):
        """What recursion, or who calls it in a loop, cannot make an integer of more and more digits."""
        return f"({text} % {LIMIT})" if self.recursive or not self.last else text

    def returned(self):
        if self.risky(0.1):
            return "return"
        if self.risky(0.1) and (which := self.a_list()):
            return f"return {self.pick(which)}"
        if self.risky(0.1):
            return f"return {self.number(1)}, {self.number(1)}"
        return f"return {self.expr(self.result)}"

    def body(self, count):
        out = []
        for _ in range(count):
            if self.left <= 0:
                break
            made = self.statement()
            self.left -= len(made)
            out += made
        return out

    def block(self):
        body = []
        if self.chance(0.2):
            self.vars.setdefault("i", []).append("G")
        if self.recursive:
            body.append(Block("if d <= 0:", [self.returned()], 1))
        body += self.body(self.random.randint(2, 7))
        if self.recursive:
            cost = self.cost
            for _ in range(self.random.choice([1, 1, 2])):
                arguments = ", ".join("d - 1" if kind == "d" else self.bounded(self.argument(kind, 2)) if kind in "if" else self.argument(kind, 2) for kind in self.params)
                name = f"{self.result}r{self.calls}"
                self.calls += 1
                body.append(f"{name} = {self.name}({arguments})")
                self.vars.setdefault(self.result, []).append(name)
            body += self.body(self.random.randint(0, 2))
            self.cost = cost * 80
        # Squaring what recursion gave grows without bound otherwise.
        if self.recursive:
            body.append(f"return {self.expr(self.result, 2)} % {LIMIT}")
        else:
            body.append(self.returned())
        head = f"def {self.name}({', '.join(self.names)}):"
        return ["@jit", Block(head, body, 1 if self.recursive else 0)]


def argument(r, kind, risk):
    """A value for a parameter, mostly of its kind."""
    if kind == "d":
        return r.choice([0, 1, 2, 3, 4, 5, True, 2.5 if r.chance(risk) else 3])
    if kind not in "lmgt" and r.chance(0.2):
        kind = r.choice("ifbn") if r.chance(risk) else r.choice({"i": "ib", "f": "fib", "b": "bi"}[kind])
    if kind == "i":
        return r.choice(BORDER) if r.chance(0.25) else r.choice(SMALL) if r.chance(0.6) else r.randint(-(10**6), 10**6)
    if kind == "f":
        return float(r.choice(FLOATS)) if r.chance(0.5) else float("nan") if r.chance(0.1) else r.uniform(-100, 100)
    if kind == "b":
        return r.chance(0.5)
    if kind == "n":
        return None
    if kind == "t":
        if r.chance(0.3):
            return r.choice([bytes, bytearray])(r.randrange(256) for _ in range(r.randint(1, 5)))
        of = r.choice("iiffbl") if r.chance(risk) else "i"
        return tuple(argument(r, of, risk) if r.chance(0.05) else [plain(r, "i")] if of == "l" else plain(r, of) for _ in range(r.randint(0 if r.chance(risk) else 1, 4)))
    if kind in "lm":
        of = r.choice("iiffb") if r.chance(risk) else "f" if kind == "m" and r.chance(0.8) else r.choice("iiib")
        mixed = r.chance(0.15)
        sizes = [0, 1, 2, 3, 3, 4, 6] if r.chance(risk) else [1, 2, 3, 4, 6]
        return [argument(r, r.choice("ifb" if kind == "m" or r.chance(risk) else "ib") if mixed else of, risk) if r.chance(0.1) else plain(r, of)
                for _ in range(r.choice(sizes))]
    of = r.choice("if")
    return [[plain(r, of) for _ in range(3)] for _ in range(r.choice([1, 2, 3]))]


def plain(r, kind):
    if kind == "i":
        return r.choice(SMALL + BORDER[:6])
    return r.uniform(-9, 9) if kind == "f" else r.chance(0.5)


def program(seed):
    """A program's statements, the name of its last function, and what to call it with."""
    r = Random(seed)
    # Most programs raise seldom, so that all of them runs; one in four does what it likes.
    risk = r.choice([0.0, 0.1, 0.1, 1.0])
    functions, statements = [], [f"G = {r.choice(SMALL)}"]
    left = LENGTH
    count = r.choice([1, 1, 1, 2, 2, 3])
    for at in range(count):
        one = Function(r, f"call{at}", list(functions), r.chance(0.25), at == count - 1, risk, left)
        statements += one.block()
        functions.append(one)
        left = max(one.left, 10)
    last = functions[-1]
    calls = []
    for _ in range(r.randint(3, 6)):
        arguments = tuple(argument(r, kind, risk) for kind in last.params)
        if r.chance(0.1):
            lists = [one for one in arguments if isinstance(one, list)]
            if len(lists) > 1:
                arguments = tuple(lists[0] if isinstance(one, list) else one for one in arguments)
        calls.append(arguments)
        if r.chance(0.1):
            calls.append(("G", r.choice([1.5, 2**63, 7, True] if r.chance(risk) else [2**63, 7, True])))
    if r.chance(0.3):
        calls.append(calls[0])
    return statements, last.name, calls

"""Scalar expressions: operators by binding power (Pratt), calls, paths, literals.

Binding powers follow Microsoft's grammar: ``or``, ``and``, equality with the list and between operators, relations, sums, products,
and, tightest of all, the string operators: ``a + b has c`` means ``a + (b has c)``. Equality and relations do not chain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn

from tocsin.base.errors import Advice
from tocsin.kql import ast
from tocsin.kql.ast import Expr
from tocsin.kql.lexer import END, NAME, NUMBER, STRING
from tocsin.kql.parser.dynamic import DynamicReader
from tocsin.kql.parser.literals import TYPED, clock_ticks, number, typed_value
from tocsin.kql.parser.names import RESERVED, NameParser
from tocsin.kql.types import KqlType

__all__ = ["ADDITIVE", "EQUALITY_HINT", "INFIX_WORDS", "NO_OPERAND", "ExpressionParser"]

OR, AND, EQUALITY, RELATION, ADDITIVE, MULTIPLICATIVE, STRINGS = 1, 2, 3, 4, 5, 6, 7
_PLAIN, _LOGIC, _LIST, _BETWEEN, _STRING, _REGEX, _COLON = range(7)
_STRING_FORMS = (_STRING, _COLON)

_Infix = tuple[int, int, str]


def _infix_table() -> dict[str, _Infix]:
    table: dict[str, _Infix] = {
        "or": (OR, _LOGIC, "or"),
        "and": (AND, _LOGIC, "and"),
        "==": (EQUALITY, _PLAIN, "=="),
        "!=": (EQUALITY, _PLAIN, "!="),
        "<>": (EQUALITY, _PLAIN, "!="),
        "between": (EQUALITY, _BETWEEN, "between"),
        "!between": (EQUALITY, _BETWEEN, "!between"),
        "matches": (STRINGS, _REGEX, "matches regex"),
        ":": (STRINGS, _COLON, ":"),
        "=~": (STRINGS, _STRING, "=~"),
        "!~": (STRINGS, _STRING, "!~"),
    }
    table |= {
        op: (EQUALITY, _LIST, op) for op in ("in", "!in", "in~", "!in~", "has_any", "!has_any", "has_all", "!has_all")
    }
    table |= {op: (RELATION, _PLAIN, op) for op in ("<", ">", "<=", ">=")}
    table |= {op: (ADDITIVE, _PLAIN, op) for op in "+-"}
    table |= {op: (MULTIPLICATIVE, _PLAIN, op) for op in "*/%"}
    for word in ("has", "hasprefix", "hassuffix", "contains", "startswith", "endswith", "like"):
        for op in (word, "!" + word, word + "_cs", "!" + word + "_cs"):
            table[op] = (STRINGS, _STRING, op)
    for old, new in (("notcontains", "!contains"), ("containscs", "contains_cs"), ("notcontainscs", "!contains_cs")):
        table[old] = (STRINGS, _STRING, new)
    for old, new in (("notlike", "!like"), ("likecs", "like_cs"), ("notlikecs", "!like_cs"), ("nothas", "!has")):
        table[old] = (STRINGS, _STRING, new)
    return table


_INFIX: Final = _infix_table()
INFIX_WORDS: Final = frozenset(op for op in _INFIX if op[-1].isalpha() or op[-1] == "~")
"""Operators that are words: the legal set for suggestions after an operand."""

EQUALITY_HINT: Final = Advice("Equality is written ==.", "==")

_TRUE: Final = frozenset(("true", "True", "TRUE"))
_FALSE: Final = frozenset(("false", "False", "FALSE"))
_BALANCE = 16  # operands of `and` or `or` up to which the tree leans to the left, as a reader expects


class ExpressionParser(NameParser):
    """Reads scalar expressions."""

    def expr(self, level: int = 0) -> Expr:
        """See `Cursor.expr`."""
        values = self.values
        index = self.i
        kind = self.kinds[index]
        value = values[index]
        left: Expr
        if kind == NAME and values[index + 1] not in "([." and value[0] not in "!$" and value not in _SPECIAL_NAMES:
            # The commonest operand by far: a plain column.
            self.i = index + 1
            left = ast.Name((self.starts[index], self.ends[index]), value)
        else:
            left = self.operand()
        limit = 8
        run = 0
        while True:
            index = self.i
            infix = _INFIX.get(values[index])
            if infix is None:
                return left
            power, form, op = infix
            if power < level or power >= limit:
                if power >= limit and power >= level:
                    self._unchainable(index)
                return left
            if form == _COLON and not self.in_search:
                return left
            run += 1
            if run > self.longest:
                self.chained(run)
            if form == _LOGIC:
                left = self._logic(left, power, op)
                continue
            self.i = index + 1
            start = left.span[0]
            if form == _PLAIN:
                right = self.expr(power + 1)
                left = ast.Binary((start, right.span[1]), op, left, right)
            elif form in _STRING_FORMS:
                right = self.operand()
                left = ast.Binary((start, right.span[1]), op, left, right)
            elif form == _LIST:
                items = self._list(op)
                left = ast.InList((start, self.ends[self.i - 1]), op, left, items)
            elif form == _REGEX:
                if values[self.i] != "regex":
                    at = self.starts[self.i - 1], self.ends[self.i - 1]
                    self.fail_expected(
                        "'regex' after 'matches'", hint=Advice("The operator is 'matches regex'.", "matches regex", at)
                    )
                self.i += 1
                right = self.operand()
                left = ast.Binary((start, right.span[1]), op, left, right)
            else:
                left = self._between(left, op)
            if power <= RELATION:
                limit = power  # equality and relations do not chain

    def _unchainable(self, index: int) -> NoReturn:
        self.fail(
            "KQL0010",
            f"'{self.values[index]}' can't follow another comparison.",
            hint="Put one of the two in parentheses, or join them with 'and'.",
        )

    def _logic(self, first: Expr, power: int, op: str) -> Expr:
        operands = [first]
        while self.values[self.i] == op:
            self.i += 1
            operands.append(self.expr(power + 1))
        if len(operands) <= _BALANCE:
            left = first
            for right in operands[1:]:
                left = ast.Binary((left.span[0], right.span[1]), op, left, right)
            return left
        while len(operands) > 1:
            paired: list[Expr] = [
                ast.Binary((operands[k].span[0], operands[k + 1].span[1]), op, operands[k], operands[k + 1])
                for k in range(0, len(operands) - 1, 2)
            ]
            if len(operands) % 2:
                paired.append(operands[-1])
            operands = paired
        return operands[0]

    def _list(self, op: str) -> tuple[Expr, ...]:
        if self.values[self.i] != "(":
            self.fail_expected(f"'(' after '{op}'", hint=f"Write the values in parentheses: {op} (…).")
        return self.arguments()

    def _between(self, operand: Expr, op: str) -> Expr:
        opened = self.expect("(", f"after '{op}'")
        self.enter()
        low = self.expr()
        if self.values[self.i] != "..":
            self.fail_expected("'..' between the two bounds", hint="The form is: x between (low .. high).")
        self.i += 1
        high = self.expr()
        self.close(")", opened)
        self.depth -= 1
        return ast.Between((operand.span[0], self.ends[self.i - 1]), op[0] == "!", operand, low, high)

    # ------------------------------------------------------------------------------------ operands

    def operand(self) -> Expr:
        """An operand with its sign and its path: ``-x.y[0]``, a call, a literal, a parenthesised expression."""
        index = self.i
        kind = self.kinds[index]
        value = self.values[index]
        expr: Expr
        if kind == NAME:
            if self.values[index + 1] == "(":
                expr = self._call_or_literal(value)
            elif value in _SPECIAL_NAMES or value[0] in "$!":
                expr = self._special_name(value)
            else:
                self.i = index + 1
                expr = ast.Name((self.starts[index], self.ends[index]), value)
        elif kind == STRING:
            return self._string()
        elif kind == NUMBER:
            expr = self._number(value)
        elif value == "(":
            expr = self._paren()
        elif value == "-" or value == "+":
            return self._signed(value)
        elif value == "*":
            self.i = index + 1
            return ast.Star((self.starts[index], self.ends[index]))
        elif value == "[" and self.kinds[index + 1] == STRING:
            name = self._bracketed_name()
            expr = name
        else:
            self._no_operand()
        follower = self.values[self.i]
        if follower == "." or follower == "[":
            return self._path(expr)
        return expr

    def _no_operand(self) -> NoReturn:
        hint = ""
        value = self.values[self.i]
        if value == "[":
            hint = "An array is written dynamic([…]), and an odd column name ['…']."
        elif value == "{":
            hint = "A bag is written dynamic({…})."
        elif value == "|" or self.kinds[self.i] == END:
            hint = "Something is missing before this place."
        elif value == "=":
            hint = "Equality is written ==."
        self.fail_expected("an expression", hint=hint)

    def _signed(self, sign: str) -> Expr:
        index = self.i
        start = self.starts[index]
        self.i = index + 1
        self.enter()
        operand = self.operand()
        self.depth -= 1
        span = start, operand.span[1]
        if sign == "-" and isinstance(operand, ast.Literal) and operand.type in _SIGNED:
            value = operand.value
            if isinstance(value, int | float):
                return ast.Literal(span, operand.type, -value)
        return ast.Unary(span, sign, operand)

    def _string(self) -> Expr:
        index = self.i
        start = self.starts[index]
        value = self.string_value(index)
        index += 1
        if self.kinds[index] == STRING:  # adjacent strings are one
            parts = [value]
            while self.kinds[index] == STRING:
                parts.append(self.string_value(index))
                index += 1
            value = "".join(parts)
        self.i = index
        return ast.Literal((start, self.ends[index - 1]), KqlType.STRING, value)

    def _number(self, token: str) -> Expr:
        index = self.i
        span = self.starts[index], self.ends[index]
        literal = number(token, span)
        if literal is None:
            if "." in token:
                self.fail("KQL0003", f"'{token}' is neither a number nor a timespan.", hint=_UNIT_HINT)
            self.i = index + 1
            if self.values[index + 1] == "(":
                self.fail_expected("an operator after the number", hint=f"'{token}' is no function.")
            return ast.Name(span, token)
        if literal.value is None:
            self.fail("KQL0003", f"{token} is out of the range of type {literal.type}.")
        self.i = index + 1
        return literal

    def _bracketed_name(self) -> ast.Name:
        start = self.starts[self.i]
        name = self.name()
        return ast.Name(self.span_from(start), name, quoted=True)

    def _paren(self) -> Expr:
        opened = self.i
        self.i = opened + 1
        self.enter()
        inner = self.value()
        self.accept(";")  # seen in the wild before the closing parenthesis
        self.close(")", opened)
        self.depth -= 1
        return ast.Paren((self.starts[opened], self.ends[self.i - 1]), inner)

    def value(self) -> Expr:
        """A scalar expression or a pipeline, as `let`, arguments and parentheses allow."""
        inner = self.source_here() or self.expr()
        if self.values[self.i] == "|":
            self.enter(2)
            inner = self.pipeline_of(inner)
            self.depth -= 2
        return inner

    def pipeline_of(self, first: Expr) -> ast.Pipeline:
        """`first` and the operators after it as one pipeline, which has none where none follow."""
        operators = self.pipes() if self.values[self.i] == "|" else ()
        source: Expr | ast.Operator = first
        if isinstance(first, ast.Pipeline):
            source = first.source  # a source operator: what follows belongs to it
        return ast.Pipeline((first.span[0], self.ends[self.i - 1]), source, operators)

    def source_here(self) -> Expr | None:
        """A source operator such as ``print`` or ``union`` if one begins here (`operators` knows them)."""
        return None

    def _path(self, target: Expr) -> Expr:
        values = self.values
        start = target.span[0]
        run = 0
        while True:
            run += 1
            if run > self.longest:
                self.chained(run)
            opened = self.i
            value = values[opened]
            if value == ".":
                self.i = opened + 1
                if values[self.i] != "[":
                    target = self._member(target)
                    continue
                opened = self.i  # x.[0] is x[0]
            elif value != "[":
                return target
            self.i = opened + 1
            self.enter()
            index = self.expr()
            self.close("]", opened)
            self.depth -= 1
            target = ast.Index((start, self.ends[self.i - 1]), target, index)

    def _member(self, target: Expr) -> Expr:
        index = self.i
        kind = self.kinds[index]
        value = self.values[index]
        if value == "*" or (self.values[index + 1] == "*" and self.adjacent(index + 1) and _is_scope(target)):
            pattern = self.wildcard()  # database('x').Device*
            if pattern is not None:
                return ast.Member(self.span_from(target.span[0]), target, pattern.pattern)
        if kind == NUMBER:
            self.i = index + 1
            name = value
        else:
            name = self.name("a name after '.'")
        if self.values[self.i] == "(" and self.i == index + 1:
            args = self.arguments()
            return ast.Member(self.span_from(target.span[0]), target, name, args)
        return ast.Member((target.span[0], self.ends[self.i - 1]), target, name)

    # ------------------------------------------------------------------------------------ calls

    def _call_or_literal(self, name: str) -> Expr:
        index = self.i
        if name in TYPED:
            return self._typed(name)
        if name in NO_OPERAND:
            if name in INFIX_WORDS:
                self.fail("KQL0010", f"'{name}' is an operator, not a function.", hint=f"Write: x {name} y.")
            self.reserved(index, name)
        special = _SPECIAL_CALLS.get(name)
        if special is not None:
            return special(self)
        if name in _TABLE_LITERALS:
            table = self.source_here()
            if table is not None:
                return table
        self.i = index + 1
        args = self.arguments()
        start = self.starts[index]
        return ast.Call((start, self.ends[self.i - 1]), name, args, (start, self.ends[index]))

    def arguments(self) -> tuple[Expr, ...]:
        """The arguments of a call, with their parentheses."""
        opened = self.i
        values = self.values
        self.i = opened + 1
        if values[self.i] == ")":
            self.i += 1
            return ()
        self.enter()
        args: list[Expr] = []
        while True:
            index = self.i
            if values[index + 1] == "=" and self.at_name():
                args.append(self._named_argument())
            else:
                arg = self.source_here() or self.expr()
                if values[self.i] == "|":
                    self.enter(2)
                    arg = self.pipeline_of(arg)
                    self.depth -= 2
                args.append(arg)
            if values[self.i] != ",":
                break
            self.i += 1
        self.accept(";")
        if values[self.i] != ")" and self.kinds[self.i] != END:
            self.fail_expected("',' or ')'", known=INFIX_WORDS, hint=self.negation_hint())
        self.close(")", opened)
        self.depth -= 1
        return tuple(args)

    def negation_hint(self) -> str:
        """Advice for what follows a `not` without parentheses."""
        return "Negation is written not(…)." if self.values[self.i - 1] == "not" else ""

    def _named_argument(self) -> Expr:
        start = self.starts[self.i]
        name = self.name()
        self.i += 1
        value = self.value()
        return ast.Named((start, value.span[1]), (name,), value)

    def _toscalar(self) -> Expr:
        start = self.i
        self.i += 1
        if self.values[self.i] == "kind":  # toscalar kind=nooptimization (…)
            self.i += 3
        opened = self.expect("(", "after 'toscalar'")
        self.enter()
        inner = self.value()
        self.accept(";")
        self.close(")", opened)
        self.depth -= 1
        pipeline = inner if isinstance(inner, ast.Pipeline) else ast.Pipeline(inner.span, inner, ())
        return ast.ToScalar(self.span_from(self.starts[start]), pipeline)

    def _typeof(self) -> Expr:
        start = self.starts[self.i]
        self.i += 1
        type_, columns, star = self.type_of()
        return ast.TypeOf(self.span_from(start), type_, columns, star)

    def _dynamic(self) -> Expr:
        start = self.starts[self.i]
        self.i += 2
        text = DynamicReader(self).read()
        if self.values[self.i] != ")":
            self._dynamic_end()
        self.i += 1
        return ast.Literal(self.span_from(start), KqlType.DYNAMIC, text)

    def _dynamic_end(self) -> NoReturn:
        self.fail_expected(
            "')' after the value of dynamic(…)", hint="To convert an expression, use parse_json or todynamic."
        )

    def _typed(self, word: str) -> Expr:
        """``datetime(2020-01-01)`` and kin: the text up to the closing parenthesis, whatever its tokens are."""
        index = self.i
        start = self.starts[index]
        opening = self.starts[index + 1]
        closing = self.text.find(")", opening)
        if closing < 0:
            self.fail("KQL0013", f"The '(' of {word}(…) is not closed.", index=index + 1, hint="Add ')'.")
        raw = self.text[opening + 1 : closing]
        text = raw.strip()
        type_ = TYPED[word]
        after = index + 2
        while self.starts[after] < closing:
            after += 1
        if self.starts[after] != closing or self.values[after] != ")":  # the parenthesis lies inside a string
            self._not_literal(word, type_, text, index)
        self.i = after + 1
        span = start, closing + 1
        if not text and type_ is KqlType.DATETIME:
            return ast.Call(span, "now", (), (start, self.ends[index]))
        if text.lower() == "null" or not text:
            return ast.Literal(span, type_, None)
        if text[0] in "\"'" and text[-1] == text[0] and len(text) > 1 and type_ is not KqlType.BOOL:
            text = text[1:-1].strip()
        value = typed_value(type_, text)
        if value is None and type_ is KqlType.DATETIME:
            clock = clock_ticks(text)
            if clock is not None:  # a time without a date is today's
                now = ast.Call(span, "now", (), span)
                today = ast.Call(span, "startofday", (now,), span)
                return ast.Binary(span, "+", today, ast.Literal(span, KqlType.TIMESPAN, clock))
        if value is None:
            self._not_literal(word, type_, text, index)
        return ast.Literal(span, type_, value)

    def _not_literal(self, word: str, type_: KqlType, text: str, index: int) -> NoReturn:
        hint = _LITERAL_HINTS.get(type_, "")
        if text and (text[0].isalpha() or text[0] in "_[(") and type_ is not KqlType.DATETIME:
            hint = f"{word}(…) takes a constant; to convert an expression, use to{word}(…)."
        shown = text if len(text) <= 40 else text[:37] + "…"
        raise_at = (self.starts[index], self.text.find(")", self.starts[index]) + 1)
        self.fail("KQL0003", f"'{shown}' is not a value of type {type_}.", span=raise_at, index=index, hint=hint)

    def _special_name(self, name: str) -> Expr:
        index = self.i
        span = self.starts[index], self.ends[index]
        if name in _TRUE or name in _FALSE:
            self.i = index + 1
            return ast.Literal(span, KqlType.BOOL, name in _TRUE)
        if name[0] == "$":
            self.i = index + 1
            if name in ("$left", "$right"):
                return ast.Side(span, name[1:])
            return ast.Name(span, name)
        if name == "entity_group" and self.values[index + 1] == "[":
            self.i = index + 1
            items = self.bracketed(self.expr, "[")
            return ast.Call(self.span_from(span[0]), "entity_group", items, span)
        if name == "toscalar" and self.values[index + 1] == "kind":
            return self._toscalar()
        if name[0] == "!":
            self.fail_expected("an expression", hint="Negation is written not(…)." if name not in INFIX_WORDS else "")
        if name in NO_OPERAND and self.values[index + 1] != "=":  # before '=' more words are names; `item` knows which
            self.reserved(index, name)
        self.i = index + 1
        return ast.Name(span, name)


def _is_scope(target: Expr) -> bool:
    return isinstance(target, ast.Call | ast.Member) and not (isinstance(target, ast.Member) and target.args is None)


_SPECIAL_CALLS: dict[str, Callable[[ExpressionParser], Expr]] = {
    "toscalar": ExpressionParser._toscalar,
    "typeof": ExpressionParser._typeof,
    "dynamic": ExpressionParser._dynamic,
}
_TABLE_LITERALS: Final = frozenset(("datatable", "externaldata", "external_data", "inline_external_table"))
_SIGNED: Final = (KqlType.LONG, KqlType.REAL, KqlType.TIMESPAN)
NO_OPERAND: Final = INFIX_WORDS | RESERVED | {"where", "extend", "summarize", "to", "by", "as", "of"}
"""Words that can't be an operand."""

_SPECIAL_NAMES: Final = _TRUE | _FALSE | {"entity_group", "toscalar"} | NO_OPERAND
_UNIT_HINT = "Units of time are d, h, m, s, ms, microsecond and tick."
_LITERAL_HINTS = {
    KqlType.DATETIME: "Write it as datetime(2024-01-31 23:59:59); to convert an expression, use todatetime(…).",
    KqlType.TIMESPAN: "Write it as 1d, 2h, 30m, or time(1.02:03:04); to convert an expression, use totimespan(…).",
    KqlType.BOOL: "Write true or false.",
    KqlType.GUID: "Write 32 hexadecimal digits in groups of 8-4-4-4-12.",
}

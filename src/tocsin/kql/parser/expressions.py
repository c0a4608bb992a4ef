"""Scalar expressions: Pratt parsing over the cursor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tocsin.kql import ast
from tocsin.kql.ast import Expr
from tocsin.kql.lexer import END, NAME, NUMBER, STRING
from tocsin.kql.parser.cursor import Cursor
from tocsin.kql.parser.literals import TYPE_NAMES, TYPED, number, typed_value
from tocsin.kql.types import KqlType

__all__ = ["MAX_HEIGHT", "Expressions"]

MAX_HEIGHT: Final = 900
"""Most operands in one unbracketed chain that leans to the left; longer ones of `and` and `or` are balanced."""

_OR, _AND, _EQUAL, _RELATION, _SUM, _PRODUCT = 1, 2, 3, 4, 5, 6

_STRING_OPS: Final = {
    base + case
    for base in ("has", "contains", "startswith", "endswith", "hasprefix", "hassuffix")
    for case in ("", "_cs")
} | {"like"}
_OPS: Final[dict[str, int]] = {
    "or": _OR, "and": _AND, "==": _EQUAL, "!=": _EQUAL, "<>": _EQUAL, "=~": _EQUAL, "!~": _EQUAL, ":": _EQUAL,
    "<": _RELATION, "<=": _RELATION, ">": _RELATION, ">=": _RELATION, "+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "%": _PRODUCT,
    "in": _EQUAL, "!in": _EQUAL, "in~": _EQUAL, "!in~": _EQUAL, "has_any": _EQUAL, "!has_any": _EQUAL, "has_all": _EQUAL, "!has_all": _EQUAL,
    "between": _EQUAL, "!between": _EQUAL, "matches": _EQUAL, "notcontains": _EQUAL, "notcontains_cs": _EQUAL, "containscs": _EQUAL,
    "notlike": _EQUAL, "likecs": _EQUAL, "notlikecs": _EQUAL,
    **{op: _EQUAL for base in _STRING_OPS for op in (base, "!" + base)},
}  # fmt: skip
_OLD: Final = {
    "<>": "!=", "notcontains": "!contains", "notcontains_cs": "!contains_cs", "containscs": "contains_cs", "notlike": "!like", "likecs": "like_cs",
    "notlikecs": "!like_cs",
}  # fmt: skip
_LISTS: Final = frozenset({"in", "!in", "in~", "!in~", "has_any", "!has_any", "has_all", "!has_all"})


class Expressions(Cursor):
    """The part of the parser that reads scalar expressions."""

    # ------------------------------------------------------------------------------------ operators

    def expr(self, level: int = 0) -> Expr:
        """A scalar expression whose operators bind at least as tightly as `level`."""
        self.enter()
        left = self.unary()
        left = self.climb(left, level)
        self.depth -= 1
        return left

    def climb(self, left: Expr, level: int) -> Expr:
        """Takes binary operators of at least that level after `left`."""
        chained = 0
        while True:
            op = self.values[self.i]
            rank = _OPS.get(op, 0)
            if not rank or rank < level or rank == 0:
                return left
            kind = self.kinds[self.i]
            if kind in (STRING, END):
                return left
            if op == ":" and not self.in_search:
                return left
            chained += 1
            if op in ("and", "or"):
                left = self.run(left, op, rank)
                continue
            if chained > MAX_HEIGHT:
                self.stop(
                    "KQL0020", "This expression is too long.", hint="Give parts of it names with 'let' or 'extend'."
                )
            start = left.span[0]
            self.i += 1
            if op in _LISTS:
                left = self.membership(left, op, start)
            elif op in ("between", "!between"):
                left = self.between(left, op, start)
            elif op == "matches":
                if not self.accept("regex"):
                    self.fail_expected("'regex' after 'matches'", known=("regex",))
                right = self.expr(_RELATION)
                left = ast.Binary(self.span_from(start), "matches regex", left, right)
            else:
                right = self.expr(rank + 1)
                left = ast.Binary(self.span_from(start), _OLD.get(op, op), left, right)

    def run(self, left: Expr, op: str, rank: int) -> Expr:
        """A run of one logical operator, as a balanced tree so that no height grows with its length."""
        parts = [left]
        while self.values[self.i] == op and self.kinds[self.i] == NAME:
            self.i += 1
            parts.append(self.expr(rank + 1))
        while len(parts) > 1:
            joined: list[Expr] = []
            for i in range(0, len(parts) - 1, 2):
                a, b = parts[i], parts[i + 1]
                joined.append(ast.Binary((a.span[0], b.span[1]), op, a, b))
            if len(parts) % 2:
                joined.append(parts[-1])
            parts = joined
        return parts[0]

    def membership(self, left: Expr, op: str, start: int) -> Expr:
        items = self.bracketed(self.argument) if self.at("(") else (self.expr(_SUM),)
        return ast.InList(self.span_from(start), op, left, items)

    def between(self, left: Expr, op: str, start: int) -> Expr:
        opened = self.expect("(", f"after '{op}'")
        low = self.expr()
        self.expect("..", "between the two ends")
        high = self.expr()
        self.close(")", opened)
        return ast.Between(self.span_from(start), op[0] == "!", left, low, high)

    # ------------------------------------------------------------------------------------ operands

    def unary(self) -> Expr:
        index = self.i
        value = self.values[index]
        if value in ("-", "+") and self.kinds[index] != STRING:
            self.i += 1
            if value == "-" and self.values[self.i] == "9223372036854775808":  # the one long whose amount is no long
                self.i += 1
                return ast.Literal(self.span_from(self.starts[index]), KqlType.LONG, -(2**63))
            self.enter()
            operand = self.unary()
            self.depth -= 1
            start = self.starts[index]
            if (
                (
                    value == "-"
                    and isinstance(operand, ast.Literal)
                    and operand.type in (KqlType.LONG, KqlType.REAL, KqlType.TIMESPAN)
                )
                and operand.value is not None
                and not isinstance(operand.value, str)
            ):
                return ast.Literal(self.span_from(start), operand.type, -operand.value)
            return ast.Unary(self.span_from(start), value, operand)
        return self.postfix(self.primary())

    def postfix(self, left: Expr) -> Expr:
        steps = 0
        while True:
            value = self.values[self.i]
            if value == "." and self.kinds[self.i] != STRING:
                following = self.values[self.i + 1]
                if following == "[":
                    self.i += 1
                    continue
                self.i += 1
                start = left.span[0]
                name = self.name("a name after '.'")
                args: tuple[Expr, ...] | None = None
                if self.at("(") and isinstance(left, ast.Call | ast.Member):
                    args = self.bracketed(self.argument)
                left = ast.Member(self.span_from(start), left, name, args)
            elif value == "[" and self.kinds[self.i] != STRING:
                start = left.span[0]
                opened = self.i
                self.i += 1
                index = self.expr()
                self.close("]", opened)
                left = ast.Index(self.span_from(start), left, index)
            else:
                return left
            steps += 1
            if steps > MAX_HEIGHT:
                self.stop("KQL0020", "This path is too long.")

    def primary(self) -> Expr:
        index = self.i
        kind = self.kinds[index]
        value = self.values[index]
        start = self.starts[index]
        if kind == STRING:
            return self.string()
        if kind == NUMBER:
            found = number(value, (start, self.ends[index]))
            if found is not None:
                if found.value is None:
                    self.fail("KQL0004", f"The number {value} is out of range.")
                self.i += 1
                return found
            return self.name_or_call()
        if kind == NAME:
            if value[0] == "$":
                self.i += 1
                if value.lower() in ("$left", "$right"):
                    return ast.Side((start, self.ends[index]), value[1:].lower())
                return ast.Name((start, self.ends[index]), value)
            if value[0] != "!" and value[-1] != "~":
                return self.word_operand(value)
        if value == "(":
            return self.parenthesised()
        if value == "[":
            if self.at_name():
                name = self.name()
                span = self.span_from(start)
                if self.at("("):
                    return self.call(name, span)
                return ast.Name(span, name, True)
            self.fail_expected("an expression")
        if value == "*":
            self.i += 1
            return ast.Star((start, self.ends[index]))
        self.fail_expected("an expression")
        return None

    def string(self) -> Expr:
        start = self.starts[self.i]
        parts = []
        while self.kinds[self.i] == STRING:
            parts.append(self.string_value(self.i))
            self.i += 1
        return ast.Literal(self.span_from(start), KqlType.STRING, "".join(parts))

    def word_operand(self, value: str) -> Expr:
        index = self.i
        following = self.values[index + 1]
        if following == "(" and self.kinds[index + 1] != STRING:
            if value in TYPED and value != "date":
                return self.typed_literal(value)
            if value == "dynamic":
                return self.dynamic()
            if value == "toscalar":
                return self.toscalar()
            if value == "typeof":
                return self.typeof()
        if value in ("true", "false", "True", "False", "TRUE", "FALSE") and following != "(":
            self.i += 1
            return ast.Literal((self.starts[index], self.ends[index]), KqlType.BOOL, value.lower() == "true")
        if value == "null" and following not in ("(", "."):
            self.i += 1
            return ast.Literal((self.starts[index], self.ends[index]), KqlType.DYNAMIC, None)
        if value == "entity_group" and following == "[":
            self.i += 1
            items = self.bracketed(self.argument, "[")
            return ast.Call(self.span_from(self.starts[index]), value, items, (self.starts[index], self.ends[index]))
        if value == "not" and following == "(":
            return self.name_or_call()
        return self.name_or_call()

    def name_or_call(self) -> Expr:
        start = self.starts[self.i]
        name = self.name("an expression")
        span = self.span_from(start)
        if self.at("(") and self.kinds[self.i] != STRING:
            return self.call(name, span)
        return ast.Name(span, name)

    def call(self, name: str, span: tuple[int, int]) -> Expr:
        args = self.bracketed(self.argument)
        return ast.Call(self.span_from(span[0]), name, args, span)

    def argument(self) -> Expr:
        """An argument: scalar, `name = value`, `*`, or a tabular expression."""
        start = self.starts[self.i]
        if (
            self.at_name()
            and self.kinds[self.i] == NAME
            and self.values[self.i + 1] == "="
            and self.kinds[self.i + 1] != STRING
        ):
            name = self.name()
            self.i += 1
            value = self.argument()
            return ast.Named(self.span_from(start), (name,), value)
        return self.tabular_or_scalar()

    def tabular_or_scalar(self) -> Expr:
        """An expression that may be a pipeline: a source operator, or anything followed by ``|``."""
        method = self.source_operator()
        if method is not None:
            return self.source(method)
        start = self.starts[self.i]
        value = self.expr()
        if self.at("|") and self.kinds[self.i] != STRING:
            operators = self.pipes()
            return ast.Pipeline(self.span_from(start), value, operators)
        return value

    def source_operator(self) -> Callable[[], ast.Operator] | None:
        """The reader of the source operator that stands here, or None."""
        raise NotImplementedError

    def parenthesised(self) -> Expr:
        index = self.i
        lambda_ = self.try_lambda()
        if lambda_ is not None:
            return lambda_
        self.i += 1
        self.enter(2)
        inner = self.tabular_or_scalar()
        if self.at(","):  # a list in brackets, as in `(a, b) = …`, is read where it may stand
            self.fail_expected("')'")
        while self.at(";"):
            self.i += 1
        self.depth -= 2
        self.close(")", index)
        return ast.Paren(self.span_from(self.starts[index]), inner)

    def try_lambda(self) -> Expr | None:
        """``(params) { … }``."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------ literals

    def typed_literal(self, word: str) -> Expr:
        index = self.i
        type_ = TYPED[word]
        start = self.starts[index]
        close = index + 2
        level = 1
        while self.kinds[close] != END:
            value = self.values[close]
            if self.kinds[close] != STRING:
                if value == "(":
                    level += 1
                elif value == ")":
                    level -= 1
                    if level == 0:
                        break
            close += 1
        if self.kinds[close] == END:
            self.i = close
            self.close(")", index + 1)
        text = self.text[self.ends[index + 1] : self.starts[close]].strip()
        if close == index + 3 and self.kinds[index + 2] == STRING:
            text = self.string_value(index + 2).strip()
        span = (start, self.ends[close])
        if text == "null":
            self.i = close + 1
            return ast.Literal(span, type_, None)
        if not text:
            self.i = close + 1
            if type_ is KqlType.DATETIME:
                return ast.Call(span, "now", (), (start, self.ends[index]))
            return ast.Literal(span, type_, None)
        constant = typed_value(type_, text)
        if constant is None and type_ is KqlType.DATETIME and text.lower() == "now":
            self.i = close + 1
            return ast.Call(span, "now", (), (start, self.ends[index]))
        if constant is None:
            if type_ is KqlType.BOOL or not self._looks_literal(index + 2, close):
                inside = self._as_conversion(word, index)
                if inside is not None:
                    return inside
            self.fail(
                "KQL0005",
                f"'{text}' is no {type_.value}.",
                span=(self.starts[index + 2], self.ends[close - 1]),
                index=index,
            )
        self.i = close + 1
        return ast.Literal(span, type_, constant)

    def _looks_literal(self, first: int, last: int) -> bool:
        return all(self.kinds[i] != NAME or self.values[i - 1] in "-+.:" for i in range(first, last))

    def _as_conversion(self, word: str, index: int) -> Expr | None:
        """``int(x)`` of something that is no literal is refused with the conversion's name."""
        self.fail(
            "KQL0006",
            f"'{word}(…)' takes a literal.",
            span=(self.starts[index], self.ends[index]),
            index=index,
            hint=f"To convert a value write to{word}(…).",
        )

    def dynamic(self) -> Expr:
        """``dynamic(…)``: JSON with KQL's literals inside, as JSON text."""
        from tocsin.kql.parser.jsontext import dynamic_text

        start = self.starts[self.i]
        self.i += 2
        opened = self.i - 1
        if self.at(")"):
            self.i += 1
            return ast.Literal(self.span_from(start), KqlType.DYNAMIC, None)
        text = dynamic_text(self)
        self.close(")", opened)
        return ast.Literal(self.span_from(start), KqlType.DYNAMIC, None if text == "null" else text)

    def toscalar(self) -> Expr:
        start = self.starts[self.i]
        self.i += 1
        opened = self.expect("(")
        self.enter(2)
        inner = self.tabular_or_scalar()
        while self.accept(";"):
            pass
        self.depth -= 2
        self.close(")", opened)
        return ast.ToScalar(self.span_from(start), self.as_pipeline(inner))

    def as_pipeline(self, value: Expr) -> ast.Pipeline:
        """A tabular expression as a pipeline."""
        if isinstance(value, ast.Pipeline):
            return value
        return ast.Pipeline(value.span, value, ())

    def typeof(self) -> Expr:
        start = self.starts[self.i]
        self.i += 1
        opened = self.expect("(")
        if self.at_name() and self.values[self.i + 1] == ")":
            type_ = self.type_name()
            self.close(")", opened)
            return ast.TypeOf(self.span_from(start), type_)
        columns: list[ast.ColumnDecl] = []
        star = False
        while not self.at(")"):
            if self.accept("*"):
                star = True
            else:
                columns.append(self.column_decl())
            if not self.accept(","):
                break
        self.close(")", opened)
        return ast.TypeOf(self.span_from(start), None, tuple(columns), star)

    def type_name(self) -> KqlType:
        index = self.i
        word = self.name("a type")
        type_ = TYPE_NAMES.get(word.lower())
        if type_ is None:
            self.i = index
            self.fail_expected("a type", known=TYPE_NAMES, hint="")
        return type_

    def column_decl(self) -> ast.ColumnDecl:
        """``name:type``."""
        start = self.starts[self.i]
        name = self.name("a column's name")
        self.expect(":", "and a type after the column's name")
        type_ = self.type_name()
        return ast.ColumnDecl(self.span_from(start), name, type_)

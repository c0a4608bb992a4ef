"""Names, wildcards of names, types and schemas."""

from __future__ import annotations

from typing import Final, NoReturn

from tocsin.base.errors import Advice
from tocsin.kql import ast
from tocsin.kql.lexer import NAME, NUMBER
from tocsin.kql.parser.cursor import Cursor
from tocsin.kql.parser.literals import TYPE_NAMES
from tocsin.kql.types import KqlType

__all__ = ["RESERVED", "NameParser"]

RESERVED: Final = frozenset(
    ("first", "last", "asc", "desc", "and", "or", "between", "matches", "true", "false", "missing")
)
"""Words that Kusto refuses as a column's or parameter's name, unless quoted (as recorded of the engine)."""

_FOREIGN_TYPES = {
    "str": "string",
    "text": "string",
    "varchar": "string",
    "integer": "int",
    "bigint": "long",
    "float": "real",
    "number": "real or long",
    "object": "dynamic",
    "json": "dynamic",
    "array": "dynamic",
    "timestamp": "datetime",
}


class NameParser(Cursor):
    """Reads what gives names and types to things."""

    def wildcard(self) -> ast.Star | None:
        """A name with `*` in it (``Device*``, ``*_CL``, ``*``) if one is next; its parts touch."""
        index = self.i
        parts: list[str] = []
        star = False
        while True:
            value = self.values[index]
            if value == "*":
                star = True
            elif self.kinds[index] not in (NAME, NUMBER) or (parts and parts[-1] != "*"):
                break
            if parts and not self.adjacent(index):
                break
            parts.append(value)
            index += 1
        if not star:
            return None
        span = self.starts[self.i], self.ends[index - 1]
        self.i = index
        return ast.Star(span, "".join(parts))

    def type_name(self) -> KqlType:
        """Takes the name of a scalar type."""
        name = self.values[self.i]
        type_ = TYPE_NAMES.get(name)
        if type_ is None:
            hint = _FOREIGN_TYPES.get(name.lower(), "")
            hint = Advice(f"Write {hint}.", hint) if hint else "Types are " + ", ".join(t.value for t in KqlType) + "."
            self.fail_expected("a type", known=TYPE_NAMES, code="KQL0012", hint=hint)
        self.i += 1
        return type_

    def column_decl(self) -> ast.ColumnDecl:
        """``name:type``."""
        start = self.starts[self.i]
        name = self.declared_name("a column's name")
        self.expect(":", f"and a type after '{name}'")
        type_ = self.type_name()
        return ast.ColumnDecl(self.span_from(start), name, type_)

    def declared_name(self, what: str) -> str:
        """A name that is given here: a word of the language needs its quotes."""
        index = self.i
        if self.values[index] in RESERVED:
            self.reserved(index, self.values[index])
        return self.name(what)

    def reserved(self, index: int, name: str) -> NoReturn:
        """Refuses a word that can't be a name without quotes."""
        self.fail(
            "KQL0010",
            f"'{name}' is a word of the language and no name.",
            index=index,
            hint=Advice(f"Write ['{name}'] to use it as a name.", f"['{name}']"),
        )

    def row_schema(self) -> tuple[ast.ColumnDecl, ...]:
        """``(name:type, …)``; a comma after the last is allowed."""
        return self.bracketed(self.column_decl)

    def open_schema(self) -> tuple[tuple[ast.ColumnDecl, ...], bool]:
        """``(name:type, *)``: the columns and whether there is a star."""
        star = False

        def item() -> ast.ColumnDecl | None:
            nonlocal star
            if self.accept("*"):
                star = True
                return None
            return self.column_decl()

        columns = self.bracketed(item)
        return tuple(c for c in columns if c is not None), star

    def type_of(self) -> tuple[KqlType | None, tuple[ast.ColumnDecl, ...], bool]:
        """What stands in the parentheses of ``typeof``: a type, or a schema with or without a star."""
        opened = self.i
        if self.values[opened] != "(":
            self.fail_expected("'(' after 'typeof'")
        if self.values[opened + 2] == ")" and self.values[opened + 1] not in ("*", ")"):
            self.i = opened + 1
            type_ = self.type_name()
            self.close(")", opened)
            return type_, (), False
        columns, star = self.open_schema()
        return None, columns, star

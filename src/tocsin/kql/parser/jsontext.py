"""The inside of ``dynamic(…)``: JSON in which KQL's own literals may stand, turned into JSON text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tocsin.kql.ast import Literal
from tocsin.kql.lexer import NAME, NUMBER, STRING
from tocsin.kql.parser.literals import TYPED, datetime_text, number, timespan_text
from tocsin.kql.types import KqlType

if TYPE_CHECKING:
    from tocsin.kql.parser.expressions import Expressions

__all__ = ["dynamic_text"]


def dynamic_text(cursor: Expressions) -> str:
    """Reads one value and gives its JSON text."""
    cursor.enter()
    text = _value(cursor)
    cursor.depth -= 1
    return text


def _value(cursor: Expressions) -> str:
    index = cursor.i
    kind, value = cursor.kinds[index], cursor.values[index]
    if kind == STRING:
        parts = []
        while cursor.kinds[cursor.i] == STRING:
            parts.append(cursor.string_value(cursor.i))
            cursor.i += 1
        return json.dumps("".join(parts), ensure_ascii=False)
    if value == "[":
        cursor.i += 1
        items = []
        while not cursor.at("]"):
            items.append(dynamic_text(cursor))
            if not cursor.accept(","):
                break
        cursor.close("]", index)
        return "[" + ",".join(items) + "]"
    if value == "{":
        cursor.i += 1
        pairs = []
        while not cursor.at("}"):
            if cursor.kinds[cursor.i] == STRING:
                key = cursor.string_value(cursor.i)
                cursor.i += 1
            else:
                key = cursor.name("a key")
            cursor.expect(":", "after the key")
            pairs.append(f"{json.dumps(key, ensure_ascii=False)}:{dynamic_text(cursor)}")
            if not cursor.accept(","):
                break
        cursor.close("}", index)
        return "{" + ",".join(pairs) + "}"
    negative = value == "-"
    if negative or value == "+":
        cursor.i += 1
        kind, value = cursor.kinds[cursor.i], cursor.values[cursor.i]
    sign = "-" if negative else ""
    if kind == NUMBER:
        found = number(value)
        if found is None:
            cursor.fail_expected("a JSON value")
        cursor.i += 1
        if found.type is KqlType.TIMESPAN and isinstance(found.value, int):
            return json.dumps(timespan_text(-found.value if negative else found.value))
        if found.value is None or found.type is KqlType.REAL:
            return sign + value if not value.endswith(".") else sign + value + "0"
        return sign + str(found.value)
    if kind == NAME:
        lowered = value.lower()
        if lowered in ("true", "false", "null") and cursor.values[cursor.i + 1] != "(":
            cursor.i += 1
            return lowered
        if value in TYPED and cursor.values[cursor.i + 1] == "(":
            literal = cursor.typed_literal(value)
            if isinstance(literal, Literal):
                return _literal(literal)
        if value == "dynamic" and cursor.values[cursor.i + 1] == "(":
            inner = cursor.dynamic()
            return str(inner.value) if isinstance(inner, Literal) and inner.value is not None else "null"
    cursor.fail_expected("a JSON value")
    return None


def _literal(literal: Literal) -> str:
    value = literal.value
    if value is None:
        return "null"
    if literal.type is KqlType.DATETIME and isinstance(value, int):
        return json.dumps(datetime_text(value))
    if literal.type is KqlType.TIMESPAN and isinstance(value, int):
        return json.dumps(timespan_text(value))
    if literal.type is KqlType.DECIMAL:
        return str(value)
    return json.dumps(value)

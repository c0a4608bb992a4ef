"""The value of ``dynamic(…)``: JSON as Kusto takes it, given back as compact JSON text.

Numbers keep their digits, keys their order. Strings may be written in every way that KQL knows; ``datetime(…)``, ``guid(…)`` and
timespans become the text that the engine shows for them.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from tocsin.kql.lexer import NAME, NUMBER, STRING
from tocsin.kql.parser.literals import SMALLEST_LONG, TYPED, datetime_text, number, timespan_text
from tocsin.kql.types import KqlType

if TYPE_CHECKING:
    from tocsin.kql.parser.expressions import ExpressionParser

__all__ = ["DynamicReader"]


class DynamicReader:
    """Reads one value at the cursor."""

    def __init__(self, cursor: ExpressionParser) -> None:
        self._cursor = cursor

    def read(self) -> str | None:
        """The value's JSON text; None for a bare ``null``."""
        text = self._value()
        return None if text == "null" else text

    def _value(self) -> str:
        cursor = self._cursor
        kind, value = cursor.kinds[cursor.i], cursor.values[cursor.i]
        if kind == STRING:
            return self._string()
        if kind == NUMBER:
            cursor.i += 1
            return self._number(value, "")
        if value == "[":
            return self._array()
        if value == "{":
            return self._bag()
        if value == "-" or value == "+":
            if cursor.kinds[cursor.i + 1] == NUMBER:
                cursor.i += 2
                return self._number(cursor.values[cursor.i - 1], "-" if value == "-" else "")
        elif kind == NAME:
            lowered = value.lower()
            if lowered in ("true", "false", "null"):
                cursor.i += 1
                return lowered
            if cursor.values[cursor.i + 1] == "(":
                if value in TYPED:
                    return self._typed()
                if value == "dynamic":
                    opened = cursor.i + 1
                    cursor.i += 2
                    cursor.enter()
                    inner = self._value()
                    cursor.close(")", opened)
                    cursor.depth -= 1
                    return inner
        return cursor.fail_expected(
            "a JSON value in dynamic(…)",
            hint="It takes constants only; for an expression use bag_pack, pack_array or parse_json.",
        )

    def _string(self) -> str:
        cursor = self._cursor
        parts = []
        while cursor.kinds[cursor.i] == STRING:
            parts.append(cursor.string_value(cursor.i))
            cursor.i += 1
        return json.dumps("".join(parts), ensure_ascii=False)

    def _number(self, token: str, sign: str) -> str:
        cursor = self._cursor
        literal = number(token)
        if literal is None:
            cursor.i -= 1
            cursor.fail_expected("a JSON value in dynamic(…)", hint=f'A text stands in quotes: "{token}".')
        if literal.value is None and not (sign and token == SMALLEST_LONG):
            cursor.i -= 1
            cursor.fail("KQL0003", f"{token} is out of the range of type {literal.type}.")
        if literal.type is KqlType.TIMESPAN:
            return json.dumps(timespan_text(int(literal.value or 0) * (-1 if sign else 1)))
        if token[:2] in ("0x", "0X"):
            return sign + str(literal.value)
        digits = token.lstrip("0")
        if not digits[:1].isdigit():
            digits = "0" + digits
        if digits.endswith("."):
            digits += "0"
        return sign + digits.replace(".e", ".0e").replace(".E", ".0E")

    def _array(self) -> str:
        cursor = self._cursor
        opened = cursor.i
        cursor.i += 1
        cursor.enter()
        items = []
        while cursor.values[cursor.i] != "]":
            items.append(self._value())
            if not cursor.accept(","):
                break
        cursor.close("]", opened)
        cursor.depth -= 1
        return "[" + ",".join(items) + "]"

    def _bag(self) -> str:
        cursor = self._cursor
        opened = cursor.i
        cursor.i += 1
        cursor.enter()
        items = []
        while cursor.values[cursor.i] != "}":
            if cursor.kinds[cursor.i] != STRING:
                cursor.fail_expected("a key in quotes in dynamic({…})")
            key = self._string()
            cursor.expect(":", f"after the key {key}")
            items.append(f"{key}:{self._value()}")
            if not cursor.accept(","):
                break
        cursor.close("}", opened)
        cursor.depth -= 1
        return "{" + ",".join(items) + "}"

    def _typed(self) -> str:
        from tocsin.kql import ast

        literal = self._cursor.operand()
        if not isinstance(literal, ast.Literal):
            self._cursor.fail_expected("a constant in dynamic(…)")
        value = literal.value
        if value is None:
            return "null"
        if literal.type is KqlType.DATETIME:
            return json.dumps(datetime_text(int(value)))
        if literal.type is KqlType.TIMESPAN:
            return json.dumps(timespan_text(int(value)))
        if literal.type is KqlType.DECIMAL:
            return json.dumps(str(value))
        if isinstance(value, float) and not math.isfinite(value):
            return json.dumps("NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity")
        return json.dumps(value)

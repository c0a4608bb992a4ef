"""Column types that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import JSON, BigInteger, DateTime, Integer, String, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

__all__ = ["BIG", "DOCUMENT", "Instant", "Words", "dumps", "loads", "plain", "text_of"]


class Instant(TypeDecorator[datetime]):
    """A UTC instant. SQLite keeps text that sorts as time; a naive datetime is refused rather than guessed."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """See TypeDecorator."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """See TypeDecorator."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


BIG = BigInteger().with_variant(Integer(), "sqlite")
"""A 64-bit integer; SQLite's INTEGER, so that a primary key of it counts up by itself."""

DOCUMENT = JSON(none_as_null=True).with_variant(postgresql.JSON(none_as_null=True), "postgresql")
"""A JSON document: kept as text, key order and integers as they were."""


class Words(TypeDecorator[str]):
    """Text of at most `length` characters (None: any number), without what databases don't take: NUL and lone surrogates.

    Log data holds both, and so may what strangers type; values are cleaned on their way in, also those that are only compared with.
    """

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """See TypeDecorator."""
        length = self.impl_instance.length  # type: ignore[attr-defined]  # impl is a String
        return dialect.type_descriptor(Text() if length is None else String(length))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """See TypeDecorator."""
        return None if value is None else plain(value)


def dumps(value: Any) -> str:
    """JSON text for a DOCUMENT column. What orjson refuses (integers over 64 bits, lone surrogates) goes the slow way."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        text = json.dumps(value, default=str, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace").decode()


def loads(text: Any) -> Any:
    """The value of a DOCUMENT column's text. SQLite gives a number alone as a number: its JSON columns have numeric affinity."""
    if isinstance(text, int | float):
        return text
    text = text if isinstance(text, str) else bytes(text).decode()
    return json.loads(text) if _LONG_INTEGER.search(text) else orjson.loads(text)


_LONG_INTEGER = re.compile(r"[0-9]{19}")
"""Digits that may be an integer over 64 bits, which orjson would turn into a float."""


def plain(text: str) -> str:
    """Text that every database takes: without NUL and lone surrogates."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def text_of(moment: datetime | None) -> str | None:
    """RFC 3339 with a Z, as the API writes instants."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")

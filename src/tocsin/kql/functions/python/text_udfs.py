"""Text: datetimes and timespans in their many spellings, URL encoding."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote_from_bytes
from zoneinfo import ZoneInfo

from tocsin.kql import values
from tocsin.kql.functions.model import Udf
from tocsin.kql.functions.python.define import each

__all__ = ["UDFS"]


def url_encode(text: str, plus: bool = True) -> str:
    """All but letters, digits and ``- _ . ! * ( )`` as %xx in lower case; a space as ``+``."""
    parts = []
    for char in text:
        if char.isascii() and (char.isalnum() or char in "-_.!*()"):
            parts.append(char)
        elif char == " ":
            parts.append("+" if plus else "%20")
        else:
            parts.append(quote_from_bytes(char.encode("utf-8", "surrogatepass"), safe="").lower())
    return "".join(parts)


def replace_texts(source: str, lookups: str, rewrites: str) -> str:
    """replace_strings: each lookup in turn, in what no earlier one has replaced. A rewrite that is no text leaves its finds as they are."""
    searched = json.loads(lookups)
    given = json.loads(rewrites)
    pieces: list[tuple[str, bool]] = [(source, True)]
    for i, lookup in enumerate(searched if isinstance(searched, list) else [searched]):
        if not isinstance(lookup, str) or not lookup:
            continue
        rewrite = given[i] if isinstance(given, list) and i < len(given) else given
        fixed = rewrite if isinstance(rewrite, str) else lookup
        cut: list[tuple[str, bool]] = []
        for piece, free in pieces:
            if not free:
                cut.append((piece, free))
                continue
            for number, part in enumerate(piece.split(lookup)):
                if number:
                    cut.append((fixed, False))
                cut.append((part, True))
        pieces = cut
    return "".join(piece for piece, _ in pieces)


def zoned(micros: int, zone: str, to_local: bool) -> int:
    """A moment's microseconds since 1970 as local time of a zone, or back."""
    info = ZoneInfo(zone)
    moment = datetime(1970, 1, 1, tzinfo=UTC if to_local else None) + timedelta(microseconds=micros)
    other = moment.astimezone(info) if to_local else moment.replace(tzinfo=info).astimezone(UTC)
    delta = other.replace(tzinfo=None) - datetime(1970, 1, 1)  # noqa: DTZ001 - a datetime of KQL has no zone
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


UDFS: tuple[Udf, ...] = (
    each("k_zoned", "BIGINT VARCHAR BOOLEAN", "BIGINT", zoned),
    each("k_replace_texts", "VARCHAR VARCHAR VARCHAR", "VARCHAR", replace_texts),
    each("k_parse_datetime", "VARCHAR", "BIGINT", values.parse_datetime),
    each("k_parse_timespan", "VARCHAR", "BIGINT", values.parse_timespan),
    each("k_urlencode", "VARCHAR", "VARCHAR", url_encode),
    each("k_urlencode20", "VARCHAR", "VARCHAR", lambda text: url_encode(text, plus=False)),
)

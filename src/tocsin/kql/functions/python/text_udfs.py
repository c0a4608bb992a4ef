"""Text: datetimes and timespans in their many spellings, URL encoding."""

from __future__ import annotations

from urllib.parse import quote_from_bytes

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


UDFS: tuple[Udf, ...] = (
    each("k_parse_datetime", "VARCHAR", "BIGINT", values.parse_datetime),
    each("k_parse_timespan", "VARCHAR", "BIGINT", values.parse_timespan),
    each("k_urlencode", "VARCHAR", "VARCHAR", url_encode),
    each("k_urlencode20", "VARCHAR", "VARCHAR", lambda text: url_encode(text, plus=False)),
)

"""Bodies of requests in foreign protocols: read with a bound of our own, as JSON, without models."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Request

from tocsin.base.errors import UsageError

__all__ = ["json_object"]


async def json_object(request: Request, limit: int) -> dict[str, Any]:
    """The body as a JSON object.

    Raises UsageError USE0020 for a body over `limit` bytes, USE0021 for one that is no JSON object.
    """
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise UsageError(f"The body is larger than {limit} bytes.", code="USE0020")
        pieces.append(piece)
    try:
        found = orjson.loads(b"".join(pieces))
    except ValueError as error:
        raise UsageError(f"The body is not JSON: {error}", code="USE0021") from None
    if not isinstance(found, dict):
        raise UsageError("The body is not a JSON object.", code="USE0021")
    return found

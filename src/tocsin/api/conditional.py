"""Answers that are asked for again and again: 304 to who has the same one, and made once for all who ask while nothing changes.

RFC 9110, 8.8.3 and 13.1.2. They stay `no-store`: a browser keeps nothing of them on its disk, a page that asks again says itself what it has.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.responses import Response

__all__ = ["NOT_MODIFIED", "KeptAnswers", "answer", "asked_for"]

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "It is what If-None-Match says"}}
"""What such a route declares besides its answer."""

_BYTES = 16 << 20
_LARGEST = 4 << 20
_SECONDS = 30.0
"""So long an answer is given again without being made anew, for what may change without a trace (another program that mends state)."""


@dataclass(frozen=True, slots=True)
class _Made:
    standing: Hashable
    body: bytes
    tag: str
    time: float


class KeptAnswers:
    """Answers by what was asked, those asked for longest ago let go of first. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: OrderedDict[Hashable, _Made] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, standing: Hashable) -> _Made | None:
        with self._lock:
            made = self._made.get(key)
            if made is None or made.standing != standing or time.monotonic() - made.time > _SECONDS:
                return None
            self._made.move_to_end(key)
            return made

    def put(self, key: Hashable, made: _Made) -> None:
        with self._lock:
            if (before := self._made.pop(key, None)) is not None:
                self._bytes -= len(before.body)
            if len(made.body) > _LARGEST:
                return
            self._made[key] = made
            self._bytes += len(made.body)
            while self._bytes > _BYTES:
                self._bytes -= len(self._made.popitem(last=False)[1].body)


def answer(request: Request, standing: Hashable, make: Callable[[], bytes]) -> Response:
    """The JSON that `make` makes, or 304 when the asker has it. `standing`, asked before anything is read for it: what is another whenever the answer
    may be; None makes it each time. For what is the same for everybody who may ask."""
    kept: KeptAnswers = request.app.state.kept_answers
    key = (request.url.path, tuple(sorted(request.query_params.multi_items())))
    made = kept.get(key, standing) if standing is not None else None
    if made is None:
        body = make()
        made = _Made(standing, body, f'"{hashlib.sha256(body).hexdigest()[:32]}"', time.monotonic())
        if standing is not None:
            kept.put(key, made)
    headers = {"ETag": made.tag}
    if asked_for(request, made.tag):
        return Response(status_code=304, headers=headers)
    return Response(made.body, media_type="application/json", headers=headers)


def asked_for(request: Request, tag: str) -> bool:
    """Whether the asker says that it has the answer of that ETag."""
    return tag in {t.strip().removeprefix("W/") for t in request.headers.get("if-none-match", "").split(",")}

"""Dead letters as rows, and as bodies again.

A letter knows the body that it came in: a body of that kind with the letter's bytes decodes to what the letter stands for. A replay sends just
that through intake, and the row that says so becomes visible with the rows that the replay gave, in one step of the log: so a letter is
replayed once, whatever crashes. Rows of a letter have its id; the one with the highest attempt tells its state.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b

import orjson
import pyarrow as pa

from tocsin.base.errors import Place
from tocsin.ingest.decoders.body import pack_batch
from tocsin.ingest.model import DeadLetter, SourceBatch
from tocsin.lake import Body
from tocsin.tables.own import own

__all__ = [
    "ATTEMPT",
    "DEAD",
    "DEAD_LETTERS",
    "LETTER",
    "REPLAYED",
    "body_of_letter",
    "dead_letter_rows",
    "letter_of_body",
    "letters_of_rows",
    "replayed_row",
]

_OWN = own("dead_letters")
DEAD_LETTERS = _OWN.name
DEAD, REPLAYED = "Dead", "Replayed"
LETTER, ATTEMPT = "letter", "attempt"
"""What the body of a replay says in its meta: which letter it is, and how often it was tried."""
_ONCE = frozenset({"request", LETTER, ATTEMPT, "by"})
"""Facts of a body that are not facts of what it holds."""
_HEADED = {"csv": None, "zeek-tsv": b"#", "w3c": b"#"}
"""Formats whose rows mean nothing without the lines at the top of their file, and what those begin with; None: it is the first line."""
_HEAD_BYTES = 64 * 1024


def letter_of_body(letter: DeadLetter, body: Body, number: int = 0) -> DeadLetter:
    """The letter with the facts of the body that it came in; `number` is the body's in the log."""
    letter = replace(letter, number=number)
    if letter.body:
        return letter
    meta = {k: v for k, v in body.meta.items() if k not in _ONCE}
    if body.source == "dead":
        # A piece of a file that is no lines: what it is, its bytes alone must tell.
        return replace(letter, body="piece", meta=meta)
    begin = _HEADED.get(meta.get("format", ""), b"")
    if body.source == "file" and begin != b"":
        lines = body.data[:_HEAD_BYTES].split(b"\n")
        head = [lines[0]] if begin is None else [line for line in lines[:-1] if line.startswith(begin)]
        return replace(
            letter,
            body="file",
            raw=b"\n".join([*head, letter.raw]),
            size=sum(map(len, head)) + len(head) + letter.size,
            meta=meta,
        )
    return replace(letter, body=body.source, meta=meta)


def body_of_letter(letter_id: str, attempt: int, source: str, raw: bytes, meta: Mapping[str, str], by: str) -> Body:
    """The body that replays a letter."""
    return Body(source, raw, datetime.now(UTC), {**meta, LETTER: letter_id, ATTEMPT: str(attempt + 1), "by": by})


def letters_of_rows(
    batch: SourceBatch, reason: str, code: str, limit: int, meta: Mapping[str, str] | None = None
) -> Iterator[DeadLetter]:
    """The batch as `batch` bodies of at most `limit` bytes each; a single row that is larger is cut and can't be replayed.

    `meta` is what the body must say besides, such as the only parser that may see it.
    """
    waiting = [(0, batch.rows.num_rows)] if batch.rows.num_rows else []
    more = {**({"parser": batch.parser} if batch.parser else {}), **(meta or {})}
    while waiting:
        start, count = waiting.pop()
        piece = SourceBatch(batch.source, batch.rows.slice(start, count), batch.origin)
        data, head = pack_batch(piece)
        if len(data) > limit and count > 1:
            half = count // 2
            waiting += [(start + half, count - half), (start, half)]
            continue
        yield DeadLetter(
            reason, code, Place(batch.origin), data[:limit], batch.origin, batch.source, len(data), "batch", {**head, **more}, count,
        )  # fmt: skip


def dead_letter_rows(letters: Sequence[DeadLetter], time: datetime | None = None) -> pa.Table:
    """Rows of the table of dead letters.

    Each has an id of its own, the same after a restart: of letters that are equal in all, the number of their body too, it counts which one it is.
    """
    stamp = None if time is None else time.astimezone(UTC).replace(tzinfo=None)
    seen: Counter[bytes] = Counter()
    ids = []
    for letter in letters:
        about = f"{stamp}\0{letter.number}\0{letter.code}\0{letter.place}\0{letter.body}\0{letter.meta.get('parser', '')}\0".encode()
        digest = blake2b(about + letter.raw, digest_size=12).digest()
        seen[digest] += 1
        ids.append(blake2b(digest + seen[digest].to_bytes(4, "big"), digest_size=12).hexdigest())
    return _rows(
        [
            _OWN.row(
                id=letter_id,
                state=DEAD,
                source=d.source,
                format=d.format,
                code=d.code,
                reason=d.reason,
                place=str(d.place),
                raw=base64.b64encode(d.raw).decode(),
                size=d.size,
                rows=d.rows,
                whole=d.whole,
                body=d.body,
                meta=orjson.dumps(dict(d.meta)).decode(),
                attempt=0,
            )
            for letter_id, d in zip(ids, letters, strict=True)
        ],
        stamp,
    )


def replayed_row(body: Body, rows: int) -> pa.Table:
    """The row that ends a letter: it was replayed, by whom, and how many rows it gave."""
    meta = body.meta
    by = meta.get("by", "")
    row = _OWN.row(
        id=meta[LETTER],
        state=REPLAYED,
        source=by,
        reason=f"Replayed by {by}.",
        rows=rows,
        attempt=int(meta.get(ATTEMPT, "1")),
    )
    return _rows([row], body.received.astimezone(UTC).replace(tzinfo=None))


_TYPES = {"size": pa.int64(), "rows": pa.int64(), "attempt": pa.int64(), "whole": pa.bool_()}
_SCHEMA = pa.schema([(name, _TYPES.get(fact, pa.string())) for name, fact in _OWN.columns.items() if fact != "time"])


def _rows(rows: Sequence[Mapping[str, object]], stamp: datetime | None) -> pa.Table:
    made = pa.Table.from_pylist([dict(r) for r in rows], _SCHEMA)
    times = pa.array([stamp] * len(rows), pa.timestamp("us"))
    return made.add_column(0, _OWN.column("time"), times)

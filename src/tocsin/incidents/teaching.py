"""What teaches aliases: content whose query tells which identifiers rows show to be one thing, and the claims that its rows make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.base.errors import ContentError, Place
from tocsin.content import Content, EntityFile
from tocsin.detect.durations import parse_duration
from tocsin.incidents.aliases import Claim
from tocsin.state import AliasRow
from tocsin.tables.aliases import ALIAS_KINDS

__all__ = ["Teaching", "claim_of_row", "claims", "row_of_claim", "teachings_of"]

_LONGEST = timedelta(days=366)
_NOTHING = frozenset({"", "-", "n/a", "::1", "127.0.0.1", "0.0.0.0", "localhost"})  # noqa: S104
_OWN = ("First", "Last", "One", "Other", "Scope", "LastsSeconds")


@dataclass(frozen=True, slots=True)
class Teaching:
    """One content item of kind alias. Its query's columns: One, Other, First, Last, and if it has them Scope and LastsSeconds; all others
    are kept as what taught it."""

    id: str
    entity: str
    one: str
    other: str
    confidence: float
    before: timedelta
    lasts: timedelta
    exclusive: bool
    source: str
    query: str


def teachings_of(content: Content) -> tuple[tuple[Teaching, ...], list[ContentError]]:
    """The alias content of packs, and what is wrong with the rest of it (CNT0050)."""
    found: list[Teaching] = []
    problems: list[ContentError] = []
    for item in content.entities:
        if item.kind != "alias":
            continue
        try:
            found.append(_teaching(item))
        except ValueError as error:
            problems.append(
                ContentError(f"{item.id} teaches no alias: {error}.", code="CNT0050", place=Place(str(item.path)))
            )
    return tuple(found), problems


def _teaching(item: EntityFile) -> Teaching:
    value = item.document.value
    kinds = ALIAS_KINDS.get(item.entity, ())
    for side in ("one", "other"):
        if value.get(side) not in kinds:
            names = ", ".join(kinds) or "none"
            raise ValueError(f"'{side}' is {value.get(side)!r}; identifiers of a {item.entity}: {names}")
    return Teaching(
        item.id,
        item.entity,
        str(value["one"]),
        str(value["other"]),
        float(value.get("confidence", 1.0)),
        _span(value, "before"),
        _span(value, "lasts"),
        bool(value.get("exclusive")),
        str(value.get("source") or value.get("name") or item.id),
        str(value["query"]),
    )


def _span(value: Mapping[str, Any], name: str) -> timedelta:
    text = str(value.get(name) or "0s")
    span = parse_duration(text)
    if span is None or span > _LONGEST:
        raise ValueError(f"'{name}' is '{text}', which is no time such as 4h or 30d")
    return span


def claims(teaching: Teaching, rows: Iterable[Mapping[str, Any]]) -> Iterator[Claim]:
    """What the rows of a teaching's query claim. A row without both identifiers and both times says nothing."""
    for row in rows:
        one, other = (str(row.get(n) or "").strip().lower() for n in ("One", "Other"))
        first, last = _moment(row.get("First")), _moment(row.get("Last"))
        if one in _NOTHING or other in _NOTHING or one == other or first is None or last is None:
            continue
        yield Claim(
            teaching.entity,
            teaching.one,
            one,
            teaching.other,
            other,
            first,
            max(first, last),
            teaching.confidence,
            teaching.source,
            teaching.before,
            _lasts(teaching, row.get("LastsSeconds")),
            teaching.exclusive,
            str(row.get("Scope") or "").strip().lower(),
            {k: v for k, v in row.items() if k not in _OWN and v not in (None, "")},
        )


def _lasts(teaching: Teaching, seconds: Any) -> timedelta:
    """How long a row says that it holds (a lease), else what the teaching says."""
    if seconds is None:
        return teaching.lasts
    try:
        return min(timedelta(seconds=max(0.0, float(seconds))), _LONGEST)
    except (ValueError, OverflowError):
        return teaching.lasts


def _moment(value: Any) -> datetime | None:
    try:
        made = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return made.replace(tzinfo=UTC) if made.tzinfo is None else made.astimezone(UTC)


def row_of_claim(claim: Claim) -> AliasRow:
    """The claim as state keeps it."""
    return AliasRow(
        claim.id,
        claim.type,
        claim.one,
        claim.other,
        claim.first,
        claim.last,
        claim.end,
        {
            "one_kind": claim.one_kind,
            "other_kind": claim.other_kind,
            "confidence": claim.confidence,
            "source": claim.source,
            "before": claim.before.total_seconds(),
            "lasts": claim.lasts.total_seconds(),
            "exclusive": claim.exclusive,
            "scope": claim.scope,
            "row": {k: str(v) for k, v in claim.row.items()},
        },
    )


def claim_of_row(row: AliasRow) -> Claim:
    """The claim of a `row_of_claim`."""
    p = row.payload
    return Claim(
        row.type,
        p["one_kind"],
        row.one,
        p["other_kind"],
        row.other,
        row.first,
        row.last,
        float(p["confidence"]),
        p["source"],
        timedelta(seconds=p["before"]),
        timedelta(seconds=p["lasts"]),
        bool(p["exclusive"]),
        p["scope"],
        p["row"],
        row.id,
    )

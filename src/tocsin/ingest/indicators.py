"""Indicators of compromise from STIX 2 bundles and CSV, as rows of ThreatIntelIndicators.

A STIX indicator becomes a row for each value that its pattern compares with ``=`` (joined by OR or IN). A pattern that says more than that (AND,
FOLLOWEDBY, LIKE, MATCHES, qualifiers) would match too much as single values and is refused by name.
"""

from __future__ import annotations

import csv
import io
import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from tocsin.base.errors import IngestError
from tocsin.base.ids import stable_uuid
from tocsin.tables.own import own

__all__ = ["KEYS", "TABLE", "Indicators", "compared", "read_indicators"]

TABLE = own("indicators").name
KEYS = {
    "ipv4-addr": "ipv4-addr:value", "ipv6-addr": "ipv6-addr:value", "domain-name": "domain-name:value", "url": "url:value",
    "email-addr": "email-addr:value", "md5": "file:hashes.MD5", "sha1": "file:hashes.'SHA-1'", "sha256": "file:hashes.'SHA-256'",
}  # fmt: skip
_NAMES = {
    "ip": "", "ipv4": "ipv4-addr", "ipv6": "ipv6-addr", "ipaddress": "", "domain": "domain-name", "hostname": "domain-name", "fqdn": "domain-name",
    "domainname": "domain-name", "uri": "url", "email": "email-addr", "emailaddress": "email-addr", "hash": "", "filehash": "",
    "sha-1": "sha1", "sha-256": "sha256", "filesha1": "sha1", "filesha256": "sha256", "filemd5": "md5",
}  # fmt: skip
_COLUMNS = {
    "value": ("indicator", "indicatorvalue", "value", "ioc", "observablevalue", "observable"),
    "type": ("type", "indicatortype", "ioctype", "observabletype"),
    "confidence": ("confidence", "confidencescore", "score"),
    "description": ("description", "title", "name", "comment", "threat"),
    "valid_from": ("validfrom", "firstseen", "created", "date"),
    "valid_until": ("validuntil", "expirationtime", "expiration", "expires", "expirationdatetime"),
    "tags": ("tags", "labels", "tag"),
}
_HASH = {32: "md5", 40: "sha1", 64: "sha256"}
_DOMAIN = re.compile(
    r"(?=.{4,253}\Z)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{1,62}\Z"
)
_STRING = r"'(?:[^'\\]|\\.)*'"
_COMPARISON = re.compile(
    rf"\s*(?P<path>[A-Za-z0-9-]+:[A-Za-z0-9_.\-]*(?:{_STRING})?)\s*(?:=\s*(?P<one>{_STRING})|IN\s*\((?P<many>(?:\s*+{_STRING}\s*+,?)++)\))\s*"
)
_MOST_PATTERN = 100_000


@dataclass
class Indicators:
    """Rows to send, and what was refused with the reason, by place."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


def read_indicators(data: bytes, name: str, now: datetime) -> Indicators:
    """The indicators of a file: a STIX 2 bundle (or a list of its objects) or CSV with a header.

    Raises IngestError ING0070 for a file that is neither.
    """
    text = data.decode("utf-8-sig", "replace").strip()
    if text[:1] in ("{", "["):
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise IngestError(f"{name} isn't JSON: {error}", code="ING0070") from error
        return _from_stix(document, now)
    return _from_csv(text, name, now)


def _from_stix(document: Any, now: datetime) -> Indicators:
    made = Indicators()
    objects = document.get("objects") if isinstance(document, dict) else document
    if isinstance(document, dict) and document.get("type") == "indicator":
        objects = [document]
    if not isinstance(objects, list):
        raise IngestError("This is no STIX bundle: it has no 'objects'.", code="ING0070")
    makers = {o.get("id"): o.get("name") for o in objects if isinstance(o, dict) and o.get("type") == "identity"}
    for each in objects:
        if not isinstance(each, dict) or each.get("type") != "indicator":
            continue
        place = str(each.get("id") or each.get("name") or "an indicator")
        try:
            values = list(compared(str(each.get("pattern") or ""), str(each.get("pattern_type") or "stix")))
        except ValueError as error:
            made.refused.append((place, str(error)))
            continue
        for key, value in values:
            made.rows.append(
                _row(
                    now,
                    ident=str(each.get("id") or f"indicator--{stable_uuid('indicator', key, value)}"),
                    key=key,
                    value=value,
                    confidence=each.get("confidence"),
                    valid_from=each.get("valid_from"),
                    valid_until=each.get("valid_until"),
                    tags=each.get("labels") or each.get("indicator_types") or (),
                    revoked=bool(each.get("revoked")),
                    pattern=str(each.get("pattern")),
                    source=str(makers.get(each.get("created_by_ref")) or "STIX"),
                    data=each,
                )
            )
    return made


def compared(pattern: str, kind: str) -> Iterator[tuple[str, str]]:
    """The paths and values that a pattern compares. Raises ValueError with the reason for one that isn't only that."""
    if kind.lower() != "stix":
        raise ValueError(f"patterns of type {kind} aren't read")
    if len(pattern) > _MOST_PATTERN:
        raise ValueError("the pattern is too long")
    for number, part in enumerate(re.split(r"\]\s*OR\s*\[", pattern.strip())):
        inner = part.strip()
        inner = inner[1:] if number == 0 and inner.startswith("[") else inner
        inner = inner.removesuffix("]")
        at = 0
        while True:
            found = _COMPARISON.match(inner, at)
            if found is None:
                raise ValueError(f"the pattern says more than single values: {pattern[:200]}")
            path = found["path"]
            for text in re.findall(_STRING, found["one"] or found["many"]):
                yield _key_of(path), re.sub(r"\\(.)", r"\1", text[1:-1])
            at = found.end()
            if at == len(inner):
                break
            if not (joined := re.compile(r"OR\b").match(inner, at)):
                raise ValueError(f"the pattern says more than single values: {pattern[:200]}")
            at = joined.end()


def _key_of(path: str) -> str:
    """The path as our keys spell it: hashes with and without quotes are one."""
    folded = path.replace("'", "").replace("-", "").lower()
    return next((k for k in KEYS.values() if k.replace("'", "").replace("-", "").lower() == folded), path)


def _from_csv(text: str, name: str, now: datetime) -> Indicators:
    made = Indicators()
    try:
        reader = csv.DictReader(io.StringIO(text), strict=True)
        heads = {re.sub(r"[^a-z]", "", (h or "").lower()): h for h in reader.fieldnames or ()}
        columns = {k: next((heads[n] for n in names if n in heads), None) for k, names in _COLUMNS.items()}
        if columns["value"] is None:
            raise IngestError(
                f"{name} has no column of indicators.",
                code="ING0070",
                hint=f"It would be one of {', '.join(_COLUMNS['value'])}.",
            )
        for row in reader:
            value = _cell(row, columns["value"])
            if not value:
                continue
            kind = _kind_of(value, _cell(row, columns["type"]))
            if kind is None:
                made.refused.append(
                    (f"{name}:{reader.line_num}", f"'{value[:100]}' is no address, domain, URL, e-mail address or hash")
                )
                continue
            key = KEYS[kind]
            made.rows.append(
                _row(
                    now,
                    ident=f"indicator--{stable_uuid('indicator', key, value.lower())}",
                    key=key,
                    value=value,
                    confidence=_cell(row, columns["confidence"]),
                    valid_from=_cell(row, columns["valid_from"]),
                    valid_until=_cell(row, columns["valid_until"]),
                    tags=[t.strip() for t in re.split(r"[;,|]", _cell(row, columns["tags"])) if t.strip()],
                    source=name,
                    data={"name": _cell(row, columns["description"]) or value},
                )
            )
    except csv.Error as error:
        raise IngestError(f"{name} isn't CSV: {error}", code="ING0070") from error
    return made


def _cell(row: Mapping[str, Any], column: str | None) -> str:
    return str(row.get(column) or "").strip() if column is not None else ""


def _kind_of(value: str, given: str) -> str | None:
    kind = given.strip().lower().replace(" ", "").replace("_", "")
    kind = kind if kind in KEYS else _NAMES.get(kind, "")
    if kind:
        return kind
    try:
        return f"ipv{ipaddress.ip_address(value).version}-addr"
    except ValueError:
        pass
    if re.fullmatch(r"[0-9a-fA-F]+", value) and len(value) in _HASH:
        return _HASH[len(value)]
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", value):
        return "url"
    if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value):
        return "email-addr"
    return "domain-name" if _DOMAIN.match(value) else None


def _row(
    now: datetime,
    *,
    ident: str,
    key: str,
    value: str,
    confidence: Any,
    valid_from: Any,
    valid_until: Any,
    tags: Any,
    source: str,
    data: Mapping[str, Any],
    revoked: bool = False,
    pattern: str = "",
) -> dict[str, Any]:
    until = _moment(valid_until)
    since = _moment(valid_from) or now
    try:
        score = max(0, min(100, round(float(confidence))))
    except (TypeError, ValueError, OverflowError):
        score = 50
    return own("indicators").row(
        now=_iso(now),
        id=ident,
        key=key,
        value=value,
        pattern=pattern or f"[{key} = '{value}']",
        confidence=score,
        active=not revoked and (until is None or until > now),
        deleted=False,
        revoked=revoked,
        since=_iso(since),
        until=_iso(until) if until is not None else None,
        tags=", ".join(map(str, tags)),
        source=source,
        data=dict(data),
    )


def _moment(value: Any) -> datetime | None:
    if not value:
        return None
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")

"""Sigma files as they were compiled before, so that a start needn't compile them again.

A file's entry is found by its name and content, the filters beside it, and the program that compiled it: another version of Tocsin, of
pySigma or of the modules that compile has a cache of its own. Entries are plain data (MessagePack), so reading one runs nothing; a cache that is cut
off, changed, foreign or too large is passed over and made anew. Nobody depends on it: where it can't be read or written, rules are compiled.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from tocsin import __version__
from tocsin.base.errors import ContentError, DetectError, Place, TocsinError
from tocsin.base.kept import KeptEntries, program_digest
from tocsin.content import RuleFile
from tocsin.detect.rule import IncidentSettings, Rule, RuleKind
from tocsin.detect.sigma.logsource import bindings
from tocsin.detect.sigma.model import SigmaBody
from tocsin.detect.sigma.stored import from_plain, to_plain

__all__ = ["CompiledFile", "CompiledRule", "SigmaCache", "sigma_rule"]

_MAGIC = b"tocsin sigma cache 1\n"
_MOST_BYTES = 64 * 1024 * 1024
_MOST_ENTRIES = 20_000

_DEPENDS = (
    "content/yamltext.py", "detect/formats/sigma.py", "detect/formats/sigma_cache.py", "detect/formats/sigma_parse.py",
    "detect/formats/sigma_written.py", "detect/rule.py",
    "detect/sigma/checks.py", "detect/sigma/parsed.py",
    "detect/sigma/logsource.py", "detect/sigma/logsources.toml", "detect/sigma/stored.py", "detect/sigma/tree.py",
)  # fmt: skip
"""The modules whose code decides what an entry holds."""


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A detection without what it owes to its file's place: path, pack and text. `name` is Sigma's own, by which correlations call it;
    `logsource` is product, category and service; `place` is where its document starts."""

    rule: Rule
    name: str
    logsource: tuple[str | None, str | None, str | None]
    place: Place


@dataclass(frozen=True, slots=True)
class CompiledFile:
    """What a file without correlations and filters became.

    `complaints` are of documents that are no rules, `items` are rules and complaints about rules in the file's order. `placeholders` says that
    the values of placeholders went into it.
    """

    complaints: tuple[TocsinError, ...]
    items: tuple[CompiledRule | TocsinError, ...]
    placeholders: bool = False


class SigmaCache:
    """The entries of one folder. `context` is the text of the filters in force, `placeholders` what stands for their values.

    Several processes may use one folder: each replaces the file as a whole, and who comes last wins. Not for several threads.
    """

    def __init__(self, folder: Path, *, context: Iterable[str] = (), placeholders: str = "") -> None:
        self._kept = KeptEntries(
            folder / f"{_program()[:24]}.bin", _MAGIC, most_entries=_MOST_ENTRIES, most_bytes=_MOST_BYTES
        )
        context_digest = hashlib.sha256()
        for text in sorted(context):
            context_digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        self._context = context_digest.digest()
        self._placeholders = placeholders

    def get(self, file: RuleFile) -> CompiledFile | None:
        """What the file became, or None where that must be found out."""
        key = self._key(file)
        entry = self._kept.get(key)
        if entry is None:
            return None
        try:
            found = _unpacked(_DECODE(entry), file, self._placeholders)
        except (msgspec.DecodeError, TypeError, ValueError, LookupError, RecursionError):
            found = None  # not what this program writes
        if found is not None:
            self._kept.use(key)
        return found

    def put(self, file: RuleFile, compiled: CompiledFile) -> None:
        """Takes what a file became, for `save`."""
        with contextlib.suppress(
            TypeError, ValueError, OverflowError, RecursionError
        ):  # what has no plain form stays out
            self._kept.put(self._key(file), msgspec.msgpack.encode(_packed(compiled, self._placeholders)))

    def save(self) -> None:
        """Writes what is new. Entries that weren't used go first when there are too many."""
        self._kept.save()

    def _key(self, file: RuleFile) -> bytes:
        name, text = (s.encode("utf-8", "surrogatepass") for s in (file.path.name, file.text))
        return hashlib.sha256(b"%s%d:%s%s" % (self._context, len(name), name, text)).digest()


# ---------------------------------------------------------------------------------------------- the file


@lru_cache(maxsize=1)
def _program() -> str:
    """What stands for the code that compiles: versions and the text of modules, which changes more often than versions do."""
    versions = (__version__, metadata.version("pysigma"), metadata.version("google-re2"))
    return program_digest(Path(__file__).parents[2], _DEPENDS, *versions)


# ---------------------------------------------------------------------------------------------- entries


class _StoredError(msgspec.Struct, array_like=True, tag="error"):
    kind: str
    message: str
    code: str
    line: int | None
    column: int | None
    hint: str


class _StoredRule(msgspec.Struct, array_like=True, tag="rule"):
    id: str
    name: str
    description: str
    severity: str
    enabled: bool
    tactics: tuple[str, ...]
    techniques: tuple[str, ...]
    tags: tuple[str, ...]
    version: str
    incident: bool
    sigma_name: str
    logsource: tuple[str | None, str | None, str | None]
    line: int | None
    column: int | None
    tree: Any


class _StoredFile(msgspec.Struct, array_like=True):
    placeholders: str | None
    complaints: list[_StoredError]
    items: list[_StoredRule | _StoredError]


_DECODE = msgspec.msgpack.Decoder(_StoredFile).decode
_KINDS: dict[str, type[TocsinError]] = {"ContentError": ContentError, "DetectError": DetectError}


def sigma_rule(**fields: Any) -> Rule:
    """A rule with what all Sigma rules have in common."""
    common: dict[str, Any] = {
        "kind": RuleKind.SIGMA, "frequency": timedelta(minutes=1), "period": timedelta(hours=1), "per_result": True,
        "product": "Sigma",
    }  # fmt: skip
    return Rule(**common, **fields)


def _packed(compiled: CompiledFile, placeholders: str) -> _StoredFile:
    return _StoredFile(
        placeholders if compiled.placeholders else None,
        [_packed_error(e) for e in compiled.complaints],
        [_packed_rule(i) if isinstance(i, CompiledRule) else _packed_error(i) for i in compiled.items],
    )


def _packed_error(error: TocsinError) -> _StoredError:
    kind, place = type(error).__name__, error.place
    if _KINDS.get(kind) is not type(error) or place is None:
        raise TypeError(f"{kind} has no plain form")
    return _StoredError(kind, error.message, error.code, place.line, place.column, error.hint)


def _packed_rule(item: CompiledRule) -> _StoredRule:
    rule = item.rule
    return _StoredRule(
        rule.id, rule.name, rule.description, rule.severity, rule.enabled, rule.tactics, rule.techniques, rule.tags, rule.version,
        rule.incident.create, item.name, item.logsource, item.place.line, item.place.column, to_plain(rule.compiled.tree),
    )  # fmt: skip


def _unpacked(stored: _StoredFile, file: RuleFile, placeholders: str) -> CompiledFile | None:
    if stored.placeholders is not None and stored.placeholders != placeholders:
        return None
    source = str(file.path)
    return CompiledFile(
        tuple([_error(e, source) for e in stored.complaints]),
        tuple([_rule(i, source) if isinstance(i, _StoredRule) else _error(i, source) for i in stored.items]),
        stored.placeholders is not None,
    )


def _error(stored: _StoredError, source: str) -> TocsinError:
    place = Place(source, stored.line, stored.column)
    return _KINDS[stored.kind](stored.message, code=stored.code, place=place, hint=stored.hint)


def _rule(stored: _StoredRule, source: str) -> CompiledRule:
    rule = sigma_rule(
        id=stored.id,
        name=stored.name,
        description=stored.description,
        severity=stored.severity,
        enabled=stored.enabled,
        tactics=stored.tactics,
        techniques=stored.techniques,
        tags=stored.tags,
        version=stored.version,
        incident=IncidentSettings(create=stored.incident),
        compiled=SigmaBody(from_plain(stored.tree), bindings(*stored.logsource)),
    )
    return CompiledRule(rule, stored.sigma_name, stored.logsource, Place(source, stored.line, stored.column))

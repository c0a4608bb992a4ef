"""What packs hold, as data. Nothing here is compiled or run; the rooms that use an item give it its meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import pyarrow as pa

from tocsin.base.errors import ContentError
from tocsin.content.attack import Technique
from tocsin.content.known import KnownFile
from tocsin.content.schema import is_warning
from tocsin.content.yamltext import Document, parse_yaml

__all__ = [
    "AnomalyFile",
    "AutomationFile",
    "Content",
    "DemoFile",
    "EntityFile",
    "FunctionFile",
    "FusionFile",
    "Hunt",
    "IncidentFile",
    "LateDocuments",
    "LinkFile",
    "Pack",
    "ParserFile",
    "RuleFile",
    "SourceFile",
    "SummaryFile",
    "TestCase",
    "TestFile",
    "Watchlist",
]


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack: a folder of content with a manifest. A folder without one is a pack named as the folder, without version."""

    id: str
    name: str
    folder: Path
    version: str = ""
    description: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class RuleFile:
    """A file of rules: one Sentinel or Defender rule, or the documents of one Sigma file.

    `format` is ``sentinel``, ``sigma`` or ``defender``, decided by the keys of the file. `text` is the file as written. Where the file is `known`
    from an earlier time, its documents are parsed when they are first asked for.
    """

    path: Path
    pack: str
    format: str
    documents: Sequence[Document]
    text: str
    known: KnownFile | None = None

    @property
    def id(self) -> str:
        """The rule's id as the file gives it; empty where it gives none."""
        if self.known is not None:
            return self.known.id
        value = self.documents[0].value
        found = value.get("id") if isinstance(value, dict) else None
        return str(found) if found is not None else ""

    @property
    def joins(self) -> bool:
        """Whether it may hold Sigma correlations, filters or our options: a document of such a kind, one that gives its key to the others, or
        one whose condition counts (which becomes a correlation)."""
        if self.known is not None:
            return self.known.joins
        return any(
            isinstance(d.value, dict)
            and (any(k in d.value for k in ("correlation", "filter", "tocsin")) or _counts(d.value))
            for d in self.documents
        )


def _counts(value: Mapping[str, Any]) -> bool:
    detection = value.get("detection")
    conditions = detection.get("condition") if isinstance(detection, dict) else None
    return any("|" in c for c in (conditions if isinstance(conditions, list) else [conditions]) if isinstance(c, str))


class LateDocuments(Sequence[Document]):
    """The documents of a text that is known to be good, parsed when first asked for."""

    def __init__(self, text: str, source: str) -> None:
        self._text, self._source = text, source
        self._found: tuple[Document, ...] | None = None

    def _all(self) -> tuple[Document, ...]:
        if self._found is None:
            self._found = tuple(d for d in parse_yaml(self._text, self._source) if d.value is not None)
        return self._found

    @overload
    def __getitem__(self, index: int) -> Document: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Document]: ...

    def __getitem__(self, index: int | slice) -> Document | Sequence[Document]:
        return self._all()[index]

    def __len__(self) -> int:
        return len(self._all())


@dataclass(frozen=True, slots=True)
class TestCase:
    """Rows, and what a rule must say about them.

    `rows` maps tables to rows; a value is JSON-able, times are ISO text. `now` is the end of the window, by default just after the
    last row's time. `entities` are ``{type, identifiers}`` mappings that some alert must carry (all of those identifiers with those values).
    """

    name: str
    fires: bool
    rows: Mapping[str, tuple[Mapping[str, Any], ...]]
    alerts: int | None = None
    now: str = ""
    entities: tuple[Mapping[str, Any], ...] = ()
    path: Path = Path()
    line: int = 0
    watchlists: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    """Items of watchlists by alias, in the place of what those hold."""

    __test__ = False  # a dataclass whose name begins with Test is not a test class


@dataclass(frozen=True, slots=True)
class TestFile:
    """The cases beside one rule file."""

    path: Path
    cases: tuple[TestCase, ...]

    __test__ = False


@dataclass(frozen=True, slots=True)
class ParserFile:
    """A parser: KQL that turns rows of one source kind, known as `source`, into columns of `table`."""

    id: str
    name: str
    source: str
    table: str
    query: str
    path: Path
    pack: str
    doc: str = ""
    document: Document | None = None


@dataclass(frozen=True, slots=True)
class FunctionFile:
    """A stored function: see `tocsin.kql.FunctionSource`."""

    name: str
    parameters: str
    body: str
    doc: str
    path: Path
    pack: str


@dataclass(frozen=True, slots=True)
class Hunt:
    """A hunting query."""

    id: str
    name: str
    description: str
    query: str
    tactics: tuple[str, ...]
    techniques: tuple[str, ...]
    path: Path
    pack: str
    document: Document | None = None


@dataclass(frozen=True, slots=True)
class SummaryFile:
    """A summary rule as written; the workspace runs it."""

    id: str
    name: str
    path: Path
    pack: str
    document: Document


@dataclass(frozen=True, slots=True)
class AutomationFile:
    """An automation rule as written; `respond` reads it."""

    id: str
    name: str
    path: Path
    pack: str
    document: Document


@dataclass(frozen=True, slots=True)
class LinkFile:
    """Which columns name processes, sessions and common files, as written; `incidents` reads it."""

    id: str
    path: Path
    pack: str
    document: Document


@dataclass(frozen=True, slots=True)
class FusionFile:
    """A multistage pattern as written; `incidents` reads it."""

    id: str
    name: str
    path: Path
    pack: str
    document: Document


@dataclass(frozen=True, slots=True)
class SourceFile:
    """Declarations of sources as written (TOML); the decoders read and check them."""

    path: Path
    pack: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AnomalyFile:
    """An anomaly rule as written, and the cases beside it; `detect.anomaly` reads them."""

    id: str
    name: str
    path: Path
    pack: str
    document: Document
    tests: Document | None = None


@dataclass(frozen=True, slots=True)
class DemoFile:
    """A demo scenario as written; its player reads it."""

    path: Path
    pack: str
    document: Document


@dataclass(frozen=True, slots=True)
class Watchlist:
    """Rows of a CSV file, all text, under the file's name without its ending."""

    alias: str
    table: pa.Table
    path: Path
    pack: str


@dataclass(frozen=True, slots=True)
class IncidentFile:
    """Content for incidents: which assets matter (``asset``), points (``priority``), what to do next (``advice``), summaries (``summary``), what can
    be reached from what (``reach``), threat reports (``report``)."""

    id: str
    kind: str
    path: Path
    pack: str
    document: Document


PAGE_KINDS = frozenset({"facts", "timeline", "related", "prevalence", "hunt"})
"""The kinds of entity content that its page shows; their queries have the parameters of `PAGE_PARAMETERS`."""

PAGE_PARAMETERS = (
    "declare query_parameters(Names:dynamic=dynamic([]), Parts:dynamic=dynamic({}), "
    "Start:datetime=datetime(2000-01-01), End:datetime=datetime(2100-01-01));\n"
)
"""What a page's queries may ask of: all that the thing is known by in lower case, its identifiers, and the time that the page shows."""


REACH_PARAMETERS = (
    "declare query_parameters(Names:dynamic=dynamic([]), Bare:dynamic=dynamic([]), "
    "Start:datetime=datetime(2000-01-01), End:datetime=datetime(2100-01-01));\n"
)
"""What the queries of incident content of kind `reach` may ask of: all names of the accounts or machines in lower case, those that no domain goes
with, and the time that is looked at."""


@dataclass(frozen=True, slots=True)
class EntityFile:
    """Content about entities: what teaches aliases (``alias``), who is shared by many (``shared``), and what their pages show
    (``facts``, ``timeline``, ``related``, ``prevalence``, ``hunt``)."""

    id: str
    kind: str
    entity: str
    path: Path
    pack: str
    document: Document


@dataclass(frozen=True, slots=True)
class Content:
    """Everything that was found, and every complaint. A file with a complaint that isn't a warning isn't in the other lists."""

    packs: tuple[Pack, ...] = ()
    rules: tuple[RuleFile, ...] = ()
    tests: Mapping[Path, TestFile] = field(default_factory=dict)
    """Cases by the path of the rule file that they belong to."""
    parsers: tuple[ParserFile, ...] = ()
    functions: tuple[FunctionFile, ...] = ()
    hunts: tuple[Hunt, ...] = ()
    summaries: tuple[SummaryFile, ...] = ()
    automation_rules: tuple[AutomationFile, ...] = ()
    watchlists: tuple[Watchlist, ...] = ()
    links: tuple[LinkFile, ...] = ()
    fusion: tuple[FusionFile, ...] = ()
    incidents: tuple[IncidentFile, ...] = ()
    entities: tuple[EntityFile, ...] = ()
    anomalies: tuple[AnomalyFile, ...] = ()
    demos: tuple[DemoFile, ...] = ()
    sources: tuple[SourceFile, ...] = ()
    """Later layers first: what a site declares is tried before what a pack does."""
    attack: Mapping[str, Technique] = field(default_factory=dict)
    """ATT&CK's techniques by id."""
    problems: tuple[ContentError, ...] = ()

    @property
    def errors(self) -> tuple[ContentError, ...]:
        """The complaints that kept something from being used."""
        return tuple(p for p in self.problems if not is_warning(p))

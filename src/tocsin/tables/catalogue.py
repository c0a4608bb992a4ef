"""The table catalogue: one declaration per table in `catalogue/<Table>.json`; DDL, docs and completion come from it.

A declaration is ``{"category": …, "products": […], "columns": {name: type | [type, doc]}}`` in the product's own order; ``"open": true`` says
that its columns depend on what writes to it. `members.toml` names the members of dynamic columns that content reads often. Table and
column names are Microsoft's published ones; the columns that every table has are added here, not repeated in files.
Declarations are read when first asked for: a start of Tocsin doesn't parse a thousand files.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from tocsin.kql.types import Column, FunctionSource, KqlType, TableSchema

__all__ = ["INGESTION_TIME", "STANDARD_COLUMNS", "Catalogue", "TableInfo", "catalogue"]

INGESTION_TIME = "_TimeReceived"
"""The hidden column that `ingestion_time()` reads: when the row became durable here."""

STANDARD_COLUMNS: tuple[Column, ...] = (
    Column("TimeGenerated", KqlType.DATETIME, "When the event happened, as its source says (UTC)."),
    Column("TenantId", KqlType.STRING, "Workspace that holds the row."),
    Column("SourceSystem", KqlType.STRING, "Kind of collector that brought the row."),
    Column("Type", KqlType.STRING, "Name of the table."),
    Column(INGESTION_TIME, KqlType.DATETIME, "When the row was received and made durable (UTC).", hidden=True),
    Column("_IngestionTime", KqlType.DATETIME, "What ingestion_time() returns (UTC).", hidden=True),
    Column(
        "_ItemId",
        KqlType.STRING,
        "Identifier of the row: unique, and the same for as long as the row lives.",
        hidden=True,
    ),
    Column("_SourceSystem", KqlType.STRING, "Kind of collector that brought the row.", hidden=True),
    Column("_WorkspaceId", KqlType.STRING, "Workspace that holds the row.", hidden=True),
    Column("_ResourceId", KqlType.STRING, "Azure resource that the row belongs to.", hidden=True),
    Column("_SubscriptionId", KqlType.STRING, "Azure subscription that the row belongs to.", hidden=True),
    Column(
        "_AdditionalFields", KqlType.DYNAMIC, "What came for the row that its table has no column for.", hidden=True
    ),
    Column("_BilledSize", KqlType.REAL, "Size of the row in bytes.", hidden=True),
    Column("_IsBillable", KqlType.STRING, "Whether the row counts towards billed volume.", hidden=True),
)


@dataclass(frozen=True, slots=True)
class TableInfo:
    """A declared table: what it is for besides its schema.

    `time_column` is the event time's name that analysts expect: Timestamp for Defender's tables, TimeGenerated otherwise
    (both exist and hold the same instant in a Defender table).
    """

    schema: TableSchema
    category: str
    products: tuple[str, ...]
    time_column: str

    @property
    def name(self) -> str:
        """The table's name."""
        return self.schema.name


class Catalogue:
    """The declared tables; a `tocsin.kql.Catalog` without functions."""

    def __init__(self, folder: Traversable) -> None:
        self._folder = folder
        self._names = {entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".json")}
        self._infos: dict[str, TableInfo] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[TableInfo]:
        for name in sorted(self._names):
            info = self.info(name)
            assert info is not None
            yield info

    def names(self) -> frozenset[str]:
        """Every declared table's name."""
        return frozenset(self._names)

    def info(self, name: str) -> TableInfo | None:
        """The declaration of that table, or None."""
        if name not in self._names:
            return None
        found = self._infos.get(name)
        if found is None:
            found = self._infos[name] = _parse(name, json.loads((self._folder / f"{name}.json").read_bytes()))
        return found

    def table(self, name: str) -> TableSchema | None:
        """See `tocsin.kql.Catalog.table`."""
        info = self.info(name)
        return info.schema if info else None

    def table_names(self) -> Iterable[str]:
        """See `tocsin.kql.Catalog.table_names`."""
        return self._names

    def function(self, name: str) -> FunctionSource | None:  # noqa: ARG002
        """None: functions come from packs."""
        return None

    def function_names(self) -> Iterable[str]:
        """Nothing: functions come from packs."""
        return ()


def custom_schema(name: str, columns: Iterable[Column]) -> TableSchema:
    """The schema of a table that isn't declared (`*_CL`): the given columns and the standard ones."""
    own = [c for c in columns if c.name not in _STANDARD_NAMES]
    return TableSchema(name, (*own, *STANDARD_COLUMNS))


_STANDARD_NAMES = frozenset(c.name for c in STANDARD_COLUMNS)


def _parse(name: str, raw: Mapping[str, object]) -> TableInfo:
    columns: list[Column] = []
    declared = raw["columns"]
    assert isinstance(declared, dict)
    for column, value in declared.items():
        kind, doc = value if isinstance(value, list) else (value, "")
        columns.append(Column(column, KqlType(kind), doc))
    products = raw.get("products", ())
    assert isinstance(products, list | tuple)
    return TableInfo(
        schema=TableSchema(
            name,
            (*columns, *STANDARD_COLUMNS),
            str(raw.get("doc", "")),
            bool(raw.get("open")),
            tuple((column, member) for column, found in _members().get(name, {}).items() for member in found),
        ),
        category=str(raw["category"]),
        products=tuple(products),
        time_column="Timestamp" if any(c.name == "Timestamp" for c in columns) else "TimeGenerated",
    )


@cache
def _members() -> Mapping[str, Mapping[str, list[str]]]:
    """Table → dynamic column → its members that are read often."""
    return tomllib.loads((files("tocsin.tables") / "members.toml").read_text("utf-8"))


@cache
def catalogue() -> Catalogue:
    """The catalogue that ships with Tocsin."""
    return Catalogue(files("tocsin.tables") / "catalogue")

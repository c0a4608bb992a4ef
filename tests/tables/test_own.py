"""Names stand in declarations: every own table fits the catalogue, and no table's, source's or column's name stands in Python."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import tocsin
from tocsin.content import load_packs, packs_dir
from tocsin.tables import STANDARD_COLUMNS, catalogue
from tocsin.tables.kinds import KINDS
from tocsin.tables.own import own

SOURCES = Path(tocsin.__file__).parent
ROLES = list(tomllib.loads((SOURCES / "tables/own.toml").read_text()))

ALLOWED: Mapping[str, tuple[str, ...]] = {
    # The language's own help shows how a query looks: an example needs a table that its reader has.
    "an example": (
        "kql/operator_docs.py: DeviceProcessEvents", "kql/operator_docs.py: DeviceInfo", "kql/operator_docs.py: DeviceFileEvents",
        "kql/functions/specials.py: DeviceProcessEvents",
    ),
    # What a setting's description says to whoever sets it.
    "a description": (
        "lake/settings.py: SecurityAlert", "workspace/settings.py: SentinelHealth", "ingest/receivers/settings.py: TocsinHealth",
        "workspace/settings.py: dns.windows",
    ),
}  # fmt: skip
"""Where a name may stand all the same, by the reason."""


COLUMNS: Mapping[str, tuple[str, ...]] = {
    # Whole rooms whose texts are other people's names, which happen to be columns' names somewhere too.
    "a protocol's or an export's own words": (
        "api/", "ingest/decoders/", "ingest/receivers/", "cli/", "incidents/stix.py: source_name", "incidents/stix.py: external_references",
        "detect/formats/", "respond/actions/", "ingest/indicators.py: valid_from", "workspace/writeback.py: userPrincipalName",
        "workspace/writeback.py: objectId",
    ),
    "the source's own shape, as decoders give it": (
        "ingest/shred.py: EventData", "ingest/model.py: EventData", "ingest/forms.py: EventID", "ingest/schemas.py: EventData",
        "ingest/schemas.py: RawData",
        "ingest/mapping.py: EventID", "ingest/mapping.py: HostName", "ingest/mapping.py: RawData", "ingest/mapping.py: TimeCreated",
        "detect/cases.py: EventData", "detect/cases.py: EventID", "detect/cases.py: TimeCreated", "detect/sigma/",
        "ingest/replay.py: CreationTime",
        "ingest/replay.py: EventTime", "ingest/replay.py: TimeCreated", "ingest/replay.py: eventTime",
    ),
    # FileHash is a type of entity, HostName what identifies a host; both are columns of some table as well.
    "Sentinel's entity types, identifiers and words": (
        "tables/entitykeys.py", "detect/alertentities.py", "content/schemas.py: RegistryKey", "content/schemas.py: RegistryValue",
        "tables/entities.py", "tables/aliases.py", "detect/entities.py", "incidents/", "workspace/alertrows.py: FileHash",
        "workspace/story.py: ProcessId",
        "detect/alert.py: LateralMovement", "detect/alert.py: AlertType",
        "detect/make.py: ProductName", "state/incident_alerts.py: TruePositive", "state/rule_alerts.py: TruePositive",
        "workspace/rulecare.py: TruePositive",
        "workspace/rulework.py: TruePositive",
    ),
    "the state database's own": (
        "state/", "access/service.py: display_name", "detect/tuning.py: created_by", "workspace/rulecare.py: created_by",
        "workspace/rulework.py: created_by",
    ),
    "what the API calls it": ("workspace/entitypages.py: alert_id", "workspace/entitypages.py: first_seen", "workspace/entitypages.py: last_seen"),
    "what a pack's function calls it": ("workspace/story.py: ParentPid",),
    "the language's": (
        "kql/binder/operators/forks.py: count_", "kql/binder/operators/graph.py: ComponentId", "kql/binder/operators/rows.py: DataType",
        "kql/functions/python/parse_udfs.py", "kql/mistakes.py: EventID",
    ),
    "the one place that says it": (
        "tables/watchlists.py", "ingest/overflow.py: AdditionalFields", "ingest/overflow.py: ManagementGroupName",
        "ingest/overflow.py: SourceComputerId",
        "ingest/overflow.py: TableName",
    ),
}  # fmt: skip
"""Where a text may be what a column is called, by the reason: a room, a module, or a module's single name."""


def literals(tree: ast.Module) -> Iterator[tuple[ast.Constant, str]]:
    """Texts of a module that aren't docstrings."""
    docs = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node, node.value


def named(words: frozenset[str], dotted: frozenset[str]) -> set[str]:
    """`module: name` for each of the names that stands in a text of Python.

    A table that is called by a plain word (Event, Heartbeat) is left out, unless Tocsin writes it and the text is nothing else: it would be
    found in sentences and in other people's protocols.
    """
    plain = frozenset(w for w in words if re.fullmatch(r"[A-Z]?[a-z]+", w))
    alone = plain & {own(role).name for role in ROLES}
    found = set()
    for path in SOURCES.rglob("*.py"):
        module = path.relative_to(SOURCES).as_posix()
        tree = ast.parse(path.read_text())
        names_of_all = exported(tree)
        for node, text in literals(tree):
            if id(node) in names_of_all:
                continue
            found |= {f"{module}: {w}" for w in (words - plain).intersection(re.findall(r"\w+", text))}
            found |= {f"{module}: {text}" for _ in range(text in alone)}
            found |= {f"{module}: {d}" for d in dotted.intersection(re.findall(r"[\w.-]+", text))}
    return found


def exported(tree: ast.Module) -> set[int]:
    """The nodes of a module's `__all__`."""
    return {
        id(n)
        for a in ast.walk(tree)
        if isinstance(a, ast.Assign) and "__all__" in map(_target, a.targets)
        for n in ast.walk(a)
    }


def _target(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def is_allowed(name: str) -> bool:
    return any(name in entries for entries in ALLOWED.values())


def test_no_table_or_source_is_named_in_python() -> None:
    sources = {p.source for p in load_packs([packs_dir()]).parsers}
    dotted = frozenset(s for s in sources if "." in s)
    assert {KINDS.windows, KINDS.audit} <= dotted
    assert len(dotted) > 50
    found = named(catalogue().names(), dotted)
    assert not (more := sorted(n for n in found if not is_allowed(n))), more
    gone = [e for entries in ALLOWED.values() for e in entries if e not in found]
    assert not gone, f"allowed without need: {gone}"


def columns_named(names: frozenset[str]) -> set[str]:
    """`module: name` for each text of Python that is a column's name and nothing else."""
    found = set()
    for path in SOURCES.rglob("*.py"):
        module = path.relative_to(SOURCES).as_posix()
        tree = ast.parse(path.read_text())
        names_of_all = exported(tree)
        found |= {
            f"{module}: {text}" for node, text in literals(tree) if text in names and id(node) not in names_of_all
        }
    return found


def test_no_column_is_named_in_python() -> None:
    """Names of several words: a plain one (`Name`, `Type`) is found everywhere. The columns that every table has aren't content's."""
    every = frozenset(c.name for info in catalogue() for c in info.schema.columns)
    names = frozenset(n for n in every if re.search("[a-z][A-Z]|_", n)) - {c.name for c in STANDARD_COLUMNS}
    assert len(names) > 10_000
    found = columns_named(names)
    entries = [e for reason in COLUMNS.values() for e in reason]
    more = sorted(n for n in found if not any(n == e or (": " not in e and n.startswith(e)) for e in entries))
    assert not more, f"columns named in Python: move them into a declaration or a pack: {more}"
    gone = [e for e in entries if not any(n == e or (": " not in e and n.startswith(e)) for n in found)]
    assert not gone, f"allowed without need: {gone}"


@pytest.mark.parametrize("role", ROLES)
def test_own_tables_are_declared_with_their_columns(role: str) -> None:
    table = own(role)
    schema = catalogue().table(table.name)
    assert schema is not None
    columns = {c.name for c in schema.columns}
    held = {*table.columns, *table.constants, *(c for _, by in table.entities.values() for c in by.values())}
    extra = (
        {"Stage"} if role == "alert_reference" else set()
    )  # of the evidence of a pattern, which is no row of the lake
    assert held - extra <= columns


def test_a_row_has_what_is_known_and_refuses_what_no_column_holds() -> None:
    table = own("alert_info")
    assert table.row(id="al_1", severity="High") == {"AlertId": "al_1", "Severity": "High"}
    with pytest.raises(KeyError, match="AlertInfo has no column for colour"):
        table.row(colour="red")
    assert own("alerts").column("id") == "SystemAlertId"
    with pytest.raises(KeyError):
        table.column("colour")

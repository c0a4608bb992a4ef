"""An engine for queries on their own: the shipped tables, all of them empty, and the packs' functions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from typing import Any

from tocsin.base.clock import Clock, SystemClock
from tocsin.content import load_packs, packs_dir
from tocsin.kql import CompiledQuery, compile_query
from tocsin.kql.diagnostics import Diagnostic
from tocsin.lake.engine import Engine, Limits
from tocsin.query.catalog import WorkspaceCatalog
from tocsin.tables import Catalogue, catalogue
from tocsin.workspace.places import use_places
from tocsin.workspace.settings import load_settings

__all__ = ["CaseEngine"]

_LIMITS = Limits(rows=None, seconds=60.0, result_bytes=None)


_OTHERS = frozenset(("Custom log", "AWS", "GCP", "Crowdstrike"))
_OTHER_NAMES = ("GCP", "GKE", "Google")


class _Typical:
    """Which tables a wildcard means where no lake tells: Microsoft's own.

    No workspace has the tables of all six hundred vendors at once; their columns of the same name and other types would split the common
    ones (``Operation`` into ``Operation_string`` and ``Operation_dynamic``), which no query over `union *` expects.
    """

    def __init__(self, declared: Catalogue) -> None:
        own = {}
        for name in declared.names():
            info = declared.info(name)
            if info is not None and info.category not in _OTHERS and not name.startswith(_OTHER_NAMES):
                own[name.lower()] = name
        self._names = sorted(own.values())

    def schema(self, table: str) -> None:
        """No tables but the declared ones."""

    def tables(self) -> list[str]:
        """No tables of its own."""
        return []

    def populated(self) -> list[str]:
        """What wildcards mean."""
        return self._names


class CaseEngine:
    """Compiles and runs queries that bring their own rows, or none."""

    def __init__(self, clock: Clock | None = None) -> None:
        content = load_packs([packs_dir()], only=("functions", "watchlists"))
        functions = {f.name: f for f in content.functions}
        watchlists = {w.alias: w.table.slice(0, 0) for w in content.watchlists}
        declared = catalogue()
        self.catalog = WorkspaceCatalog(declared, _Typical(declared), functions, watchlists)  # type: ignore[arg-type]
        self._engine = Engine(catalog=declared)
        self._stack = ExitStack()
        self._stack.callback(self._engine.close)
        self._stack.enter_context(use_places(load_settings().geoip.database))
        self._clock = clock or SystemClock()
        self._placeless = False

    def __enter__(self) -> CaseEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        if self._placeless:
            from tocsin.kql.functions.python import geoip

            geoip.configure(None)

    def run(self, text: str) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
        """Column names and rows. Raises KqlErrors or QueryError."""
        return self._run(self._compile(text))

    def accept(self, text: str) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
        """The same, with external data standing as an empty table and the database of places as one that knows none."""
        self._stand_in()
        return self._run(self._compile(text, external=_empty))

    def diagnostics(self, text: str, source: str = "") -> tuple[Diagnostic, ...]:
        """What is wrong with a text, wherever it runs. `source`: it is a parser's query over rows of that kind."""
        from tocsin.ingest.schemas import SOURCE, fixed_schema
        from tocsin.kql.language import diagnostics
        from tocsin.kql.parser import parse_partial

        self._stand_in()
        catalog = self.catalog
        if source:
            schema = fixed_schema(source)
            if schema is None:
                return parse_partial(text)[1]
            catalog = replace(catalog, schemas={SOURCE: schema})
        return diagnostics(text, catalog, self._clock.now(), external=_empty)

    def _stand_in(self) -> None:
        """Where no database of places is configured, one that knows none."""
        from tocsin.kql.functions.python import geoip

        if not geoip.configured():
            geoip.configure(lambda _: None)
            self._placeless = True

    def explain(self, text: str) -> str:
        """Tables, columns, SQL and plan."""
        compiled = self._compile(text, external=_empty)
        facts = [
            f"tables: {', '.join(sorted(compiled.tables)) or 'none'}",
            f"columns: {', '.join(f'{c.name}:{c.type.value}' for c in compiled.columns)}",
            f"row-wise: {'yes' if compiled.row_wise else 'no'}, uses now(): {'yes' if compiled.uses_now else 'no'}",
        ]
        plan = self._engine.explain(compiled, catalog=self.catalog)
        return "\n".join([*facts, "", compiled.sql, "", plan])

    def _compile(self, text: str, external: Any = None) -> CompiledQuery:
        now: datetime = self._clock.now()
        return compile_query(text, self.catalog, now=now, external=external, resolver=lambda part: self._run(part)[1])

    def _run(self, compiled: CompiledQuery) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
        result = self._engine.run(compiled, limits=_LIMITS, catalog=self.catalog)
        return [c.name for c in result.columns], result.rows()


def _empty(*_: object) -> None:
    """External data: an empty table of the declared columns."""

"""Emitters: the typed plan to one engine's SQL. What is common to all engines is here; an engine is a sub-package."""

from __future__ import annotations

from collections.abc import Iterable

from tocsin.kql.types import Column

__all__ = ["physical_names"]


def physical_names(columns: Iterable[Column]) -> list[str]:
    """The columns' names in a relation of an engine that folds case.

    Kusto tells ``LogonId`` from ``LogonID``, DuckDB does not: of columns that differ only by case, the second is named with the
    suffix ``__2``, the third ``__3``. The lake writes files and the emitter reads them by these names.
    """
    seen: dict[str, int] = {}
    names: list[str] = []
    for column in columns:
        folded = column.name.lower()
        number = seen.get(folded, 0) + 1
        seen[folded] = number
        names.append(column.name if number == 1 else f"{column.name}__{number}")
    return names

"""The table of functions by name, old spellings included."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from tocsin.kql.functions import (
    aggregates,
    aggregates_rows,
    bins,
    conditional,
    conversion,
    datetime,
    datetime_formats,
    digests,
    dynamic,
    geo,
    ip,
    math,
    parsing,
    regexes,
    series,
    strings,
    units,
    windows,
)
from tocsin.kql.functions.model import Aggregate, ScalarFunction

__all__ = ["aggregate", "aggregate_names", "all_aggregates", "all_scalars", "scalar", "scalar_names"]

_SCALAR_MODULES = (
    bins,
    conditional,
    conversion,
    datetime,
    datetime_formats,
    digests,
    dynamic,
    geo,
    ip,
    math,
    parsing,
    regexes,
    series,
    strings,
    units,
    windows,
)
_AGGREGATE_MODULES = (aggregates, aggregates_rows, digests)


@cache
def _scalars() -> dict[str, ScalarFunction]:
    table: dict[str, ScalarFunction] = {}
    for function in all_scalars():
        for name in (function.name, *function.aliases):
            if name in table:
                raise ValueError(f"the function {name} is defined twice")
            table[name] = function
    return table


@cache
def _aggregates() -> dict[str, Aggregate]:
    table: dict[str, Aggregate] = {}
    for function in all_aggregates():
        for name in (function.name, *function.aliases):
            if name in table:
                raise ValueError(f"the aggregate {name} is defined twice")
            table[name] = function
    return table


def scalar(name: str) -> ScalarFunction | None:
    """The scalar function of that name or old spelling. Names are case-sensitive."""
    return _scalars().get(name)


def aggregate(name: str) -> Aggregate | None:
    """The aggregate of that name or old spelling."""
    return _aggregates().get(name)


def all_scalars() -> Iterator[ScalarFunction]:
    """Every scalar function once."""
    for module in _SCALAR_MODULES:
        yield from module.FUNCTIONS


def all_aggregates() -> Iterator[Aggregate]:
    """Every aggregate once."""
    for module in _AGGREGATE_MODULES:
        yield from module.AGGREGATES


def scalar_names() -> list[str]:
    """Every name of a scalar function, old spellings too: for suggestions."""
    return list(_scalars())


def aggregate_names() -> list[str]:
    """Every name of an aggregate, old spellings too."""
    return list(_aggregates())

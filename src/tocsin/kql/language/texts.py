"""What the language service says of operators, functions and plugins, and which texts it knows of an argument."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from tocsin.kql.cursor_place import CallPlace
from tocsin.kql.functions import units
from tocsin.kql.functions.docs import signature
from tocsin.kql.functions.model import Aggregate, ScalarFunction
from tocsin.kql.functions.specials import SpecialFunction
from tocsin.kql.operator_docs import OperatorDoc
from tocsin.kql.types import Catalog

__all__ = ["function_text", "known_texts", "operator_text", "plugin_names", "special_text"]

_PERIODS: Final = (
    *("year", "quarter", "month", "week", "day", "hour", "minute", "second"),
    *("millisecond", "microsecond", "nanosecond"),
)
_PARTS: Final = (*_PERIODS[:3], "week_of_year", "day", "dayofyear", *_PERIODS[5:])
_UNITS: Final[Mapping[str, Mapping[str, object]]] = {
    "convert_angle": units.ANGLE,
    "convert_energy": units.ENERGY,
    "convert_force": units.FORCE,
    "convert_length": units.LENGTH,
    "convert_mass": units.MASS,
    "convert_speed": units.SPEED,
    "convert_volume": units.VOLUME,
}
_TABLE_ARGUMENTS: Final = frozenset(("table",))


def operator_text(doc: OperatorDoc) -> str:
    """An operator or statement as Markdown."""
    example = f"\n\n```kusto\n{doc.example}\n```" if doc.example else ""
    return f"```kusto\n{doc.syntax}\n```\n{doc.doc}{example}"


def function_text(function: ScalarFunction | Aggregate, name: str) -> str:
    """A function as Markdown, under the name by which it was called."""
    returns = f" → {function.returns}" if isinstance(function, ScalarFunction) and function.returns else ""
    examples = "\n".join(f"{e.kql}  // {e.result}" for e in function.examples[:3])
    shown = f"\n\n```kusto\n{examples}\n```" if examples else ""
    refused = f"\n\nRefused: {function.refused}." if function.refused else ""
    call = name + signature(function)[len(function.name) :]
    other = f"\n\nAnother spelling of {function.name}." if name != function.name else ""
    return f"```kusto\n{call}{returns}\n```\n{function.doc}{other}{refused}{shown}"


def special_text(function: SpecialFunction) -> str:
    """The same of a function that the binder knows by itself."""
    returns = f" → {function.returns}" if function.returns else ""
    return f"```kusto\n{function.signature}{returns}\n```\n{function.doc}\n\n```kusto\n{function.example}\n```"


def plugin_names() -> list[str]:
    """The plugins that run here."""
    from tocsin.kql.binder.operators import plugins

    return plugins.plugin_names()


def known_texts(call: CallPlace, catalog: Catalog) -> Iterator[tuple[str, str]]:
    """Texts that an argument may be, each with a word about it: aliases of watchlists, tables, periods, units."""
    first = call.argument == 0
    if call.name == "_GetWatchlist" and first:
        for alias in sorted(getattr(catalog, "watchlists", ())):
            yield alias, "watchlist"
    elif call.name in _TABLE_ARGUMENTS and first:
        held = set(catalog.table_names())
        every = getattr(catalog, "all_table_names", catalog.table_names)
        for name in (*sorted(held), *sorted(set(every()) - held)):
            yield name, "table"
    elif call.name in ("datetime_add", "datetime_diff") and first:
        for name in _PERIODS:
            yield name, "period"
    elif call.name in ("datetime_part", "getmonth") and first:
        for name in _PARTS:
            yield name, "part of a datetime"
    elif call.name in _UNITS and call.argument in (1, 2):
        for name in _UNITS[call.name]:
            yield name, "unit"

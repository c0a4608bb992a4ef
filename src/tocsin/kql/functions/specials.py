"""Functions that the binder and the parser know by themselves, because they look at more than their arguments' values.

Their documentation is data like that of the others (`model.ScalarFunction`); reference, completion, hover and signature help read both. A
test compares this table with the binder's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["SPECIALS", "SpecialFunction", "all_specials", "special"]


@dataclass(frozen=True, slots=True)
class SpecialFunction:
    """`parameters` as the call is written; `returns` a type or "a table"; `example` a query that runs on any workspace.

    `tabular`: it stands where a table stands.
    """

    name: str
    parameters: str
    returns: str
    doc: str
    group: str
    example: str
    aliases: tuple[str, ...] = ()
    tabular: bool = False

    @property
    def signature(self) -> str:
        """The call as it is written."""
        return f"{self.name}({self.parameters})"


SPECIALS: Final[tuple[SpecialFunction, ...]] = (
    SpecialFunction(
        "now",
        "offset: timespan?",
        "datetime",
        "The time at which the query began, the same wherever it stands in the query; with an offset, so much later.",
        "Datetime and timespan",
        "print Tomorrow = now(1d)",
    ),
    SpecialFunction(
        "ago",
        "span: timespan",
        "datetime",
        "The time at which the query began, less the span.",
        "Datetime and timespan",
        "DeviceProcessEvents | where Timestamp > ago(1h)",
    ),
    SpecialFunction(
        "bin_auto",
        "value: number|datetime|timespan",
        "",
        "bin() with the size that the query sets by query_bin_auto_size, counted from query_bin_auto_at where that is set.",
        "Datetime and timespan",
        "set query_bin_auto_size=1h; DeviceProcessEvents | summarize count() by bin_auto(Timestamp)",
    ),
    SpecialFunction(
        "column_ifexists",
        "name: string!, default: any",
        "",
        "The column of that name, or the default where the table has none.",
        "Columns and tables",
        "DeviceProcessEvents | extend Sha = column_ifexists('SHA3', '')",
        ("columnifexists",),
    ),
    SpecialFunction(
        "pack_all",
        "ignore_null_empty: bool?!",
        "dynamic",
        "A bag of all columns of the row; with true, without those that are null or empty.",
        "Columns and tables",
        "DeviceProcessEvents | project Row = pack_all(true)",
    ),
    SpecialFunction(
        "bag_pack_columns",
        "column: any…",
        "dynamic",
        "A bag of the given columns, each under its name.",
        "Columns and tables",
        "DeviceProcessEvents | project Who = bag_pack_columns(DeviceName, AccountName)",
    ),
    SpecialFunction(
        "column_names_of",
        "table: table",
        "dynamic",
        "An array of the names of a table's columns.",
        "Columns and tables",
        "print column_names_of(DeviceProcessEvents)",
    ),
    SpecialFunction(
        "toscalar",
        "query: table",
        "",
        "The first column of the first row of a query, as one value; null where it has no row.",
        "Columns and tables",
        "print Events = toscalar(DeviceProcessEvents | count)",
    ),
    SpecialFunction(
        "materialize",
        "query: table",
        "a table",
        "The rows of a query, computed once however often a let that holds them is used.",
        "Columns and tables",
        "let Shells = materialize(DeviceProcessEvents | where FileName == 'bash'); Shells | count",
        tabular=True,
    ),
    SpecialFunction(
        "table",
        "name: string!",
        "a table",
        "The table of that name, for names that a let or a parameter holds.",
        "Columns and tables",
        "table('DeviceProcessEvents') | take 1",
        tabular=True,
    ),
    SpecialFunction(
        "dynamic",
        "JSON",
        "dynamic",
        "A constant array, bag or value, written as JSON. For an expression use pack_array, bag_pack or parse_json.",
        "Columns and tables",
        "print dynamic(['cmd.exe', 'powershell.exe'])",
    ),
    SpecialFunction(
        "typeof",
        "type",
        "",
        "Names a type where an operator or function asks for one: mv-expand … to typeof(string), extract(…, typeof(long)).",
        "Columns and tables",
        "print d = dynamic([1, 2]) | mv-expand d to typeof(long)",
    ),
    SpecialFunction(
        "current_principal",
        "",
        "string",
        "The name of who runs the query.",
        "Columns and tables",
        "print current_principal()",
    ),
    SpecialFunction(
        "current_database",
        "",
        "string",
        "The name of the database: Tocsin.",
        "Columns and tables",
        "print current_database()",
    ),
)
"""By subject."""

_BY_NAME: Final = {name: entry for entry in SPECIALS for name in (entry.name, *entry.aliases)}


def special(name: str) -> SpecialFunction | None:
    """The function of that name or old spelling."""
    return _BY_NAME.get(name)


def all_specials() -> Iterator[SpecialFunction]:
    """Every one once."""
    yield from SPECIALS

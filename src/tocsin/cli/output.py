"""Rows on a terminal, in a pipe, in a file. What logs hold is shown as text and never obeyed: no escape sequence reaches a terminal."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import pyarrow as pa

    from tocsin.lake.engine import QueryResult

__all__ = [
    "cell",
    "json_text",
    "one_line",
    "pipe_may_end",
    "print_csv",
    "print_json",
    "print_lines",
    "print_records",
    "print_rows",
    "safe_text",
    "say",
    "size_text",
    "spreadsheet_cell",
    "write_parquet",
]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NARROWEST = 12
"""Columns that a table's cell needs to be readable; with less for each, rows are printed one below the other."""
_UNUSUAL = re.compile(r"[^\n -~]")
_REPLACED = {"\n": "⏎", "\r": "␍", "\t": "⇥"}


def cell(value: Any) -> str:
    """A value as text: nothing for null, JSON for arrays, bags and bools."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | bool) else str(value)


def safe_text(text: str, *, lines: bool = False) -> str:
    """`text` for a terminal: control characters and those that turn the direction of writing become visible. `lines`: line breaks stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c == "\n" and lines else _REPLACED.get(c) or (c if _harmless(c) else f"\\u{ord(c):04x}") for c in text
    )


def say(text: str = "", *, error: bool = False, hang: int | None = None) -> None:
    """Prints a text with what it names (titles, names, what people wrote) so that nothing of it is obeyed; line breaks stay. `hang`: on a terminal,
    lines that are too long for it go on so many columns in; in a pipe or a file each stays one line, as searches want it."""
    out = sys.stderr if error else sys.stdout
    safe = safe_text(text, lines=True)
    print(_hung(safe, hang) if hang is not None and out.isatty() else safe, file=out)


def _hung(text: str, hang: int) -> str:
    width = max(shutil.get_terminal_size().columns, hang + _NARROWEST)
    return "\n".join(
        textwrap.fill(line, width, subsequent_indent=" " * hang, replace_whitespace=False, break_on_hyphens=False)
        for line in text.split("\n")
    )


def one_line(text: str) -> str:
    """A line for where lines must not wrap, as in a drawn tree: on a terminal its end is left out where it is too long, elsewhere it stays whole."""
    width = shutil.get_terminal_size().columns
    return text if not sys.stdout.isatty() or len(text) <= width else f"{text[: width - 1]}…"


def json_text(value: Any, *, indent: int | None = 2) -> str:
    """JSON as a terminal may see it: what would move the cursor or turn the direction of writing is escaped, which says the same."""
    text = json.dumps(value, indent=indent, default=str, ensure_ascii=False)
    return _UNUSUAL.sub(lambda m: m[0] if _harmless(m[0]) else json.dumps(m[0])[1:-1], text)


def size_text(count: float) -> str:
    """A number of bytes, as people read it."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


def _harmless(character: str) -> bool:
    category = unicodedata.category(character)
    return category not in ("Cc", "Cs", "Zl", "Zp") and (category != "Cf" or character in "\u200d\u200c\ufe0f")


@contextmanager
def pipe_may_end() -> Iterator[None]:
    """The reader of our output, such as `head`, may go when it has enough: that is the end, and no failure."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would write what is left when it ends, and complain: that goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


# ---------------------------------------------------------------------------------------------- for people


def print_rows(result: QueryResult, *, records: bool = False) -> None:
    """A table where the terminal is wide enough, else each row below the other."""
    from rich.console import Console

    class Here(Console):
        """Leaves a reader that has gone to `pipe_may_end`; rich would end the program with a failure."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    # Into a pipe or file, where nobody said how wide it is, lines may be as long as they need.
    console = Here(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 240)
    rows = result.rows()
    names = [safe_text(c.name) for c in result.columns]
    if records or not _fits(names, rows, console.width):
        print_records(console, names, rows)
    else:
        _print_table(console, names, rows, [c.type.is_numeric for c in result.columns])
    count = f"{len(rows):,} row{'' if len(rows) == 1 else 's'} in {result.seconds:.2f} s"
    if result.queued >= 0.01:
        count += f", after {result.queued:.2f} s until its turn came"
    console.print(count, style="dim", highlight=False)


def _fits(names: Sequence[str], rows: Sequence[Sequence[Any]], width: int) -> bool:
    """Whether each column gets enough of the width: all that it needs, or as much as makes wrapped text readable."""
    needed = 1
    for k, name in enumerate(names):
        widest = max((len(cell(row[k])) for row in rows[:200]), default=0)
        needed += min(max(len(name), widest), max(len(name), _NARROWEST)) + 3
    return needed <= width


def _print_table(console: Any, names: Sequence[str], rows: Sequence[Sequence[Any]], numeric: Sequence[bool]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold", row_styles=("", "dim"))
    for name, number in zip(names, numeric, strict=True):
        table.add_column(Text(name), overflow="fold", justify="right" if number else "left")
    for row in rows:
        table.add_row(*(Text(safe_text(cell(v))) for v in row))
    console.print(table)


def print_records(console: Any, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Each row as lines of name and value; empty values are left out."""
    from rich.text import Text

    width = min(max(map(len, names), default=0), 40)
    for number, row in enumerate(rows, 1):
        console.print(
            Text(f"── row {number} " + "─" * max(0, min(console.width, 80) - 9 - len(str(number))), style="bold")
        )
        for name, value in zip(names, row, strict=True):
            shown = safe_text(cell(value))
            if shown:
                line = Text.assemble((name.ljust(width), "cyan"), "  ", shown)
                console.print(line, soft_wrap=True, highlight=False)


# ---------------------------------------------------------------------------------------------- for programs


def print_json(result: QueryResult) -> None:
    """One object: columns with types, rows as arrays."""
    answer = {
        "columns": [{"name": c.name, "type": c.type.value} for c in result.columns],
        "rows": result.rows(),
        "truncated": result.truncated,
        "seconds": round(result.seconds, 4),
        "queue_seconds": round(result.queued, 4),
    }
    json.dump(answer, sys.stdout, ensure_ascii=False)
    sys.stdout.write("\n")


def print_lines(result: QueryResult) -> None:
    """One object a row, by column name."""
    for row in result.dicts():
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")


def print_csv(result: QueryResult, *, safe: bool) -> None:
    """RFC 4180. `safe`: an apostrophe before what a spreadsheet would run as a formula."""
    writer = csv.writer(sys.stdout)
    guard = spreadsheet_cell if safe else cell
    writer.writerow([guard(c.name) for c in result.columns])
    for row in result.rows():
        writer.writerow([guard(v) for v in row])


def spreadsheet_cell(value: Any) -> str:
    """A value as text, with an apostrophe before what a spreadsheet would run as a formula."""
    text = cell(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return "'" + text if not number and text.startswith(_FORMULA) else text


def write_parquet(path: Path, result: QueryResult) -> None:
    """The rows as a Parquet file, whole or not at all.

    Datetimes are timestamps in UTC, to 100 ns where the rows need that; timespans, guids and dynamic values are text as KQL prints them.
    Raises UsageError USE0014: the file can't be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tocsin.base.errors import UsageError

    arrays = [_parquet_column(result, k) for k in range(len(result.columns))]
    table = pa.table(arrays, names=result.names)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        pq.write_table(table, part, compression="zstd")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UsageError(
            f"cannot write {path}: {reason}", code="USE0014", hint="Name a file in a folder that exists."
        ) from None


def _parquet_column(result: QueryResult, index: int) -> pa.Array | pa.ChunkedArray:
    import pyarrow as pa

    from tocsin.kql.types import KqlType

    column = result.columns[index]
    values = result.table.column(index)
    if column.type is KqlType.DATETIME and not pa.types.is_null(values.type):
        return _timestamps(values, column.ticks)
    if column.type in (KqlType.TIMESPAN, KqlType.DATETIME):
        return pa.array([None if v is None else str(v) for v in result.column_values(index)], pa.string())
    if column.type is KqlType.STRING:
        return values.cast(pa.string()).fill_null("")
    if column.type in (KqlType.DYNAMIC, KqlType.GUID):
        return values.cast(pa.string())
    kinds = {KqlType.BOOL: pa.bool_(), KqlType.INT: pa.int32(), KqlType.LONG: pa.int64(), KqlType.REAL: pa.float64()}
    kind = kinds.get(column.type)
    return values.cast(kind, safe=False) if kind is not None and values.type != kind else values


_EPOCH = 621_355_968_000_000_000
"""1970-01-01 in ticks."""


def _timestamps(values: pa.ChunkedArray, ticks: bool) -> pa.Array | pa.ChunkedArray:
    import pyarrow as pa

    if not ticks:
        return values.cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
    numbers = [None if v is None else v - _EPOCH for v in values.to_pylist()]
    known = [n for n in numbers if n is not None]
    if all(n % 10 == 0 for n in known):
        return pa.array([None if n is None else n // 10 for n in numbers], pa.timestamp("us", "UTC"))
    if all(abs(n) < 2**63 // 100 for n in known):
        return pa.array([None if n is None else n * 100 for n in numbers], pa.timestamp("ns", "UTC"))
    return pa.array([None if n is None else n // 10 for n in numbers], pa.timestamp("us", "UTC"))

"""`tocsin query`: KQL over a data folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tocsin.lake.engine import QueryResult

__all__ = ["query"]


def query(
    text: Annotated[
        str | None, typer.Argument(metavar="KQL", help="The query; - reads it from standard input.", show_default=False)
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Read the query from a file.")] = None,
    data: Annotated[Path, typer.Option(help="The data folder: of a server, or kept by `tocsin scan --keep`.")] = Path(
        "data"
    ),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: columns, rows, truncated, seconds.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV (RFC 4180) with a header.")] = False,
    parquet: Annotated[Path | None, typer.Option(help="Write the rows to a Parquet file.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Print the engine's plan instead of running.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows at most; the output says when there were more.")] = 10_000,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time that the query may take.")] = 300.0,
) -> None:
    """Run a KQL query over the tables of a data folder."""
    from tocsin.base.errors import UsageError
    from tocsin.lake.engine import Limits
    from tocsin.workspace.offline import open_queries

    if (text is None) == (file is None):
        raise UsageError("give a query, or --file with one", code="USE0004")
    if file is not None:
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read {file}: {error}", code="USE0005") from error
    if text == "-":
        text = sys.stdin.read()
    assert text is not None
    with open_queries(data) as queries:
        if explain:
            print(queries.explain(text))
            return
        result = queries.run(text, limits=Limits(rows=limit, seconds=seconds))
        if parquet is not None:
            _write_parquet(parquet, result)
        elif as_json:
            _print_json(result)
        elif as_csv:
            _print_csv(result)
        else:
            _print_table(result)


def _print_json(result: QueryResult) -> None:
    import json

    columns = [{"name": c.name, "type": c.type.value} for c in result.columns]
    answer = {
        "columns": columns,
        "rows": result.rows(),
        "truncated": result.truncated,
        "seconds": round(result.seconds, 4),
    }
    json.dump(answer, sys.stdout, ensure_ascii=False)
    sys.stdout.write("\n")


def _print_csv(result: QueryResult) -> None:
    import csv

    writer = csv.writer(sys.stdout)
    writer.writerow([c.name for c in result.columns])
    for row in result.rows():
        writer.writerow([_cell(v) for v in row])
    _say_truncated(result)


def _print_table(result: QueryResult) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(header_style="bold", row_styles=("", "dim"))
    for column in result.columns:
        table.add_column(column.name, overflow="fold")
    rows = result.rows()
    for row in rows:
        table.add_row(*(Text(_cell(v)) for v in row))
    console.print(table)
    console.print(
        f"{len(rows):,} row{'' if len(rows) == 1 else 's'} in {result.seconds:.2f} s", style="dim", highlight=False
    )
    _say_truncated(result)


def _write_parquet(path: Path, result: QueryResult) -> None:
    import pyarrow.parquet as pq

    pq.write_table(result.table.rename_columns([c.name for c in result.columns]), path, compression="zstd")
    print(f"{result.table.num_rows:,} rows in {path}")
    _say_truncated(result)


def _say_truncated(result: QueryResult) -> None:
    if result.truncated:
        print(f"There were more rows; --limit stopped at {result.table.num_rows:,}.", file=sys.stderr)


def _cell(value: Any) -> str:
    import json

    if value is None:
        return ""
    return (
        value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False)
        if isinstance(value, list | dict | bool)
        else str(value)
    )

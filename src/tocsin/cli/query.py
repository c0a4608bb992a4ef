"""`tocsin query`: KQL over a data folder."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tocsin.lake.engine import QueryResult

__all__ = ["query"]


def query(
    text: Annotated[
        str | None, typer.Argument(metavar="KQL", help="The query; - reads it from standard input.", show_default=False)
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Read the query from a file; - is standard input.")] = None,
    data: Annotated[Path, typer.Option(help="The data folder: of a server, or kept by `tocsin scan --keep`.")] = Path(
        "data"
    ),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: columns, rows, truncated, seconds.")
    ] = False,
    as_lines: Annotated[bool, typer.Option("--ndjson", help="Print one JSON object a row.")] = False,
    as_csv: Annotated[
        bool,
        typer.Option(
            "--csv",
            help="Print CSV (RFC 4180) with a header, values as they are. A spreadsheet may run values that begin with =, +, - or @: see --csv-safe.",
        ),
    ] = False,
    csv_safe: Annotated[
        bool, typer.Option("--csv-safe", help="Print CSV for spreadsheets: an apostrophe before what they would run.")
    ] = False,
    parquet: Annotated[Path | None, typer.Option(help="Write the rows to a Parquet file.")] = None,
    records: Annotated[
        bool, typer.Option("--list", help="Print each row as lines of name and value, as is done for wide tables.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Print plan and SQL instead of running.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows at most; the output says when there were more.")] = 10_000,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time that the query may take.")] = 300.0,
) -> None:
    """Run a KQL query over the tables of a data folder."""
    from tocsin.base.errors import UsageError
    from tocsin.cli import output
    from tocsin.cli.texts import one_text
    from tocsin.lake.engine import Limits
    from tocsin.workspace.offline import open_queries

    forms = {
        "--json": as_json,
        "--ndjson": as_lines,
        "--csv": as_csv,
        "--csv-safe": csv_safe,
        "--parquet": parquet is not None,
        "--list": records,
        "--explain": explain,
    }
    chosen = [name for name, given in forms.items() if given]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} exclude each other", code="USE0004", hint="Choose one.")
    source = one_text(text, file)
    with open_queries(data) as queries, output.pipe_may_end():
        if explain:
            print(queries.explain(source))
            return
        limits = Limits(rows=limit, seconds=seconds)
        result = _until_interrupted(lambda cancel: queries.run(source, limits=limits, cancel=cancel))
        if parquet is not None:
            output.write_parquet(parquet, result)
            print(f"{len(result):,} row{'' if len(result) == 1 else 's'} in {parquet}", file=sys.stderr)
        elif as_json:
            output.print_json(result)
        elif as_lines:
            output.print_lines(result)
        elif as_csv or csv_safe:
            output.print_csv(result, safe=csv_safe)
        else:
            output.print_rows(result, records=records)
    for problem in result.problems:
        print(f"tocsin: {problem}", file=sys.stderr)
    if result.truncated:
        print(f"There were more rows; --limit stopped at {len(result):,}.", file=sys.stderr)


_LOOK_SECONDS = 0.1


def _until_interrupted(run: Callable[[threading.Event], QueryResult]) -> QueryResult:
    """Runs in a thread of its own: Ctrl-C reaches Python only between the engine's calls, and one call may last minutes."""
    cancel = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(run, cancel)
        try:
            # A wait without end isn't always woken by the signal; between two short ones Python looks for it.
            while not work.done():
                wait([work], _LOOK_SECONDS)
            return work.result()
        except KeyboardInterrupt:
            cancel.set()
            raise

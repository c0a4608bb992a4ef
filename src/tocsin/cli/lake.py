"""`tocsin lake`, `tocsin backup`, `tocsin restore`: what is stored, whether it is whole, and copies of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tocsin.cli import erase
from tocsin.cli.output import size_text

if TYPE_CHECKING:
    from tocsin.base.errors import LakeError
    from tocsin.lake.verify import Verdict

__all__ = ["app", "backup", "lake_settings", "progress_bar", "restore"]

app = typer.Typer(
    help="The stored tables: what is there, whether it is whole, how long it stays.", no_args_is_help=True
)
erase.register(app)
Data = Annotated[Path | None, typer.Option(help="The data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]


@app.command("status")
def status(data: Data = None, as_json: AsJson = False) -> None:
    """Print each table's rows, bytes, first and last row, and how long its rows stay. A server may be running."""
    from tocsin.lake import Lake
    from tocsin.lake.retention import budget_bytes, read_book
    from tocsin.tables import catalogue

    settings = lake_settings(data)
    folder = settings.data / "lake"
    with Lake.open(folder, settings=settings.lake, catalog=catalogue(), read_only=True) as lake:
        stats, problems = lake.stats(), lake.problems
    book, terms = read_book(folder / "retention.json"), lake.retention
    rows: list[dict[str, Any]] = []
    for table in stats:
        wanted = terms.days_of(table.table)
        rows.append(
            {
                "table": table.table,
                "rows": table.rows,
                "bytes": table.bytes,
                "first_event": _iso(table.first_event),
                "last_event": _iso(table.last_event),
                "last_received": _iso(table.last_received),
                "days": book.days.get(table.table, wanted),
                "days_set": wanted,
                "tier": terms.tier_of(table.table),
                "archive_days": terms.archive_days_of(table.table),
                "archived_rows": table.archived_rows,
                "archived_bytes": table.archived_bytes,
                "archived_days": list(table.archived_days),
            }
        )
    total, budget = sum(t.bytes for t in stats), budget_bytes(terms, folder)
    if as_json:
        found = {"tables": rows, "bytes": total, "budget_bytes": budget, "hold": book.hold}
        print(json.dumps({**found, "problems": [str(p) for p in problems]}, indent=2))
        return
    for row in rows:
        stays = f"{row['days']} days" if row["days"] else "for ever"
        if row["days"] != row["days_set"]:
            stays += f" (set to {row['days_set'] or 'for ever'}; waits for retention.undo_days)"
        if row["archived_rows"]:
            stays += f"; archived: {row['archived_rows']:,} rows of {len(row['archived_days'])} days"
        if row["tier"] != "analytics":
            stays += "; lake tier, no rules"
        print(
            f"{row['table']:32} {row['rows']:>12,} rows {size_text(row['bytes']):>10}  last {row['last_event'] or '-'}  {stays}"
        )
    print(
        f"{size_text(total)} of a budget of {size_text(budget)}"
        + (f"; nothing is deleted: {book.hold}" if book.hold else "")
    )
    for problem in problems:
        print(problem, file=sys.stderr)


@app.command("verify")
def verify(
    data: Data = None,
    set_aside: Annotated[
        bool,
        typer.Option(
            "--set-aside",
            help="Take damaged files out of their tables and keep them in lake/damaged. Stop the server first.",
        ),
    ] = False,
    archive: Annotated[
        bool, typer.Option("--archive", help="Check what is in the archive too: every object is read.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check every stored file by its checksum, and the log. Ends with 1 when something is damaged. A server may be running."""
    from tocsin.lake.verify import verify as check

    settings = lake_settings(data)
    with _bar("Checking", quiet or as_json) as progress:
        verdict = check(settings.data / "lake", progress)
    moved = _set_aside(settings, verdict) if set_aside else []
    problems = list(verdict.problems())
    if archive:
        problems += _archive_problems(settings, quiet or as_json)
    if as_json:
        tables = [
            {
                "table": t.table,
                "files": t.files,
                "rows": t.rows,
                "bytes": t.bytes,
                "damaged": [f.path for f, _ in t.damaged],
            }
            for t in verdict.tables
        ]
        print(
            json.dumps(
                {"whole": not problems, "tables": tables, "problems": [str(p) for p in problems], "set_aside": moved},
                indent=2,
            )
        )
    else:
        for problem in problems:
            print(problem, file=sys.stderr)
        for path in moved:
            print(f"set aside  {path}")
        files, size = sum(t.files for t in verdict.tables), sum(t.bytes for t in verdict.tables)
        print(
            f"{files:,} files of {len(verdict.tables)} tables, {size_text(size)}: {f'{len(problems)} problems' if problems else 'whole'}"
        )
        unnamed = sum(t.unnamed for t in verdict.tables)
        if unnamed:
            print(f"{unnamed:,} of them carry no checksum; those were read through instead")
    if problems:
        raise typer.Exit(1)


@app.command("archive")
def archive(data: Data = None, as_json: AsJson = False) -> None:
    """Move rows that are older than lake.retention.archive_days to the archive now. A server does it by itself; stop it first."""
    from tocsin.workspace.workspace import Workspace

    with Workspace.open(lake_settings(data)) as workspace:
        if not workspace.lake.archive.configured:
            from tocsin.base.errors import UsageError

            raise UsageError(
                "there is no archive", code="USE0033", hint="Set lake.archive.folder or lake.archive.bucket."
            )
        moved: list[dict[str, Any]] = [
            {"table": m.table, "rows": m.rows, "bytes": m.bytes, "files": m.files}
            for m in workspace.lake.move_to_archive()
        ]
        problems = [str(p) for p in workspace.lake.problems]
    if as_json:
        print(json.dumps({"moved": moved, "problems": problems}))
    else:
        for each in moved:
            print(f"{each['table']:32} {each['rows']:>12,} rows {size_text(each['bytes']):>10} moved")
        for problem in problems:
            print(problem, file=sys.stderr)
    if problems:
        raise typer.Exit(1)


@app.command("hold")
def hold(
    reason: Annotated[str, typer.Argument(help='Why nothing may be deleted, such as a case number; "" ends the hold.')],
    data: Data = None,
) -> None:
    """Stop retention from deleting anything, or let it go on. The server must be stopped."""
    from tocsin.lake import Lake
    from tocsin.lake.settings import LakeSettings
    from tocsin.state import State

    settings = lake_settings(data)
    with Lake.open(settings.data / "lake", settings=LakeSettings(background=False)) as lake:
        lake.hold(reason)
    state = State.open(settings.database or settings.data / "state.db")
    try:
        with state.write() as unit:
            unit.audit.add("system:command-line", "lake.hold", "lake", "", after={"reason": reason})
    finally:
        state.close()
    print(f"nothing is deleted from now on: {reason}" if reason else "retention deletes again")


def backup(
    target: Annotated[Path, typer.Argument(help="A new folder for the copy.")],
    data: Data = None,
    config: Annotated[
        Path | None, typer.Option(help="The settings file; by default tocsin.toml where you are.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Copy everything that must survive: tables, log, state, your content. The server may go on."""
    from tocsin.workspace.backup import backup as copy
    from tocsin.workspace.settings import load_settings

    settings = load_settings(config, data=data)
    with _bar("Copying", quiet or as_json) as progress:
        made = copy(settings, target, progress)
    if as_json:
        print(
            json.dumps(
                {
                    "folder": str(made.folder),
                    "files": made.files,
                    "bytes": made.bytes,
                    "created": made.created,
                    "state": made.state,
                }
            )
        )
        return
    print(f"{made.files:,} files, {size_text(made.bytes)} in {made.folder}")
    if not made.state:
        print(
            "The state lies in PostgreSQL and isn't in it: back it up with pg_dump at the same time.", file=sys.stderr
        )


def restore(
    source: Annotated[Path, typer.Argument(help="The folder that `tocsin backup` made.")],
    data: Annotated[Path, typer.Option(help="The data folder to make; it must not exist or be empty.")] = Path("data"),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make a data folder of a backup, after proving each file of it by its checksum."""
    from tocsin.workspace.backup import restore as bring

    with _bar("Restoring", quiet or as_json) as progress:
        made = bring(source, data, progress)
    if as_json:
        print(
            json.dumps({"folder": str(made.folder), "files": made.files, "bytes": made.bytes, "created": made.created})
        )
        return
    print(
        f"{made.files:,} files, {size_text(made.bytes)}, as of {made.created}; start it with: tocsin up --data {made.folder}"
    )


def _archive_problems(settings: Any, quiet: bool) -> list[LakeError]:
    from tocsin.lake import Lake

    with (
        Lake.open(settings.data / "lake", settings=settings.lake, read_only=True) as lake,
        _bar("Reading the archive", quiet) as progress,
    ):
        return [*lake.archive.verify(progress)]


def _set_aside(settings: Any, verdict: Verdict) -> list[str]:
    from tocsin.lake import Lake
    from tocsin.lake.settings import LakeSettings

    damaged = [(t.table, [f for f, _ in t.damaged]) for t in verdict.tables if t.damaged]
    if not damaged:
        return []
    with Lake.open(settings.data / "lake", settings=LakeSettings(background=False)) as lake:
        return [str(path) for table, files in damaged for path in lake.set_aside(table, files)]


def lake_settings(data: Path | None) -> Any:
    """The settings, with a data folder that holds a lake. Raises UsageError USE0006 when it holds none."""
    from tocsin.base.errors import UsageError
    from tocsin.workspace.settings import load_settings

    settings = load_settings(data=data)
    if not (settings.data / "lake" / "tables").is_dir():
        raise UsageError(
            f"there is no data in '{settings.data}'", code="USE0006", hint="Name the data folder with --data."
        )
    return settings


@contextmanager
def progress_bar(title: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar of counted things on standard error, when that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def _bar(title: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar of bytes on standard error, when that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _iso(moment: Any) -> str | None:
    return moment.isoformat(timespec="seconds") + "Z" if moment is not None else None

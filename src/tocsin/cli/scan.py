"""`tocsin scan`: an investigator's one command. Files in, explained incidents out, no server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tocsin.cli.output import json_text, safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from tocsin.base.errors import TocsinError
    from tocsin.incidents import Incident
    from tocsin.incidents.priority import Judge
    from tocsin.workspace.scan import Progress, ScanResult

__all__ = ["scan"]

_FEW = 3


def scan(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Files and folders; archives (zip, gz, tar, zst) are opened.", show_default=False),
    ],
    sigma: Annotated[
        list[Path] | None, typer.Option(help="A folder of Sigma rules to match as well; may be repeated.")
    ] = None,
    packs: Annotated[
        list[Path] | None, typer.Option(help="A further pack of rules and parsers; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a self-contained HTML report to this file.")] = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="Keep the tables in this folder, for `tocsin query --data` and `tocsin up --data`."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Read logs, run every rule on the data's own time, and print the incidents.

    Exit code 0: everything was read. 3: some input was unreadable; it is named and the rest was read. 2: wrong usage.
    """
    from rich.console import Console

    from tocsin.base.errors import UsageError

    for path in paths:
        if not path.exists():
            raise UsageError(f"there is no file or folder '{path}'", code="USE0002")
    for path in (*(sigma or ()), *(packs or ())):
        if not path.exists():
            raise UsageError(f"there is no folder '{path}'", code="USE0003")
    # Only now what takes a second to load: a mistyped path is told at once.
    from tocsin.base.caches import user_cache
    from tocsin.workspace import scan as work
    from tocsin.workspace.settings import load_settings

    settings = load_settings()

    errors = Console(stderr=True)
    show = errors.is_terminal and not quiet
    with _Bar(errors) if show else _Silent() as bar:
        result = work.scan(
            paths,
            sigma=sigma or (),
            packs=packs or (),
            keep=keep,
            progress=bar.update,
            places=settings.geoip.database,
            cache=user_cache("sigma"),
            portal=settings.server.address(),
        )
    if html is not None:
        _write_report(html, result)
    if as_json:
        print(json_text(result.to_dict(), indent=None))
    else:
        _print(Console(), result, html, keep)
    raise typer.Exit(3 if result.unreadable else 0)


class _Silent:
    def __enter__(self) -> _Silent:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, progress: Progress) -> None:
        """Nothing to show."""


class _Bar(_Silent):
    """Events, events per second and the file being read; then rules done of all."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[note]}"), TimeElapsedColumn(),
            console=console, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("Reading", total=None, note="")

    def __enter__(self) -> _Bar:
        self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.__exit__(*error)  # type: ignore[arg-type]

    def update(self, progress: Progress) -> None:
        """Draws the state."""
        task = self._bar.tasks[0]
        if progress.stage == "reading":
            rate = progress.events / task.elapsed if task.elapsed else 0.0
            note = f"{progress.events:,} events, {rate:,.0f}/s  {_tail(progress.path)}"
            self._bar.update(self._task, note=note)
        elif progress.stage == "detecting":
            note = f"{progress.done}/{progress.total} rules, {progress.alerts} alerts, {progress.events:,} events"
            self._bar.update(
                self._task, description="Detecting", total=progress.total or 1, completed=progress.done, note=note
            )
        else:
            self._bar.update(self._task, description="Correlating", note=f"{progress.alerts} alerts")


def _tail(path: str, room: int = 48) -> str:
    return path if len(path) <= room else "…" + path[-(room - 1) :]


def _write_report(path: Path, result: ScanResult) -> None:
    from tocsin import __version__
    from tocsin.base.clock import SystemClock
    from tocsin.incidents.report import html_report

    facts = {
        "files": f"{len(result.files):,}",
        "events": f"{result.events:,}",
        "alerts": f"{len(result.alerts):,}",
        "unreadable": sum(f.unreadable for f in result.files),
        "seconds": f"{result.seconds:.1f}",
    }
    text = html_report(
        result.incidents, facts=facts, created=SystemClock().now(), version=__version__, judge=result.judge
    )
    path.write_text(text, encoding="utf-8")


def _print(console: Console, result: ScanResult, html: Path | None, keep: Path | None) -> None:
    from tocsin.incidents import priority

    for incident in sorted(result.incidents, key=lambda i: (-priority(i, result.judge)[0], i.first)):
        _print_incident(console, incident, result.judge)
    if not result.incidents:
        console.print("No incident: no rule that may open one found anything in this data.\n")
    for file in result.files:
        if file.error:
            _line(console, f"unreadable  {file.error}", "red")
    for file in result.files:
        if file.skipped and not file.error:
            _line(console, f"not read    {file.path}: {file.skipped}", "yellow")
        for note in file.notes:
            _line(console, f"note        {file.path}: {note}", "yellow")
    for said in _alike(result.failed_rules):
        _line(console, f"rule        {said}", "yellow")
    if result.unfed:
        unfed = f"{result.unfed} rules had nothing to look at: no source feeds them here, or they need a watchlist (tocsin rules validate)."
        console.print(unfed, markup=False, highlight=False)
    for anomaly in result.anomalies:
        found = f"{anomaly['found']} found in {anomaly['windows']} windows" if anomaly["windows"] else "not looked for"
        _line(
            console, f"anomalies   {anomaly['name']}: {found}{': ' if anomaly['note'] else ''}{anomaly['note']}", "dim"
        )
    rate = result.events / result.seconds if result.seconds else 0
    summary = f"{result.events:,} events of {len(result.files)} files in {result.seconds:.1f} s ({rate:,.0f}/s), {len(result.alerts)} alerts, "
    summary += f"{len(result.incidents)} incident{'' if len(result.incidents) == 1 else 's'}"
    console.print(summary, markup=False, highlight=False)
    if html:
        console.print(f"Report: {html}", markup=False, highlight=False)
    if keep:
        console.print(f"Tables: tocsin query --data {keep} 'search * | take 10'", markup=False, highlight=False)


def _alike(errors: Iterable[TocsinError]) -> Iterator[str]:
    """What is wrong with rules; of complaints that differ by their place only, the first few: a folder may hold hundreds of files that are none."""
    groups: dict[tuple[str, str, str], list[TocsinError]] = {}
    for error in errors:
        groups.setdefault((error.code, error.message, error.hint), []).append(error)
    for (code, message, _), group in groups.items():
        shown = group if len(group) <= _FEW + 1 else group[:_FEW]
        yield from map(str, shown)
        if left := len(group) - len(shown):
            yield f"{code} {message} The same of {left:,} more; --json names them all."


def _line(console: Console, text: str, style: str) -> None:
    """One line however long it is: a path that is broken up can't be copied."""
    console.print(safe_text(text, lines=True), style=style, markup=False, highlight=False, soft_wrap=True)


_COLOURS = {"High": "bold red", "Medium": "bold yellow", "Low": "cyan", "Informational": "blue"}


def _print_incident(console: Console, incident: Incident, judge: Judge) -> None:
    from rich.table import Table
    from rich.text import Text

    from tocsin.incidents import priority, spaced, story

    score, reasons = priority(incident, judge)
    console.rule(Text(safe_text(f"Incident {incident.number}: {incident.title}"), style="bold"), align="left")
    head = Text.assemble(
        (incident.severity, _COLOURS[incident.severity]), f"  priority {score}  ", (incident.id, "dim")
    )
    console.print(head)
    console.print(Text(f"{_when(incident.first)} to {_when(incident.last)} UTC, {len(incident.alerts)} alerts"))
    console.print(
        Text(safe_text("because " + "; ".join(f"{r.text} ({r.weight:+g})" for r in reasons))), soft_wrap=False
    )
    if incident.techniques:
        console.print(Text("ATT&CK " + ", ".join(incident.techniques)))
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=True, header_style="dim")
    for column in ("time", "tactic", "step", "what it touches"):
        table.add_column(column, overflow="fold", no_wrap=column == "time")
    for step in story(incident):
        touched = ", ".join(
            dict.fromkeys(
                e.label
                for e in step.entities
                if e.type in ("Host", "Account", "IP", "Mailbox", "CloudApplication", "File")
            )
        )
        title = Text(safe_text(step.title))
        if step.techniques:
            title.append("  " + " ".join(step.techniques), style="dim")
        table.add_row(Text(_when(step.time)), Text(spaced(step.tactic)), title, Text(safe_text(touched)))
    console.print(table)
    things = ", ".join(f"{e.type} {e.label}" for e in incident.entities()[:14])
    console.print(Text(safe_text(f"entities  {things}"), style="dim"))
    for linked in incident.alerts:
        alert = linked.alert
        console.print(
            Text.assemble(
                (alert.severity, _COLOURS[alert.severity]),
                f"  {safe_text(alert.title or alert.rule)}",
                (f"  rule {alert.rule_id}", "dim"),
            )
        )
        for event in alert.events[:2]:
            console.print(
                Text(safe_text(f"    {event.table}  {_row(event.row)}"), style="dim"), overflow="ellipsis", no_wrap=True
            )
        if alert.count > 2:
            console.print(Text(f"    … {alert.count} rows in all", style="dim"))
    console.print()


def _row(row: Any) -> str:
    wanted = [k for k in row if k not in ("TimeGenerated", "Timestamp")]
    first = next((str(row[k]) for k in ("Timestamp", "TimeGenerated") if k in row), "")
    return first + "  " + "  ".join(f"{k}={row[k]}" for k in wanted)


def _when(moment: Any) -> str:
    return str(moment.strftime("%Y-%m-%d %H:%M:%S"))

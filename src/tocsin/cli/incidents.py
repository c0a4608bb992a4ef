"""`tocsin incidents`: the queue, one incident, its log, its figures, and whether all is what the log says.

On a running server over its API, or on a data folder's state; there a server may be running too: each command is one transaction.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tocsin.base.errors import UsageError, did_you_mean
from tocsin.cli import incident_edit, incident_read, incident_weights
from tocsin.cli.desk import Desk
from tocsin.cli.incident_desks import Data, on_desk
from tocsin.cli.near import say_near
from tocsin.cli.output import json_text, say, spreadsheet_cell

if TYPE_CHECKING:
    from tocsin.state import State

__all__ = ["app"]

app = typer.Typer(
    help="Incidents: the queue, one of them, what is done to it, its log, its figures.", no_args_is_help=True
)
incident_edit.add_to(app)
incident_read.add_to(app)
incident_weights.add_to(app)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Which = Annotated[str, typer.Argument(help="An incident's number or id.")]


@on_desk(app, "list", text=None)
def list_incidents(
    desk: Desk,
    status: Annotated[
        str, typer.Option(help="Comma-separated: New, InProgress, Resolved, Redirected.")
    ] = "New,InProgress",
    severity: Annotated[str, typer.Option(help="Comma-separated: Informational, Low, Medium, High.")] = "",
    owner: Annotated[
        str,
        typer.Option(help="Comma-separated users and groups; `@me` for yours and your groups', `none` for nobody's."),
    ] = "",
    tag: Annotated[str, typer.Option(help="Comma-separated tags, of which it has one.")] = "",
    classification: Annotated[
        str,
        typer.Option(
            help="Comma-separated: TruePositive, InformationalExpectedActivity, FalsePositive; `none` for not classified."
        ),
    ] = "",
    since: Annotated[
        str, typer.Option(help="Whose last event is not before that: 2026-11-26T10:00Z, or 30m, 24h, 7d, 2w ago.")
    ] = "",
    until: Annotated[str, typer.Option(help="Whose last event is not after that; written as for --since.")] = "",
    tactic: Annotated[str, typer.Option(help="Comma-separated ATT&CK tactics, of which it has one.")] = "",
    product: Annotated[str, typer.Option(help="Comma-separated products, one of which reported an alert.")] = "",
    entity: Annotated[str, typer.Option(help="The name of an entity: a host, a user, an address, a file.")] = "",
    entity_type: Annotated[str, typer.Option(help="Comma-separated types of entities: Host, Account, IP …")] = "",
    min_priority: Annotated[int | None, typer.Option(min=0, max=100, help="The least priority.")] = None,
    max_priority: Annotated[int | None, typer.Option(min=0, max=100, help="The highest priority.")] = None,
    text: Annotated[str, typer.Option("--text", "-q", help="Text in title, tags, entities, rules, or #number.")] = "",
    sort: Annotated[
        str, typer.Option(help="priority, last, first, severity, title, number, updated or status.")
    ] = "priority",
    order: Annotated[str, typer.Option(help="desc or asc.")] = "desc",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for a spreadsheet.")] = False,
) -> None:
    """Print the queue, the most urgent first.

    What lies by: `tocsin incidents list --owner none --since 24h --severity High,Medium`. For a report:
    `tocsin incidents list --status Resolved --since 7d --csv --limit 10000 > week.csv`.
    """
    _one_of("--sort", sort, SORTS)
    _one_of("--order", order, ("desc", "asc"))
    wanted = {"status": status, "severity": severity, "owner": owner, "tag": tag, "classification": classification}
    wanted |= {"tactic": tactic, "product": product, "entity": entity, "entity_type": entity_type}
    range_: dict[str, int | None] = {"min_priority": min_priority, "max_priority": max_priority}
    times = {"since": _moment("--since", since), "until": _moment("--until", until)}
    found = desk.page(**wanted, **times, **range_, q=text, sort=sort, order=order, limit=limit)
    rows, total = found["items"], found["total"]
    if as_json:
        print(json_text({"items": rows, "total": total}))
        return
    if as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(_CSV)
        writer.writerows([spreadsheet_cell(_for_csv(row, name)) for name in _CSV] for row in rows)
    else:
        for row in rows:
            say(
                f"{'#' + str(row['number']):>7} {row['priority']:>4} {row['severity']:13} {row['status']:11} {row['owner'] or '-':16} {row['title']}"
            )
    if total > len(rows):
        say(f"{total - len(rows)} more; --limit shows them", error=True)


SORTS = ("priority", "last", "first", "severity", "title", "number", "updated", "status")
_CSV = (
    "number", "title", "severity", "priority", "status", "owner", "classification", "determination", "tags", "tactics", "techniques", "products",
    "alert_count", "entity_count", "first", "last", "created", "updated", "acknowledged", "closed", "id", "url",
)  # fmt: skip


def _for_csv(row: Mapping[str, Any], name: str) -> Any:
    value = row.get(name)
    return "; ".join(str(v) for v in value) if isinstance(value, list | tuple) else value


def _one_of(option: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        raise UsageError(
            f"{option} {given}: there is no such value",
            code="USE0056",
            hint=did_you_mean(given, known) or f"One of {', '.join(known)}.",
        )


_AGO = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _moment(option: str, given: str) -> str | None:
    """A moment in ISO form; UsageError USE0056 for what is neither one nor a time ago."""
    if not given:
        return None
    try:
        if ago := _AGO.fullmatch(given):
            return (datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})).isoformat()
        found = datetime.fromisoformat(given)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{option} {given}: that is no time", code="USE0056", hint="Write 2026-11-26T10:00Z, or 30m, 24h, 7d, 2w."
        ) from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).isoformat()


@on_desk(app, "show", text=None)
def show(desk: Desk, incident: Which) -> None:
    """Print one incident in full as JSON, as the API gives it."""
    print(json_text(desk.show(incident)))


@on_desk(app, "log", text=None)
def log(
    desk: Desk,
    incident: Which,
    as_json: AsJson = False,
) -> None:
    """Print what happened to an incident, in order: the log that everything else is made from."""
    entries = desk.log(incident)
    for made in entries:
        if as_json:
            print(json_text(made, indent=None))
            continue
        version = f"v{made['version']}" if made["version"] is not None else ""
        say(f"{made['time']}  {version:6} {made['actor']:20} {made['kind']:14} {json_text(made['data'], indent=None)}")


@on_desk(app, "preview", text=None)
@on_desk(app, "neighbours", text=None, hidden=True)
def neighbours(
    desk: Desk,
    incident: Which,
    as_json: AsJson = False,
) -> None:
    """Print what else would join an incident, and why or why not, and what people moved out of it, with the way back."""
    found = desk.neighbours(incident)
    if as_json:
        print(json_text(found))
        return
    for each in found["items"]:
        say_near(each, "joins" if each["joins"] and not each["vetoes"] else "stays apart")
        for veto in each["vetoes"]:
            say(f"{'':11}       {veto}")
    if not found["items"]:
        say("Nothing open shares anything with it that counts.")
    for moved in found["moved"]:
        _say_moved(incident, moved)


def _say_moved(incident: str, moved: Mapping[str, Any]) -> None:
    there, alerts = moved["incident"], [f"{a['id']} {a['title'] or a['rule']}" for a in moved["alerts"]]
    count = f"{moved['alert_count']} alert{'s' if moved['alert_count'] > 1 else ''}"
    why = f": {moved['reason']}" if moved["reason"] else ""
    say(f"{'#' + str(there['number']):>9}  {count} moved there by {moved['by']} at {moved['time']}{why}")
    for alert in (*alerts, *(["…"] if moved["alert_count"] > len(alerts) else [])):
        say(f"{'':11}{alert}")
    ids = " ".join([*(a["id"] for a in moved["alerts"]), *(["…"] if moved["alert_count"] > len(alerts) else [])])
    back = {
        "undo": f"tocsin incidents undo {incident} {moved['action']}",
        "move": f"tocsin incidents move {there['number']} {ids} --to {incident}",
        "merge": f"tocsin incidents merge {incident} {there['number']}",
        "": "none while one of the two is resolved",
    }
    say(f"{'':11}the way back: {back[moved['back']]}")


@on_desk(app, "graph", text=None)
def graph(
    desk: Desk,
    incident: Which,
    graphml: Annotated[bool, typer.Option("--graphml", help="GraphML instead of JSON.")] = False,
) -> None:
    """Print an incident's graph: all its things, and the alerts that name two of them."""
    from tocsin.incidents.graph_export import graphml as written

    found = desk.graph(incident)
    name = f"incident-{desk.show(incident)['number']}" if graphml else ""
    if graphml:
        sys.stdout.write(written(found, name))
    else:
        print(json_text(found))


@app.command("rebuild")
def rebuild(
    data: Data = None,
    check: Annotated[bool, typer.Option("--check", help="Only compare; end with 1 when something differs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make incidents, tags, tasks, activity and the alerts' links from the log again, and say what was different."""
    from tocsin.cli.lake import progress_bar
    from tocsin.incidents.history import rebuild as run

    bar = progress_bar("Incidents", as_json)
    with _state(data) as state, state.read() if check else state.write() as unit, bar as done:
        total = unit.incidents.history.incidents()
        found = list(run(unit, repair=not check, progress=lambda n: done(n, total)))
    if as_json:
        print(json_text({"differences": [d.to_dict() for d in found]}))
    else:
        for d in found[:100]:
            say(f"{d.incident_id} {d.part}: kept {_brief(d.kept)}, by the log {_brief(d.rebuilt)}")
        verb = "differ from the log" if check else "were put right"
        say(f"{len(found)} parts {verb}." if found else "Everything is what the log says.")
    if check and found:
        raise typer.Exit(1)


@on_desk(app, "metrics", text=None)
def metrics(
    desk: Desk,
    start: Annotated[
        datetime | None, typer.Option("--from", help="Begin (UTC). Default: 30 days before the end.")
    ] = None,
    end: Annotated[datetime | None, typer.Option("--to", help="End (UTC). Default: now.")] = None,
    by: Annotated[str, typer.Option(help="Part by severity, status, owner, classification, product or tactic.")] = "",
    as_json: AsJson = False,
) -> None:
    """Print times (MTTA, MTTR, closure, queue age) and counts of a period, from the log as it stood at its end."""
    until = end.replace(tzinfo=end.tzinfo or UTC) if end else datetime.now(UTC)
    since = start.replace(tzinfo=start.tzinfo or UTC) if start else until - timedelta(days=30)
    found = desk.metrics(since, until, by)
    if as_json:
        print(json_text(found))
        return
    say(f"{found['from']} to {found['to']}")
    for part in (found, *found.get("groups", ())):
        if "value" in part:
            say(f"\n{by} {part['value'] or '(none)'}")
        counts = ("created", "acknowledged", "resolved", "auto_resolved", "reopened", "merged", "open")
        say("  " + "   ".join(f"{name.replace('_', '-')} {part[name]}" for name in counts))
        for name in ("mtta", "mttr", "closure", "queue_age"):
            spread = part[name]
            said = (
                "nothing to measure"
                if not spread["count"]
                else ", ".join(f"{n} {timedelta(seconds=round(spread[n]))}" for n in ("mean", "p50", "p90", "p99"))
            )
            say(f"  {name.replace('_', '-'):10} {said}" + (f" (of {spread['count']})" if spread["count"] else ""))
        said = ", ".join(f"{name} {n}" for name, n in part["classification"].items())
        say(f"  {'closed as':10} {said or 'nothing closed'}")


@on_desk(app, "export", text=None)
def export(
    desk: Desk,
    incident: Which,
    pdf: Annotated[Path | None, typer.Option(help="Write a PDF that carries the data.")] = None,
    json_: Annotated[Path | None, typer.Option("--json", help="Write JSON; - prints it.")] = None,
) -> None:
    """Write an incident's proof: all that belongs to it, with hashes that `verify` recomputes."""
    from tocsin.base.errors import UsageError
    from tocsin.incidents.export import attachment_of

    if pdf is None and json_ is None:
        raise UsageError("Nothing to write.", code="INC0006", hint="Give --pdf FILE or --json FILE.")
    made = desk.proof(incident, pdf=pdf is not None)
    carried = attachment_of(made) if pdf is not None else made  # one moment's data in both files
    if json_ is not None:
        _write(json_, carried)
    if pdf is not None:
        _write(pdf, made)
    say(f"SHA-256 {json.loads(carried)['hash']}", error=True)


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="A file that `export` or the portal wrote, JSON or PDF.")],
    as_json: AsJson = False,
) -> None:
    """Check an incident's proof: recompute its hashes, and of a PDF the pages. Needs nothing but the file; ends with 1 when it was changed."""
    from tocsin.base.errors import UsageError
    from tocsin.incidents.export import verify as check

    try:
        found = check(file.read_bytes())
    except OSError as error:
        raise UsageError(f"'{file}' can't be read: {error.strerror}", code="INC0005") from error
    if as_json:
        print(json_text(found.to_dict()))
    else:
        for problem in found.problems:
            say(problem)
        pages = {True: " Its pages say what its data says.", False: "", None: ""}[found.pages]
        if found.intact:
            say(f"Intact: incident {found.incident}, made {found.created}.{pages}")
        say(f"SHA-256 {found.hash}")
        if file.read_bytes()[:5] == b"%PDF-" and found.intact and found.pages is None:
            say(f"{found.pages_why}: they can't be compared, its data is intact.")
    if not found.intact:
        raise typer.Exit(1)


def _write(path: Path, data: bytes) -> None:
    from tocsin.base.errors import UsageError

    if str(path) == "-":
        sys.stdout.buffer.write(data)
        return
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"'{path}' can't be written: {error.strerror}", code="INC0006") from error


def _brief(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"


@contextmanager
def _state(data: Path | None) -> Iterator[State]:
    from tocsin.cli.state import open_state

    with open_state(data) as state:
        yield state

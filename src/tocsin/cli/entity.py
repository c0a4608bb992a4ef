"""`tocsin entity`: all that is known of one thing, on a running server over its API or on a data folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from tocsin.cli.output import json_text, say
from tocsin.cli.remote import Ca, Remote, TokenFile

__all__ = ["app"]

app = typer.Typer(
    help="Entities: all that is known of a host, an account, an address or another thing.", no_args_is_help=True
)

_MOST = 15


@app.callback()
def main() -> None:
    """Entities: all that is known of a host, an account, an address or another thing."""


@app.command("show")
def show(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="TYPE",
            help="host, account, ip, file, url, mailbox, process, azureresource, cloudapplication, or another type of entity.",
        ),
    ],
    name: Annotated[
        str, typer.Argument(help="A name of it. A process: host/id/start; a file: its path, name or hash.")
    ],
    data: Annotated[Path | None, typer.Option(help="The data folder, where no server is asked.")] = None,
    days: Annotated[int, typer.Option(min=1, max=180, help="How many days back.")] = 7,
    until: Annotated[
        str,
        typer.Option(
            help="Where the time ends, such as 2026-03-01T12:00:00Z; by default now, on a folder its last event."
        ),
    ] = "",
    server: Annotated[
        str,
        typer.Option("--server", envvar="TOCSIN_SERVER", help="Address of a running server: ask there, not a folder."),
    ] = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what is known of a thing: facts, aliases, timeline, alerts, incidents, related things, prevalence, risk, next hunts."""
    from tocsin.base.errors import UsageError

    try:
        end = datetime.fromisoformat(until) if until else None
    except ValueError as error:
        raise UsageError(f"'{until}' is no time", code="USE0053", hint="Such as 2026-03-01T12:00:00Z.") from error
    end = end.replace(tzinfo=UTC) if end is not None and end.tzinfo is None else end
    if server:
        with Remote(server, token_file, ca) as remote:
            moment = end or datetime.now(UTC)
            start = moment - timedelta(days=days)
            found: Mapping[str, Any] = remote.ask(
                "GET", "/entities", type=kind, name=name, start=start.isoformat(), end=moment.isoformat()
            )
    else:
        from tocsin.workspace.offline import open_entity_pages

        with open_entity_pages(data or Path("data")) as (pages, last):
            moment = end or last + timedelta(seconds=1)
            found = pages.page(kind, name, moment - timedelta(days=days), moment)
    if as_json:
        print(json_text(found))
        return
    _print(found)


def _print(found: Mapping[str, Any]) -> None:
    say(f"{found['type']} {found['name']}  ({found['from'][:16]} to {found['to'][:16]} UTC)")
    if not found["known"]:
        say("Nothing in this time tells of it.")
    for note in found["notes"]:
        say(f"Note: {note}")
    for title, level in (("Risk", found["risk"]), ("Criticality", found["criticality"])):
        if level["level"]:
            say(f"{title}: {level['level']}: {'; '.join(level['reasons'])}")
    if found["first_seen"]:
        say(f"Seen: {found['first_seen'][:19]} to {found['last_seen'][:19]}")
    _section("Facts", [f"{f['name']}: {f['value']}  ({f['source']})" for f in found["facts"]], most=50)
    _section(
        "Known as",
        [
            f"{a['one']} = {a['other']}  {a['from'][:16]} to {a['to'][:16]}, {a['source']}, confidence {a['confidence']:g}"
            for a in found["aliases"]
        ],
    )
    _section("Prevalence", [f"{p['count']:,} {p['name']}" for p in found["prevalence"]])
    _section(
        "Incidents",
        [
            f"#{i['number']} {i['severity']} {i['status']}, priority {i['priority']}: {i['title']} ({i['alerts']} alerts)"
            for i in found["incidents"]
        ],
    )
    _section(
        "Timeline",
        [
            f"{t['time'][:19]}  {t['kind']:8} {t['title']}{_times(t['count'])}  {t['detail'][:100]}"
            for t in found["timeline"]
        ],
        most=40,
    )
    _section("Related", [f"{r['type']} {r['name']}: {r['how']} ({r['seen']}×)" for r in found["related"]])
    _section("Next hunts", [h["name"] for h in found["hunts"]])
    _section("Not shown", [f"{n['name']}: {n['why']}" for n in found["left_out"]])


def _times(count: int) -> str:
    return f" ×{count}" if count > 1 else ""


def _section(title: str, lines: Sequence[str], most: int = _MOST) -> None:
    if not lines:
        return
    say(f"\n{title}")
    for line in lines[:most]:
        say(f"  {line}")
    if len(lines) > most:
        say(f"  and {len(lines) - most} more; --json has them")

"""`tocsin summaries`: summary rules on a running server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from tocsin.cli.connected import on_server
from tocsin.cli.remote import Remote, read_mapping

__all__ = ["app"]

app = typer.Typer(
    help="Summary rules on a running server: queries over bins of event time whose rows are kept in small tables.",
    no_args_is_help=True,
)
Id = Annotated[str, typer.Argument(help="The rule's id.")]
File = Annotated[
    Path,
    typer.Argument(
        help="YAML or JSON with name, query, destinationTable and binSize; also binDelay, lateHours, enabled and description."
    ),
]
_WHAT = "A summary rule is a mapping with name, query, destinationTable and binSize."
_SHOWN = 10


def _print(rule: dict[str, Any]) -> None:
    state = "on" if rule["enabled"] else "off"
    print(
        f"{rule['id']:38} {state:4} {rule['destinationTable']:28} every {rule['binSize']} min, next {rule['next']}, "
        f"{rule['failed']} failed, {rule['missed']} rows missed  {rule['name']}"
    )


def _print_all(rules: Sequence[dict[str, Any]]) -> None:
    for rule in rules:
        _print(rule)


def _print_runs(found: dict[str, Any]) -> None:
    _print(found)
    print(found["query"])
    for run in found["runs"]:
        print(
            f"{run['bin']}  {run['status']:10} {run['rows']:>10,} rows  {run['late']:>6,} late  {run['error']}".rstrip()
        )


def _print_tried(found: dict[str, Any]) -> None:
    print(f"{found['bin']} to {found['end']}: {found['count']:,} rows in {found['seconds']} s")
    names = [c["name"] for c in found["columns"]]
    for row in found["rows"][:_SHOWN]:
        print("    " + json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False))


def _read(file: Path) -> dict[str, Any]:
    given = read_mapping(file, _WHAT)
    given.pop("id", None)  # a pack's file has one; here the server gives it
    return given


@on_server(app, "list", text=_print_all)
def list_rules(remote: Remote) -> Any:
    """Print the summary rules, and how they do."""
    return remote.ask("GET", "/summary-rules")["items"]


@on_server(app, "show", text=_print_runs)
def show(remote: Remote, rule: Id) -> Any:
    """Print a summary rule and its runs, newest first."""
    return remote.ask("GET", f"/summary-rules/{rule}")


@on_server(app, "try", text=_print_tried)
def try_it(remote: Remote, file: File) -> Any:
    """Check a summary rule and run it over the last bin that has ended; nothing is stored."""
    return remote.ask("POST", "/summary-rules/try", _read(file))


@on_server(app, "save", text=_print)
def save(
    remote: Remote,
    file: File,
    rule: Annotated[str | None, typer.Option("--id", help="Change this rule, in place of making a new one.")] = None,
) -> Any:
    """Check and save a summary rule; a new one begins with the bin of now."""
    given = _read(file)
    return remote.ask("PUT", f"/summary-rules/{rule}", given) if rule else remote.ask("POST", "/summary-rules", given)


@on_server(app, "on", text=_print)
def switch_on(remote: Remote, rule: Id) -> Any:
    """Switch a rule on: bins that ended while it was off are run."""
    return remote.ask("PATCH", f"/summary-rules/{rule}", {"enabled": True})


@on_server(app, "off", text=_print)
def switch_off(remote: Remote, rule: Id) -> Any:
    """Switch a rule off. What it made stays."""
    return remote.ask("PATCH", f"/summary-rules/{rule}", {"enabled": False})


@on_server(app, "rerun", text=lambda run: print(f"{run['bin']}: {run['rows']:,} rows"))
def rerun(
    remote: Remote, rule: Id, moment: Annotated[datetime, typer.Argument(help="A moment in the bin, UTC.")]
) -> Any:
    """Run a bin again; its rows take the place of the old ones."""
    at = moment.replace(tzinfo=moment.tzinfo or UTC).isoformat()
    return remote.ask("POST", f"/summary-rules/{rule}/rerun", {"moment": at})


@on_server(app, "remove", text=lambda found: print(f"removed {found['removed']}"))
def remove(remote: Remote, rule: Id) -> Any:
    """Remove a rule that was made on this server. Its table stays."""
    remote.ask("DELETE", f"/summary-rules/{rule}")
    return {"removed": rule}

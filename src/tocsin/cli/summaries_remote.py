"""`tocsin summaries`: summary rules on a running server."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from tocsin.cli.remote import Ca, Remote, Server, TokenFile, read_mapping

__all__ = ["app"]

app = typer.Typer(
    help="Summary rules on a running server: queries over bins of event time whose rows are kept in small tables.",
    no_args_is_help=True,
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(help="The rule's id.")]
File = Annotated[
    Path,
    typer.Argument(
        help="YAML or JSON with name, query, destinationTable and binSize; also binDelay, lateHours, enabled and description."
    ),
]
_WHAT = "A summary rule is a mapping with name, query, destinationTable and binSize."
_SHOWN = 10


@app.command("list")
def list_rules(server: Server = "", token_file: TokenFile = None, ca: Ca = None, as_json: AsJson = False) -> None:
    """Print the summary rules, and how they do."""
    with Remote(server, token_file, ca) as remote:
        found = remote.ask("GET", "/summary-rules")["items"]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for rule in found:
        _print(rule)


@app.command("show")
def show(rule: Id, server: Server = "", token_file: TokenFile = None, ca: Ca = None, as_json: AsJson = False) -> None:
    """Print a summary rule and its runs, newest first."""
    with Remote(server, token_file, ca) as remote:
        found = remote.ask("GET", f"/summary-rules/{rule}")
    if as_json:
        print(json.dumps(found, indent=2))
        return
    _print(found)
    print(found["query"])
    for run in found["runs"]:
        print(
            f"{run['bin']}  {run['status']:10} {run['rows']:>10,} rows  {run['late']:>6,} late  {run['error']}".rstrip()
        )


@app.command("try")
def try_it(
    file: File, server: Server = "", token_file: TokenFile = None, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Check a summary rule and run it over the last bin that has ended; nothing is stored."""
    with Remote(server, token_file, ca) as remote:
        found = remote.ask("POST", "/summary-rules/try", _read(file))
    if as_json:
        print(json.dumps(found, indent=2))
        return
    print(f"{found['bin']} to {found['end']}: {found['count']:,} rows in {found['seconds']} s")
    names = [c["name"] for c in found["columns"]]
    for row in found["rows"][:_SHOWN]:
        print("    " + json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False))


@app.command("save")
def save(
    file: File,
    rule: Annotated[str | None, typer.Option("--id", help="Change this rule, in place of making a new one.")] = None,
    server: Server = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Check and save a summary rule; a new one begins with the bin of now."""
    given = _read(file)
    with Remote(server, token_file, ca) as remote:
        found = (
            remote.ask("PUT", f"/summary-rules/{rule}", given) if rule else remote.ask("POST", "/summary-rules", given)
        )
    _tell(found, as_json)


@app.command("on")
def switch_on(
    rule: Id, server: Server = "", token_file: TokenFile = None, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Switch a rule on: bins that ended while it was off are run."""
    with Remote(server, token_file, ca) as remote:
        _tell(remote.ask("PATCH", f"/summary-rules/{rule}", {"enabled": True}), as_json)


@app.command("off")
def switch_off(
    rule: Id, server: Server = "", token_file: TokenFile = None, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Switch a rule off. What it made stays."""
    with Remote(server, token_file, ca) as remote:
        _tell(remote.ask("PATCH", f"/summary-rules/{rule}", {"enabled": False}), as_json)


@app.command("rerun")
def rerun(
    rule: Id,
    moment: Annotated[datetime, typer.Argument(help="A moment in the bin, UTC.")],
    server: Server = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Run a bin again; its rows take the place of the old ones."""
    with Remote(server, token_file, ca) as remote:
        at = moment.replace(tzinfo=moment.tzinfo or UTC).isoformat()
        run = remote.ask("POST", f"/summary-rules/{rule}/rerun", {"moment": at})
    print(json.dumps(run) if as_json else f"{run['bin']}: {run['rows']:,} rows")


@app.command("remove")
def remove(rule: Id, server: Server = "", token_file: TokenFile = None, ca: Ca = None, as_json: AsJson = False) -> None:
    """Remove a rule that was made on this server. Its table stays."""
    with Remote(server, token_file, ca) as remote:
        remote.ask("DELETE", f"/summary-rules/{rule}")
    print(json.dumps({"removed": rule}) if as_json else f"removed {rule}")


def _read(file: Path) -> dict[str, Any]:
    given = read_mapping(file, _WHAT)
    given.pop("id", None)  # a pack's file has one; here the server gives it
    return given


def _tell(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        _print(found)


def _print(rule: dict[str, Any]) -> None:
    state = "on" if rule["enabled"] else "off"
    print(
        f"{rule['id']:38} {state:4} {rule['destinationTable']:28} every {rule['binSize']} min, next {rule['next']}, "
        f"{rule['failed']} failed, {rule['missed']} rows missed  {rule['name']}"
    )

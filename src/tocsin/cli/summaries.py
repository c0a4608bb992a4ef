"""`tocsin summary-rules`: summary rules of a data folder whose server is stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tocsin.workspace.workspace import Workspace

__all__ = ["app"]

app = typer.Typer(
    help="Summary rules of a stopped server's data folder; a running one's are under `tocsin summaries`.",
    no_args_is_help=True,
)
Data = Annotated[Path | None, typer.Option(help="The data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
RuleId = Annotated[str, typer.Argument(help="The rule's id.")]


@app.command("list")
def list_rules(data: Data = None, as_json: AsJson = False) -> None:
    """List summary rules and how they do."""
    with _workspace(data) as workspace:
        items = workspace.summaries.listed(by=_principal())
    if as_json:
        print(json.dumps({"items": items}))
        return
    for rule in items:
        state = "on" if rule["enabled"] else "off"
        print(
            f"{rule['id']:38} {state:4} {rule['destinationTable']:28} every {rule['binSize']} min, next {rule['next']}, "
            f"{rule['failed']} failed, {rule['missed']} rows missed  {rule['name']}"
        )


@app.command("show")
def show(rule_id: RuleId, data: Data = None, as_json: AsJson = False) -> None:
    """Print a summary rule and its runs, newest first."""
    with _workspace(data) as workspace:
        rule = workspace.summaries.get(rule_id, by=_principal())
    if as_json:
        print(json.dumps(rule))
        return
    print(f"{rule['name']}\n{rule['query']}\n")
    for run in rule["runs"]:
        print(f"{run['bin']}  {run['status']:10} {run['rows']:>10,} rows  {run['late']:>6,} late  {run['error']}")


@app.command("rerun")
def rerun(
    rule_id: RuleId,
    moment: Annotated[datetime, typer.Argument(help="A moment in the bin, UTC.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Run a bin again; its rows take the place of the old ones."""
    with _workspace(data) as workspace:
        run = workspace.summaries.rerun(rule_id, moment.replace(tzinfo=UTC), by=_principal())
    print(json.dumps(run) if as_json else f"{run['bin']}: {run['rows']:,} rows")


def _principal() -> Any:
    from tocsin.access import system

    return system("system:command-line", "rules.read", "rules.write")


@contextmanager
def _workspace(data: Path | None) -> Iterator[Workspace]:
    from tocsin.cli.lake import lake_settings
    from tocsin.workspace.workspace import Workspace

    with Workspace.open(lake_settings(data)) as workspace:
        yield workspace

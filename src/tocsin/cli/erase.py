"""`tocsin lake preview|delete|deletions|undelete|purge`: rows that a KQL condition chooses; `forget`: what was learned of names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tocsin.workspace.workspace import Workspace

__all__ = ["register"]

Data = Annotated[Path | None, typer.Option(help="The data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Table = Annotated[str, typer.Argument(help="The table.")]
Condition = Annotated[str, typer.Argument(help="A KQL condition, as it stands after `where`.")]
Expected = Annotated[
    int | None,
    typer.Option(help="How many rows the preview named; without it they are counted and you are asked."),
]
Keep = Annotated[
    bool,
    typer.Option("--keep-evidence", help="Leave evidence of open incidents; otherwise there being any is an error."),
]


def register(app: typer.Typer) -> None:
    """Adds the commands to `tocsin lake`."""
    for name, command in (
        ("preview", preview),
        ("delete", delete),
        ("deletions", deletions),
        ("undelete", undelete),
        ("purge", purge),
        ("forget", forget),
    ):
        app.command(name)(command)


def preview(table: Table, condition: Condition, data: Data = None, as_json: AsJson = False) -> None:
    """Count the rows that a condition chooses, and the evidence of open incidents among them. The server must be stopped."""
    with _workspace(data) as workspace:
        found = workspace.erasure.preview(table, condition, by=_principal()).to_dict()
    if as_json:
        print(json.dumps(found))
        return
    print(
        f"{found['rows']:,} rows of {table}; {found['deleted_before']:,} of those deleted before, {found['archived']:,} in the archive"
    )
    for held in found["evidence"]:
        print(f"  {held['rows']:,} are evidence of {held['holder']}")


def delete(
    table: Table,
    condition: Condition,
    expected: Expected = None,
    keep_evidence: Keep = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Delete rows; `tocsin lake undelete` puts them back until lake.retention.undo_days have passed. The server must be stopped."""
    with _workspace(data) as workspace:
        count = _agreed(workspace, table, condition, expected, purge=False)
        done = workspace.erasure.delete(
            table, condition, expected=count, keep_evidence=keep_evidence, by=_principal()
        ).to_dict()
    print(
        json.dumps(done)
        if as_json
        else f"{done['rows']:,} rows deleted; until {done['expires']}: tocsin lake undelete {done['id']}"
    )


def deletions(data: Data = None, as_json: AsJson = False) -> None:
    """List what was deleted and can be put back. The server must be stopped."""
    with _workspace(data) as workspace:
        items = [d.to_dict() for d in workspace.erasure.deletions(by=_principal())]
    if as_json:
        print(json.dumps({"items": items}))
        return
    for item in items:
        print(f"{item['id']}  {item['table']:32} {item['rows']:>12,} rows  until {item['expires']}  {item['reason']}")


def undelete(
    deletion: Annotated[str, typer.Argument(help="The deletion's id.")], data: Data = None, as_json: AsJson = False
) -> None:
    """Put deleted rows back. The server must be stopped."""
    with _workspace(data) as workspace:
        done = workspace.erasure.undo(deletion, by=_principal()).to_dict()
    print(json.dumps(done) if as_json else f"{done['rows']:,} rows are back in {done['table']}")


def purge(
    table: Table,
    condition: Condition,
    expected: Expected = None,
    keep_evidence: Keep = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Take rows out for good, those deleted before too. Nothing brings them back. The server must be stopped."""
    with _workspace(data) as workspace:
        count = _agreed(workspace, table, condition, expected, purge=True)
        rows = workspace.erasure.purge(table, condition, expected=count, keep_evidence=keep_evidence, by=_principal())
    print(json.dumps({"table": table, "rows": rows}) if as_json else f"{rows:,} rows of {table} are gone for good")


def forget(
    names: Annotated[list[str], typer.Argument(help="Names, addresses, SIDs, object ids; whole, case doesn't count.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Forget what was learned of a person or thing: which names, addresses and ids are one. The server must be stopped."""
    with _workspace(data) as workspace:
        count = workspace.aliases.forget(names, by=_principal(), dry_run=dry_run)
    said = "would be forgotten" if dry_run else "are forgotten"
    print(json.dumps({"aliases": count}) if as_json else f"{count:,} learned aliases {said}")


def _agreed(workspace: Workspace, table: str, condition: str, expected: int | None, *, purge: bool) -> int:
    if expected is not None:
        return expected
    found = workspace.erasure.preview(table, condition, by=_principal())
    count = found.rows + (found.deleted_before + found.archived if purge else 0)
    typer.confirm(f"{'Purge' if purge else 'Delete'} {count:,} rows of {table}?", abort=True, err=True)
    return count


def _principal() -> Any:
    from tocsin.access import system

    return system("system:command-line", "lake.delete", "lake.purge")


@contextmanager
def _workspace(data: Path | None) -> Iterator[Workspace]:
    from tocsin.cli.lake import lake_settings
    from tocsin.workspace.workspace import Workspace

    settings = lake_settings(data)
    with Workspace.open(settings) as workspace:
        yield workspace

"""`tocsin transforms`: what is done to rows before they are stored, on a running server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from tocsin.cli.remote import Ca, Remote, Server, TokenFile, read_mapping

__all__ = ["app"]

app = typer.Typer(
    help="Ingestion-time transforms: filter, mask, route, enrich and split rows before they are stored.",
    no_args_is_help=True,
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(help="The transform's id.")]
File = Annotated[
    Path,
    typer.Argument(
        help="YAML or JSON with name, stream and flows: a list of transformKql and outputTable; also on_error and description."
    ),
]


@app.command("list")
def list_transforms(server: Server = "", token_file: TokenFile = None, ca: Ca = None, as_json: AsJson = False) -> None:
    """Print the transforms, and what each did since it took effect."""
    with Remote(server, token_file, ca) as remote:
        found = remote.ask("GET", "/transforms")["items"]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for item in found:
        _print(item)


@app.command("streams")
def streams(server: Server = "", token_file: TokenFile = None, ca: Ca = None, as_json: AsJson = False) -> None:
    """Print what a transform can be put on: source kinds, and tables with rows."""
    with Remote(server, token_file, ca) as remote:
        found = remote.ask("GET", "/transforms/streams")["items"]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for item in found:
        notes = [
            *(["rows came"] if item["seen"] else []),
            *([f"transform {item['transform']}"] if item["transform"] else []),
        ]
        print(f"{item['name']:44} {', '.join(notes)}")


@app.command("show")
def show(
    transform: Id, server: Server = "", token_file: TokenFile = None, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Print a transform with its versions."""
    with Remote(server, token_file, ca) as remote:
        found = remote.ask("GET", f"/transforms/{transform}")
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for version in found["versions"]:
        state = "on" if version["enabled"] else "off"
        print(f"version {version['version']}, {state}, {version['changed']} by {version['changed_by']}")
        for flow in version["flows"]:
            print(f"  → {flow['outputTable'] or version['stream']}")
            print("    " + flow["transformKql"].replace("\n", "\n    "))


@app.command("try")
def try_it(
    file: File, server: Server = "", token_file: TokenFile = None, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Check a transform and try it on the stream's last 100 rows; nothing changes."""
    with Remote(server, token_file, ca) as remote:
        found = remote.ask(
            "POST", "/transforms/preview", read_mapping(file, "A transform is a mapping with name, stream and flows.")
        )
    if as_json:
        print(json.dumps(found, indent=2))
        return
    print(f"{found['stream']}: {found['before']['count']} rows")
    for flow in found["after"]:
        print(f"→ {flow['table'] or found['stream']}: {flow['count']} rows")
        names = [c["name"] for c in flow["columns"]]
        for row in flow["rows"][:5]:
            print("    " + json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False))


@app.command("save")
def save(
    file: File,
    transform: Annotated[str | None, typer.Option("--id", help="Save it as a new version of this transform.")] = None,
    server: Server = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Check and save a transform; it is in force from the next batch on."""
    given = read_mapping(file, "A transform is a mapping with name, stream and flows.")
    if transform is not None:
        given["id"] = transform
    with Remote(server, token_file, ca) as remote:
        found = remote.ask("POST", "/transforms", given)
    _tell(found, as_json)


@app.command("on")
def switch_on(
    transform: Id, server: Server = "", token_file: TokenFile = None, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Put a transform into force."""
    with Remote(server, token_file, ca) as remote:
        _tell(remote.ask("PATCH", f"/transforms/{transform}", {"enabled": True}), as_json)


@app.command("off")
def switch_off(
    transform: Id, server: Server = "", token_file: TokenFile = None, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Switch a transform off: rows go on as they come."""
    with Remote(server, token_file, ca) as remote:
        _tell(remote.ask("PATCH", f"/transforms/{transform}", {"enabled": False}), as_json)


@app.command("undo")
def undo(
    transform: Id, server: Server = "", token_file: TokenFile = None, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Go back to the version before the last change."""
    with Remote(server, token_file, ca) as remote:
        _tell(remote.ask("POST", f"/transforms/{transform}/undo"), as_json)


@app.command("remove")
def remove(
    transform: Id, server: Server = "", token_file: TokenFile = None, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Remove a transform; its versions stay in the audit log."""
    with Remote(server, token_file, ca) as remote:
        remote.ask("DELETE", f"/transforms/{transform}")
    print(json.dumps({"removed": transform}) if as_json else f"removed {transform}")


def _tell(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        _print(found)


def _print(item: dict[str, Any]) -> None:
    run = item["run"]
    did = "off" if run is None else f"{run['rows_in']:,} rows in, {run['rows_out']:,} out"
    if run and run["rows_failed"]:
        did += f", {run['rows_failed']:,} failed: {run['last_error']}"
    print(f"{item['id']}  {item['stream']:36} {item['name']} (version {item['version']}): {did}")

"""`tocsin transforms`: what is done to rows before they are stored, on a running server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tocsin.cli.connected import on_server
from tocsin.cli.remote import Remote, read_mapping

__all__ = ["app"]

app = typer.Typer(
    help="Ingestion-time transforms: filter, mask, route, enrich and split rows before they are stored.",
    no_args_is_help=True,
)
Id = Annotated[str, typer.Argument(help="The transform's id.")]
File = Annotated[
    Path,
    typer.Argument(
        help="YAML or JSON with name, stream and flows: a list of transformKql and outputTable; also on_error and description."
    ),
]
_WHAT = "A transform is a mapping with name, stream and flows."


def _print(item: dict[str, Any]) -> None:
    run = item["run"]
    did = "off" if run is None else f"{run['rows_in']:,} rows in, {run['rows_out']:,} out"
    if run and run["rows_failed"]:
        did += f", {run['rows_failed']:,} failed: {run['last_error']}"
    print(f"{item['id']}  {item['stream']:36} {item['name']} (version {item['version']}): {did}")


def _print_all(items: Sequence[dict[str, Any]]) -> None:
    for item in items:
        _print(item)


def _print_streams(items: Sequence[dict[str, Any]]) -> None:
    for item in items:
        notes = [
            *(["rows came"] if item["seen"] else []),
            *([f"transform {item['transform']}"] if item["transform"] else []),
        ]
        print(f"{item['name']:44} {', '.join(notes)}")


def _print_versions(found: dict[str, Any]) -> None:
    for version in found["versions"]:
        state = "on" if version["enabled"] else "off"
        print(f"version {version['version']}, {state}, {version['changed']} by {version['changed_by']}")
        for flow in version["flows"]:
            print(f"  → {flow['outputTable'] or version['stream']}")
            print("    " + flow["transformKql"].replace("\n", "\n    "))


def _print_tried(found: dict[str, Any]) -> None:
    print(f"{found['stream']}: {found['before']['count']} rows")
    for flow in found["after"]:
        print(f"→ {flow['table'] or found['stream']}: {flow['count']} rows")
        names = [c["name"] for c in flow["columns"]]
        for row in flow["rows"][:5]:
            print("    " + json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False))


@on_server(app, "list", text=_print_all)
def list_transforms(remote: Remote) -> Any:
    """Print the transforms, and what each did since it took effect."""
    return remote.ask("GET", "/transforms")["items"]


@on_server(app, "streams", text=_print_streams)
def streams(remote: Remote) -> Any:
    """Print what a transform can be put on: source kinds, and tables with rows."""
    return remote.ask("GET", "/transforms/streams")["items"]


@on_server(app, "show", text=_print_versions)
def show(remote: Remote, transform: Id) -> Any:
    """Print a transform with its versions."""
    return remote.ask("GET", f"/transforms/{transform}")


@on_server(app, "try", text=_print_tried)
def try_it(remote: Remote, file: File) -> Any:
    """Check a transform and try it on the stream's last 100 rows; nothing changes."""
    return remote.ask("POST", "/transforms/preview", read_mapping(file, _WHAT))


@on_server(app, "save", text=_print)
def save(
    remote: Remote,
    file: File,
    transform: Annotated[str | None, typer.Option("--id", help="Save it as a new version of this transform.")] = None,
) -> Any:
    """Check and save a transform; it is in force from the next batch on."""
    given = read_mapping(file, _WHAT)
    if transform is not None:
        given["id"] = transform
    return remote.ask("POST", "/transforms", given)


@on_server(app, "on", text=_print)
def switch_on(remote: Remote, transform: Id) -> Any:
    """Put a transform into force."""
    return remote.ask("PATCH", f"/transforms/{transform}", {"enabled": True})


@on_server(app, "off", text=_print)
def switch_off(remote: Remote, transform: Id) -> Any:
    """Switch a transform off: rows go on as they come."""
    return remote.ask("PATCH", f"/transforms/{transform}", {"enabled": False})


@on_server(app, "undo", text=_print)
def undo(remote: Remote, transform: Id) -> Any:
    """Go back to the version before the last change."""
    return remote.ask("POST", f"/transforms/{transform}/undo")


@on_server(app, "remove", text=lambda found: print(f"removed {found['removed']}"))
def remove(remote: Remote, transform: Id) -> Any:
    """Remove a transform; its versions stay in the audit log."""
    remote.ask("DELETE", f"/transforms/{transform}")
    return {"removed": transform}

"""`tocsin settings`: every setting with its meaning and default, and the values in force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["settings"]


def settings(
    config: Annotated[
        Path | None, typer.Option(help="The settings file; by default tocsin.toml where you are.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print every setting: its value in force, its default and what it is for."""
    from tocsin.workspace.settings import describe, load_settings

    loaded = load_settings(config)
    rows = [{"name": n, "value": _value(loaded, n), "default": _plain(d), "description": t} for n, d, t in describe()]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        mark = "" if row["value"] == row["default"] else f"   (default {row['default']})"
        print(f"{row['name']} = {row['value']}{mark}\n    {row['description']}")


def _value(loaded: Any, name: str) -> Any:
    for part in name.split("."):
        loaded = getattr(loaded, part)
    return _plain(loaded)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)

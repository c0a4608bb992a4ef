"""`tocsin doctor`: what of this machine works and what doesn't, and why."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["doctor"]


def doctor(
    data: Annotated[Path | None, typer.Option(help="The data folder to look at.")] = None,
    config: Annotated[Path | None, typer.Option(help="The settings file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Check the machine. Exit code 1 when something that Tocsin needs has failed."""
    from rich.console import Console
    from rich.text import Text

    from tocsin.workspace.doctor import examine
    from tocsin.workspace.settings import load_settings

    checks = list(examine(load_settings(config, data=data)))
    if as_json:
        print(json.dumps([asdict(c) for c in checks], indent=2))
    else:
        console = Console()
        colours = {"ok": "green", "warning": "yellow", "failed": "bold red"}
        for check in checks:
            console.print(
                Text.assemble((f"{check.verdict:8}", colours[check.verdict]), f"{check.name:16} {check.fact}")
            )
            if check.advice:
                console.print(Text(f"{'':24} {check.advice}", style="dim"))
    raise typer.Exit(1 if any(c.verdict == "failed" for c in checks) else 0)

"""`tocsin reports`: threat reports, imported from STIX 2 bundles into a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from tocsin.base.errors import UsageError
from tocsin.cli.output import json_text, say
from tocsin.cli.remote import Ca, Remote, Server, TokenFile

__all__ = ["app"]

app = typer.Typer(help="Threat reports that incidents are compared with, on a running server.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Which = Annotated[str, typer.Argument(help="A report's id.")]


@app.command("list")
def list_reports(server: Server = "", token_file: TokenFile = None, ca: Ca = None, as_json: AsJson = False) -> None:
    """Print the reports, those with open incidents first."""
    with Remote(server, token_file, ca) as remote:
        found = remote.ask("GET", "/threat-reports")["items"]
    if as_json:
        print(json_text({"items": found}))
        return
    for r in found:
        say(
            f"{r['open_incidents']:>4} open of {r['incidents']:<5} {r['indicator_count']:>6} indicators"
            f" {r['technique_count']:>4} techniques  {r['name']}\n{'':18}{r['id']}"
        )


@app.command()
def show(
    which: Which, server: Server = "", token_file: TokenFile = None, ca: Ca = None, as_json: AsJson = False
) -> None:
    """Print a report with its indicators and the incidents that look like it."""
    with Remote(server, token_file, ca) as remote:
        found = remote.ask("GET", f"/threat-reports/{quote(which, safe='')}")
    if as_json:
        print(json_text(found))
        return
    say(f"{found['name']}\n{found['description']}".rstrip())
    for about in found["about"]:
        say(f"  {about}")
    if found["techniques"]:
        said = f"{found['least']} of them make a match" if found["least"] else "no match by them alone"
        say(f"  techniques  {', '.join(found['techniques'])} ({said})")
    for indicator in found["indicators"]:
        say(f"  indicator   {indicator['value']}" + (f" until {indicator['until']}" if indicator["until"] else ""))
    for incident in found["items"]:
        say(f"  incident    #{incident['number']} {incident['status']} {incident['title']}")


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="STIX 2 bundles (JSON).")],
    least: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Techniques that make a match without an indicator; by default three fifths of a report's, four at least. 0: none.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    server: Server = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Import the reports of STIX 2 bundles. Exit code 3 when some were refused."""
    refused = 0
    answers: list[dict[str, Any]] = []
    with Remote(server, token_file, ca) as remote:
        for path in paths:
            try:
                bundle = path.read_text("utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"{path} can't be read: {error}", code="USE0006") from error
            made = remote.ask("POST", "/threat-reports/import", {"bundle": bundle, "least": least, "dry_run": dry_run})
            refused += made["refused_count"]
            answers.append({"file": str(path), **made})
            if not as_json:
                _say(path, made)
    if as_json:
        print(json_text(answers))
    raise typer.Exit(3 if refused else 0)


@app.command()
def remove(which: Which, server: Server = "", token_file: TokenFile = None, ca: Ca = None) -> None:
    """Remove an imported report, and its tag from open incidents."""
    with Remote(server, token_file, ca) as remote:
        remote.ask("DELETE", f"/threat-reports/{quote(which, safe='')}")
    say(f"{which} is removed.")


def _say(path: Path, made: dict[str, Any]) -> None:
    would = " (would be)" if made["dry_run"] else ""
    for what in ("imported", "updated", "removed", "unchanged"):
        for each in made[what]:
            say(f"{what}{would}  {each['id']}  {each['name']}")
    for what in ("refused", "notes"):
        for each in made[what]:
            say(
                f"{path}: {each['place']}: {each['reason']}" + (" (refused)" if what == "refused" else ""),
                error=True,
            )
        if (more := made[f"{what}_count"] - len(made[what])) > 0:
            say(f"{path}: {more:,} more {what}", error=True)

"""`tocsin sources`: what arrives at a running server, and what could not be taken."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from tocsin.cli.remote import Ca, Remote, Server, TokenFile

__all__ = ["app"]

app = typer.Typer(help="What arrives at a running server, and dead letters: list and replay.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Code = Annotated[str, typer.Option(help="Only letters with this error code, such as ING0025.")]
Sender = Annotated[str, typer.Option(help="Only letters of this sender or file.")]
Format = Annotated[str, typer.Option("--format", help="Only letters of this format or source kind.")]
Text = Annotated[str, typer.Option(help="Only letters whose reason contains this.")]


@app.command("list")
def list_sources(server: Server = "", token_file: TokenFile = None, ca: Ca = None, as_json: AsJson = False) -> None:
    """Print receivers and senders: state, events, refusals, last event."""
    with Remote(server, token_file, ca) as remote:
        found = remote.ask("GET", "/sources")["items"]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for item in found:
        print(
            f"{item['kind']:14} {item['name']:36} {item['state']:10} {item['events']:>12,} events"
            f" {item['errors']:>6,} errors  last {item['last_event'] or '-'}"
        )


@app.command("dead-letters")
def dead_letters(
    code: Code = "",
    sender: Sender = "",
    form: Format = "",
    text: Text = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to print, newest first.")] = 20,
    server: Server = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Print dead letters that wait, and how many there are by error code."""
    from tocsin.cli.output import safe_text

    with Remote(server, token_file, ca) as remote:
        found = remote.ask("GET", "/dead-letters", code=code, source=sender, format=form, text=text, limit=limit)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for item in found["items"]:
        mark = "" if item["replayable"] else "  (cut, can't be replayed)"
        print(
            f"{item['id'] or '-':24} {item['time'][:19]} {safe_text(item['source'])}: {item['code']} {safe_text(item['reason'])}{mark}"
        )
    counts = ", ".join(f"{code} {n:,}" for code, n in found["counts"]["code"].items())
    print(f"{found['total']:,} wait, {found['replayable']:,} can be replayed" + (f": {counts}" if counts else ""))


@app.command("replay")
def replay(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]…", help="Letters to replay.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Replay all that fit the filters.")] = False,
    code: Code = "",
    sender: Sender = "",
    form: Format = "",
    text: Text = "",
    server: Server = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Send dead letters through intake again, each at most once. Ends with 1 when some became dead letters again or were skipped."""
    from tocsin.base.errors import UsageError

    narrowed = bool(code or sender or form or text)
    if not ids and not everything and not narrowed:
        raise UsageError("which letters?", code="USE0023", hint="Name ids, a filter such as --code ING0025, or --all.")
    if ids and (everything or narrowed):
        raise UsageError("ids and filters don't go together", code="USE0023")
    done: dict[str, Any] = {"replayed": 0, "dead": 0, "skipped": []}
    asked: dict[str, Any] = {"ids": ids or [], "code": code, "source": sender, "format": form, "text": text}
    with Remote(server, token_file, ca) as remote:
        while True:
            found = remote.ask("POST", "/dead-letters/replay", asked)
            for name in ("replayed", "dead", "skipped"):
                done[name] += found[name]
            if not found["left"] or not found["replayed"]:
                break
            asked["before"] = found["before"]
    if as_json:
        print(json.dumps(done, indent=2))
    else:
        for item in done["skipped"]:
            print(f"skipped {item['id']}: {item['reason']}")
        print(
            f"{done['replayed']:,} replayed, {done['dead']:,} of them dead letters again, {len(done['skipped']):,} skipped"
        )
    if done["dead"] or done["skipped"]:
        raise typer.Exit(1)

"""`tocsin indicators`: indicators of compromise from STIX 2 bundles and CSV into ThreatIntelIndicators."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(help="Indicators of compromise.", no_args_is_help=True)
_BATCH = 2_000


@app.callback()
def _group() -> None:
    """Keeps `import` a subcommand while it is the only one."""


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="STIX 2 bundles (JSON) or CSV files.")],
    server: Annotated[str, typer.Option(help="Address of the server.")] = "",
    token: Annotated[str, typer.Option(envvar="TOCSIN_TOKEN", help="An intake token of the server.")] = "",
    certificate: Annotated[Path | None, typer.Option(help="The server's certificate, if it made it itself.")] = None,
) -> None:
    """Send indicators to a server, or print them as JSON lines when no server is given. Exit code 3 when some were refused."""
    import httpx
    import orjson

    from tocsin.base.clock import SystemClock
    from tocsin.base.errors import UsageError
    from tocsin.ingest.indicators import TABLE, read_indicators

    rows = []
    refused = 0
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UsageError(f"{path} can't be read: {error.strerror}", code="USE0006") from error
        found = read_indicators(data, path.name, SystemClock().now())
        rows.extend(found.rows)
        refused += len(found.refused)
        for place, reason in found.refused:
            print(f"{path}: {place}: {reason}", file=sys.stderr)
    if not server:
        for row in rows:
            print(orjson.dumps(row).decode())
    else:
        verify = str(certificate) if certificate is not None else True
        with httpx.Client(
            base_url=server, headers={"Authorization": f"Bearer {token}"}, timeout=60, verify=verify
        ) as client:
            for begin in range(0, len(rows), _BATCH):
                body = b"\n".join(orjson.dumps(r) for r in rows[begin : begin + _BATCH])
                answer = client.post("/ingest/v1/jsonl", params={"table": TABLE}, content=body)
                if answer.is_error:
                    raise UsageError(f"the server answered {answer.status_code}: {answer.text[:500]}", code="USE0030")
    print(f"{len(rows)} indicators, {refused} refused", file=sys.stderr)
    raise typer.Exit(3 if refused else 0)

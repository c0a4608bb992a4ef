"""`tocsin replay`: recorded logs through a running server's intake, at the pace at which they happened or faster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["replay"]


def replay(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files, archives and folders.")],
    speed: Annotated[
        str, typer.Option(metavar="N|max", help="How many times as fast as it happened; max: without pause.")
    ] = "1",
    server: Annotated[str, typer.Option(help="Address of the server.")] = "http://127.0.0.1:7443",
    token: Annotated[str, typer.Option(envvar="TOCSIN_TOKEN", help="An intake token of the server.")] = "",
    certificate: Annotated[Path | None, typer.Option(help="The server's certificate, if it made it itself.")] = None,
) -> None:
    """Send recorded logs to a running server as if they happened now: same order, same pauses, their own times.

    Records of all files go by their time. Exit code 3 when something could not be read.
    """
    import time
    from itertools import groupby

    import httpx

    from tocsin.base.errors import UsageError
    from tocsin.ingest.replay import Recording, play

    pace: float | None
    try:
        pace = None if speed == "max" else float(speed)
    except ValueError:
        pace = 0.0
    if pace is not None and not 0 < pace < 1e9:
        raise UsageError(f"'{speed}' is no speed", code="USE0030", hint="A number above 0, or max.")
    if missing := next((p for p in paths if not p.exists()), None):
        raise UsageError(f"there is no file or folder {missing}", code="USE0006")
    verify = str(certificate) if certificate is not None else True
    with httpx.Client(base_url=server, timeout=120, trust_env=False, verify=verify) as client:

        def send(lines: list[bytes]) -> None:
            for json, run in groupby(lines, key=lambda line: line[:1] == b"{"):
                post(json, b"\n".join(run))

        def post(json: bool, body: bytes) -> None:
            path, scheme = ("/ingest/v1/jsonl", "Bearer") if json else ("/services/collector/raw", "Splunk")
            for attempt in range(100):
                answer = client.post(path, content=body, headers={"Authorization": f"{scheme} {token}"})
                if answer.status_code != 503:
                    break
                time.sleep(min(2.0, 0.05 * (attempt + 1)))  # the server asks to wait; nothing of it was taken
            if answer.is_error:
                raise UsageError(
                    f"the server refused: {answer.status_code} {answer.text[:200]}",
                    code="USE0031",
                    hint="Give an intake token with --token or TOCSIN_TOKEN.",
                )

        recording = Recording(paths)
        try:
            count = play(
                recording.records(),
                send,
                speed=pace,
                monotonic=time.monotonic,
                sleep=time.sleep,
                batch=5_000 if pace is None else 500,
            )
        except httpx.HTTPError as error:
            raise UsageError(f"{server} can't be reached: {error}", code="USE0032") from error
    for problem in recording.problems:
        print(problem, file=sys.stderr)
    print(f"{count:,} records sent")
    raise typer.Exit(3 if recording.problems else 0)

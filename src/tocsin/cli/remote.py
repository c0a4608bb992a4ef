"""Commands that ask a running server over its API: where it is, who asks, and how its refusals are told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from tocsin.base.errors import TocsinError, UsageError

__all__ = ["AnyServer", "Ca", "Remote", "Server", "TokenFile", "read_mapping", "works_on_server"]

Server = Annotated[
    str,
    typer.Option(
        "--server", envvar="TOCSIN_SERVER", help="The server's address.", show_default="http://127.0.0.1:7443"
    ),
]
AnyServer = Annotated[
    str,
    typer.Option("--server", envvar="TOCSIN_SERVER", help="Address of a running server: work there, not on a folder."),
]
"""--server of commands that work on a folder too."""
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", help="File that holds an access token; else the environment's TOCSIN_TOKEN."),
]
Ca = Annotated[
    Path | None, typer.Option("--ca", help="PEM file of the authority that signed the server's certificate.")
]
_DEFAULT = "http://127.0.0.1:7443"
_SECONDS = 120.0


class _RefusedError(TocsinError):
    """What the server said, under its own code."""


class Remote:
    """The API of a server. A context manager: it holds a connection."""

    def __init__(self, server: str, token_file: Path | None, ca: Path | None = None) -> None:
        """Raises UsageError USE0020 without a token, USE0021 for a token file that can't be read."""
        token = os.environ.get("TOCSIN_TOKEN", "")
        if token_file is not None:
            try:
                token = token_file.read_text("utf-8").strip()
            except OSError as error:
                raise UsageError(f"can't read {token_file}: {error.strerror}", code="USE0021") from error
        if not token:
            raise UsageError(
                "there is no access token",
                code="USE0020",
                hint="Make one of kind api under Settings, Tokens, and give it as TOCSIN_TOKEN or --token-file.",
            )
        self._server = (server or _DEFAULT).rstrip("/")
        import ssl

        self._client = httpx.Client(
            base_url=f"{self._server}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=_SECONDS,
            verify=ssl.create_default_context(cafile=str(ca)) if ca is not None else True,
        )

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, method: str, path: str, body: object = None, **params: Any) -> Any:
        """The answer's JSON; None where it has none. Raises UsageError USE0022 without a server, or the server's refusal."""
        answer = self._answer(method, path, body, params)
        return answer.json() if answer.content else None

    def fetch(self, path: str, **params: Any) -> bytes:
        """The answer as it is: a file. Raises as `ask`."""
        return self._answer("GET", path, None, params).content

    def _answer(self, method: str, path: str, body: object, params: Mapping[str, Any]) -> httpx.Response:
        asked = {k: v for k, v in params.items() if v is not None}
        try:
            answer = self._client.request(method, path, json=body, params=asked)
        except httpx.HTTPError as error:
            raise UsageError(
                f"no answer from {self._server}: {error}", code="USE0022", hint="Name the server with --server."
            ) from error
        if answer.is_success:
            return answer
        raise _refusal(answer)


def works_on_server(data: Path | None, server: str, token_file: Path | None) -> bool:
    """Whether a command that works on either is to work on a server: when one is named, or when there is a token and no folder is named.

    Raises UsageError USE0052 when both are named.
    """
    named = bool(server or token_file or (os.environ.get("TOCSIN_TOKEN") and data is None))
    if named and data is not None:
        raise UsageError(
            "a command works on a server or on a folder, not on both", code="USE0052", hint="Leave out --data."
        )
    return named


def read_mapping(file: Path, what: str) -> dict[str, Any]:
    """A mapping of a YAML or JSON file. `what` says what it should be. Raises ContentError CNT0003 or CNT0010 with the place."""
    import yaml

    from tocsin.base.errors import ContentError, Place
    from tocsin.content import read_text

    try:
        given = yaml.safe_load(read_text(file))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = Place(str(file), mark.line + 1, mark.column + 1) if mark else Place(str(file))
        raise ContentError(f"Not YAML: {getattr(error, 'problem', error)}.", code="CNT0003", place=place) from error
    if not isinstance(given, dict):
        raise ContentError(what, code="CNT0010", place=Place(str(file)))
    return given


def _refusal(answer: httpx.Response) -> TocsinError:
    try:
        said: Mapping[str, Any] = answer.json()
    except ValueError:
        said = {}
    message = str(said.get("detail") or answer.reason_phrase)
    lines = [
        f"\n  {d['code']} at line {d['line']}, column {d['column']}: {d['message']}{' ' + d['hint'] if d.get('hint') else ''}"
        for d in said.get("diagnostics") or ()
    ]
    hint = "" if lines else str(said.get("hint") or "")
    return _RefusedError(message + "".join(lines), code=str(said.get("code") or answer.status_code), hint=hint)

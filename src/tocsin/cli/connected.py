"""Commands that share where they work and how they answer: the options are declared once, and a command's body is what it does there.

    @on_server(app, "show", text=_print)
    def show(remote: Remote, rule: Id) -> Any:
        \"\"\"Print a rule.\"\"\"
        return remote.ask("GET", f"/rules/{rule}")

The command has the body's own options and --server, --token-file, --ca and --json. What the body gives is printed as JSON, or by `text`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from tocsin.cli.output import json_text
from tocsin.cli.remote import Ca, Remote, Server, TokenFile

__all__ = ["connected", "data_option", "on_server", "option"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Opens = Callable[..., AbstractContextManager[Any]]
Body = Callable[..., Any]


def option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """An option that commands share: `Annotated[type, typer.Option(…)]` as the annotation."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


data_option = option("data", Annotated[Path | None, typer.Option(help="The data folder.")], None)
"""--data, as most commands have it."""


def connected(
    app: typer.Typer,
    name: str,
    *,
    options: Sequence[inspect.Parameter],
    opens: Opens,
    text: Callable[[Any], None] | None,
    hidden: bool = False,
) -> Callable[[Body], Body]:
    """Registers a command whose body gets what `opens` opens, called with the shared `options` by name. The decorated body stays as it is.

    `text` None: the body says itself what it has to say, and --json is its own if it has one.
    """

    def register(body: Body) -> Body:
        own = list(inspect.signature(body, eval_str=True).parameters.values())[1:]
        shared = [*options, *([] if text is None else [option("as_json", AsJson, False)])]

        def command(**given: Any) -> None:
            as_json = text is not None and given.pop("as_json")
            with opens(**{o.name: given.pop(o.name) for o in options}) as there:
                found = body(there, **given)
            if as_json:
                print(json_text(found))
            elif text is not None:
                text(found)

        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *shared)]
        command.__name__, command.__doc__ = body.__name__, body.__doc__
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        app.command(name, hidden=hidden)(command)
        return body

    return register


def _remote(server: str, token_file: Path | None, ca: Path | None) -> Remote:
    return Remote(server, token_file, ca)


on_server = partial(
    connected,
    options=(option("server", Server, ""), option("token_file", TokenFile, None), option("ca", Ca, None)),
    opens=_remote,
)
"""`connected` for what a running server is asked: the body gets a `Remote`."""

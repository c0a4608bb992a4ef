"""Management commands: which there are, what each answers, and the refusal by name of all others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

from tocsin.api.kusto import show
from tocsin.api.kusto.asked import Asked
from tocsin.api.kusto.show import Context
from tocsin.api.kusto.tokens import Command, Word, read_command
from tocsin.base.errors import UsageError
from tocsin.kql.types import KqlType
from tocsin.lake.engine import QueryResult
from tocsin.query import RequestOptions

__all__ = ["COMMANDS", "run"]

Handler = Callable[[Context, Sequence[str]], QueryResult]
_S = KqlType.STRING
_NAMED = (("Name", _S), ("Folder", _S), ("DocString", _S))


def _of_database(answer: Callable[[Context], QueryResult]) -> Handler:
    """A command whose only name is a database's, which must be this one."""

    def handle(c: Context, names: Sequence[str]) -> QueryResult:
        for name in names:
            c.check_database(name)
        return answer(c)

    return handle


COMMANDS: dict[str, Handler] = {
    "show version": lambda c, _: show.version(c),
    "show cluster": lambda c, _: show.cluster(c),
    **dict.fromkeys(("show databases", "show database", "show database NAME"), _of_database(show.databases)),
    **dict.fromkeys(
        (
            "show schema as json",
            "show cluster schema as json",
            "show databases schema as json",
            "show databases ( NAMES ) schema as json",
            "show database schema as json",
            "show database NAME schema as json",
        ),
        _of_database(show.database_schema_json),
    ),
    **dict.fromkeys(
        (
            "show schema",
            "show databases schema",
            "show databases ( NAMES ) schema",
            "show database schema",
            "show database NAME schema",
        ),
        _of_database(show.database_schema),
    ),
    **dict.fromkeys(
        (
            "show database schema as csl script",
            "show database NAME schema as csl script",
            "show database cslschema script",
            "show database NAME cslschema script",
        ),
        _of_database(show.database_script),
    ),
    "show tables": lambda c, _: show.tables(c),
    "show tables ( NAMES )": lambda c, names: show.tables(c, names),
    "show tables details": lambda c, _: show.details(c),
    "show tables ( NAMES ) details": lambda c, names: show.details(c, names),
    "show table NAME": lambda c, names: show.table_columns(c, names[0]),
    "show table NAME schema": lambda c, names: show.table_columns(c, names[0]),
    "show table NAME details": lambda c, names: show.details(c, names),
    **dict.fromkeys(
        ("show table NAME cslschema", "show table NAME cql schema", "show table NAME schema as csl"),
        lambda c, names: show.table_schema(c, names[0], as_json=False),
    ),
    "show table NAME schema as json": lambda c, names: show.table_schema(c, names[0], as_json=True),
    "show functions": lambda c, _: show.functions(c),
    "show function NAME": lambda c, names: show.functions(c, names[0]),
    "show function NAME schema as json": lambda c, names: show.function_schema(c, names[0]),
    "show materialized-views": lambda _c, _n: show.nothing(
        (("Name", _S), ("SourceTable", _S), ("Query", _S), *_NAMED[1:])
    ),
    "show external tables": lambda _c, _n: show.nothing((("TableName", _S), ("TableType", _S), *_NAMED[1:])),
    "show entity_groups": lambda _c, _n: show.nothing((("Name", _S), ("Entities", _S))),
    "show queries": lambda c, _: show.queries(c),
    "show running queries": lambda c, _: show.queries(c),
    "cancel query NAME": lambda c, names: show.cancel(c, names[0]),
    "cancel query NAME with ( reason = NAME )": lambda c, names: show.cancel(c, names[0]),
}
"""Every command that is answered. NAME is a name or text, NAMES a list of them."""

_RESULT = "_R"
"""The name under which what follows a pipe reads the command's table. Short, so that it fits where the command stood."""


def run(c: Context, asked: Asked, options: RequestOptions, cancel: threading.Event) -> QueryResult:
    """The answer to a command; what follows its first pipe is a query over that.

    Raises UsageError USE0022 for no command, USE0023 for a name that isn't there, USE0024 for a command that isn't supported.
    """
    command = read_command(asked.text)
    handler, names = _find(command)
    result = handler(c, names)
    if not command.pipe:
        return result
    # The query stands where it stood in the command, so that errors point to the right place.
    text = _RESULT.ljust(command.pipe_at) + command.pipe
    found: QueryResult = c.workspace.queries.run(
        text,
        principal=c.principal,
        limits=options.limits,
        relations={_RESULT: result.table},
        cancel=cancel,
        client_id=asked.ids.client,
        application=asked.application,
    )
    return found


def _find(command: Command) -> tuple[Handler, list[str]]:
    # Fewest names first: in ".show database schema" the last word is no database's name.
    for pattern, handler in sorted(COMMANDS.items(), key=lambda c: c[0].count("NAME")):
        names = _match(pattern.split(), command.words)
        if names is not None:
            return handler, names
    raise _refused(command)


def _match(pattern: Sequence[str], words: Sequence[Word]) -> list[str] | None:
    names: list[str] = []
    index = 0
    for part in pattern:
        if index >= len(words):
            return None
        word = words[index]
        if part == "NAME":
            if not word.name and not (word.text[0].isalnum() or word.text[0] == "_"):
                return None
            names.append(word.text)
        elif part == "NAMES":
            while True:
                if index >= len(words):
                    return None
                names.append(words[index].text)
                if index + 1 >= len(words) or words[index + 1].text != ",":
                    break
                index += 2
        elif word.name or word.text.lower() != part:
            return None
        index += 1
    return names if index == len(words) else None


def _refused(command: Command) -> UsageError:
    """The refusal of a command by its name, with the nearest one that there is."""
    keywords = [w.text.lower() for w in command.words if not w.name]
    name = "." + " ".join(keywords[:5])
    if keywords[:1] in (["show"], ["cancel"]):
        known: dict[str, Any] = {f".{p.replace('NAMES', '…').replace('NAME', '…')}": None for p in COMMANDS}
        near = get_close_matches(name, known, n=1, cutoff=0.6)
        hint = f"Did you mean '{near[0]}'?" if near else "Those that there are: docs/reference/kusto.md."
        return UsageError(f"The command '{name[:120]}' is not supported.", code="USE0024", hint=hint)
    return UsageError(
        f"The command '{name[:120]}' is not supported: this endpoint reads and changes nothing.",
        code="USE0024",
        hint="Tables are made by what comes in, functions and settings by files; see docs/reference/kusto.md.",
    )

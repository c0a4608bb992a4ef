"""`tocsin tables`: what lies where and how long it stays, on a running server or on a data folder."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from tocsin.base.errors import UsageError
from tocsin.cli.connected import connected, data_option, option
from tocsin.cli.output import safe_text, size_text
from tocsin.cli.remote import AnyServer, Ca, Remote, TokenFile, works_on_server

if TYPE_CHECKING:
    from tocsin.access import Principal
    from tocsin.workspace.tabledesk import TableDesk

__all__ = ["app"]

app = typer.Typer(
    help="Tables with rows: how many, how old, how long they stay, and changing that. On a server, or on a folder whose server is stopped.",
    no_args_is_help=True,
)
Table = Annotated[str, typer.Argument(help="The table.")]
Days = Annotated[
    str,
    typer.Option(
        help="Days after which rows are deleted: a number, `forever`, or `default` for what all tables have. Fewer wait for lake.retention.undo_days."
    ),
]
ArchiveDays = Annotated[
    str, typer.Option(help="Days after which rows go to the archive: a number, `never`, or `default`.")
]
Bytes = Annotated[
    str,
    typer.Option(
        "--bytes",
        help="What the table's files may take, such as 20GiB; `none` for no limit of its own. The oldest go at once.",
    ),
]
Tier = Annotated[str, typer.Option(help="`analytics`, or `lake`: no rule looks at the table.")]
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?b?|b|bytes)?", re.IGNORECASE)
_UNITS = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40}


class _Tables(Protocol):
    """What the commands ask for, in the API's shapes."""

    def listed(self) -> Sequence[dict[str, Any]]:
        """Every table with rows."""

    def get(self, table: str) -> dict[str, Any]:
        """One, with what reads it."""

    def preview(self, table: str, terms: Mapping[str, Any]) -> dict[str, Any]:
        """What terms would do."""

    def keep(self, table: str, terms: Mapping[str, Any], expected: int) -> dict[str, Any]:
        """Sets terms; `expected` rows go at once."""

    def reset(self, table: str) -> dict[str, Any]:
        """Lets the settings hold again."""


class _OnServer:
    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def listed(self) -> Any:
        return self._remote.ask("GET", "/tables")["items"]

    def get(self, table: str) -> Any:
        return self._remote.ask("GET", f"/tables/{table}")

    def preview(self, table: str, terms: Mapping[str, Any]) -> Any:
        return self._remote.ask("POST", f"/tables/{table}/retention/preview", terms)

    def keep(self, table: str, terms: Mapping[str, Any], expected: int) -> Any:
        return self._remote.ask("PUT", f"/tables/{table}/retention", {**terms, "expected": expected})

    def reset(self, table: str) -> Any:
        return self._remote.ask("DELETE", f"/tables/{table}/retention")


class _OnFolder:
    def __init__(self, desk: TableDesk, by: Principal) -> None:
        self._desk, self._by = desk, by

    def listed(self) -> Any:
        return self._desk.listed(by=self._by)

    def get(self, table: str) -> Any:
        return self._desk.get(table, by=self._by)

    def preview(self, table: str, terms: Mapping[str, Any]) -> Any:
        return self._desk.preview(table, terms, by=self._by)

    def keep(self, table: str, terms: Mapping[str, Any], expected: int) -> Any:
        return self._desk.keep(table, terms, expected=expected, by=self._by)

    def reset(self, table: str) -> Any:
        return self._desk.reset(table, by=self._by)


@contextmanager
def _opened(data: Path | None, server: str, token_file: Path | None, ca: Path | None) -> Iterator[_Tables]:
    if works_on_server(data, server, token_file):
        with Remote(server, token_file, ca) as remote:
            yield _OnServer(remote)
        return
    from tocsin.access import system
    from tocsin.cli.lake import lake_settings
    from tocsin.workspace.workspace import Workspace

    with Workspace.open(lake_settings(data)) as workspace:
        yield _OnFolder(workspace.tables, system("system:command-line", "data.read", "settings.manage"))


_OPTIONS = (
    data_option,
    option("server", AnyServer, ""),
    option("token_file", TokenFile, None),
    option("ca", Ca, None),
)


def _command(name: str, text: Callable[[Any], None]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return connected(app, name, options=_OPTIONS, opens=_opened, text=text)


# -------------------------------------------------------------------------------------------------- how it reads


def _days(days: int, never: str = "for ever") -> str:
    return f"{days:,} days" if days else never


def _stays(table: Mapping[str, Any]) -> str:
    said = _days(table["days"])
    if waiting := table["waiting"]:
        said = f"{_days(waiting['days'])} until {waiting['until'][:16]}Z, then {said}"
    if table["archive_days"]:
        said += f", archived after {table['archive_days']:,}"
    if table["bytes_limit"]:
        said += f", at most {size_text(table['bytes_limit'])}"
    if table["tier"] != "analytics":
        said += "; lake tier, no rules"
    return said


def _print_all(items: Sequence[Mapping[str, Any]]) -> None:
    for table in items:
        print(
            f"{table['name']:32} {table['rows']:>12,} rows {size_text(table['bytes']):>10}  last {(table['last_event'] or '-')[:19]}  {_stays(table)}"
        )


def _print_one(table: Mapping[str, Any]) -> None:
    print(f"{table['name']}: {table['rows']:,} rows, {size_text(table['bytes'])}")
    print(f"  events {(table['first_event'] or '-')[:19]} to {(table['last_event'] or '-')[:19]}")
    print(f"  stays {_stays(table)}" + ("; set here, in place of the settings" if table["set_here"] else ""))
    if table["archived_rows"]:
        print(
            f"  archived: {table['archived_rows']:,} rows of {table['archived_days']:,} days, {size_text(table['archived_bytes'])}"
        )
    if table["hold"]:
        print(f"  nothing is deleted: {safe_text(table['hold'])}")
    for column in table["new_columns"]:
        print(f"  came without a column: {safe_text(column['name'])}, {column['values']:,} values")
    for reader in table["readers"]:
        print(f"  read by {reader['kind']} {safe_text(reader['name'])} ({reader['id']})")


def _print_preview(found: Mapping[str, Any], where: Any = None) -> None:
    out = where or sys.stdout
    moment = f"on {found['effect'][:16]}Z" if found["shorter"] else "at the next look"
    print(f"{found['table']}: rows stay {_days(found['days'])}", file=out)
    if found["older_then"] or found["archived_older_then"]:
        print(
            f"  {found['older_then']:,} rows and {found['archived_older_then']:,} archived ones go {moment}"
            + ("; until then `tocsin tables undo` takes it back" if found["shorter"] else ""),
            file=out,
        )
    elif found["shorter"]:
        print(f"  takes effect {moment}; until then `tocsin tables undo` takes it back", file=out)
    if found["rows_at_once"]:
        print(
            f"  {found['rows_at_once']:,} rows ({size_text(found['bytes_at_once'])}) go at once, and nothing brings them back",
            file=out,
        )
    if found["to_archive"]:
        print(f"  {found['to_archive']:,} rows move to the archive", file=out)
    for rule in found["stops"]:
        print(f"  stops: rule {safe_text(rule['name'])} ({rule['id']})", file=out)


# -------------------------------------------------------------------------------------------------- what is said


def _terms(table: Mapping[str, Any], days: str, archive_days: str, limit: str, tier: str) -> dict[str, Any]:
    """The table's terms with what was said changed. Raises UsageError USE0057."""
    own: Mapping[str, Any] = table["own"] or {"days": None, "bytes": 0, "archive_days": None, "tier": "analytics"}
    terms = dict(own)
    if not (days or archive_days or limit or tier):
        raise UsageError("there is nothing to change", code="USE0057", hint="`--help` names what can be.")
    if days:
        terms["days"] = _number("--days", days, "forever")
    if archive_days:
        terms["archive_days"] = _number("--archive-days", archive_days, "never")
    if limit:
        terms["bytes"] = _bytes(limit)
    if tier:
        if tier not in ("analytics", "lake"):
            raise UsageError(f"there is no tier '{tier}'", code="USE0057", hint="Tiers are analytics and lake.")
        terms["tier"] = tier
    return terms


def _number(name: str, given: str, zero: str) -> int | None:
    if given == "default":
        return None
    if given == zero:
        return 0
    if given.isascii() and given.isdigit() and 1 <= int(given) <= 36_500:
        return int(given)
    raise UsageError(
        f"{name} can't be '{given}'", code="USE0057", hint=f"Give days from 1 to 36500, `{zero}` or `default`."
    )


def _bytes(given: str) -> int:
    if given == "none":
        return 0
    match = _SIZE.fullmatch(given.strip())
    if match is None or float(match[1]) == 0:
        raise UsageError(
            f"--bytes can't be '{given}'", code="USE0057", hint="Give a size such as 500MiB or 20GiB, or `none`."
        )
    return int(float(match[1]) * (1 << _UNITS[(match[2] or "").lower()[:1]]))


def _kept(
    tables: _Tables, table: str, terms: Mapping[str, Any], *, yes: bool, expected: int | None = None
) -> dict[str, Any]:
    """Sets terms after saying what that takes and asking, where it takes something."""
    if expected is None:
        found = tables.preview(table, terms)
        expected = found["rows_at_once"]
        if not yes and (found["shorter"] or found["rows_at_once"] or found["older_now"] or found["stops"]):
            _print_preview(found, sys.stderr)
            typer.confirm("Change it?", abort=True, err=True)
    return tables.keep(table, terms, expected)


# -------------------------------------------------------------------------------------------------- the commands

Yes = Annotated[bool, typer.Option("--yes", help="Don't ask.")]


@_command("list", _print_all)
def list_tables(tables: _Tables) -> Any:
    """Print the tables that hold rows: how many, how large, the last event, how long rows stay."""
    return tables.listed()


@_command("show", _print_one)
def show(tables: _Tables, table: Table) -> Any:
    """Print one table: its rows, how long they stay, columns that came and it doesn't have, what reads it."""
    return tables.get(table)


@_command("preview", _print_preview)
def preview(
    tables: _Tables, table: Table, days: Days = "", archive_days: ArchiveDays = "", limit: Bytes = "", tier: Tier = ""
) -> Any:
    """Say what `keep` with these options would take and when; nothing changes."""
    return tables.preview(table, _terms(tables.get(table), days, archive_days, limit, tier))


@_command("keep", _print_one)
def keep(
    tables: _Tables,
    table: Table,
    days: Days = "",
    archive_days: ArchiveDays = "",
    limit: Bytes = "",
    tier: Tier = "",
    expected: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="How many rows the preview said go at once: then nothing is asked, and with another number nothing is done.",
        ),
    ] = None,
    yes: Yes = False,
) -> Any:
    """Set how long a table's rows stay; what isn't named stays as it is. It says what that takes, and asks. `undo` takes a shorter time back."""
    terms = _terms(tables.get(table), days, archive_days, limit, tier)
    return _kept(tables, table, terms, yes=yes, expected=expected)


@_command("undo", _print_one)
def undo(tables: _Tables, table: Table) -> Any:
    """Put back the longer time that still holds after it was shortened, until lake.retention.undo_days have passed."""
    found = tables.get(table)
    if not (waiting := found["waiting"]):
        raise UsageError(
            f"no shorter time of {table} waits",
            code="USE0058",
            hint="What took effect stays; set other days with `tocsin tables keep`.",
        )
    own = found["own"] or {"bytes": 0, "archive_days": None, "tier": "analytics"}
    return _kept(tables, table, {**own, "days": waiting["days"]}, yes=True)


@_command("reset", _print_one)
def reset(tables: _Tables, table: Table) -> Any:
    """Let the settings hold again for a table. A shorter time waits, as with `keep`."""
    return tables.reset(table)

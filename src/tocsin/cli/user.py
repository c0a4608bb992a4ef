"""`tocsin user`: for who holds the machine: see users, set a password that was lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tocsin.access import Access

__all__ = ["app"]

app = typer.Typer(help="Users of a data folder, for who holds the machine.", no_args_is_help=True)
Data = Annotated[Path | None, typer.Option(help="The data folder.")]


@app.command("list")
def list_users(
    data: Data = None, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False
) -> None:
    """Print the users and their roles."""
    with _access(data) as access:
        users = access.users()
    if as_json:
        print(json.dumps(users, indent=2, default=str))
        return
    for user in users:
        print(f"{user['name']:24} {', '.join(user['roles'])}")


@app.command("groups")
def list_groups(
    data: Data = None, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False
) -> None:
    """Print the groups, to which incidents may be assigned, and who is in them."""
    with _access(data) as access:
        groups = access.groups.all()
    if as_json:
        print(json.dumps(groups, indent=2, default=str))
        return
    for group in groups:
        said = ", ".join(group["members"]) or "nobody"
        print(f"{group['name']:24} {said}{' (disabled)' if group['disabled'] else ''}")


@app.command("password")
def password(name: Annotated[str, typer.Argument(help="The user's name.")] = "admin", data: Data = None) -> None:
    """Give a user a new password and print it. Running sessions of that user end."""
    with _access(data) as access:
        made = access.set_password(name)
    print(f"  user      {name}\n  password  {made}   (made now, shown this once)")


@contextmanager
def _access(data: Path | None) -> Iterator[Access]:
    from tocsin.access import Access
    from tocsin.cli.state import open_state, state_settings

    with open_state(data) as state:
        yield Access(state, settings=state_settings(data).access)

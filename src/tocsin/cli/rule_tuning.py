"""`tocsin rules tune`: what is overridden of a rule on a running server, whatever its file says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from tocsin.base.errors import UsageError, did_you_mean
from tocsin.cli.connected import on_server
from tocsin.cli.output import say
from tocsin.cli.remote import Remote

__all__ = ["add_to", "find_rule"]

_MEMBERS = ("severity", "create_incident", "correlate", "suppression", "threshold", "noise_budget")


def tune(
    remote: Remote,
    rule: Annotated[str, typer.Argument(help="The rule's id, or its name.")],
    correlate: Annotated[
        bool | None,
        typer.Option(
            "--correlate/--apart",
            help="Whether correlation may join its alerts to others'; apart, each is an incident of its own.",
            show_default=False,
        ),
    ] = None,
    create_incident: Annotated[
        bool | None,
        typer.Option("--incidents/--no-incidents", help="Whether its alerts open incidents.", show_default=False),
    ] = None,
    severity: Annotated[str, typer.Option(help="Informational, Low, Medium or High.")] = "",
    suppression: Annotated[
        int | None, typer.Option(min=0, help="Seconds for which it is silent after an alert; 0 for none.")
    ] = None,
    threshold: Annotated[int | None, typer.Option(min=0, help="So many results raise nothing.")] = None,
    noise_budget: Annotated[
        int | None, typer.Option(min=0, help="Alerts a week that nobody calls true positives and that it may cost.")
    ] = None,
    usual: Annotated[
        list[str] | None, typer.Option(help=f"An override to take away: {', '.join(_MEMBERS)}, or all. Repeatable.")
    ] = None,
) -> Any:
    """Print what is overridden of a rule, after overriding what is named. The rule's changes tell who did; they can be undone there."""
    given = {
        "severity": severity or None,
        "create_incident": create_incident,
        "correlate": correlate,
        "suppression": suppression,
        "threshold": threshold,
        "noise_budget": noise_budget,
    }
    changes: dict[str, Any] = {n: v for n, v in given.items() if v is not None}
    for name in usual or ():
        wanted = name.replace("-", "_")
        if wanted != "all" and wanted not in _MEMBERS:
            raise UsageError(
                f"nothing named '{name}' is overridden", code="USE0059", hint=did_you_mean(wanted, (*_MEMBERS, "all"))
            )
        changes |= {n: None for n in (_MEMBERS if wanted == "all" else (wanted,)) if n not in changes}
    found = find_rule(remote, rule)
    path = f"/rules/{found['id']}"
    now = remote.ask("PATCH", f"{path}/tuning", changes) if changes else remote.ask("GET", path)["tuning"]
    return {"id": found["id"], "name": found["name"], "tuning": now}


def find_rule(remote: Remote, wanted: str) -> Mapping[str, Any]:
    """The rule of that id or name; UsageError USE0060 for none, or several of that name."""
    items: list[Mapping[str, Any]] = remote.ask("GET", "/rules")["items"]
    by_id = [r for r in items if r["id"] == wanted]
    found = by_id or [r for r in items if r["name"].casefold() == wanted.casefold()]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(str(r["id"]) for r in found)
        raise UsageError(f"{len(found)} rules are named '{wanted}'", code="USE0060", hint=f"Say which: {ids}.")
    raise UsageError(
        f"there is no rule '{wanted}'", code="USE0060", hint=did_you_mean(wanted, [r["name"] for r in items])
    )


def _print(found: Mapping[str, Any]) -> None:
    say(f"{found['id']}  {found['name']}")
    for name, value in found["tuning"].items():
        if value is not None:
            say(f"  {name.replace('_', ' ')}: {value if not isinstance(value, bool) else 'yes' if value else 'no'}")
    if all(v is None for v in found["tuning"].values()):
        say("  All is as its file says.")


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    on_server(app, "tune", text=_print)(tune)

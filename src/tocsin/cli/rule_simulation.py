"""`tocsin rules simulate`: what a rule's last windows show on a running server, and which incidents its alerts would join."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from tocsin.cli.connected import on_server
from tocsin.cli.near import name_of, say_near
from tocsin.cli.output import say
from tocsin.cli.remote import Remote
from tocsin.cli.rule_tuning import find_rule

__all__ = ["add_to"]


def simulate(remote: Remote, rule: Annotated[str, typer.Argument(help="The rule's id, or its name.")]) -> Any:
    """Print what a rule's last fifty windows show, and what its alerts would join, and why. Nothing is filed."""
    found = find_rule(remote, rule)
    shown: Mapping[str, Any] = remote.ask("POST", f"/rules/{found['id']}/simulation", {})
    return {"id": found["id"], "name": found["name"], **shown}


def _print(found: Mapping[str, Any]) -> None:
    windows = found["windows"]
    say(f"{found['id']}  {found['name']}")
    triggers, alerts = sum(w["triggers"] for w in windows), sum(w["alerts"] for w in windows)
    results = sum(w["results"] for w in windows)
    say(f"  {triggers} of {len(windows)} windows trigger: {results} results, {alerts} alerts")
    for alert in found["alerts"]:
        say(f"{alert['time']}  {alert['severity']:13} {alert['title']}")
        if filed := alert["filed"]:
            say(f"{'':11}{name_of(filed)} holds it already: {filed['title']}")
            continue
        joins = next((n for n in alert["near"] if n["joins"]), None)
        if joins is None:
            say(f"{'':11}{_alone(alert)}")
        for near in alert["near"]:
            verdict = "joins" if near is joins else "near enough, too" if near["joins"] else "stays apart"
            say_near(near, verdict)


def _alone(alert: Mapping[str, Any]) -> str:
    if not alert["opens"]:
        return "It opens no incident."
    return "It opens an incident of its own" + (
        "." if alert["correlate"] else ": correlation may not join its rule's alerts."
    )


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    on_server(app, "simulate", text=_print)(simulate)

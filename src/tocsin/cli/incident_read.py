"""`tocsin incidents alerts`, `story` and the like: what the portal's page of an incident shows, on a server or on a folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from tocsin.cli.incident_desks import Desk, on_desk
from tocsin.cli.output import say

__all__ = ["add_to"]

Which = Annotated[str, typer.Argument(metavar="INCIDENT", help="An incident's number or id.")]
Words = Annotated[str, typer.Option("--text", "-q", help="Words that must all be somewhere in it.")]
_PAGE = 1000


def alerts(
    desk: Desk,
    incident: Which,
    text: Words = "",
    severity: Annotated[str, typer.Option(help="Comma-separated: Informational, Low, Medium, High.")] = "",
    alert: Annotated[str, typer.Option(help="Only the alert of this id.")] = "",
    evidence: Annotated[bool, typer.Option(help="With --json: with the rows that prove them.")] = True,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 200,
) -> Any:
    """Print an incident's alerts in time, each with why it is in this incident.

    Which alerts a merge brought: `tocsin incidents alerts 12 | grep -A3 merged`. With their rows: `tocsin incidents alerts 12 -q mimikatz --json`.
    """
    items: list[Mapping[str, Any]] = []
    wanted = {"q": text, "severity": severity, "alert": alert, "evidence": evidence}
    after = ""
    while True:
        page = desk.read(incident, "alerts", **wanted, after=after, limit=min(_PAGE, limit - len(items)))
        items += page["items"]
        after = page["next"]
        if not after or len(items) >= limit:
            return {"items": items, "total": page["total"]}


def _say_alerts(found: Mapping[str, Any]) -> None:
    for each in found["items"]:
        say(f"{each['time']}  {each['severity']:13} {each['id']}  {each['title'] or each['rule']}")
        for reason in each["linked_by"]:
            say(f"{'':11}{reason['weight']:>6.1f}  {reason['text']}")
        if not each["linked_by"]:
            say(f"{'':19}it opened the incident")
    _say_rest(found)


def entities(
    desk: Desk,
    incident: Which,
    text: Words = "",
    kind: Annotated[str, typer.Option("--type", help="Only things of this type, such as Host or IP.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
) -> Any:
    """Print what an incident's alerts name, the most often named first.

    For a block list: `tocsin incidents entities 12 --type IP --limit 1000 --json`.
    """
    items: list[Mapping[str, Any]] = []
    while True:
        asked = {"q": text, "type": kind, "offset": len(items), "limit": min(_PAGE, limit - len(items))}
        page = desk.read(incident, "entities", **asked)
        items += page["items"]
        if not page["items"] or len(items) >= min(limit, page["total"]):
            return {**page, "items": items}


def _say_entities(found: Mapping[str, Any]) -> None:
    for each in found["items"]:
        say(f"{each['type']:16} {each['label']}")
    _say_rest(found)


def _say_rest(found: Mapping[str, Any]) -> None:
    if found["total"] > len(found["items"]):
        say(f"{found['total'] - len(found['items'])} more; --limit shows them", error=True)


def story(desk: Desk, incident: Which) -> Any:
    """Print what an incident means: summary, key facts, stages, where it began, what to do next, and similar incidents."""
    return desk.read(incident, "narrative")


def _say_story(told: Mapping[str, Any]) -> None:
    say(told["summary"] or "It has no alerts any more.")
    for fact in told["facts"]:
        say(f"  {fact['name']:16} {fact['text']}")
    if cause := told["root_cause"]:
        say(f"\nIt probably began at {cause['time']} with: {cause['title']} ({cause['score']:g} points)")
        for reason in cause["reasons"]:
            say(f"{'':11}{reason['weight']:>6.1f}  {reason['text']}")
    say()
    for stage in told["stages"]:
        where = f" on {stage['target']}" if stage["target"] else ""
        say(f"{stage['time']}  {stage['name']}{where}: {'; '.join(stage['titles'])}")
    for heading, lines in (
        ("What to do next", [f"{step['do']} {step['why']}" for step in told["advice"]]),
        ("Threat reports that it looks like", [r["title"] for r in told["reports"]]),
        ("Similar incidents", [f"#{o['number']} {o['title']} ({o['likeness']:.0f} % alike)" for o in told["similar"]]),
    ):
        if lines:
            say(f"\n{heading}")
        for line in lines:
            say(f"  - {line}")


def priority(desk: Desk, incident: Which) -> Any:
    """Print the priorities that an incident has had, oldest first, with what made each."""
    return desk.read(incident, "priority")


def _say_priority(found: Mapping[str, Any]) -> None:
    for past in found["items"]:
        say(f"{past['time']}  v{past['version']:<5} {past['score']:>4}  {past['actor']}")
        for reason in past["reasons"]:
            say(f"{'':11}{reason['weight']:>+6.1f}  {reason['text']}")


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    on_desk(app, "alerts", text=_say_alerts)(alerts)
    on_desk(app, "entities", text=_say_entities)(entities)
    on_desk(app, "story", text=_say_story)(story)
    on_desk(app, "priority", text=_say_priority)(priority)

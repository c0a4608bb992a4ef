"""`tocsin incidents weights` and `tuning`: what correlation and priority weigh, on a server or on a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from tocsin.base.errors import UsageError
from tocsin.cli.incident_desks import As, Ca, Data, Place, Server, TokenFile, open_tuning
from tocsin.cli.output import json_text, say

__all__ = ["add_to"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def weights(
    assign: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="NAME=VALUE, such as threshold=45 or severity.High=50; what isn't named stays. Repeatable."
        ),
    ] = None,
    usual: Annotated[list[str] | None, typer.Option(help="A weight that becomes usual again. Repeatable.")] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Only say what it would change; change nothing.")] = False,
    reason: Annotated[str, typer.Option(help="Why; it stays in the history.")] = "",
    history: Annotated[bool, typer.Option("--history", help="Print who set what, newest first.")] = False,
    undo: Annotated[int | None, typer.Option(help="Set back what this entry of the history set.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Print every weight, not only those that differ.")] = False,
    data: Data = None,
    user: As = "",
    server: Server = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Print or set what correlation and priority weigh. Setting counts from the next alert on, and orders the queue at once."""
    with _tuning(Place(data, user, server, token_file, ca)) as ask:
        if undo is not None:
            _entry(ask("undo", undo), as_json)
        elif history:
            entries = ask("history")
            if as_json:
                _json({"items": entries})
            for entry in () if as_json else entries:
                _entry(entry, False)
        elif assign or usual:
            known = ask("weights")
            correlation, priorities = _values(known, assign or [], usual or [])
            if preview:
                _would(ask("preview", correlation, priorities), as_json)
            else:
                _entry(ask("set", correlation, priorities, reason, known["version"]), as_json)
        else:
            _weights(ask("weights"), every, as_json)


def tuning(
    data: Data = None,
    server: Server = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Print how the weights do on what people decided: closed incidents, merges, splits."""
    with _tuning(Place(data, "", server, token_file, ca)) as ask:
        found = ask("report")
    if as_json:
        _json(found)
        return
    say(f"{found['true_positives']} closed incidents were true positives, {found['others']} were not.")
    if found["separation"] is None:
        say("There are not both: nothing to compare.")
    else:
        say(f"A true positive has the higher priority in {found['separation']:.1%} of the pairs (half is chance).")
    for factor in found["factors"]:
        say(f"  {factor['worth']:+8.1%}  {factor['name']}: {factor['without']:.1%} without it")
    c = found["corrections"]
    say(f"People merged {c['merged']} times; the engine would join {c['merged_now']} of these now.")
    say(f"People took {c['apart']} pairs apart; the engine would keep {c['apart_now']} of these apart now.")


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("weights")(weights)
    app.command("tuning")(tuning)


@contextmanager
def _tuning(place: Place) -> Iterator[Callable[..., Any]]:
    with open_tuning(place) as ask:
        yield ask


def _values(
    known: Mapping[str, Any], assign: list[str], usual: list[str]
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The sides that change, with what differs on them already and what is to. A name that is no weight goes along: it is refused by name."""
    sides: dict[str, dict[str, Any]] = {
        side: {w["name"]: w["value"] for w in known[side] if w["value"] != w["usual"]}
        for side in ("correlation", "priority")
    }
    units = {w["name"]: w["unit"] for w in known["correlation"]}
    touched = set()
    for text in assign:
        name, given, value = text.partition("=")
        try:
            number: Any = value.lower() in ("true", "yes") if units.get(name) == "yes or no" else float(value)
        except ValueError:
            given = ""
        if not given:
            raise UsageError(f"'{text}' is no weight with a number", code="USE0055", hint="Write NAME=VALUE.")
        side = "correlation" if name in units or name.startswith("weights.") else "priority"
        sides[side][name] = int(number) if units.get(name) == "count" and number == int(number) else number
        touched.add(side)
    for name in usual:
        side = "correlation" if name in units else "priority"
        if sides[side].pop(name, None) is None:
            raise UsageError(f"the weight '{name}' is as usual", code="USE0055")
        touched.add(side)
    return sides["correlation"] if "correlation" in touched else None, sides[
        "priority"
    ] if "priority" in touched else None


def _weights(found: Mapping[str, Any], every: bool, as_json: bool) -> None:
    if as_json:
        _json(found)
        return
    shown = 0
    for side in ("correlation", "priority"):
        for w in found[side]:
            if every or w["value"] != w["usual"]:
                shown += 1
                usual = "" if w["value"] == w["usual"] else f" (usually {w['usual']})"
                say(f"{side:11}  {w['name']} = {w['value']} {w['unit']}{usual}\n{'':13}{w['meaning']}")
    if not shown:
        say("All weights are as usual; --all prints them.")


def _would(found: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        _json(found)
        return
    for change in found["priorities"]:
        say(f"#{change['number']} priority {change['before']} becomes {change['after']}: {change['title']}")
    for change in found["joins"]:
        numbers = ", ".join(f"#{i['number']}" for i in change["incidents"])
        said = "would be one incident" if change["kind"] == "merge" else "would not be one incident"
        say(f"{change['alerts']} alerts of {numbers} {said}")
    if not found["priorities"] and not found["joins"]:
        say("Nothing would change in the open incidents.")
    say(
        f"Looked at: {found['incidents']} of {found['open']} open incidents, {found['alerts']} of {found['alerts_open']} alerts."
    )


def _entry(entry: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        _json(entry)
        return
    say(f"{entry['id']:>4}  {entry['time']}  {entry['actor']:16} {entry['reason']}")
    for side, after in entry["after"].items():
        say(f"      {side}: {json.dumps(entry['before'][side])} became {json.dumps(after)}")


def _json(value: Any) -> None:
    print(json_text(value))

"""`tocsin incidents set`, `merge`, `undo` and the like: what an analyst does with an incident, on a server or on a folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from tocsin.base.errors import TocsinError, UsageError
from tocsin.cli.incident_desks import As, Ca, Data, Desk, Place, Server, TokenFile, open_desk

__all__ = ["add_to"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Which = Annotated[str, typer.Argument(metavar="INCIDENT", help="An incident's number or id.")]
Reason = Annotated[str, typer.Option(help="Why; it stays in the activity log.")]
_OVERTAKEN = "STA0003"
_CLEAR = "none"


def set_(
    incident: Which,
    status: Annotated[str, typer.Option(help="New, InProgress or Resolved.")] = "",
    severity: Annotated[
        str, typer.Option(help="Informational, Low, Medium or High; `none` gives it back to correlation.")
    ] = "",
    owner: Annotated[str, typer.Option(help="A user; `none` for nobody.")] = "",
    classification: Annotated[
        str, typer.Option(help="TruePositive, InformationalExpectedActivity or FalsePositive; `none` clears it.")
    ] = "",
    determination: Annotated[str, typer.Option(help="What kind of that, such as Phishing; `none` clears it.")] = "",
    title: Annotated[str, typer.Option(help="A title; `none` gives it back to correlation.")] = "",
    phase: Annotated[
        str,
        typer.Option(help="DetectionAnalysis, Containment, Eradication, Recovery or PostIncident; `none` clears it."),
    ] = "",
    role: Annotated[
        list[str] | None, typer.Option(help="ROLE=USER, such as TechnicalLead=ann; `ROLE=` takes it away. Repeatable.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag to add. Repeatable.")] = None,
    untag: Annotated[list[str] | None, typer.Option(help="A tag to remove. Repeatable.")] = None,
    comment: Annotated[str, typer.Option(help="A note kept with the change.")] = "",
    version: Annotated[
        int | None, typer.Option(help="Refuse when the incident's version (see `show`) isn't that any more.")
    ] = None,
    data: Data = None,
    user: As = "",
    server: Server = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Change an incident: all that is named, in one transaction. With --version, what others changed since is told and nothing is changed."""
    texts = {
        "status": status,
        "severity": severity,
        "owner": owner,
        "classification": classification,
        "determination": determination,
        "title": title,
        "phase": phase,
    }
    changes: dict[str, Any] = {n: None if v == _CLEAR and n != "status" else v for n, v in texts.items() if v}
    if role:
        changes["roles"] = dict(_role(r) for r in role)
    changes |= {n: v for n, v in (("add_tags", tag), ("remove_tags", untag), ("comment", comment)) if v}
    if not changes:
        raise UsageError("there is nothing to change", code="USE0053", hint="`--help` names what can be.")
    with open_desk(Place(data, user, server, token_file, ca)) as desk:
        if version is not None:
            changes["version"] = version
        try:
            made = desk.edit(incident, changes)
        except TocsinError as error:
            if error.code == _OVERTAKEN and version is not None:
                raise _overtaken(error, desk, incident, version) from error
            raise
    _say(made, as_json)


def _role(text: str) -> tuple[str, str | None]:
    name, given, person = text.partition("=")
    if not given:
        raise UsageError(f"'{text}' is no role with a user", code="USE0053", hint="Write ROLE=USER.")
    return name.strip(), person.strip() or None


def _overtaken(error: TocsinError, desk: Desk, incident: str, version: int) -> TocsinError:
    """The refusal with what others changed since that version."""
    lines = []
    for entry in desk.log(incident):
        if entry["version"] is not None and entry["version"] > version:
            said = {**entry["data"].get("set", {})}
            if tags := entry["data"].get("tags"):
                said["tags"] = " ".join([*(f"+{t}" for t in tags["added"]), *(f"-{t}" for t in tags["removed"])])
            if alerts := entry["data"].get("alerts"):
                said["alerts"] = f"{len(alerts['linked'])} in, {len(alerts['left'])} out"
            what = ", ".join(f"{n}: {'nothing' if v is None else v}" for n, v in said.items()) or entry["kind"]
            lines.append(f"\n  v{entry['version']}  {entry['time']}  {entry['actor']}  {what}")
    now = f" It is at another version than {version} now; since then:" if lines else f" It isn't at version {version}."
    hint = "Look at it again (`tocsin incidents show`), then say its new version."
    return type(error)(error.message + now + "".join(lines[-10:]), code=error.code, hint=hint)


def comment(
    incident: Which,
    text: Annotated[str, typer.Argument(help="The comment; - reads it from standard input.")],
    entry: Annotated[
        int | None, typer.Option(help="The number of a comment of yours (see `show`) that gets this text instead.")
    ] = None,
    data: Data = None,
    user: As = "",
    server: Server = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Comment on an incident, or put a comment of one's own right."""
    given: dict[str, Any] = {"text": sys.stdin.read().strip() if text == "-" else text}
    kind = "incident.comment"
    if entry is not None:
        kind, given["entry"] = "incident.edit-comment", entry
    with open_desk(Place(data, user, server, token_file, ca)) as desk:
        made = desk.perform(kind, given, incident)
    _say(made, as_json)


def task(
    incident: Which,
    add: Annotated[str, typer.Option(help="Add a task of that title.")] = "",
    description: Annotated[str, typer.Option(help="The task's description.")] = "",
    done: Annotated[int | None, typer.Option(help="The number of a task that is done.")] = None,
    reopen: Annotated[int | None, typer.Option(help="The number of a task that isn't done after all.")] = None,
    remove: Annotated[int | None, typer.Option(help="The number of a task to take away.")] = None,
    data: Data = None,
    user: As = "",
    server: Server = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Print an incident's tasks, after adding one, saying that one is done or open again, or taking one away."""
    asked: list[tuple[str, dict[str, Any]]] = []
    if add:
        asked.append(("incident.add-task", {"title": add, "description": description}))
    asked += [
        ("incident.change-task", {"task": n, "done": d}) for n, d in ((done, True), (reopen, False)) if n is not None
    ]
    if remove is not None:
        asked.append(("incident.remove-task", {"task": remove}))
    with open_desk(Place(data, user, server, token_file, ca)) as desk:
        for kind, given in asked:
            desk.perform(kind, given, incident)
        made = desk.show(incident)
    if as_json:
        _json(made["tasks"])
        return
    for each in made["tasks"]:
        who = f"  ({each['completed_by']})" if each["completed"] else ""
        print(f"{each['id']:>4}  [{'x' if each['completed'] else ' '}] {each['title']}{who}")
    if not made["tasks"]:
        print("No tasks.")


def merge(
    target: Annotated[str, typer.Argument(help="The incident that stays: number or id.")],
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE…", help="1 to 5 incidents that are emptied into it.")],
    reason: Reason = "",
    preview: Annotated[bool, typer.Option("--preview", help="Only say what it would make; change nothing.")] = False,
    data: Data = None,
    user: As = "",
    server: Server = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Empty incidents into another, or say what that would make. `undo` takes them apart again."""
    with open_desk(Place(data, user, server, token_file, ca)) as desk:
        ids = [desk.id_of(s) for s in sources]
        if not preview:
            made = desk.perform("incident.merge", {"sources": ids, "reason": reason}, target)
            _say(made, as_json)
            return
        found = desk.preview_merge(target, ids)
    if as_json:
        _json(found)
        return
    would = found["incident"]
    print(f"#{would['number']} would be: {would['title']}")
    print(
        f"  priority {would['priority']}, {would['severity']}, {would['alert_count']} alerts ({found['alerts']} come in)"
    )
    for thing in found["shared"]:
        print(f"  both have {thing}")
    for veto in found["vetoes"]:
        print(f"  against it: {veto}")
    if not found["shared"]:
        print("  They share nothing.")


def move(
    incident: Which,
    alerts: Annotated[list[str], typer.Argument(metavar="ALERT…", help="Ids of alerts in it.")],
    to: Annotated[str, typer.Option(help="The incident to move them to: number or id.")],
    reason: Reason = "",
    data: Data = None,
    user: As = "",
    server: Server = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Move alerts to another incident and print that one. `undo` brings them back."""
    with open_desk(Place(data, user, server, token_file, ca)) as desk:
        given = {"alerts": alerts, "target": desk.id_of(to), "reason": reason}
        _say(desk.perform("incident.move-alerts", given, incident), as_json)


def split(
    incident: Which,
    alerts: Annotated[list[str], typer.Argument(metavar="ALERT…", help="Ids of alerts in it.")],
    reason: Reason = "",
    data: Data = None,
    user: As = "",
    server: Server = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Make a new incident of some of an incident's alerts and print it. Correlation doesn't join the two again; `undo` does."""
    with open_desk(Place(data, user, server, token_file, ca)) as desk:
        _say(desk.perform("incident.move-alerts", {"alerts": alerts, "reason": reason}, incident), as_json)


def lock(
    incident: Which,
    data: Data = None,
    user: As = "",
    server: Server = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Lock an incident: no alert joins it and it merges with none. People may still change it; the tag Locked says so."""
    with open_desk(Place(data, user, server, token_file, ca)) as desk:
        _say(desk.edit(incident, {"locked": True}), as_json)


def unlock(
    incident: Which,
    data: Data = None,
    user: As = "",
    server: Server = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Let correlation work on a locked incident again."""
    with open_desk(Place(data, user, server, token_file, ca)) as desk:
        _say(desk.edit(incident, {"locked": False}), as_json)


def history(
    incident: Which,
    data: Data = None,
    user: As = "",
    server: Server = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Print what was done to an incident, newest first, with the ids by which `undo` takes it back. `log` prints what came of it."""
    with open_desk(Place(data, user, server, token_file, ca)) as desk:
        found = desk.actions(incident)
    if as_json:
        _json({"items": list(found)})
        return
    for each in found:
        undo = "can be undone" if each["undoable"] else each["status"]
        print(
            f"{each['proposed_at']}  {each['proposed_by']:16} {each['id']}  {undo:13}  {each['title']}: {each['summary']}"
        )
    if not found:
        print("Nobody has done anything to it.")


def undo(
    incident: Which,
    action: Annotated[
        str, typer.Argument(help="The action's id (see `history`); by default the last one that can be undone.")
    ] = "",
    data: Data = None,
    user: As = "",
    server: Server = "",
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Take back what was done to an incident: an edit, a comment, a task, a merge, a move. What others changed since stays theirs."""
    with open_desk(Place(data, user, server, token_file, ca)) as desk:
        mine = desk.actions(incident)
        if action and action not in {a["id"] for a in mine}:
            raise UsageError(f"incident {incident} has no action '{action}'", code="USE0054", hint="See `history`.")
        wanted = action or next((a["id"] for a in mine if a["undoable"]), "")
        if not wanted:
            raise UsageError("there is nothing to undo", code="USE0054", hint="See `history`.")
        done = desk.undo(wanted)
    if as_json:
        _json(done)
        return
    said = done["history"][-1]["text"] if done["history"] else ""
    print(f"Undone: {done['title']}. {said}")


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("set")(set_)
    for command in (comment, task, merge, move, split, lock, unlock, history, undo):
        app.command(command.__name__)(command)


def _say(incident: Mapping[str, Any], as_json: bool) -> None:
    """The incident as it is now, in a line or as JSON."""
    if as_json:
        _json(incident)
        return
    verdict = "/".join(v for v in (incident["classification"], incident["determination"]) if v)
    parts = [
        f"#{incident['number']} v{incident['version']}",
        f"priority {incident['priority']}",
        incident["severity"],
        incident["status"],
        incident["owner"] or "unassigned",
        *([verdict] if verdict else []),
        *([f"tags {', '.join(incident['tags'])}"] if incident["tags"] else []),
        f"{incident['alert_count']} alerts",
        incident["title"],
    ]
    print("  ".join(parts))


def _json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False))

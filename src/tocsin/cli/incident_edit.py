"""`tocsin incidents set`, `merge`, `undo` and the like: what an analyst does with an incident, on a server or on a folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from tocsin.base.errors import TocsinError, UsageError
from tocsin.cli.incident_desks import Desk, on_desk
from tocsin.cli.output import say

__all__ = ["add_to"]

Which = Annotated[str, typer.Argument(metavar="INCIDENT", help="An incident's number or id.")]
Reason = Annotated[str, typer.Option(help="Why; it stays in the activity log.")]
_OVERTAKEN = "STA0003"
_CLEAR = "none"


def set_(
    desk: Desk,
    incident: Which,
    status: Annotated[str, typer.Option(help="New, InProgress or Resolved.")] = "",
    severity: Annotated[
        str, typer.Option(help="Informational, Low, Medium or High; `none` gives it back to correlation.")
    ] = "",
    owner: Annotated[str, typer.Option(help="A user or a group; `none` for nobody.")] = "",
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
    words: Annotated[
        str,
        typer.Option(
            help="Whose words status, classification and determination (in Sentinel the reason) are: defender, sentinel or api."
        ),
    ] = "",
    version: Annotated[
        int | None, typer.Option(help="Refuse when the incident's version (see `show`) isn't that any more.")
    ] = None,
) -> Any:
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
    if words:
        from tocsin.incidents.vocabulary import change_of

        changes = change_of(desk.show(incident), words, changes)
    if version is not None:
        changes["version"] = version
    try:
        return desk.edit(incident, changes)
    except TocsinError as error:
        if error.code == _OVERTAKEN and version is not None:
            raise _overtaken(error, desk, incident, version) from error
        raise


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
    since = " Since then:" + "".join(lines[-10:]) if lines else ""
    hint = "Look at it again (`tocsin incidents show`), then say its new version."
    return TocsinError(error.message + since, code=error.code, hint=hint)


def comment(
    desk: Desk,
    incident: Which,
    text: Annotated[str, typer.Argument(help="The comment; - reads it from standard input.")],
    entry: Annotated[
        int | None, typer.Option(help="The number of a comment of yours (see `show`) that gets this text instead.")
    ] = None,
) -> Any:
    """Comment on an incident, or put a comment of one's own right."""
    given: dict[str, Any] = {"text": sys.stdin.read().strip() if text == "-" else text}
    kind = "incident.comment"
    if entry is not None:
        kind, given["entry"] = "incident.edit-comment", entry
    return desk.perform(kind, given, incident)


def task(
    desk: Desk,
    incident: Which,
    add: Annotated[str, typer.Option(help="Add a task of that title.")] = "",
    description: Annotated[str, typer.Option(help="The task's description.")] = "",
    done: Annotated[int | None, typer.Option(help="The number of a task that is done.")] = None,
    reopen: Annotated[int | None, typer.Option(help="The number of a task that isn't done after all.")] = None,
    remove: Annotated[int | None, typer.Option(help="The number of a task to take away.")] = None,
) -> Any:
    """Print an incident's tasks, after adding one, saying that one is done or open again, or taking one away."""
    asked: list[tuple[str, dict[str, Any]]] = []
    if add:
        asked.append(("incident.add-task", {"title": add, "description": description}))
    asked += [
        ("incident.change-task", {"task": n, "done": d}) for n, d in ((done, True), (reopen, False)) if n is not None
    ]
    if remove is not None:
        asked.append(("incident.remove-task", {"task": remove}))
    for kind, given in asked:
        desk.perform(kind, given, incident)
    return desk.show(incident)["tasks"]


def _say_tasks(tasks: Sequence[Mapping[str, Any]]) -> None:
    for each in tasks:
        who = f"  ({each['completed_by']})" if each["completed"] else ""
        say(f"{each['id']:>4}  [{'x' if each['completed'] else ' '}] {each['title']}{who}")
    if not tasks:
        say("No tasks.")


def merge(
    desk: Desk,
    target: Annotated[str, typer.Argument(help="The incident that stays: number or id.")],
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE…", help="1 to 5 incidents that are emptied into it.")],
    reason: Reason = "",
    preview: Annotated[bool, typer.Option("--preview", help="Only say what it would make; change nothing.")] = False,
) -> Any:
    """Empty incidents into another, or say what that would make. `undo` takes them apart again."""
    ids = [desk.id_of(s) for s in sources]
    if preview:
        return desk.preview_merge(target, ids)
    return desk.perform("incident.merge", {"sources": ids, "reason": reason}, target)


def _say_merge(found: Mapping[str, Any]) -> None:
    """The incident that a merge made, or what a preview says."""
    if "vetoes" not in found:
        _say(found)
        return
    would = found["incident"]
    say(f"#{would['number']} would be: {would['title']}")
    say(
        f"  priority {would['priority']}, {would['severity']}, {would['alert_count']} alerts ({found['alerts']} come in)"
    )
    for thing in found["shared"]:
        say(f"  both have {thing}")
    for veto in found["vetoes"]:
        say(f"  against it: {veto}")
    if not found["shared"]:
        say("  They share nothing.")


def move(
    desk: Desk,
    incident: Which,
    alerts: Annotated[list[str], typer.Argument(metavar="ALERT…", help="Ids of alerts in it.")],
    to: Annotated[str, typer.Option(help="The incident to move them to: number or id.")],
    reason: Reason = "",
) -> Any:
    """Move alerts to another incident and print that one. `undo` brings them back."""
    given = {"alerts": alerts, "target": desk.id_of(to), "reason": reason}
    return desk.perform("incident.move-alerts", given, incident)


def split(
    desk: Desk,
    incident: Which,
    alerts: Annotated[list[str], typer.Argument(metavar="ALERT…", help="Ids of alerts in it.")],
    reason: Reason = "",
) -> Any:
    """Make a new incident of some of an incident's alerts and print it. Correlation doesn't join the two again; `undo` does."""
    return desk.perform("incident.move-alerts", {"alerts": alerts, "reason": reason}, incident)


def lock(
    desk: Desk,
    incident: Which,
) -> Any:
    """Lock an incident: no alert joins it and it merges with none. People may still change it; the tag Locked says so."""
    return desk.edit(incident, {"locked": True})


def unlock(
    desk: Desk,
    incident: Which,
) -> Any:
    """Let correlation work on a locked incident again."""
    return desk.edit(incident, {"locked": False})


def history(
    desk: Desk,
    incident: Which,
) -> Any:
    """Print what was done to an incident, newest first, with the ids by which `undo` takes it back. `log` prints what came of it."""
    return {"items": list(desk.actions(incident))}


def _say_history(found: Mapping[str, Any]) -> None:
    for each in found["items"]:
        undo = "can be undone" if each["undoable"] else each["status"]
        say(
            f"{each['proposed_at']}  {each['proposed_by']:16} {each['id']}  {undo:13}  {each['title']}: {each['summary']}"
        )
    if not found["items"]:
        say("Nobody has done anything to it.")


def undo(
    desk: Desk,
    incident: Which,
    action: Annotated[
        str, typer.Argument(help="The action's id (see `history`); by default the last one that can be undone.")
    ] = "",
) -> Any:
    """Take back what was done to an incident: an edit, a comment, a task, a merge, a move. What others changed since stays theirs."""
    mine = desk.actions(incident)
    if action and action not in {a["id"] for a in mine}:
        raise UsageError(f"incident {incident} has no action '{action}'", code="USE0054", hint="See `history`.")
    wanted = action or next((a["id"] for a in mine if a["undoable"]), "")
    if not wanted:
        raise UsageError("there is nothing to undo", code="USE0054", hint="See `history`.")
    return desk.undo(wanted)


def _say_undone(done: Mapping[str, Any]) -> None:
    said = done["history"][-1]["text"] if done["history"] else ""
    say(f"Undone: {done['title']}. {said}")


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    on_desk(app, "set", text=_say)(set_)
    on_desk(app, "task", text=_say_tasks)(task)
    on_desk(app, "merge", text=_say_merge)(merge)
    on_desk(app, "history", text=_say_history)(history)
    on_desk(app, "undo", text=_say_undone)(undo)
    for command in (comment, move, split, lock, unlock):
        on_desk(app, command.__name__, text=_say)(command)


def _say(incident: Mapping[str, Any]) -> None:
    """The incident as it is now, in a line."""
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
    say("  ".join(parts))

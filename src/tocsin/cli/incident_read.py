"""`tocsin incidents alerts`, `story` and the like: what the portal's page of an incident shows, on a server or on a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from tocsin.cli.incident_desks import Desk, on_desk
from tocsin.cli.output import one_line, say
from tocsin.incidents.brief import brief, cut
from tocsin.incidents.model import spaced

__all__ = ["add_to"]

Which = Annotated[str, typer.Argument(metavar="INCIDENT", help="An incident's number or id.")]
Words = Annotated[str, typer.Option("--text", "-q", help="Words that must all be somewhere in it.")]
_PAGE = 1000
_NAME = 80
"""Characters of a name in a line; --json has it whole."""


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
        say(f"{_clock(each['time'])}  {each['severity']:13} {each['id']}  {each['title'] or each['rule']}", hang=21)
        for reason in each["linked_by"]:
            say(f"{'':11}{reason['weight']:>6.1f}  {reason['text']}", hang=19)
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
    say(told["summary"] or "It has no alerts any more.", hang=0)
    for fact in told["facts"]:
        say(f"  {fact['name']:16} {fact['text']}", hang=19)
    if cause := told["root_cause"]:
        say(f"\nIt probably began at {_clock(cause['time'])} with: {cause['title']} ({_points(cause)})", hang=2)
        _say_reasons(cause["reasons"])
        if other := cause["runner_up"]:
            say(f"  Next to it, at {_clock(other['time'])}: {other['title']} ({_points(other)}), which lost by", hang=4)
            _say_reasons(other["lost_by"])
        if cause["looked_at"] < cause["alerts"]:
            say(f"  Of {cause['alerts']:,} alerts the first {cause['looked_at']:,} were looked at.")
    if told["stages"]:
        say("\nStages, in the order in which they were first seen")
    for stage in told["stages"]:
        where = f" on {cut(stage['target'], _NAME)}" if stage["target"] else ""
        say(f"  {_clock(stage['time'])}  {stage['name']}{where}: {'; '.join(stage['titles'])}", hang=23)
    if told["advice"]:
        say("\nWhat to do next")
    for step in told["advice"]:
        _say_step(step)
    for heading, lines in (
        ("Threat reports that it looks like", [r["name"] for r in told["reports"]]),
        ("Similar incidents", [_alike(o) for o in told["similar"]]),
    ):
        if lines:
            say(f"\n{heading}")
        for line in lines:
            say(f"  - {line}", hang=4)


def _say_reasons(reasons: Iterable[Mapping[str, Any]]) -> None:
    for reason in reasons:
        say(f"{'':11}{reason['weight']:>+6.1f}  {reason['text']}", hang=19)


def _clock(text: str) -> str:
    """A time of the API to the second, as people read it; all of them are UTC."""
    return text[:19].replace("T", " ")


def _points(candidate: Mapping[str, Any]) -> str:
    return f"{candidate['score']:g} point{'' if candidate['score'] == 1 else 's'}"


def timeline(
    desk: Desk,
    incident: Which,
    limit: Annotated[int, typer.Option(min=1, help="At most so many steps.")] = 200,
    ids: Annotated[bool, typer.Option("--ids", help="With the ids of each step's alerts.")] = False,
) -> Any:
    """Print an incident's steps in time: who did what to what. What one rule told of the same things again and again is one step."""
    items: list[Mapping[str, Any]] = []
    while True:
        page = desk.read(incident, "story", offset=len(items), limit=min(_PAGE, limit - len(items)))
        items += page["items"]
        if not page["items"] or len(items) >= min(limit, page["total"]):
            return {**page, "items": [i if ids else {n: v for n, v in i.items() if n != "alerts"} for i in items]}


def _say_timeline(found: Mapping[str, Any]) -> None:
    for step in found["items"]:
        times = f"  ×{step['count']} until {_clock(step['last'])}" if step["count"] > 1 else ""
        who = " → ".join(cut(e["label"], _NAME) for e in (step["actor"], step["target"]) if e)
        what = ", ".join(p for p in (spaced(step["tactic"]), *step["techniques"]) if p)
        say(f"{_clock(step['time'])}  {step['severity']:13} {step['title']}{times}", hang=35)
        said = "  ".join(
            p
            for p in (
                what,
                who,
                f"{step['evidence']} row{'' if step['evidence'] == 1 else 's'}" if step["evidence"] else "",
            )
            if p
        )
        if said:
            say(f"{'':21}{said}", hang=21)
        for alert in step.get("alerts", ()):
            say(f"{'':21}{alert}")
    _say_rest(found)


def _say_step(step: Mapping[str, Any]) -> None:
    state = "" if step["state"] == "open" else f" [{step['state']}]"
    because = (
        f" ({step['because']}: {'; '.join(step['alerts'])}{' …' if step['alerts_left_out'] else ''})"
        if step["because"]
        else ""
    )
    say(f"  {step['urgency']:6} {step['do']}{state}{because}", hang=9)
    if step["why"]:
        say(f"{'':9}{step['why']}", hang=9)
    for thing in step["about"]:
        marks = ", ".join(
            m
            for m in (
                "critical" if thing["critical"] else "",
                thing["state"] and f"{thing['state']}: {thing['detail']}",
            )
            if m
        )
        say(f"{'':9}- {thing['type']} {thing['label']}{f' ({marks})' if marks else ''}", hang=11)
        if thing["comment"]:
            say(f"{'':11}said of it: {thing['comment']}", hang=13)
    if step["about_left_out"]:
        say(f"{'':9}- and {step['about_left_out']} more")


def _alike(other: Mapping[str, Any]) -> str:
    """A similar incident, and what both have."""
    common = [
        f"{len(things)} {name if len(things) != 1 else name.rstrip('s') if name != 'entities' else 'entity'}"
        for name, things in other["shared"].items()
        if things
    ]
    verdict = f", {other['classification']}" if other["classification"] else ""
    return f"#{other['number']} {other['title']} ({other['likeness']:.0f} % alike: {', '.join(common)}; {other['status']}{verdict})"


def processes(desk: Desk, incident: Which) -> Any:
    """Print the process trees of an incident's hosts, what is near its alerts: who started what, and what ended when.

    A line has the process's id, its program, how many alerts are about it, from when to when it ran, its account and its command. On a terminal
    long lines are cut, in a pipe they aren't. `?` before an id: nobody saw it start; `~`: its parent is known by id alone; `-`: no row tells its id.
    """
    return desk.read(incident, "processes")


def _say_processes(found: Mapping[str, Any]) -> None:
    host = ""
    for tree in found["trees"]:
        if tree["host"] != host:
            host = tree["host"]
            say(f"\n{host}" if tree is not found["trees"][0] else host)
        # A stack: trees may be deeper than calls can be.
        left = [(tree, "", "")]
        while left:
            node, first, rest = left.pop()
            say(one_line(first + _process(node)))
            last = len(node["children"]) - 1
            left += [
                (child, f"{rest}{'└─ ' if n == last else '├─ '}", f"{rest}{'   ' if n == last else '│  '}")
                for n, child in reversed(list(enumerate(node["children"])))
            ]
    if not found["trees"]:
        hosts = ", ".join(found["hosts"][:3]) or "its hosts: it names none"
        say(f"No row that you may read tells of a process's start near its alerts on {hosts}.", hang=0)
    for said in (
        f"{found['left_out']} further processes are near its alerts" if found["left_out"] else "",
        f"{found['hosts_left_out']} of its hosts weren't looked at" if found["hosts_left_out"] else "",
        "there were more rows than a query gives" if found["truncated"] else "",
        ""
        if found["ends_known"]
        else "the tables of event logs may not be read: when processes ended, and some starts, aren't known",
    ):
        if said:
            say(said, error=True)


def _process(node: Mapping[str, Any]) -> str:
    mark = ("" if node["certain"] else "~") + ("" if node["seen"] else "?")
    number = "-" if node["pid"] is None else node["pid"]
    started = _clock(node["started"]) if node["started"] else "start not seen"
    ended = f" to {node['ended'][11:19]}" if node["ended"] else ""
    alerts = f"  [{len(node['alerts'])} alert{'' if len(node['alerts']) == 1 else 's'}]" if node["alerts"] else ""
    account = f"  {node['account']}" if node["account"] else ""
    command = " ".join(node["command"].split())
    program = node["file"] or brief("Process", command) or "unknown program"
    return f"{mark}{number} {program}{alerts}  {started}{ended}{account}{f'  {command}' if command else ''}"


def reach(desk: Desk, incident: Which) -> Any:
    """Print what could be reached from what an incident holds and wasn't yet, the critical first, each with the ways to it.

    Where its accounts sign in, which groups and roles they have, whose secrets its machines hold; and critical things one step further.
    """
    return desk.read(incident, "reach")


def _say_reach(found: Mapping[str, Any]) -> None:
    starts = [s["label"] for s in found["starts"]]
    more = found["starts_left_out"]
    say(
        f"From {', '.join(starts) or 'nothing: it names no account and no machine'}{f' and {more} more, which were not asked' if more else ''}",
        hang=5,
    )
    for thing in found["things"]:
        critical = f"  {thing['critical']}: {thing['why_critical']}" if thing["critical"] else ""
        say(f"\n{thing['type']} {thing['label']}{critical}{'  in a second step' if thing['hops'] > 1 else ''}", hang=2)
        for way in thing["ways"]:
            times = f", {way['seen']}×" if way["seen"] else ""
            last = f", last {_clock(way['last'])}" if way["last"] else ""
            say(f"  {way['from']['label']} {way['how']}{times}{last}", hang=4)
        if thing["ways_left_out"]:
            say(f"  and {thing['ways_left_out']} more way{'' if thing['ways_left_out'] == 1 else 's'}")
    if not found["things"]:
        say("\nNothing is known that could be reached from there.")
    if found["left_out"]:
        say(f"\n{found['left_out']} further thing{' is' if found['left_out'] == 1 else 's are'} left out.")
    for heading, items in (("Of this nothing is known", found["unknown"]), ("This was not answered", found["failed"])):
        if items:
            say(f"\n{heading}")
        for item in items:
            say(f"  {item['name']}: {item['why']}", hang=4)


def priority(desk: Desk, incident: Which) -> Any:
    """Print the priorities that an incident has had, oldest first, with what made each."""
    return desk.read(incident, "priority")


def _say_priority(found: Mapping[str, Any]) -> None:
    for past in found["items"]:
        say(f"{_clock(past['time'])}  v{past['version']:<5} {past['score']:>4}  {past['actor']}")
        _say_reasons(past["reasons"])


def assets(desk: Desk) -> Any:
    """Print the hosts and accounts that matter, how much, and by which rule: what makes incidents with them more urgent."""
    return {"items": list(desk.assets())}


def _say_assets(found: Mapping[str, Any]) -> None:
    for each in found["items"]:
        group = f"  group {each['group']}" if each["group"] else ""
        say(f"{each['level'] or '-':9} {each['kind']:8} {each['name']}  {each['rule']}{group}")
    if not found["items"]:
        say("No rule has found any.")


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    on_desk(app, "alerts", text=_say_alerts)(alerts)
    on_desk(app, "entities", text=_say_entities)(entities)
    on_desk(app, "story", text=_say_story)(story)
    on_desk(app, "timeline", text=_say_timeline)(timeline)
    on_desk(app, "processes", text=_say_processes)(processes)
    on_desk(app, "reach", text=_say_reach)(reach)
    on_desk(app, "priority", text=_say_priority)(priority)
    on_desk(app, "assets", text=_say_assets)(assets)

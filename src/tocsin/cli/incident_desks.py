"""Where the incident commands work: on a running server over its API, or on a data folder's state. Both answer in the API's shapes.

On a folder nobody signs in: who may write the folder may do all that the user may whose name is given, and the audit log says that it was done on
the machine (`local:` and the system's user). Permissions, checks, actions with undo and audit are the gate's, as over the API.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tocsin.base.errors import TocsinError, UsageError, did_you_mean
from tocsin.cli.connected import connected, option
from tocsin.cli.desk import Desk
from tocsin.cli.remote import AnyServer, Ca, Remote, TokenFile, works_on_server

if TYPE_CHECKING:
    from tocsin.access import Principal
    from tocsin.incidents.desk import IncidentDesk
    from tocsin.respond import Gate
    from tocsin.state import State, Unit

__all__ = ["As", "Ca", "Data", "Desk", "Place", "Server", "TokenFile", "find", "on_desk", "open_desk", "open_tuning"]

Data = Annotated[Path | None, typer.Option(help="The data folder.")]
As = Annotated[
    str,
    typer.Option(
        "--as", envvar="TOCSIN_USER", help="On a folder: the user in whose name; not needed where there is one."
    ),
]
Server = AnyServer

_EVERY = "New,InProgress,Resolved,Redirected"


class _Over(Desk):
    """A server, over its API."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def page(self, **wanted: Any) -> Mapping[str, Any]:
        left = int(wanted.pop("limit", _PAGE))
        items: list[Any] = []
        after = ""
        while True:
            found: Mapping[str, Any] = self._remote.ask(
                "GET", "/incidents", **wanted, limit=max(1, min(left - len(items), _PAGE)), after=after
            )
            items += found["items"]
            after = found["next"]
            if not after or len(items) >= left:
                return {**found, "items": items}

    def id_of(self, which: str) -> str:
        if not which.removeprefix("#").isdigit():
            return which
        found = self.brief(which)
        if found is None:
            raise _none_such(which)
        return str(found["id"])

    def brief(self, which: str) -> Mapping[str, Any] | None:
        number = which.removeprefix("#")
        asked = f"#{number}" if number.isdigit() else which
        for item in self.page(q=asked, status=_EVERY, limit=50, alerts=0)["items"]:
            if item["id"] == which or (number.isdigit() and item["number"] == int(number)):
                return {n: item[n] for n in ("id", "number", "redirect_to")}
        return None

    def show(self, which: str) -> dict[str, Any]:
        found: dict[str, Any] = self._remote.ask("GET", self._path(which))
        return found

    def read(self, which: str, what: str, **wanted: Any) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._remote.ask("GET", f"{self._path(self.holder(which))}/{what}", **wanted)
        return found

    def log(self, which: str) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self._remote.ask("GET", f"{self._path(which)}/log")["items"]
        return found

    def graph(self, which: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._remote.ask("GET", f"{self._path(self.holder(which))}/graph")
        return found

    def metrics(self, start: datetime, end: datetime, by: str) -> Mapping[str, Any]:
        asked = {"from": start.isoformat(), "to": end.isoformat(), "by": by}
        found: Mapping[str, Any] = self._remote.ask("GET", "/incidents/metrics", **asked)
        return found

    def neighbours(self, which: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._remote.ask("GET", f"{self._path(which)}/neighbours")
        return found

    def edit(self, which: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._remote.ask("PATCH", self._path(which), dict(changes))
        return found

    def perform(self, kind: str, given: Mapping[str, Any], which: str) -> dict[str, Any]:
        method, path = _ROUTES[kind]
        body = dict(given)
        filled = path.format(task=body.pop("task", ""), entry=body.pop("entry", ""))
        found: dict[str, Any] = self._remote.ask(method, self._path(which) + filled, body or None)
        return found if kind != "incident.move-alerts" else self.show(found["incident"])

    def assets(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self._remote.ask("GET", "/incidents/assets")["items"]
        return found

    def preview_merge(self, which: str, sources: Sequence[str]) -> Mapping[str, Any]:
        asked = {"sources": list(sources)}
        found: Mapping[str, Any] = self._remote.ask("POST", f"{self._path(which)}/merge/preview", asked)
        return found

    def actions(self, which: str) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self._remote.ask(
            "GET", "/actions", incident_id=self.id_of(which), scope="all", limit=_ACTIONS
        )["items"]
        return found

    def undo(self, action: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._remote.ask("POST", f"/actions/{action}/undo")
        return found

    def proof(self, which: str, *, pdf: bool) -> bytes:
        return self._remote.fetch(f"{self._path(which)}/export", format="pdf" if pdf else "json")

    def tune(self, what: str, *given: Any) -> Any:
        path = "/incidents/weights"
        if what in ("preview", "set"):
            sides = dict(zip(("correlation", "priority", "reason", "version"), given, strict=False))
            body = {n: v for n, v in sides.items() if v is not None}
            return self._remote.ask(
                "PUT" if what == "set" else "POST", path + ("" if what == "set" else "/preview"), body
            )
        if what == "undo":
            return self._remote.ask("POST", f"{path}/history/{given[0]}/undo")
        found = self._remote.ask(
            "GET", {"weights": path, "history": f"{path}/history", "report": "/incidents/tuning"}[what]
        )
        return found["items"] if what == "history" else found

    def _path(self, which: str) -> str:
        from urllib.parse import quote

        return f"/incidents/{quote(self.id_of(which), safe='')}"


_ROUTES = {
    "incident.comment": ("POST", "/comments"),
    "incident.edit-comment": ("PATCH", "/comments/{entry}"),
    "incident.add-task": ("POST", "/tasks"),
    "incident.change-task": ("PATCH", "/tasks/{task}"),
    "incident.remove-task": ("DELETE", "/tasks/{task}"),
    "incident.merge": ("POST", "/merge"),
    "incident.move-alerts": ("POST", "/move-alerts"),
}
_ACTIONS = 200
_PAGE = 500
"""Incidents that a server gives at once."""
_LISTS = {
    "status": "statuses",
    "severity": "severities",
    "tactic": "tactics",
    "product": "products",
    "entity_type": "entity_types",
}
"""Members of a filter that take several, as the API and as the desk calls them."""


class _Folder(Desk):
    """A data folder's state. A server may be running on it: each change is one transaction, and the server is told."""

    def __init__(self, state: State, data: Path | None, user: str) -> None:
        self._state = state
        self._data = data
        self._user = user
        self._made: tuple[IncidentDesk, Gate] | None = None

    @property
    def principal(self) -> Principal:
        """In whose name; UsageError USE0050 for nobody that there is, or when it isn't said and there are several."""
        from tocsin.access import Principal, permissions_of

        with self._state.read() as unit:
            users = [u for u in unit.users.all() if not u.disabled]
        names = [u.name for u in users]
        if not self._user and len(users) != 1:
            raise UsageError(
                "in whose name?", code="USE0050", hint=f"Say --as NAME; there are {', '.join(names)}." if names else ""
            )
        user = next((u for u in users if u.name == (self._user or names[0])), None)
        if user is None:
            raise UsageError(f"there is no user {self._user!r}", code="USE0050", hint=did_you_mean(self._user, names))
        try:
            who = getpass.getuser()
        except (KeyError, OSError):  # a container's user without a name
            who = str(os.getuid())
        return Principal(
            user.name,
            user.display_name or user.name,
            "user",
            frozenset(user.roles),
            permissions_of(user.roles),
            address=f"local:{who}",
        )

    def page(self, **wanted: Any) -> Mapping[str, Any]:
        desk, _ = self._desks()
        own: dict[str, Any] = {
            name: tuple(p for p in str(wanted.pop(n, "")).split(",") if p) for n, name in _LISTS.items()
        }
        own |= {"least_priority": wanted.pop("min_priority", None), "most_priority": wanted.pop("max_priority", None)}
        times: dict[str, Any] = {n: datetime.fromisoformat(t) for n in ("since", "until") if (t := wanted.pop(n, None))}
        mine = "@me" in str(wanted.get("owner", "")).split(",")
        return desk.page(
            **own,
            me=self.principal.name if mine else "",
            text=wanted.pop("q", ""),
            descending=wanted.pop("order", "desc") == "desc",
            **times,
            **{n: v for n, v in wanted.items() if v},
        )

    def id_of(self, which: str) -> str:
        with self._state.read() as unit:
            return find(unit, which)

    def brief(self, which: str) -> Mapping[str, Any] | None:
        from tocsin.incidents.answers import told

        with self._state.read() as unit:
            row = unit.incidents.get(find(unit, which))
            made = {} if row is None else told(unit, row)
        return {n: made[n] for n in ("id", "number", "redirect_to")} if made else None

    def show(self, which: str) -> dict[str, Any]:
        from tocsin.incidents.desk import full

        with self._state.read() as unit:
            return full(unit, find(unit, which))

    def read(self, which: str, what: str, **wanted: Any) -> Mapping[str, Any]:
        from tocsin.incidents.judging import judge_of
        from tocsin.incidents.meaning import meaning

        incident, (desk, _) = self.holder(which), self._desks()
        text = wanted.pop("q", "")
        if what == "alerts":
            severities = tuple(s for s in wanted.pop("severity").split(",") if s)
            return desk.alerts(incident, text=text, severities=severities, one=wanted.pop("alert"), **wanted)
        if what == "entities":
            return desk.things(incident, text=text, kind=wanted.pop("type"), **wanted)
        if what == "story":
            return desk.steps(incident, **wanted)
        if what == "priority":
            return {"items": desk.priority_history(incident)}
        settings, content = self._settings_and_content()
        if what in ("processes", "reach"):
            from tocsin.workspace.offline import open_stories

            with open_stories(settings.data, self._state, content) as stories:
                told: Mapping[str, Any] = getattr(stories, what)(incident)
                return told
        with self._state.read() as unit:
            return meaning(unit, incident, content, judge_of(unit, content))

    def log(self, which: str) -> Sequence[Mapping[str, Any]]:
        with self._state.read() as unit:
            return [e.to_dict() for e in unit.incidents.history.of(find(unit, which))]

    def proof(self, which: str, *, pdf: bool) -> bytes:
        from tocsin import __version__
        from tocsin.incidents.export import bundle, to_json
        from tocsin.incidents.judging import judge_of
        from tocsin.workspace.offline import open_stories

        settings, content = self._settings_and_content()
        incident = self.id_of(which)
        try:
            with open_stories(settings.data, self._state, content) as stories:
                made = stories.bundle(incident, audit=True)
        except UsageError as error:
            if error.code != "USE0006":
                raise
            with self._state.read() as unit:  # a state without tables: all but what these would tell
                made = bundle(unit, incident, content, judge_of(unit, content), __version__)
        if not pdf:
            return to_json(made)
        from tocsin.incidents.pdf import to_pdf

        return to_pdf(made)

    def graph(self, which: str) -> Mapping[str, Any]:
        from tocsin.incidents.answers import whole_graph

        incident = self.holder(which)
        with self._state.read() as unit:
            return whole_graph(unit, incident)[1]

    def metrics(self, start: datetime, end: datetime, by: str) -> Mapping[str, Any]:
        from tocsin.incidents.metrics import metrics

        with self._state.read() as unit:
            return metrics(unit, start, end, by=by)

    def neighbours(self, which: str) -> Mapping[str, Any]:
        desk, incident = self._correlating(), self.id_of(which)
        return {"items": desk.neighbours(incident), "moved": desk.moved_away(incident)}

    def edit(self, which: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        _, gate = self._desks()
        incident = self.id_of(which)
        gate.edit_incident(incident, changes, by=self.principal)
        return self.show(incident)

    def perform(self, kind: str, given: Mapping[str, Any], which: str) -> dict[str, Any]:
        _, gate = self._desks()
        incident = self.id_of(which)
        done = gate.perform(kind, given, incident_id=incident, by=self.principal)
        return self.show(done["result"]["incident"] if kind == "incident.move-alerts" else incident)

    def assets(self) -> Sequence[Mapping[str, Any]]:
        return self._desks()[0].assets()

    def preview_merge(self, which: str, sources: Sequence[str]) -> Mapping[str, Any]:
        found = self._desks()[0].preview_merge(self.id_of(which), sources)
        return {"incident": found.incident, "vetoes": found.vetoes, "shared": found.shared, "alerts": found.alerts}

    def actions(self, which: str) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self._desks()[1].page(
            incident_id=self.id_of(which), include_edits=True, limit=_ACTIONS
        )["items"]
        return found

    def undo(self, action: str) -> Mapping[str, Any]:
        """Only what is done to incidents: the rest acts on the world, which is the server's."""
        _, gate = self._desks()
        with self._state.read() as unit:
            kind = unit.actions.require(action).kind
        if not kind.startswith("incident."):
            raise UsageError(
                f"an action of kind {kind} is undone by the server",
                code="USE0051",
                hint="Name the server with --server.",
            )
        return gate.undo(action, by=self.principal)

    def tune(self, what: str, *given: Any) -> Any:
        from tocsin.access import require
        from tocsin.incidents.life import Actor
        from tocsin.incidents.tuning import Tuning

        tuning = Tuning(self._state, self._desks()[0])
        if what in ("set", "undo", "preview"):
            who = self.principal
            require(who, "settings.manage")
            actor = Actor(who.name, address=who.address)
            if what == "set":
                correlation, priorities, reason, version = given
                return tuning.set(correlation, priorities, reason=reason, version=version, actor=actor)
            if what == "undo":
                return tuning.undo(given[0], actor=actor)
        return getattr(tuning, what)(*given)

    def _desks(self) -> tuple[IncidentDesk, Gate]:
        if self._made is None:
            from tocsin.incidents.desk import IncidentDesk
            from tocsin.respond import Gate, all_kinds

            settings, content = self._settings_and_content()
            desk = IncidentDesk(self._state, settings=settings.correlation, content=lambda: content, correlates=False)
            kinds = [k for k in all_kinds(self._state, desk, settings.respond) if k.kind.startswith("incident.")]
            self._made = (desk, Gate(self._state, desk, kinds, settings=settings.respond))
        return self._made

    def _correlating(self) -> IncidentDesk:
        from tocsin.incidents.desk import IncidentDesk

        settings, content = self._settings_and_content()
        return IncidentDesk(self._state, settings=settings.correlation, content=lambda: content)

    def _settings_and_content(self) -> tuple[Any, Any]:
        from tocsin.cli.state import state_settings
        from tocsin.content import load_packs, packs_dir

        settings = state_settings(self._data)
        site = settings.detect.site or settings.data / "site"
        paths = [packs_dir(), *([site] if site.is_dir() else [])]
        return settings, load_packs(paths, only=("incidents", "links", "fusion"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command works, as its options say."""

    data: Path | None = None
    user: str = ""
    server: str = ""
    token_file: Path | None = None
    ca: Path | None = None


@contextmanager
def open_desk(place: Place) -> Iterator[Desk]:
    """The desk there: the server when one is named, or when there is a token and no folder is named; else the folder."""
    if works_on_server(place.data, place.server, place.token_file):
        with Remote(place.server, place.token_file, place.ca) as remote:
            yield _Over(remote)
        return
    from tocsin.cli.state import open_state

    with open_state(place.data) as state:
        yield _Folder(state, place.data, place.user)


on_desk = partial(
    connected,
    options=(
        option("data", Data, None),
        option("user", As, ""),
        option("server", Server, ""),
        option("token_file", TokenFile, None),
        option("ca", Ca, None),
    ),
    opens=lambda **named: open_desk(Place(**named)),
)
"""`connected` for what is done with incidents: the body gets a `Desk`."""


@contextmanager
def open_tuning(place: Place) -> Iterator[Callable[..., Any]]:
    """Asks for weights where `open_desk` would work: `ask("set", correlation, priority, reason)` and so on, as `tocsin.incidents.tuning` has it."""
    with open_desk(place) as desk:
        yield desk.tune


def find(unit: Unit, wanted: str) -> str:
    """The id of the incident of that number or id; NotFoundError when there is none."""
    from tocsin.state import IncidentFilter

    number = wanted.removeprefix("#")
    if number.isdigit():
        every = IncidentFilter(tuple(_EVERY.split(",")), text=f"#{number}")
        rows, _ = unit.incidents.page(every, limit=50)
        for row in rows:
            if row.number == int(number):
                return row.id
    found = unit.incidents.get(wanted)
    if found is None or not found.promoted:
        raise _none_such(wanted)
    return found.id


def _none_such(which: str) -> TocsinError:
    """Who types a number is helped by the command that prints numbers, not by the address at which the API has them."""
    from tocsin.state import NotFoundError

    return NotFoundError(
        f"there is no incident {which}",
        hint="`tocsin incidents list` prints the numbers of open incidents, with --status Resolved or Redirected those of others.",
    )

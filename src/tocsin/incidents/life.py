"""An incident's life in people's hands: which changes there are, which are allowed, and what each leaves behind.

A change is written with its activity entry, its audit row and its event for automation in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tocsin.base.errors import UsageError, did_you_mean
from tocsin.detect.alert import SEVERITIES, iso
from tocsin.incidents.load import from_row
from tocsin.incidents.merged import final
from tocsin.incidents.model import Incident, Status
from tocsin.incidents.store import moment, touched, write
from tocsin.state import ConflictError, GroupRow, IncidentRow, Unit, UserRow
from tocsin.state.types import plain

__all__ = [
    "CLASSIFICATIONS",
    "COMMENT_LENGTH",
    "PHASES",
    "ROLES",
    "Actor",
    "IncidentChangeError",
    "OvertakenError",
    "change",
    "comment",
    "uncomment",
    "workable",
]

CLASSIFICATIONS: Mapping[str, tuple[str, ...]] = {
    "TruePositive": (
        "MultiStagedAttack",
        "MaliciousUserActivity",
        "CompromisedAccount",
        "Malware",
        "Phishing",
        "UnwantedSoftware",
        "Other",
    ),
    "InformationalExpectedActivity": ("SecurityTesting", "LineOfBusinessApplication", "ConfirmedActivity", "Other"),
    "FalsePositive": ("Clean", "NoEnoughDataToValidate", "Other"),
}
"""Classifications and the determinations of each (Defender's names)."""

PHASES = ("DetectionAnalysis", "Containment", "Eradication", "Recovery", "PostIncident")
"""Where people are in answering an incident (NIST SP 800-61r2; preparation is before there is one)."""

ROLES = ("TechnicalLead", "CommunicationsLiaison", "Recorder", "ForwardPlanner", "PublicRelations")
"""Who does what in answering it."""

COMMENT_LENGTH = 30_000
TAGS = 100
TAG_LENGTH = 128
_FEW = 12
_SINCE = 20
"""Changes that are told to who was overtaken."""
_VERSIONS = 1 << 62
"""No incident has as many, and databases count no further than twice that."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change, and through what: automation's conditions tell them apart. `depth` counts automation runs that led here."""

    name: str
    source: Literal["user", "automation", "correlation", "playbook", "application"] = "user"
    address: str = ""
    depth: int = 0


class IncidentChangeError(UsageError):
    """A change that isn't possible as asked."""

    code = "INC0001"


class OvertakenError(ConflictError):
    """A change of an incident that isn't any more what was read of it. `more` has its `version` now and the newest `changes` since: version, time,
    actor, source, and the names of what changed."""

    def __init__(self, unit: Unit, row: IncidentRow, wanted: int) -> None:
        """`wanted`: the version that was read."""
        since = unit.incidents.history.since(row.id, wanted, _SINCE) if abs(wanted) < _VERSIONS else []
        changes = [
            {
                "version": e.version,
                "time": iso(e.time),
                "actor": e.actor,
                "source": e.source,
                "changed": _changed(e.data),
            }
            for e in since
        ]
        said = f" The last change: {', '.join(_changed(since[-1].data))} by {since[-1].actor}." if since else ""
        super().__init__(
            f"Incident #{row.number} was changed by somebody else meanwhile: it is at version {row.version}, not {wanted}.{said}",
            hint="Look at it again, then decide.",
        )
        self.more = {"version": row.version, "changes": changes}


def _changed(data: Mapping[str, Any]) -> list[str]:
    """The names of what an entry of the log says has changed."""
    of_itself = [n for n in ("tags", "alerts", "priority") if n in data]
    return [*(n.removesuffix("_override") for n in data.get("set", {})), *of_itself] or ["other"]


def change(unit: Unit, incident_id: str, changes: Mapping[str, Any], *, actor: Actor) -> dict[str, Any]:
    """Changes status, severity, owner, classification, determination, title or tags (add_tags, remove_tags).

    Gives what really changed: by member its values before and after (`from`, `to`), for tags those `added` and `removed`. None
    unassigns, unclassifies, or gives severity and title back to correlation. `version` in changes: OvertakenError when it isn't the
    incident's any more. NotFoundError for no such incident; IncidentChangeError for what can't be.
    """
    before = workable(unit, incident_id)
    wanted = changes.get("version")
    if wanted is not None and wanted != before.version:
        raise OvertakenError(unit, before, int(wanted))
    unknown = set(changes) - _MEMBERS - {"version", "comment"}
    if unknown:
        name = min(unknown)
        raise IncidentChangeError(f"An incident has no {name!r} to change.", hint=did_you_mean(name, _MEMBERS))
    after = _Draft(unit, before)
    for name, apply in _APPLY.items():
        if name in changes:
            apply(after, changes[name])
    after.settle(classified="classification" in changes, determined="determination" in changes)
    made = after.difference()
    if made:
        after.write(actor)
        _leave_traces(unit, before, made, actor, str(changes.get("comment") or ""))
    elif changes.get("comment"):
        comment(unit, incident_id, str(changes["comment"]), actor=actor)
    return made


def workable(unit: Unit, incident_id: str) -> IncidentRow:
    """The row of an incident that people see and that may be changed, kept from others; NotFoundError, or ConflictError when merged."""
    row = unit.incidents.require(incident_id, lock=True)
    if not row.promoted:
        unit.incidents.require("")  # nobody was shown it: to people it isn't there
    _not_merged(unit, row)
    return row


def _not_merged(unit: Unit, row: IncidentRow) -> None:
    if row.status == Status.REDIRECTED:
        there = final(unit, row)
        raise ConflictError(
            f"Incident #{row.number} was merged into another.",
            hint=f"Change incident {there.id} (#{there.number}) instead.",
        )


def comment(unit: Unit, incident_id: str, text: str, *, actor: Actor) -> int:
    """Adds a comment; gives its number in the activity log. Raises as `workable`, and IncidentChangeError for an empty or too long text."""
    row = workable(unit, incident_id)
    text = text.strip()
    if not text or len(text) > COMMENT_LENGTH:
        raise IncidentChangeError(f"A comment has 1 to {COMMENT_LENGTH} characters, this one {len(text)}.")
    entry = unit.incidents.log(incident_id, actor.name, "comment", text, source=actor.source)
    unit.audit.add(
        actor.name,
        "incident.comment",
        "incident",
        incident_id,
        after={"entry": entry, "text": text},
        address=actor.address,
    )
    touched(unit, incident_id, by=actor.name, source=actor.source)
    unit.incidents.emit(row.id, "updated", actor.name, actor.source, {"comments": {"added": [text]}}, depth=actor.depth)
    return entry


def uncomment(unit: Unit, incident_id: str, entry: int, *, actor: Actor) -> None:
    """Takes a comment back; the audit log keeps it."""
    if not unit.incidents.remove_activity(incident_id, entry, actor=actor.name, source=actor.source):
        raise ConflictError("The comment isn't there any more.")
    unit.incidents.log(incident_id, actor.name, "comment-removed", "Removed a comment.", source=actor.source)
    unit.audit.add(
        actor.name, "incident.uncomment", "incident", incident_id, before={"entry": entry}, address=actor.address
    )
    touched(unit, incident_id, by=actor.name, source=actor.source)


class _Draft:
    """An incident being changed. Only what changes severity, title or tags needs its alerts."""

    def __init__(self, unit: Unit, row: IncidentRow) -> None:
        self._unit = unit
        self._row = row
        self.status = row.status
        self.owner = row.owner
        self.classification = row.classification
        self.determination = row.determination
        self.severity_override = row.severity_override
        self.title_override = row.title_override
        self.tags = list(row.tags)
        self.phase = row.phase
        self.roles = dict(row.roles)
        self._made: Incident | None = None

    def settle(self, *, classified: bool, determined: bool) -> None:
        """A determination belongs to a classification: it is checked, or falls away with the one that it belonged to."""
        if self.determination is None:
            return
        allowed = CLASSIFICATIONS.get(self.classification or "", ())
        if self.determination in allowed:
            return
        if determined:
            raise IncidentChangeError(
                f"{self.determination!r} is no determination of {self.classification or 'an unclassified incident'}.",
                hint=f"One of {', '.join(allowed)}." if allowed else "Set a classification with it.",
            )
        if classified:
            self.determination = None

    def made(self) -> Incident:
        """The incident as it will be."""
        if self._made is None:
            made = from_row(self._row, self._unit.incidents.alerts_of(self._row.id))
            made.status = Status(self.status)
            made.owner = self.owner or ""
            made.classification, made.determination = self.classification or "", self.determination or ""
            made.severity_override, made.title_override = self.severity_override or "", self.title_override or ""
            made.tags = list(self.tags)
            made.phase, made.roles = self.phase or "", dict(self.roles)
            self._made = made
        return self._made

    def difference(self) -> dict[str, Any]:
        """What changes, by member."""
        row, made = self._row, {}
        for name in ("status", "owner", "classification", "determination", "phase", "roles"):
            if getattr(row, name) != getattr(self, name):
                made[name] = {"from": getattr(row, name), "to": getattr(self, name)}
        for name in ("severity", "title"):
            # Who sets what correlation says already keeps it so; who gives it back lets it follow the alerts again.
            by_hand = getattr(self, f"{name}_override")
            if by_hand != getattr(row, f"{name}_override"):
                before, after = getattr(row, name), getattr(self.made(), name)
                made[name] = {"from": before, "to": after} | ({"by_hand": bool(by_hand)} if before == after else {})
        added, removed = [t for t in self.tags if t not in row.tags], [t for t in row.tags if t not in self.tags]
        if added or removed:
            made["tags"] = {"added": added, "removed": removed}
        return made

    def write(self, actor: Actor) -> None:
        """Writes it: priority and reasons are worked out anew."""
        made = self.made()
        now = moment(self._unit, self._row)
        if actor.source == "user" and made.acknowledged is None and self._unit.groups.type_of(made.owner) == "User":
            # An automation's edit is no acknowledgement, nor is a group's being asked: somebody has to have taken it.
            made.acknowledged = now
        if made.status is Status.RESOLVED:
            made.closed = made.closed or now
        else:
            made.closed = None
        write(self._unit, made, by=actor.name, source=actor.source, at=now)


def _set_status(draft: _Draft, value: Any) -> None:
    allowed = (Status.NEW.value, Status.IN_PROGRESS.value, Status.RESOLVED.value)
    if value not in allowed:
        raise IncidentChangeError(f"{value!r} is no status that can be set.", hint=_one_of(str(value), allowed))
    draft.status = str(value)


def _one_of(value: str, known: Iterable[str]) -> str:
    """The nearest of what there is; all of it where nothing is near and it is little."""
    names = list(known)
    few = f"One of {', '.join(names)}." if names and len(names) <= _FEW else ""
    return did_you_mean(value, names) or few


def _set_owner(draft: _Draft, value: Any) -> None:
    if value in (None, ""):
        draft.owner = None
        return
    unit = draft._unit
    found: UserRow | GroupRow | None = unit.users.get(str(value)) or unit.groups.get(str(value))
    if found is None or found.disabled:
        names = unit.groups.owners()
        raise IncidentChangeError(f"There is no user or group {value!r} to assign to.", hint=_one_of(str(value), names))
    draft.owner = found.name


def _user(draft: _Draft, value: Any) -> str:
    user = draft._unit.users.get(str(value))
    if user is None or user.disabled:
        names = [u.name for u in draft._unit.users.all() if not u.disabled]
        raise IncidentChangeError(f"There is no user {value!r} to give a role.", hint=_one_of(str(value), names))
    return user.name


def _set_classification(draft: _Draft, value: Any) -> None:
    if value is not None and value not in CLASSIFICATIONS:
        raise IncidentChangeError(f"{value!r} is no classification.", hint=_one_of(str(value), CLASSIFICATIONS))
    draft.classification = value


def _set_determination(draft: _Draft, value: Any) -> None:
    draft.determination = value or None


def _set_severity(draft: _Draft, value: Any) -> None:
    if value is not None and value not in SEVERITIES:
        raise IncidentChangeError(f"{value!r} is no severity.", hint=_one_of(str(value), SEVERITIES))
    draft.severity_override = value


def _set_title(draft: _Draft, value: Any) -> None:
    title = " ".join(plain(str(value or "")).split())
    if len(title) > 300:
        raise IncidentChangeError(f"A title has at most 300 characters, this one {len(title)}.")
    draft.title_override = title or None


def _add_tags(draft: _Draft, value: Any) -> None:
    for tag in value or ():
        text = " ".join(plain(str(tag)).split())
        if not text or len(text) > TAG_LENGTH:
            raise IncidentChangeError(f"A tag has 1 to {TAG_LENGTH} characters.")
        if text not in draft.tags:
            draft.tags.append(text)
    if len(draft.tags) > TAGS:
        raise IncidentChangeError(f"An incident has at most {TAGS} tags.")


def _remove_tags(draft: _Draft, value: Any) -> None:
    draft.tags = [t for t in draft.tags if t not in set(value or ())]


def _set_phase(draft: _Draft, value: Any) -> None:
    if value is not None and value not in PHASES:
        raise IncidentChangeError(f"{value!r} is no phase.", hint=_one_of(str(value), PHASES))
    draft.phase = value


def _set_roles(draft: _Draft, value: Any) -> None:
    """Roles by name; null takes a role from whoever has it, those not named stay."""
    for role, person in dict(value or {}).items():
        if role not in ROLES:
            raise IncidentChangeError(f"{role!r} is no role.", hint=_one_of(str(role), ROLES))
        if person in (None, ""):
            draft.roles.pop(role, None)
        else:
            draft.roles[role] = _user(draft, person)


_APPLY: Mapping[str, Callable[[_Draft, Any], None]] = {
    "status": _set_status,
    "owner": _set_owner,
    "classification": _set_classification,
    "determination": _set_determination,
    "severity": _set_severity,
    "title": _set_title,
    "remove_tags": _remove_tags,
    "add_tags": _add_tags,
    "phase": _set_phase,
    "roles": _set_roles,
}
_MEMBERS = frozenset(_APPLY)


def _leave_traces(unit: Unit, before: IncidentRow, made: Mapping[str, Any], actor: Actor, note: str) -> None:
    for name, values in made.items():
        kind = {"classification": "classification", "determination": "classification"}.get(name, name)
        unit.incidents.log(
            before.id, actor.name, kind, _sentence(unit, name, values), {name: values}, source=actor.source
        )
    if note.strip():
        comment(unit, before.id, note, actor=actor)
    unit.audit.add(
        actor.name,
        "incident.change",
        "incident",
        before.id,
        before={n: v.get("from", v.get("removed")) for n, v in made.items()},
        after={n: v.get("to", v.get("added")) for n, v in made.items()},
        address=actor.address,
    )
    if seen := {n: v for n, v in made.items() if "by_hand" not in v}:
        unit.incidents.emit(before.id, "updated", actor.name, actor.source, seen, depth=actor.depth)


def _sentence(unit: Unit, name: str, values: Mapping[str, Any]) -> str:
    if "by_hand" in values:
        stays = "stays, whatever comes" if values["by_hand"] else "follows the alerts again"
        return f"{name.capitalize()} {stays}: {values['to']}."
    if name == "tags":
        parts = [f"{verb} {', '.join(values[verb.lower()])}" for verb in ("Added", "Removed") if values[verb.lower()]]
        return f"Tags: {'; '.join(parts)}."
    if name == "owner":
        if not values["to"]:
            return f"Unassigned (was {values['from']})."
        whom = "the group " if unit.groups.type_of(values["to"]) == "Group" else ""
        return f"Assigned to {whom}{values['to']}."
    if name == "roles":
        named = [f"{role}: {person}" for role, person in values["to"].items()]
        return f"Roles are now {', '.join(named)}." if named else "Nobody has a role any more."
    if values["to"] is None:
        return f"{name.capitalize()} cleared (was {values['from']})."
    was = f" (was {values['from']})" if values["from"] else ""
    return f"{name.capitalize()} set to {values['to']}{was}."

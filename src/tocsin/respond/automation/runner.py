"""Running automation rules: every event of the outbox once, in order, also after a crash.

Events are written in the transaction of the change that they tell of, so nothing is missed and nothing is collapsed: five changes in a second
are five events. Rules run one after the other, never side by side; what they do passes the gate as a principal of their own.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import orjson

from tocsin.access import Principal, require, system
from tocsin.base.errors import ContentError, StateError, TocsinError
from tocsin.content import AutomationFile
from tocsin.detect.alert import iso
from tocsin.detect.rule import Rule
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.seen import Seen
from tocsin.respond.actions.responder import Responder
from tocsin.respond.automation.detections import RuleOf, responding, wanted
from tocsin.respond.automation.evaluate import MissingValueError, chosen_entities, fill, holds, read_aloud
from tocsin.respond.automation.model import AutomationRule, RuleAction, parse_rule
from tocsin.respond.errors import BadInputError
from tocsin.respond.gate import Gate
from tocsin.state import ConflictError, EventRow, NotFoundError, OverrideRow, State, text_of

__all__ = ["Automation"]

_log = logging.getLogger("tocsin.respond")

DEPTH = 5
"""Automation runs that may lead to one another. Two rules that undo each other are stopped here and the stop is reported."""

_KEEP_EVENTS = timedelta(days=30)
_LOOKS = 5.0
"""After so many seconds it looks whether events wait of which it wasn't told: those of other programs."""


class Automation:
    """The automation rules and their runner."""

    def __init__(
        self,
        state: State,
        desk: IncidentDesk,
        gate: Gate,
        files: Iterable[AutomationFile] = (),
        *,
        rule_of: RuleOf | None = None,
    ) -> None:
        """`rule_of` gives the detection rule of an id, whose own responses are proposed too."""
        self._state = state
        self._desk = desk
        self._gate = gate
        self._clock = state.clock
        self._rule_of = rule_of
        self._rules: tuple[AutomationRule, ...] = ()
        self._seen: Seen | None = None
        self._running = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.problems: list[ContentError] = self.load(files)

    def load(self, files: Iterable[AutomationFile]) -> list[ContentError]:
        """Takes the rules of these files in place of those before; gives what was wrong with files that were left out."""
        rules: list[AutomationRule] = []
        problems: list[ContentError] = []
        for file in files:
            try:
                rules.append(parse_rule(file))
            except ContentError as error:
                problems.append(error)
        self._rules = tuple(sorted(rules, key=lambda r: (r.order, r.id)))
        return problems

    # ------------------------------------------------------------------------------------------ running

    def start(self) -> None:
        """Runs rules in a thread of its own, woken by every event."""
        self._desk.on_event(self._wake.set)
        self._thread = threading.Thread(target=self._work, name="automation", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the event that it is at; the rest waits in the outbox."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=30)

    def _work(self) -> None:
        while not self._stopping:
            try:
                self.run_pending()
            except Exception:  # the database, say: the events stay in the outbox
                _log.exception("automation stopped for a moment")
            self._wake.wait(timeout=_LOOKS)
            self._wake.clear()

    def run_pending(self) -> int:
        """Handles every event that waits, those that rules cause meanwhile included; gives how many."""
        done = 0
        with self._running:
            while not self._stopping:
                with self._state.read() as unit:
                    events = unit.incidents.pending_events(limit=50)
                if not events:
                    break
                for event in events:
                    if self._stopping:
                        return done
                    self._handle(event)
                    done += 1
        return done

    def sweep(self) -> int:
        """Removes events handled long ago."""
        with self._state.write() as unit:
            return unit.incidents.sweep_events(self._clock.now() - _KEEP_EVENTS)

    def _handle(self, event: EventRow) -> None:
        with self._state.read() as unit:
            overrides = unit.rules.overrides("automation")
        self._respond(event)
        for rule in self._rules:
            if not self._enabled(rule, overrides) or event.kind not in rule.trigger.when:
                continue
            if event.actor == _name(rule):
                continue  # a rule isn't led on by what it did itself
            try:
                # Anew for each rule: it sees what those before it did.
                incident = self._seen = self._desk.seen(event.incident_id, self._seen)
            except NotFoundError:
                break
            try:
                if holds(rule.conditions, incident, event):
                    self._run(rule, incident, event)
            except StateError:
                raise
            except Exception as error:  # one rule's fault must not hold up the others
                _log.exception("automation rule %s failed", rule.id)
                self._note(rule, event, "Failure", [{"error": f"{type(error).__name__}: {error}"}])
        with self._state.write() as unit:
            unit.incidents.event_handled(event.seq)

    def _respond(self, event: EventRow) -> None:
        """Proposes what detections ask for. Nothing of it is done before somebody approves it."""
        if self._rule_of is None or event.kind not in ("created", "updated"):
            return
        try:
            with self._state.read() as unit:
                alerts = responding(unit, event, self._rule_of)
            if not alerts:
                return
            self._desk.seen(event.incident_id)  # one that isn't shown gets no proposals
            for rule, given, comment in wanted(alerts, self._rule_of):
                self._propose_once(rule, given, comment, event)
        except NotFoundError:
            return
        except StateError:
            raise
        except Exception:  # a detection's fault must not hold up automation rules
            _log.exception("what detections ask for on incident %s", event.incident_id)

    def _propose_once(self, rule: Rule, given: Mapping[str, Any], comment: str, event: EventRow) -> None:
        who = f"detection:{rule.id}"
        mark = _fingerprint(Responder.kind, given)
        with self._state.read() as unit:
            if unit.automation.has_done(who, event.incident_id, mark):
                return
        try:
            made = self._gate.propose(
                Responder.kind,
                given,
                incident_id=event.incident_id,
                by=system(who, "actions.propose"),
                comment=comment,
                depth=event.depth + 1,
            )
        except BadInputError as error:
            _log.warning("a response of detection %s: %s", rule.id, error.message)
            return
        with self._state.write() as unit:
            unit.automation.did(who, event.incident_id, mark, made["id"])

    def _run(self, rule: AutomationRule, incident: Mapping[str, Any], event: EventRow) -> None:
        with self._state.read() as unit:
            if unit.automation.has_run(rule.id, event.seq):
                return  # a crash came between the run and the event's mark
        if event.depth >= DEPTH:
            text = f"Stopped: {DEPTH} automation runs had led here, one by another. Do rules undo each other?"
            _log.warning("automation rule %s on incident %s: %s", rule.id, event.incident_id, text)
            self._note(rule, event, "Stopped", [{"error": text}])
            with self._state.write() as unit:
                unit.incidents.log(event.incident_id, _name(rule), "automation", f"{rule.name}: {text}")
            return
        steps = [step for action in rule.actions for step in self._act(rule, action, incident, event)]
        failed = sum("error" in s for s in steps)
        outcome = "Success" if not failed else "Failure" if failed == len(steps) else "PartialSuccess"
        self._note(rule, event, outcome, steps)

    def _act(
        self, rule: AutomationRule, action: RuleAction, incident: Mapping[str, Any], event: EventRow
    ) -> list[dict[str, Any]]:
        """Does one action, for every entity if it says so."""
        entities: Sequence[Mapping[str, Any] | None] = [None]
        if action.for_each is not None:
            entities = chosen_entities(action.for_each, incident)
            if not entities:
                return [{"kind": action.kind, "skipped": f"the incident has no {action.for_each.entity} to act on"}]
        steps = []
        for entity in entities:
            scope: dict[str, Mapping[str, Any]] = {"incident": incident, "rule": {"id": rule.id, "name": rule.name}}
            if entity is not None:
                scope["entity"] = {**entity["identifiers"], "label": entity["label"], "type": entity["type"]}
            steps.append(self._step(rule, action, scope, event))
        return steps

    def _step(
        self, rule: AutomationRule, action: RuleAction, scope: Mapping[str, Mapping[str, Any]], event: EventRow
    ) -> dict[str, Any]:
        step: dict[str, Any] = {"kind": action.kind}
        try:
            given = step["input"] = fill(action.input, scope)
            comment = fill(action.comment, scope) or f"By the automation rule '{rule.name}'."
            mark = _fingerprint(action.kind, given)
            if action.only_once:
                with self._state.read() as unit:
                    if unit.automation.has_done(rule.id, event.incident_id, mark):
                        return {**step, "skipped": "done before"}
            made = self._gate.propose(
                action.kind,
                given,
                incident_id=event.incident_id,
                by=_principal(rule),
                comment=comment,
                depth=event.depth + 1,
            )
        except (BadInputError, MissingValueError) as error:
            # Not a fault of the rule: an incident may name an address that must not be blocked.
            return {**step, "skipped": error.message if isinstance(error, TocsinError) else str(error)}
        except StateError as error:
            if not isinstance(error, NotFoundError | ConflictError):
                raise
            return {**step, "error": error.message}
        except TocsinError as error:
            return {**step, "error": error.message}
        if action.only_once:
            with self._state.write() as unit:
                unit.automation.did(rule.id, event.incident_id, mark, made["id"])
        step |= {"action": made["id"], "title": made["title"], "status": made["status"]}
        return {**step, "error": made["error"] or "failed"} if made["status"] == "Failed" else step

    def _note(self, rule: AutomationRule, event: EventRow, outcome: str, steps: Sequence[Mapping[str, Any]]) -> None:
        with self._state.write() as unit:
            if unit.automation.has_run(rule.id, event.seq):
                return
            detail = {"event": event.kind, "steps": list(steps)}
            unit.automation.ran(rule.id, event.incident_id, event.seq, outcome, detail)

    def _enabled(self, rule: AutomationRule, overrides: Mapping[str, OverrideRow]) -> bool:
        override = overrides.get(rule.id)
        enabled = rule.enabled if override is None or override.enabled is None else override.enabled
        return enabled and not rule.has_expired(self._clock.now())

    # ------------------------------------------------------------------------------------------ for people

    def list(self) -> list[dict[str, Any]]:
        """The rules in the order in which they run, in the API's shape."""
        with self._state.read() as unit:
            overrides = unit.rules.overrides("automation")
            runs = unit.automation.summary()
        return [self._shown(r, overrides, runs.get(r.id)) for r in self._rules]

    def set_enabled(self, rule_id: str, enabled: bool, *, by: Principal) -> dict[str, Any]:
        """Switches a rule on or off."""
        require(by, "automation.write")
        rule = self._find(rule_id)
        with self._state.write() as unit:
            before = unit.rules.overrides("automation").get(rule_id)
            was = rule.enabled if before is None or before.enabled is None else before.enabled
            unit.rules.override("automation", rule_id, enabled=enabled, by=by.name)
            unit.audit.add(
                by.name,
                "automation.switch",
                "automation-rule",
                rule_id,
                before={"enabled": was},
                after={"enabled": enabled},
                address=by.address,
            )
        return next(r for r in self.list() if r["id"] == rule_id)

    def runs(self, rule_id: str, *, limit: int = 50) -> Sequence[dict[str, Any]]:
        """What a rule did, newest first."""
        self._find(rule_id)
        with self._state.read() as unit:
            rows = unit.automation.runs(rule_id, limit)
        return [
            {
                "time": iso(r.time),
                "rule_id": r.rule_id,
                "incident_id": r.incident_id,
                "incident_number": r.incident_number,
                "outcome": r.outcome,
                "detail": dict(r.detail),
            }
            for r in rows
        ]

    def _find(self, rule_id: str) -> AutomationRule:
        for rule in self._rules:
            if rule.id == rule_id:
                return rule
        raise NotFoundError(f"There is no automation rule {rule_id}.")

    def _shown(self, rule: AutomationRule, overrides: Mapping[str, OverrideRow], last: Any) -> dict[str, Any]:
        override = overrides.get(rule.id)
        enabled = rule.enabled if override is None or override.enabled is None else override.enabled
        runs, time, outcome = last or (0, None, None)
        conditions = rule.conditions.model_dump(mode="json", exclude_none=True) if rule.conditions else {}
        return {
            "id": rule.id,
            "name": rule.name,
            "description": rule.description,
            "enabled": enabled,
            "order": rule.order,
            "trigger": rule.trigger.on,
            "when": list(rule.trigger.when),
            "conditions": conditions,
            "reads": read_aloud(rule.conditions),
            "actions": [
                {"order": n, "kind": a.kind, "summary": _summary(a), "input": a.input}
                for n, a in enumerate(rule.actions, 1)
            ],
            "expires": text_of(rule.expires),
            "expired": rule.has_expired(self._clock.now()),
            "source": rule.source,
            "pack": rule.pack,
            "runs": runs,
            "last_run": text_of(time),
            "last_outcome": outcome,
        }


def _summary(action: RuleAction) -> str:
    each = f" for each {action.for_each.entity}" if action.for_each else ""
    if action.for_each is not None and action.for_each.where != "any":
        each += f" ({action.for_each.where})"
    return f"{action.kind}{each}"


def _name(rule: AutomationRule) -> str:
    return f"automation:{rule.id}"


def _principal(rule: AutomationRule) -> Principal:
    """What a rule may: edit incidents and propose. It never approves, whatever its author may."""
    return system(_name(rule), "incidents.manage", "actions.propose")


def _fingerprint(kind: str, given: Any) -> str:
    return hashlib.sha256(orjson.dumps([kind, given], option=orjson.OPT_SORT_KEYS)).hexdigest()

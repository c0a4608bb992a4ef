"""Work on rules that are in force: exclusions, tuning, noise, simulation, runs over the past, ATT&CK coverage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tocsin.access import Principal
from tocsin.base.errors import ContentError, DetectError, did_you_mean
from tocsin.base.ids import stable_id
from tocsin.content import full_name
from tocsin.detect.again import run_again, simulate
from tocsin.detect.alert import Alert
from tocsin.detect.coverage import coverage, navigator_layer, tables_of_rule
from tocsin.detect.rule import Rule, RuleKind
from tocsin.detect.tuning import OPERATORS, Exclusion, tuned
from tocsin.state import NotFoundError, State
from tocsin.workspace.ruletests import RuleTests

if TYPE_CHECKING:
    from tocsin.lake import Lake
    from tocsin.query import QueryService
    from tocsin.workspace.rulebook import RuleBook

__all__ = ["RuleWork", "apply_tuning"]

_EXCLUSIONS = "rule.exclusions"
_TUNING = "rule.tuning"
_FRESH = timedelta(hours=24)
_LONGEST_RUN = timedelta(days=30)
_PREVIEWED = 20
"""Of how many alerts a simulation says what they would join."""


def apply_tuning(state: State, rules: Sequence[Rule]) -> list[Rule]:
    """The rules with what people made of them."""
    with state.read() as unit:
        exclusions, settings = unit.kv.get(_EXCLUSIONS) or {}, unit.kv.get(_TUNING) or {}
    if not exclusions and not settings:
        return list(rules)
    return [
        tuned(r, [Exclusion.from_dict(e) for e in exclusions.get(r.id, ())], settings.get(r.id) or {})
        if r.id in exclusions or r.id in settings
        else r
        for r in rules
    ]


class RuleWork:
    """See the module. Thread-safe: what it changes is one transaction, then the rules are taken anew."""

    def __init__(
        self,
        state: State,
        book: RuleBook,
        queries: Callable[[], QueryService],
        lake: Lake,
        file: Callable[[Sequence[Alert]], None],
        fed: Callable[[datetime], Collection[str]] = lambda _: (),
        would_join: Callable[[Sequence[Alert]], list[dict[str, Any]]] = lambda _: [],
    ) -> None:
        """`file` gives alerts of runs over the past to the incident desk; `fed` tells which Sigma rules got events of their kind since then;
        `would_join` asks the desk which incidents alerts would join."""
        self._fed, self._would_join = fed, would_join
        self.tests = RuleTests(book, state.clock)
        self._state, self._book, self._queries, self._lake, self._file = state, book, queries, lake, file
        self._compiled: dict[str, tuple[str, frozenset[str]]] = {}

    # ------------------------------------------------------------------ exclusions and tuning

    def exclusions(self, rule_id: str) -> list[dict[str, Any]]:
        """A rule's exclusions. Raises NotFoundError for a rule that isn't there."""
        return [e.to_dict() for e in self._book.find(rule_id).exclusions]

    def exclude(self, rule_id: str, given: Mapping[str, Any], *, by: Principal) -> dict[str, Any]:
        """Adds an exclusion: `conditions`, `reason`, `expires`.

        Raises NotFoundError, ContentError CNT0020 for a column that the rule doesn't give.
        """
        rule = self._book.find(rule_id)
        now = self._state.clock.now()
        columns = self._columns(rule)
        for condition in given["conditions"]:
            if condition["operator"] not in OPERATORS:
                raise ContentError(
                    f"'{condition['operator']}' is no operator.",
                    code="CNT0020",
                    hint=f"There are {', '.join(OPERATORS)}.",
                )
            if columns is not None and condition["column"] not in columns:
                raise ContentError(
                    f"The rule's result has no column '{condition['column']}'.",
                    code="CNT0020",
                    hint=did_you_mean(condition["column"], columns) or f"It has {', '.join(sorted(columns))}.",
                )
        made = Exclusion.from_dict(
            {
                "id": stable_id("ex", rule_id, now.isoformat(), str(given["conditions"])),
                "conditions": given["conditions"],
                "reason": given["reason"],
                "created": now.isoformat(),
                "created_by": by.name,
                "expires": given.get("expires"),
            }
        ).to_dict()
        self._change(_EXCLUSIONS, rule_id, lambda known: [*(known or ()), made], "rule.exclude", by)
        return made

    def include(self, rule_id: str, exclusion_id: str, *, by: Principal) -> None:
        """Takes an exclusion away. Raises NotFoundError."""
        if not any(e["id"] == exclusion_id for e in self.exclusions(rule_id)):
            raise NotFoundError(f"the rule has no exclusion '{exclusion_id}'")
        self._change(
            _EXCLUSIONS, rule_id, lambda known: [e for e in known or () if e["id"] != exclusion_id], "rule.include", by
        )

    def put_exclusions(self, rule_id: str, change: Callable[[Any], Any], action: str, *, by: Principal) -> None:
        """Changes a rule's exclusions as a whole: `change` gets and gives their JSON forms. Raises what that raises."""
        self._change(_EXCLUSIONS, rule_id, change, action, by)

    def tuning(self, rule_id: str) -> dict[str, Any]:
        """What is overridden of a rule."""
        self._book.find(rule_id)
        with self._state.read() as unit:
            return dict((unit.kv.get(_TUNING) or {}).get(rule_id) or {})

    def tune(self, rule_id: str, settings: Mapping[str, Any], *, by: Principal) -> dict[str, Any]:
        """Overrides settings of a rule: severity, create_incident, correlate, suppression in seconds, threshold; and its noise_budget in alerts a
        week. None takes an override away.
        """
        self._book.find(rule_id)

        def changed(known: Any) -> Any:
            return {k: v for k, v in {**(known or {}), **settings}.items() if v is not None}

        self._change(_TUNING, rule_id, changed, "rule.tune", by)
        return self.tuning(rule_id)

    def _change(self, key: str, rule_id: str, change: Callable[[Any], Any], action: str, by: Principal) -> None:
        with self._state.write() as unit:
            every = dict(unit.kv.get(key) or {})
            before = every.get(rule_id)
            after = change(before)
            if after:
                every[rule_id] = after
            else:
                every.pop(rule_id, None)
            unit.kv.set(key, every)
            unit.audit.add(by.name, action, "rule", rule_id, address=by.address, before=before, after=after or None)
        self._book.take_again()

    def _columns(self, rule: Rule) -> set[str] | None:
        if rule.kind is RuleKind.SIGMA:
            return None  # a Sigma rule's rows are events, whose fields are the source's
        return {c.name for c in self._queries().compile(rule.query).columns}

    def cases(self, rule_id: str) -> list[dict[str, Any]]:
        """The cases beside a rule with what they showed last. Raises NotFoundError."""
        return self.tests.cases(self._book.find(rule_id))

    def run_cases(self, rule_id: str) -> list[dict[str, Any]]:
        """Runs them. Raises NotFoundError."""
        return self.tests.run(self._book.find(rule_id))

    # ------------------------------------------------------------------ runs

    def simulate(self, rule_id: str, *, by: Principal) -> dict[str, Any]:
        """The last fifty windows of a rule, and for those who may read incidents what its newest alerts of these would join.

        Raises NotFoundError, DetectError.
        """
        rule = self._scheduled(rule_id)
        found = simulate(rule, self._queries(), self._state.clock.now())
        newest = sorted((a for s in found for a in s.alerts), key=lambda a: (a.time, a.id), reverse=True)[:_PREVIEWED]
        return {
            "windows": [s.to_dict() for s in found],
            "alerts": self._would_join(newest) if by.may("incidents.read") else [],
        }

    def run(self, rule_id: str, first: datetime, last: datetime, *, by: Principal) -> list[dict[str, Any]]:
        """Runs a rule over the events of a past stretch and files what wasn't alerted yet. Raises NotFoundError, DetectError."""
        rule = self._scheduled(rule_id)
        if first >= last or last - first > _LONGEST_RUN:
            raise ContentError(
                f"A run covers at most {_LONGEST_RUN.days} days, and ends after it begins.", code="CNT0020"
            )
        with self._state.read() as unit:
            known = unit.incidents.alerts_of_rule(rule.id, first - rule.period - rule.frequency)
        alerts = run_again(rule, self._queries(), first, last, known)
        with self._state.write() as unit:
            unit.audit.add(
                by.name, "rule.run", "rule", rule.id, address=by.address,
                detail={"from": first.isoformat(), "to": last.isoformat(), "alerts": len(alerts)},
            )  # fmt: skip
        if alerts:
            self._file(alerts)
        return [a.to_dict() for a in alerts]

    def _scheduled(self, rule_id: str) -> Rule:
        rule = self._book.find(rule_id)
        if rule.kind is RuleKind.SIGMA:
            raise DetectError(f"'{rule.name}' is a Sigma rule; it has no windows.", code="DET0005")
        return rule

    # ------------------------------------------------------------------ figures

    def noise(self) -> dict[str, dict[str, int]]:
        """By rule: how many incidents hold an alert of it, and what people said of them."""
        names = {
            "TruePositive": "true_positive",
            "FalsePositive": "false_positive",
            "InformationalExpectedActivity": "expected",
        }
        with self._state.read() as unit:
            found = unit.incidents.classified_by_rule()
        figures = {}
        for rule_id, counts in found.items():
            made = dict.fromkeys(("true_positive", "false_positive", "expected", "unclassified"), 0)
            for classification, count in counts.items():
                made[names.get(classification, "unclassified")] += count
            figures[rule_id] = {"incidents": sum(made.values()), **made}
        return figures

    def coverage(self) -> dict[str, Any]:
        """Techniques with their rules; see `tocsin.detect.coverage`. A table counts when it received rows within a day; a Sigma rule is fed when
        its source sent within a day and an event of the kind that it looks at came since the start.

        `being_tested` rules have cases that weren't run yet since the start or their change; that is done meanwhile, so ask again.
        """
        with self._state.read() as unit:
            fired = {r.rule_id for r in unit.rules.all().values() if r.alerts} | set(
                unit.incidents.alert_counts_by_rule()
            )
        passed = self.tests.proven([r for r in self._book.rules if r.enabled and r.techniques])
        fed = self._fed(self._state.clock.now() - _FRESH)
        found = coverage(
            self._book.rules,
            tables=self.tables,
            filled=self.filled(),
            proven=lambda r: r.id in fired or passed.get(r.id) is True,
            fed=lambda r: r.id in fed if getattr(r.compiled, "bindings", ()) else None,
            attack=self._book.content.attack,
        )
        return {**found, "being_tested": sum(p is None for p in passed.values())}

    def filled(self) -> set[str]:
        """The tables that received rows within a day."""
        since = self._state.clock.now() - _FRESH
        return {
            s.table
            for s in self._lake.stats()
            if s.last_received is not None and s.last_received.replace(tzinfo=UTC) >= since
        }

    def attack(self) -> list[dict[str, Any]]:
        """ATT&CK's techniques as the packs have them, by id: `id`, `name` (a sub-technique's after its parent's) and `tactics`."""
        known = self._book.content.attack
        return [{"id": t, "name": full_name(t, known), "tactics": list(known[t].tactics)} for t in sorted(known)]

    def navigator(self) -> dict[str, Any]:
        """The coverage as a layer of ATT&CK Navigator."""
        return navigator_layer(self.coverage())

    def readers(self, table: str) -> list[Rule]:
        """The rules in force that read a table, by name."""
        return sorted(
            (r for r in self._book.rules if r.enabled and table in self.tables(r)), key=lambda r: r.name.lower()
        )

    def tables(self, rule: Rule) -> frozenset[str]:
        """The tables that a rule reads, known from the first time on."""
        known = self._compiled.get(rule.id)
        if known is None or known[0] != rule.query:
            known = self._compiled[rule.id] = (rule.query, tables_of_rule(rule, self._queries()))
        return known[1]

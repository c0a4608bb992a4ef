"""What the scheduler knows of a rule between its runs, and its durable form in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from tocsin.base.errors import TocsinError
from tocsin.detect.alert import iso
from tocsin.detect.recent import without_recency
from tocsin.detect.rule import Operator, Rule, RuleKind, Windows
from tocsin.detect.run import Queries, rule_error, stored_tables
from tocsin.detect.shapes import Shape, shape_of
from tocsin.detect.sieve import Sieve, sieves
from tocsin.detect.told import Told
from tocsin.state.rules import LedgerRow

__all__ = ["Plan", "plan_of"]

_BLIND = 20
_SEEN = 20_000


@dataclass(slots=True)
class Plan:
    """A rule between runs.

    `query`, `tables`, `sieves` and the flags come from compiling. A rule whose windows follow each other on ingestion time knows `seen`, what it told
    between turns, and `eager_end`, up to where. A rule over windows of event time knows `looked`, the ingestion time up to which it knows
    which windows rows touched, `ripe`, the index of the last window that had its turn, `waiting` windows that hold rows and aren't ripe,
    `late` ones that have to be looked at again, and what was `told`. `blind` are stretches of ingestion time that suppression left out. `begun` is
    when it would have run for the first time, had that not failed.
    """

    rule: Rule
    row: LedgerRow
    query: str = ""
    tables: frozenset[str] = frozenset()
    row_wise: bool = False
    uses_now: bool = False
    compiled: bool = False
    sieves: tuple[tuple[Sieve, ...], ...] = ()
    shape: Shape = field(default_factory=Shape)
    retry_at: datetime | None = None
    eager_at: datetime | None = None
    eager_end: datetime | None = None
    seen: dict[str, datetime] = field(default_factory=dict)
    looked: datetime | None = None
    ripe: int | None = None
    reach: int | None = None
    waiting: set[int] = field(default_factory=set)
    late: set[int] = field(default_factory=set)
    told: Told = field(default_factory=Told)
    blind: list[tuple[datetime, datetime]] = field(default_factory=list)
    lasting: int = 0
    begun: datetime | None = None

    @property
    def exact(self) -> bool:
        """Whether windows follow each other on ingestion time: each row is looked at once."""
        rule = self.rule
        plain = rule.operator is Operator.GREATER and rule.threshold == 0 and rule.windows is Windows.INGESTION
        return rule.kind is RuleKind.NRT or (self.row_wise and plain)

    @property
    def absence(self) -> bool:
        """Whether it may fire although nothing came."""
        return self.rule.operator is not Operator.GREATER

    def compile(self, queries: Queries, now: datetime) -> None:
        """Learns what the query reads. Raises DetectError."""
        if self.compiled:
            return
        rule = self.rule
        try:
            made = queries.compile(rule.query, now)
            query = rule.query
            if made.uses_now and not made.row_wise and (bare := without_recency(query, rule.frequency)) is not None:
                # A filter on recent time is what the window is for; by the row's own time a late one would fall through it.
                again = queries.compile(bare, now)
                if again.row_wise:
                    made, query = again, bare
        except TocsinError as error:
            raise rule_error(rule, error) from error
        self.query, self.tables = query, stored_tables(made)
        self.row_wise, self.uses_now = bool(made.row_wise), bool(made.uses_now)
        known = sieves(query)
        self.sieves = tuple(a for a in known if all(s.table in self.tables for s in a))
        self.shape, self.compiled = shape_of(rule.query), True

    def copy(self) -> Plan:
        """As it is now, to go back to."""
        return replace(
            self,
            seen=dict(self.seen),
            waiting=set(self.waiting),
            late=set(self.late),
            told=self.told.copy(),
            blind=list(self.blind),
        )

    def restore(self, before: Plan) -> None:
        """Goes back to a copy: what wasn't saved wasn't said. What compiling told stays."""
        for name in _MEMORY:
            setattr(self, name, getattr(before, name))

    def payload(self) -> dict[str, Any]:
        """The JSON form of the memory."""
        seen = sorted(self.seen.items(), key=lambda kv: kv[1])[-_SEEN:]
        return {
            "eager_end": _iso(self.eager_end),
            "seen": {k: iso(m) for k, m in seen},
            "looked": _iso(self.looked),
            "ripe": self.ripe,
            "reach": self.reach,
            "waiting": sorted(self.waiting),
            "late": sorted(self.late),
            "told": self.told.to_dict(),
            "blind": [[iso(a), iso(b)] for a, b in self.blind[-_BLIND:]],
            "lasting": self.lasting,
            "begun": _iso(self.begun),
        }


_MEMORY = ("seen", "eager_end", "looked", "ripe", "reach", "waiting", "late", "told", "blind")


def plan_of(rule: Rule, row: LedgerRow) -> Plan:
    """The plan of a rule as the ledger has it."""
    payload: Mapping[str, Any] = row.payload if isinstance(row.payload, dict) else {}
    return Plan(
        rule,
        row,
        eager_end=_moment(payload.get("eager_end")),
        seen={str(k): datetime.fromisoformat(m) for k, m in (payload.get("seen") or {}).items()},
        looked=_moment(payload.get("looked")),
        ripe=payload.get("ripe"),
        reach=payload.get("reach"),
        waiting=set(payload.get("waiting") or ()),
        late=set(payload.get("late") or ()),
        told=Told.from_dict(payload.get("told")),
        blind=[(datetime.fromisoformat(a), datetime.fromisoformat(b)) for a, b in payload.get("blind") or ()],
        lasting=int(payload.get("lasting") or 0),
        begun=_moment(payload.get("begun")),
    )


def _iso(moment: datetime | None) -> str | None:
    return iso(moment) if moment is not None else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None

"""Incidents with their alerts, tags, activity log and event outbox.

The repository keeps rows; what an incident is and how it may change is decided by `tocsin.incidents`. Analysts' decisions are columns,
what correlation computes is the payload, alerts are rows of their own that hold their whole JSON form. All but the alerts' documents and
the outbox is a projection of the incident log (`log`), which is written in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Subquery,
    UnaryExpression,
    and_,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.sql.operators import custom_op

from tocsin.state.incident_activity import IncidentActivity
from tocsin.state.incident_alerts import IncidentAlerts
from tocsin.state.incident_cursor import is_cursor, place_of
from tocsin.state.incident_kept import KeptParts, kept_parts
from tocsin.state.incident_marks import FEW, IncidentMarks
from tocsin.state.incident_rows import COLUMNS, ActivityRow, EventRow, IncidentChange, IncidentFilter, IncidentRow
from tocsin.state.incident_search import TextSearch, index_holds, make_index_anew
from tocsin.state.incident_tasks import IncidentTasks
from tocsin.state.incident_writes import IncidentWrites
from tocsin.state.kv import KeyValues
from tocsin.state.repository import NotFoundError, no_more_than
from tocsin.state.schema import incident_log, incident_rules, incident_tags, incidents

__all__ = ["ActivityRow", "EventRow", "IncidentChange", "IncidentFilter", "IncidentRow", "Incidents"]


def _sorts(rows: FromClause) -> Mapping[str, ColumnElement[Any]]:
    """What the queue is sorted by, of a table of incidents."""
    columns = {n: rows.c[n] for n in ("priority", "last", "first", "updated", "number", "status")}
    return {**columns, "severity": rows.c.severity_rank, "title": _by_title(rows.c.title)}


def _by_title(title: Any) -> ColumnElement[Any]:
    """What of a title is sorted by: `BY_TITLE`, of an index."""
    return func.lower(func.substr(title, literal_column("1"), literal_column("200")))


def _named(column: ColumnElement[Any], wanted: Sequence[str]) -> ColumnElement[bool]:
    """Whether a column is one of these; "none" is an empty one."""
    named = column.in_([w for w in wanted if w != "none"])
    return or_(named, column.is_(None)) if "none" in wanted else named


def _aside(column: ColumnElement[Any], connection: Connection) -> ColumnElement[Any]:
    """The column, by which nothing is looked up. https://sqlite.org/optoverview.html#disqualifying_where_clause_terms_using_unary_"""
    if connection.dialect.name != "sqlite":
        return column
    return UnaryExpression(column, operator=custom_op("+"), type_=column.type)


_TOGETHER = 500
_OPEN = ("New", "InProgress")
_SHOWN = (*_OPEN, "Resolved")
_EVERY = (*_SHOWN, "Redirected")
_COUNTED = 50_000
"""Of those that a text finds, so many are counted."""
_SOME = 20_000
"""As many are looked at that an index of texts knows, where few are left by all that is asked."""


class Incidents(IncidentAlerts, IncidentActivity):
    """Incidents by id: rows, tags and the queue; with their alerts, activity and events."""

    @cached_property
    def tasks(self) -> IncidentTasks:
        """What is to be done."""
        return IncidentTasks(self._c, self._clock)

    @cached_property
    def marks(self) -> IncidentMarks:
        """By what else the queue is filtered."""
        return IncidentMarks(self._c, self._clock)

    # ------------------------------------------------------------------------------------------ rows

    def get(self, incident_id: str, *, lock: bool = False) -> IncidentRow | None:
        """The row, or None. `lock` keeps others from changing it until this transaction ends."""
        chosen = select(*(incidents.c[n] for n in COLUMNS)).where(incidents.c.id == incident_id)
        row = self._c.execute(chosen.with_for_update() if lock else chosen).first()
        return None if row is None else self._with_tags([dict(row._mapping)])[0]

    def require(self, incident_id: str, *, lock: bool = False) -> IncidentRow:
        """The row; NotFoundError when there is none."""
        row = self.get(incident_id, lock=lock)
        if row is None:
            raise NotFoundError(f"There is no incident {incident_id}.")
        return row

    def merged_into(self, incident_ids: Iterable[str]) -> dict[str, str]:
        """By incident of these that was merged into another: that one, which may have been merged itself since."""
        wanted = sorted(set(incident_ids))
        found: dict[str, str] = {}
        for start in range(0, len(wanted), _TOGETHER):
            chosen = select(incidents.c.id, incidents.c.redirect_to).where(
                incidents.c.id.in_(wanted[start : start + _TOGETHER]), incidents.c.redirect_to.is_not(None)
            )
            found.update((r[0], r[1]) for r in self._c.execute(chosen) if r[1])
        return found

    def several(self, incident_ids: Iterable[str], *, lock: bool = False) -> dict[str, IncidentRow]:
        """The rows of those that are there, by id; see `get`."""
        wanted = sorted(set(incident_ids))  # locked in one order by everybody
        found: dict[str, IncidentRow] = {}
        for start in range(0, len(wanted), _TOGETHER):
            chosen = select(*(incidents.c[n] for n in COLUMNS)).where(
                incidents.c.id.in_(wanted[start : start + _TOGETHER])
            )
            chosen = chosen.order_by(incidents.c.id)
            rows = self._c.execute(chosen.with_for_update() if lock else chosen).all()
            found.update({r.id: r for r in self._with_tags([dict(r._mapping) for r in rows])})
        return found

    def writes(self) -> IncidentWrites:
        """Where changes are gathered that are to be written together."""
        self._tallies.clear()
        return IncidentWrites(self._c, self._clock)

    def next_number(self) -> int:
        """The number for a new incident."""
        return self.next_numbers(1)[0]

    def next_numbers(self, count: int) -> Sequence[int]:
        """Numbers for so many new incidents."""
        last = KeyValues(self._c, self._clock).next("incident.number", count)
        return range(last - count + 1, last + 1)

    def put(self, row: IncidentRow) -> None:
        """Writes a whole row as it is, its version too; its tags apart."""
        self._tallies.clear()
        values = {n: getattr(row, n) for n in COLUMNS if n != "id"}
        changed = self._c.execute(update(incidents).where(incidents.c.id == row.id).values(**values))
        if changed.rowcount == 0:
            self._c.execute(insert(incidents).values(id=row.id, **values))
        self.marks.put([row])

    def found_by_text(self) -> bool:
        """Whether the index by which incidents are found by text says what their rows say."""
        return index_holds(self._c)

    def index_anew(self) -> None:
        """Makes that index of what the rows say."""
        make_index_anew(self._c)

    def every_id(self) -> list[str]:
        """Ids of all incidents, hidden and merged ones too."""
        return [str(r[0]) for r in self._c.execute(select(incidents.c.id).order_by(incidents.c.id))]

    def without_log(self) -> list[str]:
        """Ids of incidents of which the log says nothing: there should be none."""
        said = select(incident_log.c.seq).where(incident_log.c.incident_id == incidents.c.id).exists()
        return [str(r[0]) for r in self._c.execute(select(incidents.c.id).where(~said).order_by(incidents.c.id))]

    def kept_parts(self, incident_ids: Sequence[str]) -> dict[str, KeptParts]:
        """By id, what is kept of each of them beside its row."""
        return kept_parts(self._c, incident_ids)

    def any_of(self, owner: str) -> bool:
        """Whether any incident is that owner's."""
        return self._c.execute(select(incidents.c.id).where(incidents.c.owner == owner).limit(1)).first() is not None

    def known_tags(self, *, most: int) -> list[str]:
        """Tags that any incident has, in order, at most so many."""
        chosen = select(incident_tags.c.tag).distinct().order_by(incident_tags.c.tag).limit(most)
        return [str(r[0]) for r in self._c.execute(chosen)]

    def put_tag_rows(self, incident_id: str, rows: Iterable[tuple[str, datetime, str]]) -> None:
        """Makes these the incident's tags, whole."""
        self._c.execute(delete(incident_tags).where(incident_tags.c.incident_id == incident_id))
        for tag, added, by in rows:
            self._c.execute(insert(incident_tags).values(incident_id=incident_id, tag=tag, added=added, added_by=by))

    def set_tags(self, incident_id: str, tags: Iterable[str], *, by: str, at: datetime | None = None) -> None:
        """Makes these the incident's tags; those that it has keep who added them and when."""
        wanted = list(dict.fromkeys(tags))
        held = {
            r[0] for r in self._c.execute(select(incident_tags.c.tag).where(incident_tags.c.incident_id == incident_id))
        }
        if gone := held - set(wanted):
            self._c.execute(
                delete(incident_tags).where(incident_tags.c.incident_id == incident_id, incident_tags.c.tag.in_(gone))
            )
        now = at or self._clock.now()
        for tag in wanted:
            if tag not in held:
                self._c.execute(
                    insert(incident_tags).values(incident_id=incident_id, tag=tag, added=now, added_by=by[:128])
                )

    def _with_tags(self, rows: Sequence[dict[str, Any]]) -> list[IncidentRow]:
        held: dict[str, list[str]] = {}
        chosen = select(incident_tags.c.incident_id, incident_tags.c.tag).where(
            incident_tags.c.incident_id.in_([r["id"] for r in rows])
        )
        for incident_id, tag in self._c.execute(chosen.order_by(incident_tags.c.added, incident_tags.c.tag)):
            held.setdefault(incident_id, []).append(tag)
        return [IncidentRow(**r, tags=tuple(held.get(r["id"], ()))) for r in rows]

    def remove(self, incident_id: str) -> None:
        """Removes the row of an incident that the log doesn't know (see `tocsin.incidents.history`)."""
        self._c.execute(delete(incidents).where(incidents.c.id == incident_id))

    def open_sizes(self, *, rules: Sequence[str] | None = None) -> list[tuple[str, int]]:
        """The incidents that people see and that are not resolved, the most urgent first, with how many alerts each has; with `rules` those that
        hold an alert of one of them."""
        columns = (incidents.c.id, incidents.c.alert_count, incidents.c.priority, incidents.c.number)
        if rules is None:
            chosen = select(*columns).where(incidents.c.promoted.is_(True), incidents.c.status.in_(_OPEN))
            ordered = chosen.order_by(incidents.c.priority.desc(), incidents.c.number)
            return [(str(r.id), int(r.alert_count)) for r in self._c.execute(ordered)]
        holding: set[str] = set()
        held = incident_rules.c
        for start in range(0, len(rules), _TOGETHER):
            some = select(held.incident_id).where(held.rule_id.in_(rules[start : start + _TOGETHER]))
            some = some.where(held.shown.is_(True), held.closed.is_(False))
            holding.update(str(i) for (i,) in self._c.execute(some.distinct()))
        found: dict[str, tuple[int, int, int]] = {}
        ids = sorted(holding)
        for start in range(0, len(ids), _TOGETHER):
            # Asked for what is open, too, SQLite would go through all that is, for each of these.
            some = select(*columns, incidents.c.status).where(incidents.c.id.in_(ids[start : start + _TOGETHER]))
            several = (r for r in self._c.execute(some) if r.status in _OPEN)
            found.update({str(r.id): (-r.priority, r.number or 0, r.alert_count) for r in several})
        return [(i, found[i][2]) for i in sorted(found, key=found.__getitem__)]

    def tagged(self, tags: Sequence[str]) -> dict[str, tuple[int, int]]:
        """By tag: how many incidents that have it are open, and how many there are; merged and hidden ones don't count."""
        opened = incidents.c.status.in_(_OPEN)
        chosen = (
            select(incident_tags.c.tag, opened.label("open"), func.count())
            .select_from(incident_tags.join(incidents, incident_tags.c.incident_id == incidents.c.id))
            .where(incident_tags.c.tag.in_(tags), incidents.c.promoted.is_(True), incidents.c.status != "Redirected")
            .group_by(incident_tags.c.tag, opened)
        )
        found: dict[str, tuple[int, int]] = {}
        for tag, is_open, count in self._c.execute(chosen):
            held = found.get(str(tag), (0, 0))
            found[str(tag)] = (held[0] + (int(count) if is_open else 0), held[1] + int(count))
        return found

    def growing(self, since: datetime) -> list[str]:
        """Ids of incidents, shown or not, whose last event is not older than that: those that alerts may still join."""
        chosen = select(incidents.c.id).where(incidents.c.last >= since, incidents.c.status != "Redirected")
        return [str(r[0]) for r in self._c.execute(chosen.order_by(incidents.c.first, incidents.c.id))]

    def growing_open(self, since: datetime, *, locked: str) -> dict[str, bool]:
        """By id of those: whether alerts may join it, because it is not resolved and hasn't the tag that locks it."""
        chosen = select(incidents.c.id, incidents.c.status, incident_tags.c.tag).select_from(
            incidents.outerjoin(
                incident_tags, and_(incident_tags.c.incident_id == incidents.c.id, incident_tags.c.tag == locked)
            )
        )
        chosen = chosen.where(incidents.c.last >= since, incidents.c.status != "Redirected")
        return {str(i): status in _OPEN and tag is None for i, status, tag in self._c.execute(chosen)}

    def newest_event(self) -> datetime | None:
        """When the newest event of any incident was."""
        return self._c.execute(select(func.max(incidents.c.last))).scalar_one_or_none()

    # ------------------------------------------------------------------------------------------ the queue

    def page(
        self,
        wanted: IncidentFilter,
        *,
        sort: str = "priority",
        descending: bool = True,
        limit: int = 50,
        offset: int = 0,
        after: str = "",
    ) -> tuple[list[IncidentRow], int]:
        """A page of rows and how many match in all (at least, see `counts_all`). Ties are ordered by last event, then number, so that pages don't
        overlap. `after`: those that follow the incident of that id, however many lie before it (NotFoundError when there is none), or a place of
        `place_after`."""
        # The rows themselves are fetched once it is known which: what is sorted and passed over is then small, an index where there is one.
        total = sum(self._tally(wanted).values())
        search = TextSearch(self._c, wanted.text)
        at_most = total if self.counts_all(wanted) else sum(self._tally(replace(wanted, text="")).values())
        few = at_most <= FEW
        if few and search.few(_SOME):
            rows, found = search.found()
            chosen = self._where(select(rows.c.id), rows, wanted).where(found)
        elif few:
            # They are found by what is asked of them and put in order afterwards: the limit keeps SQLite from walking through all in that order.
            some = self._where(select(incidents), incidents, wanted).where(search.each).limit(FEW)
            rows = some.subquery("some")
            chosen = select(rows.c.id)
        else:
            # So many that a page is soon found on the way through the order.
            rows = incidents
            chosen = self._where(select(rows.c.id), rows, wanted, walked=True).where(search.each)
        by = _sorts(rows)[sort]
        chosen = chosen.order_by(by.desc() if descending else by.asc(), rows.c.last.desc(), rows.c.number.desc())
        if after:
            chosen = chosen.where(self._follows(after, rows, sort, descending=descending))
        ids = [str(r[0]) for r in self._c.execute(chosen.limit(limit).offset(offset))]
        several = self.several(ids)
        return [several[i] for i in ids], total

    def _follows(self, incident_id: str, rows: FromClause, sort: str, *, descending: bool) -> ColumnElement[bool]:
        """Whether a row comes after another in the order of the queue. The bound on what is sorted by lets an index be entered there."""
        there: Any
        if is_cursor(incident_id):
            there, moment, place = place_of(incident_id, sort)
            if sort == "title":
                there = _by_title(there)  # as this database does it
        else:
            found = self._c.execute(
                select(_sorts(incidents)[sort], incidents.c.last, incidents.c.number).where(
                    incidents.c.id == incident_id
                )
            ).first()
            if found is None:
                raise NotFoundError(f"There is no incident {incident_id}.")
            there, moment, place = found
        by, last, number = _sorts(rows)[sort], rows.c.last, rows.c.number
        beyond = by < there if descending else by > there
        within = by <= there if descending else by >= there
        tied = and_(by == there, or_(last < moment, and_(last == moment, number < place)))
        return and_(within, or_(beyond, tied))

    def counts_all(self, wanted: IncidentFilter) -> bool:
        """Whether all that match are counted: of those that a text finds at most 50,000 are, since each must be looked at."""
        if wanted.text not in self._whole:
            self._whole[wanted.text] = not TextSearch(self._c, wanted.text).more(_COUNTED)
        return self._whole[wanted.text]

    @cached_property
    def _whole(self) -> dict[str, bool]:
        return {}

    def counts(self, wanted: IncidentFilter) -> dict[str, dict[str, int]]:
        """By status, severity and owner: how many match the other filters. Owner "" is nobody."""
        facets: dict[str, dict[str, Any]] = {
            "status": {"statuses": ()},
            "severity": {"severities": ()},
            "owner": {"owner": ""},
        }
        counted: dict[str, dict[str, int]] = {}
        for place, (name, without) in enumerate(facets.items()):
            found: dict[str, int] = {}
            for values, count in self._tally(replace(wanted, **without)).items():
                found[values[place]] = found.get(values[place], 0) + count
            counted[name] = found
        return counted

    def _tally(self, wanted: IncidentFilter) -> dict[tuple[str, str, str], int]:
        """How many match, by status, severity and owner. These three filter what is counted once for all of a page's counts."""
        rest = replace(wanted, statuses=(), severities=(), owner="")
        if rest not in self._tallies:
            rows, found = TextSearch(self._c, wanted.text).found(_COUNTED)
            columns = (rows.c.status, rows.c.severity, rows.c.owner)
            every = replace(rest, statuses=_EVERY)  # merged ones are in it, too: a page may ask for them
            if rows is incidents and (holding := self._holding(every)) is not None:
                held, every = holding
                source = held.join(incidents, incidents.c.id == held.c.incident_id)
                chosen = select(*columns, func.count()).select_from(source)
                # Left to itself SQLite looks into the index of ids alone, and from there into each row.
                chosen = chosen.with_hint(incidents, "INDEXED BY ix_incidents_counted", "sqlite")
                chosen = self._where(chosen, rows, every, by_id=True)
            else:
                chosen = self._where(select(*columns, func.count()).select_from(rows), rows, every, counted=True)
            chosen = chosen.where(found)
            self._tallies[rest] = {
                (str(s), str(v), str(o or "")): int(n) for s, v, o, n in self._c.execute(chosen.group_by(*columns))
            }
        owners = {"" if o == "none" else o for o in wanted.owner.split(",") if o}
        return {
            (status, severity, owner): n
            for (status, severity, owner), n in self._tallies[rest].items()
            if (status in wanted.statuses if wanted.statuses else status != "Redirected")
            and (not wanted.severities or severity in wanted.severities)
            and (not owners or owner in owners)
        }

    @cached_property
    def _tallies(self) -> dict[IncidentFilter, dict[tuple[str, str, str], int]]:
        return {}

    def _holding(self, wanted: IncidentFilter) -> tuple[Subquery, IncidentFilter] | None:
        """The ids of those that have a tag or a mark that is asked for, and what else is asked; None where something else is better begun with: few
        have one of them, or more is asked than the index has in it that is then looked into (`ix_incidents_counted`)."""
        if wanted.entity or (wanted.since, wanted.until, wanted.least_priority, wanted.most_priority) != (None,) * 4:
            return None
        tags = _tags(wanted)
        if (tags and self._few_tagged(tags)) or self.marks.few(wanted):
            return None
        holding = list(self.marks.many(wanted))
        if tags:
            held = select(incident_tags.c.incident_id).where(incident_tags.c.tag.in_(tags))
            holding.append((held.distinct() if len(tags) > 1 else held, replace(wanted, tag="")))
        if not holding:
            return None
        least, rest = min(holding, key=lambda h: self._count(h[0])) if len(holding) > 1 else holding[0]
        return least.subquery("held"), rest

    def _count(self, listed: Select[Any]) -> int:
        return int(self._c.execute(select(func.count()).select_from(listed.subquery())).scalar_one())

    def _where(
        self,
        chosen: Select[Any],
        rows: FromClause,
        wanted: IncidentFilter,
        *,
        walked: bool = False,
        counted: bool = False,
        by_id: bool = False,
    ) -> Select[Any]:
        """What is asked of incidents, but their text. Left to itself SQLite looks up whatever has an index, however many rows that leaves: those that
        are `walked` through in the queue's order it looks up by nothing, those that are `counted` by status, which the index has in it, those that
        are known `by_id` by that alone."""
        tags = _tags(wanted)
        tagged = not walked and bool(tags) and self._few_tagged(tags)
        few = tagged or (not walked and self.marks.few(wanted))
        status, severity, owner, classification, last, promoted = (
            _aside(rows.c[n], self._c)
            if walked or few or by_id or (counted and n in ("last", "classification"))
            else rows.c[n]
            for n in ("status", "severity", "owner", "classification", "last", "promoted")
        )
        chosen = chosen.where((rows.c.promoted if walked else promoted).is_(True))
        chosen = chosen.where(status.in_(wanted.statuses or _SHOWN))
        if wanted.severities:
            chosen = chosen.where(severity.in_(wanted.severities))
        if owners := [o for o in wanted.owner.split(",") if o]:
            chosen = chosen.where(_named(owner, owners))
        if verdicts := [v for v in wanted.classification.split(",") if v]:
            chosen = chosen.where(_named(classification, verdicts))
        if wanted.since is not None:
            chosen = chosen.where(last >= wanted.since)
        if wanted.until is not None:
            chosen = chosen.where(last <= wanted.until)
        if tags:
            held = select(incident_tags.c.incident_id).where(incident_tags.c.tag.in_(tags))
            chosen = chosen.where(
                rows.c.id.in_(held) if tagged else held.where(incident_tags.c.incident_id == rows.c.id).exists()
            )
        return chosen.where(*self.marks.asked(rows, wanted, walked=walked))

    def _few_tagged(self, tags: Sequence[str]) -> bool:
        """Whether so few have one of these tags that it pays to begin with them."""
        return no_more_than(self._c, select(incident_tags.c.incident_id).where(incident_tags.c.tag.in_(tags)), FEW)


def _tags(wanted: IncidentFilter) -> list[str]:
    """The tags of which it must have one: what stands between commas, or all of it as one tag that has commas itself."""
    return [t for t in dict.fromkeys((*wanted.tag.split(","), wanted.tag)) if t]

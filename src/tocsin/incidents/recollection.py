"""What correlation remembers, in step with the database: read beside everything else at the start, and followed from then on.

Whoever judges waits until it is there; everybody else goes on meanwhile, and what people decide in that time counts as soon as it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from tocsin.base.errors import StateError
from tocsin.base.memory import collector_paused
from tocsin.content import Content
from tocsin.incidents import judging, load, memory, reshape, store
from tocsin.incidents.changes import IncidentChange
from tocsin.incidents.correlate import Correlator
from tocsin.incidents.fusion import patterns_of
from tocsin.incidents.learned import LATE
from tocsin.incidents.links import links_of
from tocsin.incidents.memory import MemoryFile
from tocsin.incidents.model import Incident
from tocsin.incidents.weights import WEIGHTS, CorrelationSettings, over
from tocsin.state import RefusedError, State, Unit

__all__ = ["Recollection"]

_log = structlog.get_logger("tocsin.incidents")

_FEW = 2_000
"""So many incidents that others changed are read anew; where it is more, everything is."""

_STOPS = "Correlation doesn't read what it remembers any more: everything stops."


class _OutdatedError(Exception):
    """Memory is older than what people have made of the incidents."""


class _Reading:
    """One reading of the database, in a thread of its own."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.failed: BaseException | None = None
        self.decided: set[str] = set()
        """Incidents that people changed meanwhile."""


class Recollection:
    """A correlator that holds what the database says. Thread-safe; what it is asked for is asked `held`, but where it says otherwise."""

    def __init__(
        self,
        state: State,
        settings: CorrelationSettings,
        *,
        content: Callable[[], Content] | None = None,
        file: Path | None = None,
        reads: bool = True,
        beside: bool = False,
    ) -> None:
        """`settings`: what correlation weighs where nobody has set anything else. `file`: where it is kept for the next start (see `keep`). `reads`:
        False for who joins nothing and needs none. `beside`: reads in a thread of its own."""
        self.usual, self.settings = settings, settings
        self._state, self._content = state, content
        self._file = MemoryFile(file) if file is not None else None
        self._lock = threading.RLock()
        self._reshapes, self._seen = 0, 0
        """How often people had reshaped incidents, and the log's last entry, when memory and database were the same last."""
        self._stopped = False
        self._reading: _Reading | None = None
        self._reads = reads
        self.settings = self.set_now()
        self.correlator = Correlator((), self.settings)
        if beside:
            self._begin()
        elif reads:
            self.correlator = self.read()

    # ------------------------------------------------------------------------------------------ waiting for it

    @property
    def ready(self) -> bool:
        """Whether nobody would have to wait for it: it is there, or reading it failed. Asked without waiting."""
        reading = self._reading
        return reading is None or reading.done.is_set()

    @contextmanager
    def held(self, patience: float | None = None) -> Iterator[Correlator]:
        """Waits until it is there, for so many seconds at most, and keeps others from it. RefusedError when it isn't there then, or won't be because
        everything stops; what made reading it fail."""
        until = None if patience is None else time.monotonic() + patience
        while True:
            with self._lock:
                reading = self._reading
                if reading is None:
                    yield self.correlator
                    return
                if self._stopped and reading.done.is_set():
                    raise RefusedError(_STOPS)
                if reading.failed is not None:
                    self._begin()  # for whoever comes next
                    raise reading.failed
            if not reading.done.wait(None if until is None else max(0.0, until - time.monotonic())):
                raise RefusedError("Correlation is still reading what it remembers.", hint="Ask again in a minute.")

    def stop(self) -> None:
        """Lets nobody wait any longer for what isn't there yet."""
        self._stopped = True
        if (reading := self._reading) is not None:
            reading.done.wait()

    def _begin(self) -> None:
        self._reading = reading = _Reading()
        threading.Thread(target=self._read_beside, args=(reading,), name="tocsin-memory", daemon=True).start()

    def _read_beside(self, reading: _Reading) -> None:
        try:
            made = self.read()
            with self._lock:
                self.correlator, self.settings = made, self.set_now()
                self._tune()
                for incident_id in reading.decided:
                    self._decided(incident_id)
                self._reading = None
        except BaseException as error:  # told to who waits for it
            if not self._stopped:
                _log.error("correlation.memory_unreadable", error=str(error))
            reading.failed = error
        finally:
            reading.done.set()

    # ------------------------------------------------------------------------------------------ reading

    def read(self) -> Correlator:
        """Memory as the database has it: what the file remembers and what came since, or all anew. It takes its time where there are many alerts."""
        self.settings = self.set_now()
        began = time.monotonic()
        with collector_paused(), self._state.read() as unit:
            reshapes, seen = reshape.reshapes(unit), unit.incidents.history.last()
            apart, since = reshape.apart(unit), self._since(unit)
            made = self._empty(apart)
            load.looking_back(unit, made)
            # While it still looks back, every alert is wanted, and there are few.
            file = self._file if made.hindsight.over else None
            recalled = file is not None and file.recall(unit, made, since, self._goes_on)
            if not recalled:
                made = self._empty(apart)
                load.looking_back(unit, made)
                load.adopt_growing(unit, made, since, self._goes_on)
        self._reshapes, self._seen = reshapes, seen
        size, spent = made.size, round(time.monotonic() - began, 1)
        if size.alerts:
            _log.info(
                "correlation.remembers", incidents=size.incidents, alerts=size.alerts, from_file=recalled, seconds=spent
            )
        return made

    def _goes_on(self) -> None:
        if self._stopped and self._reading is not None:
            raise RefusedError(_STOPS)
        time.sleep(0)  # whoever waits goes first

    def _empty(self, apart: frozenset[frozenset[str]]) -> Correlator:
        made = self.another(self.settings, apart=apart)
        made.more_vetoes = lambda one, other, alert: judging.group_vetoes(self._state.judge, one, other, alert=alert)
        made.reader, made.handled = self._incident, self._handled
        return made

    def another(
        self,
        settings: CorrelationSettings,
        incidents: Iterable[Incident] = (),
        *,
        apart: frozenset[frozenset[str]] = frozenset(),
    ) -> Correlator:
        """A correlator of its own with those settings and the packs' links and patterns. Asked without waiting."""
        content = self._content() if self._content is not None else None
        return Correlator(
            incidents,
            settings,
            apart=apart,
            links=links_of(content) if content is not None else None,
            patterns=patterns_of(content)[0] if content is not None else None,
        )

    def _incident(self, incident_id: str) -> Incident:
        """An incident that memory has left in the database."""
        with self._state.read() as unit:
            return load.load_resting(unit, incident_id)

    def _handled(self, incident_ids: Collection[str], came: Mapping[str, str]) -> Collection[str]:
        """Those that people or automation have done anything about, and those to which alerts of such a one `came` that isn't written yet."""
        with self._state.read() as unit:
            from_where = unit.incidents.holders(list(came))
            every = {*incident_ids, *from_where.values()}
            touched = unit.incidents.history.handled(every, source=store.CORRELATION, but=store.JUDGE)
        return {*touched, *(came[a] for a, i in from_where.items() if i in touched)}

    def _since(self, unit: Unit) -> datetime:
        """What an incident's last event must not be older than for alerts to join it: what memory would not have forgotten yet."""
        newest, oldest = unit.incidents.newest_event(), self._state.clock.now() - 2 * self.settings.horizon
        return oldest if newest is None else max(oldest, newest - self.settings.horizon - LATE)

    # ------------------------------------------------------------------------------------------ keeping in step

    def keep_up(self) -> None:
        """Takes in what people have made of incidents since, and other programs."""
        with self._state.read() as unit:
            if reshape.reshapes(unit) == self._reshapes:
                return
            changed = unit.incidents.history.changed_by_others(self._seen, store.CORRELATION, _FEW + 1, but=store.JUDGE)
        self._read_again(changed)

    def kept(
        self,
        change: Callable[[], list[IncidentChange] | None],
        write: Callable[[Unit, list[IncidentChange]], None],
        *,
        whole: bool = False,
    ) -> list[IncidentChange]:
        """What `change` makes of memory, made durable by `write` in one transaction; nothing is written where it gives None. When that fails,
        memory goes back to what the database holds: of the incidents to which alerts came, or the `whole` of it."""
        while True:
            self.keep_up()
            touched: list[str] = []
            try:
                changes = change()
                if changes is None:
                    return []
                touched = [] if whole or self.correlator.looked_back else self.correlator.touched()
                with self._state.write() as unit:
                    if reshape.reshapes(unit) != self._reshapes:
                        raise _OutdatedError
                    write(unit, changes)
                    last = unit.incidents.history.last()
                self._seen = last
                return changes
            except _OutdatedError:
                self._go_back(touched)  # people merged or moved since: look again at what is there now
            except BaseException:
                self._go_back(touched)
                raise

    def _go_back(self, touched: Sequence[str]) -> None:
        """Makes memory again what the database holds, after those alerts came to incidents; all of it where that isn't known."""
        if not touched:
            self._seen = 0  # nothing is kept for the next start until this is done
            self.correlator = self.read()
            return
        with self._state.read() as unit:
            there = unit.incidents.holders(touched).values()
            changed = unit.incidents.history.changed_by_others(self._seen, store.CORRELATION, _FEW + 1, but=store.JUDGE)
        here = (i.id for a in touched if (i := self.correlator.holding(a)) is not None)
        self._read_again(changed, {*there, *here})

    def _read_again(self, changed: Collection[str], touched: Collection[str] = ()) -> None:
        """Reads those incidents anew; everything where many were changed by others, or something else is weighed now."""
        if len(changed) > _FEW or self.set_now() != self.settings:
            self.correlator = self.read()
            return
        incident_ids = {*changed, *touched}
        with self._state.read() as unit:
            reshapes, seen, self._seen = reshape.reshapes(unit), unit.incidents.history.last(), 0
            several = load.load_several(unit, sorted(incident_ids), self._since(unit))
            self.correlator.renew(incident_ids, several, apart=reshape.apart(unit))
        self._reshapes, self._seen = reshapes, seen

    def decided(self, incident_id: str) -> None:
        """Takes in what people decided about an incident. Asked without waiting: what isn't there yet takes it in later."""
        with self._lock:
            if self._reading is not None:
                self._reading.decided.add(incident_id)
            else:
                self._decided(incident_id)

    def _decided(self, incident_id: str) -> None:
        held = self.correlator.get(incident_id)
        if held is None:
            return
        with self._state.read() as unit:
            row = unit.incidents.get(incident_id)
        if row is not None:
            load.keep_decisions(held, row)

    # ------------------------------------------------------------------------------------------ what it weighs

    def set_now(self) -> CorrelationSettings:
        """The usual settings, under what somebody set since; what no program knows any more is left out. Asked without waiting."""
        with self._state.read() as unit:
            given = unit.kv.get(judging.CORRELATION, {})
        known = {
            n: v
            for n, v in given.items()
            if n.removeprefix("weights.") in WEIGHTS or n in CorrelationSettings.model_fields
        }
        return over(self.usual, known)

    def retune(self) -> None:
        """Takes in weights that were set. Asked without waiting: what isn't there yet takes them in when it is."""
        with self._lock:
            if self._reading is None:
                self.settings = self.set_now()
                if self._reads:
                    self.keep_up()  # what people have made of incidents counts first
                    self._tune()

    def _tune(self) -> None:
        if self.correlator.settings != self.settings and not self.correlator.weigh_by(self.settings):
            self.correlator = self.read()

    # ------------------------------------------------------------------------------------------ the next start

    def keep(self, *, entries: int = 1, seconds: float = 0.0) -> bool:
        """Writes it into its file, so that the next start is quick however this process ends. Whether it did: not without a file, not before it is
        there, not while it looks back on the first hours, and not when fewer than so many entries came to the incident log since, in less than that
        time. Asked without waiting."""
        with self._lock, collector_paused():
            if self._file is None or not self._reads or self._reading is not None or not self._seen:
                return False  # an incident log without entries: there is nothing to remember
            if not self.correlator.hindsight.over:
                return False
            if not self._file.due(self._seen, entries=entries, seconds=seconds):
                return False
            remembered, seq, setting = self.correlator.remembered(), self._seen, memory.setting_of(self.correlator)
            with self._state.read() as unit:
                learned = memory.learned(unit)
        try:
            with self._state.read() as unit:
                self._file.write(unit, remembered, seq, setting)
        except OSError as error:
            _log.warning("correlation.memory_not_kept", error=str(error))
            return False
        if learned:
            try:
                with self._state.write() as unit:
                    memory.forget_learned(unit, learned)
            except StateError as error:  # then it is read anew once more at the next start
                _log.warning("correlation.memory_not_kept", error=str(error))
        return True

    def forget_before(self, age: timedelta | None = None) -> None:
        """Drops incidents that nothing can join any more. Asked without waiting."""
        with self._lock:
            if self._reading is None:
                self.correlator.forget_before(self._state.clock.now() - (age or 2 * self.settings.horizon))

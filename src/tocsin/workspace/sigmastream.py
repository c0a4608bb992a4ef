"""Sigma rules over each group of rows as it comes in, and what the matcher knows from one run of the server to the next.

What waits in memory (a correlation's hits, a burst that was said, suppression) is written down with the number of the last body that was looked at,
before the log is trimmed, when it stops and never beyond what the log holds: a start goes on from there and looks again at the bodies that
came after. Those give the same alerts, ids included, so that a crash loses none and says none twice. While the database takes nothing (its disk is
full), the stream stands still at the group whose alerts wait, and slows senders down; a stop or a crash meanwhile has that group looked at again.
As long as correlation doesn't remember yet after a start, alerts wait here and the stream goes on; a crash meanwhile has all of it looked at again.
A change of rules takes over what rules that stay the same know.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import structlog

from tocsin.base.clock import Clock
from tocsin.content import Watchlist
from tocsin.detect.alert import Alert
from tocsin.detect.rule import Rule
from tocsin.ingest.model import SourceBatch
from tocsin.lake.durable import write_atomically
from tocsin.state import RefusedError
from tocsin.workspace.costs import RuleCosts

__all__ = ["SigmaStream"]

_log = structlog.get_logger("tocsin.workspace.detection")
Group = tuple[int, Sequence[SourceBatch]]

_WAITING_BATCHES = 64
_CATCH_UP_SECONDS = 2.0
_AGAIN_SECONDS = (0.5, 10.0)
"""How long the stream waits, first and at most, before it asks a database again that takes nothing."""
_MOST_HELD = 10_000
"""Alerts that wait for correlation's memory while the stream goes on; with more it stands still."""
_LOOK_SECONDS = 0.5
_NOTHING: Group = (0, ())
_BLIND = 20
"""Stretches of suppression that are remembered of a rule."""


class SigmaStream:
    """Owns the matcher and its thread. `file` takes the alerts of a group, of which some may have been filed before (a crash, an event sent
    twice), once it is `ready` to; `kept` is the file of what is known."""

    def __init__(
        self,
        file: Callable[[list[Alert]], None],
        costs: RuleCosts,
        clock: Clock,
        kept: Path,
        *,
        ready: Callable[[], bool] = lambda: True,
        watchlists: Callable[[], Sequence[Watchlist]] = tuple,
    ) -> None:
        self._file, self._costs, self._clock, self._kept = file, costs, clock, kept
        self._ready, self._watchlists = ready, watchlists
        self._groups: queue.Queue[Group | None] = queue.Queue(_WAITING_BATCHES)
        self._matcher: Any = None
        self._lock = threading.RLock()
        """Held while a group is looked at and its alerts are filed: outside of it matcher and position say the same."""
        self._looked = threading.Condition(self._lock)
        self._heard: dict[str, datetime] = {}
        self._were_fed: frozenset[str] = frozenset()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._held: list[Alert] = []
        """Alerts that were said and aren't filed: what a replay has shown, or what the database doesn't take."""
        self._last = 0
        """The last body that was given."""
        self._position = self._saved = self._looked_at = 0
        self._blind: dict[str, list[tuple[datetime, datetime]]] = {}

    # ------------------------------------------------------------------ life

    def take_rules(self, rules: Sequence[Rule]) -> None:
        """Puts rules into force; what rules that stay the same know stays."""
        matcher = None
        if rules:
            from tocsin.detect.sigma.matcher import SigmaMatcher  # pySigma takes a second to load
            from tocsin.detect.sigma.networks import SensorNetworks

            matcher = SigmaMatcher(rules, live=True, networks=SensorNetworks(self._watchlists))
        with self._lock:
            if self._matcher is not None:
                self._were_fed |= self._matcher.fed()
                if matcher is not None:
                    now = self._clock.now()
                    matcher.take_back(self._matcher.kept(now), now)
            self._matcher = matcher

    def load(self, last: int) -> int:
        """Goes on from what an earlier run wrote, where the log, whose last body is `last`, is still the same; the body up to which it looked."""
        try:
            plain = msgspec.msgpack.decode(self._kept.read_bytes())
            position = int(plain["position"])
            if position > last:  # of another log
                return 0
            with self._lock:
                if self._matcher is not None:
                    self._matcher.take_back(plain["state"], self._clock.now())
                self._blind = {
                    rule: [(datetime.fromisoformat(a), datetime.fromisoformat(b)) for a, b in spans]
                    for rule, spans in plain["blind"].items()
                }
                self._position = self._saved = self._last = self._looked_at = position
        except FileNotFoundError:
            return 0
        except (OSError, msgspec.MsgspecError, TypeError, ValueError, KeyError) as error:
            _log.warning("sigma.kept_unreadable", path=str(self._kept), error=str(error))
            return 0
        return position

    def start(self) -> None:
        """Files what a replay of the log has shown, and begins to look at what comes."""
        with self._lock:
            if self._ready():
                self._file_held()
        self._thread = threading.Thread(target=self._run, name="tocsin-sigma", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Looks at what was given until now, and writes down what it knows; what is given later is for the next start, as is what the database
        doesn't take."""
        self._stopped = True
        self._groups.put(None)
        if self._thread is not None:
            self._thread.join()
            self.save()

    # ------------------------------------------------------------------ looking

    def observe(self, number: int, batches: Sequence[SourceBatch]) -> None:
        """Takes a group of rows and the number of its last body. Waits when the matcher is behind: intake then slows its senders down."""
        if self._stopped:
            return
        self._last = number
        if self._thread is None:  # a replay of the log: others can't take alerts yet
            with self._lock:
                self._held.extend(self._match(batches))
                self._position = self._looked_at = number
            return
        self._groups.put((number, batches))

    def _run(self) -> None:
        with self._looked:
            self._file_when_ready()
        while (group := self._next()) is not None:
            number, batches = group
            with self._looked:
                if self._held and self._stopped:  # what came before isn't filed: the next start looks at both
                    continue
                if group is not _NOTHING:
                    try:
                        self._held.extend(self._match(batches))
                        if self._matcher is not None:
                            self._costs.look(self._matcher)
                    except Exception as error:  # a defect in one rule must not end the matching of all others
                        _log.exception("sigma.failed", error=str(error))
                    self._looked_at = number
                self._file_when_ready()
                if not self._held:
                    self._position = self._looked_at
                self._looked.notify_all()

    def _next(self) -> Group | None:
        """The next group, None at the end; nothing where alerts wait to be filed and none came for a moment."""
        try:
            return self._groups.get(timeout=_LOOK_SECONDS if self._held else None)
        except queue.Empty:
            return _NOTHING

    def _file_when_ready(self) -> None:
        if self._ready() or len(self._held) >= _MOST_HELD:
            self._file_until_taken()

    def _file_until_taken(self) -> None:
        """Files what is held, however long the database takes nothing; others may have the lock meanwhile. Gives up only when it is to stop."""
        pause, most = _AGAIN_SECONDS
        while not self._file_held() and not self._stopped:
            self._looked.wait(pause)
            pause = min(2 * pause, most)

    def _file_held(self) -> bool:
        """Files what is held together; where that fails one by one, so that one that can't be filed takes none with it. False when the database
        takes nothing: then the rest stays held."""
        if not self._held:
            return True
        try:
            self._file(self._held)
            self._held = []
            return True
        except Exception as error:
            _log.error("sigma.filing", alerts=len(self._held), error=str(error))
        while self._held:
            alert = self._held[0]
            try:
                self._file([alert])
            except RefusedError as error:
                _log.error("sigma.waits", alerts=len(self._held), error=str(error))
                return False
            except Exception as error:  # of this alert: it must not hold up all others
                _log.exception("sigma.not_filed", alert=alert.id, rule=alert.rule_id, error=str(error))
            del self._held[0]
        return True

    def _match(self, batches: Sequence[SourceBatch]) -> list[Alert]:
        matcher = self._matcher
        if matcher is None:
            return []
        now = self._clock.now()
        self._heard.update((batch.source, now) for batch in batches if len(batch))
        # It is said now, whenever its events happened: they may have lain at their sender for days.
        alerts = [replace(alert, created=now) for batch in batches for alert in matcher.match(batch)]
        silent = {r.id: r.suppression for r in matcher.rules if r.suppression is not None} if alerts else {}
        for alert in alerts:
            if (span := silent.get(alert.rule_id)) is not None:
                self._blind.setdefault(alert.rule_id, []).append((now, now + span))
                del self._blind[alert.rule_id][:-_BLIND]
        return alerts

    def save(self) -> int:
        """Writes down what is known, once all that was given is looked at, or two seconds later; the body up to which it is known."""
        with self._looked:
            self._looked.wait_for(lambda: self._position >= self._last, _CATCH_UP_SECONDS if self._thread else 0)
            if self._held or self._position == self._saved:
                return self._saved
            now = self._clock.now()
            state = (
                self._matcher.kept(now)
                if self._matcher is not None
                else {"bursts": [], "silent": {}, "correlations": [], "latest": None}
            )
            blind = {r: [[a.isoformat(), b.isoformat()] for a, b in spans] for r, spans in self._blind.items()}
            data = msgspec.msgpack.encode({"position": self._position, "state": state, "blind": blind})
            self._kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._kept, data)
            self._saved = self._position
            return self._saved

    # ------------------------------------------------------------------ what others ask

    def fed(self, since: datetime) -> frozenset[str]:
        """Ids of Sigma rules that events of their kind came for since the start, and whose source sent something since then."""
        heard = {source for source, at in list(self._heard.items()) if at >= since}
        matcher = self._matcher
        if matcher is None:
            return frozenset()
        known = self._were_fed | matcher.fed()
        return frozenset(
            r.id
            for r in matcher.rules
            if r.id in known and any(b.source in heard for b in getattr(r.compiled, "bindings", ()))
        )

    def blind(self, rule_id: str) -> list[tuple[datetime, datetime]]:
        """The stretches during which suppression left out what a rule found, or would have found."""
        return list(self._blind.get(rule_id, ()))

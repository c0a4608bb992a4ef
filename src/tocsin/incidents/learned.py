"""What correlation has learned of what is usual: in whose company things are, where rules fire, how often places give alerts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from tocsin.detect.alert import SEVERITIES
from tocsin.incidents.background import Background
from tocsin.incidents.cluster import Worth
from tocsin.incidents.company import Company
from tocsin.incidents.signature import HOUR, Signature
from tocsin.incidents.weights import CorrelationSettings

__all__ = ["LATE", "Learned"]

LATE = timedelta(hours=24)
"""Alerts that are late by so much still find all that lies within the horizon before them."""

_MEDIUM, _HIGH = SEVERITIES.index("Medium"), SEVERITIES.index("High")
_ALONE = frozenset({"process", "session", "mail"})
"""Kinds of which company says nothing."""


class Learned:
    """Learns from each alert as it comes; what lies before the horizon it forgets."""

    def __init__(self, settings: CorrelationSettings) -> None:
        self._horizon = settings.horizon.total_seconds()
        self._noisy_hosts = settings.noisy_hosts
        self.company = Company(self._horizon)
        self.background = Background(self._horizon, settings.background_alerts)
        self.newest = 0.0
        """The last moment of any alert so far, in seconds since the epoch."""
        self._fired = Company(self._horizon)

    def __len__(self) -> int:
        """Of how many things, rules among them, it remembers the company."""
        return len(self.company) + len(self._fired)

    def note(self, sign: Signature) -> None:
        """Counts in whose company the alert's things are, and where its rule fires."""
        self.newest = max(self.newest, sign.points[-1])
        for key in sign.things:
            if key[0] not in _ALONE:
                self.company.add(key, sign.company(key), sign.time)
        self._fired.add((sign.rule,), sign.hosts or sign.accounts, sign.time)
        self.background.add(sign)
        # Once an hour it is worked out how often places give alerts: always at the hour's first alert, so that who reads alerts anew after a restart
        # comes to the same numbers as who was there.
        self.background.observed(self.newest)

    def note_aliases(self, sign: Signature) -> None:
        """Counts the company of what the alert turned out to be known by."""
        for key in sign.via:
            self.company.add(key, sign.company(key), sign.time)

    def worth(self, sign: Signature) -> Worth:
        """How much the alert says of where it happened. A rule that fires everywhere all the time says little; what began within the hour is an
        attack's burst, not noise."""
        if sign.rank >= _HIGH:
            return Worth.HIGH
        if self._fired.exceeds((sign.rule,), self._noisy_hosts, sign.time, before=sign.time - HOUR):
            return Worth.NOISY
        return Worth.PLAIN if sign.rank >= _MEDIUM else Worth.LOW

    @property
    def limit(self) -> float:
        """Before this moment nothing matters any more, not even to alerts that come late."""
        return self.newest - self._horizon - LATE.total_seconds()

    def forget(self) -> None:
        """Drops what lies before the window, not all at once."""
        self.company.forget(self.newest)
        self._fired.forget(self.newest)
        self.background.forget(self.newest)

    def entries(self) -> Iterable[tuple[str, Any]]:
        """All that it knows, by part, for `restore`."""
        yield "newest", [self.newest]
        yield "company", self.company.entries()
        yield "fired", self._fired.entries()
        yield from self.background.entries().items()

    def restore(self, part: str, entries: Sequence[Any]) -> None:
        """Knows that part again, or some of it."""
        match part:
            case "newest":
                self.newest = max(self.newest, *entries)
            case "company":
                self.company.restore(entries)
            case "fired":
                self._fired.restore(entries)
            case _:
                self.background.restore(**{part: entries})

"""Which network a Zeek sensor watches: the scope in which a private address names one machine.

Sigma rules look at events before they are rows, and say the same of their addresses as KQL rules do with the function `ZeekNetwork`
(`packs/network`): all sensors see one address plan, unless the watchlist `ZeekSensors` says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tocsin.content import Watchlist
from tocsin.tables.watchlists import SEARCH_KEY

__all__ = ["SENSOR", "SensorNetworks"]

SENSOR = "@system"
"""The field of Zeek's events that names the sensor."""

_WATCHLIST = "zeeksensors"
_COLUMN = "Network"
_USUAL = "zeek"


class SensorNetworks:
    """Networks by sensor, as the watchlists that it is given say now."""

    def __init__(self, watchlists: Callable[[], Sequence[Watchlist]] = tuple) -> None:
        self._watchlists = watchlists
        self._read: Sequence[Watchlist] = ()
        self._known: Mapping[str, str] = {}

    def of(self, sensor: str) -> str:
        """The network that a sensor watches."""
        now = self._watchlists()
        if now is not self._read:
            self._read, self._known = now, _networks(now)
        return self._known.get(sensor.lower()) or _USUAL


def _networks(watchlists: Sequence[Watchlist]) -> dict[str, str]:
    found: dict[str, str] = {}
    for watchlist in watchlists:
        if watchlist.alias.lower() == _WATCHLIST and _COLUMN in watchlist.table.column_names:
            keys, names = (watchlist.table.column(n).to_pylist() for n in (SEARCH_KEY, _COLUMN))
            found.update((str(k or "").lower(), str(n or "")) for k, n in zip(keys, names, strict=True))
    return found

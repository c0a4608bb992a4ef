"""The database of places behind `geo_info_from_ip_address`: a MaxMind file (MMDB) that the installation provides."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import maxminddb

from tocsin.base.errors import ConfigError
from tocsin.kql.functions.python import geoip

__all__ = ["Places", "use_places"]

_log = logging.getLogger(__name__)


class Places:
    """Looks addresses up in a file and opens it again when it was replaced, as updaters do (geoipupdate renames a new one over it).

    Raises ConfigError CFG0006: the file can't be read or is no MaxMind database.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._stamp: tuple[int, int] | None = None
        self._reader = self._open()

    def close(self) -> None:
        """Give the file back."""
        self._reader.close()

    @property
    def fact(self) -> str:
        """What the file says of itself."""
        about = self._reader.metadata()
        return f"{self.path}: {about.database_type}, {about.node_count} nodes, IPv{about.ip_version}"

    def find(self, address: str) -> dict[str, Any] | None:
        """The record of the narrowest network that holds the address; None for none, and for IPv6 in a database of IPv4."""
        try:
            self._renew()
            record = self._reader.get(address)
        except ValueError:
            return None
        return dict(record) if isinstance(record, Mapping) else None

    def _renew(self) -> None:
        if self._stamp_now() == self._stamp:
            return
        with self._lock:
            if self._stamp_now() in (self._stamp, None):
                return
            try:
                # The old reader is left to the garbage collector: another thread may be reading from it.
                self._reader = self._open()
            except ConfigError as error:
                _log.warning(
                    "the database of places was replaced by one that can't be read; the old one stays: %s", error
                )
                self._stamp = self._stamp_now()

    def _stamp_now(self) -> tuple[int, int] | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns

    def _open(self) -> maxminddb.Reader:
        try:
            reader = maxminddb.open_database(self.path)
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
            raise ConfigError(
                f"setting 'geoip.database': {self.path} can't be read as a MaxMind database: {error}",
                code="CFG0006",
                hint="Name an MMDB file with cities or countries, such as GeoLite2-City.mmdb.",
            ) from error
        self._stamp = self._stamp_now()
        return reader


@contextmanager
def use_places(database: Path | None) -> Iterator[bool]:
    """Let `geo_info_from_ip_address` look up in the file while the context lasts; gives whether it can.

    A file that can't be read is logged and the function refused, for a server must not stay down because of it; `tocsin doctor` says it.
    """
    if database is None:
        yield False
        return
    try:
        places = Places(database)
    except ConfigError as error:
        _log.error("%s; geo_info_from_ip_address() is refused", error)
        yield False
        return
    geoip.configure(places.find)
    try:
        yield True
    finally:
        geoip.configure(None)
        places.close()

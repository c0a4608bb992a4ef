"""externaldata: files and web addresses that the installation allows, read as tables of text.

Nothing may be read until `query.external.allow` names it. An entry is a web address that others must begin with
(``https://lists.example.org/intel/``) or a folder (``/srv/lists``). Web requests go through the one way out (`base.http`): no redirects, no
addresses inside unless an entry names their host. Bodies are bounded, kept for some minutes, and unpacked within the same bound.

Cells are texts: the query converts them to the declared types, with KQL's own conversions.
"""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

import pyarrow as pa

from tocsin.base.clock import Clock
from tocsin.base.errors import QueryError
from tocsin.base.http import EgressClient, EgressPolicy
from tocsin.kql.types import KqlType
from tocsin.query.external_formats import FORMATS, parse_records, unzip
from tocsin.query.settings import ExternalSettings

__all__ = ["EXTERNAL", "ExternalData"]

EXTERNAL = "externaldata:"
"""What the names of such relations begin with; no table's name has a colon."""

Schema = Sequence[tuple[str, KqlType]]


class ExternalData:
    """Reads what is allowed. Safe to use from many threads."""

    def __init__(self, settings: ExternalSettings, clock: Clock) -> None:
        self.settings = settings
        self._clock = clock
        self._sites = [urlsplit(e) for e in settings.allow if "://" in e]
        self._folders = [Path(e) for e in settings.allow if "://" not in e]
        hosts = [s.hostname for s in self._sites if s.hostname]
        self._http = EgressClient(EgressPolicy.of(hosts), timeout=settings.seconds, max_bytes=settings.max_bytes)
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def reader(self, given: dict[str, pa.Table]) -> Callable[[Schema, Sequence[str], Mapping[str, object]], str]:
        """What `compile_query` asks for externaldata: reads at once and puts the rows into `given`."""

        def read(schema: Schema, uris: Sequence[str], options: Mapping[str, object]) -> str:
            name = f"{EXTERNAL}{len(given) + 1}"
            given[name] = self.read(schema, uris, options)
            return name

        return read

    def check(self, _schema: Schema, uris: Sequence[str], options: Mapping[str, object]) -> None:
        """Only the policy, for compiling without running: the table is empty then. Raises QueryError as `read`."""
        for uri in uris:
            self._place(uri)
            self._format(uri, options)

    def read(self, schema: Schema, uris: Sequence[str], options: Mapping[str, object]) -> pa.Table:
        """The rows of all addresses, every column as text.

        Raises QueryError: QRY0010 for an address or option that is not allowed or known, QRY0011 for what can't be read.
        """
        columns: list[list[str | None]] = [[] for _ in schema]
        names = [n for n, _ in schema]
        bags = frozenset(n for n, kind in schema if kind is KqlType.DYNAMIC)
        for uri in uris:
            body = self._body(uri)
            kind = self._format(uri, options)
            try:
                packed = unzip(body, uri, self.settings.max_bytes)
                for part in packed:
                    parse_records(part, kind, names, _folded(options), columns, bags)
            except (ValueError, EOFError, OSError, zlib.error) as error:
                raise QueryError(f"{_shown(uri)} can't be read as {kind}: {error}", code="QRY0011") from error
        arrays = [pa.array(c, pa.string()) for c in columns]
        return pa.table(arrays, names=[n for n, _ in schema])

    # ------------------------------------------------------------------------------------------ policy

    def _place(self, uri: str) -> Path | str:
        """The file or the address, when the policy has it."""
        address = uri.split(";", 1)[0] if uri.lower().startswith(("http://", "https://")) else uri
        parts = urlsplit(address)
        if parts.scheme in ("http", "https"):
            if any(_within(parts, site) for site in self._sites):
                return address
        else:
            file = self._file(address)
            if file is not None:
                return file
        raise QueryError(
            f"externaldata may not read {_shown(uri)} here",
            code="QRY0010",
            hint="An administrator allows web addresses and folders in the setting query.external.allow.",
        )

    def _file(self, address: str) -> Path | None:
        path = Path(unquote(urlsplit(address).path) if address.startswith("file:") else address)
        if not path.is_absolute():
            return None
        real = path.resolve()
        return real if any(real.is_relative_to(folder.resolve()) for folder in self._folders) else None

    def _format(self, uri: str, options: Mapping[str, object]) -> str:
        given = _folded(options).get("format")
        if given is None:
            suffixes = [s.lstrip(".").lower() for s in PurePosixPath(urlsplit(uri.split(";", 1)[0]).path).suffixes]
            given = next((s for s in reversed(suffixes) if s in FORMATS), "csv")
        kind = str(given).lower()
        if kind not in FORMATS:
            raise QueryError(
                f"externaldata can't read the format '{given}'",
                code="QRY0010",
                hint=f"It reads {', '.join(sorted(FORMATS))}.",
            )
        return kind

    # ------------------------------------------------------------------------------------------ bodies

    def _body(self, uri: str) -> bytes:
        place = self._place(uri)
        if isinstance(place, Path):
            return self._bounded(place)
        now = self._clock.monotonic()
        with self._lock:
            kept = self._kept.get(place)
            if kept is not None and now - kept[0] < self.settings.keep_seconds:
                self._kept.move_to_end(place)
                return kept[1]
        answer = self._http.request("GET", place, headers={"Accept-Encoding": "gzip"})
        if answer.status != 200:
            raise QueryError(f"{_shown(uri)} answered {answer.status}", code="QRY0011")
        if answer.truncated:
            raise self._too_large(uri)
        with self._lock:
            self._kept[place] = now, answer.body
            while len(self._kept) > 1 and sum(len(b) for _, b in self._kept.values()) > 2 * self.settings.max_bytes:
                self._kept.popitem(last=False)
        return answer.body

    def _bounded(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                body = file.read(self.settings.max_bytes + 1)
        except OSError as error:
            raise QueryError(f"{path} can't be read: {error.strerror}", code="QRY0011") from error
        if len(body) > self.settings.max_bytes:
            raise self._too_large(str(path))
        return body

    def _too_large(self, uri: str) -> QueryError:
        return QueryError(
            f"{_shown(uri)} has more than {self.settings.max_bytes >> 20} MiB",
            code="QRY0011",
            hint="The setting query.external.max_bytes says how much externaldata reads.",
        )


def _folded(options: Mapping[str, object]) -> dict[str, object]:
    return {k.lower(): v for k, v in options.items()}


def _within(a: SplitResult, s: SplitResult) -> bool:
    """True when the address is the site's scheme, host and port, and its path the site's or below it."""
    if (a.scheme, a.hostname, a.port) != (s.scheme, s.hostname, s.port) or a.username or a.password:
        return False
    path, allowed = unquote(a.path or "/"), s.path or "/"
    if ".." in path.split("/") or "\\" in path:
        return False
    return path == allowed or path.startswith(allowed if allowed.endswith("/") else allowed + "/")


def _shown(uri: str) -> str:
    """An address without what may be a secret: its query and what follows a semicolon."""
    return uri.split(";", 1)[0].split("?", 1)[0][:200]

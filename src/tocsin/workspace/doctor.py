"""Says what of the machine works for Tocsin and what doesn't, and why: each check is a fact, a verdict and what to do."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from time import perf_counter
from typing import Literal

from tocsin.base.errors import ConfigError
from tocsin.workspace.settings import Settings

__all__ = ["Check", "examine"]

Verdict = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `advice` is empty where nothing needs doing."""

    name: str
    verdict: Verdict
    fact: str
    advice: str = ""


def examine(settings: Settings) -> Iterator[Check]:
    """Runs every check; one that raises is itself a finding."""
    checks: tuple[tuple[str, Callable[[Settings], Check]], ...] = (
        ("python", _python),
        ("packages", _packages),
        ("memory", _memory),
        ("data folder", _data),
        ("disk sync", _sync),
        ("query engine", _engine),
        ("packs", _packs),
        ("sigma kernel", _kernel),
        ("event kernel", _events),
        ("portal", _portal),
        ("places", _places),
        ("http port", _http),
        ("links", _links),
        ("syslog udp", _syslog_udp),
        ("syslog tcp", _syslog_tcp),
        ("relp", _relp),
        ("syslog buffer", _buffer),
        ("block addresses", _nftables),
    )
    for name, check in checks:
        try:
            yield check(settings)
        except Exception as error:  # a doctor reports whatever it meets and goes on
            yield Check(name, "failed", f"{type(error).__name__}: {error}")


def _python(_: Settings) -> Check:
    fact = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check("python", "ok" if sys.version_info >= (3, 11) else "failed", fact)


def _packages(_: Settings) -> Check:
    names = ("duckdb", "deltalake", "pyarrow", "polars", "evtx", "pysigma", "fastapi", "sqlalchemy")
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            return Check("packages", "failed", f"{name} is not installed", "Run `make env`, or `pip install .` again.")
    return Check("packages", "ok", ", ".join(found))


def _memory(_: Settings) -> Check:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    fact = f"{total / 2**30:.1f} GiB, {os.cpu_count()} cores"
    if total < 2 * 2**30:
        return Check("memory", "warning", fact, "Under 2 GiB: lower engine.memory_bytes and lake.hot_bytes.")
    return Check("memory", "ok", fact)


def _data(settings: Settings) -> Check:
    folder = settings.data.absolute()
    place = folder
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        return Check(
            "data folder",
            "failed",
            f"{folder} can't be written",
            "Name another one with --data or data in tocsin.toml.",
        )
    free = shutil.disk_usage(place).free
    fact = f"{folder}, {free / 2**30:.1f} GiB free"
    return Check(
        "data folder",
        "warning" if free < 5 * 2**30 else "ok",
        fact,
        "Little room for logs." if free < 5 * 2**30 else "",
    )


def _sync(settings: Settings) -> Check:
    place = settings.data.absolute()
    while not place.exists():
        place = place.parent
    with tempfile.NamedTemporaryFile(dir=place, prefix=".tocsin-doctor-") as file:
        began = perf_counter()
        for _ in range(10):
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
        each = (perf_counter() - began) / 10
    fact = f"{each * 1000:.2f} ms for 4 KiB"
    if each > 0.05:
        return Check(
            "disk sync",
            "warning",
            fact,
            "A slow sync delays every acknowledgement; put the data folder on a faster disk.",
        )
    return Check("disk sync", "ok", fact)


def _engine(_: Settings) -> Check:
    from datetime import UTC, datetime

    from tocsin.kql import compile_query
    from tocsin.lake.engine import Engine
    from tocsin.tables import catalogue

    engine = Engine(catalog=catalogue())
    try:
        compiled = compile_query("range x from 1 to 3 step 1 | summarize sum(x)", catalogue(), now=datetime.now(UTC))
        answer = engine.run(compiled).rows()
    finally:
        engine.close()
    return Check("query engine", "ok" if answer == [[6]] else "failed", f"a first query answers {answer[0][0]}")


def _packs(settings: Settings) -> Check:
    from tocsin.content import load_packs, packs_dir

    site = settings.detect.site or settings.data / "site"
    content = load_packs([packs_dir(), *([site] if site.is_dir() else [])])
    fact = f"{len(content.rules)} rules, {len(content.parsers)} parsers, {len(content.functions)} functions"
    if content.problems:
        return Check(
            "packs",
            "warning",
            f"{fact}; {len(content.problems)} problems, first: {content.problems[0]}",
            "tocsin rules validate",
        )
    return Check("packs", "ok" if content.rules else "failed", fact)


def _places(settings: Settings) -> Check:
    from tocsin.workspace.places import Places

    if settings.geoip.database is None:
        return Check(
            "places",
            "ok",
            "no database of places: geo_info_from_ip_address() is refused",
            "Name a MaxMind database in geoip.database to have it.",
        )
    try:
        places = Places(settings.geoip.database)
    except ConfigError as error:
        return Check("places", "failed", error.message, error.hint)
    try:
        return Check("places", "ok", places.fact)
    finally:
        places.close()


def _kernel(_: Settings) -> Check:
    from tocsin.detect.sigma.kernel import AVAILABLE

    return _native(
        "sigma kernel",
        AVAILABLE,
        "native: JSON lines of Windows events are matched by the compiled kernel",
        "wheels alone: Sigma rules match at about a fifth of the speed",
    )


def _events(_: Settings) -> Check:
    from tocsin.ingest.decoders.flatevents import AVAILABLE

    return _native(
        "event kernel",
        AVAILABLE,
        "native: Windows events from Splunk's senders are decoded by the compiled kernel",
        "wheels alone: Windows events are decoded at about a fifth of the speed",
    )


def _native(name: str, there: bool, with_it: str, without: str) -> Check:
    if there:
        return Check(name, "ok", with_it)
    advice = "Install a C compiler and run `make kernel`, or install a wheel that was built with one."
    return Check(name, "warning", without, advice)


def _portal(_: Settings) -> Check:
    page = files("tocsin") / "portal" / "static" / "index.html"  # not by import: the portal is a door above this room
    if page.is_file():
        return Check("portal", "ok", "built")
    return Check("portal", "warning", "not built", "Run `make portal`; API and intake work without it.")


def _listen(name: str, host: str, port: int, kind: socket.SocketKind, setting: str) -> Check:
    if port < 0:
        return Check(name, "ok", "switched off")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            advice = f"Another program (or another Tocsin) has it, or it needs root; choose another with {setting}."
            return Check(name, "warning", f"{host}:{port}: {error.strerror}", advice)
    return Check(name, "ok", f"{host}:{port} is free")


def _http(settings: Settings) -> Check:
    return _listen("http port", settings.server.host, settings.server.port, socket.SOCK_STREAM, "server.port")


def _links(settings: Settings) -> Check:
    address = settings.server.address()
    if address or not settings.server.port:  # a free port is known once it is taken
        return Check("links", "ok", f"people reach the portal at {address or 'the port that it will take'}")
    return Check(
        "links",
        "warning",
        "where people reach the portal isn't known: rows, exports and webhooks have no links",
        "Set server.public_url, as https://tocsin.example.",
    )


def _syslog_udp(settings: Settings) -> Check:
    ingest = settings.ingest
    return _listen(
        "syslog udp", ingest.syslog_host, ingest.syslog_udp_port, socket.SOCK_DGRAM, "ingest.syslog_udp_port"
    )


def _syslog_tcp(settings: Settings) -> Check:
    ingest = settings.ingest
    return _listen(
        "syslog tcp", ingest.syslog_host, ingest.syslog_tcp_port, socket.SOCK_STREAM, "ingest.syslog_tcp_port"
    )


def _relp(settings: Settings) -> Check:
    return _listen(
        "relp", settings.ingest.syslog_host, settings.ingest.relp_port, socket.SOCK_STREAM, "ingest.relp_port"
    )


def _buffer(_: Settings) -> Check:
    wanted = 16 * 2**20
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for option in (33, socket.SO_RCVBUF):  # 33 is SO_RCVBUFFORCE, for root
            try:
                probe.setsockopt(socket.SOL_SOCKET, option, wanted)
                break
            except OSError:
                continue
        granted = probe.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
    fact = f"{granted / 2**20:.1f} MiB of {wanted / 2**20:.0f} MiB"
    if granted < 4 * 2**20:
        return Check(
            "syslog buffer", "warning", fact, "Bursts of UDP syslog may be lost: sysctl -w net.core.rmem_max=16777216"
        )
    return Check("syslog buffer", "ok", fact)


def _nftables(settings: Settings) -> Check:
    from tocsin.respond.actions.block_address import BlockAddress

    able = BlockAddress(settings.respond.block).able()
    if able.able:
        return Check("block addresses", "ok", "nftables answers and this process may change it")
    return Check(
        "block addresses",
        "warning",
        able.reason,
        "Without it, 'block an address on this host' can't be approved; all else works.",
    )

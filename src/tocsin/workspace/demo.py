"""Plays a scenario through the real intake: HTTP, a token, the log, the parsers and rules, like any sender."""

from __future__ import annotations

import ssl
import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import orjson
import structlog

from tocsin.base.clock import Clock
from tocsin.base.errors import UsageError, did_you_mean
from tocsin.content import packs_dir
from tocsin.content.scenario import PlayedRow, Scenario, load_scenario

__all__ = ["Player", "find_scenario", "scenarios"]

_log = structlog.get_logger("tocsin.demo")
_TICK = 0.5


def scenarios() -> dict[str, Path]:
    """The scenarios that ship, by id (the file's name)."""
    return {p.stem: p for p in sorted(packs_dir().glob("*/scenarios/*.yaml"))}


def find_scenario(name: str) -> Scenario:
    """The scenario of that name or file. Raises UsageError USE0007."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return load_scenario(path)
    known = scenarios()
    if name not in known:
        raise UsageError(
            f"there is no scenario '{name}'",
            code="USE0007",
            hint=did_you_mean(name, known) or f"There are: {', '.join(known)}.",
        )
    return load_scenario(known[name])


class Player:
    """Sends a scenario's rows to a server, `speed` times as fast as they happened.

    Event times are set so that the scenario ends about now: an analyst who opens the incident reads an attack of the last minutes, and
    rules that look back an hour see all of it.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        address: str,
        token: str,
        clock: Clock,
        speed: float = 60.0,
        certificate: Path | None = None,
    ) -> None:
        self.scenario = scenario
        self.speed = speed
        self.sent = 0
        self._address = address
        self._token = token
        self._clock = clock
        self._certificate = certificate
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Plays in a thread of its own."""
        self._thread = threading.Thread(target=self._guarded, name="tocsin-demo", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the play."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _guarded(self) -> None:
        try:
            self.play()
        except httpx.HTTPError as error:
            _log.warning("demo.failed", error=str(error))

    def play(self, wait: Callable[[float], object] | None = None) -> int:
        """Plays to the end (or until `stop`) and gives the number of rows sent."""
        pause = wait or self._stop.wait
        began = self._clock.monotonic()
        start = (
            self._clock.now()
            - timedelta(seconds=self.scenario.duration)
            + timedelta(seconds=self.scenario.duration / self.speed)
        )
        waiting: dict[str, list[PlayedRow]] = defaultdict(list)
        due = _TICK
        headers = {"Authorization": f"Bearer {self._token}"}
        verify = _only(self._certificate) if self._certificate is not None else True
        with httpx.Client(
            base_url=self._address, headers=headers, timeout=30, trust_env=False, verify=verify
        ) as client:
            for played in self.scenario.play(start):
                while played.at / self.speed > due:
                    self._send(client, waiting)
                    late = began + due - self._clock.monotonic()
                    if late > 0:
                        pause(late)
                    if self._stop.is_set():
                        return self.sent
                    due += _TICK
                waiting[played.table].append(played)
            self._send(client, waiting)
        return self.sent

    def _send(self, client: httpx.Client, waiting: dict[str, list[PlayedRow]]) -> None:
        for table, rows in waiting.items():
            body = b"\n".join(orjson.dumps(r.row) for r in rows)
            for attempt in range(20):
                answer = client.post("/ingest/v1/jsonl", params={"table": table}, content=body)
                if answer.status_code != 503:
                    break
                self._stop.wait(0.1 * (attempt + 1))  # the server asks to wait; nothing of the request was taken
            answer.raise_for_status()
            self.sent += len(rows)
        waiting.clear()


def _only(certificate: Path) -> ssl.SSLContext:
    """Trusts that very certificate, whatever name it is for: the server is this process."""
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context

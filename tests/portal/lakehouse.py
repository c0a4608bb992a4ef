"""A real server with rows of its own in the lake, and a browser that is signed in to it: what the tests of the lake's pages share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from tests.api.conftest import PHRASE, Served
from tests.portal.conftest import PATIENCE, Watched, watch
from tocsin.lake import TableBatch

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["Opener", "days_of_syslog", "opener"]

Opener = Callable[..., Watched]


def days_of_syslog(served: Served, days: int, each: int) -> None:
    """`each` rows a day of receipt, the newest an hour ago, in a file a day; one in ten says "odd"."""
    now = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1)
    for day in reversed(range(days)):
        at = pa.array([now - timedelta(days=day, seconds=n) for n in range(each)], pa.timestamp("us"))
        rows = {
            "SyslogMessage": [f"{'odd' if n % 10 == 0 else 'even'} message {n} of day {day}" for n in range(each)],
            "HostName": [f"web-{n % 3}" for n in range(each)],
            "Computer": [f"web-{n % 3}" for n in range(each)],
            "ProcessName": ["sshd"] * each,
            "TimeGenerated": at,
            "_TimeReceived": at,
        }
        served.workspace.lake.write([TableBatch("Syslog", pa.table(rows))])
        served.workspace.lake.flush()


@contextmanager
def opener(browser: Browser, served: Served) -> Iterator[Opener]:
    """Opens pages as the user of a role; anything that goes wrong on one fails the test."""
    made: dict[str, Watched] = {}

    def open_as(path: str, role: str = "administrator", wait: str = "h1") -> Watched:
        if role not in made:
            context = browser.new_context(
                viewport={"width": 1500, "height": 940},
                color_scheme="light",
                reduced_motion="reduce",
                locale="en-GB",
            )
            context.set_default_timeout(PATIENCE)
            answer = context.request.post(
                f"{served.url}/api/v1/session",
                data={"username": role, "password": PHRASE},
                headers={"X-Tocsin-Request": "1"},
            )
            assert answer.ok, answer.text()
            made[role] = Watched(context.new_page(), served.url)
            watch(made[role])
        watched = made[role]
        watched.page.goto(served.url + path)
        watched.page.wait_for_selector(wait)
        return watched

    try:
        yield open_as
    finally:
        for each in made.values():
            each.page.context.close()
    for each in made.values():
        each.check()

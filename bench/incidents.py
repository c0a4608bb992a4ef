"""How correlation and the incident queue bear a month of a large organisation: a million alerts over 30 days, 50,000 entities.

    python -m bench.incidents [ALERTS [FIRST]]  joins, memory, cost per alert as it grows (default 1,000,000; of them the first so many)
    python -m bench.incidents desk              5,000 alerts filed through the desk: to one incident, and to 5,000
    python -m bench.incidents queue [ALERTS]    the queue page and an incident of 5,000 alerts through the API, over a state of that many alerts

Joins and filing are measured in CPU time, because machines differ and this one is shared; what a person waits for in time by the clock, too.
"""

from __future__ import annotations

import gc
import random
import resource
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from tocsin.base.memory import everything_stays
from tocsin.detect.alert import TACTICS, Alert, Evidence
from tocsin.incidents import Correlator
from tocsin.tables.entities import Entity

START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 30
HOSTS, ADDRESSES, SERVERS = 22_000, 5_900, 100
"""With a user each of 22,000 machines: 50,000 entities."""
RULES = 600
ATTACKS = 300
"""Of 60 alerts over a few hours on four machines each."""
LARGE = 5_000
"""Alerts of one more attack, all on two machines in three hours."""


def alerts(count: int, seed: int = 5) -> Iterator[Alert]:
    """That many alerts by time: noise on machines and servers, of rules of which few make most, and attacks among them."""
    rng = random.Random(seed)
    weights = [1 / (n + 1) for n in range(RULES)]
    step = DAYS * 86_400 / count
    attack_at = sorted(rng.randrange(count) for _ in range(min(ATTACKS, count // 100)))
    waiting: list[tuple[float, int, Alert]] = []
    number = 0
    large = count // 2 if count >= 10 * LARGE else -1
    for n in range(count):
        moment = n * step
        while attack_at and attack_at[0] <= n:
            attack_at.pop(0)
            hosts = [rng.randrange(HOSTS) for _ in range(4)]
            for part in range(60):
                at = moment + rng.uniform(0, 4 * 3600)
                waiting.append(
                    (
                        at,
                        number,
                        one_alert(number, at, hosts[part * 4 // 60], 600 + rng.randrange(60), rng, attack=hosts[0]),
                    )
                )
                number += 1
            waiting.sort(key=lambda w: w[:2])
        if n == large:
            waiting.extend(
                (a.time.timestamp() - START.timestamp(), number + k, a) for k, a in enumerate(large_attack())
            )
            number += LARGE
            waiting.sort(key=lambda w: w[:2])
        while waiting and waiting[0][0] <= moment:
            yield waiting.pop(0)[2]
        yield one_alert(number, moment, rng.randrange(HOSTS), rng.choices(range(RULES), weights)[0], rng)
        number += 1


def one_alert(number: int, at: float, host: int, rule: int, rng: random.Random, attack: int | None = None) -> Alert:
    moment = START + timedelta(seconds=at)
    name = f"pc{host:05}"
    entities = [
        Entity.host(f"{name}.contoso.example"),
        Entity.account(f"CONTOSO\\user{attack if attack is not None else host:05}"),
    ]
    draw = rng.random()
    if draw < 0.4:
        created = f"{moment:%Y-%m-%dT%H:%M:%S.000Z}"
        entities.append(
            Entity("Process", {"Host": name, "ProcessId": str(rng.randrange(4, 60_000)), "CreationTimeUtc": created})
        )
    if draw < 0.2:
        entities.append(Entity("IP", {"Address": f"198.51.{rng.randrange(100) // 4}.{rng.randrange(ADDRESSES) % 236}"}))
    if 0.2 < draw < 0.35:
        entities.append(Entity.host(f"srv{rng.randrange(SERVERS):03}.contoso.example"))
    row = {
        "DeviceName": name,
        "ActionType": "ProcessCreated",
        "ProcessCommandLine": f"tool.exe --run {number}",
        "FolderPath": r"C:\Users\u\tool.exe",
    }
    severity = "High" if attack is not None and number % 5 == 0 else ("Low", "Medium", "Informational")[rule % 3]
    return Alert(
        id=f"al{number:07}", rule_id=f"rule{rule}", rule=f"Rule {rule}", time=moment, end=moment, created=moment, severity=severity,
        tactics=(TACTICS[2 + rule % 10],), techniques=(f"T1{rule % 600:03}",), entities=tuple(e for e in entities if e),
        events=(Evidence("DeviceProcessEvents", row),),
    )  # fmt: skip


def large_attack(seed: int = 6) -> Iterator[Alert]:
    """One attack of 5,000 alerts on two machines in three hours, in the middle of the month."""
    rng = random.Random(seed)
    middle = DAYS * 86_400 / 2
    for part in range(LARGE):
        yield one_alert(
            10_000_000 + part, middle + part * 3 * 3600 / LARGE, 7 + part % 2, 700 + part % 40, rng, attack=7
        )


BLOCK = 50_000
"""Alerts of a line of the table."""


def joins(count: int, stop: int) -> None:
    """Prints the table of joins; of `count` alerts the first `stop`. Collections of garbage that fall into a join are in its time.
    What making an alert costs is the yardstick, for a machine that others use, too."""
    correlator = Correlator()
    everything_stays()  # as a server says at its start
    took: list[float] = []
    spent = clock = collected = 0.0
    collecting = [0.0]

    def collects(phase: str, _info: dict[str, int]) -> None:
        nonlocal collected
        if phase == "start":
            collecting[0] = time.thread_time()
        else:
            collected += time.thread_time() - collecting[0]

    gc.callbacks.append(collects)
    marks = [*(m for m in (10_000,) if m < stop), *range(BLOCK, stop, BLOCK), stop]
    print(
        "| alerts | CPU µs an alert since the line before | of it garbage | x making it | by the clock | p50 ms | p95 ms | p99 ms | max ms |"
        " incidents in memory | resident MiB |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    began = time.thread_time()
    for total, alert in enumerate(islice(alerts(count), stop), start=1):
        before, at, by = collected, time.thread_time(), time.perf_counter()
        correlator.add([alert])
        correlator.shed([alert])  # as the desk does once it is durable
        took.append(time.thread_time() - at)
        clock += time.perf_counter() - by
        spent += collected - before
        if total == marks[0]:
            marks.pop(0)
            each, made = 1e6 / len(took), time.thread_time() - began - sum(took)
            took.sort()
            p50, p95, p99 = (took[int(len(took) * q)] * 1000 for q in (0.5, 0.95, 0.99))
            size, memory = correlator.size.incidents, _resident()
            print(
                f"| {total:,} | {sum(took) * each:.0f} | {spent * each:.0f} | {sum(took) / made:.2f} | {clock * each:.0f} |"
                f" {p50:.2f} | {p95:.2f} | {p99:.2f} |"
                f" {took[-1] * 1000:.0f} | {size:,} | {memory:.0f} |",
                flush=True,
            )
            took, spent, clock, began = [], 0.0, 0.0, time.thread_time()
    gc.callbacks.remove(collects)


def _resident() -> float:
    """MiB of this process that are in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    """Prints the tables for bench/README.md."""
    words = sys.argv[1:]
    if words[:1] == ["queue"]:
        from bench.incident_queue import queue

        queue(int(words[1]) if len(words) > 1 else 1_000_000)
    elif words[:1] == ["desk"]:
        from bench.incident_queue import filing

        filing()
    else:
        count = int(words[0]) if words else 1_000_000
        joins(count, int(words[1]) if len(words) > 1 else count)


if __name__ == "__main__":
    main()

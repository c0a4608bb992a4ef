"""Summary rules: every bin once, late rows counted in or reported, failures tried again and visible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.workspace.house import House

from tocsin.access import ForbiddenError, system
from tocsin.base.clock import ManualClock
from tocsin.base.errors import KqlError, LakeError, StateError, UsageError
from tocsin.lake import Lake, LakeSettings, TableBatch
from tocsin.workspace.settings import DetectSettings, IngestSettings, Settings
from tocsin.workspace.summaries import Summaries

START = datetime(2026, 3, 1, tzinfo=UTC)
BY = system("test", "rules.read", "rules.write")
RULE = {
    "name": "Messages by host",
    "query": "Syslog | summarize n = count() by Computer",
    "destinationTable": "Hosts_CL",
    "binSize": 60,
    "binDelay": 10,
    "lateHours": 3,
}
PACK = """
id: packed
name: Packed
query: Syslog | summarize n = count()
destinationTable: Packed_CL
binSize: {size}
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    settings = Settings(
        data=tmp_path / "data",
        lake=LakeSettings(background=False, compact_files=0),
        ingest=IngestSettings(syslog_udp_port=-1, syslog_tcp_port=-1, relp_port=-1),
        detect=DetectSettings(site=tmp_path / "site"),
    )
    (tmp_path / "site" / "summaries").mkdir(parents=True)
    (tmp_path / "site" / "summaries" / "packed.yaml").write_text(PACK.format(size=60))
    (tmp_path / "site" / "summaries" / "wrong.yaml").write_text(PACK.replace("packed", "wrong").format(size=7))
    with House.open(settings, clock=ManualClock(START)) as workspace:
        yield workspace


def _send(house: House, minutes: list[float], *, host: str = "a") -> None:
    """Rows of these minutes after START, received now."""
    times = pa.array([START + timedelta(minutes=m) for m in minutes], pa.timestamp("us", "UTC"))
    received = pa.array([house.clock.now()] * len(minutes), pa.timestamp("us", "UTC"))
    rows = {"Computer": [host] * len(minutes), "TimeGenerated": times, "_TimeReceived": received}
    house.lake.write([TableBatch("Syslog", pa.table(rows))])


def _at(house: House, minutes: float) -> None:
    assert isinstance(house.clock, ManualClock)
    house.clock.set(START + timedelta(minutes=minutes))


def _sums(house: House, table: str = "Hosts_CL") -> dict[tuple[str, str], int]:
    rows = house.queries.run(f"{table} | project _BinStartTime, Computer, n, _BinSize, TimeGenerated, _RuleName").rows()
    found = {(r[0][11:16], r[1]): r[2] for r in rows}
    assert len(found) == len(rows), "a bin has rows twice"
    assert all(r[3] == 60 and r[4] == r[0] and r[5] == RULE["name"] for r in rows)
    return found


def _truth(house: House) -> dict[tuple[str, str], int]:
    rows = house.queries.run("Syslog | summarize n = count() by start = bin(TimeGenerated, 1h), Computer").rows()
    return {(r[0][11:16], r[1]): r[2] for r in rows}


def test_bins_late_rows_and_what_is_missed(house: House) -> None:
    made = house.summaries.save(RULE, by=BY)
    house.summaries.set_enabled("packed", False, by=BY)
    _send(house, [0, 10, 59.99])
    _send(house, [60, 61], host="b")
    _at(house, 69)
    assert house.summaries.run_due() == 0  # its delay isn't over
    _at(house, 70)
    assert house.summaries.run_due() == 1
    assert _sums(house) == {("00:00", "a"): 3}
    _send(house, [30, 31])  # late, within three hours of the bin's end
    _at(house, 131)
    assert house.summaries.run_due() == 2
    assert _sums(house) == {("00:00", "a"): 5, ("01:00", "b"): 2} == _truth(house)
    assert house.summaries.run_due() == 0
    _at(house, 600)
    house.summaries.run_due()
    assert _sums(house) == _truth(house)
    _send(house, [5, 6, 7])  # nine hours late
    _at(house, 610)
    house.summaries.run_due()
    assert _sums(house)["00:00", "a"] == 5
    shown = house.summaries.get(made["id"], by=BY)
    assert shown["missed"] == 3
    assert sum(_truth(house).values()) == sum(_sums(house).values()) + shown["missed"]
    statuses = Counter(r["status"] for r in shown["runs"])
    assert statuses == {"Succeeded": 10, "Again": 1, "Missed": 1}
    # By hand it is run all the same.
    house.summaries.rerun(made["id"], START + timedelta(minutes=1), by=BY)
    assert _sums(house) == _truth(house)


def test_a_bin_that_has_no_rows_any_more_has_none(house: House) -> None:
    made = house.summaries.save(RULE, by=BY)
    _send(house, [1, 2])
    _at(house, 75)
    house.summaries.run_due()
    assert _sums(house) == {("00:00", "a"): 2}
    by = system("test", "lake.delete", "lake.purge")
    house.erasure.purge("Syslog", "true", expected=2, keep_evidence=False, by=by)
    house.summaries.rerun(made["id"], START, by=BY)
    assert _sums(house) == {}


@pytest.mark.parametrize("where", ["append_once", "_note"])
def test_a_run_that_was_cut_short_is_run_again_and_doubles_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    house.summaries.set_enabled("packed", False, by=BY)
    house.summaries.save(RULE, by=BY)
    for hour in range(4):
        _send(house, [hour * 60 + n for n in range(hour + 1)])
    _at(house, 250)
    owner: Any = Lake if where == "append_once" else Summaries
    real = getattr(owner, where)
    for number in (1, 2):
        calls = 0

        def die(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            done = real(*args, **kwargs) if where == "append_once" else None
            if calls == number:  # noqa: B023
                raise KeyboardInterrupt
            return done if where == "append_once" else real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(owner, where, die)
            with pytest.raises(KeyboardInterrupt):
                house.summaries.run_due()
    house.summaries.run_due()
    assert _sums(house) == _truth(house)
    assert len(_sums(house)) == 4


def test_failures_are_tried_again_and_then_noted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.summaries.set_enabled("packed", False, by=BY)
    made = house.summaries.save(RULE, by=BY)
    _send(house, [1])
    _send(house, [61])
    _at(house, 71)

    def refuse(*_: Any, **__: Any) -> int:
        raise LakeError("the disk is full", code="LAK0016")

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "append_once", refuse)
        assert house.summaries.run_due() == 0
        assert house.summaries.run_due() == 0  # not before its time
        shown = house.summaries.get(made["id"], by=BY)
        assert (shown["attempts"], [r["status"] for r in shown["runs"]]) == (1, ["Failed"])
        assert "LAK0016" in shown["last"]["error"]
        for minute in range(72, 120):
            _at(house, minute)
            house.summaries.run_due()
        assert 3 <= house.summaries.get(made["id"], by=BY)["attempts"] < 10
    _at(house, 140)
    house.summaries.run_due()
    assert _sums(house) == _truth(house)
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "append_once", refuse)
        for minute in range(190, 190 + 12 * 61, 61):
            _at(house, minute)
            house.summaries.run_due()
    shown = house.summaries.get(made["id"], by=BY)
    assert shown["next"] == "2026-03-01T03:00:00+00:00"  # given up after ten, and noted
    assert sum(r["bin"] == "2026-03-01T02:00:00+00:00" for r in shown["runs"]) == 10


def test_packs_and_people_make_rules(house: House) -> None:
    rules = house.summaries.rules()
    assert "packed" in {r.id for r in rules}
    assert all(r.pack for r in rules)
    assert [str(p.place).endswith("wrong.yaml") for p in house.summaries.problems()] == [True]
    with pytest.raises(StateError, match="pack"):
        house.summaries.save(RULE, by=BY, rule_id="packed")
    with pytest.raises(StateError, match="pack"):
        house.summaries.remove("packed", by=BY)
    assert house.summaries.set_enabled("packed", False, by=BY)["enabled"] is False
    assert {r["id"]: r["enabled"] for r in house.summaries.listed(by=BY)}["packed"] is False
    made = house.summaries.save(RULE, by=BY)
    with pytest.raises(StateError, match="Hosts_CL"):
        house.summaries.save({**RULE, "name": "other"}, by=BY)
    changed = house.summaries.save({**RULE, "binSize": 30}, by=BY, rule_id=made["id"])
    assert (changed["id"], changed["binSize"]) == (made["id"], 30)
    house.summaries.remove(made["id"], by=BY)
    assert len(house.summaries.rules()) == len(rules)
    actions = {a["action"] for a in house.access.audit_page(limit=10, before=None, actor="", object_id="")["items"]}
    assert {"summary.save", "summary.switch", "summary.remove"} <= actions


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"binSize": 7}, UsageError),
        ({"binDelay": 2000}, UsageError),
        ({"destinationTable": "SecurityAlert"}, UsageError),
        ({"query": "Hosts_CL | count"}, KqlError),
        ({"query": "print 1"}, UsageError),
        ({"query": "Syslog | summarize by _RuleId = Computer"}, UsageError),
        ({"query": "Syslog | where ("}, KqlError),
    ],
)
def test_what_cannot_be_a_summary_rule(house: House, changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        house.summaries.save({**RULE, **changes}, by=BY)
    with pytest.raises(ForbiddenError):
        house.summaries.save(RULE, by=system("test", "rules.read"))


def test_what_is_shipped_runs_and_is_off(house: House) -> None:
    shipped = [r for r in house.summaries.rules() if r.pack == "core"]
    assert len(shipped) >= 2
    for rule in shipped:
        assert not rule.enabled
        assert rule.description
        run = house.summaries.rerun(rule.id, START - timedelta(days=2), by=BY)
        assert (run["status"], run["rows"]) == ("Rerun", 0)


def test_a_rule_begins_when_it_is_first_switched_on(house: House) -> None:
    made = house.summaries.save({**RULE, "enabled": False}, by=BY)
    _send(house, [5])
    assert house.summaries.listed(by=BY)
    _at(house, 600)
    house.summaries.set_enabled(made["id"], True, by=BY)
    assert house.summaries.get(made["id"], by=BY)["next"] == "2026-03-01T10:00:00+00:00"
    _send(house, [601])
    _at(house, 680)
    house.summaries.run_due()
    assert _sums(house) == {("10:00", "a"): 1}
    house.summaries.set_enabled(made["id"], False, by=BY)
    _at(house, 900)
    house.summaries.set_enabled(made["id"], True, by=BY)
    assert house.summaries.get(made["id"], by=BY)["next"] == "2026-03-01T11:00:00+00:00"

"""Scenarios: data that plays the same each time, and says by name what is wrong with it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tocsin.base.errors import ContentError
from tocsin.content import packs_dir
from tocsin.content.scenario import load_scenario

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
SHIPPED = sorted(packs_dir().glob("*/scenarios/*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_scenarios_play_the_same_twice_and_in_order(path: Path) -> None:
    scenario = load_scenario(path)
    rows = list(scenario.play(START))
    assert rows == list(scenario.play(START))
    assert [r.at for r in rows] == sorted(r.at for r in rows)
    assert any(r.attack for r in rows)
    assert any(not r.attack for r in rows)
    assert max(r.at for r in rows) <= scenario.duration


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    return path


HEAD = "id: a\nname: A\nduration: 1m\nactors: [{id: ann, upn: ann@contoso.example}]\n"


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        ("[{table: SigninLog, row: {}}]", "no table 'SigninLog'.*Did you mean 'SigninLogs'"),
        (
            "[{table: SigninLogs, row: {UserPrincipalNam: x}}]",
            "no column 'UserPrincipalNam'.*Did you mean 'UserPrincipalName'",
        ),
        ("[{table: SigninLogs, actor: bob, row: {}}]", "no actor 'bob'"),
        ("[{table: SigninLogs, at: soon, row: {}}]", "'soon' is no time span"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, steps: str, complaint: str) -> None:
    with pytest.raises(ContentError, match=complaint):
        load_scenario(written(tmp_path, f"{HEAD}steps: {steps}\n"))


def test_not_yaml_names_the_place(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match=r"CNT0010 .*s\.yaml:2"):
        load_scenario(written(tmp_path, "id: a\n  name: [\n"))


def test_marks_are_filled(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        HEAD + "variables: {ip: 203.0.113.9}\nsteps:\n"
        "  - {table: SigninLogs, at: 5s, every: 1s, count: 2, actor: ann, row: {UserPrincipalName: '${actor.upn}', IPAddress: '${ip}', "
        "UserDisplayName: 'no ${n}', ResultType: '${pick:0|0}'}}\n"
        "  - {table: DeviceProcessEvents, at: 9s, row: {ProcessId: '${int:7-7}', SHA1: '${hex:40}'}}\n",
    )
    first, second, process = (r.row for r in load_scenario(path).play(START))
    assert (first["UserPrincipalName"], first["IPAddress"], first["ResultType"]) == (
        "ann@contoso.example",
        "203.0.113.9",
        "0",
    )
    assert (first["UserDisplayName"], second["UserDisplayName"]) == ("no 1", "no 2")
    assert (first["TimeGenerated"], second["TimeGenerated"]) == (
        "2026-03-01T09:00:05.000000Z",
        "2026-03-01T09:00:06.000000Z",
    )
    assert process["ProcessId"] == 7
    assert len(process["SHA1"]) == 40
    assert process["Timestamp"] == process["TimeGenerated"]

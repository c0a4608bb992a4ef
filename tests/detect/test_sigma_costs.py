"""What rules take: who is named, what a cap does, and expressions that would stall a backtracking engine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from tocsin.base.clock import ManualClock
from tocsin.cli.rules import app
from tocsin.detect.sigma.costs import Costs
from tocsin.detect.sigma.matcher import SigmaMatcher
from tocsin.state import State
from tocsin.workspace.costs import WINDOW, RuleCosts

from .support import SYSMON, sigma
from .test_sigma_lines import PATHS

RULE = """\
title: R{0}
id: 0a1b2c3d-0000-4000-8000-00000000000{0}
logsource: {{product: windows, category: process_creation}}
detection: {{s: {{CommandLine|re: '{1}'}}, condition: s}}
"""
RULES = "---\n".join(
    [RULE.format(1, "^(x+x+)+y$"), RULE.format(2, "(a|aa)+[^a]$"), RULE.format(3, "k1+"), RULE.format(4, "z[0-9]{2}")]
)


def line(text: str) -> bytes:
    return orjson.dumps({"Channel": SYSMON, "EventID": 1, "SourceName": "x", "TimeCreated": "2024-05-01T10:00:00Z",
                         "Hostname": "ws1", "CommandLine": text})  # fmt: skip


@pytest.mark.parametrize("native", PATHS)
def test_an_expression_that_backtracks_for_ever_elsewhere_takes_its_turn_here(native: bool) -> None:
    """Python's own engine would not end with these before the sun does; RE2's time grows with the text's length only."""
    matcher = SigmaMatcher(sigma(RULES).rules, native=native)
    lines = [line("x" * 20_000 + str(n)) for n in range(5)] + [line("a" * 20_000 + str(n)) for n in range(5)]
    matcher.match_lines([*lines, line("x" * 50 + "y")])
    assert {a.rule for a in matcher.finish()} == {"R1", "R2"}


def test_expressions_outside_re2_are_refused_by_name() -> None:
    found = sigma(
        "---\n".join(
            [RULE.format(1, "(a+)\\\\1".replace("\\\\", "\\")), RULE.format(2, "(?=a)b"), RULE.format(3, "a{1001}")]
        )
    )
    assert found.rules == ()
    assert [p.code for p in found.problems] == ["DET0007"] * 3


@pytest.mark.parametrize("native", PATHS)
def test_what_a_rule_takes_is_told(native: bool) -> None:
    ticks = iter(range(0, 10**9, 1_000))
    matcher = SigmaMatcher(
        sigma(RULES).rules, live=True, native=native, costs=Costs(every=2, clock=lambda: next(ticks))
    )
    matcher.match_lines([line(f"z12 k1 {n}") for n in range(40)])
    spent = matcher.spent()
    ids = {r.name: r.id for r in matcher.rules}
    # Each second of forty values was measured, a microsecond each by that clock, and counted twice; hits besides.
    assert spent[ids["R3"]] >= 40_000
    assert spent[ids["R4"]] >= 40_000
    assert matcher.spent() == {}


@pytest.mark.parametrize("native", PATHS)
def test_a_dropped_rule_is_silent_and_the_others_are_not(native: bool) -> None:
    matcher = SigmaMatcher(sigma(RULES).rules, live=True, native=native)
    ids = {r.name: r.id for r in matcher.rules}
    matcher.drop({ids["R3"]})
    assert [a.rule for a in matcher.match_lines([line("k1 z12")])] == ["R4"]


def test_a_costly_rule_is_named_and_over_the_cap_switched_off(tmp_path: Path) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    state = State.open(tmp_path / "state.db", clock=clock)
    now, said = [0.0], list[Any]()
    costs = RuleCosts(state, said.append, clock=clock, costly=10, cap=50, monotonic=lambda: now[0])
    matcher = SigmaMatcher(sigma(RULES).rules, live=True)
    ids = {r.name: r.id for r in matcher.rules}
    per_cent = int(WINDOW * 1e7)
    spent = {ids["R1"]: 60 * per_cent, ids["R2"]: 20 * per_cent, ids["R3"]: 5 * per_cent}
    matcher.spent = lambda: spent  # type: ignore[method-assign]
    costs.look(matcher)
    assert said == []  # the window isn't over
    now[0] = WINDOW
    costs.look(matcher)
    assert [(r["SentinelResourceName"], r["Status"]) for r in said] == [("R1", "Failure"), ("R2", "Warning")]
    assert "Disabled for cost" in said[0]["Description"]
    assert costs.capped() == {ids["R1"]}
    assert round(costs.shares[ids["R3"]], 6) == 5
    with state.read() as unit:
        assert "detect.cap_percent" in (unit.rules.get(ids["R1"]).disabled_reason or "")
    spent = {ids["R2"]: 20 * per_cent}
    now[0] += WINDOW
    costs.look(matcher)
    assert len(said) == 2  # named once an hour
    assert {a.rule for a in matcher.match_lines([line("xxy"), line("k1")])} == {"R3"}
    with state.write() as unit:
        unit.rules.enable_again(ids["R1"])
    assert costs.capped() == frozenset()
    state.close()


def test_the_command_lists_the_costliest_first(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    logs = tmp_path / "logs.json"
    logs.write_bytes(b"\n".join(line(f"k1 {n}") for n in range(50)))
    done = CliRunner().invoke(app, ["list", str(tmp_path / "rules.yml"), "--costs", str(logs), "--json"])
    assert done.exit_code == 0, done.output
    rows = orjson.loads(done.stdout)["rules"]
    assert rows[0]["name"] in ("R1", "R3")  # the one that fires, or the one that is tried on every value
    assert rows[0]["cost_ns"] > 0
    assert rows[-1]["cost_ns"] <= rows[0]["cost_ns"]

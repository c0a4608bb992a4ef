"""What the incident commands print: whole lines in a pipe, lines that hang together on a terminal, narrow or wide."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from tocsin.cli import incident_read
from tocsin.cli.output import one_line, say


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch, run: Callable[[], None]) -> list[str]:
    """What is printed on a terminal of forty columns."""
    made = Terminal()
    monkeypatch.setenv("COLUMNS", "40")
    with monkeypatch.context() as context:
        context.setattr("sys.stdout", made)
        run()
    return made.getvalue().splitlines()


def test_a_long_line_goes_on_under_its_text_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "  first    a text that is far too long for forty columns\n  second   short"
    assert on_terminal(monkeypatch, lambda: say(text, hang=11)) == [
        "  first    a text that is far too long",
        "           for forty columns",
        "  second   short",
    ]


def test_a_name_without_spaces_is_broken_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_terminal(monkeypatch, lambda: say("x " + "a-b" * 30, hang=2))
    assert all(len(line) <= 40 for line in lines)
    assert "".join(line.strip() for line in lines).replace("x", "", 1).replace(" ", "") == "a-b" * 30


def test_in_a_pipe_each_stays_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = "a text that is far too long for forty columns, and goes on"
    say(text, hang=4)
    say(one_line(text))
    assert capsys.readouterr().out.splitlines() == [text, text]


NODE = {
    "pid": 7, "started": "2026-03-01T09:00:00.5Z", "ended": "2026-03-01T09:05:00Z", "file": "a.exe", "account": "CORP\\ann", "seen": True,
    "certain": True, "alerts": ["x"], "command": "a.exe\n/quiet", "host": "ws1", "children": [],
}  # fmt: skip
TREES = {"trees": [NODE], "hosts": ["ws1"], "left_out": 0, "hosts_left_out": 0, "truncated": False, "ends_known": True}


def printed(found: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> list[str]:
    incident_read._say_processes(found)
    return capsys.readouterr().out.splitlines()


def test_a_process_has_its_program_before_all_that_may_be_cut(capsys: pytest.CaptureFixture[str]) -> None:
    deep = {
        **NODE,
        "pid": None,
        "file": "",
        "seen": False,
        "certain": False,
        "started": None,
        "ended": None,
        "alerts": [],
        "command": '"C:\\b c\\d.exe" 1',
    }
    (_, first, second) = printed({**TREES, "trees": [{**NODE, "children": [{**deep, "account": ""}]}]}, capsys)
    assert first == "7 a.exe  [1 alert]  2026-03-01 09:00:00 to 09:05:00  CORP\\ann  a.exe /quiet"
    assert second == '└─ ~?- d.exe  start not seen  "C:\\b c\\d.exe" 1'
    assert printed({**TREES, "trees": []}, capsys) == [
        "No row that you may read tells of a process's start near its alerts on ws1."
    ]


def test_a_tree_keeps_its_lines_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_terminal(monkeypatch, lambda: incident_read._say_processes(TREES)) == [
        "ws1",
        "7 a.exe  [1 alert]  2026-03-01 09:00:00…",
    ]


def test_of_what_nothing_is_known_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    found = {
        "starts": [{"label": "ws1"}], "starts_left_out": 0, "things": [], "left_out": 1, "failed": [],
        "unknown": [{"name": "Groups of an account", "why": "no row of IdentityInfo in this time"}],
    }  # fmt: skip
    incident_read._say_reach(found)
    out = capsys.readouterr().out
    assert out.lower().count("nothing is known") == 2, "of what could be reached, and the heading of what wasn't told"
    assert "  Groups of an account: no row of IdentityInfo in this time\n" in out
    assert "1 further thing is left out." in out

"""ATT&CK's techniques as the packs have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.content import full_name, load_packs, packs_dir
from tocsin.detect.alert import TACTICS
from tocsin.detect.load import rules_of_content


def test_what_ships_is_whole() -> None:
    content = load_packs([packs_dir()], only=("attack",))
    assert content.problems == ()
    known = content.attack
    assert {t for each in known.values() for t in each.tactics} <= set(TACTICS)
    # Every sub-technique has its parent, and serves no tactic that the parent doesn't.
    for each in known.values():
        parent = known[each.id.partition(".")[0]]
        assert set(each.tactics) <= set(parent.tactics), each
    assert full_name("T1059.001", known) == "Command and Scripting Interpreter: PowerShell"
    assert full_name("T1059", known) == "Command and Scripting Interpreter"
    assert full_name("T0000", known) == ""


def test_the_techniques_that_our_rules_name_exist() -> None:
    content = load_packs([packs_dir()], only=("attack", "rules"))
    named = {t for rule in rules_of_content(content)[0] for t in rule.techniques}
    assert len(named) > 100
    assert named - set(content.attack) == set()


@pytest.mark.parametrize(
    "text", ["", "id,name\n", "technique,name,tactics\nT1,Short,Impact\n", "technique,name,tactics\nT1003,,Impact\n"]
)
def test_a_broken_file_is_told_and_hides_nothing_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "attack").mkdir()
    (tmp_path / "attack" / "bad.csv").write_text(text)
    (tmp_path / "attack" / "own.csv").write_text("technique,name,tactics\nT9001,Our own,Impact Execution\n")
    content = load_packs([packs_dir(), tmp_path], only=("attack",))
    (problem,) = content.problems
    assert (problem.code, problem.place.source.endswith("bad.csv") if problem.place else False) == ("CNT0024", True)
    assert content.attack["T9001"].tactics == ("Impact", "Execution")
    assert "T1003" in content.attack

"""What is said of the commonest mistakes: a place, a caret and advice; and the page that shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tocsin.kql.mistakes import MISTAKES, Mistake, message, reference

PAGES = Path(__file__).parents[2] / "docs/reference"


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.title)
def test_the_message_names_the_place_and_advises(mistake: Mistake) -> None:
    said = message(mistake)
    first = said.split("\n\n")[0].splitlines()
    place = re.fullmatch(r"error KQL\d{4} at line (\d+), column (\d+): (.+)", first[0])
    assert place is not None, said
    line, column = int(place[1]), int(place[2])
    shown = mistake.query.splitlines()[line - 1]
    assert first[1] == f"{line} | {shown}"
    assert first[2].index("^") == len(f"{line} | ") + column - 1
    assert mistake.must_say in said


def test_there_are_thirty_and_more() -> None:
    assert len({m.title for m in MISTAKES}) == len(MISTAKES) >= 30


def test_the_page_is_what_is_said() -> None:
    assert (PAGES / "kql-errors.md").read_text("utf-8") == reference(), "run `make docs`"

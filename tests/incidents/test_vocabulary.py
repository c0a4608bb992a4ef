"""The three doors' words: each way, and what isn't a word."""

from __future__ import annotations

import pytest

from tocsin.base.errors import UsageError
from tocsin.incidents.life import CLASSIFICATIONS
from tocsin.incidents.vocabulary import change_of, from_words, words


@pytest.mark.parametrize(
    ("vocabulary", "status", "classification", "determination", "said"),
    [
        ("defender", "InProgress", None, None, ("In progress", "", "")),
        ("sentinel", "InProgress", None, None, ("Active", "", "")),
        ("api", "New", None, None, ("active", "unknown", "unknown")),
        ("sentinel", "Resolved", None, None, ("Closed", "Undetermined", "")),
        ("sentinel", "Resolved", "TruePositive", "Phishing", ("Closed", "TruePositive", "SuspiciousActivity")),
        ("sentinel", "Resolved", "FalsePositive", "Clean", ("Closed", "FalsePositive", "IncorrectAlertLogic")),
        ("sentinel", "Resolved", "FalsePositive", "NoEnoughDataToValidate", ("Closed", "FalsePositive", "InaccurateData")),
        ("api", "Resolved", "FalsePositive", "Clean", ("resolved", "falsePositive", "notMalicious")),
    ],
)  # fmt: skip
def test_what_each_door_says(
    vocabulary: str, status: str, classification: str | None, determination: str | None, said: tuple[str, str, str]
) -> None:
    made = words(vocabulary, status=status, classification=classification, determination=determination)  # type: ignore[arg-type]
    assert tuple(made.values()) == said


def test_what_the_api_says_comes_back_as_it_was() -> None:
    for classification, determinations in CLASSIFICATIONS.items():
        for determination in determinations:
            for status in ("New", "InProgress", "Resolved"):
                ours = {"status": status, "classification": classification, "determination": determination}
                assert from_words("api", words("api", **ours)) == ours


def test_sentinel_s_words_come_in() -> None:
    given = {
        "status": "closed",
        "classification": "BenignPositive",
        "determination": "SuspiciousButExpected",
        "owner": "anna",
    }
    assert from_words("sentinel", given) == {
        "status": "Resolved", "classification": "InformationalExpectedActivity", "determination": None, "owner": "anna",
    }  # fmt: skip
    assert from_words("sentinel", {"classification": "Undetermined"}) == {"classification": None}
    assert from_words("sentinel", {"status": "Active"}) == {"status": "InProgress"}
    assert from_words("api", {"status": "Active"}) == {"status": "New"}
    assert from_words("defender", {"status": "In progress"}) == {"status": "InProgress"}


@pytest.mark.parametrize(
    ("vocabulary", "given", "hint"),
    [
        ("sentinel", {"status": "Activ"}, "Did you mean 'Active'?"),
        ("sentinel", {"status": "Redirected"}, "One of"),
        ("api", {"determination": "malwar"}, "malware"),
        ("api", {"status": "progress"}, "Did you mean 'inProgress'?"),
        ("api", {"determination": "apt"}, "One of multiStagedAttack, maliciousUserActivity"),
        ("sentinel", {"classification": "Undetermined", "determination": "SuspiciousActivity"}, "Give none with it."),
        (
            "sentinel",
            {"classification": "TruePositive", "determination": "InaccurateData"},
            "One of SuspiciousActivity.",
        ),
        ("azure", {}, ""),
    ],
)
def test_what_is_no_word_is_said_with_the_nearest(vocabulary: str, given: dict[str, str], hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_words(vocabulary, given)
    assert caught.value.code == "INC0002"
    assert hint in (caught.value.hint or "")


def test_a_change_in_fewer_words_leaves_what_they_say_already() -> None:
    phishing = {"status": "Resolved", "classification": "TruePositive", "determination": "Phishing"}
    closed = {"status": "Closed", "classification": "TruePositive", "determination": "SuspiciousActivity"}
    assert change_of(phishing, "sentinel", closed) == {}
    assert change_of(phishing, "sentinel", {**closed, "status": "Active", "comment": "x"}) == {
        "status": "InProgress",
        "comment": "x",
    }
    assert change_of({**phishing, "classification": "FalsePositive", "determination": "Clean"}, "sentinel", closed) == {
        "classification": "TruePositive",
        "determination": None,
    }

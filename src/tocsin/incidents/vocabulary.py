"""The words of the three doors to an incident: Defender's portal (ours), Sentinel, and the security API.

An incident keeps Defender's words. Sentinel's table and rules say New, Active, Closed and close with a reason of their own; the API (Graph's
`security` namespace) says active where the portal says New. Facts: `SecurityIncident`'s reference page, Graph's `incident` resource, Defender's
incident API.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal

from tocsin.base.errors import UsageError, did_you_mean

__all__ = ["VOCABULARIES", "change_of", "from_words", "words", "words_of"]

VOCABULARIES = ("defender", "sentinel", "api")

_DOOR: Mapping[str, str] = {"defender": "Defender's", "sentinel": "Sentinel's", "api": "the API's"}

_STATUS: Mapping[str, Mapping[str, str]] = {
    "defender": {"New": "New", "InProgress": "In progress", "Resolved": "Resolved", "Redirected": "Redirected"},
    "sentinel": {"New": "New", "InProgress": "Active", "Resolved": "Closed", "Redirected": "Closed"},
    "api": {"New": "active", "InProgress": "inProgress", "Resolved": "resolved", "Redirected": "redirected"},
}

_CLOSING: Mapping[tuple[str, str], tuple[str, str]] = {
    ("TruePositive", ""): ("TruePositive", "SuspiciousActivity"),
    ("InformationalExpectedActivity", ""): ("BenignPositive", "SuspiciousButExpected"),
    ("FalsePositive", ""): ("FalsePositive", "IncorrectAlertLogic"),
    ("FalsePositive", "NoEnoughDataToValidate"): ("FalsePositive", "InaccurateData"),
}
"""Classification and determination → Sentinel's classification and reason; "" stands for every other determination."""

_API_DETERMINATION: Mapping[str, str] = {
    "MultiStagedAttack": "multiStagedAttack",
    "MaliciousUserActivity": "maliciousUserActivity",
    "CompromisedAccount": "compromisedAccount",
    "Malware": "malware",
    "Phishing": "phishing",
    "UnwantedSoftware": "unwantedSoftware",
    "SecurityTesting": "securityTesting",
    "LineOfBusinessApplication": "lineOfBusinessApplication",
    "ConfirmedActivity": "confirmedUserActivity",
    "Clean": "notMalicious",
    "NoEnoughDataToValidate": "notEnoughDataToValidate",
    "Other": "other",
}


def words(
    vocabulary: Literal["defender", "sentinel", "api"],
    *,
    status: str,
    classification: str | None,
    determination: str | None,
) -> dict[str, str]:
    """Status, classification and determination in that door's words; "" where nothing was decided.

    Sentinel's determination is its closing reason. A closed incident without classification is Undetermined there.
    """
    classification, determination = classification or "", determination or ""
    said = {"status": _STATUS[vocabulary][status], "classification": classification, "determination": determination}
    if vocabulary == "sentinel":
        kind, reason = _CLOSING.get((classification, determination)) or _CLOSING.get((classification, ""), ("", ""))
        if not kind and status == "Resolved":
            kind = "Undetermined"
        said.update(classification=kind, determination=reason)
    elif vocabulary == "api":
        said["classification"] = classification[:1].lower() + classification[1:] if classification else "unknown"
        said["determination"] = _API_DETERMINATION.get(determination, "unknown")
    return said


def words_of(incident: Mapping[str, Any], vocabulary: Literal["defender", "sentinel", "api"]) -> dict[str, str]:
    """The same of an incident in the API's shape."""
    decided = {n: incident[n] for n in ("status", "classification", "determination")}
    return words(vocabulary, **decided)


def change_of(incident: Mapping[str, Any], vocabulary: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """`from_words` for an incident in the API's shape: what is said of it already stays as it is, however little of it that door has a word for
    (Sentinel says SuspiciousActivity of phishing and of malware)."""
    made = from_words(vocabulary, given)
    said = {n: v.casefold() for n, v in words_of(incident, vocabulary).items()}  # type: ignore[arg-type]
    same = [n for n in said if isinstance(given.get(n), str) and given[n].casefold() == said[n]]
    if "determination" in same and "classification" in given and "classification" not in same:
        same.remove("determination")
    return {n: v for n, v in made.items() if n not in same}


def from_words(vocabulary: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A change in that door's words (status, classification, determination) as one in ours; other members stay.

    Case doesn't count. UsageError INC0002 with the nearest word for one that the vocabulary doesn't have.
    """
    if vocabulary not in VOCABULARIES:
        raise UsageError(
            f"There is no vocabulary {vocabulary!r}.", code="INC0002", hint=did_you_mean(vocabulary, VOCABULARIES)
        )
    made = dict(given)
    if isinstance(made.get("status"), str):
        known = {v: k for k, v in _STATUS[vocabulary].items() if k != "Redirected"}
        known |= {"InProgress": "InProgress"} if vocabulary == "defender" else {}
        made["status"] = _one(made["status"], known, "status", vocabulary)
    if vocabulary == "sentinel" and isinstance(made.get("classification"), str):
        made.update(_opened(made))
    elif vocabulary == "api":
        if isinstance(made.get("classification"), str):
            kinds = {c[:1].lower() + c[1:]: c for c, d in _CLOSING if not d}
            made["classification"] = _one(made["classification"], {**kinds, "unknown": None}, "classification", "api")
        if isinstance(made.get("determination"), str):
            known_kinds = {v: k for k, v in _API_DETERMINATION.items()}
            made["determination"] = _one(
                made["determination"], {**known_kinds, "unknown": None}, "determination", "api"
            )
    return made


def _opened(given: Mapping[str, Any]) -> dict[str, Any]:
    """Sentinel's classification and reason as ours."""
    kinds: dict[str, str | None] = {kind: ours for (ours, d), (kind, _) in _CLOSING.items() if not d}
    ours = _one(given["classification"], {**kinds, "Undetermined": None}, "classification", "sentinel")
    reason = given.get("determination")
    if not isinstance(reason, str):
        return {"classification": ours}
    reasons = {r: d or None for (c, d), (_, r) in _CLOSING.items() if c == ours}
    what = f"reason for {given['classification']}"
    return {"classification": ours, "determination": _one(reason, reasons, what, "sentinel")}


def _one(given: str, known: Mapping[str, Any], what: str, vocabulary: str) -> Any:
    """What a word means, whatever its case; `known` has the words as that door writes them."""
    written = {word.casefold(): word for word in known}
    if given.casefold() not in written:
        near = next((written[w] for w in get_close_matches(given.casefold(), written, 1)), "")
        every = f"One of {', '.join(known)}." if known else "Give none with it."
        raise UsageError(
            f"{given!r} is no {what} in {_DOOR[vocabulary]} words.",
            code="INC0002",
            hint=f"Did you mean '{near}'?" if near else every,
        )
    return known[written[given.casefold()]]

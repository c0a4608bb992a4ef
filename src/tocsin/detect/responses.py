"""What a detection asks to be done about the rows that it finds: Defender's response actions.

A detection never does them. Each becomes a proposal in the action centre that somebody has to approve (`tocsin.respond.automation.detections`). Both
shapes of Graph are read: `responseActions`, a list of typed actions whose `identifier` names columns in camel case
(learn.microsoft.com/graph/api/resources/security-responseaction), and `automatedActions`, lists by name whose members name columns by
`…Column`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tocsin.base.errors import did_you_mean
from tocsin.detect.columns import COLUMNS

__all__ = ["RESPONSES", "Response", "ResponseType", "responses_of"]


@dataclass(frozen=True, slots=True)
class ResponseType:
    """A response by Microsoft's name: what a person reads (``Isolate {0}``), the columns that name what it acts on, and the one taken without any."""

    reads: str
    columns: tuple[str, ...]
    default: tuple[str, ...] = ()


_TARGETS = COLUMNS["targets"]
RESPONSES: Mapping[str, ResponseType] = {
    name: ResponseType(each["reads"], tuple(c for on in each["on"] for c in _TARGETS[on]), tuple(each["default"]))
    for name, each in COLUMNS["responses"].items()
}
"""By Microsoft's name without ``ResponseAction``."""

_SUFFIX = "ResponseAction"
_PLURALS = {
    **{f"{n}s": n for n in RESPONSES},
    "restrictAppExecutions": "restrictAppExecution",
    "markUsersAsCompromised": "markUserAsCompromised",
    "forceUserPasswordResets": "forceUserPasswordReset",
    "stopAndQuarantineFiles": "stopAndQuarantineFile",
    "hardDeletes": "hardDelete",
    "moveToJunks": "moveToJunk",
}
_OTHER_NAMES = {"markUserAsCompromisedResponse": "markUserAsCompromised"}
_ABBREVIATIONS = {"sha1": "SHA1", "sha256": "SHA256", "upn": "Upn", "sid": "Sid"}


@dataclass(frozen=True, slots=True)
class Response:
    """A response to every row that the rule finds: `columns` hold what it acts on; `options` go along as they are written."""

    action: str
    columns: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)


def responses_of(action: Mapping[str, Any]) -> tuple[list[Response], list[str]]:
    """What a `detectionAction` asks for, and a complaint for each part that isn't understood."""
    found: list[Response] = []
    problems: list[str] = []
    for name, given in _listed(action):
        kind = RESPONSES.get(name)
        if kind is None:
            hint = did_you_mean(name, RESPONSES)
            problems.append(f"The response '{name}' isn't known.{f' {hint}' if hint else ''}")
            continue
        columns = tuple(dict.fromkeys(_columns(given))) or kind.default
        wrong = next((c for c in columns if c not in kind.columns), None)
        if wrong is not None:
            problems.append(
                f"The response '{name}' acts on {', '.join(kind.columns)}, not on '{wrong}'. {did_you_mean(wrong, kind.columns)}".strip()
            )
            continue
        found.append(Response(name, columns, dict(_options(given))))
    return found, problems


def _listed(action: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    listed = action.get("responseActions")
    for given in listed if isinstance(listed, list) else ():
        if isinstance(given, Mapping):
            kind = str(given.get("@odata.type") or "").rpartition(".")[2].removesuffix(_SUFFIX)
            yield _OTHER_NAMES.get(kind, kind) or "without a type", given
    automated = action.get("automatedActions")
    for name, several in (automated if isinstance(automated, Mapping) else {}).items():
        if str(name).startswith("@") or not several:
            continue
        for given in several if isinstance(several, list) else [several]:
            yield _PLURALS.get(str(name), str(name)), given if isinstance(given, Mapping) else {}


def _columns(given: Mapping[str, Any]) -> Iterator[str]:
    """The columns that a response names; Graph writes ``deviceId`` for DeviceId, several with commas between."""
    identifiers = given.get("identifier")
    texts = identifiers if isinstance(identifiers, list) else str(identifiers or "").split(",")
    for text in (str(t).strip() for t in texts):
        if text:
            yield _cased(text)
    for key, value in given.items():
        if str(key).endswith("Column") and isinstance(value, str) and value:
            yield value


def _cased(text: str) -> str:
    known = {c.lower(): c for kind in RESPONSES.values() for c in kind.columns}
    return known.get(text.lower()) or _ABBREVIATIONS.get(text.lower()) or text[:1].upper() + text[1:]


def _options(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in given.items():
        if not str(key).startswith("@") and key != "identifier" and not str(key).endswith("Column") and value:
            yield str(key), ", ".join(map(str, value)) if isinstance(value, list) else str(value)

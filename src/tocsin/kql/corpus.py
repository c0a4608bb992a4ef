"""Files of queries with or without expected results, one JSON object a line, and what became of each query.

A case for `tested` is ``{id, query, columns, types?, rows, flags}``; for `accepted` ``{id, query}`` is enough. Both take the door to an
engine as a function, so this module needs none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from tocsin.base.errors import KqlError, TocsinError, UsageError
from tocsin.kql.compare import compare_result

__all__ = ["Outcome", "Run", "accepted", "kind_of", "read_cases", "summary", "tested"]

Run = Callable[[str], tuple[Sequence[str], Sequence[Sequence[object]]]]
"""Runs a query: names of the columns, and rows of JSON-able values. Raises TocsinError."""

_KINDS: Final = {
    "KQL0102": "unknown table",
    "KQL0103": "unknown function",
    "KQL0110": "limit",
    "KQL0201": "not supported",
    "KQL0202": "policy",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a query. `failed`: it ran and gave something else, or broke; `refused`: it was not run.

    `kind` of a refusal: author's error, unknown table, unknown function, policy, not supported, limit. `place` is ``line:column``.
    """

    id: str
    status: Literal["passed", "failed", "refused"]
    kind: str = ""
    code: str = ""
    reason: str = ""
    place: str = ""

    def as_json(self) -> dict[str, str]:
        """The parts that say something."""
        parts = {"id": self.id, "kind": self.kind, "code": self.code, "reason": self.reason, "place": self.place}
        return {name: value for name, value in parts.items() if value}


def read_cases(lines: Iterable[str], source: str, *, rows: bool) -> Iterator[Mapping[str, Any]]:
    """The cases of a file. `rows`: they must have expected rows.

    Raises UsageError USE0007 for a line that is no case.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            case = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{source}:{number}: this line is no JSON: {error}", code="USE0007") from None
        missing = [key for key in ("id", "query", *(("columns", "rows") if rows else ())) if key not in case]
        if not isinstance(case, dict) or missing:
            raise UsageError(f"{source}:{number}: a case needs {', '.join(missing)}", code="USE0007")
        yield case


def kind_of(error: TocsinError) -> str:
    """Why a query was refused, as one of a few words. By code, never by text."""
    if isinstance(error, KqlError) or error.code.startswith("KQL"):
        return _KINDS.get(error.code, "author's error")
    return "limit" if error.code in ("QRY0001", "QRY0002", "QRY0004", "QRY0008") else "defect"


def tested(case: Mapping[str, Any], run: Run) -> Outcome | None:
    """The outcome of a case with expected rows; None for one that is flagged ``nondeterministic``."""
    if "nondeterministic" in case.get("flags", ()):
        return None
    name = str(case["id"])
    try:
        columns, rows = run(case["query"])
    except TocsinError as error:
        return _refused(name, error)
    verdict = compare_result(case, columns, rows)
    if verdict == "exact":
        return Outcome(name, "passed")
    reason = f"columns {list(columns)}, expected {case['columns']}" if verdict == "columns" else "other values"
    return Outcome(name, "failed", verdict, reason=reason)


def accepted(case: Mapping[str, Any], run: Run) -> Outcome:
    """The outcome of a query that only has to run."""
    name = str(case["id"])
    try:
        run(case["query"])
    except TocsinError as error:
        return _refused(name, error)
    return Outcome(name, "passed")


def _refused(name: str, error: TocsinError) -> Outcome:
    kind = kind_of(error)
    status: Literal["failed", "refused"] = "failed" if kind == "defect" else "refused"
    reason = error.message + (f" {error.hint}" if error.hint else "")
    return Outcome(name, status, kind, error.code, reason, str(error.place) if error.place else "")


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The result as `--json` prints it: counts, the ids that failed, and the refusals with their reasons."""
    return {
        "passed": sum(o.status == "passed" for o in outcomes),
        "total": len(outcomes),
        "failed": [o.id for o in outcomes if o.status == "failed"],
        "refused": [o.as_json() for o in outcomes if o.status == "refused"],
    }

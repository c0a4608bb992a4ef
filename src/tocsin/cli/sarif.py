"""Findings in query texts and rule files as SARIF 2.1.0 (docs.oasis-open.org/sarif/sarif/v2.1.0), which code scanning services read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from tocsin.base.errors import TocsinError
    from tocsin.kql.diagnostics import Diagnostic

__all__ = ["problems_log", "sarif_log"]

_LEVELS = {"error": "error", "warning": "warning", "info": "note"}


def sarif_log(found: Iterable[tuple[str, str, Diagnostic]]) -> dict[str, Any]:
    """The log of one run. `found` are path, text of the file, finding."""
    results: list[dict[str, Any]] = []
    codes: dict[str, str] = {}
    for path, text, finding in found:
        codes.setdefault(finding.code, finding.message)
        results.append(
            {
                "ruleId": finding.code,
                "level": _LEVELS[finding.severity],
                "message": {"text": f"{finding.message} {finding.hint}".strip()},
                "locations": [
                    {
                        "physicalLocation": {
                            "artifactLocation": {"uri": _uri(path)},
                            "region": _region(text, finding),
                        }
                    }
                ],
            }
        )
    return _log("tocsin kql check", codes, results)


def problems_log(problems: Iterable[TocsinError]) -> dict[str, Any]:
    """The log of what is wrong with rule files."""
    from tocsin.content import is_warning

    results: list[dict[str, Any]] = []
    codes: dict[str, str] = {}
    for problem in problems:
        codes.setdefault(problem.code, problem.message)
        result: dict[str, Any] = {
            "ruleId": problem.code,
            "level": "warning" if is_warning(problem) else "error",
            "message": {"text": f"{problem.message} {problem.hint or ''}".strip()},
        }
        place = problem.place
        if place is not None and place.source:
            physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(str(place.source))}}
            if place.line:
                physical["region"] = {"startLine": place.line}
            result["locations"] = [{"physicalLocation": physical}]
        results.append(result)
    return _log("tocsin rules validate", codes, results)


def _log(name: str, codes: dict[str, str], results: list[dict[str, Any]]) -> dict[str, Any]:
    from tocsin import __version__

    driver = {
        "name": name,
        "version": __version__,
        "rules": [{"id": code, "shortDescription": {"text": codes[code]}} for code in sorted(codes)],
    }
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }


def _region(text: str, finding: Diagnostic) -> dict[str, int]:
    from tocsin.kql.diagnostics import line_and_column

    line, column = line_and_column(text, finding.span[1])
    region = {"startLine": finding.line, "startColumn": finding.column, "endLine": line, "endColumn": column}
    if (line, column) <= (finding.line, finding.column):
        region["endLine"], region["endColumn"] = finding.line, finding.column + 1
    return region


def _uri(path: str) -> str:
    """Relative to the working folder where that is possible: services match it with files of the repository."""
    if path == "-":
        return "stdin"
    full = Path(path)
    if full.is_absolute():
        try:
            full = full.relative_to(Path.cwd())
        except ValueError:
            return full.as_uri()
    return quote(str(PurePosixPath(*full.parts)))

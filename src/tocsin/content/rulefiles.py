"""Files of rules, by their format, and of rules' cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tocsin.base.errors import ContentError, Place
from tocsin.content import published, schemas
from tocsin.content.filetext import read_text
from tocsin.content.known import KnownFile, KnownFiles
from tocsin.content.model import LateDocuments, RuleFile, TestCase, TestFile
from tocsin.content.schema import check, is_warning
from tocsin.content.yamltext import parse_one, parse_yaml

__all__ = ["load_rule_file", "load_test_file", "rule_format"]


def load_rule_file(
    path: Path, pack: str = "", known: KnownFiles | None = None
) -> tuple[RuleFile | None, list[ContentError]]:
    """One file of rules and the complaints about it; no rule for a moved stub or where it isn't a rule.

    Files of Sigma rules that are `known` aren't parsed; others become known.
    """
    try:
        text = read_text(path)
        if known is not None and (before := known.get(text)) is not None:
            return RuleFile(path, pack, "sigma", LateDocuments(text, str(path)), text, before), []
        documents = tuple(d for d in parse_yaml(text, str(path)) if d.value is not None)
    except ContentError as error:
        return None, [error]
    if not documents:
        return None, [ContentError("The file is empty.", code="CNT0003", place=Place(str(path), 1, 1))]
    kind = rule_format(documents[0].value)
    if kind in (None, "sentinel") and schemas.is_moved(documents[0].value):
        return None, []
    if kind is None:
        return None, [
            documents[0].error(
                "This isn't a rule.",
                code="CNT0010",
                hint="A Sentinel rule has 'query', a Sigma rule 'detection', a Defender detection 'queryCondition'.",
            )
        ]
    if kind != "sigma" and len(documents) > 1:
        return None, [documents[1].error("A rule file of this format holds one document.", code="CNT0003")]
    rule = RuleFile(path, pack, kind, documents, text)
    if known is not None and kind == "sigma":
        known.put(text, KnownFile(rule.id, rule.joins))
    return rule, []


def rule_format(value: Any) -> str | None:
    """``sentinel``, ``sigma``, ``defender`` or ``function`` (a published parser among rules) by the keys of a document, or None."""
    if not isinstance(value, dict):
        return None
    if any(k in value for k in ("detection", "correlation", "filter", "tocsin")) or value.get("action") == "global":
        return "sigma"
    listed = value.get("value")
    if "queryCondition" in value or (
        isinstance(listed, list) and any(isinstance(v, dict) and "queryCondition" in v for v in listed)
    ):
        return "defender"
    properties = value.get("properties")
    if isinstance(properties, dict) and "queryCondition" in properties:
        return "defender"
    if isinstance(listed, list) and any(isinstance(v, dict) and isinstance(v.get("properties"), dict) for v in listed):
        return "sentinel"
    if published.is_function(value):
        return "function"
    if "query" in value or "kind" in value or "resources" in value:
        return "sentinel"
    return "sentinel" if isinstance(properties, dict) and "query" in properties else None


def load_test_file(path: Path) -> tuple[TestFile | None, list[ContentError]]:
    """The cases of one file and the complaints about it."""
    try:
        document = parse_one(read_text(path), str(path))
    except ContentError as error:
        return None, [error]
    problems = check(document, schemas.TESTS)
    if any(not is_warning(p) for p in problems):
        return None, problems
    cases = []
    for index, raw in enumerate(document.value["cases"]):
        rows = {str(t): tuple(r) for t, r in (raw.get("rows") or {}).items()}
        cases.append(
            TestCase(
                name=document.raw(("cases", index, "name")) or str(raw["name"]),
                fires=raw["fires"],
                rows=rows,
                alerts=raw.get("alerts"),
                now=str(raw.get("now") or ""),
                entities=tuple(raw.get("entities") or ()),
                watchlists={str(a): tuple(r) for a, r in (raw.get("watchlists") or {}).items()},
                path=path,
                line=document.place(("cases", index)).line or 0,
            )
        )
    return TestFile(path, tuple(cases)), problems

"""The reference of statements and operators: ``python -m tocsin.kql.operator_reference > docs/reference/kql-operators.md``."""

from __future__ import annotations

import sys

from tocsin.kql.binder.operators.plugins import REFUSED
from tocsin.kql.operator_docs import OPERATOR_DOCS, SETTING_DOCS, STATEMENT_DOCS, OperatorDoc
from tocsin.kql.parser import OPERATORS
from tocsin.kql.plugin_docs import PLUGIN_DOCS

__all__ = ["reference"]

_HEAD = """# KQL operators, statements and plugins

Written from the parser's table of operators (`src/tocsin/kql/parser`, `src/tocsin/kql/operator_docs.py`,
`src/tocsin/kql/plugin_docs.py`) by `make docs` or
`python -m tocsin.kql.operator_reference`. Brackets mark what may be left out, `…` what may be repeated. Names are case-sensitive.
`hint.*` settings are read by every operator and change nothing but how the engine works.
"""


def reference() -> str:
    """The page."""
    lines = [_HEAD, "## Statements", ""]
    for word, doc in STATEMENT_DOCS.items():
        lines += _entry(word, doc)
    lines += ["## Operators", ""]
    for keyword in sorted(OPERATOR_DOCS):
        if not keyword.startswith("__"):
            lines += _entry(keyword, OPERATOR_DOCS[keyword])
            lines += _settings(keyword)
    lines += ["## Plugins of evaluate", ""]
    for name in sorted(PLUGIN_DOCS):
        lines += _entry(name, PLUGIN_DOCS[name])
    lines += ["These are refused, whatever the engine can do:", ""]
    reasons: dict[str, list[str]] = {}
    for name, reason in REFUSED.items():
        reasons.setdefault(reason, []).append(name)
    lines += [f"- {', '.join(f'`{n}`' for n in names)}: {reason}." for reason, names in reasons.items()]
    return "\n".join(lines).rstrip() + "\n"


def _entry(word: str, doc: OperatorDoc) -> list[str]:
    lines = [f"### {word}", "", "```", doc.syntax, "```", "", doc.doc, ""]
    return [*lines, "```kusto", doc.example, "```", ""] if doc.example else lines


def _settings(keyword: str) -> list[str]:
    info = OPERATORS[keyword]
    rows = [
        f"- `{name}`{': ' + ', '.join(f'`{v}`' for v in values) if values else ''}. {SETTING_DOCS.get(name, '')}".rstrip()
        for name, values in info.settings.items()
        if name in SETTING_DOCS
    ]
    return [*rows, ""] if rows else []


if __name__ == "__main__":
    sys.stdout.write(reference())

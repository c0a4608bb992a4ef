"""The reference of functions, generated from their table: ``python -m tocsin.kql.functions.docs > docs/reference/kql-functions.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from tocsin.kql.functions import registry
from tocsin.kql.functions.model import Aggregate, Example, Param, ScalarFunction
from tocsin.kql.functions.specials import SpecialFunction, all_specials

__all__ = ["reference", "signature"]

_HEAD = """# KQL functions

Written from the table of functions (`src/tocsin/kql/functions`) by `make docs` or `python -m tocsin.kql.functions.docs`; every example is run by
the tests. What is not here is refused by name.

Names are case-sensitive. `?` marks an argument that may be left out, `…` one that may be repeated, `!` one that must be a constant. An
argument of another type is converted where the language does so by itself. What can't be converted or computed is null, never an error;
a string is never null, so there it is the empty string.
"""


def signature(function: ScalarFunction | Aggregate) -> str:
    """The call as it is written: ``substring(source: string, start: long, length: long?)``."""
    return f"{function.name}({', '.join(_param(p) for p in function.params)})"


def _param(param: Param) -> str:
    kinds = "|".join(dict.fromkeys(_types(param))) or "any"
    marks = ("?" if param.optional else "") + ("…" if param.repeated else "") + ("!" if param.constant else "")
    return f"{param.name}: {kinds}{marks}"


def _types(param: Param) -> Iterable[str]:
    names = [str(t) for t in param.types]
    if {"int", "long", "real", "decimal"} <= set(names):
        yield "number"
        names = [n for n in names if n not in ("int", "long", "real", "decimal")]
    yield from names


def _examples(examples: Iterable[Example]) -> list[str]:
    lines = []
    for example in examples:
        result = example.result or "null, or the empty string"
        lines.append(f"{example.kql}   // {result}")
    return ["```kusto", *lines, "```", ""] if lines else []


def _entry(function: ScalarFunction | Aggregate) -> list[str]:
    returns = f" → {function.returns}" if isinstance(function, ScalarFunction) and function.returns else ""
    lines = [f"### {function.name}", "", f"`{signature(function)}{returns}`", "", function.doc, ""]
    if function.aliases:
        lines += [f"Also written {', '.join(f'`{a}`' for a in function.aliases)}.", ""]
    if function.refused:
        lines += [f"**Refused:** {function.refused}.", ""]
    return [*lines, *_examples(function.examples)]


def _special_entry(function: SpecialFunction) -> list[str]:
    returns = f" → {function.returns}" if function.returns else ""
    lines = [f"### {function.name}", "", f"`{function.signature}{returns}`", "", function.doc, ""]
    if function.aliases:
        lines += [f"Also written {', '.join(f'`{a}`' for a in function.aliases)}.", ""]
    return [*lines, "```kusto", function.example, "```", ""]


def reference() -> str:
    """The whole page."""
    groups: dict[str, list[ScalarFunction | SpecialFunction]] = {}
    for function in registry.all_scalars():
        groups.setdefault(function.group, []).append(function)
    for special in all_specials():
        groups.setdefault(special.group, []).append(special)
    lines = [_HEAD]
    names = [*sorted(groups), "Aggregates"]
    lines += [", ".join(f"[{n}](#{_anchor(n)})" for n in names), ""]
    for group in sorted(groups):
        lines += [f"## {group}", ""]
        for entry in sorted(groups[group], key=lambda f: f.name):
            lines += _special_entry(entry) if isinstance(entry, SpecialFunction) else _entry(entry)
    lines += ["## Aggregates", "", "The examples run over the rows 1 to 4 of a column `x`.", ""]
    for aggregate in sorted(registry.all_aggregates(), key=lambda f: f.name):
        lines += _entry(aggregate)
    return "\n".join(lines).rstrip() + "\n"


def _anchor(title: str) -> str:
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c in "-_")


if __name__ == "__main__":
    sys.stdout.write(reference())

"""pySigma's parse tree to a tree of checks.

What isn't supported is refused by name (`DetectError` DET0007): there is no silent approximation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.types import (
    Placeholder,
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaString,
    SigmaTimestampPart,
    SpecialChars,
)

from tocsin.base.errors import DetectError
from tocsin.detect.sigma.checks import (
    Check,
    Cidr,
    Compare,
    Exists,
    Glob,
    Null,
    Reference,
    Regex,
    Text,
    TimePart,
)
from tocsin.detect.sigma.tree import KEYWORD, All, Leaf, Node, Not, Placeholders, Some, joined

__all__ = ["build"]

MOST_VALUES = 100_000
"""Texts that the placeholders of one value may give."""


def build(parsed: Any, placeholders: Placeholders | None = None) -> Node:
    """The tree of a parsed condition. `placeholders` gives the values of ``%name%`` (watchlists).

    Raises DetectError DET0007 for what isn't supported, DET0008 for a placeholder without values.
    """
    known = placeholders or {}
    if parsed is None:
        raise DetectError("The condition names no detection.", code="DET0007")
    if isinstance(parsed, ConditionAND):
        return joined(All, [build(a, known) for a in parsed.args])
    if isinstance(parsed, ConditionOR):
        return joined(Some, [build(a, known) for a in parsed.args])
    if isinstance(parsed, ConditionNOT):
        return Not(build(parsed.args[0], known))
    if isinstance(parsed, ConditionFieldEqualsValueExpression):
        return _value(parsed.field, parsed.value, known)
    if isinstance(parsed, ConditionValueExpression):
        return _value(KEYWORD, parsed.value, known)
    raise DetectError(f"The condition element '{type(parsed).__name__}' isn't supported.", code="DET0007")


def _value(field: str, value: Any, placeholders: Placeholders) -> Node:
    if isinstance(value, SigmaExpansion):
        return joined(Some, [_value(field, v, placeholders) for v in value.values])
    if isinstance(value, SigmaString):
        if value.contains_placeholder():
            texts = [_string(value, parts) for parts in _expanded(value, placeholders)]
            return joined(Some, [Leaf(field, _text(t, keyword=field == KEYWORD)) for t in texts])
        return Leaf(field, _text(value, keyword=field == KEYWORD))
    check: Check
    match value:
        case SigmaTimestampPart():
            check = TimePart(value.timestamp_part.name.lower(), int(value.number))
        case SigmaNumber():
            check = Text("in" if field == KEYWORD else "eq", str(value.number))
        case SigmaBool():
            check = Text("eq", "true" if value.boolean else "false")
        case SigmaNull():
            check = Null()
        case SigmaExists():
            check = Exists(value.exists)
        case SigmaRegularExpression() if value.contains_placeholder():
            quoted = {k: [re.escape(v) for v in values] for k, values in placeholders.items()}
            patterns = ["".join(map(str, parts)) for parts in _expanded(value.regexp, quoted)]
            return joined(Some, [Leaf(field, _regex(value, p)) for p in patterns])
        case SigmaRegularExpression():
            check = _regex(value, str(value.regexp))
        case SigmaCIDRExpression():
            check = Cidr(str(value.network))
        case SigmaCompareExpression():
            check = Compare(value.op.name.lower(), float(value.number.number))
        case SigmaFieldReference():
            check = Reference(value.field, value.starts_with, value.ends_with)
        case _:
            raise DetectError(f"Values of kind '{type(value).__name__}' aren't supported.", code="DET0007")
    return Leaf(field, check)


def _expanded(value: SigmaString, placeholders: Placeholders) -> list[list[Any]]:
    """The text's parts with each placeholder's values put in; where there are several placeholders, all combinations.

    pySigma's own way ends at 200 values, which a watchlist may well have.
    """
    known = {name.lower(): values for name, values in placeholders.items()}
    found: list[list[Any]] = [[]]
    for part in value.s:
        values: Sequence[Any] = (part,)
        if isinstance(part, Placeholder):
            given = known.get(part.name.lower())
            if given is None:
                raise DetectError(
                    f"The placeholder '%{part.name}%' has no values.",
                    code="DET0008",
                    hint=f"Make a watchlist '{part.name}' with one value a row.",
                )
            values = given
        if len(found) * len(values) > MOST_VALUES:
            raise DetectError(
                f"The placeholders of one value give more than {MOST_VALUES:,} texts.",
                code="DET0007",
                hint="Use smaller watchlists.",
            )
        found = [[*parts, v] for parts in found for v in values]
    return found


def _string(like: SigmaString, parts: Sequence[Any]) -> SigmaString:
    made = SigmaCasedString() if isinstance(like, SigmaCasedString) else SigmaString()
    made.s = list(parts)
    return made


def _text(value: SigmaString, *, keyword: bool) -> Check:
    """The cheapest check that means the same as a text with wildcards."""
    cased = isinstance(value, SigmaCasedString)
    parts: list[str | bool | None] = []
    for part in value.s:
        if part is SpecialChars.WILDCARD_MULTI:
            if not parts or parts[-1] is not None:
                parts.append(None)
        elif part is SpecialChars.WILDCARD_SINGLE:
            parts.append(True)
        else:
            text = str(part) if cased else str(part).lower()
            if parts and isinstance(parts[-1], str):
                parts[-1] += text
            else:
                parts.append(text)
    if keyword:  # a keyword is found anywhere in the event
        parts = [
            *([] if parts and parts[0] is None else [None]),
            *parts,
            *([] if parts and parts[-1] is None else [None]),
        ]
    match parts:
        case []:
            return Text("eq", "", cased)
        case [str(text)]:
            return Text("eq", text, cased)
        case [None]:
            return Exists(True)
        case [None, str(text)]:
            return Text("end", text, cased)
        case [str(text), None]:
            return Text("start", text, cased)
        case [None, str(text), None]:
            return Text("in", text, cased)
        case _:
            return Glob(tuple(parts), cased)


def _regex(value: SigmaRegularExpression, pattern: str) -> Check:
    flags = "".join(sorted({"IGNORECASE": "i", "MULTILINE": "m", "DOTALL": "s"}[f.name] for f in value.flags))
    return Regex(f"(?{flags}){pattern}" if flags else pattern)

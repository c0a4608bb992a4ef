"""pySigma's parse tree to a tree of checks.

What isn't supported is refused by name (`DetectError` DET0007): there is no silent approximation.
"""

from __future__ import annotations

from collections.abc import Iterator
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
            return joined(Some, [_value(field, v, {}) for v in _expanded(value, placeholders)])
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
        case SigmaRegularExpression():
            check = _regex(value)
        case SigmaCIDRExpression():
            check = Cidr(str(value.network))
        case SigmaCompareExpression():
            check = Compare(value.op.name.lower(), float(value.number.number))
        case SigmaFieldReference():
            check = Reference(value.field, value.starts_with, value.ends_with)
        case _:
            raise DetectError(f"Values of kind '{type(value).__name__}' aren't supported.", code="DET0007")
    return Leaf(field, check)


def _expanded(value: SigmaString, placeholders: Placeholders) -> list[SigmaString]:
    def values(placeholder: Placeholder) -> Iterator[str | Placeholder]:
        name = placeholder.name
        found = next((v for k, v in placeholders.items() if k.lower() == name.lower()), None)
        if found is None:
            raise DetectError(
                f"The placeholder '%{name}%' has no values.",
                code="DET0008",
                hint=f"Make a watchlist '{name}' with one value a row.",
            )
        yield from found

    return list(value.replace_placeholders(values))


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


def _regex(value: SigmaRegularExpression) -> Check:
    flags = "".join(sorted({"IGNORECASE": "i", "MULTILINE": "m", "DOTALL": "s"}[f.name] for f in value.flags))
    return Regex(f"(?{flags}){value.regexp}" if flags else str(value.regexp))

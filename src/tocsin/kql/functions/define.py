"""How the tables of functions are written: a signature in one string, a lowering as a template.

The signature reads as in the documentation: ``substring(source: string, start: long, length: long?)``. After a type, ``?`` means
that the argument may be left out, ``*`` that it may be repeated, ``!`` that it must be a constant. `any` takes every type;
``a|b`` are alternatives in the order in which they are tried.

A template is SQL text in which ``{0}``, ``{1}`` … stand for the operands; ``{*}`` for all of them with commas, ``{1*}`` for those from the second
on. Where the text depends on the number of operands, give a dict from that number to the template.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from tocsin.kql.functions.macros import text_copies
from tocsin.kql.functions.model import Aggregate, Example, Lowered, Operand, Param, ScalarFunction
from tocsin.kql.types import KqlType

__all__ = ["Lowering", "Template", "aggregate", "params", "refused", "scalar", "template"]

Template = str | Mapping[int, str]
Lowering = Callable[[Sequence[Operand]], Lowered]

_NAMED_TYPES: dict[str, tuple[KqlType, ...]] = {
    "any": (),
    "number": (KqlType.REAL, KqlType.LONG, KqlType.INT, KqlType.DECIMAL),  # a dynamic becomes a real
    "integer": (KqlType.LONG, KqlType.INT),
}
_SIGNATURE = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
_PARAMETER = re.compile(r"\s*(\w+)\s*:\s*([\w|]+)([?*!]*)\s*")
_SLOT = re.compile(r"\{(\d*)(\*?)\}")


def _types(text: str) -> tuple[KqlType, ...]:
    found: list[KqlType] = []
    for name in text.split("|"):
        found.extend(_NAMED_TYPES[name] if name in _NAMED_TYPES else (KqlType(name),))
    return tuple(found)


def params(signature: str) -> tuple[str, tuple[Param, ...]]:
    """The name and the parameters of a signature."""
    match = _SIGNATURE.fullmatch(signature.strip())
    if match is None:
        raise ValueError(f"not a signature: {signature!r}")
    found = []
    for part in match[2].split(",") if match[2].strip() else ():
        piece = _PARAMETER.fullmatch(part)
        if piece is None:
            raise ValueError(f"not a parameter: {part!r} in {signature!r}")
        name, types, marks = piece.groups()
        found.append(Param(name, _types(types), "?" in marks, "*" in marks, "!" in marks))
    return match[1], tuple(found)


def fill(text: str, operands: Sequence[Operand]) -> str:
    """A template with the operands' texts in its slots."""

    def slot(match: re.Match[str]) -> str:
        number, rest = match.groups()
        if rest:
            return ", ".join(o.sql for o in operands[int(number or 0) :])
        if not number:
            return match[0]
        return operands[int(number)].sql

    return _SLOT.sub(slot, text)


def template(text: Template, kind: KqlType, *, ticks: bool = False) -> Lowering:
    """A lowering from a template."""

    def lower(operands: Sequence[Operand]) -> Lowered:
        chosen = text if isinstance(text, str) else text[len(operands)]
        sql = fill(chosen, operands)
        repeats = max((chosen.count(f"{{{i}}}") for i in range(len(operands))), default=1)
        return Lowered(sql, kind, ticks, max(repeats, 1) * text_copies(sql))

    return lower


def _examples(pairs: Sequence[str]) -> tuple[Example, ...]:
    """``kql => text`` lines."""
    found = []
    for line in pairs:
        kql, arrow, result = line.rpartition(" => ")
        if not arrow:
            raise ValueError(f"not an example: {line!r}")
        found.append(Example(kql.strip(), "" if result.strip() == "(empty)" else result.strip(" ")))
    return tuple(found)


def scalar(
    signature: str,
    returns: KqlType | None,
    lower: Template | Lowering,
    doc: str,
    *examples: str,
    group: str,
    aliases: Sequence[str] = (),
    window: bool = False,
    deterministic: bool = True,
    fold: Callable[[Sequence[object]], object] | None = None,
) -> ScalarFunction:
    """An entry of the table of scalar functions. An example is ``"strlen('abc') => 3"``; ``(empty)`` is the empty string or null."""
    name, parameters = params(signature)
    lowering = lower if callable(lower) else template(lower, returns or KqlType.DYNAMIC)
    return ScalarFunction(
        name,
        parameters,
        returns,
        lowering,
        doc,
        group,
        tuple(aliases),
        _examples(examples),
        window,
        nullable=returns is not KqlType.STRING,
        deterministic=deterministic,
        fold=fold,
    )


def refused(name: str, reason: str, doc: str, *, group: str, returns: KqlType | None = None) -> ScalarFunction:
    """A function that is known by name and not run here: the reason is what the user reads."""
    from tocsin.kql.functions.model import FunctionError

    def lower(_operands: Sequence[Operand]) -> Lowered:
        raise FunctionError(reason)

    anything = (Param("arguments", (), optional=True, repeated=True),)
    return ScalarFunction(name, anything, returns, lower, doc, group, refused=reason)


def aggregate(
    signature: str,
    lower: Callable[[Sequence[Operand], str], Lowered],
    doc: str,
    *examples: str,
    prefix: str,
    aliases: Sequence[str] = (),
    filter_param: int | None = None,
    column_named: bool = False,
) -> Aggregate:
    """An entry of the table of aggregates. An example is a whole pipeline after ``T |`` with its one value's text."""
    name, parameters = params(signature)
    return Aggregate(
        name, parameters, lower, doc, prefix, tuple(aliases), _examples(examples), filter_param, column_named
    )

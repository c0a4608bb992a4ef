"""Calls of constants that are worked out while the query is bound, so that the engine's filters see constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tocsin.kql.binder import fold
from tocsin.kql.emit.duckdb.literals import constant
from tocsin.kql.plan import Scalar
from tocsin.kql.types import KqlType

__all__ = ["FOLDS"]


def _fold_strcat(arguments: Sequence[Scalar]) -> Scalar | None:
    if all(a.type is KqlType.STRING or a.type in (KqlType.INT, KqlType.LONG) for a in arguments):
        return constant(KqlType.STRING, "".join("" if a.value is None else str(a.value) for a in arguments))
    return None


def _fold_text(arguments: Sequence[Scalar]) -> Scalar | None:
    value = arguments[0]
    if value.type is KqlType.STRING:
        return value
    if value.type in (KqlType.INT, KqlType.LONG) and value.value is not None:
        return constant(KqlType.STRING, str(value.value))
    return None


def _fold_lower(arguments: Sequence[Scalar]) -> Scalar | None:
    value = arguments[0].value
    return constant(KqlType.STRING, value.lower()) if isinstance(value, str) and value.isascii() else None


def _fold_upper(arguments: Sequence[Scalar]) -> Scalar | None:
    value = arguments[0].value
    return constant(KqlType.STRING, value.upper()) if isinstance(value, str) and value.isascii() else None


def _fold_parse(arguments: Sequence[Scalar]) -> Scalar | None:
    value = arguments[0]
    if value.type is KqlType.DYNAMIC:
        return value
    if not isinstance(value.value, str):
        return None
    import json

    try:
        parsed = json.loads(value.value, parse_constant=_no_constant)
        if "\\ud" in value.value.lower():  # half a character is no JSON to the engine, and no text
            json.dumps(parsed, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return constant(KqlType.DYNAMIC, None if parsed is None else value.value)


def _no_constant(name: str) -> object:
    raise ValueError(name)


def _fold_array(arguments: Sequence[Scalar]) -> Scalar | None:
    values: list[object] = []
    for a in arguments:
        if a.type in (KqlType.STRING, KqlType.INT, KqlType.LONG, KqlType.BOOL):
            values.append(a.value)
        else:
            return None
    return fold.json_constant(values)


def _fold_length(arguments: Sequence[Scalar]) -> Scalar | None:
    value = _fold_parse(arguments)
    if value is None or not isinstance(value.value, str):
        return None
    import json

    try:
        items = json.loads(value.value, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return constant(KqlType.LONG, len(items)) if isinstance(items, list) else None


def _fold_isnull(arguments: Sequence[Scalar]) -> Scalar | None:
    value = arguments[0]
    # Of a dynamic, its text may be null's; that is for the engine to tell.
    if value.type in (KqlType.STRING, KqlType.DYNAMIC):
        return None
    return constant(KqlType.BOOL, value.value is None)


FOLDS: dict[str, Callable[[Sequence[Scalar]], Scalar | None]] = {
    "array_length": _fold_length,
    "isnull": _fold_isnull,
    "strcat": _fold_strcat,
    "tostring": _fold_text,
    "tolower": _fold_lower,
    "toupper": _fold_upper,
    "parse_json": _fold_parse,
    "todynamic": _fold_parse,
    "pack_array": _fold_array,
}

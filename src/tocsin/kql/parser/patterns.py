"""``declare pattern``: parameters, a path, and a body for each case."""

from __future__ import annotations

from functools import lru_cache

from tocsin.kql.lexer import tokenize, unquote

__all__ = ["Case", "read_pattern"]

Case = tuple[tuple[tuple[str, ...], str | None], str, int]
"""Arguments and path, the body, and where in the declaration it begins."""


@lru_cache(maxsize=64)
def read_pattern(text: str) -> tuple[tuple[str, ...], str | None, tuple[Case, ...]] | None:
    """Parameters, path and cases of a declaration, or None where it is not one."""
    tokens = tokenize(text)
    values, starts = tokens.values, tokens.starts
    try:
        at = values.index("=")
        parameters, at = _names(values, at + 1, "(", ")")
        path: str | None = None
        if values[at] == "[":
            names, at = _names(values, at, "[", "]")
            path = names[0]
        if values[at] != "{":
            return None
        at += 1
        cases: list[Case] = []
        while values[at] != "}":
            arguments, at = _strings(values, at, "(", ")")
            step: str | None = None
            if values[at] == ".":
                found, at = _strings(values, at + 1, "[", "]")
                step = found[0]
            if values[at] != "=" or values[at + 1] != "{":
                return None
            close = _closing(values, at + 1)
            begin = starts[at + 1] + 1
            cases.append(((arguments, step), text[begin : starts[close]], begin))
            at = close + 1
            if values[at] == ";":
                at += 1
    except (IndexError, ValueError):
        return None
    return parameters, path, tuple(cases)


def _names(values: list[str], at: int, opening: str, closing: str) -> tuple[tuple[str, ...], int]:
    """``(a:string, b:long)``: the names."""
    if values[at] != opening:
        raise ValueError(values[at])
    end = values.index(closing, at)
    return tuple(values[i - 1] for i in range(at + 1, end) if values[i] == ":"), end + 1


def _strings(values: list[str], at: int, opening: str, closing: str) -> tuple[tuple[str, ...], int]:
    """``("a", "b")``: the texts."""
    if values[at] != opening:
        raise ValueError(values[at])
    end = values.index(closing, at)
    return tuple(unquote(v) if v[:1] in "'\"@hH" else v for v in values[at + 1 : end] if v != ","), end + 1


def _closing(values: list[str], at: int) -> int:
    depth = 0
    for i in range(at, len(values)):
        if values[i] == "{":
            depth += 1
        elif values[i] == "}":
            depth -= 1
            if not depth:
                return i
    raise ValueError("not closed")

"""format_datetime and format_timespan: a format's runs of letters, each lowered to the piece of text it stands for."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.kql.functions.define import scalar
from tocsin.kql.functions.model import FunctionError, Lowered, Operand, ScalarFunction
from tocsin.kql.functions.sql import micros, text, ticks
from tocsin.kql.types import KqlType

__all__ = ["FUNCTIONS"]

S = KqlType.STRING
_GROUP = "Datetime and timespan"

_SEPARATORS = " /-:,._[]"
"""The only characters that may stand between a format's letters (learn.microsoft.com/kusto/query/format-datetime-function)."""


def _runs(pattern: str, letters: str, separators: str) -> list[tuple[str, int]]:
    """A format's runs of one letter as (letter, length); anything else as (text, 0)."""
    found: list[tuple[str, int]] = []
    i = 0
    while i < len(pattern):
        char = pattern[i]
        if char in letters:
            j = i
            while j < len(pattern) and pattern[j] == char:
                j += 1
            found.append((char, j - i))
            i = j
            continue
        if char not in separators:
            raise FunctionError(
                f"'{char}' can't be used in the format",
                1,
                hint=f"Letters: {' '.join(letters)}. Between them: {' '.join(repr(c) for c in separators)}.",
            )
        found.append((char, 0))
        i += 1
    return found


def _constant_format(operand: Operand) -> str:
    if not (operand.constant and isinstance(operand.value, str)):
        raise FunctionError("the format must be a constant", 1)
    return operand.value


def _split_run(length: int, longest: int) -> list[int]:
    """A run longer than the longest specifier is several of them: ``dddd`` is ``dd`` twice."""
    return [longest] * (length // longest) + ([length % longest] if length % longest else [])


def _format_datetime(operands: Sequence[Operand]) -> Lowered:
    moment, pattern = operands[0], _constant_format(operands[1])
    u, t = micros(moment), ticks(moment)
    pieces: list[str] = []
    longest = {"d": 2, "f": 7, "F": 7, "h": 2, "H": 2, "m": 2, "M": 2, "s": 2, "y": 4, "t": 2}
    for letter, length in _runs(pattern, "dfFhHmMsyt", _SEPARATORS):
        if length == 0:
            pieces.append(text(letter))
            continue
        runs = _split_run(length, longest[letter])
        pieces.extend(_datetime_piece(letter, run, u, t, moment.ticks) for run in runs)
    if not pieces:
        return Lowered("''", S)
    return Lowered(f"coalesce({' || '.join(_merged(pieces))}, '')", S, copies=max(1, len(pieces)))


def _datetime_piece(letter: str, run: int, u: str, t: str, exact: bool) -> str:
    simple = {
        "d": f"day({u})",
        "M": f"month({u})",
        "H": f"hour({u})",
        "m": f"minute({u})",
        "s": f"second({u})",
        "h": f"((hour({u}) + 11) % 12 + 1)",
    }
    if letter in simple:
        return f"k_num2({simple[letter]})" if run == 2 else f"({simple[letter]})::VARCHAR"
    if letter == "y":
        if run in (1, 2):
            return f"k_num2(year({u}) % 100)" if run == 2 else f"(year({u}) % 100)::VARCHAR"
        return f"lpad(year({u})::VARCHAR, 4, '0')"
    if letter == "t":
        return f"CASE WHEN hour({u}) < 12 THEN '{'AM'[:run]}' ELSE '{'PM'[:run]}' END"
    fraction = f"lpad(({t} % 10000000)::VARCHAR, 7, '0')" if exact else f"(strftime({u}, '%f') || '0')"
    cut = f"left({fraction}, {run})"
    return cut if letter == "f" else f"CASE WHEN rtrim({cut}, '0') = '' THEN '' ELSE {cut} END"


def _merged(pieces: list[str]) -> list[str]:
    """Neighbouring literals as one."""
    merged: list[str] = []
    for piece in pieces:
        if merged and piece.startswith("'") and merged[-1].startswith("'"):
            merged[-1] = merged[-1][:-1] + piece[1:]
        else:
            merged.append(piece)
    return merged


def _format_timespan(operands: Sequence[Operand]) -> Lowered:
    span, pattern = operands[0].sql, _constant_format(operands[1])
    size = f"abs(({span})::HUGEINT)"
    units = {
        "d": f"({size} // 864000000000)",
        "h": f"({size} // 36000000000 % 24)",
        "H": f"({size} // 36000000000 % 24)",
        "m": f"({size} // 600000000 % 60)",
        "s": f"({size} // 10000000 % 60)",
    }
    pieces: list[str] = []
    for letter, length in _runs(pattern, "dhHmsfF", _SEPARATORS):
        if length == 0:
            pieces.append(text(letter))
        elif letter in "fF":
            for run in _split_run(length, 7):
                cut = f"left(lpad(({size} % 10000000)::VARCHAR, 7, '0'), {run})"
                pieces.append(cut if letter == "f" else f"CASE WHEN rtrim({cut}, '0') = '' THEN '' ELSE {cut} END")
        elif letter == "d":
            pieces.append(
                f"CASE WHEN length({units['d']}::VARCHAR) >= {length} THEN {units['d']}::VARCHAR ELSE lpad({units['d']}::VARCHAR, {length}, '0') END"
            )
        else:
            pieces.extend(
                f"k_num2({units[letter]})" if run == 2 else f"{units[letter]}::VARCHAR" for run in _split_run(length, 2)
            )
    if not pieces:
        return Lowered("''", S)
    body = " || ".join(_merged(pieces))
    return Lowered(f"coalesce(CASE WHEN ({span}) < 0 THEN '-' ELSE '' END || {body}, '')", S, copies=len(pieces) + 1)


FUNCTIONS: tuple[ScalarFunction, ...] = (
    scalar(
        "format_datetime(date: datetime, format: string)",
        S,
        _format_datetime,
        "The datetime in a format of d, dd, f…, F…, h, hh, H, HH, m, mm, M, MM, s, ss, tt, yy, yyyy; other characters stand for themselves.",
        "format_datetime(datetime(2020-06-15 13:45:09.123), 'yyyy-MM-dd HH:mm:ss.fff') => 2020-06-15 13:45:09.123",
        "format_datetime(datetime(2020-06-15 13:45:09), 'M/d/yyyy h:mm:ss tt') => 6/15/2020 1:45:09 PM",
        "format_datetime(datetime(2020-06-15 13:45:09.0000007), 'FFFFFFF') => 0000007",
        group=_GROUP,
    ),
    scalar(
        "format_timespan(value: timespan, format: string)",
        S,
        _format_timespan,
        "The timespan in a format of d…, h, hh, m, mm, s, ss, f…, F…; other characters stand for themselves.",
        "format_timespan(time(1.02:03:04.5670000), 'dd.hh:mm:ss.fffffff') => 01.02:03:04.5670000",
        "format_timespan(-90s, 'mm:ss') => -01:30",
        group=_GROUP,
    ),
)

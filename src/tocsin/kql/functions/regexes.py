"""Functions over regular expressions. Patterns are checked and rewritten for RE2 when they are constant."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from tocsin.kql.functions.conversion import convert
from tocsin.kql.functions.define import Lowering, scalar
from tocsin.kql.functions.model import FunctionError, Lowered, Operand, ScalarFunction
from tocsin.kql.functions.sql import text
from tocsin.kql.types import KqlType

__all__ = ["FUNCTIONS", "pattern_sql", "typed"]

L, S, J = KqlType.LONG, KqlType.STRING, KqlType.DYNAMIC
_GROUP = "String"


def _pattern(operand: Operand, argument: int) -> tuple[str, int | None]:
    """The pattern's SQL and the number of its groups, None when it is computed."""
    if operand.constant and isinstance(operand.value, str):
        from tocsin.kql.emit.duckdb.regex import RegexError, translate

        try:
            regex = translate(operand.value)
        except RegexError as error:
            raise FunctionError(f"the pattern can't be used: {error}", argument) from None
        return text(regex.pattern), regex.groups
    return f"k_regex({operand.sql})", None


def pattern_sql(operand: Operand, argument: int) -> str:
    """The SQL text of a pattern argument, checked when constant."""
    return _pattern(operand, argument)[0]


def _guard(sql: str, constant: bool, fallback: str) -> str:
    """A computed pattern may be wrong for some rows: those give the fallback instead of an error."""
    return f"coalesce({sql}, {fallback})" if constant else f"coalesce(try({sql}), {fallback})"


_MOST_GROUPS = 9
"""The engine numbers no more; it names as many as there are."""


def _extract(operands: Sequence[Operand]) -> Lowered:
    pattern, groups = _pattern(operands[0], 0)
    group, source = operands[1], operands[2]
    if not (group.constant and isinstance(group.value, int)):
        raise FunctionError("the capture group must be a constant", 1)
    if group.value < 0 or (groups is not None and group.value > groups):
        if groups is None:
            raise FunctionError("the capture group can't be negative", 1)
        # The engine gives the empty string for a group that the pattern does not have.
        return _typed(Lowered("''", S), operands)
    if group.value > _MOST_GROUPS:
        if groups is None:
            raise FunctionError(f"of a pattern that is no constant, groups above {_MOST_GROUPS} can't be extracted", 1)
        names = ", ".join(f"'g{i}'" for i in range(1, groups + 1))
        struct = f"struct_extract(regexp_extract({source.sql}, {pattern}, [{names}]), 'g{group.value}')"
        return _typed(Lowered(f"coalesce({struct}, '')", S), operands)
    sql = _guard(f"regexp_extract({source.sql}, {pattern}, {group.value})", groups is not None, "''")
    return _typed(Lowered(sql, S), operands)


def _typed(found: Lowered, operands: Sequence[Operand]) -> Lowered:
    if len(operands) < 4:
        return found
    return typed(Operand(found.sql, S, cheap=False), operands[3], 3)


def typed(value: Operand, wanted: Operand, argument: int) -> Lowered:
    """`value` as the type that a ``typeof(…)`` argument names."""
    name = str(wanted.value)
    if name.startswith("typeof(") and name.endswith(")"):
        name = name[7:-1]
    try:
        kind = KqlType({"double": "real", "boolean": "bool", "date": "datetime", "time": "timespan"}.get(name, name))
    except ValueError:
        raise FunctionError(f"'{name}' is not a type", argument) from None
    return convert(value, kind)


def _extract_all(operands: Sequence[Operand]) -> Lowered:
    pattern, groups = _pattern(operands[0], 0)
    source = operands[-1]
    if len(operands) == 3:
        names = group_names(str(operands[0].value)) if operands[0].constant else {}
        chosen = _groups(operands[1], groups, names)
    elif groups is None:
        raise FunctionError("a computed pattern needs the capture groups to be named", 0)
    else:
        chosen = list(range(1, groups + 1))
    if not chosen:
        raise FunctionError("the pattern needs at least one capture group", 0)
    parts = [_all(source.sql, pattern, g, groups is not None) for g in chosen]
    if len(parts) == 1:
        return Lowered(f"k_noempty({parts[0]})", J, copies=2)
    items = ", ".join(f"x[{i + 1}]" for i in range(len(parts)))
    zipped = f"list_transform(list_zip({', '.join(parts)}), lambda x: [{items}])"
    return Lowered(f"k_noempty({zipped})", J, copies=2)


def _all(source: str, pattern: str, group: int, constant: bool) -> str:
    call = f"regexp_extract_all({source}, {pattern}, {group})"
    call = call if constant else f"try({call})"
    return f"list_transform({call}, lambda z: coalesce(z, ''))"


def group_names(pattern: str) -> dict[str, int]:
    """The numbers of a pattern's named groups."""
    found: dict[str, int] = {}
    number, inside, at = 0, False, 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 2
            continue
        if char == "[":
            inside = True
        elif char == "]":
            inside = False
        elif char == "(" and not inside:
            named = re.match(r"\(\?P?<([A-Za-z_]\w*)>", pattern[at:])
            if named or pattern[at + 1 : at + 2] != "?":
                number += 1
            if named:
                found[named[1]] = number
        at += 1
    return found


def _groups(operand: Operand, groups: int | None, names: dict[str, int]) -> list[int]:
    if not operand.constant or operand.value is None:
        raise FunctionError("the capture groups must be a constant array", 1)
    listed = json.loads(str(operand.value))
    if not isinstance(listed, list):
        raise FunctionError("the capture groups must be a constant array", 1)
    chosen = []
    for group in listed:
        number = names.get(group) if isinstance(group, str) else group
        if not isinstance(number, int) or isinstance(number, bool):
            raise FunctionError(f"the pattern has no group named {group!r}", 1)
        if number < 0 or (groups is not None and number > groups):
            raise FunctionError(f"the pattern has {groups} capture groups", 1)
        chosen.append(number)
    return chosen


def _replace_regex(operands: Sequence[Operand]) -> Lowered:
    source, lookup, rewrite = operands
    pattern, groups = _pattern(lookup, 1)
    if rewrite.constant and isinstance(rewrite.value, str) and groups is not None:
        from tocsin.kql.emit.duckdb.regex import RegexError, translate_rewrite

        try:
            replacement = text(translate_rewrite(rewrite.value, groups))
        except RegexError as error:
            raise FunctionError(str(error), 2) from None
        return Lowered(f"regexp_replace({source.sql}, {pattern}, {replacement}, 'g')", S)
    return Lowered(
        f"coalesce(try(regexp_replace({source.sql}, {pattern}, {rewrite.sql}, 'g')), {source.sql})", S, copies=2
    )


def _trim(form: str) -> Lowering:
    def lower(operands: Sequence[Operand]) -> Lowered:
        pattern, groups = _pattern(operands[0], 0)
        source = operands[1]
        constant = groups is not None
        sql = source.sql
        for side in form.split():
            anchored = _anchored(pattern, side, constant)
            sql = f"regexp_replace({sql}, {anchored}, '')"
            if not constant:
                sql = f"coalesce(try({sql}), {source.sql})"
        return Lowered(sql, S, copies=1 if constant else 3)

    return lower


def _anchored(pattern: str, side: str, constant: bool) -> str:
    if constant:
        inner = pattern[1:-1]
        return f"'^(?:{inner})'" if side == "start" else f"'(?:{inner})$'"
    return f"'^(?:' || {pattern} || ')'" if side == "start" else f"'(?:' || {pattern} || ')$'"


def _indexof_regex(operands: Sequence[Operand]) -> Lowered:
    source, lookup = operands[0], operands[1]
    pattern, groups = _pattern(lookup, 1)
    start = operands[2].sql if len(operands) > 2 else "0"
    length = operands[3].sql if len(operands) > 3 else "-1"
    occurrence = operands[4].sql if len(operands) > 4 else "1"
    call = f"k_indexof_regex({source.sql}, {pattern}, {start}, {length}, {occurrence})"
    return Lowered(call if groups is not None else f"try({call})", L, copies=6)


FUNCTIONS: tuple[ScalarFunction, ...] = (
    scalar(
        "extract(regex: string, captureGroup: long!, source: string, typeLiteral: any?)",
        None,
        _extract,
        "The text of one capture group (0: the whole match) of the first match, or the empty string; converted when a type is given.",
        "extract('x=([0-9.]+)', 1, 'hello x=45.6|wo') => 45.6",
        "extract(@'(\\w+)@', 1, 'none') => (empty)",
        "extract('^.{2,2}(.{4,4})', 1, 'abcdefgh') => cdef",
        group=_GROUP,
    ),
    scalar(
        "extract_all(regex: string, captureGroups: dynamic|string, source: string?)",
        J,
        _extract_all,
        "Every match: an array of texts for one capture group, an array of arrays for several; null when nothing matches.",
        'extract_all(@\'([\\da-f]{2})\', \'82b8be2d\') => ["82","b8","be","2d"]',
        'extract_all(@\'(\\w)(\\w+)\', \'ab cde\') => [["a","b"],["c","de"]]',
        "extract_all('(x)', 'abc') => (empty)",
        group=_GROUP,
        aliases=("extractall",),
    ),
    scalar(
        "replace_regex(source: string, lookup: string, rewrite: string)",
        S,
        _replace_regex,
        r"Every match of the pattern replaced; ``\1`` … in the rewrite are capture groups, ``\0`` the match.",
        "replace_regex('Number is 10', @'is (\\d+)', @'was: \\1') => Number was: 10",
        group=_GROUP,
    ),
    scalar(
        "replace(lookup: string, rewrite: string, source: string)",
        S,
        lambda o: _replace_regex((o[2], o[0], o[1])),
        "The old order of replace_regex: pattern, rewrite, source.",
        "replace(@'is (\\d+)', @'was: \\1', 'Number is 10') => Number was: 10",
        group=_GROUP,
    ),
    scalar(
        "trim(regex: string, source: string)",
        S,
        _trim("start end"),
        "The text without one match of the pattern at its start and one at its end.",
        "trim('--', '--https://bing.com--') => https://bing.com",
        "trim('x', 'xxabcxx') => xabcx",
        "trim(@'[^\\w]+', '- Te st1 // $') => Te st1",
        group=_GROUP,
    ),
    scalar(
        "trim_start(regex: string, source: string)",
        S,
        _trim("start"),
        "The text without a match of the pattern at its start.",
        "trim_start('https://', 'https://bing.com') => bing.com",
        group=_GROUP,
    ),
    scalar(
        "trim_end(regex: string, source: string)",
        S,
        _trim("end"),
        "The text without a match of the pattern at its end.",
        "trim_end('.com', 'bing.com') => bing",
        group=_GROUP,
    ),
    scalar(
        "indexof_regex(source: string, lookup: string, start: long?, length: long?, occurrence: long?)",
        L,
        _indexof_regex,
        "The position of the first (or `occurrence`-th) match of the pattern, or -1.",
        "indexof_regex('abcabc', @'a.c') => 0",
        "indexof_regex('abcabcdefg', @'a.c', 0, 9, 2) => 3",
        "indexof_regex('abcabc', @'a.c', 1, -1, 2) => -1",
        group=_GROUP,
    ),
    scalar(
        "regex_quote(value: string)",
        S,
        "regexp_escape({0})",
        "The text with every character escaped that a regular expression would interpret.",
        "regex_quote('(so$me.Te^xt)') => \\(so\\$me\\.Te\\^xt\\)",
        group=_GROUP,
    ),
)

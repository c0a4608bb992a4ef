"""parse, parse-where and parse-kv: columns out of text.

A pattern becomes one regular expression with a group for each column. In the kinds `simple` and `relaxed` the texts are literal and a column
reaches to the next text; in `regex` the texts are expressions and a column is ``(.*)``. A number is matched as a number where the kind
is strict, so a text in its place is no match.
"""

# ruff: noqa: ARG001 - the handlers of a table share one signature

from __future__ import annotations

from dataclasses import replace

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder
from tocsin.kql.binder.errors import fail
from tocsin.kql.binder.operators.columns import extend_relation
from tocsin.kql.binder.typing_rules import convert, explicit
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.emit.duckdb.literals import text
from tocsin.kql.emit.duckdb.regex import RegexError, escape, translate
from tocsin.kql.plan import Filter, Scalar
from tocsin.kql.scope import Environment, Relation
from tocsin.kql.types import KqlType

__all__ = ["APPLIERS"]

_WHOLE = r"(\s*[-+]?[0-9]+)"
_DECIMAL = r"(\s*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)"
_TYPED = {
    KqlType.INT: _WHOLE,
    KqlType.LONG: _WHOLE,
    KqlType.REAL: _DECIMAL,
    KqlType.DECIMAL: _DECIMAL,
    KqlType.BOOL: r"(\s*(?:[tT][rR][uU][eE]|[fF][aA][lL][sS][eE]|[0-9]+))",
    KqlType.GUID: r"(\s*[{(]?[0-9a-fA-F-]{32,36}[})]?)",
}


def _word(node: ast.Expr | None, default: str) -> str:
    if node is None:
        return default
    return node.name if isinstance(node, ast.Name) else str(getattr(node, "value", default))


def _parse(b: Binder, relation: Relation, node: ast.Parse, env: Environment) -> Relation:
    kind = _word(node.params.get("kind"), "simple")
    if kind not in ("simple", "relaxed", "regex"):
        raise fail("KQL0105", f"parse takes kind=simple, relaxed or regex, not '{kind}'.", node)
    row = b.row(relation, env)
    value = convert(b.scalar(node.value, row), KqlType.STRING)
    value = value if value.cheap else b.hoist(value, row)
    relation = b.settle(relation, row)
    pattern, groups = _pattern(node, kind, _word(node.params.get("flags"), ""))
    sql_pattern = text(pattern)
    match = b.alias()
    hit = scalars.make(f"regexp_matches({value.sql}, {sql_pattern})", KqlType.BOOL, (value,))
    columns = [p.column for p in node.parts if p.column is not None]
    if not columns:
        return _keep_matches(b, relation, node, match, hit)
    found = b.alias()
    names = ", ".join(f"'g{i}'" for i in range(1, max(groups) + 1))
    pieces = scalars.make(f"regexp_extract({value.sql}, {sql_pattern}, [{names}])", KqlType.DYNAMIC, (value,))
    relation = relation.with_plan(b.compute(relation, [(found, pieces), (match, hit)]))
    reads = frozenset((found, match))
    values = []
    for column, group in zip(columns, groups, strict=True):
        piece = Scalar(f"struct_extract({found}, 'g{group}')", KqlType.STRING, cheap=False, refs=reads)
        if column.type is KqlType.STRING:
            values.append(replace(piece, sql=f"coalesce({piece.sql}, '')"))
        else:
            values.append(explicit(piece, column.type))
    tested = [v.sql for c, v in zip(columns, values, strict=True) if c.type is not KqlType.STRING]
    if kind == "simple" and tested:
        # All or nothing: one value that is not of its type empties the row.
        good = b.alias()
        test = f"({match} AND {' AND '.join(f'({t}) IS NOT NULL' for t in tested)})"
        relation = relation.with_plan(
            b.compute(relation, [(good, Scalar(test, KqlType.BOOL, cheap=False, refs=reads))])
        )
        match, reads = good, reads | {good}
    bound: list[tuple[str | None, str, Scalar]] = []
    for column, result in zip(columns, values, strict=True):
        empty = " ELSE ''" if column.type is KqlType.STRING else ""
        sql = f"CASE WHEN {match} THEN {result.sql}{empty} END"
        made = Scalar(sql, column.type, cheap=False, ticks=result.ticks, refs=reads, weight=6)
        bound.append((column.name, column.name, made))
    relation = extend_relation(b, relation, bound)
    if node.keyword == "parse-where":
        keep = Scalar(match, KqlType.BOOL, refs=frozenset((match,)))
        relation = relation.with_plan(Filter(relation.plan.aliases, relation.plan, keep))
    return relation


def _keep_matches(b: Binder, relation: Relation, node: ast.Parse, match: str, hit: Scalar) -> Relation:
    if node.keyword != "parse-where":
        return relation
    return relation.with_plan(Filter(relation.plan.aliases, relation.plan, hit))


def _pattern(node: ast.Parse, kind: str, flags: str) -> tuple[str, list[int]]:
    """RE2's pattern, and which of its groups is which column."""
    unknown = set(flags) - set("Uims")
    if unknown:
        raise fail("KQL0105", f"parse takes the flags U, i, m and s, not '{min(unknown)}'.", node)
    out: list[str] = []
    groups: list[int] = []
    count = 0
    for i, part in enumerate(node.parts):
        last = i == len(node.parts) - 1
        if part.literal is not None:
            piece, inner = (escape(part.literal), 0) if kind != "regex" else _regex(part)
            out.append(piece)
            count += inner
        elif part.column is not None:
            count += 1
            groups.append(count)
            typed = _TYPED.get(part.column.type)
            if typed is not None and kind == "relaxed":
                # Anything may stand where a value should; only before a `*` nothing else says where the value ends.
                typed = f"{typed}?" if _is_star(node, i + 1) else None
            out.append(typed or ("(.*)" if kind == "regex" or last else "(.*?)"))
        else:
            out.append(".*?")
    body = "".join(out)
    if kind == "regex":
        return (f"(?{flags})" if flags else "") + body, groups
    open_end = node.parts[-1].literal is None and node.parts[-1].column is None
    return f"(?s)^{body}" + ("" if open_end else "$"), groups


def _is_star(node: ast.Parse, index: int) -> bool:
    if index >= len(node.parts):
        return False
    return node.parts[index].literal is None and node.parts[index].column is None


def _regex(part: ast.ParsePart) -> tuple[str, int]:
    try:
        rewritten = translate(part.literal or "")
    except RegexError as error:
        raise fail("KQL0108", f"The pattern can't be run: {error}.", part) from None
    pattern = f"(?:{rewritten.pattern})" if "|" in rewritten.pattern else rewritten.pattern
    return pattern, rewritten.groups


# ---------------------------------------------------------------------------------------------- parse-kv


def _parse_kv(b: Binder, relation: Relation, node: ast.ParseKv, env: Environment) -> Relation:
    """Pairs out of text: each wanted key is looked for by a pattern of its own; the first pair of a key counts."""
    row = b.row(relation, env)
    value = convert(b.scalar(node.value, row), KqlType.STRING)
    value = value if value.cheap else b.hoist(value, row)
    greedy = _word(node.options.get("greedy"), "").lower() == "true"
    options = {name: b.constant_text(one, env, "parse-kv") for name, one in node.options.items() if name != "greedy"}
    relation = b.settle(relation, row)
    bound: list[tuple[str | None, str, Scalar]] = []
    for column in node.columns:
        piece = _pair_value(value, column.name, node, options, greedy)
        if column.type is not KqlType.STRING:
            piece = explicit(piece, column.type)
        bound.append((column.name, column.name, piece))
    return extend_relation(b, relation, bound)


def _pair_value(value: Scalar, key: str, node: ast.ParseKv, options: dict[str, str], greedy: bool) -> Scalar:
    if "regex" in options:
        return _pair_by_regex(value, key, node, options["regex"])
    pair, sign = escape(options.get("pair_delimiter", " ")), escape(options.get("kv_delimiter", "="))
    quote = options.get("quote", "")
    name = escape(key)
    if quote:
        name = f"(?:{name}|{escape(quote[0])}{name}{escape(quote[-1])})"
    start = rf"(?s)(?:^|{pair})\s*{name}\s*{sign}\s*"
    # Greedy: the value may hold the pair delimiter; it ends where another pair begins.
    end = rf"(?:{pair}\s*[^\s]+?\s*{sign}|$)" if greedy else f"(?:{pair}|$)"
    plain = f"trim(regexp_extract({value.sql}, {text(start + '(.*?)' + end)}, 1))"
    if not quote:
        return scalars.make(plain, KqlType.STRING, (value,))
    closing = quote[-1]
    mark = options.get("escape", "")[:1]
    inside = f"[^{escape(closing)}]*" if not mark else f"(?:{escape(mark)}.|[^{escape(closing)}{escape(mark)}])*"
    quoted = text(f"{start}{escape(quote[0])}({inside}){escape(closing)}")
    found = f"regexp_extract({value.sql}, {quoted}, 1)"
    if mark:
        found = f"regexp_replace({found}, {text(f'(?s){escape(mark)}(.)')}, '\\1', 'g')"
    sql = f"CASE WHEN regexp_matches({value.sql}, {quoted}) THEN {found} ELSE {plain} END"
    return scalars.make(sql, KqlType.STRING, (value,))


def _pair_by_regex(value: Scalar, key: str, node: ast.ParseKv, regex: str) -> Scalar:
    try:
        rewritten = translate(regex)
    except RegexError as error:
        raise fail("KQL0108", f"The pattern can't be run: {error}.", node) from None
    if rewritten.groups != 2:
        raise fail("KQL0105", "The pattern of parse-kv needs two groups: the key and the value.", node)
    pattern = text(rewritten.pattern)
    keys = f"regexp_extract_all({value.sql}, {pattern}, 1)"
    values = f"regexp_extract_all({value.sql}, {pattern}, 2)"
    sql = f"coalesce(list_extract({values}, list_position({keys}, {text(key)})), '')"
    return scalars.make(sql, KqlType.STRING, (value,), copies=2)


APPLIERS = {ast.Parse: _parse, ast.ParseKv: _parse_kv}

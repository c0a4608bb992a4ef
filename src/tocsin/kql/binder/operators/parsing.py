"""parse, parse-where and parse-kv: columns out of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder
from tocsin.kql.binder.errors import fail
from tocsin.kql.binder.operators.rows import extend_relation
from tocsin.kql.binder.typing_rules import convert, explicit
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.emit.duckdb.literals import constant, text
from tocsin.kql.emit.duckdb.regex import RegexError, escape, translate
from tocsin.kql.plan import Filter, Scalar
from tocsin.kql.scope import Environment, Relation
from tocsin.kql.types import KqlType

__all__ = ["APPLIERS"]

# A typed column of a simple parse matches only text that is a value of its type.
_TYPED = {
    KqlType.INT: r"\s*[-+]?[0-9]+",
    KqlType.LONG: r"\s*[-+]?[0-9]+",
    KqlType.REAL: r"\s*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?",
    KqlType.DECIMAL: r"\s*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?",
    KqlType.BOOL: r"\s*(?:[tT][rR][uU][eE]|[fF][aA][lL][sS][eE]|[0-9]+)",
    KqlType.GUID: r"\s*[{(]?[0-9a-fA-F-]{32,36}[})]?",
}


def _word(node: ast.Expr | None, default: str) -> str:
    if node is None:
        return default
    return node.name if isinstance(node, ast.Name) else str(getattr(node, "value", default))


def _parse(b: Binder, relation: Relation, node: ast.Parse, env: Environment) -> Relation:
    kind = _word(node.params.get("kind"), "simple")
    if kind not in ("simple", "relaxed", "regex"):
        raise fail("KQL0105", f"parse takes kind=simple, relaxed or regex, not '{kind}'.", node)
    flags = _word(node.params.get("flags"), "")
    row = b.row(relation, env)
    value = convert(b.scalar(node.value, row), KqlType.STRING)
    value = value if value.cheap else b.hoist(value, row)
    relation = b.settle(relation, row)
    pattern, groups, where = _pattern(node, kind, flags)
    columns = [p.column for p in node.parts if p.column is not None]
    if not columns:
        return relation
    # Only the groups that are columns: a regular expression may hold groups of its own.
    names = [f"g{i}" for i in range(1, max(groups) + 1)]
    listed = ", ".join(f"'{n}'" for n in names)
    made = f"regexp_extract({value.sql}, {text(pattern)}, [{listed}])"
    alias = b.alias()
    match = b.alias()
    found = scalars.make(made, KqlType.DYNAMIC, (value,))
    hit = scalars.make(f"regexp_matches({value.sql}, {text(pattern)})", KqlType.BOOL, (value,))
    relation = relation.with_plan(b.compute(relation, [(alias, found), (match, hit)]))
    bound: list[tuple[str | None, str, Scalar]] = []
    reads = frozenset((alias, match))
    converted = []
    for column, group in zip(columns, groups, strict=True):
        piece = Scalar(f"struct_extract({alias}, 'g{group}')", KqlType.STRING, cheap=False, refs=reads)
        converted.append((column, _typed(piece, column.type)))
    whole = [f"({v.sql}) IS NOT NULL" for c, v in converted if c.type is not KqlType.STRING]
    if kind == "simple" and whole:
        # All or nothing: one value that is not of its type empties the row.
        good = b.alias()
        test = Scalar(f"({match} AND {' AND '.join(whole)})", KqlType.BOOL, cheap=False, refs=reads)
        relation = relation.with_plan(b.compute(relation, [(good, test)]))
        match = good
        reads |= {good}
    for column, result in converted:
        empty = scalars.null(column.type)
        sql = f"CASE WHEN {match} THEN {result.sql} ELSE {empty.sql} END"
        if column.type is KqlType.DATETIME and result.ticks:
            sql = f"CASE WHEN {match} THEN {result.sql} END"
        bound.append(
            (column.name, column.name, Scalar(sql, column.type, cheap=False, ticks=result.ticks, refs=reads, weight=6))
        )
    relation = extend_relation(b, relation, bound)
    if node.keyword == "parse-where":
        keep = Scalar(match, KqlType.BOOL, refs=frozenset((match,)))
        relation = relation.with_plan(Filter(relation.plan.aliases, relation.plan, keep))
    return relation


def _typed(piece: Scalar, kind: KqlType) -> Scalar:
    if kind is KqlType.STRING:
        return replace(piece, sql=f"coalesce({piece.sql}, '')")
    return explicit(piece, kind)


def _pattern(node: ast.Parse, kind: str, flags: str) -> tuple[str, list[int], None]:
    """RE2's pattern for the whole text, and which of its groups is which column."""
    parts = list(node.parts)
    out = []
    groups: list[int] = []
    count = 0
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        following = parts[i + 1] if not last else None
        if part.literal is not None:
            if kind == "regex":
                try:
                    rewritten = translate(part.literal)
                except RegexError as error:
                    raise fail("KQL0108", f"The pattern can't be run: {error}.", part) from None
                out.append(f"(?:{rewritten.pattern})" if "|" in rewritten.pattern else rewritten.pattern)
                count += rewritten.groups
            else:
                out.append(escape(part.literal))
        elif part.column is not None:
            count += 1
            groups.append(count)
            greedy = last or (following is not None and following.literal is None and following.column is None and i + 2 == len(parts))
            lazy = "(.*?)" if not last else "(.*)"
            if kind == "simple" and part.column.type in _TYPED:
                out.append(f"({_TYPED[part.column.type]})")
            elif "U" in flags:
                out.append("(.*?)")
            else:
                out.append("(.*)" if kind == "regex" else lazy)
            _ = greedy
        else:
            out.append(".*?" if kind != "regex" else ".*?")
    modifiers = "s" + ("i" if "i" in flags else "") + ("m" if "m" in flags else "")
    if "s" not in flags and kind == "regex":
        modifiers = modifiers.replace("s", "") or ""
        modifiers = "s" if not modifiers else modifiers + "s"
    ungreedy = "U" if "U" in flags else ""
    if ungreedy:
        out = [p.replace("(.*?)", "(.*)").replace(".*?", ".*") if p in ("(.*?)", ".*?") else p for p in out]
    head = f"(?{modifiers}{ungreedy})"
    body = "".join(out)
    starts_free = bool(parts) and parts[0].literal is None and parts[0].column is None
    if kind != "regex":
        body = ("^" if not starts_free else "^") + body + "$" if _closes(parts) else "^" + body
    else:
        body = "^" + body if not starts_free else body
    return head + body, groups, None


def _closes(parts: Sequence[ast.ParsePart]) -> bool:
    """True where the pattern reaches the end of the text: it does unless it ends with `*`."""
    last = parts[-1]
    return last.column is not None or last.literal is not None


def _parse_kv(b: Binder, relation: Relation, node: ast.ParseKv, env: Environment) -> Relation:
    """Pairs out of text: each wanted key is looked for by a pattern of its own."""
    row = b.row(relation, env)
    value = convert(b.scalar(node.value, row), KqlType.STRING)
    value = value if value.cheap else b.hoist(value, row)
    options = {name: b.constant_text(one, env, "parse-kv") for name, one in node.options.items() if name not in ("greedy",)}
    greedy = "greedy" in node.options and _word(node.options["greedy"], "") in ("true", "True")
    relation = b.settle(relation, row)
    bound: list[tuple[str | None, str, Scalar]] = []
    for column in node.columns:
        piece = _pair_value(value, column.name, node, options, greedy)
        if column.type is not KqlType.STRING:
            piece = explicit(piece, column.type)
        bound.append((column.name, column.name, piece))
    return extend_relation(b, relation, bound)


def _pair_value(value: Scalar, key: str, node: ast.ParseKv, options: dict[str, str], greedy: bool) -> Scalar:
    regex = options.get("regex")
    if regex is not None:
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
    pair_delimiter = options.get("pair_delimiter", " ")
    kv_delimiter = options.get("kv_delimiter", "=")
    quotes = options.get("quote", "")
    escape_char = options.get("escape", "")
    if escape_char:
        raise fail("KQL0201", "parse-kv with an escape character is not supported.", node)
    pair_class = "".join("\\" + c if not c.isalnum() and ord(c) < 128 else c for c in pair_delimiter)
    stop = f"[^{pair_class}]*" if pair_class else ".*"
    plain = f"({stop})" if not greedy else f"(.*?)(?:[{pair_class}]+[^{pair_class}{_class(kv_delimiter)}]+{escape(kv_delimiter)}|$)"
    start = f"(?s)(?:^|[{pair_class}]){escape(key)}{escape(kv_delimiter)}" if pair_class else f"(?s)^{escape(key)}{escape(kv_delimiter)}"
    if not quotes:
        return scalars.make(f"regexp_extract({value.sql}, {text(start + plain)}, 1)", KqlType.STRING, (value,))
    opening, closing = quotes[0], quotes[-1]
    quoted = f"{start}{escape(opening)}([^{_class(closing)}]*){escape(closing)}"
    sql = (
        f"CASE WHEN regexp_matches({value.sql}, {text(quoted)}) THEN regexp_extract({value.sql}, {text(quoted)}, 1) "
        f"ELSE regexp_extract({value.sql}, {text(start + plain)}, 1) END"
    )
    return scalars.make(sql, KqlType.STRING, (value,))


def _class(chars: str) -> str:
    return "".join("\\" + c if not c.isalnum() and ord(c) < 128 else c for c in chars)


APPLIERS = {ast.Parse: _parse, ast.ParseKv: _parse_kv}
_ = constant

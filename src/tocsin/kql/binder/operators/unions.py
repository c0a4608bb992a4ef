"""union, search and find: several tables at once."""

# ruff: noqa: ARG001 - the handlers of a table share one signature

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import BindError, fail
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.emit.duckdb.literals import constant
from tocsin.kql.plan import Filter, OrderKey, Scalar, Union
from tocsin.kql.scope import BoundColumn, Environment, FunctionValue, Relation, TableValue, open_columns
from tocsin.kql.types import KqlType

__all__ = ["APPLIERS", "SOURCES", "Part", "union_of", "union_relations"]

EMPTY_TABLES = 50
"""Tables that a wildcard reads where none holds a row."""


@dataclass(slots=True)
class Part:
    """One table of a union and the name that `withsource` shows for it."""

    relation: Relation
    label: str


# ---------------------------------------------------------------------------------------------- union


def _union_source(b: Binder, node: ast.Union, env: Environment) -> Relation:
    return _union(b, None, node, env)


def _union_operator(b: Binder, relation: Relation, node: ast.Union, env: Environment) -> Relation:
    return _union(b, relation, node, env)


def _union(b: Binder, first: Relation | None, node: ast.Union, env: Environment) -> Relation:
    fuzzy = _flag(node.params.get("isfuzzy"))
    kind = _word(node.params.get("kind")) or "outer"
    if kind not in ("outer", "inner"):
        raise fail("KQL0105", f"union takes kind=inner or kind=outer, not '{kind}'.", node)
    parts: list[Part] = []
    if first is not None:
        parts.append(Part(first, first.name or "union_arg0"))
    missing: list[BindError] = []
    for table in node.tables:
        try:
            parts.extend(_tables(b, table, env, len(parts)))
        except BindError as error:
            # What is fuzzy is only whether the tables are there.
            if not fuzzy or error.code not in ("KQL0102", "KQL0103"):
                raise
            missing.append(error)
            b.left_out.append(error)
    if not parts:
        if missing:
            raise missing[0]
        raise fail("KQL0102", "union has no tables.", node)
    source = _word(node.params.get("withsource")) or _word(node.params.get("with_source"))
    return union_relations(b, parts, source=source, inner=kind == "inner", node=node)


def union_of(b: Binder, tables: Sequence[ast.Expr], env: Environment, node: ast.Node) -> Relation:
    """The union of tables, wildcards expanded."""
    parts: list[Part] = []
    for table in tables:
        parts.extend(_tables(b, table, env, len(parts)))
    return union_relations(b, parts, source=None, inner=False, node=node)


def _flag(node: ast.Expr | None) -> bool:
    if node is None:
        return False
    if isinstance(node, ast.Literal):
        return bool(node.value)
    return isinstance(node, ast.Name) and node.name.lower() == "true"


def _word(node: ast.Expr | None) -> str | None:
    if isinstance(node, ast.Name):
        return node.name
    if isinstance(node, ast.Literal):
        return str(node.value)
    return None


def _tables(b: Binder, node: ast.Expr, env: Environment, position: int) -> list[Part]:
    while isinstance(node, ast.Paren):
        node = node.inner
    if isinstance(node, ast.Star):
        return [Part(b.table(ast.Name(node.span, name), env), name) for name in matching_tables(b, node, env)]
    relation = b.table(node, env)
    own = relation.name or (node.name if isinstance(node, ast.Name) else "")
    label = own if own and _keeps_name(node, env) else f"union_arg{position}"
    return [Part(relation, label)]


def _keeps_name(node: ast.Expr, env: Environment) -> bool:
    if isinstance(node, ast.Pipeline):
        return any(isinstance(o, ast.As) for o in node.operators) or _keeps_name_source(node.source, env)
    return _keeps_name_source(node, env)


def _keeps_name_source(node: ast.Expr | ast.Operator, env: Environment) -> bool:
    while isinstance(node, ast.Paren):
        node = node.inner
    if isinstance(node, ast.Pipeline):
        return _keeps_name_source(node.source, env)
    if not isinstance(node, ast.Name):
        return isinstance(node, ast.Call) and node.callee == "table"
    value = env.lookup(node.name)
    if isinstance(value, FunctionValue):
        return value.function.view
    return value is None or (isinstance(value, TableValue) and value.labelled)


def matching_tables(b: Binder, node: ast.Star, env: Environment) -> list[str]:
    """The tables that a wildcard means, in the catalogue's order."""
    expression = re.compile(".*".join(re.escape(part) for part in node.pattern.split("*")), re.DOTALL)
    # A catalog may know which of its tables hold rows: a wildcard over all of them need not read the others.
    matching = getattr(b.catalog, "matching", None)
    names = list(matching(node.pattern)) if matching is not None else []
    names = names or [n for n in b.catalog.table_names() if expression.fullmatch(n)]
    if not names and hasattr(b.catalog, "all_table_names"):
        # Nothing holds rows, so any tables answer as well.
        names = [n for n in b.catalog.all_table_names() if expression.fullmatch(n)][:EMPTY_TABLES]
    for name in env.all_names():
        value = env.lookup(name)
        view = isinstance(value, FunctionValue) and value.function.view
        if (
            (view or (isinstance(value, TableValue) and value.labelled))
            and expression.fullmatch(name)
            and name not in names
        ):
            names.append(name)
    if not names:
        raise fail("KQL0102", f"No table's name matches '{node.pattern}'.", node)
    return names


def union_relations(b: Binder, parts: Sequence[Part], *, source: str | None, inner: bool, node: ast.Node) -> Relation:
    """All rows of all parts. Columns go by name; one name with several types becomes one column a type (``x_long``, ``x_string``)."""
    if any(p.relation.partition for p in parts):
        raise fail("KQL0201", "union inside mv-apply or partition is not supported.", node)
    columns: list[BoundColumn] = []
    origins: dict[str, tuple[str, KqlType, bool]] = {}  # alias → name and type in the parts, and the form of a datetime
    label = b.alias()
    if source is not None:
        columns.append(BoundColumn(source, KqlType.STRING, label))
    for name, kind, original, hidden, ticks in _layout(parts, inner):
        alias = b.alias()
        origins[alias] = (original, kind, ticks)
        columns.append(BoundColumn(name, kind, alias, ticks, hidden))
    extra, order = _order(b, parts)

    def reader(position: int, part: Part) -> Callable[[str], Scalar]:
        def read(alias: str) -> Scalar:
            if alias == label:
                return constant(KqlType.STRING, part.label)
            if alias in extra:
                return extra[alias][position]
            name, kind, ticks = origins[alias]
            return _fill(_find(part.relation, name, kind), kind, ticks)

        return read

    def nulls(alias: str) -> Scalar:
        if alias in origins:
            return _fill(None, *origins[alias][1:])
        return constant(KqlType.STRING, "") if alias == label else scalars.null(KqlType.LONG)

    aliases = frozenset((label, *origins, *extra))
    by_origin = {(name, kind): alias for alias, (name, kind, _) in origins.items()}
    own = [
        frozenset(
            (label, *extra, *(by_origin[c.name, c.type] for c in p.relation.columns if (c.name, c.type) in by_origin))
        )
        for p in parts
    ]
    strings = frozenset(c.alias for c in columns if c.type is KqlType.STRING)
    plans = [(part.relation.plan, reader(i, part)) for i, part in enumerate(parts)]
    kept = open_columns(*(p.relation for p in parts))
    return Relation(Union(aliases, plans, own, strings, node.span, nulls), tuple(columns), order, open_bag=kept)


def _layout(parts: Sequence[Part], inner: bool) -> list[tuple[str, KqlType, str, bool, bool]]:
    """Output columns: (name, type, name in the parts, hidden, datetime in ticks)."""
    kinds: dict[str, dict[KqlType, bool]] = {}
    shown: set[str] = set()
    count: dict[str, int] = {}
    for part in parts:
        for column in {c.name: c for c in reversed(part.relation.columns)}.values():
            count[column.name] = count.get(column.name, 0) + 1
            if not column.hidden:
                shown.add(column.name)
        for column in part.relation.columns:
            listed = kinds.setdefault(column.name, {})
            listed[column.type] = listed.get(column.type, False) or column.ticks
    layout = []
    for name, listed in kinds.items():
        hidden = name not in shown
        if inner and (count[name] < len(parts) or len(listed) > 1):
            continue
        for kind, ticks in listed.items():
            layout.append((name if len(listed) == 1 else f"{name}_{kind}", kind, name, hidden, ticks))
    return layout


def _find(relation: Relation, name: str, kind: KqlType) -> BoundColumn | None:
    column = relation.column(name)
    return column if column is not None and column.type is kind else None


def _fill(column: BoundColumn | None, kind: KqlType, ticks: bool) -> Scalar:
    if column is None:
        return Scalar("NULL::BIGINT", kind, ticks=True) if ticks else scalars.null(kind)
    return scalars.to_ticks(column.scalar()) if ticks else column.scalar()


def _order(b: Binder, parts: Sequence[Part]) -> tuple[dict[str, list[Scalar]], tuple[OrderKey, ...]]:
    """Literal rows keep their order: part by part, row by row. Sorted or stored parts promise nothing after a union."""
    if not all(p.relation.order and not p.relation.sorted and len(p.relation.order) == 1 for p in parts):
        return {}, ()
    number, row = b.alias(), b.alias()
    keys = [p.relation.order[0].alias for p in parts]
    extra = {
        number: [constant(KqlType.LONG, i) for i in range(len(parts))],
        row: [Scalar(k, KqlType.LONG, refs=frozenset((k,))) for k in keys],
    }
    return extra, (OrderKey(number), OrderKey(row))


# ---------------------------------------------------------------------------------------------- search and find


def _search_source(b: Binder, node: ast.Search, env: Environment) -> Relation:
    tables = list(node.tables) or [ast.Star(node.span, "*")]
    parts: list[Part] = []
    for table in tables:
        parts.extend(_tables(b, table, env, len(parts)))
    return _search(b, parts, node, env)


def _search_operator(b: Binder, relation: Relation, node: ast.Search, env: Environment) -> Relation:
    return _search(b, [Part(relation, relation.name or "search_arg0")], node, env)


def _search(b: Binder, parts: Sequence[Part], node: ast.Search, env: Environment) -> Relation:
    cased = (_word(node.params.get("kind")) or "case_insensitive") == "case_sensitive"
    filtered = [
        replace_relation(part, filter_everywhere(b, part.relation, node.predicate, env, cased)) for part in parts
    ]
    return union_relations(b, filtered, source="$table", inner=False, node=node)


def replace_relation(part: Part, relation: Relation) -> Part:
    """The part over another relation."""
    return Part(relation, part.label)


def filter_everywhere(
    b: Binder, relation: Relation, predicate: ast.Expr, env: Environment, cased: bool = False
) -> Relation:
    """The rows that satisfy a search predicate; a column that the table lacks is null."""
    row = b.row(relation, env)
    value = search_predicate(b, predicate, row, cased)
    relation = b.settle(relation, row)
    return relation.with_plan(Filter(relation.plan.aliases, relation.plan, value))


def search_predicate(b: Binder, node: ast.Expr, row: Row, cased: bool) -> Scalar:
    """A predicate of search and find: bare strings are looked for in every column."""
    while isinstance(node, ast.Paren):
        node = node.inner
    if isinstance(node, ast.Binary) and node.op in ("and", "or"):
        parts = [search_predicate(b, side, row, cased) for side in (node.left, node.right)]
        return scalars.combine(node.op, parts)
    if isinstance(node, ast.Call) and node.callee == "not" and len(node.args) == 1:
        return scalars.inverse(search_predicate(b, node.args[0], row, cased))
    if isinstance(node, ast.Literal):
        return everywhere(b, "has_cs" if cased else "has", node, row)
    if isinstance(node, ast.Star):
        return constant(KqlType.BOOL, True)
    if isinstance(node, ast.Binary) and isinstance(node.left, ast.Star):
        return everywhere(b, node.op, node.right, row)
    if isinstance(node, ast.InList) and isinstance(node.left, ast.Star):
        return in_everywhere(b, node, row)
    missing = _missing_column(b, node, row)
    if missing:
        return constant(KqlType.BOOL, False)
    if isinstance(node, ast.Binary) and node.op == ":":
        return _term(b, node.left, node.right, row, cased)
    from tocsin.kql.binder.expressions import bind_boolean

    row.search = True
    try:
        return bind_boolean(b, node, row, "search")
    except BindError as error:
        # A column of that name but of another type does not satisfy the predicate in this table.
        if error.code != "KQL0105":
            raise
        return constant(KqlType.BOOL, False)


def _missing_column(b: Binder, node: ast.Expr, row: Row) -> bool:
    """True where a comparison names a column that this table lacks."""
    sides: list[ast.Expr] = []
    if isinstance(node, ast.Binary):
        sides = [node.left, node.right]
    elif isinstance(node, (ast.InList,)):
        sides = [node.left]
    elif isinstance(node, ast.Between):
        sides = [node.operand]
    for side in sides:
        while isinstance(side, (ast.Paren, ast.Member, ast.Index)):
            side = side.inner if isinstance(side, ast.Paren) else side.target
        if (
            isinstance(side, ast.Name)
            and row.relation is not None
            and row.relation.column(side.name) is None
            and row.env.lookup(side.name) is None
        ):
            return True
    return False


def _term(b: Binder, left: ast.Expr, right: ast.Expr, row: Row, cased: bool) -> Scalar:
    """``column:"term"``: has for text, equality of the text for other types."""
    return _term_in(b, b.scalar(left, row), right, row, "has_cs" if cased else "has")


def _term_in(b: Binder, value: Scalar, right: ast.Expr, row: Row, op: str) -> Scalar:
    from tocsin.kql.binder.expressions import bind_expression

    wanted: ast.Expr = right
    if isinstance(right, ast.Literal) and right.type is KqlType.STRING and isinstance(right.value, str):
        text = right.value
        if "*" in text and op in ("has", "has_cs"):
            return _wildcard(b, value, text, op == "has_cs")
    name = b.alias()
    row.extra[name] = value
    made = bind_expression(b, ast.Binary(right.span, op, ast.Name(right.span, name), wanted), row)
    del row.extra[name]
    return made


def _wildcard(b: Binder, value: Scalar, text: str, cased: bool) -> Scalar:
    """``term*``, ``*term``, ``*term*`` and patterns with inner stars."""
    from tocsin.kql.binder.typing_rules import convert
    from tocsin.kql.emit.duckdb import strings

    haystack = convert(value, KqlType.STRING)
    suffix = "_cs" if cased else ""
    body = text.strip("*")
    if "*" not in body:
        op = {(True, True): "contains", (False, True): "hasprefix", (True, False): "hassuffix"}[
            (text.startswith("*"), text.endswith("*"))
        ]
        return strings.string_operator(op + suffix, haystack, constant(KqlType.STRING, body))
    from tocsin.kql.emit.duckdb.regex import escape

    pattern = ("" if cased else "(?i)") + "(?s)" + ".*".join(escape(p) for p in text.split("*"))
    return scalars.make(
        f"regexp_matches({haystack.sql}, {constant(KqlType.STRING, pattern).sql})", KqlType.BOOL, (haystack,)
    )


def everywhere(b: Binder, op: str, right: ast.Expr, row: Row) -> Scalar:
    """``* has "x"``: the test on any column, values of other types by their text."""
    relation = row.relation
    if relation is None:
        raise fail("KQL0106", "'*' needs the columns of a table.", right)
    negated = op.startswith("!")
    plain = "has" if op == ":" else op.lstrip("!")
    saved, row.search = row.search, True
    tests = []
    joined = _joined(plain, right, relation.visible())
    if joined is not None:
        tests.append(_term_in(b, b.hoist(joined, row), right, row, plain))
    for column in relation.visible() if joined is None else ():
        if plain.startswith("has") and column.type in (KqlType.REAL, KqlType.DECIMAL):
            continue  # a term is not looked for in fractions (the engine's recorded answers)
        if plain in ("==", "!=", "<", ">", "<=", ">="):
            try:
                tests.append(_term_in(b, column.scalar(), right, row, plain))
            except BindError:
                continue
        else:
            tests.append(_term_in(b, column.scalar(), right, row, plain))
    row.search = saved
    found = scalars.combine("or", tests)
    return scalars.inverse(found) if negated else found


_SEPARABLE = frozenset(
    ("has", "has_cs", "hasprefix", "hasprefix_cs", "hassuffix", "hassuffix_cs", "contains", "contains_cs")
)


def _joined(op: str, right: ast.Expr, columns: Sequence[BoundColumn]) -> Scalar | None:
    """All values of a row as one text, with a separator that no term holds: one test instead of one for each column."""
    from tocsin.kql.binder.typing_rules import convert

    text = right.value if isinstance(right, ast.Literal) else None
    if op not in _SEPARABLE or not isinstance(text, str) or "\x01" in text or "*" in text:
        return None
    parts = [
        convert(c.scalar(), KqlType.STRING)
        for c in columns
        if not (op.startswith("has") and c.type in (KqlType.REAL, KqlType.DECIMAL))
    ]
    if len(parts) < 2:
        return None
    joined = f"concat_ws(chr(1), {', '.join(p.sql for p in parts)})"
    # Volatile, so that the planner computes it once below the test and does not copy it into each use (see `Emitter._barrier`).
    made = scalars.make(f"CASE WHEN random() >= 0 THEN {joined} ELSE '' END", KqlType.STRING, parts)
    return replace(made, volatile=True, weight=9)


def in_everywhere(b: Binder, node: ast.InList, row: Row) -> Scalar:
    """``* in (…)`` and ``* has_any (…)``: the list test on any column."""
    relation = row.relation
    if relation is None:
        raise fail("KQL0106", "'*' needs the columns of a table.", node)
    negated = node.op.startswith("!")
    tests = []
    saved, row.search = row.search, True
    for column in relation.visible():
        name = b.alias()
        row.extra[name] = column.scalar()
        try:
            tests.append(b.scalar(replace(node, op=node.op.lstrip("!"), left=ast.Name(node.span, name)), row))
        except BindError:
            if node.op.lstrip("!").startswith("has"):
                raise
        finally:
            del row.extra[name]
    row.search = saved
    found = scalars.combine("or", tests)
    return scalars.inverse(found) if negated else found


def _find_source(b: Binder, node: ast.Find, env: Environment) -> Relation:
    tables = list(node.tables) or [ast.Star(node.span, "*")]
    parts: list[Part] = []
    for table in tables:
        parts.extend(_tables(b, table, env, len(parts)))
    return _find_in(b, parts, node, env)


def _find_operator(b: Binder, relation: Relation, node: ast.Find, env: Environment) -> Relation:
    return _find_in(b, [Part(relation, relation.name or "find_arg0")], node, env)


def _find_in(b: Binder, parts: Sequence[Part], node: ast.Find, env: Environment) -> Relation:
    """find: the rows of any table that satisfy the predicate, with `source_`, the asked columns and the rest as a bag."""
    from tocsin.kql.binder.operators.columns import column_name
    from tocsin.kql.binder.special_forms import pack

    source = _word(node.params.get("withsource")) or "source_"
    wanted: list[tuple[str, KqlType | None]] = []
    packed = False
    for item in node.project:
        if (isinstance(item, ast.Call) and item.callee in ("pack_all", "pack")) or isinstance(item, ast.Star):
            packed = True
        else:
            name = column_name(item.value if isinstance(item, ast.Named) else item)
            if name is None:
                raise fail("KQL0105", "find projects columns by name.", item)
            wanted.append((name, None))
    if not node.project:
        packed = True
        wanted = [(n, None) for n in _names_in(node.predicate, parts)]
        common = [
            c.name for c in parts[0].relation.visible() if all(p.relation.column(c.name) is not None for p in parts)
        ]
        wanted = [(n, None) for n in dict.fromkeys([n for n, _ in wanted] + (common if len(parts) > 1 or True else []))]
    away = {column_name(i) for i in node.project_away}
    made: list[Part] = []
    for part in parts:
        relation = filter_everywhere(b, part.relation, node.predicate, env)
        columns = []
        named = {n for n, _ in wanted}
        for name, _ in wanted:
            column = relation.column(name)
            if column is not None and name not in away:
                columns.append(column)
        if packed:
            rest = [(c.name, c.scalar()) for c in relation.visible() if c.name not in named and c.name not in away]
            bag = pack(rest, True) if rest else constant(KqlType.DYNAMIC, "{}")
            alias = b.alias()
            plan = b.compute(relation, [(alias, bag)])
            relation = relation.with_plan(plan, [*columns, BoundColumn("pack_", KqlType.DYNAMIC, alias)])
        else:
            relation = relation.with_plan(relation.plan, columns)
        made.append(Part(relation, part.label))
    return union_relations(b, made, source=source, inner=False, node=node)


def _names_in(node: ast.Expr, parts: Sequence[Part]) -> list[str]:
    """Columns that a predicate names, in order."""
    found: list[str] = []

    def walk(one: object) -> None:
        if isinstance(one, ast.Name):
            if any(p.relation.column(one.name) is not None for p in parts) and one.name not in found:
                found.append(one.name)
        elif isinstance(one, ast.Expr):
            for slot in getattr(type(one), "__dataclass_fields__", {}):
                walk(getattr(one, slot))
        elif isinstance(one, tuple):
            for inner in one:
                walk(inner)

    walk(node)
    return found


APPLIERS = {ast.Union: _union_operator, ast.Search: _search_operator, ast.Find: _find_operator}
SOURCES = {ast.Union: _union_source, ast.Search: _search_source, ast.Find: _find_source}

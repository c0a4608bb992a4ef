"""evaluate: the plugins that are relational at heart. Some make columns that depend on the data; those ask for it first."""

# ruff: noqa: ARG001 - the handlers of a table share one signature

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tocsin.kql import ast
from tocsin.kql.binder.core import AggregateUse, Binder, Row
from tocsin.kql.binder.errors import fail, policy, unknown, unsupported
from tocsin.kql.binder.names import result_name
from tocsin.kql.binder.operators.columns import column_name, extend_relation
from tocsin.kql.binder.operators.expand import empty_values
from tocsin.kql.binder.operators.grouping import bind_outputs
from tocsin.kql.binder.operators.library import LIBRARY, apply_template
from tocsin.kql.binder.operators.mining import PLUGINS as MINING
from tocsin.kql.binder.operators.rows import group, limit_relation
from tocsin.kql.binder.operators.sequences import PLUGINS as SEQUENCES
from tocsin.kql.binder.typing_rules import convert, explicit
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.emit.duckdb.literals import constant, text
from tocsin.kql.plan import Aggregate, Compute, Custom, Filter, Join, OrderKey, Plan, Scalar
from tocsin.kql.scope import BoundColumn, Environment, OpenBag, Relation, unique_name
from tocsin.kql.types import KqlType

__all__ = ["APPLIERS", "PLUGINS", "REFUSED", "SOURCES", "plugin_names"]

COLUMN_LIMIT = 1000
"""Columns that one plugin may make."""

_OUTSIDE = "queries do not run foreign code or reach other systems from here"
REFUSED = {
    **dict.fromkeys(
        (
            *("python", "r", "http_request", "http_request_post", "sql_request", "mysql_request", "postgresql_request"),
            *("cosmosdb_sql_request", "azure_digital_twins_query_request", "ai_embed_text", "ai_embeddings"),
            "ai_chat_completion",
            "ai_chat_completion_prompt",
        ),
        _OUTSIDE,
    ),
    **dict.fromkeys(
        ("infer_storage_schema", "infer_storage_schema_with_suggestions"),
        "queries do not read storage outside of the workspace; externaldata does where the policy allows the address",
    ),
    "diffpatterns_text": "Kusto itself has given it up; diffpatterns() is its successor",
}
"""Plugins that are refused whatever the engine can do, and why."""

Plugin = Callable[[Binder, Relation, ast.Evaluate, Environment], Relation]


def _evaluate(b: Binder, relation: Relation, node: ast.Evaluate, env: Environment) -> Relation:
    name = node.call.callee
    if name in REFUSED:
        raise policy(f"The plugin {name}()", REFUSED[name], node.call.callee_span)
    plugin = PLUGINS.get(name)
    template = LIBRARY.get(name)
    if template is not None:
        return apply_template(b, relation, node, template, env)
    if plugin is None:
        raise unknown("KQL0103", "plugin", name, (*PLUGINS, *LIBRARY), node.call.callee_span)
    if relation.partition:
        raise unsupported("evaluate inside mv-apply or partition", node)
    return plugin(b, relation, node, env)


def _arguments(node: ast.Evaluate, least: int, most: int) -> list[ast.Expr]:
    args = [a.value if isinstance(a, ast.Named) else a for a in node.call.args]
    if not least <= len(args) <= most:
        raise fail("KQL0104", f"{node.call.callee}() takes {least} to {most} arguments, not {len(args)}.", node.call)
    return args


def _named(node: ast.Evaluate, names: Sequence[str]) -> dict[str, ast.Expr]:
    """The arguments by name; those without one take the names that are left, in order."""
    given: dict[str, ast.Expr] = {}
    folded = {n.lower(): n for n in names}
    for argument in node.call.args:
        if isinstance(argument, ast.Named) and argument.names[0].lower() in folded:
            given[folded[argument.names[0].lower()]] = argument.value
            continue
        free = next((n for n in names if n not in given), None)
        if free is None:
            raise fail("KQL0104", f"{node.call.callee}() takes at most {len(names)} arguments.", argument)
        given[free] = argument
    if names[0] not in given:
        raise fail("KQL0104", f"{node.call.callee}() needs '{names[0]}'.", node.call)
    return given


def _text(b: Binder, node: ast.Expr | None, env: Environment, default: str) -> str:
    return b.constant_text(node, env, "The plugin") if node is not None else default


def _column(relation: Relation, node: ast.Expr) -> BoundColumn:
    name = column_name(node)
    column = relation.column(name) if name is not None else None
    if column is None:
        raise unknown("KQL0101", "column", name or "?", (c.name for c in relation.columns), node)
    return column


# ---------------------------------------------------------------------------------------------- bag_unpack


def _bag_unpack(b: Binder, relation: Relation, node: ast.Evaluate, env: Environment) -> Relation:
    """A column for each property of a bag."""
    given = _named(node, ("column", "OutputColumnPrefix", "columnsConflict", "ignoredProperties"))
    bag = given["column"]
    column = _column(relation, bag)
    if column.type is not KqlType.DYNAMIC:
        raise fail("KQL0105", f"bag_unpack() needs a dynamic; '{column.name}' is a {column.type}.", bag)
    prefix = _text(b, given.get("OutputColumnPrefix"), env, "")
    conflict = _text(b, given.get("columnsConflict"), env, "error")
    if conflict not in ("error", "replace_source", "keep_source"):
        raise fail("KQL0105", f"bag_unpack() has no way '{conflict}' to settle equal names.", given["columnsConflict"])
    ignored = _ignored(b, given["ignoredProperties"], env) if "ignoredProperties" in given else set()
    rest = [c for c in relation.columns if c.alias != column.alias or c.name != column.name]
    relation = relation.with_plan(relation.plan, rest)
    if node.schema is not None:
        return _declared_bag(b, relation, column, node, prefix)
    found = _properties(b, relation, column, node)
    bound: list[tuple[str | None, str, Scalar]] = []
    names = {c.name for c in rest}
    for key, kind in found:
        name = prefix + key
        if key in ignored:
            continue
        if name in names:
            if conflict == "error":
                raise fail("KQL0109", f"bag_unpack() makes a column '{name}', which is there already.", bag)
            if conflict == "keep_source":
                continue
        bound.append((name, name, _property(column, key, kind)))
    made = extend_relation(b, relation, bound)
    missing = scalars.access(column.scalar(), constant(KqlType.STRING, "\0"))
    return made.with_plan(made.plan, open_bag=OpenBag(replace(missing, sql="NULL::JSON", path=None), prefix))


def _ignored(b: Binder, node: ast.Expr, env: Environment) -> set[str]:
    from tocsin.kql.binder.fold import json_value

    value = b.scalar(node, Row(env))
    listed = json_value(value) if value.constant and value.type is KqlType.DYNAMIC else None
    if not isinstance(listed, list):
        raise fail("KQL0107", "bag_unpack() needs a constant array of names to ignore.", node)
    return {str(x) for x in listed}


def _property(column: BoundColumn, key: str, kind: KqlType) -> Scalar:
    value = scalars.access(column.scalar(), constant(KqlType.STRING, key))
    return value if kind is KqlType.DYNAMIC else explicit(value, kind)


def _declared_bag(b: Binder, relation: Relation, column: BoundColumn, node: ast.Evaluate, prefix: str) -> Relation:
    """With a declared schema nothing depends on the data: the columns are what it says."""
    assert node.schema is not None
    columns: list[BoundColumn] = list(relation.columns) if node.schema_star else []
    bound: list[tuple[str | None, str, Scalar]] = []
    for declared in node.schema:
        existing = relation.column(declared.name)
        if existing is not None and not node.schema_star:
            columns.append(existing)
            continue
        key = declared.name.removeprefix(prefix)
        bound.append((declared.name, declared.name, _property(column, key, declared.type)))
    made = extend_relation(b, relation.with_plan(relation.plan, columns), bound)
    order = {d.name: i for i, d in enumerate(node.schema)}
    if not node.schema_star:
        return made.with_plan(made.plan, sorted(made.columns, key=lambda c: order.get(c.name, -1)))
    return made


_JSON_TYPES = {
    "VARCHAR": KqlType.STRING,
    "UBIGINT": KqlType.LONG,
    "BIGINT": KqlType.LONG,
    "DOUBLE": KqlType.REAL,
    "BOOLEAN": KqlType.BOOL,
}


def _properties(b: Binder, relation: Relation, column: BoundColumn, node: ast.Evaluate) -> list[tuple[str, KqlType]]:
    """The properties that the rows have, by name, with the type that holds all their values."""
    key, kinds = b.alias(), b.alias()
    d = column.alias

    def build(names: Sequence[str]) -> str:
        keys = f"SELECT {d}, unnest(json_keys({d})) AS k FROM {names[0]} WHERE json_type({d}) = 'OBJECT'"
        typed = f"SELECT k, json_type(q_key({d}, k)) AS t FROM ({keys})"
        return f"SELECT k AS {key}, coalesce(string_agg(DISTINCT t, ','), '') AS {kinds} FROM ({typed}) GROUP BY k"

    plan = Custom(frozenset((key, kinds)), [(relation.plan, frozenset((d,)))], build)
    columns = (BoundColumn("key", KqlType.STRING, key), BoundColumn("kinds", KqlType.STRING, kinds))
    rows = b.ask(Relation(plan, columns), f"{node.call.callee}()", node.call)
    if len(rows) > COLUMN_LIMIT:
        raise fail("KQL0110", f"The bag has {len(rows)} properties; the limit is {COLUMN_LIMIT}.", node.call)
    found = []
    for name, listed in sorted((str(r[0]), str(r[1])) for r in rows):
        kinds_of = {_JSON_TYPES.get(t, KqlType.DYNAMIC) for t in listed.split(",") if t and t != "NULL"}
        if kinds_of == {KqlType.LONG, KqlType.REAL}:
            kinds_of = {KqlType.REAL}
        found.append((name, next(iter(kinds_of)) if len(kinds_of) == 1 else KqlType.DYNAMIC))
    return found


# ---------------------------------------------------------------------------------------------- pivot, narrow


def _pivot(b: Binder, relation: Relation, node: ast.Evaluate, env: Environment) -> Relation:
    """A column for each value of a column, holding an aggregate."""
    if not node.call.args:
        raise fail("KQL0104", "pivot() needs a column.", node.call)
    pivot_node, *rest = node.call.args
    pivot = _column(relation, pivot_node)
    call: ast.Expr = ast.Call(node.call.span, "count", (), node.call.span)
    if rest and isinstance(rest[0].value if isinstance(rest[0], ast.Named) else rest[0], ast.Call):
        call = rest.pop(0)
    inner = b.row(relation, env)
    use = AggregateUse(order=relation.order)
    row = Row(env, relation=None, aggregates=use, inner=inner)
    outputs = bind_outputs(b, [call], row, relation, ())
    if len(outputs) != 1:
        raise fail("KQL0105", "pivot() needs an aggregate that gives one value.", call)
    value = outputs[0].value
    if rest:
        kept = [_column(relation, c) for c in rest]
    else:
        used = _argument_names(call)
        kept = [c for c in relation.visible() if c.name != pivot.name and c.name not in used]
    relation = b.settle(relation, inner)
    keys = [(b.alias(), c.scalar()) for c in kept]
    label = b.alias()
    label_value = convert(pivot.scalar(), KqlType.STRING)
    all_keys = [*keys, (label, label_value)]
    grouped: Plan = Aggregate(
        frozenset([*(a for a, _ in all_keys), *(a for a, _ in use.calls)]), relation.plan, all_keys, use.calls
    )
    amount = b.alias()
    grouped = Compute(grouped.aliases | {amount}, grouped, [(amount, value)])
    columns = [c._replace(alias=a) for c, (a, _) in zip(kept, keys, strict=True)]
    held = Relation(grouped, tuple(columns))
    shared = b.share(held, materialized=True)
    reader = b.read(
        shared,
        Relation(
            grouped,
            (*columns, BoundColumn("p", KqlType.STRING, label), BoundColumn("v", value.type, amount, value.ticks)),
        ),
    )
    *own, p, v = reader.columns
    values = _pivot_values(b, shared_reader(b, shared, label), node)
    [(_, missing)] = empty_values(b, relation, use.calls, [(amount, value)])
    final = [(b.alias(), c.scalar()) for c in own]
    cells = []
    made = [c._replace(alias=a) for c, (a, _) in zip(own, final, strict=True)]
    taken = {c.name for c in made}
    for name in values:
        alias = b.alias()
        here = f"FILTER ({p.alias} = {text(name)})"
        sql = f"CASE WHEN count(*) {here} > 0 THEN any_value({v.alias}) {here} ELSE {missing.sql} END"
        cells.append((alias, Scalar(sql, v.type, cheap=False, ticks=v.ticks, refs=frozenset((p.alias, v.alias)))))
        own_name = unique_name(name, taken)
        taken.add(own_name)
        made.append(BoundColumn(own_name, v.type, alias, v.ticks))
    plan = Aggregate(frozenset(a for a, _ in (*final, *cells)), reader.plan, final, cells)
    return Relation(plan, tuple(made), open_bag=OpenBag(scalars.null(value.type)))


def shared_reader(b: Binder, shared: object, alias: str) -> Relation:
    """The distinct values of one column of a shared tree."""
    from tocsin.kql.plan import Shared

    assert isinstance(shared, Shared)
    column = BoundColumn("value", KqlType.STRING, alias)
    reader = b.read(shared, Relation(shared.plan, (column,)))
    key = b.alias()
    plan = Aggregate(frozenset((key,)), reader.plan, [(key, reader.columns[0].scalar())], [])
    return Relation(plan, (BoundColumn("value", KqlType.STRING, key),))


def _pivot_values(b: Binder, distinct: Relation, node: ast.Evaluate) -> list[str]:
    if node.schema is not None:
        return [c.name for c in node.schema]
    rows = b.ask(distinct, "pivot()", node.call)
    if len(rows) > COLUMN_LIMIT:
        raise fail("KQL0110", f"pivot() would make {len(rows)} columns; the limit is {COLUMN_LIMIT}.", node.call)
    return sorted(str(r[0]) for r in rows)


def _argument_names(call: ast.Expr) -> set[str]:
    call = call.value if isinstance(call, ast.Named) else call
    if not isinstance(call, ast.Call):
        return set()
    return {name for name in (result_name(a) for a in call.args) if name}


def _narrow(b: Binder, relation: Relation, node: ast.Evaluate, env: Environment) -> Relation:
    """One row for each cell: Row, Column, Value."""
    _arguments(node, 0, 0)
    number = b.alias()
    order = f"ORDER BY {', '.join(k.alias for k in relation.order)}" if relation.order else ""
    reads = frozenset(k.alias for k in relation.order)
    position = Scalar(f"row_number() OVER ({order}) - 1", KqlType.LONG, cheap=False, refs=reads, window=True)
    visible = relation.visible()
    cells = [(c.name, convert(c.scalar(), KqlType.STRING)) for c in visible]
    plan = b.compute(relation, [(number, position)])
    row, name, value, index = b.alias(), b.alias(), b.alias(), b.alias()

    def build(names: Sequence[str]) -> str:
        parts = [
            f"SELECT {number} AS {row}, {text(label)} AS {name}, {cell.sql} AS {value}, {i} AS {index} FROM {names[0]}"
            for i, (label, cell) in enumerate(cells)
        ]
        return " UNION ALL ".join(parts)

    reads_all = frozenset((number,)).union(*(c.refs for _, c in cells))
    made = Custom(frozenset((row, name, value, index)), [(plan, reads_all)], build)
    columns = (
        BoundColumn("Row", KqlType.LONG, row),
        BoundColumn("Column", KqlType.STRING, name),
        BoundColumn("Value", KqlType.STRING, value),
    )
    return Relation(made, columns, (OrderKey(row), OrderKey(index)))


# ---------------------------------------------------------------------------------------------- lookups by network


def _ip_lookup(b: Binder, relation: Relation, node: ast.Evaluate, env: Environment) -> Relation:
    """Rows joined to the networks that hold their address."""
    from tocsin.kql.functions import registry

    args = list(node.call.args)
    if len(args) < 3:
        raise fail("KQL0104", f"{node.call.callee}() needs a table and two columns.", node.call)
    outer = False
    for argument in list(args):
        if isinstance(argument, ast.Named) and argument.names[0] == "return_unmatched":
            outer = bool(b.scalar(argument.value, Row(env)).value)
            args.remove(argument)
        elif isinstance(argument, ast.Literal) and argument.type is KqlType.BOOL:
            outer = bool(argument.value)
            args.remove(argument)
    networks = b.table(args[0], env)
    address, network = _column(relation, args[1]), _column(networks, args[2])
    family = "ipv4_is_in_range" if node.call.callee.startswith("ipv4") else "ipv6_is_in_range"
    function = registry.scalar(family)
    assert function is not None
    lowered = function.lower((convert(address.scalar(), KqlType.STRING), convert(network.scalar(), KqlType.STRING)))
    conditions = [f"coalesce({lowered.sql}, FALSE)"]
    refs = frozenset((address.alias, network.alias))
    dropped = set()
    for extra in args[3:]:
        left, right = _column(relation, extra), _column(networks, extra)
        conditions.append(f"{left.alias} IS NOT DISTINCT FROM {right.alias}")
        refs |= {left.alias, right.alias}
        dropped.add(right.alias)
    on = Scalar(" AND ".join(conditions), KqlType.BOOL, cheap=False, refs=refs)
    plan = Join(
        relation.plan.aliases | networks.plan.aliases, "left" if outer else "inner", relation.plan, networks.plan, on
    )
    from tocsin.kql.binder.operators.joins import fill_strings

    sides = [list(relation.columns), [c for c in networks.columns if c.alias not in dropped]]
    if node.call.callee == "ipv6_lookup":  # the engine puts the networks first here
        sides.reverse()
    taken: set[str] = set()
    columns = []
    for column in (*sides[0], *sides[1]):
        name = unique_name(column.name, taken)
        taken.add(name)
        columns.append(column._replace(name=name))
    joined = Relation(plan, tuple(columns), relation.order)
    return fill_strings(b, joined, networks.plan.aliases) if outer else joined


def _geo_lookup(b: Binder, relation: Relation, node: ast.Evaluate, env: Environment) -> Relation:
    """Rows joined to the polygons that hold their point, or to the lines within a distance of it."""
    from tocsin.kql.functions import registry

    args = [a for a in node.call.args if not isinstance(a, ast.Named)]
    flags = {a.names[0]: a.value for a in node.call.args if isinstance(a, ast.Named)}
    line = node.call.callee == "geo_line_lookup"
    if len(args) < (5 if line else 4):
        raise fail("KQL0104", f"{node.call.callee}() takes at least {5 if line else 4} arguments.", node.call)

    def flag(name: str, position: int) -> bool:
        given = flags.get(name) or (args[position] if len(args) > position else None)
        return bool(b.scalar(given, Row(env)).value) if given is not None else False

    first = 5 if line else 4
    outer, keep = flag("return_unmatched", first), flag("return_lookup_key", first + 2)
    shapes = b.table(args[0], env)
    key = _column(shapes, args[1])
    longitude, latitude = (convert(_column(relation, a).scalar(), KqlType.REAL) for a in args[2:4])
    function = registry.scalar("geo_distance_point_to_line" if line else "geo_point_in_polygon")
    assert function is not None
    lowered = function.lower((longitude, latitude, key.scalar()))
    test = f"({lowered.sql} <= {convert(b.scalar(args[4], Row(env)), KqlType.REAL).sql})" if line else lowered.sql
    on = scalars.make(f"coalesce({test}, FALSE)", KqlType.BOOL, (longitude, latitude, key.scalar()))
    kind = "left" if outer else "inner"
    plan = Join(relation.plan.aliases | shapes.plan.aliases, kind, relation.plan, shapes.plan, on)
    taken = {c.name for c in relation.columns}
    columns = list(relation.columns)
    for column in shapes.columns:
        if column.alias == key.alias and not keep:
            continue
        name = unique_name(column.name, taken)
        taken.add(name)
        columns.append(column._replace(name=name))
    joined = Relation(plan, tuple(columns), relation.order)
    from tocsin.kql.binder.operators.joins import fill_strings

    return fill_strings(b, joined, shapes.plan.aliases) if outer else joined


def _dcount_intersect(b: Binder, relation: Relation, node: ast.Evaluate, env: Environment) -> Relation:
    """How many distinct values the first 1, 2, … states have in common."""
    args = _arguments(node, 2, 16)
    states = [_column(relation, a).scalar() for a in args]
    bound: list[tuple[str | None, str, Scalar]] = []
    common = f"try_cast({states[0].sql} AS UBIGINT[])"
    for i, state in enumerate(states):
        if i:
            common = f"list_intersect({common}, try_cast({state.sql} AS UBIGINT[]))"
        bound.append((f"s{i}", f"s{i}", scalars.make(f"len({common})::BIGINT", KqlType.LONG, states[: i + 1])))
    return extend_relation(b, relation, bound)


def _preview(b: Binder, relation: Relation, node: ast.Evaluate, env: Environment) -> Relation:
    """The first rows, and how many there are as a second result."""
    args = _arguments(node, 1, 1)
    count = b.constant_int(args[0], env, "preview()")
    shared = b.share(relation, materialized=True)
    total = b.alias()
    counted = group(
        b,
        b.read(shared, relation),
        [],
        [(total, Scalar("count(*)", KqlType.LONG, cheap=False))],
        [BoundColumn("Count", KqlType.LONG, total)],
    )
    b.more.append(counted)
    return limit_relation(b.read(shared, relation), constant(KqlType.LONG, max(count, 0)))


def _rows_near(b: Binder, relation: Relation, node: ast.Evaluate, env: Environment) -> Relation:
    """The rows that satisfy a condition, with so many rows before and after each."""
    from tocsin.kql.binder.expressions import bind_boolean
    from tocsin.kql.emit.duckdb.relations import order_text

    args = _arguments(node, 2, 3)
    if not relation.serialized:
        raise fail("KQL0106", "rows_near() needs rows in order.", node.call, "Put 'sort by' or 'serialize' before it.")
    before = b.constant_int(args[1], env, "rows_near()")
    after = b.constant_int(args[2], env, "rows_near()") if len(args) > 2 else before
    row = b.row(relation, env)
    hit = bind_boolean(b, args[0], row, "rows_near()")
    relation = b.settle(relation, row)
    alias = b.alias()
    order = f"ORDER BY {order_text(relation.order)} " if relation.order else ""
    frame = f"ROWS BETWEEN {max(before, 0)} PRECEDING AND {max(after, 0)} FOLLOWING"
    reads = hit.refs | {k.alias for k in relation.order}
    near = Scalar(
        f"coalesce(bool_or({hit.sql}) OVER ({order}{frame}), FALSE)", KqlType.BOOL, cheap=False, refs=reads, window=True
    )
    plan = b.compute(relation, [(alias, near)])
    kept = Scalar(alias, KqlType.BOOL, refs=frozenset((alias,)))
    return relation.with_plan(Filter(plan.aliases, plan, kept))


PLUGINS: dict[str, Plugin] = {
    "preview": _preview,
    "rows_near": _rows_near,
    "dcount_intersect": _dcount_intersect,
    "geo_polygon_lookup": _geo_lookup,
    "geo_line_lookup": _geo_lookup,
    "bag_unpack": _bag_unpack,
    "pivot": _pivot,
    "narrow": _narrow,
    "ipv4_lookup": _ip_lookup,
    "ipv6_lookup": _ip_lookup,
    **SEQUENCES,
    **MINING,
}


def plugin_names() -> list[str]:
    """Every plugin that runs, by name."""
    return sorted((*PLUGINS, *LIBRARY))


APPLIERS = {ast.Evaluate: _evaluate}


def _evaluate_source(b: Binder, node: ast.Evaluate, env: Environment) -> Relation:
    """Plugins that start a query reach outside, and are refused."""
    if node.call.callee in REFUSED:
        raise policy(f"The plugin {node.call.callee}()", REFUSED[node.call.callee], node.call.callee_span)
    raise fail("KQL0106", f"The plugin {node.call.callee}() needs a table before it.", node)


SOURCES = {ast.Evaluate: _evaluate_source}

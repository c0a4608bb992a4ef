"""Tabular expressions: what stands before the first pipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import fail, policy, unknown
from tocsin.kql.binder.patterns import bind_pattern
from tocsin.kql.binder.typing_rules import convert
from tocsin.kql.emit import physical_names
from tocsin.kql.emit.duckdb.literals import constant
from tocsin.kql.plan import OrderKey, Scalar, Scan, Values
from tocsin.kql.scope import (
    BoundColumn,
    Environment,
    FunctionValue,
    LazyLet,
    OpenBag,
    PatternValue,
    Relation,
    TableValue,
)
from tocsin.kql.types import KqlType, TableSchema

__all__ = ["bind_table", "is_table_expression", "scan_table"]

_SOURCE_FUNCTIONS = frozenset(["table", "materialize", "view", "datatable", "externaldata"])

CELL_LIMIT = 200_000
"""Values of a datatable: the engine plans a literal row in 8 KiB and 50 µs (a million took 8 GiB)."""


def is_table_expression(b: Binder, node: ast.Expr | ast.Operator, env: Environment) -> bool:
    """True where an expression gives a table."""
    while isinstance(node, ast.Paren):
        node = node.inner
    if isinstance(node, ast.Operator):
        return True
    if isinstance(node, ast.Pipeline):
        return True if node.operators else is_table_expression(b, node.source, env)
    if isinstance(node, ast.Name):
        value = env.lookup(node.name)
        if isinstance(value, LazyLet):
            from tocsin.kql.binder.lets import resolve

            value = resolve(b, value)
        if value is None:
            return b.catalog.table(node.name) is not None
        return isinstance(value, TableValue)
    if isinstance(node, ast.Call):
        return _is_table_call(b, node, env)
    if isinstance(node, (ast.Member, ast.Index)) and _pattern_of(node, env) is not None:
        return True
    if isinstance(node, ast.Member):
        return isinstance(node.target, (ast.Call, ast.Member)) and _root_callee(node) in (
            "cluster",
            "database",
            "workspace",
            "adx",
            "arg",
            "app",
            "resource",
        )
    return False


def _pattern_of(node: ast.Expr, env: Environment) -> PatternValue | None:
    """The declared pattern that a call, or a path after a call, is of."""
    call = node.target if isinstance(node, (ast.Member, ast.Index)) else node
    value = env.lookup(call.callee) if isinstance(call, ast.Call) else None
    return value if isinstance(value, PatternValue) else None


def _root_callee(node: ast.Expr) -> str:
    while isinstance(node, ast.Member):
        node = node.target
    return node.callee if isinstance(node, ast.Call) else ""


def _is_table_call(b: Binder, node: ast.Call, env: Environment) -> bool:
    value = env.lookup(node.callee)
    if isinstance(value, LazyLet):
        from tocsin.kql.binder.lets import resolve

        value = resolve(b, value)
    if isinstance(value, PatternValue):
        return True
    if isinstance(value, FunctionValue):
        return _gives_table(b, value)
    if node.callee == "materialize":
        return bool(node.args) and is_table_expression(b, node.args[0], env)
    if node.callee in _SOURCE_FUNCTIONS or node.callee in ("workspace", "adx", "arg", "external_table"):
        return True
    from tocsin.kql.functions import registry

    if registry.scalar(node.callee) is not None:
        return False
    stored = b.catalog.function(node.callee)
    if stored is None:
        return False
    from tocsin.kql.binder.lets import stored_function

    return _gives_table(b, stored_function(b, stored, node))


def _gives_table(b: Binder, function: FunctionValue) -> bool:
    """Whether a function's body is tabular, told from its text: parameters and inner lets first, then what the body is."""
    if function.function.view:
        return True
    inner = Environment(function.environment if function.source is None else b.root_catalogue)
    marker = TableValue("", lambda: (_ for _ in ()).throw(AssertionError("not to be read")))
    from tocsin.kql.scope import ScalarValue

    for parameter in function.function.params:
        value = marker if parameter.schema is not None else ScalarValue(constant(parameter.type or KqlType.LONG, None))
        inner.declare(parameter.name, value)
    from tocsin.kql.binder.lets import declare_let

    for statement in function.function.statements:
        if isinstance(statement, ast.Let):
            if isinstance(statement.value, ast.Lambda):
                declare_let(b, statement, inner)
            elif _looks_tabular(b, statement.value, inner):
                inner.declare(statement.name, marker)
            else:
                inner.declare(statement.name, ScalarValue(constant(KqlType.LONG, None)))
    return _looks_tabular(b, function.function.body, inner)


def _looks_tabular(b: Binder, node: ast.Expr, env: Environment) -> bool:
    try:
        return is_table_expression(b, node, env)
    except AssertionError:
        return True


def bind_table(b: Binder, node: ast.Expr | ast.Operator, env: Environment) -> Relation:
    """Bind what gives a table."""
    while isinstance(node, ast.Paren):
        node = node.inner
    if isinstance(node, ast.Pipeline):
        return b.operators(b.table(node.source, env), node.operators, env)
    if isinstance(node, ast.Name):
        return _named_table(b, node, env)
    if isinstance(node, (ast.Call, ast.Member, ast.Index)):
        pattern = _pattern_of(node, env)
        if pattern is not None:
            call = node.target if isinstance(node, (ast.Member, ast.Index)) else node
            assert isinstance(call, ast.Call)
            path = node.name if isinstance(node, ast.Member) else node.index if isinstance(node, ast.Index) else None
            return bind_pattern(b, pattern, call, path, env)
    if isinstance(node, ast.Call):
        return _call(b, node, env)
    if isinstance(node, ast.Member):
        raise policy("A reference to another database", "queries stay in this one", node)
    if isinstance(node, ast.Star):
        from tocsin.kql.binder.operators.unions import union_of

        return union_of(b, [node], env, node)
    if isinstance(node, ast.Lambda):
        from tocsin.kql.binder.lets import bind_statements

        inner = Environment(env)
        bind_statements(b, node.statements, inner)
        return b.table(node.body, inner)
    if isinstance(node, ast.ToScalar):
        raise fail("KQL0106", "toscalar() gives a value; a table is needed here.", node)
    source = _SOURCES.get(type(node))
    if source is None:
        from tocsin.kql.binder.operators import bind_source

        if isinstance(node, ast.Operator):
            return bind_source(b, node, env)
        raise fail("KQL0106", "A table was expected here.", node)
    return source(b, node, env)


def _named_table(b: Binder, node: ast.Name, env: Environment) -> Relation:
    value = env.lookup(node.name)
    if isinstance(value, LazyLet):
        from tocsin.kql.binder.lets import resolve

        value = resolve(b, value)
    if isinstance(value, TableValue):
        return value.reader()
    if isinstance(value, FunctionValue):
        from tocsin.kql.binder.lets import call_table

        return call_table(b, value, ast.Call(node.span, node.name, (), node.span), env)
    if value is not None:
        raise fail("KQL0106", f"'{node.name}' is a value; a table is needed here.", node)
    schema = b.catalog.table(node.name)
    if schema is not None:
        return scan_table(b, schema)
    stored = b.catalog.function(node.name)
    if stored is not None:
        from tocsin.kql.binder.lets import call_table, stored_function

        return call_table(b, stored_function(b, stored, node), ast.Call(node.span, node.name, (), node.span), env)
    known = [*b.catalog.table_names(), *env.all_names(), *b.catalog.function_names()]
    raise unknown("KQL0102", "table", node.name, known, node)


def scan_table(b: Binder, schema: TableSchema) -> Relation:
    """A catalogue table: every column under an alias of its own."""
    b.tables.add(schema.name)
    listed = schema.columns
    aliases = b.aliases(len(listed))
    columns = tuple(
        [BoundColumn(c.name, c.type, alias, False, c.hidden, True) for c, alias in zip(listed, aliases, strict=True)]
    )
    physical = dict(zip(aliases, _physical(schema), strict=True))
    if schema.members:
        _members(b, schema, dict(zip((c.name for c in listed), aliases, strict=True)), physical)
    bag = _OPEN if schema.open else None
    return Relation(
        Scan(frozenset(physical), schema.name, physical), columns, name=schema.name, row_wise=True, open_bag=bag
    )


def _members(
    b: Binder, schema: TableSchema, columns: Mapping[str, str], physical: dict[str, tuple[str, KqlType]]
) -> None:
    """Gives the texts of the table's often read members aliases of their own. What nobody reads is in no SQL."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for column, member in schema.members:
        text, again = b.aliases(2)
        physical[text] = (f"{column}:{member}", KqlType.STRING)
        physical[again] = (f"{column}::{member}", KqlType.STRING)
        found.setdefault(columns[column], []).append((member, text, again))
    b.members.update((alias, tuple(members)) for alias, members in found.items())


_OPEN = OpenBag(constant(KqlType.STRING, None), suffixes=True)


_PHYSICAL: dict[int, tuple[TableSchema, list[tuple[str, KqlType]]]] = {}


def _physical(schema: TableSchema) -> list[tuple[str, KqlType]]:
    """Physical names and types, kept for the schemas that were read last (the schema is held, so its id stays its own)."""
    found = _PHYSICAL.get(id(schema))
    if found is None:
        if len(_PHYSICAL) > 4096:
            _PHYSICAL.clear()
        names = physical_names(schema.columns)
        found = (schema, [(n, c.type) for n, c in zip(names, schema.columns, strict=True)])
        _PHYSICAL[id(schema)] = found
    return found[1]


def _call(b: Binder, node: ast.Call, env: Environment) -> Relation:
    value = env.lookup(node.callee)
    if isinstance(value, LazyLet):
        from tocsin.kql.binder.lets import resolve

        value = resolve(b, value)
    from tocsin.kql.binder.lets import call_table, stored_function

    if isinstance(value, FunctionValue):
        return call_table(b, value, node, env)
    if node.callee == "table":
        return _table_function(b, node, env)
    if node.callee == "materialize":
        if len(node.args) != 1:
            raise fail("KQL0104", "materialize() takes one table.", node)
        return _materialize(b, node.args[0], env)
    if node.callee == "view" and len(node.args) == 1:
        return b.table(node.args[0], env)
    stored = b.catalog.function(node.callee)
    if stored is not None:
        return call_table(b, stored_function(b, stored, node), node, env)
    from tocsin.kql.binder.calls import REFUSED_BY_POLICY

    if node.callee in REFUSED_BY_POLICY:
        raise policy(f"{node.callee}()", REFUSED_BY_POLICY[node.callee], node.callee_span)
    if isinstance(value, TableValue) and not node.args:
        return value.reader()
    known = [*b.catalog.function_names(), *env.all_names()]
    raise unknown("KQL0103", "function that gives a table", node.callee, known, node.callee_span)


def _table_function(b: Binder, node: ast.Call, env: Environment) -> Relation:
    if not node.args:
        raise fail("KQL0104", "table() needs a table's name.", node)
    name = b.scalar(node.args[0], Row(env))
    if not name.constant or name.type is not KqlType.STRING:
        raise fail("KQL0107", "table() needs a constant name.", node.args[0])
    return _named_table(b, ast.Name(node.args[0].span, str(name.value)), env)


def _materialize(b: Binder, node: ast.Expr, env: Environment) -> Relation:
    with b.weighing() as weight:
        relation = b.table(node, env)
    if isinstance(relation.plan, Scan):
        return relation
    shared = b.share(relation, materialized=True, weight=weight())
    return b.read(shared, relation)


# ---------------------------------------------------------------------------------------------- datatable


def _datatable(b: Binder, node: ast.Datatable, env: Environment) -> Relation:
    width = len(node.schema)
    if not width:
        raise fail("KQL0104", "datatable needs at least one column.", node)
    if len(node.values) % width:
        raise fail(
            "KQL0104",
            f"The values don't fill rows of {width} columns: there are {len(node.values)}.",
            node.values[-1] if node.values else node,
        )
    columns = []
    seen: set[str] = set()
    for declared in node.schema:
        if declared.name in seen:
            raise fail("KQL0109", f"The column '{declared.name}' is declared twice.", declared)
        seen.add(declared.name)
        columns.append(BoundColumn(declared.name, declared.type, b.alias()))
    if len(node.values) > CELL_LIMIT:
        message = f"The datatable has {len(node.values):,} values; {CELL_LIMIT:,} is the most."
        raise fail(
            "KQL0110",
            message,
            node,
            "Keep such a table as a watchlist or a file, and read it with _GetWatchlist() or externaldata.",
        )
    row = Row(env)
    cells = [_cell(b, value, node.schema[i % width].type, row) for i, value in enumerate(node.values)]
    for i, column in enumerate(columns):
        if column.type is KqlType.DATETIME and any(c.ticks for c in cells[i::width]):
            from tocsin.kql.emit.duckdb.scalars import to_ticks

            cells[i::width] = [to_ticks(c) for c in cells[i::width]]
            columns[i] = BoundColumn(column.name, column.type, column.alias, ticks=True)
    rows = [cells[i : i + width] for i in range(0, len(cells), width)]
    ordinal = b.alias()
    plan = Values(
        frozenset(c.alias for c in columns) | {ordinal},
        tuple(c.alias for c in columns),
        tuple((c.type, c.ticks) for c in columns),
        rows,
        ordinal,
    )
    return Relation(plan, tuple(columns), (OrderKey(ordinal),))


def _cell(b: Binder, node: ast.Expr, kind: KqlType, row: Row) -> Scalar:
    literal = node.operand if isinstance(node, ast.Unary) else node
    # `datetime(8:00)` is a sum in the tree, in one place of the text.
    written = isinstance(literal, ast.Binary) and literal.left.span != literal.span
    if written or not isinstance(literal, (ast.Literal, ast.Call, ast.Name, ast.Binary)):
        raise fail("KQL0107", "A datatable holds literals, not expressions.", node)
    value = b.scalar(node, row)
    if not value.constant and value.refs:
        raise fail("KQL0107", "A datatable holds constants.", node)
    if value.type is kind:
        return value
    if value.type is KqlType.STRING and value.value == "" and kind is not KqlType.DYNAMIC:
        return constant(kind, None)
    if kind is KqlType.DYNAMIC and value.type is KqlType.STRING:
        return convert(value, kind)
    if value.constant and kind in (KqlType.INT, KqlType.LONG) and value.type in (KqlType.INT, KqlType.LONG):
        return constant(kind, value.value)
    return convert(value, kind)


_SOURCES: dict[type, Callable[..., Relation]] = {ast.Datatable: _datatable}

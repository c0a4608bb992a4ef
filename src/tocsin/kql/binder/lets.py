"""let statements, user functions and stored functions: what a name stands for, and what a call of it becomes."""

# ruff: noqa: ARG001 - the handlers of a table share one signature

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from tocsin.kql import ast
from tocsin.kql.binder.core import CALL_DEPTH_LIMIT, Binder, Row
from tocsin.kql.binder.errors import BindError, fail, unknown
from tocsin.kql.binder.typing_rules import convert
from tocsin.kql.diagnostics import KqlErrors
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.emit.duckdb.literals import constant
from tocsin.kql.parser import parse
from tocsin.kql.plan import Scalar
from tocsin.kql.scope import BoundColumn, Environment, FunctionValue, LazyLet, Relation, ScalarValue, TableValue, Value
from tocsin.kql.types import FunctionSource, KqlType

__all__ = ["bind_statements", "call_scalar", "call_table", "resolve", "stored_function", "table_value"]


def bind_statements(b: Binder, statements: Sequence[ast.Statement], env: Environment) -> list[ast.ExpressionStatement]:
    """Declare what the statements declare in `env`; give the tabular expressions among them."""
    results = []
    for statement in statements:
        if isinstance(statement, ast.Let):
            declare_let(b, statement, env)
        elif isinstance(statement, ast.ExpressionStatement):
            results.append(statement)
        elif isinstance(statement, ast.DeclareParameters):
            _declare_parameters(b, statement, env)
        elif isinstance(statement, ast.SetOption):
            b.options[statement.name] = statement.value
        elif isinstance(statement, ast.DeclarePattern):
            from tocsin.kql.binder.patterns import declare_pattern

            declare_pattern(b, statement, env)
        elif isinstance(statement, ast.Alias):
            raise fail("KQL0202", "Aliases of other databases are refused: queries stay in this one.", statement)
        elif isinstance(statement, ast.Restrict):
            raise fail("KQL0201", "'restrict access' is not supported.", statement)
        else:
            raise fail("KQL0201", "This statement is not supported.", statement)
    return results


def declare_let(b: Binder, statement: ast.Let, env: Environment) -> None:
    """One let. Its value is bound when it is first read, in the environment before it, so it can't read itself."""
    outer = Environment(env)
    # The value sees the names declared so far; a later let of the same name must not change it.
    outer.names = dict(env.names)
    outer.parent = env.parent
    outer.row = env.row
    value = statement.value
    if isinstance(value, ast.Lambda):
        env.declare(statement.name, FunctionValue(statement.name, value, outer))
    else:
        env.declare(statement.name, LazyLet(statement.name, value, outer))


def resolve(b: Binder, let: LazyLet) -> Value:
    """What a let stands for."""
    if let.resolved is not None:
        return let.resolved
    if let.busy:
        raise fail("KQL0106", f"'{let.name}' is defined by itself.", let.value)
    let.busy = True
    try:
        let.resolved = _value_of(b, let.name, let.value, let.environment)
    finally:
        let.busy = False
    return let.resolved


def _value_of(b: Binder, name: str, node: ast.Expr, env: Environment) -> Value:
    from tocsin.kql.binder.tables import is_table_expression

    while isinstance(node, ast.Paren):
        node = node.inner
    if isinstance(node, ast.Lambda):
        return FunctionValue(name, node, env)
    if isinstance(node, ast.Pipeline) and not node.operators and isinstance(node.source, ast.Name):
        node = node.source
    if isinstance(node, ast.Name):
        known = env.lookup(node.name)
        if isinstance(known, LazyLet):
            known = resolve(b, known)
        if isinstance(known, (FunctionValue, ScalarValue, TableValue)):
            return known
    if is_table_expression(b, node, env):
        return table_value(b, name, node, env)
    return ScalarValue(single_value(b, node, env))


def single_value(b: Binder, node: ast.Expr, env: Environment) -> Scalar:
    """A scalar without rows around it: a constant as such, anything that takes steps as the cell of a row of its own."""
    caller = env.caller_row()
    if isinstance(caller, Row):
        return b.scalar(node, replace(caller, env=env))
    base = b.single()
    row = Row(env, base)
    value = b.scalar(node, row)
    if value.constant or not (row.hoists or value.volatile):
        return value
    relation = b.settle(base, row)
    alias = b.alias()
    shared = b.share(relation.with_plan(b.compute(relation, [(alias, value)])), materialized=True)
    shared.readers += 1
    shared.needed.add(alias)
    return Scalar(f"(SELECT {alias} FROM {shared.name})", value.type, cheap=False, ticks=value.ticks, subquery=True)


def table_value(b: Binder, name: str, node: ast.Expr | ast.Operator, env: Environment) -> TableValue:
    """A table bound once and read as often as the query likes."""
    with b.weighing() as weight:
        relation = b.table(node, env)
    return shared_value(b, name, relation, weight=weight(), materialized=_is_materialize(node))


def _is_materialize(node: ast.Expr | ast.Operator) -> bool:
    if isinstance(node, ast.Pipeline) and not node.operators:
        node = node.source
    return isinstance(node, ast.Call) and node.callee == "materialize"


def shared_value(b: Binder, name: str, relation: Relation, *, weight: int, materialized: bool = False) -> TableValue:
    """Readers of one bound relation."""
    shared = b.share(relation, materialized=materialized, weight=weight)
    return TableValue(name, lambda: b.read(shared, relation))


def _declare_parameters(b: Binder, statement: ast.DeclareParameters, env: Environment) -> None:
    for parameter in statement.params:
        kind = parameter.type or KqlType.DYNAMIC
        if parameter.name in b.parameters:
            value = parameter_value(kind, b.parameters[parameter.name], parameter)
        elif parameter.default is not None:
            value = convert(b.scalar(parameter.default, Row(env)), kind)
        else:
            raise fail("KQL0104", f"The query parameter '{parameter.name}' has no value.", parameter)
        env.declare(parameter.name, ScalarValue(value))


def parameter_value(kind: KqlType, value: object, where: ast.Node) -> Scalar:
    """A value from outside as a constant of the declared type."""
    import json
    from datetime import UTC, datetime, timedelta

    if value is None:
        return constant(kind, None)
    if isinstance(value, datetime):
        moment = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
        delta = moment - datetime(1, 1, 1)  # noqa: DTZ001 - ticks count from a zoneless origin
        value = (delta.days * 86_400 + delta.seconds) * 10_000_000 + delta.microseconds * 10
    elif isinstance(value, timedelta):
        value = (value.days * 86_400 + value.seconds) * 10_000_000 + value.microseconds * 10
    if kind is KqlType.DYNAMIC:
        return constant(kind, value if isinstance(value, str) else json.dumps(value))
    if isinstance(value, str) and kind is not KqlType.STRING:
        return convert(constant(KqlType.STRING, value), kind)
    if kind is KqlType.STRING:
        return constant(kind, str(value))
    try:
        return constant(kind, value)
    except (TypeError, ValueError):
        raise fail("KQL0105", f"The value of a parameter is not a {kind}.", where) from None


# ---------------------------------------------------------------------------------------------- functions


def stored_function(b: Binder, source: FunctionSource, where: ast.Node) -> FunctionValue:
    """A stored function as a value: its text is parsed as the lambda it is."""
    cache = b.function_cache
    found = cache.get(source.name)
    if found is None:
        text = f"let {_quoted(source.name)} = ({source.parameters}) {{\n{source.body}\n}};\nprint 0"
        try:
            function = _parsed_function(text)
        except KqlErrors as error:
            raise fail(
                "KQL0103", f"The stored function '{source.name}' can't be read: {error.message}", where
            ) from None
        found = FunctionValue(source.name, function, Environment(), source=text)
        cache[source.name] = found
    return found


@lru_cache(maxsize=2048)
def _parsed_function(text: str) -> ast.Lambda:
    """The lambda of a function's text. Nothing changes a tree once it is made, so all queries share it: a query over an ASIM schema
    calls dozens of functions, and reading them again each time costs more than all the rest of its compilation."""
    first = parse(text).statements[0]
    assert isinstance(first, ast.Let)
    assert isinstance(first.value, ast.Lambda)
    return first.value


def _quoted(name: str) -> str:
    return "['" + name.replace("\\", "\\\\").replace("'", "\\'") + "']"


def call_scalar(b: Binder, function: FunctionValue, node: ast.Call, row: Row) -> Scalar:
    """A call whose result is a scalar: the body in place of the call."""
    inner = _enter(b, function, node, row.env, row)
    try:
        # Only parameters are visible in the body, not the caller's columns; but what it hoists belongs to the caller's stage.
        inside = Row(inner, windows=row.windows)
        if row.relation is not None:
            inside.relation = Relation(row.relation.plan, (), row.relation.order, row.relation.serialized)
            inside.hoists = row.hoists
        inside.aggregates, inside.inner, inside.sides = row.aggregates, row.inner, row.sides
        if row.inner is not None:
            inside.inner = Row(inner, row.inner.relation, row.inner.hoists, row.inner.windows)
        inner.row = inside
        bind_statements(b, function.function.statements, inner)
        body = _body(function.function.body)
        from tocsin.kql.binder.tables import is_table_expression

        if is_table_expression(b, body, inner):
            raise fail("KQL0106", f"{function.name}() gives a table; a value is needed here.", node, "Use toscalar().")
        return b.scalar(body, inside)
    except BindError as error:
        raise _at_call(error, function, node) from None
    finally:
        _leave(b, function)


def call_table(
    b: Binder, function: FunctionValue, node: ast.Call, env: Environment, first: Relation | None = None
) -> Relation:
    """A call whose result is a table. `first` is the input of `invoke`."""
    inner = _enter(b, function, node, env, None, first)
    try:
        results = bind_statements(b, function.function.statements, inner)
        body = _body(function.function.body)
        return b.table(body if body is not None else results[-1].value, inner)
    except BindError as error:
        raise _at_call(error, function, node) from None
    finally:
        _leave(b, function)


def _at_call(error: BindError, function: FunctionValue, node: ast.Call) -> BindError:
    """An error inside a stored function has no place in the query: it is reported at the call."""
    if function.source is None:
        return error
    return BindError(error.code, f"In {function.name}(): {error.message}", node.span, error.hint)


def _body(body: ast.Expr) -> ast.Expr:
    while isinstance(body, ast.Paren):
        body = body.inner
    if isinstance(body, ast.Pipeline) and not body.operators and isinstance(body.source, ast.Paren):
        return _body(body.source)
    return body


def _enter(
    b: Binder,
    function: FunctionValue,
    node: ast.Call,
    env: Environment,
    row: Row | None,
    first: Relation | None = None,
) -> Environment:
    """A frame with the parameters bound to the call's arguments."""
    if function.name in b.calls and function.source is not None:
        raise fail("KQL0106", f"{function.name}() calls itself; recursion is not part of KQL.", node)
    if len(b.calls) >= CALL_DEPTH_LIMIT:
        raise fail("KQL0110", f"Functions call one another more than {CALL_DEPTH_LIMIT} deep.", node)
    b.calls.append(function.name)
    try:
        parent = function.environment if function.source is None else b.root_catalogue
        inner = Environment(parent)
        arguments = _match(function, node, skip=1 if first is not None else 0)
        parameters = list(function.function.params)
        if first is not None:
            if not parameters:
                raise fail("KQL0104", f"{function.name}() takes no table, so it can't be invoked.", node)
            _declare_table(b, inner, parameters[0], first, node)
            parameters = parameters[1:]
        for parameter in parameters:
            argument = arguments.get(parameter.name)
            if first is not None and function.source is not None:
                argument = _column_by_name(argument, parameter, first, env)
            inner.declare(parameter.name, _argument(b, function, parameter, argument, node, env, row, inner))
    except BaseException:
        b.calls.pop()
        raise
    b.stored += function.source is not None
    return inner


def _leave(b: Binder, function: FunctionValue) -> None:
    b.calls.pop()
    b.stored -= function.source is not None


def _column_by_name(
    argument: ast.Expr | None, parameter: ast.Parameter, first: Relation, env: Environment
) -> ast.Expr | None:
    """A bare column of the invoked table stands for its name where a stored function wants text: ``invoke FileProfile(SHA1, 500)``."""
    if (
        isinstance(argument, ast.Name)
        and parameter.type is KqlType.STRING
        and env.lookup(argument.name) is None
        and first.column(argument.name) is not None
    ):
        return ast.Literal(argument.span, KqlType.STRING, argument.name)
    return argument


def _match(function: FunctionValue, node: ast.Call, *, skip: int) -> Mapping[str, ast.Expr]:
    parameters = function.function.params[skip:]
    names = [p.name for p in parameters]
    given: dict[str, ast.Expr] = {}
    position = 0
    for argument in node.args:
        if isinstance(argument, ast.Named) and argument.names and argument.names[0] in names:
            name = argument.names[0]
            value = argument.value
        elif isinstance(argument, ast.Named) and argument.names:
            # Taken by its place it would be the value of another parameter than the one that the author meant.
            raise unknown("KQL0104", f"argument of {function.name}()", argument.names[0], names, argument)
        else:
            while position < len(names) and names[position] in given:
                position += 1
            if position >= len(names):
                raise fail(
                    "KQL0104",
                    f"{function.name}() takes {len(names)} argument{'s' if len(names) != 1 else ''}.",
                    argument,
                )
            name = names[position]
            value = argument
            position += 1
        if name in given:
            raise fail("KQL0104", f"The argument '{name}' is given twice.", argument)
        given[name] = value
    return given


def _argument(
    b: Binder,
    function: FunctionValue,
    parameter: ast.Parameter,
    argument: ast.Expr | None,
    node: ast.Call,
    env: Environment,
    row: Row | None,
    inner: Environment,
) -> Value:
    if parameter.schema is not None:
        if argument is None:
            raise fail("KQL0104", f"{function.name}() needs a table for '{parameter.name}'.", node)
        value = table_value(b, parameter.name, argument, env)
        return TableValue(parameter.name, lambda: _fit_schema(b, value.reader(), parameter, argument))
    kind = parameter.type
    if argument is None:
        if parameter.default is None:
            raise fail("KQL0104", f"{function.name}() needs '{parameter.name}'.", node)
        scalar = b.scalar(parameter.default, Row(inner))
    else:
        scalar = b.scalar(argument, row) if row is not None else single_value(b, argument, env)
        if row is not None and scalar.weight > 12:
            scalar = b.hoist(scalar, row)
    if kind is not None and scalar.type is not kind:
        scalar = _coerce(scalar, kind, function, parameter, argument or node)
    return ScalarValue(scalar)


def _coerce(
    scalar: Scalar, kind: KqlType, function: FunctionValue, parameter: ast.Parameter, where: ast.Node
) -> Scalar:
    if kind is KqlType.DYNAMIC or scalar.type is KqlType.DYNAMIC or (scalar.type.is_numeric and kind.is_numeric):
        return convert(scalar, kind)
    if scalar.constant and scalar.value is None:
        return scalars.null(kind)
    raise fail("KQL0105", f"{function.name}() needs a {kind} for '{parameter.name}'; this is a {scalar.type}.", where)


def _declare_table(b: Binder, inner: Environment, parameter: ast.Parameter, relation: Relation, node: ast.Call) -> None:
    relation = _fit_schema(b, relation, parameter, node)
    inner.declare(parameter.name, shared_value(b, parameter.name, relation, weight=1))


def _fit_schema(b: Binder, relation: Relation, parameter: ast.Parameter, where: ast.Node) -> Relation:
    """A table with the columns that a parameter declares; a narrower number type is widened."""
    items = []
    columns = list(relation.columns)
    for declared in parameter.schema or ():
        column = relation.column(declared.name)
        if column is None:
            raise fail("KQL0105", f"The table for '{parameter.name}' needs a column '{declared.name}'.", where)
        if column.type is declared.type:
            continue
        if not (column.type.is_numeric and declared.type.is_numeric):
            raise fail(
                "KQL0105",
                f"The column '{declared.name}' of the table for '{parameter.name}' must be a {declared.type}; it is a {column.type}.",
                where,
            )
        value = convert(column.scalar(), declared.type)
        alias = b.alias()
        items.append((alias, value))
        columns[columns.index(column)] = BoundColumn(column.name, value.type, alias)
    return relation.with_plan(b.compute(relation, items), columns) if items else relation

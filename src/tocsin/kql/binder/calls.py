"""Function calls in scalar expressions: user functions, special forms, the table of functions, aggregates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tocsin.kql import ast
from tocsin.kql.binder.call_folds import FOLDS
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import fail, policy, unknown
from tocsin.kql.binder.special_forms import SPECIAL_FORMS
from tocsin.kql.binder.typing_rules import explicit, implicit
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.emit.duckdb.literals import constant
from tocsin.kql.functions import registry
from tocsin.kql.functions.model import (
    Aggregate,
    FunctionError,
    Lowered,
    Param,
    RowLowered,
    ScalarFunction,
    WindowLowered,
)
from tocsin.kql.functions.sql import TIES
from tocsin.kql.plan import Scalar
from tocsin.kql.scope import FunctionValue, LazyLet, Relation
from tocsin.kql.types import KqlType

__all__ = ["bind_aggregate", "bind_call", "named_arguments"]

_CONVERSIONS = {
    "tostring": KqlType.STRING,
    "tolong": KqlType.LONG,
    "toint": KqlType.INT,
    "todouble": KqlType.REAL,
    "toreal": KqlType.REAL,
    "tobool": KqlType.BOOL,
    "toboolean": KqlType.BOOL,
    "todatetime": KqlType.DATETIME,
    "totimespan": KqlType.TIMESPAN,
    "toguid": KqlType.GUID,
    "todecimal": KqlType.DECIMAL,
}
REFUSED_BY_POLICY = {
    **dict.fromkeys(
        (
            *("workspace", "cluster", "database", "adx", "arg", "app", "resource", "external_table", "external_data"),
            "cosmosdb_sql_request",
        ),
        "queries do not reach other systems from here",
    ),
    "materialized_view": "this workspace has no materialized views; its tables are read as they are",
    "stored_query_result": "results of earlier queries are not stored here",
    "graph": "this workspace has no graph models; make-graph makes a graph of tables",
}
CONSTANT_LIMIT = 4_000_000
"""Characters of a constant text: twice what a query may have; `let` doubles one with each line."""
HEAVY = 40
"""From this weight on an argument becomes a column of its own, because functions may use it several times."""


def bind_call(b: Binder, node: ast.Call, row: Row) -> Scalar:
    """A call in a scalar expression."""
    name = node.callee
    local = row.functions.get(name)
    if local is not None:
        found = local(node, row)
        if found is not None:
            return found
    value = row.env.lookup(name)
    if isinstance(value, LazyLet):
        from tocsin.kql.binder.lets import resolve

        value = resolve(b, value)
    if isinstance(value, FunctionValue):
        from tocsin.kql.binder.lets import call_scalar

        return call_scalar(b, value, node, row)
    if row.aggregates is not None:
        aggregate = registry.aggregate(name)
        if aggregate is not None:
            return bind_aggregate(b, aggregate, node, row)
    special = SPECIAL_FORMS.get(name)
    if special is not None:
        return special(b, node, row)
    function = registry.scalar(name)
    if function is not None:
        return _bind_function(b, function, node, row)
    stored = b.catalog.function(name)
    if stored is not None:
        from tocsin.kql.binder.lets import call_scalar, stored_function

        return call_scalar(b, stored_function(b, stored, node), node, row)
    if name in REFUSED_BY_POLICY:
        raise policy(f"{name}()", REFUSED_BY_POLICY[name], node.callee_span)
    aggregate = registry.aggregate(name)
    if aggregate is not None:
        raise fail(
            "KQL0106",
            f"{name}() is an aggregate: it takes a value of many rows, and stands only in summarize, make-series and the like.",
            node.callee_span,
            f"Write: | summarize {name}({'…' if aggregate.params else ''}) by column.",
        )
    known = [*registry.scalar_names(), *row.env.all_names(), *b.catalog.function_names()]
    raise unknown("KQL0103", "function", name, known, node.callee_span)


# ---------------------------------------------------------------------------------------------- ordinary functions


def _bind_function(b: Binder, function: ScalarFunction, node: ast.Call, row: Row) -> Scalar:
    if function.refused:
        raise policy(f"{node.callee}()", function.refused, node.callee_span)
    if function.window:
        return _window(b, function, node, row)
    arguments = _arguments(b, function.params, node, row, node.callee)
    if arguments and all(a.constant for a in arguments):
        if sum(len(a.value) for a in arguments if isinstance(a.value, str)) > CONSTANT_LIMIT:
            hint = "Build it from a column, so that the engine's limits hold."
            raise fail("KQL0110", f"A constant text has more than {CONSTANT_LIMIT:,} characters.", node, hint)
        result = _folded(function, arguments)
        if result is not None:
            return result
    kind = _CONVERSIONS.get(node.callee)
    if kind is not None and len(arguments) == 1 and arguments[0].type is KqlType.DYNAMIC:
        return explicit(arguments[0], kind)
    return _lower(b, function, arguments, node, row)


def _folded(function: ScalarFunction, arguments: Sequence[Scalar]) -> Scalar | None:
    folded = FOLDS.get(function.name)
    if folded is not None:
        result = folded(arguments)
        if result is not None:
            return result
    if function.fold is None or function.returns is None or any(a.value is None for a in arguments):
        return None
    value = function.fold([a.value for a in arguments])
    return None if value is NotImplemented else constant(function.returns, value)


def _lower(b: Binder, function: ScalarFunction, arguments: Sequence[Scalar], node: ast.Call, row: Row) -> Scalar:
    scalars.bounded(arguments)
    lowered = _lower_once(function, arguments, node)
    if lowered.copies > 1 or any(a.weight > HEAVY or a.subquery for a in arguments):
        # What the text repeats is computed once, in a column of the stage below.
        heavy = HEAVY if lowered.copies <= 1 else HEAVY // lowered.copies
        prepared = [b.hoist(a, row) if a.weight > heavy or a.subquery else a for a in arguments]
        if any(p is not a for p, a in zip(prepared, arguments, strict=True)):
            arguments = prepared
            lowered = _lower_once(function, arguments, node)
    if any(a.subquery for a in arguments) and not isinstance(lowered, RowLowered):
        made = scalars.lifted(arguments, lambda plain: _made(_lower_once(function, plain, node), plain))
    else:
        made = _made(lowered, arguments)
        if lowered.texts:
            made = replace(made, texts=lowered.texts)
        if (
            function.name == "todynamic"
            and arguments[0].type is KqlType.STRING
            and arguments[0].sql in arguments[0].refs
        ):
            made = replace(made, json_text=arguments[0].sql)
        if function.name == "todynamic" and arguments[0].members:
            made = replace(made, members=scalars.members_again(arguments[0]))
    if isinstance(lowered, RowLowered):
        return _several(b, lowered, made, row)
    if function.deterministic:
        return made
    b.volatile = True
    made = replace(made, volatile=True)
    return b.hoist(made, row)


def _made(lowered: Lowered, arguments: Sequence[Scalar]) -> Scalar:
    return scalars.make(lowered.sql, lowered.type, arguments, ticks=lowered.ticks, copies=max(lowered.copies, 1))


def _several(b: Binder, lowered: RowLowered, made: Scalar, row: Row) -> Scalar:
    """A function of several columns: its row is computed once; the value is the first column, the others are its parts."""
    held = b.hoist(made, row)
    columns = [scalars.make(c.sql.replace("{row}", held.sql), c.type, (held,), ticks=c.ticks) for c in lowered.columns]
    return replace(columns[0], parts=tuple(zip(lowered.names, columns, strict=True)))


def _lower_once(function: ScalarFunction, arguments: Sequence[Scalar], node: ast.Call) -> Lowered:
    try:
        return function.lower(arguments)
    except FunctionError as error:
        raise _function_error(error, node) from None


def _function_error(error: FunctionError, node: ast.Call) -> Exception:
    index = error.argument
    where = node.args[index] if index is not None and 0 <= index < len(node.args) else node
    return fail(error.code, f"{node.callee}(): {error.message}", where, error.hint)


def named_arguments(node: ast.Call, params: Sequence[Param]) -> list[ast.Expr]:
    """The arguments in order; ``name = value`` arguments are put where their parameter is."""
    if not any(isinstance(a, ast.Named) for a in node.args):
        return list(node.args)
    names = [p.name for p in params]
    ordered: list[ast.Expr] = []
    for argument in node.args:
        if (isinstance(argument, ast.Named) and argument.names and argument.names[0] in names) or isinstance(
            argument, ast.Named
        ):
            ordered.append(argument.value)
        else:
            ordered.append(argument)
    return ordered


def _arguments(b: Binder, params: Sequence[Param], node: ast.Call, row: Row, name: str) -> list[Scalar]:
    given = named_arguments(node, params)
    least = sum(1 for p in params if not p.optional)
    repeated = params[-1].repeated if params else False
    if repeated and row.relation is not None:
        given = [g for argument in given for g in _expanded(argument, row.relation)]
    if len(given) < least or (len(given) > len(params) and not repeated):
        raise fail(
            "KQL0104", f"{name}() takes {_count_text(params)}, not {len(given)}.", node, _call_text(name, params)
        )
    arguments = []
    for i, argument in enumerate(given):
        param = params[min(i, len(params) - 1)]
        value = _type_name(argument) if isinstance(argument, ast.TypeOf) else b.scalar(argument, row)
        arguments.append(_accept(value, param, argument, name))
    return arguments


def _expanded(argument: ast.Expr, relation: Relation) -> list[ast.Expr]:
    """``*`` as an argument: every column (``pack_array(*)``)."""
    if not isinstance(argument, ast.Star) or argument.pattern != "*":
        return [argument]
    return [ast.Name(argument.span, c.name) for c in relation.visible()]


def _type_name(node: ast.TypeOf) -> Scalar:
    """A ``typeof(…)`` argument goes to the function as its text."""
    return constant(KqlType.STRING, f"typeof({node.type})")


def _call_text(name: str, params: Sequence[Param]) -> str:
    """How the call is written, as advice."""
    shown = ", ".join(f"[{p.name}]" if p.optional else p.name + (", …" if p.repeated else "") for p in params)
    return f"Write: {name}({shown})."


def _count_text(params: Sequence[Param]) -> str:
    least = sum(1 for p in params if not p.optional)
    if params and params[-1].repeated:
        return f"at least {least} argument{'s' if least != 1 else ''}"
    if least == len(params):
        return f"{least} argument{'s' if least != 1 else ''}" if least else "no arguments"
    return f"{least} to {len(params)} arguments"


def _accept(value: Scalar, param: Param, node: ast.Expr, name: str) -> Scalar:
    if param.constant and not value.constant:
        raise fail("KQL0107", f"{name}() needs a constant for '{param.name}'.", node)
    if not param.types or value.type in param.types:
        return value
    converted = implicit(value, param.types)
    if converted is not None:
        return converted
    wanted = " or ".join(str(t) for t in param.types)
    raise fail("KQL0105", f"{name}() needs a {wanted} for '{param.name}'; this is a {value.type}.", node)


# ---------------------------------------------------------------------------------------------- windows


def _window(b: Binder, function: ScalarFunction, node: ast.Call, row: Row) -> Scalar:
    """prev(), row_number() and kin: computed in SELECT levels of their own over the rows' order."""
    from tocsin.kql.emit.duckdb.relations import order_text

    relation = row.relation
    if relation is None or not row.windows:
        raise fail("KQL0106", f"{node.callee}() can't be used here.", node.callee_span)
    if not relation.serialized:
        raise fail(
            "KQL0106",
            f"{node.callee}() needs rows in order.",
            node.callee_span,
            "Put 'sort by' or 'serialize' before it.",
        )
    arguments = _arguments(b, function.params, node, row, node.callee)
    if len(function.params) > 2 and function.params[2].name == "default" and len(arguments) > 2 and arguments[2].refs:
        raise fail(
            "KQL0107", f"{node.callee}() needs a constant for 'default'.", named_arguments(node, function.params)[2]
        )
    arguments = [a if a.constant or a.cheap else b.hoist(a, row) for a in arguments]
    # The arguments' own texts are put in last, so that a literal such as "{order}" is none of the tokens.
    texts = {f"\0{i}\0": a.sql for i, a in enumerate(arguments)}
    lowered = _lower_once(function, [replace(a, sql=mark) for a, mark in zip(arguments, texts, strict=True)], node)
    order = f"ORDER BY {order_text(relation.order)}" if relation.order else ""
    keys = ", ".join(relation.partition)
    tokens = {
        "{over}": f"{f'PARTITION BY {keys} ' if keys else ''}{order}".strip(),
        "{partition}": f"{keys}, " if keys else "",
        "{order}": order,
    }
    reads = frozenset(k.alias for k in relation.order) | frozenset(relation.partition)
    for argument in arguments:
        reads |= argument.refs

    def level(sql: str, kind: KqlType, ticks: bool) -> str:
        for token, text in (*tokens.items(), *texts.items()):
            sql = sql.replace(token, text)
        alias = b.alias()
        made_reads = reads | frozenset(stage_aliases)
        row.hoists.append((alias, Scalar(sql, kind, cheap=False, ticks=ticks, refs=made_reads, window=True, weight=4)))
        return alias

    stage_aliases: set[str] = set()
    stages = lowered.stages if isinstance(lowered, WindowLowered) else ()
    for number, stage in enumerate(stages):
        alias = level(stage, KqlType.LONG, False)
        stage_aliases.add(alias)
        tokens[f"{{s{number}}}"] = alias
    alias = level(lowered.sql, lowered.type, lowered.ticks)
    return Scalar(alias, lowered.type, ticks=lowered.ticks, refs=frozenset((alias,)))


# ---------------------------------------------------------------------------------------------- aggregates


def bind_aggregate(b: Binder, aggregate: Aggregate, node: ast.Call, row: Row) -> Scalar:
    """An aggregate inside an expression of summarize: lowered over the rows before grouping, read through an alias."""
    lowered, arguments = lower_aggregate(b, aggregate, node, row)
    alias = register_aggregate(row, lowered, arguments, b)
    if isinstance(lowered, RowLowered):
        first = lowered.columns[0]
        sql = first.sql.replace("{row}", alias)
        return Scalar(sql, first.type, cheap=False, ticks=first.ticks, refs=frozenset((alias,)), weight=2)
    return Scalar(alias, lowered.type, ticks=lowered.ticks, refs=frozenset((alias,)))


def lower_aggregate(
    b: Binder, aggregate: Aggregate, node: ast.Call, row: Row, extra: Sequence[Scalar] | None = None
) -> tuple[Lowered, Sequence[Scalar]]:
    """The lowered call and its operands. `extra` are operands already bound (``*`` of arg_max), instead of the call's own."""
    from tocsin.kql.emit.duckdb.relations import order_text

    use = row.aggregates
    assert use is not None
    assert row.inner is not None
    if aggregate.refused:
        raise policy(f"{node.callee}()", aggregate.refused, node.callee_span)
    inner = row.inner
    arguments = list(extra) if extra is not None else _arguments(b, aggregate.params, node, inner, node.callee)
    arguments = [b.hoist(a, inner) if not a.constant and (a.weight > 12 or a.subquery) else a for a in arguments]
    order = order_text(use.order) if use.order else ""
    if b.steady:
        order = f"{order}, {TIES}" if order else TIES
    try:
        return aggregate.lower(arguments, order), arguments
    except FunctionError as error:
        raise _function_error(error, node) from None


def register_aggregate(row: Row, lowered: Lowered, arguments: Sequence[Scalar], b: Binder) -> str:
    """Add the call to the aggregates of the stage; its alias."""
    use = row.aggregates
    assert use is not None
    value = scalars.make(lowered.sql, lowered.type, arguments, ticks=lowered.ticks)
    if use.order:
        value = replace(value, refs=value.refs | {k.alias for k in use.order})
    alias = b.alias()
    use.calls.append((alias, value))
    return alias

"""Function calls in scalar expressions: user functions, special forms, the table of functions, aggregates."""

# ruff: noqa: ARG001 - the handlers of a table share one signature

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tocsin.kql import ast
from tocsin.kql.binder import fold
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import fail, policy, unknown, unsupported
from tocsin.kql.binder.typing_rules import convert, explicit, implicit
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
    special = _SPECIAL.get(name)
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
    folded = _FOLDS.get(function.name)
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


# ---------------------------------------------------------------------------------------------- special forms


def _now(b: Binder, node: ast.Call, row: Row) -> Scalar:
    if len(node.args) > 1:
        raise fail("KQL0104", f"{node.callee}() takes at most one argument.", node)
    b.uses_now = True
    moment = constant(KqlType.DATETIME, now_ticks(b))
    if not node.args:
        return moment
    offset = b.scalar(node.args[0], row)
    return _shift(node, moment, offset, "+")


def now_ticks(b: Binder) -> int:
    """The query's own moment, in whole microseconds."""
    from datetime import UTC, datetime

    moment = b.now if b.now.tzinfo is None else b.now.astimezone(UTC).replace(tzinfo=None)
    delta = moment - datetime(1, 1, 1)  # noqa: DTZ001 - ticks count from a zoneless origin
    return (delta.days * 86_400 + delta.seconds) * 10_000_000 + delta.microseconds * 10


def _ago(b: Binder, node: ast.Call, row: Row) -> Scalar:
    if len(node.args) != 1:
        raise fail("KQL0104", "ago() takes one timespan.", node)
    b.uses_now = True
    return _shift(node, constant(KqlType.DATETIME, now_ticks(b)), b.scalar(node.args[0], row), "-")


def _shift(node: ast.Call, moment: Scalar, span: Scalar, op: str) -> Scalar:
    if span.type is KqlType.DYNAMIC:
        span = convert(span, KqlType.TIMESPAN)
    if span.type.is_numeric and span.constant and isinstance(span.value, int):
        # A bare number is a number of days, as in time(2).
        span = constant(KqlType.TIMESPAN, span.value * 864_000_000_000)
    if span.type is not KqlType.TIMESPAN:
        raise fail("KQL0105", f"{node.callee}() needs a timespan; this is a {span.type}.", node.args[0])
    folded = fold.arithmetic(op, moment, span, KqlType.DATETIME)
    return folded if folded is not None else scalars.arithmetic(op, moment, span, KqlType.DATETIME)


def _ingestion_time(b: Binder, node: ast.Call, row: Row) -> Scalar:
    column = row.relation.column("_TimeReceived") if row.relation is not None else None
    if column is None:
        return scalars.null(KqlType.DATETIME)
    return column.scalar()


def _column_ifexists(b: Binder, node: ast.Call, row: Row) -> Scalar:
    if len(node.args) != 2:
        raise fail("KQL0104", f"{node.callee}() takes a column's name and a default.", node)
    name = b.constant_text(node.args[0], row.env, f"{node.callee}()")
    default = b.scalar(node.args[1], row)
    column = row.relation.column(name) if row.relation is not None else None
    if column is None:
        return default
    return column.scalar()


def _pack_all(b: Binder, node: ast.Call, row: Row) -> Scalar:
    relation = row.relation
    if relation is None:
        raise fail("KQL0106", "pack_all() needs the columns of a table.", node.callee_span)
    skip = False
    if node.args:
        flag = b.scalar(node.args[0], row)
        if not flag.constant:
            raise fail("KQL0107", "pack_all() needs a constant for 'ignore_null_empty'.", node.args[0])
        skip = bool(flag.value)
    return pack([(c.name, c.scalar()) for c in relation.visible()], skip)


def _bag_pack_columns(b: Binder, node: ast.Call, row: Row) -> Scalar:
    pairs = []
    for argument in node.args:
        if not isinstance(argument, ast.Name):
            raise fail("KQL0105", "bag_pack_columns() takes columns.", argument)
        pairs.append((argument.name, b.scalar(argument, row)))
    return pack(pairs, False)


def pack(pairs: Sequence[tuple[str, Scalar]], skip_empty: bool) -> Scalar:
    """A bag of named values; with `skip_empty`, without those that are null or ''."""
    values = [v for _, v in pairs]
    if not pairs:
        return constant(KqlType.DYNAMIC, "{}")
    parts = []
    for name, value in pairs:
        key = constant(KqlType.STRING, name).sql
        made = scalars.to_dynamic(value).sql
        if not skip_empty:
            parts.append(f"{key}, {made}")
            continue
        keep = f"{value.sql} <> ''" if value.type is KqlType.STRING else f"({value.sql}) IS NOT NULL"
        parts.append(f"CASE WHEN {keep} THEN to_json({key})::VARCHAR || ':' || ({made})::VARCHAR END")
    if skip_empty:
        return scalars.make(f"('{{' || concat_ws(',', {', '.join(parts)}) || '}}')::JSON", KqlType.DYNAMIC, values)
    return scalars.make(f"json_object({', '.join(parts)})", KqlType.DYNAMIC, values)


def _toscalar(b: Binder, node: ast.Call, row: Row) -> Scalar:
    from tocsin.kql.binder.expressions import subquery_value

    if len(node.args) != 1:
        raise fail("KQL0104", "toscalar() takes one table.", node)
    return subquery_value(b, node.args[0], row)


def _materialize(b: Binder, node: ast.Call, row: Row) -> Scalar:
    if len(node.args) != 1:
        raise fail("KQL0104", "materialize() takes one table.", node)
    return b.scalar(node.args[0], row)


def _not(b: Binder, node: ast.Call, row: Row) -> Scalar:
    from tocsin.kql.binder.expressions import bind_boolean

    if len(node.args) != 1:
        raise fail("KQL0104", "not() takes one bool.", node)
    positive, row.positive = row.positive, False
    value = bind_boolean(b, node.args[0], row, "not()")
    row.positive = positive
    return scalars.inverse(value)


def _refused(b: Binder, node: ast.Call, row: Row) -> Scalar:
    raise policy(f"{node.callee}()", REFUSED_BY_POLICY.get(node.callee, "it is not allowed here"), node.callee_span)


def _cluster_facts(b: Binder, node: ast.Call, row: Row) -> Scalar:
    raise unsupported(f"{node.callee}()", node.callee_span)


def _principal(b: Binder, node: ast.Call, row: Row) -> Scalar:
    value = b.parameters.get("__principal", "")
    return constant(KqlType.STRING, str(value))


def _database(b: Binder, node: ast.Call, row: Row) -> Scalar:
    return constant(KqlType.STRING, "Tocsin")


def _bin_auto(b: Binder, node: ast.Call, row: Row) -> Scalar:
    """``bin_at`` with the size and the fixed point of the query's settings."""
    size, at = (b.options.get(n) for n in ("query_bin_auto_size", "query_bin_auto_at"))
    if len(node.args) != 1 or size is None:
        raise fail(
            "KQL0104",
            "bin_auto() takes one value and the setting query_bin_auto_size.",
            node,
            "Write 'set query_bin_auto_size=1h;'.",
        )
    function = "bin_at" if at is not None else "bin"
    args = (node.args[0], size, at) if at is not None else (node.args[0], size)
    return bind_call(b, ast.Call(node.span, function, args, node.callee_span), row)


def _column_names_of(b: Binder, node: ast.Call, row: Row) -> Scalar:
    if len(node.args) != 1:
        raise fail("KQL0104", "column_names_of() takes one table.", node)
    return fold.json_constant([c.name for c in b.table(node.args[0], row.env).visible()])


_SPECIAL: dict[str, Callable[[Binder, ast.Call, Row], Scalar]] = {
    "now": _now,
    "ago": _ago,
    "ingestion_time": _ingestion_time,
    "column_ifexists": _column_ifexists,
    "columnifexists": _column_ifexists,
    "pack_all": _pack_all,
    "bag_pack_columns": _bag_pack_columns,
    "toscalar": _toscalar,
    "materialize": _materialize,
    "not": _not,
    "current_principal": _principal,
    "current_database": _database,
    "bin_auto": _bin_auto,
    "column_names_of": _column_names_of,
}


# ---------------------------------------------------------------------------------------------- folding of functions


def _fold_strcat(arguments: Sequence[Scalar]) -> Scalar | None:
    if all(a.type is KqlType.STRING or a.type in (KqlType.INT, KqlType.LONG) for a in arguments):
        return constant(KqlType.STRING, "".join("" if a.value is None else str(a.value) for a in arguments))
    return None


def _fold_text(arguments: Sequence[Scalar]) -> Scalar | None:
    value = arguments[0]
    if value.type is KqlType.STRING:
        return value
    if value.type in (KqlType.INT, KqlType.LONG) and value.value is not None:
        return constant(KqlType.STRING, str(value.value))
    return None


def _fold_lower(arguments: Sequence[Scalar]) -> Scalar | None:
    value = arguments[0].value
    return constant(KqlType.STRING, value.lower()) if isinstance(value, str) and value.isascii() else None


def _fold_upper(arguments: Sequence[Scalar]) -> Scalar | None:
    value = arguments[0].value
    return constant(KqlType.STRING, value.upper()) if isinstance(value, str) and value.isascii() else None


def _fold_parse(arguments: Sequence[Scalar]) -> Scalar | None:
    value = arguments[0]
    if value.type is KqlType.DYNAMIC:
        return value
    if not isinstance(value.value, str):
        return None
    import json

    try:
        parsed = json.loads(value.value, parse_constant=_no_constant)
        if "\\ud" in value.value.lower():  # half a character is no JSON to the engine, and no text
            json.dumps(parsed, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return constant(KqlType.DYNAMIC, None if parsed is None else value.value)


def _no_constant(name: str) -> object:
    raise ValueError(name)


def _fold_array(arguments: Sequence[Scalar]) -> Scalar | None:
    values: list[object] = []
    for a in arguments:
        if a.type in (KqlType.STRING, KqlType.INT, KqlType.LONG, KqlType.BOOL):
            values.append(a.value)
        else:
            return None
    return fold.json_constant(values)


def _fold_length(arguments: Sequence[Scalar]) -> Scalar | None:
    value = _fold_parse(arguments)
    if value is None or not isinstance(value.value, str):
        return None
    import json

    try:
        items = json.loads(value.value, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return constant(KqlType.LONG, len(items)) if isinstance(items, list) else None


def _fold_isnull(arguments: Sequence[Scalar]) -> Scalar | None:
    value = arguments[0]
    # Of a dynamic, its text may be null's; that is for the engine to tell.
    if value.type in (KqlType.STRING, KqlType.DYNAMIC):
        return None
    return constant(KqlType.BOOL, value.value is None)


_FOLDS: dict[str, Callable[[Sequence[Scalar]], Scalar | None]] = {
    "array_length": _fold_length,
    "isnull": _fold_isnull,
    "strcat": _fold_strcat,
    "tostring": _fold_text,
    "tolower": _fold_lower,
    "toupper": _fold_upper,
    "parse_json": _fold_parse,
    "todynamic": _fold_parse,
    "pack_array": _fold_array,
}

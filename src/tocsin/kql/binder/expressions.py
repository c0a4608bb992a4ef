"""Scalar expressions: names, literals, operators, access into dynamics, lists, sub-queries."""

# ruff: noqa: ARG001 - the handlers of a table share one signature

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tocsin.kql import ast
from tocsin.kql.binder import fold
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import fail, unknown
from tocsin.kql.binder.typing_rules import arithmetic_types, comparable, convert
from tocsin.kql.emit.duckdb import scalars, strings
from tocsin.kql.emit.duckdb.literals import constant
from tocsin.kql.emit.duckdb.regex import RegexError
from tocsin.kql.plan import OrderKey, Scalar
from tocsin.kql.scope import FunctionValue, LazyLet, ScalarValue, TableValue
from tocsin.kql.types import KqlType

__all__ = ["bind_boolean", "bind_expression"]

_ARITHMETIC = frozenset(["+", "-", "*", "/", "%"])
_COMPARISON = frozenset(["==", "!=", "<>", "<", "<=", ">", ">="])
_CASELESS = {"=~": False, "!~": True}


def bind_expression(b: Binder, node: ast.Expr, row: Row) -> Scalar:
    """Bind one scalar expression."""
    binder = _BINDERS.get(type(node))
    if binder is None:
        if isinstance(node, ast.Pipeline):
            return _pipeline(b, node, row)
        raise fail("KQL0106", "A scalar expression was expected here.", node)
    return binder(b, node, row)


def bind_boolean(b: Binder, node: ast.Expr, row: Row, what: str) -> Scalar:
    """A predicate. A dynamic is converted; anything else is refused."""
    value = b.scalar(node, row)
    if value.type is KqlType.DYNAMIC:
        return convert(value, KqlType.BOOL)
    if value.type is KqlType.BOOL:
        return value
    if value.type.is_numeric:
        return scalars.make(f"({value.sql} <> 0)", KqlType.BOOL, (value,))
    raise fail("KQL0105", f"{what} needs a bool; this is a {value.type}.", node)


# ---------------------------------------------------------------------------------------------- leaves


def _literal(b: Binder, node: ast.Literal, row: Row) -> Scalar:
    return constant(node.type, node.value)


def _paren(b: Binder, node: ast.Paren, row: Row) -> Scalar:
    inner: ast.Expr = node.inner
    while isinstance(inner, ast.Paren):
        inner = inner.inner
    return b.scalar(inner, row)


def _name(b: Binder, node: ast.Name, row: Row) -> Scalar:
    extra = row.extra.get(node.name)
    if extra is not None:
        return extra
    if row.relation is not None:
        column = row.relation.column(node.name)
        if column is not None and not row.env.hides(column.name, node.name):
            source = b.json_texts.get(column.alias, "")
            if source in row.relation.plan.aliases:
                return replace(column.scalar(), json_text=source)
            members = b.members.get(column.alias)
            if members and members[0][1] in row.relation.plan.aliases:
                return replace(column.scalar(), members=members)
            return column.scalar()
    if row.sides is not None:
        for side in row.sides:
            column = side.column(node.name)
            if column is not None:
                return column.scalar()
    value = row.env.lookup(node.name)
    if value is None and row.relation is not None:
        unpacked = row.relation.open_value(node.name)
        if unpacked is not None:
            return unpacked
    if value is not None:
        from tocsin.kql.binder.lets import resolve

        if isinstance(value, LazyLet):
            value = resolve(b, value)
        if isinstance(value, ScalarValue):
            _same_row(value.scalar, row, node)
            return value.scalar
        if isinstance(value, TableValue):
            return _first_cell(b, node, row)
        if isinstance(value, FunctionValue):
            return b.scalar(ast.Call(node.span, node.name, (), node.span), row)
    raise unknown("KQL0101", "column or variable", node.name, _known_names(row), node)


def _same_row(value: Scalar, row: Row, node: ast.Expr) -> None:
    """A parameter that stands for a column of a row has no meaning in a table of its own (``toscalar(T | where x == p)``)."""
    if not value.refs or row.fixed or row.sides is not None:
        return
    known: set[str] = set()
    for here in (row, row.inner):
        if here is not None:
            known.update(alias for alias, _ in here.hoists)
            known.update(here.relation.plan.aliases if here.relation is not None else ())
    if not value.refs <= known:
        raise fail(
            "KQL0106",
            "A table can't depend on the row that a function is called for.",
            node,
            "Use join or lookup to bring the two tables together.",
        )


def _known_names(row: Row) -> list[str]:
    names = list(row.env.all_names()) + list(row.extra)
    if row.relation is not None:
        names += [c.name for c in row.relation.columns]
    for side in row.sides or ():
        names += [c.name for c in side.columns]
    return names


def _first_cell(b: Binder, node: ast.Expr, row: Row) -> Scalar:
    raise fail("KQL0106", "A table can't be used as a value here.", node, "Use toscalar() to read its first cell.")


def _pipeline(b: Binder, node: ast.Pipeline, row: Row) -> Scalar:
    if not node.operators and isinstance(node.source, ast.Expr) and not isinstance(node.source, ast.Pipeline):
        return b.scalar(node.source, row)
    return _first_cell(b, node, row)


def _toscalar(b: Binder, node: ast.ToScalar, row: Row) -> Scalar:
    return subquery_value(b, node.pipeline, row)


def subquery_value(b: Binder, pipeline: ast.Expr, row: Row) -> Scalar:
    """The first cell of a table, as a scalar sub-query."""
    from tocsin.kql.binder.tables import is_table_expression
    from tocsin.kql.emit.duckdb.relations import order_text

    if not is_table_expression(b, pipeline, row.env):
        inner = pipeline.source if isinstance(pipeline, ast.Pipeline) else pipeline
        assert isinstance(inner, ast.Expr)
        return b.scalar(inner, row)
    with b.weighing() as weight:
        relation = b.table(pipeline, row.env)
    visible = relation.visible()
    if not visible:
        raise fail("KQL0105", "toscalar() needs a table with at least one column.", pipeline)
    column = visible[0]
    shared = b.share(relation, materialized=True, weight=weight())
    shared.readers += 1
    shared.needed.add(column.alias)
    shared.needed.update(k.alias for k in relation.order)
    keys = (*relation.order, OrderKey(column.alias)) if b.steady else relation.order
    order = f" ORDER BY {order_text(keys)}" if keys else ""
    sql = f"(SELECT {column.alias} FROM {shared.name}{order} LIMIT 1)"
    if column.type is KqlType.STRING:
        sql = f"coalesce({sql}, '')"
    return Scalar(sql, column.type, cheap=False, ticks=column.ticks, subquery=True, weight=4)


def _unary(b: Binder, node: ast.Unary, row: Row) -> Scalar:
    value = b.scalar(node.operand, row)
    if value.type is KqlType.DYNAMIC:
        value = convert(value, KqlType.REAL)
    if not (value.type.is_numeric or value.type is KqlType.TIMESPAN):
        raise fail("KQL0105", f"'{node.op}' does not take a {value.type}.", node)
    if node.op == "+":
        return value
    folded = fold.negate(value)
    return folded if folded is not None else scalars.negate(value)


# ---------------------------------------------------------------------------------------------- binary operators


def _binary(b: Binder, node: ast.Binary, row: Row) -> Scalar:
    """A chain of operators to the left is walked in a loop: ``a and b and …`` may be thousands long."""
    if isinstance(node.left, ast.Star):
        from tocsin.kql.binder.operators.unions import everywhere

        return everywhere(b, node.op, node.right, row)
    spine = [node]
    left: ast.Expr = node.left
    while isinstance(left, ast.Binary) and not isinstance(left.left, ast.Star):
        spine.append(left)
        left = left.left
    positive = row.positive
    if spine[-1].op not in ("and", "or"):
        row.positive = False
    value = b.scalar(left, row)
    row.positive = positive
    spine.reverse()
    i = 0
    while i < len(spine):
        current = spine[i]
        if current.op in ("and", "or"):
            # A run of the same connective is one flat list, so that neither we nor the engine nest.
            settled = current.op == "or"
            parts = [_as_predicate(value, left if i == 0 else spine[i - 1])]
            while i < len(spine) and spine[i].op == current.op:
                # A parameter that isn't given settles its whole test. In the text of a stored function, which is right, the rest of the
                # test needs no binding then; in the query's own text it is bound for what may be wrong with it.
                if not (b.stored and _is(parts[-1], settled)):
                    parts.append(bind_boolean(b, spine[i].right, row, f"'{current.op}'"))
                i += 1
            value = _combined(current.op, parts)
            continue
        row.positive = False
        right = b.scalar(current.right, row) if not _is_table(b, current.right, row) else None
        value = _operate(b, current, value, right, row, positive and i == len(spine) - 1)
        row.positive = positive
        i += 1
    return value


def _is(value: Scalar, truth: bool) -> bool:
    return value.constant and value.type is KqlType.BOOL and value.value is truth


def _combined(op: str, parts: list[Scalar]) -> Scalar:
    """The predicates joined; constants among them settle it or go."""
    settled = op == "or"
    if any(_is(p, settled) for p in parts):
        return constant(KqlType.BOOL, settled)
    return scalars.combine(op, [p for p in parts if not _is(p, not settled)])


def _as_predicate(value: Scalar, node: ast.Expr) -> Scalar:
    if value.type is KqlType.BOOL:
        return value
    if value.type is KqlType.DYNAMIC:
        return convert(value, KqlType.BOOL)
    if value.type.is_numeric:
        return scalars.make(f"({value.sql} <> 0)", KqlType.BOOL, (value,))
    raise fail("KQL0105", f"'and' and 'or' need a bool; this is a {value.type}.", node)


def _is_table(b: Binder, node: ast.Expr, row: Row) -> bool:
    return isinstance(node, ast.Pipeline) and bool(node.operators)


_PLAIN = frozenset((KqlType.STRING, KqlType.INT, KqlType.LONG, KqlType.BOOL))
"""Types whose constants are equal when their Python values are."""


def _plain(value: Scalar) -> bool:
    return value.constant and value.type in _PLAIN and value.value is not None


def _operate(b: Binder, node: ast.Binary, left: Scalar, right: Scalar | None, row: Row, positive: bool) -> Scalar:
    op = node.op
    if right is None:
        right = subquery_value(b, node.right, row)
    if op in _ARITHMETIC:
        return _arithmetic(b, node, left, right, row)
    if op in _COMPARISON:
        op = "!=" if op == "<>" else op
        if op in ("==", "!="):
            left, right = comparable(node, left, right, equality=True)
            if _plain(left) and _plain(right) and left.type is right.type:
                return constant(KqlType.BOOL, (left.value == right.value) is (op == "=="))
            if left.weight > 8 or right.weight > 8:
                left, right = _once(b, left, row), _once(b, right, row)
            return scalars.compare(op, left, right, positive=positive)
        left, right = _orderable(node, *comparable(node, left, right))
        return scalars.compare(op, left, right)
    return _string_operator(b, node, left, right, row, positive)


def _once(b: Binder, value: Scalar, row: Row) -> Scalar:
    """Keep what null-safe equality would write twice from being computed twice; constants and strings need nothing."""
    if value.type is KqlType.STRING or value.constant:
        return value
    return value if value.weight < 60 else b.hoist(value, row)


def _orderable(node: ast.Binary, left: Scalar, right: Scalar) -> tuple[Scalar, Scalar]:
    if left.type is KqlType.DYNAMIC:
        return convert(left, KqlType.REAL), convert(right, KqlType.REAL)
    if left.type is KqlType.GUID:
        raise fail("KQL0105", f"'{node.op}' does not take {left.type} values.", node)
    return left, right


def _arithmetic(b: Binder, node: ast.Binary, left: Scalar, right: Scalar, row: Row) -> Scalar:
    left, right, kind = arithmetic_types(node, left, right)
    folded = fold.arithmetic(node.op, left, right, kind)
    if folded is not None:
        return folded
    left, right = (b.hoist(x, row) if x.weight > 40 or x.subquery else x for x in (left, right))
    return scalars.arithmetic(node.op, left, right, kind)


def _as_text(value: Scalar, node: ast.Node, op: str, row: Row) -> Scalar:
    if value.type is KqlType.STRING:
        return value
    if value.type in (KqlType.DYNAMIC, KqlType.GUID) or row.search:
        return convert(value, KqlType.STRING)
    if op in ("=~", "!~"):
        raise fail("KQL0105", f"'{op}' compares strings; this is a {value.type}.", node, "Use '==' or tostring().")
    return convert(value, KqlType.STRING)


def _string_operator(b: Binder, node: ast.Binary, left: Scalar, right: Scalar, row: Row, filtering: bool) -> Scalar:
    op = node.op
    if op == ":":
        op = "has"
    if op in ("!~", "=~") and not (
        KqlType.STRING in (left.type, right.type) or KqlType.DYNAMIC in (left.type, right.type)
    ):
        left, right = comparable(node, left, right)
        return scalars.compare("==" if op == "=~" else "!=", left, right)
    left, right = _as_text(left, node.left, op, row), _as_text(right, node.right, op, row)
    if op == "matches regex":
        try:
            return strings.matches_regex(left, right)
        except RegexError as error:
            hint = "A sign that is meant as text, such as ( or ., is written with a backslash: @'\\('."
            raise fail("KQL0108", f"The regular expression can't be run: {error}.", node.right, hint) from None
    name = {"!~": "=~", "notcontains": "contains", "notcontains_cs": "contains_cs", "nothas": "has"}.get(
        op, op.lstrip("!")
    )
    if name not in _STRING_OPERATORS:
        raise fail("KQL0201", f"The operator '{node.op}' is not supported.", node)
    if name.startswith("has") and left.weight > 8:
        left = b.hoist(left, row)
    negated = op.startswith(("!", "not"))
    value = strings.string_operator(name, left, right, filtering=filtering and not negated)
    return strings.negated(value) if negated else value


_STRING_OPERATORS = frozenset(
    [
        "=~",
        "has",
        "has_cs",
        "hasprefix",
        "hasprefix_cs",
        "hassuffix",
        "hassuffix_cs",
        "contains",
        "contains_cs",
        "startswith",
        "startswith_cs",
        "endswith",
        "endswith_cs",
    ]
)


# ---------------------------------------------------------------------------------------------- between


def _between(b: Binder, node: ast.Between, row: Row) -> Scalar:
    value = b.scalar(node.operand, row)
    low = b.scalar(node.low, row)
    high = b.scalar(node.high, row)
    if value.type is KqlType.DATETIME and high.type is KqlType.TIMESPAN:
        folded = fold.arithmetic("+", low, high, KqlType.DATETIME)
        high = folded if folded is not None else scalars.arithmetic("+", low, high, KqlType.DATETIME)
    if value.weight > 20:
        value = b.hoist(value, row)
    lower = scalars.compare(">=", *_orderable_pair(node, value, low))
    upper = scalars.compare("<=", *_orderable_pair(node, value, high))
    inside = scalars.combine("and", (lower, upper))
    return scalars.inverse(inside) if node.negated else inside


def _orderable_pair(node: ast.Between, value: Scalar, bound: Scalar) -> tuple[Scalar, Scalar]:
    left, right = comparable(node, value, bound)
    if left.type is KqlType.DYNAMIC:
        return convert(left, KqlType.REAL), convert(right, KqlType.REAL)
    return left, right


# ---------------------------------------------------------------------------------------------- access


def _member(b: Binder, node: ast.Member, row: Row) -> Scalar:
    if isinstance(node.target, ast.Side):
        return _side_column(node.target, node.name, node, row)
    if row.state is not None and isinstance(node.target, ast.Name):
        held = row.state(node.target.name, node.name)
        if held is not None:
            return held
    dotted = _dotted(node)
    if dotted is not None and row.relation is not None:
        column = row.relation.column(dotted)
        if column is not None:
            return column.scalar()
    target = b.scalar(node.target, row)
    return _step(node, target, constant(KqlType.STRING, node.name))


def _dotted(node: ast.Expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.name
    if isinstance(node, ast.Member):
        left = _dotted(node.target)
        return f"{left}.{node.name}" if left is not None else None
    return None


def _index(b: Binder, node: ast.Index, row: Row) -> Scalar:
    if isinstance(node.target, ast.Side):
        step = node.index
        if isinstance(step, ast.Literal) and isinstance(step.value, str):
            return _side_column(node.target, step.value, node, row)
    target = b.scalar(node.target, row)
    step_value = b.scalar(node.index, row)
    if (
        target.parts
        and step_value.constant
        and isinstance(step_value.value, int)
        and -1 < step_value.value < len(target.parts)
    ):
        return target.parts[step_value.value][1]
    if step_value.type is KqlType.DYNAMIC:
        step_value = convert(step_value, KqlType.STRING)
    return _step(node, target, step_value)


def _step(node: ast.Expr, target: Scalar, step: Scalar) -> Scalar:
    if target.type is not KqlType.DYNAMIC:
        raise fail(
            "KQL0105", f"A {target.type} has no members.", node, "Use parse_json() to read JSON text as a dynamic."
        )
    if step.type not in (KqlType.STRING, KqlType.INT, KqlType.LONG):
        raise fail("KQL0105", f"A member is named by a string or a whole number, not by a {step.type}.", node)
    if target.constant and step.constant:
        folded = fold.member(target, step)
        if folded is not None:
            return folded
    return scalars.access(target, step)


def _side_column(side: ast.Side, name: str, node: ast.Expr, row: Row) -> Scalar:
    if row.sides is None:
        raise fail("KQL0106", f"'${side.name}' has a meaning only in the condition of a join.", node)
    relation = row.sides[0 if side.name == "left" else 1]
    column = relation.column(name)
    if column is None:
        raise unknown("KQL0101", f"column of the {side.name} side", name, (c.name for c in relation.columns), node)
    return column.scalar()


def _side(b: Binder, node: ast.Side, row: Row) -> Scalar:
    raise fail("KQL0106", f"'${node.name}' must be followed by a column, as in ${node.name}.Name.", node)


def _star(b: Binder, node: ast.Star, row: Row) -> Scalar:
    raise fail("KQL0106", "'*' can't stand for a value here.", node)


def _named(b: Binder, node: ast.Named, row: Row) -> Scalar:
    return b.scalar(node.value, row)


def _ordered(b: Binder, node: ast.Ordered, row: Row) -> Scalar:
    return b.scalar(node.value, row)


def _call(b: Binder, node: ast.Call, row: Row) -> Scalar:
    from tocsin.kql.binder.calls import bind_call

    # Inside a call null and false differ again, and every row is computed.
    positive, row.positive = row.positive, False
    value = bind_call(b, node, row)
    row.positive = positive
    return value


def _in_list(b: Binder, node: ast.InList, row: Row) -> Scalar:
    if isinstance(node.left, ast.Star):
        from tocsin.kql.binder.operators.unions import in_everywhere

        return in_everywhere(b, node, row)
    from tocsin.kql.binder.inlists import bind_in

    return bind_in(b, node, row)


_BINDERS: dict[type, Callable[..., Scalar]] = {
    ast.Literal: _literal,
    ast.Paren: _paren,
    ast.Name: _name,
    ast.ToScalar: _toscalar,
    ast.Unary: _unary,
    ast.Binary: _binary,
    ast.Between: _between,
    ast.Member: _member,
    ast.Index: _index,
    ast.Side: _side,
    ast.Star: _star,
    ast.Named: _named,
    ast.Ordered: _ordered,
    ast.Call: _call,
    ast.InList: _in_list,
}

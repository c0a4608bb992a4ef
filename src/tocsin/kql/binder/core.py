"""The binder's state and its doors: `Binder.scalar` for expressions, `Binder.table` for tabular ones.

The work is in the modules beside this one: they take the binder as their first argument and reach one another through these doors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import count, islice

from tocsin.kql import ast
from tocsin.kql.binder.errors import BindError, fail
from tocsin.kql.emit.duckdb.literals import constant
from tocsin.kql.emit.duckdb.scalars import null
from tocsin.kql.functions.model import FunctionError
from tocsin.kql.plan import Compute, Limit, OrderKey, Plan, Scalar, Shared, SharedRef, Single, Union
from tocsin.kql.scope import BoundColumn, Environment, FunctionValue, Relation
from tocsin.kql.types import Catalog, KqlType

__all__ = ["AggregateUse", "Binder", "Row"]

STAGE_LIMIT = 400
"""Operators in one query, lets expanded: planning time grows faster than their number."""
CALL_DEPTH_LIMIT = 32
"""User-defined functions inside one another."""
EXPRESSION_DEPTH_LIMIT = 120
"""Nested expressions."""


@dataclass(slots=True)
class AggregateUse:
    """Aggregates met while binding one summarize: alias → the lowered call. `order` is the order of the rows before it."""

    calls: list[tuple[str, Scalar]] = field(default_factory=list)
    order: tuple[OrderKey, ...] = ()


@dataclass(slots=True)
class Row:
    """Where a scalar expression is bound: which columns it sees, and what it adds below its own stage.

    `hoists` are columns to compute first (a heavy argument, a window call). `sides` are the two relations of a join condition.
    `aggregates` is set where aggregate calls are allowed; its arguments are bound with `inner`, the row before grouping.
    `extra` are names that are not columns; `state` gives the value of ``step.column`` in scan and ``node.column`` in
    graphs; `functions` are functions that have a meaning only here; `fixed` forbids hoisting.
    """

    env: Environment
    relation: Relation | None = None
    hoists: list[tuple[str, Scalar]] = field(default_factory=list)
    windows: bool = False
    aggregates: AggregateUse | None = None
    inner: Row | None = None
    sides: tuple[Relation, Relation] | None = None
    positive: bool = False
    search: bool = False
    fixed: bool = False
    state: Callable[[str, str], Scalar | None] | None = None
    extra: dict[str, Scalar] = field(default_factory=dict)
    functions: dict[str, Callable[[ast.Call, Row], Scalar | None]] = field(default_factory=dict)

    @property
    def can_hoist(self) -> bool:
        """True where there is a stage below to compute a column in."""
        return self.relation is not None and self.sides is None and self.aggregates is None and not self.fixed


def _renamed(names: Mapping[str, str], alias: str) -> Scalar:
    return Scalar(names[alias], KqlType.LONG, refs=frozenset((names[alias],)))


def _code(error: FunctionError) -> str:
    """A conversion that does not exist is a matter of types."""
    return "KQL0105" if error.code == FunctionError.code else error.code


class Binder:
    """Binds one query text."""

    def __init__(
        self,
        catalog: Catalog,
        now: datetime,
        parameters: Mapping[str, object],
        *,
        external: Callable[..., object] | None = None,
        resolver: Callable[..., Iterable[Sequence[object]]] | None = None,
        steady: bool = False,
    ) -> None:
        self.catalog = catalog
        self.now = now
        self.parameters = parameters
        self.external = external
        self.resolver = resolver
        self.steady = steady
        self.root = Environment()
        self.root_catalogue = Environment()
        self.function_cache: dict[str, FunctionValue] = {}
        self.shared: list[Shared] = []
        self.tables: set[str] = set()
        self.uses_now = False
        self.volatile = False
        self.render: tuple[str, dict[str, object]] | None = None
        self.text = ""
        self.options: dict[str, ast.Expr | None] = {}
        self.more: list[Relation] = []
        self.left_out: list[BindError] = []
        self.json_texts: dict[str, str] = {}  # alias of a dynamic → alias of the string that it was parsed from
        self.members: dict[str, tuple[tuple[str, str, str], ...]] = {}  # alias of a dynamic → `Scalar.members`
        self.graph_tables: dict[int, Shared] = {}
        self.stages = 0
        self.depth = 0
        self.calls: list[str] = []
        self.stored = 0
        self.sql_parameters: dict[str, object] = {}
        self._aliases = count(1)
        self._weights: list[int] = [0]

    # ------------------------------------------------------------------------------------------ doors

    def scalar(self, node: ast.Expr, row: Row) -> Scalar:
        """Bind a scalar expression."""
        from tocsin.kql.binder.expressions import bind_expression

        self.depth += 1
        if self.depth > EXPRESSION_DEPTH_LIMIT:
            raise fail("KQL0110", f"Expressions are nested more than {EXPRESSION_DEPTH_LIMIT} deep.", node)
        try:
            return bind_expression(self, node, row)
        except FunctionError as error:
            raise fail(_code(error), error.message.capitalize() + ".", node, error.hint) from None
        finally:
            self.depth -= 1

    def table(self, node: ast.Expr | ast.Operator, env: Environment) -> Relation:
        """Bind a tabular expression."""
        from tocsin.kql.binder.tables import bind_table

        self.depth += 1
        if self.depth > EXPRESSION_DEPTH_LIMIT:
            raise fail("KQL0110", f"Sub-queries are nested more than {EXPRESSION_DEPTH_LIMIT} deep.", node)
        try:
            return bind_table(self, node, env)
        except FunctionError as error:
            raise fail(_code(error), error.message.capitalize() + ".", node, error.hint) from None
        finally:
            self.depth -= 1

    def operators(self, relation: Relation, stages: Sequence[ast.Operator], env: Environment) -> Relation:
        """Apply a run of operators."""
        from tocsin.kql.binder.operators import apply_operator

        for stage in stages:
            self.stages += 1
            self._weights[-1] += 1
            if self.stages > STAGE_LIMIT:
                raise fail("KQL0110", f"The query has more than {STAGE_LIMIT} operators.", stage)
            try:
                relation = apply_operator(self, relation, stage, env)
            except FunctionError as error:
                raise fail(_code(error), error.message.capitalize() + ".", stage, error.hint) from None
        return relation

    # ------------------------------------------------------------------------------------------ helpers

    def alias(self) -> str:
        """A fresh alias."""
        return f"_{next(self._aliases)}"

    def aliases(self, number: int) -> list[str]:
        """Several fresh aliases."""
        return [f"_{i}" for i in islice(self._aliases, number)]

    def row(self, relation: Relation | None, env: Environment, *, windows: bool = False) -> Row:
        """A context for scalar expressions over `relation`."""
        return Row(env, relation, windows=windows)

    def hoist(self, value: Scalar, row: Row) -> Scalar:
        """Compute `value` in the stage below and give a reference to it; a cheap value stays as it is."""
        if value.cheap or not row.can_hoist:
            return value
        alias = self.alias()
        row.hoists.append((alias, value))
        return Scalar(alias, value.type, ticks=value.ticks, refs=frozenset((alias,)))

    def settle(self, relation: Relation, row: Row) -> Relation:
        """Put what `row` hoisted under the stage that is being made."""
        if not row.hoists:
            return relation
        items, row.hoists = row.hoists, []
        plan = Compute(relation.plan.aliases | {a for a, _ in items}, relation.plan, items)
        return relation.with_plan(plan)

    def compute(self, relation: Relation, items: Sequence[tuple[str, Scalar]]) -> Plan:
        """The relation's plan with further columns."""
        if not items:
            return relation.plan
        return Compute(relation.plan.aliases | {a for a, _ in items}, relation.plan, list(items))

    def single(self) -> Relation:
        """One row without columns."""
        return Relation(Single(frozenset()), (), row_wise=False)

    def share(self, relation: Relation, *, materialized: bool = False, weight: int = 1) -> Shared:
        """Register a tree that several places read."""
        shared = Shared(f"m{len(self.shared) + 1}", relation.plan, materialized=materialized, weight=weight)
        self.shared.append(shared)
        return shared

    def read(self, shared: Shared, relation: Relation) -> Relation:
        """A new reader of a shared tree, with aliases of its own."""
        shared.readers += 1
        if not shared.materialized:
            self._weights[-1] += shared.weight
        mapping: dict[str, str] = {}
        renamed: dict[str, str] = {}

        def fresh(alias: str) -> str:
            if alias not in renamed:
                renamed[alias] = self.alias()
                mapping[renamed[alias]] = alias
            return renamed[alias]

        columns = tuple(
            BoundColumn(c.name, c.type, fresh(c.alias), c.ticks, c.hidden, c.stored) for c in relation.columns
        )
        order = tuple(OrderKey(fresh(k.alias), k.descending, k.nulls_first, k.real) for k in relation.order)
        partition = tuple(fresh(a) for a in relation.partition)
        plan = SharedRef(frozenset(mapping), shared, mapping)
        return Relation(
            plan,
            columns,
            order,
            relation.serialized,
            relation.sorted,
            partition,
            relation.base,
            name=relation.name,
        )

    def ask(self, relation: Relation, what: str, where: ast.Node) -> list[Sequence[object]]:
        """Run a part of the query now, for what only the data can tell (the columns that a plugin makes)."""
        from tocsin.kql.compile import CompiledQuery, OutColumn
        from tocsin.kql.emit.duckdb.relations import Emitter, relation_names

        if self.resolver is None:
            raise fail(
                "KQL0201",
                f"{what} makes columns that depend on the data, which can't be read here.",
                where,
                "Declare its columns: 'evaluate plugin(…) : (Name:type, …)'.",
            )
        visible = relation.visible()
        sql = Emitter(self.shared, relation_names(self.tables), steady=self.steady).query(
            relation.plan, [c.alias for c in visible], ()
        )
        compiled = CompiledQuery(
            sql=sql,
            parameters=dict(self.sql_parameters),
            columns=tuple(OutColumn(c.name, c.type, c.ticks) for c in visible),
            tables=frozenset(self.tables),
            relations=relation_names(self.tables),
        )
        return list(self.resolver(compiled))

    def leave_out_empty(self, union: Union) -> None:
        """Take the parts that have no row now out of a union that is too wide to plan: `search` finds rows in few of the tables."""
        parts = []
        for number, (tree, _) in enumerate(union.parts):
            alias = self.alias()
            first = Limit(tree.aliases, tree, constant(KqlType.LONG, 1), ())
            one = Compute(tree.aliases | {alias}, first, [(alias, constant(KqlType.LONG, number))])
            parts.append((one, alias))
        answer = self.alias()
        readers = [(tree, partial(_renamed, {answer: alias})) for tree, alias in parts]
        own = [frozenset((answer,))] * len(parts)
        probe = Union(frozenset((answer,)), readers, own, frozenset(), union.span, lambda _: null(KqlType.LONG))
        column = BoundColumn("Part", KqlType.LONG, answer)
        found = {row[0] for row in self.ask(Relation(probe, (column,)), "A wide union", ast.Star(union.span, "*"))}
        kept = [i for i in range(len(union.parts)) if i in found]
        union.parts = [union.parts[i] for i in kept]
        union.own = [union.own[i] for i in kept]

    @contextmanager
    def weighing(self) -> Iterator[Callable[[], int]]:
        """Count the stages bound inside: `weight()` gives their number."""
        self._weights.append(0)
        result = 0

        def weight() -> int:
            return result

        try:
            yield weight
        finally:
            result = self._weights.pop() + 1

    def constant_int(self, node: ast.Expr, env: Environment, what: str) -> int:
        """A constant whole number, such as `take`'s."""
        value = self.scalar(node, Row(env))
        if not value.constant or isinstance(value.value, bool) or not isinstance(value.value, (int, float)):
            raise fail("KQL0107", f"{what} needs a constant number.", node)
        if isinstance(value.value, float) and not math.isfinite(value.value):
            raise fail("KQL0105", f"{what} needs a number of rows.", node)
        return int(value.value)

    def constant_text(self, node: ast.Expr, env: Environment, what: str) -> str:
        """A constant string."""
        if isinstance(node, ast.Name):
            found = env.lookup(node.name)
            if found is None:
                return node.name
        value = self.scalar(node, Row(env))
        if not value.constant or value.type is not KqlType.STRING:
            raise fail("KQL0107", f"{what} needs a constant string.", node)
        return str(value.value)

    def parameter(self, value: object) -> str:
        """Bind a value as a parameter of the statement and give its SQL name."""
        name = f"p{len(self.sql_parameters) + 1}"
        self.sql_parameters[name] = value
        return f"${name}"


__all__ += ["BindError"]

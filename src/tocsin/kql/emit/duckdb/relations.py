"""The relational plan as one DuckDB SELECT.

Runs of where and extend become one SELECT: a *block* is a FROM, a WHERE and computed columns, and it takes further stages until one
needs a level of its own (a window, an unnest, an expression that would be copied too often). Then it is sealed as a CTE. Columns
that nobody reads above a stage are not computed in it. Measured reasons are in `docs/explanation/kql.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tocsin.kql import plan as p
from tocsin.kql.emit.duckdb.literals import quote_identifier, sql_type
from tocsin.kql.functions.sql import TIES
from tocsin.kql.plan import OrderKey, Plan, Scalar, Shared
from tocsin.kql.types import KqlType

__all__ = ["EmitLimitError", "Emitter", "order_text", "relation_names"]

COPY_LIMIT = 600
"""Engine expressions that one computed column may become before its block is sealed (copying doubles with each level)."""
PUSH_LIMIT = 4000
"""Engine expressions that a filter may become when it is pushed through the columns it reads."""
SPARSE_FROM = 20_000
"""Cells (columns by tables) of a union from which each table gives only the columns that it has."""
CELL_LIMIT = 1_000_000
"""Cells of a union that the engine can still plan."""
NESTED_FROM = 16
"""Parts of a union from which the levels of a part are subqueries."""
NESTED_LEVELS = 20
"""Subqueries inside one another before a CTE is used again: the engine's tree may not be too deep."""
PICK_LIMIT = 12
"""Columns up to which one row of each group is picked by an aggregate for each column; more are sorted as whole rows."""
INLINE_LIMIT = 64
"""Stages that reading a shared tree in place may add before it is materialised instead."""


@dataclass(slots=True)
class Block:
    """An open SELECT. `items` are computed here, `passes` come from `source`; `closed` items may not be read at this level."""

    source: str
    passes: frozenset[str]
    items: dict[str, str] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    where: list[str] = field(default_factory=list)
    where_reads: set[str] = field(default_factory=set)
    level: bool = False  # holds a window or an unnest: nothing may be filtered at this level any more

    @property
    def plain(self) -> bool:
        """Only a FROM."""
        return not self.items and not self.where


class EmitLimitError(Exception):
    """A plan that would be too large as SQL: what, where, what to do, and the union that is to blame."""

    def __init__(self, message: str, span: tuple[int, int], hint: str, union: p.Union) -> None:
        super().__init__(message)
        self.message, self.span, self.hint, self.union = message, span, hint, union


class Emitter:
    """Emits one query. `ctes` collects the sealed blocks in order.

    With `steady` the same rows give the same result, in the same order, however many threads read whatever files: where rows are chosen or
    numbered, those that are equal by the query's own order are told apart by all that is read of them above.
    """

    def __init__(
        self, shared: Iterable[Shared], names: Mapping[str, str] | None = None, *, steady: bool = False
    ) -> None:
        self.names = names or {}
        self.steady = steady
        self.ctes: list[str] = []
        self.shared = list(shared)
        self.count = 0
        self.nesting = 0  # levels that may still become subqueries instead of CTEs
        self.trees: dict[str, int] = {}

    # ------------------------------------------------------------------------------------------ entry

    def query(self, tree: Plan, columns: Iterable[str], order: tuple[OrderKey, ...]) -> str:
        """The whole statement: `columns` in order as ``c1, c2 …``."""
        names = list(columns)
        needed = frozenset(names) | {k.alias for k in order}
        block = self.emit(tree, needed)
        select = ", ".join(f"{alias} AS c{i}" for i, alias in enumerate(names, 1))
        body = f"SELECT {select or 'NULL AS c0'} FROM {self._as_source(block, needed)}"
        order = self._told_apart(order, names)
        if order:
            body += f" ORDER BY {order_text(order)}"
        main, self.ctes = self.ctes, []
        parts: list[list[str]] = [main]
        for shared in reversed(self.shared):
            self.ctes = []
            inner = self.emit(shared.plan, frozenset(shared.needed))
            text = self._select(inner, frozenset(shared.needed))
            how = "MATERIALIZED" if shared.materialized or self._too_heavy(shared) else "NOT MATERIALIZED"
            parts.append([*self.ctes, f"{shared.name} AS {how} ({text})"])
        ctes = [cte for part in reversed(parts) for cte in part]
        return (f"WITH {', '.join(ctes)} " if ctes else "") + body

    def _told_apart(self, order: tuple[OrderKey, ...], needed: Iterable[str]) -> tuple[OrderKey, ...]:
        if not self.steady:
            return order
        known = {k.alias for k in order}
        return (*order, *(OrderKey(a) for a in needed if a not in known))

    @staticmethod
    def _too_heavy(shared: Shared) -> bool:
        return shared.readers > 1 and shared.weight * shared.readers > INLINE_LIMIT

    # ------------------------------------------------------------------------------------------ blocks

    def emit(self, tree: Plan, needed: frozenset[str]) -> Block:
        """An open block that gives at least `needed`. Chains of one-input nodes are walked without recursion."""
        chain: list[tuple[Plan, frozenset[str]]] = []
        node = tree
        while isinstance(node, (p.Filter, p.Compute, p.Aggregate, p.Limit, p.Pick, p.Expand)):
            chain.append((node, needed))
            needed = _needed_below(node, needed)
            node = node.input
        block = self._leaf(node, needed)
        for stage, wanted in reversed(chain):
            block = self._apply(stage, block, wanted)
        return block

    def seal(self, block: Block, needed: frozenset[str]) -> Block:
        """Close `block` as a CTE that gives `needed`; the new block reads it."""
        if block.plain and block.source:
            return block
        source = self._level(self._select(block, needed))
        return Block(source, (block.passes | block.items.keys()) & needed)

    def _level(self, text: str) -> str:
        """A SELECT as something to read from, once: a CTE, or a subquery where `nesting` allows it."""
        self.count += 1
        name = f"s{self.count}"
        if self.nesting > 0:
            self.nesting -= 1
            return f"({text}) AS {name}"
        self.ctes.append(f"{name} AS ({text})")
        return name

    def _as_source(self, block: Block, needed: frozenset[str]) -> str:
        return block.source if block.plain and block.source else f"({self._select(block, needed)})"

    def _select(self, block: Block, needed: frozenset[str]) -> str:
        columns = [f"{sql} AS {alias}" for alias, sql in block.items.items()]
        columns += sorted(a for a in block.passes if a in needed and a not in block.items)
        text = f"SELECT {', '.join(columns) or '1 AS _'}"
        if block.source:
            text += f" FROM {block.source}"
        if block.where:
            text += " WHERE " + " AND ".join(block.where)
        return text

    def _name_of(self, tree: Plan, needed: frozenset[str]) -> str:
        """Emit `tree` as a named relation."""
        block = self.emit(tree, needed)
        if block.plain and block.source:
            return block.source
        return self.seal(block, needed).source

    def _add(self, block: Block, items: Iterable[tuple[str, Scalar]], below: frozenset[str]) -> Block:
        """Compute `items` in the block, sealing first where they can't be read or would be copied too often."""
        for alias, scalar in items:
            weight = self._weight(block, scalar)
            if scalar.refs & block.closed or weight > COPY_LIMIT or (block.level and scalar.window):
                block = self.seal(block, below)
                weight = scalar.weight
            block.items[alias] = scalar.sql
            block.weights[alias] = weight
            self.trees[alias] = self._tree(scalar)
            if scalar.window or scalar.volatile or scalar.subquery:
                block.closed.add(alias)
            block.level = block.level or scalar.window
            below |= {alias}
        return block

    @staticmethod
    def _weight(block: Block, scalar: Scalar) -> int:
        """Engine expressions that the scalar becomes at this level: aliases of the level are copied into it."""
        weight = scalar.weight
        for ref in scalar.refs:
            inner = block.weights.get(ref)
            if inner is not None and inner > 1:
                weight += inner * scalar.spread * _uses(scalar.sql, ref)
        return weight

    def _tree(self, scalar: Scalar) -> int:
        """The same through all levels: what a filter becomes when the optimiser pushes it down to the scan."""
        weight = scalar.weight
        for ref in scalar.refs:
            inner = self.trees.get(ref, 1)
            if inner > 1:
                weight += inner * scalar.spread * _uses(scalar.sql, ref)
        return min(weight, 1 << 60)

    # ------------------------------------------------------------------------------------------ stages

    def _apply(self, node: Plan, block: Block, needed: frozenset[str]) -> Block:
        below = _needed_below(node, needed)
        if isinstance(node, p.Filter):
            predicate = node.predicate
            if self._tree(predicate) > PUSH_LIMIT:
                block = self._barrier(block, predicate, below)
            if block.level or predicate.refs & block.closed or self._weight(block, predicate) > COPY_LIMIT * 2:
                block = self.seal(block, below)
            block.where.append(predicate.sql)
            block.where_reads |= predicate.refs
            return block
        if isinstance(node, p.Compute):
            wanted = _wanted_items(node, needed)
            return self._add(block, wanted, below)
        if isinstance(node, p.Aggregate):
            return self._aggregate(node, block, needed, below)
        if isinstance(node, p.Limit):
            return self._limit(node, block, needed, below)
        if isinstance(node, p.Pick):
            if block.level:
                block = self.seal(block, below)
            if len(node.order) == 1 and node.keys and not node.order[0].nulls_first and len(needed) <= PICK_LIMIT:
                return self._picked(node, self.seal(block, below), needed)
            over = _over(node.keys, self._told_apart(node.order, sorted(needed.difference(node.keys))))
            return self._closed(block, needed, f" QUALIFY row_number() OVER ({over}) = 1")
        assert isinstance(node, p.Expand)
        return self._expand(node, block, needed, below)

    def _barrier(self, block: Block, predicate: Scalar, below: frozenset[str]) -> Block:
        """Keep the optimiser from pushing a filter through columns whose definitions it would copy thousandfold.

        A volatile expression stops it: the columns are passed through a CASE whose condition always holds.
        """
        heavy = [r for r in predicate.refs if self.trees.get(r, 1) > PUSH_LIMIT // 8]
        if not heavy:
            return block
        block = self.seal(block, below)
        for alias in heavy:
            block.items[alias] = f"CASE WHEN random() >= 0 THEN {alias} END"
            self.trees[alias] = 1
        return self.seal(block, below)

    def _closed(self, block: Block, needed: frozenset[str], suffix: str) -> Block:
        """Seal the block with a trailing clause (ORDER BY, LIMIT, QUALIFY)."""
        source = self._level(self._select(block, needed) + suffix)
        return Block(source, (block.passes | block.items.keys()) & needed)

    def _aggregate(self, node: p.Aggregate, block: Block, needed: frozenset[str], below: frozenset[str]) -> Block:
        used = [(a, s) for a, s in node.aggregates if a in needed]
        scalars = [s for _, s in node.keys] + [s for _, s in used]
        # Only the keys and aggregates are selected, so nothing else may be an alias of this level.
        if block.level or block.where_reads & block.items.keys() or any(s.refs & block.items.keys() for s in scalars):
            block = self.seal(block, below)
        reads = sorted({r for _, s in used if TIES in s.sql for r in s.refs})
        ties = ", ".join(reads) or "1"
        columns = [f"{s.sql.replace(TIES, ties)} AS {alias}" for alias, s in (*node.keys, *used)]
        text = f"SELECT {', '.join(columns) or 'count(*) AS _'}"
        if block.source:
            text += f" FROM {block.source}"
        if block.where:
            text += " WHERE " + " AND ".join(block.where)
        if node.keys:
            text += " GROUP BY " + ", ".join(str(i) for i in range(1, len(node.keys) + 1))
        return Block(self._level(text), frozenset(a for a, _ in (*node.keys, *used)))

    def _picked(self, node: p.Pick, block: Block, needed: frozenset[str]) -> Block:
        """One row of each group by aggregates that keep the column of the row with the extreme key: a third of a window's time."""
        (key,) = node.order
        value = f"CASE WHEN NOT isnan({key.alias}) THEN {key.alias} END" if key.real else key.alias
        best = f"arg_{'max' if key.descending else 'min'}_nulls_last"
        carried = sorted((needed | {key.alias}) - set(node.keys))
        if self.steady:
            # One aggregate for all of them: the row that is extreme by (has a value, value, everything else that is read).
            sign, extreme = ("IS NOT NULL", "max") if key.descending else ("IS NULL", "min")
            fields = ", ".join(f"'{a}': {a}" for a in carried)
            keys = ", ".join(dict.fromkeys(node.keys))
            row = f"SELECT {keys}, {extreme}({{'k': ({value}) {sign}, 'b': {value}, {fields}}}) AS picked"
            apart = ", ".join(f"picked.{a} AS {a}" for a in carried)
            text = f"SELECT {keys}, {apart} FROM ({row} FROM {block.source} GROUP BY {keys})"
            return Block(self._level(text), needed | {key.alias} | frozenset(node.keys))
        columns = [*dict.fromkeys(node.keys), *(f"{best}({alias}, {value}) AS {alias}" for alias in carried)]
        grouped = ", ".join(dict.fromkeys(node.keys))
        text = f"SELECT {', '.join(columns)} FROM {block.source} GROUP BY {grouped}"
        return Block(self._level(text), needed | {key.alias} | frozenset(node.keys))

    def _limit(self, node: p.Limit, block: Block, needed: frozenset[str], below: frozenset[str]) -> Block:
        if block.level:
            block = self.seal(block, below)
        if node.partition:
            over = _over(node.partition, self._told_apart(node.order, sorted(needed)))
            return self._closed(block, needed, f" QUALIFY row_number() OVER ({over}) <= {node.count.sql}")
        by = self._told_apart(node.order, sorted(needed))
        order = f" ORDER BY {order_text(by)}" if by else ""
        if node.sample:
            order = " ORDER BY random()"
        return self._closed(block, needed, f"{order} LIMIT {node.count.sql}")

    def _expand(self, node: p.Expand, block: Block, needed: frozenset[str], below: frozenset[str]) -> Block:
        if block.level or any(s.refs & block.items.keys() for _, s in node.lists):
            block = self.seal(block, below)
        limit = node.limit
        lists = [(alias, f"list_slice({s.sql}, 1, {limit})" if limit is not None else s.sql) for alias, s in node.lists]
        for alias, sql in lists:
            block.items[alias] = f"unnest({sql})"
            block.closed.add(alias)
        if node.index in needed:
            longest = ", ".join(f"len({sql})" for _, sql in lists)
            block.items[node.index] = f"unnest(range(greatest({longest}, 0)))"
            block.closed.add(node.index)
        block.level = True
        return block

    # ------------------------------------------------------------------------------------------ leaves and joins

    def _leaf(self, node: Plan, needed: frozenset[str]) -> Block:
        if isinstance(node, p.Scan):
            return self._scan(node, needed)
        if isinstance(node, p.Single):
            return Block("", frozenset())
        if isinstance(node, p.Values):
            return self._values(node, needed)
        if isinstance(node, p.SharedRef):
            wanted = {a: inner for a, inner in node.columns.items() if a in needed}
            node.shared.needed.update(wanted.values())
            block = Block(node.shared.name, frozenset())
            block.items = dict(wanted)
            block.weights = dict.fromkeys(wanted, 1)
            return block
        if isinstance(node, p.Join):
            return self._join(node, needed)
        if isinstance(node, p.Union):
            return self._union(node, needed)
        assert isinstance(node, p.Custom)
        nesting, self.nesting = self.nesting, 0  # a name may be read several times
        names = [self._name_of(tree, reads) for tree, reads in node.inputs]
        self.nesting = nesting
        self.count += 1
        name = f"s{self.count}"
        self.ctes.append(f"{name} AS ({node.build(names)})")
        return Block(name, node.aliases)

    def _scan(self, node: p.Scan, needed: frozenset[str]) -> Block:
        block = Block(quote_identifier(self.names.get(node.table, node.table)), frozenset())
        for alias, (name, kind) in node.columns.items():
            if alias in needed:
                block.items[alias] = _scan_column(quote_identifier(name), kind)
                block.weights[alias] = 2
        return block

    def _values(self, node: p.Values, needed: frozenset[str]) -> Block:
        names = [*node.columns, node.ordinal]
        types = [*(sql_type(kind, ticks) for kind, ticks in node.types), "BIGINT"]
        if not node.rows:
            columns = ", ".join(f"NULL::{kind} AS {name}" for name, kind in zip(names, types, strict=True))
            source = f"(SELECT {columns} WHERE FALSE)"
        else:
            rows = (
                "(" + ", ".join([*(cell.sql for cell in row), str(number)]) + ")"
                for number, row in enumerate(node.rows)
            )
            source = f"(VALUES {', '.join(rows)}) AS t({', '.join(names)})"
        return Block(source, frozenset(names) & (needed | {node.ordinal}))

    def _join(self, node: p.Join, needed: frozenset[str]) -> Block:
        reads = needed | (node.on.refs if node.on is not None else frozenset())
        left = self._name_of(node.left, reads & node.left.aliases)
        right = self._name_of(node.right, reads & node.right.aliases)
        condition = node.on.sql if node.on is not None else "TRUE"
        if node.kind in ("semi", "anti"):
            test = f"{'NOT ' if node.kind == 'anti' else ''}EXISTS (SELECT 1 FROM {right} WHERE {condition})"
            return Block(left, node.left.aliases & reads, where=[test])
        word = {"inner": "JOIN", "left": "LEFT JOIN", "right": "RIGHT JOIN", "full": "FULL JOIN", "cross": "CROSS JOIN"}
        source = f"{left} {word[node.kind]} {right}" + ("" if node.kind == "cross" else f" ON {condition}")
        return Block(source, (node.left.aliases | node.right.aliases) & reads)

    def _union(self, node: p.Union, needed: frozenset[str]) -> Block:
        names = [a for a in sorted(node.aliases, key=_alias_number) if a in needed]
        cells = len(names) * len(node.parts)
        if cells > CELL_LIMIT:
            raise EmitLimitError(
                f"The tables of this union have {len(names)} columns between them, and there are {len(node.parts)} tables.",
                node.span,
                "Name the tables, or project the columns that you need.",
                node,
            )
        sparse = cells > SPARSE_FROM
        parts = []
        for (tree, mapping), own in zip(node.parts, node.own, strict=True):
            listed = [a for a in names if a in own] if sparse else names
            scalars = [mapping(a) for a in listed]
            reads: frozenset[str] = frozenset().union(*(s.refs for s in scalars)) if scalars else frozenset()
            # The CTEs of a part stay inside it, and in many parts they are subqueries: planning time grows faster than their number.
            (outer, self.ctes), nesting = (self.ctes, []), self.nesting
            self.nesting = NESTED_LEVELS if len(node.parts) >= NESTED_FROM else 0
            block = self.emit(tree, reads)
            (inner, self.ctes), self.nesting = (self.ctes, outer), nesting
            columns = ", ".join(f"{s.sql} AS {a}" for a, s in zip(listed, scalars, strict=True)) or "1 AS _"
            if block.items:
                part = f"SELECT {columns} FROM {self._as_source(block, reads)}"
            else:
                where = " WHERE " + " AND ".join(block.where) if block.where else ""
                part = f"SELECT {columns}" + (f" FROM {block.source}" if block.source else "") + where
            parts.append(f"(WITH {', '.join(inner)} {part})" if inner else part)
        if sparse or not parts:
            # No part may have a column that is read: parts without rows are left out of wide unions.
            given = frozenset[str]().union(*node.own) if sparse and parts else frozenset[str]()
            absent = [f"{node.nulls(a).sql} AS {a}" for a in names if a not in given]
            parts.append(f"SELECT {', '.join(absent) or '1 AS _'} WHERE FALSE")
        self.count += 1
        name = f"s{self.count}"
        word = " UNION ALL BY NAME " if sparse else " UNION ALL "
        self.ctes.append(f"{name} AS ({word.join(parts)})")
        if not sparse:
            return Block(name, frozenset(names))
        block = Block(name, frozenset(a for a in names if a not in node.strings))
        block.items = {f"{a}": f"coalesce({name}.{a}, '')" for a in names if a in node.strings}
        return self.seal(block, frozenset(names))


def relation_names(tables: Iterable[str]) -> dict[str, str]:
    """SQL names for tables whose names differ from another's only by case, which the engine takes for one name."""
    taken: set[str] = set()
    renamed = {}
    for table in sorted(tables):
        name, number = table, 1
        while name.lower() in taken:
            number += 1
            name = f"{table}~{number}"
        taken.add(name.lower())
        if name != table:
            renamed[table] = name
    return renamed


def _uses(sql: str, alias: str) -> int:
    return len(re.findall(rf"{alias}\b", sql)) or 1


def _alias_number(alias: str) -> int:
    return int(alias[1:])


def _scan_column(name: str, kind: KqlType) -> str:
    if kind is KqlType.STRING:
        return f"coalesce({name}, '')"
    if kind is KqlType.DYNAMIC:
        return f"q_nn({name}::JSON)"
    return name


def _wanted_items(node: p.Compute, needed: frozenset[str]) -> list[tuple[str, Scalar]]:
    """The items that are read above or by a wanted later item of the same stage, in order."""
    wanted: list[tuple[str, Scalar]] = []
    reads = set(needed)
    for alias, scalar in reversed(node.items):
        if alias in reads:
            wanted.append((alias, scalar))
            reads |= scalar.refs
    wanted.reverse()
    return wanted


def _needed_below(node: Plan, needed: frozenset[str]) -> frozenset[str]:
    """Which of the input's aliases a stage must get when `needed` are read above it."""
    if isinstance(node, p.Filter):
        return needed | node.predicate.refs
    if isinstance(node, p.Compute):
        reads = set(needed)
        for alias, scalar in reversed(node.items):
            if alias in reads:
                reads |= scalar.refs
        return frozenset(reads) & node.input.aliases
    if isinstance(node, p.Aggregate):
        reads = set()
        for _, scalar in node.keys:
            reads |= scalar.refs
        for alias, scalar in node.aggregates:
            if alias in needed:
                reads |= scalar.refs
        return frozenset(reads)
    if isinstance(node, p.Limit):
        return needed | {k.alias for k in node.order} | frozenset(node.partition)
    if isinstance(node, p.Pick):
        return needed | {k.alias for k in node.order} | frozenset(node.keys)
    assert isinstance(node, p.Expand)
    reads = set(needed)
    for _, scalar in node.lists:
        reads |= scalar.refs
    return frozenset(reads) & node.input.aliases


def _over(partition: Iterable[str], order: tuple[OrderKey, ...]) -> str:
    keys = ", ".join(partition)
    text = f"PARTITION BY {keys}" if keys else ""
    if order:
        text += f" ORDER BY {order_text(order)}"
    return text.strip()


def order_text(order: Iterable[OrderKey]) -> str:
    """Keys as the text after ORDER BY. NaN sorts with the nulls."""
    parts = []
    for key in order:
        value = f"CASE WHEN NOT isnan({key.alias}) THEN {key.alias} END" if key.real else key.alias
        parts.append(f"{value} {'DESC' if key.descending else 'ASC'} NULLS {'FIRST' if key.nulls_first else 'LAST'}")
    return ", ".join(parts)

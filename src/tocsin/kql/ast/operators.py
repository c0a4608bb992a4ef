"""Tabular operators: the stages of a pipeline, and those that begin one."""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.kql.ast.expressions import Call, ColumnDecl, Named, Parameter, Pipeline
from tocsin.kql.ast.nodes import Expr, Node, Operator, Statement
from tocsin.kql.types import KqlType

__all__ = [
    "As",
    "Count",
    "Datatable",
    "Evaluate",
    "ExternalData",
    "Facet",
    "Find",
    "Fork",
    "GraphElement",
    "GraphMatch",
    "GraphOther",
    "Invoke",
    "Join",
    "MacroExpand",
    "MakeGraph",
    "MakeSeries",
    "MakeSeriesAgg",
    "MvApply",
    "MvColumn",
    "MvExpand",
    "Ordered",
    "Parse",
    "ParseKv",
    "ParsePart",
    "Partition",
    "Project",
    "Range",
    "Reduce",
    "Render",
    "SampleDistinct",
    "Scan",
    "ScanStep",
    "Search",
    "Simple",
    "Sort",
    "Summarize",
    "Take",
    "Top",
    "TopHitters",
    "TopNested",
    "TopNestedLevel",
    "Union",
    "Where",
]


@dataclass(frozen=True, slots=True)
class Where(Operator):
    """where, filter."""

    predicate: Expr


@dataclass(frozen=True, slots=True)
class Project(Operator):
    """project, extend, distinct, project-away, -keep, -rename, -reorder, -by-names, print, serialize: `keyword` says which.

    Items are Expr or Named; project-reorder items may be `Ordered`.
    """

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Ordered(Expr):
    """A sort key: `descending` and `nulls_first` are None when not written. ``granny-asc`` spellings of project-reorder too."""

    value: Expr
    descending: bool | None = None
    nulls_first: bool | None = None


@dataclass(frozen=True, slots=True)
class Summarize(Operator):
    """summarize: aggregates, by."""

    aggregates: tuple[Expr, ...]
    by: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Sort(Operator):
    """sort, order."""

    keys: tuple[Ordered, ...]


@dataclass(frozen=True, slots=True)
class Top(Operator):
    """top N by keys."""

    count: Expr
    keys: tuple[Ordered, ...]


@dataclass(frozen=True, slots=True)
class TopHitters(Operator):
    """top-hitters N of value by weight."""

    count: Expr
    of: Expr
    by: Expr | None


@dataclass(frozen=True, slots=True)
class TopNestedLevel(Node):
    """One ``top-nested [N] of x [with others='…'] by agg`` level."""

    count: Expr | None
    of: Expr
    others: Expr | None
    by: Ordered


@dataclass(frozen=True, slots=True)
class TopNested(Operator):
    """top-nested with its levels."""

    levels: tuple[TopNestedLevel, ...]


@dataclass(frozen=True, slots=True)
class Take(Operator):
    """take, limit, sample."""

    count: Expr


@dataclass(frozen=True, slots=True)
class SampleDistinct(Operator):
    """sample-distinct N of x."""

    count: Expr
    of: Expr


@dataclass(frozen=True, slots=True)
class Count(Operator):
    """count; `name` of ``count as name``."""

    name: str | None = None


@dataclass(frozen=True, slots=True)
class Join(Operator):
    """join, lookup: `right` is a Pipeline; `on` are Names, ``$left.a == $right.b`` Binaries, or any conjunction.

    `right` is what stands between the parentheses. `where` is the predicate of the form ``join … where``.
    """

    right: Pipeline
    on: tuple[Expr, ...]
    where: Expr | None = None


@dataclass(frozen=True, slots=True)
class Union(Operator):
    """union; as a source too. `tables` are Pipelines (without their parentheses), Names, Calls, Members and Stars (wildcards)."""

    tables: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class MvColumn(Node):
    """One ``[name =] expr [to typeof(t)]`` of mv-expand and mv-apply."""

    name: str | None
    value: Expr
    to: KqlType | None


@dataclass(frozen=True, slots=True)
class MvExpand(Operator):
    """mv-expand (`params`: bagexpansion, kind, with_itemindex)."""

    columns: tuple[MvColumn, ...]
    limit: Expr | None


@dataclass(frozen=True, slots=True)
class MvApply(Operator):
    """mv-apply … on (subquery); the subquery is the operators after ``on (`` (`params`: with_itemindex, kind, id)."""

    columns: tuple[MvColumn, ...]
    limit: Expr | None
    body: tuple[Operator, ...]


@dataclass(frozen=True, slots=True)
class ParsePart(Node):
    """A piece of a parse pattern: a text (`literal`), a column (`column`), or ``*`` (both None)."""

    literal: str | None
    column: ColumnDecl | None


@dataclass(frozen=True, slots=True)
class Parse(Operator):
    """parse, parse-where (`params`: kind, flags)."""

    value: Expr
    parts: tuple[ParsePart, ...]


@dataclass(frozen=True, slots=True)
class ParseKv(Operator):
    """parse-kv value as (columns) with (options)."""

    value: Expr
    columns: tuple[ColumnDecl, ...]
    options: dict[str, Expr]


@dataclass(frozen=True, slots=True)
class MakeSeriesAgg(Node):
    """One ``[name =] agg [default = x]``."""

    value: Expr
    default: Expr | None


@dataclass(frozen=True, slots=True)
class MakeSeries(Operator):
    """make-series aggs on axis [from a] [to b] step s [by …]; ``in range(a, b, s)`` fills start, stop, step too."""

    aggregates: tuple[MakeSeriesAgg, ...]
    axis: Expr
    start: Expr | None
    stop: Expr | None
    step: Expr
    by: tuple[Expr, ...]
    in_range: bool = False


@dataclass(frozen=True, slots=True)
class Partition(Operator):
    """partition by column (subquery) / { query }; __partitionby too."""

    by: Expr
    body: tuple[Operator, ...] | Pipeline


@dataclass(frozen=True, slots=True)
class ScanStep(Node):
    """One ``step name [optional] [output=all|last|none]: condition [=> assignments];``."""

    name: str
    optional: bool
    output: str | None
    condition: Expr
    assignments: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class Scan(Operator):
    """scan with_match_id, order by, partition by, declare (…) with ( steps )."""

    order_by: tuple[Ordered, ...]
    partition_by: tuple[Expr, ...]
    declare: tuple[Parameter, ...]
    steps: tuple[ScanStep, ...]


@dataclass(frozen=True, slots=True)
class Search(Operator):
    """search [kind=] [in (tables)] predicate; as a source too."""

    tables: tuple[Expr, ...]
    predicate: Expr


@dataclass(frozen=True, slots=True)
class Find(Operator):
    """find [in (tables)] where predicate [project columns | project-smart] [project-away …]."""

    tables: tuple[Expr, ...]
    predicate: Expr
    project: tuple[Expr, ...]
    project_away: tuple[Expr, ...]
    smart: bool


@dataclass(frozen=True, slots=True)
class Fork(Operator):
    """fork (name=(ops)) …."""

    branches: tuple[tuple[str | None, tuple[Operator, ...]], ...]


@dataclass(frozen=True, slots=True)
class Facet(Operator):
    """facet by columns [with (ops)]."""

    by: tuple[Expr, ...]
    body: tuple[Operator, ...]


@dataclass(frozen=True, slots=True)
class Reduce(Operator):
    """reduce by expr [with threshold=, characters=]."""

    by: Expr
    options: dict[str, Expr]


@dataclass(frozen=True, slots=True)
class Evaluate(Operator):
    """evaluate plugin(args) [: schema]; as a source too. `schema_star` for ``: (*, a:long)``."""

    call: Call
    schema: tuple[ColumnDecl, ...] | None
    schema_star: bool = False


@dataclass(frozen=True, slots=True)
class Invoke(Operator):
    """invoke function(args)."""

    call: Call


@dataclass(frozen=True, slots=True)
class As(Operator):
    """as name."""

    name: str


@dataclass(frozen=True, slots=True)
class Render(Operator):
    """render visualisation with (properties); properties as `params`.

    A property that lists columns (``ycolumns=a, b``) is one string Literal, the names joined by commas.
    """

    visualization: str


@dataclass(frozen=True, slots=True)
class Simple(Operator):
    """An operator without parts of its own: getschema, consume, execute-and-cache."""


@dataclass(frozen=True, slots=True)
class Datatable(Operator):
    """datatable (schema) [ values ]: `values` row by row."""

    schema: tuple[ColumnDecl, ...]
    values: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class ExternalData(Operator):
    """externaldata (schema) [ uris ] with (options); inline_external_table too."""

    schema: tuple[ColumnDecl, ...]
    uris: tuple[Expr, ...]
    options: dict[str, Expr]


@dataclass(frozen=True, slots=True)
class Range(Operator):
    """range name from a to b step c."""

    name: str
    start: Expr
    stop: Expr
    step: Expr


@dataclass(frozen=True, slots=True)
class MakeGraph(Operator):
    """make-graph source --> target [with nodes on id, …] [with_node_id=name] [partitioned-by col (…)]."""

    source: Expr
    target: Expr
    nodes: tuple[tuple[Pipeline, Expr], ...]
    partitioned_by: tuple[Expr, tuple[Operator, ...]] | None


@dataclass(frozen=True, slots=True)
class GraphElement(Node):
    """A node ``(name)`` or an edge ``-[name*min..max]->``; `direction` is None for nodes, else ``->``, ``<-`` or ``--``."""

    name: str | None
    direction: str | None
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class GraphMatch(Operator):
    """graph-match and graph-shortest-paths: patterns, where, project (`params`: cycles, output)."""

    patterns: tuple[tuple[GraphElement, ...], ...]
    where: Expr | None
    project: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class GraphOther(Operator):
    """graph-to-table, graph-mark-components, graph-where-nodes, graph-where-edges.

    `items` of graph-to-table are Calls of ``nodes`` and ``edges`` whose `Named` arguments are ``as`` and the settings
    (``with_node_id``, ``with_source_id``, ``with_target_id``); of the where forms, the predicate.
    """

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class MacroExpand(Operator):
    """macro-expand entity_group as name ( statements ) / entity group literals."""

    group: Expr
    name: str
    statements: tuple[Statement, ...]

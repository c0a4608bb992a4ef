"""The syntax tree. Every node keeps its span: character offsets (start, end) in the query text.

The parser makes it, the binder reads it, the formatter and the language service walk it. Names are as written; nothing is
resolved here. An operator's `hint.*` parameters are kept in `params` and ignored by the binder.
"""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.kql.types import KqlType

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Node:
    """Anything with a place in the text."""

    span: Span


# ---------------------------------------------------------------------------------------------- expressions


@dataclass(frozen=True, slots=True)
class Expr(Node):
    """A scalar expression (or, where a `Pipeline` stands in it, a tabular one)."""


@dataclass(frozen=True, slots=True)
class Literal(Expr):
    """A constant.

    `value` by type: bool → bool; int, long → int; real → float; decimal → str (digits as written); string → str;
    datetime → int ticks of 100 ns since 0001-01-01; timespan → int ticks; guid → lower-case str; dynamic → JSON text (str).
    None is the typed null (``int(null)``, ``dynamic(null)``). `datetime()` without text is a `Call` of now().
    """

    type: KqlType
    value: bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Name(Expr):
    """An identifier: column, let variable, table or parameter; ``['odd name']`` too (`quoted`)."""

    name: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Star(Expr):
    """`*`: every column. `prefix` holds a name wildcard such as ``Device*`` in project-*, union and search scopes."""

    pattern: str = "*"


@dataclass(frozen=True, slots=True)
class Member(Expr):
    """`target.name`; with `args`, a call on a scope: ``cluster('x').database('y').f(args)`` (`None` where nothing is called)."""

    target: Expr
    name: str
    args: tuple[Expr, ...] | None = None


@dataclass(frozen=True, slots=True)
class Index(Expr):
    """`target[index]`; ``x.['a b']`` and ``x.[0]`` too."""

    target: Expr
    index: Expr


@dataclass(frozen=True, slots=True)
class Side(Expr):
    """`$left` or `$right` in a join condition (`name` without the dollar)."""

    name: str


@dataclass(frozen=True, slots=True)
class Unary(Expr):
    """`-x`, `+x`."""

    op: str
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary(Expr):
    """A binary operator, `op` as written in lower case.

    Arithmetic ``+ - * / %``; comparison ``== != < <= > >= =~ !~``; ``and or``; string operators ``has !has has_cs !has_cs
    hasprefix … contains … startswith … endswith … matches regex`` (one space), with ``:`` in search terms. Old spellings are
    given as the new: ``<>`` is ``!=``, ``notcontains`` ``!contains``, ``containscs`` ``contains_cs``, ``notlike`` ``!like``.
    A long run of ``and`` or of ``or`` is a balanced tree, any other chain leans to the left; no tree is higher than
    `tocsin.kql.parser.MAX_HEIGHT`, so walking one recursively is safe.
    """

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class InList(Expr):
    """``x in (a, b)`` with `op` one of ``in !in in~ !in~ has_any !has_any has_all``; an item may be a `Pipeline`."""

    op: str
    left: Expr
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Between(Expr):
    """``x between (low .. high)`` and ``!between``."""

    negated: bool
    operand: Expr
    low: Expr
    high: Expr


@dataclass(frozen=True, slots=True)
class Call(Expr):
    """A function or aggregate call. `callee` is the name as written; arguments may be `Named`, `Star` or `Pipeline`.

    A `Pipeline` stands for an argument that has operators (``materialize(T | take 1)``); a bare table is a `Name`.
    ``entity_group [a, b]`` is a call of `entity_group`, and an ill-formed typed literal such as ``int(x)`` is refused by the parser.
    """

    callee: str
    args: tuple[Expr, ...]
    callee_span: Span


@dataclass(frozen=True, slots=True)
class Named(Expr):
    """``name = expr``; ``(a, b) = expr`` gives several names. Also a named argument of a call."""

    names: tuple[str, ...]
    value: Expr


@dataclass(frozen=True, slots=True)
class TypeOf(Expr):
    """``typeof(long)`` or ``typeof(a:string, b:long)``; the second form fills `columns`, and a ``*`` among them sets `star`."""

    type: KqlType | None
    columns: tuple[ColumnDecl, ...] = ()
    star: bool = False


@dataclass(frozen=True, slots=True)
class ToScalar(Expr):
    """``toscalar(pipeline)``."""

    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Paren(Expr):
    """A parenthesised expression; kept so that the formatter gives back what was written."""

    inner: Expr


# ---------------------------------------------------------------------------------------------- declarations


@dataclass(frozen=True, slots=True)
class ColumnDecl(Node):
    """``name:type`` in datatable, externaldata, typeof, parse and parameter schemas."""

    name: str
    type: KqlType


@dataclass(frozen=True, slots=True)
class Parameter(Node):
    """A function's or query's parameter: scalar (`type`), or tabular (`schema`; empty means ``(*)``), with a default."""

    name: str
    type: KqlType | None
    schema: tuple[ColumnDecl, ...] | None = None
    default: Expr | None = None


@dataclass(frozen=True, slots=True)
class Lambda(Expr):
    """``(params) { statements; body }``; `view` for ``view () { … }``."""

    params: tuple[Parameter, ...]
    statements: tuple[Statement, ...]
    body: Expr
    view: bool = False


# ---------------------------------------------------------------------------------------------- tabular


@dataclass(frozen=True, slots=True)
class Pipeline(Expr):
    """A source and its operators. A source without operators is a Pipeline with none only where a table is meant.

    That is: a statement of the query, the right side of join and lookup, toscalar. Elsewhere (let, arguments, union, in) a
    bare name is a `Name`. `source` is a Name, Call (stored function, ``table('x')``, let lambda, ``materialize(…)``), Member
    (``cluster().database().T``), Paren (whose `inner` is a Pipeline or one of these), or one of the source operators below
    (Project with keyword print, Range, Datatable, ExternalData, Union, Search, Find, Evaluate, MacroExpand).
    """

    source: Expr | Operator
    operators: tuple[Operator, ...]


@dataclass(frozen=True, slots=True)
class Operator(Node):
    """One stage. `params` are its ``name=value`` settings such as kind, hint.*, isfuzzy, withsource, as Exprs."""

    keyword: str
    params: dict[str, Expr]


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


# ---------------------------------------------------------------------------------------------- statements


@dataclass(frozen=True, slots=True)
class Statement(Node):
    """One statement of a query."""


@dataclass(frozen=True, slots=True)
class Let(Statement):
    """``let name = value``; the value is an Expr, a Pipeline or a Lambda."""

    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class SetOption(Statement):
    """``set name [= value]``."""

    name: str
    value: Expr | None


@dataclass(frozen=True, slots=True)
class Alias(Statement):
    """``alias database name = cluster(…).database(…)``."""

    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Restrict(Statement):
    """``restrict access to (…)``."""

    entities: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class DeclareParameters(Statement):
    """``declare query_parameters (…)``."""

    params: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class DeclarePattern(Statement):
    """``declare pattern …``: kept as text; the binder reads it."""

    name: str


@dataclass(frozen=True, slots=True)
class ExpressionStatement(Statement):
    """The tabular expression that is the query's result."""

    value: Expr


@dataclass(frozen=True, slots=True)
class Query(Node):
    """A whole query text."""

    statements: tuple[Statement, ...]

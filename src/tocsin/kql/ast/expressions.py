"""Scalar expressions, declared columns and parameters, lambdas, and the pipeline that stands where a table is meant."""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.kql.ast.nodes import Expr, Node, Operator, Span, Statement
from tocsin.kql.types import KqlType

__all__ = [
    "Between",
    "Binary",
    "Call",
    "ColumnDecl",
    "InList",
    "Index",
    "Lambda",
    "Literal",
    "Member",
    "Name",
    "Named",
    "Parameter",
    "Paren",
    "Pipeline",
    "Side",
    "Star",
    "ToScalar",
    "TypeOf",
    "Unary",
]


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

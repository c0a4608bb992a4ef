"""reduce: texts that look alike, by the terms that are frequent at their places (Vaarandi's SLCT, which Kusto's documentation names).

A text is cut into terms. A term that stands at its place in more than ``threshold`` of all rows is kept, every other one becomes ``*``.
The pattern so made is a group where more than ``threshold`` of all rows have it; the rows of all smaller ones, and those without
any frequent term, are ``others``.

Default separators (everything but ASCII letters and digits) are kept in the pattern; those named by ``characters`` are swallowed
by a wildcard beside them, as in the engine's recorded answers.
"""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import fail, unknown, unsupported
from tocsin.kql.binder.operators.columns import bind_items, extend_relation
from tocsin.kql.emit.duckdb.literals import text
from tocsin.kql.emit.duckdb.relations import order_text
from tocsin.kql.plan import Custom, OrderKey
from tocsin.kql.scope import BoundColumn, Environment, Relation
from tocsin.kql.types import KqlType

__all__ = ["APPLIERS"]

_WORD = "A-Za-z0-9"
_OPTIONS = ("threshold", "characters")


def _reduce(b: Binder, relation: Relation, node: ast.Reduce, env: Environment) -> Relation:
    """Pattern, Count, Representative; with ``kind=source`` the rows and their Pattern."""
    if relation.partition:
        raise unsupported("reduce inside mv-apply or partition", node)
    for name, value in node.options.items():
        if name.lower() not in _OPTIONS:
            raise unknown("KQL0104", "setting of reduce", name, _OPTIONS, value)
    options = {name.lower(): value for name, value in node.options.items()}
    keep_rows = _kind(node)
    threshold = _threshold(b, options.get("threshold"), env)
    characters = b.constant_text(options["characters"], env, "reduce") if "characters" in options else None
    row = b.row(relation, env)
    [(_, _, subject), *more] = bind_items(b, [node.by], row, "Column", 1)
    if more or subject.type is not KqlType.STRING:
        raise fail("KQL0105", f"reduce groups texts; this is a {subject.type}.", node.by, "Convert it with tostring().")
    relation = b.settle(relation, row)
    alias = b.alias()
    plan = b.compute(relation, [(alias, subject)])
    order = f"ORDER BY {order_text(relation.order)}" if relation.order else ""
    sql = _Sql(alias, order, characters, threshold)
    reads = frozenset((alias, *(k.alias for k in relation.order)))
    pattern = b.alias()
    if keep_rows:
        kept = [c.alias for c in relation.columns]
        all_reads = reads.union(kept)
        made = Custom(
            all_reads | {pattern}, [(plan, all_reads)], lambda names: sql.rows(names[0], sorted(all_reads), pattern)
        )
        held = relation.with_plan(made, row_wise=False)
        return extend_relation(
            b, held, [("Pattern", "Pattern", BoundColumn("Pattern", KqlType.STRING, pattern).scalar())]
        )
    count, representative, first = b.alias(), b.alias(), b.alias()
    outputs = (pattern, count, representative, first)

    def build(names: Sequence[str]) -> str:
        return sql.groups(names[0], outputs)

    columns = (
        BoundColumn("Pattern", KqlType.STRING, pattern),
        BoundColumn("Count", KqlType.LONG, count),
        BoundColumn("Representative", KqlType.STRING, representative),
    )
    return Relation(
        Custom(frozenset(outputs), [(plan, reads)], build), columns, (OrderKey(count, descending=True), OrderKey(first))
    )


def _kind(node: ast.Reduce) -> bool:
    kind = node.params.get("kind")
    if kind is None:
        return False
    name = kind.name if isinstance(kind, ast.Name) else getattr(kind, "value", None)
    if name != "source":
        raise unknown("KQL0104", "kind of reduce", str(name), ("source",), kind)
    return True


def _threshold(b: Binder, node: ast.Expr | None, env: Environment) -> float:
    if node is None:
        return 0.1
    value = b.scalar(node, Row(env))
    if not value.constant or isinstance(value.value, bool) or not isinstance(value.value, (int, float)):
        raise fail("KQL0107", "reduce needs a constant number as its threshold.", node)
    threshold = float(value.value)
    if not 0 <= threshold <= 1:
        raise fail("KQL0105", "The threshold of reduce is a share of the rows, from 0 to 1.", node)
    return threshold


class _Sql:
    """The statement, from a relation's name to rows."""

    def __init__(self, subject: str, order: str, characters: str | None, threshold: float) -> None:
        self.subject, self.order, self.threshold = subject, order, threshold
        if characters is None:
            self.term, self.gap = f"[{_WORD}]", f"[^{_WORD}]"
        elif characters:
            inside = "".join(f"\\x{{{ord(c):x}}}" for c in characters)
            self.term, self.gap = f"[^{inside}]", f"[{inside}]"
        else:
            self.term, self.gap = "(?s:.)", "(?:$^)"
        self.swallow = characters is not None

    def _patterns(self, source: str) -> str:
        """CTEs: `texts` (i, v, n, first), `patterns` (i, pattern or null)."""
        pieces = f"regexp_extract_all(v, {text(f'{self.term}+|{self.gap}+')})"
        words = f"string_split(regexp_replace(v, {text(self.gap + '+')}, chr(1), 'g'), chr(1))"
        run = text(f"{self.gap}*\\x01(?:{self.gap}*\\x01)*{self.gap}*" if self.swallow else "\\x01")
        # Pieces are terms and gaps in turn; `off` is 1 where a gap comes first, so term k is piece 2k - 1 + off.
        kept = "lambda w, j: CASE WHEN (j + off) % 2 = 0 OR list_contains(places, j) THEN w ELSE chr(1) END"
        pattern = f"regexp_replace(array_to_string(list_transform({pieces}, {kept}), ''), {run}, '*', 'g')"
        limit = f"{self.threshold!r} * (SELECT sum(n) FROM texts)"
        return (
            f"WITH numbered AS (SELECT {self.subject} AS v, row_number() OVER ({self.order}) AS r FROM {source}),"
            " texts AS MATERIALIZED (SELECT row_number() OVER () AS i, v, count(*) AS n, min(r) AS first"
            " FROM numbered GROUP BY v),"
            " split AS (SELECT i, n, w, k, off FROM (SELECT i, n, unnest(l) AS w, generate_subscripts(l, 1)"
            " - CASE WHEN l[1] = '' THEN 1 ELSE 0 END AS k, CASE WHEN l[1] = '' THEN 1 ELSE 0 END AS off"
            f" FROM (SELECT i, n, {words} AS l FROM texts)) WHERE w <> ''),"
            " terms AS NOT MATERIALIZED (SELECT i, n, w, k, off FROM split),"
            " common AS MATERIALIZED (SELECT k, w FROM terms GROUP BY k, w"
            f" HAVING sum(n) > greatest({limit}, 1)),"
            " places AS (SELECT i, any_value(off) AS off, list(2 * k - 1 + off) AS places FROM terms JOIN common USING (k, w) GROUP BY i),"
            f" patterns AS MATERIALIZED (SELECT i, n, v, first, {pattern} AS pattern FROM places JOIN texts USING (i)),"
            " groups AS MATERIALIZED (SELECT pattern, sum(n)::BIGINT AS c, arg_min(v, first) AS v, min(first) AS first"
            f" FROM patterns GROUP BY pattern HAVING sum(n) > {limit})"
        )

    def groups(self, source: str, outputs: tuple[str, ...]) -> str:
        """One row for each group, and one for the others."""
        pattern, count, representative, first = outputs
        rest = "(SELECT coalesce(sum(n), 0) FROM texts) - (SELECT coalesce(sum(c), 0) FROM groups)"
        return (
            f"{self._patterns(source)} SELECT pattern AS {pattern}, c AS {count}, v AS {representative},"
            f" first AS {first} FROM groups UNION ALL"
            f" SELECT 'others', ({rest})::BIGINT, '', 9223372036854775807 WHERE {rest} > 0"
        )

    def rows(self, source: str, columns: Sequence[str], pattern: str) -> str:
        """Each row with its pattern."""
        return (
            f"{self._patterns(source)} SELECT {', '.join(f'source.{c}' for c in columns)},"
            f" coalesce(groups.pattern, 'others') AS {pattern} FROM {source} AS source"
            f" JOIN texts ON texts.v = source.{self.subject} LEFT JOIN patterns ON patterns.i = texts.i"
            " LEFT JOIN groups ON groups.pattern = patterns.pattern"
        )


APPLIERS = {ast.Reduce: _reduce}

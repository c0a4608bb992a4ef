"""Finds, for every scan of a plan, the conditions that stand above it and speak of its stored columns."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping

from tocsin.kql import plan as p
from tocsin.kql.needs import Atom, Clause, Clauses, both
from tocsin.kql.types import KqlType

__all__ = ["scan_needs"]

# Made when it is read, of something that isn't text: no file's terms say anything about it.
_FILLED_IN = "_ItemId"
_SEARCHED = (KqlType.STRING, KqlType.DATETIME)


def scan_needs(root: p.Plan, shared: Iterable[p.Shared], sql: str) -> Mapping[str, tuple[Clauses, ...]]:
    """Per table the needs of each of its scans: a file matters when it meets those of at least one.

    A table with a scan that needs nothing, or that the text reads in a way that no scan explains, is left out.
    """
    found: dict[str, list[Clauses]] = defaultdict(list)
    # A tree with one reader is part of what reads it, and what stands above it holds there too; the others are walked by themselves.
    pending: list[tuple[p.Plan, Clauses]] = [(root, ()), *((s.plan, ()) for s in shared if s.readers != 1)]
    while pending:
        node, above = pending.pop()
        if isinstance(node, p.Scan):
            found[node.table].append(_physical(node, above))
        else:
            pending.extend(_inputs(node, above))
    reads = Counter({table: sql.count('"' + table.replace('"', '""') + '"') for table in found})
    return {t: tuple(needs) for t, needs in found.items() if all(needs) and reads[t] <= len(needs)}


def _inputs(node: p.Plan, above: Clauses) -> list[tuple[p.Plan, Clauses]]:
    """The node's inputs, each with what is known of its rows that can still count."""
    match node:
        case p.Filter():
            return [(node.input, both((node.predicate.must, above)))]
        case p.Compute():
            # A window function looks at rows that a condition above it rejects.
            blocked = any(scalar.window for _, scalar in node.items)
            return [(node.input, () if blocked else above)]
        case p.Expand():
            return [(node.input, above)]
        case p.Join():
            left = _about(above, node.left.aliases) if node.kind != "full" and node.kind != "right" else ()
            right = _about(above, node.right.aliases) if node.kind in ("inner", "cross", "right") else ()
            return [(node.left, left), (node.right, right)]
        case p.Union():
            pairs = zip(node.parts, node.own, strict=True)
            return [(part, _through(above, mapping, own)) for (part, mapping), own in pairs]
        case p.SharedRef():
            return [(node.shared.plan, _renamed(above, node.columns))] if node.shared.readers == 1 else []
        case p.Custom():
            return [(tree, ()) for tree, _ in node.inputs]
        case p.Aggregate() | p.Limit() | p.Pick():
            return [(node.input, ())]
    return []  # Single, Values: no scan below


def _about(clauses: Clauses, aliases: frozenset[str]) -> Clauses:
    return tuple(c for c in clauses if all(a.column in aliases for a in c))


def _renamed(clauses: Clauses, mapping: Mapping[str, str]) -> Clauses:
    """Clauses over a reader's columns as clauses over the columns of what it reads."""
    return tuple(
        frozenset(Atom(mapping[a.column], a.kind, a.value) for a in c)
        for c in clauses
        if all(a.column in mapping for a in c)
    )


def _through(clauses: Clauses, mapping: Callable[[str], p.Scalar], own: frozenset[str]) -> Clauses:
    """Clauses over a union's columns as clauses over one part's. A column that the part lacks is null there: its atom never holds."""
    kept: list[Clause] = []
    for clause in clauses:
        atoms: list[Atom] = []
        for atom in clause:
            if atom.column not in own:
                continue
            scalar = mapping(atom.column)
            if scalar.sql not in scalar.refs:
                break
            atoms.append(Atom(scalar.sql, atom.kind, atom.value))
        else:
            kept.append(frozenset(atoms))
    return tuple(kept)


def _physical(scan: p.Scan, clauses: Clauses) -> Clauses:
    """The clauses that speak of stored columns only, under their physical names."""
    kept: list[Clause] = []
    for clause in clauses:
        atoms = [_named(scan.columns, atom) for atom in clause]
        if None not in atoms:
            kept.append(frozenset(a for a in atoms if a is not None))
    return tuple(kept)


def _named(columns: Mapping[str, tuple[str, KqlType]], atom: Atom) -> Atom | None:
    name, kind = columns.get(atom.column, ("", None))
    if kind not in _SEARCHED or name == _FILLED_IN:
        return None
    return Atom(name, atom.kind, atom.value)

"""Texts of often read members of dynamic columns, as SQL of a relation: from their own columns where files have them, else from the JSON."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from tocsin.kql.emit.duckdb.scalars import json_path
from tocsin.kql.types import TableSchema
from tocsin.lake.engine.files import columns_of
from tocsin.lake.engine.physical import quote_name, shape_of
from tocsin.lake.snapshot import DataFile

__all__ = ["Member", "members_in", "split_by_members"]


@dataclass(frozen=True, slots=True)
class Member:
    """A member that a query reads: the relation's column, the one of files, the physical dynamic column that has it."""

    name: str
    stored: str
    source: str
    member: str
    again: bool

    def text(self, *, whole: bool, present: Collection[str]) -> str:
        """The member's text: from its own column where the files are `whole`, else from the JSON where they have some."""
        if whole:
            return quote_name(self.stored)
        if self.source not in present:
            return "''"
        value = f"q_nn({quote_name(self.source)}::JSON)"
        return f"coalesce({f'k_reparse({value})' if self.again else value}->>{json_path((self.member,))},'')"


def members_in(schema: TableSchema, sql: str) -> list[Member]:
    """The members that the text reads."""
    found = []
    for column, member in schema.members:
        for between in (":", "::"):
            name = f"{column}{between}{member}"
            if quote_name(name) in sql:
                found.append(Member(name, f"{column}:{member}", _physical(schema, column), member, between == "::"))
    return found


def _physical(schema: TableSchema, column: str) -> str:
    return next(n for n, c in shape_of(schema).physical.items() if c.name == column)


def split_by_members(files: Sequence[DataFile], members: Sequence[Member]) -> Iterator[tuple[Sequence[DataFile], bool]]:
    """The files that have columns of all these members, and the others: (files, whether they have)."""
    if not members:
        yield files, False
        return
    wanted = {m.stored for m in members}
    having = [f for f in files if wanted <= (columns_of([f]) or frozenset())]
    if having:
        yield having, True
    if len(having) < len(files):
        known = {f.path for f in having}
        yield [f for f in files if f.path not in known], False

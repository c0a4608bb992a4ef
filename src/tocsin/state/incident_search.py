"""Finding incidents by text. On SQLite a table of trigrams (FTS5) holds the texts of those that people see, by number; the database's own triggers
keep it in the transaction of every change (revision 0005). On PostgreSQL an index of pg_trgm does the same where there is that.

Words of two letters begin some of the trigrams, or end a text: where nothing longer is asked, SQLite finds the first of them by that.

https://sqlite.org/fts5.html#the_trigram_tokenizer
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    TextClause,
    and_,
    column,
    select,
    table,
    text,
    true,
)
from sqlalchemy.exc import DatabaseError

from tocsin.state.repository import no_more_than
from tocsin.state.schema import incidents
from tocsin.state.types import plain

__all__ = ["INDEX", "TextSearch", "index_holds", "known_by_index", "make_index_anew"]

INDEX = "incident_search"
"""The table of trigrams; its own tables' names begin with that."""

_LEAST = 3
"""Letters of the shortest word that trigrams find."""

_PAIR = 2
"""Letters of a word that trigrams begin with."""

_MOST_TERMS = 200
"""Where more trigrams than this begin with a word, every incident is read: it is in most of them."""

_LAST = chr(0x10FFFF)
"""Nothing that begins with a word comes after the word and this."""

_index = table(INDEX, column(INDEX), column("rowid"))


class TextSearch:
    """What the queue's search box asks for: every word of it somewhere in the incident's text, or one number (``#12``)."""

    def __init__(self, connection: Connection, wanted: str) -> None:
        asked = wanted.strip().casefold()
        self._connection = connection
        self._number = min(int(asked[1:]), 2**62) if asked.startswith("#") and asked[1:].isdigit() else None
        self._words = [plain(w) for w in asked.split()] if self._number is None else []
        indexed = connection.dialect.name == "sqlite"
        self._known = [w for w in self._words if indexed and len(w) >= _LEAST]
        pairs = [w for w in self._words if indexed and not self._known and len(w) == _PAIR]
        self._pair = pairs[0] if pairs else ""

    @property
    def each(self) -> ColumnElement[bool]:
        """Whether an incident matches, by its own text."""
        return self._look(incidents, self._words)

    def found(self, most: int = -1) -> tuple[FromClause, ColumnElement[bool]]:
        """The incidents that match by the index, as far as that knows the words, with what is still asked of them; at most so many, where it
        knows any."""
        matching = self._matching
        if matching is None:
            return incidents, self.each
        # Left to itself SQLite prefers to go through all incidents in some order and to ask of each whether it was found.
        rows = text(
            f"SELECT {', '.join(f'i.{c.name}' for c in incidents.c)}"
            f" FROM (SELECT number FROM ({matching}) LIMIT :most) f"
            " CROSS JOIN incidents i ON i.number = f.number"
        )
        found = rows.bindparams(**matching.compile().params, most=most).columns(*incidents.c).subquery("found")
        return found, self._look(found, [w for w in self._words if w not in (*self._known, self._pair)])

    def few(self, most: int) -> bool:
        """Whether it pays to begin with those that match by the index: it knows of so many at most."""
        return (matches := self._matches()) is not None and no_more_than(self._connection, matches, most)

    def more(self, most: int) -> bool:
        """Whether more than so many match by the index."""
        return (matches := self._matches()) is not None and not no_more_than(self._connection, matches, most)

    def _matches(self) -> Select[Any] | None:
        matching = self._matching
        return None if matching is None else select(matching.columns(column("number", Integer)).subquery("matching"))

    @cached_property
    def _matching(self) -> TextClause | None:
        """What gives the numbers of those that match by the index, each once; None where it knows none of the words."""
        by_index = f"SELECT rowid AS number FROM {INDEX} WHERE {INDEX} MATCH :phrases"
        if self._known:
            return text(by_index).bindparams(phrases=_phrases(self._known, "AND"))
        terms = self._terms() if self._pair else None
        if terms is None:
            return None
        # Those whose text ends with it and has it nowhere else: what follows it in the others is part of a trigram.
        at_end = (
            "SELECT number FROM incidents WHERE number IS NOT NULL AND substr(search, -2) = :pair"
            " AND instr(search, :pair) = length(search) - 1"
        )
        if not terms:
            return text(at_end).bindparams(pair=self._pair)
        return text(f"{by_index} UNION ALL {at_end}").bindparams(phrases=_phrases(terms, "OR"), pair=self._pair)

    def _terms(self) -> list[str] | None:
        """The trigrams that begin with the pair; None where there are very many."""
        chosen = text(f"SELECT term FROM {INDEX}_terms WHERE term >= :first AND term <= :last LIMIT :most")
        bound = chosen.bindparams(first=self._pair, last=self._pair + _LAST, most=_MOST_TERMS + 1)
        found = [str(t) for (t,) in self._connection.execute(bound)]
        return found if len(found) <= _MOST_TERMS else None

    def _look(self, rows: FromClause, words: list[str]) -> ColumnElement[bool]:
        if self._number is not None:
            return rows.c.number == self._number
        return and_(true(), *(rows.c.search.contains(w, autoescape=True) for w in words))


def _phrases(words: list[str], between: str) -> str:
    """What asks the index for these words."""
    return f" {between} ".join('"' + w.replace('"', '""') + '"' for w in words)


def known_by_index(words: str, dialect: str) -> Select[Any] | None:
    """Numbers of the incidents of which the index knows these words in a row; None where it can't tell."""
    if dialect != "sqlite" or len(words) < _LEAST:
        return None
    phrase = '"' + words.replace('"', '""') + '"'
    return select(_index.c.rowid).where(_index.c[INDEX].op("MATCH")(phrase))


def index_holds(connection: Connection) -> bool:
    """Whether the index says what the incidents' texts say."""
    if connection.dialect.name != "sqlite":
        return True  # the database keeps an index of its own, which is never anything else
    try:
        connection.execute(text(f"INSERT INTO {INDEX} ({INDEX}, rank) VALUES ('integrity-check', 1)"))
    except DatabaseError as error:
        if "malformed" in str(error.orig):
            return False
        raise
    return True


def make_index_anew(connection: Connection) -> None:
    """Makes the index of the incidents' texts as they are."""
    if connection.dialect.name == "sqlite":
        connection.execute(text(f"INSERT INTO {INDEX} ({INDEX}) VALUES ('rebuild')"))

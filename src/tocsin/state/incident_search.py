"""Finding incidents by text. On SQLite a table of trigrams (FTS5) holds the texts of those that people see, by number; the database's own triggers
keep it in the transaction of every change (revision 0005). On PostgreSQL an index of pg_trgm does the same where there is that.

https://sqlite.org/fts5.html#the_trigram_tokenizer
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, column, select, table, text, true
from sqlalchemy.exc import DatabaseError

from tocsin.state.repository import no_more_than
from tocsin.state.schema import incidents
from tocsin.state.types import plain

__all__ = ["INDEX", "TextSearch", "index_holds", "known_by_index", "make_index_anew"]

INDEX = "incident_search"
"""The table of trigrams; its own tables' names begin with that."""

_LEAST = 3
"""Letters of the shortest word that trigrams find."""

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

    @property
    def each(self) -> ColumnElement[bool]:
        """Whether an incident matches, by its own text."""
        return self._look(incidents, self._words)

    def found(self, most: int = -1) -> tuple[FromClause, ColumnElement[bool]]:
        """The incidents that match by the index, as far as that knows the words, with what is still asked of them; at most so many, where it
        knows any."""
        if not self._known:
            return incidents, self.each
        # Left to itself SQLite prefers to go through all incidents in some order and to ask of each whether it was found.
        rows = text(
            f"SELECT {', '.join(f'i.{c.name}' for c in incidents.c)}"
            f" FROM (SELECT rowid AS number FROM {INDEX} WHERE {INDEX} MATCH :phrases LIMIT :most) f"
            " CROSS JOIN incidents i ON i.number = f.number"
        )
        found = rows.bindparams(phrases=self._phrases, most=most).columns(*incidents.c).subquery("found")
        return found, self._look(found, [w for w in self._words if w not in self._known])

    def few(self, most: int) -> bool:
        """Whether it pays to begin with those that match by the index: it knows of so many at most."""
        return bool(self._known) and no_more_than(self._connection, self._matches(), most)

    def more(self, most: int) -> bool:
        """Whether more than so many match by the index."""
        return bool(self._known) and not no_more_than(self._connection, self._matches(), most)

    def _matches(self) -> Select[Any]:
        return select(_index.c.rowid).where(_index.c[INDEX].op("MATCH")(self._phrases))

    def _look(self, rows: FromClause, words: list[str]) -> ColumnElement[bool]:
        if self._number is not None:
            return rows.c.number == self._number
        return and_(true(), *(rows.c.search.contains(w, autoescape=True) for w in words))

    @property
    def _phrases(self) -> str:
        return " AND ".join('"' + w.replace('"', '""') + '"' for w in self._known)


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

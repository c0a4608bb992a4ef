"""What finds words of two letters by the index of texts: what it knows begins with them, or a text ends with them."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

# A view of the index's own terms, which holds nothing itself (https://sqlite.org/fts5.html#the_fts5vocab_virtual_table_module).
_SQLITE = (
    "CREATE VIRTUAL TABLE incident_search_terms USING fts5vocab(incident_search, row)",
    "CREATE INDEX incident_search_ends ON incidents (substr(search, -2)) WHERE number IS NOT NULL",
)


def upgrade() -> None:
    """Makes both on SQLite. Whoever makes the table of incidents anew must make the index anew, too (see revision 0005)."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        for statement in _SQLITE:
            connection.exec_driver_sql(statement)

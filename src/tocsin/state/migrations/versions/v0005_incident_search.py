"""An index of the texts by which incidents are found, and one for counting what was found.

On SQLite triggers keep it: whoever makes the table of incidents anew (Alembic's batch mode does, when a column changes) must make them anew, too.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

# Those that people see; a number stays an incident's for good, which a row's place in its table doesn't. Texts and what is looked for are
# folded already.
_SQLITE = """
CREATE VIEW incident_texts AS SELECT number, search FROM incidents WHERE number IS NOT NULL;

CREATE VIRTUAL TABLE incident_search
USING fts5(search, content='incident_texts', content_rowid='number', tokenize='trigram case_sensitive 1');

INSERT INTO incident_search (rowid, search) SELECT number, search FROM incident_texts;

CREATE TRIGGER incident_search_new AFTER INSERT ON incidents WHEN new.number IS NOT NULL
BEGIN
    INSERT INTO incident_search (rowid, search) VALUES (new.number, new.search);
END;

CREATE TRIGGER incident_search_gone AFTER DELETE ON incidents WHEN old.number IS NOT NULL
BEGIN
    INSERT INTO incident_search (incident_search, rowid, search) VALUES ('delete', old.number, old.search);
END;

CREATE TRIGGER incident_search_changed AFTER UPDATE OF number, search ON incidents
WHEN old.number IS NOT new.number OR old.search IS NOT new.search
BEGIN
    INSERT INTO incident_search (incident_search, rowid, search) SELECT 'delete', old.number, old.search WHERE old.number IS NOT NULL;
    INSERT INTO incident_search (rowid, search) SELECT new.number, new.search WHERE new.number IS NOT NULL;
END;
"""

_POSTGRESQL = """
DO $$ BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE INDEX incident_search ON incidents USING gin (search gin_trgm_ops);
EXCEPTION WHEN undefined_file OR feature_not_supported OR insufficient_privilege THEN
    RAISE NOTICE 'pg_trgm is not there: incidents are found by text without an index';
END $$
"""


def upgrade() -> None:
    """Makes the indexes of what is there."""
    columns = ("number", "promoted", "status", "severity", "owner")
    op.create_index(op.f(f"ix_incidents_{'_'.join(columns)}"), "incidents", list(columns), unique=False)
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        for statement in _SQLITE.split("\n\n"):
            connection.execute(sa.text(statement))
    else:
        connection.execute(sa.text(_POSTGRESQL))

"""By what the queue is filtered beside columns: tactics, products and types of entities, as rows tell of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

# Each value once, cut to what the column takes. Entities are objects, of which the type is asked.
_SQLITE = """
INSERT OR IGNORE INTO incident_marks (kind, value, incident_id)
SELECT '{kind}', substr({value}, 1, 256), i.id FROM incidents i, json_each(i.payload, '$.{member}') e
"""
_POSTGRESQL = """
INSERT INTO incident_marks (kind, value, incident_id)
SELECT DISTINCT '{kind}', left({value}, 256), i.id FROM incidents i,
jsonb_array_elements(COALESCE(i.payload::jsonb -> '{member}', '[]'::jsonb)) e
"""
_MARKS = (
    ("tactic", "tactics", "e.value", "e #>> '{}'"),
    ("product", "products", "e.value", "e #>> '{}'"),
    ("type", "entities", "json_extract(e.value, '$.type')", "e ->> 'type'"),
)


def upgrade() -> None:
    """Makes the table of what is there."""
    op.create_table(
        "incident_marks",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.String(length=256), nullable=False),
        sa.Column("incident_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("fk_incident_marks_incident_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("kind", "value", "incident_id", name=op.f("pk_incident_marks")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_incident_marks_incident_id"), "incident_marks", ["incident_id"], unique=False)
    connection = op.get_bind()
    for statement in fills(sqlite=connection.dialect.name == "sqlite"):
        connection.exec_driver_sql(statement)


def fills(*, sqlite: bool) -> list[str]:
    """What makes the marks of the rows that there are."""
    made = _SQLITE if sqlite else _POSTGRESQL
    return [
        made.format(kind=kind, member=member, value=of_sqlite if sqlite else of_postgresql)
        for kind, member, of_sqlite, of_postgresql in _MARKS
    ]

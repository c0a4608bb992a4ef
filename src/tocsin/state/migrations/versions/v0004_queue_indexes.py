"""Indexes by which the queue is sorted and counted where there are very many incidents."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

_INDEXES = (
    ("promoted", "priority", "last", "number", "status"),
    ("promoted", "severity_rank", "last", "number", "status"),
    ("promoted", "updated", "last", "number", "status"),
    ("promoted", "last", "number", "status"),
    ("promoted", "first", "last", "number", "status"),
    ("promoted", "status", "severity", "owner"),
)


def upgrade() -> None:
    """Makes the indexes."""
    for columns in _INDEXES:
        op.create_index(op.f(f"ix_incidents_{'_'.join(columns)}"), "incidents", list(columns), unique=False)

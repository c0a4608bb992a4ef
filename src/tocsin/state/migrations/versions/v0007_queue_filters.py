"""Indexes by which the queue is sorted by title and status, and counted by whatever filters it, where there are very many incidents."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_INDEXES: dict[str, tuple[str, ...]] = {
    "ix_incidents_promoted_title_last_number_status": (
        "promoted", "lower(substr(title, 1, 200))", "last", "number", "status",
    ),
    "ix_incidents_promoted_status_last_number": ("promoted", "status", "last", "number"),
    "ix_incidents_queue_counts": ("promoted", "status", "severity", "owner", "classification", "last", "id"),
}  # fmt: skip
_BEFORE = "ix_incidents_promoted_status_severity_owner"


def upgrade() -> None:
    """Makes the indexes; the last of them does what that of status, severity and owner did."""
    for name, columns in _INDEXES.items():
        op.create_index(op.f(name), "incidents", [sa.text(c) if "(" in c else c for c in columns], unique=False)
    op.drop_index(op.f(_BEFORE), "incidents")

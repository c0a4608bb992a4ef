"""What rows told of identifiers that mean one thing: claims, by either identifier."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tocsin.state.types import DOCUMENT, Instant

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "aliases",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("one", sa.String(length=512), nullable=False),
        sa.Column("other", sa.String(length=512), nullable=False),
        sa.Column("first", Instant(), nullable=False),
        sa.Column("last", Instant(), nullable=False),
        sa.Column("until", Instant(), nullable=False),
        sa.Column("payload", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_aliases")),
    )
    op.create_index(op.f("ix_aliases_one"), "aliases", ["one"], unique=False)
    op.create_index(op.f("ix_aliases_other"), "aliases", ["other"], unique=False)
    op.create_index(op.f("ix_aliases_until"), "aliases", ["until"], unique=False)

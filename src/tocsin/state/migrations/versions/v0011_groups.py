"""Groups of users, which may own incidents."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tocsin.state.types import Instant

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Makes groups and who is in them."""
    op.create_table(
        "user_groups",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("folded", sa.String(length=64), nullable=False),
        sa.Column("description", sa.String(length=512), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created", Instant(), nullable=False),
        sa.Column("changed", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_user_groups")),
        sa.UniqueConstraint("folded", name=op.f("uq_user_groups_folded")),
    )
    op.create_table(
        "group_members",
        sa.Column("group_name", sa.String(length=64), nullable=False),
        sa.Column("user_name", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_name"], ["user_groups.name"], name=op.f("fk_group_members_group_name"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_name"], ["users.name"], name=op.f("fk_group_members_user_name"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("group_name", "user_name", name=op.f("pk_group_members")),
    )
    op.create_index(op.f("ix_group_members_user_name"), "group_members", ["user_name"], unique=False)

"""Which alerts were a rule's first ones: how rare a rule was when it fired, which nothing that it says later changes.

Alerts that are there count in the order in which they were made, all of a rule that passes on what other products say as one kind.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_FILL = """
INSERT INTO rule_firsts (said_by, nth, alert_id)
SELECT rule_id, nth, id FROM (
  SELECT rule_id, id, ROW_NUMBER() OVER (PARTITION BY rule_id ORDER BY created, id) AS nth FROM alerts
) AS numbered WHERE nth <= 100
"""


def upgrade() -> None:
    """Makes the table of what is there."""
    op.create_table(
        "rule_firsts",
        sa.Column("said_by", sa.String(), nullable=False),
        sa.Column("nth", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("alert_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("said_by", "nth", name=op.f("pk_rule_firsts")),
    )
    op.get_bind().execute(sa.text(_FILL))
    op.create_index(op.f("ix_rule_firsts_nth"), "rule_firsts", ["nth"], unique=False)

"""By which incidents are counted that have a tag or a mark which very many have: from what holds it to what is counted of each, rows untouched."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"

_COUNTED = ["id", "promoted", "status", "severity", "owner", "classification"]


def upgrade() -> None:
    """Makes both indexes; that of tags takes the place of one that knew no incidents."""
    op.create_index("ix_incidents_counted", "incidents", _COUNTED, unique=False)
    op.create_index("ix_incident_tags_tag_incident_id", "incident_tags", ["tag", "incident_id"], unique=False)
    op.drop_index("ix_incident_tags_tag", table_name="incident_tags")

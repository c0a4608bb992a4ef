"""Which rules' alerts an incident holds, and what became of it: what figures of rules are counted from without reading alerts.

Triggers keep it: whoever makes the tables of incidents or alerts anew must make them anew, too.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_FILL = """
INSERT INTO incident_rules (incident_id, rule_id, alerts, shown, closed, classification)
SELECT i.id, a.rule_id, COUNT(*), i.promoted, i.status = 'Resolved', COALESCE(i.classification, '')
FROM alerts a JOIN incidents i ON a.incident_id = i.id
GROUP BY i.id, a.rule_id, i.promoted, i.status, i.classification
"""

_HOLDS = """
INSERT INTO incident_rules (incident_id, rule_id, alerts, shown, closed, classification)
SELECT id, new.rule_id, 1, promoted, status = 'Resolved', COALESCE(classification, '') FROM incidents WHERE id = new.incident_id
ON CONFLICT (incident_id, rule_id) DO UPDATE SET alerts = incident_rules.alerts + 1;
"""

_LEFT = """
UPDATE incident_rules SET alerts = alerts - 1 WHERE incident_id = old.incident_id AND rule_id = old.rule_id;
DELETE FROM incident_rules WHERE incident_id = old.incident_id AND rule_id = old.rule_id AND alerts < 1;
"""

_BECAME = """
UPDATE incident_rules SET shown = new.promoted, closed = new.status = 'Resolved', classification = COALESCE(new.classification, '')
WHERE incident_id = new.id;
"""

_WHEN = (
    ("holds", "INSERT ON alerts", "new.incident_id IS NOT NULL", _HOLDS),
    ("left", "DELETE ON alerts", "old.incident_id IS NOT NULL", _LEFT),
    ("moved", "UPDATE OF incident_id ON alerts", "old.incident_id {differs} new.incident_id", _LEFT + _HOLDS),
    (
        "became",
        "UPDATE OF promoted, status, classification ON incidents",
        "old.promoted {differs} new.promoted OR old.status {differs} new.status OR old.classification {differs} new.classification",
        _BECAME,
    ),
)


def upgrade() -> None:
    """Makes the table of what is there, and the triggers."""
    op.create_table(
        "incident_rules",
        sa.Column("incident_id", sa.String(length=64), nullable=False),
        sa.Column("rule_id", sa.String(length=256), nullable=False),
        sa.Column("alerts", sa.Integer(), nullable=False),
        sa.Column("shown", sa.Boolean(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("classification", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("fk_incident_rules_incident_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("incident_id", "rule_id", name=op.f("pk_incident_rules")),
        sqlite_with_rowid=False,
    )
    connection = op.get_bind()
    connection.execute(sa.text(_FILL))
    columns = ["rule_id", "classification", "shown", "closed"]
    op.create_index(op.f(f"ix_incident_rules_{'_'.join(columns)}"), "incident_rules", columns, unique=False)
    sqlite = connection.dialect.name == "sqlite"
    for name, event, condition, body in _WHEN:
        when = condition.format(differs="IS NOT" if sqlite else "IS DISTINCT FROM")
        trigger = f"CREATE TRIGGER incident_rules_{name} AFTER {event} "
        if sqlite:
            connection.execute(sa.text(f"{trigger} WHEN {when} BEGIN {body} END"))
            continue
        connection.execute(
            sa.text(
                f"CREATE FUNCTION incident_rules_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$"
            )
        )
        connection.execute(sa.text(f"{trigger} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION incident_rules_{name}()"))

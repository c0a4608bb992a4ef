"""The incident log with its guards, tasks, phases and roles. What incidents are already becomes the first entry of each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tocsin.state.types import BIG, DOCUMENT, Instant, text_of

revision = "0002"
down_revision = "0001"

_BATCH = 500


def upgrade() -> None:
    """Makes the tables and columns, then takes over what is there."""
    op.create_table(
        "incident_log",
        sa.Column("seq", BIG, nullable=False),
        sa.Column("incident_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("time", Instant(), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("data", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_incident_log")),
        sa.UniqueConstraint("incident_id", "version", name=op.f("uq_incident_log_incident_id_version")),
    )
    op.create_index("ix_incident_log_incident_id_seq", "incident_log", ["incident_id", "seq"], unique=False)
    op.create_index("ix_incident_log_time", "incident_log", ["time"], unique=False)
    op.create_table(
        "incident_tasks",
        sa.Column("id", BIG, nullable=False),
        sa.Column("incident_id", sa.String(length=64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created", Instant(), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("completed", Instant(), nullable=True),
        sa.Column("completed_by", sa.String(length=128), nullable=True),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("fk_incident_tasks_incident_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident_tasks")),
    )
    op.create_index(op.f("ix_incident_tasks_incident_id"), "incident_tasks", ["incident_id"], unique=False)
    op.add_column("incidents", sa.Column("phase", sa.String(length=32), nullable=True))
    op.add_column("incidents", sa.Column("roles", DOCUMENT, nullable=False, server_default="{}"))
    op.add_column("incidents", sa.Column("acknowledged", Instant(), nullable=True))
    op.add_column("incidents", sa.Column("closed", Instant(), nullable=True))
    op.add_column("alerts", sa.Column("linked_by", DOCUMENT, nullable=False, server_default="[]"))
    connection = op.get_bind()
    _part_links(connection)
    _import(connection)
    _guard(connection.dialect.name)


_ALERTS = sa.table(
    "alerts",
    sa.column("id", sa.String),
    sa.column("incident_id", sa.String),
    sa.column("time", Instant()),
    sa.column("payload", DOCUMENT),
    sa.column("linked_by", DOCUMENT),
)
_DECIDED = ("number", "status", "owner", "classification", "determination")
_DECIDED_TOO = ("severity_override", "title_override", "redirect_to", "promoted")
_INCIDENTS = sa.table(
    "incidents",
    sa.column("id", sa.String),
    *(sa.column(n) for n in (*_DECIDED, *_DECIDED_TOO, "priority", "version")),
    *(sa.column(n) for n in ("title", "severity", "severity_rank", "alert_count", "search")),
    sa.column("first", Instant()),
    sa.column("last", Instant()),
    sa.column("created", Instant()),
    sa.column("updated", Instant()),
    sa.column("payload", DOCUMENT),
)
_TAGS = sa.table(
    "incident_tags",
    sa.column("incident_id", sa.String),
    sa.column("tag", sa.String),
    sa.column("added", Instant()),
    sa.column("added_by", sa.String),
)
_ACTIVITY = sa.table(
    "activity",
    sa.column("id", BIG),
    sa.column("incident_id", sa.String),
    sa.column("time", Instant()),
    sa.column("actor", sa.String),
    sa.column("kind", sa.String),
    sa.column("text", sa.Text),
    sa.column("detail", DOCUMENT),
)
_LOG = sa.table(
    "incident_log",
    sa.column("incident_id", sa.String),
    sa.column("version", sa.Integer),
    sa.column("time", Instant()),
    sa.column("actor", sa.String),
    sa.column("source", sa.String),
    sa.column("kind", sa.String),
    sa.column("data", DOCUMENT),
)


def _part_links(connection: sa.Connection) -> None:
    """An alert's reasons leave its document: the document is what the rule said and stays."""
    last = ""
    while True:
        rows = connection.execute(
            sa.select(_ALERTS.c.id, _ALERTS.c.payload).where(_ALERTS.c.id > last).order_by(_ALERTS.c.id).limit(_BATCH)
        ).all()
        if not rows:
            return
        last = rows[-1].id
        for row in rows:
            payload = dict(row.payload)
            links = payload.pop("linked_by", [])
            connection.execute(
                sa.update(_ALERTS).where(_ALERTS.c.id == row.id).values(payload=payload, linked_by=links)
            )


def _import(connection: sa.Connection) -> None:
    """Each incident as it is, and its activity, as the log's first entries."""
    for row in connection.execute(sa.select(_INCIDENTS).order_by(_INCIDENTS.c.created, _INCIDENTS.c.id)).all():
        links = connection.execute(
            sa.select(_ALERTS.c.id, _ALERTS.c.linked_by)
            .where(_ALERTS.c.incident_id == row.id)
            .order_by(_ALERTS.c.time, _ALERTS.c.id)
        ).all()
        tags = connection.execute(sa.select(_TAGS).where(_TAGS.c.incident_id == row.id).order_by(_TAGS.c.tag)).all()
        kept = {n: getattr(row, n) for n in (*_DECIDED, *_DECIDED_TOO) if getattr(row, n) is not None}
        data = {
            "set": {**kept, "promoted": bool(row.promoted), "created": text_of(row.created)},
            "tags": {"held": [[t.tag, text_of(t.added), t.added_by] for t in tags]},
            "alerts": {"linked": [{"id": a.id, "linked_by": a.linked_by} for a in links]},
            "priority": {"score": row.priority, "reasons": row.payload.get("reasons", [])},
        }
        if not links:  # its alerts went to another one, which can no longer say which they were
            kept_payload = {n: v for n, v in row.payload.items() if n not in ("story", "graph")}
            data["frozen"] = {
                **{n: getattr(row, n) for n in ("title", "severity", "severity_rank", "alert_count", "search")},
                **{n: text_of(getattr(row, n)) for n in ("first", "last")},
                "payload": kept_payload,
            }
        connection.execute(
            sa.insert(_LOG).values(
                incident_id=row.id,
                version=row.version,
                time=row.updated,
                actor="system:migration",
                source="system",
                kind="imported",
                data=data,
            )
        )
    last = 0
    while True:
        entries = connection.execute(
            sa.select(_ACTIVITY).where(_ACTIVITY.c.id > last).order_by(_ACTIVITY.c.id).limit(_BATCH)
        ).all()
        if not entries:
            return
        last = entries[-1].id
        connection.execute(
            sa.insert(_LOG),
            [
                {
                    "incident_id": e.incident_id,
                    "version": None,
                    "time": e.time,
                    "actor": e.actor,
                    "source": "system",
                    "kind": "entry",
                    "data": {"id": e.id, "kind": e.kind, "text": e.text, "detail": e.detail},
                }
                for e in entries
            ],
        )


def _guard(dialect: str) -> None:
    if dialect == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER incident_log_no_{event.lower()} BEFORE {event} ON incident_log "
                "BEGIN SELECT RAISE(ABORT, 'the incident log is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION incident_log_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the incident log is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER incident_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON incident_log "
        "FOR EACH STATEMENT EXECUTE FUNCTION incident_log_append_only()"
    )

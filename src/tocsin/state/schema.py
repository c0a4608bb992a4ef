"""The relational schema: one `MetaData`, tables by topic. Migrations bring a database to it; a test compares the two.

Payload columns hold JSON documents as the API shows them; what is filtered, sorted, counted or joined has a column of its own.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, MetaData, Table, UniqueConstraint, text

from tocsin.state.types import BIG, DOCUMENT, Instant, Words

__all__ = ["BY_TITLE", "METADATA"]

BY_TITLE = "lower(substr(title, 1, 200))"
"""By what of their titles incidents are sorted: PostgreSQL puts no long text into an index."""

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

kv = Table(
    "kv",
    METADATA,
    Column("key", Words(128), primary_key=True),
    Column("value", DOCUMENT, nullable=True),
    Column("changed", Instant, nullable=False),
)

# ------------------------------------------------------------------------------------------------ access

users = Table(
    "users",
    METADATA,
    Column("name", Words(64), primary_key=True),  # as typed; `folded` makes it unique without regard to case
    Column("folded", Words(64), nullable=False, unique=True),
    Column("display_name", Words(128), nullable=False),
    Column("password", Words(), nullable=False),  # argon2id, with its parameters
    Column("disabled", Boolean, nullable=False, default=False),
    Column("created", Instant, nullable=False),
    Column("changed", Instant, nullable=False),
    Column("last_sign_in", Instant, nullable=True),
)

user_roles = Table(
    "user_roles",
    METADATA,
    Column("user_name", Words(64), ForeignKey("users.name", ondelete="CASCADE"), primary_key=True),
    Column("role", Words(64), primary_key=True),
)

user_groups = Table(
    "user_groups",
    METADATA,
    Column("name", Words(64), primary_key=True),  # as typed; no user has that name
    Column("folded", Words(64), nullable=False, unique=True),
    Column("description", Words(512), nullable=False, default=""),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("created", Instant, nullable=False),
    Column("changed", Instant, nullable=False),
)

group_members = Table(
    "group_members",
    METADATA,
    Column("group_name", Words(64), ForeignKey("user_groups.name", ondelete="CASCADE"), primary_key=True),
    Column("user_name", Words(64), ForeignKey("users.name", ondelete="CASCADE"), primary_key=True, index=True),
)

sessions = Table(
    "sessions",
    METADATA,
    Column(
        "hash", Words(64), primary_key=True
    ),  # SHA-256 of the cookie's secret: a copy of the database signs nobody in
    Column("user_name", Words(64), ForeignKey("users.name", ondelete="CASCADE"), nullable=False, index=True),
    Column("created", Instant, nullable=False),
    Column("seen", Instant, nullable=False),
    Column("expires", Instant, nullable=False, index=True),
    Column("address", Words(64), nullable=False, default=""),
    Column("agent", Words(256), nullable=False, default=""),
)

tokens = Table(
    "tokens",
    METADATA,
    Column("id", Words(32), primary_key=True),
    Column("hash", Words(64), nullable=False, unique=True),
    Column("name", Words(128), nullable=False),
    Column("kind", Words(16), nullable=False),
    Column("roles", DOCUMENT, nullable=False),
    Column("owner", Words(64), nullable=False),
    Column("created", Instant, nullable=False),
    Column("expires", Instant, nullable=True),
    Column("last_used", Instant, nullable=True),
    Column("revoked", Instant, nullable=True),
)

audit = Table(
    "audit",
    METADATA,
    Column("seq", BIG, primary_key=True, autoincrement=False),
    Column("time", Instant, nullable=False, index=True),
    Column("actor", Words(128), nullable=False, index=True),
    Column("action", Words(64), nullable=False, index=True),
    Column("object_type", Words(32), nullable=False),
    Column("object_id", Words(256), nullable=False, index=True),
    Column("before", DOCUMENT, nullable=True),
    Column("after", DOCUMENT, nullable=True),
    Column("detail", DOCUMENT, nullable=False),
    Column("address", Words(64), nullable=False, default=""),
    Column("previous", Words(64), nullable=False),
    Column("hash", Words(64), nullable=False, unique=True),
)

audit_head = Table(
    "audit_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),  # one row: the chain's end, locked by who appends
    Column("seq", BIG, nullable=False),
    Column("hash", Words(64), nullable=False),
)

# ------------------------------------------------------------------------------------------------ incidents

aliases = Table(
    "aliases",
    METADATA,
    Column("id", Words(64), primary_key=True),
    Column("type", Words(32), nullable=False),
    Column("one", Words(512), nullable=False, index=True),  # identifiers in lower case
    Column("other", Words(512), nullable=False, index=True),
    Column("first", Instant, nullable=False),
    Column("last", Instant, nullable=False),
    Column("until", Instant, nullable=False, index=True),
    Column("payload", DOCUMENT, nullable=False),
)

incidents = Table(
    "incidents",
    METADATA,
    Column("id", Words(64), primary_key=True),
    Column("number", BIG, nullable=True, unique=True),  # given when it is first shown
    Column("title", Words(), nullable=False),
    Column("severity", Words(16), nullable=False),
    Column("severity_rank", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("status", Words(16), nullable=False),
    Column("owner", Words(64), nullable=True),
    Column("classification", Words(64), nullable=True),
    Column("determination", Words(64), nullable=True),
    Column("first", Instant, nullable=False),
    Column("last", Instant, nullable=False),
    Column("created", Instant, nullable=False),
    Column("updated", Instant, nullable=False),
    Column("alert_count", Integer, nullable=False, default=0),
    Column("version", Integer, nullable=False, default=1),
    Column(
        "severity_override", Words(16), nullable=True
    ),  # what an analyst set by hand; severity and title have it too
    Column("title_override", Words(), nullable=True),
    Column("redirect_to", Words(64), nullable=True),  # the incident that it was merged into
    Column("promoted", Boolean, nullable=False),  # False: signals that nobody is shown yet
    Column("phase", Words(32), nullable=True),  # where people are in answering it
    Column("roles", DOCUMENT, nullable=False),  # role → user's name
    Column("acknowledged", Instant, nullable=True),  # when somebody took it
    Column("closed", Instant, nullable=True),  # when it was resolved, while it is
    Column("search", Words(), nullable=False),  # lower-case text that the queue's search box looks in
    Column("payload", DOCUMENT, nullable=False),  # reasons, tactics, techniques, products, entities
    # What the queue is sorted by, each with what breaks ties and what hides merged ones, and what it is counted by.
    Index("ix_incidents_promoted_priority_last_number_status", "promoted", "priority", "last", "number", "status"),
    Index(
        "ix_incidents_promoted_severity_rank_last_number_status",
        "promoted",
        "severity_rank",
        "last",
        "number",
        "status",
    ),
    Index("ix_incidents_promoted_updated_last_number_status", "promoted", "updated", "last", "number", "status"),
    Index("ix_incidents_promoted_last_number_status", "promoted", "last", "number", "status"),
    Index("ix_incidents_promoted_first_last_number_status", "promoted", "first", "last", "number", "status"),
    Index("ix_incidents_promoted_title_last_number_status", "promoted", text(BY_TITLE), "last", "number", "status"),
    Index("ix_incidents_promoted_status_last_number", "promoted", "status", "last", "number"),
    Index("ix_incidents_queue_counts", "promoted", "status", "severity", "owner", "classification", "last", "id"),
    # What has a tag or a mark is counted by it. Without `last`: most that alerts change leaves it alone.
    Index("ix_incidents_counted", "id", "promoted", "status", "severity", "owner", "classification"),
    # What was found by text (`incident_search`, which revision 0005 makes) is counted by it.
    Index("ix_incidents_number_promoted_status_severity_owner", "number", "promoted", "status", "severity", "owner"),
    Index("ix_incidents_status_priority", "status", "priority"),
    Index("ix_incidents_owner", "owner"),
    Index("ix_incidents_last", "last"),
    Index("ix_incidents_severity_rank", "severity_rank"),
)

incident_tags = Table(
    "incident_tags",
    METADATA,
    Column("incident_id", Words(64), ForeignKey("incidents.id", ondelete="CASCADE"), primary_key=True),
    Column("tag", Words(128), primary_key=True),
    Column("added", Instant, nullable=False),
    Column("added_by", Words(128), nullable=False),
    Index("ix_incident_tags_tag_incident_id", "tag", "incident_id"),
)

incident_marks = Table(
    "incident_marks",
    METADATA,
    # Tactics, products and types of entities, which a row's payload names: what the queue is filtered by.
    Column("kind", Words(16), primary_key=True),
    Column("value", Words(256), primary_key=True),
    Column("incident_id", Words(64), ForeignKey("incidents.id", ondelete="CASCADE"), primary_key=True),
    Index("ix_incident_marks_incident_id", "incident_id"),
    sqlite_with_rowid=False,
)

alerts = Table(
    "alerts",
    METADATA,
    Column("id", Words(64), primary_key=True),
    Column("incident_id", Words(64), ForeignKey("incidents.id", ondelete="CASCADE"), nullable=True),
    Column("rule_id", Words(256), nullable=False),
    Column("rule", Words(), nullable=False),
    Column("title", Words(), nullable=False),
    Column("severity", Words(16), nullable=False),
    Column("time", Instant, nullable=False),
    Column("end", Instant, nullable=False),
    Column("created", Instant, nullable=False),
    Column("product", Words(64), nullable=False),
    Column("count", BIG, nullable=False),
    Column("tactics", DOCUMENT, nullable=False),
    Column("techniques", DOCUMENT, nullable=False),
    Column("payload", DOCUMENT, nullable=False),  # the whole alert in its JSON form: never changed
    Column("linked_by", DOCUMENT, nullable=False),  # why it is in its incident
    Index("ix_alerts_incident_id_time", "incident_id", "time"),
    Index("ix_alerts_rule_id_created", "rule_id", "created"),
)

rule_firsts = Table(
    "rule_firsts",
    METADATA,
    # Which alerts were a rule's first ones, in the order in which they were filed: how rare it was when it fired.
    Column("said_by", Words(), primary_key=True),
    Column("nth", Integer, primary_key=True, autoincrement=False),
    Column("alert_id", Words(64), nullable=False),
    Index("ix_rule_firsts_nth", "nth"),
)

incident_rules = Table(
    "incident_rules",
    METADATA,
    # Which rules' alerts an incident holds and what became of it: triggers keep it (revision 0006), figures of rules are counted from it.
    Column("incident_id", Words(64), ForeignKey("incidents.id", ondelete="CASCADE"), primary_key=True),
    Column("rule_id", Words(256), primary_key=True),
    Column("alerts", Integer, nullable=False),
    Column("shown", Boolean, nullable=False),
    Column("closed", Boolean, nullable=False),
    Column("classification", Words(64), nullable=False),  # "" for none yet
    Index("ix_incident_rules_rule_id_classification_shown_closed", "rule_id", "classification", "shown", "closed"),
    sqlite_with_rowid=False,
)

activity = Table(
    "activity",
    METADATA,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("incident_id", Words(64), ForeignKey("incidents.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("time", Instant, nullable=False),
    Column("actor", Words(128), nullable=False),
    Column("kind", Words(32), nullable=False),
    Column("text", Words(), nullable=False),
    Column("detail", DOCUMENT, nullable=False),
)

incident_tasks = Table(
    "incident_tasks",
    METADATA,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("incident_id", Words(64), ForeignKey("incidents.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("title", Words(), nullable=False),
    Column("description", Words(), nullable=False),
    Column("created", Instant, nullable=False),
    Column("created_by", Words(128), nullable=False),
    Column("completed", Instant, nullable=True),
    Column("completed_by", Words(128), nullable=True),
)

incident_log = Table(
    "incident_log",
    METADATA,
    # What happened to incidents, append-only (triggers refuse the rest): incidents, tags, tasks, activity and the alerts' links are
    # projections of it. No foreign key: the log of a cluster that was never shown outlives the cluster.
    Column("seq", BIG, primary_key=True, autoincrement=True),
    Column("incident_id", Words(64), nullable=False),
    Column("version", Integer, nullable=True),  # 1, 2, 3 … for what changes the incident itself
    Column("time", Instant, nullable=False),
    Column("actor", Words(128), nullable=False),
    Column("source", Words(32), nullable=False),
    Column("kind", Words(32), nullable=False),
    Column("data", DOCUMENT, nullable=False),
    UniqueConstraint("incident_id", "version"),
    Index("ix_incident_log_incident_id_seq", "incident_id", "seq"),
    Index("ix_incident_log_time", "time"),
)

incident_events = Table(
    "incident_events",
    METADATA,
    # An outbox: written in the transaction of the change, so that automation sees every change once and in order, also after a crash.
    Column("seq", BIG, primary_key=True, autoincrement=True),
    Column("incident_id", Words(64), ForeignKey("incidents.id", ondelete="CASCADE"), nullable=False),
    Column("time", Instant, nullable=False),
    Column("kind", Words(16), nullable=False),  # created, updated
    Column("actor", Words(128), nullable=False),
    Column("source", Words(32), nullable=False),  # user, automation, correlation, playbook, application
    Column("changes", DOCUMENT, nullable=False),
    Column("depth", Integer, nullable=False, default=0),  # how many automation runs led here
    Column("handled", Instant, nullable=True),
    Index("ix_incident_events_handled_seq", "handled", "seq"),
)

# ------------------------------------------------------------------------------------------------ rules

rule_ledger = Table(
    "rule_ledger",
    METADATA,
    Column("rule_id", Words(256), primary_key=True),
    Column("window_end", Instant, nullable=True),
    Column("suppressed_until", Instant, nullable=True),
    Column("last_run", Instant, nullable=True),
    Column("last_status", Words(16), nullable=True),
    Column("last_error", Words(), nullable=True),
    Column("failures", Integer, nullable=False, default=0),
    Column("runs", BIG, nullable=False, default=0),
    Column("alerts", BIG, nullable=False, default=0),
    Column("disabled_reason", Words(), nullable=True),  # set when the scheduler gave up on it
    Column("payload", DOCUMENT, nullable=True),
)

rule_overrides = Table(
    "rule_overrides",
    METADATA,
    Column("kind", Words(16), primary_key=True),  # detection, automation
    Column("rule_id", Words(256), primary_key=True),
    Column("enabled", Boolean, nullable=True),
    Column("changed", Instant, nullable=False),
    Column("changed_by", Words(128), nullable=False),
)

# ------------------------------------------------------------------------------------------------ actions

actions = Table(
    "actions",
    METADATA,
    Column("id", Words(64), primary_key=True),
    Column("number", BIG, nullable=False, unique=True),
    Column("kind", Words(64), nullable=False, index=True),
    Column(
        "effect", Words(256), nullable=False, default="", index=True
    ),  # what it acts on, to find others that act on it too
    Column("title", Words(), nullable=False),
    Column("summary", Words(), nullable=False),
    Column("input", DOCUMENT, nullable=False),
    Column("status", Words(16), nullable=False, index=True),
    Column("phase", Words(16), nullable=False, default="execute"),  # what Running means: execute or undo
    Column("edit", Boolean, nullable=False, default=False),  # an analyst's own edit of an incident
    Column("proposed_by", Words(128), nullable=False),
    Column("proposed_at", Instant, nullable=False),
    Column("decided_by", Words(128), nullable=True),
    Column("decided_at", Instant, nullable=True),
    Column("expires_at", Instant, nullable=True, index=True),
    Column("incident_id", Words(64), ForeignKey("incidents.id", ondelete="SET NULL"), nullable=True, index=True),
    Column("result", DOCUMENT, nullable=True),
    Column("error", Words(), nullable=True),
    Column("undo_data", DOCUMENT, nullable=True),
)

action_history = Table(
    "action_history",
    METADATA,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("action_id", Words(64), ForeignKey("actions.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("time", Instant, nullable=False),
    Column("actor", Words(128), nullable=False),
    Column("event", Words(32), nullable=False),
    Column("text", Words(), nullable=False),
)

# ------------------------------------------------------------------------------------------------ automation

automation_runs = Table(
    "automation_runs",
    METADATA,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("rule_id", Words(128), nullable=False),
    Column("incident_id", Words(64), ForeignKey("incidents.id", ondelete="CASCADE"), nullable=False),
    Column("event_seq", BIG, nullable=False),
    Column("time", Instant, nullable=False),
    Column("outcome", Words(16), nullable=False),
    Column("detail", DOCUMENT, nullable=False),
    Index("ix_automation_runs_rule_id_time", "rule_id", "time"),
    UniqueConstraint("rule_id", "event_seq"),
)

automation_done = Table(
    "automation_done",
    METADATA,
    # What a rule already did to an incident: a rejected proposal isn't made again each time the incident changes.
    Column("rule_id", Words(128), primary_key=True),
    Column("incident_id", Words(64), ForeignKey("incidents.id", ondelete="CASCADE"), primary_key=True),
    Column("fingerprint", Words(64), primary_key=True),
    Column("time", Instant, nullable=False),
    Column("action_id", Words(64), nullable=True),
)

"""Alembic's environment: runs on the connection that `tocsin.state.migrations` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from tocsin.state.schema import METADATA

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=METADATA,
    render_as_batch=connection.dialect.name == "sqlite",
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()

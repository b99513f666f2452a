"""What alembic runs for each upgrade: on the connection that it was given, in its transaction."""

from __future__ import annotations

from alembic import context

from volantd.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # a kill in the middle leaves the schema as it was
    render_as_batch=True,  # SQLite changes a column by making its table anew
)
with context.begin_transaction():
    context.run_migrations()

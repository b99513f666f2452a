"""Environments, objects with names in them, what is in those, and tickets of changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and the environment that is always there."""
    environments = op.create_table(
        "environments",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.bulk_insert(environments, [{"name": "main", "created_at": 0.0}])
    op.create_table(
        "objects",
        sa.Column("object_id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column(
            "environment",
            sa.String(64),
            sa.ForeignKey("environments.name", onupdate="CASCADE"),
            nullable=False,
        ),
        sa.Column("name", sa.String(64)),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("options", sa.LargeBinary, nullable=False),
    )
    op.create_index("objects_name", "objects", ["environment", "kind", "name"], unique=True)
    op.create_table(
        "tickets",
        sa.Column("client", sa.String(16), primary_key=True),
        sa.Column("line", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("made_at", sa.Float, nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
    )
    op.create_index("tickets_made_at", "tickets", ["made_at"])
    _make_contents()


def _make_contents() -> None:
    """Make the tables of what is in dicts and queues."""
    op.create_table(
        "entries",
        sa.Column("object_id", sa.String(64), primary_key=True),
        sa.Column("key_hash", sa.LargeBinary, primary_key=True),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("value", sa.LargeBinary),
        sa.Column("file", sa.String(64)),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("used_hour", sa.Integer, nullable=False),
    )
    op.create_index("entries_used_hour", "entries", ["object_id", "used_hour"])
    op.create_index(
        "entries_file",
        "entries",
        ["object_id", "file"],
        sqlite_where=sa.text("file IS NOT NULL"),
        postgresql_where=sa.text("file IS NOT NULL"),
    )
    op.create_table(
        "items",
        sa.Column("item_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("object_id", sa.String(64), nullable=False),
        sa.Column("partition", sa.String(64), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    op.create_index("items_partition", "items", ["object_id", "partition", "item_id"])

"""Durable calls: their inputs and results, and the apps that ran them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _items() -> list[sa.Column[Any]]:
    return [
        sa.Column("call_id", sa.String(26), primary_key=True),
        sa.Column("first", sa.Integer, primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("section", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.String(64)),
    ]


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "calls",
        sa.Column("call_id", sa.String(26), primary_key=True),
        sa.Column("app_id", sa.String(64), nullable=False, index=True),
        sa.Column("app", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("pinned", sa.Integer, nullable=False),
        sa.Column("function", sa.String(500), nullable=False),
        sa.Column("method", sa.String(500)),
        sa.Column("variant", sa.LargeBinary),
        sa.Column("origin", sa.String(600), nullable=False),
        sa.Column("parent", sa.String(26), index=True),
        sa.Column("parent_index", sa.Integer),
        sa.Column("inputs", sa.Integer, nullable=False),
        sa.Column("closed", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("faults", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("finished_at", sa.Float, index=True),
        sa.Column("made", sa.LargeBinary),
    )
    op.create_table("call_inputs", *_items())
    op.create_table(
        "call_results",
        *_items(),
        sa.Column("faults", sa.Integer, nullable=False),
        sa.Column("container_id", sa.String(64), nullable=False),
    )
    op.create_table(
        "kept_apps",
        sa.Column("app_id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("detached", sa.Integer, nullable=False),
        sa.Column("description", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )

"""Apps that are deployed, their versions, and the ids of their functions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "apps",
        sa.Column("app_id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("stopped_at", sa.Float),
    )
    op.create_index(
        "apps_deployed_name",
        "apps",
        ["name"],
        unique=True,
        sqlite_where=sa.text("state = 'deployed'"),
        postgresql_where=sa.text("state = 'deployed'"),
    )
    op.create_table(
        "versions",
        sa.Column("app_id", sa.String(64), sa.ForeignKey("apps.app_id"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("description", sa.LargeBinary, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("of_version", sa.Integer),
        sa.Column("tag", sa.String(64), nullable=False),
        sa.Column("strategy", sa.String(16), nullable=False),
        sa.Column("deployed_at", sa.Float, nullable=False),
        sa.Column("deployed_by", sa.String(64), nullable=False),
        sa.Column("commit_id", sa.String(64)),
        sa.Column("branch", sa.String(256)),
        sa.Column("dirty", sa.Integer),
    )
    op.create_table(
        "functions",
        sa.Column("app_id", sa.String(64), sa.ForeignKey("apps.app_id"), primary_key=True),
        sa.Column("name", sa.String(500), primary_key=True),
        sa.Column("function_id", sa.String(64), nullable=False, unique=True),
    )

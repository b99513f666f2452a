"""The standing of schedules: what is due next, what was dealt with, and how runs ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "schedules",
        sa.Column("app_id", sa.String(64), sa.ForeignKey("apps.app_id"), primary_key=True),
        sa.Column("name", sa.String(500), primary_key=True),
        sa.Column("standing", sa.LargeBinary, nullable=False),
    )

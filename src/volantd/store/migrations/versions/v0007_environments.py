"""Environments have names that can be changed, beside what their apps and objects know them by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_DEPLOYED = sa.text("state = 'deployed'")


def upgrade() -> None:
    """What was the name becomes the id; whatever is there already is in `main`."""
    op.execute("ALTER TABLE environments RENAME COLUMN name TO environment_id")
    op.add_column(
        "environments", sa.Column("name", sa.String(64), nullable=False, server_default="")
    )
    op.add_column(
        "environments", sa.Column("web_suffix", sa.String(24), nullable=False, server_default="")
    )
    op.execute("UPDATE environments SET name = environment_id")
    op.create_index("environments_name", "environments", ["name"], unique=True)
    for table in ("apps", "kept_apps"):
        op.add_column(
            table, sa.Column("environment", sa.String(64), nullable=False, server_default="main")
        )
    op.drop_index("apps_deployed_name", "apps")
    op.create_index(
        "apps_deployed_name",
        "apps",
        ["environment", "name"],
        unique=True,
        sqlite_where=_DEPLOYED,
        postgresql_where=_DEPLOYED,
    )

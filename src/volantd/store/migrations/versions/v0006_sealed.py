"""Descriptions of apps and options of calls are sealed, and secrets are stored."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

#: Column -> what tells its row from others.
_SEALED = {
    "versions.description": ("app_id", "version"),
    "kept_apps.description": ("app_id",),
    "calls.variant": ("call_id",),
}


def upgrade() -> None:
    """Seal what is there. A hash over all of it would tell whether somebody has guessed it."""
    sealer = context.config.attributes["sealer"]
    for place, key in _SEALED.items():
        table, column = place.split(".")
        _seal(sealer, sa.table(table, sa.column(column), *map(sa.column, key)), column, key)
    op.create_table(
        "secrets",
        sa.Column("object_id", sa.String(64), primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    with op.batch_alter_table("versions") as versions:
        versions.drop_column("fingerprint")


def _seal(sealer, table, column, key) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    connection = op.get_bind()
    whose = [table.c[name] for name in key]
    rows = connection.execute(sa.select(*whose).where(table.c[column].is_not(None))).all()
    for row in rows:
        mine = sa.and_(*(one == value for one, value in zip(whose, row, strict=True)))
        clear = connection.execute(sa.select(table.c[column]).where(mine)).scalar_one()
        sealed = sealer.seal("/".join((f"{table.name}.{column}", *map(str, row))), bytes(clear))
        connection.execute(sa.update(table).where(mine).values({column: sealed}))

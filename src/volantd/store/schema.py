"""The tables. What changes here needs a migration beside it; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    text,
)

metadata = MetaData()

apps = Table(
    "apps",
    metadata,
    Column("app_id", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    #: deployed or stopped
    Column("state", String(16), nullable=False),
    #: the version that is served
    Column("version", Integer, nullable=False),
    #: seconds since 1970, as all times are
    Column("created_at", Float, nullable=False),
    Column("stopped_at", Float),
)
Index(
    "apps_deployed_name",
    apps.c.name,
    unique=True,
    sqlite_where=text("state = 'deployed'"),
    postgresql_where=text("state = 'deployed'"),
)

versions = Table(
    "versions",
    metadata,
    Column("app_id", String(64), ForeignKey("apps.app_id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    #: the app as its client described it, msgpack
    Column("description", LargeBinary, nullable=False),
    #: equal for descriptions of apps that do the same
    Column("fingerprint", String(64), nullable=False),
    #: deploy, rollback or rollover
    Column("action", String(16), nullable=False),
    #: the version whose content it has, of a rollback or rollover
    Column("of_version", Integer),
    Column("tag", String(64), nullable=False),
    Column("strategy", String(16), nullable=False),
    Column("deployed_at", Float, nullable=False),
    Column("deployed_by", String(64), nullable=False),
    #: of the sources: commit, branch, and whether there were changes beside it; NULL outside git
    Column("commit_id", String(64)),
    Column("branch", String(256)),
    Column("dirty", Integer),
)

functions = Table(
    "functions",
    metadata,
    Column("app_id", String(64), ForeignKey("apps.app_id"), primary_key=True),
    Column("name", String(500), primary_key=True),
    Column("function_id", String(64), nullable=False, unique=True),
)

schedules = Table(
    "schedules",
    metadata,
    Column("app_id", String(64), ForeignKey("apps.app_id"), primary_key=True),
    #: of the function
    Column("name", String(500), primary_key=True),
    #: msgpack
    Column("standing", LargeBinary, nullable=False),
)

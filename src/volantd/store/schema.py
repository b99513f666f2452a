"""The tables. What changes here needs a migration beside it; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    event,
    insert,
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
    #: the id of the one that it is in, or was, if that has been deleted
    Column("environment", String(64), nullable=False, server_default="main"),
)
Index(
    "apps_deployed_name",
    apps.c.environment,
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
    #: the app as its client described it, msgpack; sealed
    Column("description", LargeBinary, nullable=False),
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

calls = Table(
    "calls",
    metadata,
    Column("call_id", String(26), primary_key=True),
    #: the app that ran it: one that is deployed, or one of `kept_apps`
    Column("app_id", String(64), nullable=False, index=True),
    Column("app", String(64), nullable=False),
    #: of a deployed app: the version that was called
    Column("version", Integer, nullable=False),
    #: whether it runs in that version, whatever is served
    Column("pinned", Integer, nullable=False),
    #: name of the function, or of the class with the method beside it
    Column("function", String(500), nullable=False),
    Column("method", String(500)),
    #: what makes the pool another than the function's own: options, parameters; msgpack, sealed
    Column("variant", LargeBinary),
    #: what made it, if not a client: `schedule:...`, `replay:fc-...`
    Column("origin", String(600), nullable=False),
    #: the input that made it, of a call made by one
    Column("parent", String(26), index=True),
    Column("parent_index", Integer),
    #: how many it has; known once it is closed
    Column("inputs", Integer, nullable=False),
    Column("closed", Integer, nullable=False),
    #: pending, success, failure, cancelled; expired: nothing but this row is kept
    Column("state", String(16), nullable=False),
    #: inputs that failed
    Column("faults", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float, index=True),
    #: calls of its inputs that are not kept themselves, once it has ended; msgpack
    Column("made", LargeBinary),
)

call_inputs = Table(
    "call_inputs",
    metadata,
    Column("call_id", String(26), primary_key=True),
    #: index of the first of them
    Column("first", Integer, primary_key=True),
    Column("count", Integer, nullable=False),
    #: as they came in a frame
    Column("section", LargeBinary, nullable=False),
    #: hash of the content that was in a memory file, if one came along
    Column("digest", String(64)),
)

call_results = Table(
    "call_results",
    metadata,
    Column("call_id", String(26), primary_key=True),
    Column("first", Integer, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("section", LargeBinary, nullable=False),
    Column("digest", String(64)),
    #: how many of them are faults
    Column("faults", Integer, nullable=False),
    #: the container that they come from, empty for what the daemon says
    Column("container_id", String(64), nullable=False),
)

#: Apps that are not deployed, with which calls can be run again.
kept_apps = Table(
    "kept_apps",
    metadata,
    Column("app_id", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    #: whether it goes on without its client
    Column("detached", Integer, nullable=False),
    #: as of a version; sealed
    Column("description", LargeBinary, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("environment", String(64), nullable=False, server_default="main"),
)
environments = Table(
    "environments",
    metadata,
    #: what apps and objects know it by; never changed
    Column("environment_id", String(64), primary_key=True),
    Column("created_at", Float, nullable=False),
    Column("name", String(64), nullable=False),
    #: what addresses of its web functions end with
    Column("web_suffix", String(24), nullable=False),
)
Index("environments_name", environments.c.name, unique=True)


@event.listens_for(environments, "after_create")
def _make_main(_table: Table, connection: Connection, **_words: object) -> None:
    """The environment that is always there."""
    connection.execute(
        insert(environments).values(
            environment_id="main", name="main", created_at=0.0, web_suffix=""
        )
    )


objects = Table(
    "objects",
    metadata,
    Column("object_id", String(64), primary_key=True),
    #: dict, queue, and what else is known by a name
    Column("kind", String(16), nullable=False),
    Column(
        "environment",
        String(64),
        ForeignKey("environments.environment_id", onupdate="CASCADE"),
        nullable=False,
    ),
    #: NULL for one that ends with its client
    Column("name", String(64)),
    Column("created_at", Float, nullable=False),
    Column("created_by", String(64), nullable=False),
    #: what its kind keeps of it, msgpack
    Column("options", LargeBinary, nullable=False),
)
Index("objects_name", objects.c.environment, objects.c.kind, objects.c.name, unique=True)

secrets = Table(
    "secrets",
    metadata,
    #: of a secret
    Column("object_id", String(64), primary_key=True),
    #: its variables, msgpack; sealed
    Column("value", LargeBinary, nullable=False),
)

tickets = Table(
    "tickets",
    metadata,
    #: of a client: an id that it chose, and one of the lines on which it makes changes
    Column("client", String(16), primary_key=True),
    Column("line", Integer, primary_key=True, autoincrement=False),
    #: the change that was made last on that line
    Column("number", BigInteger, nullable=False),
    Column("made_at", Float, nullable=False),
    #: how it was answered, msgpack
    Column("answer", LargeBinary, nullable=False),
)
Index("tickets_made_at", tickets.c.made_at)

entries = Table(
    "entries",
    metadata,
    #: of a dict
    Column("object_id", String(64), primary_key=True),
    #: SHA-256 of the key
    Column("key_hash", LargeBinary, primary_key=True),
    #: as its client has pickled it
    Column("key", LargeBinary, nullable=False),
    #: the pickle, NULL for one that lies in a file
    Column("value", LargeBinary),
    Column("file", String(64)),
    Column("size", Integer, nullable=False),
    #: hours since 1970 when it was last used
    Column("used_hour", Integer, nullable=False),
)
Index("entries_used_hour", entries.c.object_id, entries.c.used_hour)
Index(
    "entries_file",
    entries.c.object_id,
    entries.c.file,
    sqlite_where=text("file IS NOT NULL"),
    postgresql_where=text("file IS NOT NULL"),
)

items = Table(
    "items",
    metadata,
    #: in the order in which they were put, over all queues
    Column("item_id", BigInteger, primary_key=True, autoincrement=False),
    #: of a queue
    Column("object_id", String(64), nullable=False),
    Column("partition", String(64), nullable=False),
    Column("size", Integer, nullable=False),
    #: its partition stays at least until then
    Column("expires_at", Float, nullable=False),
    #: as its client has pickled it
    Column("value", LargeBinary, nullable=False),
)
Index("items_partition", items.c.object_id, items.c.partition, items.c.item_id)

volume_commits = Table(
    "volume_commits",
    metadata,
    #: of the volume
    Column("object_id", String(64), primary_key=True),
    #: counted from 1; the latest is what the volume contains
    Column("number", Integer, primary_key=True, autoincrement=False),
    #: the root of its tree, JSON
    Column("root", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    #: the user, or the container
    Column("made_by", String(64), nullable=False),
    #: what was done, in a few words
    Column("action", String(200), nullable=False),
    #: of a client's change: how it is known when it is sent again
    Column("change_id", String(64), nullable=False),
)

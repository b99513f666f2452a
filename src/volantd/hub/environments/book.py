"""The environments there are, and which one is meant.

    hello, `environment` ─► the session's ─┐
    a container ─► that of its app ────────┼─► a name that is looked up, an app that is opened
    a request's own `environment` ─────────┘

Apps and objects have the environment itself, and rows of the database its id; so a new name is
one row that changes. A session may name one that there is not: it is told so when it asks for
something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant.errors import NotFoundError
from volantd.hub import checks
from volantd.hub.environments.record import MAIN, Environment

if TYPE_CHECKING:
    from volantd.hub.hub import Hub
    from volantd.hub.session import Session

#: Environments of one daemon.
ENVIRONMENTS_MAX = 1500
#: Characters of a name.
NAME_CHARS_MAX = 64
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")


def checked_name(fields: dict[str, Any], name: str) -> str:
    """A field that may be the name of an environment.

    Raises:
        ValueError: for one that cannot be.
    """
    found = checks.text(fields, name)
    if not 0 < len(found) <= NAME_CHARS_MAX or not _NAME_CHARS.issuperset(found):
        raise ValueError(f"{found[:NAME_CHARS_MAX]!r} cannot be the name of an environment")
    return found


class Environments:
    """All environments, by what they are known by.

    Attributes:
        by_id: those in the database, once it has been read, and `main`.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.by_id: dict[str, Environment] = {MAIN.environment_id: MAIN}

    async def read(self) -> None:
        """Learn what the database has; harmless to do twice, before anybody changes it."""
        from volantd.store import objects as store

        for row in await self._hub.services.database.run(store.load_environments):
            if row.environment_id not in self.by_id:
                self.by_id[row.environment_id] = Environment(
                    environment_id=row.environment_id, name=row.name, created_at=row.created_at,
                    web_suffix=row.web_suffix,
                )  # fmt: skip

    def named(self, name: str) -> Environment | None:
        """The environment with a name, None if there is none."""
        for one in self.by_id.values():
            if one.name == name:
                return one
        return None

    def names(self) -> dict[str, str]:
        """The names of all environments, by their ids."""
        return {one.environment_id: one.name for one in self.by_id.values()}

    def find(self, name: str) -> Environment:
        """The environment with a name, for something to come into it.

        Raises:
            NotFoundError: when there is none, or it is being deleted.
        """
        found = self.named(name)
        if found is None or found.is_ending:
            known = [one.name for one in self.by_id.values() if not one.is_ending]
            raise checks.not_found("environment", name, known)
        return found

    def admits(self, session: Session, message: dict[str, Any]) -> bool:
        """Whether a session has an environment; if not yet, this request is asked again.

        Raises:
            NotFoundError: when there is none of the name that its client has told.
            Error: when it cannot be known.
        """
        if session.environment is None:
            if not self._hub.objects.is_open(session, message):
                return False
            session.environment = self.find(session.environment_name)
        return True

    def of(self, session: Session, name: str | None) -> Environment:
        """The environment that a request means: one that it names, or the session's.

        Raises:
            NotFoundError: when there is no such environment, or not any more.
        """
        if name is not None:
            return MAIN if name == MAIN.name else self.find(name)
        assert session.environment is not None, "it was admitted"
        if session.environment.is_ending:
            raise NotFoundError(
                f"environment {session.environment.name!r} has been deleted",
                hint="`volant environment list` shows those that there are",
            )
        return session.environment

    def asked(self, session: Session, message: dict[str, Any]) -> Environment:
        """`of`, for what a message says itself.

        Raises:
            NotFoundError: as `of`.
            ValueError: for what cannot be the name of one.
        """
        return self.of(session, told(message))

    def said(self, session: Session, name: str | None) -> str | None:
        """The name of the environment that `of` finds, where it is worth saying in an error."""
        return name or (None if session.environment is MAIN else session.environment_name)

    def of_app(self, environment_id: str | None) -> Environment:
        """The environment of an app that the database has.

        Raises:
            NotFoundError: when it has been deleted since.
        """
        found = None if environment_id is None else self.by_id.get(environment_id)
        if found is None or found.is_ending:
            raise NotFoundError("the environment of this app has been deleted")
        return found


def told(message: dict[str, Any]) -> str | None:
    """The environment that a message names itself, None for the session's."""
    return None if message.get("environment") is None else checked_name(message, "environment")

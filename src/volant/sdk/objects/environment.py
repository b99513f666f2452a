"""Environments: in each, names of apps and objects mean something else.

Environment.from_name("staging")     asks nobody; `hydrate()` makes sure that there is one
Environment.from_context()           that of this process, or of the app of this container
Environment.objects.create / list / delete
"""

from __future__ import annotations

from volant.errors import NotFoundError
from volant.sdk.calls.autoscaler import Record
from volant.sdk.naming import check_name
from volant.sdk.objects.asking import ask, both, change
from volant.sdk.objects.handle import Handle, check_client
from volant.sdk.planned import Planned, unimplemented

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any, ClassVar

    from volant.sdk.app import App
    from volant.sdk.objects.asking import Question, Steps
    from volant.sdk.objects.client import Client


class EnvironmentInfo(Record):
    """What is known of an environment."""

    __slots__ = ("created_at", "name", "web_suffix")

    def __init__(self, reply: dict[str, Any]) -> None:
        from datetime import datetime, timezone

        self.name: str = reply["name"]
        self.created_at: datetime = datetime.fromtimestamp(reply["created_at"], timezone.utc)
        #: What addresses of its web functions end with.
        self.web_suffix: str = reply["web_suffix"]


class Environment(Handle):
    """A handle on an environment. See `volant.Environment.from_name`."""

    objects: ClassVar[EnvironmentObjects]

    billing = Planned("Environment.billing")
    roles = Planned("Environment.roles")

    def __init__(self, name: str, *, create: bool = False) -> None:
        self._name = name
        self._create = create
        self._is_found = False

    @classmethod
    def from_name(
        cls, name: str, *, create_if_missing: bool = False, client: Client | None = None
    ) -> Environment:
        """The environment of a name; asks nobody until it is used.

        Args:
            name: 1 to 64 letters, digits, `-`, `.` or `_`.
            create_if_missing: whether `hydrate` makes it if need be.
            client: of no need: a process has one.

        Raises:
            InvalidError: for what cannot be a name.

        Example:
            >>> Environment.from_name("staging")
            <volant.Environment staging>
        """
        check_name("an environment", name)
        check_client(client)
        return cls(name, create=create_if_missing)

    @classmethod
    def from_context(cls, *, client: Client | None = None) -> Environment:
        """The environment of this process; in a container, that of its app.

        Raises:
            InvalidError: when the settings cannot be read.
        """
        from volant import config

        check_client(client)
        return cls(config.present_environment())

    def __repr__(self) -> str:
        return f"<volant.Environment {self._name}>"

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def apps(self) -> EnvironmentApps:
        """The apps in it: `environment.apps.list()`."""
        return EnvironmentApps(self._name)

    @property
    def object_id(self) -> str | None:
        """Its name, by which it is known; None until it was hydrated."""
        return self._name if self._is_found else None

    @both
    def hydrate(self, client: Client | None = None) -> Steps[Environment]:
        """Make sure that it exists: `hydrate()`; gives the handle itself.

        Raises:
            NotFoundError: when it does not, and was not to be made.
        """
        check_client(client)
        if self._create:
            yield change("environment_create", name=self._name, allow_existing=True)
        else:
            yield ask("environment_get", name=self._name)
        self._is_found = True
        return self

    @both
    def info(self) -> Steps[EnvironmentInfo]:
        """Its name, when it was made, and what addresses in it end with: `info()`.

        Raises:
            NotFoundError: when it does not exist.
        """
        return EnvironmentInfo((yield ask("environment_get", name=self._name)))


class EnvironmentApps:
    """`environment.apps`."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    @both
    def list(self) -> Steps[list[App]]:
        """The apps that are deployed there, or run.

        Raises:
            NotFoundError: when there is no such environment.
        """
        from volant.sdk.app import App

        reply = yield ask("app_list", environment=self._name)
        found = []
        for row in reply["apps"]:
            if row["state"] != "stopped":
                app = App(row["name"], tags=row["tags"])
                app._app_id = row["app_id"]
                found.append(app)
        return found


class EnvironmentObjects:
    """`Environment.objects`: all environments."""

    __slots__ = ()

    @both
    def create(
        self, name: str, *, restricted: bool = False, default_role: None = None,
        client: Client | None = None,
    ) -> Steps[None]:  # fmt: skip
        """Make an environment.

        Raises:
            AlreadyExistsError: when there is one of that name.
            InvalidError: for what cannot be a name.
            UnimplementedError: for one that is restricted: there is one user, who may do all.
        """
        check_name("an environment", name)
        check_client(client)
        if restricted or default_role is not None:
            raise unimplemented("Environment.objects.create(restricted=..., default_role=...)")
        yield change("environment_create", name=name, allow_existing=False)

    @both
    def list(self, *, client: Client | None = None) -> Steps[list[Environment]]:
        """All environments, the oldest first."""
        check_client(client)
        reply = yield ask("environment_list")
        return [Environment(row["name"]) for row in reply["environments"]]

    @both
    def delete(
        self, name: str, *, allow_missing: bool = False, client: Client | None = None
    ) -> Steps[None]:
        """Stop all apps of an environment, and delete it with all its objects.

        Raises:
            NotFoundError: when there is none of that name, unless `allow_missing`.
            InvalidError: for `main`.
        """
        check_name("an environment", name)
        check_client(client)
        try:
            yield ask("environment_delete", name=name, force=True)
        except NotFoundError:
            if not allow_missing:
                raise

    @both
    def update(
        self, current_name: str, *, new_name: str | None = None,
        new_web_suffix: str | None = None, client: Client | None = None,
    ) -> Steps[None]:  # fmt: skip
        """Rename an environment, or change what addresses in it end with.

        Raises:
            NotFoundError: when there is none of that name.
            InvalidError: for what cannot be a name or suffix, and to rename `main`.
        """
        check_client(client)
        yield update(current_name, new_name=new_name, web_suffix=new_web_suffix)


Environment.objects = EnvironmentObjects()


def update(name: str, *, new_name: str | None, web_suffix: str | None) -> Question:
    """The question that changes an environment; None leaves something as it is.

    Raises:
        InvalidError: for what cannot be a name.
    """
    check_name("an environment", name)
    if new_name is not None:
        check_name("an environment", new_name)
    return change("environment_update", name=name, new_name=new_name, web_suffix=web_suffix)

"""Apps as others see them: what `app.info()` tells, and `volant.experimental` about all of them."""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum

from volant.errors import InvalidError
from volant.sdk.calls.autoscaler import Record
from volant.sdk.naming import check_environment, check_id, check_name
from volant.sdk.objects.asking import ask, both
from volant.sdk.objects.handle import check_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volant.sdk.function import Function
    from volant.sdk.objects.asking import Steps
    from volant.sdk.objects.client import Client
    from volant.sdk.web.servers import Server


class AppState(str, Enum):
    """How far an app is."""

    INITIALIZING = "initializing"
    EPHEMERAL = "ephemeral"
    DETACHED = "detached"
    DEPLOYED = "deployed"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DISABLED = "disabled"


class AppLifecycle(Record):
    """How far an app is, and since when."""

    __slots__ = (
        "created_at", "created_by", "deployed_at", "deployed_by", "state", "stopped_at",
        "stopped_by", "version",
    )  # fmt: skip

    def __init__(self, reply: dict[str, Any]) -> None:
        self.state = AppState(reply["state"])
        #: 0 for one that is not deployed.
        self.version: int = reply["version"]
        self.created_at = _moment(reply["created_at"])
        self.created_by: str | None = reply["deployed_by"]
        self.deployed_at = _moment(reply["deployed_at"])
        self.deployed_by: str | None = reply["deployed_by"]
        # Whatever has stopped is not found any more.
        self.stopped_at: datetime | None = None
        self.stopped_by: str | None = None


class AppInfo(Record):
    """An app that runs or is deployed."""

    __slots__ = (
        "app_id", "description", "environment_name", "functions", "lifecycle", "servers", "tag",
        "tags", "urls",
    )  # fmt: skip

    def __init__(self, reply: dict[str, Any]) -> None:
        self.app_id: str = reply["app_id"]
        #: Its name.
        self.description: str = reply["name"]
        self.environment_name: str = reply["environment"]
        self.lifecycle = AppLifecycle(reply)
        servers = reply["servers"]
        #: Ids of functions and classes by name, and those of servers.
        self.functions = {
            name: one for name, one in reply["functions"].items() if name not in servers
        }
        self.servers: dict[str, str] = servers
        #: The label of the version.
        self.tag: str = reply["tag"]
        self.tags: dict[str, str] = reply["tags"]
        #: Where functions answer to the web: function, method of a class or None, address.
        self.urls = [tuple(row) for row in reply["urls"]]


class DeployedApp(Record):
    """An app as a list of those that are deployed has it."""

    __slots__ = ("app_id", "containers", "name")

    def __init__(self, row: dict[str, Any]) -> None:
        self.app_id: str = row["app_id"]
        self.name: str = row["name"]
        self.containers: int = row["containers"]


class Trials:
    """Functions of `volant.experimental` about apps, each with its `.aio`."""

    __slots__ = ()

    @both
    def list_deployed_apps(
        self, environment_name: str = "", client: Client | None = None
    ) -> Steps[list[DeployedApp]]:
        """The apps that are deployed in an environment, with how many containers they have.

        Raises:
            NotFoundError: when there is no such environment.
        """
        check_client(client)
        reply = yield ask("app_list", environment=check_environment(environment_name or None))
        return [DeployedApp(row) for row in reply["apps"] if row["state"] == "deployed"]

    @both
    def get_app_lifecycle(
        self, app_id: str, *, client: Client | None = None
    ) -> Steps[AppLifecycle]:
        """How far an app is, by its id.

        Raises:
            NotFoundError: when it neither runs nor is deployed.
        """
        check_client(client)
        check_id("an app", app_id, "ap-")
        return AppLifecycle((yield ask("app_lookup", app=app_id)))

    @both
    def get_app_objects(
        self, app_name: str, *, environment_name: str | None = None, client: Client | None = None
    ) -> Steps[dict[str, Function[..., Any, Any] | Server | Any]]:
        """Handles on what a deployed app has, by name: functions, classes and servers.

        Raises:
            NotFoundError: when it is not deployed.
        """
        from volant.sdk.classes.handles import Cls
        from volant.sdk.function import Function
        from volant.sdk.web.servers import Server

        check_client(client)
        check_name("an app", app_name)
        reply = yield ask(
            "app_lookup", app=app_name, environment=check_environment(environment_name)
        )
        found: dict[str, Any] = {}
        for name in reply["functions"]:
            kind: Any = Server if name in reply["servers"] else Function
            if name in reply["classes"] and kind is Function:
                kind = Cls
            found[name] = kind.from_name(app_name, name, environment_name=environment_name)
        return found

    @both
    def stop_app(
        self, name: str, *, environment_name: str | None = None, client: Client | None = None
    ) -> Steps[None]:
        """Have a deployed app served no more, for good: `App.lookup(name).stop()`.

        Raises:
            NotFoundError: when there is none of that name.
        """
        check_client(client)
        check_name("an app", name)
        yield ask("app_stop", app=name, environment=check_environment(environment_name))

    @both
    def image_delete(self, image_id: str, *, client: Client | None = None) -> Steps[None]:
        """Have an image go that nothing uses, as `volant image prune` has all of them go.

        Raises:
            NotFoundError: when there is none of that id.
            InvalidError: for what is no id.
            ConflictError: while something uses it.
        """
        check_client(client)
        if not isinstance(image_id, str) or not image_id.startswith("im-"):
            raise InvalidError(f"{image_id!r} is not the id of an image: those begin with `im-`")
        yield ask("image_delete", image=image_id)


trials = Trials()


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)

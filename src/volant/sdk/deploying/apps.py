"""Apps that are deployed: looked up, described, stopped."""

from __future__ import annotations

from volant.channel import current
from volant.errors import ExecutionError, NotFoundError
from volant.sdk.calls.calling import warn_blocking
from volant.sdk.objects.handle import check_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volant.sdk.app import App
    from volant.sdk.deploying.listed import AppInfo
    from volant.sdk.objects.client import Client


class Lookup:
    """`App.lookup(...)` and `App.lookup.aio(...)`."""

    __slots__ = ()

    def __call__(
        self, name: str, *, client: Client | None = None, environment_name: str | None = None,
        create_if_missing: bool = False,
    ) -> App:  # fmt: skip
        """The app that is deployed under a name in an environment, or has an id.

        Raises:
            NotFoundError: when there is none, and none is to be made.
        """
        warn_blocking("App.lookup(...)", "await App.lookup.aio(...)")
        wanted = _checked(name, client, environment_name)
        try:
            reply = current.channel().request("app_lookup", **wanted)
        except NotFoundError:
            if not create_if_missing:
                raise
            _empty(name).deploy(environment_name=environment_name)
            reply = current.channel().request("app_lookup", **wanted)
        return _found(reply)

    async def aio(
        self, name: str, *, client: Client | None = None, environment_name: str | None = None,
        create_if_missing: bool = False,
    ) -> App:  # fmt: skip
        """The same, awaited."""
        from volant.sdk.calls.call import request_async

        wanted = _checked(name, client, environment_name)
        try:
            reply = await request_async("app_lookup", **wanted)
        except NotFoundError:
            if not create_if_missing:
                raise
            await _empty(name).deploy.aio(environment_name=environment_name)
            reply = await request_async("app_lookup", **wanted)
        return _found(reply)


def _checked(name: str, client: Client | None, environment: str | None) -> dict[str, object]:
    from volant.sdk.naming import check_environment, check_name

    check_client(client)
    check_name("an app", name)
    return {"app": name, "environment": check_environment(environment)}


def _empty(name: str) -> App:
    from volant.sdk.app import App

    return App(name)


def _found(reply: dict[str, Any]) -> App:
    from volant.sdk.app import App

    found = App(reply["name"], tags=reply["tags"])
    found._app_id = reply["app_id"]
    return found


def _id_of(app: App) -> str:
    found = app.app_id
    if found is None:
        raise ExecutionError(
            f"{app!r} is not deployed by this program", hint="deploy it, or use App.lookup(name)"
        )
    return found


class StopApp:
    """`app.stop()` and `app.stop.aio()`."""

    __slots__ = ("_app",)

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(self) -> None:
        warn_blocking("app.stop()", "await app.stop.aio()")
        current.channel().request("app_stop", app=_id_of(self._app))
        self._app._app_id = None

    async def aio(self) -> None:
        from volant.sdk.calls.call import request_async

        await request_async("app_stop", app=_id_of(self._app))
        self._app._app_id = None


class GetAppInfo:
    """`app.info()` and `app.info.aio()`."""

    __slots__ = ("_app",)

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(self, refresh: bool = False) -> AppInfo:
        from volant.sdk.deploying.listed import AppInfo

        warn_blocking("app.info()", "await app.info.aio()")
        return AppInfo(current.channel().request("app_lookup", app=_id_of(self._app)))

    async def aio(self, refresh: bool = False) -> AppInfo:
        """The same, awaited."""
        from volant.sdk.calls.call import request_async
        from volant.sdk.deploying.listed import AppInfo

        return AppInfo(await request_async("app_lookup", app=_id_of(self._app)))

"""Apps that are deployed: looked up, described, stopped."""

from __future__ import annotations

from volant.channel import current
from volant.errors import ExecutionError, NotFoundError
from volant.sdk.calls.calling import warn_blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volant.sdk.app import App


def lookup(name: str, environment: str | None, *, create_if_missing: bool) -> App:
    """See `App.lookup`."""
    from volant.sdk.app import App
    from volant.sdk.naming import check_environment, check_name

    check_name("an app", name)
    check_environment(environment)
    try:
        reply = current.channel().request("app_lookup", app=name, environment=environment)
    except NotFoundError:
        if not create_if_missing:
            raise
        App(name).deploy(environment_name=environment)
        reply = current.channel().request("app_lookup", app=name, environment=environment)
    found = App(reply["name"], tags=reply["tags"])
    found._app_id = reply["app_id"]
    return found


def _id_of(app: App) -> str:
    if app._app_id is None:
        raise ExecutionError(
            f"{app!r} is not deployed by this program", hint="deploy it, or use App.lookup(name)"
        )
    return app._app_id


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


class AppInfo:
    """`app.info()` and `app.info.aio()`: a dict with ids, version, and who deployed it when."""

    __slots__ = ("_app",)

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(self, refresh: bool = False) -> dict[str, Any]:
        warn_blocking("app.info()", "await app.info.aio()")
        return _without_id(current.channel().request("app_lookup", app=_id_of(self._app)))

    async def aio(self, refresh: bool = False) -> dict[str, Any]:
        from volant.sdk.calls.call import request_async

        return _without_id(await request_async("app_lookup", app=_id_of(self._app)))


def _without_id(reply: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in reply.items() if name != "id"}

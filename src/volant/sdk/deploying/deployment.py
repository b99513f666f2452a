"""`app.deploy()`: an app that goes on when its program has ended.

    describe ─► app_open, staged ─► upload ─► images ─► app_deploy ─► bind functions

Until `app_deploy` is answered nothing has changed for those who call the app.
"""

from __future__ import annotations

import sys

from volant.channel.opening import DAEMONS_LOST_MAX
from volant.errors import Error, InvalidError, NotFoundError
from volant.sdk.calls.calling import Binding, warn_blocking
from volant.sdk.deploying import facts
from volant.sdk.function import bind
from volant.sdk.naming import check_environment, check_name
from volant.sdk.running import RunningApp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volant.sdk.app import App
    from volant.sdk.objects.client import Client

STRATEGIES = ("rolling", "recreate")


class Deployment(RunningApp):
    """One deployment of an app. Its functions can be called here when it is done.

    Attributes:
        version: the version that is served then.
        changed: False when that was there already.
        settled: False while old containers wait for the first new one.
    """

    def __init__(
        self, app: App, name: str, *, tag: str, strategy: str, environment: str | None = None
    ) -> None:
        super().__init__(app, name, True, environment=environment)
        self.tag = tag
        self.strategy = strategy
        self.version = 0
        self.changed = self.settled = True

    def open(self) -> None:
        """Deploy.

        Raises:
            BaseException: whatever kept it from being done; then nothing has changed.
        """
        self.description = self._describe()
        self.channel.lane_tokens.forget(self.description["express"])
        self.description["express"] = b""
        reply = self._deploy()
        self.version, self.changed = reply["version"], reply["changed"]
        self.settled = reply.get("settled", True)
        self.app._app_id = reply["app_id"]
        #: Functions by name.
        self.function_ids: dict[str, str] = reply["functions"]
        #: Where web functions are reached: name, or Class.method -> URL.
        self.urls = {
            f"{name}.{method}" if method else name: url for name, method, url in reply["urls"]
        }
        self._bind(self.function_ids, reply["urls"])

    def _deploy(self) -> dict[str, Any]:
        """Have it staged and served; once more when the daemon has died in the middle of it.

        What was staged dies with its daemon. Doing it twice is harmless: what is served already
        makes no version.
        """
        for _ in range(DAEMONS_LOST_MAX - 1):
            connection = self.channel.connection
            try:
                return self._stage_and_serve()
            except NotFoundError:
                if self.channel.connection == connection:
                    raise
        return self._stage_and_serve()

    def _stage_and_serve(self) -> dict[str, Any]:
        staged = self._request(
            "app_open", app=self.description, staged=True, environment=self.environment
        )
        try:
            self._upload(staged["need"])
            self._name_images(staged)
            self._have_images_built()
            return self._request(
                "app_deploy", app_id=staged["app_id"], name=self.name, tag=self.tag,
                strategy=self.strategy, deployed_by=facts.deployer(), **self._commit(),
            )  # fmt: skip
        except BaseException:
            self._give_up(staged["app_id"])
            raise

    def _request(self, op: str, **fields: Any) -> dict[str, Any]:
        reply: dict[str, Any] = self.channel.request(op, **fields)
        return reply

    def _commit(self) -> dict[str, object]:
        for function in self._functions:
            path = getattr(sys.modules.get(function.__module__), "__file__", None)
            if path is not None:
                return facts.commit_of(path)
        return {}

    def _give_up(self, app_id: str) -> None:
        try:
            self.channel.request("app_close", app_id=app_id, reason="it was not deployed")
        except (Error, OSError):
            pass  # the error that led here says more

    def _bind(self, function_ids: dict[str, str], urls: list[tuple[str, str | None, str]]) -> None:
        local_path = self.sources.local_path
        for number, function in enumerate(self._functions, self._base):
            function_id = function_ids.get(function.name)
            binding = Binding(self.channel, number, function.name, local_path, function_id)
            binding.environment = self.environment
            binding.set_urls(urls)
            bind(function, binding)
        self.channel.on_reconnect.append(self._look_up_again)

    def _look_up_again(self) -> None:
        """Give the functions' numbers their meaning on a new connection."""
        for function in self._functions:
            binding = function._binding
            if binding is None:
                continue
            self.channel.direct_request(
                "function_lookup", app=self.name, name=function.name, version=None,
                number=binding.number, function_id=None, is_class=bool(function._methods()),
                environment=self.environment,
            )  # fmt: skip
            for variant in binding.variants.values():
                variant.tell()


class Deploy:
    """`app.deploy(...)` and `app.deploy.aio(...)`."""

    __slots__ = ("_app",)

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(
        self, *, name: str | None = None, environment_name: str | None = None, tag: str = "",
        client: Client | None = None, strategy: str = "rolling",
    ) -> App:  # fmt: skip
        """Deploy the app, and return it with its functions ready to be called."""
        warn_blocking("app.deploy(...)", "await app.deploy.aio(...)")
        self.start(name, environment_name, tag, client, strategy).open()
        return self._app

    async def aio(
        self, *, name: str | None = None, environment_name: str | None = None, tag: str = "",
        client: Client | None = None, strategy: str = "rolling",
    ) -> App:  # fmt: skip
        """Deploy without blocking the event loop."""
        import asyncio

        deployment = self.start(name, environment_name, tag, client, strategy)
        work: Callable[[], None] = deployment.open
        await asyncio.get_running_loop().run_in_executor(None, work)
        return self._app

    def start(
        self, name: str | None, environment_name: str | None, tag: str, client: Client | None,
        strategy: str,
    ) -> Deployment:  # fmt: skip
        """A deployment of which nothing has been done yet.

        Raises:
            InvalidError: for an app without a name, a tag or strategy that cannot be.
        """
        from volant.sdk.objects.handle import check_client

        app = self._app
        check_client(client)
        chosen = app.name if name is None else name
        if chosen is None:
            raise InvalidError(
                "an app without a name cannot be deployed",
                hint='write App("name"), or app.deploy(name=...) or `--name`',
            )
        check_name("an app", chosen)
        if tag:
            check_name("a version", tag, role="tag")
        if strategy not in STRATEGIES:
            raise InvalidError(
                f"there is no strategy {strategy!r}", hint=f"it is one of {', '.join(STRATEGIES)}"
            )
        return Deployment(
            app, chosen, tag=tag, strategy=strategy, environment=check_environment(environment_name)
        )

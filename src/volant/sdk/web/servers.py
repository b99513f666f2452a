"""Servers: classes whose enter hooks start a program that listens on a port.

    @app.server(port=8000)
    class Chat:
        @volant.enter()
        def start(self): self.process = subprocess.Popen([...])

To the hub it is a class with one method, which answers to the web by that port. Its requests wait
for no container: without one they are answered with 503, and one is started.
"""

from __future__ import annotations

from volant import _context
from volant.errors import InvalidError
from volant.sdk.classes import marks
from volant.sdk.classes.handles import ClassFunction, Cls, _found
from volant.sdk.classes.marks import Method
from volant.sdk.classes.parameters import Parameter
from volant.sdk.decorating import lives_in_interactive_session
from volant.sdk.function import BATCHED_MARK, CONCURRENT_MARK, WEB_MARK, Function
from volant.sdk.inputs.concurrency import no_server
from volant.sdk.naming import check_environment, check_id, check_name
from volant.sdk.objects.handle import Handle, check_client
from volant.sdk.planned import Planned
from volant.sdk.web.sessions import MARK as SESSIONED_MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from volant.sdk.app import App
    from volant.sdk.calls.autoscaler import GetCurrentStats
    from volant.sdk.calls.calling import Binding
    from volant.sdk.calls.forms import Hydrate
    from volant.sdk.calls.logs import Logs
    from volant.sdk.classes.instance import Instance
    from volant.sdk.deploying.hydrating import Named
    from volant.sdk.objects.client import Client
    from volant.sdk.web.counted import GetServerStats
    from volant.sdk.web.info import GetInfo
    from volant.sdk.web.scaling import ServerAutoscaler, UpdateServer
    from volant.sdk.web.sessions import ServerSessions
    from volant.sdk.web.urls import GetWebUrl

PORT_DEFAULT, PORT_MAX = 8000, 65535
STARTUP_TIMEOUT_DEFAULT_S = 30
#: The longest for a start, and for requests to finish.
SECONDS_MAX = 86400
#: The longest that more containers have to be needed until one is started.
SCALEUP_WINDOW_S_MAX = 3600
#: Requests of one container at once, where nothing is said.
CONCURRENCY_MAX = 1000
#: How long one request may run.
REQUEST_S_MAX = 7 * 86400
#: The method that stands for the port, in the class and in control messages.
_METHOD = "__volant_port__"
#: Keywords of functions that make no sense here -> why.
_REFUSED = {
    "timeout": "a request runs as long as its client and the server want",
    "retries": "who sends a request knows whether it may be sent again",
    "schedule": "give it to a function that sends a request",
    "single_use_containers": "a container takes requests side by side: use max_concurrency=",
}


class ServerDecorator:
    """What `@app.server(...)` returns; applied to a class it makes a `Server`."""

    def __init__(self, app: App, positional: object, settings: dict[str, Any]) -> None:
        if positional is not None:
            raise InvalidError(
                "@app.server needs parentheses: @app.server()",
                hint="write @app.server() above a class",
            )
        for name, why in _REFUSED.items():
            if settings.get(name) is not None:
                raise InvalidError(f"a server cannot have {name}=", hint=why)
        own = {name: settings.pop(name, default) for name, default in _DEFAULTS.items()}
        self._form = _form(own)
        self._shared = checked_concurrency(own["target_concurrency"], own["max_concurrency"])
        self._app = app
        # The other keywords are those of a function, and so are the checks.
        settings |= {"timeout": REQUEST_S_MAX, "startup_timeout": _container_start_s(own)}
        self._settings = app.function(**settings)._settings

    def __call__(self, user_cls: type) -> Server:
        """Make a `Server` of a class.

        Raises:
            InvalidError: for what is no class that only has hooks.
        """
        settings, app = self._settings, self._app
        _check_class(user_cls, settings["serialized"])
        serialized = settings["serialized"] or lives_in_interactive_session(user_cls)
        form = {**self._form}
        if hasattr(user_cls, SESSIONED_MARK):
            form["session_requests_max"] = self._shared["max_inputs"]
        setattr(user_cls, _METHOD, Method(_port_of(form)))
        cls = Cls(user_cls)
        has_snapshot = bool(marks.hooks_of(user_cls, marks.ENTER_SNAP))
        if has_snapshot and not settings["options"]["snapshot"]:
            raise InvalidError(
                f"server `{cls.__name__}` has @volant.enter(snap=True), and no template to run it "
                "in",
                hint="write @app.server(enable_memory_snapshot=True)",
            )
        options = {**settings["options"], **self._shared, "has_exit": True}
        if hasattr(user_cls, SESSIONED_MARK):
            options |= self._owned()
        options["snapshot"] = has_snapshot and not settings["holds_gpu"]
        include_source = settings["include_source"]
        cls._function = ServerFunction(
            cls, app=app, options=options, image=settings["image"] or app._image,
            serialized=serialized,
            include_source=app._include_source if include_source is None else include_source,
        )  # fmt: skip
        app._register(cls._function)
        return Server(cls)

    def _owned(self) -> dict[str, object]:
        """How sessions share containers that they own: not at all.

        Raises:
            InvalidError: when there is a target all the same.
        """
        if self._shared["target_inputs"] is not None:
            raise InvalidError(
                "a server with @volant.sessioned cannot have target_concurrency=",
                hint="each session has a container; max_concurrency= is what one of them takes",
            )
        return {"max_inputs": 1, "single_use": True}


class ServerFunction(ClassFunction):
    """A server as its app and the hub know it: a class whose one method is its port."""

    def _registered_names(self) -> list[str]:
        return [self.name]

    def _web_names(self) -> list[str]:
        return [self.name]


class Server(Handle):
    """A class whose containers answer requests at a port; what `@app.server()` makes of it."""

    def __init__(self, cls: Cls) -> None:
        self._cls: Cls | None = cls
        self._named: Named | None = None
        self.__name__ = self._name = cls.__name__
        self.__qualname__, self.__module__ = cls.__qualname__, cls.__module__
        self.__doc__ = cls.__doc__
        self.__wrapped__ = cls._user_cls

    def __repr__(self) -> str:
        return f"<volant.Server {self._name!r}>"

    def __reduce__(self) -> tuple[object, ...]:
        if self._named is not None:
            return _named, self._named.as_arguments()
        return _found, (self.__module__, self.__qualname__)

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        if self._cls is None:
            raise TypeError(f"`{self._name}` was looked up, so no class can be derived from it")
        return (self._cls._user_cls,)

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        """Servers have no objects.

        Raises:
            InvalidError: always.
        """
        raise InvalidError(
            f"`{self._name}` is a server and has no objects", hint="send requests to its get_url()"
        )

    def serve(self, parameters: bytes) -> Instance:
        """The instance that a container serves."""
        assert self._cls is not None, self._name
        return self._cls.serve(parameters)

    @staticmethod
    def from_name(
        app_name: str, name: str, *, environment_name: str | None = None,
        client: Client | None = None,
    ) -> Server:  # fmt: skip
        """A handle on a server of a deployed app; asks nobody until something is asked of it.

        Raises:
            InvalidError: for names that no app or server can have.
        """
        check_client(client)
        check_name("an app", app_name)
        check_name("a server", name)
        return _named(app_name, name, None, None, check_environment(environment_name))

    @staticmethod
    def from_id(server_id: str, *, client: Client | None = None) -> Server:
        """A handle on a server of a deployed app by its id; asks nobody until something is asked.

        Raises:
            InvalidError: for what is no id of one.
        """
        check_client(client)
        check_id("a server", server_id, "fu-")
        return _named("", server_id, None, server_id)

    def _bound(self) -> Binding:
        """What the hub knows it by.

        Raises:
            ExecutionError: when its app does not run.
            NotFoundError: when it is not deployed.
        """
        if self._named is not None:
            return self._named.binding()
        assert self._cls is not None, self._name
        return self._cls._function._bound()

    @property
    def get_url(self) -> GetWebUrl:
        """Where it answers: `server.get_url()`.

        Raises (when called):
            ExecutionError: when its app does not run.
            NotFoundError: when it is not deployed.
        """
        from volant.sdk.web.urls import GetWebUrl

        return GetWebUrl(self._bound, None)

    @property
    def object_id(self) -> str | None:
        """Its id while its app is run by this process or it was used; else None."""
        if self._named is not None:
            binding = self._named._binding
            return None if binding is None else binding.function_id
        assert self._cls is not None, self._name
        return self._cls._function.object_id

    @property
    def hydrate(self) -> Hydrate[Server]:
        """The server itself, once the hub has been asked for it: `server.hydrate()`."""
        from volant.sdk.calls.forms import Hydrate

        return Hydrate(self, self._bound)

    @property
    def autoscaler(self) -> ServerAutoscaler:
        """What its autoscaler is told: `server.autoscaler.settings()`, `.update(...)`."""
        from volant.sdk.web.scaling import ServerAutoscaler

        return ServerAutoscaler(self._name, self._bound)

    @property
    def update_autoscaler(self) -> UpdateServer:
        """Change settings of the autoscaler, and return all; None leaves one as it is.

        Raises (when called):
            InvalidError: for a value that makes no sense, naming it.
            ExecutionError: when its app does not run.
        """
        return self.autoscaler.update

    @property
    def get_current_stats(self) -> GetCurrentStats:
        """How many requests run, in how many containers: `server.get_current_stats()`."""
        return self.autoscaler.stats

    @property
    def stats(self) -> GetServerStats:
        """How its requests went: `server.stats()`.

        Raises (when called):
            ExecutionError: when its app does not run.
            NotFoundError: when it is not deployed.
        """
        from volant.sdk.web.counted import GetServerStats

        return GetServerStats(self._name, self._bound)

    @property
    def logs(self) -> Logs:
        """What its containers printed: `server.logs.tail()`, `.fetch(since=...)`, `.stream()`."""
        from volant.sdk.calls.logs import function_logs

        return function_logs(self._bound)

    @property
    def sessions(self) -> ServerSessions:
        """Sessions that own a container: `server.sessions.start()`, `.terminate(token)`."""
        from volant.sdk.web.sessions import ServerSessions

        return ServerSessions(self._name, self._bound)

    @property
    def info(self) -> GetInfo:
        """What it is, with its address: `server.info()`.

        Raises (when called):
            ExecutionError: when its app does not run.
            NotFoundError: when it is not deployed.
        """
        from volant.sdk.web.info import GetInfo

        return GetInfo(self._name, self._bound)

    metrics = Planned("Server.metrics")


def _named(
    app_name: str, name: str, version: int | None, function_id: str | None,
    environment: str | None = None,
) -> Server:  # fmt: skip
    from volant.sdk.deploying.hydrating import Named

    server = Server.__new__(Server)
    server._cls, server._name = None, name
    server._named = Named(app_name, name, version, function_id, environment, is_class=True)
    return server


#: What is a server's alone, with what it is by default.
_DEFAULTS: dict[str, Any] = {
    "port": PORT_DEFAULT, "startup_timeout": STARTUP_TIMEOUT_DEFAULT_S, "unauthenticated": False,
    "exit_grace_period": 0, "h2_enabled": False, "target_concurrency": None,
    "max_concurrency": None, "scaleup_window": None, "routing_region": None,
    "compute_region": None,
}  # fmt: skip


def _form(own: dict[str, Any]) -> dict[str, object]:
    """How a server answers to the web, as a control message carries it."""
    port = own["port"]
    if type(port) is not int or not 1 <= port <= PORT_MAX:
        raise InvalidError(f"port must be from 1 to {PORT_MAX}, got {port!r}")
    _check_regions(own["routing_region"], own["compute_region"])
    start_s = _seconds("startup_timeout", own["startup_timeout"])
    if not start_s:
        raise InvalidError("startup_timeout must be above 0 seconds")
    return {
        "kind": "stateless", "label": None, "method": None, "docs": False, "port": port,
        "startup_timeout_s": start_s, "requires_proxy_auth": not own["unauthenticated"],
        "custom_domains": [], "drain_s": _seconds("exit_grace_period", own["exit_grace_period"]),
        "scaleup_window_s": checked_scaleup_s(own["scaleup_window"] or 0),
        "h2_enabled": bool(own["h2_enabled"]),
    }  # fmt: skip


def checked_scaleup_s(value: object) -> float:
    """How long more containers have to be needed until one is started.

    Raises:
        InvalidError: for what is no number of seconds, or too many.
    """
    return _seconds("scaleup_window", value, SCALEUP_WINDOW_S_MAX)


def _check_regions(routing: object, compute: object) -> None:
    """There is one machine, in no region: names of regions are taken, and mean nothing."""
    one_or_several = compute if isinstance(compute, (list, tuple)) else [compute]
    for name, value in [("routing_region", routing)] + [
        ("compute_region", one) for one in one_or_several
    ]:
        if value is not None and (not isinstance(value, str) or not value):
            raise InvalidError(f"{name} must be the name of a region, got {value!r}")


def _seconds(name: str, value: object, most: float = SECONDS_MAX) -> float:
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not 0 <= value <= most:  # type: ignore[operator]  # it is a number
        raise InvalidError(f"{name} must be from 0 to {most} seconds, got {value!r}")
    return float(value)  # type: ignore[arg-type]  # as above


def _container_start_s(own: dict[str, Any]) -> float:
    """How long a container may take to start: its hooks as those of functions, then its port."""
    from volant.sdk.options import TIMEOUT_DEFAULT_S

    return float(TIMEOUT_DEFAULT_S + own["startup_timeout"])


def checked_concurrency(target: object, most: object) -> dict[str, object]:
    """How many requests a container has at once, as a control message carries it.

    Args:
        target: what the autoscaler aims at, which may be a fraction; None for the maximum.
        most: what is not exceeded; None for as many as there may be.

    Raises:
        InvalidError: for numbers that make no sense.
    """
    if most is None:
        most = CONCURRENCY_MAX
    if type(most) is not int or not 1 <= most <= CONCURRENCY_MAX:
        raise InvalidError(f"max_concurrency must be from 1 to {CONCURRENCY_MAX}, got {most!r}")
    return {"max_inputs": most, "target_inputs": checked_target(target, most)}


def checked_target(target: object, most: int = CONCURRENCY_MAX) -> int | None:
    """The requests that the autoscaler aims at, in whole ones; None: for no target.

    Raises:
        InvalidError: for what is no number, or above what a container takes.
    """
    if target is None:
        return None
    if not isinstance(target, (int, float)) or isinstance(target, bool) or not target > 0:
        raise InvalidError(f"target_concurrency must be a number above 0, got {target!r}")
    if target > most:
        raise InvalidError(f"target_concurrency ({target}) is above max_concurrency ({most})")
    return max(1, int(target))


def _port_of(form: dict[str, object]) -> Any:
    """The plain function that stands for the port of a server."""

    def answer(self: object) -> None:
        """Nothing: what the enter hooks have started answers."""

    answer.__name__ = answer.__qualname__ = _METHOD
    setattr(answer, WEB_MARK, form)
    return answer


def _check_class(user_cls: Any, serialized: bool) -> None:
    if isinstance(user_cls, (Cls, Server)):
        raise InvalidError(f"`{user_cls.__name__}` is decorated already", hint="drop one decorator")
    if not isinstance(user_cls, type):
        name = user_cls.name if isinstance(user_cls, Function) else repr(user_cls)
        raise InvalidError(
            f"@app.server needs a class, got {name}",
            hint="a function that starts a server is decorated with @app.function() and "
            "@volant.web_server(port)",
        )
    name = user_cls.__name__
    check_name("a server", name)
    if "<locals>" in user_cls.__qualname__ and not serialized and not _context.in_container():
        raise InvalidError(
            f"class `{user_cls.__qualname__}` is not in global scope, so a container could not "
            "import it",
            hint="move it to the top of its module, or use @app.server(serialized=True)",
        )
    if getattr(user_cls, "__init__") is not object.__init__:  # noqa: B009  # of whatever class
        raise InvalidError(
            f"server `{name}` has an __init__ of its own",
            hint="move what it does into a method with @volant.enter()",
        )
    if hasattr(user_cls, CONCURRENT_MARK):
        raise no_server(name)
    _check_members(user_cls)


def _check_members(user_cls: type) -> None:
    name, has_enter = user_cls.__name__, False
    for member, one in marks.members_of(user_cls).items():
        if member == _METHOD:
            continue  # of a server that this one is derived from
        web = getattr(one, "web", None) if isinstance(one, Method) else getattr(one, WEB_MARK, None)
        if web is not None:
            raise InvalidError(
                f"`{name}.{member}` answers to the web, and so does the port of the server",
                hint="drop the decorator, or use @app.cls()",
            )
        if hasattr(getattr(one, "raw", one), BATCHED_MARK):
            raise InvalidError(
                f"`{name}.{member}` has @volant.batched, and a server takes no calls",
                hint="batch in the server itself, or use @app.cls()",
            )
        if isinstance(one, Method):
            raise InvalidError(
                f"`{name}.{member}` has @volant.method(), and a server takes no calls",
                hint="drop the decorator, or use @app.cls()",
            )
        if isinstance(one, Parameter):
            raise InvalidError(
                f"`{name}.{member}` is a parameter, and a server has no objects",
                hint="give it a value, or read one from an environment variable",
            )
        has_enter |= getattr(one, marks.HOOK_MARK, None) in (marks.ENTER, marks.ENTER_SNAP)
    if not has_enter:
        raise InvalidError(
            f"server `{name}` starts nothing: it has no method with @volant.enter()",
            hint="start what listens on its port in one",
        )

"""`App`: a set of functions that run together, and the context in which they do.

Decorators collect `Function`s. `app.run()` sends the description (functions, image, sources by
hash) to the hub, binds every function to the running app, and stops the app at the end.
"""

from __future__ import annotations

from volant import _context
from volant.errors import InvalidError
from volant.sdk import decorating, options
from volant.sdk.naming import check_name, checked_tags
from volant.sdk.objects.handle import Handle
from volant.sdk.planned import Planned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from typing_extensions import Unpack, dataclass_transform

    from volant.sdk.calls.logs import Logs
    from volant.sdk.classes.decorating import ClassDecorator
    from volant.sdk.classes.handles import Cls
    from volant.sdk.classes.parameters import parameter
    from volant.sdk.deploying.apps import GetAppInfo, Lookup, StopApp
    from volant.sdk.deploying.deployment import Deploy
    from volant.sdk.function import Function
    from volant.sdk.images.image import Image
    from volant.sdk.objects.schedule import Cron, Period
    from volant.sdk.retries import Retries
    from volant.sdk.running import GetTags, Run, SetTags
    from volant.sdk.web.servers import ServerDecorator
else:
    parameter = None

    def dataclass_transform(**_: object) -> Any:
        """Nothing, but to type checkers."""
        return lambda decorated: decorated


class EntrypointInfo:
    """What a local entrypoint was made of."""

    __slots__ = ("function_name", "module_name", "raw_f")

    def __init__(self, raw: Callable[..., object]) -> None:
        self.raw_f = raw
        self.function_name: str = raw.__qualname__
        self.module_name: str = raw.__module__


class LocalEntrypoint:
    """A function that `volant run` runs on this machine, with its parameters as options."""

    app: App
    info: EntrypointInfo

    def __init__(self, app: App, raw: Callable[..., object], name: str) -> None:
        self.app = app
        self.name = name
        self.raw = raw
        self.info = EntrypointInfo(raw)
        self.__name__ = name
        self.__doc__ = raw.__doc__
        self.__wrapped__ = raw

    def __call__(self, *args: object, **kwargs: object) -> object:
        return self.raw(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<volant local entrypoint {self.name!r}>"


class _AtLookup:
    """`App.lookup`, imported when it is used."""

    def __get__(self, instance: object, owner: type) -> Lookup:
        from volant.sdk.deploying.apps import Lookup

        return Lookup()


class App(Handle):
    """A unit of deployment: functions with their images and options, under one name.

    Args:
        name: letters, digits and `-._`, at most 64; needed to deploy.
        tags: labels that `volant app list` shows; names and values are written like `name`.
        image: image of every function that names none; `Image.host()` by default.
        volumes: paths to volumes that all functions have.
        include_source: send the module or package that defines a function.

    Raises:
        InvalidError: for a name that cannot be looked up, or tags that are not allowed.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        tags: dict[str, str] | None = None,
        image: Image | None = None,
        secrets: Sequence[object] = (),
        volumes: dict[str, object] | None = None,
        include_source: bool = True,
    ) -> None:
        if name is not None:
            check_name("an app", name)
        self._volumes = options.given_volumes(volumes)
        self._secrets = options.given_secrets(secrets)
        self.name = name
        self._tags = checked_tags(tags or {})
        self._image = image
        self._include_source = include_source
        self._functions: dict[str, Function[..., Any, Any]] = {}
        self._entrypoints: dict[str, LocalEntrypoint] = {}
        self._app_id: str | None = None
        self._description: str | None = None

    def __repr__(self) -> str:
        return f"<volant.App {self.name!r}>"

    @property
    def app_id(self) -> str | None:
        """Id of the running app (`ap-…`), None while it does not run."""
        return self._app_id or (_context.app_id if _context.in_container() else None)

    @property
    def object_id(self) -> str | None:
        """The same as `app_id`."""
        return self.app_id

    @property
    def description(self) -> str | None:
        """What was last given to `set_description`, or the app's name."""
        return self._description or self.name

    def set_description(self, description: str) -> None:
        """Describe the app, for programs that ask it; commands show its name.

        Raises:
            InvalidError: for what is no text.
        """
        if not isinstance(description, str):
            raise InvalidError(f"a description is text, got {description!r}")
        self._description = description

    @property
    def image(self) -> Image | None:
        """The image of every function that names none; None for `Image.host()`."""
        return self._image

    @image.setter
    def image(self, image: Image | None) -> None:
        self._image = image

    @property
    def registered_functions(self) -> dict[str, Function[..., Any, Any]]:
        """Functions by name; methods of classes as `Class.method`, each with its class."""
        return {
            name: function
            for function in self._functions.values()
            for name in function._registered_names()
        }

    @property
    def registered_classes(self) -> dict[str, Cls]:
        """Classes by name."""
        found = [(name, one._cls_handle()) for name, one in self._functions.items()]
        return {name: cls for name, cls in found if cls is not None}

    @property
    def registered_web_endpoints(self) -> list[str]:
        """Names of functions that answer to the web; methods of classes as `Class.method`."""
        return [name for one in self._functions.values() for name in one._web_names()]

    @property
    def registered_entrypoints(self) -> dict[str, LocalEntrypoint]:
        """Local entrypoints by name."""
        return dict(self._entrypoints)

    @property
    def set_tags(self) -> SetTags:
        """Replace the app's tags, also while it runs: `app.set_tags(tags)`.

        Raises (when called):
            InvalidError: for tags that are not allowed.
        """
        from volant.sdk.running import SetTags

        return SetTags(self)

    @property
    def get_tags(self) -> GetTags:
        """The app's tags: `app.get_tags()`."""
        from volant.sdk.running import GetTags

        return GetTags(self)

    def function(
        self,
        _positional: None = None,
        *,
        image: Image | None = None,
        env: dict[str, str] | None = None,
        secrets: Sequence[object] | None = None,
        gpu: str | Sequence[str] | None = None,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        ephemeral_disk: int | None = None,
        volumes: dict[str, object] | None = None,
        timeout: float = options.TIMEOUT_DEFAULT_S,
        startup_timeout: float | None = None,
        retries: int | Retries | None = None,
        schedule: Cron | Period | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: float | None = None,
        single_use_containers: bool = False,
        enable_memory_snapshot: bool = False,
        region: object = None,
        cloud: str | None = None,
        routing_region: str | None = None,
        nonpreemptible: bool = False,
        proxy: object = None,
        block_network: bool = False,
        restrict_modal_access: bool = False,
        i6pn: bool | None = None,
        serialized: bool = False,
        include_source: bool | None = None,
        name: str | None = None,
        is_generator: bool | None = None,
        experimental_options: dict[str, object] | None = None,
        max_inputs: int | None = None,
        keep_warm: int | None = None,
        concurrency_limit: int | None = None,
        container_idle_timeout: int | None = None,
        allow_concurrent_inputs: int | None = None,
    ) -> decorating.FunctionDecorator:
        """Make a function of this app out of a Python function.

        Args:
            image: what its containers see; the app's image by default.
            env: environment variables, strings to strings.
            cpu: cores, or (request, limit).
            memory: MiB, or (request, limit); above the limit the container is killed.
            gpu: "H100", "H100:2", "any", or a list of alternatives, the best first; each container
                gets such devices for itself.
            ephemeral_disk: MiB that a container may write; above it the container is killed.
            volumes: paths in its containers, to the volumes that are mounted there.
            timeout: seconds that one attempt may run.
            startup_timeout: seconds for a container to start; `timeout` by default.
            retries: attempts after the first, or a `volant.Retries`.
            schedule: a `volant.Cron` or `volant.Period` by which it is called without arguments.
            min_containers: containers kept even without calls.
            max_containers: containers that are never exceeded.
            buffer_containers: idle containers kept beside busy ones.
            scaledown_window: seconds that an idle container is kept.
            single_use_containers: a fresh container for every input.
            enable_memory_snapshot: of a class, fork its containers from a template in which the
                hooks of `enter(snap=True)` have run. What a function imports always is in one.
            block_network: no network but the container's own loopback.
            restrict_modal_access: its containers can ask nothing of Volant: they call no functions
                and use no dicts, queues, volumes' methods or sandboxes.
            serialized: send the function itself instead of importing its module; at most 16 MiB.
            include_source: send the module or package that defines it; the app's by default.
            name: its name in the app; the Python name by default.
            is_generator: whether it yields; found out by default.
            experimental_options: `{"enable_gpu_snapshot": True}` of a class has the hooks of
                `enter(snap=True)` run in each container, which has the GPU; others warn.

        Raises:
            InvalidError: for a value that makes no sense, naming it.
            UnimplementedError: for a keyword whose feature is not there yet.
        """
        decorating.refuse_positional(_positional)
        options.refuse_planned({
            "region": region, "cloud": cloud, "proxy": proxy, "routing_region": routing_region,
            "nonpreemptible": nonpreemptible, "i6pn": i6pn, "keep_warm": keep_warm,
            "concurrency_limit": concurrency_limit,
            "container_idle_timeout": container_idle_timeout,
            "allow_concurrent_inputs": allow_concurrent_inputs,
        })  # fmt: skip
        checked = options.checked(
            env=env, cpu=cpu, memory=memory, gpu=gpu, ephemeral_disk=ephemeral_disk,
            timeout=timeout, startup_timeout=startup_timeout, schedule=schedule, retries=retries,
            min_containers=min_containers, max_containers=max_containers,
            buffer_containers=buffer_containers, scaledown_window=scaledown_window,
            single_use_containers=single_use_containers or decorating.single_use(max_inputs),
            enable_memory_snapshot=enable_memory_snapshot, block_network=block_network,
            secrets=options.given_secrets(secrets, self._secrets),
            volumes=options.given_volumes(volumes, self._volumes),
        ) | {"restricted": bool(restrict_modal_access)}  # fmt: skip
        return decorating.FunctionDecorator(self, {
            "options": checked, "image": image, "serialized": serialized, "name": name,
            "is_generator": is_generator, "include_source": include_source,
            "holds_gpu": options.snapshot_holds_gpu(experimental_options),
        })  # fmt: skip

    def _register(self, function: Function[..., Any, Any]) -> None:
        before = self._functions.get(function.name)
        # A container imports what was warned of here already, under a path that nobody has.
        if before is not None and before._raw is not function._raw and not _context.in_container():
            import warnings

            warnings.warn(
                f"function {function.name!r} of module {before.__module__!r} is replaced by "
                f"the one of module {function.__module__!r}",
                stacklevel=3,
            )
        self._functions[function.name] = function

    def local_entrypoint(
        self, _positional: None = None, *, name: str | None = None
    ) -> Callable[[Callable[..., Any]], LocalEntrypoint]:
        """Make the function that `volant run` runs here; its parameters become options."""
        if _positional is not None:
            raise InvalidError(
                "@app.local_entrypoint needs parentheses: @app.local_entrypoint()",
                hint="write @app.local_entrypoint()",
            )

        def decorate(raw: Callable[..., Any]) -> LocalEntrypoint:
            chosen = name or raw.__name__
            if chosen in self._entrypoints:
                raise InvalidError(f"there is a local entrypoint {chosen!r} already")
            entrypoint = LocalEntrypoint(self, raw, chosen)
            self._entrypoints[chosen] = entrypoint
            return entrypoint

        return decorate

    def include(self, other_app: App, inherit_tags: bool = True) -> App:
        """Take over the functions of another app; how programs of several files compose."""
        for function in other_app._functions.values():
            self._register(function)
        if inherit_tags:
            self._tags = {**other_app._tags, **self._tags}
        return self

    @property
    def run(self) -> Run:
        """Run the app for the body of a `with` (or `async with`) block: `with app.run():`.

        `name=` is that of this run, the app's by default; `detach=True` leaves calls that have not
        finished running at the end of the block; `interactive=True` joins the terminal to
        containers at `breakpoint()` and `interact()`; `environment_name=` is where it runs, by
        default the environment of this process.

        Raises (when called):
            InvalidError: for a name that cannot be looked up; at global scope in a container;
                for an interactive run without a terminal.
        """
        from volant.sdk.running import Run

        return Run(self)

    @property
    def logs(self) -> Logs:
        """What its containers printed: `app.logs.tail()`, `.fetch(since=...)`, `.stream()`."""
        from volant.sdk.calls.logs import app_logs

        return app_logs(self.app_id, str(self.name))

    sandboxes = Planned("App.sandboxes")
    stats = Planned("App.stats")

    @dataclass_transform(kw_only_default=True, field_specifiers=(parameter,))
    def cls(
        self, _positional: None = None, **settings: Unpack[options.ClassSettings]
    ) -> ClassDecorator:
        """Make a class of this app, whose instances live in containers.

        Args:
            settings: those of `function`, but for `schedule`, `name` and `is_generator`. All
                methods of an instance share one pool of containers.

        Raises:
            InvalidError: for a value that makes no sense, naming it.
            UnimplementedError: for a keyword whose feature is not there yet.
        """
        from volant.sdk.classes.decorating import ClassDecorator

        return ClassDecorator(self, _positional, settings)

    def server(
        self, _positional: None = None, **settings: Unpack[options.ServerSettings]
    ) -> ServerDecorator:
        """Make a server of this app: a class whose enter hooks start what listens on a port.

        Its requests never wait for a container. Without one they are answered with 503 and
        `Retry-After`, and one is started. Those with the same `Volant-Session-Id` (or
        `Modal-Session-Id`) go to the same container while it lives.

        Args:
            settings: `port`, 8000 by default, at all addresses;
                `startup_timeout`, seconds until the port accepts once the hooks have run, 30;
                `unauthenticated=True` to have requests without a token answered as well;
                `target_concurrency`, requests of a container that the autoscaler aims at;
                `max_concurrency`, those beyond which clients get 429;
                `h2_enabled=True` for a server that speaks HTTP/2 without TLS;
                `exit_grace_period`, seconds for requests to finish before SIGTERM;
                and those of `function`, but for timeouts, `retries`, `schedule`, `name`.

        Raises:
            InvalidError: for a value that makes no sense, naming it.
            UnimplementedError: for a keyword whose feature is not there yet.
        """
        from volant.sdk.web.servers import ServerDecorator

        return ServerDecorator(self, _positional, dict(settings))

    @property
    def deploy(self) -> Deploy:
        """Serve the app from now on, also when this program has ended: `app.deploy()`.

        `name=` is the app's by default, `tag=` a label of the version, and `strategy=` is
        "rolling" (old containers finish what they run) or "recreate" (they are stopped, and what
        they ran is run again). What is the same as the version that is served changes nothing.

        Raises (when called):
            InvalidError: for an app without a name.
            ImageBuildError: when an image cannot be built; nothing has changed then.
            BaseException: whatever importing the program raised; nothing has changed then.
        """
        from volant.sdk.deploying.deployment import Deploy

        return Deploy(self)

    lookup = _AtLookup()

    @property
    def stop(self) -> StopApp:
        """Have the deployed app served no more, for good: `app.stop()`.

        Raises (when called):
            ExecutionError: for an app that was neither deployed nor looked up.
        """
        from volant.sdk.deploying.apps import StopApp

        return StopApp(self)

    @property
    def info(self) -> GetAppInfo:
        """What is deployed of the app, or runs of it: `app.info()`.

        Raises (when called):
            ExecutionError: for an app that was neither run, deployed nor looked up.
        """
        from volant.sdk.deploying.apps import GetAppInfo

        return GetAppInfo(self)

"""`Function`: a decorated Python function, and every way to call it.

    f.remote(x)   f.local(x)   f.remote_gen(x)   f.spawn(x)
    f.map(xs)     f.starmap(ts)     f.for_each(xs)     f.spawn_map(xs)

Each blocking form `f.form(...)` has `f.form.aio(...)` beside it. The forms are small objects
made on access, so that a type checker sees `f`'s own signature on `remote`, `local` and `spawn`.
"""

from __future__ import annotations

from volant import _context
from volant.errors import ExecutionError, InvalidError
from volant.sdk.calls.calling import Binding
from volant.sdk.generics import Generic, P, R, Raw
from volant.sdk.objects.handle import Handle, check_client
from volant.sdk.planned import Planned, former
from volant.version import SERIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from typing_extensions import Unpack

    from volant.sdk.app import App
    from volant.sdk.calls.autoscaler import Autoscaler, GetCurrentStats, UpdateAutoscaler
    from volant.sdk.calls.described import GetFunctionInfo
    from volant.sdk.calls.forms import (
        ForEach,
        Hydrate,
        Keyed,
        Map,
        Remote,
        RemoteGen,
        Spawn,
        SpawnMap,
        SpawnMapHandle,
        StarMap,
    )
    from volant.sdk.calls.logs import Logs
    from volant.sdk.classes.handles import Cls
    from volant.sdk.images.image import Image
    from volant.sdk.objects.client import Client
    from volant.sdk.options import VariantOptions
    from volant.sdk.web.urls import GetWebUrl


#: What `@volant.concurrent` leaves on a plain function: (max_inputs, target_inputs).
CONCURRENT_MARK = "__volant_concurrent__"
#: What `@volant.batched` leaves: (max_batch_size, wait_ms).
BATCHED_MARK = "__volant_batched__"
#: What `@volant.clustered` leaves: containers of one cluster.
CLUSTERED_MARK = "__volant_clustered__"
#: What `@volant.asgi_app` and its like leave: how it answers, as a control message carries it.
WEB_MARK = "__volant_web__"


@former(lookup="Function.from_name(app, name)", call="f.remote()", web_url="f.get_web_url()")
class Function(Handle, Generic[P, R, Raw]):
    """A function of an app; made by `@app.function`.

    `P` are its parameters, `R` what `.remote` returns, `Raw` what the plain function returns
    (they differ for async functions, whose `.local` returns an awaitable).
    """

    is_generator: bool

    def __init__(
        self,
        raw: Callable[P, Raw],
        *,
        app: App,
        name: str,
        options: dict[str, object],
        image: Image | None,
        serialized: bool,
        is_async: bool,
        is_generator: bool,
        include_source: bool,
    ) -> None:
        self._raw = raw
        self._app = app
        self._options = options
        self._image = image
        self._serialized = serialized
        self._include_source = include_source
        self._binding: Binding | None = None
        self.name = name
        self.is_async = is_async
        self.is_generator = is_generator
        self.__name__ = getattr(raw, "__name__", name)
        self.__qualname__ = getattr(raw, "__qualname__", name)
        self.__doc__ = raw.__doc__
        self.__module__ = raw.__module__
        self.__wrapped__ = raw

    @staticmethod
    def from_name(
        app_name: str,
        name: str,
        *,
        version: int | None = None,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> Function[..., Any, Any]:
        """A handle on a function of a deployed app; asks nobody until it is used.

        Args:
            version: one that was deployed before; else it is always the one that is served.

        Raises:
            InvalidError: for names that no app or function can have.
        """
        from volant.sdk.deploying import functions

        check_client(client)
        return functions.from_name(app_name, name, version, environment_name)

    @staticmethod
    def from_id(function_id: str, *, client: Client | None = None) -> Function[..., Any, Any]:
        """A handle on a function of a deployed app by its id (`fu-…`).

        Raises:
            InvalidError: for what is no such id.
        """
        from volant.sdk.deploying import functions

        check_client(client)
        return functions.from_id(function_id)

    @property
    def app(self) -> App:
        """The app it belongs to."""
        return self._app

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> NoReturn:
        raise InvalidError(
            f"`{self.name}` is a Volant function and cannot be called directly",
            hint=f"`{self.name}.remote(...)` runs it in a container, "
            f"`{self.name}.local(...)` runs it right here",
        )

    def __repr__(self) -> str:
        return f"<volant.Function {self.name!r} of {self._app.name or 'an app without a name'!r}>"

    def __reduce__(self) -> tuple[object, ...]:
        # Travels as a reference: the other side has the same module, or the same app.
        form = (self.is_async, self.is_generator)
        return _find, (self.__module__, self.__qualname__, self.name, *form)

    def _bound(self) -> Binding:
        """Where calls go.

        Raises:
            ExecutionError: when the app does not run.
        """
        binding = self._binding
        if binding is not None:
            return binding
        if _context.in_container():
            return self._bind_in_container()
        raise ExecutionError(
            f"the app of `{self.name}` does not run, so it cannot be called (it is not hydrated)",
            hint="call it inside `with app.run():` or under `volant run`",
        )

    def _bound_to_call(self, form: str) -> Binding:  # for what is looked up
        """`_bound`, for calls of a form.

        Raises:
            ExecutionError: when the app does not run.
            InvalidError: for what has no such form.
        """
        return self._bound()

    def _bind_in_container(self) -> Binding:
        from volant.channel import current

        number = _context.function_numbers.get(self.name)
        if not _context.function_numbers:  # in a template
            raise ExecutionError(
                f"`{self.name}` is called before there is a container: while the program is "
                "imported, or in a hook of enter(snap=True)",
                hint="call it in a function, a method or a hook of enter()",
            )
        if number is None:
            raise ExecutionError(
                f"`{self.name}` is not part of the app that this container runs, so it cannot be "
                "called (it is not hydrated)",
                hint="define it in the same app, or `include` its app in that one",
            )
        self._binding = Binding(current.channel(), number, self.name, None)
        self._binding.set_urls(_context.web_urls)
        return self._binding

    def _refuse_generator(self, form: str) -> None:
        if self.is_generator:
            raise InvalidError(
                f"`{self.name}` is a generator function and is called with .remote_gen(), "
                f"not with .{form}()",
                hint=f"use `for value in {self.name}.remote_gen(...)`",
            )

    @property
    def remote(self) -> Remote[P, R]:
        """Run it in a container and wait: `f.remote(*args)`, `await f.remote.aio(*args)`.

        Raises (when called):
            ExecutionError: when the app does not run.
            InvalidError: for a generator function, see `remote_gen`.
            FunctionTimeoutError: when it ran longer than its `timeout`.
            BaseException: whatever the function raised, as its own type.
        """
        form: Remote[P, R] = _forms().Remote(self)
        return form

    @property
    def remote_gen(self) -> RemoteGen[P, R]:
        """Iterate over a generator function's values as they are produced."""
        form: RemoteGen[P, R] = _forms().RemoteGen(self)
        return form

    @property
    def spawn(self) -> Spawn[P, R]:
        """Start it and return a `FunctionCall` at once."""
        form: Spawn[P, R] = _forms().Spawn(self)
        return form

    def with_idempotency_key(self, key: str) -> Keyed[P, R]:
        """The function, for one call: `f.with_idempotency_key("order-17").spawn(x)`.

        Who spawns it with the same key gets the same call, which runs once, while that is known;
        `.remote(x)` waits for its result, which is kept as that of a spawned call.

        Raises:
            InvalidError: for a key that is empty, too long, or no text.
        """
        form: Keyed[P, R] = _forms().Keyed(self, key)
        return form

    @property
    def map(self) -> Map[R]:
        """Run it for every input in parallel: `f.map(*iterables, kwargs={}, ...)`."""
        form: Map[R] = _forms().Map(self)
        return form

    @property
    def starmap(self) -> StarMap[R]:
        """`map` over one iterable of argument tuples."""
        form: StarMap[R] = _forms().StarMap(self)
        return form

    @property
    def for_each(self) -> ForEach:
        """`map` for side effects: waits for all, returns None."""
        form: ForEach = _forms().ForEach(self)
        return form

    @property
    def spawn_map(self) -> SpawnMap:
        """Start it for every input and return without waiting for results."""
        form: SpawnMap = _forms().SpawnMap(self)
        return form

    @property
    def experimental_spawn_map(self) -> SpawnMapHandle[R]:
        """`spawn_map` that returns a `FunctionCall` over all its inputs."""
        form: SpawnMapHandle[R] = _forms().SpawnMapHandle(self)
        return form

    @property
    def object_id(self) -> str | None:
        """Its id (`fu-…`) while its app is run by this process, else None."""
        return None if self._binding is None else self._binding.function_id

    @property
    def hydrate(self) -> Hydrate[Function[P, R, Raw]]:
        """The function itself, once it can be called: `f.hydrate()`.

        Raises (when called):
            ExecutionError: when its app does not run.
        """
        form: Hydrate[Function[P, R, Raw]] = _forms().Hydrate(self, self._bound)
        return form

    def with_options(self, **options: Unpack[VariantOptions]) -> Function[P, R, Raw]:
        """The function with other options, in a pool of its own; this one stays as it is.

        Who asks for the same options shares the containers. A second `with_options` adds to the
        first, and wins where both say something. `min_containers` is not taken over.

        Raises:
            InvalidError: for a value that makes no sense, naming it.
        """
        from volant.sdk.calls.variants import FunctionVariant
        from volant.sdk.options import checked_variant

        return FunctionVariant(self, checked_variant(self._options, options))

    def with_concurrency(
        self, *, max_inputs: int, target_inputs: int | None = None
    ) -> Function[P, R, Raw]:
        """The function with containers that run several inputs at once; see `concurrent`."""
        from volant.sdk.calls.variants import FunctionVariant
        from volant.sdk.inputs.concurrency import checked_inputs

        return FunctionVariant(self, checked_inputs(max_inputs, target_inputs))

    def with_batching(self, *, max_batch_size: int, wait_ms: int) -> Function[P, R, Raw]:
        """The function with other batches; see `batched`."""
        from volant.sdk.calls.variants import FunctionVariant
        from volant.sdk.inputs.batching import checked_batch

        return FunctionVariant(self, checked_batch(max_batch_size, wait_ms))

    @property
    def autoscaler(self) -> Autoscaler:
        """What its autoscaler is told: `f.autoscaler.settings()`, `f.autoscaler.update(...)`.

        Of the pool of this very function, variant or object, until its app ends.
        """
        return _autoscaler(self)

    @property
    def update_autoscaler(self) -> UpdateAutoscaler:
        """Change settings of the autoscaler, and return all: `f.update_autoscaler(...)`.

        `min_containers=`, `max_containers=`, `buffer_containers=` and `scaledown_window=`; None
        leaves one as it is.

        Raises (when called):
            InvalidError: for a value that makes no sense, naming it.
            ExecutionError: when the app does not run.
        """
        return _autoscaler(self).update_given

    @property
    def get_current_stats(self) -> GetCurrentStats:
        """How many inputs wait and run, in how many containers: `f.get_current_stats()`."""
        return _autoscaler(self).stats

    @property
    def info(self) -> GetFunctionInfo:
        """What it is, with everything that it was described with: `f.info()`.

        Raises (when called):
            ExecutionError: when its app does not run.
            NotFoundError: when it is not deployed.
        """
        from volant.sdk.calls.described import GetFunctionInfo

        return GetFunctionInfo(self.name, self._bound)

    @property
    def logs(self) -> Logs:
        """What its containers printed: `f.logs.tail()`, `.fetch(since=...)`, `.stream()`."""
        from volant.sdk.calls.logs import function_logs

        return function_logs(self._bound)

    @property
    def get_web_url(self) -> GetWebUrl:
        """Where it answers to the web: `f.get_web_url()`; None for one that does not.

        Raises (when called):
            ExecutionError: when its app does not run.
        """
        from volant.sdk.web.urls import GetWebUrl

        return GetWebUrl(self._bound, None)

    def local(self, /, *args: P.args, **kwargs: P.kwargs) -> Raw:
        """Run the plain Python function here, in this process."""
        return self._raw(*args, **kwargs)

    def get_raw_f(self) -> Callable[P, Raw]:
        """The plain Python function; of one that was looked up, what refuses to run here."""
        return self._raw

    def _registered_names(self) -> list[str]:
        """What its app lists it as."""
        return [self.name]

    def _cls_handle(self) -> Cls | None:
        """The class that it is, if it is one."""
        return None

    def _web_names(self) -> list[str]:
        """What its app lists of it as answering to the web."""
        return [self.name] if hasattr(self._raw, WEB_MARK) else []

    def _methods(self) -> list[dict[str, object]]:
        """Its methods as a control message carries them, if it is a class."""
        return []

    def _schema(self) -> bytes | None:
        """The parameters of a class, for those who look it up."""
        return None

    def _by_value(self) -> object:
        """What is pickled of it, where its source does not travel."""
        return self._raw

    def to_wire(self, module: str, image: int, environment: str | None = None) -> dict[str, object]:
        """The function as a control message carries it.

        Args:
            module: what its module is called in a container.
            image: the index of its image among those of the app.
        """
        from volant.sdk.options import on_wire

        serialized = None
        if self._serialized:
            from volant.sdk.calls.serialized import pickled

            serialized = pickled(self.name, self._by_value(), self.__module__)
        return {
            "name": self.name,
            "module": module,
            "qualname": self.__qualname__,
            "serialized": serialized,
            "series": None if serialized is None else SERIES,
            "is_async": self.is_async,
            "is_generator": self.is_generator,
            "methods": self._methods(),
            "schema": self._schema(),
            "web": getattr(self._raw, WEB_MARK, None),
            "options": on_wire(self._options, environment),
            "image": image,
        }


for _name in ("stats", "metrics"):
    setattr(Function, _name, Planned(f"Function.{_name}"))


def _forms() -> Any:
    from volant.sdk.calls import forms

    return forms


def _autoscaler(function: Function[..., Any, Any]) -> Autoscaler:
    from volant.sdk.calls.autoscaler import Autoscaler

    return Autoscaler(function.name, function._bound)


def _find(module: str, qualname: str, name: str, is_async: bool, is_generator: bool) -> object:
    """Find a function again on the side where its pickle is opened."""
    try:
        found = _import(module, qualname)
    except (ImportError, AttributeError):  # its source did not travel, only its pickle
        if name not in _context.function_numbers:
            raise
        return _handle(name, is_async, is_generator)
    if isinstance(found, Function) and found.name == name:
        return found
    for other in vars(_import(module, "")).values():  # the plain function has kept its name
        if isinstance(other, Function) and other.name == name:
            return other
    return found


def _import(module: str, qualname: str) -> Any:
    import sys

    if module not in sys.modules:
        __import__(module)
    found: Any = sys.modules[module]
    for part in qualname.split(".") if qualname else ():
        found = getattr(found, part)
    return found


def _handle(name: str, is_async: bool, is_generator: bool) -> Function[..., Any, Any]:
    """A function of the app that runs here, of which only the name is known."""
    from volant.sdk.app import App

    def absent(*args: object, **kwargs: object) -> NoReturn:
        raise ExecutionError(
            f"the source of `{name}` is not here, so it cannot be called with .local()",
            hint=f"use `{name}.remote(...)`",
        )

    return Function(
        absent, app=App(), name=name, options={}, image=None, serialized=True,
        is_async=is_async, is_generator=is_generator, include_source=False,
    )  # fmt: skip


def bind(function: Function[..., Any, Any], binding: Binding | None) -> None:
    """Give a function the place its calls go to, or take it away."""
    function._binding = binding

"""The call forms of a function: what `f.remote`, `f.map` and the others are.

Each checks that it fits the function, then hands over to `calling` or `mapdrive`.
"""

from __future__ import annotations

from volant import ids
from volant.errors import InvalidError
from volant.sdk.calls import calling
from volant.sdk.generics import Generic, P, R, T
from volant.sdk.objects.handle import check_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
    from typing import Any

    from volant.sdk.calls.call import FunctionCall
    from volant.sdk.function import Function
    from volant.sdk.objects.client import Client


class _Form:
    __slots__ = ("_function",)

    def __init__(self, function: Function[..., Any, Any]) -> None:
        self._function = function


class Remote(_Form, Generic[P, R]):
    """`f.remote(...)` and `f.remote.aio(...)`."""

    __slots__ = ()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        function = self._function
        binding = function._binding or function._bound_to_call("remote")
        if function.is_generator:
            function._refuse_generator("remote")
        if calling.in_event_loop():
            _warn_blocking(function, "remote")
        ok, value = calling.call(binding, args, kwargs)
        if not ok:
            raise value
        result: R = value
        return result

    async def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call and await the result; cancelling the task cancels the call."""
        self._function._refuse_generator("remote")
        ok, value = await calling.call_async(self._function._bound_to_call("remote"), args, kwargs)
        if not ok:
            raise value
        result: R = value
        return result


class RemoteGen(_Form, Generic[P, R]):
    """`f.remote_gen(...)` and `f.remote_gen.aio(...)`."""

    __slots__ = ()

    def _check(self) -> None:
        if not self._function.is_generator:
            name = self._function.name
            raise InvalidError(
                f"`{name}` is not a generator function and is called with .remote(), not with "
                ".remote_gen()",
                hint=f"use `{name}.remote(...)`",
            )

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        binding = self._function._bound_to_call("remote_gen")
        self._check()
        _warn_blocking(self._function, "remote_gen")
        return calling.stream(binding, args, kwargs)

    def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        """Iterate with `async for`."""
        binding = self._function._bound_to_call("remote_gen")
        self._check()
        return calling.stream_async(binding, args, kwargs)


class Spawn(_Form, Generic[P, R]):
    """`f.spawn(...)` and `f.spawn.aio(...)`."""

    __slots__ = ("_key",)

    def __init__(self, function: Function[..., Any, Any], key: str | None = None) -> None:
        super().__init__(function)
        self._key = key

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R]:
        from volant.sdk.calls.call import FunctionCall

        self._function._refuse_generator("spawn")
        binding = self._function._bound_to_call("spawn")
        _warn_blocking(self._function, "spawn")
        return FunctionCall(calling.spawn(binding, args, kwargs, self._key), binding.local_path)

    async def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R]:
        """Start the call without blocking the event loop."""
        from volant.sdk.calls.call import FunctionCall

        self._function._refuse_generator("spawn")
        binding = self._function._bound_to_call("spawn")
        call_id = await calling.spawn_async(binding, args, kwargs, self._key)
        return FunctionCall(call_id, binding.local_path)


class Keyed(Generic[P, R]):
    """`f.with_idempotency_key(...)`: the function, for one call."""

    __slots__ = ("_function", "_key")

    def __init__(self, function: Function[..., Any, Any], key: str) -> None:
        if not isinstance(key, str) or not 0 < len(key) <= ids.KEY_CHARS_MAX:
            raise InvalidError(
                f"an idempotency key has 1 to {ids.KEY_CHARS_MAX} characters, got {key!r:.99}"
            )
        self._function = function
        self._key = key

    @property
    def spawn(self) -> Spawn[P, R]:
        """Start the call, or get the one that has this key."""
        return Spawn(self._function, self._key)

    @property
    def remote(self) -> KeyedRemote[P, R]:
        """Wait for the result of the call that has this key, which is started if there is none."""
        return KeyedRemote(self._function, self._key)


class KeyedRemote(_Form, Generic[P, R]):
    """`f.with_idempotency_key(...).remote(...)` and its `.aio`.

    Whoever gives up waiting leaves the call to others who have its key.
    """

    __slots__ = ("_key",)

    def __init__(self, function: Function[..., Any, Any], key: str) -> None:
        super().__init__(function)
        self._key = key

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        from volant.sdk.calls.call import FunctionCall

        self._function._refuse_generator("remote")
        binding = self._function._bound_to_call("remote")
        _warn_blocking(self._function, "remote")
        call_id = calling.spawn(binding, args, kwargs, self._key)
        call: FunctionCall[R] = FunctionCall(call_id, binding.local_path)
        return call.get.blocking()

    async def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Wait without blocking the event loop."""
        spawn: Spawn[P, R] = Spawn(self._function, self._key)
        call = await spawn.aio(*args, **kwargs)
        return await call.get.aio()


class Map(_Form, Generic[R]):
    """`f.map(...)` and `f.map.aio(...)`."""

    __slots__ = ()

    def __call__(
        self,
        *iterables: Iterable[Any],
        kwargs: dict[str, Any] = {},  # noqa: B006  # never written to
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> Iterator[R]:
        """Yield one result per input, zipped over `iterables`.

        Args:
            kwargs: the same keyword arguments for every input.
            order_outputs: in the order of the inputs; False yields results as they come.
            return_exceptions: put exceptions in place of results instead of raising them.
            wrap_returned_exceptions: accepted for old programs, does nothing.
        """
        _check_blocking(self._function, "map", iterables)
        _warn_wrap(wrap_returned_exceptions)
        return _start_map(
            self._function, "map", zip(*iterables, strict=False), _count(iterables), kwargs,
            order_outputs, return_exceptions,
        )  # fmt: skip

    def aio(
        self,
        *iterables: Iterable[Any] | AsyncIterable[Any],
        kwargs: dict[str, Any] = {},  # noqa: B006  # never written to
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> AsyncIterator[R]:
        """`map` for `async for`; async iterables are welcome as inputs."""
        from volant.sdk.calls import mapdrive

        _check_iterables(self._function, "map", iterables)
        _warn_wrap(wrap_returned_exceptions)
        options = mapdrive.MapOptions(
            kwargs, ordered=order_outputs, return_exceptions=return_exceptions
        )
        binding = self._function._bound_to_call("map")
        return mapdrive.run_map_async(binding, mapdrive.zip_async(iterables), options)


class StarMap(_Form, Generic[R]):
    """`f.starmap(...)` and `f.starmap.aio(...)`."""

    __slots__ = ()

    def __call__(
        self,
        inputs: Iterable[Any],
        *,
        kwargs: dict[str, Any] = {},  # noqa: B006  # never written to
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> Iterator[R]:
        """Yield one result per tuple of arguments in `inputs`."""
        _check_blocking(self._function, "starmap", (inputs,))
        _warn_wrap(wrap_returned_exceptions)
        return _start_map(
            self._function, "starmap", (tuple(args) for args in inputs), _count((inputs,)), kwargs,
            order_outputs, return_exceptions,
        )  # fmt: skip

    def aio(
        self,
        inputs: Iterable[Any] | AsyncIterable[Any],
        *,
        kwargs: dict[str, Any] = {},  # noqa: B006  # never written to
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> AsyncIterator[R]:
        """`starmap` for `async for`."""
        from volant.sdk.calls import mapdrive

        _check_iterables(self._function, "starmap", (inputs,))
        _warn_wrap(wrap_returned_exceptions)
        options = mapdrive.MapOptions(
            kwargs, ordered=order_outputs, return_exceptions=return_exceptions
        )
        rows = mapdrive.unpack_async(mapdrive.zip_async((inputs,)))
        binding = self._function._bound_to_call("starmap")
        return mapdrive.run_map_async(binding, rows, options)


class ForEach(_Form):
    """`f.for_each(...)` and `f.for_each.aio(...)`."""

    __slots__ = ()

    def __call__(
        self,
        *iterables: Iterable[Any],
        kwargs: dict[str, Any] = {},  # noqa: B006  # never written to
        ignore_exceptions: bool = False,
    ) -> None:
        """Run every input and wait for all.

        Raises:
            BaseException: the first exception, unless `ignore_exceptions`.
        """
        _check_blocking(self._function, "for_each", iterables)
        for _ in _start_map(
            self._function, "for_each", zip(*iterables, strict=False), _count(iterables), kwargs,
            False, ignore_exceptions,
        ):  # fmt: skip
            pass

    async def aio(
        self,
        *iterables: Iterable[Any] | AsyncIterable[Any],
        kwargs: dict[str, Any] = {},  # noqa: B006  # never written to
        ignore_exceptions: bool = False,
    ) -> None:
        """`for_each` for async code."""
        _check_iterables(self._function, "for_each", iterables)
        results: AsyncIterator[Any] = Map(self._function).aio(
            *iterables, kwargs=kwargs, order_outputs=False, return_exceptions=ignore_exceptions
        )
        async for _ in results:
            pass


class SpawnMap(_Form):
    """`f.spawn_map(...)` and `f.spawn_map.aio(...)`."""

    __slots__ = ()

    def __call__(
        self,
        *iterables: Iterable[Any],
        kwargs: dict[str, Any] = {},  # noqa: B006  # never written to
    ) -> None:
        """Start every input; returns when the hub has them all."""
        _spawn_map(self._function, "spawn_map", iterables, kwargs)

    async def aio(
        self,
        *iterables: Iterable[Any] | AsyncIterable[Any],
        kwargs: dict[str, Any] = {},  # noqa: B006  # never written to
    ) -> None:
        """`spawn_map` for async code; async iterables are welcome as inputs."""
        await _spawn_map_async(self._function, "spawn_map", iterables, kwargs)


class SpawnMapHandle(_Form, Generic[R]):
    """`f.experimental_spawn_map(...)` and `f.experimental_spawn_map.aio(...)`."""

    __slots__ = ()

    def __call__(
        self,
        *iterables: Iterable[Any],
        kwargs: dict[str, Any] = {},  # noqa: B006  # never written to
    ) -> FunctionCall[R]:
        """Start every input; returns when the hub has them all."""
        return _spawn_map(self._function, "experimental_spawn_map", iterables, kwargs)

    async def aio(
        self,
        *iterables: Iterable[Any] | AsyncIterable[Any],
        kwargs: dict[str, Any] = {},  # noqa: B006  # never written to
    ) -> FunctionCall[R]:
        """`experimental_spawn_map` for async code; async iterables are welcome as inputs."""
        return await _spawn_map_async(self._function, "experimental_spawn_map", iterables, kwargs)


class Hydrate(Generic[T]):
    """`x.hydrate()` and `x.hydrate.aio()`, which ask nobody: what runs here is known here."""

    __slots__ = ("_check", "_target")

    def __init__(self, target: T, check: Callable[[], object]) -> None:
        self._target = target
        self._check = check

    def __call__(self, client: Client | None = None) -> T:
        check_client(client)
        self._check()
        return self._target

    async def aio(self, client: Client | None = None) -> T:
        check_client(client)
        self._check()
        return self._target


def _spawn_map(
    function: Function[..., Any, Any],
    form: str,
    iterables: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> FunctionCall[Any]:
    from volant.sdk.calls import mapdrive

    _check_blocking(function, form, iterables)
    binding = function._bound_to_call(form)
    _warn_blocking(function, form, stacklevel=5)  # the line of the user, not that of the form
    number = mapdrive.spawn_inputs(binding, zip(*iterables, strict=False), kwargs)
    return _handle(binding, number)


async def _spawn_map_async(
    function: Function[..., Any, Any],
    form: str,
    iterables: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> FunctionCall[Any]:
    from volant.sdk.calls import mapdrive

    _check_iterables(function, form, iterables)
    binding = function._bound_to_call(form)
    rows = mapdrive.zip_async(iterables)
    return _handle(binding, await mapdrive.spawn_inputs_async(binding, rows, kwargs))


def _handle(binding: calling.Binding, number: int) -> FunctionCall[Any]:
    from volant.sdk.calls.call import FunctionCall

    call_id = f"fc-{ids.call_id(binding.channel.session, number)}"
    return FunctionCall(call_id, binding.local_path)


def _count(iterables: tuple[Any, ...]) -> int | None:
    """How many inputs there will be, None when that shows only at their end."""
    if all(hasattr(iterable, "__len__") for iterable in iterables):
        return min(len(iterable) for iterable in iterables)
    return None


def _check_iterables(
    function: Function[..., Any, Any], form: str, iterables: tuple[Any, ...]
) -> None:
    """Refuse what no form of a map can pull from."""
    function._refuse_generator(form)
    if not iterables:
        raise InvalidError(f"`{function.name}.{form}()` needs at least one iterable of inputs")
    for iterable in iterables:
        if not hasattr(iterable, "__iter__") and not hasattr(iterable, "__aiter__"):
            raise InvalidError(
                f"`{function.name}.{form}()` needs iterables, got {iterable!r}",
                hint=f"for one input use `{function.name}.remote(...)`",
            )


def _check_blocking(
    function: Function[..., Any, Any], form: str, iterables: tuple[Any, ...]
) -> None:
    """Refuse what a blocking form of a map cannot pull from."""
    _check_iterables(function, form, iterables)
    for iterable in iterables:
        if not hasattr(iterable, "__iter__"):
            raise InvalidError(
                f"`{function.name}.{form}()` cannot pull from the async iterable {iterable!r}",
                hint=f"use `{_in_async_code(function, form)}`",
            )


#: Forms whose `.aio` is iterated over, and what it gives; the others' is awaited.
_ITERATED = {"map": "result", "starmap": "result", "remote_gen": "value"}


def _in_async_code(function: Function[..., Any, Any], form: str) -> str:
    """How a form is written where an event loop runs."""
    begin = f"async for {_ITERATED[form]} in" if form in _ITERATED else "await"
    return f"{begin} {function.name}.{form}.aio(...)"


def _warn_blocking(function: Function[..., Any, Any], form: str, stacklevel: int = 4) -> None:
    calling.warn_blocking(
        f"{function.name}.{form}(...)", _in_async_code(function, form), stacklevel
    )


def _start_map(
    function: Function[..., Any, Any],
    form: str,
    inputs: Iterator[Any],
    total: int | None,
    kwargs: dict[str, Any],
    ordered: bool,
    return_exceptions: bool,
) -> Iterator[Any]:
    from volant.sdk.calls import mapdrive

    options = mapdrive.MapOptions(
        kwargs, ordered=ordered, return_exceptions=return_exceptions, total=total
    )
    if calling.in_event_loop():
        blocking = InvalidError(
            f"`{function.name}.{form}()` would block the running event loop, and "
            f"`{function.name}.{form}.aio()` would not",
            hint=f"use `{_in_async_code(function, form)}`",
        )
        rows = mapdrive.unpack_async(mapdrive.zip_async((inputs,)))
        awaited = mapdrive.run_map_async(function._bound_to_call(form), rows, options)
        return mapdrive.AwaitedMapResults(function.name, form, awaited, blocking)
    results = mapdrive.run_map(function._bound_to_call(form), inputs, options)
    return mapdrive.MapResults(function.name, form, results)


def _warn_wrap(value: bool | None) -> None:
    if value is not None:
        import warnings

        from volant.errors import DeprecationError

        warnings.warn("wrap_returned_exceptions= does nothing", DeprecationError, stacklevel=3)

"""What `@app.function(...)` does to a function: checked, made a `Function`, added to its app."""

from __future__ import annotations

import sys

from volant import _context
from volant.errors import InvalidError
from volant.sdk.function import (
    BATCHED_MARK,
    CLUSTERED_MARK,
    CONCURRENT_MARK,
    WEB_MARK,
    Function,
)
from volant.sdk.naming import check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Callable,
        Coroutine,
        Generator,
        Iterator,
    )
    from typing import Any, overload

    from volant.sdk.app import App
    from volant.sdk.generics import P, R, Y

# Bits of code.co_flags: what `inspect` would tell at the price of importing it.
_GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x200


class FunctionDecorator:
    """What `@app.function(...)` returns; applied to a function it makes a `Function`."""

    def __init__(self, app: App, settings: dict[str, Any]) -> None:
        self._app = app
        self._settings = settings

    if TYPE_CHECKING:

        @overload
        def __call__(
            self, raw: Callable[P, Coroutine[Any, Any, R]]
        ) -> Function[P, R, Coroutine[Any, Any, R]]: ...
        @overload
        def __call__(
            self, raw: Callable[P, AsyncGenerator[Y, Any]]
        ) -> Function[P, Y, AsyncGenerator[Y, Any]]: ...
        @overload
        def __call__(
            self, raw: Callable[P, Generator[Y, Any, Any]]
        ) -> Function[P, Y, Generator[Y, Any, Any]]: ...
        @overload
        def __call__(
            self, raw: Callable[P, AsyncIterator[Y]]
        ) -> Function[P, Y, AsyncIterator[Y]]: ...
        @overload
        def __call__(self, raw: Callable[P, Iterator[Y]]) -> Function[P, Y, Iterator[Y]]: ...
        @overload
        def __call__(self, raw: Callable[P, R]) -> Function[P, R, R]: ...

    def __call__(self, raw: Callable[..., Any]) -> Any:
        app, settings = self._app, self._settings
        _check_raw(raw, settings["serialized"])
        chosen = raw.__name__ if settings["name"] is None else settings["name"]
        check_name("a function", chosen)
        flags = getattr(getattr(raw, "__code__", None), "co_flags", 0)
        is_generator = settings["is_generator"]
        if is_generator is None:
            is_generator = bool(flags & (_GENERATOR | _ASYNC_GENERATOR))
        if settings["options"]["schedule"] is not None:
            from volant.sdk.objects.schedule import check_schedulable

            check_schedulable(chosen, raw, is_generator=is_generator)
        include_source = settings["include_source"]
        options = _with_marks(raw, settings["options"])
        if hasattr(raw, CLUSTERED_MARK):
            from volant.sdk.inputs.clustering import with_cluster

            options = with_cluster(raw, options, is_generator=is_generator)
        if is_generator and options["retries"]["max_retries"]:
            raise InvalidError(
                f"generator function `{chosen}` cannot have retries",
                hint="values that were yielded already cannot be taken back",
            )
        function = _kind_of(raw)(
            raw, app=app, name=chosen, options=options, image=settings["image"] or app._image,
            serialized=settings["serialized"] or lives_in_interactive_session(raw),
            is_async=bool(flags & (_COROUTINE | _ASYNC_GENERATOR)), is_generator=is_generator,
            include_source=app._include_source if include_source is None else include_source,
        )  # fmt: skip
        app._register(function)
        return function


def _with_marks(raw: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """The options of a function, with what the decorators below have marked it with."""
    if hasattr(raw, CONCURRENT_MARK):
        from volant.sdk.inputs.concurrency import with_marks

        options = with_marks(raw, options)
    if hasattr(raw, WEB_MARK):
        from volant.sdk.web.forms import with_web

        options = with_web(raw.__name__, [raw], options)
    if hasattr(raw, BATCHED_MARK):
        from volant.sdk.inputs.batching import with_batch

        options = with_batch(raw, options)
    return options


def _kind_of(raw: Callable[..., Any]) -> type[Function[..., Any, Any]]:
    if not hasattr(raw, WEB_MARK):
        return Function
    from volant.sdk.web.reached import WebFunction

    return WebFunction


def refuse_positional(value: object) -> None:
    """Say how `@app.function` is written, if it was given anything but keywords.

    Raises:
        InvalidError: if it was.
        TypeError: for a class.
    """
    if value is None:
        return
    from volant.sdk.images.image import Image

    if isinstance(value, Image):
        raise InvalidError(
            "@app.function takes no positional arguments, but function(image=image)",
            hint="write @app.function(image=image)",
        )
    if isinstance(value, type):
        raise TypeError("@app.function cannot decorate a class: use @app.cls()")
    raise InvalidError(
        "@app.function needs parentheses: @app.function()", hint="write @app.function()"
    )


def single_use(max_inputs: int | None, stacklevel: int = 3) -> bool:
    """What the old keyword `max_inputs=` means; the line of `stacklevel` is warned of.

    Raises:
        InvalidError: for more than one.
    """
    if max_inputs is None:
        return False
    if max_inputs != 1:
        raise InvalidError(f"max_inputs can only be 1, got {max_inputs!r}")
    import warnings

    from volant.errors import DeprecationError

    warnings.warn(
        "max_inputs=1 is called single_use_containers=True now", DeprecationError,
        stacklevel=stacklevel,
    )  # fmt: skip
    return True


def _check_raw(raw: Any, serialized: bool) -> None:
    if isinstance(raw, type):
        raise TypeError(f"@app.function cannot decorate class {raw.__name__!r}: use @app.cls()")
    if isinstance(raw, Function):
        raise InvalidError(f"`{raw.name}` is decorated with @app.function already")
    if not callable(raw) or not hasattr(raw, "__qualname__"):
        raise _no_function(raw)
    if serialized:
        return
    if "<locals>" in raw.__qualname__ or raw.__name__ == "<lambda>":
        raise InvalidError(
            f"`{raw.__qualname__}` is not in global scope, so a container could not import it",
            hint="move it to the top of its module, or use @app.function(serialized=True)",
        )
    if "." in raw.__qualname__:
        raise InvalidError(
            f"`{raw.__qualname__}` is a method and cannot be a function of its own: that takes "
            "@app.cls()",
            hint="decorate the class with @app.cls() and the method with @volant.method()",
        )


def _no_function(raw: object) -> InvalidError:
    from volant.sdk.classes.marks import Method

    if isinstance(raw, Method):
        return InvalidError(
            f"`{raw.__name__}` is a method and cannot be a function of its own: that takes "
            "@app.cls()",
            hint="decorate the class with @app.cls(), and the method with @volant.method() alone",
        )
    return InvalidError(f"@app.function needs a function, got {raw!r}")


def lives_in_interactive_session(raw: Callable[..., Any]) -> bool:
    """True for a function of a notebook, prompt or `python -`: its `__main__` is in no file."""
    if raw.__module__ != "__main__" or _context.in_container():
        return False
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is not None and file != "<stdin>":
        return False
    from volant.wire import payloads

    payloads.pickles_main_by_value = True
    return True

"""`@volant.batched`: functions that take the inputs of several callers together.

    @app.function()
    @volant.batched(max_batch_size=32, wait_ms=50)
    def classify(images: list[Image]) -> list[str]: ...

    classify.remote(image)      # one value in, one out: others are batched with it

The decorator only leaves a mark on the plain function; what decorates it above reads that.
"""

from __future__ import annotations

from volant.errors import InvalidError
from volant.sdk.classes.handles import Cls
from volant.sdk.classes.marks import Method
from volant.sdk.function import BATCHED_MARK as MARK, CONCURRENT_MARK, Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, Protocol, TypeVar, overload

    S = TypeVar("S")
    A = TypeVar("A")
    B = TypeVar("B")
    C = TypeVar("C")
    T = TypeVar("T")
    Promise = Coroutine[Any, Any, T]

    class BatchedDecorator(Protocol):
        """What `@volant.batched(...)` returns: callers give and get single values.

        A first parameter that is no list is `self`, so the function is a method.
        """

        @overload
        def __call__(
            self, raw: Callable[[list[A]], Promise[list[T]]], /
        ) -> Callable[[A], Promise[T]]: ...
        @overload
        def __call__(self, raw: Callable[[list[A]], list[T]], /) -> Callable[[A], T]: ...
        @overload
        def __call__(
            self, raw: Callable[[list[A], list[B]], Promise[list[T]]], /
        ) -> Callable[[A, B], Promise[T]]: ...
        @overload
        def __call__(
            self, raw: Callable[[list[A], list[B]], list[T]], /
        ) -> Callable[[A, B], T]: ...
        @overload
        def __call__(
            self, raw: Callable[[list[A], list[B], list[C]], list[T]], /
        ) -> Callable[[A, B, C], T]: ...
        @overload
        def __call__(
            self, raw: Callable[[S, list[A]], Promise[list[T]]], /
        ) -> Method[[A], T, Promise[T]]: ...
        @overload
        def __call__(self, raw: Callable[[S, list[A]], list[T]], /) -> Method[[A], T, T]: ...
        @overload
        def __call__(
            self, raw: Callable[[S, list[A], list[B]], list[T]], /
        ) -> Method[[A, B], T, T]: ...
        @overload
        def __call__(self, raw: Callable[..., Any], /) -> Any: ...


#: Inputs that are taken together, and how long the first of them may wait.
BATCH_SIZE_MAX = 1000
WAIT_MS_MAX = 600_000
_RIGHT_FORM = "write @volant.batched(max_batch_size=32, wait_ms=50) right above the function"
#: Bits of code.co_flags.
_GENERATOR, _ASYNC_GENERATOR = 0x20, 0x200


def batched(
    _positional: None = None, *, max_batch_size: int = 0, wait_ms: int = -1
) -> BatchedDecorator:
    """Have a function take the inputs of several callers together, as lists.

    The first input opens a window; the function is called when `max_batch_size` inputs are there or
    the window closes. It gets a list for each parameter and returns a list of as many results. An
    exception goes to every caller. Stands between `@app.function()` and the function, or in the
    place of `@volant.method()` on the only method of a class.

    Args:
        max_batch_size: inputs of one call at most, 1 to 1000.
        wait_ms: milliseconds that the window stays open, 0 to 600,000.

    Raises:
        InvalidError: for numbers that make no sense, without parentheses, for generator functions
            and for parameters with defaults.
    """
    if _positional is not None:
        raise InvalidError(
            "@volant.batched needs parentheses: @volant.batched(max_batch_size=32, wait_ms=50)",
            hint=_RIGHT_FORM,
        )
    checked_batch(max_batch_size, wait_ms)

    def decorate(raw: Any) -> Any:
        _check_raw(raw)
        setattr(raw, MARK, (max_batch_size, wait_ms))
        return raw

    return decorate


def checked_batch(max_batch_size: int, wait_ms: int) -> dict[str, object]:
    """How inputs are taken together, as a control message carries it.

    Raises:
        InvalidError: for numbers that make no sense.
    """
    if type(max_batch_size) is not int or not 1 <= max_batch_size <= BATCH_SIZE_MAX:
        raise InvalidError(
            f"max_batch_size must be from 1 to {BATCH_SIZE_MAX}, got {max_batch_size!r}",
            hint=_RIGHT_FORM,
        )
    if type(wait_ms) is not int or not 0 <= wait_ms <= WAIT_MS_MAX:
        raise InvalidError(
            f"wait_ms must be from 0 to {WAIT_MS_MAX}, got {wait_ms!r}", hint=_RIGHT_FORM
        )
    return {
        "max_inputs": max_batch_size, "target_inputs": None,
        "batch_size": max_batch_size, "batch_wait_s": wait_ms / 1000,
    }  # fmt: skip


def with_batch(raw: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a function or class whose plain function is marked.

    Raises:
        InvalidError: beside options that contradict the mark.
    """
    for marked, other in (
        (options["single_use"], "single_use_containers=True"),
        (hasattr(raw, CONCURRENT_MARK) or options["max_inputs"] > 1, "@volant.concurrent"),
    ):
        if marked:
            raise InvalidError(
                f"`{raw.__name__}` cannot have @volant.batched and {other}", hint="drop one of them"
            )
    return {**options, **checked_batch(*getattr(raw, MARK))}


def _check_raw(raw: Any) -> None:
    if isinstance(raw, (Function, Cls)):
        raise InvalidError(
            f"@volant.batched is above the decorator of `{raw.__name__}`'s app: swap the order",
            hint="write it right above the function",
        )
    if isinstance(raw, Method):
        raise InvalidError(
            f"`{raw.__name__}` has @volant.method() already, and @volant.batched takes its place",
            hint="drop @volant.method()",
        )
    code = getattr(raw, "__code__", None)
    if code is None or isinstance(raw, type):
        raise InvalidError(f"@volant.batched needs a function, got {raw!r}", hint=_RIGHT_FORM)
    if code.co_flags & (_GENERATOR | _ASYNC_GENERATOR):
        raise InvalidError(
            f"generator function `{raw.__name__}` cannot be batched", hint="return a list"
        )
    if raw.__defaults__ or raw.__kwdefaults__:
        raise InvalidError(
            f"`{raw.__name__}` has parameters with defaults, and a batched function cannot",
            hint="every caller gives every parameter, because each becomes a list",
        )

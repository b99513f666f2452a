"""`@volant.concurrent`: containers of a function that run several inputs at the same time.

    @app.function()
    @volant.concurrent(max_inputs=10)
    def f(x: int) -> str: ...

The decorator only leaves a mark on the plain function; `@app.function` above it reads that.
"""

from __future__ import annotations

from volant.errors import InvalidError
from volant.sdk.classes.handles import Cls
from volant.sdk.classes.marks import Method
from volant.sdk.function import CONCURRENT_MARK as MARK, Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., object])

#: Inputs that a container may run at the same time: each may need a thread.
INPUTS_MAX = 1000
_RIGHT_FORM = "write @volant.concurrent(max_inputs=10) right above the function"


def concurrent(
    _positional: None = None, *, max_inputs: int = 0, target_inputs: int | None = None
) -> Callable[[F], F]:
    """Have each container of a function run several inputs at the same time.

    Inputs of a plain function run in threads of their own, those of an `async def` function as
    tasks of one event loop. Stands between `@app.function()` and the function.

    Args:
        max_inputs: inputs that a container runs at once, 1 to 1000; 1 is what happens without it.
        target_inputs: inputs that a container should run, when another can be had; `max_inputs`
            by default.

    Raises:
        InvalidError: for numbers that make no sense, and without parentheses.
    """
    if _positional is not None:
        raise InvalidError(
            "@volant.concurrent needs parentheses: @volant.concurrent(max_inputs=10)",
            hint=_RIGHT_FORM,
        )
    checked_inputs(max_inputs, target_inputs)

    def decorate(raw: F) -> F:
        _check_raw(raw)
        try:
            setattr(raw, MARK, (max_inputs, target_inputs))
        except (AttributeError, TypeError):
            raise _no_function(raw) from None
        return raw

    return decorate


def checked_inputs(max_inputs: int, target_inputs: int | None) -> dict[str, object]:
    """How many inputs a container runs at once, as a control message carries it.

    Raises:
        InvalidError: for numbers that make no sense.
    """
    if type(max_inputs) is not int or not 1 <= max_inputs <= INPUTS_MAX:
        raise InvalidError(
            f"max_inputs must be from 1 to {INPUTS_MAX}, got {max_inputs!r}", hint=_RIGHT_FORM
        )
    if target_inputs is not None:
        if type(target_inputs) is not int or target_inputs < 1:
            raise InvalidError(f"target_inputs must be at least 1, got {target_inputs!r}")
        if target_inputs > max_inputs:
            raise InvalidError(
                f"target_inputs ({target_inputs}) is above max_inputs ({max_inputs})"
            )
    return {
        "max_inputs": max_inputs, "target_inputs": target_inputs,
        "batch_size": 0, "batch_wait_s": 0.0,
    }  # fmt: skip


def _check_raw(raw: Any) -> None:
    if isinstance(raw, (Function, Cls)):
        above = "@app.cls" if isinstance(raw, Cls) else "@app.function"
        raise InvalidError(
            f"@volant.concurrent is above {above} of `{raw.__name__}`: swap the order",
            hint=f"write {above}() above @volant.concurrent(max_inputs=...)",
        )
    if isinstance(raw, Method):
        raise InvalidError(
            f"@volant.concurrent goes on the class, not on its method `{raw.__name__}`",
            hint="write @app.cls() above @volant.concurrent(max_inputs=...) above the class",
        )
    if not callable(raw):
        raise _no_function(raw)
    if not isinstance(raw, type) and not hasattr(raw, "__code__"):
        from volant.sdk.web.servers import Server  # most programs have none

        if isinstance(raw, Server):
            raise no_server(raw.__name__)


def no_server(name: str) -> InvalidError:
    """What a server is told that has the decorator, on whichever side of its own."""
    return InvalidError(
        f"server `{name}` cannot have @volant.concurrent",
        hint="use @app.server(target_concurrency=..., max_concurrency=...)",
    )


def _no_function(raw: object) -> InvalidError:
    return InvalidError(f"@volant.concurrent needs a function, got {raw!r}", hint=_RIGHT_FORM)


def with_marks(raw: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """The options of a function whose plain function is marked.

    Raises:
        InvalidError: beside options that contradict the mark.
    """
    max_inputs, target_inputs = getattr(raw, MARK)
    name = raw.__name__
    if max_inputs > 1 and options["single_use"]:
        raise InvalidError(
            f"`{name}` cannot have a container for each input and run {max_inputs} inputs in one",
            hint="drop single_use_containers=True or @volant.concurrent",
        )
    return {**options, "max_inputs": max_inputs, "target_inputs": target_inputs}

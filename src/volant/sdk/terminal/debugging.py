"""Inputs that are debugged from their first line on, or when they have raised: see `inside`."""

from __future__ import annotations

import functools
import sys
import traceback

from volant.sdk.terminal import inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FIRST_LINE, POST_MORTEM = "first-line", "post-mortem"


def debugged(raw: Callable[..., Any], how: str, is_async: bool) -> Callable[..., Any]:
    """A function that runs another one under a debugger.

    Args:
        raw: a function, or with `is_async` a coroutine function.
        how: one of the above.
        is_async: whether it has to be awaited.
    """

    @functools.wraps(raw)
    def run(*args: Any, **kwargs: Any) -> Any:
        begin(how)
        try:
            return raw(*args, **kwargs)
        except BaseException as error:
            end(how, error)
            raise
        finally:
            sys.settrace(None)

    @functools.wraps(raw)
    async def run_async(*args: Any, **kwargs: Any) -> Any:
        begin(how)
        try:
            return await raw(*args, **kwargs)
        except BaseException as error:
            end(how, error)
            raise
        finally:
            sys.settrace(None)

    return run_async if is_async else run


def begin(how: str) -> None:
    """Have the next function that is called stop at its first line."""
    if how == FIRST_LINE:
        inside.join()
        debugger = inside.Debugger()
        debugger.reset()
        sys.settrace(debugger.trace_dispatch)


def end(how: str, error: BaseException) -> None:
    """Look at what has raised, where it did."""
    if how != POST_MORTEM:
        return
    inside.join()
    trace = error.__traceback__ and error.__traceback__.tb_next  # without the frame of `run`
    traceback.print_exception(type(error), error, trace)
    sys.stderr.flush()
    debugger = inside.Debugger()
    debugger.reset()
    debugger.interaction(None, trace)

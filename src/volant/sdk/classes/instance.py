"""One instance of a user's class: made, entered, served by its methods, and exited.

The same in a container and where `.local()` runs. Whoever has an event loop says how a coroutine
is run to its end; hooks of base classes run first.
"""

from __future__ import annotations

from volant.sdk.classes.marks import ENTER, ENTER_SNAP, EXIT, HANDLE_KEY, hooks_of, methods_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from volant.sdk.classes.handles import Obj
    from volant.sdk.classes.parameters import Parameters

    Complete = Callable[[Coroutine[Any, Any, Any]], Any]


class Instance:
    """An instance of a user's class, and how far its life has come."""

    def __init__(
        self, user_cls: type, parameters: Parameters, data: bytes, handle: Obj | None
    ) -> None:
        """`data`: what `parameters` has encoded; `handle`: what its methods are called through."""
        make: Any = user_cls.__new__
        self.user: Any = make(user_cls)
        if handle is not None:
            vars(self.user)[HANDLE_KEY] = handle
        parameters.apply(self.user, data)
        self._entered: set[str] = set()

    @property
    def is_entered(self) -> bool:
        """Whether its life has begun."""
        return ENTER in self._entered

    def methods(self) -> list[Callable[..., Any]]:
        """The plain methods, bound, in order of definition."""
        user = self.user
        return [one.raw.__get__(user, type(user)) for one in methods_of(type(user)).values()]

    def enter_snapshot(self, complete: Complete) -> None:
        """Run the hooks of `enter(snap=True)`, once."""
        self._run(ENTER_SNAP, complete)

    def enter(self, complete: Complete) -> None:
        """Run what is left of the enter hooks, in their order, once."""
        self._run(ENTER_SNAP, complete)
        self._run(ENTER, complete)

    async def enter_async(self) -> None:
        """`enter` where an event loop runs."""
        for kind in (ENTER_SNAP, ENTER):
            if kind not in self._entered:
                self._entered.add(kind)
                for hook in hooks_of(type(self.user), kind):
                    returned = hook(self.user)
                    if hasattr(returned, "__await__"):
                        await returned

    def exit(self, complete: Complete) -> None:
        """Run the exit hooks, of what was entered; each also when another has failed."""
        if not self.is_entered:
            return
        for hook in hooks_of(type(self.user), EXIT):
            try:
                self._call(hook, complete)
            except BaseException:  # noqa: BLE001  # user code may raise anything
                import traceback

                traceback.print_exc()

    def _run(self, kind: str, complete: Complete) -> None:
        if kind in self._entered:
            return
        self._entered.add(kind)
        for hook in hooks_of(type(self.user), kind):
            self._call(hook, complete)

    def _call(self, hook: Callable[..., Any], complete: Complete) -> None:
        returned = hook(self.user)
        if hasattr(returned, "__await__"):
            complete(returned)


def complete_here(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end where no event loop runs.

    Raises:
        InvalidError: where one does.
    """
    from volant.sdk.calls.calling import in_event_loop

    if in_event_loop():
        coroutine.close()
        from volant.errors import InvalidError

        raise InvalidError(
            "a class with an async enter hook cannot be entered by a plain method while an event "
            "loop runs",
            hint="make the method async, or call it with `.remote.aio(...)`",
        )
    import asyncio

    return asyncio.run(coroutine)

"""The autoscaler of one pool: what it is told, what it is told anew, and how the pool stands.

    f.autoscaler.settings()   f.autoscaler.update(...)   f.update_autoscaler(...)
    f.get_current_stats()

Each form has its `.aio`. They act on the pool of the function, variant or object that they were
taken from, and on no other.
"""

from __future__ import annotations

from volant.sdk.calls.calling import warn_blocking
from volant.wire.frames import FUNCTION_MASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypedDict

    from typing_extensions import Unpack

    from volant.sdk.calls.calling import Binding

    class Changes(TypedDict, total=False):
        """What `autoscaler.update` takes."""

        min_containers: int | None
        max_containers: int | None
        buffer_containers: int | None
        scaledown_window: float | None


class Record:
    """A few named values that compare and print by them."""

    __slots__: tuple[str, ...] = ()

    def _names(self) -> list[str]:
        kinds = reversed(type(self).__mro__)
        return [name for kind in kinds for name in getattr(kind, "__slots__", ())]

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self._names())

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self._names())
        return f"{type(self).__name__}({', '.join(shown)})"


class AutoscalerSettings(Record):
    """What the autoscaler of a pool is told."""

    __slots__ = ("buffer_containers", "max_containers", "min_containers", "scaledown_window")

    def __init__(self, reply: dict[str, Any]) -> None:
        #: Containers that are kept ready.
        self.min_containers = int(reply["min_containers"])
        #: Containers that it has at most; None for the default.
        self.max_containers: int | None = reply["max_containers"]
        #: Containers kept ready above the need, while there is any.
        self.buffer_containers = int(reply["buffer_containers"])
        #: Seconds that an idle container is kept.
        self.scaledown_window = float(reply["scaledown_window_s"])


class FunctionStats(Record):
    """How a pool stands."""

    __slots__ = (
        "backlog", "input_headroom", "num_running_inputs", "num_total_runners", "waits_for",
    )  # fmt: skip

    def __init__(self, reply: dict[str, Any]) -> None:
        #: Inputs that nobody has begun.
        self.backlog = int(reply["backlog"])
        #: Containers that run or start.
        self.num_total_runners = int(reply["num_total_runners"])
        #: Inputs that run.
        self.num_running_inputs = int(reply["num_running_inputs"])
        #: Inputs that its containers could begin at once.
        self.input_headroom = int(reply["input_headroom"])
        #: What it waits for on the machine, in words; "" when it does not wait for that.
        self.waits_for = str(reply["waits_for"])


class _Form:
    """One thing to ask the hub about a pool."""

    __slots__ = ("_bound", "_name")

    def __init__(self, name: str, bound: Callable[[], Binding]) -> None:
        self._name = name
        self._bound = bound

    def _ask(self, op: str, form: str, fields: dict[str, object]) -> dict[str, Any]:
        warn_blocking(f"{self._name}.{form}(...)", f"await {self._name}.{form}.aio(...)", 4)
        binding = self._bound()
        return binding.channel.request(op, number=binding.number & FUNCTION_MASK, **fields)

    async def _ask_async(self, op: str, fields: dict[str, object]) -> dict[str, Any]:
        from volant.sdk.calls.call import request_async

        return await request_async(op, number=self._bound().number & FUNCTION_MASK, **fields)


class GetSettings(_Form):
    """`f.autoscaler.settings()` and its `.aio`."""

    __slots__ = ()

    #: What the hub's reply is made into.
    _made_of: type[AutoscalerSettings] = AutoscalerSettings

    def __call__(self) -> AutoscalerSettings:
        return self._made_of(self._ask("function_settings", "autoscaler.settings", {}))

    async def aio(self) -> AutoscalerSettings:
        return self._made_of(await self._ask_async("function_settings", {}))


class GetCurrentStats(_Form):
    """`f.get_current_stats()` and its `.aio`."""

    __slots__ = ()

    def __call__(self) -> FunctionStats:
        return FunctionStats(self._ask("function_stats", "get_current_stats", {}))

    async def aio(self) -> FunctionStats:
        return FunctionStats(await self._ask_async("function_stats", {}))


class Update(_Form):
    """`f.autoscaler.update(...)` and its `.aio`: None stands for the default."""

    __slots__ = ()

    _made_of: type[AutoscalerSettings] = AutoscalerSettings

    def __call__(self, **changes: Unpack[Changes]) -> AutoscalerSettings:
        """Change what is given, and return all settings.

        Raises:
            InvalidError: for a value that makes no sense, naming it.
        """
        fields = _checked(changes)
        return self._kept(fields, self._ask("function_update", "autoscaler.update", fields))

    async def aio(self, **changes: Unpack[Changes]) -> AutoscalerSettings:
        fields = _checked(changes)
        return self._kept(fields, await self._ask_async("function_update", fields))

    def _kept(self, fields: dict[str, object], reply: dict[str, Any]) -> AutoscalerSettings:
        self._bound().scaling.update(fields)
        return self._made_of(reply)


class UpdateAutoscaler(Update):
    """`f.update_autoscaler(...)` and its `.aio`: None leaves a setting as it is."""

    __slots__ = ()

    def __call__(
        self, *, min_containers: int | None = None, max_containers: int | None = None,
        buffer_containers: int | None = None, scaledown_window: float | None = None,
    ) -> AutoscalerSettings:  # fmt: skip
        """Change what is given, and return all settings.

        Raises:
            InvalidError: for a value that makes no sense, naming it.
        """
        fields = _given(min_containers, max_containers, buffer_containers, scaledown_window)
        return self._kept(fields, self._ask("function_update", "update_autoscaler", fields))

    async def aio(
        self, *, min_containers: int | None = None, max_containers: int | None = None,
        buffer_containers: int | None = None, scaledown_window: float | None = None,
    ) -> AutoscalerSettings:  # fmt: skip
        fields = _given(min_containers, max_containers, buffer_containers, scaledown_window)
        return self._kept(fields, await self._ask_async("function_update", fields))


class Autoscaler:
    """`f.autoscaler`: what the autoscaler of a pool is told."""

    __slots__ = ("settings", "stats", "update", "update_given")

    def __init__(self, name: str, bound: Callable[[], Binding]) -> None:
        """`bound`: gives where the calls of the pool go."""
        self.settings = GetSettings(name, bound)
        self.update = Update(name, bound)
        self.update_given = UpdateAutoscaler(name, bound)
        self.stats = GetCurrentStats(name, bound)


def _given(
    min_containers: int | None, max_containers: int | None, buffer_containers: int | None,
    scaledown_window: float | None,
) -> dict[str, object]:  # fmt: skip
    given = {
        "min_containers": min_containers, "max_containers": max_containers,
        "buffer_containers": buffer_containers, "scaledown_window": scaledown_window,
    }  # fmt: skip
    return _checked({name: value for name, value in given.items() if value is not None})


def _checked(changes: Any) -> dict[str, object]:
    from volant.sdk.options import checked_autoscaler

    return checked_autoscaler(changes)

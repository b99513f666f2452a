"""`FunctionCall`: a call that was started and whose results are fetched later, or elsewhere."""

from __future__ import annotations

from volant import ids
from volant.channel import current
from volant.channel.waiters import OutcomeWaiter
from volant.errors import InvalidError, TimeoutError
from volant.sdk.calls.calling import warn_blocking
from volant.sdk.generics import Generic, R
from volant.sdk.objects.handle import Handle, at_once, check_client
from volant.wire import frames, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any

    from volant.channel.channel import Channel
    from volant.sdk.calls.forms import Hydrate
    from volant.sdk.calls.graph import AskGraph
    from volant.sdk.calls.logs import Logs
    from volant.sdk.objects.client import Client


class FunctionCall(Handle, Generic[R]):
    """A call made by `spawn` or `spawn_map`.

    Its results are kept by the hub, so `get` may be repeated, from any process of the machine.
    """

    def __init__(
        self, object_id: str, local_path: Callable[[str], str | None] | None = None
    ) -> None:
        self._object_id = object_id
        self._local_path = local_path

    @at_once
    @staticmethod
    def from_id(function_call_id: str, client: Client | None = None) -> FunctionCall[Any]:
        """A handle on a call by its id; asks nobody until it is used.

        Raises:
            InvalidError: if it is not the id of a call.
        """
        check_client(client)
        try:
            ids.split_call_id(function_call_id)
        except (ValueError, AttributeError):
            raise InvalidError(
                f"{function_call_id!r} is not the id of a call",
                hint="ids of calls look like fc-… and come from `spawn(...).object_id`",
            ) from None
        return FunctionCall(function_call_id)

    def __repr__(self) -> str:
        return f"FunctionCall({self.object_id!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return FunctionCall, (self.object_id,)

    @property
    def object_id(self) -> str:
        """The call's id, `fc-…`."""
        return self._object_id

    @property
    def get(self) -> Get[R]:
        """Wait for a result: `get(timeout=None, *, index=0)`; `get.aio(...)` in async code.

        Raises (when called):
            TimeoutError: when it is not there within `timeout` seconds; 0 only looks.
            BaseException: the user's own exception if the call failed.
        """
        return Get(self)

    @property
    def num_inputs(self) -> Ask[int]:
        """How many inputs the call has: `num_inputs()`."""
        return Ask("num_inputs", "call_inputs", self.object_id)

    @property
    def cancel(self) -> Cancel:
        """Cancel what has not finished: `cancel(terminate_containers=False)`.

        Running inputs are interrupted (`InputCancellation` in sync code, `CancelledError` in
        async code); with `terminate_containers=True` their containers end.
        """
        return Cancel("cancel", "call_cancel", self.object_id)

    @property
    def get_call_graph(self) -> AskGraph:
        """Its inputs, each with those of the calls that it has made: `get_call_graph()`.

        Calls that were not spawned are in it as well, unless the container that made them ran
        inputs of several calls. Of more than 10,000 inputs the rest is left out, with a warning.

        Returns (when called):
            One `volant.types.InputInfo` for each input of this call.
        """
        from volant.sdk.calls.graph import AskGraph

        return AskGraph("get_call_graph", "call_graph", self.object_id)

    @property
    def logs(self) -> Logs:
        """What was printed for it: `call.logs.tail()`, `.fetch(since=...)`, `.stream()`.

        Where a container runs inputs of several calls at once, that is what any of them printed.
        """
        from volant.sdk.calls.logs import call_logs

        return call_logs(self.object_id)

    @property
    def iter(self) -> Iter[R]:
        """Yield the results of inputs `start` to `end` (exclusive, default all), in order.

        `iter(start=0, end=None)`; `async for result in iter.aio(...)` in async code.
        """
        return Iter(self)

    @property
    def hydrate(self) -> Hydrate[FunctionCall[R]]:
        """The call itself; whether there is one shows when it is used."""
        from volant.sdk.calls.forms import Hydrate

        return Hydrate(self, lambda: None)

    gather: Gather

    def _get_frame(self, channel: Channel, timeout: float | None, index: int) -> tuple[int, bytes]:
        number = channel.next_number()
        fields = {
            "id": number, "op": "call_get", "call": self.object_id, "index": index,
            "wait": timeout is None or timeout > 0,
        }  # fmt: skip
        return number, frames.control(frames.REQUEST, values.encode(fields))


class Get(Generic[R]):
    """`call.get(...)` and `call.get.aio(...)`."""

    __slots__ = ("_call",)

    def __init__(self, call: FunctionCall[R]) -> None:
        self._call = call

    def __call__(self, timeout: float | None = None, *, index: int = 0) -> R:
        _warn_blocking("get")
        return self.blocking(timeout, index)

    def blocking(self, timeout: float | None = None, index: int = 0) -> R:
        """What calling it does, without a look at the event loop."""
        channel = current.channel()
        number, frame = self._call._get_frame(channel, timeout, index)
        waiter = OutcomeWaiter(frame)
        channel.register(number, waiter)
        try:
            channel.send(frame)
            channel.wait(waiter, timeout or None)
        finally:
            channel.unregister(number)
            if not waiter.ready:
                channel.tell("cancel", call=number)  # else the hub would send it some day
        return self._outcome(waiter)

    async def aio(self, timeout: float | None = None, *, index: int = 0) -> R:
        from volant.channel import aio

        channel = current.channel()
        number, frame = self._call._get_frame(channel, timeout, index)
        waiter = OutcomeWaiter(frame)
        channel.register(number, waiter)
        try:
            channel.send(frame)
            await aio.wait(channel, waiter, timeout or None)
        finally:
            channel.unregister(number)
            if not waiter.ready:
                channel.tell("cancel", call=number)
        return self._outcome(waiter)

    def _outcome(self, waiter: OutcomeWaiter) -> R:
        if waiter.pending and not waiter.section:
            raise TimeoutError(f"{self._call.object_id} has not finished")
        ok, value = waiter.outcome(self._call._local_path)
        if not ok:
            raise value
        result: R = value
        return result


class Ask(Generic[R]):
    """A question to the hub about one call."""

    __slots__ = ("_call_id", "_form", "_op")

    def __init__(self, form: str, op: str, call_id: str) -> None:
        self._form = form
        self._op = op
        self._call_id = call_id

    def __call__(self) -> R:
        _warn_blocking(self._form)
        return self.blocking()

    def blocking(self) -> R:
        """What calling it does, without a look at the event loop."""
        reply: R = current.channel().request(self._op, call=self._call_id)["value"]
        return reply

    async def aio(self) -> R:
        reply: R = (await request_async(self._op, call=self._call_id))["value"]
        return reply


class Iter(Generic[R]):
    """`call.iter(...)` and `call.iter.aio(...)`."""

    __slots__ = ("_call",)

    def __init__(self, call: FunctionCall[R]) -> None:
        self._call = call

    def __call__(self, *, start: int = 0, end: int | None = None) -> Iterator[R]:
        warn_blocking("call.iter(...)", "async for result in call.iter.aio(...)")
        return self._blocking(start, end)

    def _blocking(self, start: int, end: int | None) -> Iterator[R]:
        stop = self._call.num_inputs.blocking() if end is None else end
        for index in range(start, stop):
            yield self._call.get.blocking(index=index)

    async def aio(self, *, start: int = 0, end: int | None = None) -> AsyncIterator[R]:
        stop = await self._call.num_inputs.aio() if end is None else end
        for index in range(start, stop):
            yield await self._call.get.aio(index=index)


class Cancel(Ask[None]):
    """`call.cancel(...)` and `call.cancel.aio(...)`."""

    __slots__ = ()

    def __call__(self, terminate_containers: bool = False) -> None:
        _warn_blocking(self._form)
        current.channel().request(
            self._op, call=self._call_id, terminate=bool(terminate_containers)
        )

    async def aio(self, terminate_containers: bool = False) -> None:
        await request_async(self._op, call=self._call_id, terminate=bool(terminate_containers))


async def request_async(op: str, **fields: object) -> dict[str, Any]:
    """`Channel.request` for asyncio."""
    from volant.channel import aio
    from volant.channel.waiter import RequestWaiter, raise_reply_error

    channel = current.channel()
    number = channel.next_number()
    body = values.encode({"id": number, "op": op, **fields})
    waiter = RequestWaiter(frames.control(frames.REQUEST, body))
    channel.register(number, waiter)
    try:
        channel.send(waiter.frame)
        await aio.wait(channel, waiter)
    finally:
        channel.unregister(number)
    raise_reply_error(waiter.reply)
    return waiter.reply


class Gather:
    """`FunctionCall.gather(a, b, ...)`: all results, in the order of the arguments."""

    __slots__ = ()

    def __call__(self, *calls: FunctionCall[R]) -> list[R]:
        warn_blocking("FunctionCall.gather(...)", "await FunctionCall.gather.aio(...)")
        return [call.get.blocking() for call in calls]

    async def aio(self, *calls: FunctionCall[R]) -> list[R]:
        import asyncio

        return list(await asyncio.gather(*(call.get.aio() for call in calls)))


def _warn_blocking(form: str) -> None:
    warn_blocking(f"call.{form}(...)", f"await call.{form}.aio(...)", stacklevel=4)


FunctionCall.gather = Gather()

"""Methods that ask the hub, written once and used both ways: blocking, and awaited as `.aio`.

    class Dict(Named):
        @both
        def contains(self, key: object) -> Steps[bool]:
            reply = yield ask("dict_contains", object_id=(yield from self._id()), ...)
            return bool(reply["found"])

    d.contains("a")                 drives the generator, blocking at each question
    await d.contains.aio("a")       drives it on asyncio

A method is a generator of questions. Each `yield` hands one out and gets the hub's reply, or has
its error raised there. `both_iter` is the same for what is iterated over, with values in between.
A question that is given up (Ctrl-C, a cancelled task) is taken back at the hub.

A change is marked with a ticket by `change`, so that the hub makes it once although a client sends
it again after a lost connection.
"""

from __future__ import annotations

from volant.channel import current
from volant.channel.waiter import RequestWaiter, raise_reply_error
from volant.sdk.calls.calling import warn_blocking
from volant.sdk.generics import Generic, P, R, S, T, Y
from volant.wire import frames, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator
    from typing import Any, Concatenate, TypeAlias, overload

    from typing_extensions import Self

    from volant.channel.channel import Channel

    #: What a method of `both` returns: questions go out, replies come in, a value is at the end.
    Steps: TypeAlias = Generator["Question", Any, T]
    #: The same of `both_iter`: values come out as well, each in a `Value`.
    Values: TypeAlias = "Generator[Question | Value[T], Any, None]"


class Question:
    """One request to the hub."""

    __slots__ = ("_fd", "_fields", "_is_change", "_op")

    def __init__(
        self, op: str, fields: dict[str, object], *, is_change: bool, fd: int | None = None
    ) -> None:
        self._op = op
        self._fields = fields
        self._is_change = is_change
        self._fd = fd

    def blocking(self) -> dict[str, Any]:
        """Ask, and wait for the reply.

        Raises:
            Error: the one the hub answered with.
        """
        channel = current.channel()
        ticket = channel.tickets.take() if self._is_change else None
        number, waiter = self._sent(channel, ticket)
        try:
            channel.send(waiter.frame, waiter.fd)
            channel.wait(waiter)
        finally:
            self._close(channel, number, waiter, ticket)
        raise_reply_error(waiter.reply)
        return waiter.reply

    async def aio(self) -> dict[str, Any]:
        """`blocking` for asyncio."""
        from volant.channel import aio

        channel = current.channel()
        ticket = channel.tickets.take() if self._is_change else None
        number, waiter = self._sent(channel, ticket)
        try:
            channel.send(waiter.frame, waiter.fd)
            await aio.wait(channel, waiter)
        finally:
            self._close(channel, number, waiter, ticket)
        raise_reply_error(waiter.reply)
        return waiter.reply

    def _sent(self, channel: Channel, ticket: tuple[int, int] | None) -> tuple[int, RequestWaiter]:
        number = channel.next_number()
        message: dict[str, object] = {"id": number, "op": self._op, **self._fields}
        if ticket is not None:
            message["ticket"] = [channel.tickets.client, *ticket]
        flags = 0 if self._fd is None else frames.HAS_FD
        frame = frames.control(frames.REQUEST, values.encode(message), flags)
        waiter = RequestWaiter(frame, self._fd)
        channel.register(number, waiter)
        return number, waiter

    @staticmethod
    def _close(
        channel: Channel, number: int, waiter: RequestWaiter, ticket: tuple[int, int] | None
    ) -> None:
        channel.unregister(number)
        if not waiter.ready and not channel.closed:
            channel.tell("cancel", call=number)
        if ticket is not None:
            channel.tickets.give_back(ticket)


class Value(Generic[T]):
    """One value that an iteration yields."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value


def ask(op: str, **fields: object) -> Question:
    """A question that changes nothing, or that is harmless to ask twice."""
    return Question(op, fields, is_change=False)


def ask_with(fd: int, op: str, **fields: object) -> Question:
    """`ask`, with a descriptor that the hub gets a copy of."""
    return Question(op, fields, is_change=False, fd=fd)


def change(op: str, **fields: object) -> Question:
    """A question that changes something, which the hub does once however often it is sent."""
    return Question(op, fields, is_change=True)


def blocking(steps: Steps[R]) -> R:
    """Drive a method, blocking at each question."""
    try:
        question = next(steps)
        while True:
            try:
                reply = question.blocking()
            except BaseException as error:  # noqa: BLE001  # raised where the method waits for it
                question = steps.throw(error)
            else:
                question = steps.send(reply)
    except StopIteration as end:
        result: R = end.value
        return result


async def awaited(steps: Steps[R]) -> R:
    """Drive a method on asyncio."""
    try:
        question = next(steps)
        while True:
            try:
                reply = await question.aio()
            except BaseException as error:  # noqa: BLE001  # as above
                question = steps.throw(error)
            else:
                question = steps.send(reply)
    except StopIteration as end:
        result: R = end.value
        return result


class both(Generic[S, P, R]):  # a decorator
    """Make a method of `Steps` one that blocks when it is called, and has a twin `.aio`."""

    def __init__(self, steps: Callable[Concatenate[S, P], Steps[R]]) -> None:
        self._steps = steps
        self.__name__ = steps.__name__
        self.__doc__ = steps.__doc__

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> Self: ...

        @overload
        def __get__(self, instance: S, owner: type) -> Both[P, R]: ...

        def __get__(self, instance: S | None, owner: type) -> Self | Both[P, R]: ...

    else:

        def __get__(self, instance: Any, owner: type) -> Any:
            return self if instance is None else Both(self._steps, instance)


class Both(Generic[P, R]):
    """`x.m(...)`, which blocks, and `await x.m.aio(...)`."""

    __slots__ = ("_instance", "_steps")

    def __init__(self, steps: Callable[..., Steps[R]], instance: object) -> None:
        self._steps = steps
        self._instance = instance

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        form = _form(self._instance, self._steps)
        warn_blocking(f"{form}(...)", f"await {form}.aio(...)")
        return blocking(self._steps(self._instance, *args, **kwargs))

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The same, awaited."""
        return await awaited(self._steps(self._instance, *args, **kwargs))


class both_iter(Generic[S, P, Y]):  # a decorator
    """Make a method of `Values` one to iterate over, with a twin `.aio` for `async for`."""

    def __init__(self, steps: Callable[Concatenate[S, P], Values[Y]]) -> None:
        self._steps = steps
        self.__name__ = steps.__name__
        self.__doc__ = steps.__doc__

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> Self: ...

        @overload
        def __get__(self, instance: S, owner: type) -> BothIter[P, Y]: ...

        def __get__(self, instance: S | None, owner: type) -> Self | BothIter[P, Y]: ...

    else:

        def __get__(self, instance: Any, owner: type) -> Any:
            return self if instance is None else BothIter(self._steps, instance)


class BothIter(Generic[P, Y]):
    """`for v in x.m(...)` and `async for v in x.m.aio(...)`."""

    __slots__ = ("_instance", "_steps")

    def __init__(self, steps: Callable[..., Values[Y]], instance: object) -> None:
        self._steps = steps
        self._instance = instance

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[Y]:
        form = _form(self._instance, self._steps)
        warn_blocking(f"{form}(...)", f"async for ... in {form}.aio(...)")
        return self._each(self._steps(self._instance, *args, **kwargs))

    @staticmethod
    def _each(steps: Values[Y]) -> Iterator[Y]:
        reply: object = None
        while True:
            try:
                found = steps.send(reply)
            except StopIteration:
                return
            if isinstance(found, Question):
                reply = found.blocking()
            else:
                reply = None
                yield found.value

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Y]:
        """The same, for `async for`."""
        steps = self._steps(self._instance, *args, **kwargs)
        reply: object = None
        while True:
            try:
                found = steps.send(reply)
            except StopIteration:
                return
            if isinstance(found, Question):
                reply = await found.aio()
            else:
                reply = None
                yield found.value


def _form(instance: object, steps: Callable[..., object]) -> str:
    """How a method is written, such as `dict.put`."""
    return f"{type(instance).__name__.lower()}.{steps.__name__}"

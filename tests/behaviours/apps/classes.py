"""Classes with state: hooks, parameters, methods of every kind."""

from __future__ import annotations

import dataclasses
import enum
import os
from typing import TYPE_CHECKING, Any

import volant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

app = volant.App("classes")


class Mode(enum.Enum):
    FAST = "f"
    SLOW = "s"


@dataclasses.dataclass(frozen=True)
class Size:
    width: int
    height: float = 2.0


class Broken(Exception):
    pass


class Base:
    """What a class may inherit: hooks, methods, parameters."""

    prefix: str = volant.parameter(default="base")

    @volant.enter()
    def begin(self) -> None:
        self.log = ["begin"]

    @volant.method()
    def inherited(self) -> str:
        return f"{self.prefix} {self.log[0]}"

    @volant.exit()
    def end(self) -> None:
        print(f"end of {self.prefix}", flush=True)


@app.cls(max_containers=1)
class Counter(Base):
    start: int = volant.parameter(default=10)
    mode: Mode = volant.parameter(default=Mode.FAST)
    size: Size = volant.parameter(default=Size(1))
    hidden: bytes = volant.parameter(default=b"\0", init=False)

    @volant.enter()
    def load(self) -> None:
        self.value = self.start
        self.log.append("load")

    @volant.enter()
    async def load_async(self) -> None:
        self.log.append("load_async")

    @volant.method()
    def add(self, by: int) -> int:
        """Add to what the container has counted."""
        self.value += by
        return self.value

    @volant.method()
    async def add_async(self, by: int) -> int:
        return self.add.local(by)

    @volant.method()
    def state(self) -> dict[str, Any]:
        return {
            "log": self.log, "parameters": (self.start, self.mode, self.size, self.hidden),
            "pid": os.environ["VOLANT_CONTAINER_ID"],
        }  # fmt: skip

    @volant.method()
    def count(self, to: int) -> Iterator[int]:
        yield from range(self.start, self.start + to)

    @volant.method()
    async def count_async(self, to: int) -> AsyncIterator[int]:
        for value in range(self.start, self.start + to):
            yield value

    @volant.method()
    def fail(self) -> None:
        raise Broken("on purpose")

    def plain(self) -> int:
        return self.start + 1

    @volant.exit()
    def say_goodbye(self) -> None:
        print(f"goodbye from {self.start}", flush=True)


@app.cls()
class Pair:
    """Methods that call one another."""

    factor: int = volant.parameter()

    @volant.method()
    def times(self, value: int) -> int:
        return self.factor * value

    @volant.method()
    def both(self, value: int) -> tuple[int, int]:
        return self.times.local(value), self.times.remote(value)

    @volant.method()
    def other(self, value: int) -> int:
        return Pair(factor=self.factor + 1).times.remote(value)


@app.cls()
class BrokenAtStart:
    @volant.enter()
    def load(self) -> None:
        raise Broken("the weights are missing")

    @volant.method()
    def answer(self) -> int:
        return 42


@app.cls()
@volant.concurrent(max_inputs=10)
class Together:
    @volant.method()
    async def stream(self, count: int) -> AsyncIterator[int]:
        for value in range(count):
            yield value

    @volant.method()
    def blocking(self, value: int) -> int:
        return -value


@app.cls()
@volant.concurrent(max_inputs=10)
class InThreads:
    @volant.method()
    def stream(self, count: int) -> Iterator[int]:
        yield from range(count)

    @volant.method()
    def plain(self, value: int) -> int:
        return -value


@app.function()
def pass_on(counter: Any, by: int) -> int:
    """Handles travel."""
    return int(counter.add.remote(by))


@app.function()
def identify() -> tuple[str, str]:
    return os.environ.get("COLOUR", ""), os.environ["VOLANT_CONTAINER_ID"]

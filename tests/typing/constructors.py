"""What Pyright, so an editor, knows of constructors of `@app.cls()` classes. Never imported.

Mypy takes a `dataclass_transform` from functions and base classes only, not from a method of an
object such as `app.cls`. So it does not see this page.
"""

from __future__ import annotations

import enum
from typing import assert_type

import volant

app = volant.App("constructors")


class Mode(enum.Enum):
    FAST = 1
    EXACT = 2


@app.cls()
class Base:
    prefix: str = volant.parameter(default="")

    @volant.method()
    def hello(self) -> str:
        return self.prefix


@app.cls(max_containers=2)
class Model(Base):
    size: int = volant.parameter()
    mode: Mode = volant.parameter(default=Mode.FAST)
    hidden: bytes = volant.parameter(default=b"", init=False)

    @volant.method()
    def ask(self, x: int) -> str:
        return str(x)


def construct() -> None:
    assert_type(Model(size=3), Model)
    assert_type(Model(size=3, mode=Mode.EXACT, prefix="b").ask.remote(1), str)
    Model()  # pyright: ignore[reportCallIssue]
    Model(3)  # pyright: ignore[reportCallIssue]
    Model(size="3")  # pyright: ignore[reportArgumentType]
    Model(size=3, width=4)  # pyright: ignore[reportCallIssue]
    Model(size=3, hidden=b"")  # pyright: ignore[reportCallIssue]

"""Classes with parameters that answer to the web: one pool for each set of values."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum

from fastapi import Request  # noqa: TC002  # FastAPI reads the types of parameters

import volant

app = volant.App("sized")


class Color(Enum):
    RED = 1
    BLUE = 2


@dataclass
class Point:
    x: int = 0


@app.cls(max_containers=1)
class Model:
    size: int = volant.parameter()
    loud: bool = volant.parameter(default=False)
    word: str = volant.parameter(default="a")

    @volant.fastapi_endpoint()
    async def ask(self, request: Request, limit: int = 0) -> dict[str, object]:
        return {
            "values": [self.size, self.loud, self.word], "query": request.url.query,
            "limit": limit, "container": os.environ["VOLANT_CONTAINER_ID"],
        }  # fmt: skip

    @volant.method()
    def where(self) -> str:
        return os.environ["VOLANT_CONTAINER_ID"]


@app.cls()
class Various:
    ratio: float = volant.parameter(default=0.5)
    raw: bytes = volant.parameter(default=b"")
    color: Color = volant.parameter(default=Color.RED)
    point: Point = volant.parameter(default=Point())
    kept: int = volant.parameter(default=7, init=False)

    @volant.fastapi_endpoint()
    async def ask(self) -> list[object]:
        return [self.ratio, self.raw.hex(), self.color.name, self.point.x, self.kept]


@app.cls()
class Constructed:
    def __init__(self, size: int = 1) -> None:
        self.size = size

    @volant.fastapi_endpoint()
    async def ask(self) -> int:
        return self.size

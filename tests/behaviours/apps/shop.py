"""An app that is deployed in several versions; which one it is, is read when it is described."""

from __future__ import annotations

import enum
import os
import socket
import sys
from dataclasses import dataclass

import volant

#: What the deploying program says that this version is like; in a container, what was deployed.
VERSION = os.environ.get("SHOP_VERSION", "one")
app = volant.App("shop")


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


@dataclass
class Point:
    x: int
    y: int = 0


@app.function(env={"SHOP_VERSION": VERSION}, scaledown_window=2)
def version(port: int | str = "") -> str:
    """Which version this is; with a port, once somebody there hangs up."""
    print(f"version {VERSION}", flush=True)
    if port:
        socket.create_connection(("127.0.0.1", int(port))).recv(1)
    return VERSION


@app.function(env={"SHOP_VERSION": VERSION})
def ask_shop(name: str) -> str:
    """What a container gets that looks a function up."""
    return str(volant.Function.from_name("shop", name).remote())


@app.function(is_generator=True, env={"SHOP_VERSION": VERSION})
def count(number: int):
    yield from range(number)


if VERSION != "without":

    @app.function()
    def only_before() -> str:
        return "before"


if VERSION == "shared":
    _concurrent = volant.concurrent(max_inputs=4)
else:

    def _concurrent(cls: type) -> type:
        return cls


@app.cls(env={"SHOP_VERSION": VERSION})
@_concurrent
class Model:
    size: int = volant.parameter(default=1)
    colour: Colour = volant.parameter(default=Colour.RED)
    point: Point = volant.parameter(default=Point(1))

    if VERSION == "two":

        @volant.method()
        def first(self) -> str:
            return "first"

    @volant.method()
    def describe(self) -> str:
        return f"{VERSION} {self.size} {self.colour.name} {self.point.x} {self.point.y}"

    if VERSION == "one":

        @volant.method()
        def last(self) -> str:
            return "last"


if VERSION == "broken":
    raise RuntimeError("this version cannot be imported")
if VERSION == "broken there" and not volant.is_local():
    raise RuntimeError("this version cannot be imported there")
if VERSION.startswith("gate ") and not volant.is_local():
    socket.create_connection(("127.0.0.1", int(VERSION.split()[1]))).recv(1)

if __name__ == "__main__":
    app.deploy(strategy=sys.argv[1] if len(sys.argv) > 1 else "rolling")
    print("deployed", flush=True)
    print(version.remote(), Model(size=4).describe.remote(), flush=True)

"""Classes whose hooks run in the template of all their containers."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from typing import Any

import volant

app = volant.App("snapshots")


@app.cls(enable_memory_snapshot=True)
class Model:
    size: int = volant.parameter(default=3)

    @volant.enter(snap=True)
    def load(self) -> None:
        self.log = [f"load {self.size}"]
        self.loaded_in = os.environ.get("VOLANT_CONTAINER_ID", "the template")
        self.marks = {"template": os.urandom(8)}

    @volant.enter(snap=True)
    async def load_async(self) -> None:
        self.log.append("load_async")

    @volant.enter()
    def warm(self) -> None:
        self.log.append("warm")
        self.marks["container"] = os.urandom(8)

    @volant.method()
    def state(self) -> tuple[list[str], str, dict[str, bytes], str]:
        return self.log, self.loaded_in, self.marks, os.environ["VOLANT_CONTAINER_ID"]


def hold_nothing() -> None: ...


def hold_thread() -> threading.Thread:
    thread = threading.Thread(target=threading.Event().wait, daemon=True, name="poller")
    thread.start()
    return thread


def hold_connection() -> Any:
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, socket.create_connection(listener.getsockname())


def hold_child() -> Any:
    return subprocess.Popen(["/bin/sleep", "1000"])


@app.function()
def other() -> int:
    return 1


HOLD = {
    "nothing": hold_nothing, "thread": hold_thread, "connection": hold_connection,
    "child": hold_child, "call": other.remote,
}  # fmt: skip


@app.cls(enable_memory_snapshot=True)
class Holding:
    what: str = volant.parameter()

    @volant.enter(snap=True)
    def load(self) -> None:
        self.held = HOLD[self.what]()
        self.loaded_in = os.environ.get("VOLANT_CONTAINER_ID", "the template")

    @volant.method()
    def where(self) -> str:
        return self.loaded_in


@app.cls(enable_memory_snapshot=True)
class Failing:
    @volant.enter(snap=True)
    def load(self) -> None:
        raise LookupError("no weights")

    @volant.method()
    def answer(self) -> int:
        return 42


if __name__ == "__main__":
    import sys

    with volant.enable_output(), app.run():
        print(Holding(what=sys.argv[1]).where.remote())

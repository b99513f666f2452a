"""Work that outlives its daemon. Functions that wait do so at a gate: a port of the machine."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any

import numpy as np

import volant
from volant.channel import current

app = volant.App("lasting")


def kill_daemon() -> None:
    """End the daemon without a warning, and see that it is gone."""
    pid = current.channel().request("server_status")["pid"]
    gone = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    import select

    select.select([gone], [], [])
    os.close(gone)


@app.function()
def pass_gate(port: int, value: Any) -> Any:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.recv(1)
    return value


@app.function(max_containers=1)
def pass_gate_in_turn(port: int, value: Any) -> Any:
    return pass_gate.local(port, value)


@app.function()
def double(value: Any) -> Any:
    return value * 2


@app.function()
def fail(text: str) -> None:
    raise ValueError(text)


@app.function()
def spawn_further(port: int) -> str:
    return pass_gate.spawn(port, "grandchild").object_id


@app.function()
@volant.concurrent(max_inputs=4)
def branch(port: int, depth: int) -> int:
    """Spawns as many calls as it is deep, side by side with others in the same container."""
    calls = [branch.spawn(port, below) for below in range(depth)]
    pass_gate.local(port, None)
    return double.remote(depth) + sum(call.get() for call in calls)


@app.cls()
class Model:
    size: int = volant.parameter(default=1)

    @volant.method()
    def other(self) -> str:
        return "other"

    @volant.method()
    def pass_gate(self, port: int) -> int:
        return pass_gate.local(port, self.size)


def main(how: str, port: int) -> None:
    if how == "deploy":
        app.deploy()
        return
    if how == "detached":
        with app.run(detach=True):
            print(pass_gate.spawn(port, "detached").object_id)
        return
    with app.run():
        call = pass_gate.spawn(port, "attached")
        big = pass_gate.spawn(port, np.arange(1 << 20))
        print(call.object_id, big.object_id)
        sys.stdin.readline()
        print(call.get(), big.get()[5])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

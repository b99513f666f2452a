"""Classes whose methods wait for ever, tidy up when they have to end, and say goodbye."""

from __future__ import annotations

import asyncio
import sys
import threading

import volant

app = volant.App("preempting")


@app.cls(max_containers=1)
class Waiting:
    @volant.method()
    def wait(self) -> None:
        try:
            print("waiting", flush=True)
            threading.Event().wait()
        finally:
            print("tidied up", flush=True)

    @volant.exit()
    def close(self) -> None:
        print("goodbye", flush=True)


@app.cls(max_containers=1)
@volant.concurrent(max_inputs=5)
class InTasks:
    @volant.method()
    async def wait(self) -> None:
        try:
            print("waiting", flush=True)
            await asyncio.Event().wait()
        finally:
            print("tidied up", flush=True)

    @volant.exit()
    async def close(self) -> None:
        print("goodbye", flush=True)


if __name__ == "__main__":
    with app.run():
        {"Waiting": Waiting, "InTasks": InTasks}[sys.argv[1]]().wait.spawn()
        print("running", flush=True)
        threading.Event().wait()

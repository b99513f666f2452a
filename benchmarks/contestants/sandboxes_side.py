"""Sandboxes: created, run a command in, streamed from, and many of them at once and idle."""

from __future__ import annotations

import asyncio
import os
import subprocess
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import volant
from benchmarks.contestants.volant_side import Running, request

_STREAM_BYTES = 256 << 20


class Sandboxes(Running):
    """An app with one sandbox that stays, so that the base of its image is there."""

    def __init__(self) -> None:
        self._app = volant.App("sandboxes")
        super().__init__(self._app)
        self._sandbox = volant.Sandbox.create(app=self._app)
        self._sandbox.exec("true").wait()

    def turn(self, what: str, count: int = 1) -> dict[str, Any]:
        if what == "idle":
            return asyncio.run(self._idle(count))
        if what == "copies":
            return self._copies(count)
        if what == "burst":
            return {"ms": asyncio.run(self._burst(count))}
        measure = {"first": self._first, "exec": self._exec, "stream": self._stream}[what]
        return {"figures": [measure() for _ in range(count)]}

    def _first(self) -> float:
        """Milliseconds from `create` to the output of the first command."""
        begun = perf_counter()
        sandbox = volant.Sandbox.create(app=self._app)
        sandbox.exec("echo", "x").stdout.read()
        took_s = perf_counter() - begun
        sandbox.terminate(wait=True)
        return took_s * 1e3

    def _exec(self) -> float:
        begun = perf_counter()
        self._sandbox.exec("true").wait()
        return (perf_counter() - begun) * 1e3

    def _stream(self) -> float:
        """MB/s that a command prints and this process reads."""
        words = ("head", "-c", str(_STREAM_BYTES), "/dev/zero")
        process = self._sandbox.exec(*words, text=False)
        begun = perf_counter()
        size = len(process.stdout.read())
        assert size == _STREAM_BYTES
        return size / 1e6 / (perf_counter() - begun)

    def _copies(self, mib: int) -> dict[str, Any]:
        """Seconds that a file takes by `cp`, into a sandbox and out of it, each after a sync."""
        files = self._sandbox.filesystem
        with TemporaryDirectory() as place:
            local = f"{place}/local"
            with open(local, "wb") as target:
                target.writelines(os.urandom(1 << 20) for _ in range(mib))
            files.copy_from_local(local, "/tmp/there")
            ways = {
                "cp": lambda: subprocess.run(["cp", local, f"{place}/cp"], check=True),
                "in": lambda: files.copy_from_local(local, "/tmp/in"),
                "out": lambda: files.copy_to_local("/tmp/there", f"{place}/out"),
            }
            taken = {}
            for name, way in ways.items():
                os.sync()
                begun = perf_counter()
                way()
                taken[name] = perf_counter() - begun
        for path in ("/tmp/there", "/tmp/in"):
            files.remove(path)
        return taken

    async def _made(self) -> tuple[volant.Sandbox, float]:
        begun = perf_counter()
        sandbox = await volant.Sandbox.create.aio(app=self._app)
        process = await sandbox.exec.aio("echo", "x")
        assert await process.stdout.read.aio() == "x\n"
        return sandbox, (perf_counter() - begun) * 1e3

    async def _burst(self, count: int) -> float:
        """Milliseconds within which 99 of 100 have answered."""
        made = await asyncio.gather(*[self._made() for _ in range(count)])
        await asyncio.gather(*[one.terminate.aio(wait=True) for one, _ in made])
        return sorted(took_ms for _, took_ms in made)[int(count * 0.99) - 1]

    async def _idle(self, count: int) -> dict[str, Any]:
        """Memory of each of many sandboxes that idle, in all of its processes."""
        made = [(await self._made())[0] for _ in range(count)]
        rows = request("sandbox_list", app_id=None, tags={}, with_finished=False)["sandboxes"]
        mine = {_namespace(row["pid"]) for row in rows}
        total = sum(_private_bytes(pid) for pid in _pids() if _namespace(pid) in mine)
        await asyncio.gather(*[one.terminate.aio(wait=True) for one in made])
        return {"mb": total / len(rows) / 1e6}


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _namespace(pid: int) -> str:
    """The processes that belong together with one, and see nobody else."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""  # it has ended, or is somebody else's


def _private_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            sizes = [int(line.split()[1]) for line in rollup if line.startswith("Private_")]
    except OSError:
        return 0
    return 1024 * sum(sizes)

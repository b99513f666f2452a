"""Sandboxes: created, run a command in, streamed from, and many of them at once and idle."""

from __future__ import annotations

import asyncio
import os
import subprocess
from math import inf
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import volant
from benchmarks.contestants.volant_side import Running, request
from tests import gvisor
from tests.behaviours.image_builds import registry_with_base

_STREAM_BYTES = 256 << 20
#: What is written into a sandbox of which a snapshot is made: 100 MB in 1,000 files.
_FILES = """
import os
for number in range(1000):
    with open(f"/root/{number}", "wb") as target:
        target.write(os.urandom(100_000))
"""


class Sandboxes(Running):
    """An app with one sandbox that stays, so that the base of its image is there."""

    def __init__(self) -> None:
        # Where the daemon, which starts next, looks for it.
        os.environ["PATH"] = f"{os.path.dirname(gvisor.find())}:{os.environ['PATH']}"
        os.environ["VOLANT_SANDBOX_RUNTIME"] = "container"  # where a turn does not say it
        self._app = volant.App("sandboxes")
        super().__init__(self._app)
        self._sandbox = volant.Sandbox.create(app=self._app)
        self._sandbox.exec("true").wait()

    def turn(self, what: str, count: int = 1) -> dict[str, Any]:
        if what == "idle":
            return asyncio.run(self._idle(count))
        if what == "copies":
            return self._copies(count)
        if what == "snapshots":
            return self._snapshots(count)
        if what == "gvisor":
            return {"figures": [self._first(runtime="gvisor") for _ in range(count)]}
        if what == "burst":
            return {"ms": asyncio.run(self._burst(count))}
        measure = {"first": self._first, "exec": self._exec, "stream": self._stream}[what]
        return {"figures": [measure() for _ in range(count)]}

    def _first(self, **arguments: Any) -> float:
        """Milliseconds from `create` to the output of the first command."""
        begun = perf_counter()
        sandbox = volant.Sandbox.create(app=self._app, **arguments)
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
        """Seconds that a file takes by `cp`, into a sandbox and out of it, each after a sync.

        The best of three counts: what memory a virtual machine has not used lately it gets page by
        page when it is written to, which takes several times as long and says nothing of either.
        """
        files = self._sandbox.filesystem
        with TemporaryDirectory() as place:
            local = f"{place}/local"
            with open(local, "wb") as target:
                target.writelines(os.urandom(1 << 20) for _ in range(mib))
            files.copy_from_local(local, "/tmp/there")
            ways = {
                "cp": lambda: subprocess.run(["cp", local, f"{place}/copied"], check=True),
                "in": lambda: files.copy_from_local(local, "/tmp/copied"),
                "out": lambda: files.copy_to_local("/tmp/there", f"{place}/copied"),
            }
            taken = dict.fromkeys(ways, inf)
            for name in (name for name in ways for _ in range(3)):
                os.sync()
                begun = perf_counter()
                ways[name]()
                taken[name] = min(taken[name], perf_counter() - begun)
                if name == "in":
                    files.remove("/tmp/copied")
                else:
                    os.unlink(f"{place}/copied")
        files.remove("/tmp/there")
        return taken

    def _snapshots(self, count: int) -> dict[str, Any]:
        """Milliseconds for a snapshot of 100 MB, and from that to a sandbox of it that answers."""
        taken: dict[str, list[float]] = {"snapshot": [], "from": []}
        with registry_with_base() as registry:
            image = volant.Image.from_registry(f"{registry.host}/python:base")
            for _ in range(count):
                sandbox = volant.Sandbox.create(app=self._app, image=image)
                assert sandbox.exec("python3", "-c", _FILES).wait() == 0
                begun = perf_counter()
                snapshot = sandbox.snapshot_filesystem()
                taken["snapshot"].append((perf_counter() - begun) * 1e3)
                taken["from"].append(self._first(image=snapshot))
                sandbox.terminate(wait=True)
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

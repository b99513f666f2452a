"""Real launchers, zygotes and containers for tests, with code sent into them and answers back.

The package `volant` that containers see here is a copy whose `runner.loop` and `runner.loading`
are the stand-ins beside this file: they run whatever they are sent.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib.util
import os
import shutil
import struct
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import volant
from tests.support import eventually
from volantd import lent
from volantd.runtime.client import Launcher, ZygoteSpec

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from volantd.runtime.cgroup import Cgroup, Limits
    from volantd.runtime.client import ForkedContainer, Zygote

HERE = Path(__file__).parent
IMPORT_WITHIN_S = 30.0
ANSWER_WITHIN_S = 30.0


class Failed(Exception):
    """What code in a container raised, as text."""


class Container:
    """A forked container that runs code it is sent."""

    def __init__(self, lab: Laboratory, forked: ForkedContainer) -> None:
        self.lab = lab
        self.forked = forked

    def ask(self, code: str) -> Any:
        """Run code inside; the value of its variable `result`."""
        return self.lab.run(self.ask_async(code))

    async def ask_async(self, code: str) -> Any:
        loop = asyncio.get_running_loop()
        data = code.encode()
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await loop.sock_sendall(self.forked.channel, struct.pack("<I", len(data)) + data)
            (size,) = struct.unpack("<I", await self._exactly(4))
            answer = (await self._exactly(size)).decode()
        if answer.startswith("!"):
            raise Failed(answer[1:])
        return ast.literal_eval(answer)

    async def _exactly(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        data = b""
        while len(data) < size:
            more = await loop.sock_recv(self.forked.channel, size - len(data))
            if not more:
                raise ConnectionResetError("the container closed its channel")
            data += more
        return data

    def wait(self) -> int:
        """Wait until it has ended; its wait status."""
        return self.lab.run(self.wait_async())

    async def wait_async(self) -> int:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await asyncio.shield(self.forked.exited)

    def close(self) -> None:
        """Close our ends; a container that is idle then leaves."""
        if self not in self.lab.containers:
            return
        self.lab.containers.remove(self)
        self.forked.channel.close()
        self.forked.sdk.close()
        for fd in (self.forked.stdout_fd, self.forked.stderr_fd):
            os.close(fd)

    def end(self) -> int:
        """Kill it, and wait until it is gone."""
        self.forked.kill()
        status = self.wait()
        self.close()
        return status


class Laboratory:
    """A launcher in an event loop of its own."""

    def __init__(self, rung: str, python: str | None = None) -> None:
        self.rung = rung
        self.place = Path(tempfile.mkdtemp(prefix="volant-lab-"))
        self.place.chmod(0o755)
        self.runner = asyncio.Runner()
        self.count = 0
        self.containers: list[Container] = []
        self.python = python or sys.executable
        self.sdk_dir = self.place / "sdk"
        self._copy_sdk()
        self.runs_dir = self.place / "runs"
        self.runs_dir.mkdir()
        self.run_id = self.place.name
        self.launcher = self.run(Launcher.start(self.runs_dir, self.run_id))

    def _copy_sdk(self) -> None:
        source = Path(volant.__file__).parent
        target = self.sdk_dir / "volant"
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("loop", "loading"):
            shutil.copy(HERE / f"stand_in_{name}.py", target / "runner" / f"{name}.py")

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def trees(self) -> tuple[str, ...]:
        """What the interpreter needs of this machine."""
        if self.python != sys.executable:
            prefix = Path(self.python).resolve().parent.parent
            return ("/usr", str(prefix))
        return ("/usr", sys.prefix, sys.base_prefix)

    def spec(self, **changes: Any) -> ZygoteSpec:
        found = importlib.util.find_spec("cloudpickle")
        assert found is not None and found.origin is not None
        fields = {
            "rung": self.rung,
            "python": self.python,
            "trees": self.trees(),
            "sdk_dir": str(self.sdk_dir),
            "cloudpickle_dir": str(Path(found.origin).parent),
            "lent_dir": lent.directory(str(self.place)),
        }
        return ZygoteSpec(**{**fields, **changes})

    def zygote(self, source: str = "", **changes: Any) -> Zygote:
        """A zygote that has run `source` as its import."""
        zygote = self.bare_zygote(**changes)
        self.prepare(zygote, source)
        return zygote

    def bare_zygote(self, **changes: Any) -> Zygote:
        self.count += 1
        name = f"z{self.count}"
        zygote: Zygote = self.run(self.launcher.spawn_zygote(self.spec(**changes), name))
        return zygote

    def prepare(
        self,
        zygote: Zygote,
        source: str = "",
        files: Sequence[tuple[str, int, bytes]] = (),
        env: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        entry = {"source": source}
        work = zygote.prepare(list(files), entry, env or {}, timeout_s=IMPORT_WITHIN_S)
        answer: dict[str, Any] = self.run(work)
        return answer

    def fork(self, zygote: Zygote, limits: dict[str, int] | None = None) -> Container:
        return self.run(self.fork_async(zygote, limits))

    async def fork_async(self, zygote: Zygote, limits: dict[str, int] | None = None) -> Container:
        self.count += 1
        name = f"c{self.count}"
        forked = await zygote.fork(name, hostname=f"host-{self.count}", limits=limits)
        container = Container(self, forked)
        self.containers.append(container)
        return container

    def fork_limited(self, zygote: Zygote, limits: Limits) -> tuple[Container, Cgroup]:
        """A container and its cgroup, limited as the agent does that."""
        container = self.fork(zygote)
        return container, self.run(self._limit(container, limits))

    async def _limit(self, container: Container, limits: Limits) -> Cgroup:
        place = container.forked.place
        assert place is not None, "this zygote has no leaves"
        await place.alone
        place.cgroup.limit(limits)
        return place.cgroup

    def turn(self) -> None:
        """Let the loop take what has arrived."""
        self.run(asyncio.sleep(0))

    def eventually(self, check: Any, within_s: float = 10.0) -> Any:
        """`eventually`, with the loop turning in between."""

        def turn_and_check() -> Any:
            self.turn()
            return check()

        return eventually(turn_and_check, within_s)

    def end(self, zygote: Zygote) -> None:
        """Kill a zygote and wait until it is gone."""
        zygote.kill()
        self.run(asyncio.wait_for(asyncio.shield(zygote.exited), ANSWER_WITHIN_S))
        with contextlib.suppress(OSError):
            os.close(zygote.log_fd)

    def close(self) -> None:
        for container in list(self.containers):
            container.close()
        self.run(self.launcher.close())
        self.runner.close()
        shutil.rmtree(self.place)

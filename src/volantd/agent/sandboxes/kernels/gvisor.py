"""gVisor on this machine: whether there is one that will do, and kernels that are booted ahead.

    fork(live) ─► a spare of its base that boots, or has; else one that was not booted yet
    renew(base) ─► fork ─► BOOT ─► kept for the next sandbox of the base, for a while

Its program, `runsc`, is somebody else's and is looked for where programs are. It is started by the
fork that is to be the sandbox (see `volant.runner.sandboxes.gvisor`). Booting takes 0.2 s of the
processor, most of what a sandbox waits for; so one is booted ahead for each base in use. What must
be there before that, volumes and an authority to be trusted, a spare cannot have.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
from typing import TYPE_CHECKING

from volant.errors import ExecutionError
from volantd.runtime.client import RuntimeFailedError
from volantd.runtime.sandboxes.holder import Holder

if TYPE_CHECKING:
    from volantd.agent.sandboxes.ahead import Ahead
    from volantd.agent.sandboxes.bases import Base
    from volantd.agent.sandboxes.live import Live
    from volantd.agent.tasks import Tasks
    from volantd.agent.zygotes import Child, ZygoteStore
    from volantd.hub.sandboxes.record import Sandbox

log = logging.getLogger(__name__)

PROGRAM = "runsc"
#: The release (a date) that Debian 13 has. The one of Debian 12 has no working `ls`.
OLDEST = 20240729
#: Until it has said which release it is.
VERSION_TIMEOUT_S = 10.0
_HINT = (
    "install the package `runsc` (of Debian 13 or later), or take this machine's kernel: "
    "runtime='container', or the setting `sandbox_runtime`"
)
_RELEASE = re.compile(rb"20\d{6}")
#: Those that will do, by their paths.
_known: set[str] = set()


async def chosen(sandbox: Sandbox) -> str | None:
    """The path of the program on which a sandbox runs; None for this machine's kernel.

    Whoever left the choice gets gVisor where that is installed, but for what it never can.

    Raises:
        ExecutionError: when it wants gVisor, and there is none that will do.
    """
    if sandbox.runtime == "auto":
        wants_devices = bool(sandbox.function.options["gpu"])
        is_there = not wants_devices and await asyncio.to_thread(shutil.which, PROGRAM) is not None
        sandbox.runtime = "gvisor" if is_there else "container"
    return await program() if sandbox.runtime == "gvisor" else None


async def program() -> str:
    """The path of gVisor's program.

    Raises:
        ExecutionError: when there is none, or it is too old.
    """
    found = await asyncio.to_thread(shutil.which, PROGRAM)
    if found is None:
        raise ExecutionError(
            f"a sandbox with runtime='gvisor' needs `{PROGRAM}`, which this daemon does not find",
            hint=_HINT,
        )
    if found not in _known:
        release = await _release(found)
        if release < OLDEST:
            raise ExecutionError(
                f"{found} is of {release or 'an unknown release'}, and {OLDEST} or later is needed",
                hint=_HINT,
            )
        _known.add(found)
    return found


async def _release(path: str) -> int:
    """The date of a release; 0 for none that is understood."""
    try:
        process = await asyncio.create_subprocess_exec(
            path, "--version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(VERSION_TIMEOUT_S):
            said, _ = await process.communicate()
    except OSError:  # TimeoutError is one too
        return 0
    found = _RELEASE.search(said)
    return int(found[0]) if found else 0


class Booted:
    """A fork that holds a sandbox on a kernel of its own, or will; `holder` takes commands."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.holder = Holder(child.forked, relays=True)
        self.is_booted = False

    def boot(self, memory_bytes: int | None = None) -> None:
        """Have it boot, unless it did.

        Args:
            memory_bytes: what each process may have, where no control group limits them together.
        """
        if not self.is_booted:
            self.is_booted = True
            self.holder.boot(memory_bytes)


class Spares:
    """Kernels that are booted ahead."""

    def __init__(self, zygotes: ZygoteStore, tasks: Tasks, ahead: Ahead) -> None:
        """`ahead`: what else is made ahead; whether that is, and for how long, holds here too."""
        self._ahead = ahead
        self._zygotes = zygotes
        self._tasks = tasks
        self._kept: dict[Base, asyncio.Future[Booted]] = {}

    async def fork(self, live: Live) -> tuple[Child, Booted | None]:
        """The container of a sandbox, whose holder is noted; what is to boot, if it shall.

        Raises:
            RuntimeFailedError: when there can be none.
        """
        base = live.base
        if live.sandbox.runtime != "gvisor":
            is_beside = base.beside is not None
            child = await (self._fork(base) if is_beside else self._ahead.child(base))
            live.holder = Holder(child.forked)
            return child, None
        booted = await self._take(base, is_plain=_is_plain(live.sandbox))
        live.holder = booted.holder
        return booted.child, booted

    async def _fork(self, base: Base) -> Child:
        return await self._zygotes.fork(base.zygote, base.beside)

    async def _take(self, base: Base, *, is_plain: bool) -> Booted:
        """A fork of a base, in its cell.

        Args:
            is_plain: nothing has to be done to it before it boots.

        Raises:
            RuntimeFailedError: when there can be none.
        """
        spare = self._kept.pop(base, None) if is_plain else None
        if spare is not None:
            try:
                booted = await spare
            except RuntimeFailedError:
                pass  # whoever wants one now is told by another try
            else:
                if not booted.child.forked.exited.done():
                    return booted
                self._discard(booted)
        return Booted(await self._fork(base))

    def renew(self, base: Base) -> None:
        """See to it that there is a spare, unless sandboxes of this base are no more."""
        is_over = base.beside is not None or base.zygote.exited.done()
        if is_over or base in self._kept or not self._ahead.holder_count:
            return
        made = self._kept[base] = asyncio.get_running_loop().create_future()
        self._tasks.start(self._make(base, made), "boot-spare")

    async def _make(self, base: Base, made: asyncio.Future[Booted]) -> None:
        try:
            booted = Booted(await self._fork(base))
        except RuntimeFailedError as error:  # told again to whoever wants one
            log.info("no_spare", extra={"fields": {"error": str(error)}})
            made.set_exception(error)
            made.exception()
            self._forget(base, made)
            return
        booted.boot()
        made.set_result(booted)
        booted.child.forked.exited.add_done_callback(lambda _: self._forget(base, made))
        asyncio.get_running_loop().call_later(self._ahead.idle_s, self._forget, base, made)

    def end_ahead(self) -> bool:
        """End all that was made ahead, not only here; True if there was any."""
        found = [(base, made) for base, made in self._kept.items() if made.done()]
        for base, made in found:
            self._forget(base, made)
        return self._ahead.end() or bool(found)

    def _forget(self, base: Base, made: asyncio.Future[Booted]) -> None:
        """End one that nobody has taken."""
        if self._kept.get(base) is made:
            del self._kept[base]
            if made.exception() is None:
                self._discard(made.result())

    def _discard(self, booted: Booted) -> None:
        booted.holder.close()
        self._zygotes.discard(booted.child)


def _is_plain(sandbox: Sandbox) -> bool:
    """Whether nothing has to be done to a sandbox before its kernel boots."""
    options = sandbox.function.options
    has_memory_limit = options["memory_limit_mib"] is not None
    has_authority = sandbox.outbound is not None and bool(sandbox.outbound.wanted)
    return not (options["volumes"] or has_authority or has_memory_limit)

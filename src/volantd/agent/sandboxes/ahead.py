"""What sandboxes have ahead of need: holders of bases in use, and bases without an image yet.

    base used ──quiet for a moment──► HOLDERS of it are forked ──► the next sandboxes take them
    image used ─────── likewise ────► a blank base boots ────────► the next one's like it is its
    nobody wants any for a while ──► all of it ends

A holder made ahead is a whole sandbox that nobody has: confined, in a control group, with an
address. It has no variables, volumes or commands, for these come when it is taken. Each is taken
once, and nothing goes back. What is here ends with the daemon, as all that it has forked.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import TYPE_CHECKING

from volantd.runtime.client import RuntimeFailedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from volantd.agent.sandboxes.bases import Base
    from volantd.agent.tasks import Tasks
    from volantd.agent.zygotes import Child, ZygoteStore
    from volantd.runtime.client import Zygote, ZygoteSpec

log = logging.getLogger(__name__)

#: Bases that have holders ahead: those used last.
BASES_MAX = 2
#: Blank bases: with and without a network, of images and of this machine with something over it.
BLANKS_MAX = 3
#: Time without a start of a sandbox after which something is made ahead: whoever waits goes first.
REFILL_DELAY_S = 0.01


class Ahead:
    """All that is made ahead on this machine."""

    def __init__(
        self, zygotes: ZygoteStore, tasks: Tasks, *, holder_count: int, idle_s: float,
        boot: Callable[[ZygoteSpec], Awaitable[Zygote]], on_idle: Callable[[], None],
    ) -> None:  # fmt: skip
        """Have nothing yet.

        Args:
            zygotes: forks.
            tasks: where it is made.
            holder_count: holders of one base; 0 for nothing ahead at all.
            idle_s: how long what is here waits for somebody.
            boot: boots a base without an image.
            on_idle: told when that is over.
        """
        self._zygotes = zygotes
        self._tasks = tasks
        self.holder_count = holder_count
        self.idle_s = idle_s
        self._boot = boot
        self._on_idle = on_idle
        self._loop = asyncio.get_running_loop()
        self._holders: OrderedDict[Base, list[Child]] = OrderedDict()
        #: By what they are, those used last at the end; None for one that is wanted.
        self._blank: OrderedDict[str, Zygote | None] = OrderedDict()
        self._specs: dict[str, ZygoteSpec] = {}
        self._refill: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._is_refilling = False
        #: sandboxes that somebody waits for
        self._starting_count = 0

    # -- taking

    async def child(self, base: Base) -> Child:
        """A container that holds a sandbox of a base: one that waits, or a new one.

        Raises:
            RuntimeFailedError: when it cannot be forked.
        """
        self.expect(base)
        waiting = self._holders.get(base, [])
        while waiting:
            child = waiting.pop(0)
            if not child.forked.exited.done():
                return child
            self._zygotes.discard(child)
        self._starting_count += 1
        try:
            return await self._zygotes.fork(base.zygote)
        finally:
            self._starting_count -= 1
            self.note_use()

    def blank(self, spec: ZygoteSpec) -> Zygote | None:
        """A base that has no image, if there is one; and have one for the next who wants it."""
        found = self.expect_blank(spec)
        self._blank[repr(spec)] = None
        return None if found is None or found.exited.done() else found

    def expect_blank(self, spec: ZygoteSpec) -> Zygote | None:
        """Have a base ahead that has no image; returns the one there is."""
        key = repr(spec)
        found = self._blank.setdefault(key)
        self._specs[key] = spec
        self._blank.move_to_end(key)
        while len(self._blank) > BLANKS_MAX:
            _kill(self._forget(next(iter(self._blank))))
        self.note_use()
        return found

    def _forget(self, key: str) -> Zygote | None:
        del self._specs[key]
        return self._blank.pop(key)

    def expect(self, base: Base) -> None:
        """Have holders of a base ahead, for somebody has just wanted one or will soon."""
        if base not in self._holders:
            self._holders[base] = []
            base.zygote.exited.add_done_callback(lambda _: self._drop(base))
        self._holders.move_to_end(base)
        while len(self._holders) > BASES_MAX:
            self._drop(next(iter(self._holders)))
        self.note_use()

    # -- making

    def note_use(self) -> None:
        """Note that a sandbox was just wanted, or has ended: what is here waits from now on."""
        for timer in (self._refill, self._idle):
            if timer is not None:
                timer.cancel()
        self._refill = None
        self._idle = self._loop.call_later(self.idle_s, self.end)
        if self.holder_count and not self._starting_count:
            self._refill = self._loop.call_later(REFILL_DELAY_S, self._begin)

    def _begin(self) -> None:
        self._refill = None
        if not self._is_refilling:
            self._is_refilling = True
            self._tasks.start(self._make(), "make-sandboxes-ahead")

    async def _make(self) -> None:
        try:
            while self._is_quiet() and await self._make_one():
                pass
        except RuntimeFailedError as error:
            log.warning("not_ahead", extra={"fields": {"error": str(error)}})
        finally:
            self._is_refilling = False

    def _is_quiet(self) -> bool:
        return self._refill is None and not self._starting_count

    async def _make_one(self) -> bool:
        """Make what is missing most; False when nothing is."""
        for base, waiting in reversed(self._holders.items()):
            if len(waiting) < self.holder_count:
                child = await self._zygotes.fork(base.zygote)
                if self._holders.get(base) is waiting:
                    waiting.append(child)
                else:
                    self._zygotes.discard(child)
                return True
        for key, there in self._blank.items():
            if there is None or there.exited.done():
                zygote = await self._boot(self._specs[key])
                if self._blank.get(key, zygote) is there:
                    self._blank[key] = zygote
                else:  # all has ended meanwhile
                    zygote.kill()
                return True
        return False

    # -- the end

    def _drop(self, base: Base) -> None:
        for child in self._holders.pop(base, ()):
            self._zygotes.discard(child)

    def end(self) -> bool:
        """End all that waits, as what is wanted later is made anew; True if there was any."""
        found = any(self._holders.values()) or any(self._blank.values())
        for timer in (self._refill, self._idle):
            if timer is not None:
                timer.cancel()
        self._refill = self._idle = None
        for base in list(self._holders):
            self._drop(base)
        for key in list(self._blank):
            _kill(self._forget(key))
        self._on_idle()
        return found


def _kill(zygote: Zygote | None) -> None:
    if zygote is not None:
        zygote.kill()

"""All sandboxes of this machine: by id, by name in their app, by tags; those that ended lately too.

Names are unique among the sandboxes of an app that have not finished.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from volant.errors import AlreadyExistsError, ExecutionError, ResourceExhaustedError
from volantd.hub import checks
from volantd.hub.sandboxes.making import past

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from volantd.hub.records import App
    from volantd.hub.sandboxes.ledger import Ledger
    from volantd.hub.sandboxes.record import Sandbox

#: Sandboxes that have not finished.
ALIVE_MAX = 1000
#: Sandboxes that are remembered when they have finished, also by later daemons, and for how long.
FINISHED_MAX, FINISHED_S = 2000, 7 * 86400.0
#: Sidecars of one sandbox that have not finished.
SIDECARS_MAX = 8
#: Of those, the last ones whose output is kept as well, while this daemon runs.
PRINTED_MAX = 200


class Sandboxes:
    """The book of sandboxes."""

    def __init__(self) -> None:
        self._alive: dict[str, Sandbox] = {}
        self._finished: OrderedDict[str, Sandbox] = OrderedDict()
        #: Those whose output is kept, the oldest first.
        self._printed: deque[Sandbox] = deque()
        #: Hears of each whose output is kept no more.
        self.on_forgotten: Callable[[Sandbox], None] = lambda sandbox: None
        self._ledger: Ledger | None = None
        #: Whether those have no network whose creator says nothing of whom they may reach.
        self.are_blocked = False
        #: what one runs on whose creator does not say it
        self.runtime = "auto"

    def open(self, ledger: Ledger, now: float) -> None:
        """Remember what the ledger tells; those that have no end were ended with their daemon.

        Args:
            ledger: of this home.
            now: seconds since 1970.
        """
        rows = [sandbox for sandbox in map(past, ledger.read()) if sandbox is not None]
        for sandbox in sorted(rows, key=_ended_at):
            self._finished[sandbox.sandbox_id] = sandbox
        self._forget_old(now)
        self._ledger = ledger
        if self._finished:
            ledger.begin(list(self._finished.values()))

    def note(self, sandbox: Sandbox) -> None:
        """Have what is known of a sandbox outlive the daemon."""
        if self._ledger is not None:
            self._ledger.note(sandbox, self.all(with_finished=True))

    def add(self, sandbox: Sandbox) -> None:
        """Take one into the book, until it has finished and for a while after.

        Raises:
            AlreadyExistsError: when its app, or the sandbox that it is a sidecar of, has one of
                its name that has not finished.
            ResourceExhaustedError: when there are too many.
        """
        if len(self._alive) >= ALIVE_MAX:
            raise ResourceExhaustedError(
                f"{ALIVE_MAX} sandboxes run or are about to, which is the most",
                hint="end some: `volant sandbox list` shows them",
            )
        if sandbox.sidecar_of:
            self._check_beside(sandbox)
        elif sandbox.name is not None:
            self._check_free(sandbox, sandbox.name)
        self._alive[sandbox.sandbox_id] = sandbox
        self.note(sandbox)
        sandbox.finished.add_done_callback(lambda _: self._bury(sandbox))

    def _bury(self, sandbox: Sandbox) -> None:
        self._alive.pop(sandbox.sandbox_id, None)
        self._finished[sandbox.sandbox_id] = sandbox
        self.note(sandbox)
        self._printed.append(sandbox)
        if len(self._printed) > PRINTED_MAX:
            self.on_forgotten(self._printed.popleft())
        self._forget_old(_ended_at(sandbox))

    def _forget_old(self, now: float) -> None:
        while self._finished:
            oldest = next(iter(self._finished.values()))
            if len(self._finished) <= FINISHED_MAX and _ended_at(oldest) >= now - FINISHED_S:
                return
            del self._finished[oldest.sandbox_id]

    def rename(self, sandbox: Sandbox, name: str | None) -> None:
        """Give a sandbox another name, or none.

        Raises:
            AlreadyExistsError: when its app has another one of this name that has not finished.
        """
        if name is not None and name != sandbox.name:
            self._check_free(sandbox, name)
        sandbox.name = name
        self.note(sandbox)

    def _check_free(self, sandbox: Sandbox, name: str) -> None:
        if self.named(sandbox.app.app_id, name) is not None:
            raise AlreadyExistsError(
                f"app `{sandbox.app.name}` has a sandbox `{name}` already",
                hint="terminate it, or choose another name",
            )

    def _check_beside(self, sidecar: Sandbox) -> None:
        of = self.find(sidecar.sidecar_of)
        others = self.sidecars_of(of)
        if of.is_finished:
            text = f"sandbox {of.sandbox_id} has finished, so it can have no sidecar"
            raise ExecutionError(text)
        if any(one.name == sidecar.name for one in others):
            raise AlreadyExistsError(
                f"sandbox {of.sandbox_id} has a sidecar `{sidecar.name}` already",
                hint="terminate it, or choose another name",
            )
        if len(others) >= SIDECARS_MAX:
            raise ResourceExhaustedError(
                f"sandbox {of.sandbox_id} has {SIDECARS_MAX} sidecars, which is the most",
                hint="terminate one",
            )

    def sidecars_of(self, sandbox: Sandbox, *, with_finished: bool = False) -> list[Sandbox]:
        """The sidecars of a sandbox that have not finished, the newest last."""
        every = self.all(with_finished=with_finished)
        found = [one for one in every if one.sidecar_of == sandbox.sandbox_id]
        return sorted(found, key=lambda one: one.created_at)

    def find(self, sandbox_id: str) -> Sandbox:
        """The sandbox of an id, finished or not.

        Raises:
            NotFoundError: when there is none, or it is remembered no more.
        """
        found = self.get(sandbox_id)
        if found is None:
            raise checks.not_found("sandbox", sandbox_id, self._alive)
        return found

    def get(self, sandbox_id: str) -> Sandbox | None:
        """The sandbox of an id; None when there is none."""
        return self._alive.get(sandbox_id) or self._finished.get(sandbox_id)

    def named(self, app_id: str, name: str, *, with_finished: bool = False) -> Sandbox | None:
        """The sandbox that has a name in an app; of several that had it, the one of the end."""
        found = [one for one in self.all(with_finished=with_finished) if one.name == name]
        found = [one for one in found if one.app.app_id == app_id and not one.sidecar_of]
        return max(found, key=lambda one: (not one.is_finished, one.created_at), default=None)

    def all(self, *, with_finished: bool = False) -> list[Sandbox]:
        """All that have not finished, the newest last; behind those that have."""
        alive: Iterable[Sandbox] = self._alive.values()
        return [*self._finished.values(), *alive] if with_finished else list(alive)

    def of(self, app: App) -> list[Sandbox]:
        """Those of an app that have not finished."""
        return [one for one in self._alive.values() if one.app.app_id == app.app_id]


def _ended_at(sandbox: Sandbox) -> float:
    return sandbox.finished_at or sandbox.created_at

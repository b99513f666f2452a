"""All sandboxes of this machine: by id, by name in their app, by tags; those that ended lately too.

Names are unique among the sandboxes of an app that have not finished.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from volant.errors import AlreadyExistsError, ResourceExhaustedError
from volantd.hub import checks
from volantd.hub.sandboxes.making import past

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from volantd.hub.records import App
    from volantd.hub.sandboxes.ledger import Ledger
    from volantd.hub.sandboxes.record import Sandbox

#: Sandboxes that have not finished.
ALIVE_MAX = 1000
#: Sandboxes that are remembered when they have finished.
FINISHED_MAX = 200


class Sandboxes:
    """The book of sandboxes."""

    def __init__(self) -> None:
        self._alive: dict[str, Sandbox] = {}
        self._finished: OrderedDict[str, Sandbox] = OrderedDict()
        #: Hears of each that is remembered no more.
        self.on_forgotten: Callable[[Sandbox], None] = lambda sandbox: None
        self._ledger: Ledger | None = None
        #: Whether those have no network whose creator says nothing of whom they may reach.
        self.are_blocked = False

    def open(self, ledger: Ledger) -> None:
        """Remember what the ledger tells; those that have no end were ended with their daemon."""
        for row in ledger.read()[-FINISHED_MAX:]:
            sandbox = past(row)
            if sandbox is not None:
                self._finished[sandbox.sandbox_id] = sandbox
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
            AlreadyExistsError: when its app has one of its name that has not finished.
            ResourceExhaustedError: when there are too many.
        """
        if len(self._alive) >= ALIVE_MAX:
            raise ResourceExhaustedError(
                f"{ALIVE_MAX} sandboxes run or are about to, which is the most",
                hint="end some: `volant sandbox list` shows them",
            )
        if sandbox.name is not None and self.named(sandbox.app.app_id, sandbox.name) is not None:
            raise AlreadyExistsError(
                f"app `{sandbox.app.name}` has a sandbox `{sandbox.name}` already",
                hint="terminate it, or choose another name",
            )
        self._alive[sandbox.sandbox_id] = sandbox
        self.note(sandbox)
        sandbox.finished.add_done_callback(lambda _: self._bury(sandbox))

    def _bury(self, sandbox: Sandbox) -> None:
        self._alive.pop(sandbox.sandbox_id, None)
        self._finished[sandbox.sandbox_id] = sandbox
        self.note(sandbox)
        while len(self._finished) > FINISHED_MAX:
            self.on_forgotten(self._finished.popitem(last=False)[1])

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
        found = [one for one in found if one.app.app_id == app_id]
        return max(found, key=lambda one: (not one.is_finished, one.created_at), default=None)

    def all(self, *, with_finished: bool = False) -> list[Sandbox]:
        """All that have not finished, the newest last; behind those that have."""
        alive: Iterable[Sandbox] = self._alive.values()
        return [*self._finished.values(), *alive] if with_finished else list(alive)

    def of(self, app: App) -> list[Sandbox]:
        """Those of an app that have not finished."""
        return [one for one in self._alive.values() if one.app.app_id == app.app_id]

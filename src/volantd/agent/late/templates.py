"""Zygotes that have imported what containers of one function were seen to import late.

container told ─► learnt for its function ─► quiet for a moment ─► built beside the one in use
                                                 ├ a name is refused: built again without it
                                                 └ ready: later containers are forked from it

Each is for one function of one version: what its containers say reaches no other function. Nobody
waits for one: until it is ready, and when it cannot be, containers start as they did before.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import TYPE_CHECKING

from volantd.runtime.client import PrepareFailedError, RuntimeFailedError

if TYPE_CHECKING:
    from volantd.agent.zygotes import Prepared, ZygoteStore
    from volantd.hub.records import Function, Version

log = logging.getLogger(__name__)

#: Quiet time after which one is built: not while somebody waits for a call.
BUILD_DELAY_S = 0.3
#: Times that one is built for a function of a version, those included that fail.
BUILDS_MAX = 8
#: Functions of which it is known what they import late.
FUNCTIONS_MAX = 256
#: Names that are kept of one function.
NAMES_MAX = 100


class RefusedError(RuntimeFailedError):
    """A late import cannot be done before the fork; `name` is the module."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"`{name}`: {why}")
        self.name = name


class Learnt:
    """What one function of one version imports late."""

    def __init__(self, version: Version, name: str) -> None:
        self.version = version
        self.name = name
        #: In the order in which they were told; those that are not to be tried are false.
        self.names: dict[str, bool] = {}
        self.build_count = 0
        self.is_building = False
        self.prepared: Prepared | None = None

    def wanted(self) -> list[str]:
        """Names that may be imported before the fork."""
        return [name for name, may in self.names.items() if may]


class LateTemplates:
    """Those of this machine."""

    def __init__(self, store: ZygoteStore, *, is_on: bool) -> None:
        self._store = store
        self._is_on = is_on
        self._learnt: OrderedDict[tuple[str, str], Learnt] = OrderedDict()

    def watches(self, function: Function) -> bool:
        """Whether it matters what containers of a function import late.

        A module may look for a GPU while it is imported, and a template has none; what a class with
        a snapshot wants to be shared stands in its hooks; what stored secrets mean may change.
        """
        version = function.version
        if version.stored:
            return False
        is_plain = version.imports and version.snapshot is None and version.entry["module"]
        return self._is_on and bool(is_plain) and not function.options["gpu"]

    def learn(self, function: Function, names: tuple[str, ...]) -> None:
        """Take what a container has told; hostile, but names of modules."""
        if not self.watches(function):
            return
        key = function.version.key, function.name
        learnt = self._learnt.setdefault(key, Learnt(function.version, function.name))
        self._learnt.move_to_end(key)
        while len(self._learnt) > FUNCTIONS_MAX:
            _, oldest = self._learnt.popitem(last=False)
            self._retire(oldest)
        new = [name for name in names if name not in learnt.names]
        learnt.names.update(dict.fromkeys(new[: NAMES_MAX - len(learnt.names)], True))
        if new:
            self._build_later(learnt)

    def find(self, function: Function) -> Prepared | None:
        """The zygote of a function that has imported more than its program, if there is one."""
        learnt = self._learnt.get((function.version.key, function.name))
        if learnt is None or learnt.prepared is None or not self.watches(function):
            return None  # the last: of the same name, by `with_options(gpu=...)`
        self._learnt.move_to_end((function.version.key, function.name))
        if self._store.keeps(learnt.prepared):
            return learnt.prepared
        learnt.prepared = None  # memory was short, or it has died
        self._build_later(learnt)
        return None

    def _build_later(self, learnt: Learnt) -> None:
        if not learnt.is_building:
            learnt.is_building = True
            loop = asyncio.get_running_loop()
            loop.call_later(BUILD_DELAY_S, self._begin_to_build, learnt)

    def _begin_to_build(self, learnt: Learnt) -> None:
        self._store.tasks.start(self._build(learnt), "late-template")

    async def _build(self, learnt: Learnt) -> None:
        """Build one, and again without what is refused."""
        try:
            while (names := learnt.wanted()) and learnt.build_count < BUILDS_MAX:
                learnt.build_count += 1
                is_built = await self._try(learnt, names)
                if is_built and not set(learnt.wanted()) - set(names):
                    return  # else more was told meanwhile
        finally:
            learnt.is_building = False

    async def _try(self, learnt: Learnt, names: list[str]) -> bool:
        where = {"function": learnt.name, "version": learnt.version.key}
        try:
            prepared = await self._store.prepare_late(learnt.version, names)
        except RefusedError as error:
            doomed = [error.name] if error.name in names else names
            learnt.names.update(dict.fromkeys(doomed, False))
            log.info("late_import_refused", extra={"fields": {**where, "reason": str(error)}})
            return False
        except (PrepareFailedError, RuntimeFailedError) as error:
            learnt.names.update(dict.fromkeys(names, False))
            log.info("late_imports_given_up", extra={"fields": {**where, "reason": str(error)}})
            return False
        done = prepared.late
        learnt.names.update({name: name in done for name in names})
        self._retire(learnt)
        learnt.prepared = prepared
        log.info("late_imports_done", extra={"fields": {**where, "names": ", ".join(done)}})
        return True

    def _retire(self, learnt: Learnt) -> None:
        if learnt.prepared is not None:
            self._store.retire(learnt.prepared)
            learnt.prepared = None

"""The states of volumes: one commit after the other, each a row that names a tree.

    change ─► contents and nodes on the disk ─► row on the disk ─► the volume is as it says
                                       └ a crash before that leaves the state before

All changes of one volume are made one after the other, those of clients as well as those of
containers; so each is applied to all that went before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from volantd.core.volumes import trees
from volantd.core.volumes.entries import ENTRIES_MAX, fresh_directory
from volantd.store.journal import Kind
from volantd.store.records import CommitRow
from volantd.volumes.nodes import StoredNodes
from volantd.volumes.scanning import TooMuchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from volantd.blobs.contents import Contents
    from volantd.core.volumes.entries import Entry
    from volantd.store.database import Database
    from volantd.store.journal import Journal

T = TypeVar("T")

#: States that are kept of one volume; those before can neither be shown nor be gone back to.
STATES_KEPT = 1000
#: Threads that read, hash and lay out files.
THREADS = 2
#: Changes of a volume that are known when they are sent again.
KNOWN_CHANGES = 1000
ACTION_CHARS_MAX = 200


def _add(connection: Connection, rows: list[CommitRow]) -> None:
    from volantd.store import volumes as store

    store.add(connection, rows, STATES_KEPT)


COMMIT = Kind(12, _add)


class State:
    """One state of a volume: its number, 0 before the first commit, and its tree."""

    __slots__ = ("number", "root")

    def __init__(self, number: int, root: Entry) -> None:
        self.number = number
        self.root = root


class _Line:
    """The latest state of one volume, and whose turn it is to change it."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.state: State | None = None
        self.changes: deque[str] = deque(maxlen=KNOWN_CHANGES)


class States:
    """The states of all volumes."""

    def __init__(
        self, contents: Contents, database: Database, journal: Journal,
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self.contents = contents
        self.database = database
        self._journal = journal
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="volumes")
        self._lines: dict[str, _Line] = {}
        #: Generations of contents in which work began that is under way.
        self._under_way: list[int] = []
        self._generation = 0
        self._awaited: list[asyncio.Future[None]] = []

    async def on_thread(self, work: Callable[[StoredNodes], T]) -> T:
        """Do blocking work, with nodes of its own; what these take is written in the end."""

        def run() -> T:
            nodes = StoredNodes(self.contents)
            result = work(nodes)
            nodes.flush()
            return result

        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._threads, run))

    async def latest(self, volume_id: str) -> State:
        """The state of a volume."""
        line = self._lines.setdefault(volume_id, _Line())
        if line.state is None:
            async with line.turn:
                await self._load(line, volume_id)
        assert line.state is not None
        return line.state

    async def _load(self, line: _Line, volume_id: str) -> State:
        if line.state is None:
            rows = await self.history(volume_id, KNOWN_CHANGES)
            line.changes.extend(row.change_id for row in reversed(rows) if row.change_id)
            if rows:
                line.state = State(rows[0].number, trees.decode_root(rows[0].root))
            else:
                root = await self.on_thread(lambda nodes: fresh_directory(nodes, 0))
                line.state = State(0, root)
        return line.state

    async def change(
        self, volume_id: str, work: Callable[[StoredNodes, Entry], Entry], *, action: str,
        made_by: str, change_id: str = "",
    ) -> State:  # fmt: skip
        """Make a change, and return the state when it is on the disk.

        Args:
            work: given the tree, the one that shall be; on a thread.
            change_id: of a change that may be sent again: then nothing is done.

        Raises:
            TooMuchError: when the volume would have too many entries.
            Exception: what `work` raises; nothing has changed then.
        """
        line = self._lines.setdefault(volume_id, _Line())
        with self.working():
            async with line.turn:
                state = await self._load(line, volume_id)
                if change_id and change_id in line.changes:
                    return state
                root = await self.on_thread(lambda nodes: work(nodes, state.root))
                if root == state.root:
                    return state
                if root.size > ENTRIES_MAX:
                    raise TooMuchError(f"{root.size} entries in a volume, at most {ENTRIES_MAX}")
                shown = action[:ACTION_CHARS_MAX].encode("utf-8", "replace").decode()
                row = CommitRow(
                    object_id=volume_id, number=state.number + 1, root=trees.encode_root(root),
                    created_at=self._clock(), made_by=made_by, action=shown, change_id=change_id,
                )  # fmt: skip
                try:
                    await self._written(row)
                except BaseException:
                    line.state = None  # what is on the disk says what has become of it
                    line.changes.clear()
                    raise
                line.state = State(row.number, root)
                if change_id:
                    line.changes.append(change_id)
                return line.state

    async def _written(self, row: CommitRow) -> None:
        """Return, or be cancelled, when it is known whether a state is on the disk."""
        writing = asyncio.ensure_future(self._journal.written([(COMMIT, row)]))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            raise

    async def history(self, volume_id: str, count: int) -> list[CommitRow]:
        """The states that a volume has had, the latest first."""
        if not self.database.exists:
            return []
        from volantd.store import volumes as store

        return await self.database.look(
            lambda connection: store.latest(connection, volume_id, count)
        )

    async def state(self, volume_id: str, number: int) -> CommitRow | None:
        """One state that a volume has had, None if it is not kept."""
        from volantd.store import volumes as store

        return await self.database.look(
            lambda connection: store.state(connection, volume_id, number)
        )

    def forget(self, volume_id: str) -> None:
        """A volume is no more."""
        self._lines.pop(volume_id, None)

    # -- what nothing names

    @contextmanager
    def working(self) -> Iterator[None]:
        """While this lasts, what it has put among the contents stays, named or not."""
        begun = self._generation
        self._under_way.append(begun)
        try:
            yield
        finally:
            self._under_way.remove(begun)
            for ended in self._awaited:
                if not ended.done():
                    ended.set_result(None)
            self._awaited.clear()

    async def collect(self, in_use: Callable[[], list[Entry]]) -> int:
        """Remove contents that no state names any more; how many those were.

        Args:
            in_use: trees that are needed although no state may have them.
        """
        before = await self.on_thread(lambda _: self.contents.begin_sweep())
        self._generation += 1
        begun = self._generation
        while any(one < begun for one in self._under_way):
            # What these have put may be named by nothing yet, and has an earlier generation.
            ended = asyncio.get_running_loop().create_future()
            self._awaited.append(ended)
            await ended
        from volantd.store import volumes as store

        rows = await self.database.look(store.roots)
        kept = [line.state.root for line in self._lines.values() if line.state is not None]
        tops = [*in_use(), *kept, *map(trees.decode_root, rows)]

        def sweep(nodes: StoredNodes) -> int:
            named: set[str] = set()
            for top in tops:
                trees.reached(nodes, top, named)
            return self.contents.sweep(before, named)

        return await self.on_thread(sweep)

    def close(self) -> None:
        """Finish what is being done."""
        self._threads.shutdown()
        self.contents.close()

"""Commits without end, each told when it is acknowledged: a process for tests to kill.

committing.py HOME  ─► "N" on a line for each commit that is on the disk
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from volantd.blobs.contents import Contents
from volantd.core.volumes import trees
from volantd.store.database import Database
from volantd.store.journal import Journal
from volantd.volumes.attributes import Owners
from volantd.volumes.checkouts import Checkouts
from volantd.volumes.mounts import Mounts
from volantd.volumes.states import States

VOLUME = "vo-1"
SMALL_FILES = 20


class World:
    """The volumes of one home, as a daemon has them."""

    def __init__(self, home: Path) -> None:
        loop = asyncio.get_running_loop()
        self.database = Database(str(home))
        self.contents = Contents(str(home / "contents"))
        self.states = States(
            self.contents, self.database, Journal(self.database, loop, lambda: None), time.time
        )
        owners = Owners()
        self.checkouts = Checkouts(str(home / "checkouts"), self.contents, owners)
        self.mounts = Mounts(self.states, self.checkouts, owners, str(home / "views"))
        self.contents.clean()
        self.checkouts.open()
        self.mounts.clean()

    def close(self) -> None:
        self.states.close()
        self.database.close()


def write(upper: Path, number: int) -> None:
    """Files that all say the same number: small ones, and a large one."""
    for name in range(SMALL_FILES):
        (upper / f"small-{name}").write_text(f"{number}")
    (upper / "large").write_bytes(number.to_bytes(8, "big") * 20_000)


async def commit_for_ever(home: Path) -> None:
    world = World(home)
    mount = await world.mounts.open(VOLUME, "/data", (), read_only=False, made_by="test")
    upper = Path(mount.view.directory, "upper")
    number = (await world.states.latest(VOLUME)).number
    while True:
        number += 1
        write(upper, number)
        state, _ = await world.mounts.commit(mount, action=f"{number}")
        assert state is not None and state.number == number
        print(number, flush=True)
        if number % 5 == 0:
            await world.states.collect(world.mounts.in_use)


async def check(home: Path) -> tuple[int, int]:
    """The number of the latest state, and the number that all of its files say."""
    world = World(home)
    state = await world.states.latest(VOLUME)

    def read(nodes: object) -> set[int]:
        found = set()
        for path, entry in trees.walk(nodes, state.root):  # type: ignore[arg-type]  # stored nodes
            if path == "large":
                with open(world.contents.path(entry.content), "rb") as file:
                    data = file.read()
                assert len(data) == entry.size
                found.add(int.from_bytes(data[:8], "big"))
                assert data == data[:8] * 20_000
            else:
                found.add(int(world.contents.get(entry.content) or b"-1"))
        return found

    said = await world.states.on_thread(read)
    mount = await world.mounts.open(VOLUME, "/data", (), read_only=True, made_by="test")
    laid = {name for layer in mount.view.checkout.layers() for name in os.listdir(layer)}
    assert state.number == 0 or len(laid) == SMALL_FILES + 1
    await world.mounts.close(mount)
    world.close()
    assert len(said) <= 1, said
    return state.number, said.pop() if said else 0


if __name__ == "__main__":
    asyncio.run(commit_for_ever(Path(sys.argv[1])))

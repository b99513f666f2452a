"""Who is killed, and how."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Protocol

from tests.support import daemon_pid, run_volant

if TYPE_CHECKING:
    import random
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.postgres import PostgresServer

    Kill = Callable[["Scene", random.Random], bool]


class Scene(Protocol):
    """What there is to be killed."""

    home: Path
    postgres: PostgresServer | None
    load: subprocess.Popen[bytes]

    def begin_load(self) -> None:
        """Start a load that goes on where the last one was."""


def daemon(scene: Scene, chance: random.Random) -> bool:
    """The daemon: hub and agent."""
    return _kill(daemon_pid(scene.home))


def launcher(scene: Scene, chance: random.Random) -> bool:
    """The launcher, with which every container dies."""
    pid = daemon_pid(scene.home)
    return _kill(_child_named(pid, "volantd/runtime/launcher.py"))


def container(scene: Scene, chance: random.Random) -> bool:
    """A container, whatever it runs."""
    listed = run_volant("container", "list", "--json", home=scene.home)
    rows = json.loads(listed.stdout) if listed.returncode == 0 else []
    pids = [row["pid"] for row in rows if row["pid"]]
    return _kill(chance.choice(pids) if pids else None)


def client(scene: Scene, chance: random.Random) -> bool:
    """The load; another one takes its place."""
    killed = _kill(scene.load.pid)
    scene.load.wait()
    scene.begin_load()
    return killed


def postgres(scene: Scene, chance: random.Random) -> bool:
    """PostgreSQL, which is started again."""
    if scene.postgres is None:
        return False
    scene.postgres.kill()
    scene.postgres.start()
    return True


VICTIMS: dict[str, Kill] = {
    one.__name__: one for one in (daemon, launcher, container, client, postgres)
}


def _child_named(parent: int | None, words: str) -> int | None:
    """A process below another whose command line has these words."""
    if parent is None:
        return None
    try:
        with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
            children = [int(pid) for pid in file.read().split()]
    except OSError:
        return None
    for pid in children:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if words.encode() in file.read():
                    return pid
        except OSError:
            continue
    return None


def _kill(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
